package hbs

import (
	"context"
	"log/slog"
	"os"
	"time"

	"falcon/common/redisx"
)

// redis is what hbs keeps in Redis.
type redis struct {
	pool *redisx.Pool
	lock *redisx.Lock // of the checker, when this hbs holds it
}

// SaveHeartbeats writes the times of heartbeats in one go.
func (r *redis) SaveHeartbeats(ctx context.Context, beats map[string]int64) error {
	args := make([]any, 1, 1+2*len(beats))
	args[0] = redisx.Heartbeats
	for host, at := range beats {
		args = append(args, host, at)
	}
	_, err := r.pool.Do(ctx, "HSET", args...)
	return err
}

// Heartbeats reads the times of all hosts.
func (r *redis) Heartbeats(ctx context.Context) (map[string]int64, error) {
	return redisx.Int64Map(r.pool.Do(ctx, "HGETALL", redisx.Heartbeats))
}

// DropHeartbeats forgets hosts.
func (r *redis) DropHeartbeats(ctx context.Context, hosts []string) error {
	args := make([]any, 1, 1+len(hosts))
	args[0] = redisx.Heartbeats
	for _, h := range hosts {
		args = append(args, h)
	}
	_, err := r.pool.Do(ctx, "HDEL", args...)
	return err
}

// Lease takes or renews the lock of the checker.
func (r *redis) Lease(ctx context.Context, ttl time.Duration) (bool, error) {
	if r.lock != nil {
		if ok, err := r.lock.Renew(ctx); ok || err != nil {
			return ok, err
		}
	}
	var err error
	r.lock, err = r.pool.TryLock(ctx, redisx.HBSLiveness, ttl)
	return r.lock != nil, err
}

// watch calls touch when api says that the rules changed, and each time that Redis
// can be heard again after it was not.
func (r *redis) watch(ctx context.Context, touch func(), log *slog.Logger) error {
	first := true
	return r.pool.Subscribe(ctx, redisx.RulesDirty, func() {
		if !first {
			log.Info("redis can be heard again")
		}
		first = false
		touch()
	}, func([]byte) { touch() })
}

// hostname names this host in hbs's own points.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "hbs"
	}
	return name
}
