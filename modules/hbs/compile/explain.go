package compile

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"falcon/common/model"
	"falcon/common/portal"
)

// Named is a row by its id and name.
type Named struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// HostRules are the rules of a host with the reason for each (contract alerting 3.6).
type HostRules struct {
	Host        ExplainedHost       `json:"host"`
	Strategies  []Explained         `json:"strategies"`
	Expressions []*model.Expression `json:"expressions"` // those that name no endpoint, or this one
}

// ExplainedHost is the host itself.
type ExplainedHost struct {
	ID       int    `json:"id"`
	Hostname string `json:"hostname"`
	Env      string `json:"env"`      // prod, staging or test; empty for unknown
	Maintain bool   `json:"maintain"` // nothing is judged
	// Disabled says that the host itself is disabled, so that nothing is judged either.
	Disabled *Disabled `json:"disabled"`
}

// Disabled says by what a strategy is kept from the host, and until when.
type Disabled struct {
	Type     portal.DisableType `json:"type"`
	Until    int64              `json:"until"` // Unix seconds
	ID       int                `json:"id"`    // of the disable
	Reason   string             `json:"reason"`
	Operator string             `json:"operator"`
}

// Group is a group that binds a template to the host.
type Group struct {
	Named
	Env string `json:"env"` // to which the binding is limited; empty for none
}

// Explained is a strategy that reaches the host.
type Explained struct {
	Strategy model.Strategy `json:"strategy"`
	Owner    Named          `json:"owner_tpl"` // the template it is written in
	Leaf     Named          `json:"leaf_tpl"`  // the bound template it comes through, whose action is told
	Chain    []Named        `json:"chain"`     // from the root to the leaf
	Action   Action         `json:"action"`
	Groups   []Group        `json:"groups"` // that bind the leaf to the host
	InWindow bool           `json:"in_window"`
	Disabled *Disabled      `json:"disabled"` // null while it is in force
	// Overridden are the strategies of ancestors that this one replaces.
	Overridden []Overridden `json:"overridden"`
}

// Action says who is told.
type Action struct {
	ID  int    `json:"id"`
	UIC string `json:"uic"` // names of teams, joined with commas
}

// Overridden is a strategy that is not in force because a descendant's is.
type Overridden struct {
	Strategy int `json:"strategy_id"`
	Template int `json:"tpl_id"`
}

// Host explains the rules of the host that match accepts; false when there is none.
// Strategies out of their hours and disabled ones are listed, too, and say so.
func (r *Result) Host(match func(portal.RuleHost) bool) (HostRules, bool) {
	c := r.c
	i := slices.IndexFunc(c.rows.Hosts, match)
	if i < 0 {
		return HostRules{}, false
	}
	h := c.rows.Hosts[i]
	out := HostRules{
		Host:       ExplainedHost{ID: h.ID, Hostname: h.Name, Env: c.envs[h.Name], Maintain: maintained(h, c.now), Disabled: until(c.silent.hosts[h.ID])},
		Strategies: []Explained{}, Expressions: []*model.Expression{},
	}
	type told struct{ strategy, action int }
	seen := map[told]bool{}
	list := func(chain []int, closed *portal.RuleDisable) {
		leaf := c.templates[chain[len(chain)-1]]
		inForce := c.comesDown(chain)
		for _, t := range chain {
			for _, rule := range c.owned[t] {
				in := slices.Contains(inForce, rule)
				if rule.inHours && !in || seen[told{rule.rule.Id, leaf.Action}] {
					continue // overridden, or reaches the same people already
				}
				seen[told{rule.rule.Id, leaf.Action}] = true
				off := until(later(later(c.silent.hosts[h.ID], closed), c.silent.of(rule, leaf.ID, h.ID)))
				out.Strategies = append(out.Strategies, Explained{
					Strategy: c.as(rule, leaf.ID), Owner: c.named(t), Leaf: c.named(leaf.ID), Chain: c.path(chain),
					Action: c.action(leaf.Action), Groups: c.binding(&h, leaf.ID), InWindow: rule.inHours, Disabled: off, Overridden: c.overridden(rule, chain),
				})
			}
		}
	}
	open := c.leafChains(c.templatesOf(&h, false))
	for _, chain := range open {
		list(chain, nil)
	}
	// What would come through bindings that are disabled, if it does not come anyway.
	for _, chain := range c.leafChains(c.templatesOf(&h, true)) {
		if closed := c.closed(&h, chain[len(chain)-1]); closed != nil {
			list(chain, closed)
		}
	}
	slices.SortStableFunc(out.Strategies, func(a, b Explained) int { return a.Strategy.Id - b.Strategy.Id })
	for _, e := range r.Book.Expressions {
		if on, ok := e.Tags["endpoint"]; !ok || on == h.Name {
			out.Expressions = append(out.Expressions, e)
		}
	}
	return out, true
}

func (c *compiler) named(tpl int) Named { return Named{tpl, c.templates[tpl].Name} }

func (c *compiler) path(chain []int) []Named {
	out := make([]Named, len(chain))
	for i, t := range chain {
		out[i] = c.named(t)
	}
	return out
}

func (c *compiler) action(id int) Action {
	a := Action{ID: id}
	if i := slices.IndexFunc(c.rows.Actions, func(r portal.RuleAction) bool { return r.ID == id }); i >= 0 {
		a.UIC = c.rows.Actions[i].UIC
	}
	return a
}

// binding returns the groups of a host that bind a template to it.
func (c *compiler) binding(host *portal.RuleHost, tpl int) []Group {
	out := []Group{}
	for _, g := range c.rows.Groups {
		if !slices.Contains(c.groups[host.ID], g.ID) {
			continue
		}
		for _, b := range c.bound[g.ID] {
			if b.tpl == tpl && b.reaches(c.envs[host.Name]) {
				out = append(out, Group{Named{g.ID, g.Name}, b.env})
			}
		}
	}
	return out
}

