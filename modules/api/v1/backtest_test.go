package v1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/modules/api/graphs"
	"falcon/modules/api/graphs/graphtest"
)

// A fakeHBS says of every question that these hosts are watched all the time.
type fakeHBS struct {
	hosts  []string
	sets   []model.ReachSet // in place of hosts
	any    bool
	until  int64
	asked  []model.ReachParam
	reason error
}

func (f *fakeHBS) Get(context.Context, string) ([]byte, error) { return nil, errors.New("not asked") }

func (f *fakeHBS) Delete(context.Context, string) ([]byte, error) { return nil, nil }

func (f *fakeHBS) Post(_ context.Context, path string, body []byte) ([]byte, error) {
	var p model.ReachParam
	if err := json.Unmarshal(body, &p); err != nil || path != "/strategy/reach" {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.asked = append(f.asked, p)
	if f.reason != nil {
		return nil, f.reason
	}
	r := model.Reach{Any: f.any, Sets: f.sets, Unknown: []string{}, Until: f.until}
	if f.sets == nil && len(f.hosts) > 0 {
		r.Sets = []model.ReachSet{{Hosts: f.hosts, Spans: [][2]int64{{p.From, p.To}}}}
	}
	for _, h := range p.Hosts {
		if h == "nobody" {
			r.Unknown = append(r.Unknown, h)
		}
	}
	return json.Marshal(r)
}

// trialWorld is a world with an hbs, at t0 + 1000.
func trialWorld(t testing.TB, hbs *fakeHBS, o options) *world {
	w := newWorld(t, o)
	w.peers.hbs = hbs
	w.serve(defaults(), w.client)
	return w
}

type tried struct {
	trialAnswer
	Series []struct {
		Endpoint, Counter string
		Fired             int
		Points            [][2]*float64
	} `json:"series"`
}

// try calls the route as admin and wants success.
func (w *world) try(path string, body map[string]any) tried {
	w.t.Helper()
	a := w.call("admin", "POST", path, body)
	if a.status != 200 {
		w.t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	return decode[tried](w.t, a)
}

// story writes events as "host counter STATUS step value@time", the time since t0.
func (r *tried) story() string {
	var out []string
	for _, e := range r.Events {
		out = append(out, fmt.Sprintf("%s %s %s%d %v@%d", e.Endpoint, e.Counter, e.Status[:1], e.Step, e.Value, e.Time-t0))
	}
	return strings.Join(out, ", ")
}

func (r *tried) notes() string {
	var out []string
	for _, n := range r.Notes {
		out = append(out, fmt.Sprint(n.Code, " ", n.N))
	}
	return strings.Join(out, ", ")
}

func body(pairs ...any) map[string]any {
	m := map[string]any{"metric": "cpu.busy", "func": "all(#2)", "op": ">", "right_value": "80", "max_step": 3, "priority": 1, "start": t0, "end": t0 + 900}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

func TestBacktest(t *testing.T) {
	nan := math.NaN()
	hbs := &fakeHBS{hosts: []string{"h1", "h2", "h3", "h4"}}
	w := trialWorld(t, hbs, options{})
	x := w.things()
	tpl := x.template
	w.put(
		graphtest.Gauge("h1", "cpu.busy", 60, t0-120, 90, 10, 95, 95, 95, 95, 95, 95, 95, 95, 95, 20, 20, 95, 95),
		graphtest.Gauge("h2", "cpu.busy/core=1", 60, t0, 95, 95, nan, 95, 30),
		graphtest.Gauge("h2", "cpu.busy/core=2", 60, t0, 1, 2, 3),
		graphtest.Gauge("h3", "cpu.busy", 60, t0-7200, 95, 95),                                                   // silent since
		graphtest.Gauge("h9", "cpu.busy", 60, t0, 95, 95),                                                        // not reached
		graphtest.Gauge("h1", "cpu.busyness", 60, t0, 95, 95), graphtest.Gauge("h1", "CPU.busy", 60, t0, 95, 95), // other metrics
	)
	r := w.try("/strategy/backtest", body("tpl_id", tpl))
	// In the order of time, then of names.
	want := "h1 cpu.busy P1 95@60, h2 cpu.busy/core=1 P1 95@60, h2 cpu.busy/core=1 O1 30@240, h1 cpu.busy P2 95@360, h1 cpu.busy O1 20@540, h1 cpu.busy P1 95@720"
	if got := r.story(); got != want {
		t.Errorf("told\n got %s\nwant %s", got, want)
	}
	got := fmt.Sprint(r.Hosts, r.Matches, r.More, r.LookedAt, r.Points, r.Fired, r.Told, r.Recovered, r.FiredSeries, r.FiredHosts, r.Firing, r.Oldest-t0)
	if got != "3 4 false 3 20 3 4 2 2 2 1 0" {
		t.Errorf("counts %s", got)
	}
	if got := r.notes(); got != "silent 1" {
		t.Errorf("notes %q", got)
	}
	if len(r.Series) != 3 || r.Series[0].Endpoint != "h1" || r.Series[1].Counter != "cpu.busy/core=1" || len(r.Series[0].Points) != 13 || *r.Series[0].Points[12][1] != 95 {
		t.Errorf("series %+v", r.Series)
	}
	p := hbs.asked[len(hbs.asked)-1]
	if p.Strategy != 0 || p.Template != int(tpl) || p.Metric != "cpu.busy" || p.From != t0 || p.To != t0+901 || p.Any {
		t.Errorf("hbs was asked %+v", p)
	}

	// One thing changed at a time.
	for _, tc := range []struct {
		name   string
		change []any
		want   string
	}{
		{"tags", []any{"tags", "core=2", "op", "<"}, "h2 cpu.busy/core=2 P1 2@60"},
		{"an excluded tag, twice", []any{"tags", "^core=1,^core=2", "max_step", 1}, "h1 cpu.busy P1 95@60, h1 cpu.busy O1 20@540, h1 cpu.busy P1 95@720"},
		{"mute", []any{"max_step", 0}, ""},
		{"a minute between messages", []any{"tags", "^core=1", "min_interval", 60},
			"h1 cpu.busy P1 95@60, h1 cpu.busy P2 95@180, h1 cpu.busy P3 95@300, h1 cpu.busy O1 20@540, h1 cpu.busy P1 95@720"},
		{"points before the range fill the window and are not judged", []any{"tags", "^core=1", "start", t0 + 60, "end", t0 + 120}, "h1 cpu.busy P1 95@60"},
		{"the last day is the default", []any{"tags", "core=2", "op", "<", "start", 0, "end", 0}, "h2 cpu.busy/core=2 P1 2@60"},
	} {
		r := w.try("/strategy/backtest", body(append([]any{"tpl_id", tpl}, tc.change...)...))
		if got := r.story(); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.name, got, tc.want)
		}
	}

	// A saved one, as it is and changed.
	id := must(w.db.CreateStrategy(t.Context(), portal.Strategy{Metric: "cpu.busy", Func: "all(#2)", Op: ">", RightValue: "80", MaxStep: 1, Template: tpl, RunBegin: "08:00", RunEnd: "20:00"}))
	r = w.try("/strategy/backtest", map[string]any{"id": id, "start": t0, "end": t0 + 120})
	p = hbs.asked[len(hbs.asked)-1]
	if r.Fired != 2 || p.Strategy != int(id) || p.Template != int(tpl) || p.RunBegin != "08:00" || p.RunEnd != "20:00" {
		t.Errorf("the saved one fires %d times; hbs was asked %+v", r.Fired, p)
	}
	if r = w.try("/strategy/backtest", body("id", id, "right_value", "96")); r.Fired != 0 {
		t.Errorf("the changed one fires %d times", r.Fired)
	}
	// Hosts and groups in place of the template's.
	r = w.try("/strategy/backtest", body("hosts", []string{"h1", "nobody"}, "groups", []int{int(x.group)}))
	if p = hbs.asked[len(hbs.asked)-1]; p.Template != 0 || fmt.Sprint(p.Hosts, p.Groups) != fmt.Sprintf("[h1 nobody] [%d]", x.group) || r.notes() != "unknown_hosts 1, silent 1" {
		t.Errorf("hbs was asked %+v; notes %s", p, r.notes())
	}

	// Hours and maintenance are when hbs says.
	hbs.sets = []model.ReachSet{{Hosts: []string{"h1"}, Spans: [][2]int64{{t0, t0 + 60}, {t0 + 180, t0 + 600}}}, {Hosts: []string{"h2"}, Spans: nil}}
	hbs.until = t0 + 600
	r = w.try("/strategy/backtest", body("tpl_id", tpl))
	if got, want := r.story(), "h1 cpu.busy P1 95@240, h1 cpu.busy O1 20@540"; got != want || r.notes() != "hours 0" {
		t.Errorf("in hours\n got %s\nwant %s\n%s", got, want, r.notes())
	}
	hbs.sets, hbs.until = []model.ReachSet{}, 0
	if r = w.try("/strategy/backtest", body("tpl_id", tpl)); r.notes() != "no_hosts 0" || r.Matches != 0 {
		t.Errorf("an unbound template: %s", r.notes())
	}
	hbs.sets = nil
	if r = w.try("/strategy/backtest", body("tpl_id", tpl, "metric", "cpu.none")); r.notes() != "no_series 0" {
		t.Errorf("no series: %s", r.notes())
	}
}

// A counter is judged by the rates of what was received, its restart is negative; a
// graph that has no received values answers rates, and the answer says so.
func TestBacktestOfCounters(t *testing.T) {
	points := func(values ...float64) (out []model.RRDData) {
		for i, v := range values {
			out = append(out, model.RRDData{Timestamp: t0 + int64(60*i), Value: model.JSONFloat(v)})
		}
		return out
	}
	counter := graphtest.Series{Endpoint: "h1", Counter: "requests", Type: model.Derive, Step: 60,
		Points: points(math.NaN(), 10, 10, math.NaN(), 10), Received: points(0, 600, 1200, 0, 600)}
	for _, tc := range []struct {
		name         string
		o            options
		old          bool
		story, notes string
	}{
		{"ours", options{}, false, "h1 requests P1 10@60, h1 requests O1 -20@180, h1 requests P1 10@240", ""},
		{"an older one of ours", options{}, true, "h1 requests P1 10@60", "consolidated 1"},
		{"stock", options{onlyStock: true}, false, "h1 requests P1 10@60", "consolidated 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := trialWorld(t, &fakeHBS{hosts: []string{"h1"}}, tc.o)
			if tc.o.onlyStock {
				w.stock.Put(counter)
				must(w.db.IndexWrite(t.Context(), nil, []portal.IndexRow{{Endpoint: "h1", Counter: "requests", Step: 60, Type: "DERIVE", Ts: t0}}))
			} else {
				w.ours.Old = tc.old
				w.put(counter)
			}
			r := w.try("/strategy/backtest", body("hosts", []string{"h1"}, "metric", "requests", "func", "all(#1)", "right_value", "5"))
			if r.story() != tc.story || r.notes() != tc.notes {
				t.Errorf("told %s, notes %s\nwant %s, notes %s", r.story(), r.notes(), tc.story, tc.notes)
			}
		})
	}
}

