package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/run"
	"falcon/modules/agent/collect"
	"falcon/modules/agent/collect/cpu"
	"falcon/modules/agent/collect/df"
	"falcon/modules/agent/collect/disk"
	"falcon/modules/agent/collect/kernel"
	"falcon/modules/agent/collect/load"
	"falcon/modules/agent/collect/mem"
	"falcon/modules/agent/collect/netif"
	"falcon/modules/agent/collect/netstat"
	"falcon/modules/agent/collect/sockstat"
	"falcon/modules/agent/collect/uptime"
)

// collectors returns what is looked at, in the order in which it is sent.
func collectors(cfg *Config, root collect.Root) []*slot {
	return []*slot{
		newSlot("cpu", cpu.New(root)),
		newSlot("mem", mem.New(root)),
		newSlot("load", load.New(root)),
		newSlot("net.if", netif.New(root, cfg.Collector.IfacePrefix)),
		newSlot("disk.io", disk.New(root)),
		newSlot("df", df.New(root, cfg.Collector.MountPoint)),
		newSlot("kernel", kernel.New(root)),
		newSlot("netstat", netstat.New(root)),
		newSlot("ss", sockstat.New(root)),
		newSlot("uptime", uptime.New(root)),
	}
}

// A slot is the place of a collector. One that does not return in time keeps its
// slot busy and is left out of the rounds until it has returned.
type slot struct {
	name string
	c    collect.Collector
	busy atomic.Bool
}

func newSlot(name string, c collect.Collector) *slot { return &slot{name: name, c: c} }

type found struct {
	slot  *slot
	items []collect.Item
	err   error
}

// try calls do with the slot taken, on a goroutine that nobody waits for: when the
// kernel hangs in it, it can not be ended. It reports false when the slot is busy.
func (s *slot) try(do func() ([]collect.Item, error), out chan<- found) bool {
	if !s.busy.CompareAndSwap(false, true) {
		return false
	}
	go func() {
		f := found{slot: s}
		f.err = run.Recovered(func() (err error) {
			f.items, err = do()
			return err
		})
		s.busy.Store(false)
		out <- f
	}()
	return true
}

// round asks every collector at once and returns what came within the deadline.
func (a *Agent) round(ctx context.Context) []collect.Item {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Collector.Timeout.D())
	defer cancel()
	out := make(chan found, len(a.slots)) // one that comes late finds room, and no reader
	got := map[*slot]found{}
	asked := map[*slot]bool{}
	for _, s := range a.slots {
		if s.try(func() ([]collect.Item, error) { return s.c.Collect(ctx) }, out) {
			asked[s] = true
			continue
		}
		a.collectorFailed(s.name, errBusy)
	}
wait:
	for range asked {
		select {
		case f := <-out:
			got[f.slot] = f
		case <-ctx.Done():
			break wait
		}
	}
	items := []collect.Item{collect.G("agent.alive", 1)}
	for _, s := range a.slots {
		f, ok := got[s]
		switch {
		case !asked[s]:
		case !ok:
			a.collectorFailed(s.name, fmt.Errorf("no answer within %v", a.cfg.Collector.Timeout.D()))
		case f.err != nil:
			a.collectorFailed(s.name, f.err)
		default:
			delete(a.lastFailure, s.name)
		}
		items = append(items, f.items...)
	}
	return items
}

var errBusy = errors.New("still busy with an earlier round")

// collectorFailed counts, and logs what is news: the first failure of its kind.
func (a *Agent) collectorFailed(name string, err error) {
	a.collectErrors.Add(name, 1)
	text := err.Error()
	if p, ok := errors.AsType[*run.PanicError](err); ok {
		text = fmt.Sprint("panic: ", p.Value) // the stack is another one each time
	}
	if a.lastFailure[name] != text {
		a.lastFailure[name] = text
		a.log.Warn("collector failed", "collector", name, "err", err)
	}
}

// sample lets the collectors that look each second do so.
func (a *Agent) sample(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second/2)
	defer cancel()
	out := make(chan found, len(a.slots))
	asked := 0
	for _, s := range a.slots {
		smp, ok := s.c.(collect.Sampler)
		if ok && s.try(func() ([]collect.Item, error) { return nil, smp.Sample() }, out) {
			asked++
		}
	}
	for range asked {
		select {
		case f := <-out:
			if f.err != nil {
				a.collectorFailed(f.slot.name, f.err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// look is the life of the collecting side: a sample each second, and a round each
// interval. The first round comes after the second sample, a second after start;
// the others at a moment within the interval that depends on the endpoint, so that
// a fleet of agents is no herd.
func (a *Agent) look(ctx context.Context) error {
	interval := a.cfg.Transfer.Interval.D()
	phase := time.Duration(crc32.ChecksumIEEE([]byte(a.endpoint))) * time.Second % interval
	a.sample(ctx)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var next time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		a.sample(ctx)
		now := a.now()
		if wait := next.Sub(now); wait > 0 && wait <= interval { // more: the clock was set back
			continue
		}
		if next = now.Truncate(interval).Add(phase); !next.After(now) {
			next = next.Add(interval)
		}
		a.collected(a.round(ctx), now)
	}
}

// collected sends on what a round found, as of now.
func (a *Agent) collected(items []collect.Item, now time.Time) {
	points := make([]point, 0, len(items))
	step := int(a.cfg.Transfer.Interval.D() / time.Second)
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
