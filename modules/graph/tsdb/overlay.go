package tsdb

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"falcon/modules/graph/tsdb/codec"
	"falcon/modules/graph/tsdb/segment"
)

// maxOverlays is how many overlays a window has at most: the next flush writes what
// they hold and its own points into one file. An overlay that can not be read any
// more does not count, and stays as it is.
const maxOverlays = 8

// FlushLate writes all late buffers to overlays, one for each window, and lets go of
// their log files. Run does it when they are big or old enough. As with a seal the order makes a crash at any point harmless: the
// catalog knows every series and the log every point until the overlay stands under
// its name, and a point that is in both is recognised at the start. A window that is
// being sealed keeps its buffer until it is. On an error what is not written stays
// where it was, and the disk is left alone for half a minute.
func (db *DB) FlushLate(now time.Time) error {
	db.sealing.Lock()
	defer db.sealing.Unlock()
	if err := db.ReadOnly(); err != nil {
		return err // the buffers may hold what was never logged
	}
	if since := now.Sub(db.lateFailed); db.lateErr != nil && since >= 0 && since < lateRetry {
		return db.lateErr
	}
	db.lateErr = db.writeLate(now)
	if db.lateErr != nil {
		db.lateFailed = now
		db.log.Error("late points not written to an overlay, they stay in the log", "err", db.lateErr, "retry_in", lateRetry)
	}
	return db.lateErr
}

// lateRetry is how long the disk is left alone after late points could not be written.
const lateRetry = 30 * time.Second

func (db *DB) writeLate(now time.Time) error {
	// A point is in its buffer before it is in the log: those in files below seq are
	// all in the buffers that are taken now.
	seq, err := db.wal.Rotate()
	if err != nil {
		db.fail(err)
		return err
	}
	windows, left := db.freezeLate()
	defer db.thawLate()
	if len(windows) == 0 {
		return nil
	}
	if err := db.saveCatalog(); err != nil {
		return err
	}
	for _, w := range windows {
		if err := db.writeOverlay(w, now); err != nil {
			return fmt.Errorf("overlay of window %d: %w", int64(w)*windowSpan, err)
		}
	}
	if !left {
		db.lateSeq = seq
	}
	if err := db.wal.Drop(seq, db.shards[0].published, db.lateSeq); err != nil {
		db.log.Warn("old log file not removed, it is tried again at the next start", "err", err)
	}
	return nil
}

// lateDone lets log files below seq go when no late point waits for an overlay. The
// log turned to file seq before: what it got until then was in a buffer earlier.
func (db *DB) lateDone(seq uint64) {
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		n := len(s.late) + len(s.flushing)
		s.mu.Unlock()
		if n > 0 {
			return
		}
	}
	db.lateSeq = seq
}

// freezeLate sets the late buffers aside that are to be written, and returns their
// windows in order; left tells whether some had to stay.
func (db *DB) freezeLate() (windows []uint32, left bool) {
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		keep := s.late[:0:0]
		for _, b := range s.late {
			if len(s.windows) > 0 && s.windows[0].w <= b.w {
				keep, left = append(keep, b), true
				continue
			}
			s.flushing = append(s.flushing, b)
			windows = append(windows, b.w)
		}
		s.late = keep
		s.mu.Unlock()
	}
	slices.Sort(windows)
	return slices.Compact(windows), left
}

// thawLate makes what was not written late again.
func (db *DB) thawLate() {
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		for _, b := range s.flushing {
			i := slices.IndexFunc(s.late, func(x *lateBuffer) bool { return x.w == b.w })
			if i < 0 {
				s.late = append(s.late, b)
				continue
			}
			young := s.late[i] // what came meanwhile
			before := b.size + young.size
			for id := range young.heads {
				for at := young.heads[id]; at != 0; at = young.at(at).older {
					b.put(id, young.at(at).slot, young.at(at).value)
				}
			}
			s.late[i] = b
			db.lateBytes.Add(b.size - before)
		}
		s.flushing = nil
		s.mu.Unlock()
	}
}

// writeOverlay writes what was set aside of a window to its next overlay, together
// with its other overlays when they are many, and publishes it.
func (db *DB) writeOverlay(w uint32, now time.Time) error {
	start := time.Now()
	var merge []*segment.Segment
	for _, g := range db.shards[0].segments {
		if g.T0/windowSpan == w && g.Overlay > 0 {
			merge = append(merge, g)
		}
	}
	if len(merge) < maxOverlays {
		merge = nil
	}
	n := db.lastOver[w] + 1
	wr, err := segment.Create(db.fs, db.opt.Dir, segment.OverlayName(0, w*windowSpan, n), segment.Header{
		T0: w * windowSpan, T1: (w + 1) * windowSpan, Shards: numShards, Created: uint32(now.Unix()),
	})
	if err != nil {
		return err
	}
	m := merger{db: db, w: w, wr: wr, merge: merge, damaged: make([]bool, len(merge))}
	for k := range db.shards {
		if err := m.shard(&db.shards[k]); err != nil {
			wr.Abort()
			return err
		}
	}
	var g *segment.Segment
	if m.chunks == 0 {
		wr.Abort() // all its series were deleted
	} else {
		if err := wr.Commit(); err != nil {
			return err
		}
		db.lastOver[w] = n
		if g, err = segment.Open(db.fs, db.opt.Dir, segment.OverlayName(0, w*windowSpan, n)); err != nil {
			return err
		}
	}
	var gone []*segment.Segment
	for i, old := range merge {
		if !m.damaged[i] {
			gone = append(gone, old)
		}
	}
	db.publishOverlay(w, g, gone)
	db.log.Info("late points written", "start", int64(w)*windowSpan, "overlay", n, "points", m.points, "series", m.chunks, "merged", len(gone), "took", time.Since(start))
	return nil
}

