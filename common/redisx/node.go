package redisx

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"
)

// maxActive bounds the connections to a node; more callers wait.
const maxActive = 64

// idleTimeout is how long an unused connection is kept.
const idleTimeout = 4 * time.Minute

// A node is one Redis process.
type node struct {
	addr string
	pool *redis.Pool
	dial func(ctx context.Context, read time.Duration) (redis.Conn, error)
}

func newNode(cfg *Config, network, addr, password string) *node {
	n := &node{addr: addr}
	n.dial = func(ctx context.Context, read time.Duration) (redis.Conn, error) {
		return redis.DialContext(ctx, network, addr,
			redis.DialPassword(password), redis.DialConnectTimeout(cfg.ConnTimeout.D()),
			redis.DialReadTimeout(read), redis.DialWriteTimeout(cfg.WriteTimeout.D()))
	}
	n.pool = &redis.Pool{
		MaxIdle: cfg.MaxIdle, MaxActive: maxActive, Wait: true, IdleTimeout: idleTimeout,
		DialContext: func(ctx context.Context) (redis.Conn, error) { return n.dial(ctx, cfg.ReadTimeout.D()) },
		TestOnBorrowContext: func(ctx context.Context, c redis.Conn, used time.Time) error {
			if time.Since(used) < time.Second {
				return nil
			}
			_, err := redis.DoContext(c, ctx, "PING")
			return err
		},
	}
	return n
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
