package redisx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"falcon/common/failpoint"
	"falcon/common/run"
)

// leaseTTL is how long a consumer may be silent before others take its work.
const leaseTTL = 10 * time.Second

var (
	// sweep gives what a dead consumer had in flight back to the tail of its list,
	// where the oldest is taken first again.
	sweep = newScript(4, `
if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
local n = 0
while true do
	local v = redis.call('LPOP', KEYS[2])
	if not v then break end
	redis.call('RPUSH', KEYS[1], v)
	n = n + 1
end
redis.call('SREM', KEYS[4], ARGV[1])
return n`)
	giveBack = newScript(2, `
if redis.call('LREM', KEYS[2], 1, ARGV[1]) == 1 then
	redis.call('RPUSH', KEYS[1], ARGV[1])
	return 1
end
return 0`)
)

// A Queue takes elements from lists in the order of the lists. What it takes stands in
// a list of its own until it is done, so that a consumer that dies loses nothing:
// others give its elements back once its lease has run out. An element may so be
// taken twice.
type Queue struct {
	pool     *Pool
	lists    []string
	consumer string
}

// An Element was taken and has to be done, or given back.
type Element struct {
	List    string
	Payload []byte
}

// NewQueue returns a queue over lists, the most urgent first, for a consumer whose
// name is its own: one that is started again has another. Run must run while it is
// used.
func (p *Pool) NewQueue(consumer string, lists ...string) *Queue {
	return &Queue{pool: p, lists: lists, consumer: consumer}
}

// Announce takes the leases; nothing may be popped before.
func (q *Queue) Announce(ctx context.Context) error {
	cmds := make([]Cmd, 0, 2*len(q.lists))
	for _, l := range q.lists {
		cmds = append(cmds, C("SET", Lease(l, q.consumer), "1", "PX", leaseTTL.Milliseconds()), C("SADD", Consumers(l), q.consumer))
	}
	_, err := q.pool.Pipe(ctx, cmds...)
	return err
}

// Run renews the leases and sweeps after dead consumers until ctx ends. Redis being
// away is no error; swept hears what was given back.
func (q *Queue) Run(ctx context.Context, swept func(consumer string, n int)) error {
	for {
		if err := q.Announce(ctx); err == nil {
			_ = q.Sweep(ctx, swept) // tried again in a moment
		}
		if !run.Sleep(ctx, leaseTTL/4) {
			return nil
		}
	}
}

