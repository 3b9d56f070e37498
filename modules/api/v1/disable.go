package v1

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"falcon/common/portal"
)

// disableInput names what is to be disabled (contract alerting 3.5): type 1 needs a host,
// 2 a template, 3 a strategy, 4 a strategy and a host, 5 a group and a template.
type disableInput struct {
	Type     portal.DisableType `json:"type" form:"type" xml:"type"`
	Host     int64              `json:"host_id" form:"host_id" xml:"host_id"`
	Hostname string             `json:"hostname" form:"hostname" xml:"hostname"` // in place of host_id
	Template int64              `json:"tpl_id" form:"tpl_id" xml:"tpl_id"`
	Strategy int64              `json:"strategy_id" form:"strategy_id" xml:"strategy_id"`
	Group    int64              `json:"grp_id" form:"grp_id" xml:"grp_id"`
	Duration string             `json:"duration" form:"duration" xml:"duration"`
	Reason   string             `json:"reason" form:"reason" xml:"reason"`
}

// disableNeeds are the fields that each type needs; it takes no other.
var disableNeeds = map[portal.DisableType][]string{
	portal.DisableHost: {"host_id"}, portal.DisableTemplate: {"tpl_id"}, portal.DisableStrategy: {"strategy_id"},
	portal.DisableStrategyOnHost: {"strategy_id", "host_id"}, portal.DisableBinding: {"grp_id", "tpl_id"},
}

// disableTarget checks that in names what its type needs, nothing else, and things that are
// there.
func (s *server) disableTarget(c *Call, in *disableInput) (portal.Disable, error) {
	d := portal.Disable{Type: in.Type}
	if !in.Type.Known() {
		return d, badField("type", "type %d is unknown, use 1 for a host, 2 for a template, 3 for a strategy, 4 for a strategy on a host, 5 for a template on a group", int(in.Type))
	}
	if in.Hostname != "" {
		h, err := s.Portal.HostByName(c.Ctx(), in.Hostname)
		if errors.Is(err, portal.ErrNotFound) {
			return d, badField("hostname", "there is no host %q", in.Hostname)
		}
		if err != nil {
			return d, err
		}
		if in.Host != 0 && in.Host != h.ID {
			return d, badField("hostname", "host %q has id %d, not %d: name it by one of them", in.Hostname, h.ID, in.Host)
		}
		in.Host = h.ID
	}
	given := []struct {
		field string
		id    int64
		to    *int64
		what  string
		there func(id int64) error
	}{
		{"host_id", in.Host, &d.Host, "host", func(id int64) error { _, err := s.Portal.Host(c.Ctx(), id); return err }},
		{"grp_id", in.Group, &d.Group, "group", func(id int64) error { _, err := s.Portal.Group(c.Ctx(), id); return err }},
		{"tpl_id", in.Template, &d.Template, "template", func(id int64) error { _, err := s.Portal.Template(c.Ctx(), id); return err }},
		{"strategy_id", in.Strategy, &d.Strategy, "strategy", func(id int64) error { _, err := s.Portal.Strategy(c.Ctx(), id); return err }},
	}
	for _, g := range given {
		needed := false
		for _, f := range disableNeeds[in.Type] {
			needed = needed || f == g.field
		}
		switch {
		case needed && g.id <= 0:
			return d, badField(g.field, "type %d is %v: %s is required", int(in.Type), in.Type, g.field)
		case !needed && g.id != 0:
			return d, badField(g.field, "type %d is %v: %s does not belong to it", int(in.Type), in.Type, g.field)
		case !needed:
			continue
		}
		if err := g.there(g.id); errors.Is(err, portal.ErrNotFound) {
			return d, badField(g.field, "there is no %s with id %d", g.what, g.id)
		} else if err != nil {
			return d, err
		}
		*g.to = g.id
	}
	if in.Type == portal.DisableBinding {
		return d, s.needBound(c, d.Group, d.Template)
	}
	return d, nil
}

// needBound refuses a binding that is not there, for all hosts or in an environment.
func (s *server) needBound(c *Call, group, template int64) error {
	_, err := s.Portal.Binding(c.Ctx(), group, template)
	if !errors.Is(err, portal.ErrNotFound) {
		return err
	}
	envs, err := s.Portal.GroupEnvBindings(c.Ctx(), group)
	if err != nil {
		return err
	}
	for _, b := range envs {
		if b.Template == template {
			return nil
		}
	}
	return badField("tpl_id", "template %d is not bound to group %d", template, group)
}

