package tsdb

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"falcon/modules/graph/tsdb/codec"
	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/segment"
)

// A lateBuffer holds the late points of one window in one shard: for each series a
// list of samples, newest first. The points of a replay come in their order, so a
// new one usually goes to the front.
type lateBuffer struct {
	w     uint32
	first time.Time         // when its first point came
	heads map[uint32]uint32 // newest sample of a series, by id
	pages []*latePage
	n     uint32 // samples are below it; 0 is none
	size  int64  // its memory in bytes, near enough to bound it
}

type latePage [latePageLen]lateSample

type lateSample struct {
	older uint32
	slot  uint32
	value float64
}

const (
	latePageLen  = 256
	latePageSize = latePageLen * 16 // bytes
	lateHeadSize = 24               // what an entry of heads costs, about
)

func (b *lateBuffer) at(i uint32) *lateSample { return &b.pages[i/latePageLen][i%latePageLen] }

// find returns the sample of a series at slot or the newest one before it, and the
// one after that; 0 is none.
func (b *lateBuffer) find(id, slot uint32) (at, after uint32) {
	for at = b.heads[id]; at != 0 && b.at(at).slot > slot; at = b.at(at).older {
		after = at
	}
	return at, after
}

// has tells whether a series has a sample at slot.
func (b *lateBuffer) has(id, slot uint32) bool {
	at, _ := b.find(id, slot)
	return at != 0 && b.at(at).slot == slot
}

// put adds a sample; it answers false when there is one at slot.
func (b *lateBuffer) put(id, slot uint32, v float64) bool {
	at, after := b.find(id, slot)
	if at != 0 && b.at(at).slot == slot {
		return false
	}
	b.n = max(b.n, 1)
	if b.n/latePageLen >= uint32(len(b.pages)) {
		b.pages = append(b.pages, new(latePage))
		b.size += latePageSize
	}
	*b.at(b.n) = lateSample{at, slot, v}
	if after == 0 {
		if at == 0 {
			b.size += lateHeadSize
		}
		b.heads[id] = b.n
	} else {
		b.at(after).older = b.n
	}
	b.n++
	return true
}

// read adds the samples of a series to a span and tells whether there are any.
func (b *lateBuffer) read(id uint32, c *span) bool {
	at := b.heads[id]
	for i := at; i != 0; i = b.at(i).older {
		c.add(b.at(i).slot, b.at(i).value)
	}
	return at != 0
}

// newest returns the newest sample of a series; slot 0 is none.
func (b *lateBuffer) newest(id uint32) sample {
	if at := b.heads[id]; at != 0 {
		return sample{b.at(at).slot, b.at(at).value}
	}
	return sample{}
}

// buffers calls fn for the late buffers of windows lo to hi, those that are being
// written to overlays first. The shard is locked.
func (s *shard) buffers(lo, hi uint32, fn func(*lateBuffer)) {
	for _, list := range [...][]*lateBuffer{s.flushing, s.late} {
		for _, b := range list {
			if b.w >= lo && b.w <= hi {
				fn(b)
			}
		}
	}
}

// buffer returns the late buffer of window w.
func (s *shard) buffer(w uint32, now time.Time) *lateBuffer {
	for _, b := range s.late {
		if b.w == w {
			return b
		}
	}
	b := &lateBuffer{w: w, first: now, heads: map[uint32]uint32{}}
	s.late = append(s.late, b)
	return b
}

// readLate adds what the late buffers of windows lo to hi hold of a series. The
// shard is locked.
func (s *shard) readLate(r *reader, id, lo, hi uint32) {
	s.buffers(lo, hi, func(b *lateBuffer) {
		if b.read(id, &r.span) {
			r.buffered = append(r.buffered, b.w)
		}
	})
}

// hasLate tells whether any late points are kept, in memory or in overlays.
func (s *shard) hasLate() bool {
	return len(s.late)+len(s.flushing) > 0 || s.db.overlays.Load() > 0
}

// A lateCheck is a late sample on its way into its buffer.
type lateCheck struct {
	at      int32 // in the batch
	id      uint32
	slot    uint32
	step    uint32
	bornWin uint32
	stored  bool // a file has a value there
}

