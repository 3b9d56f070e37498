package redisx

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// The push comes first: one that fails, on a key that is no list, leaves nothing seen.
var pushOnce = newScript(2, `
if redis.call('EXISTS', KEYS[2]) == 1 then
	return 0
end
redis.call('LPUSH', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])
return 1`)

// PushOnce puts payload at the head of list unless seen says that it was put there
// before, in the memory that the caller knows as epoch; it reports whether it did. seen
// is forgotten after ttl.
//
// A single Redis forgets an element and that it was seen together. In a cluster the
// element may have gone on to another node, and only that one lose its memory: there
// what was seen counts within one epoch.
func (p *Pool) PushOnce(ctx context.Context, list, seen, epoch string, ttl time.Duration, payload []byte) (bool, error) {
	if p.cluster != nil {
		seen += ":" + epoch
	}
	n, err := Int64(p.run(ctx, pushOnce, list, seen, int64(ttl/time.Second), payload))
	return n == 1, err
}

// reserve is the part of Redis' maxmemory that is left to those who take elements out, in
// percent: at the bound Redis refuses them, too, since each move and each lock is a write.
const reserve = 10

// Room says that the Redis that has list should be given no more elements, since its memory
// is nearly full; nil when it has room, no bound, or does not say.
func (p *Pool) Room(ctx context.Context, list string) error {
	reply, addr, err := p.on(ctx, list, func(c redis.Conn, _ bool) (any, error) { return redis.DoContext(c, ctx, "INFO", "memory") })
	info, err := String(reply, err)
	if err != nil {
		return nil // the push will tell
	}
	var used, most int64
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_memory":
			used, _ = strconv.ParseInt(value, 10, 64) // 0 when it is none
		case "maxmemory":
			most, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	if most > 0 && used > most-most*reserve/100 {
		return fmt.Errorf("redis %s has %d MB of its maxmemory of %d MB in use, the rest is for those who take out: start alarms, or give it more", addr, used>>20, most>>20)
	}
	return nil
}

// A Memory is what Redis has of what it was given.
type Memory struct {
	// Epoch is a name that stays until everything is lost. A cluster has another one, too, when
	// a master was started again or has another node in its place.
	Epoch string
	// Life is another name each time that Redis was started again, when it may have lost what it
	// was given last: its append-only file is two seconds behind at most. Empty when it does not
	// say.
	Life string
	New  bool // Redis had no epoch before
}

// Memory says which memory Redis has.
func (p *Pool) Memory(ctx context.Context) (Memory, error) {
	m := Memory{Epoch: rand.Text()}
	set, err := p.Do(ctx, "SET", Epoch, m.Epoch, "NX")
	if m.New = set != nil; err == nil && !m.New {
		m.Epoch, err = String(p.Do(ctx, "GET", Epoch))
	}
	if err != nil {
		return Memory{}, err
	}
	if p.cluster == nil {
		m.Life, err = p.single.life(ctx)
	} else if m.Life, err = p.cluster.life(ctx); err == nil {
		m.Epoch += "/" + m.Life
	}
	if err != nil {
		return Memory{}, err
	}
	return m, nil
}
