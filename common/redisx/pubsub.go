package redisx

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"

	"falcon/common/run"
)

// Subscribe calls fn with each message of a channel until ctx ends. While Redis is
// away messages are missed; stands is called each time the subscription stands (again),
// so that whoever needs to can look for what it missed.
func (p *Pool) Subscribe(ctx context.Context, channel string, stands func(), fn func(message []byte)) error {
	pause := 100 * time.Millisecond
	for {
		if p.subscribe(ctx, channel, func() { pause = 100 * time.Millisecond; stands() }, fn) == nil {
			return nil
		}
		if !run.Sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// pingEvery is how often an idle subscription is asked whether it is alive.
const pingEvery = 10 * time.Second

func (p *Pool) subscribe(ctx context.Context, channel string, stands func(), fn func([]byte)) error {
	c, err := p.dial(ctx, 2*pingEvery)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	sub := redis.PubSubConn{Conn: c}
	if err := sub.Subscribe(channel); err != nil {
		return err
	}
	g := run.New(ctx)
	g.Go("ping", func(ctx context.Context) error {
		for run.Sleep(ctx, pingEvery) {
			if err := sub.Ping(""); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go("receive", func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { c.Close() })
		for {
			switch m := sub.Receive().(type) {
			case redis.Subscription:
				stands()
			case redis.Message:
				fn(m.Data)
			case error:
				if ctx.Err() != nil {
					return nil
				}
				return m
			}
		}
	})
	err = g.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}
