package tsdb

import (
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"slices"

	"falcon/modules/graph/tsdb/codec"
	"falcon/modules/graph/tsdb/segment"
)

// futureGrid is how far past the newest point an answer is padded, in seconds.
const futureGrid = 86400

// A reader is the memory of one query.
type reader struct {
	span  span
	slots []float64
	dec   codec.Decoder
	segs  []*segment.Segment

	buffered []uint32 // windows whose late buffers gave values to the span
	wrote    uint32   // the window of the chunk before
}

// reset empties the span and has it collect n slots from the first.
func (r *reader) reset(from uint32, n int) {
	r.span.reset(from, n)
	r.buffered, r.wrote = r.buffered[:0], math.MaxUint32
}

// reader returns the memory of a query; the caller puts it back into readers.
func (db *DB) reader() *reader {
	if r, ok := db.readers.Get().(*reader); ok {
		return r
	}
	return &reader{}
}

// meta is what a query keeps of a series when it lets go of the shard.
type meta struct {
	id, step, fill uint32
	bornWin        uint32
	kind           uint8
	prevUnknown    bool
	lo, hi         float64
}

func (s *shard) meta(id uint32) meta {
	x := s.at(id)
	m := meta{id: id, step: x.step, fill: x.heartbeat / x.step, bornWin: x.bornWin, kind: x.kind, prevUnknown: x.flags&flagPrevUnknown != 0}
	m.lo, m.hi = s.boundsOf(id)
	return m
}

// A piece is a range of time that one incarnation answers for.
type piece struct {
	id       uint32
	gen      uint16
	from, to int64 // inclusive
	raw      bool  // received values, and nothing where there is none
}

// Lookup returns the current incarnation of a name.
func (db *DB) Lookup(endpoint, counter string) (Info, bool) {
	k, hash := hashName(endpoint, counter)
	s := &db.shards[k]
	s.mu.Lock()
	defer s.mu.Unlock()
	_, id, ok := s.find(hash, endpoint, counter)
	if !ok {
		return Info{}, false
	}
	return s.info(id), true
}

// Query appends to dst the points of a series in [start - start mod step, end], one
// for each step, NaN where nothing is known, and returns it (contract query 1.6,
// Q1 to Q8). A gap up to the heartbeat is filled by the value or rate behind it.
// The rate of a DERIVE stands at the later of its two samples; a negative one, and
// what is out of the series' bounds, is unknown. MAX, MIN and AVERAGE are the same
// here. Another cf, and an unknown series, give no points. The range is cut where
// nothing can be: before the oldest data and a day past the newest. Times before
// the current incarnation are answered by the earlier ones, on their steps.
func (db *DB) Query(endpoint, counter, cf string, start, end int64, dst []Point) (Info, []Point, error) {
	return db.query(endpoint, counter, cf, start, end, false, dst)
}

// Received is Query for the values as they were received: those of a DERIVE are no
// rates, nothing is filled, bounds do not count, and times without a value are left out.
func (db *DB) Received(endpoint, counter string, start, end int64, dst []Point) (Info, []Point, error) {
	return db.query(endpoint, counter, "AVERAGE", start, end, true, dst)
}

func (db *DB) query(endpoint, counter, cf string, start, end int64, raw bool, dst []Point) (Info, []Point, error) {
	k, hash := hashName(endpoint, counter)
	s := &db.shards[k]
	s.mu.Lock()
	_, id, ok := s.find(hash, endpoint, counter)
	if !ok {
		s.mu.Unlock()
		return Info{}, dst, nil
	}
	info := s.info(id)
	if cf != "AVERAGE" && cf != "MAX" && cf != "MIN" {
		s.mu.Unlock()
		return info, dst, nil
	}
	now := db.now().Unix()
	oldest := now - int64(db.opt.Retention.Seconds()) - windowSpan
	if len(s.segments) > 0 {
		oldest = min(oldest, int64(s.segments[0].T0))
	}
	if len(s.windows) > 0 {
		oldest = min(oldest, int64(s.windows[0].w)*windowSpan)
	}
	start = max(start, oldest, 0)
	end = min(end, max(now, int64(s.newest+1)*windowSpan)+futureGrid, maxTime)
	var several []piece
	if info.Prev {
		several = s.pieces(id, start, end)
	}
	one := piece{id, s.at(id).gen, start, end, raw}
	s.mu.Unlock()

	r := db.reader()
	defer db.readers.Put(r)
	if several == nil {
		dst = db.queryPiece(r, s, one, dst)
	}
	for _, p := range several {
		p.raw = raw
		dst = db.queryPiece(r, s, p, dst)
	}
	return info, dst, nil
}

