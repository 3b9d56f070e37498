package graphs_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/modules/api/graphs"
	"falcon/modules/api/graphs/graphtest"
)

const t0 = 1_795_319_760

// open returns a client of the named nodes.
func open(t testing.TB, cluster map[string]string) *graphs.Client {
	t.Helper()
	c, err := graphs.New(graphs.Options{Cluster: cluster, CallTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// three nodes, one of them stock, with 60 series where the ring puts them.
func three(t testing.TB) (c *graphs.Client, nodes map[string]*graphtest.Node, queries []*model.GraphQueryParam, stop func()) {
	nodes = map[string]*graphtest.Node{"graph-a": graphtest.New(), "graph-b": graphtest.New(), "graph-s": graphtest.New()}
	stop = nodes["graph-a"].ServeOurs(t)
	nodes["graph-b"].ServeOurs(t)
	nodes["graph-s"].ServeStock(t)
	cluster := map[string]string{}
	for name, n := range nodes {
		cluster[name] = n.Addr
	}
	c = open(t, cluster)
	for h := range 6 {
		for m := range 10 {
			endpoint, counter := fmt.Sprintf("host-%d", h), fmt.Sprintf("m%d/k=v", m)
			nodes[c.Node(endpoint, counter)].Put(graphtest.Gauge(endpoint, counter, 60, t0, float64(h*10+m), math.NaN(), 2))
			queries = append(queries, &model.GraphQueryParam{Start: t0, End: t0 + 120, ConsolFun: "AVERAGE", Endpoint: endpoint, Counter: counter})
		}
	}
	for name, n := range nodes {
		if n.Len() == 0 {
			t.Fatalf("the ring gives node %s nothing: other names are needed", name)
		}
	}
	return c, nodes, queries, stop
}

func TestQueryBatchAnswersInItsPlace(t *testing.T) {
	c, nodes, queries, _ := three(t)
	queries = append(queries, &model.GraphQueryParam{Start: t0, End: t0 + 120, ConsolFun: "AVERAGE", Endpoint: "nobody", Counter: "x"})
	answers, failed := c.QueryBatch(t.Context(), queries)
	if len(failed) > 0 || len(answers) != len(queries) {
		t.Fatalf("QueryBatch: %d answers, failed %v", len(answers), failed)
	}
	for i, a := range answers[:60] {
		q := queries[i]
		if a == nil || a.Endpoint != q.Endpoint || a.Counter != q.Counter || a.DsType != "GAUGE" || a.Step != 60 || len(a.Values) != 3 {
			t.Fatalf("answer %d to %+v is %+v", i, q, a)
		}
		if v := a.Values; v[0] != (model.RRDData{Timestamp: t0, Value: model.JSONFloat(i)}) || !math.IsNaN(float64(v[1].Value)) || v[1].Timestamp != t0+60 {
			t.Errorf("points of %d: %v", i, v)
		}
	}
	if a := answers[60]; a == nil || a.DsType != "" || len(a.Values) != 0 {
		t.Errorf("an unknown series: %+v", a)
	}
	if b := nodes["graph-a"].Batches.Load(); b != 1 {
		t.Errorf("a node of ours got %d calls, want 1", b)
	}
	if n := nodes["graph-s"]; int(n.Singles.Load()) < n.Len() {
		t.Errorf("the stock node got %d calls for %d series", n.Singles.Load(), n.Len())
	}

	series := make([]*model.GraphLastParam, len(queries))
	for i, q := range queries {
		series[i] = &model.GraphLastParam{Endpoint: q.Endpoint, Counter: q.Counter}
	}
	last, failed := c.LastBatch(t.Context(), series)
	if len(failed) > 0 {
		t.Fatalf("LastBatch: failed %v", failed)
	}
	for i, a := range last[:60] {
		if a == nil || a.Value == nil || *a.Value != (model.RRDData{Timestamp: t0 + 120, Value: 2}) {
			t.Errorf("last of %d: %+v", i, a)
		}
	}
	if a := last[60]; a == nil || a.Value == nil || a.Value.Timestamp != 0 {
		t.Errorf("last of an unknown series: %+v", a)
	}
}

// What a node that is away holds is missing, and nothing else; when it comes back
// nobody has to do anything.
func TestANodeIsAway(t *testing.T) {
	c, nodes, queries, stop := three(t)
	stop()
	answers, failed := c.QueryBatch(t.Context(), queries)
	if !slices.Equal(failed, []string{"graph-a"}) {
		t.Errorf("failed %v, want graph-a", failed)
	}
	for i, a := range answers {
		away := c.Node(queries[i].Endpoint, queries[i].Counter) == "graph-a"
		if (a == nil) != away {
			t.Errorf("answer %d is %+v, its node away: %v", i, a, away)
		}
	}
	found := c.SearchEndpoints(t.Context(), model.GraphSearchParam{Match: "host"})
	if !slices.Equal(found.Failed, []string{"graph-a"}) || !found.Stock || found.Complete() {
		t.Errorf("search: %+v", found)
	}
	if failed := c.Delete(t.Context(), []*model.GraphDeleteParam{{Endpoint: "x", Metric: "y"}, {Endpoint: "host-0", Metric: "m0", Tags: "k=v"}, {Endpoint: "host-0", Metric: "m1", Tags: "k=v"}, {Endpoint: "host-0", Metric: "m2", Tags: "k=v"}, {Endpoint: "host-0", Metric: "m3", Tags: "k=v"}, {Endpoint: "host-0", Metric: "m4", Tags: "k=v"}}); !slices.Equal(failed, []string{"graph-a"}) {
		t.Errorf("Delete: failed %v", failed)
	}

	nodes["graph-a"].ServeOurs(t)
	if _, failed := c.QueryBatch(t.Context(), queries); len(failed) > 0 {
		t.Errorf("after it came back: failed %v", failed)
	}
}

// A node with two addresses is read from either, and deleted on both.
func TestTwoAddresses(t *testing.T) {
	a, b := graphtest.New(), graphtest.New()
	stop := a.ServeOurs(t)
	b.ServeOurs(t)
	s := graphtest.Gauge("h", "c", 60, t0, 1)
	a.Put(s)
	b.Put(s)
	c := open(t, map[string]string{"Graph-00": a.Addr + " , " + b.Addr})
	query := []*model.GraphQueryParam{{Start: t0, End: t0, Endpoint: "h", Counter: "c"}}
	for range 3 {
		if answers, failed := c.QueryBatch(t.Context(), query); len(failed) > 0 || len(answers[0].Values) != 1 {
			t.Fatalf("QueryBatch: %+v, failed %v", answers, failed)
		}
		stop() // from the second round on the first address is away
	}
	if a.Batches.Load() != 1 || b.Batches.Load() != 2 {
		t.Errorf("calls %d and %d, want 1 and 2", a.Batches.Load(), b.Batches.Load())
	}
	a.ServeOurs(t)
	if failed := c.Delete(t.Context(), []*model.GraphDeleteParam{{Endpoint: "h", Metric: "c", Step: 60, DsType: "GAUGE"}}); len(failed) > 0 || a.Len()+b.Len() != 0 {
		t.Errorf("Delete: failed %v, %d series left", failed, a.Len()+b.Len())
	}
}

// A node is exchanged for one of the other kind, at the same address.
func TestANodeBecomesStock(t *testing.T) {
	n := graphtest.New()
	n.Put(graphtest.Gauge("h", "c", 60, t0, 1))
	stop := n.ServeOurs(t)
	c := open(t, map[string]string{"g": n.Addr})
	query := []*model.GraphQueryParam{{Start: t0, End: t0, Endpoint: "h", Counter: "c"}}
	for i, exchange := range []func(){func() {}, func() { stop(); n.ServeStock(t) }} {
		exchange()
		answers, failed := c.QueryBatch(t.Context(), query)
		if len(failed) > 0 || answers[0] == nil || len(answers[0].Values) != 1 {
			t.Errorf("round %d: %+v, failed %v", i, answers, failed)
		}
	}
	if n.Singles.Load() != 1 || n.Batches.Load() != 1 {
		t.Errorf("%d batches and %d single calls, want 1 and 1", n.Batches.Load(), n.Singles.Load())
	}
}

func TestSearchMergesNodes(t *testing.T) {
	nodes := map[string]*graphtest.Node{"a": graphtest.New(), "b": graphtest.New()}
	cluster := map[string]string{}
	for name, n := range nodes {
		n.ServeOurs(t)
		cluster[name] = n.Addr
	}
	c := open(t, cluster)
	// web-1 is on both nodes, with different tags on each.
	nodes["a"].Put(graphtest.Gauge("web-1", "cpu/core=0", 60, t0, 1), graphtest.Gauge("web-3", "cpu/core=0", 60, t0, 1), graphtest.Gauge("db", "mem", 60, t0, 1))
	nodes["b"].Put(graphtest.Gauge("web-1", "net/if=eth0", 60, t0, 1, 2), graphtest.Gauge("web-2", "net/if=eth0", 60, t0, 1))
	nodes["b"].Put(graphtest.Gauge("web-1", "cpu/core=0", 60, t0-600, 1)) // left behind by a move

	for _, tc := range []struct {
		p     model.GraphSearchParam
		want  string
		total int
	}{
		{model.GraphSearchParam{Match: "WEB"}, "web-1@60 web-2@0 web-3@0", 3},
		{model.GraphSearchParam{Match: "web", Limit: 2}, "web-1@60 web-2@0", 3},
		{model.GraphSearchParam{Match: "web", Limit: 1}, "web-1@60", 2}, // at least: each node has two
		{model.GraphSearchParam{Tags: []string{"core=0"}}, "web-1@60 web-3@0", 2},
		{model.GraphSearchParam{Tags: []string{"core=0", "if=eth0"}}, "web-1@60", 1},
		{model.GraphSearchParam{Tags: []string{"core=0", "nothing"}}, "", 0},
	} {
		found := c.SearchEndpoints(t.Context(), tc.p)
		var got []string
		for _, e := range found.Rows {
			got = append(got, fmt.Sprintf("%s@%d", e.Endpoint, e.Last-t0))
		}
		if strings.Join(got, " ") != tc.want || found.Total != tc.total || !found.Complete() {
			t.Errorf("SearchEndpoints(%+v) = %v of %d, want %s of %d", tc.p, got, found.Total, tc.want, tc.total)
		}
	}

	found := c.SearchCounters(t.Context(), model.GraphSearchParam{Endpoints: []string{"web-1", "db"}})
	var got []string
	for _, r := range found.Rows {
		got = append(got, fmt.Sprintf("%s %s@%d", r.Endpoint, r.Counter, r.Last-t0))
	}
	if want := "db mem@0, web-1 cpu/core=0@0, web-1 net/if=eth0@60"; strings.Join(got, ", ") != want || found.Total != 3 {
		t.Errorf("SearchCounters = %v of %d, want %s of 3", got, found.Total, want)
	}
	if found := c.SearchCounters(t.Context(), model.GraphSearchParam{}); len(found.Rows) != 0 || !found.Complete() {
		t.Errorf("SearchCounters of nothing = %+v", found)
	}
}

func TestInfo(t *testing.T) {
	c, _, _, _ := three(t)
	for h := range 6 { // on all three nodes
		info, addr, err := c.Info(t.Context(), model.GraphInfoParam{Endpoint: fmt.Sprintf("host-%d", h), Counter: "m1/k=v"})
		if err != nil || info.ConsolFun != "GAUGE" || info.Step != 60 || addr == "" {
			t.Errorf("Info = %+v, %q, %v", info, addr, err)
		}
	}
}

// More series than one call takes are split, and all of them are answered.
func TestLargeBatches(t *testing.T) {
	n := graphtest.New()
	n.ServeOurs(t)
	c := open(t, map[string]string{"g": n.Addr})
	var queries []*model.GraphQueryParam
	for i := range 350 {
		n.Put(graphtest.Gauge("h", fmt.Sprint(i), 60, t0, float64(i)))
		queries = append(queries, &model.GraphQueryParam{Start: t0, End: t0, Endpoint: "h", Counter: fmt.Sprint(i)})
	}
	answers, failed := c.QueryBatch(t.Context(), queries)
	for i, a := range answers {
		if a == nil || len(a.Values) != 1 || a.Values[0].Value != model.JSONFloat(i) {
			t.Fatalf("answer %d is %+v, failed %v", i, a, failed)
		}
	}
	if n.Batches.Load() != 4 {
		t.Errorf("%d calls, want 4", n.Batches.Load())
	}
}

// A caller who leaves does not wait for a node that says nothing.
func TestTheCallersDeadlineHolds(t *testing.T) {
	c, _, queries, _ := three(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	answers, failed := c.QueryBatch(ctx, queries)
	if len(failed) != 3 || slices.ContainsFunc(answers, func(s *graphs.Series) bool { return s != nil }) {
		t.Errorf("failed %v, answers %v", failed, answers)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		opts graphs.Options
		err  string
	}{
		{graphs.Options{}, "graphs.cluster: ring: cluster names no node"},
		{graphs.Options{Cluster: map[string]string{"g": "a:1,"}}, "graphs.cluster.g: an address is empty, write host:port"},
		{graphs.Options{Cluster: map[string]string{"g": "a:1"}, Hash: "md5"}, `graphs.cluster: ringHash: "md5" is unknown, use "crc32" (stock) or "murmur3" (fork)`},
	} {
		if _, err := graphs.New(tc.opts); fmt.Sprint(err) != tc.err {
			t.Errorf("New(%+v)\n got %v\nwant %s", tc.opts, err, tc.err)
		}
	}
}
