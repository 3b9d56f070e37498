package polymetric

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

func row(id int64, numerator, denominator string, step int) portal.DatedAggregator {
	return portal.DatedAggregator{LastUpdate: "2026-11-22 04:11:00", Aggregator: portal.Aggregator{
		ID: id, Group: 2, Numerator: numerator, Denominator: denominator, Endpoint: "cluster", Metric: "m", Tags: "a=b", DsType: "GAUGE", Step: step, Creator: "root",
	}}
}

func mustRead(t *testing.T, row portal.DatedAggregator) *rule {
	t.Helper()
	r, err := read(row)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPresent(t *testing.T) {
	hosts := []Host{
		{"never", 0, 0}, {"begins", 1000, 2000}, {"ends", 500, 1000}, {"within", 999, 1001}, {"before", 1, 999}, {"after", 1001, 1002},
		{"twice", 0, 0}, {"twice", 0, 0}, {"", 0, 0},
	}
	if got, want := present(hosts, time.Unix(1000, 0)), []string{"never", "before", "after", "twice"}; !slices.Equal(got, want) {
		t.Errorf("present %v, want %v", got, want)
	}
}

// Now is 1000 and the step 30: a point counts from 940 to 1000, both included, and a host
// when every counter of both sides has one.
func TestEvaluate(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		name, numerator, denominator string
		points                       string // host/counter time value, …
		value                        float64
		err                          string
		valid                        int
		lacking                      string
	}{
		{"the mean", "$(a)", "$#", "h1/a 990 10, h2/a 990 20", 15, "", 2, ""},
		{"the oldest that counts", "$(a)", "$#", "h1/a 940 10, h2/a 1000 20", 15, "", 2, ""},
		{"too old", "$(a)", "$#", "h1/a 939 10, h2/a 940 20", 20, "", 1, "h1/a"},
		{"of the future", "$(a)", "$#", "h1/a 1000 10, h2/a 1001 20", 10, "", 1, "h2/a"},
		{"no data", "$(a)", "$#", "h1/a 0 0, h2/a 960 20", 20, "", 1, "h1/a"},
		{"left out", "$(a)", "$#", "h2/a 960 20", 20, "", 1, "h1/a"},
		{"no number", "$(a)", "$#", fmt.Sprintf("h1/a 990 %v, h2/a 960 20", nan), 20, "", 1, "h1/a"},
		{"a host lacks a counter of the numerator", "($(a)+$(b/k=v))>25", "$#", "h1/a 990 10, h1/b/k=v 990 30, h2/a 990 20, h2/b/k=v 0 0", 1, "", 1, "h2/b/k=v"},
		{"a host lacks a counter of the denominator", "$(a)", "$(b/k=v)", "h1/a 990 10, h2/a 990 20, h2/b/k=v 990 4", 5, "", 1, "h1/b/k=v"},
		{"a constant is not added up", "$(a)", "2", "h1/a 990 10, h2/a 990 20", 15, "", 2, ""},
		{"nobody", "$(a)", "$#", "", 0, "no host has all counters", 0, "h1/a h2/a"},
		{"nothing to divide by", "$(a)", "$(a)>50", "h1/a 990 10, h2/a 990 20", 0, "the denominator is 0", 2, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			points := map[model.GraphLastParam]model.RRDData{}
			for p := range strings.SplitSeq(tc.points, ", ") {
				var name string
				var at int64
				var v float64
				if _, err := fmt.Sscan(p, &name, &at, &v); err == nil {
					host, counter, _ := strings.Cut(name, "/")
					points[model.GraphLastParam{Endpoint: host, Counter: counter}] = model.RRDData{Timestamp: at, Value: model.JSONFloat(v)}
				}
			}
			out := mustRead(t, row(1, tc.numerator, tc.denominator, 30)).evaluate([]string{"h1", "h2"}, points, time.Unix(998, 0), time.Unix(1000, 0))
			if got := strings.Join(out.lacking, " "); got != tc.lacking || out.nLacking != len(out.lacking) || out.valid != tc.valid || out.hosts != 2 {
				t.Errorf("%d of %d hosts, lacking %q (%d); want %d, %q", out.valid, out.hosts, got, out.nLacking, tc.valid, tc.lacking)
			}
			if tc.err != "" {
				if out.item != nil || out.err == nil || out.err.Error() != tc.err {
					t.Errorf("got %+v, %v; want %s", out.item, out.err, tc.err)
				}
				return
			}
			want := model.MetricValue{Endpoint: "cluster", Metric: "m", Tags: "a=b", Type: "GAUGE", Step: 30, Timestamp: 998, Value: tc.value}
			if out.err != nil || out.item == nil || *out.item != want {
				t.Errorf("got %+v, %v; want %+v", out.item, out.err, want)
			}
		})
	}
}

// Rows written by SQL may have anything in them.
func TestRead(t *testing.T) {
	with := func(f func(*portal.DatedAggregator)) portal.DatedAggregator {
		r := row(1, "$(a)", "$#", 60)
		f(&r)
		return r
	}
	for _, tc := range []struct {
		row  portal.DatedAggregator
		want string
	}{
		{row(1, "$(a)", "$#", 60), ""},
		{row(1, "$(a)*2", "$#", 60), `numerator: "*2" can not follow a counter`},
		{row(1, "$(a)", "", 60), "denominator: it is empty"},
		{row(1, "1", "$#", 60), "neither numerator nor denominator"},
		{row(1, "$(a)", "$#", 0), "step: 0 is no number of seconds"},
		{row(1, "$(a)", "$#", -60), "step: -60 is no number of seconds"},
		{row(1, "$(a)", "$#", 604801), "step: 604801 is no number of seconds"},
		{with(func(r *portal.DatedAggregator) { r.Endpoint = "" }), "endpoint: it is empty"},
		{with(func(r *portal.DatedAggregator) { r.Metric = "" }), "metric: it is empty"},
		{with(func(r *portal.DatedAggregator) { r.DsType = "gauge" }), `ds_type: "gauge" is unknown`},
	} {
		_, err := read(tc.row)
		if got := fmt.Sprint(err); tc.want == "" && err != nil || !strings.HasPrefix(got, tc.want) && tc.want != "" {
			t.Errorf("%+v: %v, want %s", tc.row, err, tc.want)
		}
	}
}

// Turns come every step at the same place of it, which differs from row to row.
func TestTurns(t *testing.T) {
	for _, step := range []int{1, 7, 30, 60, 3600} {
		ms := int64(step) * 1000
		first := map[int64]bool{}
		for id := range int64(20) {
			r := mustRead(t, row(id+1, "$(a)", "$#", step))
			at := r.turn(time.Unix(1_795_320_702, 123))
			place := at.UnixMilli() % ms
			first[place*10/ms] = true
			if d := at.Sub(time.Unix(1_795_320_702, 123)); d <= 0 || d > r.step {
				t.Errorf("step %d: the next turn is in %v", step, d)
			}
			for range 3 {
				next := r.turn(at)
				if next.Sub(at) != r.step || next.UnixMilli()%ms != place {
					t.Errorf("step %d: after %v comes %v", step, at, next)
				}
				if between := r.turn(at.Add(r.step / 2)); !between.Equal(next) {
					t.Errorf("step %d: between two turns the next is %v, want %v", step, between, next)
				}
				at = next
			}
		}
		if len(first) < 5 {
			t.Errorf("step %d: the turns of twenty rows are in the tenths %v of it", step, first)
		}
	}
}
