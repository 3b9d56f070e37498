package verdict

import "falcon/common/expr"

// A Condition is what a rule looks for in the newest points of a series.
type Condition struct {
	Func  expr.Func
	Op    expr.Op
	Right float64
}

// Look is what a rule does with a new point: function, operator, state machine. points
// are newest first; now is the clock that the rule's MinInterval is measured with,
// Unix seconds; buf is room for values. With too few points nothing is decided. left
// is the value that the event shows, when there is one.
func (c *Condition) Look(before State, r Rule, points []expr.Point, gauge bool, now int64, buf []float64) (after State, emit Emit, left float64) {
	n := c.Func.Window()
	values, enough := expr.Values(buf[:0], points, n, gauge)
	if !enough {
		return before, Nothing, 0
	}
	left, triggered := c.Func.Eval(c.Op, c.Right, values)
	after, emit = Next(before, r, Seen{Triggered: triggered, Newest: points[0].Ts, Oldest: points[n-1].Ts, Now: now})
	return after, emit, left
}
