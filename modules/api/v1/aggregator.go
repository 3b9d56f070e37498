package v1

import (
	"fmt"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/portal"
)

type aggregatorInput struct {
	ID          int64  `json:"id" form:"id" xml:"id"`
	Group       int64  `json:"hostgroup_id" form:"hostgroup_id" xml:"hostgroup_id"`
	Numerator   string `json:"numerator" form:"numerator" xml:"numerator"`
	Denominator string `json:"denominator" form:"denominator" xml:"denominator"`
	Endpoint    string `json:"endpoint" form:"endpoint" xml:"endpoint"`
	Metric      string `json:"metric" form:"metric" xml:"metric"`
	Tags        string `json:"tags" form:"tags" xml:"tags"`
	Step        int    `json:"step" form:"step" xml:"step"`
}

// check refuses what poly_metric could not compute, by the reading that it has itself.
func (in *aggregatorInput) check() error {
	above, err := formula("numerator", in.Numerator)
	if err != nil {
		return err
	}
	below, err := formula("denominator", in.Denominator)
	if err != nil {
		return err
	}
	if _, err := expr.NewRatio(above, below); err != nil {
		return badField("numerator", "%v", err)
	}
	return nil
}

func formula(field, text string) (expr.Formula, error) {
	if text == "" {
		return expr.Formula{}, badField(field, "%s is required", field)
	}
	f, err := expr.ParseFormula(text)
	if err != nil {
		return f, badField(field, "%s: %v", field, err)
	}
	return f, nil
}

func (in *aggregatorInput) over(a *portal.Aggregator) {
	a.Numerator, a.Denominator, a.Endpoint, a.Metric = in.Numerator, in.Denominator, in.Endpoint, in.Metric
	a.Tags, a.DsType, a.Step = in.Tags, model.Gauge, in.Step
}

// groupAggregators lists the aggregators of a group. The group is named only when it
// has some, as in stock.
func (s *server) groupAggregators(c *Call) (any, error) {
	id, err := c.id("id", "a group")
	if err != nil {
		return nil, err
	}
	limit, offset, err := c.page()
	if err != nil {
		return nil, err
	}
	all, err := s.Portal.GroupAggregators(c.Ctx(), id, limit, offset)
	if err != nil {
		return nil, err
	}
	name := ""
	if len(all) > 0 {
		g, err := s.Portal.Group(c.Ctx(), id)
		if err != nil {
			return nil, err
		}
		name = g.Name
	}
	return map[string]any{"hostgroup": name, "aggregators": all}, nil
}

func (s *server) aggregatorOfPath(c *Call) (*portal.Aggregator, error) {
	return ofPath(c, "id", "an aggregator", s.Portal.Aggregator)
}

func (s *server) aggregator(c *Call) (any, error) {
	a, err := s.aggregatorOfPath(c)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (s *server) createAggregator(c *Call) (any, error) {
	var in aggregatorInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.Group == 0 {
		return nil, badField("hostgroup_id", "hostgroup_id is required")
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if _, err := s.ownGroup(c, in.Group, false); err != nil {
		return nil, err
	}
	a := portal.Aggregator{Group: in.Group, Creator: c.Caller.Name}
	in.over(&a)
	var err error
	if a.ID, err = s.Portal.CreateAggregator(c.Ctx(), a); err != nil {
		return nil, err
	}
	c.Audit(a.ID, a)
	return a, nil
}

// ownAggregator refuses callers to whom the group of an aggregator does not belong.
func (s *server) ownAggregator(c *Call, a *portal.Aggregator) error {
	if s.mayAll(c) {
		return nil // the group may be gone
	}
	_, err := s.ownGroup(c, a.Group, false)
	return err
}

func (s *server) updateAggregator(c *Call) (any, error) {
	var in aggregatorInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.Portal.Aggregator(c.Ctx(), in.ID)
	if err == nil && !isCaller(c, old.Creator) {
		err = s.ownAggregator(c, old)
	}
	if err == nil {
		err = in.check()
	}
	if err != nil {
		return nil, err
	}
	a := *old
	in.over(&a)
	c.Before(old)
	c.Audit(a.ID, a)
	if err := s.Portal.UpdateAggregator(c.Ctx(), a); err != nil {
		return nil, err
	}
	return a, nil
}

func (s *server) deleteAggregator(c *Call) (any, error) {
	a, err := s.aggregatorOfPath(c)
	if err == nil {
		err = s.ownAggregator(c, a)
	}
	if err != nil {
		return nil, err
	}
	c.Before(a)
	c.Audit(a.ID, nil)
	if err := s.Portal.DeleteAggregator(c.Ctx(), a.ID); err != nil {
		return nil, err
	}
	return fmt.Sprintf("aggregator:%d is deleted", a.ID), nil
}
