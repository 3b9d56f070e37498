package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	netrpc "net/rpc"
	"net/rpc/jsonrpc"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// A stockPeer serves Graph.Send and Transfer.Update with net/rpc, as stock does.
type stockPeer struct {
	mu    sync.Mutex
	items []string
	fail  error
}

type stockMethods struct{ *stockPeer }

func (p stockMethods) Send(items []*model.GraphItem, r *model.SimpleRpcResponse) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range items {
		p.items = append(p.items, fmt.Sprintf("%s@%d=%v", i.Metric, i.Timestamp, i.Value))
	}
	return p.fail
}

func (p stockMethods) Update(items []*model.MetricValue, r *model.TransferResponse) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range items {
		p.items = append(p.items, fmt.Sprintf("%s@%d=%v", i.Metric, i.Timestamp, i.Value))
	}
	return p.fail
}

func (p *stockPeer) got() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.items)
}

// An address is a port whose inhabitant changes: each connection is served by what
// serve is at that moment.
type address struct {
	l     net.Listener
	serve atomic.Pointer[func(net.Conn)]
	wg    sync.WaitGroup
	mu    sync.Mutex
	open  map[net.Conn]struct{}
}

func newAddress(t *testing.T, serve func(net.Conn)) *address {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &address{l: l, open: map[net.Conn]struct{}{}}
	a.serve.Store(&serve)
	a.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			a.mu.Lock()
			a.open[nc] = struct{}{}
			a.mu.Unlock()
			a.wg.Go(func() {
				(*a.serve.Load())(nc)
				_ = nc.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		a.hangUp()
		a.wg.Wait()
	})
	return a
}

// hangUp closes every connection, as a process that ends does.
func (a *address) hangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for nc := range a.open {
		_ = nc.Close()
	}
	clear(a.open)
}

func (a *address) addr() string { return a.l.Addr().String() }

func (a *address) becomes(serve func(net.Conn)) { a.serve.Store(&serve) }

func serveGob(p *stockPeer) func(net.Conn) {
	s := netrpc.NewServer()
	_ = s.RegisterName("Graph", stockMethods{p})
	return func(nc net.Conn) { s.ServeConn(nc) }
}

func serveJSON(p *stockPeer) func(net.Conn) {
	s := netrpc.NewServer()
	_ = s.RegisterName("Transfer", stockMethods{p})
	return func(nc net.Conn) { s.ServeCodec(jsonrpc.NewServerCodec(nc)) }
}

// die reads a little and hangs up.
func die(nc net.Conn) {
	var b [1]byte
	_, _ = io.ReadFull(nc, b[:])
}

// serveOurs serves streams.
func serveOurs(t *testing.T, k *sink) func(net.Conn) {
	s := rpc.NewServer(rpc.ServerOptions{})
	Serve(s, ServeOptions{}, func(*rpc.Conn, Hello) (Receiver, error) { return k, nil })
	return func(nc net.Conn) {
		var wg sync.WaitGroup
		s.ServeConn(context.Background(), nc, &wg)
		wg.Wait()
	}
}

// toStock returns a Sender with a stock call in the codec given, running until the
// test ends.
func toStock(t *testing.T, addr string, codec rpc.Codec) *Sender {
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
	var snd *Sender
	call := func(ctx context.Context, points []Point) error {
		if codec == rpc.Gob {
			items := []*model.GraphItem{}
			for _, p := range points {
				items = append(items, &model.GraphItem{Metric: snd.Series(p.Handle).Metric, Timestamp: p.Time, Value: p.Value})
			}
			return c.Call(ctx, "Graph.Send", items, &model.SimpleRpcResponse{})
		}
		items := []*model.MetricValue{}
		for _, p := range points {
			items = append(items, &model.MetricValue{Metric: snd.Series(p.Handle).Metric, Timestamp: p.Time, Value: p.Value})
		}
		return c.Call(ctx, "Transfer.Update", items, &model.TransferResponse{})
	}
	var err error
	snd, err = NewSender(SenderOptions{Addr: addr, Stock: call, StockConnects: c.Connects, RetryMin: time.Millisecond, RetryMax: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- snd.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		c.Close()
	})
	return snd
}

func sendOne(t *testing.T, s *Sender, points ...Point) Result {
	t.Helper()
	if err := s.WaitRetry(t.Context()); err != nil {
		t.Fatal(err)
	}
	result := make(chan Result, 1)
	if err := s.Send(t.Context(), points, func(r Result) { result <- r }); err != nil {
		t.Fatal(err)
	}
	return <-result
}

