// Package tsdb is the storage engine of graph: the received values of fixed-step
// series, each of which is named by endpoint and counter.
//
//	Resolve ── put ──┐
//	Append ─ head ── log ── ack        head: 12 open slots a series, then packed blocks
//	           │                             by window of an hour
//	         Seal ── segment, catalog ── log files go
//	Append ─ late buffer ── log ── ack          of an hour that is sealed
//	           │
//	      FlushLate ── overlay, catalog ── log files go
//	Query ─ segments + overlays + late buffers + head ── rates, fills
//
// # What is where
//
// Series are spread over 16 shards by the hash of their endpoint, so that a
// host's points take few locks and its series lie together in every file. A
// window w holds the slots whose time is in (w h, (w+1) h]: a point says something
// about the step before it, so the point of a full hour belongs to that hour. A
// window is open from its first point until it is sealed, ten minutes after its
// end or, when points still flow into it (the replay of a spool after an
// outage), when they cease.
//
// Files in Dir: LOCK, FORMAT, catalog-N (which series exist), wal-N (what is not
// sealed yet), seg-0-START (a sealed hour), seg-0-START.N (an overlay over it).
//
// # Late points
//
// A point for a window that is sealed, or is being sealed, goes to the late buffer of
// that window when it is not older than the retention; an older one is refused. When
// the buffers have LateBytes, or the first point in one of them is LateAge old, all of
// them become overlays: files as those of sealed windows, with the next number. The
// ninth overlay of a window holds what the eight before it hold, too, and they go.
//
// The first value of a series and time wins. A late point is looked for in the files,
// in the buffers and, during a seal, in the head before it is taken, so there is one
// copy of it, but for three cases, in which readers let the first file of the window
// win over overlays, a lower number over a higher one, and all of them over buffers:
// the log may hold what an overlay has since a crash, overlays may be there beside the
// one that they were merged into, and a chunk that could not be read may be readable
// again.
//
// A chunk of a counter carries the sample before it. A late point may be newer than
// that one, so where there are late points a query looks for the sample before its
// range in the overlays and buffers of the windows between. The chunks of an overlay
// are always of the series that has their id now: the id of a deleted series is used
// again only when no overlay has a chunk of it.
//
// Once a window has late points it takes none into the head any more, also when its
// seal has failed or it never had one.
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
// in the head and in the log, and is sealed at the next try. Nor is an overlay: its
// points stay in memory and in the log. When they are a quarter more than LateBytes,
// Append fails for batches with late points, so that their senders keep them.
//
// A file that is damaged is set aside under .bad, a chunk that is damaged counts as
// missing, and the rest serves.
//
// # Incarnations
//
// A series whose step or type changes becomes another incarnation of the same
// name; one with a step and type that were there before is continued. Queries
// answer times before the current incarnation became current from the others. Late
// points move that time back to theirs when no other one became current in between.
// COUNTER is DERIVE here.
//
// # Not there yet
//
// Coarser tiers, hence also strict xff; hiding of expired series: a silent series is
// deleted after 30 days or the retention, whichever is longer, when nothing of it is
// stored any more.
package tsdb
