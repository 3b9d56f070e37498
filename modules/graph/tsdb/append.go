package tsdb

import (
	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/modules/graph/tsdb/record"
)

// An outcome of one sample.
const (
	taken = iota
	duplicate
	tooLate
	future
	badTime
	badValue
	unknownRef
	outcomeCount
)

var reasons = [outcomeCount]string{
	duplicate:  model.ReasonDuplicate,
	tooLate:    model.ReasonLate,
	future:     model.ReasonFuture,
	badTime:    model.ReasonTimestamp,
	badValue:   model.ReasonValue,
	unknownRef: model.ReasonUnknown,
}

const (
	// maxRecord is how many samples go into one record of the log.
	maxRecord = 16384
	// backfill is how many hours back a new window may be opened.
	backfill = 12
	// futureSlack is how far ahead of the clock a point may always be.
	futureSlack = 3600
	// maxWindows bounds the open windows of a shard against points that creep
	// ahead of the clock.
	maxWindows = 64
)

type refusal struct {
	at      int32
	outcome uint8
}

// appendScratch is the memory of one Append.
type appendScratch struct {
	order   []uint16
	rec     []byte
	refused []refusal

	late    []int32 // samples for sealed windows, a shard after the other
	lateRec []byte
	run     []lateCheck
	version uint32 // of the shard's files when run was made
}

