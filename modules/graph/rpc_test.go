package graph

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/common/stream"
)

// What a stock client asks by gob of the series that were captured gets stock's
// answer, where stock is right: points outside of the range asked for, and LAST, are
// not answered.
func TestStockQuestions(t *testing.T) {
	w := start(t, nil)
	var items []*model.GraphItem
	for ts := int64(1795319760 - 120); ts <= 1795320660; ts += 60 {
		items = append(items, graphItem("it-q1", "it.qg", ts, float64((ts-1795319520)/60)))
		c := graphItem("it-q1", "it.qc", ts, float64(3280-2*(1795320660-ts)))
		c.Tags, c.DsType, c.Min = map[string]string{"k": "v"}, model.Derive, "0"
		items = append(items, c)
	}
	c := w.gob()
	var resp model.SimpleRpcResponse
	if err := c.Call("Graph.Send", items, &resp); err != nil || resp.Code != 0 {
		t.Fatalf("Graph.Send: %+v, %v", resp, err)
	}
	files, err := filepath.Glob("testdata/wire/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var calls []struct {
			Method string
			Args   json.RawMessage
			Reply  json.RawMessage
			Error  string
		}
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(b), `"NaN"`, "null")), &calls); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, call := range calls {
			into := func(v any, b json.RawMessage) {
				t.Helper()
				if err := json.Unmarshal(b, v); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
			}
			name := fmt.Sprint(filepath.Base(file), " ", call.Method, " ", string(call.Args))
			switch call.Method {
			case "Graph.Query":
				var p model.GraphQueryParam
				var got, want model.GraphQueryResponse
				into(&p, call.Args)
				into(&want, call.Reply)
				if err := c.Call(call.Method, p, &got); err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				compareQuery(t, name, &p, &got, &want)
			case "Graph.Last", "Graph.LastRaw":
				var p model.GraphLastParam
				var got, want model.GraphLastResp
				into(&p, call.Args)
				into(&want, call.Reply)
				if err := c.Call(call.Method, p, &got); err != nil || got.Value == nil || *got.Value != *want.Value || got.Counter != want.Counter {
					t.Errorf("%s: %v, %v, want %v", name, got.Value, err, want.Value)
				}
			case "Graph.Info":
				var p model.GraphInfoParam
				var got, want model.GraphInfoResp
				into(&p, call.Args)
				into(&want, call.Reply)
				if err := c.Call(call.Method, p, &got); err != nil || got.Step != want.Step || got.ConsolFun != want.ConsolFun || filepath.Base(got.Filename) != filepath.Base(want.Filename) {
					t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
				}
			case "Graph.Ping":
				if err := c.Call(call.Method, struct{}{}, &resp); err != nil || resp.Code != 0 {
					t.Errorf("%s: %v", name, err)
				}
			default:
				if err := c.Call(call.Method, struct{}{}, &resp); err == nil || err.Error() != call.Error {
					t.Errorf("%s: %v, want %q", name, err, call.Error)
				}
			}
		}
	}
}

func compareQuery(t *testing.T, name string, p *model.GraphQueryParam, got, want *model.GraphQueryResponse) {
	t.Helper()
	if got.Endpoint != want.Endpoint || got.Counter != want.Counter || got.DsType != want.DsType || got.Step != want.Step {
		t.Errorf("%s: %+v, want %+v", name, got, want)
	}
	have := map[int64]float64{}
	for _, v := range got.Values {
		if v.Timestamp < p.Start-p.Start%60 || v.Timestamp > p.End {
			t.Errorf("%s: a point at %d is outside of the range", name, v.Timestamp)
		}
		have[v.Timestamp] = float64(v.Value)
	}
	if p.ConsolFun == "LAST" {
		if len(have) > 0 {
			t.Errorf("%s: %d points, want none", name, len(have))
		}
		return
	}
	for _, v := range want.Values {
		if f := float64(v.Value); !math.IsNaN(f) && v.Timestamp <= p.End {
			if g, ok := have[v.Timestamp]; !ok || g != f {
				t.Errorf("%s: %v at %d (there: %v), want %v", name, g, v.Timestamp, ok, f)
			}
		}
	}
}

