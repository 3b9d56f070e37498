package tsdb

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"falcon/modules/graph/tsdb/codec"
	"falcon/modules/graph/tsdb/segment"
)

const (
	numShards = 16   // on disk, see FORMAT
	openSlots = 12   // newest slots of a series that are not packed yet
	slabSize  = 1024 // series are allocated by this many
)

// A series is one incarnation. It holds no pointer, so that the collector never
// looks into the slabs. An id that is free has no flagAlive.
type series struct {
	hash      uint64
	name      uint32 // in shard.names: endpoint, counter
	epLen     uint16
	ctrLen    uint16
	born      uint32 // Unix time of creation
	bornWin   uint32 // chunks of windows before it belong to an earlier owner of the id
	since     uint32 // Unix time of its first point since it became current
	sib       uint32 // next incarnation of the same name, a ring; itself when alone
	last      uint32 // newest slot
	base      uint32 // slot of open[0]
	step      uint32 // seconds
	heartbeat uint32 // seconds
	prevSlot  uint32 // newest sealed sample, 0 for none; see flagPrevUnknown
	gen       uint16
	mask      uint16 // which of open hold a value
	kind      uint8  // typeGauge or typeDerive
	flags     uint8
	nameRoom  uint16 // bytes at name, for the next owner of the id
	_         uint32
	prevValue float64
	open      [openSlots]float64
}

const (
	flagAlive       = 1 << iota
	flagFresh       // since is set by the next point
	flagPrevUnknown // after a restart the newest sealed sample is only in the segments
	flagMinZero     // min is 0
	flagBounds      // min and max are in shard.bounds
	flagDirty       // is in shard.dirty
)

type sample struct {
	slot  uint32 // 0 for none
	value float64
}

// A shard holds the series of some endpoints. mu guards everything in it; it is
// never held over I/O.
type shard struct {
	mu        sync.Mutex
	db        *DB
	index     int
	table     []uint32 // id+1 by hash, open addressing; current incarnations only
	names     arena
	slabs     []*[slabSize]series
	n         uint32 // ids are below n
	named     int    // entries in table
	alive     int
	free      []uint32
	waiting   []uint32           // freed ids, free after a seal when no overlay has a chunk of them
	windows   []*window          // ascending
	cur       *window            // the one last used
	segments  []*segment.Segment // of tier 0, ascending, overlays behind their window's first; the slice is never changed
	version   uint32             // counts the changes of segments
	late      []*lateBuffer      // late points by window, in no order
	flushing  []*lateBuffer      // those that are being written to overlays
	floor     uint32             // windows before it take no points
	published uint32             // windows before it are in segments or empty
	newest    uint32             // newest window with a point
	bounds    map[uint32][2]float64
	dirty     []uint32 // put, or current changed, since the catalog was written
	dead      []uint32 // deleted since then

	enc codec.Encoder
	buf []byte

	appended  uint64
	lateTaken uint64 // of appended
	lateDups  uint64 // of outcomes[duplicate]
	outcomes  [outcomeCount]uint64
	sink      uint32

	_ [64]byte // keeps the locks of two shards apart
}

// hashName returns the shard and the hash of a name. The shard is taken from the
// endpoint alone.
func hashName(endpoint, counter string) (shard int, hash uint64) {
	he := xxhash.Sum64String(endpoint) * 0x9e3779b97f4a7c15
	return int(he >> 60), he ^ xxhash.Sum64String(counter)
}

func (s *shard) at(id uint32) *series { return &s.slabs[id/slabSize][id%slabSize] }

// known returns the series of a ref, nil when it is no more.
func (s *shard) known(ref Ref) *series {
	if ref.id() >= s.n {
		return nil
	}
	if x := s.at(ref.id()); ref.gen() == uint64(x.gen) && x.flags&flagAlive != 0 {
		return x
	}
	return nil
}

// nameOf returns the name of a series in the shard's own memory, which its id may
// change when mu is released.
func (s *shard) nameOf(x *series) (endpoint, counter string) {
	b := s.names.at(x.name)
	all := unsafe.String(&b[0], int(x.epLen)+int(x.ctrLen))
	return all[:x.epLen], all[x.epLen:]
}

// find returns the place in the table of the current incarnation of a name and
// its id; ok is false when there is none, and place is where it would go.
func (s *shard) find(hash uint64, endpoint, counter string) (place int, id uint32, ok bool) {
	if len(s.table) == 0 {
		return 0, 0, false
	}
	m := len(s.table) - 1
	for p := int(hash) & m; ; p = (p + 1) & m {
		v := s.table[p]
		if v == 0 {
			return p, 0, false
		}
		x := s.at(v - 1)
		if x.hash == hash && int(x.epLen) == len(endpoint) && int(x.ctrLen) == len(counter) {
			if e, c := s.nameOf(x); e == endpoint && c == counter {
				return p, v - 1, true
			}
		}
	}
}

