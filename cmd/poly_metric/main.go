// Command poly_metric (falcon-poly_metric) makes metrics of the metrics of a group of
// hosts, in the place of stock's aggregator.
package main

import (
	"context"
	"errors"

	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/common/redisx"
	polymetric "falcon/modules/poly_metric"
)

func main() { daemon.Main("poly_metric", polymetric.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[polymetric.Config], cfg polymetric.Config) (err error) {
	db, err := portal.Open(ctx, cfg.Portal(), env.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows := polymetric.Portal(db)
	deps := polymetric.Deps{Log: env.Log, Rows: rows, Reload: env.Reload, Ready: env.Ready}
	if cfg.GroupsFromPortal() {
		deps.Groups = rows
	}
	if cfg.Redis.Enabled {
		if deps.Redis, err = redisx.New(cfg.Redis.Config); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, deps.Redis.Close()) }()
	}
	m, err := polymetric.New(cfg, deps)
	if err != nil {
		return err
	}
	return m.Run(ctx)
}
