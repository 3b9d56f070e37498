// Package netstat collects TcpExt.* from /proc/net/netstat and snmp.Udp.* from
// /proc/net/snmp. Both files name their columns, so a column of a newer kernel is
// found without being known here.
package netstat

import (
	"context"
	"errors"
	"fmt"
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

// Collector reads the two files.
type Collector struct{ root collect.Root }

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root} }

// Collect returns the counters of both files; one that can not be read does not
// keep the other back.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	tcp, err1 := c.table("proc/net/netstat", "TcpExt", "TcpExt.", func(col string) bool { return wanted[col] })
	udp, err2 := c.table("proc/net/snmp", "Udp", "snmp.Udp.", func(string) bool { return true })
	return append(tcp, udp...), errors.Join(err1, err2)
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
