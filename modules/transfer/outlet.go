package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/queue/spool"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/common/stream"
)

// A target is one address that a series' points go to, and the handle under which
// its sender knows the series.
type target struct {
	out    *outlet
	handle stream.Handle
}

// An outlet brings points to one address of a graph or judge. Points are offered in
// chunks; a chunk is answered for when the peer has acknowledged it or when it is in
// the outlet's spool. While the spool is not empty everything joins its tail, so
// that the order of a series' points holds.
type outlet struct {
	index            int // among the transfer's outlets
	kind, node, addr string
	after            time.Duration // without an ack for so long, chunks are spooled
	age              time.Duration // spooled points older than this are stale; 0 for never
	log              *slog.Logger
	now              func() time.Time
	snd              *stream.Sender
	stock            *stockPeer
	spool            *spool.Spool
	maxSpool         int64 // bytes

	received, delivered, muted *stat.Counter
	refused                    *stat.Reasons
	released                   stat.Counter // points whose series was forgotten on their way
	undecodable                stat.Counter // points of spooled records of another release

	mu       sync.Mutex
	live     []*chunk // not answered for, oldest first; the first sent of them are with the sender
	sent     int      // how many of live are with the sender
	inFlight int64    // points of live
	spooling bool     // the spool is not empty, or a drained one is not yet known to be
	enc      stream.Encoder
	record   []byte
	wake     chan struct{}

	// Of the spool's reader, which is feed's goroutine.
	replay   stream.Record
	replayed map[rawName]stream.Handle // series of the spool; given back when it is empty
}

// A chunk is what was offered at once.
type chunk struct {
	points []stream.Point
	since  time.Time
	done   func(error)

	// answered is set under the outlet's lock, once: the chunk left live.
	answered bool
}

// errBusy is what a sender of points hears while a graph is away and its spool full.
type errBusy struct{ err error }

func (e errBusy) Error() string { return "busy: " + e.err.Error() }
func (e errBusy) Unwrap() error { return e.err }

// offer takes points, in their order, and calls done once: with nil when this
// outlet answers for them, with an error when it can not. points is the outlet's
// until it calls release, which may be after done.
func (o *outlet) offer(points []stream.Point, done func(error)) {
	o.mu.Lock()
	o.received.Add(len(points))
	if o.spooling {
		err := o.spoolPoints(points)
		o.mu.Unlock()
		done(err)
		return
	}
	o.live = append(o.live, &chunk{points: points, since: o.now(), done: done})
	o.inFlight += int64(len(points))
	o.mu.Unlock()
	o.poke()
}

func (o *outlet) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// skipMuted counts a point of a series that the peer does not want.
func (o *outlet) skipMuted() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.received.Add(1)
	o.muted.Add(1)
}

// full reports whether the peer is away and its spool has no room for another
// megabyte.
func (o *outlet) full() bool {
	st := o.spool.Stats()
	return !o.spool.Empty() && st.Bytes+1<<20 > o.maxSpool
}

// spoolPoints appends points to the spool; o.mu is held. A point that can not be
// kept is counted as refused.
func (o *outlet) spoolPoints(points []stream.Point) error {
	o.record = o.enc.Encode(o.record[:0], points, o.snd.Series)
	if err := o.spool.Append(o.record, len(points)); err != nil {
		o.refused.Add(model.ReasonBusy, len(points))
		return errBusy{fmt.Errorf("%s %s does not take points and its spool does not either: %w", o.kind, o.addr, err)}
	}
	return nil
}

// spoolLive moves all of live to the spool, in order. o.mu is held; the caller calls
// what it returns after unlocking.
func (o *outlet) spoolLive() (answer func()) {
	if len(o.live) == 0 {
		return func() {}
	}
	o.spooling = true
	chunks := o.live
	errs := make([]error, len(chunks))
	for i, c := range chunks {
		c.answered = true
		errs[i] = o.spoolPoints(c.points)
	}
	o.live, o.sent, o.inFlight = nil, 0, 0
	return func() {
		for i, c := range chunks {
			c.done(errs[i])
		}
	}
}

