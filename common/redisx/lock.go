package redisx

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"falcon/common/run"
)

// A lock's value is "<expiry>:<host>-<process>:<token>", the expiry in Unix seconds as
// its holder saw it when it last renewed: GET tells a person who has it and until when.
// What makes it somebody's is all behind the first colon. The token ends with "@" and the
// home of the process, where that is known.
var (
	takeFenced = newScript(2, `
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SET', KEYS[2], ARGV[3]) end
return redis.call('INCR', KEYS[2])`)
	renewLock = newScript(1, `
local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, -#ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)
	releaseLock = newScript(1, `
local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, -#ARGV[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`)
)

// instance names this process in the values of its locks.
var instance = func() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}()

// home says where process ids mean the same processes as here: the boot of a kernel and
// the namespace of processes in it. Two hosts may have one name, and containers of one
// host, too. It is empty where that can not be known.
var home = sync.OnceValue(func() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	ns, err := os.Readlink("/proc/self/ns/pid") // pid:[4026531836]
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + strings.Trim(ns, "pid:[]")
})

// A Lock is held until its time to live has passed since it was taken or renewed.
type Lock struct {
	pool *Pool
	key  string
	mine string // the end of its value
	ttl  time.Duration

	// Generation is higher than that of whoever held the lock before; 0 for one that
	// was taken without. See TryFenced.
	Generation int64
}

func (p *Pool) newLock(key string, ttl time.Duration) *Lock {
	return &Lock{pool: p, key: key, mine: mark(rand.Text()), ttl: ttl}
}

// mark names this process behind the time of a value, and where it is at home.
func mark(token string) string {
	m := ":" + instance + ":" + token
	if home() != "" {
		m += "@" + home()
	}
	return m
}

// value is what stands in Redis from now on.
func (l *Lock) value() string { return fmt.Sprint(time.Now().Add(l.ttl).Unix(), l.mine) }

// TryLock takes the lock key for ttl; nil when somebody else holds it. A lock whose holder
// was a process of this machine that is gone is not waited for.
func (p *Pool) TryLock(ctx context.Context, key string, ttl time.Duration) (*Lock, error) {
	l := p.newLock(key, ttl)
	return p.tryLock(ctx, l, func() (bool, error) {
		set, err := p.Do(ctx, "SET", key, l.value(), "NX", "PX", ttl.Milliseconds())
		return set != nil, err
	})
}

// tryLock takes l, once more when its holder turned out to be dead.
func (p *Pool) tryLock(ctx context.Context, l *Lock, take func() (bool, error)) (*Lock, error) {
	for range 2 {
		if ok, err := take(); err != nil {
			return nil, err
		} else if ok {
			return l, nil
		}
		if free, err := p.orphaned(ctx, l.key); err != nil || !free {
			return nil, err
		}
	}
	return nil, nil
}

// TryFenced takes the lock key for ttl and counts the key generation up, in one step;
// nil when somebody else holds it. A script that writes for the holder compares the
// generation, so that one that was held up beyond its lock can not write over its
// successor. After Redis lost its memory generations go on from the clock.
func (p *Pool) TryFenced(ctx context.Context, key, generation string, ttl time.Duration) (*Lock, error) {
	l := p.newLock(key, ttl)
	return p.tryLock(ctx, l, func() (_ bool, err error) {
		l.Generation, err = Int64(p.run(ctx, takeFenced, key, generation, l.value(), ttl.Milliseconds(), time.Now().UnixMicro()))
		return l.Generation != 0, err
	})
}

// orphaned frees a lock whose holder is known to be dead, and says whether it was.
func (p *Pool) orphaned(ctx context.Context, key string) (bool, error) {
	value, err := String(p.Do(ctx, "GET", key))
	if err != nil {
		if errors.Is(err, Nil) { // it is free by now
			return true, nil
		}
		return false, err
	}
	_, mine, _ := strings.Cut(value, ":")
	if !dead(mine) {
		return false, nil
	}
	n, err := Int64(p.run(ctx, releaseLock, key, ":"+mine))
	return n == 1, err
}

// dead says whether a mark is one of a process of this machine that does not run any more.
// One whose number another process has by now is taken for alive.
func dead(mine string) bool {
	who, token, _ := strings.Cut(mine, ":")
	_, at, _ := strings.Cut(token, "@")
	process, err := strconv.Atoi(who[strings.LastIndexByte(who, '-')+1:])
	return at != "" && at == home() && err == nil && process > 0 && errors.Is(syscall.Kill(process, 0), syscall.ESRCH)
}

// Renew makes the lock last its time to live from now; false when it is lost.
func (l *Lock) Renew(ctx context.Context) (bool, error) {
	n, err := Int64(l.pool.run(ctx, renewLock, l.key, l.mine, l.value(), l.ttl.Milliseconds()))
	return n == 1, err
}

// Release gives the lock up. One that is lost already is nobody's harm.
func (l *Lock) Release(ctx context.Context) error {
	_, err := l.pool.run(ctx, releaseLock, l.key, l.mine)
	return err
}

// Lead runs fn whenever the lock key can be had, and ends fn's context before the
// lock is lost: after two thirds of ttl without a renewal. It returns when ctx ends or
// fn fails while it leads; fn may return nil to step down for one ttl, in which whoever
// waits gets it.
func (p *Pool) Lead(ctx context.Context, key string, ttl time.Duration, fn func(context.Context) error) error {
	return lead(ctx, ttl, ttl/3, func() (*Lock, error) { return p.TryLock(ctx, key, ttl) }, func(ctx context.Context, _ *Lock) error { return fn(ctx) })
}

// LeadFenced is Lead with the generation of TryFenced for fn. The lock is looked at each
// second.
func (p *Pool) LeadFenced(ctx context.Context, key, generation string, ttl time.Duration, fn func(ctx context.Context, generation int64) error) error {
	return lead(ctx, ttl, min(ttl/3, time.Second), func() (*Lock, error) { return p.TryFenced(ctx, key, generation, ttl) }, func(ctx context.Context, l *Lock) error { return fn(ctx, l.Generation) })
}

func lead(ctx context.Context, ttl, look time.Duration, take func() (*Lock, error), fn func(context.Context, *Lock) error) error {
	for {
		l, err := take()
		pause := look
		if err == nil && l != nil {
			err := l.lead(ctx, fn)
			switch {
			case err == nil:
				pause = ttl
			case !errors.Is(err, ErrLost) && ctx.Err() == nil:
				return err
			}
		}
		// Redis being away is no error: nobody leads meanwhile.
		if !run.Sleep(ctx, pause) {
			return nil
		}
	}
}

func (l *Lock) lead(ctx context.Context, fn func(context.Context, *Lock) error) error {
	g := run.New(ctx)
	g.Go("lead", func(ctx context.Context) error { return fn(ctx, l) })
	g.Go("renew", func(ctx context.Context) error {
		renewed := time.Now()
		for run.Sleep(ctx, l.ttl/4) {
			ok, err := l.Renew(ctx)
			switch {
			case ok:
				renewed = time.Now()
			case err == nil || time.Since(renewed) > l.ttl*2/3:
				return ErrLost
			}
		}
		return nil
	})
	err := g.Wait()
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = l.Release(after) // it ends by itself as well
	return err
}

// ErrLost is what fn of Lead returns when it sees that another leads by now: it waits for
// its turn like any other, and does not step down.
var ErrLost = errors.New("the lock is lost")
