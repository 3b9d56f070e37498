// Command alarm (falcon-alarm) writes down what judge raises and tells people.
package main

import (
	"context"
	"errors"

	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/modules/alarm"
)

func main() { daemon.Main("alarm", alarm.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[alarm.Config], cfg alarm.Config) (err error) {
	db, err := portal.Open(ctx, cfg.Portal(), env.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	pool, err := redisx.New(cfg.Redis.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	a, err := alarm.New(cfg, alarm.Deps{Log: env.Log, DB: db, Redis: pool, Reload: env.Reload, Ready: env.Ready})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
