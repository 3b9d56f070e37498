package expr

import (
	"fmt"
	"math"
	"strconv"
)

// DefaultRemain is how many points a judge keeps of a series unless it is told to keep
// more.
const DefaultRemain = 11

// Warnings tells what a rule can not do although it is well written: people should
// read it before they save it. It speaks of a GAUGE; of a COUNTER or DERIVE a stock
// judge can look at one value less (contract alerting 1.5).
func (f Func) Warnings(op Op, right float64) []string {
	var out []string
	if never := f.never(op, right); never != "" {
		out = append(out, fmt.Sprintf("%v never fires: %s", f, never))
	}
	if w := f.Window(); w > DefaultRemain {
		out = append(out, fmt.Sprintf("%v looks at %d points; stock judges keep %d and would never fire", f, w, DefaultRemain))
	}
	return out
}

// never says why no values at all make the function hold, or "".
func (f Func) never(op Op, right float64) string {
	switch {
	case math.IsNaN(right):
		return "the threshold is not a number"
	case op == opNever && f.kind != stddev:
		return "there is no operator"
	}
	switch f.kind {
	case diff, pdiff:
		if f.a < 1 {
			return "it compares nothing"
		}
	case lookup:
		if f.a < 1 || f.a > f.b {
			return fmt.Sprintf("%d of %d values can not hold", f.a, f.b)
		}
	case kdiff, kpdiff:
		if f.a < 1 || f.b < 1 {
			return "it compares nothing"
		}
	case stddev:
		// The newest of n values, one of which is itself, is at most so far away.
		reach := math.Sqrt(float64(f.a - 1))
		if right < reach {
			break
		}
		advice := "no window is wide enough for " + strconv.FormatFloat(right, 'g', -1, 64)
		if right < math.Sqrt(MaxWindow-1) {
			advice = fmt.Sprintf("with %v use a window of %d or more", right, int(right*right)+2)
		}
		return fmt.Sprintf("the newest of %d values is at most %.3g standard deviations from their mean; %s", f.a, reach, advice)
	}
	return ""
}