// publishOverlay makes an overlay visible in place of the late buffers of its window
// and of the overlays that it holds. g is nil when nothing was left to write. A crash
// before the old files are gone changes nothing: they and the new one hold the same.
func (db *DB) publishOverlay(w uint32, g *segment.Segment, gone []*segment.Segment) {
	list := make([]*segment.Segment, 0, len(db.shards[0].segments)+1)
	for _, x := range db.shards[0].segments {
		if !slices.Contains(gone, x) {
			list = append(list, x)
		}
	}
	if g != nil {
		list = append(list, g)
		sortSegments(list)
		db.overlays.Add(1) // readers look for overlays from here on
	}
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		s.setSegments(list)
		s.flushing = slices.DeleteFunc(slices.Clone(s.flushing), func(b *lateBuffer) bool {
			if b.w == w {
				db.lateBytes.Add(-b.size)
			}
			return b.w == w
		})
		s.mu.Unlock()
	}
	if g != nil {
		db.segBytes.Add(g.Size())
	}
	db.dropFiles(gone)
}

// setSegments replaces the list of files. The shard is locked.
func (s *shard) setSegments(list []*segment.Segment) {
	s.segments = list
	s.version++
}

// sortSegments puts files into the order of their windows, overlays behind the first
// file of theirs.
func sortSegments(list []*segment.Segment) {
	slices.SortFunc(list, func(a, b *segment.Segment) int {
		if a.T0 != b.T0 {
			return int(int64(a.T0) - int64(b.T0))
		}
		return a.Overlay - b.Overlay
	})
}

// dropFiles removes segments that are in no list any more; their files go with their
// last reader.
func (db *DB) dropFiles(gone []*segment.Segment) {
	for _, g := range gone {
		size := g.Size()
		g.Doom()
		if err := g.Release(); err != nil {
			db.log.Warn("segment not removed, it is tried again at the next start", "segment", g.Name, "err", err)
		}
		if g.Overlay > 0 {
			db.overlays.Add(-1)
		} else {
			db.segs.Add(-1)
		}
		db.segBytes.Add(-size)
	}
}

// A merger writes the chunks of an overlay.
type merger struct {
	db      *DB
	w       uint32
	wr      *segment.Writer
	merge   []*segment.Segment // oldest first
	damaged []bool             // of merge: a chunk could not be read
	r       reader
	enc     codec.Encoder
	body    []byte
	chunks  int
	points  int
}

// shard writes the chunks of one shard.
func (m *merger) shard(s *shard) error {
	ids := map[uint32]struct{}{}
	s.mu.Lock()
	n := s.n
	for _, b := range s.flushing {
		if b.w == m.w {
			for id := range b.heads {
				ids[id] = struct{}{}
			}
		}
	}
	s.mu.Unlock()
	for i, g := range m.merge {
		faults := m.db.crcErrors.Load()
		for id := range uint32(g.Len(s.index)) {
			if id < n && m.db.has(g, s.index, id) {
				ids[id] = struct{}{}
			}
		}
		// Perhaps of another file, but then this one only stays for longer.
		m.damaged[i] = m.damaged[i] || m.db.crcErrors.Load() != faults
	}
	m.wr.Shard(int(n))
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if err := m.series(s, id); err != nil {
			return err
		}
	}
	return nil
}

// series writes the chunk of one series, when anything is left of it.
func (m *merger) series(s *shard, id uint32) error {
	r := &m.r
	s.mu.Lock()
	x := s.at(id)
	if x.flags&flagAlive == 0 {
		s.mu.Unlock()
		return nil
	}
	q := s.meta(id)
	first, last := firstSlot(m.w, q.step), lastSlot(m.w, q.step)
	if last < first {
		s.mu.Unlock()
		return nil
	}
	r.reset(first, int(last-first)+1)
	s.readLate(r, id, m.w, m.w)
	exact := x.flags&flagPrevUnknown == 0 && x.prevSlot != 0 && x.prevSlot < first
	if exact {
		r.span.offer(x.prevSlot, x.prevValue)
	}
	s.mu.Unlock()
	for i := len(m.merge) - 1; i >= 0; i-- { // the first value wins
		if _, err := m.db.chunk(r, m.merge[i], s.index, q); err != nil {
			m.damaged[i] = true
		}
	}
	n := 0
	for _, v := range r.span.out {
		if v == v {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	var prev codec.Prev
	if q.kind == typeDerive {
		if !exact {
			m.db.seekBefore(r, s, q, m.w, true)
		}
		if b := r.span.before; b.slot != 0 {
			prev = codec.Prev{Gap: first - b.slot, Value: b.value}
		}
	}
	m.body = m.enc.AppendChunk(m.body[:0], r.span.out, prev, int(q.step))
	m.chunks++
	m.points += n
	return m.wr.Add(id, m.body)
}

// inOverlay tells whether an overlay has a chunk of an id. Such an id is not given to
// another series: the chunks of overlays are always of the series that has the id.
func (db *DB) inOverlay(list []*segment.Segment, shard int, id uint32) bool {
	return slices.ContainsFunc(list, func(g *segment.Segment) bool { return g.Overlay > 0 && db.has(g, shard, id) })
}
