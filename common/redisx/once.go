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
// before; it reports whether it did. seen is forgotten after ttl.
func (p *Pool) PushOnce(ctx context.Context, list, seen string, ttl time.Duration, payload []byte) (bool, error) {
	n, err := Int64(p.run(ctx, pushOnce, list, seen, int64(ttl/time.Second), payload))
	return n == 1, err
}

// Epoch says which memory Redis has: a name that stays as long as nothing was lost.
// A Redis without one gets one, and made says so.
func (p *Pool) Epoch(ctx context.Context) (epoch string, made bool, err error) {
	name := rand.Text()
	set, err := p.Do(ctx, "SET", Epoch, name, "NX")
	if err != nil {
		return "", false, err
	}
	if set != nil {
		return name, true, nil
	}
	epoch, err = String(p.Do(ctx, "GET", Epoch))
	return epoch, false, err
}
