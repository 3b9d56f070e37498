package transfer

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/rpc"
)

// A node's way through the states, a line a second: + it answers, - it does not; T an alarm
// has told; a an alarm is there from now on; o nobody else is left, O somebody is again.
func TestStanding(t *testing.T) {
	for _, tc := range []struct{ name, story, want string }{
		{"a restart is no failover", "---------+", "home"},
		{"away for long, without an alarm", "----------- -", "leaving away"},
		{"with one that tells", "a----------- ----- T-", "leaving leaving away"},
		{"with one that does not", "a----------- " + strings.Repeat("-", 29) + " -", "leaving leaving away"},
		{"back before others began", "a----------- ---+", "leaving home"},
		{"nobody is left", "o" + strings.Repeat("-", 60), "home"},
		{"the others go as well", "a----------- o-", "leaving home"},
		{"flapping", strings.Repeat("-----+", 20), "home"},
		{"a miss begins the count anew", "------------ " + strings.Repeat("+", 10) + " - " + strings.Repeat("+", 10) + " + +", "away away away away returning home"},
		{"gone again while it is told", "------------ a" + strings.Repeat("+", 11) + " - " + strings.Repeat("+", 11) + " T+", "away returning away returning home"},
	} {
		s := &standing{state: model.NodeHome}
		now, alarm, others := time.Unix(1000, 0), false, true
		var got []string
		for stage := range strings.SplitSeq(tc.story, " ") {
			for _, c := range stage {
				switch c {
				case 'T':
					s.told = true
				case 'a':
					alarm = true
				case 'o', 'O':
					others = c == 'O'
				default:
					now = now.Add(time.Second)
					s.step(c == '+', now, 10*time.Second, alarm, others)
				}
			}
			got = append(got, s.state)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, got, tc.want)
		}
	}
}

// judges is a world with judges and no graph.
func judges(t *testing.T, failover time.Duration, cluster map[string]string) *world {
	cfg := testConfig(t, "g:1")
	cfg.Graph.Enabled = false
	cfg.Judge.Enabled, cfg.Judge.Cluster = true, cluster
	cfg.Judge.Failover = conf.Duration(failover)
	cfg.Judge.SpoolAge = conf.Duration(10 * time.Minute)
	w := newWorld(t, cfg)
	for _, p := range w.peers {
		p.start()
	}
	return w
}

// push offers one point of each metric and fails the test unless they are kept.
func (w *world) push(metrics []string, ts int64) {
	w.t.Helper()
	var items []*item
	for _, m := range metrics {
		items = append(items, gauge(m, ts))
	}
	f := w.offer(items...)
	after(time.Second)
	if !f.kept() {
		w.t.Fatalf("points of %d: %v", ts, f)
	}
}

// nodeOf returns the node of each metric.
func (w *world) nodeOf(metric string) string { return w.tr.judge.ring.Node("h/" + metric) }

func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint("m", i))
	}
	return all
}

func (w *world) notes() string {
	rec := httptest.NewRecorder()
	w.tr.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/health", nil))
	return fmt.Sprint(rec.Code, " ", strings.TrimSpace(rec.Body.String()))
}

