// Package mem collects mem.*: memory and swap, in bytes and percent.
package mem

import (
	"context"
	"errors"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Collector reads /proc/meminfo.
type Collector struct{ root collect.Root }

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root} }

// Collect returns mem.mem* and mem.swap*. Free memory is MemAvailable where the
// kernel tells it, else what is free, buffered or cached.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	fs, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return nil, err
	}
	m, err := fs.Meminfo()
	if err != nil {
		return nil, err
	}
	total := value(m.MemTotalBytes)
	if total == 0 {
		return nil, errors.New("/proc/meminfo has no MemTotal")
	}
	free := value(m.MemAvailableBytes)
	if free == 0 {
		free = value(m.MemFreeBytes) + value(m.BuffersBytes) + value(m.CachedBytes)
	}
	used := total - free
	swapTotal, swapFree := value(m.SwapTotalBytes), value(m.SwapFreeBytes)
	swapUsed := swapTotal - swapFree
	return []collect.Item{
		collect.G("mem.memtotal", total),
		collect.G("mem.memused", used),
		collect.G("mem.memfree", free),
		collect.G("mem.memused.percent", percent(used, total)),
		collect.G("mem.memfree.percent", percent(free, total)),
		collect.G("mem.swaptotal", swapTotal),
		collect.G("mem.swapused", swapUsed),
		collect.G("mem.swapfree", swapFree),
		collect.G("mem.swapused.percent", percent(swapUsed, swapTotal)),
		collect.G("mem.swapfree.percent", percent(swapFree, swapTotal)),
	}, nil
}

func value(p *uint64) float64 {
	if p == nil {
		return 0
	}
	return float64(*p)
}

func percent(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part * 100 / whole
}