// Each reason for which Send refuses an item; the others of the call are stored.
func TestSendRefusals(t *testing.T) {
	const now = captureTime - captureTime%60
	for _, tc := range []struct {
		name   string
		change func(*model.GraphItem)
		want   string
	}{
		{"no endpoint", func(i *model.GraphItem) { i.Endpoint = "" }, model.ReasonNoName},
		{"no metric", func(i *model.GraphItem) { i.Metric = "" }, model.ReasonNoName},
		{"time 0", func(i *model.GraphItem) { i.Timestamp = 0 }, model.ReasonTimestamp},
		{"time before 1970", func(i *model.GraphItem) { i.Timestamp = -60 }, model.ReasonTimestamp},
		{"from the future", func(i *model.GraphItem) { i.Timestamp = captureTime + 301 }, model.ReasonFuture},
		{"from far ahead", func(i *model.GraphItem) { i.Timestamp, i.Step = math.MaxInt64, math.MaxInt }, model.ReasonFuture},
		{"min is no number", func(i *model.GraphItem) { i.Min = "x" }, model.ReasonValue},
		{"max is NaN", func(i *model.GraphItem) { i.Max = "NaN" }, model.ReasonValue},
		{"type", func(i *model.GraphItem) { i.DsType = "gauge" }, model.ReasonType},
		{"step 0", func(i *model.GraphItem) { i.Step = 0 }, model.ReasonStep},
		{"quote", func(i *model.GraphItem) { i.Metric = "a'b" }, model.ReasonCharacter},
		{"line feed in a tag", func(i *model.GraphItem) { i.Tags = map[string]string{"a": "b\n"} }, model.ReasonCharacter},
		{"NaN", func(i *model.GraphItem) { i.Value = math.NaN() }, model.ReasonValue},
		{"infinite", func(i *model.GraphItem) { i.Value = math.Inf(1) }, model.ReasonValue},
		{"a name of pages", func(i *model.GraphItem) { i.Metric = strings.Repeat("m", 100_000) }, model.ReasonTooLong},
		{"too old", func(i *model.GraphItem) { i.Timestamp = 1000 }, model.ReasonLate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, nil)
			bad := graphItem("h", "bad", now, 1)
			tc.change(bad)
			var resp model.SimpleRpcResponse
			if err := w.gob().Call("Graph.Send", []*model.GraphItem{graphItem("h", "good", now, 1), bad, graphItem("h", "good", now, 2)}, &resp); err != nil {
				t.Fatal(err)
			}
			if got := w.g.refused.All(); got[tc.want] != 1 || got[model.ReasonDuplicate] != 1 || len(got) != 2 {
				t.Errorf("refused %v, want one for %s and a duplicate", got, tc.want)
			}
			unstored := int64(1) // what is stored already, or came late, is left out
			if tc.want == model.ReasonLate {
				unstored = 0
			}
			if n, _ := w.g.stats.Value("UnstoredCnt"); n != unstored {
				t.Errorf("UnstoredCnt %d, want %d", n, unstored)
			}
			if w.g.taken.Get() != 1 || w.g.received.Get() != 3 {
				t.Errorf("%d of %d taken, want 1 of 3", w.g.taken.Get(), w.g.received.Get())
			}
		})
	}
}

func TestSeriesLimit(t *testing.T) {
	w := start(t, func(c *Config, _ *Deps) { c.MaxSeries = 2 })
	const now = captureTime - captureTime%60
	w.send(graphItem("h", "a", now, 1), graphItem("h", "b", now, 1), graphItem("h", "c", now, 1), graphItem("h", "a", now-60, 1))
	if n := w.g.refused.Get(model.ReasonLimit); n != 1 || w.g.taken.Get() != 3 {
		t.Errorf("%d refused and %d taken, want 1 and 3", n, w.g.taken.Get())
	}
}

