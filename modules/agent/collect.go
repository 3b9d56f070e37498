package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/run"
	"falcon/modules/agent/collect"
	"falcon/modules/agent/collect/coredump"
	"falcon/modules/agent/collect/cpu"
	"falcon/modules/agent/collect/df"
	"falcon/modules/agent/collect/disk"
	"falcon/modules/agent/collect/gpu"
	"falcon/modules/agent/collect/kernel"
	"falcon/modules/agent/collect/load"
	"falcon/modules/agent/collect/mem"
	"falcon/modules/agent/collect/netif"
	"falcon/modules/agent/collect/netstat"
	"falcon/modules/agent/collect/ntp"
	"falcon/modules/agent/collect/sockstat"
	"falcon/modules/agent/collect/uptime"
)

// collectors returns what is looked at, each with its level of importance (contract
// ingest 3.6).
func (a *Agent) collectors(cfg *Config, root collect.Root) []*slot {
	self := newSlot("agent", 4, self{a})
	if cfg.Level["level_4"] == 0 {
		// Rules wait for its silence: it is not left to the default of level 4.
		self.atMost = time.Minute
	}
	a.demand = newDemand(root, a.endpoint, cfg, a.log)
	return append([]*slot{
		self,
		newSlot("cpu", 1, cpu.New(root, cpu.Options{PerCore: cfg.PerCore, Pad: cfg.PerCorePad})),
		newSlot("mem", 2, mem.New(root)),
		newSlot("load", 2, load.New(root)),
		newSlot("net.if", 2, netif.New(root, netif.Options{Prefixes: cfg.Collector.IfacePrefix, TypeTag: cfg.NICTypeTag})),
		newSlot("disk.io", 2, disk.New(root)),
		newSlot("kernel", 2, kernel.New(root)),
		newSlot("coredump", 2, coredump.New(root)),
		newSlot("netstat", 2, netstat.New(root)),
		newSlot("ss", 2, sockstat.New(root)),
		newSlot("service", 2, a.services),
		newSlot("df", 3, df.New(root, cfg.Collector.MountPoint)),
		newSlot("uptime", 3, uptime.New(root)),
		newSlot("ntp", 3, ntp.New(cfg.NTP.Servers)),
		newSlot("gpu", 4, gpu.New()),
	}, a.demand.slots()...)
}

// self tells of the agent: that it is there, of which version, under which address of
// the host, and how its collectors are.
type self struct{ a *Agent }

func (s self) Collect(context.Context) ([]collect.Item, error) {
	items := []collect.Item{collect.G("agent.alive", 1)}
	if v, ok := versionNumber(s.a.version); ok {
		items = append(items, collect.G("agent_version", v))
	}
	if ip := s.a.address(); ip != "" {
		items = append(items, collect.G("host.ip", ipNumber(ip), "ip", ip))
	}
	if name, news := s.a.renaming.look(); news {
		s.a.log.Warn("the kernel's name of this host has changed; what is reported keeps its name", "was", s.a.renaming.first, "is", name, "endpoint", s.a.endpoint)
	}
	items = append(items, s.a.renaming.items()...)
	return append(items, s.a.stuck()...), nil
}

// versionNumber is the fork's: the digits of a version without its dots, 610 for 6.1.0.
func versionNumber(version string) (float64, bool) {
	end := strings.IndexFunc(version, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		version = version[:end]
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(version, ".", ""), 64)
	return v, err == nil
}

// ipNumber is an IPv4 address as a number; 0 for others, which the tag tells apart.
func ipNumber(ip string) float64 {
	a, err := netip.ParseAddr(ip)
	if err != nil || !a.Unmap().Is4() {
		return 0
	}
	b := a.Unmap().As4()
	return float64(binary.BigEndian.Uint32(b[:]))
}

