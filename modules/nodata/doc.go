// Package nodata is the daemon that reports a value in the place of series that have
// gone silent, so that a rule on the value can tell people of it.
//
//	portal: mockcfg, groups ──> rows.go: which series, and their mock values
//	api: graph/lastpoint ─────> answers.go: the newest points, as far as anybody knows
//	                            judge.go: silent or not, each minute
//	                            outbox.go, send.go ── POST /api/push ──> transfer
//
// Keys of a file of stock, its pages and its counters stay. rows.go, answers.go and
// judge.go are the core: values in, values out, the time an argument.
//
// Rows come by SQL, and so do the members of groups: that is where stock reads both (its
// api is asked for last points and for nothing else), and it needs no token that may
// list hosts. Last points come from the api, ours or stock's; who runs nodata in the
// process of the graphs' clients hands them over as Deps.Points.
//
// Rows are read at the start and at second 50 of every even minute; points are asked for
// at seconds 0, 20 and 40, and judged at second 0. Differences from stock: rows are there
// at once and not after two minutes; a graph that has forgotten, as after a restart, does
// not make its series silent for Config.Grace steps; too many silent series at once mean
// that something else is wrong, and are not reported when sender.block is on; what
// transfer does not take is tried again.
//
// When the clock of the host is put, series are judged by the clock as it was until points
// follow (skew.go). One that was wrong at the start is not found out.
//
// Two may run side by side with the same Redis (redis.enabled): one sends, by a lock. The
// other collects and judges as well, and keeps what it would have sent of the last two
// minutes: when it takes the lock over it sends that first. A mock that comes twice has
// the same time and value, and graph keeps one. One whose api is away leaves the lock.
//
// Ports: HTTP 6090.
//
// What is lost when it dies: the mocks that transfer has not taken, which with a second
// nodata it sends; and what it knew of graphs that have forgotten: a series that had data
// before and answers nothing right after a restart of both counts as silent. While the
// database is away the rows stay as they were; while the api is away, nothing is judged.
package nodata
