package expr

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// MaxWindow is the largest number of points that a function may look at.
const MaxWindow = 120

// A Func is a parsed function, such as all(#3) or lookup(#2,5).
type Func struct {
	kind kind
	a, b int
}

type kind uint8

const (
	all kind = iota + 1
	maximum
	minimum
	sum
	avg
	diff
	pdiff
	lookup
	stddev
	kdiff
	kpdiff
)

// kinds lists the functions by name, with how many arguments each takes.
var kinds = []struct {
	name string
	kind kind
	args int
}{
	{"all", all, 1}, {"max", maximum, 1}, {"min", minimum, 1}, {"sum", sum, 1}, {"avg", avg, 1}, {"diff", diff, 1}, {"pdiff", pdiff, 1},
	{"lookup", lookup, 2}, {"stddev", stddev, 1}, {"kdiff", kdiff, 2}, {"kpdiff", kpdiff, 2},
}

// ParseFunc reads name(#n) or name(#a,b). An error names what is wrong and how it is
// written.
func ParseFunc(s string) (Func, error) {
	name, rest, ok := strings.Cut(s, "(")
	inner, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed {
		return Func{}, fmt.Errorf("function %q: write a name and its window, such as all(#3)", s)
	}
	for _, k := range kinds {
		if k.name != name {
			continue
		}
		text, ok := strings.CutPrefix(inner, "#")
		args := strings.Split(text, ",")
		if !ok || len(args) != k.args {
			return Func{}, fmt.Errorf("function %q: %s is written %s", s, name, k.kind.form())
		}
		f := Func{kind: k.kind}
		for i, to := range []*int{&f.a, &f.b}[:k.args] {
			n, err := strconv.ParseUint(args[i], 10, 16)
			if err != nil || args[i][0] == '+' {
				return Func{}, fmt.Errorf("function %q: %q is no count of points, write %s", s, args[i], k.kind.form())
			}
			*to = int(n)
		}
		if w := f.Window(); w < 1 || w > MaxWindow {
			return Func{}, fmt.Errorf("function %q looks at %d points, 1 to %d are possible", s, w, MaxWindow)
		}
		return f, nil
	}
	return Func{}, fmt.Errorf("function %q: %q is unknown, use one of %s", s, name, Names())
}

// Names lists the functions, for messages and forms.
func Names() string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

func (k kind) form() string {
	switch k {
	case lookup:
		return "lookup(#2,3): two of the last three"
	case kdiff:
		return "kdiff(#2,3): the last three against the two before"
	case kpdiff:
		return "kpdiff(#2,3): the last three against the two before, in percent"
	}
	return kinds[k-1].name + "(#3)"
}

// String returns the function as it is written.
func (f Func) String() string {
	if f.kind == 0 {
		return ""
	}
	k := kinds[f.kind-1]
	if k.args == 2 {
		return fmt.Sprintf("%s(#%d,%d)", k.name, f.a, f.b)
	}
	return fmt.Sprintf("%s(#%d)", k.name, f.a)
}

// Window returns how many values the function needs; with fewer nothing is decided.
// Of a COUNTER or DERIVE that takes one point more.
func (f Func) Window() int {
	switch f.kind {
	case diff, pdiff:
		return f.a + 1
	case lookup:
		return f.b
	case kdiff, kpdiff:
		return f.a + f.b
	}
	return f.a
}

// Eval decides about the Window newest values, newest first. left is the value that
// the event shows (contract alerting 1.6).
func (f Func) Eval(op Op, right float64, v []float64) (left float64, triggered bool) {
	if f.kind == 0 || len(v) < f.Window() {
		return 0, false
	}
	v = v[:f.Window()]
	switch f.kind {
	case all:
		for _, x := range v {
			if !op.Holds(x, right) {
				return v[0], false
			}
		}
		return v[0], true
	case maximum:
		left = v[0]
		for _, x := range v[1:] {
			left = max(left, x)
		}
	case minimum:
		left = v[0]
		for _, x := range v[1:] {
			left = min(left, x)
		}
	case sum, avg:
		for _, x := range v {
			left += x
		}
		if f.kind == avg {
			left /= float64(len(v))
		}
	case diff:
		for _, x := range v[1:] {
			if left = v[0] - x; op.Holds(left, right) {
				return left, true
			}
		}
		return left, false
	case pdiff:
		for _, x := range v[1:] {
			if x == 0 {
				continue
			}
			if left = (v[0] - x) / x * 100; op.Holds(left, right) {
				return left, true
			}
		}
		return left, false
	case lookup:
		n := 0
		for _, x := range v {
			if op.Holds(x, right) {
				n++
			}
		}
		return v[0], f.a > 0 && n >= f.a
	case stddev:
		return v[0], deviates(v, right)
	case kdiff, kpdiff:
		return f.eachAgainstEach(op, right, v)
	}
	return left, op.Holds(left, right)
}

// deviates says whether the newest value is more than r standard deviations from the
// mean, both of all values, the newest included. Values that do not vary never
// deviate: what is left of their deviation is rounding.
func deviates(v []float64, r float64) bool {
	n, mean, square := float64(len(v)), 0.0, 0.0
	for _, x := range v {
		mean += x
	}
	mean /= n
	for _, x := range v {
		square += (x - mean) * (x - mean)
	}
	sigma := math.Sqrt(square / n)
	if sigma < 1e-12*max(1, math.Abs(mean)) {
		return false
	}
	return v[0] < mean-r*sigma || v[0] > mean+r*sigma
}

// eachAgainstEach compares each of the b newest values with each of the a oldest; all
// pairs must hold. A zero among the first a values ends it, as in stock.
func (f Func) eachAgainstEach(op Op, right float64, v []float64) (left float64, triggered bool) {
	for i := range f.a {
		if v[i] == 0 {
			return left, false
		}
		for j := range f.b {
			left = v[j] - v[f.a+f.b-1-i]
			if f.kind == kpdiff {
				left = left / v[j] * 100
			}
			if !op.Holds(left, right) {
				return left, false
			}
		}
	}
	return left, f.a > 0 && f.b > 0
}

// An Op compares a value with the threshold.
type Op uint8

const (
	opNever Op = iota
	opEqual
	opUnequal
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
)

// ParseOp reads an operator. The zero Op, which comes with the error, holds never.
func ParseOp(s string) (Op, error) {
	switch s {
	case "=", "==":
		return opEqual, nil
	case "!=":
		return opUnequal, nil
	case "<":
		return opLess, nil
	case "<=":
		return opLessEqual, nil
	case ">":
		return opGreater, nil
	case ">=":
		return opGreaterEqual, nil
	}
	return opNever, fmt.Errorf("operator %q is unknown, use one of = == != < <= > >=", s)
}

// equal is how near two values are that count as the same.
const equal = 0.0001

// Holds compares left with right. Equality has a tolerance of 0.0001.
func (op Op) Holds(left, right float64) bool {
	switch op {
	case opEqual:
		return math.Abs(left-right) < equal
	case opUnequal:
		return math.Abs(left-right) > equal
	case opLess:
		return left < right
	case opLessEqual:
		return left <= right
	case opGreater:
		return left > right
	case opGreaterEqual:
		return left >= right
	}
	return false
}
