package model

// The structs of this file are stock's and its fork's, between agent and hbs (contract
// ingest 1.2). They have no JSON tags in stock, so their keys are the Go names. What we
// add is left out while it is empty: then the bytes are stock's.

// AgentReportRequest is a heartbeat.
type AgentReportRequest struct {
	Hostname      string
	IP            string
	AgentVersion  string
	PluginVersion string

	// InUpgrading is the fork's: an upgrade is on its way, and no other is wanted.
	InUpgrading bool `json:",omitempty"`

	// The rest is ours; others ignore it.

	// ConfigMd5 is the MD5, 32 hex digits, of the configuration file that is in force.
	ConfigMd5 string `json:",omitempty"`
	// MachineID and BootID tell machines apart that claim one name.
	MachineID string `json:",omitempty"`
	BootID    string `json:",omitempty"`
	// SelfUpgrade is SelfUpgradeOn, or says why this agent does not upgrade itself. Agents
	// of others leave it empty.
	SelfUpgrade string `json:",omitempty"`
	// UpgradeError says why the last upgrade that was ordered came to nothing.
	UpgradeError string `json:",omitempty"`
}

// SelfUpgradeOn is AgentReportRequest.SelfUpgrade of an agent that takes orders.
const SelfUpgradeOn = "on"

// Types of an upgrade.
const (
	UpgradeBinary = 0
	UpgradeConfig = 1
	UpgradeBoth   = 2
)

// AgentUpgradeArgs orders an upgrade. The first five keys are the fork's and always
// there; those behind them stand only where they were given.
type AgentUpgradeArgs struct {
	Type       int    `json:"type"` // UpgradeBinary, UpgradeConfig or UpgradeBoth
	WgetURL    string `json:"wgeturl"`
	Version    string `json:"version"`
	BinFileMd5 string `json:"binfile_md5"`
	CfgFileMd5 string `json:"cfgfile_md5"`

	// BinFileSHA256 and CfgFileSHA256 are 64 hex digits.
	BinFileSHA256 string `json:"binfile_sha256,omitempty"`
	CfgFileSHA256 string `json:"cfgfile_sha256,omitempty"`
	// BinFileSig and CfgFileSig are minisign signatures: the text of a .minisig file.
	BinFileSig string `json:"binfile_sig,omitempty"`
	CfgFileSig string `json:"cfgfile_sig,omitempty"`
	// Waves are the percentages of the fleet that are upgraded step by step; agents do not
	// look at them.
	Waves []int `json:"waves,omitempty"`
}

// HasBinary says whether the program is upgraded.
func (a *AgentUpgradeArgs) HasBinary() bool { return a.Type == UpgradeBinary || a.Type == UpgradeBoth }

// HasConfig says whether the configuration is upgraded.
func (a *AgentUpgradeArgs) HasConfig() bool { return a.Type == UpgradeConfig || a.Type == UpgradeBoth }

// AgentUpgradeRpcResponse answers a heartbeat; Args is nil when nothing is ordered. Its
// first field is stock's SimpleRpcResponse.
type AgentUpgradeRpcResponse struct {
	Code int               `json:"code"`
	Args *AgentUpgradeArgs `json:"Args,omitempty"`
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
