package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/failpoint"
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
	raw    bool // it gets the points at the times they came with
}

// An outlet brings points to one address of a graph or judge, or to any of several
// transfers. What is offered is
// gathered in chunks; an offer is answered for when the peer has acknowledged its
// chunk or when the chunk is in the outlet's spool. While the spool holds something
// that is not on its way, everything joins its tail, so that the order of a series'
// points holds.
type outlet struct {
	index            int // among the transfer's outlets
	kind, node, addr string
	after            time.Duration // without an ack for so long, chunks are spooled
	age              time.Duration // spooled points older than this are stale; 0 for never
	log              *slog.Logger
	now              func() time.Time
	ages             *run.Ages
	snd              sender
	hangUp           func() // ends the connections to a stock peer
	pools            []pool // for /debug/connpool
	folder           string // of the spool
	spool            *spool.Spool
	maxSpool         int64       // bytes
	opened           atomic.Bool // spool is there

	received, delivered, muted *stat.Counter
	refused                    *stat.Reasons
	released                   stat.Counter // points whose series was forgotten on their way
	undecodable                stat.Counter // points of spooled records of another release

	// Writing to the spool is done under mu: it decides the order of points. The
	// disk is the kernel's memory there; Sync is called without mu.
	mu        sync.Mutex
	live      []*chunk // not answered for, oldest first; the first sent of them are with the sender
	sent      int      // how many of live are with the sender
	inFlight  int64    // points of live
	spooling  bool     // offers join the spool: some of it is not with the sender
	closed    bool     // run has ended
	turned    error    // why the spool did not take the last offer, which was refused; nil when it did
	fresh     bool     // something was spooled since drain has begun to read
	enc       stream.Encoder
	record    []byte
	wake      chan struct{}
	chunkPool sync.Pool // of *chunk

	failover *failover     // of the judges; nil when nobody stands in for the peer
	away     diversion     // guarded by mu
	passed   *stat.Counter // points that others took in the peer's place

	// Of the spool's reader, which is feed's goroutine.
	reading  *draining
	handing  bool // what it reads goes to others
	replay   stream.Record
	replayed map[rawName]stream.Handle // series of the spool; given back when it is empty
}

const (
	// maxChunk is how many points a chunk has at most: a stock peer must take that
	// many within callTimeout, in calls of Peers.Batch.
	maxChunk = 8192
	// With so many chunks on their way, a further one waits for more points to
	// join it, until it has fullChunk of them: large pushes cost a fifth of small ones.
	eagerChunks = 2
	fullChunk   = 2000
)

// A chunk is what travels together: the points of an offer, or of several small ones.
type chunk struct {
	points []stream.Point
	since  time.Time     // of the oldest offer
	done   []func(error) // of each offer

	// Set under the outlet's lock.
	sent     bool // the sender has it, or is about to get it, and will call answer
	answered bool // it left live
}

// errBusy is what a sender of points hears while a graph is away and its spool full.
type errBusy struct{ err error }

func (e errBusy) Error() string { return "busy: " + e.err.Error() }
func (e errBusy) Unwrap() error { return e.err }

var errStopping = errors.New("transfer is stopping")

// offer takes up to maxChunk points, in their order, and calls done once: with nil
// when this outlet answers for them, with an error when it can not. It keeps no
// reference to points. skipped is how many points were left out because the peer
// does not want their series.
func (o *outlet) offer(points []stream.Point, skipped int, done func(error)) {
	o.mu.Lock()
	if o.away.direct && !o.closed {
		// Whoever stands in has the books of these.
		o.muted.Add(skipped)
		o.received.Add(skipped)
		finish := o.handOn(points, done)
		o.mu.Unlock()
		finish()
		return
	}
	o.received.Add(len(points) + skipped)
	o.muted.Add(skipped)
	if len(points) == 0 || o.spooling || o.away.on || o.closed {
		var err error
		switch {
		case len(points) == 0:
		case o.closed:
			o.refused.Add(model.ReasonBusy, len(points))
			err = errBusy{errStopping}
		default:
			err = o.spoolPoints(points)
		}
		o.mu.Unlock()
		done(err)
		return
	}
	c := o.tail(len(points))
	c.points = append(c.points, points...)
	c.done = append(c.done, done)
	o.inFlight += int64(len(points))
	due := o.sent < eagerChunks || len(c.points) >= fullChunk
	o.mu.Unlock()
	if due {
		o.poke()
	}
}

// tail returns the chunk that n more points join; o.mu is held.
func (o *outlet) tail(n int) *chunk {
	if last := len(o.live) - 1; last >= o.sent && len(o.live[last].points)+n <= maxChunk {
		return o.live[last]
	}
	c, _ := o.chunkPool.Get().(*chunk)
	if c == nil {
		c = &chunk{}
	}
	c.since = o.now()
	o.live = append(o.live, c)
	return c
}

