package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
)

// A world is a transfer and the peers it sends to, joined by pipes; the spools are
// real. It lives in a bubble.
type world struct {
	t     *testing.T
	tr    *Transfer
	cfg   Config
	peers map[string]*peer
	put   atomic.Int64 // what the host's clock was put by
	stop  func()
}

// testConfig is the configuration of a transfer without listeners, with one graph.
func testConfig(t testing.TB, graphs string) Config {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.HTTP.Enabled, cfg.RPC.Enabled, cfg.Socket.Enabled = false, false, false
	cfg.Graph.Cluster = map[string]string{"graph-00": graphs}
	cfg.Spool.Dir = t.TempDir()
	cfg.TsPolicy = "stock" // stories of many points reach into the bubble's future
	return cfg
}

// newWorld starts a transfer; its peers are away until told otherwise.
func newWorld(t *testing.T, cfg Config) *world {
	w := &world{t: t, cfg: cfg, peers: map[string]*peer{}}
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	tr, err := New(w.cfg, Deps{
		Log: slog.New(slog.DiscardHandler), Dial: w.dial, Now: func() time.Time { return time.Now().Add(time.Duration(w.put.Load())) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.tr = tr
	for _, o := range tr.outlets {
		for addr := range strings.SplitSeq(o.addr, ",") { // several of a relay
			if w.peers[addr] == nil {
				w.peers[addr] = newPeer(w.t)
			}
		}
	}
	ready := make(chan struct{})
	tr.deps.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		w.t.Fatalf("Run: %v", err)
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
}

// end stops everything; the bubble waits for it.
func (w *world) end() {
	w.stop()
	for _, p := range w.peers {
		p.down()
		p.wg.Wait()
	}
}

func (w *world) dial(_ context.Context, addr string) (net.Conn, error) { return w.peers[addr].dial() }

// outlet returns the transfer's way to addr.
func (w *world) outlet(addr string) *outlet {
	for _, o := range w.tr.outlets {
		if o.addr == addr {
			return o
		}
	}
	w.t.Fatalf("no outlet for %s", addr)
	return nil
}

// books returns the account of addr and fails the test when it does not balance.
func (w *world) books(addr string) books {
	w.t.Helper()
	b := w.outlet(addr).account()
	if n := b.missing(); n != 0 {
		w.t.Fatalf("books of %s do not balance by %d: %+v", addr, n, b)
	}
	return b
}

// gauge is an item whose value is its time.
func gauge(metric string, ts int64) *item {
	return &item{Endpoint: "h", Metric: metric, Value: float64(ts), Step: 30, Type: model.Gauge, Timestamp: ts}
}

// offered is a batch that was handed to the transfer.
type offered struct {
	mu   sync.Mutex
	done bool
	err  error
}

// answer returns whether the batch is answered, and how.
func (f *offered) answer() (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done, f.err
}

// kept reports whether the transfer has answered for the batch.
func (f *offered) kept() bool { done, err := f.answer(); return done && err == nil }

func (f *offered) String() string {
	done, err := f.answer()
	return fmt.Sprintf("answered: %v, %v", done, err)
}

// offer hands items to the transfer and does not wait.
func (w *world) offer(items ...*item) *offered {
	f := &offered{}
	w.tr.take(items, w.tr.now(), func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.done {
			w.t.Error("an offer was answered twice")
		}
		f.done, f.err = true, err
	})
	return f
}

// A peer is a graph or judge of ours behind in-memory connections.
type peer struct {
	t  *testing.T
	s  *rpc.Server
	wg sync.WaitGroup

	mu      sync.Mutex
	up      bool
	conns   []net.Conn
	dials   int
	pushes  int                // with points
	times   map[string][]int64 // by metric, first sightings in order
	count   map[string]int     // by "metric@time"
	delay   time.Duration      // before an ack
	hold    bool               // acks wait until released
	held    []func()
	deaf    bool  // new streams take nothing, and answer nothing
	refuse  error // what a push is answered with
	acks    int   // when positive: after so many the connection breaks
	mute    bool
	streams []*sink
	adopted []model.AdoptItem
	seenBy  func(metric string, ts int64) // each point that comes, under mu; may be nil
}

func newPeer(t *testing.T) *peer {
	p := &peer{t: t, times: map[string][]int64{}, count: map[string]int{}}
	p.s = p.server()
	return p
}

// server returns a server of p; each serves once.
func (p *peer) server() *rpc.Server {
	s := rpc.NewServer(rpc.ServerOptions{})
	rpc.Handle(s, "Judge.Ping", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		return &model.SimpleRpcResponse{}, nil
	})
	rpc.Handle(s, "Judge.Adopt", func(_ context.Context, _ *rpc.Conn, items *[]model.AdoptItem) (*model.AdoptReply, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		reply := &model.AdoptReply{Refused: map[string]int{}}
		for _, it := range *items {
			p.adopted = append(p.adopted, it)
			reply.Adopted = append(reply.Adopted, it.Event.Id)
		}
		return reply, nil
	})
	stream.Serve(s, stream.ServeOptions{}, func(c *rpc.Conn, _ stream.Hello) (stream.Receiver, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		k := &sink{p: p, c: c, series: map[uint32]*model.Series{}, deaf: p.deaf}
		p.streams = append(p.streams, k)
		return k, nil
	})
	return s
}

func (p *peer) dial() (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials++
	if !p.up {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	p.conns = append(p.conns, theirs)
	p.wg.Go(func() {
		var wg sync.WaitGroup
		p.s.ServeConn(context.Background(), theirs, &wg)
		wg.Wait()
	})
	return ours, nil
}

// set changes how the peer behaves.
func (p *peer) set(change func(*peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *peer) start() { p.set(func(p *peer) { p.up = true }) }

// down kills the peer: what it has not acknowledged is lost.
func (p *peer) down() {
	p.mu.Lock()
	p.up = false
	conns, held := p.conns, p.held
	p.conns, p.held = nil, nil
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	for _, f := range held { // into the void
		f()
	}
}

// release answers what was held, and holds no longer.
func (p *peer) release() {
	p.mu.Lock()
	p.hold = false
	held := p.held
	p.held = nil
	p.mu.Unlock()
	for _, f := range held {
		f()
	}
}

// seen returns the times that metric was seen at, in the order of first sight.
func (p *peer) seen(metric string) []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.times[metric])
}

// wants fails the test unless the peer has exactly the points of metric, in order.
func (p *peer) wants(metric string, want []int64) {
	p.t.Helper()
	got := p.seen(metric)
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			p.t.Errorf("%d points of %s arrived, want %d; the first that is wrong is number %d: %v, want %d",
				len(got), metric, len(want), i, got[min(i, len(got)):min(i+1, len(got))], want[i])
			return
		}
	}
	if len(got) > len(want) {
		p.t.Errorf("%d points of %s arrived, want %d", len(got), metric, len(want))
	}
}

