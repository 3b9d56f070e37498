package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/queue/spool"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/common/stream"
)

// An outbox keeps points, in order, until a transfer has acknowledged them: on disk
// when it has a spool, so that a kill loses none, else in memory. Every half second a
// batch leaves it; while more waits than one batch holds, the next follows at once.
//
// Memory is bounded by the number of points, the spool by its bytes; in one that is
// full the oldest points make room. When the disk takes nothing, points wait in memory
// until those are gone, and who pushed them waits with them (insure).
type outbox struct {
	limit   int              // points in memory
	senders []*stream.Sender // one a transfer
	series  *seriesMap
	log     *slog.Logger

	taken, delivered, dropped, unspooled *stat.Counter
	refused                              *stat.Reasons

	mu      sync.Mutex
	disk    *store        // nil without a spool
	live    []*batch      // in memory, oldest first; the first sent of them are with a sender
	sent    int           // of live
	points  int           // of live
	flights []*flight     // with the sender in use, oldest first
	at      int           // the sender in use
	round   uint64        // grows when the sender changes: answers of an earlier one count nothing
	fails   int           // transfers that have failed in a row
	until   time.Time     // nothing is sent before, since all have failed
	last    time.Time     // when the last batch left
	hurry   bool          // the agent stops: batches do not wait for company
	dry     chan struct{} // drain waits until it is closed
	wake    chan struct{}
}

const (
	// batchSize is how many points a batch has at most, and batchPause how long one
	// that is not full waits for more after the last (contract ingest 3.4).
	batchSize  = 10_000
	batchPause = 500 * time.Millisecond

	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// A batch is points in memory that were added at once.
type batch struct {
	points []point
	done   func(error) // may be nil
	gone   bool        // dropped
}

// A flight is what a sender was given at once: batches of the memory, or records of
// the spool.
type flight struct {
	batches []*batch
	rec     spool.Record // the last one
	points  int
	unread  int // of them, those of records that this release can not read
}

var errOff = errors.New("transfer.enabled is false: points go nowhere")

var errDropped = errors.New("no transfer has taken the points, and newer ones needed their place in the queue")

// add keeps points until they are acknowledged, then calls done, which may be nil,
// with nil; or with an error once they are dropped. When it returns the points are
// with the spool, if there is one and the disk takes them.
func (o *outbox) add(points []point, done func(error)) { o.addFor(points, done, nil) }

// insure keeps points as add does and says whether they are as safe as this agent keeps any:
// on disk, where it has a spool. Else done is called as add calls it.
func (o *outbox) insure(points []point, done func(error)) (safe bool) {
	return o.addFor(points, nil, done)
}

// addFor calls done for points wherever they are, and unsafe for those that the disk should
// have and has not.
func (o *outbox) addFor(points []point, done, unsafe func(error)) (safe bool) {
	if len(points) == 0 {
		tell(done, nil)
		return true
	}
	o.taken.Add(len(points))
	if len(o.senders) == 0 {
		o.dropped.Add(len(points))
		tell(done, errOff)
		return true
	}
	left := (len(points) + batchSize - 1) / batchSize
	for part := range slices.Chunk(points, batchSize) {
		if left--; left > 0 {
			o.keep(part, nil, nil)
		} else {
			safe = o.keep(part, done, unsafe) // acknowledged in order: the last answers for all
		}
	}
	return safe
}

// keep takes at most batchSize points, and says whether they are where they should be.
func (o *outbox) keep(points []point, done, unsafe func(error)) (safe bool) {
	o.mu.Lock()
	var dropped []func(error)
	safe = o.disk == nil || len(o.live) == 0 && o.spool(points, done, &dropped)
	if o.disk == nil || !safe {
		if !safe && unsafe != nil {
			done = unsafe
		}
		for i := range points {
			points[i].series.waiting.Add(1)
		}
		o.live = append(o.live, &batch{points: points, done: done})
		o.points += len(points)
		for o.points > o.limit && len(o.live) > 1 {
			b := o.pop()
			b.gone = true
			o.dropped.Add(len(b.points))
			dropped = append(dropped, b.done)
		}
	}
	o.mu.Unlock()
	for _, done := range dropped {
		tell(done, errDropped)
	}
	o.poke()
	return safe
}

// spool hands points to the disk and reports whether it took them; who waited for
// points that made room is added to dropped. o.mu is held.
func (o *outbox) spool(points []point, done func(error), dropped *[]func(error)) bool {
	n, gone, err := o.disk.append(points, o.senders[0].Series, done)
	o.dropped.Add(n)
	*dropped = append(*dropped, gone...)
	switch {
	case err != nil:
		o.unspooled.Add(len(points))
		if !o.disk.failing {
			o.log.Error("the spool takes nothing: points wait in memory, and whoever pushes some until a transfer has them", "err", err)
		}
	case o.disk.failing:
		o.log.Info("the spool takes points again")
	}
	o.disk.failing = err != nil
	failpoint.Reached("agent.spooled")
	return err == nil
}

// full is how full the spool is, or the memory where there is none, in percent.
func (o *outbox) full() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.disk != nil {
		return 100 * float64(o.disk.spool.Stats().Bytes) / float64(o.disk.most)
	}
	return 100 * float64(o.points) / float64(o.limit)
}

