package tsdb

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"falcon/common/failpoint"
	"falcon/modules/graph/tsdb/codec"
	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/segment"
)

const (
	// grace is how long after its end a window takes points at least.
	grace = 10 * time.Minute
	// quiet is how long no bulk of points must have come for a window before Run
	// seals it, so that the replay of a spool finds it open.
	quiet = 5 * time.Minute
	// maxOverdue is how many windows may wait for quiet; beyond, the oldest is
	// sealed to bound the memory.
	maxOverdue = 8
	// sealGroup is how many series are read under one hold of a shard, half a
	// millisecond's work.
	sealGroup = 256
	// silence is how long a series may be silent before it is deleted, when the
	// retention is not longer.
	silence = 30 * 24 * time.Hour
)

// An activity follows the points that come for one window.
type activity struct {
	taken uint64
	last  time.Time // when a bulk of the points was last for it
}

// Seal moves every open window that ended ten minutes before now into a segment,
// oldest first. Unlike Run it does not wait for a window that points still come
// for.
func (db *DB) Seal(now time.Time) error { return db.seal(now, false) }

// seal seals what is due; patient leaves windows open that are being filled.
func (db *DB) seal(now time.Time, patient bool) error {
	db.sealing.Lock()
	defer db.sealing.Unlock()
	if err := db.ReadOnly(); err != nil {
		return err // the head may hold what was never logged
	}
	open := db.openWindows()
	db.measure(open, now)
	due := open[:0:0]
	for _, w := range open {
		if end := time.Unix((int64(w.w)+1)*windowSpan, 0); !now.Before(end.Add(grace)) {
			due = append(due, w)
		}
	}
	for i, w := range due {
		if a := db.busy[w.w]; patient && len(due)-i <= maxOverdue && now.Sub(a.last) < quiet {
			return nil // in order: the ones behind wait for it
		}
		start := time.Now()
		if err := db.sealWindow(w.w, now); err != nil {
			return fmt.Errorf("seal window %d: %w", int64(w.w)*windowSpan, err)
		}
		delete(db.busy, w.w)
		took := time.Since(start)
		db.sealNanos.Add(int64(took))
		db.seals.Add(1)
		db.log.Info("window sealed", "start", int64(w.w)*windowSpan, "points", w.taken, "took", took)
	}
	return nil
}

type openWindow struct {
	w     uint32
	taken uint64
}

// openWindows returns the open windows of all shards together, oldest first.
func (db *DB) openWindows() []openWindow {
	taken := map[uint32]uint64{}
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		for _, w := range s.windows {
			taken[w.w] += w.taken
		}
		s.mu.Unlock()
	}
	out := make([]openWindow, 0, len(taken))
	for w, n := range taken {
		out = append(out, openWindow{w, n})
	}
	slices.SortFunc(out, func(a, b openWindow) int { return int(int64(a.w) - int64(b.w)) })
	return out
}

// measure notes, once a minute, for which windows the points of that minute were.
// A 64th of them is a bulk: a host whose clock is late does not hold a window open
// in an installation of some size.
func (db *DB) measure(open []openWindow, now time.Time) {
	for _, w := range open {
		if db.busy[w.w] == nil {
			// Seen for the first time; after a start its senders may be on their way.
			db.busy[w.w] = &activity{last: now}
		}
	}
	if d := now.Sub(db.measured); d >= 0 && d < time.Minute {
		return
	}
	db.measured = now
	total := uint64(0)
	for _, w := range open {
		total += w.taken - db.busy[w.w].taken
	}
	for _, w := range open {
		a := db.busy[w.w]
		if n := w.taken - a.taken; n > 0 && n*64 >= total {
			a.last = now
		}
		a.taken = w.taken
	}
}

// A sealedSeries is the newest sample of a series in the window being sealed.
type sealedSeries struct {
	id    uint32
	gen   uint16
	slot  uint32
	value float64
}

