package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"falcon/common/dialer"
)

// A ClientConn is one connection to a peer, with any number of calls in flight.
// Client pools them; who needs one to itself, as a stream does, calls Dial.
type ClientConn struct {
	addr  string
	kind  Codec
	nc    net.Conn
	codec clientCodec
	out   outqueue
	done  chan struct{} // closed when the reading goroutine has ended
	users int           // callers it is lent to, guarded by the pool's mutex

	mu      sync.Mutex
	seq     uint64
	pending map[uint64]*call
	replies uint64 // received so far
	err     error  // why the connection is over
}

// A call waits for its answer.
type call struct {
	seq     uint64
	method  string
	reply   any
	replies uint64 // ClientConn.replies when it was sent
	finish  func(error)
}

// Dial connects to opts.Addr and speaks opts.Codec, which must not be Auto. The
// caller must Close the connection.
func Dial(ctx context.Context, opts ClientOptions) (*ClientConn, error) {
	opts.defaults()
	if opts.Codec == Auto {
		return nil, errors.New("dial: a single connection needs a codec, not auto")
	}
	return dial(ctx, &opts, opts.Codec, newMpCoder())
}

func dial(ctx context.Context, opts *ClientOptions, kind Codec, coder *mpCoder) (*ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.DialTimeout)
	defer cancel()
	nc, err := opts.Dial(ctx, opts.Addr)
	if err != nil {
		return nil, err
	}
	if opts.TLS != nil {
		cfg := opts.TLS
		if cfg.ServerName == "" && !cfg.InsecureSkipVerify {
			cfg = cfg.Clone()
			if cfg.ServerName, _, err = net.SplitHostPort(opts.Addr); err != nil {
				cfg.ServerName = opts.Addr
			}
		}
		tc := tls.Client(nc, cfg)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, fmt.Errorf("tls: %w", err)
		}
		nc = tc
	}
	c := &ClientConn{
		addr:    opts.Addr,
		kind:    kind,
		nc:      nc,
		done:    make(chan struct{}),
		pending: map[uint64]*call{},
	}
	c.out = outqueue{conn: nc, timeout: opts.WriteTimeout, failed: c.abort}
	c.codec = newClientCodec(kind, newInbuf(nc, opts.MaxMessage), coder)
	go c.read() // Close waits for it
	return c, nil
}

// Codec returns what is spoken on the connection.
func (c *ClientConn) Codec() Codec { return c.kind }

// Done is closed when the connection is over; Err then tells why.
func (c *ClientConn) Done() <-chan struct{} { return c.done }

// Err returns why the connection is over, nil while it is not.
func (c *ClientConn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection, fails the calls in flight with ErrClosed, and waits
// until nothing of them is touched any more. It must not be called from a finish
// function of Start.
func (c *ClientConn) Close() {
	c.abort(ErrClosed)
	<-c.done
}

// abort ends the connection with err as the cause, unless it has one.
func (c *ClientConn) abort(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	err = c.err
	c.mu.Unlock()
	c.out.fail(err)
	_ = c.nc.Close() // ends read, which fails what is pending
}

// Start sends a call and returns without waiting for its answer. finish is called
// exactly once unless Start itself fails: on the connection's reading goroutine,
// with nil after reply has been decoded, a ServerError, or a *TransportError.
// Answers that the peer gives in order are finished in that order. finish must not
// wait for another answer of the same connection. When Start fails nothing was sent.
func (c *ClientConn) Start(method string, arg, reply any, finish func(error)) error {
	_, err := c.start(method, arg, reply, finish)
	return err
}

func (c *ClientConn) start(method string, arg, reply any, finish func(error)) (*call, error) {
	cl := &call{method: method, reply: reply, finish: finish}
	c.mu.Lock()
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		return nil, &TransportError{Method: method, Addr: c.addr, Err: fmt.Errorf("%w: %w", errNotSent, err)}
	}
	c.seq++
	cl.seq, cl.replies = c.seq, c.replies
	c.mu.Unlock()

	defer func() {
		if p := recover(); p != nil { // a bug in the argument's own encoder
			c.abort(errEncoder)
			panic(p)
		}
	}()
	err := c.codec.request(&c.out, cl.seq, method, arg, func() {
		c.mu.Lock()
		c.pending[cl.seq] = cl
		c.mu.Unlock()
	})
	switch {
	case err == nil:
	case isArgError(err):
		return nil, fmt.Errorf("encode argument of %s: %w", method, err)
	default:
		return nil, &TransportError{Method: method, Addr: c.addr, Err: fmt.Errorf("%w: %w", errNotSent, err)}
	}
	// The connection may have failed between the check and the queue; then read
	// may have failed everything pending before this call was among it.
	select {
	case <-c.done:
		c.failPending()
	default:
	}
	return cl, nil
}

