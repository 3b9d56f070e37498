package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// A loop is the part of a Sender that only Run touches, so it needs no lock.
type loop struct {
	conn        *rpc.ClientConn // nil: there is no stream
	window      int             // pushes
	windowBytes int
	seq         uint64
	refused     uint64    // the last push that was, of those with an answer
	flights     []*flight // pushed and not answered, oldest first
	bytes       int       // their columns
	todo        []*flight // to be sent next: points to be defined again, parts of a large batch
	order       []*batch  // begun and not finished, in the order of sending
	cause       error     // why we closed conn ourselves

	pause   time.Duration // between attempts, while the peer is away
	awayErr error

	stock         bool // the peer knows no streams
	stockUntil    time.Time
	stockConnects int64

	lastPush, lastSweep time.Time
	scratch             push
}

// A flight is one push on its way.
type flight struct {
	seq     uint64
	batch   *batch  // nil: a sign of life
	points  []Point // of the batch
	defined []uint32
	bytes   int
	again   bool // sent for the second time
	sent    time.Time
}

// An answer is what a push has come to.
type answer struct {
	flight *flight
	ack    *Ack
	err    error
}

// Run connects when there is something to send, and sends, until ctx ends. Then it
// accepts nothing more, waits for the acks of what was accepted for at most Drain,
// hands the rest back, and returns nil. It must be called once.
func (s *Sender) Run(ctx context.Context) error {
	l := &s.loop
	l.lastSweep = time.Now()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	work, stop := ctx, ctx.Done()
	var deadline time.Time
	for {
		if ctx.Err() != nil && deadline.IsZero() {
			s.mu.Lock()
			s.stopped = true
			s.announce()
			s.mu.Unlock()
			deadline = time.Now().Add(s.opts.Drain)
			drain, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
			defer cancel()
			work, stop = drain, nil
		}
		if l.conn != nil {
			select {
			case <-l.conn.Done():
				s.drop()
			default:
			}
		}
		s.settle()
		s.checkAcks()
		s.release() // owners know what came back before more is sent
		s.send(work)
		s.release()
		if !deadline.IsZero() && (s.finished() || !time.Now().Before(deadline)) {
			break
		}
		var gone <-chan struct{}
		if l.conn != nil {
			gone = l.conn.Done()
		}
		timer.Reset(s.nextLook(deadline))
		select {
		case <-s.wake:
		case <-gone:
		case <-timer.C:
		case <-stop:
		}
	}
	if l.conn != nil {
		l.cause = ErrStopped
		l.conn.Close()
		s.drop()
	}
	s.handBack(ErrStopped)
	s.release()
	return nil
}

func (s *Sender) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == 0
}

// announce wakes those who wait in Send. The caller holds mu.
func (s *Sender) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// nextLook returns how long nothing has to be done by itself.
func (s *Sender) nextLook(deadline time.Time) time.Duration {
	l := &s.loop
	at := time.Now().Add(time.Minute)
	earlier := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if !deadline.IsZero() {
		earlier(deadline)
	}
	if l.conn != nil {
		if len(l.flights) > 0 {
			earlier(l.flights[0].sent.Add(s.opts.CallTimeout))
		}
		if len(l.flights) < l.window {
			earlier(l.lastPush.Add(s.opts.IdlePing))
		}
	}
	return max(time.Until(at), 0)
}

// drop takes leave of a connection that is over: what it carried, and what was
// queued behind it, goes back to the owner in order, so that the owner's spool can
// keep the order too.
func (s *Sender) drop() {
	l := &s.loop
	s.settle() // every push has its answer by now
	err := l.cause
	if err == nil {
		err = l.conn.Err()
	}
	l.conn.Close()
	l.conn, l.cause = nil, nil
	l.flights, l.bytes = nil, 0
	s.table.disconnect()
	for _, f := range l.todo {
		s.part(f.batch, err, true)
	}
	l.todo = nil
	s.setState(Unconnected)
	s.handBack(fmt.Errorf("stream to %s ended: %w", s.opts.Addr, err))
}

// handBack gives the queued batches back, and has their owner know at once: what is accepted
// from now on is behind them.
func (s *Sender) handBack(err error) {
	for b := s.next(); b != nil; b = s.next() {
		b.giveBack(err)
	}
	s.release()
}

