package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/run"
)

// talk is what this host says to hbs and asks of it, over one connection to each.
func (a *Agent) talk(ctx context.Context) error {
	secure, err := a.cfg.Heartbeat.TLS.Config("heartbeat")
	if err != nil {
		return err
	}
	var clients []*rpc.Client
	for _, addr := range a.cfg.Heartbeat.addrs() {
		c := rpc.NewClient(rpc.ClientOptions{
			Addr: addr, StockCodec: rpc.JSON, Log: a.log, DialTimeout: a.cfg.Heartbeat.Timeout.D(), CallTimeout: heartbeatTimeout, MaxConns: 1, TLS: secure, Dial: a.roads.connect,
		})
		defer c.Close()
		clients = append(clients, c)
	}
	g := run.New(ctx)
	g.Go("heartbeat", func(ctx context.Context) error { return a.heartbeats(ctx, clients) })
	g.Go("services", func(ctx context.Context) error { return a.followServices(ctx, clients) })
	return g.Wait()
}

// heartbeats reports this host to hbs at once and then each Heartbeat.Interval, to
// the first address that answers.
func (a *Agent) heartbeats(ctx context.Context, clients []*rpc.Client) error {
	var was error
	for {
		err := a.report(ctx, clients)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			a.beatErrors.Add(1)
			if was == nil {
				a.log.Warn("hbs does not take heartbeats", "err", err)
			}
		case was != nil:
			a.log.Info("hbs takes heartbeats again")
		}
		pause := a.cfg.Heartbeat.Interval.D()
		if was = err; err != nil {
			pause = min(pause, heartbeatRetry)
		}
		if !a.pause(ctx, pause) {
			return nil
		}
	}
}

const (
	// heartbeatTimeout bounds one report.
	heartbeatTimeout = 3 * time.Second
	// heartbeatRetry is how soon a report that nobody took is made again.
	heartbeatRetry = 5 * time.Second
)

// report sends one heartbeat.
func (a *Agent) report(ctx context.Context, clients []*rpc.Client) error {
	var errs []string
	version := a.pluginVersion(ctx)
	for _, c := range clients {
		req := model.AgentReportRequest{Hostname: a.endpoint, IP: a.ip(c.Addr()), AgentVersion: agentVersion(), PluginVersion: version}
		a.about(&req)
		var reply model.AgentUpgradeRpcResponse
		err := c.Call(ctx, "Agent.ReportStatus", &req, &reply)
		if err == nil && reply.Code != 0 {
			err = fmt.Errorf("it answers code %d", reply.Code)
		}
		if err == nil {
			a.beats.Add(1)
			a.ordered(&reply)
			a.askTrusted(ctx, c)
			a.askDemand(ctx, c)
			a.askPlugins(ctx, c)
			a.askHosts(ctx, c)
			return nil
		}
		errs = append(errs, fmt.Sprintf("%s: %v", c.Addr(), err))
	}
	return fmt.Errorf("no hbs took it: %s", strings.Join(errs, "; "))
}

// askTrusted asks hbs whom this agent may trust. Without an answer the last one holds.
func (a *Agent) askTrusted(ctx context.Context, c *rpc.Client) {
	var list string
	switch err := c.Call(ctx, "Agent.TrustableIps", &model.NullRpcRequest{}, &list); {
	case err == nil:
		a.trust(list)
	case ctx.Err() == nil:
		a.log.Debug("hbs does not tell whom to trust", "peer", c.Addr(), "err", err)
	}
}

// address returns the address of this host: as configured, else the one of its last
// connection to a transfer or hbs; empty while there was none but to itself.
func (a *Agent) address() string {
	if a.cfg.IP != "" {
		return a.cfg.IP
	}
	if ip := a.roads.local.Load(); ip != nil {
		return *ip
	}
	return ""
}

// ip returns the address of this host that is reported: as configured, else the one
// from which hbs is reached.
func (a *Agent) ip(hbs string) string {
	if a.cfg.IP != "" {
		return a.cfg.IP
	}
	ip, err := localIP(hbs)
	if err != nil {
		return "" // the next report tries again
	}
	return ip.String()
}

// agentVersion fits stock's column of 16 characters.
func agentVersion() string {
	v := daemon.Version()
	return v[:min(len(v), 16)]
}

// addrs returns the hbs to try, in order.
func (h *Heartbeat) addrs() []string {
	var out []string
	for addr := range strings.SplitSeq(h.Addr, ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			out = append(out, addr)
		}
	}
	return out
}
