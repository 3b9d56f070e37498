// Package ping is the role of a ping node: it asks hosts of its data centre, and the
// nodes of others, whether they answer (contract alerting 5.4).
//
//	targets, hosts of hbs ──┐
//	nodes of other idcs ────┴── fping, a thousand addresses each ──> icmp.ping.*
//
// Two nodes of a data centre share a lease in Redis, and its holder asks the hosts. The
// nodes of other data centres are asked by both, for the tag src tells them apart.
// Without Redis, and while it is away, both ask the hosts: graph and judge keep the first
// of two points of one series and interval.
package ping

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/run"
	"falcon/common/stat"
)

// Config is the section ping of an agent.
type Config struct {
	Enabled bool `json:"enabled"`
	// IDC is the data centre of this node: the tag src_idc.
	IDC string `json:"idc"`
	// Targets are hosts, by a name or address that is their endpoint as well, or
	// endpoint=address.
	Targets []string `json:"targets"`
	// HBS adds the hosts that hbs knows, by their names; a stock hbs does not tell them.
	HBS bool `json:"hbs"`
	// Nodes are the ping nodes by data centre, written as targets are. Those of IDC are
	// passed over, so that all nodes may have one file.
	Nodes map[string][]string `json:"nodes"`
	// Interval is how often, and the step of the points, in whole seconds.
	Interval conf.Duration `json:"interval"`
	// Count is how many packets a host gets, a second apart; it is alive when it answers
	// one.
	Count int `json:"count"`
	// Timeout is how long an answer may take.
	Timeout conf.Duration `json:"timeout"`
	// Fping is the program, a path or a name to look for.
	Fping string `json:"fping"`
	// Redis has the lease of two nodes in one data centre; without it both ask.
	Redis *redisx.Config `json:"redis,omitempty"`
}

// DefaultConfig returns the section of an agent that is no ping node.
func DefaultConfig() Config {
	return Config{Interval: conf.Duration(time.Minute), Count: 5, Timeout: conf.Duration(time.Second), Fping: "fping"}
}

// Validate reports what can not work, by key.
func (c *Config) Validate() error {
	if !c.Enabled {
		return nil
	}
	var errs []error
	idc := func(key, name string) {
		if !isName(name) {
			errs = append(errs, fmt.Errorf("ping.%s: %q is no name of a data centre, write letters and digits", key, name))
		}
	}
	idc("idc", c.IDC)
	for name, nodes := range c.Nodes {
		idc("nodes", name)
		for _, n := range nodes {
			if _, err := parse(n); err != nil {
				errs = append(errs, fmt.Errorf("ping.nodes.%s: %w", name, err))
			}
		}
	}
	for _, t := range c.Targets {
		if _, err := parse(t); err != nil {
			errs = append(errs, fmt.Errorf("ping.targets: %w", err))
		}
	}
	if !c.HBS && len(c.Targets) == 0 && len(c.Nodes) == 0 {
		errs = append(errs, errors.New(`ping: there is nobody to ask; name "targets" or "nodes", or set "hbs" to true`))
	}
	every := c.Interval.D()
	if every < time.Second || every%time.Second != 0 {
		errs = append(errs, fmt.Errorf("ping.interval: %v is not a whole number of seconds, at least 1", every))
	}
	if c.Count < 1 || c.Count > 100 {
		errs = append(errs, fmt.Errorf("ping.count: %d is not between 1 and 100", c.Count))
	}
	if t := c.Timeout.D(); t < 10*time.Millisecond || t > 10*time.Second {
		errs = append(errs, fmt.Errorf("ping.timeout: %v is not between 10ms and 10s", t))
	} else if need := c.took(); c.Count >= 1 && need >= every {
		errs = append(errs, fmt.Errorf("ping.count: %d packets take %v, which is not less than ping.interval, %v", c.Count, need, every))
	}
	if c.Fping == "" {
		errs = append(errs, errors.New(`ping.fping: name the program, such as "fping"`))
	}
	if c.Redis != nil {
		if err := c.Redis.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("ping.redis: %w", err))
		}
	}
	return errors.Join(errs...)
}

// took is how long one host takes when it does not answer.
func (c *Config) took() time.Duration {
	return time.Duration(c.Count-1)*period + c.Timeout.D()
}

// A Target is who is asked, and as which endpoint the answer is sent.
type Target struct{ Endpoint, Address string }

