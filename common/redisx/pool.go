package redisx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Nil is the error of a reply that says there is nothing.
var Nil = redis.ErrNil

// A Pool is a Redis, or a Redis Cluster. It is safe for use by many goroutines.
type Pool struct {
	single  *node    // nil with a cluster
	cluster *cluster // nil with a single Redis
	addr    string
}

// New returns a pool for cfg. It connects when something is asked.
func New(cfg Config) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if len(cfg.Nodes) > 0 {
		cl := newCluster(&cfg)
		return &Pool{cluster: cl, addr: "cluster " + strings.Join(cl.seeds, ",")}, nil
	}
	password, addr, network := cfg.where()
	return &Pool{single: newNode(&cfg, network, addr, password), addr: addr}, nil
}

// Addr returns where the Redis is, without the password.
func (p *Pool) Addr() string { return p.addr }

// Close ends all connections.
func (p *Pool) Close() error {
	if p.cluster != nil {
		return p.cluster.close()
	}
	return p.single.pool.Close()
}

// on lets fn speak with the Redis that has key.
func (p *Pool) on(ctx context.Context, key string, fn call) (reply any, addr string, err error) {
	if p.cluster != nil {
		return p.cluster.on(ctx, key, fn)
	}
	c, err := p.single.pool.GetContext(ctx)
	if err != nil {
		return nil, p.addr, err
	}
	defer c.Close()
	reply, err = fn(c, false)
	return reply, p.addr, err
}

// dial opens a connection for one user, to any node of a cluster: each tells what is
// published at the others.
func (p *Pool) dial(ctx context.Context, read time.Duration) (redis.Conn, error) {
	if p.cluster != nil {
		return p.cluster.dial(ctx, read)
	}
	return p.single.dial(ctx, read)
}

// Do runs one command. An error names it and its key.
func (p *Pool) Do(ctx context.Context, command string, args ...any) (any, error) {
	reply, addr, err := p.on(ctx, keyOf(args), doing(ctx, command, args))
	if err != nil {
		return nil, named(addr, command, args, err)
	}
	return reply, nil
}

// doing is the call of one command.
func doing(ctx context.Context, command string, args []any) call {
	return func(c redis.Conn, asking bool) (any, error) {
		if asking {
			if err := c.Send("ASKING"); err != nil {
				return nil, err
			}
		}
		return redis.DoContext(c, ctx, command, args...)
	}
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
// those beside it are done. In a cluster the commands on one key are done in order,
// those on others at any time, and an answer that did not come is nil.
func (p *Pool) Pipe(ctx context.Context, cmds ...Cmd) ([]any, error) {
	if len(cmds) == 0 {
		return nil, nil
	}
	if p.cluster != nil {
		return p.cluster.pipe(ctx, cmds)
	}
	c, err := p.single.pool.GetContext(ctx)
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

// A script runs in Redis as one step. Its keys come first, and share a slot.
type script struct {
	*redis.Script
	keys   int
	source string
}

func newScript(keys int, source string) script {
	return script{redis.NewScript(keys, source), keys, source}
}

func (p *Pool) run(ctx context.Context, s script, keysAndArgs ...any) (any, error) {
	reply, addr, err := p.on(ctx, keyOf(keysAndArgs), func(c redis.Conn, asking bool) (any, error) {
		if asking { // which holds for one command, and the digest may need a second
			return doing(ctx, "EVAL", append([]any{s.source, s.keys}, keysAndArgs...))(c, asking)
		}
		return s.DoContext(ctx, c, keysAndArgs...)
	})
	if err != nil {
		return nil, named(addr, "EVALSHA", keysAndArgs, err)
	}
	return reply, nil
}

// Ping says whether Redis answers; of a cluster, every master.
func (p *Pool) Ping(ctx context.Context) error {
	if p.cluster != nil {
		return p.cluster.ping(ctx)
	}
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
