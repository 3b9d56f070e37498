// Package disk collects disk.io.*: the kernel's counters of block devices, and what
// they did over the last second.
package disk

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"falcon/modules/agent/collect"
)

// sectorSize is the unit of the kernel's counters, whatever the device's own.
const sectorSize = 512

// Collector keeps the last two looks at /proc/diskstats.
type Collector struct {
	file *collect.File
	now  func() time.Time

	mu sync.Mutex // Rates is asked at any moment
	// Of the last look and the one before; a device that is gone falls out.
	cur, prev map[string]look
	at        time.Time // of the last look
}

type look struct {
	at time.Time
	counts
}

// New returns a collector; a device gives gauges from its second sample on.
func New(root collect.Root) *Collector {
	return &Collector{file: root.File("proc/diskstats"), now: time.Now}
}

// Sample looks at /proc/diskstats.
func (c *Collector) Sample() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sample()
}

func (c *Collector) sample() error {
	text, err := c.file.Read()
	if err != nil {
		return err
	}
	all, err := parse(text)
	if err != nil {
		return collect.About("/proc/diskstats", err)
	}
	next := make(map[string]look, len(all))
	now := c.now()
	for _, d := range all {
		next[d.name] = look{now, d}
	}
	c.at = now
	c.prev, c.cur = c.cur, next
	return nil
}

// Collect returns the values of each disk that was ever read from.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := c.file.Read()
	if err != nil {
		return nil, err
	}
	all, err := parse(text)
	if err != nil {
		return nil, collect.About("/proc/diskstats", err)
	}
	var items []collect.Item
	for _, d := range all {
		if d.reads == 0 {
			continue
		}
		items = append(items, counters(d)...)
		cur, ok1 := c.cur[d.name]
		prev, ok2 := c.prev[d.name]
		if ok1 && ok2 {
			items = append(items, gauges(d.name, prev, cur)...)
		}
	}
	return items, nil
}

// counts are the kernel's counters of a disk since boot; times in ms.
type counts struct {
	name                                        string
	reads, readsMerged, readSectors, readMS     uint64
	writes, writesMerged, writeSectors, writeMS uint64
	inProgress, busyMS, weightedMS              uint64
}

// parse reads the lines of disks: major, minor, name, and eleven counters. Columns of
// newer kernels stand behind them.
func parse(text []byte) (all []counts, err error) {
	for line := range bytes.Lines(text) {
		var d counts
		columns := [...]*uint64{
			&d.reads, &d.readsMerged, &d.readSectors, &d.readMS, &d.writes, &d.writesMerged, &d.writeSectors, &d.writeMS,
			&d.inProgress, &d.busyMS, &d.weightedMS,
		}
		i := 0 // the word
		for word := range bytes.FieldsSeq(line) {
			switch {
			case i == 2 && !isDisk(string(word)):
				i = -1
			case i == 2:
				d.name = string(word)
			case i > 2:
				if *columns[i-3], err = strconv.ParseUint(string(word), 10, 64); err != nil {
					return nil, fmt.Errorf("%s: %w", d.name, err)
				}
			}
			if i++; i == 0 || i == 3+len(columns) {
				break
			}
		}
		switch i {
		case 0: // none that is looked at, or an empty line
		case 3 + len(columns):
			all = append(all, d)
		default:
			return nil, fmt.Errorf("%q has %d columns, want 14 at least", bytes.TrimSpace(line), i)
		}
	}
	return all, nil
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

func counters(d counts) []collect.Item {
	counter := func(metric string, v uint64) collect.Item {
		return collect.C(metric, float64(v), "device", d.name)
	}
	return []collect.Item{
		counter("disk.io.read_requests", d.reads),
		counter("disk.io.read_merged", d.readsMerged),
		counter("disk.io.read_sectors", d.readSectors),
		counter("disk.io.msec_read", d.readMS),
		counter("disk.io.write_requests", d.writes),
		counter("disk.io.write_merged", d.writesMerged),
		counter("disk.io.write_sectors", d.writeSectors),
		counter("disk.io.msec_write", d.writeMS),
		counter("disk.io.ios_in_progress", d.inProgress),
		counter("disk.io.msec_total", d.busyMS),
		counter("disk.io.msec_weighted_total", d.weightedMS),
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

// Rates are what a device did between two looks, a second apart.
type Rates struct {
	Device                                    string
	ReadsMerged, WritesMerged, Reads, Writes  float64
	ReadSectors, WriteSectors, RequestSectors float64 // of 512 bytes
	QueueLength                               float64
	Await, ServiceTime                        float64 // ms
	Util                                      float64 // percent
}

// Rates returns what each disk that was ever read from does in a second, by name: of the
// last one when it is called each second, else of the time since the last look.
func (c *Collector) Rates() (all []Rates, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.at) >= time.Second {
		err = c.sample()
	}
	for name, cur := range c.cur {
		prev, ok := c.prev[name]
		if !ok || cur.reads == 0 {
			continue
		}
		r := between(prev, cur)
		r.Device = name
		if seconds := cur.at.Sub(prev.at).Seconds(); seconds > 0 {
			for _, v := range []*float64{&r.ReadsMerged, &r.WritesMerged, &r.Reads, &r.Writes, &r.ReadSectors, &r.WriteSectors, &r.QueueLength} {
				*v /= seconds
			}
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Rates) int { return strings.Compare(a.Device, b.Device) })
	return all, err
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
		ReadsMerged: delta(cur.readsMerged, prev.readsMerged), WritesMerged: delta(cur.writesMerged, prev.writesMerged),
		Reads: delta(cur.reads, prev.reads), Writes: delta(cur.writes, prev.writes),
		ReadSectors: delta(cur.readSectors, prev.readSectors), WriteSectors: delta(cur.writeSectors, prev.writeSectors),
		QueueLength: delta(cur.weightedMS, prev.weightedMS) / 1000,
	}
	busy := delta(cur.busyMS, prev.busyMS)
	if ios := r.Reads + r.Writes; ios > 0 {
		r.RequestSectors = (r.ReadSectors + r.WriteSectors) / ios
		r.Await = (delta(cur.readMS, prev.readMS) + delta(cur.writeMS, prev.writeMS)) / ios
		r.ServiceTime = busy / ios
	}
	if ms > 0 {
		r.Util = min(busy*100/ms, 100)
	}
	return r
}
