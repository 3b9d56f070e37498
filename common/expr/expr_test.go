package expr

import (
	"math"
	"strings"
	"testing"
)

func mustFunc(t testing.TB, s string) Func {
	t.Helper()
	f, err := ParseFunc(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEval(t *testing.T) {
	ten := append([]float64{1000}, make([]float64, 10)...)
	for _, tc := range []struct {
		rule, op  string
		right     float64
		v         []float64 // newest first
		left      float64
		triggered bool
	}{
		// contract alerting 9
		{"diff(#3)", ">", 5, []float64{10, 4, 0, 8}, 6, true},
		{"diff(#3)", ">", 100, []float64{10, 4, 0, 8}, 2, false},
		{"pdiff(#3)", ">", 100, []float64{10, 4, 0, 8}, 150, true},
		{"lookup(#2,4)", ">", 5, []float64{10, 4, 0, 8}, 10, true},
		{"all(#4)", ">=", 0, []float64{10, 4, 0, 8}, 10, true},
		{"avg(#4)", ">", 5, []float64{10, 4, 0, 8}, 5.5, true},
		{"sum(#4)", "==", 22, []float64{10, 4, 0, 8}, 22, true},
		{"all(#5)", ">=", 0, []float64{10, 4, 0, 8}, 0, false},
		{"stddev(#5)", ">", 3, ten[:5], 1000, false},
		{"stddev(#11)", ">", 3, ten, 1000, true},
		// more
		{"all(#2)", "<", 5, []float64{1, 9}, 1, false},
		{"max(#3)", ">", 8, []float64{1, 9, 2}, 9, true},
		{"min(#3)", "<", 1, []float64{1, 9, 2}, 1, false},
		{"pdiff(#2)", ">", 1, []float64{1, 0, 0}, 0, false},
		{"lookup(#0,2)", ">", 0, []float64{1, 1}, 1, false},
		{"lookup(#3,2)", ">", 0, []float64{1, 1}, 1, false},
		{"stddev(#3)", ">", 0, []float64{0.1, 0.1, 0.1}, 0.1, false},
		{"stddev(#4)", "!", 1, []float64{9, 1, 1, 1}, 9, true}, // the operator is ignored
		{"stddev(#2)", ">", 1, []float64{1, -1}, 1, false},     // exactly one deviation is not more than one
		{"stddev(#2)", ">", 1, []float64{-1, 1}, -1, false},
		{"stddev(#2)", ">", 0.999, []float64{-1, 1}, -1, true},
		{"diff(#0)", "=", 0, []float64{1}, 0, false},
		{"kdiff(#1,2)", ">", 1, []float64{5, 4, 2}, 2, true},
		{"kdiff(#2,1)", ">", 1, []float64{9, 2, 1}, 7, true},
		{"kdiff(#2,1)", ">", 7, []float64{9, 2, 1}, 7, false},
		{"kdiff(#1,2)", ">", 2, []float64{5, 4, 2}, 2, false},
		{"kdiff(#1,2)", ">", 1, []float64{0, 4, 2}, 0, false},
		{"kpdiff(#1,2)", ">", 40, []float64{5, 4, 2}, 50, true},
		{"all(#1)", "!", 0, []float64{1}, 1, false},
		{"all(#1)", "=", 1, []float64{1.00005}, 1.00005, true},
		{"all(#1)", "=", 1, []float64{1.0002}, 1.0002, false},
		{"all(#1)", "!=", 1, []float64{1.00005}, 1.00005, false},
		{"all(#1)", "!=", 1, []float64{1.0002}, 1.0002, true},
		{"all(#1)", "<=", 1, []float64{1}, 1, true},
		{"all(#1)", "<", 1, []float64{1}, 1, false},
		{"all(#1)", ">=", 1, []float64{1}, 1, true},
		{"all(#1)", ">", 1, []float64{1}, 1, false},
	} {
		op, _ := ParseOp(tc.op)
		left, triggered := mustFunc(t, tc.rule).Eval(op, tc.right, tc.v)
		if left != tc.left || triggered != tc.triggered {
			t.Errorf("%s%s%v of %v: %v %v, want %v %v", tc.rule, tc.op, tc.right, tc.v, left, triggered, tc.left, tc.triggered)
		}
	}
}

func TestParseFunc(t *testing.T) {
	for _, s := range []string{"all(#3)", "max(#1)", "min(#10)", "sum(#2)", "avg(#120)", "diff(#1)", "pdiff(#2)", "lookup(#2,3)", "stddev(#11)", "kdiff(#2,3)", "kpdiff(#1,1)"} {
		if f := mustFunc(t, s); f.String() != s {
			t.Errorf("%q reads as %q", s, f)
		}
	}
	for s, names := range map[string]string{
		"": "all(#3)", "#3)": "all(#3)", "a#": "all(#3)", "all": "all(#3)", "all(3)": "all(#3)", "all(#x)": `"x"`, "all(#)": `""`, "all(#-1)": `"-1"`, "all(#+1)": `"+1"`, "all(#1": "all(#3)",
		"lookup(#2)": "lookup(#2,3)", "all(#1,2)": "all(#3)", "some(#1)": "use one of all, max", "all(#0)": "0 points", "all(#121)": "121 points", "all(# 1)": `" 1"`, "ALL(#1)": "unknown",
		"all(#99999999999999999999)": "no count", "avg(#1))": `"1)"`,
	} {
		if f, err := ParseFunc(s); err == nil {
			t.Errorf("%q reads as %v", s, f)
		} else if !strings.Contains(err.Error(), names) {
			t.Errorf("%q: the error %q does not say %s", s, err, names)
		}
	}
	for _, s := range []string{"", "!", "<>", "=>", "gt"} {
		if _, err := ParseOp(s); err == nil || !strings.Contains(err.Error(), "<=") {
			t.Errorf("operator %q: %v", s, err)
		}
	}
}

func TestValues(t *testing.T) {
	raw := []Point{{180, 300}, {120, 240}, {60, 120}}
	if v, ok := Values(nil, raw, 2, false); !ok || v[0] != 1 || v[1] != 2 {
		t.Errorf("rates %v %v", v, ok)
	}
	if _, ok := Values(nil, raw, 3, false); ok {
		t.Error("three rates of three points")
	}
	if v, ok := Values(nil, raw, 3, true); !ok || v[2] != 120 {
		t.Errorf("values %v %v", v, ok)
	}
	// Each rate is over its own gap.
	if v, ok := Values(nil, []Point{{300, 300}, {120, 120}, {60, 0}}, 2, false); !ok || v[0] != 1 || v[1] != 2 {
		t.Errorf("rates over unequal gaps %v %v", v, ok)
	}
	if v, ok := Values(nil, []Point{{120, 10}, {60, 100}}, 1, false); !ok || v[0] != -1.5 {
		t.Errorf("a counter that went back: %v %v", v, ok)
	}
	if _, ok := Values(nil, raw, 0, true); ok {
		t.Error("no values are enough")
	}
}

func TestWarnings(t *testing.T) {
	for _, tc := range []struct {
		rule  string
		op    Op
		right float64
		want  []string // a part of each warning
	}{
		{"stddev(#10)", opGreater, 3, []string{"with 3 use a window of 11 or more"}},
		{"stddev(#11)", opGreater, 3, nil},
		{"stddev(#11)", opNever, 3, nil}, // the operator is ignored
		{"stddev(#13)", opGreater, 3.5, []string{"with 3.5 use a window of 14", "looks at 13 points"}},
		{"stddev(#11)", opGreater, 11, []string{"no window is wide enough for 11"}},
		{"stddev(#11)", opGreater, 1e300, []string{"no window is wide enough for 1e+300"}},
		{"stddev(#11)", opGreater, math.Inf(1), []string{"no window"}},
		{"lookup(#3,2)", opGreater, 3, []string{"3 of 2 values can not hold"}},
		{"lookup(#0,2)", opGreater, 3, []string{"0 of 2 values can not hold"}},
		{"kdiff(#0,2)", opGreater, 3, []string{"compares nothing"}},
		{"kpdiff(#2,0)", opGreater, 3, []string{"compares nothing"}},
		{"diff(#0)", opGreater, 3, []string{"compares nothing"}},
		{"pdiff(#0)", opGreater, 3, []string{"compares nothing"}},
		{"all(#1)", opNever, 3, []string{"no operator"}},
		{"all(#1)", opLess, math.NaN(), []string{"not a number"}},
		{"all(#11)", opGreater, 3, nil},
		{"all(#12)", opGreater, 3, []string{"stock judges keep 11"}},
		{"diff(#11)", opGreater, 3, []string{"looks at 12 points"}},
	} {
		got := mustFunc(t, tc.rule).Warnings(tc.op, tc.right)
		if len(got) != len(tc.want) {
			t.Errorf("%s %v: %q, want %d", tc.rule, tc.right, got, len(tc.want))
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], tc.want[i]) {
				t.Errorf("%s %v: %q does not say %q", tc.rule, tc.right, got[i], tc.want[i])
			}
		}
	}
}

