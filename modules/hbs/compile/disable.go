package compile

import (
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// binding names a binding of a template to a group, in whatever environments.
type binding struct{ group, tpl int }

// silences are the disables that are in force; of several for one thing the one that ends
// last. They take effect in this order (contract alerting 3.5): those of bindings before
// inheritance, so that a parent may come into force as if the child were not bound; those
// of templates and strategies after everything else, so that nothing takes the place of
// what they hide; those of hosts are a maintenance.
type silences struct {
	hosts      map[int]*portal.RuleDisable
	templates  map[int]*portal.RuleDisable
	strategies map[int]*portal.RuleDisable
	onHost     map[strategyOn]*portal.RuleDisable
	bindings   map[binding]*portal.RuleDisable
}

type strategyOn struct{ strategy, host int }

// readDisables sorts the disables that are in force, and finds out when the next begins
// or ends.
func (c *compiler) readDisables() {
	s := silences{
		hosts: map[int]*portal.RuleDisable{}, templates: map[int]*portal.RuleDisable{}, strategies: map[int]*portal.RuleDisable{},
		onHost: map[strategyOn]*portal.RuleDisable{}, bindings: map[binding]*portal.RuleDisable{},
	}
	now := c.now.Unix()
	for i := range c.rows.Disables {
		d := &c.rows.Disables[i]
		switch {
		case d.End <= now || d.End <= d.Begin:
			continue
		case d.Begin > now:
			c.earlier(time.Unix(d.Begin, 0))
			continue
		}
		c.earlier(time.Unix(d.End, 0))
		switch d.Type {
		case portal.DisableHost:
			s.hosts[d.Host] = later(s.hosts[d.Host], d)
		case portal.DisableTemplate:
			s.templates[d.Template] = later(s.templates[d.Template], d)
		case portal.DisableStrategy:
			s.strategies[d.Strategy] = later(s.strategies[d.Strategy], d)
		case portal.DisableStrategyOnHost:
			k := strategyOn{d.Strategy, d.Host}
			s.onHost[k] = later(s.onHost[k], d)
		case portal.DisableBinding:
			k := binding{d.Group, d.Template}
			s.bindings[k] = later(s.bindings[k], d)
		}
	}
	c.silent = s
}

// later returns the disable that ends later; a may be nil, b too.
func later(a, b *portal.RuleDisable) *portal.RuleDisable {
	if a == nil || b != nil && b.End > a.End {
		return b
	}
	return a
}

// of returns what hides a strategy that comes through a leaf to a host, 0 for any; nil
// when nothing does.
func (s *silences) of(r *rule, leaf, host int) *portal.RuleDisable {
	d := later(s.strategies[r.rule.Id], s.templates[r.tpl])
	return later(later(d, s.templates[leaf]), s.onHost[strategyOn{r.rule.Id, host}])
}

// closed returns the disable after whose end a template is bound to a host again; nil
// when it is bound, or not at all.
func (c *compiler) closed(host *portal.RuleHost, tpl int) (first *portal.RuleDisable) {
	for _, g := range c.groups[host.ID] {
		for _, b := range c.bound[g] {
			if b.tpl != tpl || !b.reaches(c.envs[host.Name]) {
				continue
			}
			d := c.silent.bindings[binding{g, tpl}]
			if d == nil {
				return nil
			}
			if first == nil || d.End < first.End {
				first = d
			}
		}
	}
	return first
}

// until writes a disable for an explanation; nil for none.
func until(d *portal.RuleDisable) *Disabled {
	if d == nil {
		return nil
	}
	return &Disabled{Type: d.Type, Until: d.End, ID: d.ID, Reason: d.Reason, Operator: d.Operator}
}

// silenced are the strategies that templates bring to hosts, after disables.
type silenced struct {
	left []*model.Strategy
	hid  bool // something was taken away
}

// silence returns what the open templates bring to a host, without what is disabled
// everywhere. all are those with a disabled binding, too: what comes through those alone
// is hidden as well.
func (c *compiler) silence(open, all []int) *silenced {
	type told struct{ strategy, action int }
	out := &silenced{}
	hide := func(s *model.Strategy) {
		out.hid, c.hidden[s.Id] = true, true
	}
	through := map[told]bool{}
	for _, s := range c.inForce(open) {
		through[told{s.Id, s.Tpl.ActionId}] = true
		if c.silent.of(c.byID[s.Id], s.Tpl.Id, 0) != nil {
			hide(s)
			continue
		}
		out.left = append(out.left, s)
	}
	if len(open) < len(all) {
		for _, s := range c.inForce(all) {
			if !through[told{s.Id, s.Tpl.ActionId}] {
				hide(s)
			}
		}
	}
	return out
}

// silenceHere returns strategies without those that are disabled on one host.
func (c *compiler) silenceHere(all []*model.Strategy, host int) []*model.Strategy {
	if len(c.silent.onHost) == 0 {
		return all
	}
	left := make([]*model.Strategy, 0, len(all))
	for _, s := range all {
		if c.silent.onHost[strategyOn{s.Id, host}] != nil {
			c.hidden[s.Id] = true
			continue
		}
		left = append(left, s)
	}
	return left
}
