package filter

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/rulebook"
	"falcon/common/verdict"
)

// A Rule is a strategy or an expression, ready to judge with. Exactly one of Strategy
// and Expression is set.
type Rule struct {
	Strategy   *model.Strategy
	Expression *model.Expression

	Func    expr.Func
	Op      expr.Op
	Right   float64
	Text    *expr.TextRule // of a rule about texts, in the place of the three above
	MaxStep int

	// Key names the rule's state on a series: one strategy that tells two groups of
	// people has two, and one that joins another combination begins anew.
	Key string
	id  int
	// Serial names the combination that the rule is a condition of; empty for a rule of
	// its own.
	Serial string
}

// EventID names the rule's event on the series whose PK has the checksum.
func (r *Rule) EventID(checksum string) string {
	if r.Strategy != nil {
		return verdict.StrategyID(r.id, checksum)
	}
	return verdict.ExpressionID(r.id, checksum)
}

// Priority returns the priority of the rule's events.
func (r *Rule) Priority() int {
	if r.Strategy != nil {
		return r.Strategy.Priority
	}
	return r.Expression.Priority
}

// Note returns the rule's note.
func (r *Rule) Note() string {
	if r.Strategy != nil {
		return r.Strategy.Note
	}
	return r.Expression.Note
}

func (r *Rule) watches(endpoint string, tags map[string]string) bool {
	if r.Strategy != nil {
		return verdict.Match(r.Strategy.Tags, tags)
	}
	return verdict.MatchExpression(r.Expression.Tags, endpoint, tags)
}

// A Bad rule can not be judged with; those beside it are.
type Bad struct {
	What   string `json:"what"` // strategy or expression
	ID     int    `json:"id"`
	Reason string `json:"reason"`
}

// An Index answers who watches what, by one book. It is only read once it is made.
type Index struct {
	Version rulebook.Version
	Bad     []Bad

	hosts       map[string]uint64
	sets        map[uint64]map[string][]*Rule // by metric
	expressions map[string][]*Rule            // by metric
	rules       int
	disabled    map[string]bool
	paused      map[int]bool // strategies that are out of their hours, or disabled
}

// New makes the index of a book without conditions of combinations.
func New(b *rulebook.Book) *Index { return NewWith(b, false) }

// NewWith is New; members says that conditions of combinations are judged, too.
func NewWith(b *rulebook.Book, members bool) *Index {
	ix := &Index{
		Version: b.Version(), hosts: b.Hosts, sets: make(map[uint64]map[string][]*Rule, len(b.Sets)), expressions: map[string][]*Rule{},
		disabled: map[string]bool{}, paused: map[int]bool{},
	}
	rules := make(map[rulebook.Key]*Rule, len(b.Strategies))
	for k, s := range b.Strategies {
		r, err := strategyRule(s)
		if err == nil && s.Serial() != "" && !members {
			err = errors.New("it is one of several conditions, and union_judge_s says nobody who joins them")
		}
		if err != nil {
			ix.Bad = append(ix.Bad, Bad{"strategy", s.Id, err.Error()})
			continue
		}
		r.Strategy, r.id, r.Right, r.MaxStep, r.Key = s, s.Id, s.RightValue, s.MaxStep, key("s", s.Id, s.Tpl.ActionId)
		if r.Serial = s.Serial(); r.Serial != "" {
			r.Key += "|" + r.Serial
		}
		rules[k] = r
		ix.rules++
	}
	for id, keys := range b.Sets {
		by := map[string][]*Rule{}
		for _, k := range keys {
			if r := rules[k]; r != nil {
				by[r.Strategy.Metric] = append(by[r.Strategy.Metric], r)
			}
		}
		ix.sets[id] = by
	}
	for _, e := range b.Expressions {
		r, err := newRule(e.Func, e.Operator, e.RightValue)
		if err == nil && !positive(e.Tags) {
			err = errors.New("it has no tag that must match, it would watch everything")
		}
		if err != nil {
			ix.Bad = append(ix.Bad, Bad{"expression", e.Id, err.Error()})
			continue
		}
		r.Expression, r.id, r.Right, r.MaxStep, r.Key = e, e.Id, e.RightValue, e.MaxStep, key("e", e.Id, e.ActionId)
		ix.expressions[e.Metric] = append(ix.expressions[e.Metric], r)
		ix.rules++
	}
	for _, h := range b.Disabled {
		ix.disabled[h] = true
	}
	for _, s := range b.Paused {
		ix.paused[s] = true
	}
	slices.SortFunc(ix.Bad, func(a, b Bad) int { return a.ID - b.ID })
	ix.Bad = slices.Compact(ix.Bad)
	return ix
}

// positive says whether a tag must match.
func positive(tags map[string]string) bool {
	for k := range tags {
		if !strings.HasPrefix(k, "^") {
			return true
		}
	}
	return false
}

func newRule(fn, op string, right float64) (*Rule, error) {
	if math.IsNaN(right) || math.IsInf(right, 0) {
		return nil, fmt.Errorf("the threshold %v is no number", right)
	}
	f, err := expr.ParseFunc(fn)
	if err != nil {
		return nil, err
	}
	o, err := expr.ParseOp(op)
	if err != nil {
		return nil, err
	}
	return &Rule{Func: f, Op: o}, nil
}

func key(kind string, id, action int) string {
	return kind + strconv.Itoa(id) + "|" + strconv.Itoa(action)
}

