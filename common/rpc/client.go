package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"falcon/common/model"
)

// ClientOptions tell a Client where its peer is and how to treat it. Zero fields
// have the defaults given.
type ClientOptions struct {
	Addr string // host:port
	Log  *slog.Logger

	// Codec is what the peer speaks. Auto is MsgpackSpecRpc until the peer turns out
	// to be stock, then StockCodec (contract ingest 2.1).
	Codec      Codec
	StockCodec Codec // Gob for graph and judge, JSON for transfer and hbs; default JSON

	DialTimeout  time.Duration // default 1 s
	CallTimeout  time.Duration // for a call whose context ends later; default 5 s, negative for none
	WriteTimeout time.Duration // a peer that takes nothing for so long is gone; default 30 s
	MaxConns     int           // default 4
	MaxIdle      int           // connections kept while nothing is called; default 2
	MaxMessage   int           // bytes of a reply; default 256 MiB: stock rules of a large fleet

	TLS *tls.Config
	// Key, when set, is shown to the peer on each connection (Protect).
	Key string
	// Dial connects; default is TCP with keepalive.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

func (o *ClientOptions) defaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.StockCodec == Auto {
		o.StockCodec = JSON
	}
	def(&o.DialTimeout, time.Second)
	def(&o.CallTimeout, 5*time.Second)
	def(&o.WriteTimeout, 30*time.Second)
	def(&o.MaxConns, 4)
	def(&o.MaxIdle, 2)
	def(&o.MaxMessage, 256<<20)
	if o.Dial == nil {
		o.Dial = defaultDial
	}
}

// pipeline is how many calls share a connection before another is opened.
const pipeline = 8

// forgetMissing is how long "can't find method" is remembered while the peer stays
// connected (contract ingest 2.6).
const forgetMissing = time.Hour

// A Client calls one peer over a small pool of connections. It dials when needed;
// connections that the peer closes leave the pool at once, before a call can be
// burnt on them, and an error on one closes the idle ones too, since a peer that
// restarted has dropped them all.
//
// A call is sent again only when no byte of it has left (TransportError.Sent is
// false); at most three times, on a fresh connection.
type Client struct {
	opts  ClientOptions
	coder *mpCoder

	mu       sync.Mutex
	closed   bool
	conns    []*ClientConn
	dialing  int
	changed  chan struct{}        // closed and replaced when a dial has ended
	speaks   Codec                // of an Auto client: Auto until known, cleared when the last connection is gone
	connects int64                // how often the pool has stopped being empty
	missing  map[string]time.Time // methods the peer does not have, and when it said so
	closers  sync.WaitGroup
}

// NewClient returns a client; it opens nothing. The owner calls Close.
func NewClient(opts ClientOptions) *Client {
	opts.defaults()
	c := &Client{opts: opts, coder: newMpCoder(), changed: make(chan struct{}), missing: map[string]time.Time{}}
	if opts.Codec != Auto {
		c.speaks = opts.Codec
	}
	return c
}

// Addr returns the peer's address.
func (c *Client) Addr() string { return c.opts.Addr }

// Speaks returns the codec in use: Auto while an Auto client does not know yet. A
// peer that answers in StockCodec is stock.
func (c *Client) Speaks() Codec {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.speaks
}

// Connects counts how often the client has connected when it had no connection. A
// change says that the peer may be another program by now.
func (c *Client) Connects() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connects
}

// Close ends every connection and fails the calls in flight with ErrClosed.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()
	for _, cc := range conns {
		cc.Close()
	}
	c.closers.Wait()
}

// Call calls method with arg and decodes the answer into reply, a pointer, or
// drops it when reply is nil. It ends with ctx or after CallTimeout, whichever is
// first. The error is a ServerError, a *TransportError, or tells that arg or the
// answer is not what the codec can carry.
func (c *Client) Call(ctx context.Context, method string, arg, reply any) error {
	if c.isMissing(method) {
		return ServerError(methodMissing(method))
	}
	if c.opts.CallTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.CallTimeout)
		defer cancel()
	}
	const tries = 3
	for n := 1; ; n++ {
		cc, err := c.conn(ctx)
		if err != nil {
			return &TransportError{Method: method, Addr: c.opts.Addr, Err: err}
		}
		err = cc.Call(ctx, method, arg, reply)
		var s ServerError
		if err == nil || errors.As(err, &s) {
			c.heard(cc)
			if err != nil && IsMethodMissing(err) {
				c.note(method)
			}
			c.release(cc)
			return err
		}
		c.release(cc)
		var t *TransportError
		if !errors.As(err, &t) {
			return err // the argument or the answer: the connection is fine
		}
		if cc.Err() != nil {
			c.dropIdle()
		}
		if t.Sent || n == tries || ctx.Err() != nil {
			return err
		}
	}
}

func (c *Client) isMissing(method string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prune()
	at, ok := c.missing[method]
	if ok && time.Since(at) >= forgetMissing {
		delete(c.missing, method)
		ok = false
	}
	return ok
}

func (c *Client) note(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) > 0 {
		c.missing[method] = time.Now()
	}
}

