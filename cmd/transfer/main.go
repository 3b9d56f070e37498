// Command transfer (falcon-transfer) takes points from agents and hands each to the
// graph that owns its series.
package main

import (
	"context"

	"falcon/common/daemon"
	"falcon/modules/transfer"
)

func main() { daemon.Main("transfer", transfer.DefaultConfig(), run) }

func run(ctx context.Context, env daemon.Env[transfer.Config], cfg transfer.Config) error {
	t, err := transfer.New(cfg, transfer.Deps{Log: env.Log, Reload: env.Reload, Ready: env.Ready})
	if err != nil {
		return err
	}
	return t.Run(ctx)
}