// notes says in words, for /health, that points wait.
func (o *outbox) notes() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.senders) == 0 {
		return nil
	}
	var all []string
	if o.fails >= len(o.senders) {
		all = append(all, fmt.Sprintf("no transfer takes points: %d wait", o.held()))
	}
	if o.disk != nil && o.disk.failing {
		all = append(all, fmt.Sprintf("the spool takes nothing, make room where it is (spool.dir): %d points wait in memory", o.points))
	}
	return all
}

// pop takes the oldest batch out of memory; o.mu is held.
func (o *outbox) pop() *batch {
	b := o.live[0]
	o.live[0] = nil
	o.live = o.live[1:]
	o.points -= len(b.points)
	for i := range b.points {
		b.points[i].series.waiting.Add(-1)
	}
	o.sent = max(o.sent-1, 0)
	return b
}

func tell(done func(error), err error) {
	if done != nil {
		done(err)
	}
}

func (o *outbox) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// feed gives batches to the sender in use until ctx ends.
func (o *outbox) feed(ctx context.Context) error {
	for {
		wait, at := o.pause()
		if wait != 0 {
			var timer <-chan time.Time // never, when there is nothing to send
			if wait > 0 {
				timer = time.After(wait)
			}
			select {
			case <-o.wake:
			case <-timer:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		// A transfer that is away is not asked before its pause is over.
		if o.senders[at].WaitRetry(ctx) != nil {
			return nil
		}
		o.mu.Lock()
		if o.at != at {
			o.mu.Unlock()
			continue
		}
		f, points := o.take()
		round := o.round
		o.mu.Unlock()
		if f == nil {
			continue
		}
		// It may wait in the sender until something before it has come back.
		wanted := func() bool { return o.inRound(round) }
		if err := o.senders[at].SendIf(ctx, points, wanted, func(r stream.Result) { o.answer(f, round, r) }); err != nil {
			return nil // ctx has ended
		}
	}
}

// inRound says whether a round is not over.
func (o *outbox) inRound(round uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return round == o.round
}

// pause returns how long the next batch has to wait, 0 for not at all and -1 for until
// there is something, and the sender it goes to.
func (o *outbox) pause() (time.Duration, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ready := o.unsent()
	if ready == 0 {
		return -1, o.at
	}
	// Once every transfer has failed they are left in peace for a while.
	wait := max(time.Until(o.until), 0)
	if ready < batchSize && !o.hurry {
		wait = max(wait, batchPause-time.Since(o.last))
	}
	return wait, o.at
}

// unsent returns how many points are with no sender; o.mu is held.
func (o *outbox) unsent() int {
	n := o.held()
	for _, f := range o.flights {
		n -= f.points
	}
	return max(n, 0)
}

// held returns how many points are not acknowledged; o.mu is held.
func (o *outbox) held() int {
	if o.disk == nil {
		return o.points
	}
	return o.points + int(o.disk.spool.Stats().Held)
}

// take makes the next flight, of what is on disk first; nil when nothing is there.
// o.mu is held.
func (o *outbox) take() (*flight, []stream.Point) {
	o.last = time.Now()
	if o.disk != nil {
		f, points, damaged := o.disk.read(o.series, o.at)
		o.refused.Add("damaged", damaged)
		if f != nil {
			o.flights = append(o.flights, f)
			return f, points
		}
	}
	f := &flight{}
	for _, b := range o.live[o.sent:] {
		if f.points > 0 && f.points+len(b.points) > batchSize {
			break
		}
		f.batches = append(f.batches, b)
		f.points += len(b.points)
	}
	if f.points == 0 {
		o.until = o.last.Add(retryMost) // the spool can not be read at the moment
		return nil, nil
	}
	o.sent += len(f.batches)
	o.flights = append(o.flights, f)
	points := make([]stream.Point, 0, f.points)
	for _, b := range f.batches {
		for _, p := range b.points {
			points = append(points, stream.Point{Handle: p.series.handles[o.at], Time: p.ts, Value: p.value, Text: p.text})
		}
	}
	return f, points
}

// answer takes what became of a flight. After a failure everything that is not
// acknowledged goes to the next transfer, from the oldest on.
func (o *outbox) answer(f *flight, round uint64, r stream.Result) {
	defer o.poke()
	o.mu.Lock()
	if round != o.round { // it belongs to a transfer that was given up
		o.mu.Unlock()
		return
	}
	if r.Err != nil {
		o.round++
		o.flights, o.sent = nil, 0
		if o.disk != nil {
			o.disk.rewind()
		}
		o.at = (o.at + 1) % len(o.senders)
		if o.fails++; o.fails >= len(o.senders) {
			o.until = time.Now().Add(min(retryFirst<<min(o.fails-len(o.senders), 10), retryMost))
			if o.points == 0 {
				o.endDrain() // the spool has all of it
			}
		}
		o.mu.Unlock()
		o.log.Debug("batch not acknowledged; the next transfer is tried", "n", f.points, "err", r.Err)
		return
	}
	failpoint.Reached("agent.acked")
	o.flights = o.flights[1:] // answers come in the order of sending
	n, waited := o.leave(f)
	failpoint.Reached("agent.forgotten")
	o.fails, o.until = 0, time.Time{}
	o.count(r, n, f.unread)
	if o.held() == 0 {
		o.endDrain()
	}
	o.mu.Unlock()
	for _, done := range waited {
		tell(done, nil)
	}
}

// leave lets a flight's points go that were acknowledged, and returns how many that
// were: fewer than it carried when some made room for newer ones meanwhile. o.mu is
// held.
func (o *outbox) leave(f *flight) (n int, waited []func(error)) {
	if f.batches == nil {
		n, waited, err := o.disk.commit(f.rec)
		if err != nil {
			o.log.Error("the spool can not note what was sent: it would be sent again after a restart", "err", err)
		}
		return n, waited
	}
	for _, b := range f.batches {
		if !b.gone {
			o.pop()
			n += len(b.points)
			waited = append(waited, b.done)
		}
	}
	return n, waited
}

// count enters what a transfer said about n points, without those it was not shown.
func (o *outbox) count(r stream.Result, n, unread int) {
	part := func(k int) int { // what was dropped meanwhile is counted already
		k = max(min(k, n), 0)
		n -= k
		return k
	}
	o.refused.Add("unreadable", part(unread))
	o.delivered.Add(part(r.Taken))
	for _, f := range r.Refused {
		o.refused.Add(f.Reason, part(f.N))
	}
	o.dropped.Add(part(r.Unknown))
	o.refused.Add("unlisted", n)
}

// waiting returns how many points are not acknowledged.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held()
}

// lost returns how many points would be gone if the agent ended now.
func (o *outbox) lost() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.points
}