// A slot is the place of a collector. One that does not return in time keeps its
// slot busy and is left out until it has returned.
type slot struct {
	name  string
	level int // of importance: 1 is looked at most often
	// atMost bounds the interval of the level; 0 for none.
	atMost time.Duration
	c      collect.Collector
	busy   atomic.Bool

	mu      sync.Mutex
	failure string // the last one, while it lasts
	late    bool   // it overran its deadline and has not answered since
	wasLate bool   // it ever did
}

func newSlot(name string, level int, c collect.Collector) *slot {
	return &slot{name: name, level: level, c: c}
}

// try calls do with the slot taken, on a goroutine that nobody waits for: when the
// kernel hangs in it, it can not be ended. It reports false when the slot is busy.
func (s *slot) try(do func() ([]collect.Item, error), done func([]collect.Item, error)) bool {
	if !s.busy.CompareAndSwap(false, true) {
		return false
	}
	go func() {
		var items []collect.Item
		err := run.Recovered(func() (err error) {
			items, err = do()
			return err
		})
		s.busy.Store(false)
		done(items, err)
	}()
	return true
}

// ask lets the collector of a slot look once, after its sample of this second, and
// sends on what it finds within its deadline, as of now.
func (a *Agent) ask(ctx context.Context, s *slot, now time.Time, step time.Duration) {
	limit := a.limit(s)
	ctx, cancel := context.WithTimeout(ctx, limit)
	var once sync.Once // either the answer counts or its absence
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			once.Do(func() { a.collectorLate(s, fmt.Errorf("no answer within %v", limit)) })
		}
	})
	asked := s.try(func() ([]collect.Item, error) { return s.sampled(ctx) }, func(items []collect.Item, err error) {
		stop()
		once.Do(func() {
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return // the agent stops
			}
			a.collectorAnswered(s, err)
			a.collected(items, now, step)
		})
		cancel()
	})
	if !asked {
		stop()
		cancel()
		a.collectorLate(s, errBusy)
	}
}

// limit is how long the collector of a slot may take.
func (a *Agent) limit(s *slot) time.Duration {
	limit := a.cfg.Collector.Timeout.D()
	if slow, ok := s.c.(collect.Slow); ok {
		limit = max(limit, slow.Deadline())
	}
	return limit
}

// sampled takes the sample of this second, if there is one, and looks.
func (s *slot) sampled(ctx context.Context) ([]collect.Item, error) {
	if smp, ok := s.c.(collect.Sampler); ok {
		if err := smp.Sample(); err != nil {
			return nil, err
		}
	}
	return s.c.Collect(ctx)
}

var errBusy = errors.New("still busy with an earlier round")

// collectorLate notes that a collector does not answer.
func (a *Agent) collectorLate(s *slot, err error) {
	s.mu.Lock()
	s.late, s.wasLate = true, true
	s.mu.Unlock()
	a.collectorFailed(s, err)
}

// collectorAnswered notes that a collector has answered, perhaps with an error.
func (a *Agent) collectorAnswered(s *slot, err error) {
	s.mu.Lock()
	s.late = false
	if err == nil {
		s.failure = ""
	}
	s.mu.Unlock()
	if err != nil {
		a.collectorFailed(s, err)
	}
}

// collectorFailed counts, and logs what is news: the first failure of its kind.
func (a *Agent) collectorFailed(s *slot, err error) {
	a.collectErrors.Add(s.name, 1)
	text := err.Error()
	if p, ok := errors.AsType[*run.PanicError](err); ok {
		text = fmt.Sprint("panic: ", p.Value) // the stack is another one each time
	}
	s.mu.Lock()
	news := s.failure != text
	s.failure = text
	s.mu.Unlock()
	if news {
		a.log.Warn("collector failed", "collector", s.name, "err", err)
	}
}

