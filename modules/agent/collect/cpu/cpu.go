// Package cpu collects cpu.* and, when asked to, percore.*: the shares of time over the
// last second of all processors and of each, the context switches since boot, and how
// many processors are online.
package cpu

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Collector keeps the last two looks at /proc/stat.
type Collector struct {
	root collect.Root
	opts Options

	mu        sync.Mutex // Shares is asked at any moment
	prev, cur procfs.Stat
	looks     int
}

// Options say what is looked at beside the processors together.
type Options struct {
	// PerCore adds percore.* for each processor.
	PerCore bool
	// Pad is how many digits the tag core has at least: 2 makes core01, 0 core1.
	Pad int
}

// New returns a collector; it needs two samples before it gives shares.
func New(root collect.Root, opts Options) *Collector { return &Collector{root: root, opts: opts} }

// Sample looks at /proc/stat.
func (c *Collector) Sample() error {
	st, err := c.stat()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prev, c.cur = c.cur, st
	c.looks++
	return nil
}

func (c *Collector) stat() (procfs.Stat, error) {
	fs, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return procfs.Stat{}, err
	}
	return fs.Stat()
}

// Collect returns cpu.switches, host.cpucores and, from the second sample on, the
// shares in percent. Guest time is contained in user time, so it is left out of the
// total, as in stock.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	st, err := c.stat()
	if err != nil {
		return nil, err
	}
	items := []collect.Item{collect.C("cpu.switches", float64(st.ContextSwitches))}
	if cores := len(st.CPU); cores > 0 {
		items = append(items, collect.G("host.cpucores", float64(cores)))
	}
	if s, ok := c.Shares(); ok {
		items = append(items, values("cpu.", s)...)
	}
	return append(items, c.cores()...), nil
}

// values returns the shares under a prefix.
func values(prefix string, s Shares, tags ...string) []collect.Item {
	g := func(name string, v float64) collect.Item { return collect.G(prefix+name, v, tags...) }
	return []collect.Item{
		g("idle", s.Idle), g("busy", s.Busy), g("user", s.User), g("nice", s.Nice), g("system", s.System), g("iowait", s.Iowait),
		g("irq", s.IRQ), g("softirq", s.SoftIRQ), g("steal", s.Steal), g("guest", s.Guest),
	}
}

// cores returns percore.* of the processors that were online at both samples.
func (c *Collector) cores() (items []collect.Item) {
	if !c.opts.PerCore {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(c.cur.CPU)) {
		prev, was := c.prev.CPU[n]
		if !was {
			continue
		}
		if s, ok := shares(c.cur.CPU[n], prev); ok {
			items = append(items, values("percore.", s, "core", fmt.Sprintf("core%0*d", c.opts.Pad, n))...)
		}
	}
	return items
}

// Shares are the shares of time over the last second, in percent.
type Shares struct {
	Idle, Busy, User, Nice, System, Iowait, IRQ, SoftIRQ, Steal, Guest float64
}

// Shares returns the shares, and false before the second sample. It may be called at
// any time.
func (c *Collector) Shares() (s Shares, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looks < 2 {
		return s, false
	}
	return shares(c.cur.CPUTotal, c.prev.CPUTotal)
}

// shares returns what the time between two looks was spent with.
func shares(cur, prev procfs.CPUStat) (s Shares, ok bool) {
	total := total(cur) - total(prev)
	if total <= 0 { // no tick has passed, or the counters began anew
		return s, false
	}
	share := func(cur, prev float64) float64 {
		return min(max((cur-prev)*100/total, 0), 100)
	}
	idle := share(cur.Idle, prev.Idle)
	return Shares{
		Idle: idle, Busy: 100 - idle,
		User:    share(cur.User, prev.User),
		Nice:    share(cur.Nice, prev.Nice),
		System:  share(cur.System, prev.System),
		Iowait:  share(cur.Iowait, prev.Iowait),
		IRQ:     share(cur.IRQ, prev.IRQ),
		SoftIRQ: share(cur.SoftIRQ, prev.SoftIRQ),
		Steal:   share(cur.Steal, prev.Steal),
		Guest:   share(cur.Guest, prev.Guest),
	}, true
}

func total(s procfs.CPUStat) float64 {
	return s.User + s.Nice + s.System + s.Idle + s.Iowait + s.IRQ + s.SoftIRQ + s.Steal + s.GuestNice
}
