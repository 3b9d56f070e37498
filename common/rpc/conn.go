package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is a peer's connection, as methods see it.
type Conn struct {
	s      *Server
	nc     net.Conn
	ctx    context.Context
	cancel context.CancelFunc
	codec  Codec
	out    outqueue
	slots  chan struct{} // one for each call in flight

	readTimeout time.Duration // PeekTimeout, then IdleTimeout
	held        bool          // a quick call's answer is in out, not flushed; of the reading goroutine
	stopping    atomic.Bool
	stopped     chan struct{} // closed with stopping

	mu      sync.Mutex
	active  int           // calls begun and not answered, guarded by mu
	rested  time.Time     // since when active is 0, guarded by mu
	idle    chan struct{} // closed when active is 0 and somebody waits, guarded by mu
	onClose []func()
	values  map[any]any
}

func newConn(ctx context.Context, s *Server, nc net.Conn) *Conn {
	c := &Conn{
		s:           s,
		nc:          nc,
		slots:       make(chan struct{}, s.opts.MaxInFlight),
		readTimeout: s.opts.PeekTimeout,
		stopped:     make(chan struct{}),
		rested:      time.Now(),
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.out = outqueue{
		conn:    nc,
		timeout: s.opts.WriteTimeout,
		written: func(n int) {
			for range n {
				<-c.slots
			}
		},
		failed: func(error) { c.Close() },
	}
	return c
}

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() string {
	if a := c.nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Codec returns what the peer speaks.
func (c *Conn) Codec() Codec { return c.codec }

// Context ends when the connection breaks or the server no longer waits for its
// calls.
func (c *Conn) Context() context.Context { return c.ctx }

// Value returns what SetValue has left under key, nil when nothing.
func (c *Conn) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values[key]
}

// SetValue leaves v for later calls of the connection. key is of a type of the
// caller's own, as with context.WithValue.
func (c *Conn) SetValue(key, v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = map[any]any{}
	}
	c.values[key] = v
}

// OnClose has fn called once when the connection is over and its calls have been
// answered or given up. It must be called from a method.
func (c *Conn) OnClose(fn func()) {
	c.mu.Lock()
	c.onClose = append(c.onClose, fn)
	c.mu.Unlock()
}

// Close ends the connection at once: calls in flight run on, but their answers go
// nowhere.
func (c *Conn) Close() {
	c.cancel()
	c.out.fail(ErrClosed)
	_ = c.nc.Close()
}

// Shutdown ends the connection once the calls in flight, the one that calls it
// among them, are answered. No further call is begun.
func (c *Conn) Shutdown() {
	if c.stopping.CompareAndSwap(false, true) {
		close(c.stopped)
	}
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes Read
}

// Read reads from the peer under the connection's timeout. While a call is in
// flight the peer has every reason to be silent.
func (c *Conn) Read(p []byte) (int, error) {
	c.flush()
	for {
		_ = c.nc.SetReadDeadline(time.Now().Add(c.readTimeout))
		// The order matters: Shutdown stores first and sets its deadline second, so
		// one of the two deadlines is seen.
		if c.stopping.Load() {
			return 0, errStopping
		}
		n, err := c.nc.Read(p)
		if n > 0 {
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if c.stopping.Load() {
			return 0, errStopping
		}
		if c.idleFor() >= c.readTimeout {
			return 0, err
		}
	}
}

// idleFor returns for how long no call has been in flight.
func (c *Conn) idleFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active > 0 {
		return 0
	}
	return time.Since(c.rested)
}

// serve reads calls until the connection is over, and then waits for the answers.
func (c *Conn) serve() (err error) {
	defer func() {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errStopping) {
			c.cancel() // the peer is gone; one that only closed its side may wait for answers
		}
		c.finish()
	}()
	in := newInbuf(c, c.s.opts.MaxMessage)
	codec, err := c.open(in)
	if err != nil {
		return err
	}
	c.readTimeout = c.s.opts.IdleTimeout
	for {
		if c.stopping.Load() {
			return errStopping
		}
		if err := c.slot(); err != nil {
			return err
		}
		if err := c.next(codec); err != nil {
			return err
		}
	}
}

// slot waits until another call may be in flight.
func (c *Conn) slot() error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	c.flush() // the slots may be those of answers that are held
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// flush sends the answers of quick calls. The reading goroutine calls it before it
// waits or does what takes time, so answers to requests that came in together leave
// together.
func (c *Conn) flush() {
	if c.held {
		c.held = false
		c.out.flush()
	}
}

// open waits for the first bytes and chooses the codec.
func (c *Conn) open(in *inbuf) (serverCodec, error) {
	deadline := time.Now().Add(c.s.opts.PeekTimeout)
	for {
		d, skip := detect(in.unread())
		in.consume(skip)
		var codec serverCodec
		switch d {
		case detectMore:
			if len(in.unread()) >= detectWindow || time.Now().After(deadline) {
				return nil, errBadCodec
			}
			if err := in.fill(); err != nil {
				return nil, err
			}
			continue
		case detectJSON:
			c.codec, codec = JSON, &jsonServer{in: in}
		case detectGob:
			c.codec, codec = Gob, newGobServer(in)
		case detectGoRPC:
			c.codec, codec = GoRPC, &gorpcServer{in: in, coder: c.s.msgpack}
		case detectSpec:
			c.codec, codec = Msgpack, &specServer{in: in, coder: c.s.msgpack}
		default:
			return nil, errBadCodec
		}
		c.s.stats.codecs[c.codec].Add(1)
		return codec, nil
	}
}

