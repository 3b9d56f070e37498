package record

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A Group is the points of one shard in a points record, still packed.
type Group struct {
	Shard uint8
	N     int
	runs  []byte
}

const (
	groupHeader = 7  // shard u8, count u16, length of the runs u32
	maxValue    = 9  // bytes of one value
	maxPoint    = 20 // bytes of a run of one: two varints of 5, a count, a value
	maxRun      = 255
)

// NextGroup cuts the first group off the payload of a points or late record. Whether its
// runs are sound, Batch.Decode finds out.
func NextGroup(p []byte) (g Group, rest []byte, err error) {
	if len(p) < groupHeader {
		return g, nil, ErrCorrupt
	}
	g.Shard = p[0]
	g.N = int(binary.LittleEndian.Uint16(p[1:]))
	n := binary.LittleEndian.Uint32(p[3:])
	p = p[groupHeader:]
	if uint64(n) > uint64(len(p)) {
		return g, nil, ErrCorrupt
	}
	g.runs = p[:n]
	return g, p[n:], nil
}

// A GroupWriter packs the points of one group in place.
type GroupWriter struct {
	start, end int
	n          int
	run        int // offset of the count of the run that is open
	id, ts     uint32
}

// BeginGroup makes room behind dst for a group of at most room points, 65535 at
// most.
func BeginGroup(dst []byte, shard uint8, room int) ([]byte, GroupWriter) {
	w := GroupWriter{start: len(dst), end: len(dst) + groupHeader, id: math.MaxUint32}
	n := w.end + maxPoint*room
	if cap(dst) < n {
		dst = append(make([]byte, 0, 2*n), dst...)
	}
	dst = dst[:n]
	dst[w.start] = shard
	return dst, w
}

// Add puts a point into the group that BeginGroup began in b.
func (w *GroupWriter) Add(b []byte, id, ts uint32, v float64) {
	if w.n > 0 && id == w.id+1 && ts == w.ts && b[w.run] < maxRun {
		b[w.run]++
	} else {
		at := w.end
		at += binary.PutUvarint(b[at:], uint64(zigzag(id-w.id-1)))
		at += binary.PutUvarint(b[at:], uint64(zigzag(ts-w.ts)))
		b[at] = 1
		w.run, w.end = at, at+1
	}
	w.id, w.ts = id, ts
	w.n++
	w.end += putValue((*[maxValue]byte)(b[w.end:]), v)
}

// End completes the group and cuts b behind it; a group without points disappears.
func (w *GroupWriter) End(b []byte) []byte {
	if w.n == 0 {
		return b[:w.start]
	}
	binary.LittleEndian.PutUint16(b[w.start+1:], uint16(w.n))
	binary.LittleEndian.PutUint32(b[w.start+3:], uint32(w.end-w.start-groupHeader))
	return b[:w.end]
}

// Differences of ids and times wrap around, so zigzag and unzigzag know no
// overflow.
func zigzag(d uint32) uint32   { return d<<1 ^ uint32(int32(d)>>31) }
func unzigzag(u uint32) uint32 { return u>>1 ^ -(u & 1) }

// A value is a tag and up to 8 bytes, as many as it needs: of an integer, after a
// division by a power of ten, or of the bits of a float, whose low bytes are often
// 0. Most of what is measured are whole numbers and numbers of two decimals, and a
// general compressor finds nothing in the bits of the latter.
const (
	tagFloat  = 3 << 4 // the tag's high half is this or an index of scales
	exactInts = 1 << 52
)

var scales = [...]float64{1, 100, 1000}

// putValue writes v bit for bit and returns the length; what is behind it in dst
// is overwritten.
func putValue(dst *[maxValue]byte, v float64) int {
	var u uint64
	tag := byte(tagFloat)
	if k := int64(v); float64(k) == v && k < exactInts && k > -exactInts && (k != 0 || !math.Signbit(v)) {
		u, tag = uint64(k<<1)^uint64(k>>63), 0
	} else if k, ok := scaled(v, 100); ok {
		u, tag = uint64(k<<1)^uint64(k>>63), 1<<4
	} else if k, ok := scaled(v, 1000); ok {
		u, tag = uint64(k<<1)^uint64(k>>63), 2<<4
	} else {
		u = bits.ReverseBytes64(math.Float64bits(v))
	}
	n := (bits.Len64(u) + 7) / 8
	dst[0] = tag | byte(n)
	binary.LittleEndian.PutUint64(dst[1:], u)
	return 1 + n
}

// scaled returns the integer whose quotient by scale is v, if there is one.
func scaled(v, scale float64) (int64, bool) {
	m := v * scale
	if !(m < exactInts && m > -exactInts) { // false for NaN too
		return 0, false
	}
	k := int64(m + math.Copysign(.5, m))
	return k, float64(k)/scale == v && k != 0
}

// A Batch holds the points of a group in columns. Its memory is used again.
type Batch struct {
	IDs, Times []uint32
	Values     []float64
}

// Decode replaces the content by the points of g.
func (p *Batch) Decode(g *Group) error {
	if cap(p.IDs) < g.N {
		p.IDs, p.Times, p.Values = make([]uint32, 2*g.N), make([]uint32, 2*g.N), make([]float64, 2*g.N)
	}
	p.IDs, p.Times, p.Values = p.IDs[:g.N], p.Times[:g.N], p.Values[:g.N]
	b := g.runs
	id, ts := uint32(math.MaxUint32), uint32(0)
	for i := 0; i < g.N; {
		d, n := binary.Uvarint(b)
		if n <= 0 || d > math.MaxUint32 {
			return ErrCorrupt
		}
		b = b[n:]
		e, n := binary.Uvarint(b)
		if n <= 0 || e > math.MaxUint32 || len(b) == n {
			return ErrCorrupt
		}
		count := int(b[n])
		b = b[n+1:]
		if count == 0 || count > g.N-i {
			return ErrCorrupt
		}
		id += unzigzag(uint32(d)) // and 1 for the first of the run
		ts += unzigzag(uint32(e))
		ids, times := p.IDs[i:i+count], p.Times[i:i+count]
		for j := range ids {
			id++
			ids[j] = id
			times[j] = ts
		}
		var ok bool
		if b, ok = values(p.Values[i:i+count], b); !ok {
			return ErrCorrupt
		}
		i += count
	}
	if len(b) > 0 {
		return ErrCorrupt
	}
	return nil
}

// masks keep the bytes of a value that are its own.
var masks = [16]uint64{0, 1<<8 - 1, 1<<16 - 1, 1<<24 - 1, 1<<32 - 1, 1<<40 - 1, 1<<48 - 1, 1<<56 - 1, 1<<64 - 1}

// values reads as many values as v has from the front of b.
func values(v []float64, b []byte) (rest []byte, ok bool) {
	for i := range v {
		var u uint64
		var tag byte
		if len(b) >= maxValue {
			tag = b[0]
			u = binary.LittleEndian.Uint64(b[1:]) & masks[tag&15]
		} else {
			if len(b) == 0 {
				return nil, false
			}
			var last [maxValue]byte
			copy(last[:], b)
			tag = last[0]
			u = binary.LittleEndian.Uint64(last[1:]) & masks[tag&15]
		}
		n := int(tag & 15)
		if n > 8 || n >= len(b) || tag > tagFloat|8 {
			return nil, false
		}
		b = b[1+n:]
		if tag >= tagFloat {
			v[i] = math.Float64frombits(bits.ReverseBytes64(u))
		} else {
			v[i] = float64(int64(u>>1)^-int64(u&1)) / scales[tag>>4]
		}
	}
	return b, true
}
