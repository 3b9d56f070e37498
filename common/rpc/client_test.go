package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	netrpc "net/rpc"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
)

func pingServer() *Server {
	s := NewServer(ServerOptions{})
	Handle(s, "T.Ping", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		return &model.SimpleRpcResponse{Code: 7}, nil
	})
	return s
}

func ping(ctx context.Context, c *Client) error {
	var r model.SimpleRpcResponse
	err := c.Call(ctx, "T.Ping", &model.NullRpcRequest{}, &r)
	if err == nil && r.Code != 7 {
		return errors.New("wrong answer")
	}
	return err
}

// A server that restarted has closed its connections: the calls after it are made
// on new ones, and none is burnt.
func TestRestartBurnsNoCall(t *testing.T) {
	for _, kind := range []Codec{Auto, JSON, Gob, GoRPC, Msgpack} {
		t.Run(kind.String(), func(t *testing.T) {
			// The server comes back under its name, on another port: somebody else may
			// have taken the old one meanwhile.
			var addr atomic.Value
			c := NewClient(ClientOptions{Addr: "peer:1", Codec: kind, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", addr.Load().(string))
			}})
			defer c.Close()
			for round := range 3 {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				addr.Store(l.Addr().String())
				ctx, cancel := context.WithCancel(context.Background())
				served := make(chan error, 1)
				go func() { served <- pingServer().Serve(ctx, l) }()
				for range 5 {
					if err := ping(t.Context(), c); err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				}
				cancel()
				if err := <-served; err != nil {
					t.Fatal(err)
				}
				// The goodbye has been heard when the pool is empty.
				for _, cc := range c.conns {
					<-cc.Done()
				}
			}
		})
	}
}

// What a peer lacks is asked once, and again after it has come back.
func TestMissingMethodIsRemembered(t *testing.T) {
	s := pingServer()
	addr := listen(t, s)
	c := NewClient(ClientOptions{Addr: addr})
	defer c.Close()
	for range 5 {
		if err := c.Call(t.Context(), "T.Nope", &model.NullRpcRequest{}, nil); !IsMethodMissing(err) {
			t.Fatalf("got %v", err)
		}
	}
	if n := s.Stats().Missing.Load(); n != 1 {
		t.Errorf("the server was asked %d times, want 1", n)
	}
	c.conns[0].Close()
	_ = c.Call(t.Context(), "T.Nope", &model.NullRpcRequest{}, nil)
	if n := s.Stats().Missing.Load(); n != 2 {
		t.Errorf("after a reconnect the server was asked %d times, want 2", n)
	}
}

// A peer that dies while it is being found out is not called stock, and the call
// says that nothing was sent.
func TestPeerThatDiesIsNotStock(t *testing.T) {
	die := func(nc net.Conn) {
		var b [1]byte
		_, _ = io.ReadFull(nc, b[:])
	}
	addr := accept(t, die)
	c := NewClient(ClientOptions{Addr: addr, StockCodec: Gob})
	defer c.Close()
	err := ping(t.Context(), c)
	var te *TransportError
	if !errors.As(err, &te) || !errors.Is(err, ErrPeerClosed) {
		t.Fatalf("got %v", err)
	}
	if c.Speaks() != Auto {
		t.Errorf("a peer that never answered is called %v", c.Speaks())
	}

	// It dies between the two connections.
	var l net.Listener
	dials := 0
	c = NewClient(ClientOptions{Addr: "x", StockCodec: Gob, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		if dials++; dials == 2 {
			return nil, errors.New("connection refused")
		}
		return defaultDial(ctx, l.Addr().String())
	}})
	defer c.Close()
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		nc, err := l.Accept() // dies once, then is one of ours
		if err == nil {
			die(nc)
			_ = nc.Close()
		}
		served <- pingServer().Serve(ctx, l)
	}()
	if err := ping(t.Context(), c); !errors.As(err, &te) || te.Sent || c.Speaks() != Auto {
		t.Errorf("died between: %v, speaks %v", err, c.Speaks())
	}
	if err := ping(t.Context(), c); err != nil || c.Speaks() != Msgpack {
		t.Errorf("came back as ours: %v, speaks %v", err, c.Speaks())
	}
	cancel()
	<-served
}