// run brings what is offered to the peer until ctx ends; what the peer has not
// acknowledged by then is spooled.
func (o *outlet) run(ctx context.Context) error {
	// The sender outlives ctx by the time it takes to spool what is left.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g := run.New(ctx)
	g.Go("send", func(context.Context) error { return o.snd.Run(sending) })
	g.Go("spool", o.watch)
	g.Go("feed", func(ctx context.Context) error {
		defer stop()
		o.feed(ctx)
		o.mu.Lock()
		answer := o.spoolLive()
		o.mu.Unlock()
		answer()
		return nil
	})
	err := g.Wait()
	o.stock.client.Close()
	return errors.Join(err, o.spool.Close())
}

// watch spools for a peer that does not acknowledge in time, and syncs the spool.
func (o *outlet) watch(ctx context.Context) error {
	synced := o.now()
	return run.Every(ctx, o.after/5, func(context.Context) {
		now := o.now()
		o.mu.Lock()
		answer := func() {}
		if len(o.live) > 0 && now.Sub(o.live[0].since) >= o.after {
			n := len(o.live)
			answer = o.spoolLive()
			o.log.Warn("peer does not acknowledge in time; its points are spooled", "peer", o.addr, "kind", o.kind, "n", n)
		}
		o.mu.Unlock()
		answer()
		o.poke()
		if now.Sub(synced) >= time.Second {
			synced = now
			if err := o.spool.Sync(); err != nil {
				o.log.Error("spool not synced: a power failure may take its newest points", "peer", o.addr, "err", err)
			}
		}
	})
}

// feed gives the sender live chunks, or the spool while there is one.
func (o *outlet) feed(ctx context.Context) {
	for ctx.Err() == nil {
		o.mu.Lock()
		spooling := o.spooling
		var c *chunk
		if !spooling && o.sent < len(o.live) {
			c = o.live[o.sent]
			o.sent++
		}
		o.mu.Unlock()
		switch {
		case spooling:
			o.drain(ctx)
		case c != nil:
			if err := o.snd.Send(ctx, c.points, func(r stream.Result) { o.answer(c, r) }); err != nil {
				return // ctx has ended; what is live is spooled
			}
		default:
			select {
			case <-o.wake:
			case <-ctx.Done():
			}
		}
	}
}

// answer takes what became of a live chunk.
func (o *outlet) answer(c *chunk, r stream.Result) {
	o.mu.Lock()
	if c.answered { // it was spooled meanwhile, and counts when it leaves the spool
		o.mu.Unlock()
		return
	}
	if r.Err != nil {
		// It is the oldest: chunks come back in the order of sending. Those behind
		// it must not overtake it.
		done := o.spoolLive()
		o.mu.Unlock()
		done()
		o.poke()
		return
	}
	c.answered = true
	o.live = o.live[1:] // acks come in order, so it is the first
	o.sent--
	o.inFlight -= int64(len(c.points))
	o.count(r, len(c.points))
	o.mu.Unlock()
	c.done(nil)
}

// count enters what the peer said about n points.
func (o *outlet) count(r stream.Result, n int) {
	rest := n - r.Taken - r.Muted - r.Unknown - r.More
	o.delivered.Add(r.Taken)
	o.muted.Add(r.Muted)
	o.released.Add(r.Unknown)
	o.refused.Add("unlisted", r.More)
	for _, f := range r.Refused {
		k := min(f.N, rest)
		o.refused.Add(f.Reason, k)
		rest -= k
	}
	// A peer whose ack does not add up must not unbalance the books.
	o.refused.Add("unlisted", max(rest, 0))
}

