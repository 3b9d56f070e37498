package v1

import (
	"fmt"

	"falcon/common/portal"
)

type nodataInput struct {
	ID      int64   `json:"id" form:"id" xml:"id"`
	Name    string  `json:"name" form:"name" xml:"name"`
	Obj     string  `json:"obj" form:"obj" xml:"obj"`
	ObjType string  `json:"obj_type" form:"obj_type" xml:"obj_type"`
	Metric  string  `json:"metric" form:"metric" xml:"metric"`
	Tags    string  `json:"tags" form:"tags" xml:"tags"`
	DsType  string  `json:"dstype" form:"dstype" xml:"dstype"`
	Step    int     `json:"step" form:"step" xml:"step"`
	Mock    float64 `json:"mock" form:"mock" xml:"mock"`
}

func (in *nodataInput) over(n *portal.Nodata) {
	n.Obj, n.ObjType, n.Metric, n.Tags, n.DsType, n.Step, n.Mock = in.Obj, in.ObjType, in.Metric, in.Tags, in.DsType, in.Step, in.Mock
}

func (s *server) nodatas(c *Call) (any, error) {
	limit, offset, err := c.page()
	if err != nil {
		return nil, err
	}
	return s.Portal.Nodatas(c.Ctx(), limit, offset)
}

func (s *server) nodataOfPath(c *Call) (*portal.Nodata, error) {
	return ofPath(c, "nid", "a nodata rule", s.Portal.Nodata)
}

func (s *server) nodata(c *Call) (any, error) {
	n, err := s.nodataOfPath(c)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (s *server) createNodata(c *Call) (any, error) {
	var in nodataInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	n := portal.Nodata{Name: in.Name, Creator: c.Caller.Name}
	in.over(&n)
	var err error
	if n.ID, err = s.Portal.CreateNodata(c.Ctx(), n); err != nil {
		return nil, err
	}
	c.Audit(n.ID, n)
	return n, nil
}

// ownNodata refuses callers to whom a rule does not belong. Stock asks nobody.
func (s *server) ownNodata(c *Call, n *portal.Nodata) error {
	if s.hole() || s.mayAll(c) || isCaller(c, n.Creator) {
		return nil
	}
	return c.denied()
}

// updateNodata overwrites a rule but for its name.
func (s *server) updateNodata(c *Call) (any, error) {
	var in nodataInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.Portal.Nodata(c.Ctx(), in.ID)
	if err == nil {
		err = s.ownNodata(c, old)
	}
	if err != nil {
		return nil, err
	}
	n := *old
	in.over(&n)
	c.Before(old)
	c.Audit(n.ID, n)
	if err := s.Portal.UpdateNodata(c.Ctx(), n); err != nil {
		return nil, err
	}
	return n, nil
}

func (s *server) deleteNodata(c *Call) (any, error) {
	n, err := s.nodataOfPath(c)
	if err == nil {
		err = s.ownNodata(c, n)
	}
	if err != nil {
		return nil, err
	}
	c.Before(n)
	c.Audit(n.ID, nil)
	if err := s.Portal.DeleteNodata(c.Ctx(), n.ID); err != nil {
		return nil, err
	}
	return fmt.Sprintf("mockcfg:%d is deleted", n.ID), nil
}
