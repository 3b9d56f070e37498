// Package netif collects net.if.*: what network interfaces carried since boot, in
// bytes, bits, packets and share of their speed, what they carry now in Mbit/s, and
// whether there are others than before.
package netif

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Options say which interfaces are looked at, and how they are told apart.
type Options struct {
	// Prefixes pick interfaces by the start of their name; none takes all.
	Prefixes []string
	// TypeTag adds the tag nictype: 1g, 10g, 2x10g for a bond of two, and so on. An
	// interface whose speed nobody knows has none.
	TypeTag bool
}

// Collector reads /proc/net/dev and /sys/class/net.
type Collector struct {
	root  collect.Root
	opts  Options
	now   func() time.Time
	addrs func() (map[string][]string, error) // by interface

	at    time.Time // of the last look
	last  map[string]procfs.NetDevLine
	state map[string]string // of each interface, what a change is told by; nil before the first look
}

// New returns a collector.
func New(root collect.Root, opts Options) *Collector {
	opts.Prefixes = slices.Clone(opts.Prefixes)
	return &Collector{root: root, opts: opts, now: time.Now, addrs: addresses}
}

// Collect returns 26 values for each interface, two more from the second look on, and
// net.if.change.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	fs, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return nil, err
	}
	devs, err := collect.Parse("/proc/net/dev", fs.NetDev)
	if err != nil {
		return nil, err
	}
	now := c.now()
	seconds := now.Sub(c.at).Seconds()
	seen := map[string]procfs.NetDevLine{}
	state := map[string]string{}
	var items []collect.Item
	for _, name := range slices.Sorted(maps.Keys(devs)) {
		if !c.wants(name) {
			continue
		}
		speed := c.speed(name)
		tags := []string{"iface", name}
		if kind := c.kind(name); c.opts.TypeTag && kind != "" {
			tags = append(tags, "nictype", kind)
		}
		items = append(items, values(devs[name], speed, tags)...)
		if was, ok := c.last[name]; ok && seconds > 0 && devs[name].RxBytes >= was.RxBytes && devs[name].TxBytes >= was.TxBytes {
			mbps := func(now, was uint64) float64 { return float64(now-was) * 8 / 1e6 / seconds }
			items = append(items,
				collect.G("net.if.in.Mbps", mbps(devs[name].RxBytes, was.RxBytes), tags...),
				collect.G("net.if.out.Mbps", mbps(devs[name].TxBytes, was.TxBytes), tags...),
			)
		}
		seen[name], state[name] = devs[name], fmt.Sprint(speed)
	}
	c.at, c.last = now, seen
	changed, err := c.changed(state)
	return append(items, collect.G("net.if.change", changed)), err
}

// changed returns 1 when interfaces, their speeds or addresses are others than at the
// last look, else 0.
func (c *Collector) changed(state map[string]string) (float64, error) {
	addrs, err := c.addrs()
	if err != nil {
		return 0, fmt.Errorf("addresses of the interfaces: %w", err)
	}
	for name, list := range addrs {
		if _, ok := state[name]; ok {
			slices.Sort(list)
			state[name] += " " + strings.Join(list, " ")
		}
	}
	was := c.state
	c.state = state
	if was == nil || maps.Equal(was, state) {
		return 0, nil
	}
	return 1, nil
}

// addresses asks the kernel which addresses the interfaces have. Temporary ones of IPv6
// come and go by themselves; only those of IPv4, and the networks of IPv6, count.
func addresses() (map[string][]string, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, i := range ifaces {
		list, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range list {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			text := n.String()
			if n.IP.To4() == nil {
				text = n.IP.Mask(n.Mask).String()
			}
			if !slices.Contains(out[i.Name], text) {
				out[i.Name] = append(out[i.Name], text)
			}
		}
	}
	return out, nil
}

func (c *Collector) wants(name string) bool {
	return len(c.opts.Prefixes) == 0 || slices.ContainsFunc(c.opts.Prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func values(d procfs.NetDevLine, speed float64, tags []string) []collect.Item {
	counter := func(metric string, v uint64) collect.Item { return collect.C(metric, float64(v), tags...) }
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
		collect.G("net.if.speed.bits", speed, tags...),
		collect.C("net.if.in.percent", percent(d.RxBytes), tags...),
		collect.C("net.if.out.percent", percent(d.TxBytes), tags...),
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

// kind returns what an interface is, for the tag nictype: its speed, and for a bond how
// many it bundles and theirs; "" when the speed is not known.
func (c *Collector) kind(name string) string {
	text, err := c.root.Read("sys/class/net", name, "bonding/slaves")
	slaves := strings.Fields(text)
	if err != nil || len(slaves) == 0 {
		return class(c.speed(name))
	}
	each := 0.0 // of the fastest: one that is down has none
	for _, s := range slaves {
		each = max(each, c.speed(s))
	}
	if one := class(each); one != "" && len(slaves) > 1 {
		return fmt.Sprintf("%dx%s", len(slaves), one)
	}
	return class(each)
}

// class names a speed in bits a second.
func class(speed float64) string {
	switch {
	case speed <= 0:
		return ""
	case speed < 1e9:
		return fmt.Sprintf("%gm", speed/1e6)
	}
	return fmt.Sprintf("%gg", speed/1e9)
}