type sink struct {
	p      *peer
	c      *rpc.Conn
	series map[uint32]*model.Series
	deaf   bool
}

func (k *sink) Define(ref uint32, s *model.Series) string { k.series[ref] = s; return "" }
func (k *sink) Forget(ref uint32)                         { delete(k.series, ref) }
func (k *sink) Close()                                    {}

func (k *sink) Push(pts *stream.Points, done func(*stream.Ack, error)) {
	p := k.p
	if pts.Len() == 0 {
		done(nil, nil)
		return
	}
	p.mu.Lock()
	p.pushes++
	if p.refuse != nil {
		p.mu.Unlock()
		done(nil, p.refuse)
		return
	}
	if k.deaf {
		p.held = append(p.held, func() { done(nil, nil) })
		p.mu.Unlock()
		return
	}
	ack := &stream.Ack{Taken: pts.Len()}
	for i, ref := range pts.Refs {
		s := k.series[ref]
		if p.seenBy != nil {
			p.seenBy(s.Metric, pts.Times[i])
		}
		key := fmt.Sprintf("%s@%d", s.Metric, pts.Times[i])
		if p.count[key]++; p.count[key] == 1 {
			p.times[s.Metric] = append(p.times[s.Metric], pts.Times[i])
		}
		if p.mute && !slices.Contains(ack.Mute, ref) {
			ack.Mute = append(ack.Mute, ref)
		}
	}
	answer := func() { done(ack, nil) }
	if p.acks > 0 {
		if p.acks--; p.acks == 0 {
			p.up = false
			p.mu.Unlock()
			k.c.Close()
			answer()
			return
		}
	}
	delay := p.delay
	if p.hold {
		p.held = append(p.held, answer)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	if delay > 0 {
		p.wg.Go(func() {
			<-time.After(delay)
			answer()
		})
		return
	}
	answer()
}

// every returns n times, step apart.
func every(start int64, n int, step int64) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = start + int64(i)*step
	}
	return out
}
