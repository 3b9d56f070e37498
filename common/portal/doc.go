// Package portal holds all SQL of the fleet: people and sessions (uic), hosts and
// rules (falcon_portal), the search index of the graphs (graph), alarms (alarms), and
// screens (dashboard). The schema is stock's, exactly (contract query 6, alerting
// 7.1); what we add stands beside it in tables and columns with defaults, so that
// stock daemons and the stock dashboard keep working on the same databases.
//
//	db, err := portal.Open(ctx, portal.Config{Dir: "data/portal"}, log)
//	err = db.Migrate(ctx)
//	user, err := db.UserByName(ctx, "root")
//
// There is one Handle for each stock database. A database is a MySQL (5.7+) or
// MariaDB (10.3+) schema when a DSN is given, else the SQLite file
// Dir/<database>.db. No statement, join or transaction spans two of them, since
// each may live on another server. Of stock's five, alarms and dashboard may be left
// out by who does not need them.
//
// One file holds the statements of one table, written so that both dialects run
// them; the few words in which they differ are methods of dialect.
//
// What both dialects promise:
//
//   - Names compare without regard to ASCII case, as stock's collations do (they
//     fold accents and ignore trailing blanks on MySQL too, SQLite does not).
//   - Writes that may collide are UPDATE, INSERT when no row matched, and UPDATE
//     again after a duplicate error. INSERT ... ON DUPLICATE is never used: with
//     several unique keys it takes locks in an order nobody controls.
//   - Isolation is READ COMMITTED, rows are written in key order, and a
//     transaction that lost a deadlock or waited too long for a lock is run again
//     as a whole, a bounded number of times.
//   - Text that a column can not hold is refused with the reason before any
//     statement runs: longer than the column, not UTF-8, or outside the basic
//     plane (stock's utf8 has three bytes a character).
//
// An error is ErrNotFound, ErrExists, an *InvalidError, or the store's own.
package portal
