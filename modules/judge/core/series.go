package core

import (
	"slices"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/verdict"
	"falcon/modules/judge/filter"
)

// Settings are the choices of an operator.
type Settings struct {
	// Remain is how many points a series keeps at least; rules that look at more keep
	// more, up to expr.MaxWindow + 1.
	Remain int
	// MinInterval is the least time between two messages of one problem, in seconds.
	MinInterval int64
}

// A Series is watched by at least one rule, or was.
type Series struct {
	Endpoint string
	Metric   string
	Tags     map[string]string
	Gauge    bool

	checksum string       // of its PK, as in its events' names
	points   []expr.Point // newest first
	keep     int

	index *filter.Index // that rules came from
	rules []*filter.Rule
	// states are those of rules that had an event, also of rules that do not watch the
	// series any more.
	states []state
}

type state struct {
	verdict.State
	rule *filter.Rule // as of the last event
	gone int64        // since when the rule does not watch the series and is not resting, Unix seconds; 0: it does
}

// NewSeries returns a series without points. Its type is as pushed: the first letter
// decides, as in stock.
func NewSeries(endpoint, metric, typ string, tags map[string]string) *Series {
	return &Series{
		Endpoint: endpoint, Metric: metric, Tags: tags, Gauge: len(typ) > 0 && (typ[0] == 'G' || typ[0] == 'g'),
		checksum: model.Checksum(model.PK(endpoint, metric, model.SortedTags(tags))),
	}
}

// Watch brings the series' rules up to the index and says whether there are any.
func (s *Series) Watch(ix *filter.Index, set Settings) bool {
	if s.index != ix {
		s.index = ix
		s.rules = ix.Rules(s.rules[:0], s.Endpoint, s.Metric, s.Tags)
		s.keep = set.Remain
		for _, r := range s.rules {
			s.keep = max(s.keep, expr.Needs(r.Func.Window(), s.Gauge))
		}
	}
	return len(s.rules) > 0
}

// Open says whether a problem is open on the series.
func (s *Series) Open() bool {
	return slices.ContainsFunc(s.states, func(st state) bool { return st.Status == verdict.Problem })
}

// Newest returns the time of the newest point, 0 when there is none.
func (s *Series) Newest() int64 {
	if len(s.points) == 0 {
		return 0
	}
	return s.points[0].Ts
}

// An Outcome says what became of a point.
type Outcome uint8

// Outcomes of Insert.
const (
	Judge Outcome = iota // it is the newest: Judge it
	Late                 // it was put among the older ones, and is never judged
	Skip                 // it is older than all that are kept, or there is one of that time
)

// Insert keeps a point. A series that has no rules yet may keep points, too; they are
// there when the rules come.
func (s *Series) Insert(p expr.Point, set Settings) Outcome {
	keep := max(s.keep, set.Remain)
	i := 0
	for i < len(s.points) && s.points[i].Ts > p.Ts {
		i++
	}
	switch {
	case i < len(s.points) && s.points[i].Ts == p.Ts:
		return Skip
	case i > 0 && i == len(s.points):
		return Skip
	}
	s.points = slices.Insert(s.points, i, p)
	if len(s.points) > keep {
		s.points = s.points[:keep]
	}
	if i > 0 {
		return Late
	}
	return Judge
}

// Judge looks at the newest points with each rule and appends what has to be told. now
// is the clock that MinInterval is measured with. buf is room for values.
func (s *Series) Judge(dst []*model.Event, now int64, set Settings, buf []float64) []*model.Event {
	for _, r := range s.rules {
		n := r.Func.Window()
		values, enough := expr.Values(buf[:0], s.points, n, s.Gauge)
		if !enough {
			continue
		}
		left, triggered := r.Func.Eval(r.Op, r.Right, values)
		i := slices.IndexFunc(s.states, func(st state) bool { return st.rule.Key == r.Key })
		var before verdict.State
		if i >= 0 {
			before = s.states[i].State
		}
		after, emit := verdict.Next(before, verdict.Rule{MaxStep: r.MaxStep, MinInterval: set.MinInterval},
			verdict.Seen{Triggered: triggered, Newest: s.points[0].Ts, Oldest: s.points[n-1].Ts, Now: now})
		if emit == verdict.Nothing {
			continue
		}
		if i < 0 {
			s.states = append(s.states, state{})
			i = len(s.states) - 1
		}
		s.states[i] = state{State: after, rule: r}
		dst = append(dst, s.event(&s.states[i], left))
	}
	return dst
}

func (s *Series) event(st *state, left float64) *model.Event {
	e := verdict.Event(st.rule.EventID(s.checksum), s.Endpoint, s.Tags, st.State, left)
	e.Strategy, e.Expression = st.rule.Strategy, st.rule.Expression
	return e
}

// closeAfter is for how long a rule must be gone before its problem is closed: two
// compilations of the rules agree by then.
const closeAfter = 60

// Close appends the ends of problems whose rule was changed or deleted a minute ago or
// more, and forgets their states. A rule that is resting closes nothing. heard is when
// an hbs last confirmed the rules: silence deletes nothing.
func (s *Series) Close(dst []*model.Event, ix *filter.Index, set Settings, now, heard int64) []*model.Event {
	s.Watch(ix, set)
	kept := s.states[:0]
	for _, st := range s.states {
		if slices.ContainsFunc(s.rules, func(r *filter.Rule) bool { return r.Key == st.rule.Key }) {
			st.gone = 0
		} else if !ix.Resting(s.Endpoint, st.rule) {
			if st.gone == 0 {
				st.gone = now
			}
			if heard >= st.gone && now-st.gone >= closeAfter {
				if st.Status == verdict.Problem {
					st.State = verdict.State{Status: verdict.OK, Step: 1, EventTime: now}
					e := s.event(&st, 0)
					e.Closed = model.ClosedStrategyRemoved
					if st.rule.Strategy != nil && !ix.Knows(s.Endpoint) {
						e.Closed = model.ClosedHostRemoved
					}
					dst = append(dst, e)
				}
				continue
			}
		}
		kept = append(kept, st)
	}
	s.states = kept
	return dst
}
