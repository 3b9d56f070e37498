package hbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stat"
)

// Portal is what an hbs needs of the database; *portal.DB has it.
type Portal interface {
	Rows
	Hosts
}

// Deps are the neighbours of an hbs.
type Deps struct {
	Log    *slog.Logger
	Portal Portal
	Redis  *redisx.Pool // nil when Config.Redis is off

	// RPC and HTTP are open listeners; nil makes Run listen as configured.
	RPC, HTTP net.Listener
	// Reload reads the configuration file again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once agents and judges are answered; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// An HBS is ready to Run.
type HBS struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	now    func() time.Time
	keeper *keeper
	beats  *heartbeats
	fork   *forkRows // nil without hbs of the fork
	live   *liveness // nil when nobody is to hear of silent agents

	upgrades *upgrades // nil without Redis

	stats             *stat.Set
	self              *daemon.Reporter // of its own counters, as points
	books, stockBooks *stat.Counter
	someRules         *stat.Counter
}

// New checks cfg and deps. It opens nothing and starts nothing.
func New(cfg Config, deps Deps) (*HBS, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("hbs: %w", err)
	}
	if deps.Log == nil || deps.Portal == nil {
		return nil, errors.New("hbs: Deps.Log and Deps.Portal are required")
	}
	if cfg.Redis.Enabled && deps.Redis == nil {
		return nil, errors.New("hbs: Deps.Redis is required while redis.enabled is true")
	}
	h := &HBS{cfg: cfg, deps: deps, log: deps.Log, now: deps.Now}
	if h.now == nil {
		h.now = time.Now
	}
	loc, err := cfg.location()
	if err != nil {
		return nil, fmt.Errorf("hbs: %w", err)
	}
	var rows Rows = deps.Portal
	if cfg.RedisCompat == forkCompat {
		h.fork = &forkRows{Rows: rows, pool: deps.Redis, loc: loc, log: h.log, now: h.now, took: map[redisx.ForkSet]string{}}
		rows = h.fork
	}
	h.keeper = newKeeper(rows, &cfg, loc, h.log, h.now)
	h.beats = &heartbeats{
		hosts: deps.Portal, join: cfg.AutoGroup, only: cfg.Hosts != "", added: h.keeper.added, log: h.log, now: h.now,
		known: map[string]*beat{}, rows: map[string]portal.HostReport{}, times: map[string]int64{}, agents: map[string]portal.HostAgent{},
	}
	h.count()
	if cfg.Redis.Enabled {
		r := &redis{pool: deps.Redis}
		h.beats.beats, h.keeper.shelf = r, r
		h.upgrades = newUpgrades(&cfg, deps.Redis, h.stats, h.log, h.now)
		if cfg.Liveness.Enabled {
			if h.live, err = h.newLiveness(r); err != nil {
				return nil, fmt.Errorf("hbs: %w", err)
			}
		}
	}
	h.watchSelf()
	return h, nil
}

// Run serves until ctx ends; then heartbeats that were taken are written.
func (h *HBS) Run(ctx context.Context) error {
	rpcListener, httpListener, err := h.listen()
	if err != nil {
		return err
	}
	g := run.New(ctx)
	g.Go("rpc", func(ctx context.Context) error {
		s := rpc.NewServer(rpc.ServerOptions{Log: h.log, Drain: h.cfg.Drain.D()})
		h.register(s)
		return s.Serve(ctx, rpcListener)
	})
	if httpListener != nil {
		g.Go("http", func(ctx context.Context) error {
			return httpx.Serve(ctx, httpListener, h.admin(), h.cfg.Drain.D(), h.log)
		})
	}
	g.Go("rules", h.keeper.run)
	g.Go("self", h.self.Run)
	g.Go("heartbeats", h.beats.run)
	if h.deps.Redis != nil && h.cfg.Redis.Enabled {
		g.Go("changes", func(ctx context.Context) error { return (&redis{pool: h.deps.Redis}).watch(ctx, h.keeper.touch, h.log) })
	}
	if h.upgrades != nil {
		g.Go("upgrades", h.upgrades.run)
	}
	if h.live != nil {
		g.Go("liveness", h.live.run)
	}
	h.log.Info("serving", "rpc", rpcListener.Addr())
	if h.deps.Ready != nil {
		h.deps.Ready()
	}
	return g.Wait()
}

func (h *HBS) listen() (rpcListener, httpListener net.Listener, err error) {
	rpcListener, httpListener = h.deps.RPC, h.deps.HTTP
	if rpcListener == nil {
		if rpcListener, err = h.cfg.Listener.Open(""); err != nil {
			return nil, nil, err
		}
	}
	if httpListener == nil {
		if httpListener, err = h.cfg.HTTP.Open("http"); err != nil {
			return nil, nil, errors.Join(err, rpcListener.Close())
		}
	}
	return rpcListener, httpListener, nil
}
