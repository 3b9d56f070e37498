package agent

import (
	"context"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

const (
	// hostsEvery is how often a ping node asks hbs for the hosts, and hostsRefused how long
	// it leaves one alone that does not know the question: a stock one.
	hostsEvery   = 5 * time.Minute
	hostsRefused = time.Hour
)

// askHosts asks hbs which hosts there are, for a ping node. Without an answer those of
// before are pinged.
func (a *Agent) askHosts(ctx context.Context, c *rpc.Client) {
	if !a.cfg.Ping.Enabled || !a.cfg.Ping.HBS || a.now().Before(a.pingAsk) {
		return
	}
	a.pingAsk = a.now().Add(hostsEvery)
	var reply struct{ Agent []string }
	switch err := c.Call(ctx, "Hbs.GetAgents", &model.NullRpcRequest{}, &reply); {
	case err == nil:
		a.pinger.Hosts(reply.Agent)
	case ctx.Err() != nil:
	case strings.Contains(err.Error(), "can't find method"):
		a.pingAsk = a.now().Add(hostsRefused)
		a.log.Warn("this hbs does not tell its hosts: name them in ping.targets", "peer", c.Addr(), "err", err)
	default:
		a.pingAsk = time.Time{}
		a.log.Debug("hbs does not tell its hosts", "peer", c.Addr(), "err", err)
	}
}
