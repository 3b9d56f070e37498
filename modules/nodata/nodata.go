package nodata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/redisx"
	"falcon/common/run"
	"falcon/common/stat"
)

// Deps are the neighbours of a nodata.
type Deps struct {
	Log  *slog.Logger // required
	Rows RowSource    // required; its owner closes it
	// Points knows last points; nil asks the api of Config.PlusAPI.
	Points LastPoints
	// Redis has the lock of several nodatas; nil when this one is alone.
	Redis *redisx.Pool

	// Listener is where HTTP is served; nil means by the configuration.
	Listener net.Listener
	// Reload reads the configuration file again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once the rows are read; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// A Nodata is ready to Run.
type Nodata struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	now    func() time.Time
	points LastPoints
	pusher poster
	lease  time.Duration // of the lock: how long one who is dead holds up the other
	out    *outbox
	// loading and collecting have an element while the loop or a person works.
	loading, collecting chan struct{}
	transfer            atomic.Uint32 // counts on to the next transfer

	mu    sync.Mutex // guards what follows
	book  book
	clock time.Time     // as it was read last
	skew  time.Duration // what it was put by, while points do not follow

	ready   atomic.Bool
	sends   atomic.Bool
	blind   atomic.Bool    // the last round of questions had no answer at all
	trouble daemon.Trouble // of everything
	partly  daemon.Trouble // of some series

	stats                                                         *stat.Set
	self                                                          *daemon.Reporter // of its own counters, as points
	rowsRuns, collectRuns, collected, judgeRuns, sendRuns         *stat.Counter
	sent, retries                                                 *stat.Counter
	dropped, askFailed                                            *stat.Reasons
	rowsAt, rowsN, unusable, collectAt, collectN, judgeAt, sendAt atomic.Int64
	silent                                                        atomic.Int64
	floodRate                                                     atomic.Pointer[float64]
	blocking                                                      atomic.Bool
}

// A poster is how mocks get to transfer: an httpx.Client.
type poster interface {
	Post(ctx context.Context, url string, body []byte) ([]byte, error)
}

// New checks cfg and deps. It opens nothing and starts nothing.
func New(cfg Config, deps Deps) (*Nodata, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("nodata: %w", err)
	}
	if deps.Log == nil {
		return nil, errors.New("nodata: Deps.Log is required")
	}
	if deps.Rows == nil {
		return nil, errors.New("nodata: Deps.Rows is required")
	}
	if cfg.Redis.Enabled && deps.Redis == nil {
		return nil, errors.New("nodata: Deps.Redis is required while redis.enabled is on")
	}
	n := &Nodata{
		cfg: cfg, deps: deps, log: deps.Log, now: deps.Now, points: deps.Points, lease: 10 * time.Second, out: newOutbox(cfg.Sender.Queue),
		loading: make(chan struct{}, 1), collecting: make(chan struct{}, 1),
		pusher: httpx.NewClient(httpx.Options{Tries: 1, ConnectTimeout: cfg.Sender.ConnectTimeout.D(), Timeout: cfg.Sender.RequestTimeout.D(), MaxBody: 1 << 20}),
	}
	if n.now == nil {
		n.now = time.Now
	}
	if n.points == nil {
		n.points = newAPIPoints(cfg.PlusAPI)
	}
	n.count()
	return n, nil
}

