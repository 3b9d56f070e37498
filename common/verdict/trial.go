package verdict

import (
	"slices"

	"falcon/common/expr"
)

// A Span is a stretch of time, From to To, Unix seconds; To is not part of it.
type Span struct{ From, To int64 }

// A Trial runs a rule over the stored points of a series, as a judge would have that
// had them one by one, each at the moment that it is for. The clock of MinInterval is
// the point's own time: a judge that gets a point late may tell the next step of a
// problem up to two steps of the series earlier.
type Trial struct {
	Condition
	Rule
	// From is where judging begins. Earlier points fill the window.
	From int64
	// Spans are when the rule watches the series, ascending; none is never. Like a judge,
	// a series that nobody watches keeps its points only when the rule has told
	// something of it.
	Spans []Span
}

// Told is what would have been told.
type Told struct {
	State
	Emit Emit
	Left float64 // what the function made of the values
}

// Keep returns how many points the rule looks at.
func (t *Trial) Keep(gauge bool) int {
	return max(expr.DefaultRemain, expr.Needs(t.Func.Window(), gauge))
}

// Run appends to dst what would have been told over points, oldest first, of which those
// that are late or twice there are treated as a judge does. It returns the state at the
// end.
func (t *Trial) Run(dst []Told, points []expr.Point, gauge bool) ([]Told, State) {
	var (
		state   State
		told    bool
		room    [expr.MaxWindow + 1]float64
		keep    = t.Keep(gauge)
		spans   = t.Spans
		history = make(expr.History, 0, keep)
	)
	for _, p := range points {
		left := false
		for len(spans) > 0 && spans[0].To <= p.Ts {
			end := spans[0].To
			if spans = spans[1:]; len(spans) == 0 || spans[0].From > end {
				left = true
			}
		}
		if left && !told {
			history = history[:0]
		}
		if len(spans) == 0 {
			break
		}
		if p.Ts < spans[0].From || history.Insert(p, keep) != expr.Newest || p.Ts < t.From {
			continue
		}
		after, emit, value := t.Look(state, t.Rule, history, gauge, p.Ts, room[:0])
		if emit != Nothing {
			dst = append(dst, Told{after, emit, value})
			state, told = after, true
		}
	}
	return dst, state
}

// Watches says whether the rule watches the series at a time.
func (t *Trial) Watches(at int64) bool {
	return slices.ContainsFunc(t.Spans, func(s Span) bool { return s.From <= at && at < s.To })
}
