// Package codec packs columns of float64 values of one series, bit-exactly.
//
// Values of monitoring are integers, decimals with few places or multiples of
// 1/step far more often than they are arbitrary floats, so a column is first
// turned into integers: by the smallest of a few scales that loses nothing, else
// by taking the bits of the floats in an order-preserving way. The integers are
// packed in blocks of 32, each in the cheapest of four modes.
//
//	column   0xF1 varint                  every value is that integer
//	         0xF0 8 bytes                 every value is that float
//	         scale u8 (0..7) blocks…      value = integer / scale
//	         0x80 shift u8 blocks…        value = float of (integer << shift)
//	block    mode(2)|width(6) …           width 63 stands for 64
//	mode 0   varint min, n offsets        frame of reference
//	mode 1   varint first, n-1 zigzag deltas
//	mode 2   varint first, varint least delta, n-1 offsets of the deltas
//	mode 3   bitmap of repeats, zigzag deltas of the values that changed
//
// Varints are zigzag and relative to the last value of the block before. Columns
// are at most 512 values; Append and Decode split longer ones. A chunk is the
// column of one window of a series with the set of slots that hold a value and,
// for counters, the sample before the first one.
//
// Every decoder answers arbitrary bytes with an error; none panics or allocates
// by what the bytes say.
package codec
