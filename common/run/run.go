// Package run starts goroutines that have an owner and a name, and stops them
// together.
//
//	g := run.New(ctx)
//	g.Go("rpc", j.serve)
//	g.Go("rules", j.followRules)
//	return g.Wait()
package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// A Group runs named functions until the first of them returns, then asks the
// rest to stop and waits for them. Call New to get one.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	once sync.Once // guards err: the first return wins
	err  error
}

// New returns a Group whose functions stop when ctx does.
func New(ctx context.Context) *Group {
	g := &Group{}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

// Go starts fn. fn must return soon after its context ends. When it returns
// first, its error is what Wait reports, as "name: err"; a panic in fn is such an
// error too, with the stack in its text.
func (g *Group) Go(name string, fn func(context.Context) error) {
	g.wg.Go(func() {
		err := Recovered(func() error { return fn(g.ctx) })
		g.once.Do(func() {
			var p *PanicError
			if err != nil && (g.ctx.Err() == nil || errors.As(err, &p)) {
				g.err = fmt.Errorf("%s: %w", name, err)
			}
		})
		g.cancel()
	})
}

// Wait blocks until every function has returned. It returns the error that ended
// the group, or nil when the group was asked to stop.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.cancel()
	return g.err
}

// A PanicError is a panic that was caught at a boundary.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Recovered calls fn and turns a panic in it into a *PanicError.
func Recovered(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return fn()
}

// Every calls fn each interval until ctx ends; the first call comes after one
// interval. A slow fn makes ticks fall out, it never runs twice at once.
func Every(ctx context.Context, interval time.Duration, fn func(context.Context)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fn(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// Sleep waits for d or until ctx ends, and reports whether the whole time passed.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
