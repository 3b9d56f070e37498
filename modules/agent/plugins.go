package agent

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/modules/agent/plugin"
)

// newPlugins makes the runner of the programs that hbs binds to this host.
func (a *Agent) newPlugins() *plugin.Runner {
	return plugin.New(plugin.Options{
		Dir: a.cfg.Plugin.Dir, Logs: a.cfg.Plugin.Logs, MaxOutput: a.cfg.Plugin.MaxOutput << 20,
		Endpoint: a.endpoint, Log: a.log, Now: a.now, Take: a.take,
	}, a.stats)
}

// take queues items that were made on this host, as a push is queued, and says in words
// which were refused.
func (a *Agent) take(items []*model.MetricValue) (taken int, refused string) {
	points, no := a.points(items)
	a.out.add(points, nil)
	if len(no) > 0 {
		refused = fmt.Sprintf("%d of %d items refused; item %d (%s): %s", len(no), len(items), no[0].Index, no[0].Metric, no[0].Why)
	}
	return len(points), refused
}

// askPlugins asks hbs which plugins this host runs. Without an answer the last ones go
// on; an answer counts whatever the clock of that hbs says.
func (a *Agent) askPlugins(ctx context.Context, c *rpc.Client) {
	if !a.cfg.Plugin.Enabled {
		return
	}
	var reply model.AgentPluginsResponse
	switch err := c.Call(ctx, "Agent.MinePlugins", &model.AgentHeartbeatRequest{Hostname: a.endpoint}, &reply); {
	case err == nil && reply.Timestamp != 0:
		a.plugins.Apply(reply.Plugins)
	case err != nil && ctx.Err() == nil:
		a.log.Debug("hbs does not tell which plugins to run", "peer", c.Addr(), "err", err)
	}
}

// Of the column of the portal, in bytes, and how long git may think.
const (
	maxPluginVersion = 128
	versionTimeout   = 5 * time.Second
)

// pluginVersion is the commit of the folder of the plugins, or stock's word for why there
// is none.
func (a *Agent) pluginVersion(ctx context.Context) string {
	if !a.cfg.Plugin.Enabled {
		return "plugin not enabled"
	}
	if _, err := os.Stat(a.cfg.Plugin.Dir); err != nil {
		return "plugin dir not existent"
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := command(ctx, a.cfg.Plugin.Dir, "git", ownGit("rev-parse", "HEAD")...)
	v := strings.TrimSpace(string(out))
	if err != nil {
		v = "Error:" + strings.TrimSpace(err.Error())
	}
	return v[:min(len(v), maxPluginVersion)]
}