// recycle takes back a chunk that nobody reads any more.
func (o *outlet) recycle(c *chunk) {
	clear(c.points) // they may hold texts
	clear(c.done)
	*c = chunk{points: c.points[:0], done: c.done[:0]}
	o.chunkPool.Put(c)
}

func (o *outlet) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// full says why the outlet refuses points, or soon will: its peer is away and its spool
// has no room, or its disk takes nothing. The spool of a judge makes room by itself.
func (o *outlet) full() error {
	o.mu.Lock()
	err, spooling := o.turned, o.spooling
	o.mu.Unlock()
	if err == nil && spooling && !o.judges() && o.spool.Stats().Bytes+min(1<<20, o.maxSpool/8) > o.maxSpool {
		err = spool.ErrFull
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s at %s is away and its spool takes nothing: %w", o.called(), o.addr, err)
}

// called names the peer for people: its kind and its node.
func (o *outlet) called() string { return strings.ReplaceAll(o.kind, "_", " ") + " " + o.node }

// spoolPoints appends points to the spool; o.mu is held. A point that can not be
// kept is counted as refused.
func (o *outlet) spoolPoints(points []stream.Point) error {
	o.record = o.enc.Encode(o.record[:0], points, o.snd.Series)
	err := o.spool.Append(o.record, len(points))
	if o.turned = err; err != nil {
		o.refused.Add(model.ReasonBusy, len(points))
		return errBusy{fmt.Errorf("%s %s does not take points and its spool does not either: %w", o.kind, o.addr, err)}
	}
	o.fresh = true
	return nil
}

// spoolLive moves all of live to the spool, in order. o.mu is held; the caller calls
// what it returns after unlocking.
func (o *outlet) spoolLive() (answer func()) {
	type told struct {
		done func(error)
		err  error
	}
	var tell []told
	if len(o.live) > 0 {
		o.spooling = true
	}
	for _, c := range o.live {
		c.answered = true
		err := o.spoolPoints(c.points)
		for _, done := range c.done {
			tell = append(tell, told{done, err})
		}
		if !c.sent { // else the sender still reads it
			o.recycle(c)
		}
	}
	o.live, o.sent, o.inFlight = nil, 0, 0
	if len(tell) > 0 {
		failpoint.Reached("transfer.spooled")
	}
	return func() {
		for _, t := range tell {
			t.done(t.err)
		}
	}
}

// run brings what is offered to the peer until ctx ends; what the peer has not
// acknowledged soon after is spooled.
func (o *outlet) run(ctx context.Context) error {
	// The sender outlives ctx by the time that acks of what it has may take.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g := run.New(ctx)
	g.Go("send", func(context.Context) error { return o.snd.Run(sending) })
	g.Go("spool", o.watch)
	g.Go("feed", func(ctx context.Context) error {
		defer stop()
		o.feed(ctx)
		return nil
	})
	err := g.Wait()
	o.mu.Lock()
	o.closed = true
	answer := o.spoolLive()
	o.mu.Unlock()
	answer()
	o.hangUp()
	return errors.Join(err, o.spool.Close())
}

// watch spools for a peer that does not acknowledge in time, and syncs the spool.
func (o *outlet) watch(ctx context.Context) error {
	synced := o.now()
	return run.Every(ctx, max(o.after/5, time.Millisecond), func(context.Context) {
		now := o.now()
		o.ages.Look()
		o.mu.Lock()
		answer := func() {}
		n := o.inFlight
		late := len(o.live) > 0 && now.Sub(o.live[0].since) >= o.after
		if late {
			answer = o.spoolLive()
		}
		o.mu.Unlock()
		answer()
		if late {
			o.log.Warn("peer does not acknowledge in time; its points are spooled", "peer", o.addr, "kind", o.kind, "n", n)
		}
		o.poke()
		if d := now.Sub(synced); d >= time.Second || d < 0 { // d < 0: the clock was set back
			synced = now
			if err := o.spool.Sync(); err != nil {
				o.log.Error("spool not synced: a power failure may take its newest points", "peer", o.addr, "err", err)
			}
		}
	})
}

const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 2 * time.Second
)