func TestBacktestExpression(t *testing.T) {
	hbs := &fakeHBS{any: true, sets: []model.ReachSet{{Hosts: []string{"h2"}, Spans: [][2]int64{{t0 + 120, t0 + 901}}}}}
	w := trialWorld(t, hbs, options{})
	for _, h := range []string{"h1", "h2", "h3"} {
		w.put(graphtest.Gauge(h, "qps/idc=bj,srv=pay", 60, t0, 95, 95, 10, 95), graphtest.Gauge(h, "qps/idc=gz,srv=pay", 60, t0, 95), graphtest.Gauge(h, "qps/srv=mail", 60, t0, 95))
	}
	e := map[string]any{"expression": "each(metric=qps srv=pay ^idc=gz ^idc=sh)", "func": "all(#1)", "op": ">", "right_value": "80", "max_step": 1, "start": t0, "end": t0 + 900}
	r := w.try("/expression/backtest", e)
	want := "h1 qps/idc=bj,srv=pay P1 95@0, h3 qps/idc=bj,srv=pay P1 95@0, h1 qps/idc=bj,srv=pay O1 10@120, h3 qps/idc=bj,srv=pay O1 10@120," +
		" h1 qps/idc=bj,srv=pay P1 95@180, h2 qps/idc=bj,srv=pay P1 95@180, h3 qps/idc=bj,srv=pay P1 95@180"
	if r.story() != want || r.Matches != 3 || !hbs.asked[0].Any {
		t.Errorf("%d series, told\n got %s\nwant %s", r.Matches, r.story(), want)
	}
	e["expression"] = "each(metric=qps srv=pay endpoint=h3)"
	if r = w.try("/expression/backtest", e); r.Matches != 2 || r.Hosts != 1 {
		t.Errorf("of one endpoint: %d series of %d", r.Matches, r.Hosts)
	}
	x := w.things()
	if r = w.try("/expression/backtest", map[string]any{"id": x.expression}); r.notes() != "no_series 0" {
		t.Errorf("the saved one: %s", r.notes())
	}
	w.addUser("cid", 0)
	w.want("cid", "POST", "/expression/backtest", map[string]any{"id": x.expression}, 417, `{"error":"you don't have permission"}`)
	if a := w.call("admin", "POST", "/expression/backtest", map[string]any{"expression": "each(metric=qps)", "func": "all(#1)", "op": ">", "right_value": "80", "max_step": 1}); a.status != 400 || !strings.Contains(a.body, `"field":"expression"`) {
		t.Errorf("without a tag: %d %s", a.status, a.body)
	}
}