// pieces divides a range among the incarnations of a name: each answers from when
// it became current until the next did, and what was before all of them is the
// oldest one's.
func (s *shard) pieces(cur uint32, start, end int64) []piece {
	ids := []uint32{cur}
	for p := s.at(cur).sib; p != cur; p = s.at(p).sib {
		ids = append(ids, p)
	}
	rest := ids[1:]
	if s.at(cur).flags&flagFresh != 0 {
		rest = ids // it had no point since it became current again: it answers for its earlier time
	}
	slices.SortFunc(rest, func(a, b uint32) int { return int(int64(s.at(b).since) - int64(s.at(a).since)) })
	var out []piece
	to := end
	for _, id := range ids {
		x := s.at(id)
		from := int64(x.since)
		if x.flags&flagFresh != 0 && from == 0 {
			continue // it had no point yet: the one before goes on
		}
		out = append(out, piece{id, x.gen, max(from, start), to, false})
		to = min(to, from-1)
	}
	oldest := ids[0]
	for _, id := range ids {
		if s.at(id).born < s.at(oldest).born {
			oldest = id
		}
	}
	out = append(out, piece{oldest, s.at(oldest).gen, start, to, false})
	slices.Reverse(out)
	return out
}

// queryPiece appends the points of one incarnation.
func (db *DB) queryPiece(r *reader, s *shard, p piece, dst []Point) []Point {
	if p.to < p.from {
		return dst
	}
	s.mu.Lock()
	x := s.at(p.id)
	if x.gen != p.gen || x.flags&flagAlive == 0 {
		s.mu.Unlock()
		return dst
	}
	m := s.meta(p.id)
	first := max(uint32(p.from/int64(m.step)), 1)
	last := uint32(p.to / int64(m.step))
	if last < first {
		s.mu.Unlock()
		return dst
	}
	lo := first - min(m.fill, first-1)
	hi := last + m.fill
	c := &r.span
	r.reset(lo, int(hi-lo+1))
	wlo, whi := windowOf(lo, m.step), windowOf(hi, m.step)
	r.hold(s, m.bornWin, wlo, whi)
	for i := len(s.windows) - 1; i >= 0; i-- {
		w := s.windows[i]
		// Below the range only the newest sample is wanted, for the first rate.
		if w.w > whi || w.w < wlo && (m.kind != typeDerive || c.before.slot != 0) {
			continue
		}
		s.readBlocks(w, p.id, m.step, c)
	}
	x.readOpen(c)
	late := s.hasLate()
	if late {
		s.readLate(r, p.id, wlo, whi)
	}
	c.offer(x.prevSlot, x.prevValue)
	s.mu.Unlock()

	late = db.readSegments(r, s.index, m) || late
	if p.raw {
		return received(dst, m, c, first, last)
	}
	if m.kind == typeDerive && (late || c.before.slot == 0 && m.prevUnknown) {
		db.seekBefore(r, s, m, wlo, c.before.slot == 0)
	}
	return render(dst, m, c, first, last)
}

// overlaysOnly is a bornWin for which hold leaves out all but overlays.
const overlaysOnly = math.MaxUint32

// hold acquires the segments of windows lo to hi, newest first and the overlays of a
// window before its first file. The first files of windows before bornWin are left
// out: what they have under the id is an earlier owner's. The shard is locked.
func (r *reader) hold(s *shard, bornWin, lo, hi uint32) {
	r.segs = r.segs[:0]
	for i := len(s.segments) - 1; i >= 0; i-- {
		g := s.segments[i]
		w := g.T0 / windowSpan
		if w < lo {
			break
		}
		if w <= hi && (w >= bornWin || g.Overlay > 0) {
			g.Acquire()
			r.segs = append(r.segs, g)
		}
	}
}

func (r *reader) release() {
	for _, g := range r.segs {
		_ = g.Release()
	}
	r.segs = r.segs[:0]
}

// readSegments adds the chunks of the held segments to the span, lets them go and
// tells whether overlays were among them. They come newest first, the overlays of a
// window before its first file, and write over what came before: the first value
// that was received wins. A chunk that can not be read is as if it were not there,
// and counted.
func (db *DB) readSegments(r *reader, shard int, m meta) (overlays bool) {
	defer r.release()
	for _, g := range r.segs {
		overlays = overlays || g.Overlay > 0
		db.readChunk(r, g, shard, m)
	}
	return overlays
}

// caught ends the care of reads from a mapping, deferred: a disk that fails there
// is a memory fault, which counts as damage instead of ending the process.
func (db *DB) caught(old bool, found *bool) {
	debug.SetPanicOnFault(old)
	e := recover()
	if e == nil {
		return
	}
	if _, isFault := e.(interface {
		runtime.Error
		Addr() uintptr
	}); !isFault {
		panic(e)
	}
	*found = false
	db.crcErrors.Add(1)
}

// has tells whether a segment has a chunk of a series.
func (db *DB) has(g *segment.Segment, shard int, id uint32) (found bool) {
	defer db.caught(debug.SetPanicOnFault(true), &found)
	return g.Has(shard, id)
}

