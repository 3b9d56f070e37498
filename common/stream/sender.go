package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// SenderOptions tell a Sender where to and as whom it sends. Zero fields have the
// defaults given.
type SenderOptions struct {
	Addr string // host:port
	Log  *slog.Logger

	Kind         string // what the points are for: "points", "graph", "judge", …
	Sender       string // who sends, for the peer's logs
	Ring         string // fingerprint of the ring, empty for none
	Token        string
	Capabilities []string

	DialTimeout time.Duration // default 1 s
	// CallTimeout is how long an ack may take; then the connection is closed and
	// its batches go back to the owner. Default 5 s.
	CallTimeout time.Duration
	// IdlePing is after how much silence an empty push is sent. Default 2 s.
	IdlePing time.Duration
	// IdleForget is after how long without a point a series is forgotten on the
	// wire; it is defined again when one comes. Default 1 h.
	IdleForget time.Duration
	// RetryMin and RetryMax bound the pause between attempts to reach a peer that
	// is away: it doubles, and is spread by a fifth. Default 100 ms and 5 s.
	RetryMin, RetryMax time.Duration
	// Queue is how many batches may be accepted and not finished. Default 8.
	Queue int
	// Drain bounds what Run still does for accepted batches once it is told to
	// stop. Default 5 s.
	Drain time.Duration

	// Stock sends points to a peer that knows no streams, by a call that stock
	// daemons know, on a connection of its own. It is tried when the peer closes the
	// connection on Stream.Open or has no such method; when it succeeds the peer
	// counts as stock. It may split points into calls; it must return nil only when
	// all have been taken. Without it such a peer is an error.
	Stock func(ctx context.Context, points []Point) error
	// StockConnects, when set, counts the connections that Stock has made (such as
	// rpc.Client.Connects): when it changes, the peer is asked for streams again.
	StockConnects func() int64
	// StockRecheck is after how long a stock peer is asked again anyhow. Default
	// 10 min.
	StockRecheck time.Duration

	TLS *tls.Config
	// Dial connects; default is TCP with keepalive.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Stats takes the counters; default is one of the Sender's own.
	Stats *SenderStats
}

// SenderStats counts what a Sender does. All counters only grow.
type SenderStats struct {
	Connects  atomic.Int64 // streams opened
	Pushes    atomic.Int64 // empty ones included
	Defined   atomic.Int64 // definitions sent
	Delivered atomic.Int64 // points taken by the peer, by stock calls too
	Refused   atomic.Int64 // points refused by the peer
	Muted     atomic.Int64 // points not sent since the peer does not want them
	Returned  atomic.Int64 // points given back to the owner with an error
	Redefined atomic.Int64 // points sent again with their definition
}

// A Result is what became of a batch.
type Result struct {
	// Err is nil when the peer has answered for every point. Otherwise the owner
	// keeps the whole batch and may send it anywhere: the peer has taken nothing of
	// it, or, when Sent is true, perhaps some without being able to say so.
	Err  error
	Sent bool

	Taken   int
	Muted   int // not sent: the peer wants no points of these series
	Unknown int // not sent: their handle was released
	// Refused holds what the peer refused, with handles in place of refs; More
	// counts refused points that are not listed.
	Refused []Refusal
	More    int
	// Stock is whether a stock call carried the batch.
	Stock bool
}

// NoHandle stands in a Refusal that sums up several series.
const NoHandle Handle = math.MaxUint32

// A Refusal says that N points of a series, or of several, were refused.
type Refusal struct {
	Handle Handle
	Reason string
	N      int
}

// Errors with which batches come back.
var (
	// ErrStopped: Run has been told to stop.
	ErrStopped = errors.New("sender is stopping")
	// ErrAway: the peer could not be reached; it is tried again after a pause,
	// which WaitRetry waits for.
	ErrAway = errors.New("peer is away")
	// ErrUnwanted: the owner no longer wanted the batch to be sent.
	ErrUnwanted = errors.New("the batch is no longer to be sent")
)

// A Sender streams batches of points to one peer. Its owner calls Define for each
// series, Run once, and Send for each batch. Every batch that Send accepts is
// finished exactly once, in the order of sending: acked by the peer, or handed back.
type Sender struct {
	opts  SenderOptions
	log   *slog.Logger
	stats *SenderStats
	table table
	wake  chan struct{}

	mu      sync.Mutex
	queue   []*batch // accepted, not pushed
	open    int      // accepted, not finished
	stopped bool     // nothing is accepted any more
	changed chan struct{}
	retryAt time.Time // the peer is away until then
	state   State
	why     error // the reason of the last failed attempt

	answers []answer // for the loop, in the order of arrival

	loop loop // touched by Run only
}

// A State is how a Sender stands with its peer.
type State uint8

// The states.
const (
	Unconnected State = iota // nothing has been sent yet
	Streaming
	StockPeer
	Away // the last attempt failed; see Sender.WaitRetry
)

// String returns the state in words, as /health shows it.
func (s State) String() string {
	return [...]string{"unconnected", "streaming", "stock", "away"}[s]
}

// A batch is what one call of Send has handed over.
type batch struct {
	points   []Point
	wanted   func() bool // nil for always
	done     func(Result)
	result   Result
	open     int // flights without an answer
	finished bool
}

// The largest push: it must fit into a message of the peer.
const (
	maxPushPoints = 1 << 18
	maxPushTexts  = 8 << 20 // bytes; a single longer text is refused here
)

