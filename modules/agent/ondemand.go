package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stat"
	"falcon/modules/agent/collect"
	"falcon/modules/agent/collect/du"
	"falcon/modules/agent/collect/port"
	"falcon/modules/agent/collect/proc"
	"falcon/modules/agent/collect/url"
)

// demand is what is looked at only because hbs asks for it: the rules of this host watch
// it (contract ingest 3.8).
type demand struct {
	log     *slog.Logger
	by      map[string]collect.OnDemand // by metric
	refused *stat.Reasons

	mu       sync.Mutex
	checksum string // of the list in force
}

// noList is the checksum of an agent that has no list yet.
const noList = "nil"

func newDemand(root collect.Root, endpoint string, cfg *Config, log *slog.Logger) *demand {
	return &demand{log: log, checksum: noList, by: map[string]collect.OnDemand{
		"net.port.listen":  port.New(root),
		"proc.num":         proc.New(root),
		"proc.coredump":    proc.NewDumps(root),
		"du.bs":            du.New(root),
		"url.check.health": url.New(url.Options{Endpoint: endpoint, Get: cfg.Collector.URLGet}),
	}}
}

// slots are the places of its collectors, with the levels of the fork.
func (d *demand) slots() (out []*slot) {
	for _, metric := range slices.Sorted(maps.Keys(d.by)) {
		level := 2
		if _, ok := d.by[metric].(collect.Slow); ok {
			level = 3
		}
		out = append(out, newSlot(metric, level, d.by[metric]))
	}
	return out
}

// askDemand asks hbs what to look at. Without an answer the last list holds.
func (a *Agent) askDemand(ctx context.Context, c *rpc.Client) {
	req := model.AgentHeartbeatRequest{Hostname: a.endpoint, Checksum: a.demand.sum()}
	var reply model.BuiltinMetricResponse
	switch err := c.Call(ctx, "Agent.BuiltinMetrics", &req, &reply); {
	case err == nil:
		a.demand.apply(&reply)
	case ctx.Err() == nil:
		a.log.Debug("hbs does not tell what to look at", "peer", c.Addr(), "err", err)
	}
}

func (d *demand) sum() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.checksum
}

// apply puts hbs's list in force when it is another one, whatever the clock of that hbs
// says. A stock hbs that can not read its database answers without a time and without a
// list: that is no answer.
func (d *demand) apply(reply *model.BuiltinMetricResponse) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if reply.Checksum == d.checksum || reply.Timestamp == 0 && reply.Checksum == "" {
		return
	}
	d.checksum = reply.Checksum
	tags, n := map[string][]string{}, 0
	for _, m := range reply.Metrics {
		switch {
		case m == nil:
		case d.by[m.Metric] == nil:
			d.refuse(m.Metric, collect.Unwanted{Tags: m.Tags, Why: "this agent knows no such metric"})
		default:
			tags[m.Metric] = append(tags[m.Metric], m.Tags)
			n++
		}
	}
	for metric, c := range d.by {
		for _, u := range c.Want(tags[metric]) {
			n--
			d.refuse(metric, u)
		}
	}
	d.log.Info("hbs asks for another list of metrics", "n", n)
}

func (d *demand) refuse(metric string, u collect.Unwanted) {
	d.refused.Add(u.Why, 1)
	d.log.Warn("a metric that hbs asks for can not be collected; correct the tags of its rule", "metric", metric, "tags", u.Tags, "err", u.Why)
}