// A judge goes: after the time what waits for it and what comes goes to the others, by the
// ring without it, each series whole and in order at one of them. It comes back and
// answers for half a minute: it gets its series again, and none of the points in between.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := judges(t, 20*time.Second, map[string]string{"j0": "j:0", "j1": "j:1", "j2": "j:2"})
		defer w.end()
		metrics := names(30)
		var times, home, away []int64
		ts := int64(t0)
		push := func(n int, into *[]int64) {
			for range n {
				w.push(metrics, ts)
				times = append(times, ts)
				*into = append(*into, ts)
				ts += 30
			}
		}
		push(5, &home)
		if got := w.notes(); got != "200 ok" {
			t.Errorf("health %q", got)
		}
		w.peers["j:1"].down()
		push(15, &away)
		if b := w.books("j:1"); b.Spooled == 0 {
			t.Errorf("before the time: %+v", b)
		}
		push(10, &away)
		after(20 * time.Second)
		if got := w.notes(); !strings.HasPrefix(got, "200 ok\njudge j1 is away since ") || !strings.HasSuffix(got, "; its series are judged by j0, j2") {
			t.Errorf("health %q", got)
		}
		if b := w.books("j:1"); b.Spooled != 0 || b.PassedOn == 0 {
			t.Errorf("after the time: %+v", b)
		}
		push(5, &away)
		takers := map[string]int{}
		for _, m := range metrics {
			if w.nodeOf(m) != "j1" {
				w.peers["j:"+w.nodeOf(m)[1:]].wants(m, times)
				continue
			}
			w.peers["j:1"].wants(m, home)
			taker := "j:0"
			if len(w.peers[taker].seen(m)) == 0 {
				taker = "j:2"
			}
			takers[taker]++
			w.peers[taker].wants(m, away)
			other := map[string]string{"j:0": "j:2", "j:2": "j:0"}[taker]
			w.peers[other].wants(m, nil)
		}
		if len(takers) != 2 {
			t.Errorf("the series went to %v, not to both", takers)
		}
		w.peers["j:1"].set(func(p *peer) { p.up, p.s = true, p.server() })
		push(18, &away)
		after(8 * time.Second)
		push(10, &home)
		for _, m := range metrics {
			if w.nodeOf(m) == "j1" {
				w.peers["j:1"].wants(m, home)
			}
		}
		for _, addr := range []string{"j:0", "j:1", "j:2"} {
			w.books(addr)
			for key, n := range w.peers[addr].count {
				if n > 1 {
					t.Errorf("%s got %s %d times", addr, key, n)
				}
			}
		}
		if got := w.notes(); got != "200 ok" {
			t.Errorf("health %q", got)
		}
		// Handles at those that stood in are given back in two turns.
		o := w.outlet("j:1")
		own := 0
		for _, m := range metrics {
			if w.nodeOf(m) == "j1" {
				own++
			}
		}
		// Each series had one as it came, and one as it stood in the spool.
		if n := len(o.away.retired); n != 2*own || len(o.away.detours) != 0 {
			t.Errorf("%d handles are retired of %d series, %d detours stay", n, own, len(o.away.detours))
		}
		after(2 * forgetEvery)
		o.mu.Lock()
		left := len(o.away.retired) + len(o.away.dying)
		o.mu.Unlock()
		if left != 0 {
			t.Errorf("%d handles are never given back", left)
		}
	})
}

// One that stands in goes as well: a third has the series of both. Then nobody is left, and
// points wait for their own judges.
func TestFailoverOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := judges(t, 10*time.Second, map[string]string{"j0": "j:0", "j1": "j:1", "j2": "j:2"})
		defer w.end()
		metrics := names(20)
		ts := int64(t0)
		var times []int64
		push := func(n int) {
			for range n {
				w.push(metrics, ts)
				times = append(times, ts)
				ts += 30
			}
		}
		push(2)
		w.peers["j:0"].down()
		push(20)
		w.peers["j:1"].down()
		push(20)
		w.peers["j:2"].down()
		push(20)
		after(time.Minute)
		if got := w.notes(); strings.Contains(got, "j2 is away") {
			t.Errorf("nobody is left, and yet: %s", got)
		}
		if b := w.books("j:2"); b.Spooled == 0 {
			t.Errorf("books of the last: %+v", b)
		}
		w.peers["j:2"].set(func(p *peer) { p.up, p.s = true, p.server() })
		after(20 * time.Second)
		for _, m := range metrics {
			var all []int64
			for _, addr := range []string{"j:0", "j:1", "j:2"} {
				all = append(all, w.peers[addr].seen(m)...)
			}
			slices.Sort(all)
			if !slices.Equal(all, times) {
				t.Errorf("%s: %d points at all judges, want each of %d once", m, len(all), len(times))
			}
			if !slices.IsSorted(w.peers["j:2"].seen(m)) {
				t.Errorf("%s: the last judge has them out of order", m)
			}
		}
		for _, addr := range []string{"j:0", "j:1", "j:2"} {
			w.books(addr)
		}
	})
}

