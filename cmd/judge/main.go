// Command judge (falcon-judge) looks at points with the rules and tells what is wrong.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"falcon/common/daemon"
	"falcon/modules/judge"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// A judge makes little garbage: half the usual slack costs next to no CPU.
		debug.SetGCPercent(50)
	}
	daemon.Main("judge", judge.DefaultConfig(), run)
}

func run(ctx context.Context, env daemon.Env[judge.Config], cfg judge.Config) error {
	j, err := judge.New(cfg, judge.Deps{Log: env.Log, Reload: env.Reload, Ready: env.Ready})
	if err != nil {
		return err
	}
	return j.Run(ctx)
}
