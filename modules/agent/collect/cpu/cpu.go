// Package cpu collects cpu.*: the shares of time over the last second and the
// context switches since boot.
package cpu

import (
	"context"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Collector keeps the last two looks at /proc/stat.
type Collector struct {
	root      collect.Root
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
	if c.looks < 2 {
		return items, nil
	}
	total := total(c.cur) - total(c.prev)
	if total <= 0 {
		return items, nil // no tick has passed, or the counters began anew
	}
	share := func(cur, prev float64) float64 {
		return min(max((cur-prev)*100/total, 0), 100)
	}
	idle := share(c.cur.Idle, c.prev.Idle)
	return append(items,
		collect.G("cpu.idle", idle),
		collect.G("cpu.busy", 100-idle),
		collect.G("cpu.user", share(c.cur.User, c.prev.User)),
		collect.G("cpu.nice", share(c.cur.Nice, c.prev.Nice)),
		collect.G("cpu.system", share(c.cur.System, c.prev.System)),
		collect.G("cpu.iowait", share(c.cur.Iowait, c.prev.Iowait)),
		collect.G("cpu.irq", share(c.cur.IRQ, c.prev.IRQ)),
		collect.G("cpu.softirq", share(c.cur.SoftIRQ, c.prev.SoftIRQ)),
		collect.G("cpu.steal", share(c.cur.Steal, c.prev.Steal)),
		collect.G("cpu.guest", share(c.cur.Guest, c.prev.Guest)),
	), nil
}

func total(s procfs.CPUStat) float64 {
	return s.User + s.Nice + s.System + s.Idle + s.Iowait + s.IRQ + s.SoftIRQ + s.Steal + s.GuestNice
}