func TestQuestions(t *testing.T) {
	w := start(t, nil)
	const now = captureTime - captureTime%60
	for i := range int64(10) {
		d := graphItem("h", "d", now-i*60, float64(1000-60*i))
		d.DsType, d.Min = model.Counter, "0"
		w.send(graphItem("h", "g", now-i*60, float64(i)), d)
	}
	fall := graphItem("h", "fall", now-60, 100)
	fell := graphItem("h", "fall", now, 10)
	gap := graphItem("h", "gap", now-180, 1)
	gapped := graphItem("h", "gap", now, 100)
	for _, it := range []*model.GraphItem{fall, fell, gap, gapped} {
		it.DsType, it.Min = model.Derive, "0"
	}
	w.send(fall, fell, gap, gapped)

	query := func(counter, cf string, start, end int64) *model.GraphQueryResponse {
		t.Helper()
		var one model.GraphQueryResponse
		p := &model.GraphQueryParam{Endpoint: "h", Counter: counter, ConsolFun: cf, Start: start, End: end}
		w.call("Graph.Query", p, &one)
		var batch model.GraphQueryBatchResp
		w.call("Graph.QueryBatch", &model.GraphQueryBatchParam{Queries: []*model.GraphQueryParam{nil, p}}, &batch)
		if len(batch.Answers) != 2 || len(batch.Answers[0].Values) != 0 || fmt.Sprint(batch.Answers[1].Step, len(batch.Answers[1].Values)) != fmt.Sprint(one.Step, len(one.Values)) {
			t.Errorf("a batch answers otherwise than a query of %s", counter)
		}
		return &one
	}
	for _, tc := range []struct {
		name, counter, cf string
		start, end        int64
		want              int
	}{
		{"ten minutes", "g", "AVERAGE", now - 540, now, 10},
		{"start and end in one step", "g", "AVERAGE", now, now, 0},
		{"start and end in one step, apart", "g", "AVERAGE", now + 1, now + 59, 0},
		{"the end before the start", "g", "AVERAGE", now, now - 600, 0},
		{"MAX is the raw value", "g", "MAX", now - 540, now, 10},
		{"LAST", "g", "LAST", now - 540, now, 0},
		{"an unknown series", "x", "AVERAGE", now - 540, now, 0},
		{"all of time", "g", "AVERAGE", math.MinInt64, math.MinInt64 + 1, 0},
	} {
		if got := query(tc.counter, tc.cf, tc.start, tc.end); len(got.Values) != tc.want {
			t.Errorf("%s: %d points, want %d", tc.name, len(got.Values), tc.want)
		}
	}
	for _, v := range query("d", "AVERAGE", now-480, now).Values {
		if v.Value != 1 {
			t.Errorf("a counter that grows by 60 a minute has the rate %v at %d", v.Value, v.Timestamp)
		}
	}
	if vs := query("fall", "AVERAGE", now-60, now).Values; len(vs) != 2 || !math.IsNaN(float64(vs[1].Value)) {
		t.Errorf("a counter that falls has the rate %v, want none", vs[len(vs)-1].Value)
	}

	last := func(counter string, raw bool) model.RRDData {
		t.Helper()
		method := "Graph.Last"
		if raw {
			method = "Graph.LastRaw"
		}
		var one model.GraphLastResp
		w.call(method, &model.GraphLastParam{Endpoint: "h", Counter: counter}, &one)
		var batch model.GraphLastBatchResp
		w.call("Graph.LastBatch", &model.GraphLastBatchParam{Series: []*model.GraphLastParam{{Endpoint: "h", Counter: counter}, nil}, Raw: raw}, &batch)
		if len(batch.Answers) != 2 || *batch.Answers[0].Value != *one.Value || batch.Answers[1].Value.Timestamp != 0 {
			t.Errorf("a batch answers otherwise than %s of %s", method, counter)
		}
		return *one.Value
	}
	for _, tc := range []struct {
		counter string
		raw     bool
		want    model.RRDData
	}{
		{"g", false, model.RRDData{Timestamp: now, Value: 0}},
		{"d", false, model.RRDData{Timestamp: now, Value: 1}},
		{"d", true, model.RRDData{Timestamp: now, Value: 1000}},
		{"fall", false, model.RRDData{Timestamp: now, Value: 0}},
		{"gap", false, model.RRDData{}},
		{"gap", true, model.RRDData{Timestamp: now, Value: 100}},
		{"x", false, model.RRDData{}},
		{"x", true, model.RRDData{}},
	} {
		if got := last(tc.counter, tc.raw); got != tc.want {
			t.Errorf("last of %s (raw %v) is %v, want %v", tc.counter, tc.raw, got, tc.want)
		}
	}

	var deleted model.GraphDeleteResp
	w.call("Graph.Delete", &[]*model.GraphDeleteParam{
		nil, {Endpoint: "h", Metric: "g", Step: 60, DsType: model.Gauge, Tags: "broken"},
		{Endpoint: "h", Metric: "nobody", Step: 60, DsType: model.Gauge}, {Endpoint: "h", Metric: "d", Step: 60, DsType: model.Counter},
	}, &deleted)
	for counter, want := range map[string]int{"g": 60, "d": 0} {
		var info model.GraphInfoResp
		w.call("Graph.Info", &model.GraphInfoParam{Endpoint: "h", Counter: counter}, &info)
		if info.Step != want {
			t.Errorf("after the delete %s has the step %d, want %d", counter, info.Step, want)
		}
	}
	big := &model.GraphLastBatchParam{Series: make([]*model.GraphLastParam, maxBatchQueries+1)}
	if err := w.ours().Call(t.Context(), "Graph.LastBatch", big, &model.GraphLastBatchResp{}); err == nil || !contains(err.Error(), "in portions") {
		t.Errorf("a batch beyond bounds: %v", err)
	}
}

