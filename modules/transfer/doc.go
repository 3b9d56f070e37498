// Package transfer is the daemon that takes points from agents and everybody else,
// checks them once, and hands each to the graph that owns its series.
//
//	agents ── stream ─────────────┐                        ┌─ stream ─> graph-00
//	stock agents ── JSON-RPC ─────┼─> check ─> series ─> ring ─ stream ─> graph-01
//	curl ── POST /api/push ───────┤            (once)      └─ gob ────> a stock graph
//	scripts ── lines on 4444 ─────┘               └─ (judge, the same way, when enabled)
//
// Ports: RPC 8433, HTTP 6060, lines 4444.
//
// A value that is a text goes to judges alone: to those of stringJudge, or of judge.
//
// A success means kept: a point is answered for when, for every address it must
// reach, that address has acknowledged it or it is in this transfer's own spool for
// it. A graph that has not acknowledged within half a second is spooled for, and
// from then on new points join the tail, so order holds, until the graph acknowledges
// again and all of the spool is on its way. When a graph's spool is full, streams get
// no ack and stock clients get an error. Small pushes that come while others are on
// their way travel on together.
//
// What is lost when it dies: nothing that was answered for.
//
// At each moment and for each destination
//
//	received + spool at start = delivered + refused(reason) + muted + passed on + stale + dropped + damaged + spooled + in flight
//
// which GET /debug/accounting shows.
//
// A gateway (falcon-gateway) is this program with other defaults: its only
// destination is the transfers behind it, and any of them takes any point.
//
//	agents, scripts ─> gateway ─ stream ────> transfer t1, or t2 when t1 is away
//	                      └─ JSON-RPC ─> a stock transfer
//
// A relayed point keeps its step and its time. One transfer is sent to at a time, so
// that the order of a series holds; the spool is one for all of them.
//
// With failover other judges stand in for one that is away: failover.go decides, detour.go
// hands on what waits for it and what comes, adopt.go brings judges what others knew.
// Points that are handed on are "passed on" in the books of the one that is away, and
// received in those of the one that stands in.
//
// Not there yet: OpenTSDB, InfluxDB, Kafka, Prometheus and poly_metric as
// destinations, the blacklist, and changing rings while running.
package transfer