// drain sends the spool from its oldest record on, until it is empty, the peer fails
// or ctx ends.
func (o *outlet) drain(ctx context.Context) {
	if o.snd.WaitRetry(ctx) != nil {
		return
	}
	var d draining
	for ctx.Err() == nil && !d.failed.Load() {
		rec, ok := o.spool.Read()
		if !ok {
			break
		}
		points, err := o.decode(rec.Payload)
		if old := o.age > 0 && o.now().Sub(rec.At) > o.age; old || err != nil {
			if d.wait(); d.failed.Load() {
				break
			}
			o.letGo(rec, err)
			continue
		}
		rec.Payload = nil // it is overwritten by the next Read
		d.add()
		err = o.snd.Send(ctx, points, func(r stream.Result) {
			defer d.end()
			if r.Err != nil || d.failed.Load() {
				d.failed.Store(true) // what was sent behind it is sent again, in order
				return
			}
			o.commit(rec, r)
		})
		if err != nil {
			d.end()
			d.failed.Store(true)
		}
	}
	d.wait()
	if d.failed.Load() || ctx.Err() != nil {
		o.spool.Rewind()
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spool.Empty() {
		o.spooling = false
		for _, h := range o.replayed {
			o.snd.Release(h)
		}
		clear(o.replayed)
		o.log.Info("spool is empty; points go to the peer directly again", "peer", o.addr, "kind", o.kind)
	}
}

// commit takes a delivered record out of the spool.
func (o *outlet) commit(rec spool.Record, r stream.Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.spool.Commit(rec)
	if err != nil {
		o.log.Error("delivered points are still in the spool, and will be sent again", "peer", o.addr, "err", err)
	}
	if n == int64(rec.Points) { // else they were dropped to make room, and counted
		o.count(r, rec.Points)
	}
}

// letGo drops a record that is stale, or that can not be decoded: the spool checks
// what it stores, so that is one of another release.
func (o *outlet) letGo(rec spool.Record, decode error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.spool.Drop(rec)
	if decode != nil {
		o.undecodable.Add(int(n))
		err = errors.Join(decode, err)
	}
	if err != nil {
		o.log.Error("spooled points dropped", "peer", o.addr, "n", n, "err", err)
	}
}

// decode turns a record of the spool into points of this outlet's sender.
func (o *outlet) decode(payload []byte) ([]stream.Point, error) {
	if err := o.replay.Decode(payload); err != nil {
		return nil, err
	}
	handles := make([]stream.Handle, len(o.replay.Series))
	for i := range o.replay.Series {
		s := &o.replay.Series[i]
		key := rawName{s.Endpoint, s.Metric, s.Tags, s.Type, int64(s.Step), s.Text}
		h, known := o.replayed[key]
		if !known {
			h = o.snd.Define(new(*s))
			o.replayed[key] = h
		}
		handles[i] = h
	}
	p := &o.replay.Points
	points := make([]stream.Point, p.Len())
	for i, ref := range p.Refs {
		points[i] = stream.Point{Handle: handles[ref], Time: p.Times[i]}
		if i < len(p.Values) {
			points[i].Value = p.Values[i]
		} else {
			points[i].Text = p.Texts[i-len(p.Values)]
		}
	}
	return points, nil
}

// draining follows the records that are with the sender.
type draining struct {
	wg     sync.WaitGroup
	failed atomic.Bool
}

func (d *draining) add()  { d.wg.Add(1) }
func (d *draining) end()  { d.wg.Done() }
func (d *draining) wait() { d.wg.Wait() }

// books is the account of one destination.
type books struct {
	Kind     string `json:"kind"`
	Node     string `json:"node"`
	Addr     string `json:"addr"`
	State    string `json:"state"`
	Received int64  `json:"received"`
	AtStart  int64  `json:"spool_at_start"`

	Delivered int64            `json:"delivered"`
	Refused   map[string]int64 `json:"refused"`
	Muted     int64            `json:"muted"`
	Stale     int64            `json:"stale"`
	Dropped   int64            `json:"dropped"`
	Damaged   int64            `json:"damaged"`
	Spooled   int64            `json:"spooled"`
	InFlight  int64            `json:"in_flight"`
}

// account returns the books of this moment.
func (o *outlet) account() books {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.spool.Stats()
	return books{
		Kind: o.kind, Node: o.node, Addr: o.addr, State: o.snd.State().String(),
		Received: o.received.Get(), AtStart: st.Start,
		Delivered: o.delivered.Get(), Refused: o.refused.All(), Muted: o.muted.Get(),
		// The spool drops what is stale or makes room, and what can not be decoded.
		Stale: st.Dropped - o.undecodable.Get(), Dropped: o.released.Get() + o.undecodable.Get(), Damaged: st.Damaged, Spooled: st.Held, InFlight: o.inFlight,
	}
}

// missing returns how many points the books can not account for: 0, but for what
// moves while they are read.
func (b *books) missing() int64 {
	out := b.Delivered + b.Muted + b.Stale + b.Dropped + b.Damaged + b.Spooled + b.InFlight
	for _, n := range b.Refused {
		out += n
	}
	return b.Received + b.AtStart - out
}
