// Package tsdb is the storage engine of graph: the received values of fixed-step
// series, each of which is named by endpoint and counter.
//
//	Resolve ── put ──┐
//	Append ─ head ── log ── ack        head: 12 open slots a series, then packed blocks
//	           │                             by window of an hour
//	         Seal ── segment, catalog ── log files go
//	Query ─ segments + head ── rates, fills
//
// # What is where
//
// Series are spread over 16 shards by the hash of their endpoint, so that a
// host's points take few locks and its series lie together in every file. A
// window w holds the slots whose time is in (w h, (w+1) h]: a point says something
// about the step before it, so the point of a full hour belongs to that hour. A
// window is open from its first point until it is sealed, ten minutes after its
// end or, when points still flow into it (the replay of a spool after an
// outage), when they cease. A point for a window that is sealed is refused as
// late.
//
// Files in Dir: LOCK, FORMAT, catalog-N (which series exist), wal-N (what is not
// sealed yet), seg-0-START (a sealed hour). Names seg-TIER-START.N are kept for
// overlays and coarser tiers.
//
// # What is lost when the process dies
//
// Nothing that Append has taken: it returns after the log has the batch. When the
// machine dies, up to a second with Durability Interval, nothing with Group.
//
// # When the disk fails
//
// A failed write or sync of the log or the catalog makes the DB read-only: Append
// and Resolve of new series fail with the cause, queries go on from memory and
// files. No sync is ever tried again, since the kernel may have dropped the pages.
// The way back is a restart: Open rebuilds the head from the files, so points that
// were in memory but never in the log, and never acknowledged, are gone, as they
// must be. A segment that can not be written is no reason for it: its window stays
// in the head and in the log, and is sealed at the next try.
//
// # Incarnations
//
// A series whose step or type changes becomes another incarnation of the same
// name; one with a step and type that were there before is continued. Queries
// answer times before the current incarnation became current from the others.
// COUNTER is DERIVE here.
//
// # Not there yet
//
// Coarser tiers and overlays for late points, hence also strict xff; hiding of
// expired series: a silent series is deleted after 30 days or the retention,
// whichever is longer, when nothing of it is stored any more.
package tsdb
