package redisx

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// An upgrade of agents in Redis: its order in UpgradeArgs, how far it is in UpgradeWave,
// what became of each host in UpgradeHosts, and who holds a place for downloading in
// UpgradeSet and UpgradeDue. A host's entry is "state|unix|tries|text".

// UpgradeHost is what became of a host.
type UpgradeHost struct {
	State string
	At    int64 // Unix seconds of the last news
	Tries int   // how often it was ordered
	Text  string
}

func parseUpgradeHost(s string) UpgradeHost {
	f := strings.SplitN(s, "|", 4)
	if len(f) < 4 {
		return UpgradeHost{}
	}
	at, _ := strconv.ParseInt(f[1], 10, 64) // a broken one is very old
	tries, _ := strconv.Atoi(f[2])
	return UpgradeHost{f[0], at, tries, f[3]}
}

// What TakeUpgrade answers.
const (
	UpgradeGo      = "go"      // order it
	UpgradeHas     = "has"     // it holds a place since an earlier order
	UpgradeQueue   = "queue"   // all places are taken
	UpgradeStep    = "step"    // it is not yet its turn
	UpgradeBackoff = "backoff" // it failed, and rests
	UpgradeOver    = "over"    // it was ordered often enough
	UpgradeStopped = "stopped" // nobody is ordered
)

var (
	// In the wave: id, state, limit and ordered are looked at here, the rest is the
	// caller's. The places of those who are overdue are given back first, so that the set
	// never counts the dead.
	takeUpgrade = newScript(4, `
if redis.call('HGET', KEYS[3], 'id') ~= ARGV[5] or redis.call('HGET', KEYS[3], 'state') ~= 'running' then return 'stopped' end
local now = tonumber(ARGV[2])
for _, h in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
	redis.call('SREM', KEYS[1], h)
	redis.call('ZREM', KEYS[2], h)
end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 'has' end
local entry = redis.call('HGET', KEYS[4], ARGV[1])
local tries, first = 0, true
if entry then
	local state, at, n = string.match(entry, '^(%a+)|(%d+)|(%d+)|')
	if state and state ~= 'left' then
		first = false
		tries = tonumber(n)
		if tries >= tonumber(ARGV[6]) then
			if state ~= 'failed' then
				redis.call('HSET', KEYS[4], ARGV[1], 'failed|' .. ARGV[2] .. '|' .. n .. '|it does not upgrade, after ' .. n .. ' orders')
			end
			return 'over'
		end
		if state == 'failed' and now < tonumber(at) + tonumber(ARGV[7]) * 2 ^ (math.max(tries, 1) - 1) then return 'backoff' end
	end
end
if first and tonumber(redis.call('HGET', KEYS[3], 'ordered') or '0') >= tonumber(redis.call('HGET', KEYS[3], 'limit') or '0') then return 'step' end
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 'queue' end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], string.format('ordered|%d|%d|', now, tries + 1))
if first then redis.call('HINCRBY', KEYS[3], 'ordered', 1) end
redis.call('HSET', KEYS[3], 'last', ARGV[2])
return 'go'`)

	// What is not under way can not end, and what was never ordered is no news: only left
	// makes an entry.
	noteUpgrade = newScript(4, `
if redis.call('HGET', KEYS[3], 'id') ~= ARGV[2] then return 0 end
local entry = redis.call('HGET', KEYS[4], ARGV[1])
local state, tries = nil, 0
if entry then
	local s, _, n = string.match(entry, '^(%a+)|(%d+)|(%d+)|')
	state, tries = s, tonumber(n or 0)
end
if ARGV[3] == 'upgrading' then
	if not state or state == 'left' then return 0 end
	if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then redis.call('ZADD', KEYS[2], 'XX', tonumber(ARGV[4]) + tonumber(ARGV[6]), ARGV[1]) end
	if state == 'upgrading' then return 0 end
else
	redis.call('SREM', KEYS[1], ARGV[1])
	redis.call('ZREM', KEYS[2], ARGV[1])
	if ARGV[3] == 'left' then
		if state and state ~= 'left' then return 0 end
	elseif not state or state == 'left' or state == ARGV[3] then
		return 0
	end
end
redis.call('HSET', KEYS[4], ARGV[1], string.format('%s|%d|%d|', ARGV[3], ARGV[4], tries) .. ARGV[5])
return 1`)

	beginUpgrade = newScript(4, `
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
for i = 1, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i+1]) end
return 1`)

	// changeWave writes fields when the wave is as the caller saw it.
	changeWave = newScript(1, `
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'rev') ~= ARGV[2] then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i+1]) end
redis.call('HINCRBY', KEYS[1], 'rev', 1)
return 1`)

	// retryUpgrade lets those who failed be ordered again at once.
	retryUpgrade = newScript(2, `
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
local all, n = redis.call('HGETALL', KEYS[2]), 0
for i = 1, #all, 2 do
	local text = string.match(all[i+1], '^failed|%d+|%d+|(.*)$')
	if text then
		redis.call('HSET', KEYS[2], all[i], 'again|0|0|' .. text)
		n = n + 1
	end
end
return n`)
)

