package verdict

import (
	"fmt"
	"strings"
	"testing"

	"falcon/common/expr"
)

func trialOf(tb testing.TB, fn, op string, right float64, maxStep int) *Trial {
	tb.Helper()
	f, err := expr.ParseFunc(fn)
	if err != nil {
		tb.Fatal(err)
	}
	o, err := expr.ParseOp(op)
	if err != nil {
		tb.Fatal(err)
	}
	return &Trial{Condition: Condition{f, o, right}, Rule: Rule{MaxStep: maxStep, MinInterval: 300}, Spans: []Span{{0, 1 << 40}}}
}

// said writes what was told as "P1@60 OK@120".
func said(told []Told) string {
	var out []string
	for _, e := range told {
		switch e.Emit {
		case TellProblem:
			out = append(out, fmt.Sprintf("P%d@%d", e.Step, e.EventTime))
		default:
			out = append(out, fmt.Sprintf("OK@%d", e.EventTime))
		}
	}
	return strings.Join(out, " ")
}

func TestTrial(t *testing.T) {
	high := func(times ...int64) (out []expr.Point) {
		for _, ts := range times {
			out = append(out, expr.Point{Ts: ts, Value: 90})
		}
		return out
	}
	for _, tc := range []struct {
		name   string
		fn     string
		from   int64
		spans  []Span
		points []expr.Point
		want   string
		open   bool
	}{
		{"told once a point holds", "all(#1)", 0, []Span{{0, 1000}}, high(60, 120), "P1@60", true},
		{"points before the beginning fill the window", "all(#2)", 120, []Span{{0, 1000}}, high(0, 60, 120), "P1@120", true},
		{"and are not judged", "all(#1)", 500, []Span{{0, 1000}}, high(60, 120), "", false},
		{"nobody watches", "all(#1)", 0, nil, high(60, 120), "", false},
		{"the end of a span is not part of it", "all(#1)", 0, []Span{{0, 60}, {120, 180}}, high(60, 120), "P1@120", true},
		{"before the hours nothing is kept", "all(#2)", 0, []Span{{100, 1000}}, high(60, 120, 180), "P1@180", true},
		{"after the hours nothing is remembered of what was not told", "all(#3)", 0, []Span{{0, 130}, {170, 1000}}, high(60, 120, 180, 240, 300), "P1@300", true},
		{"spans that meet are one", "all(#3)", 0, []Span{{0, 150}, {150, 1000}}, high(60, 120, 180), "P1@180", true},
		{"what was told goes on", "all(#2)", 0, []Span{{0, 130}, {590, 1000}}, append(high(60, 120), expr.Point{Ts: 600, Value: 1}), "P1@120 OK@600", false},
		{"nor is the rest of the hours looked at", "all(#1)", 0, []Span{{0, 10}}, high(60), "", false},
	} {
		r := trialOf(t, tc.fn, ">", 80, 3)
		r.From, r.Spans = tc.from, tc.spans
		told, state := r.Run(nil, tc.points, true)
		if got := said(told); got != tc.want || state.Status == Problem != tc.open {
			t.Errorf("%s: told %q and open %v, want %q and %v", tc.name, got, state.Status == Problem, tc.want, tc.open)
		}
	}
}

// A day of points each minute; ns/point and points/s are what counts.
func BenchmarkTrial(b *testing.B) {
	points := make([]expr.Point, 1440)
	for i := range points {
		points[i] = expr.Point{Ts: int64(60 * i), Value: float64(i * i % 97)}
	}
	for _, fn := range []string{"all(#3)", "avg(#10)", "stddev(#60)"} {
		b.Run(fn, func(b *testing.B) {
			r := trialOf(b, fn, ">", 80, 3)
			var told []Told
			b.ReportAllocs()
			for b.Loop() {
				told, _ = r.Run(told[:0], points, true)
			}
			n := float64(b.N) * float64(len(points))
			b.ReportMetric(n/b.Elapsed().Seconds(), "points/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/point")
		})
	}
}
