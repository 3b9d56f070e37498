package compile

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"falcon/common/portal"
	"falcon/common/rulebook"
)

// maxPreview bounds the lists of a Preview.
const maxPreview = 100

// A Preview says what a disable would hide that is in force. The lists are cut after a
// hundred; the numbers count all.
type Preview struct {
	Hosts     []string `json:"hosts"` // by name
	HostCount int      `json:"host_count"`
	// Strategies are those that hosts would lose, by id.
	Strategies    []Previewed `json:"strategies"`
	StrategyCount int         `json:"strategy_count"`
	// Pairs counts strategies on hosts.
	Pairs int `json:"pair_count"`
	// Instead are strategies that would come into force in their place, as when a child
	// template is unbound.
	Instead      []Previewed `json:"instead"`
	InsteadCount int         `json:"instead_count"`
	// Expressions counts those that name a host that would be silent.
	Expressions int `json:"expression_count"`
}

// Previewed is a strategy in a Preview.
type Previewed struct {
	ID       int    `json:"id"`
	Metric   string `json:"metric"`
	Note     string `json:"note"`
	Template Named  `json:"leaf_tpl"` // the one it comes through
	Hosts    int    `json:"host_count"`
}

// Preview compiles the rows with d as well, in force from now on, and compares.
func (r *Result) Preview(d portal.RuleDisable, now time.Time) *Preview {
	d.Begin, d.End = now.Unix(), now.Add(portal.MaxSilence).Unix()
	rows := *r.c.rows
	before := Compile(&rows, now).Book
	rows.Disables = append(slices.Clip(rows.Disables), d)
	after := Compile(&rows, now).Book

	lost, won := map[rulebook.Key]int{}, map[rulebook.Key]int{}
	// Hosts of the same sets before and after differ in the same strategies.
	type change struct{ from, to uint64 }
	type keys struct{ lost, won []rulebook.Key }
	known := map[change]keys{}
	hosts := map[string]bool{}
	p := &Preview{}
	for _, h := range r.c.rows.Hosts {
		ch := change{before.Hosts[h.Name], after.Hosts[h.Name]}
		if ch.from == ch.to {
			continue
		}
		k, ok := known[ch]
		if !ok {
			k = keys{minus(before.Sets[ch.from], after.Sets[ch.to]), minus(after.Sets[ch.to], before.Sets[ch.from])}
			known[ch] = k
		}
		hosts[h.Name] = true
		p.Pairs += len(k.lost)
		for _, key := range k.lost {
			lost[key]++
		}
		for _, key := range k.won {
			won[key]++
		}
	}
	for _, name := range minus(after.Disabled, before.Disabled) {
		hosts[name] = true
		for _, e := range before.Expressions {
			if e.Tags["endpoint"] == name {
				p.Expressions++
			}
		}
	}
	p.HostCount, p.StrategyCount, p.InsteadCount = len(hosts), len(lost), len(won)
	p.Hosts = slices.Sorted(maps.Keys(hosts))
	p.Hosts = append([]string{}, p.Hosts[:min(len(p.Hosts), maxPreview)]...)
	p.Strategies, p.Instead = previewed(before, lost), previewed(after, won)
	return p
}

// minus returns what is in a and not in b.
func minus[T comparable](a, b []T) (only []T) {
	in := make(map[T]bool, len(b))
	for _, v := range b {
		in[v] = true
	}
	for _, v := range a {
		if !in[v] {
			only = append(only, v)
		}
	}
	return only
}

func previewed(b *rulebook.Book, counts map[rulebook.Key]int) []Previewed {
	out := []Previewed{}
	for k, n := range counts {
		s := b.Strategies[k]
		out = append(out, Previewed{ID: s.Id, Metric: s.Metric, Note: s.Note, Template: Named{s.Tpl.Id, s.Tpl.Name}, Hosts: n})
	}
	slices.SortFunc(out, func(a, b Previewed) int { return cmp.Or(a.ID-b.ID, a.Template.ID-b.Template.ID) })
	return out[:min(len(out), maxPreview)]
}
