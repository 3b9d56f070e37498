// Package netstat collects TcpExt.* from /proc/net/netstat, and TcpPkg.* and snmp.Udp.*
// from /proc/net/snmp. Both files name their columns, so a column of a newer kernel is
// found without being known here.
package netstat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"falcon/modules/agent/collect"
)

// wanted are the columns of TcpExt that stock sends.
var wanted = map[string]bool{
	"PruneCalled": true, "LockDroppedIcmps": true, "ArpFilter": true, "TW": true, "DelayedACKLocked": true,
	"ListenOverflows": true, "ListenDrops": true, "TCPPrequeueDropped": true, "TCPTSReorder": true, "TCPDSACKUndo": true,
	"TCPLoss": true, "TCPLostRetransmit": true, "TCPLossFailures": true, "TCPFastRetrans": true, "TCPTimeouts": true,
	"TCPSchedulerFailed": true, "TCPAbortOnMemory": true, "TCPAbortOnTimeout": true, "TCPAbortFailed": true,
	"TCPMemoryPressures": true, "TCPSpuriousRTOs": true, "TCPBacklogDrop": true, "TCPMinTTLDrop": true,
}

// segments are the columns of Tcp that the fork sends.
var segments = map[string]bool{"InSegs": true, "OutSegs": true, "RetransSegs": true, "InErrs": true}

// Collector reads the two files, and remembers what the rate of retransmissions needs.
type Collector struct {
	root collect.Root
	// Of the last look: segments sent again fast, and segments sent; known is false
	// before the first.
	again, sent float64
	known       bool
}

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root: root} }

// Collect returns the counters of both files; one that can not be read does not
// keep the other back. TcpExt.TCPFastRetransRate is of the time since the last call.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	ext, err1 := c.table("proc/net/netstat", "TcpExt", "TcpExt.", func(col string) bool { return wanted[col] })
	tcp, err2 := c.table("proc/net/snmp", "Tcp", "TcpPkg.", func(col string) bool { return segments[col] })
	udp, err3 := c.table("proc/net/snmp", "Udp", "snmp.Udp.", func(string) bool { return true })
	return slices.Concat(ext, c.rate(ext, tcp), tcp, udp), errors.Join(err1, err2, err3)
}

// rate returns how many of 10 000 segments sent since the last look were sent again
// fast; nothing at the first look or when the counters began anew.
func (c *Collector) rate(ext, tcp []collect.Item) []collect.Item {
	again, ok1 := find(ext, "TcpExt.TCPFastRetrans")
	sent, ok2 := find(tcp, "TcpPkg.OutSegs")
	was, wasAgain, wasSent := c.known, c.again, c.sent
	c.again, c.sent, c.known = again, sent, ok1 && ok2
	if !was || !c.known || again < wasAgain || sent < wasSent {
		return nil
	}
	rate := 0.0
	if sent > wasSent {
		rate = 10_000 * (again - wasAgain) / (sent - wasSent)
	}
	return []collect.Item{collect.G("TcpExt.TCPFastRetransRate", rate)}
}

func find(items []collect.Item, metric string) (float64, bool) {
	for _, it := range items {
		if it.Metric == metric {
			return it.Value, true
		}
	}
	return 0, false
}

// table reads the line pair "name: columns" and "name: values" of a file.
func (c *Collector) table(path, name, prefix string, want func(string) bool) ([]collect.Item, error) {
	text, err := c.root.Read(path)
	if err != nil {
		return nil, err
	}
	var columns []string
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if columns == nil {
			columns = fields
			continue
		}
		if len(fields) != len(columns) {
			return nil, fmt.Errorf("/%s: %s has %d columns and %d values", path, name, len(columns), len(fields))
		}
		var items []collect.Item
		for i, col := range columns {
			if !want(col) {
				continue
			}
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return items, fmt.Errorf("/%s: %s %s: %w", path, name, col, err)
			}
			items = append(items, collect.C(prefix+col, v))
		}
		return items, nil
	}
	return nil, fmt.Errorf("/%s has no section %s", path, name)
}