// mayDisable says whether the caller may disable something, or end that: a template, its
// strategies and its bindings by the template's rule; a binding is also the group's; a
// host by that of its groups and of any template that it has.
func (s *server) mayDisable(c *Call, d *portal.Disable) (bool, error) {
	if s.mayAll(c) {
		return true, nil
	}
	template := d.Template
	switch d.Type {
	case portal.DisableHost:
		return s.mayHost(c, d.Host)
	case portal.DisableStrategy, portal.DisableStrategyOnHost:
		st, err := s.Portal.Strategy(c.Ctx(), d.Strategy)
		if err != nil {
			return false, err
		}
		template = st.Template
	case portal.DisableBinding:
		g, err := s.Portal.Group(c.Ctx(), d.Group)
		if err != nil || isCaller(c, g.CreateUser) {
			return err == nil, err
		}
	}
	t, err := s.Portal.Template(c.Ctx(), template)
	if err != nil {
		return false, err
	}
	return s.mayTemplate(c, t)
}

// mayHost says whether the caller may say something of a host: it is in a group of his,
// or has a template of his.
func (s *server) mayHost(c *Call, host int64) (bool, error) {
	if s.mayAll(c) {
		return true, nil
	}
	groups, err := s.Portal.HostGroups(c.Ctx(), host)
	if err != nil {
		return false, err
	}
	for _, g := range groups {
		if isCaller(c, g.CreateUser) {
			return true, nil
		}
	}
	templates, err := s.Portal.HostTemplates(c.Ctx(), host)
	if err != nil {
		return false, err
	}
	for i := range templates {
		if may, err := s.mayTemplate(c, &templates[i]); may || err != nil {
			return may, err
		}
	}
	return false, nil
}

func (s *server) createDisable(c *Call) (any, error) {
	var in disableInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	d, err := s.disableTarget(c, &in)
	if err != nil {
		return nil, err
	}
	lasts, err := portal.ParseDisableDuration(in.Duration)
	if err != nil {
		return nil, err
	}
	if may, err := s.mayDisable(c, &d); err != nil || !may {
		if err == nil {
			err = c.denied()
		}
		return nil, err
	}
	now := s.Now()
	d.Begin, d.End, d.Duration = now.Unix(), now.Add(lasts).Unix(), in.Duration
	d.Reason, d.Operator = in.Reason, c.Caller.Name
	if d.ID, err = s.Portal.CreateDisable(c.Ctx(), d); err != nil {
		return nil, err
	}
	c.Audit(d.ID, d)
	return s.Portal.Disable(c.Ctx(), d.ID)
}

// cancelDisable ends a disable now; whoever began it may, and who might have.
func (s *server) cancelDisable(c *Call) (any, error) {
	d, err := ofPath(c, "id", "a disable", s.Portal.Disable)
	if err != nil {
		return nil, err
	}
	if !isCaller(c, d.Operator) {
		may, err := s.mayDisable(c, &d.Disable)
		if errors.Is(err, portal.ErrNotFound) { // what it was about is gone: admins are left
			may, err = false, nil
		}
		if err == nil && !may {
			err = c.denied()
		}
		if err != nil {
			return nil, err
		}
	}
	now := s.Now().Unix()
	if err := s.Portal.CancelDisable(c.Ctx(), d.ID, c.Caller.Name, now); err != nil {
		return nil, err
	}
	c.Before(d.Disable)
	d.CancelTS, d.CancelUser = now, c.Caller.Name
	c.Audit(d.ID, d.Disable)
	return d, nil
}

// disables is a page of what is disabled, was and will be; active=1 is what is now.
func (s *server) disables(c *Call) (any, error) {
	limit, err := c.positive("limit", 100)
	if err != nil {
		return nil, err
	}
	page, err := c.positive("page", 1)
	if err != nil {
		return nil, err
	}
	if limit > 1000 || page > maxRows/limit {
		return nil, bad("page %d with limit %d: a page has 1000 at most", page, limit)
	}
	var f portal.DisableFilter
	var kind int64
	for name, to := range map[string]*int64{"type": &kind, "host_id": &f.Host, "tpl_id": &f.Template, "strategy_id": &f.Strategy, "grp_id": &f.Group} {
		n, err := c.positive(name, 0)
		if err != nil {
			return nil, err
		}
		*to = int64(n)
	}
	f.Type = portal.DisableType(kind)
	switch active := c.Query("active"); active {
	case "1", "true":
		f.ActiveAt = s.Now().Unix()
	case "", "0", "false":
	default:
		return nil, badField("active", "active %q is neither 1 nor 0", active)
	}
	all, total, err := s.Portal.Disables(c.Ctx(), f, limit, (page-1)*limit)
	if err != nil {
		return nil, err
	}
	return map[string]any{"total": total, "now": s.Now().Unix(), "disables": all}, nil
}

