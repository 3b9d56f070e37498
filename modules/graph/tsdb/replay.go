package tsdb

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/klauspost/compress/s2"

	"falcon/modules/graph/tsdb/record"
)

// A replay applies records: one goroutine reads and decompresses, and as many
// workers as there are cores apply, each the records of its own shards in their
// order. Its memory does not grow with the files.
type replay struct {
	db      *DB
	fromLog bool // else from the catalog
	workers []*replayer
	pending [][]step // for each worker, of small records
	wg      sync.WaitGroup
	bufs    sync.Pool // *replayBuf
	spare   chan []step
	newest  uint32
	bad     int
	stopped bool
}

// A step is one record, or one group of a points record.
type step struct {
	t record.Type
	p []byte
	g record.Group
}

// A replayBuf holds decompressed points until all its groups are applied.
type replayBuf struct {
	b    []byte
	refs atomic.Int32
}

type task struct {
	steps []step
	buf   *replayBuf // may be nil
	done  *sync.WaitGroup
}

type replayer struct {
	db      *DB
	tasks   chan task
	points  int64
	skipped int64
	newest  uint32
	bad     int
}

func newReplay(db *DB) *replay {
	n := min(max(1, runtime.GOMAXPROCS(0)), numShards)
	rp := &replay{db: db, pending: make([][]step, n), spare: make(chan []step, 256)}
	for range n {
		w := &replayer{db: db, tasks: make(chan task, 64)}
		rp.workers = append(rp.workers, w)
		rp.wg.Go(func() {
			for t := range w.tasks {
				w.apply(rp, t)
				if t.buf != nil && t.buf.refs.Add(-1) == 0 {
					rp.bufs.Put(t.buf)
				}
				if t.done != nil {
					t.done.Done()
				}
				select {
				case rp.spare <- t.steps[:0]:
				default:
				}
			}
		})
	}
	return rp
}

// stop ends the workers when all is applied.
func (rp *replay) stop() {
	if rp.stopped {
		return
	}
	rp.stopped = true
	rp.flush()
	for _, w := range rp.workers {
		close(w.tasks)
	}
	rp.wg.Wait()
}

func (rp *replay) points() (applied, skipped int64) {
	for _, w := range rp.workers {
		applied += w.points
		skipped += w.skipped
	}
	return applied, skipped
}

func (rp *replay) damaged() int {
	n := rp.bad
	for _, w := range rp.workers {
		n += w.bad
	}
	return n
}

// newestWindow returns the newest window of the points since it was last asked;
// call it after barrier.
func (rp *replay) newestWindow() (w uint32) {
	for _, r := range rp.workers {
		w = max(w, r.newest)
		r.newest = 0
	}
	return w
}

// add hands a record to the worker of its shard. The payload must stay until
// barrier has returned.
func (rp *replay) add(t record.Type, p []byte) {
	switch t {
	case record.Points:
		rp.addPoints(p, nil)
	case record.PointsS2:
		n, err := s2.DecodedLen(p)
		if err != nil || n > record.MaxLen {
			rp.bad++
			return
		}
		buf, _ := rp.bufs.Get().(*replayBuf)
		if buf == nil {
			buf = &replayBuf{}
		}
		if cap(buf.b) < n {
			buf.b = make([]byte, n+n/2)
		}
		raw, err := s2.Decode(buf.b[:cap(buf.b)], p)
		if err != nil {
			rp.bad++
			return
		}
		rp.addPoints(raw, buf)
	case record.Put, record.Del, record.Current:
		if len(p) == 0 || int(p[0]) >= numShards {
			rp.bad++
			return
		}
		w := int(p[0]) % len(rp.workers)
		rp.pending[w] = append(rp.pending[w], step{t: t, p: p})
		if len(rp.pending[w]) >= 512 {
			rp.send(w, nil)
		}
	default: // a later release writes more than we know; it changes FORMAT when that matters
	}
}

// addPoints sends the groups of a record behind the small records before them.
func (rp *replay) addPoints(p []byte, buf *replayBuf) {
	for len(p) > 0 {
		g, rest, err := record.NextGroup(p)
		if err != nil || g.Shard >= numShards {
			rp.bad++
			break
		}
		w := int(g.Shard) % len(rp.workers)
		rp.pending[w] = append(rp.pending[w], step{t: record.Points, g: g})
		p = rest
	}
	if buf == nil {
		return
	}
	buf.refs.Store(int32(len(rp.workers)))
	for w := range rp.workers {
		rp.send(w, buf)
	}
}

func (rp *replay) send(w int, buf *replayBuf) {
	t := task{steps: rp.pending[w], buf: buf}
	select {
	case rp.pending[w] = <-rp.spare:
	default:
		rp.pending[w] = make([]step, 0, numShards)
	}
	rp.workers[w].tasks <- t
}

func (rp *replay) flush() {
	for w := range rp.workers {
		if len(rp.pending[w]) > 0 {
			rp.send(w, nil)
		}
	}
}