// overridden returns the strategies above r in the chain that watch what r watches.
func (c *compiler) overridden(r *rule, chain []int) []Overridden {
	out := []Overridden{}
	for _, t := range chain[:slices.Index(chain, r.tpl)] {
		for _, o := range c.owned[t] {
			if o.watches == r.watches {
				out = append(out, Overridden{o.rule.Id, t})
			}
		}
	}
	return out
}

// Plugins returns the folders of plugins that the groups of a host bind, sorted.
func (r *Result) Plugins(host string) []string { return r.c.ofGroups(host, r.c.plugins) }

// Services returns the services that the groups of a host have measured, sorted.
func (r *Result) Services(host string) []string { return r.c.ofGroups(host, r.c.services) }

// ofGroups returns what the groups of a host name, each once, sorted.
func (c *compiler) ofGroups(host string, by map[int][]string) []string {
	h := c.hosts[host]
	if h == nil {
		return nil
	}
	var all []string
	for _, g := range c.groups[h.ID] {
		all = append(all, by[g]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// onDemand are the metrics that an agent collects only where a strategy wants them. A
// stock agent passes over proc.coredump, which it does not know.
var onDemand = []string{"net.port.listen", "proc.num", "du.bs", "url.check.health", "proc.coredump"}

// Builtin is what an agent has to collect on demand.
type Builtin struct {
	Metrics []*model.BuiltinMetric // by metric and tags
	// Checksum is stock's: the MD5 of metric/tags of all, sorted, with nothing between
	// them; empty when there is nothing to collect.
	Checksum string
}

// Builtin returns the metrics that the agent of a host has to collect because a
// strategy of a bound template or of an ancestor watches them, whatever its hours and
// whether it is overridden or not (contract ingest 4.4). Excluding tags name nothing
// to collect; the others stay in the order in which they are written, for stock agents
// take those of url.check.health by their place. What it returns is shared by all
// hosts of the same templates: every agent asks once a minute.
func (r *Result) Builtin(host string) *Builtin {
	c := r.c
	h := c.hosts[host]
	if h == nil {
		return nothing
	}
	// Of disabled bindings, too: the agent goes on collecting, and nothing is missing when
	// the disable ends.
	tpls := c.templatesOf(h, true)
	if len(tpls) == 0 {
		return nothing
	}
	var room [64]byte
	key := room[:0]
	for _, t := range tpls {
		key = binary.AppendUvarint(key, uint64(t))
	}
	c.collecting.Lock()
	defer c.collecting.Unlock()
	b := c.collected[string(key)]
	if b == nil {
		b = c.collect(tpls)
		c.collected[string(key)] = b
	}
	return b
}

var nothing = &Builtin{}

func (c *compiler) collect(tpls []int) *Builtin {
	seen := map[string]bool{}
	b := &Builtin{}
	for _, t := range tpls {
		for _, a := range c.chain(t) {
			for _, rule := range c.owned[a] {
				s, text := rule.rule, positive(rule.written)
				if slices.Contains(onDemand, s.Metric) && text != "" && !seen[s.Metric+"/"+text] {
					seen[s.Metric+"/"+text] = true
					b.Metrics = append(b.Metrics, &model.BuiltinMetric{Metric: s.Metric, Tags: text})
				}
			}
		}
	}
	if len(b.Metrics) == 0 {
		return nothing
	}
	slices.SortFunc(b.Metrics, func(a, b *model.BuiltinMetric) int {
		return cmp.Or(strings.Compare(a.Metric, b.Metric), strings.Compare(a.Tags, b.Tags))
	})
	b.Checksum = model.Checksum(strings.Join(slices.Sorted(maps.Keys(seen)), ""))
	return b
}

// positive returns the pairs of tags, as they are written, that do not exclude.
func positive(tags string) string {
	pairs := strings.Split(strings.ReplaceAll(tags, " ", ""), ",")
	return strings.Join(slices.DeleteFunc(pairs, func(p string) bool { return strings.HasPrefix(p, "^") || !strings.Contains(p, "=") }), ",")
}

// Hosts returns the hosts that are neither in maintenance nor disabled, by id, as stock's
// /hosts shows them.
func (r *Result) Hosts() map[int]StockHost {
	out := make(map[int]StockHost, len(r.c.rows.Hosts))
	for _, h := range r.c.rows.Hosts {
		if !maintained(h, r.c.now) && r.c.silent.hosts[h.ID] == nil {
			out[h.ID] = StockHost{h.ID, h.Name}
		}
	}
	return out
}

// StockHost is a host as stock's hbs shows it.
type StockHost struct {
	Id   int
	Name string
}

// Strategies returns the strategies that are in their hours and not disabled everywhere,
// by id, each with the template that owns it, as stock's /strategies shows them.
func (r *Result) Strategies() map[int]model.Strategy {
	out := map[int]model.Strategy{}
	for _, s := range r.c.strategies {
		if s.inHours && r.c.silent.of(s, s.tpl, 0) == nil {
			out[s.rule.Id] = r.c.as(s, s.tpl)
		}
	}
	return out
}

// Templates returns the templates by id, as stock's /templates shows them.
func (r *Result) Templates() map[int]model.Template {
	out := make(map[int]model.Template, len(r.c.templates))
	for id, t := range r.c.templates {
		out[id] = model.Template{Id: t.ID, Name: t.Name, ParentId: t.Parent, ActionId: t.Action, Creator: t.Creator}
	}
	return out
}
