package redisx

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// takeFork takes a lock of the fork: when it is free, when it is still the caller's, or
// when its time has passed. The value is compared and set in one step.
//
// An hbs of the fork takes a lock that lies 55 s back without writing into it, so one
// that lies nearly so far back, whose expiry was lost, is nobody's to take at once: it is
// given an expiry, and whoever comes first afterwards has it.
var takeFork = newScript(1, `
local v = redis.call('GET', KEYS[1])
local ends = v and v ~= ARGV[1] and tonumber(v)
if ends then
	local now = tonumber(ARGV[2])
	if ends >= now then return 0 end
	if now - ends > 50 then
		redis.call('SET', KEYS[1], string.format('%d', now + 5), 'EX', 10)
		return 0
	end
end
redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4])
return 1`)

const (
	// forkLockTTL is how long the fork's locks last; nobody releases them.
	forkLockTTL = 55 * time.Second
	// forkDataTTL is how long what was published lasts.
	forkDataTTL = 20 * time.Minute
	// forkChunk is how many fields of a hash are written at once.
	forkChunk = 500
)

// TakeForkLock takes the lock of a set as the fork's hbs do. mine is what the last call
// returned, when that took it: whoever has the lock may take it again. It returns what
// stands in the lock now, empty when somebody else has it.
func (p *Pool) TakeForkLock(ctx context.Context, s ForkSet, mine string) (string, error) {
	now := time.Now()
	value := strconv.FormatInt(now.Add(forkLockTTL).Unix(), 10)
	n, err := Int64(p.run(ctx, takeFork, s.Lock, mine, now.Unix(), value, int64(forkLockTTL/time.Second)))
	if err != nil || n == 0 {
		return "", err
	}
	return value, nil
}

// PublishFork writes a set under a name that was never there, makes sure that it is
// whole, and points to it. An empty set is a name without a key, which the fork reads as
// empty.
func (p *Pool) PublishFork(ctx context.Context, s ForkSet, fields map[string]string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	key := strings.ReplaceAll(s.Data, "<host>", host) + strconv.FormatInt(time.Now().UnixNano(), 10)
	args := []any{key}
	left := len(fields)
	for k, v := range fields {
		args = append(args, k, v)
		if left--; len(args) > 2*forkChunk || left == 0 {
			if _, err := p.Do(ctx, "HMSET", args...); err != nil {
				return err
			}
			args = args[:1]
		}
	}
	if len(fields) > 0 {
		if _, err := p.Do(ctx, "EXPIRE", key, int64(forkDataTTL/time.Second)); err != nil {
			return err
		}
		if n, err := Int64(p.Do(ctx, "HLEN", key)); err != nil || n != int64(len(fields)) {
			return fmt.Errorf("redis: %s has %d of %d fields and is not pointed to: %w", key, n, len(fields), err)
		}
	}
	_, err = p.Do(ctx, "SET", s.Pointer, key)
	return err
}

// ReadFork reads a set; Nil when there is none, or an empty one, which with the fork may
// mean that something went wrong.
func (p *Pool) ReadFork(ctx context.Context, s ForkSet) (map[string]string, error) {
	key, err := String(p.Do(ctx, "GET", s.Pointer))
	if err != nil {
		return nil, err
	}
	fields, err := StringMap(p.Do(ctx, "HGETALL", key))
	if err == nil && len(fields) == 0 {
		err = Nil
	}
	return fields, err
}
