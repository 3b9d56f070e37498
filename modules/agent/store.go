package agent

import (
	"falcon/common/model"
	"falcon/common/queue/spool"
	"falcon/common/stream"
)

// A store keeps points of an outbox in a spool, and who waits for them. The outbox's
// lock guards it.
type store struct {
	spool   *spool.Spool
	most    int64         // bytes that it may have
	failing bool          // the last append did not succeed
	dirty   chan struct{} // the spool was written to

	enc     stream.Encoder
	record  []byte
	points  []stream.Point
	waiters []waiter      // in the order of their points
	ahead   *spool.Record // read, and too large for the flight before it
	decoded stream.Record
	dropped int64 // of the spool's Stats, what was told
	damaged int64
}

// A waiter is told once the spool's first place points have left it.
type waiter struct {
	place int64
	done  func(error)
}

// append adds points, whose series the first sender's handles name. It returns how many
// points were dropped to make room, and who waited for them.
func (st *store) append(points []point, series func(stream.Handle) *model.Series, done func(error)) (dropped int, gone []func(error), err error) {
	st.points = st.points[:0]
	for _, p := range points {
		st.points = append(st.points, stream.Point{Handle: p.series.handles[0], Time: p.ts, Value: p.value, Text: p.text})
	}
	st.record = st.enc.Encode(st.record[:0], st.points, series)
	err = st.spool.Append(st.record, len(points))
	st.wrote()
	now := st.spool.Stats()
	dropped = int(now.Dropped - st.dropped)
	st.dropped = now.Dropped
	gone = st.passed(now)
	if err == nil && done != nil {
		st.waiters = append(st.waiters, waiter{now.Start + now.In, done})
	}
	return dropped, gone, err
}

func (st *store) wrote() {
	select {
	case st.dirty <- struct{}{}:
	default:
	}
}

// passed takes out who waits for points that the spool no longer holds.
func (st *store) passed(now spool.Stats) (done []func(error)) {
	left := now.Start + now.In - now.Held
	for len(st.waiters) > 0 && st.waiters[0].place <= left {
		done = append(done, st.waiters[0].done)
		st.waiters = st.waiters[1:]
	}
	return done
}

// read makes a flight for the at-th sender of what was not read yet; nil when there is
// nothing. It also returns how many points turned out to be damaged.
func (st *store) read(series *seriesMap, at int) (f *flight, points []stream.Point, damaged int) {
	f = &flight{}
	for {
		rec, ok := st.next()
		if !ok {
			break
		}
		if f.points > 0 && f.points+rec.Points > batchSize {
			st.ahead = &rec
			break
		}
		f.rec = rec
		f.points += rec.Points
		if err := st.decoded.Decode(rec.Payload); err != nil {
			f.unread += rec.Points
			continue
		}
		points = st.appendTo(points, series, at)
	}
	now := st.spool.Stats()
	damaged = int(now.Damaged - st.damaged)
	st.damaged = now.Damaged
	if f.points == 0 {
		return nil, nil, damaged
	}
	f.rec.Payload = nil // the spool's
	return f, points, damaged
}

func (st *store) next() (spool.Record, bool) {
	if st.ahead != nil {
		rec := *st.ahead
		st.ahead = nil
		return rec, true
	}
	return st.spool.Read()
}

// appendTo adds the points of the decoded record.
func (st *store) appendTo(points []stream.Point, known *seriesMap, at int) []stream.Point {
	handles := make([]stream.Handle, len(st.decoded.Series))
	for i := range st.decoded.Series {
		s := &st.decoded.Series[i]
		handles[i] = known.get(name{s.Endpoint, s.Metric, s.Tags, s.Type, s.Step, s.Text}).handles[at]
	}
	p := &st.decoded.Points
	for i, ref := range p.Refs {
		out := stream.Point{Handle: handles[ref], Time: p.Times[i]}
		if i < len(p.Values) {
			out.Value = p.Values[i]
		} else {
			out.Text = p.Texts[i-len(p.Values)]
		}
		points = append(points, out)
	}
	return points
}

// commit lets go what was delivered, up to rec, and returns how many points left and
// who waited for them.
func (st *store) commit(rec spool.Record) (int, []func(error), error) {
	n, err := st.spool.Commit(rec)
	st.wrote()
	return int(n), st.passed(st.spool.Stats()), err
}

// rewind makes read begin again at what is not delivered.
func (st *store) rewind() {
	st.ahead = nil
	st.spool.Rewind()
}
