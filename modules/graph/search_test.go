package graph

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/modules/graph/tsdb"
)

// known is an index of some names, and what the engine would tell of them.
func known(names ...string) (*index, lookup) {
	x := newIndex()
	last := map[seriesName]int64{}
	for i, n := range names {
		endpoint, counter, _ := strings.Cut(n, " ")
		x.add(endpoint, counter)
		last[seriesName{endpoint, counter}] = int64(100 + i)
	}
	return x, func(endpoint, counter string) (tsdb.Info, bool) {
		ts, ok := last[seriesName{endpoint, counter}]
		return tsdb.Info{Type: model.Gauge, Step: 60, Last: ts}, ok
	}
}

func TestSearch(t *testing.T) {
	x, info := known(
		"db-01 cpu.idle", "db-01 disk.io/device=sda", // 100, 101
		"web-01 cpu.idle", "web-01 net.if/iface=eth0", // 102, 103
		"Web-02 cpu.idle", "Web-02 qps/idc=lg,module=x", // 104, 105
	)
	one := []string{"web-01"}
	for _, tc := range []struct {
		name  string
		p     model.GraphSearchParam
		want  string
		total int
	}{
		{"all endpoints, in byte order", model.GraphSearchParam{}, "Web-02 db-01 web-01", 3},
		{"a pattern, without regard to case", model.GraphSearchParam{Match: "web"}, "Web-02 web-01", 2},
		{"all patterns", model.GraphSearchParam{Match: "web 0[2-9]$"}, "Web-02", 1},
		{"not", model.GraphSearchParam{Match: "!db"}, "Web-02 web-01", 2},
		{"a ! alone", model.GraphSearchParam{Match: "!"}, "", 0},
		{"limit", model.GraphSearchParam{Limit: 2}, "Web-02 db-01", 3},
		{"after", model.GraphSearchParam{Limit: 2, After: "db-01"}, "web-01", 3},
		{"after a name that is gone", model.GraphSearchParam{After: "e"}, "web-01", 3},
		{"after the last", model.GraphSearchParam{After: "zzz"}, "", 3},
		{"tags", model.GraphSearchParam{Tags: []string{"device=sda"}}, "db-01", 1},
		{"all tags, of any counter", model.GraphSearchParam{Tags: []string{"idc=lg", "module=x"}}, "Web-02", 1},
		{"tags nobody has", model.GraphSearchParam{Tags: []string{"idc=lg", "iface=eth0"}}, "", 0},
		{"since", model.GraphSearchParam{Since: 103}, "Web-02 web-01", 2},
		{"since, behind the page", model.GraphSearchParam{Since: 103, Limit: 1}, "Web-02", 2},
		{"since the future", model.GraphSearchParam{Since: 1000}, "", 0},
		{"counters", model.GraphSearchParam{Endpoints: one}, "web-01|cpu.idle web-01|net.if/iface=eth0", 2},
		{"counters, matched", model.GraphSearchParam{Endpoints: one, Match: "CPU"}, "web-01|cpu.idle", 1},
		{"counters of several, each once", model.GraphSearchParam{Endpoints: []string{"web-01", "db-01", "web-01", "nobody"}, Match: "cpu"}, "db-01|cpu.idle web-01|cpu.idle", 2},
		{"counters since", model.GraphSearchParam{Endpoints: one, Since: 103}, "web-01|net.if/iface=eth0", 1},
		{"counters, a page", model.GraphSearchParam{Endpoints: []string{"db-01", "web-01"}, Limit: 2, After: "db-01\x00cpu.idle"}, "db-01|disk.io/device=sda web-01|cpu.idle", 4},
		{"counters after an endpoint that is gone", model.GraphSearchParam{Endpoints: []string{"db-01", "web-01"}, After: "e\x00z"}, "web-01|cpu.idle web-01|net.if/iface=eth0", 4},
	} {
		resp, err := x.search(&tc.p, info)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var got []string
		for _, e := range resp.Endpoints {
			got = append(got, e.Endpoint)
			if e.Counters != 2 || e.Last < 101 {
				t.Errorf("%s: %+v, want two counters and the newest time", tc.name, e)
			}
		}
		for _, c := range resp.Counters {
			got = append(got, c.Endpoint+"|"+c.Counter)
		}
		if strings.Join(got, " ") != tc.want || resp.Total != tc.total {
			t.Errorf("%s: %v of %d, want %s of %d", tc.name, got, resp.Total, tc.want, tc.total)
		}
	}
	for match, want := range map[string]string{
		"a(":                       `search: "a(" is no regular expression`,
		strings.Repeat("a ", 33):   "search: more than 32 patterns",
		strings.Repeat("a", 1<<13): "search: the pattern is longer than 4096 bytes",
		"x{1000}{1000}":            "is no regular expression",
	} {
		if _, err := x.search(&model.GraphSearchParam{Match: match}, info); err == nil || !contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", match, err, want)
		}
	}
}

