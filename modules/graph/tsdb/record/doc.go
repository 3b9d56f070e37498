// Package record is the framing of the write-ahead log and the catalog, and the
// records in them.
//
//	frame   len u32 | crc32c u32 | type u8 | payload     len counts type and payload, the sum too
//	1       points: groups of one shard each, shard u8 | n u16 | id u32*n, each less the one before | ts u32*n | value f64*n
//	2       the same, compressed with s2
//	3       put: a series exists under this id, and is the current one of its name or not
//	4       del: shard u8 | id u32
//	5       reserved for a checkpoint
//	6       current: shard u8 | id u32 | since u32
//
// Numbers are little-endian. Columns rather than rows, and differences of the ids,
// make s2 find the repeats.
package record