// heard settles what the peer speaks, once it has answered a call.
func (c *Client) heard(cc *ClientConn) {
	c.mu.Lock()
	if c.speaks == Auto && slices.Contains(c.conns, cc) {
		c.speaks = cc.kind
		if cc.kind != Msgpack {
			c.opts.Log.Info("peer is stock", "peer", c.opts.Addr, "codec", cc.kind)
		}
	}
	c.mu.Unlock()
}

// prune drops dead connections. With the last one goes what was known of the peer:
// what comes back may be another version. The caller holds mu.
func (c *Client) prune() {
	n := len(c.conns)
	c.conns = slices.DeleteFunc(c.conns, func(cc *ClientConn) bool { return cc.Err() != nil })
	if n > 0 && len(c.conns) == 0 {
		c.speaks = c.opts.Codec
		clear(c.missing)
	}
}

// conn returns a connection to call on, which the caller gives back to release: the least busy one, or a new one when that
// is busy and there may be more.
func (c *Client) conn(ctx context.Context) (*ClientConn, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, ErrClosed
		}
		c.prune()
		var best *ClientConn
		load := 0
		for _, cc := range c.conns {
			if best == nil || cc.users < load {
				best, load = cc, cc.users
			}
		}
		room := len(c.conns)+c.dialing < c.opts.MaxConns
		// While it is not known what the peer speaks, one connection finds out.
		if best != nil && (load < pipeline || !room || c.dialing > 0 || c.speaks == Auto) {
			best.users++
			c.mu.Unlock()
			return best, nil
		}
		if best == nil && c.dialing > 0 {
			wait := c.changed
			c.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		c.dialing++
		speaks := c.speaks
		c.mu.Unlock()

		cc, learnt, err := c.connect(ctx, speaks)

		c.mu.Lock()
		c.dialing--
		close(c.changed)
		c.changed = make(chan struct{})
		if err == nil && c.closed {
			err = ErrClosed
		}
		if err == nil {
			if cc.users++; len(c.conns) == 0 {
				c.connects++
			}
			c.conns = append(c.conns, cc)
			if learnt != Auto {
				c.speaks = learnt
			}
		}
		c.mu.Unlock()
		if err != nil && cc != nil {
			cc.Close()
			cc = nil
		}
		return cc, err
	}
}

// connect dials. While it is not known what the peer speaks it asks with Rpc.Ping in
// msgpack: one of ours answers, a stock server closes the connection. Then the next
// one speaks StockCodec, but the peer counts as stock only when a call on it has
// been answered: the peer may also have died in that moment. No real call is spent
// on finding out, so none can arrive twice by it.
func (c *Client) connect(ctx context.Context, speaks Codec) (cc *ClientConn, learnt Codec, err error) {
	cc, learnt, err = c.connectPlain(ctx, speaks)
	if err == nil && c.opts.Key != "" {
		if err = cc.show(ctx, c.opts.Key); err != nil {
			cc.Close()
			return nil, Auto, err
		}
	}
	return cc, learnt, err
}

func (c *Client) connectPlain(ctx context.Context, speaks Codec) (cc *ClientConn, learnt Codec, err error) {
	if speaks != Auto {
		cc, err = dial(ctx, &c.opts, speaks, c.coder)
		return cc, Auto, err
	}
	if cc, err = dial(ctx, &c.opts, Msgpack, c.coder); err != nil {
		return nil, Auto, err
	}
	err = cc.Call(ctx, pingMethod, &model.NullRpcRequest{}, nil)
	var s ServerError
	if err == nil || errors.As(err, &s) {
		return cc, Msgpack, nil
	}
	cause := cc.Err()
	cc.Close()
	if cause == nil || ctx.Err() != nil {
		return nil, Auto, err
	}
	cc, err = dial(ctx, &c.opts, c.opts.StockCodec, c.coder)
	return cc, Auto, err
}

// release gives cc back, and closes it when nobody uses it and enough others wait
// for work.
func (c *Client) release(cc *ClientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cc.users--
	if cc.users > 0 || len(c.conns) <= c.opts.MaxIdle {
		return
	}
	idle := 0
	for _, o := range c.conns {
		if o.users == 0 {
			idle++
		}
	}
	if idle > c.opts.MaxIdle {
		c.conns = slices.DeleteFunc(c.conns, func(o *ClientConn) bool { return o == cc })
		c.retire(cc)
	}
}

// dropIdle closes the connections without a call in flight, after another one has
// failed.
func (c *Client) dropIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cc := range c.conns {
		if cc.users == 0 {
			cc.abort(ErrClosed)
			c.retire(cc)
		}
	}
	c.prune()
}

// retire closes cc behind the caller's back; Close waits for it. The caller holds mu.
func (c *Client) retire(cc *ClientConn) { c.closers.Go(cc.Close) }

// sortCalls puts calls into the order in which they were sent.
func sortCalls(calls []*call) {
	slices.SortFunc(calls, func(a, b *call) int { return cmp.Compare(a.seq, b.seq) })
}