// The window that a warning advises is the narrowest that can fire.
func TestAdvisedWindowFires(t *testing.T) {
	for _, right := range []float64{1.5, 2, 3, 3.5, 10.4} {
		n := int(right*right) + 2
		for window, want := range map[int]bool{n: true, n - 1: false} {
			f := Func{kind: stddev, a: window}
			spike := make([]float64, window)
			spike[0] = 1 // nothing deviates more than one among equals
			if _, got := f.Eval(opGreater, right, spike); got != want || (f.never(opGreater, right) == "") != want {
				t.Errorf("%v with %v: fires %v, warns %q", f, right, got, f.never(opGreater, right))
			}
		}
	}
}

func TestEvalAllocatesNothing(t *testing.T) {
	v := make([]float64, MaxWindow)
	for i := range v {
		v[i] = float64(i + 1)
	}
	for _, s := range []string{"all(#3)", "max(#3)", "min(#3)", "sum(#3)", "avg(#3)", "diff(#3)", "pdiff(#3)", "lookup(#2,3)", "stddev(#11)", "kdiff(#2,3)", "kpdiff(#2,3)"} {
		f := mustFunc(t, s)
		if n := testing.AllocsPerRun(100, func() { f.Eval(opGreater, -1e9, v) }); n != 0 {
			t.Errorf("%s allocates %v times", s, n)
		}
	}
}

func FuzzParseFunc(f *testing.F) {
	for _, s := range []string{"all(#3)", "lookup(#2,3)", "#3)", "a#", "kpdiff(#0,0)"} {
		f.Add(s)
	}
	v := make([]float64, MaxWindow)
	for i := range v {
		v[i] = math.Sin(float64(i))
	}
	f.Fuzz(func(t *testing.T, s string) {
		fn, err := ParseFunc(s)
		if err != nil {
			return
		}
		fn.Eval(opLess, 0.5, v)
		if again, err := ParseFunc(fn.String()); err != nil || again != fn {
			t.Errorf("%q reads as %v, that as %v (%v)", s, fn, again, err)
		}
	})
}