// A node of two addresses is away when neither answers. What the second one judged is not
// judged again by whoever stands in, and both of these get the points.
func TestFailoverOfAStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := judges(t, 10*time.Second, map[string]string{"a": "a:1,a:2", "b": "b:1,b:2"})
		defer w.end()
		var metrics []string
		for _, m := range names(30) {
			if w.nodeOf(m) == "a" {
				metrics = append(metrics, m)
			}
		}
		ts := int64(t0)
		push := func(n int) (times []int64) {
			for range n {
				w.push(metrics, ts)
				times = append(times, ts)
				ts += 30
			}
			return times
		}
		both := push(2)
		w.peers["a:1"].down()
		second := push(20)
		if got := w.notes(); !strings.HasPrefix(got, "200 ok\njudge a at a:1: ") || strings.Contains(got, "judged by") {
			t.Errorf("one address is left: %s", got)
		}
		w.peers["a:2"].down()
		rest := push(20)
		for _, m := range metrics {
			w.peers["a:1"].wants(m, both)
			w.peers["a:2"].wants(m, append(slices.Clone(both), second...))
			w.peers["b:1"].wants(m, rest)
			w.peers["b:2"].wants(m, rest)
		}
		for _, addr := range []string{"a:1", "a:2", "b:1", "b:2"} {
			w.books(addr)
		}
	})
}

// While an alarm asks, series move only once it has told their next judge.
func TestFailoverWaitsForAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := judges(t, 10*time.Second, map[string]string{"j0": "j:0", "j1": "j:1"})
		defer w.end()
		view := func() (state string) {
			t.Helper()
			r, err := w.tr.judgesCall(t.Context(), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range r.Nodes {
				if n.Node == "j1" {
					state = n.State
				}
			}
			if (state == model.NodeHome) == strings.Contains(r.View, state) {
				t.Errorf("the view of %s is %q", state, r.View)
			}
			return state
		}
		metric := ""
		for _, m := range names(20) {
			if w.nodeOf(m) == "j1" {
				metric = m
			}
		}
		item := model.AdoptItem{Event: model.Event{Id: "s_1_x", Endpoint: "h", Strategy: &model.Strategy{Metric: metric}, Status: model.StatusProblem}}
		// adopt tells of the problem, and says who got it.
		adopt := func(release bool, told ...string) (got string) {
			t.Helper()
			r, err := w.tr.adoptCall(t.Context(), nil, &model.ForwardRequest{Items: []model.AdoptItem{item}, Release: release, Told: told})
			if err != nil || len(r.Failed) > 0 || r.Adopted != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			for _, addr := range []string{"j:0", "j:1"} {
				w.peers[addr].set(func(p *peer) {
					for _, it := range p.adopted {
						got += addr
						if it.Release {
							got += " released "
						}
					}
					p.adopted = nil
				})
			}
			return got
		}
		if s := view(); s != model.NodeHome {
			t.Errorf("at first %s", s)
		}
		if got := adopt(true); got != "j:0 released j:1" {
			t.Errorf("at home the problem goes to %s", got)
		}
		w.push([]string{metric}, t0)
		w.peers["j:1"].down()
		w.push([]string{metric}, t0+30)
		after(15 * time.Second)
		if s := view(); s != model.NodeLeaving {
			t.Errorf("after the time %s", s)
		}
		w.peers["j:0"].wants(metric, nil)
		if got := adopt(false, "judge/j1"); got != "j:0" {
			t.Errorf("before it moves the problem goes to %s", got)
		}
		after(2 * time.Second)
		if s := view(); s != model.NodeAway {
			t.Errorf("told: %s", s)
		}
		after(10 * time.Second)
		w.peers["j:0"].wants(metric, []int64{t0 + 30})
		w.peers["j:1"].set(func(p *peer) { p.up, p.s = true, p.server() })
		after(7 * time.Second)
		if s := view(); s != model.NodeAway {
			t.Errorf("back for 7 s: %s", s)
		}
		after(6 * time.Second)
		if s := view(); s != model.NodeReturning {
			t.Errorf("back for 13 s: %s", s)
		}
		w.push([]string{metric}, t0+60)
		w.peers["j:0"].wants(metric, []int64{t0 + 30, t0 + 60})
		if got := adopt(false, "judge/j1"); got != "j:1" {
			t.Errorf("before it returns the problem goes to %s", got)
		}
		after(2 * time.Second)
		if s := view(); s != model.NodeHome {
			t.Errorf("told: %s", s)
		}
		w.push([]string{metric}, t0+90)
		w.peers["j:1"].wants(metric, []int64{t0, t0 + 90})
	})
}