// A stock peer that is replaced by ours is found out at the next reconnect.
func TestStockBecomesOurs(t *testing.T) {
	var ours atomic.Bool
	stock := netrpc.NewServer()
	if err := stock.RegisterName("T", stockPing{}); err != nil {
		t.Fatal(err)
	}
	s := pingServer()
	var wg sync.WaitGroup
	addr := accept(t, func(nc net.Conn) {
		if ours.Load() {
			s.ServeConn(t.Context(), nc, &wg)
			wg.Wait()
			return
		}
		stock.ServeConn(nc)
	})
	c := NewClient(ClientOptions{Addr: addr, StockCodec: Gob})
	defer c.Close()
	if err := ping(t.Context(), c); err != nil || c.Speaks() != Gob {
		t.Fatalf("stock: %v, speaks %v", err, c.Speaks())
	}
	ours.Store(true)
	c.conns[0].Close()
	if err := ping(t.Context(), c); err != nil || c.Speaks() != Msgpack {
		t.Fatalf("ours: %v, speaks %v", err, c.Speaks())
	}
}

type stockPing struct{}

func (stockPing) Ping(_ model.NullRpcRequest, r *model.SimpleRpcResponse) error {
	r.Code = 7
	return nil
}

// inBubble returns a client and a server joined by in-memory connections.
func inBubble(t *testing.T, s *Server, opts ClientOptions) (c *Client, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	opts.Dial = func(context.Context, string) (net.Conn, error) {
		a, b := net.Pipe()
		s.ServeConn(ctx, b, &wg)
		return a, nil
	}
	c = NewClient(opts)
	return c, func() {
		c.Close()
		s.stop()
		wg.Wait()
		cancel()
	}
}

// A call that takes too long ends with its context; the connection stays when the
// peer is talking otherwise, and goes when nothing is heard at all.
func TestCallTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pingServer()
		Handle(s, "T.Slow", func(ctx context.Context, _ *Conn, _ *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			return nil, nil
		})
		c, stop := inBubble(t, s, ClientOptions{CallTimeout: 5 * time.Second})
		defer stop()
		if err := ping(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		first := c.conns[0]

		done := make(chan error, 1)
		go func() { done <- c.Call(t.Context(), "T.Slow", &model.NullRpcRequest{}, nil) }()
		synctest.Wait()
		if err := ping(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := <-done
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("slow call: %v after %v", err, time.Since(began))
		}
		if first.Err() != nil {
			t.Errorf("a connection that answered meanwhile was closed: %v", first.Err())
		}

		err = c.Call(t.Context(), "T.Slow", &model.NullRpcRequest{}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || first.Err() == nil {
			t.Errorf("silent peer: %v, connection %v", err, first.Err())
		}
	})
}

// Many callers share few connections.
func TestPoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pingServer()
		gate := make(chan struct{})
		Handle(s, "T.Wait", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
			<-gate
			return nil, nil
		})
		c, stop := inBubble(t, s, ClientOptions{MaxConns: 3, MaxIdle: 1})
		defer stop()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := c.Call(t.Context(), "T.Wait", &model.NullRpcRequest{}, nil); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := s.Stats().Open.Load(); n != 3 {
			t.Errorf("%d connections for 100 calls, want 3", n)
		}
		close(gate)
		wg.Wait()
		synctest.Wait()
		if n := s.Stats().Open.Load(); n != 1 {
			t.Errorf("%d idle connections, want 1", n)
		}
	})
}

func TestCallAfterClose(t *testing.T) {
	c := NewClient(ClientOptions{Addr: "127.0.0.1:1"})
	c.Close()
	if err := ping(t.Context(), c); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}