// Points by stream are acknowledged when they are stored; duplicates are said to be
// such; a series that is deleted meanwhile comes back with its next point.
func TestStreamIn(t *testing.T) {
	w := start(t, nil)
	const now = captureTime - captureTime%60
	l := w.link()
	a, b := l.define("a", "k=1"), l.define("b", "")
	if r := l.send(stream.Point{Handle: a, Time: now - 120, Value: 1}, stream.Point{Handle: b, Time: now - 120, Value: 2}); r.Err != nil || r.Taken != 2 {
		t.Fatalf("result %+v", r)
	}
	r := l.send(stream.Point{Handle: a, Time: now - 120, Value: 9}, stream.Point{Handle: a, Time: now - 60, Value: 3})
	if r.Err != nil || r.Taken != 1 || len(r.Refused) != 1 || r.Refused[0].Reason != model.ReasonDuplicate {
		t.Errorf("result of a resend %+v, want a duplicate", r)
	}
	w.call("Graph.Delete", &[]*model.GraphDeleteParam{{Endpoint: "h", Metric: "a", Tags: "k=1", Step: 60, DsType: model.Gauge}}, &model.GraphDeleteResp{})
	if r := l.send(stream.Point{Handle: a, Time: now, Value: 4}, stream.Point{Handle: b, Time: now, Value: 5}); r.Err != nil || r.Taken != 2 {
		t.Fatalf("result after the delete %+v", r)
	}
	var got model.GraphLastResp
	w.call("Graph.LastRaw", &model.GraphLastParam{Endpoint: "h", Counter: "a/k=1"}, &got)
	if got.Value.Value != 4 || got.Value.Timestamp != now {
		t.Errorf("the series is back with %v, want 4", got.Value)
	}
	if in, out := w.g.received.Get(), w.g.taken.Get()+w.g.refused.Sum(); in != out {
		t.Errorf("%d points arrived, %d are accounted for", in, out)
	}
	bad := l.snd.Define(&model.Series{Endpoint: "h", Metric: "b'd", Type: model.Gauge, Step: 60})
	if r := l.send(stream.Point{Handle: bad, Time: now, Value: 1}); r.Err != nil || len(r.Refused) != 1 || r.Refused[0].Reason != model.ReasonCharacter {
		t.Errorf("result of a bad name %+v", r)
	}
}

// When the disk is full nothing is acknowledged, by no way of sending; questions are
// answered, and health says why.
func TestFullDisk(t *testing.T) {
	disk := &fullDisk{}
	w := start(t, func(_ *Config, d *Deps) { d.FS = disk })
	const now = captureTime - captureTime%60
	l := w.link()
	a := l.define("a", "")
	if r := l.send(stream.Point{Handle: a, Time: now - 60, Value: 1}); r.Taken != 1 {
		t.Fatalf("result %+v", r)
	}
	if err := w.g.health(); err != nil {
		t.Fatal(err)
	}
	disk.full.Store(true)
	if r := l.send(stream.Point{Handle: a, Time: now, Value: 2}); r.Err == nil {
		t.Errorf("a point is acknowledged on a full disk: %+v", r)
	}
	if r := l.send(stream.Point{Handle: l.define("new", ""), Time: now, Value: 2}); r.Err == nil {
		t.Errorf("a point of a new series is acknowledged on a full disk: %+v", r)
	}
	items := []*model.GraphItem{graphItem("h", "a", now, 3)}
	var resp model.SimpleRpcResponse
	if err := w.gob().Call("Graph.Send", items, &resp); err == nil {
		t.Error("Graph.Send says ok on a full disk")
	}
	if err := w.g.health(); err == nil || !contains(err.Error(), "graph takes no points: ") || !contains(err.Error(), "no space left") {
		t.Errorf("health: %v", err)
	}
	var got model.GraphLastResp
	w.call("Graph.LastRaw", &model.GraphLastParam{Endpoint: "h", Counter: "a"}, &got)
	if got.Value.Timestamp == 0 {
		t.Error("a read-only graph answers no questions")
	}
	if taken := w.g.taken.Get(); taken != 1 {
		t.Errorf("%d points counted as stored, want 1", taken)
	}
}
