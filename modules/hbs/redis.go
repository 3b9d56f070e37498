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

// leadTTL is how long the lock of the hbs that compiles lasts without it: with the look of
// the others each second, rules wait 10 seconds at most for who takes over.
const leadTTL = 9 * time.Second

// Lead runs fn while no other hbs does.
func (r *redis) Lead(ctx context.Context, fn func(ctx context.Context, generation int64) error) error {
	return r.pool.LeadFenced(ctx, redisx.HBSLock, redisx.HBSGeneration, leadTTL, fn)
}

// Publish says which rules are in force; false when another hbs leads by now.
func (r *redis) Publish(ctx context.Context, generation int64, rules redisx.Rules, body func() []byte) (bool, error) {
	return r.pool.PublishRules(ctx, generation, rules, body)
}

// InForce returns which rules were published last.
func (r *redis) InForce(ctx context.Context) (redisx.Rules, error) { return r.pool.RulesInForce(ctx) }

// Body returns rules that were published.
func (r *redis) Body(ctx context.Context, version string) ([]byte, error) {
	return r.pool.RulesBody(ctx, version)
}

// Changed tells every hbs that rows of the portal changed.
func (r *redis) Changed(ctx context.Context) error { return r.pool.RulesChanged(ctx, "hbs") }

// Watch calls fn when rules are published, and when they can be heard of again.
func (r *redis) Watch(ctx context.Context, fn func()) error {
	return r.pool.Subscribe(ctx, redisx.HBSBook, fn, func([]byte) { fn() })
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