// barrier returns when everything added so far is applied.
func (rp *replay) barrier() {
	rp.flush()
	var done sync.WaitGroup
	done.Add(len(rp.workers))
	for _, w := range rp.workers {
		w.tasks <- task{done: &done}
	}
	done.Wait()
}

// apply runs the steps of a task. No lock is needed: nobody else knows the shards
// yet.
func (w *replayer) apply(rp *replay, t task) {
	for i := range t.steps {
		st := &t.steps[i]
		switch st.t {
		case record.Points:
			w.group(&w.db.shards[st.g.Shard], &st.g)
		case record.Put:
			var r record.Series
			if record.ParseSeries(st.p, &r) != nil || r.ID >= 1<<31 || r.Type > typeDerive || len(r.Endpoint)+len(r.Counter) == 0 {
				w.bad++
				continue
			}
			w.db.shards[r.Shard].restore(&r, rp.fromLog)
		case record.Del:
			shard, id, err := record.ParseDel(st.p)
			if err != nil {
				w.bad++
				continue
			}
			s := &w.db.shards[shard]
			if id < s.n && s.at(id).flags&flagAlive != 0 {
				s.kill(id)
			}
			if rp.fromLog {
				s.dead = append(s.dead, id)
			}
		case record.Current:
			shard, id, since, err := record.ParseCurrent(st.p)
			if err != nil {
				w.bad++
				continue
			}
			w.db.shards[shard].restoreCurrent(id, since)
		}
	}
}

// group applies the points of one shard.
func (w *replayer) group(s *shard, g *record.Group) {
	var x, id uint32
	for i := range g.N { // overlaps the cache misses
		if id = g.NextID(i, id); id < s.n {
			r := s.at(id)
			x += r.base
			if r.open[6] > 0 {
				x++
			}
		}
	}
	s.sink += x
	id = 0
	for i := range g.N {
		id = g.NextID(i, id)
		ts, v := g.Time(i), g.Value(i)
		if id >= s.n {
			w.bad++
			continue
		}
		x := s.at(id)
		if x.flags&flagAlive == 0 || ts < x.step || v != v {
			continue
		}
		slot := ts / x.step
		win := windowOf(slot, x.step)
		w.newest = max(w.newest, win)
		if win < s.published {
			x.last = max(x.last, slot)
			if x.flags&flagFresh != 0 {
				x.flags &^= flagFresh
				x.since = slot * x.step
			}
			w.skipped++
			continue
		}
		if s.store(id, x, slot, win, v) == taken {
			w.points++
		}
	}
}

// restore applies a put record. The log repeats history: it may name an owner of
// an id whom the catalog has forgotten already, and comes to the same end.
func (s *shard) restore(r *record.Series, fromLog bool) {
	// The record is in a mapping that stays for as long as these are used.
	endpoint, counter := unsafe.String(unsafe.SliceData(r.Endpoint), len(r.Endpoint)), unsafe.String(unsafe.SliceData(r.Counter), len(r.Counter))
	_, hash := hashName(endpoint, counter)
	if r.ID < s.n {
		if x := s.at(r.ID); x.flags&flagAlive != 0 {
			e, c := s.nameOf(x)
			if e == endpoint && c == counter && x.step == r.Step && x.kind == r.Type {
				s.describe(r)
				if place, cur, ok := s.find(hash, endpoint, counter); ok && r.Current && cur != r.ID {
					s.table[place] = r.ID + 1
				}
				return
			}
			s.kill(r.ID)
		}
	}
	s.occupy(r.ID, hash, endpoint, counter, r.Type, r.Step, max(r.Heartbeat, r.Step))
	place, cur, known := s.find(hash, endpoint, counter)
	if !known {
		s.enter(r.ID)
	} else {
		s.at(r.ID).sib = s.at(cur).sib
		s.at(cur).sib = r.ID
		if r.Current {
			s.table[place] = r.ID + 1
			if fromLog {
				s.mark(cur)
			}
		}
	}
	s.describe(r)
	if fromLog {
		s.mark(r.ID)
	}
}

// describe sets what a put record says beside name, type and step.
func (s *shard) describe(r *record.Series) {
	x := s.at(r.ID)
	x.born, x.bornWin = r.Born, r.BornWin
	if r.Since != 0 {
		x.since = r.Since
		x.flags &^= flagFresh
	}
	s.setBounds(r.ID, r.Min, r.Max)
}

// restoreCurrent has the name of id lead to it.
func (s *shard) restoreCurrent(id, since uint32) {
	if id >= s.n || s.at(id).flags&flagAlive == 0 {
		return
	}
	x := s.at(id)
	e, c := s.nameOf(x)
	place, cur, ok := s.find(x.hash, e, c)
	if !ok {
		return
	}
	s.makeCurrent(place, cur, id)
	if since != 0 {
		x.since = since
		x.flags &^= flagFresh
	}
}