// What is wrong is said with the field that has to change.
func TestBacktestErrors(t *testing.T) {
	hbs := &fakeHBS{hosts: []string{"h1"}}
	w := trialWorld(t, hbs, options{})
	x := w.things()
	now := w.now().Unix()
	for _, tc := range []struct {
		change      []any
		field, text string
	}{
		{[]any{"metric", ""}, "metric", "metric is required"},
		{[]any{"func", "some(#3)"}, "func", "is unknown, use one of all"},
		{[]any{"func", "all(#121)"}, "func", "121 points, 1 to 120"},
		{[]any{"op", "~"}, "op", `operator "~" is unknown`},
		{[]any{"right_value", "full"}, "right_value", `"full" is no number`},
		{[]any{"max_step", nil}, "max_step", "max_step is required"},
		{[]any{"tags", "core"}, "tags", "key=value"},
		{[]any{"run_begin", "8"}, "run_begin", "no time of day"},
		{[]any{"valueType", "string"}, "valueType", "can not be tried"},
		{[]any{"end", now + 3600}, "end", "is not in the past"},
		{[]any{"start", t0 + 900}, "start", "is not before end"},
		{[]any{"start", -1}, "start", "is not before end"},
		{[]any{"start", t0 + 900 - 7*86400 - 1}, "start", "days, 7 at most"},
		{[]any{"min_interval", -1}, "min_interval", "between 0 and 86400"},
		{[]any{"tpl_id", nil}, "tpl_id", "say where it is tried"},
	} {
		a := w.call("admin", "POST", "/strategy/backtest", body(append([]any{"tpl_id", x.template}, tc.change...)...))
		var got struct{ Error, Field string }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 400 || got.Field != tc.field || !strings.Contains(got.Error, tc.text) {
			t.Errorf("%v: %d %s, want field %s and %q", tc.change, a.status, a.body, tc.field, tc.text)
		}
	}
	w.want("admin", "POST", "/strategy/backtest", map[string]any{"id": 9999}, 417, `{"error":"record not found"}`)
	w.want("admin", "POST", "/strategy/backtest", body("tpl_id", 9999), 417, `{"error":"record not found"}`)
	hbs.reason = &httpx.StatusError{Code: 404, Body: []byte(`{"error":"hbs knows no template 5"}`)}
	w.want("admin", "POST", "/strategy/backtest", body("tpl_id", x.template), 404, `{"error":"hbs knows no template 5"}`)
	hbs.reason = errors.New("connection refused")
	w.want("admin", "POST", "/strategy/backtest", body("tpl_id", x.template), 502, `{"error":"hbs does not answer: connection refused"}`)
	w.peers.hbs = nil
	w.serve(defaults(), w.client)
	w.want("admin", "POST", "/strategy/backtest", body("tpl_id", x.template), 502, `{"error":"no hbs is configured that could say which hosts a rule reaches: set hbs.addr"}`)
}

