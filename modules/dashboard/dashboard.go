package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/run"
	"falcon/common/stat"
)

// Deps are the neighbours of a dashboard.
type Deps struct {
	Log *slog.Logger // required
	// Listener takes requests; nil: Run listens on Config.Listen.
	Listener net.Listener
	// Reload, when set, reads the configuration file again for /config/reload.
	Reload func() (string, error)
}

// A Dashboard serves the page and passes its calls on to api.
type Dashboard struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	stats   *stat.Set
	self    *daemon.Reporter // of its own counters, as points
	handler http.Handler
	proxied *stat.Counter
	failed  *stat.Counter
}

// New checks cfg and builds the handler; it opens nothing.
func New(cfg Config, deps Deps) (*Dashboard, error) {
	if deps.Log == nil {
		return nil, errors.New("dashboard: Deps.Log is required")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	page, err := Handler()
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	d := &Dashboard{cfg: cfg, deps: deps, log: deps.Log, stats: stat.New("dashboard")}
	d.proxied = d.stats.Counter("Requests", "requests_total", "Requests passed on to api.")
	d.failed = d.stats.Counter("Errors", "errors_total", "Requests that api did not answer.")
	d.self = daemon.NewReporter(daemon.ReporterOptions{Module: "dashboard", Self: cfg.Self, Stats: d.stats, Log: d.log})
	proxy, err := d.proxy()
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	admin := daemon.Admin{Stats: d.stats, Wrapped: true, Reload: deps.Reload, Config: func() any { return d.cfg }}.Mux()
	mux := http.NewServeMux()
	mux.Handle("/api/", proxy)
	mux.Handle("/", page)
	for _, path := range []string{"/health", "/version", "/workdir", "/config", "/config/reload", "/counter/all", "/statistics/all", "/metrics", "/debug/pprof/"} {
		mux.Handle(path, admin)
	}
	d.handler = mux
	return d, nil
}

// Run serves until ctx ends. Requests in flight are answered before it returns,
// within Config.Drain.
func (d *Dashboard) Run(ctx context.Context) error {
	ln := d.deps.Listener
	if ln == nil {
		var err error
		if ln, err = daemon.Listen("listen", d.cfg.Listen); err != nil {
			return err
		}
	}
	d.log.Info("dashboard listens", "addr", ln.Addr().String(), "api", d.cfg.API)
	g := run.New(ctx)
	g.Go("http", func(ctx context.Context) error {
		return httpx.Serve(ctx, ln, d.handler, cmp.Or(d.cfg.Drain.D(), 10*time.Second), d.log)
	})
	g.Go("self", d.self.Run)
	return g.Wait()
}
