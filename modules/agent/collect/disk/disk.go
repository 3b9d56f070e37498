// Package disk collects disk.io.*: the kernel's counters of block devices, and what
// they did over the last second.
package disk

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs/blockdevice"

	"falcon/modules/agent/collect"
)

// sectorSize is the unit of the kernel's counters, whatever the device's own.
const sectorSize = 512

// Collector keeps the last two looks at /proc/diskstats.
type Collector struct {
	root collect.Root
	now  func() time.Time

	mu sync.Mutex // Rates is asked at any moment
	// Of the last look and the one before; a device that is gone falls out.
	cur, prev map[string]look
}

type look struct {
	at time.Time
	blockdevice.IOStats
}

// New returns a collector; a device gives gauges from its second sample on.
func New(root collect.Root) *Collector { return &Collector{root: root, now: time.Now} }

// Sample looks at /proc/diskstats.
func (c *Collector) Sample() error {
	stats, err := c.read()
	if err != nil {
		return err
	}
	next := make(map[string]look, len(stats))
	for _, d := range stats {
		next[d.DeviceName] = look{c.now(), d.IOStats}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prev, c.cur = c.cur, next
	return nil
}

func (c *Collector) read() ([]blockdevice.Diskstats, error) {
	fs, err := blockdevice.NewFS(c.root.Path("proc"), c.root.Path("sys"))
	if err != nil {
		return nil, err
	}
	return fs.ProcDiskstats()
}

// Collect returns the values of each disk that was ever read from.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	stats, err := c.read()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var items []collect.Item
	for _, d := range stats {
		if !isDisk(d.DeviceName) || d.ReadIOs == 0 {
			continue
		}
		items = append(items, counters(d)...)
		cur, ok1 := c.cur[d.DeviceName]
		prev, ok2 := c.prev[d.DeviceName]
		if ok1 && ok2 {
			items = append(items, gauges(d.DeviceName, prev, cur)...)
		}
	}
	return items, nil
}

// isDisk picks whole disks, and NVMe with its partitions, as stock does.
func isDisk(name string) bool {
	if len(name) <= 4 && (strings.HasPrefix(name, "sd") || strings.HasPrefix(name, "vd")) {
		return !strings.ContainsAny(name, "1234")
	}
	if len(name) < 4 {
		return false
	}
	for _, p := range []string{"xvd", "fio", "nvme", "nbd"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func counters(d blockdevice.Diskstats) []collect.Item {
	counter := func(metric string, v uint64) collect.Item {
		return collect.C(metric, float64(v), "device", d.DeviceName)
	}
	return []collect.Item{
		counter("disk.io.read_requests", d.ReadIOs),
		counter("disk.io.read_merged", d.ReadMerges),
		counter("disk.io.read_sectors", d.ReadSectors),
		counter("disk.io.msec_read", d.ReadTicks),
		counter("disk.io.write_requests", d.WriteIOs),
		counter("disk.io.write_merged", d.WriteMerges),
		counter("disk.io.write_sectors", d.WriteSectors),
		counter("disk.io.msec_write", d.WriteTicks),
		counter("disk.io.ios_in_progress", d.IOsInProgress),
		counter("disk.io.msec_total", d.IOsTotalTicks),
		counter("disk.io.msec_weighted_total", d.WeightedIOTicks),
	}
}

func gauges(name string, prev, cur look) []collect.Item {
	r := between(prev, cur)
	gauge := func(metric string, v float64) collect.Item { return collect.G(metric, v, "device", name) }
	return []collect.Item{
		gauge("disk.io.read_bytes", r.ReadSectors*sectorSize),
		gauge("disk.io.write_bytes", r.WriteSectors*sectorSize),
		gauge("disk.io.avgrq_sz", r.RequestSectors),
		gauge("disk.io.avgqu-sz", r.QueueLength),
		gauge("disk.io.await", r.Await),
		gauge("disk.io.svctm", r.ServiceTime),
		gauge("disk.io.util", r.Util),
	}
}

// Rates are what a device did over the last second.
type Rates struct {
	Device                                    string
	ReadsMerged, WritesMerged, Reads, Writes  float64
	ReadSectors, WriteSectors, RequestSectors float64 // of 512 bytes
	QueueLength                               float64
	Await, ServiceTime                        float64 // ms
	Util                                      float64 // percent
}

// Rates returns what each disk that was ever read from did over the last second, by
// name. It may be called at any time.
func (c *Collector) Rates() (all []Rates) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, cur := range c.cur {
		prev, ok := c.prev[name]
		if !ok || !isDisk(name) || cur.ReadIOs == 0 {
			continue
		}
		r := between(prev, cur)
		r.Device = name
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Rates) int { return strings.Compare(a.Device, b.Device) })
	return all
}

func between(prev, cur look) Rates {
	ms := float64(cur.at.Sub(prev.at).Milliseconds())
	// A counter that went back began anew, as when a device comes back under the
	// same name.
	delta := func(cur, prev uint64) float64 {
		if cur < prev {
			return 0
		}
		return float64(cur - prev)
	}
	r := Rates{
		ReadsMerged: delta(cur.ReadMerges, prev.ReadMerges), WritesMerged: delta(cur.WriteMerges, prev.WriteMerges),
		Reads: delta(cur.ReadIOs, prev.ReadIOs), Writes: delta(cur.WriteIOs, prev.WriteIOs),
		ReadSectors: delta(cur.ReadSectors, prev.ReadSectors), WriteSectors: delta(cur.WriteSectors, prev.WriteSectors),
		QueueLength: delta(cur.WeightedIOTicks, prev.WeightedIOTicks) / 1000,
	}
	busy := delta(cur.IOsTotalTicks, prev.IOsTotalTicks)
	if ios := r.Reads + r.Writes; ios > 0 {
		r.RequestSectors = (r.ReadSectors + r.WriteSectors) / ios
		r.Await = (delta(cur.ReadTicks, prev.ReadTicks) + delta(cur.WriteTicks, prev.WriteTicks)) / ios
		r.ServiceTime = busy / ios
	}
	if ms > 0 {
		r.Util = min(busy*100/ms, 100)
	}
	return r
}
