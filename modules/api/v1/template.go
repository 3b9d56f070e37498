package v1

import (
	"errors"
	"fmt"
	"slices"

	"falcon/common/model"
	"falcon/common/portal"
)

type templateRow struct {
	Template portal.Template `json:"template"`
	Parent   string          `json:"parent_name"`
}

func (s *server) templates(c *Call) (any, error) {
	match, err := portal.ParsePatterns(c.Query("q"), false)
	if err != nil {
		return nil, err
	}
	limit, offset, err := c.page()
	if err != nil {
		return nil, err
	}
	all, err := s.Portal.Templates(c.Ctx(), match, limit, offset)
	if err != nil {
		return nil, err
	}
	parents := make([]int64, len(all))
	for i, t := range all {
		parents[i] = t.ParentID
	}
	names, err := s.Portal.TemplateNames(c.Ctx(), parents)
	if err != nil {
		return nil, err
	}
	rows := make([]templateRow, len(all))
	for i, t := range all {
		rows[i] = templateRow{t, names[t.ParentID]}
	}
	return map[string]any{"templates": rows}, nil
}

// templateNames is stock's short list: of each template its id and its name alone.
func (s *server) templateNames(c *Call) (any, error) {
	match, err := portal.ParsePatterns(c.Query("q"), false)
	if err != nil {
		return nil, err
	}
	all, err := s.Portal.Templates(c.Ctx(), match, 0, 0)
	for i, t := range all {
		all[i] = portal.Template{ID: t.ID, Name: t.Name}
	}
	return all, err
}

// template reads the template of :id.
func (s *server) template(c *Call) (*portal.Template, error) {
	return ofPath(c, "id", "a template", s.Portal.Template)
}

func (s *server) wholeTemplate(c *Call) (any, error) {
	t, err := s.template(c)
	if err != nil {
		return nil, err
	}
	strategies, err := s.Portal.Strategies(c.Ctx(), t.ID)
	if err != nil {
		return nil, err
	}
	action, err := s.Portal.Action(c.Ctx(), t.ActionID)
	if err != nil && !errors.Is(err, portal.ErrNotFound) {
		return nil, err
	}
	parents, err := s.Portal.TemplateNames(c.Ctx(), []int64{t.ParentID})
	if err != nil {
		return nil, err
	}
	return map[string]any{"template": t, "stratges": strategies, "action": action, "parent_name": parents[t.ParentID]}, nil
}

func (s *server) createTemplate(c *Call) (any, error) {
	var in struct {
		Name   string `json:"name" form:"name" xml:"name"`
		Parent int64  `json:"parent_id" form:"parent_id" xml:"parent_id"`
		Action int64  `json:"action_id" form:"action_id" xml:"action_id"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := checkName("name", in.Name); err != nil {
		return nil, err
	}
	if in.Action != 0 && !s.hole() {
		// Its owners would not be alone with it from now on.
		if err := s.needAction(c, in.Action); err != nil {
			return nil, err
		}
	}
	t := portal.Template{Name: in.Name, ParentID: in.Parent, ActionID: in.Action, CreateUser: c.Caller.Name}
	var err error
	if t.ID, err = s.Portal.CreateTemplate(c.Ctx(), t); err != nil {
		return nil, err
	}
	c.Audit(t.ID, t)
	return t, nil
}

func (s *server) updateTemplate(c *Call) (any, error) {
	var in struct {
		ID     int64  `json:"tpl_id" form:"tpl_id" xml:"tpl_id"`
		Name   string `json:"name" form:"name" xml:"name"`
		Parent int64  `json:"parent_id" form:"parent_id" xml:"parent_id"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	t, err := s.Portal.Template(c.Ctx(), in.ID)
	if err == nil {
		err = s.needTemplate(c, t)
	}
	if err == nil && in.Name != t.Name { // stock may have taken the name it has
		err = checkName("name", in.Name)
	}
	if err != nil {
		return nil, err
	}
	c.Before(t)
	c.Audit(t.ID, map[string]any{"tpl_name": in.Name, "parent_id": in.Parent})
	if err := s.Portal.UpdateTemplate(c.Ctx(), t.ID, in.Name, in.Parent); err != nil {
		return nil, err
	}
	return "template updated", nil
}

func (s *server) deleteTemplate(c *Call) (any, error) {
	t, err := s.template(c)
	if err == nil && !s.hole() {
		err = s.needTemplate(c, t)
	}
	if err != nil {
		return nil, err
	}
	strategies, err := s.Portal.Strategies(c.Ctx(), t.ID)
	if err != nil {
		return nil, err
	}
	c.Before(map[string]any{"template": t, "strategies": strategies})
	c.Audit(t.ID, nil)
	if err := s.Portal.DeleteTemplate(c.Ctx(), t.ID); err != nil {
		return nil, err
	}
	return fmt.Sprintf("template %d has been deleted", t.ID), nil
}

// templateGroups answers the groups of a template, and those to which it is bound in one
// environment, if there are any.
func (s *server) templateGroups(c *Call) (any, error) {
	t, err := s.template(c)
	if err != nil {
		return nil, err
	}
	groups, err := s.Portal.TemplateGroups(c.Ctx(), t.ID)
	if err != nil {
		return nil, err
	}
	envs, err := s.Portal.TemplateEnvBindings(c.Ctx(), t.ID)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"template": t, "hostgroups": groups}
	if len(envs) > 0 {
		answer["env_bindings"] = envs
	}
	return answer, nil
}

