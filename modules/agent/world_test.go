package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/modules/agent/collect"
)

// A world is an agent and the transfers it knows, joined by pipes, in a bubble.
type world struct {
	t         *testing.T
	cfg       Config
	a         *Agent
	transfers map[string]*transfer
	stop      func()
}

func testConfig(addrs ...string) Config {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Hostname = "here"
	cfg.HTTP.Enabled = false
	cfg.Transfer.Addrs = addrs
	cfg.Ignore = map[string]bool{"agent.alive": true, "agent.collector.stuck": true, "agent_version": true, "host.ip": true}
	cfg.Heartbeat.Enabled = false
	return cfg
}

// newWorld starts an agent with these collectors; its transfers are away until told
// otherwise.
func newWorld(t *testing.T, cfg Config, slots ...*slot) *world {
	t.Helper()
	return newWorldWith(t, cfg, Deps{Log: slog.New(slog.DiscardHandler)}, slots...)
}

func newWorldWith(t *testing.T, cfg Config, deps Deps, slots ...*slot) *world {
	t.Helper()
	w := &world{t: t, cfg: cfg, transfers: map[string]*transfer{}}
	for _, addr := range cfg.Transfer.Addrs {
		w.transfers[addr] = newTransfer(addr)
	}
	w.start(deps, slots...)
	return w
}

// start starts an agent, the first or, after stop, another one.
func (w *world) start(deps Deps, slots ...*slot) {
	t := w.t
	t.Helper()
	if deps.Dial == nil {
		deps.Dial = func(_ context.Context, addr string) (net.Conn, error) { return w.transfers[addr].dial() }
	}
	if deps.Lookup == nil {
		deps.Lookup = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	}
	a, err := New(w.cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	a.slots = append(slots, a.slots[0]) // the first tells of the agent itself
	w.a = a
	ready := make(chan struct{})
	a.deps.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	<-ready
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// again stops the agent and starts another one on what the first has left.
func (w *world) again() {
	w.t.Helper()
	w.stop()
	w.start(Deps{Log: slog.New(slog.DiscardHandler)})
}

func (w *world) end() {
	w.stop()
	for _, tr := range w.transfers {
		tr.set(func(tr *transfer) { tr.up = false })
		tr.kill()
		tr.wg.Wait()
	}
}

// sampled lets every collector that looks each second do so.
func sampled(t *testing.T, a *Agent) {
	t.Helper()
	for _, s := range a.slots {
		if smp, ok := s.c.(collect.Sampler); ok {
			if err := smp.Sample(); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
}

// push queues one item of this host.
func (w *world) push(metric string, ts int64) *answered {
	f := &answered{}
	points, _ := w.a.points([]*model.MetricValue{{Endpoint: "here", Metric: metric, Value: float64(ts), Step: 60, Type: model.Gauge, Timestamp: ts}})
	w.a.out.add(points, func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.done, f.err = true, err
	})
	return f
}

type answered struct {
	mu   sync.Mutex
	done bool
	err  error
}

func (f *answered) get() (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done, f.err
}

// A transfer is one of ours behind in-memory connections.
type transfer struct {
	name string
	s    *rpc.Server
	wg   sync.WaitGroup

	mu     sync.Mutex
	up     bool
	hold   bool  // nothing is taken or acknowledged
	deaf   bool  // what is taken is not acknowledged
	refuse error // what a push is answered with
	conns  []net.Conn
	sinks  []*sink       // one a stream
	held   []func(error) // answers that were not given
	pushes int
	got    []string // "metric@time" in the order of arrival
	items  []string // the whole story of each
}

func newTransfer(name string) *transfer {
	tr := &transfer{name: name, s: rpc.NewServer(rpc.ServerOptions{})}
	stream.Serve(tr.s, stream.ServeOptions{}, func(*rpc.Conn, stream.Hello) (stream.Receiver, error) {
		k := &sink{tr: tr, series: map[uint32]*model.Series{}}
		tr.set(func(tr *transfer) { tr.sinks = append(tr.sinks, k) })
		return k, nil
	})
	return tr
}

func (tr *transfer) set(change func(*transfer)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	change(tr)
}

func (tr *transfer) dial() (net.Conn, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !tr.up {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	tr.conns = append(tr.conns, theirs)
	tr.wg.Go(func() {
		var wg sync.WaitGroup
		tr.s.ServeConn(context.Background(), theirs, &wg)
		wg.Wait()
	})
	return ours, nil
}

// kill breaks all connections; what is not acknowledged never will be.
func (tr *transfer) kill() {
	tr.mu.Lock()
	conns, held := tr.conns, tr.held
	tr.conns, tr.held = nil, nil
	tr.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	for _, f := range held {
		f(nil)
	}
}

func (tr *transfer) seen() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.got)
}

// hang has the streams that are open take nothing more, and answer nothing; new ones do.
func (tr *transfer) hang() {
	tr.set(func(tr *transfer) {
		for _, k := range tr.sinks {
			k.hangs = true
		}
	})
}

type sink struct {
	tr     *transfer
	series map[uint32]*model.Series
	hangs  bool
}

func (k *sink) Define(ref uint32, s *model.Series) string { k.series[ref] = s; return "" }
func (k *sink) Forget(ref uint32)                         { delete(k.series, ref) }
func (k *sink) Close()                                    {}

func (k *sink) Push(p *stream.Points, done func(*stream.Ack, error)) {
	tr := k.tr
	if p.Len() == 0 {
		done(nil, nil)
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.pushes++
	if tr.refuse != nil {
		done(nil, tr.refuse)
		return
	}
	take := func() {
		for i, ref := range p.Refs {
			s := k.series[ref]
			var v any
			if i < len(p.Values) {
				v = p.Values[i]
			} else {
				v = p.Texts[i-len(p.Values)]
			}
			tr.got = append(tr.got, fmt.Sprintf("%s@%d", s.Metric, p.Times[i]))
			tr.items = append(tr.items, fmt.Sprintf("%s %s{%s} %s %d %d %v", s.Endpoint, s.Metric, s.Tags, s.Type, s.Step, p.Times[i], v))
		}
	}
	if tr.hold || k.hangs {
		tr.held = append(tr.held, func(err error) { done(nil, err) })
		return
	}
	take()
	if tr.deaf {
		tr.held = append(tr.held, func(err error) { done(nil, err) })
		return
	}
	done(nil, nil)
}

// list is "metric@from", "metric@from+1", … as a transfer would show them.
func list(metric string, from, n int64) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s@%d", metric, from+i))
	}
	return out
}

func join(s []string) string { return strings.Join(s, " ") }
