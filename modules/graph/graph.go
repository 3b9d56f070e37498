package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/modules/graph/tsdb"
	"falcon/modules/graph/tsdb/vfs"
)

// Deps are the neighbours of a graph.
type Deps struct {
	Log   *slog.Logger
	Index IndexStore // nil when Config.Index is off

	// RPC and HTTP are open listeners; nil makes Run listen as configured.
	RPC, HTTP net.Listener
	// Reload reads the configuration file again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once points are taken; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// FS is the file system of the storage engine; nil means the operating system's.
	FS vfs.FS
}

// A Graph is ready to Run.
type Graph struct {
	cfg   Config
	deps  Deps
	log   *slog.Logger
	now   func() time.Time
	db    *tsdb.DB // set by Run before anything is served
	ready atomic.Bool

	index  *index
	behind *writeBehind // nil when the index is not written to SQL
	rpc    *rpc.ServerStats

	stats                                   *stat.Set
	self                                    *daemon.Reporter // of its own counters, as points
	received, taken                         *stat.Counter
	refused                                 *stat.Reasons
	queries, queryItems, infos              *stat.Counter
	lasts, lastRaws, searches, streamsTotal *stat.Counter
}

// New checks cfg and deps. It opens nothing and starts nothing.
func New(cfg Config, deps Deps) (*Graph, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	if deps.Log == nil {
		return nil, errors.New("graph: Deps.Log is required")
	}
	if cfg.Index.Enabled && deps.Index == nil {
		return nil, errors.New("graph: Deps.Index is required while index.enabled is true")
	}
	g := &Graph{
		cfg: cfg, deps: deps, log: deps.Log, now: deps.Now,
		index: newIndex(),
		rpc:   &rpc.ServerStats{},
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.count()
	return g, nil
}

// Run serves until ctx ends. It first recovers what the last run left, and returns
// after everything that was acknowledged is synced.
func (g *Graph) Run(ctx context.Context) error {
	rpcListener, httpListener, err := g.listen()
	if err != nil {
		return err
	}
	durability, err := g.cfg.durability()
	if err != nil {
		return err
	}
	grp := run.New(ctx)
	if httpListener != nil {
		// The admin pages are there while the engine recovers, and say so.
		grp.Go("http", func(ctx context.Context) error {
			return httpx.Serve(ctx, httpListener, g.admin(), g.cfg.Drain.D(), g.log)
		})
	}
	grp.Go("self", g.self.Run)
	grp.Go("engine", func(ctx context.Context) error {
		db, err := tsdb.Open(tsdb.Options{
			Dir: g.cfg.Data, Retention: g.cfg.Retention.D(), Durability: durability,
			MaxSeries: g.cfg.MaxSeries, Now: g.deps.Now, Log: g.log, FS: g.deps.FS,
		})
		if err != nil {
			return errors.Join(err, rpcListener.Close())
		}
		return errors.Join(g.serve(ctx, db, rpcListener), db.Close())
	})
	return grp.Wait()
}

func (g *Graph) listen() (rpcListener, httpListener net.Listener, err error) {
	rpcListener, httpListener = g.deps.RPC, g.deps.HTTP
	if rpcListener == nil {
		if rpcListener, err = g.cfg.RPC.Open("rpc"); err != nil {
			return nil, nil, err
		}
	}
	if httpListener == nil {
		if httpListener, err = g.cfg.HTTP.Open("http"); err != nil {
			return nil, nil, errors.Join(err, rpcListener.Close())
		}
	}
	return rpcListener, httpListener, nil
}

// serve runs everything that needs the engine.
func (g *Graph) serve(ctx context.Context, db *tsdb.DB, ln net.Listener) error {
	g.db = db
	db.Watch(g.follow)
	db.Each(func(endpoint, counter string, _ tsdb.Info) bool {
		g.index.add(endpoint, counter)
		return true
	})
	grp := run.New(ctx)
	// The engine stops last, after the calls in flight are answered.
	engine, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	grp.Go("engine", func(context.Context) error { return db.Run(engine) })
	grp.Go("rpc", func(ctx context.Context) error {
		defer stopEngine()
		s := rpc.NewServer(rpc.ServerOptions{Log: g.log, Stats: g.rpc, Drain: g.cfg.Drain.D()})
		g.register(s)
		g.registerStreams(s)
		return s.Serve(ctx, ln)
	})
	if g.behind != nil {
		g.behind.lookup = db.Lookup
		grp.Go("index", g.behind.follow)
		grp.Go("index walk", g.behind.walk)
	}
	endpoints, series := g.index.size()
	g.log.Info("serving", "rpc", ln.Addr(), "series", series, "endpoints", endpoints)
	g.ready.Store(true)
	if g.deps.Ready != nil {
		g.deps.Ready()
	}
	defer g.ready.Store(false)
	return grp.Wait()
}

// follow brings the search index up to date when the engine's catalog changes.
func (g *Graph) follow(c tsdb.Change) {
	what := created
	if _, ok := g.db.Lookup(c.Endpoint, c.Counter); ok {
		g.index.add(c.Endpoint, c.Counter)
	} else {
		g.index.remove(c.Endpoint, c.Counter)
		if what = deleted; c.Kind == tsdb.Expired {
			what = expired
		}
	}
	if g.behind != nil {
		g.behind.changed(c.Endpoint, c.Counter, what)
	}
}

// append logs batch and counts what became of it. refuse, when not nil, also hears
// of each sample that was not taken, with its reason: a duplicate, too, which is how a
// batch looks that was sent again.
func (g *Graph) append(batch []tsdb.Sample, refuse func(i int, reason string)) error {
	taken, err := g.db.Append(batch, func(i int, reason string) {
		g.refused.Add(reason, 1)
		if refuse != nil {
			refuse(i, reason)
		}
	})
	g.taken.Add(taken)
	return err
}

// health says why the graph takes no points, if it does not.
func (g *Graph) health() error {
	if !g.ready.Load() {
		return errors.New("graph is recovering what the last run left in its log")
	}
	if err := g.db.ReadOnly(); err != nil {
		return fmt.Errorf("graph takes no points: %w", err)
	}
	return nil
}
