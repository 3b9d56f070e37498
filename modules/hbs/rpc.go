package hbs

import (
	"context"
	"strings"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
)

// register announces the methods of contract ingest 2.4 and ours.
func (h *HBS) register(s *rpc.Server) {
	// What agents ask is answered from memory: it takes less than to start a goroutine.
	rpc.HandleQuick(s, "Agent.ReportStatus", h.upgrades.quick, h.reportStatus)
	quick(s, "Agent.MinePlugins", h.minePlugins)
	quick(s, "Agent.BuiltinMetrics", h.builtinMetrics)
	quick(s, "Agent.TrustableIps", h.trustableIps)
	quick(s, "Agent.SyncServiceNames", h.syncServiceNames)
	rpc.Handle(s, "Hbs.GetStrategies", h.getStrategies)
	rpc.Handle(s, "Hbs.GetStringStrategies", h.getStringStrategies)
	rpc.Handle(s, "Hbs.GetExpressions", h.getExpressions)
	rpc.Handle(s, "Hbs.GetAgents", h.getAgents)
	rpc.Handle(s, "Hbs.GetOneEndStrategies", h.getOneEndStrategies)
	rpc.Handle(s, "HbsNew.GetFilteredStrategies", h.getFilteredStrategies)
	h.registerUnions(s)
	rpc.Handle(s, rulebook.Method, func(ctx context.Context, _ *rpc.Conn, req *rulebook.Request) (*rulebook.Reply, error) {
		h.books.Add(1)
		return h.keeper.book(ctx, req)
	})
}

func quick[A, R any](s *rpc.Server, name string, fn func(context.Context, *rpc.Conn, *A) (*R, error)) {
	rpc.HandleQuick(s, name, func(*A) bool { return true }, fn)
}

// reportStatus takes a heartbeat, and may answer it with the order to upgrade. A report
// without a name answers 1, as stock does.
func (h *HBS) reportStatus(ctx context.Context, _ *rpc.Conn, r *model.AgentReportRequest) (*model.AgentUpgradeRpcResponse, error) {
	if r.Hostname == "" {
		return &model.AgentUpgradeRpcResponse{Code: 1}, nil
	}
	h.beats.take(r)
	return &model.AgentUpgradeRpcResponse{Args: h.upgrades.heard(ctx, r)}, nil
}

// minePlugins tells an agent the folders of plugins that its groups bind.
func (h *HBS) minePlugins(_ context.Context, _ *rpc.Conn, r *model.AgentHeartbeatRequest) (*model.AgentPluginsResponse, error) {
	if r.Hostname == "" {
		return &model.AgentPluginsResponse{}, nil
	}
	e, err := h.keeper.get()
	if err != nil {
		return nil, err
	}
	dirs := e.Plugins(r.Hostname)
	if dirs == nil {
		dirs = []string{} // stock agents are used to a list
	}
	return &model.AgentPluginsResponse{Plugins: dirs, Timestamp: h.now().Unix()}, nil
}

// builtinMetrics tells an agent what it has to collect on demand. The list is left
// out when the agent has it already, by its checksum.
func (h *HBS) builtinMetrics(_ context.Context, _ *rpc.Conn, r *model.AgentHeartbeatRequest) (*model.BuiltinMetricResponse, error) {
	if r.Hostname == "" {
		return &model.BuiltinMetricResponse{}, nil
	}
	e, err := h.keeper.get()
	if err != nil {
		return nil, err
	}
	b := e.Builtin(r.Hostname)
	reply := &model.BuiltinMetricResponse{Metrics: b.Metrics, Checksum: b.Checksum, Timestamp: h.now().Unix()}
	if b.Checksum == r.Checksum || len(b.Metrics) == 0 {
		reply.Metrics = []*model.BuiltinMetric{}
	}
	return reply, nil
}

func (h *HBS) trustableIps(context.Context, *rpc.Conn, *model.NullRpcRequest) (*string, error) {
	ips := strings.Join(h.cfg.Trustable, ",")
	return &ips, nil
}

// syncServiceNames tells an agent which services it has to measure, in the fork's codes: 1
// without a name, 2 when there is nothing to measure.
func (h *HBS) syncServiceNames(_ context.Context, _ *rpc.Conn, r *model.AgentReportRequest) (*model.AgentServiceConfigRpcResponse, error) {
	if r.Hostname == "" {
		return &model.AgentServiceConfigRpcResponse{Code: 1}, nil
	}
	e, err := h.keeper.get()
	if err != nil {
		return nil, err
	}
	names := e.Services(r.Hostname)
	if len(names) == 0 {
		return &model.AgentServiceConfigRpcResponse{Code: 2}, nil
	}
	return &model.AgentServiceConfigRpcResponse{Args: strings.Join(names, ",")}, nil
}

// getStrategies hands all rules to a stock judge.
func (h *HBS) getStrategies(_ context.Context, c *rpc.Conn, _ *model.NullRpcRequest) (*strategiesReply, error) {
	e, err := h.keeper.get()
	if err != nil {
		return nil, err
	}
	h.stockBooks.Add(1)
	r := &strategiesReply{rules: e.stock()}
	if c.Codec() != rpc.JSON {
		r.fill()
	}
	return r, nil
}

func (h *HBS) getExpressions(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.ExpressionResponse, error) {
	e, err := h.keeper.get()
	if err != nil {
		return nil, err
	}
	all := e.Book.Expressions
	if all == nil {
		all = []*model.Expression{}
	}
	return &model.ExpressionResponse{Expressions: all}, nil
}

// agents is the answer of the fork's Hbs.GetAgents.
type agents struct {
	Agent []string
}

func (h *HBS) getAgents(context.Context, *rpc.Conn, *model.NullRpcRequest) (*agents, error) {
	return &agents{h.beats.names()}, nil
}
