package graph

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"falcon/common/model"
)

// goldenSeries is what a stock graph answered of a series; times are relative to T0.
type goldenSeries struct {
	Name, DsType, Counter string
	Step                  int64
	Points                [][2]float64 // index of step, value
	Flushed               goldenPhase
}

type goldenPhase struct {
	AskedAt       int64 `json:"asked_at"`
	Queries       []goldenQuery
	Last, LastRaw []float64 // time, value
}

// goldenQuery is a question whose answer has base rows.
type goldenQuery struct {
	CF         string
	Start, End int64
	Step       int64
	Reply      struct {
		First, Every int64
		Values       []any // numbers, null, or "garbage"
	}
	IgnoreLastRow bool `json:"ignore_last_row"`
}

// goldenExceptions are the series whose base rows differ on purpose; nothing else may.
var goldenExceptions = map[string]string{
	"gauge_300s":         "its points are no multiples of the step, which no transfer sends; stock's archive interpolates (contract query 1.4)",
	"gauge_out_of_order": "late points are kept, stock drops them (decision 1)",
	"derive_fraction":    "values keep their fractions, stock cuts them off before it takes the rate (query 1.4, write rules)",
	"counter_wrap":       "a counter that begins anew gives no rate, stock's a huge or a wrong one (query 1.4, COUNTER)",
}

// goldenLast are those whose newest value differs on purpose.
var goldenLast = map[string]string{
	"gauge_300s Graph.Last":    "times are aligned to the step, as every transfer aligns them",
	"gauge_300s Graph.LastRaw": "the same",
}

// The base rows inside a range, and the newest values, are those that a stock graph
// answered of the same points, before and after they were written out.
func TestGolden(t *testing.T) {
	b, err := os.ReadFile("testdata/golden/graph-main.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		T0       int64
		Endpoint string
		Series   []goldenSeries
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	for _, s := range g.Series {
		t.Run(s.Name, func(t *testing.T) {
			w := start(t, nil)
			w.clock.unix.Store(g.T0 + s.Flushed.AskedAt)
			least := "U"
			if s.DsType != model.Gauge {
				least = "0"
			}
			metric, tags := model.SplitCounter(s.Counter)
			var items []*model.GraphItem
			for _, p := range s.Points {
				items = append(items, &model.GraphItem{
					Endpoint: g.Endpoint, Metric: metric, Tags: model.ParseTags(tags), Value: p[1], Timestamp: g.T0 + int64(p[0])*s.Step, DsType: s.DsType,
					Step: int(s.Step), Heartbeat: int(2 * s.Step), Min: least, Max: "U",
				})
			}
			for chunk := range slices.Chunk(items, 200) {
				w.send(chunk...)
			}
			var wrong []string
			rows := 0
			for _, q := range s.Flushed.Queries {
				var got model.GraphQueryResponse
				w.call("Graph.Query", &model.GraphQueryParam{
					Start: g.T0 + q.Start, End: g.T0 + q.End, ConsolFun: q.CF, Endpoint: g.Endpoint, Counter: s.Counter, Step: int(q.Step),
				}, &got)
				have := map[int64]float64{}
				for _, p := range got.Values {
					have[p.Timestamp-g.T0] = float64(p.Value)
				}
				for ts, want := range q.base() {
					rows++
					x, ok := have[ts]
					if !ok {
						x = math.NaN() // nothing is said of a gap at the edges
					}
					if math.IsNaN(x) != math.IsNaN(want) || math.Abs(x-want) > 1e-9*max(1, math.Abs(want)) {
						wrong = append(wrong, fmt.Sprintf("from %d to %d at %d: %v, stock %v", q.Start, q.End, ts, x, want))
					}
				}
			}
			if why := goldenExceptions[s.Name]; (len(wrong) > 0) != (why != "") || rows < 900 {
				t.Errorf("%d of %d rows differ, exception %q: %q", len(wrong), rows, why, wrong[:min(3, len(wrong))])
			}
			for method, want := range map[string][]float64{"Graph.Last": s.Flushed.Last, "Graph.LastRaw": s.Flushed.LastRaw} {
				var got model.GraphLastResp
				w.call(method, &model.GraphLastParam{Endpoint: g.Endpoint, Counter: s.Counter}, &got)
				same := got.Value != nil && got.Value.Timestamp-g.T0 == int64(want[0]) && math.Abs(float64(got.Value.Value)-want[1]) < 1e-9
				if why := goldenLast[s.Name+" "+method]; same != (why == "") {
					t.Errorf("%s: %+v, stock %v, exception %q", method, got.Value, want, why)
				}
			}
		})
	}
}

// base returns the rows of the answer that lie inside the range; the last row is no data
// when it is to be ignored.
func (q *goldenQuery) base() map[int64]float64 {
	rows := map[int64]float64{}
	values := q.Reply.Values
	if q.IgnoreLastRow {
		values = values[:len(values)-1]
	}
	for i, v := range values {
		ts := q.Reply.First + int64(i)*q.Reply.Every
		if ts <= q.Start || ts > q.End {
			continue
		}
		switch v := v.(type) {
		case float64:
			rows[ts] = v
		case nil:
			rows[ts] = math.NaN()
		}
	}
	return rows
}
