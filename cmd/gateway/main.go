// Command gateway (falcon-gateway) is a transfer that hands everything it takes to
// other transfers, for networks from which agents do not reach them.
package main

import (
	"context"

	"falcon/common/daemon"
	"falcon/modules/transfer"
)

func main() { daemon.Main("gateway", transfer.GatewayConfig(), run) }

func run(ctx context.Context, env daemon.Env[transfer.Config], cfg transfer.Config) error {
	t, err := transfer.New(cfg, transfer.Deps{Name: "gateway", Log: env.Log, Reload: env.Reload, Ready: env.Ready})
	if err != nil {
		return err
	}
	return t.Run(ctx)
}