// Rules appends to dst the rules that watch a series of numbers: strategies in the order of the
// book, then expressions. A host that is disabled or in maintenance is watched by none.
func (ix *Index) Rules(dst []*Rule, endpoint, metric string, tags map[string]string) []*Rule {
	return ix.appendRules(dst, endpoint, metric, tags, false)
}

func (ix *Index) appendRules(dst []*Rule, endpoint, metric string, tags map[string]string, texts bool) []*Rule {
	if ix.disabled[endpoint] {
		return dst
	}
	for _, some := range [][]*Rule{ix.sets[ix.hosts[endpoint]][metric], ix.expressions[metric]} {
		for _, r := range some {
			if (r.Text != nil) == texts && r.watches(endpoint, tags) {
				dst = append(dst, r)
			}
		}
	}
	return dst
}

// Watched says whether any rule watches a series of numbers.
func (ix *Index) Watched(endpoint, metric string, tags map[string]string) bool {
	return ix.anyRule(endpoint, metric, tags, false)
}

func (ix *Index) anyRule(endpoint, metric string, tags map[string]string, texts bool) bool {
	if ix.disabled[endpoint] {
		return false
	}
	for _, some := range [][]*Rule{ix.sets[ix.hosts[endpoint]][metric], ix.expressions[metric]} {
		for _, r := range some {
			if (r.Text != nil) == texts && r.watches(endpoint, tags) {
				return true
			}
		}
	}
	return false
}

// Resting says that r, which does not watch a series of endpoint now, may come back by
// itself: the host is disabled or in maintenance, or the strategy is disabled or out of
// its hours. An open problem then stays open. False means that the rule was changed or deleted.
func (ix *Index) Resting(endpoint string, r *Rule) bool {
	return ix.disabled[endpoint] || r.Strategy != nil && ix.paused[r.id]
}

// Candidates returns the rules that may watch series of endpoint and metric, whatever
// their tags. An expression that names another endpoint is left out, though a series that
// has a tag called endpoint may match it.
func (ix *Index) Candidates(endpoint, metric string) (all []*Rule) {
	if ix.disabled[endpoint] {
		return nil
	}
	all = append(all, ix.sets[ix.hosts[endpoint]][metric]...)
	for _, r := range ix.expressions[metric] {
		if e, ok := r.Expression.Tags["endpoint"]; !ok || e == endpoint {
			all = append(all, r)
		}
	}
	return all
}

// Disabled says whether a host is in maintenance.
func (ix *Index) Disabled(endpoint string) bool { return ix.disabled[endpoint] }

// Len returns the number of rules that can be judged with.
func (ix *Index) Len() int { return ix.rules }

// Strategies returns those of an endpoint for a metric, whatever the tags; nil for none.
func (ix *Index) Strategies(endpoint, metric string) (all []*model.Strategy) {
	for _, r := range ix.sets[ix.hosts[endpoint]][metric] {
		all = append(all, r.Strategy)
	}
	return all
}

// Expressions returns those for a metric that have the tag among theirs; nil for none.
func (ix *Index) Expressions(metric, key, value string) (all []*model.Expression) {
	for _, r := range ix.expressions[metric] {
		if v, ok := r.Expression.Tags[key]; ok && v == value {
			all = append(all, r.Expression)
		}
	}
	return all
}

// Knows says whether a host has strategies, or is in maintenance.
func (ix *Index) Knows(endpoint string) bool {
	_, ok := ix.hosts[endpoint]
	return ok || ix.disabled[endpoint]
}

// manyMetrics is from how many metrics on a change is taken to concern all.
const manyMetrics = 1000

// Changed lists the metrics that other rules watch than before, on some host, sorted:
// series of other metrics need not be decided again. all says that every series may be
// concerned: hosts went into maintenance or came out of it, or the metrics are many.
func Changed(from, to *Index) (metrics []string, all bool) {
	if !maps.Equal(from.disabled, to.disabled) {
		return nil, true
	}
	seen := map[string]bool{}
	compare := func(a, b map[string][]*Rule) {
		for _, pair := range [][2]map[string][]*Rule{{a, b}, {b, a}} {
			for metric, rules := range pair[0] {
				if !slices.EqualFunc(rules, pair[1][metric], same) {
					seen[metric] = true
				}
			}
		}
	}
	// A set has the same keys as before, and what a strategy says may differ.
	for id, by := range to.sets {
		if before, ok := from.sets[id]; ok {
			compare(before, by)
		}
	}
	// Hosts have another set, each pair of which is looked at once.
	type move struct{ from, to uint64 }
	moved := map[move]bool{}
	for host, id := range to.hosts {
		if before := from.hosts[host]; before != id {
			moved[move{before, id}] = true
		}
	}
	for host, id := range from.hosts {
		if _, ok := to.hosts[host]; !ok {
			moved[move{id, 0}] = true
		}
	}
	for m := range moved {
		compare(from.sets[m.from], to.sets[m.to])
	}
	compare(from.expressions, to.expressions)
	if len(seen) > manyMetrics {
		return nil, true
	}
	for m := range seen {
		metrics = append(metrics, m)
	}
	slices.Sort(metrics)
	return metrics, false
}

// same says whether two rules watch the same series.
func same(a, b *Rule) bool {
	tags := func(r *Rule) map[string]string {
		if r.Strategy != nil {
			return r.Strategy.Tags
		}
		return r.Expression.Tags
	}
	x, y := tags(a), tags(b)
	if a.Key != b.Key || (a.Text != nil) != (b.Text != nil) || len(x) != len(y) {
		return false
	}
	for k, v := range x {
		if w, ok := y[k]; !ok || v != w {
			return false
		}
	}
	return true
}
