// Command judge (falcon-judge) looks at points with the rules and tells what is wrong.
package main

import (
	"context"

	"falcon/common/daemon"
	"falcon/modules/judge"
)

func main() { daemon.Main("judge", judge.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[judge.Config], cfg judge.Config) error {
	j, err := judge.New(cfg, judge.Deps{Log: env.Log, Reload: env.Reload, Ready: env.Ready})
	if err != nil {
		return err
	}
	return j.Run(ctx)
}
