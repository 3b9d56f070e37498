package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	netrpc "net/rpc"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/common/testkit"
)

// A stockGraph serves Graph.Send with net/rpc, as a stock graph does.
type stockGraph struct {
	mu    sync.Mutex
	items []*model.GraphItem
	calls []int // items of each
	came  chan struct{}
}

type stockMethods struct{ *stockGraph }

func (g stockMethods) Send(items []*model.GraphItem, _ *model.SimpleRpcResponse) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.items = append(g.items, items...)
	g.calls = append(g.calls, len(items))
	select {
	case g.came <- struct{}{}:
	default:
	}
	return nil
}

// A place is an address whose inhabitant changes.
type place struct {
	t    *testing.T
	addr string
	stop func()
}

func (p *place) listen() net.Listener {
	p.t.Helper()
	if p.addr == "" {
		p.addr = testkit.FreeAddr(p.t)
	}
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	return ln
}

// stock lets a stock graph move in.
func (p *place) stock(g *stockGraph) {
	p.t.Helper()
	s := netrpc.NewServer()
	if err := s.RegisterName("Graph", stockMethods{g}); err != nil {
		p.t.Fatal(err)
	}
	p.serve(func(c net.Conn) { s.ServeConn(c) })
}

// serve hands each connection to handle until the inhabitant moves out.
func (p *place) serve(handle func(net.Conn)) {
	p.t.Helper()
	ln := p.listen()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { handle(c) })
		}
	})
	p.stop = func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	}
}

// ours lets a graph of ours move in.
func (p *place) ours(g *peer) {
	ln := p.listen()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := g.server()
	go func() { ended <- s.Serve(ctx, ln) }()
	p.stop = func() {
		cancel()
		<-ended
	}
}

// runTransfer starts a transfer for one graph, with changes.
func runTransfer(t *testing.T, addr string, now func() time.Time, changes ...func(*Config)) *Transfer {
	t.Helper()
	cfg := testConfig(t, addr)
	for _, change := range changes {
		change(&cfg)
	}
	cfg.Graph.CallTimeout = conf.Millis(2 * time.Second)
	cfg.Spool.After = conf.Duration(10 * time.Second) // an answer means that the graph has it
	ready := make(chan struct{})
	tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Now: now, Ready: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-ready
	return tr
}

// What was pushed to a stock transfer, by the names of the captures of what it sent on,
// and when.
const (
	pushedAt  = 1795320960 + 14
	pushedFor = 1795320660
)

var stockPushes = map[string][]*item{
	"gauge_one": {{Endpoint: "it-h1", Metric: "it.g_one", Value: 12.5, Step: 60, Type: "GAUGE", Timestamp: 1795320960 + 37}},
	"counter_derive": {
		{Endpoint: "it-h1", Metric: "it.g_cnt", Value: 1000.0, Step: 60, Type: "COUNTER", Timestamp: pushedFor + 3},
		{Endpoint: "it-h1", Metric: "it.g_drv", Value: -5.0, Step: 60, Type: "DERIVE", Timestamp: pushedFor + 3},
	},
	"tags":     {{Endpoint: "it-h1", Metric: "it.g_tags", Value: 1.0, Step: 60, Type: "GAUGE", Tags: "mount=/, fstype = ext4,dup=1,junk,dup=2,a=b=c", Timestamp: pushedFor}},
	"min_step": {{Endpoint: "it-h1", Metric: "it.g_short", Value: 1.0, Step: 10, Type: "GAUGE", Timestamp: pushedFor + 17}},
	"zero_and_negative": {
		{Endpoint: "it-h1", Metric: "it.g_zero", Value: 0.0, Step: 60, Type: "GAUGE", Timestamp: pushedFor},
		{Endpoint: "it-h1", Metric: "it.g_neg", Value: -1.5, Step: 60, Type: "GAUGE", Timestamp: pushedFor},
	},
	"future": {
		{Endpoint: "it-h1", Metric: "it.g_far", Value: 1.0, Step: 60, Type: "GAUGE", Timestamp: 3 * pushedAt},
		{Endpoint: "it-h1", Metric: "it.g_soon", Value: 2.0, Step: 60, Type: "GAUGE", Timestamp: 1795407360},
		{Endpoint: "it-h1", Metric: "it.g_nots", Value: 3.0, Step: 60, Type: "GAUGE", Timestamp: 0},
		{Endpoint: "it-h1", Metric: "it.g_neg", Value: 4.0, Step: 60, Type: "GAUGE", Timestamp: -5},
	},
}

// A stock graph gets by gob exactly the items that it got from a stock transfer for
// the same pushes.
func TestStockGraphGetsStockItems(t *testing.T) {
	files, err := filepath.Glob("testdata/transfer-graph/*.json")
	if err != nil || len(files) != len(stockPushes) {
		t.Fatalf("%d captures, %d pushes: %v", len(files), len(stockPushes), err)
	}
	for name, items := range stockPushes {
		t.Run(name, func(t *testing.T) {
			var captured []struct{ Args []*model.GraphItem }
			if err := json.Unmarshal(readFile(t, "testdata/transfer-graph/"+name+".json"), &captured); err != nil {
				t.Fatal(err)
			}
			var want []*model.GraphItem
			for _, c := range captured {
				for _, it := range c.Args {
					if it.Endpoint == "it-h1" { // the agent of the captured fleet spoke, too
						want = append(want, it)
					}
				}
			}
			g := &stockGraph{}
			p := &place{t: t}
			p.stock(g)
			defer func() { p.stop() }()
			tr := runTransfer(t, p.addr, func() time.Time { return time.Unix(pushedAt, 0) })
			tr.cfg.TsPolicy = "stock" // the captured rule
			if _, err := tr.wait(t.Context(), items); err != nil {
				t.Fatal(err)
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, it := range g.items {
				if it.Tags == nil {
					it.Tags = map[string]string{} // gob does not send an empty map
				}
			}
			if !reflect.DeepEqual(g.items, want) {
				got, _ := json.Marshal(g.items)
				wanted, _ := json.Marshal(want)
				t.Errorf("graph got\n %s\nwant\n %s", got, wanted)
			}
		})
	}
}

// A stockJudge serves Judge.Send with net/rpc, as a stock judge does.
type stockJudge struct {
	mu    sync.Mutex
	items []*model.JudgeItem
}

type stockJudgeMethods struct{ *stockJudge }

func (j stockJudgeMethods) Send(items []*model.JudgeItem, _ *model.SimpleRpcResponse) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, it := range items {
		if it.Tags == nil {
			it.Tags = map[string]string{} // gob does not send an empty map
		}
	}
	j.items = append(j.items, items...)
	return nil
}

