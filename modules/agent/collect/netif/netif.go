// Package netif collects net.if.*: what network interfaces carried since boot, in
// bytes, bits, packets and share of their speed.
package netif

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Collector reads /proc/net/dev and /sys/class/net.
type Collector struct {
	root     collect.Root
	prefixes []string
}

// New returns a collector for the interfaces whose name begins with one of the
// prefixes; without any, for all.
func New(root collect.Root, prefixes []string) *Collector {
	return &Collector{root, slices.Clone(prefixes)}
}

// Collect returns 26 values for each interface.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	fs, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return nil, err
	}
	devs, err := fs.NetDev()
	if err != nil {
		return nil, err
	}
	var items []collect.Item
	for _, name := range slices.Sorted(maps.Keys(devs)) {
		if c.wants(name) {
			items = append(items, values(name, devs[name], c.speed(name))...)
		}
	}
	return items, nil
}

func (c *Collector) wants(name string) bool {
	return len(c.prefixes) == 0 || slices.ContainsFunc(c.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func values(name string, d procfs.NetDevLine, speed float64) []collect.Item {
	counter := func(metric string, v uint64) collect.Item { return collect.C(metric, float64(v), "iface", name) }
	// The rate of this counter is the share of the interface's speed in use.
	percent := func(bytes uint64) float64 {
		if speed == 0 {
			return 0
		}
		return float64(bytes) * 8 * 100 / speed
	}
	return []collect.Item{
		counter("net.if.in.bytes", d.RxBytes),
		counter("net.if.in.packets", d.RxPackets),
		counter("net.if.in.errors", d.RxErrors),
		counter("net.if.in.dropped", d.RxDropped),
		counter("net.if.in.fifo.errs", d.RxFIFO),
		counter("net.if.in.frame.errs", d.RxFrame),
		counter("net.if.in.compressed", d.RxCompressed),
		counter("net.if.in.multicast", d.RxMulticast),
		counter("net.if.out.bytes", d.TxBytes),
		counter("net.if.out.packets", d.TxPackets),
		counter("net.if.out.errors", d.TxErrors),
		counter("net.if.out.dropped", d.TxDropped),
		counter("net.if.out.fifo.errs", d.TxFIFO),
		counter("net.if.out.collisions", d.TxCollisions),
		counter("net.if.out.carrier.errs", d.TxCarrier),
		counter("net.if.out.compressed", d.TxCompressed),
		counter("net.if.total.bytes", d.RxBytes+d.TxBytes),
		counter("net.if.total.packets", d.RxPackets+d.TxPackets),
		counter("net.if.total.errors", d.RxErrors+d.TxErrors),
		counter("net.if.total.dropped", d.RxDropped+d.TxDropped),
		counter("net.if.in.bits", d.RxBytes*8),
		counter("net.if.out.bits", d.TxBytes*8),
		counter("net.if.total.bits", (d.RxBytes+d.TxBytes)*8),
		collect.G("net.if.speed.bits", speed, "iface", name),
		collect.C("net.if.in.percent", percent(d.RxBytes), "iface", name),
		collect.C("net.if.out.percent", percent(d.TxBytes), "iface", name),
	}
}

// speed returns the speed of an interface in bits a second. One that is down or
// virtual has none: the kernel then says -1 or refuses to be read.
func (c *Collector) speed(name string) float64 {
	text, err := c.root.Read("sys/class/net", name, "speed")
	if err != nil {
		return 0
	}
	mbit, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || mbit <= 0 {
		return 0
	}
	return mbit * 1e6
}
