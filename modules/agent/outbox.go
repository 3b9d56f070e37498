package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/common/stream"
)

// An outbox keeps batches, in order, until a transfer has acknowledged them. It is
// bounded by its points: when it is full the oldest batches go.
type outbox struct {
	limit   int
	senders []*stream.Sender // one a transfer
	log     *slog.Logger

	taken, delivered, dropped *stat.Counter
	refused                   *stat.Reasons

	mu     sync.Mutex
	live   []*batch // oldest first; the first sent of them are with a sender
	sent   int
	points int
	at     int       // the sender in use
	round  uint64    // grows when the sender changes: answers of an earlier one count nothing
	fails  int       // transfers that have failed in a row
	until  time.Time // nothing is sent before, since all have failed
	wake   chan struct{}
}

const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// A batch is what was added at once.
type batch struct {
	points []point
	done   func(error) // may be nil
}

var errOff = errors.New("transfer.enabled is false: points go nowhere")

var errDropped = errors.New("no transfer has taken the points, and newer ones needed their place in the queue")

// add keeps points until they are acknowledged, then calls done, which may be nil,
// with nil; or with an error once they are dropped.
func (o *outbox) add(points []point, done func(error)) {
	if len(points) == 0 {
		if done != nil {
			done(nil)
		}
		return
	}
	o.taken.Add(len(points))
	b := &batch{points, done}
	if len(o.senders) == 0 {
		o.dropped.Add(len(points))
		b.end(errOff)
		return
	}
	for i := range points {
		points[i].series.waiting.Add(1)
	}
	o.mu.Lock()
	o.live = append(o.live, b)
	o.points += len(points)
	var gone []*batch
	for o.points > o.limit && len(o.live) > 1 {
		gone = append(gone, o.pop())
	}
	o.mu.Unlock()
	for _, b := range gone {
		o.dropped.Add(len(b.points))
		b.end(errDropped)
	}
	o.poke()
}

// pop takes the oldest batch out; o.mu is held.
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

func (b *batch) end(err error) {
	if b.done != nil {
		b.done(err)
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
		o.mu.Lock()
		var b *batch
		at, round, until := o.at, o.round, o.until
		if o.sent < len(o.live) {
			b = o.live[o.sent]
		}
		o.mu.Unlock()
		if b == nil {
			select {
			case <-o.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		// Once every transfer has failed they are left in peace for a while; and one that
		// is away is not asked before its pause is over.
		if d := time.Until(until); d > 0 && !run.Sleep(ctx, d) || o.senders[at].WaitRetry(ctx) != nil {
			return nil
		}
		o.mu.Lock()
		stale := round != o.round || o.sent >= len(o.live) || o.live[o.sent] != b
		if !stale {
			o.sent++
		}
		o.mu.Unlock()
		if stale {
			continue
		}
		points := make([]stream.Point, len(b.points))
		for i, p := range b.points {
			points[i] = stream.Point{Handle: p.series.handles[at], Time: p.ts, Value: p.value, Text: p.text}
		}
		if err := o.senders[at].Send(ctx, points, func(r stream.Result) { o.answer(b, round, r) }); err != nil {
			return nil // ctx has ended
		}
	}
}

// answer takes what became of a batch. After a failure everything that is not
// acknowledged goes to the next transfer, from the oldest on.
func (o *outbox) answer(b *batch, round uint64, r stream.Result) {
	o.mu.Lock()
	if round != o.round || len(o.live) == 0 || o.live[0] != b {
		// It was dropped meanwhile, or belongs to a transfer that was given up.
		o.mu.Unlock()
		return
	}
	if r.Err != nil {
		o.round++
		o.sent = 0
		o.at = (o.at + 1) % len(o.senders)
		if o.fails++; o.fails >= len(o.senders) {
			o.until = time.Now().Add(min(retryFirst<<min(o.fails-len(o.senders), 10), retryMost))
		}
		o.mu.Unlock()
		o.log.Debug("batch not acknowledged; the next transfer is tried", "n", len(b.points), "err", r.Err)
		o.poke()
		return
	}
	o.pop()
	o.fails, o.until = 0, time.Time{}
	o.mu.Unlock()
	o.delivered.Add(r.Taken)
	for _, f := range r.Refused {
		o.refused.Add(f.Reason, f.N)
	}
	o.refused.Add("unlisted", r.More)
	o.dropped.Add(r.Unknown)
	b.end(nil)
}

// waiting returns how many points are not acknowledged.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.points
}

// drain waits until everything is acknowledged or ctx ends.
func (o *outbox) drain(ctx context.Context) {
	done := make(chan struct{})
	o.mu.Lock()
	n := len(o.live)
	if n > 0 {
		last := o.live[n-1]
		after := last.done
		last.done = func(err error) {
			if after != nil {
				after(err)
			}
			close(done)
		}
	}
	o.mu.Unlock()
	if n == 0 {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
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
