package core

import (
	"math"
	"slices"
	"strings"

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

// A Series is watched by at least one rule, or was. A judge holds hundreds of thousands:
// its names are one string, its tags become a map only while rules are chosen or told.
type Series struct {
	pk       string // endpoint/metric or endpoint/metric/sorted tags
	endpoint uint16 // length
	metric   uint16 // length
	gauge    bool
	text     bool // its values are texts

	points expr.History
	words  *[]string // of a series of texts, see Word; the struct has no room for the slice
	keep   int

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
	sent int64        // of a condition: when it was last sent, Unix seconds
}

// MaxName is how long an endpoint or a metric may be, in bytes.
const MaxName = math.MaxUint16

// NewSeries returns a series without points; its tags are sorted, k=v,k=v. Its type is
// as pushed: the first letter decides, as in stock. Longer names than MaxName have no
// place.
func NewSeries(endpoint, metric, sortedTags, typ string) Series {
	s := Series{pk: model.PK(endpoint, metric, sortedTags), endpoint: uint16(len(endpoint)), metric: uint16(len(metric))}
	s.SetType(typ)
	return s
}

// PK returns the name of the series: endpoint/metric, or endpoint/metric/tags.
func (s *Series) PK() string { return s.pk }

// Endpoint returns the endpoint.
func (s *Series) Endpoint() string { return s.pk[:s.endpoint] }

// Metric returns the metric.
func (s *Series) Metric() string { return s.pk[int(s.endpoint)+1:][:s.metric] }

// SortedTags returns the tags, k=v,k=v, empty for none.
func (s *Series) SortedTags() string {
	return strings.TrimPrefix(s.pk[int(s.endpoint)+1+int(s.metric):], "/")
}

// Tags returns the tags as a map of the caller's, empty for none.
func (s *Series) Tags() map[string]string {
	tags := map[string]string{}
	if sorted := s.SortedTags(); sorted != "" {
		for part := range strings.SplitSeq(sorted, ",") {
			k, v, _ := strings.Cut(part, "=")
			tags[k] = v
		}
	}
	return tags
}

// Gauge says whether the rules look at the points themselves and not at their rates.
func (s *Series) Gauge() bool { return s.gauge }

// Watch brings the series' rules up to the index and says whether there are any.
func (s *Series) Watch(ix *filter.Index, set Settings) bool {
	if s.index != ix {
		s.index = ix
		rules := s.rules[:0]
		if s.text {
			rules = ix.TextRules(rules, s.Endpoint(), s.Metric(), s.Tags())
		} else {
			rules = ix.Rules(rules, s.Endpoint(), s.Metric(), s.Tags())
		}
		s.rules = slices.Clip(rules)
		s.keep = set.Remain
		for _, r := range s.rules {
			s.keep = max(s.keep, expr.Needs(r.Window(), s.gauge))
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
type Outcome = expr.Outcome

// Outcomes of Insert.
const (
	Judge = expr.Newest // it is the newest: Judge it
	Late  = expr.Late   // it was put among the older ones, and is never judged
	Skip  = expr.Skip   // it is older than all that are kept, or there is one of that time
)

// Insert keeps a point. A series that has no rules yet may keep points, too; they are
// there when the rules come.
func (s *Series) Insert(p expr.Point, set Settings) Outcome {
	return s.points.Insert(p, max(s.keep, set.Remain))
}

// InsertAt is Insert with the wall clock: a point that only such are newer than that are
// ahead of the clock is kept, however few there are, and JudgeAt looks at it. When they
// fill the series they go.
func (s *Series) InsertAt(p expr.Point, set Settings, wall int64) Outcome {
	keep := max(s.keep, set.Remain)
	if len(s.points) == 0 || p.Ts > s.points[0].Ts || !s.Ahead(p.Ts, wall) {
		return s.points.Insert(p, keep)
	}
	if len(s.points) >= keep && s.points[len(s.points)-1].Ts > p.Ts {
		s.points = s.points[:0]
	}
	return s.points.InsertAny(p, keep)
}

// Judge looks at the newest points with each rule and appends what has to be told. now
// is the clock that MinInterval is measured with. buf is room for values.
func (s *Series) Judge(dst []*model.Event, now int64, set Settings, buf []float64) []*model.Event {
	return s.judge(dst, s.points, now, set, buf)
}

// Ahead says whether all points that are newer than one of ts are ahead of the wall
// clock: some sender's clock is wrong, and the point of ts is the newest that can be.
func (s *Series) Ahead(ts, wall int64) bool {
	for _, p := range s.points {
		if p.Ts <= ts {
			break
		}
		if p.Ts <= wall {
			return false
		}
	}
	return ts <= wall
}

// JudgeAt is Judge as if the points that are newer than the one of ts were not there.
func (s *Series) JudgeAt(dst []*model.Event, ts, now int64, set Settings, buf []float64) []*model.Event {
	i := 0
	for i < len(s.points) && s.points[i].Ts > ts {
		i++
	}
	return s.judge(dst, s.points[i:], now, set, buf)
}

func (s *Series) judge(dst []*model.Event, points []expr.Point, now int64, set Settings, buf []float64) []*model.Event {
	if s.text {
		return s.judgeTexts(dst, points, now, set)
	}
	for _, r := range s.rules {
		if r.Serial != "" {
			dst = s.member(dst, points, r, now, buf)
			continue
		}
		i := slices.IndexFunc(s.states, func(st state) bool { return st.rule.Key == r.Key })
		var before verdict.State
		if i >= 0 {
			before = s.states[i].State
		}
		c := verdict.Condition{Func: r.Func, Op: r.Op, Right: r.Right}
		after, emit, left := c.Look(before, verdict.Rule{MaxStep: r.MaxStep, MinInterval: set.MinInterval}, points, s.gauge, now, buf)
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
	e := verdict.Event(st.rule.EventID(model.Checksum(s.pk)), s.Endpoint(), s.Tags(), st.State, left)
	e.Strategy, e.Expression = st.rule.Strategy, st.rule.Expression
	if s.text && e.Strategy != nil {
		e.RightString = e.Strategy.RightString
	}
	return e
}

// closeAfter is for how long a rule must be gone before its problem is closed: two
// compilations of the rules agree by then.
const closeAfter = 60

// goesOn says whether the problem is open for other people, too, who have another key
// and the same event id: closing it for some would close it for all.
func (s *Series) goesOn(r *filter.Rule) bool {
	return slices.ContainsFunc(s.states, func(o state) bool {
		return o.Status == verdict.Problem && o.rule.Key != r.Key && o.rule.EventID("") == r.EventID("") && o.rule.Serial == r.Serial && s.watched(&o)
	})
}

// watched says whether the rule of the state watches the series still, if with another
// threshold, function or operator: the next look says then whether the problem goes on.
func (s *Series) watched(st *state) bool {
	return slices.ContainsFunc(s.rules, func(r *filter.Rule) bool { return r.Key == st.rule.Key })
}

// Rests says whether a problem is open on the series whose rule is resting: nobody looks
// at its points for now, so they say nothing of whether it is silent.
func (s *Series) Rests(ix *filter.Index, set Settings) bool {
	s.Watch(ix, set)
	return slices.ContainsFunc(s.states, func(st state) bool {
		return st.Status == verdict.Problem && ix.Resting(s.Endpoint(), st.rule) && !s.watched(&st)
	})
}

// Close appends the ends of problems whose rule has not watched the series for a minute or
// more, and forgets their states. A rule that is resting closes nothing. heard is when
// an hbs last confirmed the rules: silence deletes nothing.
func (s *Series) Close(dst []*model.Event, ix *filter.Index, set Settings, now, heard int64) []*model.Event {
	s.Watch(ix, set)
	kept := s.states[:0]
	for _, st := range s.states {
		if s.watched(&st) {
			st.gone = 0
		} else if !ix.Resting(s.Endpoint(), st.rule) {
			if st.gone == 0 {
				st.gone = now
			}
			if heard-st.gone >= closeAfter && !s.goesOn(st.rule) {
				if st.Status == verdict.Problem {
					st.State = verdict.State{Status: verdict.OK, Step: 1, EventTime: now}
					e := s.event(&st, 0)
					e.Closed = model.ClosedStrategyRemoved
					if st.rule.Strategy != nil && !ix.Knows(s.Endpoint()) {
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
