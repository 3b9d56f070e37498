// Package spool is a bounded first-in-first-out queue on disk. A record that
// Append took survives a kill of the process; a record is gone only after it was
// committed, dropped or found damaged, and each of these is counted in points.
//
// A folder holds one spool:
//
//	spool-<number>   records, oldest number first; 16 byte header
//	                 "FSPOOL", version u16, number u64
//	position         how far the reader has committed; two slots written in turn
//	LOCK             held while the spool is open
//
// A record is: length of the payload u32, CRC-32C of what follows u32, points u32,
// Unix milliseconds i64, payload; all little-endian. Write calls are not synced one
// by one: Sync, which the owner calls each second, bounds what a power failure can
// take to what was appended since.
package spool
