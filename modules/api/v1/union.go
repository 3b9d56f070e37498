package v1

import (
	"errors"
	"fmt"

	"falcon/common/portal"
)

// unionInput is a combination as it is wanted: all of its strategies on one host make one
// alarm.
type unionInput struct {
	ID         int64   `json:"id" form:"id" xml:"id"`
	Name       string  `json:"name" form:"name" xml:"name"`
	Strategies []int64 `json:"strategy_ids" form:"strategy_ids" xml:"strategy_ids"`
}

// unions lists the combinations of a template; with inherited=true also those of the
// templates that it inherits from.
func (s *server) unions(c *Call) (any, error) {
	tid, err := c.positive("tid", 0)
	if err != nil {
		return nil, err
	}
	if tid == 0 {
		return nil, badField("tid", "tid is required: the id of a template")
	}
	templates := []int64{int64(tid)}
	if c.Query("inherited") == "true" {
		chain, err := s.Portal.TemplateChain(c.Ctx(), int64(tid))
		if err != nil {
			return nil, err
		}
		templates = templates[:0]
		for _, t := range chain {
			templates = append(templates, t.ID)
		}
	}
	return s.Portal.Unions(c.Ctx(), templates...)
}

func (s *server) unionOfPath(c *Call) (*portal.Union, error) {
	return ofPath(c, "id", "a combination", s.Portal.Union)
}

func (s *server) union(c *Call) (any, error) {
	u, err := s.unionOfPath(c)
	if err != nil {
		return nil, err
	}
	return u, nil
}

// ownUnion refuses callers to whom the template of any of the strategies does not belong.
// Whether they can be one combination is for the portal to say.
func (s *server) ownUnion(c *Call, strategies []int64) error {
	asked := map[int64]bool{}
	for _, id := range strategies[:min(len(strategies), portal.MaxUnion)] {
		st, err := s.Portal.Strategy(c.Ctx(), id)
		if errors.Is(err, portal.ErrNotFound) {
			return badField("strategy_ids", "there is no strategy with id %d", id)
		} else if err != nil {
			return err
		}
		if asked[st.Template] {
			continue
		}
		asked[st.Template] = true
		if err := s.ownStrategies(c, st.Template); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) createUnion(c *Call) (any, error) {
	var in unionInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := s.ownUnion(c, in.Strategies); err != nil {
		return nil, err
	}
	u, err := s.Portal.SaveUnion(c.Ctx(), portal.Union{Name: in.Name, CreateUser: c.Caller.Name, Strategies: in.Strategies})
	if err != nil {
		return nil, err
	}
	c.Audit(u.ID, u)
	return u, nil
}

// updateUnion gives a combination other members and another name.
func (s *server) updateUnion(c *Call) (any, error) {
	var in unionInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.Portal.Union(c.Ctx(), in.ID)
	if err == nil {
		err = s.ownStrategies(c, old.Template)
	}
	if err == nil {
		err = s.ownUnion(c, in.Strategies)
	}
	if err != nil {
		return nil, err
	}
	u, err := s.Portal.SaveUnion(c.Ctx(), portal.Union{ID: in.ID, Name: in.Name, CreateUser: c.Caller.Name, Strategies: in.Strategies})
	if err != nil {
		return nil, err
	}
	c.Before(old)
	c.Audit(u.ID, u)
	return u, nil
}

// deleteUnion makes rules of their own of its strategies.
func (s *server) deleteUnion(c *Call) (any, error) {
	u, err := s.unionOfPath(c)
	if err == nil {
		err = s.ownStrategies(c, u.Template)
	}
	if err != nil {
		return nil, err
	}
	c.Before(u)
	c.Audit(u.ID, nil)
	if err := s.Portal.DissolveUnion(c.Ctx(), u.ID); err != nil {
		return nil, err
	}
	return fmt.Sprintf("union:%d has been dissolved: its strategies alarm on their own", u.ID), nil
}