// feed gives the sender live chunks, or the spool while there is one.
func (o *outlet) feed(ctx context.Context) {
	pause := retryFirst
	for ctx.Err() == nil {
		on, direct := o.diverted()
		c, spooling := o.next()
		switch {
		case on && !direct && o.handOver(ctx):
			pause = retryFirst
		case on && !direct:
			if !run.Sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, retryMost)
		case on:
			o.forgetReplayed()
			select {
			case <-o.wake:
			case <-ctx.Done():
			}
		case spooling && o.drain(ctx):
			pause = retryFirst
		case spooling:
			// The peer is there and refuses: it is not asked again at once.
			if !run.Sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, retryMost)
		case c != nil:
			if err := o.snd.SendIf(ctx, c.points, func() bool { return o.wants(c) }, func(r stream.Result) { o.answer(c, r) }); err != nil {
				return // ctx has ended; what is live is spooled
			}
		default:
			o.forgetReplayed()
			select {
			case <-o.wake:
			case <-ctx.Done():
			}
		}
	}
}

// next returns the chunk to be sent next, nil when there is none, or that the spool
// comes first.
func (o *outlet) next() (c *chunk, spooling bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away.on {
		return nil, false
	}
	if o.spooling || o.sent == len(o.live) {
		return nil, o.spooling
	}
	c = o.live[o.sent]
	if o.sent >= eagerChunks && o.sent == len(o.live)-1 && len(c.points) < fullChunk {
		return nil, false // more may join it meanwhile
	}
	c.sent = true
	o.sent++
	return c, false
}

// wants says whether a chunk may still be sent. One that was spooled while it waited comes
// with those before it.
func (o *outlet) wants(c *chunk) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !c.answered
}

// answer takes what became of a live chunk. Chunks come back in the order of sending.
func (o *outlet) answer(c *chunk, r stream.Result) {
	defer o.poke()
	o.mu.Lock()
	if c.answered { // it was spooled meanwhile, and counts when it leaves the spool
		o.mu.Unlock()
		o.recycle(c)
		return
	}
	if r.Err != nil {
		tell := o.spoolLive() // all: those behind it must not overtake it
		o.mu.Unlock()
		tell()
		o.recycle(c)
		return
	}
	failpoint.Reached("transfer.acked")
	c.answered = true
	o.live[0] = nil
	o.live = o.live[1:]
	o.sent--
	o.inFlight -= int64(len(c.points))
	o.count(r, len(c.points))
	o.turned = nil
	o.mu.Unlock()
	failpoint.Reached("transfer.counted")
	for _, done := range c.done {
		done(nil)
	}
	o.recycle(c)
}

// count enters what the peer said about n points.
func (o *outlet) count(r stream.Result, n int) {
	rest := n
	part := func(k int) int { // a peer whose ack does not add up must not unbalance the books
		k = max(min(k, rest), 0)
		rest -= k
		return k
	}
	o.delivered.Add(part(r.Taken))
	o.muted.Add(part(r.Muted))
	o.released.Add(part(r.Unknown))
	for _, f := range r.Refused {
		o.refused.Add(f.Reason, part(f.N))
	}
	o.refused.Add("unlisted", rest)
}

// drain sends the spool from its oldest record on. When all of it is on its way and
// the peer has begun to acknowledge, points go directly again, behind it: the sender
// keeps the order, and when a record fails what is behind it comes back to the spool.
// It reports false when the peer refuses, or the disk does, and it must not be tried
// again at once.
func (o *outlet) drain(ctx context.Context) (again bool) {
	if d := o.reading; d != nil {
		if d.wait(ctx, 0); ctx.Err() == nil && d.failed.Load() {
			o.spool.Rewind()
		}
	}
	if ctx.Err() != nil || o.snd.WaitRetry(ctx) != nil {
		return true
	}
	d := &draining{ended: make(chan struct{}, 1)}
	o.reading = d
	for sent := int64(0); ctx.Err() == nil && !d.failed.Load(); {
		o.mu.Lock()
		o.fresh = false
		o.mu.Unlock()
		if l := o.readSome(ctx, d); l != nil {
			sent++
			o.send(ctx, d, l)
			continue
		}
		if d.wait(ctx, max(sent-1, 0)); ctx.Err() != nil || d.failed.Load() {
			break
		}
		over, stuck := o.endSpooling(d)
		if over {
			return true
		}
		if stuck {
			break
		}
	}
	d.wait(ctx, 0)
	return d.away.Load()
}

// endSpooling lets points go directly again unless something was spooled meanwhile.
func (o *outlet) endSpooling(d *draining) (over, stuck bool) {
	o.mu.Lock()
	stuck = !o.fresh && o.spool.Unread() // the rest can not be read at the moment
	over = !o.fresh && !stuck && !d.failed.Load() && !o.away.on
	if over {
		o.spooling, o.turned = false, nil
	}
	o.mu.Unlock()
	if over {
		o.log.Info("spool is on its way; points go to the peer directly again", "peer", o.addr, "kind", o.kind)
	}
	return over, stuck
}