// Append stores a batch and returns how many samples it took, after the log has
// them. Samples that are not taken are reported to refuse, which may be nil, with
// the index in batch and one of model.Reason…: a duplicate (the first value of a
// series and time wins), which is no fault of the sender; late, for one older than
// the retention; future; unknown_ref, for a series deleted meanwhile; bad_time and
// bad_value. Points for a sealed window go to its late buffer. An error says that the
// log did not take the batch, or a rest of it: it must not be acknowledged. After nil,
// everything in the batch that is in the head or a late buffer is in the log, also
// when an earlier call brought it.
func (db *DB) Append(batch []Sample, refuse func(i int, reason string)) (int, error) {
	total := 0
	for at := 0; at < len(batch); at += maxRecord {
		n, err := db.appendRecord(batch[at:min(at+maxRecord, len(batch))], at, refuse)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (db *DB) appendRecord(batch []Sample, offset int, refuse func(int, string)) (int, error) {
	if err := db.ReadOnly(); err != nil {
		return 0, err
	}
	sc, _ := db.appends.Get().(*appendScratch)
	if sc == nil {
		sc = &appendScratch{}
	}
	defer db.appends.Put(sc)
	sc.refused, sc.late = sc.refused[:0], sc.late[:0]
	now := db.now()
	full := db.lateFull()

	ticket := db.gate.enter()
	newest, n := db.fill(sc, batch, now.Unix())
	nLate := 0
	if len(sc.late) > 0 && full == nil {
		nLate = db.fillLate(sc, batch, now)
	}
	err := db.logPoints(sc, newest, n, nLate)
	db.gate.leave(ticket)
	if err != nil {
		db.fail(err)
		return 0, err
	}
	failpoint.Reached("graph.logged")
	if len(sc.late) > 0 && full != nil {
		return n, full
	}
	resent := false
	for _, r := range sc.refused {
		resent = resent || r.outcome == duplicate
		if refuse != nil {
			refuse(offset+int(r.at), reasons[r.outcome])
		}
	}
	if resent {
		// The first copy may be on its way to the log in another Append.
		db.gate.wait()
		if err := db.ReadOnly(); err != nil {
			return 0, err
		}
	}
	return n + nLate, nil
}

// fill puts the samples into the head and those it took into the record sc.rec.
// Those for sealed windows it sets aside in sc.late.
func (db *DB) fill(sc *appendScratch, batch []Sample, now int64) (newest uint32, n int) {
	if cap(sc.order) < len(batch) {
		sc.order = make([]uint16, maxRecord)
	}
	order := sc.order[:len(batch)]
	var ends [numShards + 1]int
	for i := range batch {
		ends[batch[i].Ref.shard()+1]++
	}
	for k := range numShards {
		ends[k+1] += ends[k]
	}
	at := ends
	for i := range batch {
		k := batch[i].Ref.shard()
		order[at[k]] = uint16(i)
		at[k]++
	}
	rec := record.Begin(sc.rec[:0], record.Points)
	// Batches start at different shards, so that they do not queue behind each
	// other.
	start := 0
	if len(batch) > 0 {
		start = batch[0].Ref.shard()
	}
	for j := range numShards {
		k := (start + j) % numShards
		group := order[ends[k]:ends[k+1]]
		if len(group) == 0 {
			continue
		}
		var g record.GroupWriter
		rec, g = record.BeginGroup(rec, uint8(k), len(group))
		s := &db.shards[k]
		s.mu.Lock()
		lo, hi := s.accepts(now)
		s.touch(batch, group)
		for _, i := range group {
			p := &batch[i]
			outcome := s.take(p, now, lo, hi)
			if outcome == tooLate {
				sc.late = append(sc.late, int32(i))
				continue
			}
			if outcome != taken {
				s.outcomes[outcome]++
				sc.refused = append(sc.refused, refusal{int32(i), outcome})
				continue
			}
			g.Add(rec, p.Ref.id(), uint32(p.Ts), p.Value)
			newest = max(newest, s.cur.w)
			n++
		}
		s.mu.Unlock()
		rec = g.End(rec)
	}
	sc.rec = rec
	return newest, n
}

// touch loads what take will need of each series, so that the cache misses
// overlap instead of following each other.
func (s *shard) touch(batch []Sample, group []uint16) {
	var x uint32
	for _, i := range group {
		if id := batch[i].Ref.id(); id < s.n {
			r := s.at(id)
			x += r.base + uint32(r.gen)
			if r.open[6] > 0 {
				x++
			}
		}
	}
	s.sink += x
}

// accepts returns the windows that take points at a time. A window is never
// closed by the clock, but only by a seal; the clock only bounds which ones may
// be opened, so that a point of long ago can not cost a file.
func (s *shard) accepts(now int64) (lo, hi uint32) {
	lo = windowAt(now)
	lo -= min(lo, backfill)
	if len(s.windows) > 0 {
		lo = min(lo, s.windows[0].w)
	}
	hi = windowAt(now + futureSlack)
	if len(s.windows) < maxWindows {
		// When the clock jumped back, time goes on where it was.
		hi = max(hi, s.newest+1)
	}
	return max(lo, s.floor), hi
}

// take stores one sample; its window is then s.cur. tooLate says that the window
// takes no points into the head.
func (s *shard) take(p *Sample, now int64, lo, hi uint32) uint8 {
	id := p.Ref.id()
	x := s.known(p.Ref)
	if x == nil {
		return unknownRef
	}
	if !bounded(p.Value) {
		return badValue
	}
	if p.Ts < int64(x.step) || p.Ts > maxTime {
		return badTime
	}
	slot := uint32(p.Ts) / x.step
	w := windowOf(slot, x.step)
	if w < lo {
		return tooLate
	}
	if w > hi && p.Ts > now+3*int64(x.step) {
		return future
	}
	return s.store(id, x, slot, w, p.Value)
}

// store puts a value into window w, which is open.
func (s *shard) store(id uint32, x *series, slot, w uint32, v float64) uint8 {
	win := s.cur
	if win == nil || win.w != w {
		win = s.window(w)
		s.cur = win
	}
	if !s.put(win, id, x, slot, v) {
		return duplicate
	}
	if x.flags&flagFresh != 0 {
		x.flags &^= flagFresh
		x.since = slot * x.step
		s.mark(id)
	}
	win.taken++
	s.appended++
	return taken
}

// logPoints writes the records of a batch, when they have points, and makes them as
// durable as the DB promises.
func (db *DB) logPoints(sc *appendScratch, newest uint32, n, nLate int) error {
	if n+nLate == 0 {
		return nil
	}
	if n > 0 {
		sc.rec = record.End(sc.rec, 0)
	} else {
		sc.rec = sc.rec[:0]
	}
	if nLate > 0 {
		sc.rec = append(sc.rec, record.End(sc.lateRec, 0)...)
	}
	pos, err := db.wal.Write(sc.rec, newest, nLate > 0)
	if err == nil && db.opt.Durability == Group {
		err = db.wal.Sync(pos)
	}
	return err
}