// stuck returns how many collectors do not answer, and for each that ever did not,
// whether it does now: a series that has begun goes on, so that a rule about it ends.
func (a *Agent) stuck() []collect.Item {
	n := 0.0
	items := []collect.Item{{}}
	for _, s := range a.slots {
		s.mu.Lock()
		late, ever := s.late, s.wasLate
		s.mu.Unlock()
		v := 0.0
		if late {
			v = 1
			n++
		}
		if ever {
			items = append(items, collect.G("agent.collector.stuck", v, "collector", s.name))
		}
	}
	items[0] = collect.G("agent.collector.stuck", n)
	return items
}

// sample lets a collector that is sampled look.
func (a *Agent) sample(s *slot) {
	if smp, ok := s.c.(collect.Sampler); ok {
		s.try(func() ([]collect.Item, error) { return nil, smp.Sample() }, func(_ []collect.Item, err error) {
			if err != nil {
				a.collectorFailed(s, err)
			}
		})
	}
}

// A tier is what is looked at together: the slots with one interval.
type tier struct {
	every time.Duration
	slots []*slot
	next  time.Time
}

// tiers gathers the slots by how often they are looked at.
func (a *Agent) tiers() []*tier {
	by := map[time.Duration]*tier{}
	var out []*tier
	for _, s := range a.slots {
		every := a.cfg.every(s.level)
		if s.atMost > 0 {
			every = min(every, s.atMost)
		}
		if by[every] == nil {
			by[every] = &tier{every: every}
			out = append(out, by[every])
		}
		by[every].slots = append(by[every].slots, s)
	}
	return out
}

// due reports whether the tier's moment has come, and sets its next one: within the
// interval it depends on the endpoint, so that a fleet of agents is no herd.
func (t *tier) due(now time.Time, endpoint string) bool {
	if wait := t.next.Sub(now); wait > 0 && wait <= t.every { // more: the clock was set back
		return false
	}
	phase := time.Duration(crc32.ChecksumIEEE([]byte(endpoint))) * time.Second % t.every
	if t.next = now.Truncate(t.every).Add(phase); !t.next.After(now) {
		t.next = t.next.Add(t.every)
	}
	return true
}

// sampleBefore is how long before a round those that want to are sampled: their values are
// of that time.
const sampleBefore = time.Second

// maxPause bounds for how long nobody looks at the clock, which may be set.
const maxPause = 10 * time.Second

// look is the life of the collecting side: a round of each tier once in its interval, and
// a sample a second before it. The first round comes a second after start. Between them
// nothing is done: an idle process costs by how often it is woken.
func (a *Agent) look(ctx context.Context) error {
	tiers := a.tiers()
	for _, s := range a.slots {
		a.sample(s)
	}
	pause := sampleBefore
	for run.Sleep(ctx, pause) {
		now := a.now()
		pause = maxPause
		for _, t := range tiers {
			due := t.due(now, a.endpoint)
			for _, s := range t.slots {
				switch {
				case due:
					a.ask(ctx, s, now, t.every)
				case t.next.Sub(now) <= sampleBefore:
					a.sample(s)
				}
			}
			pause = min(pause, t.pause(now))
		}
	}
	return nil
}

// pause returns how long nothing is to be done: until the sample before the next round, or
// that round.
func (t *tier) pause(now time.Time) time.Duration {
	wait := t.next.Sub(now)
	if wait > sampleBefore {
		wait -= sampleBefore
	}
	return max(wait, time.Millisecond)
}

// collected sends on what was found, as of now.
func (a *Agent) collected(items []collect.Item, now time.Time, every time.Duration) {
	points := make([]point, 0, len(items))
	step := int(every / time.Second)
	for _, it := range items {
		if a.cfg.Ignore[it.Metric] {
			continue
		}
		if math.IsNaN(it.Value) || math.IsInf(it.Value, 0) {
			a.refused.Add(model.ReasonValue, 1)
			continue
		}
		points = append(points, point{
			series: a.series.get(name{a.endpoint, it.Metric, a.tagged(it.Tags), it.Type, step, false}),
			ts:     now.Unix(), value: it.Value,
		})
	}
	a.collectedPoints.Add(len(points))
	a.out.add(points, nil)
}
