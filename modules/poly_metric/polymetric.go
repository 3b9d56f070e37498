package polymetric

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
	"falcon/common/queue"
	"falcon/common/redisx"
	"falcon/common/run"
	"falcon/common/stat"
)

// Deps are the neighbours of a poly_metric.
type Deps struct {
	Log *slog.Logger
	// Rows has the rows of cluster; see Portal.
	Rows Rows
	// Groups knows the hosts of groups; nil is the api.
	Groups Groups
	// Points knows the last points of series; nil is the api.
	Points Points
	// Sink takes results; nil is Config.API.PushAPI.
	Sink Sink
	// Redis has the lock; it is needed when Config.Redis is enabled, and only then.
	Redis *redisx.Pool

	// Listener is where HTTP is served; nil means by the configuration.
	Listener net.Listener
	// Reload reads the configuration file again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once the pages are served; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// A PolyMetric is ready to Run.
type PolyMetric struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	now    func() time.Time
	groups Groups
	points Points
	sink   Sink

	board   board
	queue   *queue.Queue[result]
	asking  chan struct{}  // holds a token for each request for last points
	works   atomic.Bool    // this instance has the lock, or needs none
	trouble daemon.Trouble // what keeps rows from having results
	failing daemon.Trouble // what costs some results

	stats                    *stat.Set
	self                     *daemon.Reporter // of its own counters, as points
	results, pushed, retried *stat.Counter
	lacking                  *stat.Counter
	gaps, dropped            *stat.Reasons
}

// New checks cfg and deps. It opens nothing and starts nothing.
func New(cfg Config, deps Deps) (*PolyMetric, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("poly_metric: %w", err)
	}
	if deps.Log == nil || deps.Rows == nil {
		return nil, errors.New("poly_metric: Deps.Log and Deps.Rows are required")
	}
	if cfg.Redis.Enabled && deps.Redis == nil {
		return nil, errors.New("poly_metric: Deps.Redis is required while redis.enabled")
	}
	m := &PolyMetric{
		cfg: cfg, deps: deps, log: deps.Log, now: deps.Now, groups: deps.Groups, points: deps.Points, sink: deps.Sink,
		queue: queue.New[result](cfg.Push.Queue), asking: make(chan struct{}, cfg.API.Concurrency),
	}
	if m.now == nil {
		m.now = time.Now
	}
	client := newAPI(cfg.API)
	if m.groups == nil {
		m.groups = client
	}
	m.groups = remember(m.groups, m.now)
	if m.points == nil {
		m.points = client
	}
	if m.sink == nil {
		m.sink = newPushAPI(cfg.API)
	}
	m.count()
	return m, nil
}

// Run works rows until ctx ends. Results that are made by then are handed on as far as
// Config.Drain allows; the rest is counted as dropped.
func (m *PolyMetric) Run(ctx context.Context) error {
	ln := m.deps.Listener
	if ln == nil {
		var err error
		if ln, err = m.cfg.HTTP.Open("http"); err != nil {
			return err
		}
	}
	if m.cfg.API.PlusAPIToken == "" && m.deps.Points == nil {
		m.log.Warn("api.plus_api_token is empty: an api answers nobody without a token, unless it has skip_auth")
	}
	// Results are handed on while the rows stop already.
	hard, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	made, noMore := context.WithCancel(hard)
	defer noMore()
	var handing sync.WaitGroup
	handing.Go(func() { m.handOn(made, hard) })

	g := run.New(ctx)
	if ln != nil {
		m.log.Info("serving", "http", ln.Addr())
		g.Go("http", func(ctx context.Context) error { return httpx.Serve(ctx, ln, m.admin(), time.Second, m.log) })
	}
	g.Go("rows", m.take)
	g.Go("self", m.self.Run)
	g.Go("drain", func(ctx context.Context) error {
		<-ctx.Done()
		time.AfterFunc(m.cfg.Drain.D(), stop)
		return nil
	})
	if m.deps.Ready != nil {
		m.deps.Ready()
	}
	err := g.Wait()
	noMore()
	handing.Wait()
	return err
}

// take works the rows, for as long as it has the lock when there is one.
func (m *PolyMetric) take(ctx context.Context) error {
	if !m.cfg.Redis.Enabled {
		return m.follow(ctx)
	}
	first, last := m.cfg.ids()
	g := run.New(ctx)
	g.Go("lead", func(ctx context.Context) error {
		return m.deps.Redis.Lead(ctx, redisx.Aggregators(first, last), m.cfg.Redis.Lease.D(), m.follow)
	})
	g.Go("redis", func(ctx context.Context) error {
		for again := true; again; again = run.Sleep(ctx, m.cfg.Redis.Lease.D()) {
			if err := m.deps.Redis.Ping(ctx); err == nil {
				m.trouble.Clear("ask Redis for the lock")
			} else if ctx.Err() == nil {
				m.trouble.Set(m.log, "nobody works the rows while Redis is away", "ask Redis for the lock", err)
			}
		}
		return nil
	})
	return g.Wait()
}

// follow reads the rows every interval and has a goroutine for the turns of each.
func (m *PolyMetric) follow(ctx context.Context) error {
	m.works.Store(true)
	m.log.Info("this instance works the rows", "ids", m.cfg.Database.IDs)
	var turning sync.WaitGroup
	start := func(w *worked) {
		var own context.Context
		own, w.stop = context.WithCancel(ctx)
		turning.Go(func() { m.turns(own, w) })
	}
	for again := true; again; {
		m.reread(ctx, start)
		again = run.Sleep(ctx, m.pause())
	}
	turning.Wait()
	m.atEase()
	m.trouble.Clear("read the rows of cluster")
	m.board.mu.Lock()
	m.board.m, m.board.read = nil, false
	m.board.mu.Unlock()
	m.works.Store(false)
	return nil
}

// pause returns how long the rows in hand are good for. Until they were read for the
// first time, and after a failure, that is short.
func (m *PolyMetric) pause() time.Duration {
	interval := m.cfg.Database.Interval.D()
	if m.trouble.Has("read the rows of cluster") {
		return min(interval, 5*time.Second)
	}
	return interval
}

// each calls fn for all items at once and returns one of the errors.
func each[T any](items []T, fn func(T) error) error {
	var all sync.WaitGroup
	errs := make(chan error, len(items))
	for _, item := range items {
		all.Go(func() { errs <- run.Recovered(func() error { return fn(item) }) })
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
