// Command agent (falcon-agent) looks at its host and hands what it finds, and what
// local programs push, to a transfer.
package main

import (
	"context"

	"falcon/common/daemon"
	"falcon/modules/agent"
)

func main() { daemon.Main("agent", agent.DefaultConfig(), run) }

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
