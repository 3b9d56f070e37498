// Package polymetric is the daemon that makes metrics of the metrics of a group of
// hosts: the mean of their load, the share of them that is too full. It takes the
// place of stock's aggregator and works the rows of the table cluster.
//
//	falcon_portal ── rows of cluster, every interval ──> a schedule each
//	api  <── hostgroup/:id, graph/lastpoint ──  at its turn, every step of the row
//	row + hosts + last points + now ──> evaluate ──> one point, or why there is none
//	points ── a bounded queue ──> push_api: an agent or a transfer
//
// A row's turn comes every step, at a second of the step that its id decides: rows are
// spread over the step, a restart or another instance goes on in the same rhythm, and
// no step gets two points or none.
//
//	rules.go      a row, read: the formulas, or what is wrong with it
//	evaluate.go   the core: values in, a point out; pure
//	polymetric.go Run, and every goroutine
//	schedule.go   rows come, change and go
//	groups.go, points.go, push.go   who is asked and who is told
//	http.go       /items, /bad and the pages that every daemon has
//
// Ports: HTTP 6055.
//
// Several may share the rows by ranges of ids (database.ids), as in stock. With a Redis
// (redis.enabled) two with the same range stand in for each other: one works, the other
// waits for its lock.
//
// What is lost when it dies: results that push_api has not taken, and the turns until
// it is back. Nothing is kept on disk: what a row is worth is asked again each step.
//
// What can not be computed is no point: when a part of the last points can not be asked
// for, a sum over the rest would look like a fall. Each such turn is counted with its
// reason, and /items says it of the row.
//
// Not there yet: rules on streams, windows and quantiles (the fork's table poly_metric).
// Their points will come by RPC, and what they make leaves by the same queue.
package polymetric
