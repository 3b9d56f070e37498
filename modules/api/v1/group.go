package v1

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"falcon/common/portal"
)

func (s *server) groups(c *Call) (any, error) {
	match, err := portal.ParsePatterns(c.Query("q"), false)
	if err != nil {
		return nil, err
	}
	limit, offset, err := c.page()
	if err != nil {
		return nil, err
	}
	return s.Portal.Groups(c.Ctx(), match, limit, offset)
}

// checkName refuses what stock's pages would write into HTML as it stands.
func checkName(field, name string) error {
	if strings.TrimSpace(name) == "" {
		return badField(field, "%s is required", field)
	}
	if strings.ContainsAny(name, `<>&'"`) {
		return badField(field, `%s must not contain < > & ' "`, field)
	}
	return nil
}

func (s *server) createGroup(c *Call) (any, error) {
	var in struct {
		Name string `json:"name" form:"name" xml:"name"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := checkName("name", in.Name); err != nil {
		return nil, err
	}
	g := portal.Group{Name: in.Name, CreateUser: c.Caller.Name}
	var err error
	if g.ID, err = s.Portal.CreateGroup(c.Ctx(), g.Name, g.CreateUser); err != nil {
		return nil, err
	}
	c.Audit(g.ID, g)
	return g, nil
}

func (s *server) renameGroup(c *Call) (any, error) {
	var in struct {
		ID   int64  `json:"id" form:"id" xml:"id"`
		Name string `json:"grp_name" form:"grp_name" xml:"grp_name"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := checkName("grp_name", in.Name); err != nil {
		return nil, err
	}
	g, err := s.ownGroup(c, in.ID, s.hole())
	if err != nil {
		return nil, err
	}
	c.Before(g)
	c.Audit(g.ID, map[string]string{"grp_name": in.Name})
	if err := s.Portal.RenameGroup(c.Ctx(), g.ID, in.Name); err != nil {
		return nil, err
	}
	return "hostgroup profile updated", nil
}

// ownGroup returns a group that the caller may change; with anybody everybody may.
func (s *server) ownGroup(c *Call, id int64, anybody bool) (*portal.Group, error) {
	g, err := s.Portal.Group(c.Ctx(), id)
	if err != nil || anybody {
		return g, err
	}
	return g, s.needGroup(c, g)
}

// group reads the group of :id.
func (s *server) group(c *Call) (*portal.Group, error) {
	return ofPath(c, "id", "a group", s.Portal.Group)
}

// groupWithHosts answers a group and its hosts, those whose name matches q, a regular
// expression of Go's as in stock.
func (s *server) groupWithHosts(c *Call) (any, error) {
	g, err := s.group(c)
	if err != nil {
		return nil, err
	}
	hosts, err := s.Portal.GroupHosts(c.Ctx(), g.ID)
	if err != nil {
		return nil, err
	}
	if q := c.Query("q"); q != "" {
		if len(q) > 512 {
			return nil, bad("q is longer than 512 bytes")
		}
		re, err := regexp.Compile(q)
		if err != nil {
			return nil, bad("q %q: %v", q, err)
		}
		some := []portal.Host{}
		for _, h := range hosts {
			if re.MatchString(h.Hostname) {
				some = append(some, h)
			}
		}
		hosts = some
	}
	return map[string]any{"hostgroup": g, "hosts": hosts}, nil
}

// groupHostNames is the fork's short form of groupWithHosts.
func (s *server) groupHostNames(c *Call) (any, error) {
	g, err := s.group(c)
	return s.hostNames(c, g, err)
}

func (s *server) groupHostNamesByName(c *Call) (any, error) {
	g, err := s.Portal.GroupByName(c.Ctx(), c.Param("group_name"))
	return s.hostNames(c, g, err)
}

func (s *server) hostNames(c *Call, g *portal.Group, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	hosts, err := s.Portal.GroupHosts(c.Ctx(), g.ID)
	if err != nil {
		return nil, err
	}
	var names []string // null when there are none, as in the fork
	for _, h := range hosts {
		names = append(names, h.Hostname)
	}
	return map[string]any{"hosts": names}, nil
}

// groupEndpoints is the fork's list of those hosts of a group, named by tag, that
// graphs know as endpoints.
func (s *server) groupEndpoints(c *Call) (any, error) {
	if err := required("tag", c.Query("tag")); err != nil {
		return nil, err
	}
	limit, offset, err := c.graphPage()
	if err != nil {
		return nil, err
	}
	g, err := s.Portal.GroupByName(c.Ctx(), c.Query("tag"))
	if err != nil {
		return nil, err
	}
	hosts, err := s.Portal.GroupHosts(c.Ctx(), g.ID)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Hostname
	}
	found, err := s.Portal.EndpointsByName(c.Ctx(), names, 0)
	if err != nil {
		return nil, err
	}
	type row struct {
		ID       int64
		Endpoint string `json:"endpoint"`
		Counters []any  `json:"EndpointCounters"` // always null, as in the fork
	}
	rows := []row{}
	for _, e := range found[min(offset, len(found)):min(offset+limit, len(found))] {
		rows = append(rows, row{ID: e.ID, Endpoint: e.Endpoint})
	}
	return map[string]any{"hosts": rows}, nil
}

