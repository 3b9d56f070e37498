// Command hbs (falcon-hbs) hands the portal's rules to judges and tells the portal
// which hosts are alive.
package main

import (
	"context"
	"errors"

	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/modules/hbs"
)

func main() { daemon.Main("hbs", hbs.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[hbs.Config], cfg hbs.Config) (err error) {
	db, err := portal.Open(ctx, portal.Config{
		PortalDSN: cfg.Database.Reveal(), Dir: cfg.DBDir, MaxConns: cfg.MaxConns, MaxIdle: cfg.MaxIdle, Only: []string{portal.Portal},
	}, env.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	deps := hbs.Deps{Log: env.Log, Portal: hbs.Migrated(db), Reload: env.Reload, Ready: env.Ready}
	if cfg.Redis.Enabled {
		if deps.Redis, err = redisx.New(cfg.RedisConfig()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, deps.Redis.Close()) }()
	}
	h, err := hbs.New(cfg, deps)
	if err != nil {
		return err
	}
	return h.Run(ctx)
}
