// Package cpu collects cpu.*: the shares of time over the last second and the
// context switches since boot.
package cpu

import (
	"context"
	"sync"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Collector keeps the last two looks at /proc/stat.
type Collector struct {
	root collect.Root

	mu        sync.Mutex // Shares is asked at any moment
	prev, cur procfs.CPUStat
	looks     int
}

// New returns a collector; it needs two samples before it gives shares.
func New(root collect.Root) *Collector { return &Collector{root: root} }

// Sample looks at /proc/stat.
func (c *Collector) Sample() error {
	st, err := c.stat()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prev, c.cur = c.cur, st.CPUTotal
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

// Collect returns cpu.switches and, from the second sample on, the shares in
// percent. Guest time is contained in user time, so it is left out of the total, as
// in stock.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	st, err := c.stat()
	if err != nil {
		return nil, err
	}
	items := []collect.Item{collect.C("cpu.switches", float64(st.ContextSwitches))}
	s, ok := c.Shares()
	if !ok {
		return items, nil
	}
	return append(items,
		collect.G("cpu.idle", s.Idle),
		collect.G("cpu.busy", s.Busy),
		collect.G("cpu.user", s.User),
		collect.G("cpu.nice", s.Nice),
		collect.G("cpu.system", s.System),
		collect.G("cpu.iowait", s.Iowait),
		collect.G("cpu.irq", s.IRQ),
		collect.G("cpu.softirq", s.SoftIRQ),
		collect.G("cpu.steal", s.Steal),
		collect.G("cpu.guest", s.Guest),
	), nil
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
	total := total(c.cur) - total(c.prev)
	if c.looks < 2 || total <= 0 { // no tick has passed, or the counters began anew
		return s, false
	}
	share := func(cur, prev float64) float64 {
		return min(max((cur-prev)*100/total, 0), 100)
	}
	idle := share(c.cur.Idle, c.prev.Idle)
	return Shares{
		Idle: idle, Busy: 100 - idle,
		User:    share(c.cur.User, c.prev.User),
		Nice:    share(c.cur.Nice, c.prev.Nice),
		System:  share(c.cur.System, c.prev.System),
		Iowait:  share(c.cur.Iowait, c.prev.Iowait),
		IRQ:     share(c.cur.IRQ, c.prev.IRQ),
		SoftIRQ: share(c.cur.SoftIRQ, c.prev.SoftIRQ),
		Steal:   share(c.cur.Steal, c.prev.Steal),
		Guest:   share(c.cur.Guest, c.prev.Guest),
	}, true
}

func total(s procfs.CPUStat) float64 {
	return s.User + s.Nice + s.System + s.Idle + s.Iowait + s.IRQ + s.SoftIRQ + s.Steal + s.GuestNice
}