func (s *server) deleteGroup(c *Call) (any, error) {
	id, err := c.id("id", "a group")
	if err != nil {
		return nil, err
	}
	g, err := s.ownGroup(c, id, false)
	if err != nil {
		return nil, err
	}
	c.Before(g)
	c.Audit(g.ID, nil)
	if err := s.Portal.DeleteGroup(c.Ctx(), g.ID); err != nil {
		return nil, err
	}
	return fmt.Sprintf("hostgroup:%d has been deleted", g.ID), nil
}

// changeHosts does what the routes below have in common.
func (s *server) changeHosts(c *Call, group int64, mode portal.BindMode, hosts []string, dry bool) (*portal.HostChange, error) {
	g, err := s.ownGroup(c, group, false)
	if err != nil {
		return nil, err
	}
	change, err := s.Portal.SetGroupHosts(c.Ctx(), g.ID, mode, hosts, dry)
	if err != nil {
		return nil, err
	}
	if dry {
		c.Unchanged()
	}
	c.Audit(g.ID, map[string]any{"added": change.Added, "removed": change.Removed, "members": change.Members})
	return change, nil
}

// bindHosts makes the hosts of a group those that are named.
func (s *server) bindHosts(c *Call) (any, error) {
	var in struct {
		Group int64     `json:"hostgroup_id" form:"hostgroup_id" xml:"hostgroup_id"`
		Hosts *[]string `json:"hosts" form:"hosts" xml:"hosts"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.Hosts == nil {
		return nil, badField("hosts", "hosts is required: an empty list empties the group")
	}
	change, err := s.changeHosts(c, in.Group, portal.BindReplace, *in.Hosts, false)
	if err != nil {
		return nil, err
	}
	return fmt.Sprintf("%v bind to hostgroup: %d", change.IDs, in.Group), nil
}

func (s *server) unbindHost(c *Call) (any, error) {
	var in struct {
		Group int64 `json:"hostgroup_id" form:"hostgroup_id" xml:"hostgroup_id"`
		Host  int64 `json:"host_id" form:"host_id" xml:"host_id"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	g, err := s.ownGroup(c, in.Group, false)
	if err != nil {
		return nil, err
	}
	c.Audit(g.ID, map[string]any{"removed": in.Host})
	if err := s.Portal.UnbindHost(c.Ctx(), g.ID, in.Host); err != nil {
		return nil, err
	}
	return fmt.Sprintf("unbind host:%d of hostgroup: %d", in.Host, g.ID), nil
}

func (s *server) patchHosts(c *Call) (any, error) {
	id, err := c.id("id", "a group")
	if err != nil {
		return nil, err
	}
	var in struct {
		Action string   `json:"action" form:"action" xml:"action"`
		Hosts  []string `json:"hosts" form:"hosts" xml:"hosts"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	mode := portal.BindMode(in.Action)
	if mode != portal.BindAdd && mode != portal.BindRemove {
		return nil, badField("action", `action %q is unknown, use "add" or "remove"`, in.Action)
	}
	if len(in.Hosts) == 0 {
		return nil, badField("hosts", "hosts is required")
	}
	change, err := s.changeHosts(c, id, mode, in.Hosts, false)
	if err != nil {
		return nil, err
	}
	return fmt.Sprintf("%v %s hostgroup: %d", change.IDs, in.Action, id), nil
}

// setHosts is our own form of the three above: it says what it did, or with dry_run
// what it would do.
func (s *server) setHosts(c *Call) (any, error) {
	id, err := c.id("id", "a group")
	if err != nil {
		return nil, err
	}
	var in struct {
		Mode  string    `json:"mode" form:"mode" xml:"mode"`
		Hosts *[]string `json:"hosts" form:"hosts" xml:"hosts"`
		Dry   bool      `json:"dry_run" form:"dry_run" xml:"dry_run"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.Hosts == nil {
		return nil, badField("hosts", "hosts is required: an empty list with replace empties the group")
	}
	change, err := s.changeHosts(c, id, portal.BindMode(in.Mode), *in.Hosts, in.Dry)
	if err != nil {
		return nil, err
	}
	return struct {
		Added     []string `json:"added"`
		Removed   []string `json:"removed"`
		Created   []string `json:"created"`
		Unchanged int      `json:"unchanged"`
		Members   int      `json:"members"`
	}{change.Added, change.Removed, change.Created, change.Unchanged, change.Members}, nil
}

// --- plugins -------------------------------------------------------------------------

func (s *server) groupPlugins(c *Call) (any, error) {
	g, err := s.group(c)
	if err != nil {
		return nil, err
	}
	return s.Portal.GroupPlugins(c.Ctx(), g.ID)
}

func (s *server) createPlugin(c *Call) (any, error) {
	var in struct {
		Group int64  `json:"hostgroup_id" form:"hostgroup_id" xml:"hostgroup_id"`
		Dir   string `json:"dir_path" form:"dir_path" xml:"dir_path"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	g, err := s.ownGroup(c, in.Group, false)
	if err != nil {
		return nil, err
	}
	p := portal.Plugin{Group: g.ID, Dir: in.Dir, CreateUser: c.Caller.Name}
	if p.ID, err = s.Portal.CreatePlugin(c.Ctx(), p); err != nil {
		return nil, err
	}
	c.Audit(p.ID, p)
	return p, nil
}

func (s *server) deletePlugin(c *Call) (any, error) {
	id, err := c.id("id", "a plugin")
	if err != nil {
		return nil, err
	}
	p, err := s.Portal.Plugin(c.Ctx(), id)
	if err != nil {
		return nil, err
	}
	if !isCaller(c, p.CreateUser) {
		// The group may be gone: then only admins are left.
		g, err := s.Portal.Group(c.Ctx(), p.Group)
		if errors.Is(err, portal.ErrNotFound) {
			g, err = &portal.Group{}, nil
		}
		if err == nil {
			err = s.needGroup(c, g)
		}
		if err != nil {
			return nil, err
		}
	}
	c.Before(p)
	c.Audit(p.ID, nil)
	if err := s.Portal.DeletePlugin(c.Ctx(), p.ID); err != nil {
		return nil, err
	}
	return fmt.Sprintf("plugin:%d is deleted", p.ID), nil
}

// --- templates of groups -------------------------------------------------------------

type bindInput struct {
	Template int64 `json:"tpl_id" form:"tpl_id" xml:"tpl_id"`
	Group    int64 `json:"grp_id" form:"grp_id" xml:"grp_id"`
	// Env limits the binding to the hosts of one environment; empty for all.
	Env string `json:"env" form:"env" xml:"env"`
}

// ownBinding refuses callers to whom neither the group nor the template belongs.
func (s *server) ownBinding(c *Call, in bindInput) (*portal.Group, *portal.Template, error) {
	g, err := s.Portal.Group(c.Ctx(), in.Group)
	if err != nil {
		return nil, nil, err
	}
	t, err := s.Portal.Template(c.Ctx(), in.Template)
	if err != nil {
		return nil, nil, err
	}
	if isCaller(c, g.CreateUser) {
		return g, t, nil
	}
	return g, t, s.needTemplate(c, t)
}

func (s *server) bindTemplate(c *Call) (any, error) {
	var in bindInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if !s.hole() {
		if _, _, err := s.ownBinding(c, in); err != nil {
			return nil, err
		}
	}
	if in.Env != "" {
		b := portal.EnvBinding{Group: in.Group, Template: in.Template, Env: in.Env, BindUser: c.Caller.Name}
		var err error
		if b.ID, err = s.Portal.BindTemplateEnv(c.Ctx(), b); err != nil {
			return nil, err
		}
		c.Audit(in.Group, b)
		return b, nil
	}
	b := portal.Binding{Group: in.Group, Template: in.Template, BindUser: c.Caller.Name}
	c.Audit(in.Group, b)
	if err := s.Portal.BindTemplate(c.Ctx(), b); err != nil {
		return nil, err
	}
	return b, nil
}

// unbindTemplate is for admins and who bound it, and with strict permissions also for
// whom the group or the template belongs to.
func (s *server) unbindTemplate(c *Call) (any, error) {
	var in bindInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.Env != "" {
		b, err := s.Portal.EnvBinding(c.Ctx(), in.Group, in.Template, in.Env)
		if err == nil {
			err = s.mayUnbind(c, in, b.BindUser)
		}
		if err != nil {
			return nil, err
		}
		c.Before(b)
		c.Audit(in.Group, nil)
		if err := s.Portal.UnbindTemplateEnv(c.Ctx(), in.Group, in.Template, in.Env); err != nil {
			return nil, err
		}
		return fmt.Sprintf("template: %d is unbind of HostGroup: %d in %s", in.Template, in.Group, in.Env), nil
	}
	b, err := s.Portal.Binding(c.Ctx(), in.Group, in.Template)
	if err == nil {
		err = s.mayUnbind(c, in, b.BindUser)
	}
	if err != nil {
		return nil, err
	}
	c.Before(b)
	c.Audit(in.Group, nil)
	if err := s.Portal.UnbindTemplate(c.Ctx(), in.Group, in.Template); err != nil {
		return nil, err
	}
	return fmt.Sprintf("template: %d is unbind of HostGroup: %d", in.Template, in.Group), nil
}

// mayUnbind refuses callers who may not end a binding that somebody made.
func (s *server) mayUnbind(c *Call, in bindInput, by string) error {
	switch {
	case s.mayAll(c) || isCaller(c, by):
		return nil
	case s.hole():
		return c.denied()
	}
	_, _, err := s.ownBinding(c, in)
	return err
}

// groupTemplates answers the templates of a group, and those that are bound to it in one
// environment, if there are any.
func (s *server) groupTemplates(c *Call) (any, error) {
	g, err := s.group(c)
	if err != nil {
		return nil, err
	}
	templates, err := s.Portal.GroupTemplates(c.Ctx(), g.ID)
	if err != nil {
		return nil, err
	}
	envs, err := s.Portal.GroupEnvBindings(c.Ctx(), g.ID)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"hostgroup": g, "templates": templates}
	if len(envs) > 0 {
		answer["env_bindings"] = envs
	}
	return answer, nil
}