// An UpgradeLimit bounds the orders of upgrades.
type UpgradeLimit struct {
	Queue   int           // hosts that upgrade at the same time
	Expire  time.Duration // after which a host without news gives its place back
	Tries   int           // orders to one host
	Backoff time.Duration // after the first failure; twice as long after each further one
}

// TakeUpgrade takes a place for a host in the upgrade id, if it is its turn, in one step
// for all hbs together; see the Upgrade constants.
func (p *Pool) TakeUpgrade(ctx context.Context, id, host string, l UpgradeLimit, now time.Time) (string, error) {
	return String(p.run(ctx, takeUpgrade, UpgradeSet, UpgradeDue, UpgradeWave, UpgradeHosts,
		host, now.Unix(), int64(l.Expire/time.Second), l.Queue, id, l.Tries, int64(l.Backoff/time.Second)))
}

// NoteUpgrade writes what became of a host. State upgrading makes its place last for
// expire from now; any other gives the place back. It reports whether that is news.
func (p *Pool) NoteUpgrade(ctx context.Context, id, host, state, text string, expire time.Duration, now time.Time) (bool, error) {
	n, err := Int64(p.run(ctx, noteUpgrade, UpgradeSet, UpgradeDue, UpgradeWave, UpgradeHosts, host, id, state, now.Unix(), text, int64(expire/time.Second)))
	return n == 1, err
}

// BeginUpgrade puts an order in force in the place of any other, with the first state
// of its wave.
func (p *Pool) BeginUpgrade(ctx context.Context, order string, wave map[string]string) error {
	args := []any{UpgradeSet, UpgradeDue, UpgradeWave, UpgradeHosts}
	for k, v := range wave {
		args = append(args, k, v)
	}
	if _, err := p.run(ctx, beginUpgrade, args...); err != nil {
		return err
	}
	_, err := p.Do(ctx, "SET", UpgradeArgs, order)
	return err
}

// CancelUpgrade forgets the order, so that nobody is ordered any more. What became of
// hosts goes as well.
func (p *Pool) CancelUpgrade(ctx context.Context) error {
	if _, err := p.Do(ctx, "DEL", UpgradeArgs); err != nil {
		return err
	}
	_, err := p.run(ctx, beginUpgrade, UpgradeSet, UpgradeDue, UpgradeWave, UpgradeHosts)
	return err
}

// Upgrade returns the order and its wave; Nil when there is none.
func (p *Pool) Upgrade(ctx context.Context) (order []byte, wave map[string]string, err error) {
	if order, err = Bytes(p.Do(ctx, "GET", UpgradeArgs)); err != nil {
		return nil, nil, err
	}
	wave, err = StringMap(p.Do(ctx, "HGETALL", UpgradeWave))
	return order, wave, err
}

// ChangeWave writes fields of the wave id unless somebody changed it since it had the
// revision rev, and reports whether it did.
func (p *Pool) ChangeWave(ctx context.Context, id, rev string, fields map[string]string) (bool, error) {
	args := []any{UpgradeWave, id, rev}
	for k, v := range fields {
		args = append(args, k, v)
	}
	n, err := Int64(p.run(ctx, changeWave, args...))
	return n == 1, err
}

// RetryUpgrades lets the hosts that failed be ordered again, and returns how many.
func (p *Pool) RetryUpgrades(ctx context.Context, id string) (int64, error) {
	return Int64(p.run(ctx, retryUpgrade, UpgradeWave, UpgradeHosts, id))
}

// UpgradeHostsOf returns what became of all hosts that are not simply waiting.
func (p *Pool) UpgradeHostsOf(ctx context.Context) (map[string]UpgradeHost, error) {
	m, err := StringMap(p.Do(ctx, "HGETALL", UpgradeHosts))
	if err != nil {
		return nil, err
	}
	all := make(map[string]UpgradeHost, len(m))
	for name, text := range m {
		all[name] = parseUpgradeHost(text)
	}
	return all, nil
}