// split makes the flights of a batch; mostly it is one.
func (b *batch) split() []*flight {
	var flights []*flight
	from, texts := 0, 0
	cut := func(to int) {
		if to > from {
			flights = append(flights, &flight{batch: b, points: b.points[from:to]})
		}
		from, texts = to, 0
	}
	for i := range b.points {
		n := len(b.points[i].Text)
		if n > maxPushTexts {
			cut(i)
			from = i + 1
			b.result.Refused = append(b.result.Refused, Refusal{Handle: b.points[i].Handle, Reason: model.ReasonTooLong, N: 1})
			continue
		}
		if i-from == maxPushPoints || texts+n > maxPushTexts {
			cut(i)
		}
		texts += n
	}
	cut(len(b.points))
	return flights
}

// NewSender returns a Sender; it opens nothing until the first Send.
func NewSender(opts SenderOptions) (*Sender, error) {
	if opts.Addr == "" && opts.Dial == nil {
		return nil, errors.New("stream: SenderOptions.Addr is required")
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Stats == nil {
		opts.Stats = &SenderStats{}
	}
	for d, v := range map[*time.Duration]time.Duration{
		&opts.DialTimeout: time.Second, &opts.CallTimeout: 5 * time.Second, &opts.IdlePing: 2 * time.Second,
		&opts.IdleForget: time.Hour, &opts.RetryMin: 100 * time.Millisecond, &opts.RetryMax: 5 * time.Second,
		&opts.Drain: 5 * time.Second, &opts.StockRecheck: 10 * time.Minute,
	} {
		if *d == 0 {
			*d = v
		}
	}
	def(&opts.Queue, 8)
	s := &Sender{
		opts:    opts,
		log:     opts.Log,
		stats:   opts.Stats,
		wake:    make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
	return s, nil
}

// Define gives a series its handle. The Sender keeps ser, which must not change
// any more; defining the same series twice gives two handles.
func (s *Sender) Define(ser *model.Series) Handle { return s.table.define(ser) }

// Release gives a handle back. No batch that is not finished may hold points of it;
// the handle may come back from a later Define.
func (s *Sender) Release(h Handle) { s.table.release(h) }

// Series returns what Define was given for h, nil when h is unknown.
func (s *Sender) Series(h Handle) *model.Series { return s.table.series(h) }

// Muted reports whether the peer wants no points of h at this moment; such points
// need not be queued. It is cheap and takes no lock.
func (s *Sender) Muted(h Handle) bool { return s.table.muted.get(h) }

// CountMuted counts points that an owner has left out because of Muted.
func (s *Sender) CountMuted(n int) { s.stats.Muted.Add(int64(n)) }

// Stats returns the counters.
func (s *Sender) Stats() *SenderStats { return s.stats }

// State returns how the Sender stands with its peer.
func (s *Sender) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Err returns why the peer is away, nil when it is not.
func (s *Sender) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != Away {
		return nil
	}
	return s.why
}

// Send hands over a batch. It waits while Queue batches are unfinished, until ctx
// ends; when it returns an error the batch was not accepted and done is not called.
// Otherwise points belong to the Sender until it calls done, on Run's goroutine:
// done must not wait, and must not call Send. A batch of a few thousand points is a
// good size; one that is too large for a push travels in several.
func (s *Sender) Send(ctx context.Context, points []Point, done func(Result)) error {
	return s.SendIf(ctx, points, nil, done)
}

// SendIf is Send for a batch that its owner may want to keep back while it waits here, for
// which wanted is asked right before it leaves, on Run's goroutine as done, and after done was
// called for all batches before it that came back. An owner that keeps those elsewhere says no:
// this one would be there before them. Then it comes back with ErrUnwanted.
func (s *Sender) SendIf(ctx context.Context, points []Point, wanted func() bool, done func(Result)) error {
	for {
		s.mu.Lock()
		if s.stopped {
			s.mu.Unlock()
			return ErrStopped
		}
		if s.open < s.opts.Queue {
			s.open++
			s.queue = append(s.queue, &batch{points: points, wanted: wanted, done: done})
			s.mu.Unlock()
			s.poke()
			return nil
		}
		wait := s.changed
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitRetry returns nil at once while the peer may be tried, and after the pause
// while it is away; or the error of ctx. A Send before that is handed back with the
// reason of the last attempt.
func (s *Sender) WaitRetry(ctx context.Context) error {
	s.mu.Lock()
	wait := time.Until(s.retryAt)
	s.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poke wakes the loop.
func (s *Sender) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // it is going to look anyhow
	}
}

func (s *Sender) setState(st State) {
	s.mu.Lock()
	s.state = st
	if st != Away {
		s.retryAt = time.Time{}
	}
	s.mu.Unlock()
}

// away notes that the peer could not be reached and returns why as batches get it.
func (s *Sender) away(err error) error {
	l := &s.loop
	l.pause = min(max(2*l.pause, s.opts.RetryMin), s.opts.RetryMax)
	spread := time.Duration(float64(l.pause) * (0.8 + 0.4*rand.Float64()))
	l.awayErr = fmt.Errorf("%w: %w", ErrAway, err)
	s.mu.Lock()
	first := s.state != Away
	s.state, s.why = Away, err
	s.retryAt = time.Now().Add(spread)
	s.mu.Unlock()
	if first {
		s.log.Warn("peer is away", "peer", s.opts.Addr, "kind", s.opts.Kind, "err", err)
	}
	return l.awayErr
}

func (s *Sender) rpcOptions() rpc.ClientOptions {
	return rpc.ClientOptions{
		Addr: s.opts.Addr, Log: s.log, Codec: rpc.Msgpack, TLS: s.opts.TLS, Dial: s.opts.Dial,
		DialTimeout: s.opts.DialTimeout, CallTimeout: s.opts.CallTimeout, WriteTimeout: s.opts.CallTimeout,
		MaxMessage: 16 << 20,
	}
}
