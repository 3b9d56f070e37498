package verdict

import "falcon/common/expr"

// LookText is Condition.Look for a series of texts. points has the times of texts, both
// newest first.
func LookText(t *expr.TextRule, before State, r Rule, points []expr.Point, texts []string, now int64) (after State, emit Emit, left string) {
	n := t.Window()
	if len(points) < n || len(texts) < n {
		return before, Nothing, ""
	}
	left, triggered := t.Eval(texts)
	after, emit = Next(before, r, Seen{Triggered: triggered, Newest: points[0].Ts, Oldest: points[n-1].Ts, Now: now})
	return after, emit, left
}
