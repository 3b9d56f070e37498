package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/model"
)

// ServerOptions tell how a Server treats its peers. Zero fields have the defaults
// given.
type ServerOptions struct {
	Log *slog.Logger // default: nothing is logged

	// MaxMessage bounds one request, in bytes. Default 64 MiB.
	MaxMessage int
	// MaxConns bounds the open connections; more are closed at once and counted as
	// refused. Default 100 000.
	MaxConns int
	// MaxInFlight bounds the calls of one connection that are not answered yet;
	// beyond it nothing more is read from the connection. Default 64.
	MaxInFlight int
	// IdleTimeout ends a connection on which nothing arrives while no call is in
	// flight. Agents are silent for a minute between heartbeats. Default 15 min.
	IdleTimeout time.Duration
	// PeekTimeout is how long a new connection may take to send its first bytes.
	// Default 10 s.
	PeekTimeout time.Duration
	// WriteTimeout ends a connection whose peer does not read its answers. Default 60 s.
	WriteTimeout time.Duration
	// KeepAlive is the interval of TCP's probes. Default 30 s, negative for none.
	KeepAlive time.Duration
	// Drain bounds how long calls in flight may take once Serve is told to stop.
	// Default 10 s.
	Drain time.Duration
	// TLS, when set, is spoken on every connection.
	TLS *tls.Config
	// Authorize, when set, is asked before the argument of each call is decoded; its
	// error is the answer.
	Authorize func(method string, c *Conn) error
	// Stats takes the counters; default is one of the Server's own.
	Stats *ServerStats
}

// ServerStats counts what a Server sees. All counters but Open only grow.
type ServerStats struct {
	Open     atomic.Int64 // connections now
	Accepted atomic.Int64 // connections taken
	Refused  atomic.Int64 // connections closed at once because of MaxConns
	BadCodec atomic.Int64 // connections whose first bytes were nothing we speak
	Broken   atomic.Int64 // connections closed for broken syntax or protocol
	TooLarge atomic.Int64 // connections closed for a message beyond MaxMessage
	Calls    atomic.Int64
	Missing  atomic.Int64 // calls of methods that do not exist
	Errors   atomic.Int64 // calls answered with an error, Missing and Panics included
	Panics   atomic.Int64

	codecs [numCodecs]atomic.Int64
}

// Codec returns how many connections have spoken c.
func (s *ServerStats) Codec(c Codec) int64 {
	if c >= numCodecs {
		return 0
	}
	return s.codecs[c].Load()
}

// A Server answers calls in every codec. Register methods with Handle,
// HandleOrdered and HandleAsync, then call Serve.
type Server struct {
	opts    ServerOptions
	log     *slog.Logger
	stats   *ServerStats
	methods map[string]*method
	msgpack *mpCoder

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	stopping bool
}

// NewServer returns a Server with one method, Rpc.Ping, by which clients learn what
// their peer speaks.
func NewServer(opts ServerOptions) *Server {
	def(&opts.MaxMessage, 64<<20)
	def(&opts.MaxConns, 100_000)
	def(&opts.MaxInFlight, 64)
	def(&opts.IdleTimeout, 15*time.Minute)
	def(&opts.PeekTimeout, 10*time.Second)
	def(&opts.WriteTimeout, time.Minute)
	def(&opts.KeepAlive, 30*time.Second)
	def(&opts.Drain, 10*time.Second)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Stats == nil {
		opts.Stats = &ServerStats{}
	}
	s := &Server{
		opts:    opts,
		log:     opts.Log,
		stats:   opts.Stats,
		methods: map[string]*method{},
		msgpack: newMpCoder(),
		conns:   map[*Conn]struct{}{},
	}
	HandleOrdered(s, pingMethod, func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		return nil, nil
	})
	return s
}

// pingMethod does nothing; a Client whose codec is Auto calls it first.
const pingMethod = "Rpc.Ping"

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Stats returns the counters.
func (s *Server) Stats() *ServerStats { return s.stats }

// Serve accepts connections until ctx ends or l fails. Then it closes l, stops
// reading, lets the calls in flight finish for at most Drain, and closes every
// connection. It returns nil when ctx has ended. A Server serves once, but may
// serve several listeners at the same time under one ctx.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	// Calls must be able to finish after ctx has ended.
	callCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	unwatch := context.AfterFunc(ctx, func() {
		_ = l.Close() // makes Accept return
		s.stop()
	})
	defer unwatch()

	var wg sync.WaitGroup
	err := s.accept(ctx, callCtx, l, &wg)
	_ = l.Close()
	s.stop()
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("accept on %s: %w", l.Addr(), err)
}

func (s *Server) accept(ctx, callCtx context.Context, l net.Listener, wg *sync.WaitGroup) error {
	const maxPause = time.Second
	pause := 5 * time.Millisecond
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			var ne net.Error
			if !errors.As(err, &ne) {
				return err
			}
			// Out of file descriptors, most likely: it passes when others hang up.
			s.log.Warn("connection not accepted", "err", err, "retry_in", pause)
			select {
			case <-ctx.Done():
				return err
			case <-time.After(pause):
			}
			pause = min(2*pause, maxPause)
			continue
		}
		pause = 5 * time.Millisecond
		s.ServeConn(callCtx, nc, wg)
	}
}

// ServeConn serves one connection on a goroutine of its own that wg waits for. It
// is for connections that come from no listener, such as net.Pipe; ctx cuts off
// the calls of the connection.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, wg *sync.WaitGroup) {
	if tc, ok := nc.(*net.TCPConn); ok {
		_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: s.opts.KeepAlive > 0, Idle: s.opts.KeepAlive, Interval: s.opts.KeepAlive})
	}
	if s.opts.TLS != nil {
		nc = tls.Server(nc, s.opts.TLS)
	}
	c := newConn(ctx, s, nc)
	s.mu.Lock()
	full, stopping := len(s.conns) >= s.opts.MaxConns, s.stopping
	if !full && !stopping {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if full || stopping {
		s.stats.Refused.Add(1)
		c.cancel()
		_ = nc.Close()
		return
	}
	s.stats.Accepted.Add(1)
	s.stats.Open.Add(1)
	wg.Go(func() {
		err := c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.stats.Open.Add(-1)
		s.ended(c, err)
	})
}

// stop makes every connection stop reading and close once its calls are answered.
func (s *Server) stop() {
	s.mu.Lock()
	s.stopping = true
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.Shutdown()
	}
}

// ended counts why a connection is over. Peers come and go: only what somebody may
// have to look into is logged above debug, and a scanner can not fill the log
// since even that is debug; the counters tell.
func (s *Server) ended(c *Conn, err error) {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, errStopping):
		return
	case errors.Is(err, errBadCodec):
		s.stats.BadCodec.Add(1)
	case errors.Is(err, ErrTooLarge):
		s.stats.TooLarge.Add(1)
		s.log.Warn("connection closed", "peer", c.RemoteAddr(), "codec", c.codec, "err", err, "max_bytes", s.opts.MaxMessage)
		return
	case !isNetError(err):
		s.stats.Broken.Add(1)
	}
	s.log.Debug("connection closed", "peer", c.RemoteAddr(), "codec", c.codec, "err", err)
}

func isNetError(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}