// What is more than can be looked at is left out in words.
func TestBacktestIsBounded(t *testing.T) {
	hbs := &fakeHBS{}
	w := trialWorld(t, hbs, options{})
	for i := range 1200 {
		h := fmt.Sprintf("h%04d", i)
		hbs.hosts = append(hbs.hosts, h)
		w.put(graphtest.Gauge(h, "cpu.busy", 60, t0, 95, 10, 95, 10, 95, 10, 95, 10))
	}
	r := w.try("/strategy/backtest", body("hosts", []string{"x"}, "func", "all(#1)"))
	if r.Matches != 1200 || r.LookedAt != 500 || r.notes() != "series_left_out 700, events_left_out 2000" || len(r.Events) != 2000 || r.Fired != 2000 || r.Recovered != 2000 || len(r.Series) != maxTrialShown {
		t.Errorf("%d series, %d looked at, %d events, %d fired, %s", r.Matches, r.LookedAt, len(r.Events), r.Fired, r.notes())
	}
	if first, last := r.Events[0].Endpoint, r.Events[499].Endpoint; first != "h0000" || last < "h1190" {
		t.Errorf("from %s to %s: not spread over all", first, last)
	}
	// A week of seconds is more than the points that are read.
	for i := range 20 {
		w.put(graphtest.Gauge(fmt.Sprintf("h%04d", i), "fast", 1, t0, 95, 95))
	}
	r = w.try("/strategy/backtest", body("hosts", []string{"x"}, "metric", "fast", "start", t0-6*86400))
	if r.Matches != 20 || r.LookedAt != 5 || !strings.HasPrefix(r.notes(), "series_left_out 15") {
		t.Errorf("%d series, %d looked at, %s", r.Matches, r.LookedAt, r.notes())
	}
	// Nor are more read when those that are picked have more than the average.
	for i := range 20 {
		step := 1
		if i%2 == 1 {
			step = 3600
		}
		w.put(graphtest.Gauge(fmt.Sprintf("h%04d", i), "mixed", step, t0, 95, 95))
	}
	r = w.try("/strategy/backtest", body("hosts", []string{"x"}, "metric", "mixed", "start", t0-6*86400))
	if r.Matches != 20 || r.LookedAt != 10 || !strings.HasPrefix(r.notes(), "series_left_out 10") {
		t.Errorf("%d series, %d looked at, %s", r.Matches, r.LookedAt, r.notes())
	}
	// What a node would have answered that is away is left out, and the node is named.
	w.serve(defaults(), awayGraphs{w.client})
	a := w.call("admin", "POST", "/strategy/backtest", body("hosts", []string{"x"}, "metric", "fast"))
	r = decode[tried](t, a)
	if a.status != 200 || a.header.Get(headerPartial) != "graph-00" || r.notes() != "away 20" || r.LookedAt != 0 {
		t.Errorf("%d %s, %s", a.status, a.header.Get(headerPartial), r.notes())
	}
}

