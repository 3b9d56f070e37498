package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"falcon/common/model"
	"falcon/common/rpc"
)

// ServeOptions bound what a sender may do. Zero fields have the defaults given.
type ServeOptions struct {
	Log *slog.Logger // default: nothing is logged
	// Window is how many pushes of a stream may be unacked. Default 8. It must be
	// below the rpc server's MaxInFlight, else that is the bound.
	Window int
	// WindowBytes is how many bytes of columns may be unacked; a single larger push
	// is taken when nothing else is. Default 4 MiB.
	WindowBytes int
	// MaxPoints bounds one push. Default 1 Mi.
	MaxPoints int
	// MaxRefs bounds the definitions of one connection. Default 64 Mi.
	MaxRefs int
	// Capabilities are announced to senders.
	Capabilities []string
	// Stats takes the counters; default is one of the stream's own.
	Stats *ServeStats
}

// ServeStats counts what the receiving side of streams sees. All counters but Open
// only grow.
type ServeStats struct {
	Open     atomic.Int64 // streams now
	Opened   atomic.Int64
	Pushes   atomic.Int64
	Points   atomic.Int64 // received, taken or not
	Defined  atomic.Int64 // definitions, repeated ones included
	Redefine atomic.Int64 // points of refs that were not known
	Refused  atomic.Int64 // points of series that were refused when defined
	Failed   atomic.Int64 // pushes answered with an error
	Broken   atomic.Int64 // streams ended for breaking the protocol
}

// A Receiver takes the points of one stream. Define, Forget and Push are called in
// the order of the wire, one at a time, on the connection's goroutine; what they
// take in time is backpressure for the sender.
type Receiver interface {
	// Define says what ref means from now on. It comes before the first point of
	// ref and may come again for the same series. The series is the receiver's. A
	// reason other than "" refuses the series: its points are refused for it and
	// never reach Push.
	Define(ref uint32, s *model.Series) (reason string)
	// Forget says that no point of ref will come until it is defined again. Pushes
	// that are not done may still hold points of it.
	Forget(ref uint32)
	// Push takes points, all of refs that are defined; p may be empty (a sign of
	// life, or a moment to tell the sender about mutes). The receiver calls done
	// exactly once, from any goroutine, in any order; acks still leave in the order
	// of the pushes. p is the receiver's until it calls done and must not be touched
	// after.
	//
	// The ack's Taken, Refused, Redefine, Mute and Unmute are the receiver's to
	// fill; with a nil ack everything was taken. An error says that nothing was
	// taken: its text reaches the sender, which keeps the batch. What comes from then
	// on, and was sent before the sender knew, never reaches Push: it would overtake it.
	Push(p *Points, done func(ack *Ack, err error))
	// Close ends the stream, after the last done or when the server no longer
	// waits for it. It is called once.
	Close()
}

// Serve registers Stream.Open and Stream.Push with s. accept is called for each
// stream; its error refuses it in words (a wrong token, another ring).
func Serve(s *rpc.Server, opts ServeOptions, accept func(c *rpc.Conn, h Hello) (Receiver, error)) {
	def(&opts.Window, 8)
	def(&opts.WindowBytes, 4<<20)
	def(&opts.MaxPoints, 1<<20)
	def(&opts.MaxRefs, 64<<20)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Stats == nil {
		opts.Stats = &ServeStats{}
	}
	v := &service{opts: opts, accept: accept}
	rpc.HandleOrdered(s, methodOpen, v.open)
	rpc.HandleAsync(s, methodPush, v.push)
}

func def(v *int, d int) {
	if *v == 0 {
		*v = d
	}
}

type service struct {
	opts   ServeOptions
	accept func(c *rpc.Conn, h Hello) (Receiver, error)
	points sync.Pool // of *Points
}

func (v *service) open(_ context.Context, c *rpc.Conn, h *Hello) (*welcome, error) {
	if h.Version != Version {
		return nil, fmt.Errorf("stream version %d is not known here: this daemon speaks version %d", h.Version, Version)
	}
	if c.Value(sessionKey{}) != nil {
		return nil, fmt.Errorf("stream is open already on this connection")
	}
	r, err := v.accept(c, *h)
	if err != nil {
		return nil, err
	}
	ses := &session{v: v, conn: c, recv: r, dict: make([]refState, 1), orderly: slices.Contains(h.Capabilities, capAfter)}
	c.SetValue(sessionKey{}, ses)
	v.opts.Stats.Opened.Add(1)
	v.opts.Stats.Open.Add(1)
	c.OnClose(ses.close)
	v.opts.Log.Debug("stream opened", "peer", c.RemoteAddr(), "sender", h.Sender, "kind", h.Kind)
	return &welcome{Version: Version, Capabilities: v.opts.Capabilities, Window: v.opts.Window, WindowBytes: v.opts.WindowBytes}, nil
}