// A load is some records of the spool that travel together.
type load struct {
	points []stream.Point
	last   spool.Record
	n      int // points of the records
}

// readSome reads the next records, up to about maxChunk points, and lets go of stale
// ones. It returns nil when there is none.
func (o *outlet) readSome(ctx context.Context, d *draining) *load {
	l := &load{}
	for l.n < maxChunk && ctx.Err() == nil && !d.failed.Load() {
		rec, ok := o.spool.Read()
		if !ok {
			break
		}
		stale := o.age > 0 && o.ages.Of(rec.At) > o.age
		var points []stream.Point
		var err error
		if !stale {
			points, err = o.decode(rec.Payload, l.points)
		}
		rec.Payload = nil // it is overwritten by the next Read
		if !stale && err == nil {
			l.points, l.last, l.n = points, rec, l.n+rec.Points
			continue
		}
		// Letting go takes out what is before it, too.
		if l.n > 0 {
			o.send(ctx, d, l)
			l = &load{}
		}
		if d.wait(ctx, 0); ctx.Err() == nil && !d.failed.Load() && !o.letGo(rec, err) {
			o.failed(d, nil)
		}
	}
	if l.n == 0 {
		return nil
	}
	return l
}

// send gives records of the spool to the sender.
func (o *outlet) send(ctx context.Context, d *draining, l *load) {
	if o.handing {
		o.passOn(ctx, d, l)
		return
	}
	d.n.Add(1)
	err := o.snd.SendIf(ctx, l.points, func() bool { return !d.failed.Load() }, func(r stream.Result) {
		if r.Err != nil || d.failed.Load() || !o.commit(l, r) {
			o.failed(d, r.Err)
		}
		d.end()
	})
	if err != nil {
		o.failed(d, err)
		d.end()
	}
}

// failed notes that a record of d could not be delivered: what was sent behind it is
// sent again, in order.
func (o *outlet) failed(d *draining, err error) {
	o.mu.Lock()
	d.failed.Store(true)
	if errors.Is(err, stream.ErrAway) {
		d.away.Store(true)
	}
	o.spooling = true
	tell := o.spoolLive()
	o.mu.Unlock()
	tell()
	o.poke()
}

// forgetReplayed gives the series of the spool back once nothing of it is left.
func (o *outlet) forgetReplayed() {
	if len(o.replayed) == 0 || o.reading != nil && o.reading.n.Load() > 0 || !o.spool.Empty() {
		return
	}
	for _, h := range o.replayed {
		o.release(h)
	}
	clear(o.replayed)
}

// commit takes delivered records out of the spool and reports whether it could.
func (o *outlet) commit(l *load, r stream.Result) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	failpoint.Reached("transfer.replayed")
	n, err := o.spool.Commit(l.last)
	if n == int64(l.n) {
		o.count(r, l.n)
	} else {
		// Some were dropped to make room, and counted as that: they may have arrived.
		o.delivered.Add(int(n))
	}
	if err != nil {
		o.log.Error("delivered points are still in the spool, and will be sent again", "peer", o.addr, "err", err)
	}
	return err == nil
}

// letGo drops a record that is stale, or that can not be decoded: the spool checks
// what it stores, so that is one of another release. It reports whether it could.
func (o *outlet) letGo(rec spool.Record, decode error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.spool.Drop(rec)
	if decode != nil {
		o.undecodable.Add(int(n))
	}
	if errs := errors.Join(decode, err); errs != nil {
		o.log.Error("spooled points dropped", "peer", o.addr, "n", n, "err", errs)
	}
	return err == nil
}

// decode appends a record of the spool to to, as points of this outlet's sender.
func (o *outlet) decode(payload []byte, to []stream.Point) ([]stream.Point, error) {
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
	to = slices.Grow(to, p.Len())
	for i, ref := range p.Refs {
		pt := stream.Point{Handle: handles[ref], Time: p.Times[i]}
		if i < len(p.Values) {
			pt.Value = p.Values[i]
		} else {
			pt.Text = p.Texts[i-len(p.Values)]
		}
		to = append(to, pt)
	}
	return to, nil
}

// draining follows the records of the spool that are with the sender.
type draining struct {
	n            atomic.Int64 // loads without an answer
	failed, away atomic.Bool  // one came back; because the peer is away
	ended        chan struct{}
}

// end notes an answer.
func (d *draining) end() {
	d.n.Add(-1)
	select {
	case d.ended <- struct{}{}:
	default:
	}
}

// wait waits until at most left answers are missing, or for the end of ctx.
func (d *draining) wait(ctx context.Context, left int64) {
	for d.n.Load() > left {
		select {
		case <-d.ended:
		case <-ctx.Done():
			return
		}
	}
}
