// Package segment is the write-once file of one window of one tier:
// seg-<tier>-<start>, and seg-<tier>-<start>.<n> for the overlays that late points
// make, n counting from 1. Where several have a value of a series and time the file
// without a number wins, then the lowest one.
//
//	header  32 bytes: FGSEG, version u8, tier u8, flags u8, t0 u32, t1 u32, bin u32,
//	        shards u16, 0 u16, created u32, crc32c of the 28 bytes before u32
//	chunks  len u16 | low 16 bits of crc32c u16 | body, by shard, ids ascending
//	index   per shard base u64 | n u32 | offset u32 * n, relative to base; 0 is none
//	footer  index offset u64 | crc32c of the index u32 | GESF
//
// A file is written under .tmp, synced and renamed, so a file of this name is
// whole; readers map it and count who reads it.
package segment
