package compile

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/rulebook"
)

// maxChain is the number of templates from which on a chain of inheritance is taken
// for a cycle, as in stock.
const maxChain = 10

// A Bad row was set aside; everything beside it is in force.
type Bad struct {
	What   string `json:"what"` // strategy, expression or template
	ID     int    `json:"id"`
	Reason string `json:"reason"`
}

func (b Bad) String() string { return fmt.Sprintf("%s %d: %s", b.What, b.ID, b.Reason) }

// A Result is what a set of rows comes out as.
type Result struct {
	Book *rulebook.Book
	Bad  []Bad
	// Next is when the book changes although no row does: a strategy's hours begin or
	// end, a maintenance or a disable begins or ends. Zero for never.
	Next time.Time
	// Covered is how many hosts have strategies, those included whose strategies are
	// silent for now because somebody wanted that.
	Covered int

	c *compiler
}

// Compile makes the book that is in force at now. Hours of strategies are meant in
// now's time zone.
func Compile(rows *portal.RuleRows, now time.Time) *Result {
	c := newCompiler(rows, now)
	book := rulebook.New()
	res := &Result{Book: book, c: c}
	// Hosts of the same templates have the same strategies.
	made := map[string]*silenced{}
	for _, h := range rows.Hosts {
		if h.Name == "" {
			continue
		}
		all := c.templatesOf(&h, true)
		open := all
		if len(c.silent.bindings) > 0 {
			open = c.templatesOf(&h, false)
		}
		if maintained(h, now) || c.silent.hosts[h.ID] != nil {
			book.Disabled = append(book.Disabled, h.Name)
			if len(all) > 0 {
				res.Covered++
			}
			continue
		}
		if len(all) == 0 {
			continue
		}
		key := fmt.Sprint(all)
		if len(open) < len(all) {
			key += fmt.Sprint(open)
		}
		of, ok := made[key]
		if !ok {
			of = c.silence(open, all)
			made[key] = of
		}
		left := c.silenceHere(of.left, h.ID)
		if len(of.left) > 0 || of.hid {
			res.Covered++
		}
		book.Add(h.Name, left)
	}
	slices.Sort(book.Disabled)
	book.Disabled = slices.Compact(book.Disabled)
	for _, s := range c.strategies {
		if !s.inHours || c.hidden[s.rule.Id] {
			book.Paused = append(book.Paused, s.rule.Id)
		}
	}
	for _, e := range rows.Expressions {
		x, reason := expression(e)
		if reason != "" {
			c.bad = append(c.bad, Bad{"expression", e.ID, reason})
			continue
		}
		book.Expressions = append(book.Expressions, x)
	}
	res.Bad, res.Next = c.bad, c.next
	return res
}

// A rule is a strategy as the compiler knows it.
type rule struct {
	rule    *model.Strategy // without leaf
	watches string          // metric and sorted tags: what a descendant's strategy replaces
	tpl     int             // the template that owns it
	written string          // the tags as they stand in the row
	inHours bool
}

type compiler struct {
	rows       *portal.RuleRows
	now        time.Time
	templates  map[int]*portal.RuleTemplate
	strategies []*rule
	byID       map[int]*rule
	owned      map[int][]*rule // by template
	groups     map[int][]int   // host to its groups
	bound      map[int][]bound // group to its templates
	envs       map[string]string
	silent     silences
	hidden     map[int]bool    // strategies that a disable keeps from some host
	chains     map[int][]int   // template to its chain, root first; nil for a cycle
	effective  map[int][]*rule // leaf to what comes down its chain
	leaves     map[leafOf]*model.Strategy
	hosts      map[string]*portal.RuleHost
	plugins    map[int][]string // group to its folders
	services   map[int][]string // group to its services
	bad        []Bad
	next       time.Time

	// What agents collect on demand, made at the first need: by the templates of a host.
	collecting sync.Mutex
	collected  map[string]*Builtin
}

type leafOf struct{ strategy, leaf int }

func newCompiler(rows *portal.RuleRows, now time.Time) *compiler {
	c := &compiler{
		rows: rows, now: now, templates: map[int]*portal.RuleTemplate{}, owned: map[int][]*rule{}, groups: map[int][]int{}, bound: map[int][]bound{},
		byID: map[int]*rule{}, envs: make(map[string]string, len(rows.Envs)), hidden: map[int]bool{},
		chains: map[int][]int{}, effective: map[int][]*rule{}, leaves: map[leafOf]*model.Strategy{},
		hosts: make(map[string]*portal.RuleHost, len(rows.Hosts)), plugins: map[int][]string{}, services: map[int][]string{}, collected: map[string]*Builtin{},
	}
	for i := range rows.Templates {
		c.templates[rows.Templates[i].ID] = &rows.Templates[i]
	}
	for _, s := range rows.Strategies {
		if c.templates[s.Template] == nil {
			c.bad = append(c.bad, Bad{"strategy", s.ID, fmt.Sprintf("its template %d does not exist", s.Template)})
			continue
		}
		r, reason := strategy(s)
		if reason != "" {
			c.bad = append(c.bad, Bad{"strategy", s.ID, reason})
			continue
		}
		h := hours{s.RunBegin, s.RunEnd}
		r.inHours = h.contain(now)
		c.earlier(h.next(now))
		c.strategies = append(c.strategies, r)
		c.byID[s.ID] = r
		c.owned[s.Template] = append(c.owned[s.Template], r)
	}
	c.combine()
	for _, p := range rows.Plugins {
		c.plugins[p.Group] = append(c.plugins[p.Group], p.Dir)
	}
	for _, s := range rows.Services {
		c.services[s.Group] = append(c.services[s.Group], s.Name)
	}
	for _, p := range rows.GroupHosts {
		c.groups[p.Other] = append(c.groups[p.Other], p.Group)
	}
	for _, p := range rows.GroupTemplates {
		c.bound[p.Group] = append(c.bound[p.Group], bound{p.Other, ""})
	}
	for _, p := range rows.EnvTemplates {
		c.bound[p.Group] = append(c.bound[p.Group], bound{p.Template, p.Env})
	}
	for _, e := range rows.Envs {
		c.envs[e.Host] = e.Env
	}
	c.readDisables()
	for i := range rows.Hosts {
		h := &rows.Hosts[i]
		c.hosts[h.Name] = h
		// In maintenance from begin to end, both included.
		for _, at := range []int64{h.MaintainBegin, h.MaintainEnd + 1} {
			if at > now.Unix() && h.MaintainEnd >= h.MaintainBegin {
				c.earlier(time.Unix(at, 0))
			}
		}
	}
	// All chains at once: afterwards a result is only read.
	for _, t := range rows.Templates {
		if chain := c.chain(t.ID); chain != nil {
			c.comesDown(chain)
		}
	}
	return c
}