// Len returns how many elements wait in each list.
func (q *Queue) Len(ctx context.Context) ([]int, error) {
	cmds := make([]Cmd, len(q.lists))
	for i, l := range q.lists {
		cmds[i] = C("LLEN", l)
	}
	replies, err := q.pool.Pipe(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	lens := make([]int, len(replies))
	for i, r := range replies {
		if lens[i], err = redis.Int(r, nil); err != nil {
			return nil, err
		}
	}
	return lens, nil
}

// Pop takes up to n elements, those of earlier lists first. Lists that are empty cost
// one round trip together. Whoever has elements in flight is among the consumers of their
// list, also when Redis has forgotten that: else nobody would give them back.
func (q *Queue) Pop(ctx context.Context, n int) ([]Element, error) {
	lens, err := q.Len(ctx)
	if err != nil {
		return nil, err
	}
	var cmds []Cmd
	var from []string
	for i, l := range q.lists {
		take := min(lens[i], n)
		if take <= 0 {
			continue
		}
		n -= take
		cmds, from = append(cmds, C("SADD", Consumers(l), q.consumer)), append(from, "")
		for range take {
			cmds, from = append(cmds, C("RPOPLPUSH", l, Inflight(l, q.consumer))), append(from, l)
		}
	}
	replies, err := q.pool.Pipe(ctx, cmds...)
	var out []Element
	for i, r := range replies {
		if b, ok := r.([]byte); ok {
			out = append(out, Element{from[i], b})
		}
	}
	return out, err
}

// Done removes elements whose work is finished. They are looked for from the oldest on.
func (q *Queue) Done(ctx context.Context, elements ...Element) error {
	cmds := make([]Cmd, len(elements))
	for i, e := range elements {
		cmds[i] = C("LREM", Inflight(e.List, q.consumer), -1, e.Payload)
	}
	_, err := q.pool.Pipe(ctx, cmds...)
	return err
}

// A Moved element goes to another list.
type Moved struct {
	Element
	To   string
	With []byte // in the place of the payload
	Max  int    // when not 0, To keeps so many elements, the newest
}

// Move puts elements at the heads of other lists, in order, and then removes them: a
// crash in between leaves both.
func (q *Queue) Move(ctx context.Context, elements ...Moved) error {
	var cmds []Cmd
	done := make([]Element, len(elements))
	for i, e := range elements {
		cmds, done[i] = append(cmds, C("LPUSH", e.To, e.With)), e.Element
		if e.Max > 0 {
			cmds = append(cmds, C("LTRIM", e.To, 0, e.Max-1))
		}
	}
	if _, err := q.pool.Pipe(ctx, cmds...); err != nil {
		return err
	}
	failpoint.Reached("queue.moved")
	return q.Done(ctx, done...)
}

// GiveBack puts elements where they were taken from, to be taken next. They are given
// in the order in which they were popped.
func (q *Queue) GiveBack(ctx context.Context, elements ...Element) error {
	var errs []error
	for i := len(elements) - 1; i >= 0; i-- {
		e := elements[i]
		_, err := q.pool.run(ctx, giveBack, e.List, Inflight(e.List, q.consumer), e.Payload)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// InFlight returns what the consumer has taken and not finished, the oldest of each list
// first.
func (q *Queue) InFlight(ctx context.Context) ([]Element, error) {
	var all []Element
	for _, l := range q.lists {
		payloads, err := redis.ByteSlices(q.pool.Do(ctx, "LRANGE", Inflight(l, q.consumer), 0, -1))
		if err != nil {
			return nil, err
		}
		for i := len(payloads) - 1; i >= 0; i-- {
			all = append(all, Element{l, payloads[i]})
		}
	}
	return all, nil
}

// Sweep gives back what dead consumers had in flight.
func (q *Queue) Sweep(ctx context.Context, swept func(consumer string, n int)) error {
	for _, l := range q.lists {
		names, err := Strings(q.pool.Do(ctx, "SMEMBERS", Consumers(l)))
		if err != nil {
			return err
		}
		for _, name := range names {
			if name == q.consumer {
				continue
			}
			n, err := redis.Int(q.pool.run(ctx, sweep, l, Inflight(l, name), Lease(l, name), Consumers(l), name))
			if err != nil {
				return fmt.Errorf("sweep after %s: %w", name, err)
			}
			if n > 0 && swept != nil {
				swept(name, n)
			}
		}
	}
	return nil
}

// TakeOver gives back what all other consumers had in flight, the living too. It is
// for lists whose only consumer holds a lock: who has the lock now is alone.
func (q *Queue) TakeOver(ctx context.Context, swept func(consumer string, n int)) error {
	for _, l := range q.lists {
		names, err := Strings(q.pool.Do(ctx, "SMEMBERS", Consumers(l)))
		if err != nil {
			return err
		}
		for _, name := range names {
			if name == q.consumer {
				continue
			}
			if _, err := q.pool.Do(ctx, "DEL", Lease(l, name)); err != nil {
				return err
			}
			n, err := redis.Int(q.pool.run(ctx, sweep, l, Inflight(l, name), Lease(l, name), Consumers(l), name))
			if err != nil {
				return fmt.Errorf("take over from %s: %w", name, err)
			}
			if n > 0 && swept != nil {
				swept(name, n)
			}
		}
	}
	return nil
}

// Resign gives everything back and ends the leases: the consumer stops in order.
func (q *Queue) Resign(ctx context.Context) error {
	var errs []error
	for _, l := range q.lists {
		if _, err := q.pool.Do(ctx, "DEL", Lease(l, q.consumer)); err != nil {
			errs = append(errs, err)
			continue
		}
		_, err := q.pool.run(ctx, sweep, l, Inflight(l, q.consumer), Lease(l, q.consumer), Consumers(l), q.consumer)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