func (b *batch) giveBack(err error) {
	b.result = Result{Err: err}
	b.finished = true
}

// next takes the oldest batch from the queue and puts it into the order in which
// batches are finished.
func (s *Sender) next() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	b := s.queue[0]
	s.queue = s.queue[1:]
	s.loop.order = append(s.loop.order, b)
	return b
}

// queued reports whether a batch waits that its owner wants to be sent. Those before it that
// it does not want go back.
func (s *Sender) queued() bool {
	for {
		s.mu.Lock()
		var head *batch
		if len(s.queue) > 0 {
			head = s.queue[0]
		}
		s.mu.Unlock()
		if head == nil {
			return false
		}
		if head.wanted == nil || head.wanted() {
			return true
		}
		s.next().giveBack(ErrUnwanted)
	}
}

// release finishes batches in order.
func (s *Sender) release() {
	l := &s.loop
	for len(l.order) > 0 && l.order[0].finished {
		b := l.order[0]
		l.order[0] = nil
		l.order = l.order[1:]
		r := &b.result
		refused := r.More
		for _, x := range r.Refused {
			refused += x.N
		}
		if r.Err != nil {
			s.stats.Returned.Add(int64(len(b.points)))
		} else {
			s.stats.Delivered.Add(int64(r.Taken))
			s.stats.Refused.Add(int64(refused))
			s.stats.Muted.Add(int64(r.Muted))
		}
		b.done(b.result)
		s.mu.Lock()
		s.open--
		s.announce()
		s.mu.Unlock()
	}
}

// part enters the answer to one push of b.
func (s *Sender) part(b *batch, err error, sent bool) {
	if err != nil && b.result.Err == nil {
		b.result.Err, b.result.Sent = err, sent
	}
	b.open--
	b.finished = b.open == 0
}

// settle works off the answers that have come.
func (s *Sender) settle() {
	s.mu.Lock()
	answers := s.answers
	s.answers = nil
	s.mu.Unlock()
	for _, a := range answers {
		s.answered(a)
	}
}

func (s *Sender) answered(a answer) {
	l, f := &s.loop, a.flight
	i := slices.Index(l.flights, f)
	if i < 0 {
		return
	}
	l.flights = slices.Delete(l.flights, i, i+1)
	l.bytes -= f.bytes
	if a.err == nil && a.ack.Seq != f.seq {
		a.err = fmt.Errorf("ack of push %d came for push %d", a.ack.Seq, f.seq)
		l.cause = a.err
		l.conn.Close()
	}
	if a.err != nil {
		var refused rpc.ServerError
		taken := !errors.As(a.err, &refused) // or perhaps taken: nobody can say
		if !taken {
			l.refused = max(l.refused, f.seq)
			s.table.lost(f.defined)
		} else if l.cause != nil {
			a.err = l.cause
		}
		if f.batch != nil {
			s.part(f.batch, fmt.Errorf("push %d points to %s: %w", len(f.points), s.opts.Addr, a.err), taken)
		}
		return
	}
	if a.ack.Unmute != nil {
		s.table.unmute(a.ack.Unmute)
	}
	if len(a.ack.Mute) > 0 {
		s.table.mute(a.ack.Mute)
	}
	b := f.batch
	if b == nil {
		return
	}
	r := &b.result
	r.Taken += a.ack.Taken
	r.More += a.ack.More
	for _, x := range a.ack.Refused {
		if x.Ref == 0 {
			r.Refused = append(r.Refused, Refusal{Handle: NoHandle, Reason: x.Reason, N: x.N})
		} else if h, ok := s.table.find(x.Ref); ok {
			r.Refused = append(r.Refused, Refusal{Handle: h, Reason: x.Reason, N: x.N})
		} else {
			r.More += x.N
		}
	}
	if len(a.ack.Redefine) > 0 {
		s.redefine(f, a.ack.Redefine)
	}
	s.part(b, nil, false)
}