func (c *compiler) earlier(t time.Time) {
	if !t.IsZero() && (c.next.IsZero() || t.Before(c.next)) {
		c.next = t
	}
}

// A bound template is bound to those hosts of its group that are in env, or to all.
type bound struct {
	tpl int
	env string // "" for all
}

// reaches says whether a binding is for a host in env, "" when that is unknown.
func (b bound) reaches(env string) bool { return b.env == "" || b.env == env }

// templatesOf returns the templates that are bound to a host, each once, ascending;
// those whose binding is disabled with closed only.
func (c *compiler) templatesOf(host *portal.RuleHost, closed bool) []int {
	var tpls []int
	env := c.envs[host.Name]
	for _, g := range c.groups[host.ID] {
		for _, b := range c.bound[g] {
			if b.reaches(env) && (closed || c.silent.bindings[binding{g, b.tpl}] == nil) {
				tpls = append(tpls, b.tpl)
			}
		}
	}
	slices.Sort(tpls)
	return slices.Compact(tpls)
}

// chain returns the templates from the root down to tpl; nil when tpl does not exist
// or its ancestors make a cycle.
func (c *compiler) chain(tpl int) []int {
	if chain, ok := c.chains[tpl]; ok {
		return chain
	}
	var chain []int
	for at := tpl; c.templates[at] != nil; at = c.templates[at].Parent {
		if chain = append(chain, at); len(chain) == maxChain {
			c.bad = append(c.bad, Bad{"template", tpl, fmt.Sprintf("%q has ten ancestors or is one of its own: its bindings are left out", c.templates[tpl].Name)})
			chain = nil
			break
		}
	}
	slices.Reverse(chain)
	c.chains[tpl] = chain
	return chain
}

// leafChains returns the chains of tpls that no other of them contains, by
// ascending leaf.
func (c *compiler) leafChains(tpls []int) [][]int {
	var chains [][]int
	for _, t := range tpls {
		if chain := c.chain(t); len(chain) > 0 {
			chains = append(chains, chain)
		}
	}
	return slices.DeleteFunc(slices.Clone(chains), func(a []int) bool {
		return slices.ContainsFunc(chains, func(b []int) bool {
			// A chain is one path to the root, so it is contained exactly when
			// its leaf is in the other.
			return len(b) > len(a) && slices.Contains(b, a[len(a)-1])
		})
	})
}

// comesDown returns the strategies that are in force through a chain: from the root
// down, those of a template replace all earlier ones that watch the same thing.
func (c *compiler) comesDown(chain []int) []*rule {
	leaf := chain[len(chain)-1]
	if all, ok := c.effective[leaf]; ok {
		return all
	}
	by := map[string][]*rule{}
	for _, t := range chain {
		own := map[string][]*rule{}
		for _, r := range c.owned[t] {
			if r.inHours {
				own[r.watches] = append(own[r.watches], r)
			}
		}
		for watches, rules := range own {
			by[watches] = rules
		}
	}
	var all []*rule
	for _, rules := range by {
		all = append(all, rules...)
	}
	slices.SortFunc(all, func(a, b *rule) int { return cmp.Compare(a.rule.Id, b.rule.Id) })
	c.effective[leaf] = all
	return all
}

// inForce returns the strategies that tpls bring to a host, each with the leaf
// template it comes through; one that comes through several leaves of one action
// comes through the lowest.
func (c *compiler) inForce(tpls []int) []*model.Strategy {
	type told struct{ strategy, action int }
	seen := map[told]bool{}
	var out []*model.Strategy
	for _, chain := range c.leafChains(tpls) {
		leaf := chain[len(chain)-1]
		for _, r := range c.comesDown(chain) {
			k := told{r.rule.Id, c.templates[leaf].Action}
			if seen[k] {
				continue
			}
			seen[k] = true
			out = append(out, c.through(r, leaf))
		}
	}
	return out
}

// through returns r as it reaches hosts through a leaf template, one copy for all.
func (c *compiler) through(r *rule, leaf int) *model.Strategy {
	k := leafOf{r.rule.Id, leaf}
	if c.leaves[k] == nil {
		s := c.as(r, leaf)
		c.leaves[k] = &s
	}
	return c.leaves[k]
}

// as returns r with leaf for its template.
func (c *compiler) as(r *rule, leaf int) model.Strategy {
	s, t := *r.rule, c.templates[leaf]
	s.Tpl = &model.Template{Id: t.ID, Name: t.Name, ParentId: t.Parent, ActionId: t.Action, Creator: t.Creator}
	return s
}
