package redisx

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"falcon/common/run"
)

var (
	renewLock   = newScript(1, `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0`)
	releaseLock = newScript(1, `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`)
)

// A Lock is held until its time to live has passed since it was taken or renewed.
type Lock struct {
	pool       *Pool
	key, token string
	ttl        time.Duration
}

// TryLock takes the lock key for ttl; nil when somebody else holds it.
func (p *Pool) TryLock(ctx context.Context, key string, ttl time.Duration) (*Lock, error) {
	l := &Lock{pool: p, key: key, token: rand.Text(), ttl: ttl}
	set, err := p.Do(ctx, "SET", key, l.token, "NX", "PX", ttl.Milliseconds())
	if err != nil || set == nil {
		return nil, err
	}
	return l, nil
}

// Renew makes the lock last its time to live from now; false when it is lost.
func (l *Lock) Renew(ctx context.Context) (bool, error) {
	n, err := Int64(l.pool.run(ctx, renewLock, l.key, l.token, l.ttl.Milliseconds()))
	return n == 1, err
}

// Release gives the lock up. One that is lost already is nobody's harm.
func (l *Lock) Release(ctx context.Context) error {
	_, err := l.pool.run(ctx, releaseLock, l.key, l.token)
	return err
}

// Lead runs fn whenever the lock key can be had, and ends fn's context before the
// lock is lost: after two thirds of ttl without a renewal. It returns when ctx ends or
// fn fails while it leads; fn may return nil to step down for one ttl.
func (p *Pool) Lead(ctx context.Context, key string, ttl time.Duration, fn func(context.Context) error) error {
	for {
		l, err := p.TryLock(ctx, key, ttl)
		if err == nil && l != nil {
			if err := l.lead(ctx, fn); err != nil && ctx.Err() == nil {
				return err
			}
		}
		// Redis being away is no error: nobody leads meanwhile.
		if !run.Sleep(ctx, ttl/3) {
			return nil
		}
	}
}

func (l *Lock) lead(ctx context.Context, fn func(context.Context) error) error {
	g := run.New(ctx)
	g.Go("lead", fn)
	g.Go("renew", func(ctx context.Context) error {
		renewed := time.Now()
		for run.Sleep(ctx, l.ttl/4) {
			ok, err := l.Renew(ctx)
			switch {
			case ok:
				renewed = time.Now()
			case err == nil || time.Since(renewed) > l.ttl*2/3:
				return errLost
			}
		}
		return nil
	})
	err := g.Wait()
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = l.Release(after) // it ends by itself as well
	if errors.Is(err, errLost) {
		return nil
	}
	return err
}

var errLost = errors.New("the lock is lost")
