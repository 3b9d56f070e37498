// Command judge (falcon-judge) looks at points with the rules and tells what is wrong.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"falcon/common/daemon"
	"falcon/modules/judge"
	plusjudge "falcon/modules/plus_judge"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// A judge makes little garbage: half the usual slack costs next to no CPU.
		debug.SetGCPercent(50)
	}
	daemon.Main("judge", judge.DefaultConfig(), run)
}

func run(ctx context.Context, env daemon.Env[judge.Config], cfg judge.Config) error {
	if cfg.IsUnion {
		return runUnion(ctx, env, cfg)
	}
	j, err := judge.New(cfg, judge.Deps{Log: env.Log, Reload: env.Reload, Ready: env.Ready})
	if err != nil {
		return err
	}
	return j.Run(ctx)
}

// runUnion is for the file of a judge of the fork that joins several conditions: what
// other programs do not know is the same file for both.
func runUnion(ctx context.Context, env daemon.Env[judge.Config], cfg judge.Config) error {
	deps := plusjudge.Deps{Log: env.Log, Ready: env.Ready}
	if env.Reload != nil {
		deps.Reload = func() (plusjudge.Config, error) {
			again, err := env.Reload()
			return unionConfig(again), err
		}
	}
	p, err := plusjudge.New(unionConfig(cfg), deps)
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

// unionConfig takes over what both have. A folder that the file does not name is not that
// of a judge beside it.
func unionConfig(cfg judge.Config) plusjudge.Config {
	c := plusjudge.DefaultConfig()
	c.Base, c.LogLevel, c.HTTP, c.RPC, c.StateFile, c.MaxFutureSec = cfg.Base, cfg.LogLevel, cfg.HTTP, cfg.RPC, cfg.StateFile, cfg.MaxFutureSec
	c.HBS.Servers, c.HBS.Timeout = cfg.HBS.Servers, cfg.HBS.Timeout
	c.Alarm = cfg.Alarm.Config
	if cfg.Data != judge.DefaultConfig().Data {
		c.Data = cfg.Data
	}
	if cfg.Turning != judge.DefaultConfig().Turning {
		c.Turning = cfg.Turning
	}
	if cfg.RecoverMode != "" {
		c.RecoverMode = cfg.RecoverMode
	}
	return c
}