// Call sends a call and waits for its answer. When ctx ends first, a late answer
// is dropped; reply is not touched any more once Call has returned.
func (c *ClientConn) Call(ctx context.Context, method string, arg, reply any) error {
	answer := make(chan error, 1)
	cl, err := c.start(method, arg, reply, func(err error) { answer <- err })
	if err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	if !c.take(cl) {
		// The answer is being decoded into reply at this moment. A gob answer may
		// still be on its way, so give it no chance to keep us.
		if c.kind == Gob {
			c.abort(ctx.Err())
		}
		return <-answer
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.mu.Lock()
		silent := c.replies == cl.replies
		c.mu.Unlock()
		if silent {
			// Nothing at all has come since: the peer is gone without a goodbye.
			c.abort(fmt.Errorf("nothing heard since %s was called: %w", method, context.DeadlineExceeded))
		}
	}
	return &TransportError{Method: method, Addr: c.addr, Sent: true, Err: ctx.Err()}
}

// take removes a call from the pending ones; false when it is no longer there.
func (c *ClientConn) take(cl *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.pending[cl.seq]
	delete(c.pending, cl.seq)
	return ok
}

// read receives answers until the connection is over.
func (c *ClientConn) read() {
	defer close(c.done)
	err := c.receive()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = ErrPeerClosed
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		// A peer that closes with bytes of ours unread is seen as a reset.
		err = fmt.Errorf("%w: %w", ErrPeerClosed, err)
	}
	c.abort(err)
	c.failPending()
}

func (c *ClientConn) receive() error {
	for {
		var h replyHeader
		if err := c.codec.head(&h); err != nil {
			return err
		}
		c.mu.Lock()
		cl := c.pending[h.seq]
		delete(c.pending, h.seq)
		c.replies++
		c.mu.Unlock()
		if cl == nil {
			// Given up, or never asked. Both are the peer being late.
			if err := c.codec.body(&h, nil); err != nil && !isArgError(err) {
				return err
			}
			continue
		}
		reply := cl.reply
		if h.failed {
			reply = nil
		}
		err := c.decode(&h, reply)
		switch {
		case err != nil && !isArgError(err):
			cl.finish(&TransportError{Method: cl.method, Addr: c.addr, Sent: true, Err: err})
			return err
		case h.failed:
			cl.finish(ServerError(h.text))
		case err != nil:
			cl.finish(fmt.Errorf("decode reply of %s from %s: %w", cl.method, c.addr, err))
		default:
			cl.finish(nil)
		}
	}
}

func (c *ClientConn) decode(h *replyHeader, reply any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = protocolError("a reply broke its decoder: %v", p)
		}
	}()
	return c.codec.body(h, reply)
}

// failPending answers what has no answer with the connection's error.
func (c *ClientConn) failPending() {
	c.mu.Lock()
	calls := c.pending
	c.pending = map[uint64]*call{}
	err := c.err
	c.mu.Unlock()
	ordered := make([]*call, 0, len(calls))
	for _, cl := range calls {
		ordered = append(ordered, cl)
	}
	sortCalls(ordered)
	for _, cl := range ordered {
		cl.finish(&TransportError{Method: cl.method, Addr: c.addr, Sent: true, Err: err})
	}
}

func defaultDial(ctx context.Context, addr string) (net.Conn, error) {
	return dialer.New(0).DialContext(ctx, "tcp", addr)
}
