// Command graph (falcon-graph) keeps points and answers who asks for them.
package main

import (
	"context"
	"errors"
	"sync"

	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/modules/graph"
)

func main() { daemon.Main("graph", graph.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[graph.Config], cfg graph.Config) (err error) {
	deps := graph.Deps{Log: env.Log, Reload: env.Reload, Ready: env.Ready}
	if cfg.Index.Enabled {
		db, err := portal.Open(ctx, portal.Config{
			GraphDSN: cfg.DB.DSN.Reveal(), Dir: cfg.DB.Dir, MaxIdle: cfg.DB.MaxIdle, Only: []string{portal.Graph},
		}, env.Log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		deps.Index = &index{DB: db}
	}
	g, err := graph.New(cfg, deps)
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// index brings the database to its schema before the first write, so that a graph
// starts while its database is away.
type index struct {
	*portal.DB
	mu    sync.Mutex
	ready bool
}

func (x *index) IndexWrite(ctx context.Context, cache *portal.EndpointCache, rows []portal.IndexRow) ([]portal.IndexRefusal, error) {
	if err := x.migrate(ctx); err != nil {
		return nil, err
	}
	return x.DB.IndexWrite(ctx, cache, rows)
}

func (x *index) migrate(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ready {
		return nil
	}
	err := x.Migrate(ctx)
	x.ready = err == nil
	return err
}
