// Package sockstat collects ss.*: TCP sockets by state, as "ss -s" prints them but
// read from /proc/net, so that no program is started.
package sockstat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Collector reads /proc/net/sockstat, sockstat6 and snmp.
type Collector struct{ root collect.Root }

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root} }

// Collect returns ss.estab, ss.closed, ss.orphaned, ss.timewait and
// ss.slabinfo.timewait. The last is 0: the kernel stopped telling it, and stock
// sends 0 since then.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	fsys, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return nil, err
	}
	v4, err := collect.Parse("/proc/net/sockstat", fsys.NetSockstat)
	if err != nil {
		return nil, err
	}
	tcp := protocol(v4, "TCP")
	if tcp == nil || tcp.Alloc == nil || tcp.Orphan == nil || tcp.TW == nil {
		return nil, errors.New("/proc/net/sockstat has no complete TCP line")
	}
	hashed := tcp.InUse
	v6, err := collect.Parse("/proc/net/sockstat6", fsys.NetSockstat6)
	switch {
	case err == nil:
		if p := protocol(v6, "TCP6"); p != nil {
			hashed += p.InUse
		}
	case !errors.Is(err, fs.ErrNotExist): // no such file: the kernel has no IPv6
		return nil, err
	}
	estab, err := c.established()
	if err != nil {
		return nil, err
	}
	// A closed socket is allocated and in no hash table, unless it is in timewait.
	closed := max(*tcp.Alloc-(hashed-*tcp.TW), 0)
	return []collect.Item{
		collect.G("ss.estab", estab),
		collect.G("ss.closed", float64(closed)),
		collect.G("ss.orphaned", float64(*tcp.Orphan)),
		collect.G("ss.timewait", float64(*tcp.TW)),
		collect.G("ss.slabinfo.timewait", 0),
	}, nil
}

func protocol(s *procfs.NetSockstat, name string) *procfs.NetSockstatProtocol {
	for i := range s.Protocols {
		if s.Protocols[i].Protocol == name {
			return &s.Protocols[i]
		}
	}
	return nil
}

// established reads Tcp CurrEstab from /proc/net/snmp.
func (c *Collector) established() (float64, error) {
	text, err := c.root.Read("proc/net/snmp")
	if err != nil {
		return 0, err
	}
	at := -1
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "Tcp:")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if at < 0 {
			for i, f := range fields {
				if f == "CurrEstab" {
					at = i
				}
			}
			continue
		}
		if at < len(fields) {
			v, err := strconv.ParseFloat(fields[at], 64)
			return v, collect.About("/proc/net/snmp", err)
		}
	}
	return 0, fmt.Errorf("/proc/net/snmp has no Tcp CurrEstab")
}
