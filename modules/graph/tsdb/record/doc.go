// Package record is the framing of the write-ahead log and the catalog, and the
// records in them.
//
//	frame   len u32 | crc32c u32 | type u8 | payload     len counts type and payload, the sum too
//	1       points: groups of one shard each, shard u8 | n u16 | bytes u32 | runs
//	2       late: as points, of windows that are sealed
//	3       put: a series exists under this id, and is the current one of its name or not
//	4       del: shard u8 | id u32
//	5       reserved for a checkpoint
//	6       current: shard u8 | id u32 | since u32
//
// Numbers are little-endian. A run is points of the same time whose ids follow each
// other, as those of a host do:
//
//	run     varint of id - id expected | varint of time - time before | count u8 | values
//	value   tag u8: bytes in the low half, in the high one 0 integer, 1 of hundredths, 2 of thousandths, 3 float | bytes
//
// varints and integers are zigzag; a float has its bytes in reverse order and the
// zeros behind them cut off.
package record