func (v *service) push(_ context.Context, c *rpc.Conn, p *push, done func(*Ack, error)) {
	ses, _ := c.Value(sessionKey{}).(*session)
	if ses == nil {
		done(nil, fmt.Errorf("stream is not open on this connection: call %s first", methodOpen))
		return
	}
	ses.push(p, done)
}

// A refState is what a stream knows of a ref.
type refState uint8

const (
	refForgotten refState = iota
	refNumber
	refText
	refRefused
)

// sessionKey is where a connection keeps its session.
type sessionKey struct{}

// A session is one open stream.
type session struct {
	v    *service
	conn *rpc.Conn
	recv Receiver

	orderly bool // the sender says which refusal it knows of

	// Touched by the connection's goroutine only.
	seq     uint64
	dead    bool       // the protocol was broken
	dict    []refState // by ref; refs count up, so it grows with what was really defined
	reasons map[uint32]string

	mu        sync.Mutex
	waiting   []*waiting // pushes without an ack, oldest first
	bytes     int        // their columns
	refused   uint64     // the last push that the receiver has not taken
	refusal   error      // why
	releasing bool
}

// A waiting push has been given to the receiver.
type waiting struct {
	seq    uint64
	bytes  int
	points *Points
	extra  Ack // what the stream itself has to say: points that never reached the receiver
	done   func(*Ack, error)

	finished bool
	ack      *Ack
	err      error
}

func (s *session) close() {
	s.v.opts.Stats.Open.Add(-1)
	s.recv.Close()
}

// broken answers a push that breaks the protocol and ends the connection: what the
// two sides know of each other no longer agrees.
func (s *session) broken(done func(*Ack, error), err error) {
	s.v.opts.Stats.Broken.Add(1)
	s.v.opts.Log.Warn("stream broken", "peer", s.conn.RemoteAddr(), "err", err)
	s.dead = true
	done(nil, err)
	s.conn.Shutdown() // not Close: the words must arrive
}

func (s *session) push(p *push, done func(*Ack, error)) {
	stats := s.v.opts.Stats
	stats.Pushes.Add(1)
	if s.dead {
		done(nil, errors.New("the stream was ended before this push"))
		return
	}
	if p.seq != s.seq+1 {
		s.broken(done, fmt.Errorf("push %d follows push %d: pushes are numbered without a gap", p.seq, s.seq))
		return
	}
	s.seq = p.seq
	size := p.cols.size()
	s.mu.Lock()
	n, bytes := len(s.waiting), s.bytes
	s.mu.Unlock()
	if n >= s.v.opts.Window || n > 0 && bytes+size > s.v.opts.WindowBytes {
		s.broken(done, fmt.Errorf("window overrun: %d pushes and %d bytes are unacked, %d and %d are allowed", n+1, bytes+size, s.v.opts.Window, s.v.opts.WindowBytes))
		return
	}
	if err := s.define(p.define); err != nil {
		s.broken(done, err)
		return
	}
	points, _ := s.v.points.Get().(*Points)
	if points == nil {
		points = &Points{}
	}
	if err := p.cols.decode(points, s.v.opts.MaxPoints); err != nil {
		s.v.free(points)
		s.broken(done, err)
		return
	}
	stats.Points.Add(int64(points.Len()))
	w := &waiting{seq: p.seq, bytes: size, points: points, done: done}
	if s.mustSift(points) {
		s.sift(points, &w.extra)
	}
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.bytes += size
	var behind error
	if s.orderly && s.refused > p.after {
		behind = fmt.Errorf("push %d, before this one, was refused: %w", s.refused, s.refusal)
	}
	s.mu.Unlock()

	if behind != nil {
		s.finish(w, nil, behind)
	} else {
		s.give(w)
	}
	// Refs are forgotten behind the points of the push that forgets them.
	for _, ref := range p.forget {
		if int(ref) < len(s.dict) && s.dict[ref] != refForgotten {
			if s.dict[ref] != refRefused {
				s.recv.Forget(ref)
			}
			s.dict[ref] = refForgotten
			delete(s.reasons, ref)
		}
	}
}

