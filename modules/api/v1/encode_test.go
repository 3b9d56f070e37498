package v1

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"falcon/common/model"
	"falcon/modules/api/graphs"
	"falcon/modules/api/graphs/graphtest"
)

// historyOf writes series as an answer.
func historyOf(all []*graphs.Series) []byte {
	h := historyWriter{in: &historyInput{Start: math.MinInt64, End: math.MaxInt64, Step: 60}}
	queries := make([]*model.GraphQueryParam, len(all))
	for i, s := range all {
		queries[i] = &model.GraphQueryParam{Endpoint: s.Endpoint, Counter: s.Counter}
	}
	h.write(queries, all)
	return h.end()
}

func TestHistoryIsWhatReflectionWrites(t *testing.T) {
	all := []*graphs.Series{
		{Endpoint: `quo"te\ <&>`, Counter: "a/b=\u2028é\x01\n\t", DsType: "GAUGE", Step: 60, Values: []model.RRDData{
			{Timestamp: t0, Value: 0}, {Timestamp: -1, Value: model.JSONFloat(math.NaN())}, {Timestamp: 1, Value: model.JSONFloat(math.Inf(1))},
			{Timestamp: 2, Value: 1.5}, {Timestamp: 3, Value: -7}, {Timestamp: 4, Value: 1 << 53}, {Timestamp: 5, Value: 1e300}, {Timestamp: 6, Value: 1e-9},
			{Timestamp: 7, Value: model.JSONFloat(math.Copysign(0, -1))}, {Timestamp: 8, Value: 9007199254740991},
			{Timestamp: 9, Value: 0.001}, {Timestamp: 10, Value: -0.05}, {Timestamp: 11, Value: 99.999}, {Timestamp: 12, Value: 1.0005}, {Timestamp: 13, Value: -1234567.5}, {Timestamp: 14, Value: 0.1 + 0.2},
		}},
		{Values: []model.RRDData{}},
	}
	got := historyOf(all)
	var a, b any
	want, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	if !covers(a, b) || !covers(b, a) {
		t.Errorf("history\n got %s\nwant %s", got, want)
	}
	if s := string(historyOf(nil)); s != "[]" {
		t.Errorf("no series: %s", s)
	}
}

// Every finite number reads back as itself, the rest is null.
func FuzzAppendValue(f *testing.F) {
	for _, v := range []float64{0, 1, -1, 0.1, 1.25, 1e21, 1e-7, math.MaxFloat64, 5e-324, 9007199254740.993, math.NaN(), math.Inf(-1)} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v float64) {
		for _, v := range []float64{v, math.Round(v*1000) / 1000} {
			text := string(appendValue(nil, model.JSONFloat(v)))
			back := math.NaN()
			if text != "null" {
				if err := json.Unmarshal([]byte(text), &back); err != nil {
					t.Fatalf("appendValue(%v) = %s: %v", v, text, err)
				}
			}
			if finite := !math.IsNaN(v) && !math.IsInf(v, 0); finite && back != v || !finite && text != "null" {
				t.Errorf("appendValue(%v) = %s", v, text)
			}
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a", `"\`, "\x00\x1f\x7f", "é\xff\xc3", "\u2028", "😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := appendString(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("appendString(%q) = %s: %v", s, got, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && back != want {
			t.Errorf("appendString(%q) reads back as %q", s, back)
		}
	})
}

// Any body is answered, and never with a fault of ours.
func FuzzHistoryBody(f *testing.F) {
	for _, s := range []string{``, `{}`, `null`, `{"hostnames":["h"],"counters":["m0"],"consol_fun":"AVERAGE","start_time":1,"end_time":2}`, `[1]`, `{"hostnames":[null]}`} {
		f.Add(s)
	}
	w := newWorld(f, options{})
	f.Fuzz(func(t *testing.T, body string) {
		w.t = t
		for _, path := range []string{"/graph/history", "/graph/lastpoint", "/graph/info"} {
			if a := w.call("ann", "POST", path, body); a.status >= 500 || !json.Valid([]byte(a.body)) {
				t.Errorf("%s %q: %d %s", path, body, a.status, a.body)
			}
		}
	})
}

// Ten counters over twelve hours of a minute each: 7 200 points.
func BenchmarkHistory(b *testing.B) {
	w := newWorld(b, options{settings: func(s *Settings) { s.MaxBody = 1 << 20 }})
	var counters []string
	for i := range 10 {
		values := make([]float64, 720)
		for j := range values {
			values[j] = float64(j%100) + 0.25*float64(i)
		}
		s := graphtest.Gauge("h", fmt.Sprint("m", i), 60, t0, values...)
		counters = append(counters, s.Counter)
		w.ours.Put(s)
	}
	in := map[string]any{"hostnames": []string{"h"}, "counters": counters, "consol_fun": "AVERAGE", "start_time": t0, "end_time": t0 + 720*60}
	for b.Loop() {
		if a := w.call("ann", "POST", "/graph/history", in); a.status != http.StatusOK || len(a.body) < 7200*35 {
			b.Fatal(a.status, len(a.body))
		}
	}
}

func BenchmarkAppendSeries(b *testing.B) {
	var all []*graphs.Series
	for i := range 10 {
		s := &graphs.Series{Endpoint: "h", Counter: fmt.Sprint("m", i), DsType: "GAUGE", Step: 60}
		for j := range 720 {
			s.Values = append(s.Values, model.RRDData{Timestamp: t0 + int64(j)*60, Value: model.JSONFloat(float64(j%100) + 0.25*float64(i))})
		}
		all = append(all, s)
	}
	buf := make([]byte, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		buf = buf[:0]
		for _, s := range all {
			buf = appendSeries(buf, s)
		}
	}
}
