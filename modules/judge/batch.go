package judge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"falcon/common/expr"
	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/modules/judge/core"
)

// batch is points that are judged together and stand in the journal together. It is
// opened by Judge.begin and ended by commit, and is one goroutine's.
type batch struct {
	j *Judge
	recorder
	turn   uint32
	wall   int64           // when it began, Unix seconds
	full   [][]byte        // records that are large enough already, before the present one
	fresh  []*entry        // defined in these records
	done   chan struct{}   // closed once the journal had its say
	after  []chan struct{} // of batches that brought what was sent once more here
	told   []*outbox.Told
	events []*model.Event
	room   [expr.MaxWindow + 1]float64

	kept, late, stale int
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// begin opens a batch. The journal does not turn before it is committed.
func (j *Judge) begin() *batch {
	b := batches.Get().(*batch)
	j.turning.RLock()
	b.j, b.turn, b.wall, b.done = j, j.turn, j.now().Unix(), make(chan struct{})
	return b
}

// abandon ends a batch that a panic keeps from its commit: what it has stays in memory,
// and nobody waits for it.
func (b *batch) abandon(committed *bool) {
	if !*committed {
		b.j.turning.RUnlock()
		close(b.done)
	}
}

// What became of a point.
type fate uint8

const (
	taken   fate = iota
	nobodys      // no rule watches the series
	lost         // the series was forgotten meanwhile: find it again
)

// add looks at a point of e, pushed with typ, empty for the type that e has. now is the
// clock that minInterval is measured with.
func (b *batch) add(e *entry, p expr.Point, typ string, now int64) fate {
	return b.put(e, p, "", typ, now)
}

// put is add for a series of either kind; of one of texts text is the value.
func (b *batch) put(e *entry, p expr.Point, text, typ string, now int64) fate {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	if e.gone {
		return lost
	}
	// Loaded under the lock: whoever brings the first rules looks at each shard after
	// they are in force, so a point is seen by them or sees them.
	rules := b.j.inForce.Load()
	if typ != "" && p.Ts > e.Newest() {
		e.retype(typ)
	}
	waits := rules == nil
	if rules != nil && !e.Watch(rules.index, b.j.set) {
		if waits = !b.j.follow.Known(e.Endpoint(), e.Metric()); !waits {
			// What hbs has said of it is in force by now.
			if rules = b.j.inForce.Load(); !e.Watch(rules.index, b.j.set) {
				return nobodys
			}
		}
	}
	if e.IsText() {
		p.Value = e.Word(text)
	}
	switch outcome := e.InsertAt(p, b.j.set, b.wall); {
	case outcome == core.Skip:
		b.stale++
		if n := len(b.after); e.last != nil && e.last != b.done && (n == 0 || b.after[n-1] != e.last) {
			select {
			case <-e.last:
			default:
				b.after = append(b.after, e.last)
			}
		}
	case waits:
		b.kept++
		e.seen = b.wall
		b.note(opWait, e, p)
		e.wait(true)
	default:
		b.kept++
		e.seen = b.wall
		b.note(opPoint, e, p)
		if outcome == core.Late {
			if !e.Ahead(p.Ts, b.wall) {
				b.late++
				break
			}
			// A sender whose clock is ahead does not keep the others from being judged.
			e.wait(false)
			b.events = e.JudgeAt(b.events[:0], p.Ts, now, b.j.set, b.room[:0])
			b.tell(e)
			break
		}
		e.wait(false)
		b.events = e.Judge(b.events[:0], now, b.j.set, b.room[:0])
		b.tell(e)
	}
	b.cut()
	return taken
}

// cut begins another record when the present one is large. A point and what was told
// of it stay together.
func (b *batch) cut() {
	if len(b.buf) >= recordSize {
		b.full = append(b.full, b.buf)
		b.recorder = recorder{}
	}
}

func (b *batch) note(op byte, e *entry, p expr.Point) {
	e.last = b.done
	if e.turn != b.turn {
		// Another batch may define it in the same turn, and reach the journal first or
		// later: only once this record is written do others rely on it.
		b.define(e)
		b.fresh = append(b.fresh, e)
	}
	b.value(op, e, p)
}

// tell numbers the events that were made of e. The caller holds e's shard, so the
// numbers of a series' events go up.
func (b *batch) tell(e *entry) {
	for _, ev := range b.events {
		if b.j.union.take(ev) {
			continue // of several conditions: plus_judge says what is told
		}
		t := b.j.out.Tell(ev, e.typ)
		if ev.Status == model.StatusProblem {
			b.j.problems.Add(1)
		} else {
			b.j.oks.Add(1)
		}
		if err := b.recorder.told(&told{Told: t}); err != nil {
			b.j.log.Error("an event can not be written and is dropped", "id", ev.Id, "err", err)
		}
		b.told = append(b.told, t)
	}
}

// commit writes the record and lets the events out. With an error the batch must not
// be acknowledged: it is in memory only, and the journal brings it to the disk with a
// later one. The events go out all the same: a full disk is no reason for silence.
func (b *batch) commit() error {
	j := b.j
	var err error
	if len(b.buf) > 0 {
		b.full = append(b.full, b.buf)
	}
	if len(b.full) > 0 {
		failpoint.Reached("judge.judged")
		err = j.journal.Append(b.full...)
		j.broken(err)
		if err == nil {
			for _, e := range b.fresh {
				e.shard.mu.Lock()
				e.turn = b.turn
				e.shard.mu.Unlock()
			}
		}
	}
	j.turning.RUnlock()
	close(b.done)
	for _, other := range b.after {
		<-other
	}
	if err == nil && (b.stale > 0 || j.diskErr.Load() != nil) {
		// Points that were sent once more are in memory already, and may wait there.
		err = j.journal.Flush()
		j.broken(err)
	}
	if j.out.Closed() {
		j.discarded.Add(len(b.told))
	}
	j.out.Put(b.told)
	j.kept.Add(b.kept)
	j.late.Add(b.late)
	j.stale.Add(model.ReasonStale, b.stale)
	b.reset()
	clear(b.fresh)
	clear(b.told)
	clear(b.full)
	clear(b.after)
	b.full, b.after = b.full[:0], b.after[:0]
	b.fresh, b.told, b.kept, b.late, b.stale = b.fresh[:0], b.told[:0], 0, 0, 0
	if cap(b.buf) < 4<<20 {
		batches.Put(b)
	}
	return err
}

// notePushed marks events in the journal that Redis has. The error is the disk's, and the
// next run then pushes them once more.
func (j *Judge) notePushed(seqs []uint64) {
	b := j.begin()
	for _, seq := range seqs {
		b.recorder.pushed(seq)
	}
	_ = b.commit()
}

// noteMet has the journal remember the memory of Redis, or with a broken disk this run.
func (j *Judge) noteMet(epoch string) {
	b := j.begin()
	b.recorder.epoch(epoch)
	_ = b.commit()
}

// busy says why no batch is taken now, by what is waited for: so much waits in memory
// already that nothing more must come. Whoever sends it keeps it.
func (j *Judge) busy() error {
	if err := j.journal.Room(); err != nil {
		j.broken(err)
		j.refusedBusy.Add("disk", 1)
		return fmt.Errorf("judge takes no points until its disk does: %w", err)
	}
	if err := j.out.Room(); err != nil {
		j.refusedBusy.Add("redis", 1)
		return fmt.Errorf("judge takes no points: %w", err)
	}
	if err := j.ruleless(); err != nil {
		j.refusedBusy.Add("hbs", 1)
		return fmt.Errorf("judge takes no points: %w", err)
	}
	return nil
}

// ruleless says that as many series wait for an hbs as should.
func (j *Judge) ruleless() error {
	n := j.table.waiting.Load()
	if n < int64(j.cfg.HBS.MaxWaiting) {
		return nil
	}
	return fmt.Errorf("%d series wait until an hbs says what watches them (hbs.servers, hbs.maxWaiting)", n)
}

// broken remembers what the journal said last, for /health.
func (j *Judge) broken(err error) {
	if err == nil {
		if j.diskErr.Load() == nil {
			return
		}
		if j.diskErr.Swap(nil) != nil {
			j.log.Info("the journal takes records again")
		}
		return
	}
	j.diskErrs.Add(1)
	if j.diskErr.Swap(&err) == nil {
		j.log.Error("the journal takes nothing: points are judged and not acknowledged, and a restart would forget them", "err", err)
	}
}

const tick = 10 * time.Second

// keepSafe brings to the disk what was appended, so that a power failure takes a second.
func (j *Judge) keepSafe(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := j.journal.Sync(); err != nil {
				j.broken(err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep judges points that waited when the first rules come, and each tick closes
// problems whose rule is gone, forgets what is silent and lets the journal turn.
func (j *Judge) sweep(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	every := j.cfg.Turning.Every.D()
	turn := time.NewTicker(min(tick, every))
	defer turn.Stop()
	turned := time.Now()
	for {
		j.judgeWaiting()
		select {
		case <-j.booked:
		case <-ticker.C:
			j.close()
			j.table.expire(j.now().Unix())
			j.out.forgetAcks()
			if j.diskErr.Load() != nil {
				j.broken(j.journal.Flush())
			}
		case <-turn.C:
			if time.Since(turned) >= every || j.journal.Size() > j.cfg.Turning.Size {
				turned = time.Now()
				if err := j.rewrite(); err != nil {
					j.log.Error("the journal can not be rewritten and grows on", "err", err)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// judgeWaiting looks at the points that came before the first rules.
func (j *Judge) judgeWaiting() {
	rules := j.inForce.Load()
	if rules == nil {
		return
	}
	now := j.now().Unix()
	j.sweeping(func(b *batch, e *entry) {
		if !e.waits {
			return
		}
		if !e.Watch(rules.index, j.set) {
			if !j.follow.Known(e.Endpoint(), e.Metric()) {
				return // hbs is asked for it
			}
			rules = j.inForce.Load()
		}
		e.wait(false)
		if e.Watch(rules.index, j.set) {
			b.events = e.Judge(b.events[:0], now, j.set, b.room[:0])
			b.tell(e)
		}
	})
}

// close ends the problems of rules that are gone, and forgets series that nobody
// watches or that are silent.
func (j *Judge) close() {
	rules := j.inForce.Load()
	if rules == nil {
		return
	}
	heard, _ := j.follow.Heard()
	now := j.now().Unix()
	j.sweeping(func(b *batch, e *entry) {
		b.events = b.events[:0]
		if j.follow.Known(e.Endpoint(), e.Metric()) { // else nothing says that a rule is gone
			b.events = e.Close(b.events, j.inForce.Load().index, j.set, now, heard.Unix())
		}
		if e.Rests(rules.index, j.set) {
			e.rested = now
		}
		silent := now-e.heard() > forgetAfter
		if silent || now > j.closes(e) && e.Open() {
			b.events = e.End(b.events, now)
		}
		b.tell(e)
		if silent || e.Newest() == 0 && !e.Open() || !e.waits && !e.Watch(rules.index, j.set) && !e.Told() {
			e.forget()
		}
	})
}

// closes returns when the open problems of a series end if no point of it comes. The
// caller holds the lock of its shard.
func (j *Judge) closes(e *entry) int64 {
	at := e.heard() + forgetAfter
	if c := int64(j.cfg.Alarm.CloseSilent.D() / time.Second); c > 0 {
		at = min(at, max(e.heard(), j.started)+c)
	}
	return at
}

// sweeping calls fn with every series; what it tells is committed shard by shard.
func (j *Judge) sweeping(fn func(*batch, *entry)) {
	for i := range j.table.shards {
		b := j.begin()
		sh := &j.table.shards[i]
		sh.mu.Lock()
		for e := range sh.all() {
			fn(b, e)
			b.cut()
		}
		sh.mu.Unlock()
		_ = b.commit() // the events go out; Append reports what stays wrong
	}
}

// rewrite replaces the journal's files by a snapshot of what a restart needs. Points
// go on meanwhile: into the next file, and into the snapshot where they were faster.
func (j *Judge) rewrite() error {
	j.turning.Lock()
	err := j.journal.Turn()
	if err == nil {
		j.turn++
	}
	j.turning.Unlock()
	if err != nil {
		return err
	}
	return j.journal.Snapshot(j.snapshot)
}

// recordSize is how large a record may be before the next one begins.
const recordSize = 1 << 20

func (j *Judge) snapshot(emit func([]byte) error) error {
	var r recorder
	var full [][]byte
	cut := func(atLeast int) {
		if len(r.buf) >= max(1, atLeast) {
			full = append(full, r.buf)
			r = recorder{}
		}
	}
	flush := func(atLeast int) error {
		cut(atLeast)
		for _, record := range full {
			if err := emit(record); err != nil {
				return err
			}
		}
		full = full[:0]
		return nil
	}
	for i := range j.table.shards {
		sh := &j.table.shards[i]
		sh.mu.Lock()
		for e := range sh.all() {
			op := byte(opPoint)
			if e.waits {
				op = opWait
			}
			r.define(e)
			history := e.History()
			for i := len(history) - 1; i >= 0; i-- {
				r.value(op, e, history[i])
			}
			cut(recordSize)
		}
		sh.mu.Unlock()
		// The lock is not held over the disk.
		if err := flush(0); err != nil {
			return err
		}
	}
	events, epoch := j.out.state()
	r.epoch(epoch)
	for _, t := range events {
		if err := r.told(t); err != nil {
			continue // it can not be told either
		}
		if err := flush(recordSize); err != nil {
			return err
		}
	}
	return flush(0)
}

// recovery replays the journal into a judge.
type recovery struct {
	j    *Judge
	ids  map[uint64]*entry
	lost int // points of series that are not defined
}

func (r *recovery) define(id uint64, endpoint, metric, tags, typ string, texts bool) {
	if len(endpoint) > core.MaxName || len(metric) > core.MaxName {
		return
	}
	t := r.j.table
	e := t.findKind(endpoint, metric, tags, typ, nil, texts, nil)
	if rules := r.j.inForce.Load(); rules != nil {
		e.Watch(rules.index, r.j.set) // it then knows how many points it keeps
	}
	r.ids[id] = e
}

func (r *recovery) point(id uint64, p expr.Point, waits bool) {
	if e := r.ids[id]; e != nil && !e.IsText() {
		r.keep(e, p, waits)
		return
	}
	r.lost++
}

func (r *recovery) text(id uint64, ts int64, text string, waits bool) {
	if e := r.ids[id]; e != nil && e.IsText() {
		r.keep(e, expr.Point{Ts: ts, Value: e.Word(text)}, waits)
		return
	}
	r.lost++
}

func (r *recovery) keep(e *entry, p expr.Point, waits bool) {
	if e.Recover(p, r.j.set) == core.Judge {
		e.wait(waits)
	}
	r.j.recovered(e)
}

// recovered says when a series of an earlier run was heard of. Only the time of its
// newest point is known, so one that was silent for long gets another hour.
func (j *Judge) recovered(e *entry) {
	e.seen = max(e.Newest(), j.now().Unix()-forgetAfter+3600)
}

func (r *recovery) tell(t *told) {
	ev := t.Event
	e := r.j.table.findKind(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags), t.Type, ev.PushedTags, ev.Texts(), nil)
	if r.j.out.recover(t) {
		e.Restore(ev)
		if t.Acked != nil {
			e.Ack(ev.Id, true)
		}
	}
	r.j.recovered(e)
}

func (r *recovery) push(seq uint64) { r.j.out.RecoverPushed(seq) }

func (r *recovery) remember(epoch string) { r.j.out.RecoverMet(epoch) }

// ack marks problems again. When an event stands before it that was made after it, the
// problem that was meant is over.
func (r *recovery) ack(a *acked) {
	all := r.j.table.both(a.PK)
	if len(all) == 0 || r.j.out.newer(a) {
		return
	}
	for _, e := range all {
		e.Ack(a.Event, !a.Undo)
	}
	r.j.out.acknowledge(*a)
}