// give hands a push to the receiver. A receiver that panics has a bug: the push is
// answered, so that those behind it are not held up, the connection ends, and the
// panic goes on to the server, which logs it.
func (s *session) give(w *waiting) {
	var once atomic.Bool
	done := func(ack *Ack, err error) {
		if once.CompareAndSwap(false, true) {
			if err != nil {
				s.mu.Lock()
				s.refused, s.refusal = max(s.refused, w.seq), err
				s.mu.Unlock()
			}
			s.finish(w, ack, err)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			done(nil, errors.New("internal error in "+methodPush))
			s.conn.Close()
			panic(p)
		}
	}()
	s.recv.Push(w.points, done)
}

// define enters definitions into the dictionary. They hold whatever becomes of the
// points that came with them.
func (s *session) define(defs []definition) error {
	for _, d := range defs {
		switch next := len(s.dict); {
		case int(d.ref) > next:
			return fmt.Errorf("ref %d is defined before ref %d: refs count up by one", d.ref, next)
		case int(d.ref) == next:
			if next > s.v.opts.MaxRefs {
				return fmt.Errorf("more than %d series on one connection: open another", s.v.opts.MaxRefs)
			}
			s.dict = append(s.dict, refForgotten)
		}
		s.v.opts.Stats.Defined.Add(1)
		delete(s.reasons, d.ref)
		reason := s.recv.Define(d.ref, d.series)
		switch {
		case reason != "":
			s.dict[d.ref] = refRefused
			if s.reasons == nil {
				s.reasons = map[uint32]string{}
			}
			s.reasons[d.ref] = reason
		case d.series.Text:
			s.dict[d.ref] = refText
		default:
			s.dict[d.ref] = refNumber
		}
	}
	return nil
}

// mustSift reports whether some point may not go to the receiver: its ref is not
// defined or refused, or its value is of the wrong kind.
func (s *session) mustSift(p *Points) bool {
	want := refNumber
	for i, ref := range p.Refs {
		if i == len(p.Values) {
			want = refText
		}
		if int(ref) >= len(s.dict) || s.dict[ref] != want {
			return true
		}
	}
	return false
}

// sift takes out of p the points that the receiver must not see and enters them
// into ack.
func (s *session) sift(p *Points, ack *Ack) {
	numbers := len(p.Values)
	unknown := map[uint32]int{}
	refused := map[model.Refusal]int{} // N is not set
	n, nums := 0, 0
	for i, ref := range p.Refs {
		state := refForgotten
		if int(ref) < len(s.dict) {
			state = s.dict[ref]
		}
		wrongKind := state == refNumber && i >= numbers || state == refText && i < numbers
		switch {
		case state == refForgotten:
			unknown[ref]++
			continue
		case state == refRefused:
			refused[model.Refusal{Ref: ref, Reason: s.reasons[ref]}]++
			continue
		case wrongKind:
			refused[model.Refusal{Ref: ref, Reason: model.ReasonValue}]++
			continue
		}
		p.Refs[n], p.Times[n] = ref, p.Times[i]
		if i < numbers {
			p.Values[n] = p.Values[i]
			nums++
		} else {
			p.Texts[n-nums] = p.Texts[i-numbers]
		}
		n++
	}
	p.Refs, p.Times, p.Values, p.Texts = p.Refs[:n], p.Times[:n], p.Values[:nums], p.Texts[:n-nums]
	for ref, n := range unknown {
		ack.Redefine = append(ack.Redefine, ref)
		s.v.opts.Stats.Redefine.Add(int64(n))
	}
	for r, n := range refused {
		r.N = n
		ack.Refused = append(ack.Refused, r)
		s.v.opts.Stats.Refused.Add(int64(n))
	}
}

func (v *service) free(p *Points) {
	p.reset()
	v.points.Put(p)
}

// finish takes a receiver's answer and lets all acks go that are next in order.
func (s *session) finish(w *waiting, ack *Ack, err error) {
	n := w.points.Len()
	s.v.free(w.points)
	w.points = nil
	if err == nil {
		if ack == nil {
			ack = &Ack{Taken: n}
		}
		ack.Seq = w.seq
		ack.Refused = append(ack.Refused, w.extra.Refused...)
		ack.Redefine = append(ack.Redefine, w.extra.Redefine...)
	} else {
		ack = nil
		s.v.opts.Stats.Failed.Add(1)
	}
	s.mu.Lock()
	w.ack, w.err, w.finished = ack, err, true
	if s.releasing {
		s.mu.Unlock()
		return // whoever releases will come to it
	}
	s.releasing = true
	for len(s.waiting) > 0 && s.waiting[0].finished {
		head := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.bytes -= head.bytes
		s.mu.Unlock()
		head.done(head.ack, head.err)
		s.mu.Lock()
	}
	s.releasing = false
	s.mu.Unlock()
}