// grow doubles the table, or makes it big enough for n entries.
func (s *shard) grow(n int) {
	size := max(1024, len(s.table))
	for size*3 < n*4 {
		size *= 2
	}
	table := make([]uint32, size)
	m := size - 1
	for _, v := range s.table {
		if v == 0 {
			continue
		}
		p := int(s.at(v-1).hash) & m
		for table[p] != 0 {
			p = (p + 1) & m
		}
		table[p] = v
	}
	s.table = table
}

// enter puts the current incarnation of a new name into the table.
func (s *shard) enter(id uint32) {
	if (s.named+1)*4 >= len(s.table)*3 {
		s.grow(2 * (s.named + 1))
	}
	m := len(s.table) - 1
	p := int(s.at(id).hash) & m
	for s.table[p] != 0 {
		p = (p + 1) & m
	}
	s.table[p] = id + 1
	s.named++
}

// leave empties a place in the table and moves up the entries that had to go past
// it.
func (s *shard) leave(place int) {
	m := len(s.table) - 1
	hole := place
	for p := (place + 1) & m; s.table[p] != 0; p = (p + 1) & m {
		home := int(s.at(s.table[p]-1).hash) & m
		if (p-home)&m >= (p-hole)&m {
			s.table[hole] = s.table[p]
			hole = p
		}
	}
	s.table[hole] = 0
	s.named--
}

// room makes sure that id exists.
func (s *shard) room(id uint32) {
	for int(id/slabSize) >= len(s.slabs) {
		s.slabs = append(s.slabs, s.newSlabs()...)
	}
	s.n = max(s.n, id+1)
}

// occupy makes id the place of a new incarnation; the caller links it.
func (s *shard) occupy(id uint32, hash uint64, endpoint, counter string, kind uint8, step, heartbeat uint32) *series {
	s.room(id)
	x := s.at(id)
	gen, name, room, dirty := x.gen, x.name, x.nameRoom, x.flags&flagDirty
	*x = series{hash: hash, epLen: uint16(len(endpoint)), ctrLen: uint16(len(counter)),
		kind: kind, step: step, heartbeat: heartbeat, gen: max(gen, 1), flags: flagAlive | flagFresh | dirty, sib: id}
	n := len(endpoint) + len(counter)
	if s.buf = append(append(s.buf[:0], endpoint...), counter...); n <= int(room) {
		copy(s.names.at(name), s.buf)
		x.name, x.nameRoom = name, room
	} else {
		x.name, x.nameRoom = s.names.add(s.buf), uint16(n)
	}
	s.alive++
	return x
}

// kill frees an id: the incarnation, its place in the table and its points in the
// head are gone, and refs to it are void.
func (s *shard) kill(id uint32) {
	x := s.at(id)
	endpoint, counter := s.nameOf(x)
	if place, cur, ok := s.find(x.hash, endpoint, counter); ok && cur == id {
		if best := s.newestSibling(id); best != id {
			s.table[place] = best + 1
		} else {
			s.leave(place)
		}
	}
	for p := x.sib; ; p = s.at(p).sib { // unlink from the ring
		if y := s.at(p); y.sib == id {
			y.sib = x.sib
			break
		}
	}
	for _, w := range s.windows {
		w.clearHead(id)
	}
	s.buffers(0, math.MaxUint32, func(b *lateBuffer) { delete(b.heads, id) })
	if x.flags&flagBounds != 0 {
		delete(s.bounds, id)
	}
	x.flags &= flagDirty
	x.mask = 0
	if x.gen++; x.gen == 0 {
		x.gen = 1
	}
	s.alive--
}

// newestSibling returns the other incarnation that was current last, or id.
func (s *shard) newestSibling(id uint32) uint32 {
	best := id
	for p := s.at(id).sib; p != id; p = s.at(p).sib {
		if best == id || s.at(p).since > s.at(best).since {
			best = p
		}
	}
	return best
}

// mark has the catalog learn about id at the next seal.
func (s *shard) mark(id uint32) {
	if x := s.at(id); x.flags&flagDirty == 0 {
		x.flags |= flagDirty
		s.dirty = append(s.dirty, id)
	}
}

// setBounds keeps the bounds of a series; the usual ones cost no memory.
func (s *shard) setBounds(id uint32, lo, hi float64) {
	x := s.at(id)
	x.flags &^= flagMinZero | flagBounds
	switch {
	case lo != lo && hi != hi, lo >= hi: // the latter is a definition left at zero
	case lo == 0 && hi != hi:
		x.flags |= flagMinZero
	default:
		if s.bounds == nil {
			s.bounds = map[uint32][2]float64{}
		}
		s.bounds[id] = [2]float64{lo, hi}
		x.flags |= flagBounds
	}
}

func (s *shard) boundsOf(id uint32) (lo, hi float64) {
	switch x := s.at(id); {
	case x.flags&flagBounds != 0:
		b := s.bounds[id]
		return b[0], b[1]
	case x.flags&flagMinZero != 0:
		return 0, math.NaN()
	}
	return math.NaN(), math.NaN()
}