// sealWindow writes a window to a segment and drops it from the head and the log.
// The order is what makes a crash at any point harmless: the catalog knows every
// series and the log every point until the segment stands under its name.
// Points that come for it from here on are late, also when it fails and is tried again.
func (db *DB) sealWindow(w uint32, now time.Time) error {
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		s.floor = max(s.floor, w+1)
		s.mu.Unlock()
	}
	seq, err := db.wal.Rotate()
	if err != nil {
		db.fail(err)
		return err
	}
	failpoint.Reached("graph.rotated")
	wr, err := segment.Create(db.fs, db.opt.Dir, segment.Name(0, w*windowSpan), segment.Header{
		T0: w * windowSpan, T1: (w + 1) * windowSpan, Shards: numShards, Created: uint32(now.Unix()),
	})
	if err != nil {
		return err
	}
	var sealed [numShards][]sealedSeries
	chunks := 0
	for k := range db.shards {
		if sealed[k], err = db.sealShard(&db.shards[k], w, wr); err != nil {
			wr.Abort()
			return err
		}
		chunks += len(sealed[k])
	}
	// What names the series of the segment is on the disk before the segment is.
	if err := db.saveCatalog(); err != nil {
		wr.Abort()
		return err
	}
	failpoint.Reached("graph.named")
	var g *segment.Segment
	if chunks == 0 {
		wr.Abort() // all its series were deleted
	} else {
		if err := wr.Commit(); err != nil {
			return err
		}
		failpoint.Reached("graph.segment-named")
		if g, err = segment.Open(db.fs, db.opt.Dir, segment.Name(0, w*windowSpan)); err != nil {
			return err
		}
		db.segs.Add(1)
		db.segBytes.Add(g.Size())
	}
	list := db.shards[0].segments
	if g != nil {
		list = append(slices.Clip(list), g)
		sortSegments(list)
	}
	for k := range db.shards {
		db.shards[k].publish(w, list, sealed[k])
		sealed[k] = nil
	}
	// Appends that were under way may still name freed ids, and may have logged
	// points of this window before the log turned to its new file.
	db.gate.wait()
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		waiting := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		var free, rest []uint32
		for _, id := range waiting {
			if db.inOverlay(list, k, id) {
				rest = append(rest, id)
			} else {
				free = append(free, id)
			}
		}
		s.mu.Lock()
		s.free = append(s.free, free...)
		s.waiting = append(s.waiting, rest...)
		s.mu.Unlock()
	}
	failpoint.Reached("graph.published")
	db.lateDone(seq)
	if err := db.wal.Drop(seq, w+1, db.lateSeq); err != nil {
		db.log.Warn("old log file not removed, it is tried again at the next start", "err", err)
	}
	return nil
}

// sealShard writes the chunks of one shard and returns the newest sample of each.
func (db *DB) sealShard(s *shard, w uint32, wr *segment.Writer) ([]sealedSeries, error) {
	s.mu.Lock()
	n := s.n
	var win *window
	for _, x := range s.windows {
		if x.w == w {
			win = x
		}
	}
	s.mu.Unlock()
	wr.Shard(int(n))
	if win == nil {
		return nil, nil
	}
	db.learnPrev(s, n, w)
	var (
		enc   codec.Encoder
		c     span
		out   []sealedSeries
		bytes []byte
		ends  []int
	)
	for at := uint32(0); at < n; at += sealGroup {
		bytes, ends = bytes[:0], ends[:0]
		from := len(out)
		s.mu.Lock()
		for id := at; id < min(n, at+sealGroup); id++ {
			x := s.at(id)
			if x.flags&flagAlive == 0 || win.head(id) == 0 && (x.mask == 0 || windowOf(x.base, x.step) > w) {
				continue
			}
			first, last := firstSlot(w, x.step), lastSlot(w, x.step)
			if last < first {
				continue
			}
			c.reset(first, int(last-first)+1)
			s.readBlocks(win, id, x.step, &c)
			x.readOpen(&c)
			newest := -1
			for i := len(c.out) - 1; i >= 0; i-- {
				if c.out[i] == c.out[i] {
					newest = i
					break
				}
			}
			if newest < 0 {
				continue
			}
			var prev codec.Prev
			if x.kind == typeDerive && x.prevSlot != 0 && x.prevSlot < first {
				prev = codec.Prev{Gap: first - x.prevSlot, Value: x.prevValue}
			}
			bytes = enc.AppendChunk(bytes, c.out, prev, int(x.step))
			ends = append(ends, len(bytes))
			out = append(out, sealedSeries{id, x.gen, first + uint32(newest), c.out[newest]})
		}
		s.mu.Unlock()
		start := 0
		for i, end := range ends {
			if err := wr.Add(out[from+i].id, bytes[start:end]); err != nil {
				return nil, err
			}
			start = end
		}
	}
	return out, nil
}

