// Package agent is the daemon on every host: it looks at the host, takes what local
// programs push, and hands both to a transfer.
//
//	/proc, /sys ── collectors ──┐
//	                            ├─> spool, or memory ── stream ──> a transfer
//	POST /v1/push ──────────────┤    kept until acked      JSON-RPC to a stock one
//	plugins that hbs binds ─────┤
//	exporters of Prometheus ────┤
//	fping, on a ping node ──────┘
//
// Ports: HTTP 1988.
//
// A point leaves the queue when a transfer has acknowledged it; until then it is tried
// again, at another transfer when there is one. When the queue is full the oldest
// points go, and are counted. Names of transfers and hbs are resolved at each connect and
// every five minutes.
//
// collect/testdata/metrics.json lists what it sends; docs/metrics.md is made of it.
//
// Each collector looks as often as its level of importance says
// (metric_level_interval), under a deadline of its own; one that does not answer costs
// its own points only, and agent.collector.stuck tells of it.
//
// What is lost when it dies: with a spool nothing that a push was answered for; without
// one what no transfer has acknowledged yet. A push with ?wait=1 is answered only after
// the acknowledgement.
//
// It reports to an hbs each minute, so that the portal knows the host and silence is
// noticed, and learns from it which callers to trust, which services to measure, and what
// rules want to know beyond what is always looked at: ports, processes and their cores,
// folders, pages (ondemand.go), and plugins, programs of the operator that make items
// (plugin).
//
// The pages below /proc, /page and /system show the host as stock's do. What changes
// something (/run, /exit, /plugin/…) is for callers on this machine or at addresses
// that hbs trusts, and /run besides only with http.backdoor.
//
// With self_upgrade it replaces its own program and configuration when hbs orders it, and
// falcon-agent-guard puts the old ones back when the new ones are no good; see package
// upgrade.
package agent
