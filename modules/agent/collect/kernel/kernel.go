// Package kernel collects kernel.*: open files and the highest process id.
package kernel

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"falcon/modules/agent/collect"
)

// Collector reads below /proc/sys.
type Collector struct{ root collect.Root }

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root} }

// Collect returns kernel.maxfiles, kernel.files.allocated, kernel.files.left,
// kernel.files.percent and kernel.maxproc.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	maxFiles, err := c.number("proc/sys/fs/file-max")
	if err != nil {
		return nil, err
	}
	text, err := c.root.Read("proc/sys/fs/file-nr")
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return nil, fmt.Errorf("/proc/sys/fs/file-nr holds %q, want three numbers", strings.TrimSpace(text))
	}
	allocated, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return nil, fmt.Errorf("/proc/sys/fs/file-nr: %w", err)
	}
	items := []collect.Item{
		collect.G("kernel.maxfiles", maxFiles),
		collect.G("kernel.files.allocated", allocated),
		collect.G("kernel.files.left", maxFiles-allocated),
	}
	if maxFiles > 0 {
		items = append(items, collect.G("kernel.files.percent", allocated*100/maxFiles))
	}
	maxProc, err := c.number("proc/sys/kernel/pid_max")
	if err != nil {
		return items, err
	}
	return append(items, collect.G("kernel.maxproc", maxProc)), nil
}

func (c *Collector) number(path string) (float64, error) {
	text, err := c.root.Read(path)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0, fmt.Errorf("/%s: %w", path, err)
	}
	return v, nil
}
