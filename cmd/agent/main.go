// Command agent (falcon-agent) looks at its host and hands what it finds, and what
// local programs push, to a transfer.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"falcon/common/daemon"
	"falcon/modules/agent"
)

func main() {
	modest()
	daemon.Main("agent", agent.DefaultConfig(), run, daemon.Once[agent.Config]{
		Flag: "check", Usage: "let each collector look once, print what it finds and exit", Run: check,
	})
}

// modest leaves the host to those it is there for: one processor, and little memory that
// waits to be collected, unless the environment says otherwise. Go would take as many
// threads as there are processors, and wake several for each small thing there is to do.
func modest() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

func run(ctx context.Context, env daemon.Env[agent.Config], cfg agent.Config) error {
	a, err := agent.New(cfg, agent.Deps{Log: env.Log, File: env.File, Reload: env.Reload, Ready: env.Ready})
	if err != nil {
		return err
	}
	if err := a.Run(ctx); err != nil {
		return err
	}
	return a.StartAgain()
}

func check(ctx context.Context, log *slog.Logger, cfg agent.Config, stdout io.Writer) int {
	if err := agent.Check(ctx, cfg, agent.Deps{Log: log}, stdout); err != nil {
		fmt.Fprintln(os.Stderr, "falcon-agent:", err)
		return 2
	}
	return 0
}
