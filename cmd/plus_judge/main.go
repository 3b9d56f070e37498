// Command plus_judge (falcon-plus_judge) joins several conditions of one host to one alarm.
package main

import (
	"context"

	"falcon/common/daemon"
	plusjudge "falcon/modules/plus_judge"
)

func main() { daemon.Main("plus_judge", plusjudge.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[plusjudge.Config], cfg plusjudge.Config) error {
	p, err := plusjudge.New(cfg, plusjudge.Deps{Log: env.Log, Reload: env.Reload, Ready: env.Ready})
	if err != nil {
		return err
	}
	return p.Run(ctx)
}
