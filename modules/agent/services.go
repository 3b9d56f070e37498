package agent

import (
	"context"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/run"
)

// servicesEvery is how often hbs is asked which services are measured.
const servicesEvery = time.Minute

// followServices asks hbs at once and then each minute which services of this host are
// measured (contract ingest 3.6).
func (a *Agent) followServices(ctx context.Context, clients []*rpc.Client) error {
	for {
		pause := servicesEvery
		if !a.syncServices(ctx, clients) {
			pause = heartbeatRetry
		}
		if !run.Sleep(ctx, pause) {
			return nil
		}
	}
}

// syncServices asks by the fork's Agent.SyncServiceNames, the first hbs that answers. While
// none does, the last answer holds, and it reports false.
func (a *Agent) syncServices(ctx context.Context, clients []*rpc.Client) bool {
	answered := false
	for _, c := range clients {
		var reply model.AgentServiceConfigRpcResponse
		err := c.Call(ctx, "Agent.SyncServiceNames", &model.AgentReportRequest{Hostname: a.endpoint}, &reply)
		if err != nil {
			// A stock hbs does not know the method: it has answered, and another may know.
			answered = answered || rpc.IsMethodMissing(err)
			if ctx.Err() == nil {
				a.log.Debug("hbs does not tell which services to measure", "peer", c.Addr(), "err", err)
			}
			continue
		}
		var names []string
		for name := range strings.SplitSeq(reply.Args, ",") {
			if name = strings.TrimSpace(name); name != "" && reply.Code == 0 { // 2: there are none
				names = append(names, name)
			}
		}
		a.services.Watch(names)
		return true
	}
	return answered
}
