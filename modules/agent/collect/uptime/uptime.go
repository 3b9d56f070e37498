// Package uptime collects sys.uptime, the seconds since boot.
package uptime

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"falcon/modules/agent/collect"
)

// Collector reads /proc/uptime.
type Collector struct{ root collect.Root }

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root} }

// Collect returns sys.uptime.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	text, err := c.root.Read("proc/uptime")
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(text, " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return nil, fmt.Errorf("/proc/uptime: %w", err)
	}
	return []collect.Item{collect.G("sys.uptime", v)}, nil
}
