package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// A method is a registered function with its types erased.
type method struct {
	name   string
	newArg func() any
	// start runs the method and calls done exactly once, possibly after it has
	// returned and from another goroutine.
	start   func(ctx context.Context, c *Conn, arg any, done func(any, error))
	ordered bool
	quick   func(arg any) bool // nil for never; see HandleQuick

	panicked atomic.Bool // its stack has been logged
}

// Handle registers fn as the method name ("Transfer.Update"). Each call runs on a
// goroutine of its own, so calls of one connection overlap. arg is never nil and
// is fn's to keep; it is the zero value when the caller sent none. An error is
// answered as its text. ctx ends when the connection breaks or the server has
// stopped waiting. Handle must not be called after Serve, and panics when name is
// taken.
func Handle[A, R any](s *Server, name string, fn func(ctx context.Context, c *Conn, arg *A) (*R, error)) {
	handle(s, name, false, fn)
}

// HandleOrdered is Handle for methods whose calls must be seen in the order in
// which they were sent: fn runs on the goroutine that reads the connection, which
// reads nothing more until fn returns.
func HandleOrdered[A, R any](s *Server, name string, fn func(ctx context.Context, c *Conn, arg *A) (*R, error)) {
	handle(s, name, true, fn)
}

// HandleQuick is Handle for methods that often take less time than the start of a
// goroutine: the calls of which quick says so run on the goroutine that reads the
// connection, as those of HandleOrdered do, and their answers leave together with
// those of the requests that arrived with them. quick must be sure: nothing else of
// the connection goes on meanwhile.
func HandleQuick[A, R any](s *Server, name string, quick func(arg *A) bool, fn func(ctx context.Context, c *Conn, arg *A) (*R, error)) {
	m := newMethod(name, false, fn)
	m.quick = func(arg any) bool { return quick(arg.(*A)) }
	s.register(m)
}

func handle[A, R any](s *Server, name string, ordered bool, fn func(ctx context.Context, c *Conn, arg *A) (*R, error)) {
	s.register(newMethod(name, ordered, fn))
}

func newMethod[A, R any](name string, ordered bool, fn func(ctx context.Context, c *Conn, arg *A) (*R, error)) *method {
	return &method{
		name:    name,
		newArg:  func() any { return new(A) },
		ordered: ordered,
		start: func(ctx context.Context, c *Conn, arg any, done func(any, error)) {
			r, err := fn(ctx, c, arg.(*A))
			if r == nil && err == nil {
				r = new(R)
			}
			done(r, err)
		},
	}
}

// HandleAsync is HandleOrdered for methods that answer later: fn begins its work in
// arrival order, returns, and calls done exactly once when the answer is known,
// from any goroutine. A call that waits for its done counts as in flight, and the
// server's MaxInFlight bounds how many of them a connection may have. When fn
// panics before it has called done, the call is answered for it.
func HandleAsync[A, R any](s *Server, name string, fn func(ctx context.Context, c *Conn, arg *A, done func(*R, error))) {
	s.register(&method{
		name:    name,
		newArg:  func() any { return new(A) },
		ordered: true,
		start: func(ctx context.Context, c *Conn, arg any, done func(any, error)) {
			fn(ctx, c, arg.(*A), func(r *R, err error) {
				if r == nil && err == nil {
					r = new(R)
				}
				done(r, err)
			})
		},
	})
}

func (s *Server) register(m *method) {
	if _, taken := s.methods[m.name]; taken {
		panic(fmt.Sprintf("rpc: method %s is registered twice", m.name))
	}
	s.methods[m.name] = m
}

// run calls the method and turns a panic into an error for the caller.
func (s *Server) run(ctx context.Context, c *Conn, m *method, arg any, done func(any, error)) {
	var answered atomic.Bool
	once := func(r any, err error) {
		if answered.CompareAndSwap(false, true) {
			done(r, err)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			s.panicked(m, c, p)
			once(nil, fmt.Errorf("internal error in %s", m.name))
		}
	}()
	m.start(ctx, c, arg, once)
}

// panicked counts a panic, and logs the first one of each method with its stack.
func (s *Server) panicked(m *method, c *Conn, p any) {
	s.stats.Panics.Add(1)
	if m.panicked.CompareAndSwap(false, true) {
		s.log.Error("method panicked; its further panics are only counted", "method", m.name, "peer", c.RemoteAddr(), "panic", p, "stack", string(debug.Stack()))
	}
}
