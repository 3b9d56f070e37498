// Package fleet runs the daemons in one process, wired over loopback sockets: the
// only package that knows them all.
//
//	agent ──> transfer ──> graph <── api (with the dashboard at /)
//	   └────> hbs ──> portal, Redis    graph ──> nodata ──> transfer
//	poly_metric ── rows of cluster, points by api ──> transfer
//
// Start: the data folder is locked, every listener is opened, the stores are
// brought to their schema, then everything starts at once; no order exists. Stop:
// in the direction data flows, each stage drains into a live one.
//
// judge ──> plus_judge ──> Redis ──> alarm: what is several conditions of one host.
//
// Data folder: portal/ (SQLite), graph/, judge/, plus_judge/, spool/, redis/, logs/, root-password,
// secrets.json, LOCK.
//
// Not here: gateway, which is for more than one site, and apiproxy, which is not there
// yet.
package fleet
