package tsdb

import "encoding/binary"

// windowSpan is the length of a window of tier 0, in seconds. It is on disk.
const windowSpan = 3600

// windowOf returns the window that holds the time of a slot, slot >= 1.
func windowOf(slot, step uint32) uint32 {
	return uint32((uint64(slot)*uint64(step) - 1) / windowSpan)
}

// firstSlot and lastSlot bound the slots of window w; for steps above an hour
// most windows have none, and then last < first.
func firstSlot(w, step uint32) uint32 { return uint32(uint64(w)*windowSpan/uint64(step)) + 1 }
func lastSlot(w, step uint32) uint32  { return uint32((uint64(w) + 1) * windowSpan / uint64(step)) }

// windowAt returns the window that holds second ts.
func windowAt(ts int64) uint32 {
	if ts <= 0 {
		return 0
	}
	return uint32((ts - 1) / windowSpan)
}

// An arena hands out memory that is dropped as a whole. Offset 0 is never given.
type arena struct {
	pages [][]byte
	off   uint32
}

const arenaPage = 1 << 18

// add copies b, which is shorter than a page, and returns where it is.
func (a *arena) add(b []byte) uint32 {
	n := uint32(len(b))
	if a.off == 0 {
		a.off = 1
	}
	if a.off%arenaPage+n > arenaPage || int(a.off/arenaPage) >= len(a.pages) {
		if len(a.pages) > 0 {
			a.off = uint32(len(a.pages)) * arenaPage
		}
		a.pages = append(a.pages, make([]byte, arenaPage))
	}
	o := a.off
	copy(a.pages[o/arenaPage][o%arenaPage:], b)
	a.off += n
	return o
}

func (a *arena) at(o uint32) []byte { return a.pages[o/arenaPage][o%arenaPage:] }

func (a *arena) bytes() int { return len(a.pages) * arenaPage }

// A window is what a shard holds of one open window: for each series a list of
// blocks, newest first, in an arena that goes when the window is sealed.
//
//	block   prev u32 | first slot in the window u16 | mask u16 | packed values
type window struct {
	w      uint32
	taken  uint64 // points since the start of the process
	heads  []*[slabSize]uint32
	blocks arena
}

const blockHead = 8

// head returns the newest block of a series, 0 for none.
func (w *window) head(id uint32) uint32 {
	if i := int(id / slabSize); i < len(w.heads) && w.heads[i] != nil {
		return w.heads[i][id%slabSize]
	}
	return 0
}

func (w *window) setHead(id, off uint32) {
	i := int(id / slabSize)
	for i >= len(w.heads) {
		w.heads = append(w.heads, nil)
	}
	if w.heads[i] == nil {
		w.heads[i] = new([slabSize]uint32)
	}
	w.heads[i][id%slabSize] = off
}

// clearHead forgets a series.
func (w *window) clearHead(id uint32) {
	if w.head(id) != 0 {
		w.setHead(id, 0)
	}
}

// has tells whether slot rel of the window is in one of the blocks of a series.
func (w *window) has(id uint32, rel uint32) bool {
	for o := w.head(id); o != 0; {
		b := w.blocks.at(o)
		if d := rel - uint32(binary.LittleEndian.Uint16(b[4:])); d < openSlots && binary.LittleEndian.Uint16(b[6:])>>d&1 == 1 {
			return true
		}
		o = binary.LittleEndian.Uint32(b)
	}
	return false
}

func (w *window) bytes() int {
	n := w.blocks.bytes()
	for _, h := range w.heads {
		if h != nil {
			n += 4 * slabSize
		}
	}
	return n
}
