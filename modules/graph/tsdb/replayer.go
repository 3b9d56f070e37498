package tsdb

import (
	"math"

	"falcon/modules/graph/tsdb/record"
)

// A replayer applies the records of some shards. Points wait until there are many
// of a shard, and are then applied slab by slab: the series of a slab stay in the
// cache for several points of each, while the log would have us walk through all
// the memory once for every minute in it. The order of the points of a series is
// kept, and a record about series waits for the points before it and makes those
// behind it wait. No lock is needed: nobody else knows the shards yet.
type replayer struct {
	db      *DB
	tasks   chan task
	waiting [numShards]waiting
	batch   record.Batch
	slabs   [][]point // of the shard that is applied
	reader  reader

	points  int64
	late    int64 // of points
	skipped int64
	newest  uint32
	kept    bool // a late point was, since replay last asked
	bad     int
}

// waiting are groups of a shard that are not applied yet, still packed.
type waiting struct {
	groups []record.Group
	late   []record.Group // applied behind the others: their order does not matter
	n      int            // points in them
}

type point struct {
	id, ts uint32
	v      float64
}

// maxWaiting is how many points of a shard wait at most, 16 bytes for each when
// they are unpacked.
const maxWaiting = 1 << 19

// apply takes steps in their order.
func (w *replayer) apply(fromLog bool, steps []step) {
	for i := range steps {
		st := &steps[i]
		if st.t == record.Points || st.t == record.Late {
			q := &w.waiting[st.g.Shard]
			if st.t == record.Late {
				q.late = append(q.late, st.g)
			} else {
				q.groups = append(q.groups, st.g)
			}
			if q.n += st.g.N; q.n >= maxWaiting {
				w.flush(int(st.g.Shard))
			}
			continue
		}
		w.flush(int(st.p[0]))
		w.define(fromLog, st)
	}
}

// settle applies what waits.
func (w *replayer) settle() {
	for k := range w.waiting {
		w.flush(k)
	}
}

// define applies a record about a series.
func (w *replayer) define(fromLog bool, st *step) {
	switch st.t {
	case record.Put:
		var r record.Series
		if record.ParseSeries(st.p, &r) != nil || r.ID >= 1<<31 || r.Type > typeDerive || len(r.Endpoint)+len(r.Counter) == 0 {
			w.bad++
			return
		}
		w.db.shards[r.Shard].restore(&r, fromLog)
	case record.Del:
		shard, id, err := record.ParseDel(st.p)
		if err != nil {
			w.bad++
			return
		}
		s := &w.db.shards[shard]
		if id < s.n && s.at(id).flags&flagAlive != 0 {
			s.kill(id)
		}
		if fromLog {
			s.dead = append(s.dead, id)
		}
	case record.Current:
		shard, id, since, err := record.ParseCurrent(st.p)
		if err != nil {
			w.bad++
			return
		}
		w.db.shards[shard].restoreCurrent(id, since)
	}
}

// flush applies the points of a shard that wait.
func (w *replayer) flush(k int) {
	q := &w.waiting[k]
	if q.n == 0 {
		return
	}
	s := &w.db.shards[k]
	for len(w.slabs) < len(s.slabs) {
		w.slabs = append(w.slabs, nil)
	}
	even := q.n/max(len(s.slabs), 1)*5/4 + 16 // points of a slab when all have as many
	for i := range q.groups {
		if w.batch.Decode(&q.groups[i]) != nil {
			w.bad++
			continue
		}
		ids, times, values := w.batch.IDs, w.batch.Times, w.batch.Values
		for j, id := range ids {
			if id >= s.n {
				w.bad++
				continue
			}
			slab := &w.slabs[id/slabSize]
			if *slab == nil {
				*slab = make([]point, 0, even)
			}
			*slab = append(*slab, point{id, times[j], values[j]})
		}
	}
	clear(q.groups) // they hold on to a mapping
	q.groups, q.n = q.groups[:0], 0
	for i := range s.slabs {
		if len(w.slabs[i]) > 0 {
			w.slab(s, s.slabs[i], w.slabs[i])
			w.slabs[i] = w.slabs[i][:0]
		}
	}
	for i := range q.late {
		w.lateGroup(s, &q.late[i])
	}
	clear(q.late)
	q.late = q.late[:0]
}

// lateGroup puts late points back into their buffers, but for those that an overlay
// has already, or the first file of a window whose seal came between.
func (w *replayer) lateGroup(s *shard, g *record.Group) {
	if w.batch.Decode(g) != nil {
		w.bad++
		return
	}
	now := w.db.now()
	held := uint32(math.MaxUint32) // the window whose files are held
	defer w.reader.release()
	for i, id := range w.batch.IDs {
		ts := w.batch.Times[i]
		if id >= s.n {
			w.bad++
			continue
		}
		x := s.at(id)
		if x.flags&flagAlive == 0 || ts < x.step {
			continue
		}
		slot := ts / x.step
		v := windowOf(slot, x.step)
		if v != held {
			w.reader.release()
			w.reader.hold(s, 0, v, v)
			held = v
		}
		if w.db.stored(w.reader.segs, s.index, id, slot, x.step, x.bornWin) {
			x.last = max(x.last, slot)
			s.sinceLate(id, x, slot*x.step)
			w.skipped++
		} else if s.storeLate(id, x, slot, v, w.batch.Values[i], now) == taken {
			w.points++
			w.late++
			w.kept = true
		}
	}
}

// slab applies points whose series are all in one slab.
func (w *replayer) slab(s *shard, slab *[slabSize]series, points []point) {
	var ts, step, slot, win uint32 // of the point before: most have the same time and step
	var open *window               // nil when win is sealed
	applied := uint64(0)
	for i := range points {
		p := &points[i]
		x := &slab[p.id%slabSize]
		if x.flags&flagAlive == 0 || p.ts < x.step {
			continue
		}
		if p.ts != ts || x.step != step {
			ts, step = p.ts, x.step
			slot = ts / step
			if v := windowOf(slot, step); v != win || open == nil {
				win, open = v, nil
				if win >= s.published {
					open = s.window(win)
					s.cur = open
				}
				w.newest = max(w.newest, win)
			}
		}
		if open == nil {
			x.last = max(x.last, slot)
			if x.flags&flagFresh != 0 {
				x.flags &^= flagFresh
				x.since = slot * step
			}
			w.skipped++
			continue
		}
		if d := slot - x.base; d < openSlots && x.mask != 0 && x.mask>>d&1 == 0 && x.flags&flagFresh == 0 {
			// What store does in the end, for nearly all of them.
			x.open[d] = p.v
			x.mask |= 1 << d
			x.last = max(x.last, slot)
			open.taken++
			s.appended++
			applied++
		} else if s.store(p.id, x, slot, win, p.v) == taken {
			applied++
		}
	}
	w.points += int64(applied)
}