// redefine sends the points of refs again, once; a receiver that still does not
// know them has refused them.
func (s *Sender) redefine(f *flight, refs []uint32) {
	points := s.table.choose(f.points, refs)
	s.table.lost(refs)
	if len(points) == 0 {
		return
	}
	if f.again {
		for _, p := range points {
			f.batch.result.Refused = append(f.batch.result.Refused, Refusal{Handle: p.Handle, Reason: model.ReasonUnknown, N: 1})
		}
		return
	}
	s.stats.Redefined.Add(int64(len(points)))
	f.batch.open++
	s.loop.todo = slices.Insert(s.loop.todo, 0, &flight{batch: f.batch, points: points, again: true})
}

// checkAcks closes the connection when an ack is overdue.
func (s *Sender) checkAcks() {
	l := &s.loop
	if l.conn == nil || len(l.flights) == 0 || time.Since(l.flights[0].sent) < s.opts.CallTimeout {
		return
	}
	l.cause = fmt.Errorf("no ack within %v: %w", s.opts.CallTimeout, context.DeadlineExceeded)
	l.conn.Close()
	s.drop()
}

// send pushes what there is to push, as far as the window goes.
func (s *Sender) send(ctx context.Context) {
	l := &s.loop
	for {
		if l.conn != nil && l.conn.Err() != nil {
			<-l.conn.Done()
			s.drop()
		}
		if l.conn != nil && len(l.todo) > 0 {
			f := l.todo[0]
			if !s.fits(f.points) {
				return
			}
			l.todo = l.todo[1:]
			s.push(f)
			continue
		}
		if !s.queued() {
			s.beIdle()
			return
		}
		if l.conn == nil && !s.reach(ctx) {
			continue // reach has disposed of the head
		}
		if l.conn == nil {
			s.sendStock(ctx)
			s.release() // those behind it must not go before it, when it was refused
			continue
		}
		if len(l.flights) >= l.window {
			return
		}
		b := s.next()
		l.todo = b.split()
		b.open = len(l.todo)
		b.finished = b.open == 0 // nothing of it can be sent
	}
}

// fits reports whether a push of points may go now.
func (s *Sender) fits(points []Point) bool {
	l := &s.loop
	if len(l.flights) == 0 {
		return true
	}
	if len(l.flights) >= l.window {
		return false
	}
	const most = 5 + 10 + 8 // bytes of a number; the common case is ten
	size := most * len(points)
	for i := range points {
		size += len(points[i].Text)
	}
	return l.bytes+size <= l.windowBytes
}

// beIdle sends a sign of life when nothing else was sent for a while, and lets the
// wire forget what is not used.
func (s *Sender) beIdle() {
	l := &s.loop
	if l.conn == nil {
		return
	}
	now := time.Now()
	if now.Sub(l.lastSweep) >= time.Minute {
		l.lastSweep = now
		s.table.forgetIdle(now.Add(-s.opts.IdleForget).Unix())
	}
	if now.Sub(l.lastPush) >= s.opts.IdlePing && len(l.flights) < l.window {
		s.push(&flight{})
	}
}

// push sends one push.
func (s *Sender) push(f *flight) {
	l, p := &s.loop, &s.loop.scratch
	now := time.Now()
	muted, unknown := s.table.fill(p, f.points, now.Unix())
	if f.batch != nil {
		f.batch.result.Muted += muted
		f.batch.result.Unknown += unknown
		if len(p.cols.refs) == 0 && len(p.forget) == 0 {
			s.part(f.batch, nil, false) // nobody wants these points
			return
		}
	}
	l.seq++
	p.seq, p.after = l.seq, l.refused
	f.seq, f.bytes, f.sent = l.seq, p.cols.size(), now
	f.defined = f.defined[:0]
	for _, d := range p.define {
		f.defined = append(f.defined, d.ref)
	}
	s.stats.Pushes.Add(1)
	s.stats.Defined.Add(int64(len(p.define)))
	l.flights = append(l.flights, f)
	l.bytes += f.bytes
	l.lastPush = now
	ack := &Ack{}
	err := l.conn.Start(methodPush, p, ack, func(err error) { s.note(answer{flight: f, ack: ack, err: err}) })
	if err != nil {
		s.note(answer{flight: f, err: err})
	}
}

// note hands an answer to the loop.
func (s *Sender) note(a answer) {
	s.mu.Lock()
	s.answers = append(s.answers, a)
	s.mu.Unlock()
	s.poke()
}

// find returns the handle of a ref.
func (t *table) find(ref uint32) (Handle, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.handle(ref)
}
