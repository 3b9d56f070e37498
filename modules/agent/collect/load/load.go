// Package load collects load.1min, load.5min and load.15min, and load.1minPerCPU,
// the first divided by the processors that are online.
package load

import (
	"context"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Collector reads /proc/loadavg and /proc/stat.
type Collector struct{ root collect.Root }

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root} }

// Collect returns the averages.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	fs, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return nil, err
	}
	l, err := collect.Parse("/proc/loadavg", fs.LoadAvg)
	if err != nil {
		return nil, err
	}
	items := []collect.Item{
		collect.G("load.1min", l.Load1),
		collect.G("load.5min", l.Load5),
		collect.G("load.15min", l.Load15),
	}
	s, err := collect.Parse("/proc/stat", fs.Stat)
	if err != nil {
		return items, err
	}
	if cpus := len(s.CPU); cpus > 0 {
		items = append(items, collect.G("load.1minPerCPU", l.Load1/float64(cpus)))
	}
	return items, nil
}