// fillLate takes the samples that fill has set aside: each goes to the late buffer
// of its window and into the record sc.lateRec, when neither a file nor a buffer nor
// the head has a value in its slot.
func (db *DB) fillLate(sc *appendScratch, batch []Sample, now time.Time) (n int) {
	sc.lateRec = record.Begin(sc.lateRec[:0], record.Late)
	r := db.reader()
	defer db.readers.Put(r)
	for rest := sc.late; len(rest) > 0; {
		s := &db.shards[batch[rest[0]].Ref.shard()]
		w, outcome := s.lateRun(sc, batch, rest, now.Unix(), r)
		if len(sc.run) == 0 { // the first one is refused
			s.refuse(sc, rest[0], outcome)
			rest = rest[1:]
			continue
		}
		n += db.storeRun(sc, batch, s, w, now, r)
		rest = rest[len(sc.run):]
	}
	return n
}

// refuse notes that a sample is not taken.
func (s *shard) refuse(sc *appendScratch, at int32, outcome uint8) {
	s.mu.Lock()
	s.outcomes[outcome]++
	s.mu.Unlock()
	sc.refused = append(sc.refused, refusal{at, outcome})
}

// lateRun gathers into sc.run the samples in front of late that are of one shard
// and window, and holds the files of that window. When it gathers none, outcome is
// why the first one is refused.
func (s *shard) lateRun(sc *appendScratch, batch []Sample, late []int32, now int64, r *reader) (w uint32, outcome uint8) {
	sc.run = sc.run[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := now - int64(s.db.opt.Retention.Seconds())
	for _, i := range late {
		p := &batch[i]
		if p.Ref.shard() != s.index {
			break
		}
		x := s.known(p.Ref)
		if x == nil {
			outcome = unknownRef
			break
		}
		slot := uint32(p.Ts) / x.step
		v := windowOf(slot, x.step)
		if (int64(v)+1)*windowSpan <= oldest {
			outcome = tooLate
			break
		}
		if len(sc.run) > 0 && v != w {
			break
		}
		w = v
		sc.run = append(sc.run, lateCheck{i, p.Ref.id(), slot, x.step, x.bornWin, false})
	}
	if len(sc.run) > 0 {
		r.hold(s, 0, w, w)
		sc.version = s.version
	}
	return w, outcome
}

// storeRun stores what lateRun has gathered and returns how many it took. Files are
// asked with no lock held, and again when one came or went meanwhile.
func (db *DB) storeRun(sc *appendScratch, batch []Sample, s *shard, w uint32, now time.Time, r *reader) (n int) {
	var g record.GroupWriter
	sc.lateRec, g = record.BeginGroup(sc.lateRec, uint8(s.index), len(sc.run))
	for {
		for i := range sc.run {
			c := &sc.run[i]
			c.stored = db.stored(r.segs, s.index, c.id, c.slot, c.step, c.bornWin)
		}
		r.release()
		s.mu.Lock()
		if s.version == sc.version {
			break
		}
		r.hold(s, 0, w, w)
		sc.version = s.version
		s.mu.Unlock()
	}
	for i := range sc.run {
		c := &sc.run[i]
		p := &batch[c.at]
		outcome := uint8(duplicate)
		if x := s.known(p.Ref); x == nil {
			outcome = unknownRef
		} else if !c.stored {
			outcome = s.storeLate(c.id, x, c.slot, w, p.Value, now)
		}
		if outcome == taken {
			g.Add(sc.lateRec, c.id, uint32(p.Ts), p.Value)
			n++
			continue
		}
		s.outcomes[outcome]++
		if outcome == duplicate {
			s.lateDups++
		}
		sc.refused = append(sc.refused, refusal{c.at, outcome})
	}
	s.mu.Unlock()
	sc.lateRec = g.End(sc.lateRec)
	return n
}

// stored tells whether one of the files of a window has a value of a series in a
// slot. A chunk that can not be read has none: a value that comes again heals it.
func (db *DB) stored(files []*segment.Segment, shard int, id, slot, step, bornWin uint32) bool {
	for _, g := range files {
		w := g.T0 / windowSpan
		if g.Overlay == 0 && w < bornWin {
			continue
		}
		first := firstSlot(w, step)
		if db.holdsSlot(g, shard, id, int(slot-first), int(lastSlot(w, step)-first)+1) {
			return true
		}
	}
	return false
}

func (db *DB) holdsSlot(g *segment.Segment, shard int, id uint32, i, n int) (found bool) {
	defer db.caught(debug.SetPanicOnFault(true), &found)
	body, err := g.Chunk(shard, id)
	if body == nil && err == nil {
		return false
	}
	if err == nil {
		found, err = codec.HasSlot(body, i, n)
	}
	if err != nil {
		db.crcErrors.Add(1)
		return false
	}
	return found
}

// storeLate puts a value into the late buffer of window w. The shard is locked, and
// no file has the slot.
func (s *shard) storeLate(id uint32, x *series, slot, w uint32, v float64, now time.Time) uint8 {
	if len(s.windows) > 0 && s.windows[0].w <= w && s.inHead(id, x, slot, w) {
		return duplicate // the window is being sealed
	}
	for _, b := range s.flushing {
		if b.w == w && b.has(id, slot) {
			return duplicate
		}
	}
	b := s.buffer(w, now)
	before := b.size
	if !b.put(id, slot, v) {
		return duplicate
	}
	if b.size != before {
		s.db.lateBytes.Add(b.size - before)
	}
	// A window with late points never takes points into the head again.
	s.floor = max(s.floor, w+1)
	s.newest = max(s.newest, w)
	x.last = max(x.last, slot)
	if x.kind == typeDerive && slot > x.prevSlot && (len(s.windows) == 0 || w < s.windows[0].w) {
		x.prevSlot, x.prevValue = slot, v
	}
	s.sinceLate(id, x, slot*x.step)
	s.appended++
	s.lateTaken++
	return taken
}

// inHead tells whether the head has a value of a series in a slot of window w.
func (s *shard) inHead(id uint32, x *series, slot, w uint32) bool {
	if d := slot - x.base; x.mask != 0 && d < openSlots && x.mask>>d&1 == 1 {
		return true
	}
	for _, win := range s.windows {
		if win.w == w {
			return win.has(id, slot-firstSlot(w, x.step))
		}
	}
	return false
}

// sinceLate lets an incarnation answer from a late point on, unless another one
// became current between that and the time since which it does. So the order in
// which points come does not matter.
func (s *shard) sinceLate(id uint32, x *series, t uint32) {
	fresh := x.flags&flagFresh != 0
	if !fresh && t >= x.since {
		return
	}
	for p := x.sib; p != id; p = s.at(p).sib {
		if y := s.at(p).since; y > t && (fresh || y <= x.since) {
			return
		}
	}
	x.flags &^= flagFresh
	x.since = t
	s.mark(id)
}

// sealedLate takes late points of window w, which is published now, for the newest
// sealed samples of their series. The shard is locked.
func (s *shard) sealedLate(w uint32) {
	s.buffers(w, w, func(b *lateBuffer) {
		for id := range b.heads {
			x, q := s.at(id), b.newest(id)
			if x.kind == typeDerive && x.flags&flagPrevUnknown == 0 && q.slot > x.prevSlot {
				x.prevSlot, x.prevValue = q.slot, q.value
			}
		}
	})
}

// lateFull makes room when the late buffers are far above their bound because the
// background is not there or not fast enough. It fails when the disk takes no
// overlays: late points are refused then, so that their senders keep them.
func (db *DB) lateFull() error {
	bound := db.opt.LateBytes + db.opt.LateBytes/4
	if db.lateBytes.Load() <= bound {
		return nil
	}
	err := db.FlushLate(db.now())
	if db.lateBytes.Load() <= bound {
		return nil
	}
	if err == nil {
		err = errors.New("their windows are not sealed yet")
	}
	return fmt.Errorf("late points are not taken, %d bytes of them wait to be written: %w", db.lateBytes.Load(), err)
}

// lateDue tells whether the late buffers are to be written: they are big enough, or
// one of them is old enough.
func (db *DB) lateDue(now time.Time) bool {
	if db.lateBytes.Load() >= db.opt.LateBytes {
		return true
	}
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		due := slices.ContainsFunc(s.late, func(b *lateBuffer) bool {
			// A clock that was put back a long way does not keep them for ever.
			age := now.Sub(b.first)
			return age >= db.opt.LateAge || age < -db.opt.LateAge
		})
		s.mu.Unlock()
		if due {
			return true
		}
	}
	return false
}