// readChunk adds one chunk to the span and tells whether there was one.
func (db *DB) readChunk(r *reader, g *segment.Segment, shard int, m meta) (found bool) {
	found, _ = db.chunk(r, g, shard, m)
	return found
}

var errFault = errors.New("the disk failed under a mapping")

// chunk is readChunk with the reason why a chunk could not be read, which is counted.
func (db *DB) chunk(r *reader, g *segment.Segment, shard int, m meta) (found bool, err error) {
	err = errFault // unless we come to an end
	defer db.caught(debug.SetPanicOnFault(true), &found)
	body, cause := g.Chunk(shard, m.id)
	if body == nil && cause == nil {
		return false, nil
	}
	c := &r.span
	w := g.T0 / windowSpan
	first := firstSlot(w, m.step)
	n := int(lastSlot(w, m.step)) - int(first) + 1
	if n <= 0 {
		return false, nil
	}
	// A window that lies inside the range and has no other file or buffer is decoded
	// in place: nothing else writes its slots.
	in := first >= c.from && int(first-c.from)+n <= len(c.out) && w != r.wrote && !slices.Contains(r.buffered, w)
	r.wrote = w
	var slots []float64
	if in {
		slots = c.out[first-c.from:][:n]
	} else {
		slots = r.window(n)
	}
	var prev codec.Prev
	if cause == nil {
		prev, cause = r.dec.Chunk(body, slots, int(m.step))
	}
	if cause != nil {
		db.crcErrors.Add(1)
		if in {
			for i := range slots {
				slots[i] = math.NaN()
			}
		}
		return false, cause
	}
	if !in {
		for i, v := range slots {
			if v == v {
				c.add(first+uint32(i), v)
			}
		}
	}
	if prev.Gap > 0 && prev.Gap < first {
		c.offer(first-prev.Gap, prev.Value)
	}
	return true, nil
}

// window returns memory for n slots.
func (r *reader) window(n int) []float64 {
	r.slots = slices.Grow(r.slots[:0], n)[:n]
	return r.slots
}

// seekBefore looks for the newest sample below the span in the windows before w,
// from the one on that has the newest known so far: a late one may be newer than what
// a chunk carries. base says that the first files of the windows are asked, too, which
// is needed when no chunk in the span has said what was before it.
func (db *DB) seekBefore(r *reader, s *shard, m meta, w uint32, base bool) {
	if w == 0 {
		return
	}
	c := &r.span
	stop := uint32(0)
	if c.before.slot != 0 {
		stop = windowOf(c.before.slot, m.step)
	}
	bornWin := uint32(overlaysOnly)
	if base {
		bornWin = m.bornWin
	}
	s.mu.Lock()
	s.buffers(stop, w-1, func(b *lateBuffer) {
		q := b.newest(m.id)
		c.offer(q.slot, q.value)
	})
	r.hold(s, bornWin, stop, w-1)
	s.mu.Unlock()
	defer r.release()
	for _, g := range r.segs { // newest first
		if c.before.slot != 0 && g.T0/windowSpan < windowOf(c.before.slot, m.step) {
			return
		}
		if db.has(g, s.index, m.id) {
			db.readChunk(r, g, s.index, m)
		}
	}
}

// received appends the values of slots first to last that are there.
func received(dst []Point, m meta, c *span, first, last uint32) []Point {
	for slot := first; slot <= last; slot++ {
		if v := c.out[slot-c.from]; v == v {
			dst = append(dst, Point{int64(slot) * int64(m.step), v})
		}
	}
	return dst
}

// render turns received values into the points of slots first to last.
func render(dst []Point, m meta, c *span, first, last uint32) []Point {
	base := len(dst)
	n := int(last-first) + 1
	dst = slices.Grow(dst, n)[:base+n]
	out := dst[base:]
	for i := range out {
		out[i] = Point{int64(first+uint32(i)) * int64(m.step), math.NaN()}
	}
	prev := c.before
	for i, v := range c.out {
		if v != v {
			continue
		}
		slot := c.from + uint32(i)
		y := v
		if m.kind == typeDerive {
			y = math.NaN()
			if prev.slot != 0 {
				y = rate(prev, sample{slot, v}, m.step)
			}
		}
		if y < m.lo || y > m.hi {
			y = math.NaN()
		}
		if slot >= first && slot <= last {
			out[slot-first].Value = y
		}
		if prev.slot != 0 && slot-prev.slot <= m.fill {
			for g := prev.slot + 1; g < slot; g++ {
				if g >= first && g <= last {
					out[g-first].Value = y
				}
			}
		}
		prev = sample{slot, v}
	}
	return dst
}

// rate is what a counter grew by in a second between two samples, NaN when it
// shrank: it was reset.
func rate(a, b sample, step uint32) float64 {
	d := (b.value - a.value) / (float64(b.slot-a.slot) * float64(step))
	if d < 0 {
		return math.NaN()
	}
	return d
}
