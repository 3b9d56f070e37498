package redisx

import (
	"context"
	"crypto/rand"
	"time"
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
