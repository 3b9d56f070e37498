// Package cpu collects cpu.* and, when asked to, percore.*: the shares of time over the
// last second of all processors and of each, the context switches since boot, and how
// many processors are online.
package cpu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"falcon/modules/agent/collect"
)

// Collector keeps the last two looks at /proc/stat.
type Collector struct {
	root collect.Root
	opts Options
	file *collect.File

	mu        sync.Mutex // Shares is asked at any moment
	prev, cur times
	looks     int
	at        time.Time // of the last look
}

// times is what processors have spent since boot.
type times struct {
	total spent
	cores map[int64]spent // those online; nil unless they are asked for
}

// spent is what one, or all together, have spent, in ticks.
type spent struct {
	user, nice, system, idle, iowait, irq, softirq, steal, guest, guestNice float64
}

// Options say what is looked at beside the processors together.
type Options struct {
	// PerCore adds percore.* for each processor.
	PerCore bool
	// Pad is how many digits the tag core has at least: 2 makes core01, 0 core1.
	Pad int
}

// New returns a collector; it needs two samples before it gives shares.
func New(root collect.Root, opts Options) *Collector {
	return &Collector{root: root, opts: opts, file: root.File("proc/stat")}
}

// Sample looks at the lines of /proc/stat that are about processors. Nothing else is read
// of the file, whose longest line is about interrupts.
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
	now, err := parse(text, c.opts.PerCore)
	if err != nil {
		return collect.About("/proc/stat", err)
	}
	c.at = time.Now()
	c.prev, c.cur = c.cur, now
	c.looks++
	return nil
}

func (c *Collector) stat() (procfs.Stat, error) {
	fs, err := procfs.NewFS(c.root.Path("proc"))
	if err != nil {
		return procfs.Stat{}, err
	}
	return collect.Parse("/proc/stat", fs.Stat)
}

// Collect returns cpu.switches, host.cpucores and, from the second sample on, the
// shares in percent. Guest time is contained in user time, so it is left out of the
// total, as in stock.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	st, err := c.stat()
	if err != nil {
		return nil, err
	}
	items := []collect.Item{collect.C("cpu.switches", float64(st.ContextSwitches))}
	if cores := len(st.CPU); cores > 0 {
		items = append(items, collect.G("host.cpucores", float64(cores)))
	}
	if s, ok := c.Shares(); ok {
		items = append(items, values("cpu.", s)...)
	}
	return append(items, c.cores()...), nil
}

// values returns the shares under a prefix.
func values(prefix string, s Shares, tags ...string) []collect.Item {
	g := func(name string, v float64) collect.Item { return collect.G(prefix+name, v, tags...) }
	return []collect.Item{
		g("idle", s.Idle), g("busy", s.Busy), g("user", s.User), g("nice", s.Nice), g("system", s.System), g("iowait", s.Iowait),
		g("irq", s.IRQ), g("softirq", s.SoftIRQ), g("steal", s.Steal), g("guest", s.Guest),
	}
}

// cores returns percore.* of the processors that were online at both samples.
func (c *Collector) cores() (items []collect.Item) {
	if !c.opts.PerCore {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(c.cur.cores)) {
		prev, was := c.prev.cores[n]
		if !was {
			continue
		}
		if s, ok := shares(c.cur.cores[n], prev); ok {
			items = append(items, values("percore.", s, "core", fmt.Sprintf("core%0*d", c.opts.Pad, n))...)
		}
	}
	return items
}

// Shares are the shares of time over the last second, in percent.
type Shares struct {
	Idle, Busy, User, Nice, System, Iowait, IRQ, SoftIRQ, Steal, Guest float64
}

// Now returns the shares until this moment: over the last second when it is called each
// second, else since the last look. It returns false before the second one.
func (c *Collector) Now() (Shares, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if time.Since(c.at) >= time.Second {
		err = c.sample()
	}
	s, ok := c.shares()
	return s, ok, err
}

// Shares returns the shares between the last two samples, and false before the second. It
// may be called at any time.
func (c *Collector) Shares() (s Shares, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shares()
}

func (c *Collector) shares() (s Shares, ok bool) {
	if c.looks < 2 {
		return s, false
	}
	return shares(c.cur.total, c.prev.total)
}

// shares returns what the time between two looks was spent with.
func shares(cur, prev spent) (s Shares, ok bool) {
	total := total(cur) - total(prev)
	if total <= 0 { // no tick has passed, or the counters began anew
		return s, false
	}
	share := func(cur, prev float64) float64 {
		return min(max((cur-prev)*100/total, 0), 100)
	}
	idle := share(cur.idle, prev.idle)
	return Shares{
		Idle: idle, Busy: 100 - idle,
		User:    share(cur.user, prev.user),
		Nice:    share(cur.nice, prev.nice),
		System:  share(cur.system, prev.system),
		Iowait:  share(cur.iowait, prev.iowait),
		IRQ:     share(cur.irq, prev.irq),
		SoftIRQ: share(cur.softirq, prev.softirq),
		Steal:   share(cur.steal, prev.steal),
		Guest:   share(cur.guest, prev.guest),
	}, true
}

func total(s spent) float64 {
	return s.user + s.nice + s.system + s.idle + s.iowait + s.irq + s.softirq + s.steal + s.guestNice
}

// parse reads the lines of /proc/stat that begin with cpu; of single processors only when
// they are asked for. Columns that an old kernel does not have are 0.
func parse(text []byte, cores bool) (t times, err error) {
	found := false
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("cpu")) {
			if found {
				break // they stand together
			}
			continue
		}
		name, rest, _ := bytes.Cut(line, []byte(" "))
		all := len(name) == len("cpu")
		if !all && !cores {
			break // the line of all is the first
		}
		s, err := parseSpent(rest)
		if err != nil {
			return t, fmt.Errorf("%s: %w", name, err)
		}
		if all {
			t.total, found = s, true
			continue
		}
		n, err := strconv.ParseUint(string(name[len("cpu"):]), 10, 31)
		if err != nil {
			return t, fmt.Errorf("%q is no processor", name)
		}
		if t.cores == nil {
			t.cores = map[int64]spent{}
		}
		t.cores[int64(n)] = s
	}
	if !found {
		return t, errors.New("it names no processor")
	}
	return t, nil
}

func parseSpent(text []byte) (s spent, err error) {
	columns := [...]*float64{&s.user, &s.nice, &s.system, &s.idle, &s.iowait, &s.irq, &s.softirq, &s.steal, &s.guest, &s.guestNice}
	i := 0
	for word := range bytes.FieldsSeq(text) {
		if i == len(columns) {
			break // of a kernel yet to come
		}
		v, err := strconv.ParseUint(string(word), 10, 64)
		if err != nil {
			return s, err
		}
		*columns[i] = float64(v)
		i++
	}
	if i < 4 {
		return s, fmt.Errorf("%d columns, want 4 at least", i)
	}
	return s, nil
}