// next reads one call and begins it. The caller has taken a slot for it.
func (c *Conn) next(codec serverCodec) error {
	var h header
	if err := codec.head(&h); err != nil {
		return err
	}
	s := c.s
	s.stats.Calls.Add(1)
	c.begin()
	refuse := func(err error) error {
		// The body must be read even so: the next call begins behind it.
		derr := codec.body(&h, nil)
		s.stats.Errors.Add(1)
		c.answer(codec, &h, nil, err)
		return fatal(derr)
	}
	m := s.methods[h.method]
	if m == nil {
		s.stats.Missing.Add(1)
		return refuse(errors.New(methodMissing(h.method)))
	}
	if s.opts.Authorize != nil {
		if err := s.opts.Authorize(h.method, c); err != nil {
			return refuse(err)
		}
	}
	arg := m.newArg()
	if err := c.decode(codec, &h, m, arg); err != nil {
		s.stats.Errors.Add(1)
		if fatal(err) != nil {
			c.done() // no answer: what follows can not be understood either
			return err
		}
		c.answer(codec, &h, nil, err)
		return nil
	}
	done := func(r any, err error) {
		if err != nil {
			s.stats.Errors.Add(1)
		}
		c.answer(codec, &h, r, err)
	}
	switch {
	case m.quick != nil && c.quick(m, arg):
		h.held, c.held = true, true
		s.run(c.ctx, c, m, arg, done)
	case m.ordered:
		c.flush()
		s.run(c.ctx, c, m, arg, done)
	default:
		go s.run(c.ctx, c, m, arg, done) // finish waits for its answer
	}
	return nil
}

// quick asks the method about its argument.
func (c *Conn) quick(m *method, arg any) (yes bool) {
	defer func() {
		if p := recover(); p != nil {
			c.s.panicked(m, c, p)
			yes = false
		}
	}()
	return m.quick(arg)
}

// fatal returns err unless it is an argError, after which the connection is fine.
func fatal(err error) error {
	var a argError
	if errors.As(err, &a) {
		return nil
	}
	return err
}

// decode reads the argument; a decoder that panics has met a bug of ours, not a
// reason to die.
func (c *Conn) decode(codec serverCodec, h *header, m *method, arg any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.s.panicked(m, c, p)
			err = protocolError("argument of %s broke its decoder", m.name)
		}
	}()
	return codec.body(h, arg)
}

// answer sends the reply of a call that begin has counted.
func (c *Conn) answer(codec serverCodec, h *header, r any, err error) {
	defer c.done()
	defer func() {
		if p := recover(); p != nil { // a bug in the result's own encoder
			c.s.stats.Panics.Add(1)
			c.s.log.Error("reply broke its encoder", "method", h.method, "peer", c.RemoteAddr(), "panic", p, "stack", string(debug.Stack()))
			c.Close()
		}
	}()
	text := ""
	if err != nil {
		if text = err.Error(); text == "" {
			text = "error without a text"
		}
	}
	encErr := codec.reply(&c.out, h, r, text)
	if encErr != nil && !isQueueError(encErr) {
		c.s.log.Error("reply not encoded", "method", h.method, "peer", c.RemoteAddr(), "err", encErr)
	}
}

func isQueueError(err error) bool { return isNetError(err) || errors.Is(err, ErrClosed) }

func (c *Conn) begin() {
	c.mu.Lock()
	c.active++
	c.mu.Unlock()
}

func (c *Conn) done() {
	c.mu.Lock()
	c.active--
	if c.active == 0 {
		c.rested = time.Now()
		if c.idle != nil {
			close(c.idle)
			c.idle = nil
		}
	}
	c.mu.Unlock()
}

// finish waits until the calls in flight are answered, closes the connection and
// tells those who asked for it. The wait is bounded only once the server stops;
// before that a call is as long as its method.
func (c *Conn) finish() {
	c.flush()
	c.mu.Lock()
	var idle chan struct{}
	if c.active > 0 {
		idle = make(chan struct{})
		c.idle = idle
	}
	c.mu.Unlock()
	if idle != nil {
		c.waitIdle(idle)
	}
	if c.stopping.Load() {
		c.linger()
	}
	c.Close()
	c.mu.Lock()
	fns := c.onClose
	c.onClose = nil
	c.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}

func (c *Conn) waitIdle(idle <-chan struct{}) {
	select {
	case <-idle:
		return
	case <-c.stopped:
	}
	t := time.NewTimer(c.s.opts.Drain)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
		c.s.log.Warn("calls given up", "peer", c.RemoteAddr(), "after", c.s.opts.Drain)
	}
}

// linger says goodbye and waits a moment for the peer to do the same, when an
// answer has just left. A close with requests unread would be a reset, which may
// overtake that answer and throw it away.
func (c *Conn) linger() {
	const most = 500 * time.Millisecond
	if c.idleFor() > most {
		return
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(most))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, int64(c.s.opts.MaxMessage)))
}
