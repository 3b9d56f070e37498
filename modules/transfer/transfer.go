package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/model"
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
	// Name is the program's, for counters and peers' logs; empty means transfer.
	Name string
	Log  *slog.Logger
	// RPC, HTTP and Socket are open listeners. When all are nil Run listens as
	// configured; whoever hands in one hands in all that are to be.
	RPC, HTTP, Socket net.Listener
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
	name   string
	now    func() time.Time
	steady func() time.Time // now, as it goes on when nobody puts the clock
	ages   *run.Ages        // of what is spooled
	host   string
	ready  atomic.Bool
	series *table

	graph, judge *cluster // nil when switched off
	stringJudge  *cluster // of texts, nil when those of judge are
	relay        *outlet  // to other transfers; nil when switched off
	outlets      []*outlet
	spreads      sync.Pool // of *spread

	watch    atomic.Pointer[watch]
	rejected rejects
	reporter *httpx.Client // of acknowledgements

	stats                               *stat.Set
	self                                *daemon.Reporter // of its own counters, as points
	rpc                                 *rpc.ServerStats
	recv, rpcRecv, httpRecv, streamRecv *stat.Counter
	socketRecv, ignoredLines            *stat.Counter
	socketLogged                        atomic.Int64 // Unix seconds
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
	t := &Transfer{cfg: cfg, deps: deps, log: deps.Log, name: cmp.Or(deps.Name, "transfer"), now: deps.Now, rpc: &rpc.ServerStats{}}
	if t.now == nil {
		t.now = time.Now
	}
	t.steady, t.ages = run.Steady(t.now), run.NewAges(t.now)
	if cfg.Ack.Secret.Reveal() == model.SampleSecret {
		t.log.Warn("links to acknowledge are not taken: ack.secret is that of a sample file, choose your own", "ack.secret", model.SampleSecret)
	}
	t.host, _ = os.Hostname() // only told to peers, for their logs
	t.series = newTable(t.place, t.release)
	t.reporter = cfg.newReporter()
	t.count()
	var err error
	if t.graph, err = t.newCluster(stream.KindGraph, &cfg.Graph); err != nil {
		return nil, fmt.Errorf("transfer: graph: %w", err)
	}
	if t.judge, err = t.newCluster(stream.KindJudge, &cfg.Judge); err != nil {
		return nil, fmt.Errorf("transfer: judge: %w", err)
	}
	if t.stringJudge, err = t.newCluster(kindStringJudge, &cfg.StringJudge); err != nil {
		return nil, fmt.Errorf("transfer: stringJudge: %w", err)
	}
	for _, c := range []*cluster{t.graph, t.judge, t.stringJudge} {
		if c != nil {
			t.outlets = append(t.outlets, c.outlets...)
		}
	}
	if t.relay, err = t.newRelay(&cfg.Transfer); err != nil {
		return nil, fmt.Errorf("transfer: transfer: %w", err)
	}
	if t.relay != nil {
		t.outlets = append(t.outlets, t.relay)
	}
	for i, o := range t.outlets {
		o.index = i
	}
	t.watchSelf()
	return t, nil
}

// Run serves until ctx ends. What it has answered for is then with its peers or in
// its spool.
func (t *Transfer) Run(ctx context.Context) error {
	at, err := t.listen()
	if err != nil {
		return err
	}
	if err := t.openSpools(); err != nil {
		return errors.Join(err, at.close())
	}
	// The receiving side ends first, so that nothing is offered to an outlet that
	// has ended.
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	g := run.New(ctx)
	g.Go("self", t.self.Run)
	g.Go("peers", func(context.Context) error { return t.runOutlets(sending) })
	g.Go("receive", func(ctx context.Context) error {
		defer stopSending()
		return t.receive(ctx, at)
	})
	return g.Wait()
}

func (t *Transfer) runOutlets(ctx context.Context) error {
	g := run.New(ctx)
	for _, o := range t.outlets {
		g.Go(o.kind+" "+o.addr, o.run)
	}
	for _, c := range []*cluster{t.judge, t.stringJudge} {
		if c != nil && c.failover != nil {
			g.Go("failover of "+c.kind, func(ctx context.Context) error { return t.watchJudges(ctx, c) })
		}
	}
	if len(t.outlets) == 0 {
		<-ctx.Done()
	}
	return g.Wait()
}

// receive takes points until ctx ends and everything taken is answered for.
func (t *Transfer) receive(ctx context.Context, at listeners) error {
	g := run.New(ctx)
	if at.rpc != nil {
		g.Go("rpc", func(ctx context.Context) error {
			s := rpc.NewServer(rpc.ServerOptions{Log: t.log, Stats: t.rpc, Drain: t.cfg.Drain.D()})
			t.register(s)
			return s.Serve(ctx, at.rpc)
		})
	}
	if at.http != nil {
		g.Go("http", func(ctx context.Context) error {
			return httpx.Serve(ctx, at.http, t.handler(), t.cfg.Drain.D(), t.log)
		})
	}
	if at.socket != nil {
		g.Go("socket", func(ctx context.Context) error { return t.serveLines(ctx, at.socket) })
	}
	g.Go("forget", func(ctx context.Context) error {
		return run.Every(ctx, forgetEvery, func(context.Context) {
			if n := t.series.forget(t.now().Add(-forgetAfter).Unix()); n > 0 {
				t.log.Debug("series forgotten", "n", n)
			}
			for _, o := range t.outlets {
				o.reap()
			}
		})
	})
	t.log.Info("serving", "rpc", addrOf(at.rpc), "http", addrOf(at.http), "socket", addrOf(at.socket), "peers", len(t.outlets))
	t.ready.Store(true)
	defer t.ready.Store(false)
	if t.deps.Ready != nil {
		t.deps.Ready()
	}
	return g.Wait()
}

// listeners are where points come in; nil for what is switched off.
type listeners struct{ rpc, http, socket net.Listener }

func (t *Transfer) listen() (at listeners, err error) {
	at = listeners{t.deps.RPC, t.deps.HTTP, t.deps.Socket}
	if at != (listeners{}) {
		return at, nil
	}
	for _, l := range []struct {
		key  string
		cfg  *daemon.Listener
		into *net.Listener
	}{{"rpc", &t.cfg.RPC, &at.rpc}, {"http", &t.cfg.HTTP, &at.http}, {"socket", &t.cfg.Socket.Listener, &at.socket}} {
		if *l.into, err = l.cfg.Open(l.key); err != nil {
			return listeners{}, errors.Join(err, at.close())
		}
	}
	return at, nil
}

func (at listeners) close() error {
	var errs []error
	for _, ln := range []net.Listener{at.rpc, at.http, at.socket} {
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

// notes says what an operator should know while transfer takes points.
func (t *Transfer) notes() (all []string) {
	for _, c := range []*cluster{t.judge, t.stringJudge} {
		if c != nil {
			all = append(all, c.failover.notes()...)
		}
	}
	for _, o := range t.outlets {
		if n := o.waits(); n > 0 {
			all = append(all, fmt.Sprintf("%s at %s: %d points are spooled for it", o.called(), o.addr, n))
		}
	}
	return all
}

// health says why transfer takes no points, if it does not. A graph that is away is
// no reason: its points are spooled.
func (t *Transfer) health() error {
	if !t.ready.Load() {
		return errors.New("transfer is starting")
	}
	var full []error
	for _, o := range t.outlets {
		full = append(full, o.full())
	}
	if err := errors.Join(full...); err != nil {
		return fmt.Errorf("points are refused, see /debug/accounting: %w", err)
	}
	return nil
}