// silences is what alarm asks where it has no portal of its own.
func (s *server) silences(c *Call) (any, error) { return s.Portal.Silences(c.Ctx(), s.Now()) }

// previewDisable answers what a disable would hide that is in force, as hbs compiles it.
func (s *server) previewDisable(c *Call) (any, error) {
	var in disableInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	d, err := s.disableTarget(c, &in)
	if err != nil {
		return nil, err
	}
	if s.HBS == nil {
		return nil, noHBS("know what a disable would hide")
	}
	q := url.Values{"type": {strconv.Itoa(int(d.Type))}}
	for name, id := range map[string]int64{"host_id": d.Host, "tpl_id": d.Template, "strategy_id": d.Strategy, "grp_id": d.Group} {
		if id != 0 {
			q.Set(name, strconv.FormatInt(id, 10))
		}
	}
	b, err := s.HBS.Get(c.Ctx(), "/disable/preview?"+q.Encode())
	return s.relayed(c, "hbs", b, err)
}

// checkMaintenance refuses a maintenance of more than two weeks: a host that is forgotten
// in one is never heard of again.
func (s *server) checkMaintenance(in *maintenance) error {
	if left := time.Unix(in.End, 0).Sub(s.Now()); !s.AllowLongMaintain && left > portal.MaxSilence {
		return badField("maintain_end", "the maintenance would end in %d days; 14 are possible, unless allow_long_maintain is set in the configuration of api", int64(left/(24*time.Hour)))
	}
	return nil
}

// setHostEnv says in which environment hosts are; "" for unknown.
func (s *server) setHostEnv(c *Call) (any, error) {
	var in struct {
		Hosts []string `json:"hosts" form:"hosts" xml:"hosts"`
		IDs   []int64  `json:"ids" form:"ids" xml:"ids"`
		Env   *string  `json:"env" form:"env" xml:"env"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	switch n := len(in.Hosts) + len(in.IDs); {
	case in.Env == nil:
		return nil, badField("env", `env is required: prod, staging, test, or "" for unknown`)
	case n == 0:
		return nil, badField("hosts", "hosts or ids is required")
	case n > 1000:
		return nil, badField("hosts", "%d hosts are too many: at most 1000", n)
	}
	var names []string
	change := func(h *portal.Host, err error) error {
		if err != nil {
			return err
		}
		may, err := s.mayHost(c, h.ID)
		if err == nil && !may {
			err = c.denied()
		}
		names = append(names, h.Hostname)
		return err
	}
	for _, name := range in.Hosts {
		h, err := s.Portal.HostByName(c.Ctx(), name)
		if errors.Is(err, portal.ErrNotFound) {
			err = badField("hosts", "there is no host %q", name)
		}
		if err := change(h, err); err != nil {
			return nil, err
		}
	}
	for _, id := range in.IDs {
		h, err := s.Portal.Host(c.Ctx(), id)
		if errors.Is(err, portal.ErrNotFound) {
			err = badField("ids", "there is no host with id %d", id)
		}
		if err := change(h, err); err != nil {
			return nil, err
		}
	}
	before, err := s.Portal.HostEnvs(c.Ctx(), names)
	if err != nil {
		return nil, err
	}
	if err := s.Portal.SetHostEnv(c.Ctx(), names, *in.Env, s.Now()); err != nil {
		return nil, err
	}
	object := fmt.Sprintf("%d hosts", len(names))
	if len(names) == 1 {
		object = names[0]
	}
	c.Before(before)
	c.Audit(object, map[string]any{"hosts": names, "env": *in.Env})
	return map[string]any{"hosts": names, "env": *in.Env}, nil
}

// noHBS is the answer where hbs is needed and none is configured.
func noHBS(what string) error {
	return &Error{Status: 502, Text: "no hbs is configured that could " + what + ": set hbs.addr"}
}
