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

// Epoch says which memory Redis has: a name that stays as long as nothing was lost.
// A Redis without one gets one, and made says so. A cluster has another one, too, when
// a master was started again or has another node in its place.
func (p *Pool) Epoch(ctx context.Context) (epoch string, made bool, err error) {
	epoch = rand.Text()
	set, err := p.Do(ctx, "SET", Epoch, epoch, "NX")
	if made = set != nil; err == nil && !made {
		epoch, err = String(p.Do(ctx, "GET", Epoch))
	}
	if err == nil && p.cluster != nil {
		var memory string
		memory, err = p.cluster.memory(ctx)
		epoch += "/" + memory
	}
	if err != nil {
		return "", false, err
	}
	return epoch, made, nil
}
