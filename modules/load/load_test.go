package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// A daemon is a real program with a folder of its own, which can be started again.
type daemon struct {
	t            *testing.T
	dir, program string
	rpc, http    string
	p            *testkit.Process
}

func newDaemon(t *testing.T, name string, cfg map[string]any) *daemon {
	t.Helper()
	d := &daemon{t: t, dir: t.TempDir(), program: testkit.Program(t, name), rpc: testkit.FreeAddr(t), http: testkit.FreeAddr(t)}
	listen := func(addr string) map[string]any { return map[string]any{"enabled": true, "listen": addr} }
	cfg["rpc"], cfg["http"] = listen(d.rpc), listen(d.http)
	js, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "cfg.json"), js, 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	return d
}

func (d *daemon) start() {
	d.t.Helper()
	d.p = testkit.Start(d.t, d.dir, d.program, "-c", filepath.Join(d.dir, "cfg.json"))
	testkit.Eventually(d.t, 20*time.Second, func() error {
		resp, err := http.Get("http://" + d.http + "/health")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// chain starts a graph and a transfer before it.
func chain(t *testing.T) (transfer, graph *daemon) {
	t.Helper()
	graph = newDaemon(t, "graph", map[string]any{"data": "graph", "index": map[string]any{"enabled": false}})
	transfer = newDaemon(t, "transfer", map[string]any{
		"socket": map[string]any{"enabled": false}, "spool": map[string]any{"dir": "spool"}, "judge": map[string]any{"enabled": false},
		"graph": map[string]any{"enabled": true, "cluster": map[string]string{"graph-00": graph.rpc}},
	})
	return transfer, graph
}

// What is sent in each way arrives whole, and is found there.
func TestEachProtocol(t *testing.T) {
	transfer, graph := chain(t)
	for _, protocol := range Protocols {
		t.Run(protocol, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Protocol, cfg.Prefix, cfg.To = protocol, "way-"+protocol, transfer.rpc
			if protocol == HTTP {
				cfg.To = "http://" + transfer.http + "/api/push"
			}
			cfg.Endpoints, cfg.Metrics, cfg.Rounds, cfg.Batch, cfg.Flatout = 7, 30, 12, 64, true
			cfg.Graphs = map[string]string{"graph-00": graph.rpc}
			cfg.Watch = []string{strconv.Itoa(graph.p.PID()), strconv.Itoa(transfer.p.PID())}
			l, err := New(cfg, Deps{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := l.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			const points = 7 * 30 * 12
			counters := 0
			for i := range 7 * 30 {
				if newWorkload(cfg, 0).counter(i) {
					counters++
				}
			}
			v := r.Verified
			if r.Acked != points || len(r.Refused) > 0 || r.Retried > 0 || v.Series != 7*30 || v.Points != int64(points-counters) || v.Missing+v.Wrong != 0 {
				t.Errorf("report %+v, verified %+v", r, v)
			}
			if len(r.Watched) < 2 || r.Watched[0].Program != "falcon-graph" || r.Watched[0].RSS < 1e6 {
				t.Errorf("watched %+v", r.Watched)
			}
			var out bytes.Buffer
			if err := r.Write(&out); err != nil || !strings.Contains(out.String(), fmt.Sprintf("verified  %d points of 210 series", points-counters)) {
				t.Errorf("%v, report:\n%s", err, &out)
			}
		})
	}
}

// While transfer and graph are killed nothing that was acknowledged is lost, and the load
// goes on when they are back.
func TestLoadOutlivesKills(t *testing.T) {
	transfer, graph := chain(t)
	cfg := DefaultConfig()
	cfg.To, cfg.Endpoints, cfg.Metrics, cfg.Rounds, cfg.Batch, cfg.Rate = transfer.rpc, 20, 50, 200, 200, 60_000
	cfg.Graphs = map[string]string{"graph-00": graph.rpc}
	l, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	type end struct {
		r   *Report
		err error
	}
	ended := make(chan end, 1)
	go func() {
		r, err := l.Run(t.Context())
		ended <- end{r, err}
	}()
	for i, d := range []*daemon{transfer, graph, transfer} {
		testkit.Eventually(t, 30*time.Second, func() error {
			if n := l.total.acked.Load(); n < int64(50_000*(i+1)) {
				return fmt.Errorf("%d points are acknowledged", n)
			}
			return nil
		})
		d.p.Kill()
		d.start()
	}
	e := <-ended
	if e.err != nil {
		t.Fatal(e.err)
	}
	if e.r.Acked != 200_000 || e.r.Retried == 0 || e.r.Why == "" || e.r.Verified.Points == 0 {
		t.Errorf("report %+v, %+v", e.r, e.r.Verified)
	}
}

// Who is told to stop says so, and how far it came.
func TestStopped(t *testing.T) {
	for _, protocol := range []string{Stream, JSONRPC} {
		cfg := DefaultConfig()
		cfg.Protocol, cfg.To, cfg.Endpoints, cfg.Metrics = protocol, testkit.FreeAddr(t), 2, 2
		l, err := New(cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		type end struct {
			r   *Report
			err error
		}
		ended := make(chan end, 1)
		go func() {
			r, err := l.Run(ctx)
			ended <- end{r, err}
		}()
		testkit.Eventually(t, 10*time.Second, func() error {
			if l.total.retried.Load() == 0 {
				return errors.New("not tried yet")
			}
			return nil
		})
		cancel()
		e := <-ended
		r, err := e.r, e.err
		if !errors.Is(err, context.Canceled) || r == nil || r.Acked != 0 || !strings.Contains(r.Why, "refused") {
			t.Errorf("%s: %+v, %v", protocol, r, err)
		}
	}
}

// liar is a graph that answers with what it is told to.
func liar(t *testing.T, answer func(q *model.GraphQueryParam) (*model.GraphQueryResponse, error)) string {
	t.Helper()
	s := rpc.NewServer(rpc.ServerOptions{})
	rpc.Handle(s, "Graph.Query", func(_ context.Context, _ *rpc.Conn, q *model.GraphQueryParam) (*model.GraphQueryResponse, error) {
		return answer(q)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String()
}

// What is not there, or is something else, is found, each with an example.
func TestVerifyFinds(t *testing.T) {
	const first = 1_700_000_040
	cfg := DefaultConfig()
	cfg.Endpoints, cfg.Metrics, cfg.Rounds, cfg.Counters, cfg.Settle = 1, 2, 5, 0.5, 0
	w := newWorkload(cfg, first)
	book := newLedger(0, 2, 5)
	for i := range 2 {
		for round := range 5 {
			book.mark(i, round)
		}
	}
	gauge, counter := w.series(0), w.series(1)
	if gauge.Type != model.Gauge || counter.Type != model.Counter {
		t.Fatalf("series %+v, %+v", gauge, counter)
	}
	right := func(q *model.GraphQueryParam) *model.GraphQueryResponse {
		resp := &model.GraphQueryResponse{Step: 60}
		for round := range 5 {
			ts := w.time(round)
			v := w.value(0, ts)
			if q.Counter == counter.Counter() {
				v = (w.value(1, ts) - w.value(1, ts-60)) / 60
				if round == 0 {
					v = math.NaN()
				}
			}
			resp.Values = append(resp.Values, &model.RRDData{Timestamp: ts, Value: model.JSONFloat(v)})
		}
		return resp
	}
	unmarked := newLedger(0, 2, 5)
	for _, tc := range []struct {
		name           string
		book           *ledger
		alter          func(q *model.GraphQueryParam, r *model.GraphQueryResponse) error
		points         int64
		missing, wrong int64
		says           string
	}{
		{"all there", book, nil, 9, 0, 0, ""},
		{"nothing was acknowledged", unmarked, func(_ *model.GraphQueryParam, r *model.GraphQueryResponse) error { r.Values = nil; return nil }, 0, 0, 0, ""},
		{"a gap", book, func(_ *model.GraphQueryParam, r *model.GraphQueryResponse) error {
			r.Values[2].Value = model.JSONFloat(math.NaN())
			return nil
		}, 9, 2, 0, "2 missing, 0 wrong of 9"},
		{"a series that nobody knows", book, func(q *model.GraphQueryParam, r *model.GraphQueryResponse) error {
			if q.Counter == gauge.Counter() {
				*r = model.GraphQueryResponse{}
			}
			return nil
		}, 9, 5, 0, "5 missing, 0 wrong of 9"},
		{"another value", book, func(_ *model.GraphQueryParam, r *model.GraphQueryResponse) error { r.Values[4].Value++; return nil }, 9, 0, 2, "0 missing, 2 wrong of 9"},
		{"another step", book, func(_ *model.GraphQueryParam, r *model.GraphQueryResponse) error { r.Step = 300; return nil }, 0, 0, 0, "with a step of 300 s and not of 60"},
		{"an error", book, func(*model.GraphQueryParam, *model.GraphQueryResponse) error { return errors.New("the disk is gone") }, 0, 0, 0, "the disk is gone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := liar(t, func(q *model.GraphQueryParam) (*model.GraphQueryResponse, error) {
				r := right(q)
				if tc.alter != nil {
					if err := tc.alter(q, r); err != nil {
						return nil, err
					}
				}
				return r, nil
			})
			cfg.Graphs = map[string]string{"graph-00": addr}
			l, err := New(cfg, Deps{})
			if err != nil {
				t.Fatal(err)
			}
			v, err := l.verify(t.Context(), w, []*ledger{tc.book})
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %q", err, tc.says)
			}
			if v.Points != tc.points || v.Missing != tc.missing || v.Wrong != tc.wrong || len(v.Examples) == 0 != (tc.missing+tc.wrong == 0) {
				t.Errorf("verified %+v, want %d points, %d missing, %d wrong", v, tc.points, tc.missing, tc.wrong)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		says   string // "" for a good one
	}{
		{"the default", func(*Config) {}, ""},
		{"every way", func(c *Config) { c.Protocol = HTTP }, ""},
		{"a protocol", func(c *Config) { c.Protocol = "udp" }, `protocol "udp" is unknown: stream, jsonrpc, gob, msgpack, http`},
		{"an address", func(c *Config) { c.To = "transfer" }, `to "transfer" is no address`},
		{"a URL", func(c *Config) { c.Protocol, c.To = HTTP, "127.0.0.1:6060" }, "is no URL"},
		{"no endpoints", func(c *Config) { c.Endpoints = 0 }, "endpoints is 0"},
		{"too many series", func(c *Config) { c.Endpoints, c.Metrics = 1_000_000, 1000 }, "1000000000 series are more"},
		{"a share", func(c *Config) { c.Counters = 1.5 }, "counters is 1.5"},
		{"the future", func(c *Config) { c.Speed = 0.5 }, "speed is 0.5"},
		{"slower than time", func(c *Config) { c.Rate = 100 }, "10000 series have 166.7"},
		{"a prefix", func(c *Config) { c.Prefix = "a/b" }, `prefix "a/b"`},
		{"more than graphs keep", func(c *Config) { c.Rounds = 4321; c.Graphs = map[string]string{"a": "b:1"} }, "4321 rounds of 60 s are more than 72h"},
		{"as much as graphs keep", func(c *Config) { c.Rounds = 4320; c.Graphs = map[string]string{"a": "b:1"} }, ""},
		{"a graph's address", func(c *Config) { c.Graphs = map[string]string{"graph-00": "here"} }, `graph graph-00: "here" is no address`},
	} {
		cfg := DefaultConfig()
		tc.change(&cfg)
		if err := cfg.Validate(); (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
		}
	}
}

// Values depend on series and time alone; counters grow, and are as many as asked for.
func TestWorkload(t *testing.T) {
	cfg := DefaultConfig()
	w, again := newWorkload(cfg, 0), newWorkload(cfg, 600)
	counters := 0
	for i := range cfg.Metrics {
		last := math.Inf(-1)
		for ts := int64(6000); ts < 12_000; ts += 60 {
			v := w.value(i, ts)
			if v != again.value(i, ts) || v != math.Trunc(v*100)/100 && math.Abs(v*100-math.Round(v*100)) > 1e-6 {
				t.Fatalf("series %d at %d: %v, then %v", i, ts, v, again.value(i, ts))
			}
			if w.counter(i) && v <= last {
				t.Fatalf("counter %d falls from %v to %v", i, last, v)
			}
			last = v
		}
		if w.counter(i) {
			counters++
		}
	}
	if counters != 25 {
		t.Errorf("%d of 100 are counters, want 25", counters)
	}
	cfg.Prefix = "other"
	if newWorkload(cfg, 0).value(2, 6000) == w.value(2, 6000) {
		t.Error("another prefix has the same values")
	}
}

func TestLedger(t *testing.T) {
	l := newLedger(100, 7, 50)
	l.mark(103, 49)
	l.mark(106, 0)
	for i := 100; i < 107; i++ {
		for round := range 50 {
			if want := i == 103 && round == 49 || i == 106 && round == 0; l.has(i, round) != want {
				t.Errorf("series %d in round %d: %v", i, round, !want)
			}
		}
	}
}

func TestQuantile(t *testing.T) {
	var l latencies
	if got := l.quantile(0.5); got != 0 {
		t.Errorf("of none %v", got)
	}
	for i := range 100 {
		l.add(time.Duration(i+1) * time.Millisecond)
	}
	l.add(time.Nanosecond)
	l.add(10 * time.Hour)
	for _, tc := range []struct {
		q    float64
		want time.Duration
	}{{0.5, 50 * time.Millisecond}, {0.9, 91 * time.Millisecond}, {1, 10 * time.Hour}} {
		if got := l.quantile(tc.q); got < tc.want*95/100 || got > tc.want*112/100 {
			t.Errorf("quantile %g is %v, want %v", tc.q, got, tc.want)
		}
	}
}

func TestWatch(t *testing.T) {
	if _, err := watch([]string{"no-such-program"}); err == nil || !strings.Contains(err.Error(), `"no-such-program"`) {
		t.Errorf("nobody: %v", err)
	}
	all, err := watch([]string{strconv.Itoa(os.Getpid()), filepath.Base(os.Args[0])})
	if err != nil || len(all) != 1 {
		t.Fatalf("this process: %v, %v", all, err)
	}
	r := &Report{Acked: 1_000_000}
	for r.Watched == nil || r.Watched[0].CPU == 0 {
		r.Watched = nil
		if err := all.measure(r); err != nil {
			t.Fatal(err)
		}
	}
	if w := r.Watched[0]; w.PerMillion != w.CPU || w.Peak < w.RSS || w.RSS < 1e6 {
		t.Errorf("watched %+v", w)
	}
	all[0].start++
	if err := all.measure(&Report{}); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("another process of that PID: %v", err)
	}
}
