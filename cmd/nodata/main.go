// Command nodata (falcon-nodata) reports a value in the place of series that went silent.
package main

import (
	"context"
	"errors"

	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/modules/nodata"
)

func main() { daemon.Main("nodata", nodata.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[nodata.Config], cfg nodata.Config) (err error) {
	db, err := portal.Open(ctx, cfg.Portal(), env.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	deps := nodata.Deps{Log: env.Log, Rows: db, Reload: env.Reload, Ready: env.Ready}
	if cfg.Redis.Enabled {
		if deps.Redis, err = redisx.New(cfg.Redis.Config); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, deps.Redis.Close()) }()
	}
	n, err := nodata.New(cfg, deps)
	if err != nil {
		return err
	}
	return n.Run(ctx)
}