// So does a stock judge.
func TestStockJudgeGetsStockItems(t *testing.T) {
	for name, items := range stockPushes {
		t.Run(name, func(t *testing.T) {
			var captured []struct{ Args []*model.JudgeItem }
			if err := json.Unmarshal(readFile(t, "testdata/transfer-judge/"+name+".json"), &captured); err != nil {
				t.Fatal(err)
			}
			var want []*model.JudgeItem
			for _, c := range captured {
				for _, it := range c.Args {
					if it.Endpoint == "it-h1" { // the agent of the captured fleet spoke, too
						want = append(want, it)
					}
				}
			}
			j := &stockJudge{}
			s := netrpc.NewServer()
			if err := s.RegisterName("Judge", stockJudgeMethods{j}); err != nil {
				t.Fatal(err)
			}
			p := &place{t: t}
			p.serve(func(c net.Conn) { s.ServeConn(c) })
			defer func() { p.stop() }()
			tr := runTransfer(t, "", func() time.Time { return time.Unix(pushedAt, 0) }, func(cfg *Config) {
				cfg.Graph.Enabled = false
				cfg.Judge.Enabled, cfg.Judge.Cluster = true, map[string]string{"judge-00": p.addr}
			})
			tr.cfg.TsPolicy = "stock" // the captured rule
			if _, err := tr.wait(t.Context(), items); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, 20*time.Second, func() error {
				j.mu.Lock()
				defer j.mu.Unlock()
				if !reflect.DeepEqual(j.items, want) {
					got, _ := json.Marshal(j.items)
					wanted, _ := json.Marshal(want)
					return fmt.Errorf("judge got\n %s\nwant\n %s", got, wanted)
				}
				return nil
			})
		})
	}
}

// A stock graph gets at most Batch items a call.
func TestStockGraphGetsSmallCalls(t *testing.T) {
	g := &stockGraph{}
	p := &place{t: t}
	p.stock(g)
	defer func() { p.stop() }()
	tr := runTransfer(t, p.addr, nil)
	items := make([]*item, 450)
	for i := range items {
		items[i] = gauge(fmt.Sprint("m", i), t0)
	}
	if _, err := tr.wait(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(g.calls); got != "[200 200 50]" {
		t.Errorf("calls of %s items, want [200 200 50]", got)
	}
}

// The program behind an address is swapped: stock, ours, and stock again. The transfer
// finds out by itself, and each point is with somebody.
func TestPeerIsSwapped(t *testing.T) {
	p := &place{t: t}
	stock := &stockGraph{}
	p.stock(stock)
	tr := runTransfer(t, p.addr, nil)
	ours := newPeer(t)
	push := func(ts int64, want stream.State) {
		t.Helper()
		if _, err := tr.wait(t.Context(), update{gauge("m", ts)}); err != nil {
			t.Fatal(err)
		}
		for tr.outlets[0].spool.Stats().Held > 0 {
			select { // the answer was the spool's; wait for the peer
			case <-stock.came:
			case <-time.After(10 * time.Millisecond):
			}
		}
		if got := tr.outlets[0].snd.State(); got != want {
			t.Errorf("point %d: the peer is %v, want %v", ts, got, want)
		}
		b := tr.outlets[0].account()
		if b.missing() != 0 {
			t.Errorf("books %+v do not balance", b)
		}
	}
	push(t0, stream.StockPeer)
	push(t0+30, stream.StockPeer)
	p.stop()
	p.ours(ours)
	push(t0+60, stream.Streaming)
	push(t0+90, stream.Streaming)
	p.stop()
	p.stock(stock)
	push(t0+120, stream.StockPeer)
	p.stop()
	seen := map[int64]bool{}
	for _, it := range stock.items {
		seen[it.Timestamp] = true
	}
	for _, ts := range ours.seen("m") {
		seen[ts] = true
	}
	for _, ts := range every(t0, 5, 30) {
		if !seen[ts] {
			t.Errorf("the point of %d is nowhere", ts)
		}
	}
	if !slices.Contains(ours.seen("m"), t0+90) {
		t.Error("ours got nothing by stream")
	}
}

// discard is the receiving end of BenchmarkStreamIn.
type discard struct{}

func (discard) Define(uint32, *model.Series) string                  { return "" }
func (discard) Forget(uint32)                                        {}
func (discard) Push(_ *stream.Points, done func(*stream.Ack, error)) { done(nil, nil) }
func (discard) Close()                                               {}

func serveStreams(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := rpc.NewServer(rpc.ServerOptions{})
	stream.Serve(s, stream.ServeOptions{}, func(*rpc.Conn, stream.Hello) (stream.Receiver, error) { return discard{}, nil })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && err != io.EOF {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}