// drain waits until everything is acknowledged or ctx ends; it does not wait for
// transfers that are all away when the spool has the points.
func (o *outbox) drain(ctx context.Context) {
	o.mu.Lock()
	o.hurry = true
	if o.held() == 0 || o.points == 0 && o.fails >= len(o.senders) {
		o.mu.Unlock()
		return
	}
	dry := make(chan struct{})
	o.dry = dry
	o.mu.Unlock()
	o.poke()
	select {
	case <-dry:
	case <-ctx.Done():
	}
}

// endDrain lets drain return; o.mu is held.
func (o *outbox) endDrain() {
	if o.dry != nil {
		close(o.dry)
		o.dry = nil
	}
}

// sync lets the spool survive a power failure, a second after it was written to, until
// ctx ends. An agent that has nothing to write is not woken.
func (o *outbox) sync(ctx context.Context) error {
	for {
		select {
		case <-o.disk.dirty:
		case <-ctx.Done():
			return nil
		}
		if !run.Sleep(ctx, time.Second) {
			return nil // closing it syncs it
		}
		o.mu.Lock()
		sp := o.disk.spool
		o.mu.Unlock()
		if err := sp.Sync(); err != nil {
			o.log.Error("spool not synced: a power failure may take its newest points", "err", err)
		}
	}
}

// metricValues turns points into the items that a stock transfer takes.
func metricValues(snd *stream.Sender, points []stream.Point) []*model.MetricValue {
	items := make([]*model.MetricValue, 0, len(points))
	for _, p := range points {
		s := snd.Series(p.Handle)
		if s == nil {
			continue
		}
		var v any = p.Value
		if s.Text {
			v = p.Text
		}
		items = append(items, &model.MetricValue{
			Endpoint: s.Endpoint, Metric: s.Metric, Value: v, Step: int64(s.Step), Type: s.Type, Tags: s.Tags, Timestamp: p.Time,
		})
	}
	return items
}