// awayGraphs can be searched and do not answer points.
type awayGraphs struct{ Graphs }

func (awayGraphs) Received(_ context.Context, q []*model.GraphQueryParam) ([]*graphs.Series, []string) {
	return make([]*graphs.Series, len(q)), []string{"graph-00"}
}

// A line for a chart keeps its peaks and shows its gaps.
func TestLineOfATrial(t *testing.T) {
	s := graphtest.Gauge("h", "c", 10, t0)
	for i := range 8000 {
		v := 1.0
		if i == 4321 {
			v = 99
		}
		if i < 1000 || i > 3000 {
			s.Points = append(s.Points, model.RRDData{Timestamp: t0 - 80000 + int64(10*i), Value: model.JSONFloat(v)})
		}
	}
	w := trialWorld(t, &fakeHBS{hosts: []string{"h"}}, options{})
	w.put(s)
	r := w.try("/strategy/backtest", body("hosts", []string{"h"}, "metric", "c", "start", t0-86400))
	if r.notes() != "short 6400" { // the first point is so many seconds after the start
		t.Errorf("notes %s", r.notes())
	}
	got, gaps, peak := r.Series[0].Points, 0, 0.0
	for i, p := range got {
		if p[1] == nil {
			gaps++
		} else {
			peak = max(peak, *p[1])
		}
		if i > 0 && *p[0] <= *got[i-1][0] {
			t.Fatalf("times go back at %d", i)
		}
	}
	if len(got) > maxTrialLine+8 || gaps != 1 || peak != 99 {
		t.Errorf("%d points, %d gaps, peak %v", len(got), gaps, peak)
	}
}
