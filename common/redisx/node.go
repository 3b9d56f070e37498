package redisx

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"falcon/common/dialer"
)

// maxActive bounds the connections to a node; more callers wait.
const maxActive = 64

// idleTimeout is how long an unused connection is kept.
const idleTimeout = 4 * time.Minute

// pingTimeout is for how long a connection that was not used for a while is tried.
const pingTimeout = time.Second

// errSilent is of a connection that is not tried: another one was, in vain.
var errSilent = errors.New("redis was silent")

// A node is one Redis process.
type node struct {
	addr string
	pool *redis.Pool
	dial func(ctx context.Context, read time.Duration) (redis.Conn, error)

	// silent is when a connection was tried in vain, in nanoseconds. Those that were used last
	// before that are likely to be dead, too, and each would take its time to say so.
	silent atomic.Int64
}

func newNode(cfg *Config, network, addr, password string) *node {
	n := &node{addr: addr}
	n.dial = func(ctx context.Context, read time.Duration) (redis.Conn, error) {
		return redis.DialContext(ctx, network, addr,
			redis.DialPassword(password), redis.DialContextFunc(dialer.New(cfg.ConnTimeout.D()).DialContext),
			redis.DialReadTimeout(read), redis.DialWriteTimeout(cfg.WriteTimeout.D()))
	}
	n.pool = &redis.Pool{
		MaxIdle: cfg.MaxIdle, MaxActive: maxActive, Wait: true, IdleTimeout: idleTimeout,
		DialContext:  func(ctx context.Context) (redis.Conn, error) { return n.dial(ctx, cfg.ReadTimeout.D()) },
		TestOnBorrow: n.test,
	}
	return n
}

// test tries a connection that was not used for a while.
func (n *node) test(c redis.Conn, used time.Time) error {
	if time.Since(used) < time.Second {
		return nil
	}
	if used.UnixNano() < n.silent.Load() {
		return errSilent
	}
	_, err := redis.DoWithTimeout(c, pingTimeout, "PING")
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		n.silent.Store(time.Now().UnixNano())
	}
	return err
}

// life names the process; empty when it does not say.
func (n *node) life(ctx context.Context) (string, error) {
	info, err := redis.String(n.do(ctx, "INFO", "server"))
	if refused := redis.Error(""); errors.As(err, &refused) && !strings.HasPrefix(string(refused), "LOADING") {
		return "", nil
	}
	if err != nil {
		return "", named(n.addr, "INFO", nil, err)
	}
	_, rest, _ := strings.Cut(info, "run_id:")
	id, _, _ := strings.Cut(rest, "\r\n")
	return id, nil
}

// do runs one command on the node itself.
func (n *node) do(ctx context.Context, command string, args ...any) (any, error) {
	c, err := n.pool.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return redis.DoContext(c, ctx, command, args...)
}
