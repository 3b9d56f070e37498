package compile

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

const (
	// trialID is the id of rows that are not in the database.
	trialID = math.MaxInt32
	// maxMoments and maxHostMoments bound how often a range is compiled for.
	maxMoments, maxHostMoments = 400, 4_000_000
)

// Reach says which hosts a strategy would watch, and when, were it saved: the rows are
// compiled with it at each moment of the range at which the outcome may change, so
// that inheritance, hours and maintenance count as they do for judges. Bindings are
// those of today; what they were in the range nobody has written down. It fails for a
// template or a group that does not exist.
func (r *Result) Reach(p *model.ReachParam) (*model.Reach, error) {
	out := &model.Reach{Any: p.Any, Sets: []model.ReachSet{}, Unknown: []string{}}
	rows := *r.c.rows
	by := map[string][][2]int64{}
	if p.Any {
		for _, h := range rows.Hosts {
			if h.Name != "" && away(h, p.From, p.To) {
				by[h.Name] = [][2]int64{{p.From, p.To}}
			}
		}
	} else {
		if err := r.c.withTrial(&rows, p, out); err != nil {
			return nil, err
		}
		// Maintenance is cut out below: it would be a moment of its own for each host.
		rows.Hosts = slices.Clone(rows.Hosts)
		for i := range rows.Hosts {
			rows.Hosts[i].MaintainBegin, rows.Hosts[i].MaintainEnd = 0, 0
		}
		moments := min(maxMoments, max(8, maxHostMoments/max(1, len(rows.Hosts))))
		at := time.Unix(p.From, 0).In(r.c.now.Location())
		for at.Unix() < p.To {
			res := Compile(&rows, at)
			next := p.To
			if !res.Next.IsZero() && res.Next.Unix() < p.To {
				next = max(res.Next.Unix(), at.Unix()+1)
			}
			if moments--; moments == 0 && next < p.To {
				out.Until, next = next, p.To
			}
			res.watched(by, idOf(p), at.Unix(), next)
			at = time.Unix(next, 0).In(at.Location())
		}
	}
	sets := map[string]*model.ReachSet{}
	for _, h := range r.c.rows.Hosts {
		spans, ok := by[h.Name]
		if !ok {
			continue
		}
		delete(by, h.Name) // two rows of one name are one host
		if away(h, p.From, p.To) {
			spans = without(spans, h.MaintainBegin, h.MaintainEnd+1)
		}
		key := fmt.Sprint(spans)
		if sets[key] == nil {
			sets[key] = &model.ReachSet{Spans: spans}
		}
		sets[key].Hosts = append(sets[key].Hosts, h.Name)
	}
	for _, s := range sets {
		slices.Sort(s.Hosts)
		out.Sets = append(out.Sets, *s)
	}
	slices.SortFunc(out.Sets, func(a, b model.ReachSet) int { return strings.Compare(a.Hosts[0], b.Hosts[0]) })
	return out, nil
}

// idOf returns the id that the strategy of p has among the rows.
func idOf(p *model.ReachParam) int {
	if p.Strategy > 0 {
		return p.Strategy
	}
	return trialID
}

// away says whether a host is in maintenance for a part of a range.
func away(h portal.RuleHost, from, to int64) bool {
	return h.MaintainBegin < to && h.MaintainEnd >= from && h.MaintainEnd >= h.MaintainBegin
}

// without cuts a stretch out of spans.
func without(spans [][2]int64, from, to int64) [][2]int64 {
	out := [][2]int64{}
	for _, s := range spans {
		if before := [2]int64{s[0], min(s[1], from)}; before[0] < before[1] {
			out = append(out, before)
		}
		if after := [2]int64{max(s[0], to), s[1]}; after[0] < after[1] {
			out = append(out, after)
		}
	}
	return out
}

// withTrial puts the strategy of p among the rows, in the place of the saved one, and
// leaves those out that can not matter to it: only what watches the same thing replaces
// it.
func (c *compiler) withTrial(rows *portal.RuleRows, p *model.ReachParam, out *model.Reach) error {
	trial := portal.RuleStrategy{
		ID: idOf(p), Metric: p.Metric, Tags: p.Tags, RunBegin: p.RunBegin, RunEnd: p.RunEnd, Template: p.Template,
		MaxStep: 1, Func: "all(#1)", Op: ">", RightValue: "0",
	}
	if p.Template == 0 {
		trial.Template = trialID
		rows.Templates = []portal.RuleTemplate{{ID: trialID, Name: "trial", Action: 1}}
		rows.GroupTemplates = []portal.RulePair{{Group: trialID, Other: trialID}}
		hosts, err := c.members(p, out)
		if err != nil {
			return err
		}
		rows.GroupHosts = hosts
		rows.Strategies = nil
	} else if c.templates[p.Template] == nil {
		return fmt.Errorf("hbs knows no template %d", p.Template)
	}
	watches := trial.Metric + "/" + model.SortedTags(model.RuleTags(trial.Tags))
	kept := []portal.RuleStrategy{trial}
	for _, s := range rows.Strategies {
		if s.ID != p.Strategy && s.Metric+"/"+model.SortedTags(model.RuleTags(s.Tags)) == watches {
			kept = append(kept, s)
		}
	}
	rows.Strategies, rows.Expressions = kept, nil
	return nil
}

// members binds the hosts of p to the group of the trial.
func (c *compiler) members(p *model.ReachParam, out *model.Reach) ([]portal.RulePair, error) {
	var ids []int
	for _, name := range p.Hosts {
		if h := c.hosts[name]; h != nil {
			ids = append(ids, h.ID)
		} else {
			out.Unknown = append(out.Unknown, name)
		}
	}
	for _, g := range p.Groups {
		if !slices.ContainsFunc(c.rows.Groups, func(r portal.RuleGroup) bool { return r.ID == g }) {
			return nil, fmt.Errorf("hbs knows no group %d", g)
		}
	}
	for _, pair := range c.rows.GroupHosts {
		if slices.Contains(p.Groups, pair.Group) {
			ids = append(ids, pair.Other)
		}
	}
	slices.Sort(ids)
	var pairs []portal.RulePair
	for _, id := range slices.Compact(ids) {
		pairs = append(pairs, portal.RulePair{Group: trialID, Other: id})
	}
	return pairs, nil
}

// watched adds the stretch to the spans of every host that has the strategy.
func (r *Result) watched(by map[string][][2]int64, strategy int, from, to int64) {
	has := map[uint64]bool{}
	for id, keys := range r.Book.Sets {
		for _, k := range keys {
			has[id] = has[id] || k.Strategy == strategy
		}
	}
	for host, id := range r.Book.Hosts {
		if !has[id] {
			continue
		}
		spans := by[host]
		if n := len(spans); n > 0 && spans[n-1][1] == from {
			spans[n-1][1] = to
			continue
		}
		by[host] = append(spans, [2]int64{from, to})
	}
}
