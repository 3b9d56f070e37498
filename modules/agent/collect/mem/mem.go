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

// Collect returns mem.mem*, mem.swap* and what memory is used for. Free memory is
// MemAvailable where the kernel tells it, else what is free, buffered or cached.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	fs, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return nil, err
	}
	m, err := collect.Parse("/proc/meminfo", fs.Meminfo)
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
	items := []collect.Item{
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
		collect.G("mem.cached", value(m.CachedBytes)),
		collect.G("mem.buffers", value(m.BuffersBytes)),
	}
	if m.ShmemBytes != nil {
		items = append(items, collect.G("mem.shmem", value(m.ShmemBytes)))
	}
	if m.MemAvailableBytes != nil { // since Linux 3.14
		available := value(m.MemAvailableBytes)
		items = append(items, collect.G("mem.memavailable", available), collect.G("mem.memavailable.percent", percent(available, total)))
	}
	return items, nil
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