// isName reports whether s may be handed to fping, and stand in a tag.
func isName(s string) bool { return len(s) <= maxName && nameForm.MatchString(s) }

var nameForm = regexp.MustCompile(`^[A-Za-z0-9:_][A-Za-z0-9_.:%-]*$`)

// maxName is how long the name of a host may be.
const maxName = 253

// parse reads a name or endpoint=address.
func parse(s string) (Target, error) {
	endpoint, address, ok := strings.Cut(s, "=")
	if !ok {
		address = endpoint
	}
	if !isName(endpoint) || !isName(address) {
		return Target{}, fmt.Errorf("%q is neither a host nor endpoint=address", s)
	}
	return Target{endpoint, address}, nil
}

// Options are the neighbours of a Pinger; all are required.
type Options struct {
	Endpoint string // of this node: the tag src
	Log      *slog.Logger
	Now      func() time.Time
	// Take takes the items of a round; refused is "" or says in words what was not taken.
	Take func(items []*model.MetricValue) (taken int, refused string)
}

// A Pinger asks hosts and nodes.
type Pinger struct {
	Options
	cfg     Config
	redis   *redisx.Pool // nil without one
	standby atomic.Bool  // another node of this data centre has the lease
	ttl     time.Duration
	was     string // what was wrong in the last round

	rounds *stat.Counter
	failed *stat.Counter
	lost   *stat.Reasons

	mu    sync.Mutex
	hosts map[string]time.Time // of hbs, and when it named them last
}

// Reasons for which a target of a round has no points.
const (
	ReasonUnresolved = "unresolved" // its name has no address
	ReasonLate       = "late"       // the round was over before it was asked
	ReasonName       = "bad_name"   // hbs knows it by a name that no host can have
)

// New returns a Pinger. It opens nothing.
func New(cfg Config, o Options, s *stat.Set) (*Pinger, error) {
	p := &Pinger{
		Options: o, cfg: cfg, ttl: leaseTTL, hosts: map[string]time.Time{},
		rounds: s.Counter("PingCnt", "ping_rounds_total", "Rounds in which hosts were pinged."),
		failed: s.Counter("PingErrorCnt", "ping_errors_total", "Rounds of which something failed."),
		lost:   s.Reasons("PingDropCnt", "ping_unasked_total", "Hosts that have no points of a round, by reason."),
	}
	if cfg.Enabled && cfg.Redis != nil {
		var err error
		if p.redis, err = redisx.New(*cfg.Redis); err != nil {
			return nil, fmt.Errorf("ping.redis: %w", err)
		}
	}
	return p, nil
}

// forgetAfter is how long a host is pinged that hbs does not name any more: hbs forgets
// the dead when it starts anew, and those are whom a ping is for.
const forgetAfter = 24 * time.Hour

// Hosts adds the hosts that hbs knows.
func (p *Pinger) Hosts(names []string) {
	now := p.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range names {
		if !isName(n) {
			p.lost.Add(ReasonName, 1)
			continue
		}
		p.hosts[n] = now
	}
	maps.DeleteFunc(p.hosts, func(_ string, at time.Time) bool { return now.Sub(at) > forgetAfter })
}

// Known returns the hosts of hbs that are pinged, sorted.
func (p *Pinger) Known() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.hosts))
}

// An ask is a target, and the tags of its points.
type ask struct {
	Target
	tags string
}

// asks returns whom a round asks: hosts, unless another node does, and nodes of other
// data centres.
func (p *Pinger) asks() []ask {
	var out []ask
	seen := map[string]bool{}
	add := func(t Target, tags map[string]string) {
		a := ask{t, model.SortedTags(tags)}
		if !seen[a.Endpoint+"/"+a.tags] {
			seen[a.Endpoint+"/"+a.tags] = true
			out = append(out, a)
		}
	}
	if !p.standby.Load() {
		tags := map[string]string{"src_idc": p.cfg.IDC}
		for _, s := range p.cfg.Targets {
			if t, err := parse(s); err == nil {
				add(t, tags)
			}
		}
		for _, h := range p.Known() {
			add(Target{h, h}, tags)
		}
	}
	for _, idc := range slices.Sorted(maps.Keys(p.cfg.Nodes)) {
		if idc == p.cfg.IDC {
			continue
		}
		for _, s := range p.cfg.Nodes[idc] {
			if t, err := parse(s); err == nil {
				add(t, map[string]string{"src_idc": p.cfg.IDC, "src": p.Endpoint, "dst_idc": idc})
			}
		}
	}
	return out
}