// What waits behind a batch that a stock peer refuses is not sent before it.
func TestNothingOvertakesARefusalOfAStockPeer(t *testing.T) {
	p := &stockPeer{}
	a := newAddress(t, serveGob(p))
	s := toStock(t, a.addr(), rpc.Gob)
	cpu := s.Define(metric("cpu"))
	if r := sendOne(t, s, Point{Handle: cpu, Time: 0}); r.Err != nil || !r.Stock {
		t.Fatalf("result %+v", r)
	}
	p.mu.Lock()
	p.fail = errors.New("no room")
	p.mu.Unlock()
	var failed atomic.Bool
	results := make(chan Result, 3)
	for i := range int64(3) {
		err := s.SendIf(t.Context(), []Point{{Handle: cpu, Time: 1 + i}}, func() bool { return !failed.Load() }, func(r Result) {
			if failed.Swap(true); r.Err == nil || errors.Is(r.Err, ErrUnwanted) != (i > 0) {
				t.Errorf("batch %d: %+v", i, r)
			}
			p.mu.Lock()
			p.fail = nil // from now on it has room
			p.mu.Unlock()
			results <- r
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		<-results
	}
	if p.got() != "[cpu@0=0 cpu@1=0]" { // it notes what it refuses, too
		t.Errorf("stock got %s", p.got())
	}
}

// Real stock servers are found out and served by their own calls; when one is
// replaced by ours, the next connection streams, and back again.
func TestStockPeers(t *testing.T) {
	for codec, serve := range map[rpc.Codec]func(*stockPeer) func(net.Conn){rpc.Gob: serveGob, rpc.JSON: serveJSON} {
		t.Run(codec.String(), func(t *testing.T) {
			p := &stockPeer{}
			a := newAddress(t, serve(p))
			s := toStock(t, a.addr(), codec)
			cpu := s.Define(metric("cpu"))
			for i := range int64(3) {
				if r := sendOne(t, s, Point{Handle: cpu, Time: i, Value: 1.5}); r.Err != nil || !r.Stock || r.Taken != 1 {
					t.Fatalf("result %+v", r)
				}
			}
			if p.got() != "[cpu@0=1.5 cpu@1=1.5 cpu@2=1.5]" || s.State() != StockPeer {
				t.Errorf("stock got %s, state %v", p.got(), s.State())
			}

			// It refuses a batch: that one comes back, the peer is still stock.
			p.mu.Lock()
			p.fail = errors.New("no room")
			p.mu.Unlock()
			var refused rpc.ServerError
			if r := sendOne(t, s, Point{Handle: cpu, Time: 3}); !errors.As(r.Err, &refused) || s.State() != StockPeer {
				t.Errorf("refused: %+v, state %v", r, s.State())
			}

			k := &sink{}
			a.becomes(serveOurs(t, k))
			a.hangUp()
			// The first batches after the change may meet the old connection.
			for r := (Result{Err: io.EOF}); r.Err != nil || r.Stock; {
				r = sendOne(t, s, Point{Handle: cpu, Time: 4})
			}
			if s.State() != Streaming {
				t.Errorf("after the change: state %v", s.State())
			}
			p.fail = nil
			a.becomes(serve(p))
			a.hangUp()
			for r := (Result{}); r.Err != nil || !r.Stock; {
				r = sendOne(t, s, Point{Handle: cpu, Time: 5})
			}
			if s.State() != StockPeer {
				t.Errorf("after the change back: state %v", s.State())
			}
		})
	}
}

// A peer that lacks streams but is one of ours says so in words, and is served by
// the stock call.
func TestOursWithoutStreams(t *testing.T) {
	s := rpc.NewServer(rpc.ServerOptions{})
	var n atomic.Int64
	rpc.Handle(s, "Graph.Send", func(_ context.Context, _ *rpc.Conn, items *[]*model.GraphItem) (*model.SimpleRpcResponse, error) {
		n.Add(int64(len(*items)))
		return nil, nil
	})
	a := newAddress(t, func(nc net.Conn) {
		var wg sync.WaitGroup
		s.ServeConn(context.Background(), nc, &wg)
		wg.Wait()
	})
	snd := toStock(t, a.addr(), rpc.Gob)
	if r := sendOne(t, snd, Point{Handle: snd.Define(metric("cpu"))}); r.Err != nil || !r.Stock || n.Load() != 1 {
		t.Errorf("result %+v, %d items", r, n.Load())
	}
}

// A peer that dies while it is being found out is not called stock; the batch comes
// back and nothing is lost.
func TestPeerThatDiesIsNotStock(t *testing.T) {
	a := newAddress(t, die)
	s := toStock(t, a.addr(), rpc.Gob)
	cpu := s.Define(metric("cpu"))
	for range 3 {
		if r := sendOne(t, s, Point{Handle: cpu, Time: 1}); !errors.Is(r.Err, ErrAway) || s.State() != Away {
			t.Errorf("died: %+v, state %v", r, s.State())
		}
	}
	// It dies on the stream and is gone when the stock call is made.
	var conns atomic.Int64
	k := &sink{}
	ours := serveOurs(t, k)
	a.becomes(func(nc net.Conn) {
		if conns.Add(1) <= 2 {
			die(nc)
			return
		}
		ours(nc)
	})
	if r := sendOne(t, s, Point{Handle: cpu, Time: 2}); !errors.Is(r.Err, ErrAway) {
		t.Errorf("died between: %+v", r)
	}
	if r := sendOne(t, s, Point{Handle: cpu, Time: 2}); r.Err != nil || r.Stock || s.State() != Streaming || k.points() != "cpu@2=0" {
		t.Errorf("came back: %+v, state %v, points %s", r, s.State(), k.points())
	}
}

// Several owners push through one Sender over TCP while the peer hangs up again and
// again: whoever sends until it is acked loses nothing.
func TestNothingIsLost(t *testing.T) {
	var mu sync.Mutex
	var sinks []*sink
	srv := rpc.NewServer(rpc.ServerOptions{})
	Serve(srv, ServeOptions{}, func(*rpc.Conn, Hello) (Receiver, error) {
		mu.Lock()
		defer mu.Unlock()
		sinks = append(sinks, &sink{})
		return sinks[len(sinks)-1], nil
	})
	a := newAddress(t, func(nc net.Conn) {
		var wg sync.WaitGroup
		srv.ServeConn(context.Background(), nc, &wg)
		wg.Wait()
	})
	s := toStock(t, a.addr(), rpc.Gob)
	const owners, rounds = 4, 50
	var wg sync.WaitGroup
	for o := range owners {
		h := s.Define(metric(fmt.Sprintf("m%d", o)))
		wg.Go(func() {
			for i := range int64(rounds) {
				for {
					if r := sendOne(t, s, Point{Handle: h, Time: i, Value: float64(i)}); r.Err == nil && r.Taken == 1 {
						break
					}
				}
				if i%10 == int64(o) {
					a.hangUp()
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, k := range sinks {
		k.mu.Lock()
		for _, p := range k.got {
			seen[p] = true
		}
		k.mu.Unlock()
	}
	if len(seen) != owners*rounds {
		t.Errorf("%d different points arrived on %d streams, want %d", len(seen), len(sinks), owners*rounds)
	}
}

type countReceiver struct{ n int64 }

func (c *countReceiver) Define(uint32, *model.Series) string { return "" }
func (c *countReceiver) Forget(uint32)                       {}
func (c *countReceiver) Close()                              {}
func (c *countReceiver) Push(p *Points, done func(*Ack, error)) {
	c.n += int64(p.Len())
	done(nil, nil)
}

// Both ends over TCP, in one process: the figure is for the two together.
func BenchmarkStream(b *testing.B) {
	for _, size := range []int{200, 2000, 20000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			s := rpc.NewServer(rpc.ServerOptions{})
			Serve(s, ServeOptions{}, func(*rpc.Conn, Hello) (Receiver, error) { return &countReceiver{}, nil })
			ctx, cancel := context.WithCancel(context.Background())
			snd, err := NewSender(SenderOptions{Addr: l.Addr().String()})
			if err != nil {
				b.Fatal(err)
			}
			serving, stop := context.WithCancel(context.Background())
			var server, sender sync.WaitGroup
			server.Go(func() { _ = s.Serve(serving, l) })
			sender.Go(func() { _ = snd.Run(ctx) })
			points := make([]Point, size)
			for i := range points {
				points[i] = Point{Handle: snd.Define(metric("cpu")), Time: 1700000000, Value: float64(i)}
			}
			b.ReportAllocs()
			for b.Loop() {
				err := snd.Send(ctx, points, func(r Result) {
					if r.Err != nil {
						b.Error(r.Err)
					}
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			perPoint(b, size)
			cancel()
			sender.Wait()
			stop()
			server.Wait()
		})
	}
}
