// Command api (falcon-api) answers people and programs over HTTP.
package main

import (
	"context"
	"errors"

	"falcon/common/daemon"
	"falcon/common/portal"
	"falcon/modules/api"
)

func main() { daemon.Main("api", api.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[api.Config], cfg api.Config) (err error) {
	db, err := portal.Open(ctx, cfg.Portal(), env.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	a, err := api.New(cfg, api.Deps{Log: env.Log, Portal: db, Reload: func() (string, error) {
		if _, err := env.Reload(); err != nil {
			return "", err
		}
		return "the log level is applied; other settings wait for a restart", nil
	}})
	if err != nil {
		return err
	}
	env.Ready()
	return a.Run(ctx)
}
