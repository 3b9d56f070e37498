// Package graph is the daemon that keeps the points: it takes them from transfer,
// stores them (package tsdb), and answers who asks for their history.
//
//	transfer ── stream, or gob from a stock one ──> log ── ack
//	                                                 ├─> head ──> hourly segments
//	                                                 └─> late buffers ──> overlays over them
//	api ── Graph.Query, QueryBatch, Last, Search ──> segments, overlays, buffers and head
//	graph ── write-behind ──> database graph (endpoint, tag_endpoint, endpoint_counter)
//
// Ports: RPC 6070, admin HTTP 6071.
//
// What is lost when it dies: nothing that was acknowledged. The search index is
// derived from the engine's catalog, in memory at start and in SQL behind it.
//
// Not there yet: the coarser tiers (queries answer raw points only, for as long as
// Config.Retention), GetRrd and moving data from old nodes, a hand-written gob decoder,
// replicas that fill each other's gaps, and keeping an expired series findable.
package graph
