// Command dashboard (falcon-dashboard) serves the web page and passes its calls on
// to api.
package main

import (
	"context"

	"falcon/common/daemon"
	"falcon/modules/dashboard"
)

func main() { daemon.Main("dashboard", dashboard.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[dashboard.Config], cfg dashboard.Config) error {
	d, err := dashboard.New(cfg, dashboard.Deps{Log: env.Log, Reload: func() (string, error) {
		if _, err := env.Reload(); err != nil {
			return "", err
		}
		return "the log level is applied; other settings wait for a restart", nil
	}})
	if err != nil {
		return err
	}
	env.Ready()
	return d.Run(ctx)
}
