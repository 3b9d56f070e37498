package expr

import (
	"fmt"
	"math"
)

// DefaultRemain is how many points a judge keeps of a series unless it is told to keep
// more.
const DefaultRemain = 11

// Warnings tells what a rule can not do although it is well written: people should
// read it before they save it.
func (f Func) Warnings(op Op, right float64) []string {
	var out []string
	if f.kind == stddev && f.a > 0 && right >= math.Sqrt(float64(f.a-1)) {
		need := int(right*right) + 2
		out = append(out, fmt.Sprintf("%v never fires with %v: the newest of %d values is at most %.3g standard deviations from their mean; use a window of %d or more",
			f, right, f.a, math.Sqrt(float64(f.a-1)), need))
	}
	if f.kind == lookup && (f.a < 1 || f.a > f.b) {
		out = append(out, fmt.Sprintf("%v never fires: %d of %d values can not hold", f, f.a, f.b))
	}
	if (f.kind == kdiff || f.kind == kpdiff) && (f.a < 1 || f.b < 1) {
		out = append(out, fmt.Sprintf("%v never fires: it compares nothing", f))
	}
	if w := f.Window(); w > DefaultRemain {
		out = append(out, fmt.Sprintf("%v looks at %d points; stock judges keep %d and would never fire", f, w, DefaultRemain))
	}
	return out
}
