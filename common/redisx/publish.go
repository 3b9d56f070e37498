package redisx

import (
	"context"
	"time"

	"falcon/common/failpoint"
)

// publishRules writes for the holder of a generation. 0: there is a later one. 2: the
// data are not there and have to come along.
var publishRules = newScript(3, `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[7] == '' and redis.call('EXISTS', KEYS[3]) == 0 then return 2 end
if ARGV[7] ~= '' then redis.call('SET', KEYS[3], ARGV[7]) end
redis.call('PEXPIRE', KEYS[3], ARGV[6])
local news = redis.call('HGET', KEYS[2], 'version') ~= ARGV[2]
redis.call('HMSET', KEYS[2], 'version', ARGV[2], 'book', ARGV[3], 'generation', ARGV[1], 'checked', ARGV[4], 'by', ARGV[5])
if news then redis.call('PUBLISH', KEYS[2], ARGV[2]) end
return 1`)

// RulesTTL is how long rules stay in Redis after they were last in force.
const RulesTTL = 20 * time.Minute

// Rules are the rules of a fleet as they stand in Redis.
type Rules struct {
	Version string // names the content
	Book    string // the version that judges see
	Checked int64  // Unix time at which the rows were read that say so
	By      string // who said it
}

// PublishRules says which rules are in force, for the holder of a generation of HBSLock;
// body is asked for when they are not in Redis. It reports false when there is a later
// generation: nothing was written then.
func (p *Pool) PublishRules(ctx context.Context, generation int64, r Rules, body func() []byte) (bool, error) {
	say := func(data []byte) (int64, error) {
		return Int64(p.run(ctx, publishRules, HBSGeneration, HBSBook, HBSRules(r.Version), generation, r.Version, r.Book, r.Checked, instance, RulesTTL.Milliseconds(), data))
	}
	n, err := say(nil)
	if err == nil && n == 2 {
		failpoint.Reached("hbs.asked")
		n, err = say(body())
	}
	return n == 1, err
}

// RulesInForce returns what PublishRules said last; Nil when nobody did.
func (p *Pool) RulesInForce(ctx context.Context) (Rules, error) {
	m, err := StringMap(p.Do(ctx, "HGETALL", HBSBook))
	if err != nil {
		return Rules{}, err
	}
	if m["version"] == "" {
		return Rules{}, Nil
	}
	checked, err := Int64([]byte(m["checked"]), nil)
	return Rules{Version: m["version"], Book: m["book"], Checked: checked, By: m["by"]}, err
}

// RulesBody returns the data of a version; Nil when they are gone.
func (p *Pool) RulesBody(ctx context.Context, version string) ([]byte, error) {
	return Bytes(p.Do(ctx, "GET", HBSRules(version)))
}

// RulesChanged tells every hbs that rows of the portal changed.
func (p *Pool) RulesChanged(ctx context.Context, who string) error {
	// One key and its channel: they are done in this order.
	_, err := p.Pipe(ctx, C("INCR", RulesDirty), C("PUBLISH", RulesDirty, who))
	return err
}