// Run asks each Interval until ctx ends.
func (p *Pinger) Run(ctx context.Context) error {
	g := run.New(ctx)
	if p.redis != nil {
		defer p.redis.Close()
		g.Go("lease", p.lease)
	}
	g.Go("ping", func(ctx context.Context) error {
		for {
			if !run.Sleep(ctx, p.pause()) {
				return nil
			}
			p.round(ctx)
		}
	})
	return g.Wait()
}

// pause returns how long it is to this node's moment within the interval.
func (p *Pinger) pause() time.Duration {
	every, now := p.cfg.Interval.D(), p.Now()
	next := now.Truncate(every).Add(time.Duration(crc32.ChecksumIEEE([]byte(p.Endpoint))) * time.Millisecond % every)
	if !next.After(now) {
		next = next.Add(every)
	}
	return next.Sub(now)
}

// leaseTTL is within which time another node takes over from one that has died.
const leaseTTL = 30 * time.Second

// lease holds the lease of this data centre, or waits for it. While Redis does not
// answer this node asks: two points of a series are better than none.
func (p *Pinger) lease(ctx context.Context) error {
	var held *redisx.Lock
	for {
		var err error
		ok := held != nil
		if ok {
			if ok, err = held.Renew(ctx); err == nil && !ok {
				held = nil
			}
		}
		if held == nil {
			held, err = p.redis.TryLock(ctx, redisx.PingNode(p.cfg.IDC), p.ttl)
		}
		if standby := held == nil && err == nil; p.standby.Swap(standby) != standby {
			p.Log.Info("hosts are pinged by this node or another of its data centre", "idc", p.cfg.IDC, "standby", standby)
		}
		if !run.Sleep(ctx, p.ttl/4) {
			break
		}
	}
	if held != nil {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = held.Release(after) // it ends by itself as well
	}
	return nil
}

// round asks everybody once and sends on what they answer.
func (p *Pinger) round(ctx context.Context) {
	at := p.Now().Unix()
	asks := p.asks()
	if len(asks) == 0 {
		return
	}
	p.rounds.Add(1)
	limited, cancel := context.WithTimeout(ctx, p.cfg.Interval.D()-p.cfg.Interval.D()/20)
	defer cancel()
	answers, err := p.ask(limited, asks)
	if ctx.Err() != nil {
		return
	}
	var items []*model.MetricValue
	unresolved := 0
	for _, a := range asks {
		r, ok := answers[a.Address]
		switch {
		case ok:
			items = append(items, p.items(a, r, at)...)
		case limited.Err() != nil:
			p.lost.Add(ReasonLate, 1)
		case err == nil:
			unresolved++
		}
	}
	p.lost.Add(ReasonUnresolved, unresolved)
	_, refused := p.Take(items)
	trouble := refused
	switch {
	case limited.Err() != nil:
		trouble = fmt.Sprintf("%d of %d hosts were asked before the round was over; give it more nodes or a longer ping.interval", len(answers), len(asks))
	case err != nil:
		trouble = err.Error()
	case unresolved > 0:
		trouble = cmp.Or(trouble, fmt.Sprintf("the names of %d hosts have no address; write endpoint=address", unresolved))
	}
	if trouble != "" {
		p.failed.Add(1)
	}
	if trouble != p.was && trouble != "" {
		p.Log.Warn("ping", "err", trouble)
	}
	p.was = trouble
}

// items are the points of one answer: msec only of a host that is alive.
func (p *Pinger) items(a ask, r Answer, at int64) []*model.MetricValue {
	item := func(metric string, v float64) *model.MetricValue {
		return &model.MetricValue{Endpoint: a.Endpoint, Metric: metric, Value: v, Step: int64(p.cfg.Interval.D() / time.Second), Type: model.Gauge, Tags: a.tags, Timestamp: at}
	}
	loss := 100 * float64(r.Sent-r.Received) / float64(r.Sent)
	if r.Received == 0 {
		return []*model.MetricValue{item("icmp.ping.alive", 0), item("icmp.ping.loss", loss)}
	}
	return []*model.MetricValue{item("icmp.ping.alive", 1), item("icmp.ping.msec", r.Msec), item("icmp.ping.loss", loss)}
}