// info describes an incarnation.
func (s *shard) info(id uint32) Info {
	x := s.at(id)
	return Info{
		Ref: newRef(s.index, id, x.gen), Type: typeName(x.kind), Step: int(x.step), Heartbeat: int(x.heartbeat),
		Born: int64(x.born), Last: int64(x.last) * int64(x.step), Prev: x.sib != id,
	}
}

// window returns open window w and opens it when it is new.
func (s *shard) window(w uint32) *window {
	i := len(s.windows)
	for i > 0 && s.windows[i-1].w >= w {
		i--
	}
	if i < len(s.windows) && s.windows[i].w == w {
		return s.windows[i]
	}
	n := &window{w: w}
	s.windows = append(s.windows, nil)
	copy(s.windows[i+1:], s.windows[i:])
	s.windows[i] = n
	s.newest = max(s.newest, w)
	return n
}

// put stores one value in its slot; the first one wins. It answers false for a
// duplicate. The window of the slot is not sealed.
func (s *shard) put(w *window, id uint32, x *series, slot uint32, v float64) bool {
	switch d := slot - x.base; {
	case x.mask == 0:
		if slot <= x.last && w.has(id, slot-firstSlot(w.w, x.step)) {
			return false
		}
		x.base, x.mask, x.open[0] = slot, 1, v
	case d < openSlots:
		if x.mask>>d&1 == 1 {
			return false
		}
		x.open[d] = v
		x.mask |= 1 << d
	case slot > x.base:
		s.pack(id, x)
		x.base, x.mask, x.open[0] = slot, 1, v
	default: // late: a block of one
		if w.has(id, slot-firstSlot(w.w, x.step)) {
			return false
		}
		s.block(w, id, x, slot, 1, []float64{v})
	}
	x.last = max(x.last, slot)
	return true
}

// pack moves the open slots into blocks of their windows.
func (s *shard) pack(id uint32, x *series) {
	var v [openSlots]float64
	for m := x.mask; m != 0; {
		j := uint32(bits.TrailingZeros16(m))
		w := windowOf(x.base+j, x.step)
		part := m
		if cut := lastSlot(w, x.step) - x.base + 1; cut < openSlots {
			part &= 1<<cut - 1
		}
		n := 0
		for t := part; t != 0; t &= t - 1 {
			v[n] = x.open[bits.TrailingZeros16(t)]
			n++
		}
		win := s.cur
		if win == nil || win.w != w {
			win = s.window(w)
		}
		s.block(win, id, x, x.base+j, part>>j, v[:n])
		m &^= part
	}
	x.mask = 0
}

// block appends one block to the list of a series.
func (s *shard) block(w *window, id uint32, x *series, slot uint32, mask uint16, v []float64) {
	b := binary.LittleEndian.AppendUint32(s.buf[:0], w.head(id))
	b = binary.LittleEndian.AppendUint16(b, uint16(slot-firstSlot(w.w, x.step)))
	b = binary.LittleEndian.AppendUint16(b, mask)
	b = s.enc.Append(b, v, int(x.step))
	s.buf = b
	w.setHead(id, w.blocks.add(b))
}

// A span collects the samples of a series over a range of slots.
type span struct {
	from   uint32    // slot of out[0]
	out    []float64 // NaN where there is no sample
	before sample    // the newest sample below from that was met
}

func (c *span) add(slot uint32, v float64) {
	if slot < c.from {
		c.offer(slot, v)
	} else if d := slot - c.from; d < uint32(len(c.out)) {
		c.out[d] = v
	}
}

// offer proposes a sample for before.
func (c *span) offer(slot uint32, v float64) {
	if slot != 0 && slot < c.from && slot >= c.before.slot {
		c.before = sample{slot, v}
	}
}

// readBlocks adds what the blocks of a window hold of a series.
func (s *shard) readBlocks(w *window, id, step uint32, c *span) {
	first := firstSlot(w.w, step)
	var tmp [openSlots]float64
	for o := w.head(id); o != 0; {
		b := w.blocks.at(o)
		m := binary.LittleEndian.Uint16(b[6:])
		v := tmp[:bits.OnesCount16(m)%(openSlots+1)]
		if _, err := codec.Decode(b[blockHead:], v, int(step)); err != nil {
			return // not from our own encoder; nothing sensible is left to read
		}
		slot := first + uint32(binary.LittleEndian.Uint16(b[4:]))
		for i := 0; m != 0; i++ {
			c.add(slot+uint32(bits.TrailingZeros16(m)), v[i])
			m &= m - 1
		}
		o = binary.LittleEndian.Uint32(b)
	}
}

// readOpen adds the open slots of a series.
func (x *series) readOpen(c *span) {
	for m := x.mask; m != 0; m &= m - 1 {
		j := bits.TrailingZeros16(m)
		c.add(x.base+uint32(j), x.open[j])
	}
}

func (s *shard) headBytes() int {
	n := s.names.bytes() + len(s.slabs)*slabSize*int(unsafe.Sizeof(series{})) + 4*len(s.table)
	for _, w := range s.windows {
		n += w.bytes()
	}
	return n
}