// Run works until ctx ends. Then the mocks that wait are sent as far as Config.Drain
// allows.
func (n *Nodata) Run(ctx context.Context) error {
	ln := n.deps.Listener
	if ln == nil {
		var err error
		if ln, err = n.cfg.HTTP.Open("http"); err != nil {
			return err
		}
	}
	g := run.New(ctx)
	if ln != nil {
		n.log.Info("serving", "http", ln.Addr())
		g.Go("http", func(ctx context.Context) error { return httpx.Serve(ctx, ln, n.admin(), time.Second, n.log) })
	}
	g.Go("rows", n.follow)
	g.Go("self", n.self.Run)
	if n.cfg.Collector.Enabled {
		g.Go("collect", func(ctx context.Context) error {
			return n.each(ctx, collectBeat, func(ctx context.Context, _ time.Time) {
				_ = alone(ctx, n.collecting, func() { n.collect(ctx) }) // ctx has ended
			})
		})
	}
	g.Go("judge", func(ctx context.Context) error {
		return n.each(ctx, judgeBeat, func(_ context.Context, at time.Time) { n.judge(at) })
	})
	if n.cfg.Sender.Enabled {
		g.Go("send", n.lead)
	}
	if n.deps.Redis != nil {
		g.Go("redis", func(ctx context.Context) error { return run.Every(ctx, n.lease, n.askRedis) })
	}
	return g.Wait()
}

// lead sends: always, or while this nodata has the lock. One whose api is away leaves the
// lock to another, who may have a better one; what waits it sends before.
func (n *Nodata) lead(life context.Context) error {
	if n.deps.Redis == nil {
		return n.send(life, life)
	}
	return n.deps.Redis.Lead(life, redisx.NodataSender, n.lease, func(ctx context.Context) error {
		if n.blind.Load() {
			return nil
		}
		g := run.New(ctx)
		g.Go("send", func(ctx context.Context) error { return n.send(ctx, life) })
		g.Go("blind", func(ctx context.Context) error {
			for run.Sleep(ctx, n.lease/2) {
				if n.blind.Load() && n.out.len() == 0 {
					break
				}
			}
			return nil
		})
		return g.Wait()
	})
}

// firstRows is the pause between two tries to read the first rows.
const firstRows = 5 * time.Second

// follow reads the rows, at once and then in their rhythm.
func (n *Nodata) follow(ctx context.Context) error {
	load := func(ctx context.Context) (err error) {
		if e := alone(ctx, n.loading, func() { _, err = n.load(ctx) }); e != nil {
			return e
		}
		return err
	}
	if !n.cfg.Rows.Enabled {
		n.log.Info("config.enabled is off: no series is watched")
	} else {
		for load(ctx) != nil {
			if !run.Sleep(ctx, firstRows) {
				return nil
			}
		}
	}
	n.ready.Store(true)
	if n.deps.Ready != nil {
		n.deps.Ready()
	}
	if !n.cfg.Rows.Enabled {
		<-ctx.Done()
		return nil
	}
	return n.each(ctx, rowsBeat, func(ctx context.Context, _ time.Time) { _ = load(ctx) }) // it says itself what does not work
}

// each calls fn at each moment of b until ctx ends. A slow fn makes moments fall out, it
// never runs twice at once.
func (n *Nodata) each(ctx context.Context, b beat, fn func(ctx context.Context, at time.Time)) error {
	for {
		now := n.now()
		if !run.Sleep(ctx, b.next(now).Sub(now)) {
			return nil
		}
		fn(ctx, b.last(n.now()))
	}
}

// alone calls fn when nobody else works under turn; its error is ctx's.
func alone(ctx context.Context, turn chan struct{}, fn func()) error {
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-turn }()
	fn()
	return nil
}

// inParallel calls fn with each of parts, n at a time, and waits. After ctx has ended no
// more are begun.
func inParallel[T any](ctx context.Context, n int, parts []T, fn func(T)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(n, len(parts)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(parts) {
					return
				}
				fn(parts[i])
			}
		})
	}
	wg.Wait()
}

// askRedis looks whether the lock can be had at all.
func (n *Nodata) askRedis(ctx context.Context) {
	if err := n.deps.Redis.Ping(ctx); err == nil {
		n.trouble.Clear("ask redis for the lock")
	} else if ctx.Err() == nil {
		n.trouble.Set(n.log, "nobody has the lock, and nobody sends", "ask redis for the lock", err)
	}
}
