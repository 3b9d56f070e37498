package redisx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Nil is the error of a reply that says there is nothing.
var Nil = redis.ErrNil

// maxActive bounds the connections of a pool; more callers wait.
const maxActive = 64

// idleTimeout is how long an unused connection is kept.
const idleTimeout = 4 * time.Minute

// A Pool is a Redis. It is safe for use by many goroutines.
type Pool struct {
	pool *redis.Pool
	dial func(ctx context.Context, read time.Duration) (redis.Conn, error)
	addr string
}

// New returns a pool for cfg. It connects when something is asked.
func New(cfg Config) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	password, addr, network := cfg.where()
	p := &Pool{addr: addr}
	p.dial = func(ctx context.Context, read time.Duration) (redis.Conn, error) {
		return redis.DialContext(ctx, network, addr,
			redis.DialPassword(password), redis.DialConnectTimeout(cfg.ConnTimeout.D()),
			redis.DialReadTimeout(read), redis.DialWriteTimeout(cfg.WriteTimeout.D()))
	}
	p.pool = &redis.Pool{
		MaxIdle: cfg.MaxIdle, MaxActive: maxActive, Wait: true, IdleTimeout: idleTimeout,
		DialContext: func(ctx context.Context) (redis.Conn, error) { return p.dial(ctx, cfg.ReadTimeout.D()) },
		TestOnBorrowContext: func(ctx context.Context, c redis.Conn, used time.Time) error {
			if time.Since(used) < time.Second {
				return nil
			}
			_, err := redis.DoContext(c, ctx, "PING")
			return err
		},
	}
	return p, nil
}

// Addr returns where the Redis is, without the password.
func (p *Pool) Addr() string { return p.addr }

// Close ends all connections.
func (p *Pool) Close() error { return p.pool.Close() }

// Do runs one command. An error names it and its key.
func (p *Pool) Do(ctx context.Context, command string, args ...any) (any, error) {
	c, err := p.pool.GetContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis %s: %w", p.addr, err)
	}
	defer c.Close()
	reply, err := redis.DoContext(c, ctx, command, args...)
	if err != nil {
		return nil, named(p.addr, command, args, err)
	}
	return reply, nil
}

func named(addr, command string, args []any, err error) error {
	if len(args) > 0 {
		return fmt.Errorf("redis %s: %s %v: %w", addr, command, args[0], err)
	}
	return fmt.Errorf("redis %s: %s: %w", addr, command, err)
}

// A Cmd is a command of a pipeline.
type Cmd struct {
	Name string
	Args []any
}

// C makes a Cmd.
func C(name string, args ...any) Cmd { return Cmd{name, args} }

// Pipe sends commands together and returns their replies in order. A command that
// Redis refuses has its error in place of its reply and among the errors returned;
// those beside it are done.
func (p *Pool) Pipe(ctx context.Context, cmds ...Cmd) ([]any, error) {
	if len(cmds) == 0 {
		return nil, nil
	}
	c, err := p.pool.GetContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis %s: %w", p.addr, err)
	}
	defer c.Close()
	for _, cmd := range cmds {
		if err := c.Send(cmd.Name, cmd.Args...); err != nil {
			return nil, named(p.addr, cmd.Name, cmd.Args, err)
		}
	}
	if err := c.Flush(); err != nil {
		return nil, fmt.Errorf("redis %s: %w", p.addr, err)
	}
	replies := make([]any, len(cmds))
	var errs []error
	for i, cmd := range cmds {
		reply, err := redis.ReceiveContext(c, ctx)
		if err != nil {
			var refused redis.Error
			if !errors.As(err, &refused) {
				return nil, named(p.addr, cmd.Name, cmd.Args, err)
			}
			reply = refused
			errs = append(errs, named(p.addr, cmd.Name, cmd.Args, err))
		}
		replies[i] = reply
	}
	return replies, errors.Join(errs...)
}

// A script runs in Redis as one step. Its keys come first.
type script struct{ s *redis.Script }

func newScript(keys int, source string) script { return script{redis.NewScript(keys, source)} }

func (p *Pool) run(ctx context.Context, s script, keysAndArgs ...any) (any, error) {
	c, err := p.pool.GetContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis %s: %w", p.addr, err)
	}
	defer c.Close()
	reply, err := s.s.DoContext(ctx, c, keysAndArgs...)
	if err != nil {
		return nil, named(p.addr, "EVALSHA", keysAndArgs, err)
	}
	return reply, nil
}

// Ping says whether Redis answers.
func (p *Pool) Ping(ctx context.Context) error {
	_, err := p.Do(ctx, "PING")
	return err
}

// The readers below turn a reply into a Go value; they take the results of Do.

// Int64 reads a number.
func Int64(reply any, err error) (int64, error) { return redis.Int64(reply, err) }

// String reads a text; Nil when there is none.
func String(reply any, err error) (string, error) { return redis.String(reply, err) }

// Bytes reads bytes; Nil when there are none.
func Bytes(reply any, err error) ([]byte, error) { return redis.Bytes(reply, err) }

// Strings reads a list of texts.
func Strings(reply any, err error) ([]string, error) { return redis.Strings(reply, err) }

// StringMap reads a hash.
func StringMap(reply any, err error) (map[string]string, error) { return redis.StringMap(reply, err) }

// Int64Map reads a hash of numbers.
func Int64Map(reply any, err error) (map[string]int64, error) { return redis.Int64Map(reply, err) }