// What can not be adopted is counted with its reason; nobody lets go of what its judge may
// not have.
func TestAdoptIsForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := judges(t, 0, map[string]string{"j0": "j:0", "j1": "j:1"})
		defer w.end()
		var items []model.AdoptItem
		per := map[string]int{}
		for _, m := range names(40) {
			per[w.nodeOf(m)]++
			items = append(items, model.AdoptItem{Event: model.Event{Id: m, Endpoint: "h", Strategy: &model.Strategy{Metric: m}, Status: model.StatusProblem}})
		}
		w.peers["j:1"].down()
		r, err := w.tr.adoptCall(t.Context(), nil, &model.ForwardRequest{Items: items, Release: true})
		if err != nil || r.Adopted != per["j0"] || r.Refused[model.AdoptAway] != per["j1"] || r.Failed["j1"] == "" || r.Released != 0 {
			t.Errorf("one is away: %+v, %v", r, err)
		}
		stock := rpc.NewServer(rpc.ServerOptions{})
		rpc.Handle(stock, "Judge.Ping", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
			return &model.SimpleRpcResponse{}, nil
		})
		w.peers["j:1"].set(func(p *peer) { p.up, p.s = true, stock })
		r, err = w.tr.adoptCall(t.Context(), nil, &model.ForwardRequest{Items: items, Release: true})
		if err != nil || r.Adopted != per["j0"] || r.Refused[model.AdoptStock] != per["j1"] || r.Released != per["j1"] {
			t.Errorf("one is stock's: %+v, %v", r, err)
		}
		if _, err := w.tr.adoptCall(t.Context(), nil, &model.ForwardRequest{Items: make([]model.AdoptItem, model.MaxForward+1)}); err == nil {
			t.Error("too many were taken")
		}
	})
}

func TestFailoverSettings(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`{"judge":{"enabled":true,"failover":"","cluster":{"a":"h:1"}}}`, ""},
		{`{"judge":{"enabled":true,"failover":"120s","cluster":{"a":"h:1","b":"h:2"}}}`, ""},
		{`{"judge":{"enabled":true,"failover":"120s","cluster":{"a":"h:1"}}}`, "judge.failover: nobody could stand in, name a second node in judge.cluster"},
		{`{"judge":{"enabled":true,"failover":"5s","cluster":{"a":"h:1","b":"h:2"}}}`, "judge.failover: 5s is shorter than a restart takes, use at least 10s"},
		{`{"judge":{"enabled":true,"failover":120,"cluster":{"a":"h:1","b":"h:2"}}}`, `duration 120 needs a unit: write "120ms" or "120s"`},
		{`{"graph":{"enabled":true,"failover":"120s","cluster":{"a":"h:1","b":"h:2"}}}`, "graph.failover: points of a graph that is away wait for it; give its node two addresses for a replica"},
	} {
		cfg := DefaultConfig()
		cfg.Self.Enabled = false // the agent of this machine is not asked
		_, err := conf.Parse([]byte(tc.in), &cfg)
		if got := fmt.Sprint(err); tc.want == "" && err != nil || !strings.HasSuffix(got, tc.want) {
			t.Errorf("%s: %s, want %s", tc.in, got, tc.want)
		}
	}
}
