package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/httpx"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/common/stream"
)

const (
	// forgetAfter is how long a series that nobody pushes is remembered.
	forgetAfter = 2 * time.Hour
	// forgetEvery is how often series are forgotten. It is longer than any point is on
	// its way: a forgotten series keeps its handles for that long.
	forgetEvery = 10 * time.Minute
)

// Deps are the neighbours of a transfer. Graphs and judges are named by the
// configuration.
type Deps struct {
	Log *slog.Logger
	// RPC and HTTP are open listeners; nil makes Run listen as configured.
	RPC, HTTP net.Listener
	// Reload reads the configuration file again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once points are taken; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Dial connects to graphs and judges; nil means TCP with keepalive.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// A Transfer is ready to Run.
type Transfer struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	now    func() time.Time
	host   string
	ready  atomic.Bool
	series *table

	graph, judge *cluster // nil when switched off
	outlets      []*outlet
	spreads      sync.Pool // of *spread

	watch    atomic.Pointer[watch]
	rejected rejects

	stats                               *stat.Set
	rpc                                 *rpc.ServerStats
	recv, rpcRecv, httpRecv, streamRecv *stat.Counter
	refused                             *stat.Reasons
}

// New checks cfg and deps. It opens nothing and starts nothing.
func New(cfg Config, deps Deps) (*Transfer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("transfer: %w", err)
	}
	if deps.Log == nil {
		return nil, errors.New("transfer: Deps.Log is required")
	}
	t := &Transfer{cfg: cfg, deps: deps, log: deps.Log, now: deps.Now, rpc: &rpc.ServerStats{}}
	if t.now == nil {
		t.now = time.Now
	}
	t.host, _ = os.Hostname() // only told to peers, for their logs
	t.series = newTable(t.place, t.release)
	t.count()
	var err error
	if t.graph, err = t.newCluster(stream.KindGraph, &cfg.Graph); err != nil {
		return nil, fmt.Errorf("transfer: graph: %w", err)
	}
	if t.judge, err = t.newCluster(stream.KindJudge, &cfg.Judge); err != nil {
		return nil, fmt.Errorf("transfer: judge: %w", err)
	}
	for _, c := range []*cluster{t.graph, t.judge} {
		if c != nil {
			t.outlets = append(t.outlets, c.outlets...)
		}
	}
	for i, o := range t.outlets {
		o.index = i
	}
	return t, nil
}

// Run serves until ctx ends. What it has answered for is then with its peers or in
// its spool.
func (t *Transfer) Run(ctx context.Context) error {
	rpcListener, httpListener, err := t.listen()
	if err != nil {
		return err
	}
	if err := t.openSpools(); err != nil {
		return errors.Join(err, closeAll(rpcListener, httpListener))
	}
	// The receiving side ends first, so that nothing is offered to an outlet that
	// has ended.
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	g := run.New(ctx)
	g.Go("peers", func(context.Context) error { return t.runOutlets(sending) })
	g.Go("receive", func(ctx context.Context) error {
		defer stopSending()
		return t.receive(ctx, rpcListener, httpListener)
	})
	return g.Wait()
}

func (t *Transfer) runOutlets(ctx context.Context) error {
	g := run.New(ctx)
	for _, o := range t.outlets {
		g.Go(o.kind+" "+o.addr, o.run)
	}
	if len(t.outlets) == 0 {
		<-ctx.Done()
	}
	return g.Wait()
}

// receive takes points until ctx ends and everything taken is answered for.
func (t *Transfer) receive(ctx context.Context, rpcListener, httpListener net.Listener) error {
	g := run.New(ctx)
	if rpcListener != nil {
		g.Go("rpc", func(ctx context.Context) error {
			s := rpc.NewServer(rpc.ServerOptions{Log: t.log, Stats: t.rpc, Drain: t.cfg.Drain.D()})
			t.register(s)
			return s.Serve(ctx, rpcListener)
		})
	}
	if httpListener != nil {
		g.Go("http", func(ctx context.Context) error {
			return httpx.Serve(ctx, httpListener, t.handler(), t.cfg.Drain.D(), t.log)
		})
	}
	g.Go("forget", func(ctx context.Context) error {
		return run.Every(ctx, forgetEvery, func(context.Context) {
			if n := t.series.forget(t.now().Add(-forgetAfter).Unix()); n > 0 {
				t.log.Debug("series forgotten", "n", n)
			}
		})
	})
	if t.cfg.Socket.Enabled {
		t.log.Warn("socket.enabled: this release has no telnet socket; push over RPC or HTTP")
	}
	t.log.Info("serving", "rpc", addrOf(rpcListener), "http", addrOf(httpListener), "peers", len(t.outlets))
	t.ready.Store(true)
	defer t.ready.Store(false)
	if t.deps.Ready != nil {
		t.deps.Ready()
	}
	return g.Wait()
}

func (t *Transfer) listen() (rpcListener, httpListener net.Listener, err error) {
	rpcListener, httpListener = t.deps.RPC, t.deps.HTTP
	if rpcListener == nil {
		if rpcListener, err = t.cfg.RPC.Open("rpc"); err != nil {
			return nil, nil, err
		}
	}
	if httpListener == nil {
		if httpListener, err = t.cfg.HTTP.Open("http"); err != nil {
			return nil, nil, errors.Join(err, closeAll(rpcListener))
		}
	}
	return rpcListener, httpListener, nil
}

func closeAll(lns ...net.Listener) error {
	var errs []error
	for _, ln := range lns {
		if ln != nil {
			errs = append(errs, ln.Close())
		}
	}
	return errors.Join(errs...)
}

func addrOf(ln net.Listener) string {
	if ln == nil {
		return "off"
	}
	return ln.Addr().String()
}

// health says why transfer takes no points, if it does not. A graph that is away is
// no reason: its points are spooled.
func (t *Transfer) health() error {
	if !t.ready.Load() {
		return errors.New("transfer is starting")
	}
	full := slices.ContainsFunc(t.outlets, func(o *outlet) bool { return o.full() })
	if full {
		return errors.New("a peer is away and its spool is full: points are refused; see /debug/accounting")
	}
	return nil
}