// learnPrev looks up the newest sample before window w of the counters that do not
// know it after a restart, with no lock held. No late buffer becomes an overlay
// meanwhile.
func (db *DB) learnPrev(s *shard, n, w uint32) {
	r := &reader{}
	var todo []meta
	var gens []uint16
	for at := uint32(0); at < n; at += sealGroup {
		todo, gens = todo[:0], gens[:0]
		s.mu.Lock()
		for id := at; id < min(n, at+sealGroup); id++ {
			if x := s.at(id); x.flags&(flagAlive|flagPrevUnknown) == flagAlive|flagPrevUnknown {
				todo, gens = append(todo, s.meta(id)), append(gens, x.gen)
			}
		}
		if len(todo) > 0 && w > 0 {
			r.hold(s, 0, 0, w-1)
		}
		s.mu.Unlock()
		for i, m := range todo {
			var newest [2]sample
			found := 0
			if m.kind == typeDerive {
				found = db.newestStored(r, s.index, m, &newest, 0, 1)
			}
			s.mu.Lock()
			if x := s.at(m.id); x.gen == gens[i] && x.flags&flagPrevUnknown != 0 {
				if m.kind == typeDerive && w > 0 {
					s.buffers(0, w-1, func(b *lateBuffer) { found = offerNewest(&newest, found, b.newest(m.id)) })
				}
				x.flags &^= flagPrevUnknown
				x.prevSlot, x.prevValue = newest[0].slot, newest[0].value
			}
			s.mu.Unlock()
		}
		r.release()
	}
}

// publish makes the segment visible in place of the window.
func (s *shard) publish(w uint32, list []*segment.Segment, sealed []sealedSeries) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setSegments(list)
	s.published = w + 1
	for _, q := range sealed {
		x := s.at(q.id)
		if x.gen != q.gen {
			continue // deleted meanwhile
		}
		if q.slot > x.prevSlot || x.flags&flagPrevUnknown != 0 {
			x.prevSlot, x.prevValue = q.slot, q.value
		}
		x.flags &^= flagPrevUnknown
		if x.mask == 0 {
			continue
		}
		if last := lastSlot(w, x.step); x.base <= last {
			if n := last - x.base + 1; n < openSlots {
				x.mask &^= 1<<n - 1
			} else {
				x.mask = 0
			}
		}
	}
	s.sealedLate(w)
	s.cur = nil
	s.windows = slices.DeleteFunc(slices.Clone(s.windows), func(x *window) bool { return x.w <= w })
}

// saveCatalog appends to the catalog what has changed, and syncs it and the log.
// An error makes the DB read-only.
func (db *DB) saveCatalog() error {
	var recs []byte
	n := 0
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		for _, id := range s.dead {
			off := len(recs)
			recs = record.End(record.AppendDel(record.Begin(recs, record.Del), uint8(k), id), off)
		}
		n += len(s.dead) + len(s.dirty)
		s.dead = nil
		dirty := s.dirty
		s.dirty = nil
		s.mu.Unlock()
		for len(dirty) > 0 {
			group := dirty[:min(sealGroup, len(dirty))]
			dirty = dirty[len(group):]
			s.mu.Lock()
			for _, id := range group {
				x := s.at(id)
				x.flags &^= flagDirty
				if x.flags&flagAlive != 0 {
					recs = db.seriesRecord(recs, s, id, s.isCurrent(id))
				}
			}
			s.mu.Unlock()
		}
	}
	_, err := db.wal.Write(nil, 0, false)
	err = errors.Join(err, db.wal.Sync(0), db.cat.Append(recs))
	if err != nil {
		db.fail(err)
		return err
	}
	db.catPuts += n
	if live := int(db.alive.Load()); db.catPuts > 256 && (db.catPuts-live)*3 > db.catPuts {
		if err := db.rewriteCatalog(); err != nil {
			db.log.Warn("catalog not rewritten, the old one stays", "err", err)
		}
	}
	return nil
}

func (s *shard) isCurrent(id uint32) bool {
	x := s.at(id)
	e, c := s.nameOf(x)
	_, cur, ok := s.find(x.hash, e, c)
	return ok && cur == id
}

// rewriteCatalog leaves the dead out. Siblings are written in any order: the
// record says which one is current.
func (db *DB) rewriteCatalog() error {
	n := 0
	err := db.cat.Rewrite(func(add func([]byte) error) error {
		var recs []byte
		for k := range db.shards {
			s := &db.shards[k]
			for at, end := uint32(0), uint32(1); at < end; at += sealGroup {
				recs = recs[:0]
				s.mu.Lock()
				end = s.n
				for id := at; id < min(end, at+sealGroup); id++ {
					if s.at(id).flags&flagAlive != 0 {
						recs = db.seriesRecord(recs, s, id, s.isCurrent(id))
						n++
					}
				}
				s.mu.Unlock()
				if err := add(recs); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		db.catPuts = n
	}
	return err
}