// An inheritedRow is a strategy of a chain of templates.
type inheritedRow struct {
	Strategy     portal.Strategy `json:"strategy"`
	Template     int64           `json:"tpl_id"`
	Name         string          `json:"tpl_name"`
	OverriddenBy int64           `json:"overridden_by"` // the strategy that replaces it, or 0
	Own          bool            `json:"own"`           // written in the template asked for
}

// inherited lists the strategies of a template and of all it inherits from, the root's
// first, and which of them a descendant replaces: one that watches the same metric
// and tags. Hours are not looked at: outside of its hours a strategy replaces none.
func (s *server) inherited(c *Call) (any, error) {
	t, err := s.template(c)
	if err != nil {
		return nil, err
	}
	chain, err := s.Portal.TemplateChain(c.Ctx(), t.ID)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(chain))
	for i, t := range chain {
		ids[i] = t.ID
	}
	strategies, err := s.Portal.Strategies(c.Ctx(), ids...)
	if err != nil {
		return nil, err
	}
	type ref struct {
		ID   int64  `json:"id"`
		Name string `json:"tpl_name"`
	}
	refs, rows := []ref{}, []inheritedRow{}
	for i, t := range chain {
		refs = append(refs, ref{t.ID, t.Name})
		for _, st := range strategies {
			if st.Template != t.ID {
				continue
			}
			row := inheritedRow{Strategy: st, Template: t.ID, Name: t.Name, Own: i == len(chain)-1}
			for _, below := range chain[i+1:] { // the nearest descendant counts
				j := slices.IndexFunc(strategies, func(o portal.Strategy) bool { return o.Template == below.ID && watches(&o) == watches(&st) })
				if j >= 0 {
					row.OverriddenBy = strategies[j].ID
					break
				}
			}
			rows = append(rows, row)
		}
	}
	return map[string]any{"chain": refs, "strategies": rows}, nil
}

// watches identifies what a strategy watches; in a chain the lowest one of each counts.
func watches(s *portal.Strategy) string {
	return s.ValueType + "/" + s.Metric + "/" + model.SortedTags(model.RuleTags(s.Tags)) // numbers and texts replace their own kind
}

// --- actions -------------------------------------------------------------------------

func (s *server) action(c *Call) (any, error) {
	id, err := c.id("act_id", "an action")
	if err != nil {
		return nil, err
	}
	a, err := s.Portal.Action(c.Ctx(), id)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// createAction gives a template a new action.
func (s *server) createAction(c *Call) (any, error) {
	var in actionInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	t, err := s.Portal.Template(c.Ctx(), in.Template)
	if err == nil && !s.hole() {
		err = s.needTemplate(c, t)
	}
	if err != nil {
		return nil, err
	}
	a := in.row(portal.Action{})
	if err := s.checkAction(c, &a); err != nil {
		return nil, err
	}
	if a.ID, err = s.Portal.SetTemplateAction(c.Ctx(), t.ID, a); err != nil {
		return nil, err
	}
	c.Audit(a.ID, map[string]any{"action": a, "tpl_id": t.ID})
	return fmt.Sprintf("action is created and bind to template: %d", t.ID), nil
}

func (s *server) updateAction(c *Call) (any, error) {
	var in actionInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.Portal.Action(c.Ctx(), in.ID)
	if err == nil && !s.hole() {
		err = s.needAction(c, old.ID)
	}
	if err != nil {
		return nil, err
	}
	a := in.row(old)
	if err := s.checkAction(c, &a); err != nil {
		return nil, err
	}
	c.Before(old)
	c.Audit(a.ID, a)
	if err := s.Portal.UpdateAction(c.Ctx(), a); err != nil {
		return nil, err
	}
	return fmt.Sprintf("action is updated, row affected: 1, id: %d", a.ID), nil
}
