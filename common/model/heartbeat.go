package model

// The structs of this file are stock's, between agent and hbs (contract ingest
// 1.2). They have no JSON tags in stock, so their keys are the Go names.

// AgentReportRequest is a heartbeat.
type AgentReportRequest struct {
	Hostname      string
	IP            string
	AgentVersion  string
	PluginVersion string
}

// AgentHeartbeatRequest asks what an agent has to do. Checksum is that of the last
// answer, so that an unchanged one need not be sent again.
type AgentHeartbeatRequest struct {
	Hostname string
	Checksum string
}

// AgentPluginsResponse answers Agent.MinePlugins; Plugins may be null.
type AgentPluginsResponse struct {
	Plugins   []string
	Timestamp int64 // Unix seconds
}

// BuiltinMetric is a metric that an agent collects only because a rule wants it.
type BuiltinMetric struct {
	Metric string
	Tags   string
}

// BuiltinMetricResponse answers Agent.BuiltinMetrics. Metrics is empty when
// Checksum is the one of the request.
type BuiltinMetricResponse struct {
	Metrics   []*BuiltinMetric
	Checksum  string
	Timestamp int64
}

// AgentServiceConfigRpcResponse answers the fork's Agent.SyncServiceNames: Code 0 with the
// services that the agent has to measure, separated by commas; 1 for a request without a
// hostname; 2 when nothing is to be measured.
type AgentServiceConfigRpcResponse struct {
	Code int    `json:"code"`
	Args string `json:"args"`
}