// Ten thousand endpoints, page by page: each once, in order; and one of them after
// the other is removed.
func TestSearchManyEndpoints(t *testing.T) {
	x := newIndex()
	const n = 10_000
	for i := range n {
		for c := range 20 {
			x.add(fmt.Sprintf("host-%05d", i*7919%n), fmt.Sprint("metric.", c))
		}
	}
	info := func(string, string) (tsdb.Info, bool) { return tsdb.Info{Step: 60, Last: 5}, true }
	next, after := 0, ""
	for {
		resp, err := x.search(&model.GraphSearchParam{Limit: 999, After: after, Since: 1}, info)
		if err != nil || resp.Total != n {
			t.Fatalf("total %d, %v", resp.Total, err)
		}
		if len(resp.Endpoints) == 0 {
			break
		}
		for _, e := range resp.Endpoints {
			if want := fmt.Sprintf("host-%05d", next); e.Endpoint != want || e.Counters != 20 {
				t.Fatalf("endpoint %d is %+v, want %s", next, e, want)
			}
			next++
		}
		after = resp.Endpoints[len(resp.Endpoints)-1].Endpoint
	}
	if next != n {
		t.Fatalf("%d endpoints, want %d", next, n)
	}
	for i := range n {
		for c := range 20 {
			x.remove(fmt.Sprintf("host-%05d", i), fmt.Sprint("metric.", c))
		}
	}
	if e, s := x.size(); e+s != 0 || len(x.sorted()) != 0 {
		t.Errorf("%d endpoints and %d series are left", e, s)
	}
}

// The index follows what happens to series in the engine.
func TestIndexFollowsTheEngine(t *testing.T) {
	w := start(t, nil)
	const now = captureTime - captureTime%60
	search := func() string {
		t.Helper()
		var resp model.GraphSearchResp
		w.call("Graph.Search", &model.GraphSearchParam{Endpoints: []string{"h"}}, &resp)
		var out []string
		for _, c := range resp.Counters {
			out = append(out, fmt.Sprint(c.Counter, ":", c.Type, ":", c.Step))
		}
		return strings.Join(out, " ")
	}
	longer := graphItem("h", "a", now, 1)
	longer.Step = 300
	w.send(graphItem("h", "a", now, 1), graphItem("h", "b", now, 1))
	if got := search(); got != "a:GAUGE:60 b:GAUGE:60" {
		t.Errorf("found %s", got)
	}
	w.send(longer)
	if got := search(); got != "a:GAUGE:300 b:GAUGE:60" {
		t.Errorf("after a change of step: found %s", got)
	}
	w.call("Graph.Delete", &[]*model.GraphDeleteParam{{Endpoint: "h", Metric: "b", Step: 60, DsType: model.Gauge}}, &model.GraphDeleteResp{})
	if got := search(); got != "a:GAUGE:300" {
		t.Errorf("after a delete: found %s", got)
	}
	if err := w.ours().Call(t.Context(), "Graph.Search", &model.GraphSearchParam{Match: "("}, &model.GraphSearchResp{}); err == nil {
		t.Error("a bad pattern is no error")
	}
	// A month of silence later nothing is left.
	w.g.follow(tsdb.Change{Kind: tsdb.Expired, Endpoint: "h", Counter: "gone"})
	if _, n := w.g.index.size(); n != 1 {
		t.Errorf("%d series in the index, want 1", n)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("web !db", "web-01")
	f.Add("((((", "x")
	f.Add("a{2}{9} ! !!", "aa")
	f.Fuzz(func(t *testing.T, match, name string) {
		m, err := parseMatch(match)
		if err != nil {
			return
		}
		start := time.Now()
		m.match(name)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("matching %q took %v", match, took)
		}
	})
}
