// Package service collects proc.cpu.* and proc.mem.*: what the processes of services take
// together. Which services it looks at is for hbs to say; which processes they have, the
// control groups of systemd tell, so that no systemctl is run.
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"falcon/modules/agent/collect"
)

// pidsFile is where the fork's agent leaves which processes it looks at.
const pidsFile = "service_pids"

// Collector remembers what the processor time since its last look is told by.
type Collector struct {
	root   collect.Root
	folder string
	names  atomic.Pointer[[]string]

	written string           // what pidsFile holds
	last    map[int]*process // by pid; nil before the first look
	ticks   float64          // of all processors together, at the last look
	at      uint64           // the last look, in ticks since boot
}

// New returns a collector that looks at nothing until Watch names services. In folder it
// writes the file service_pids, name:pid,pid a line; an empty folder has none.
func New(root collect.Root, folder string) *Collector {
	return &Collector{root: root, folder: folder}
}

// Watch says which services are looked at from now on: units of systemd with or without
// .service or .scope behind their names.
func (c *Collector) Watch(names []string) {
	names = slices.Clone(names)
	c.names.Store(&names)
}

// Collect returns 11 values of memory for each service that runs, in kB, and from the
// second look on 5 of processor time, in percent of one processor. Of a process that has
// begun since the last look all of its time counts.
func (c *Collector) Collect(ctx context.Context) ([]collect.Item, error) {
	names := c.names.Load()
	if names == nil || len(*names) == 0 {
		c.last = nil
		return nil, c.tell(nil)
	}
	units, err := c.units(ctx, *names)
	if err != nil {
		return nil, err
	}
	ticks, cores, err := c.total()
	if err != nil {
		return nil, err
	}
	at, err := c.sinceBoot()
	if err != nil {
		return nil, err
	}
	var items []collect.Item
	errs := []error{c.tell(units)}
	now := map[int]*process{}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		var memory [len(sizes)]float64
		var spent [4]float64
		running := false
		for _, pid := range units[name] {
			p, err := c.process(pid)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errGone) {
				continue // it has just ended
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			running, now[pid] = true, p
			for i := range memory {
				memory[i] += p.memory[i]
			}
			was := c.last[pid]
			if was == nil || was.start != p.start {
				if was = (&process{}); p.start < c.at {
					continue // it came over from elsewhere
				}
			}
			for i := range spent {
				if p.spent[i] > was.spent[i] {
					spent[i] += float64(p.spent[i] - was.spent[i])
				}
			}
		}
		if !running {
			continue
		}
		if passed := ticks - c.ticks; c.last != nil && passed > 0 {
			share := func(metric string, ticks float64) collect.Item {
				return collect.G(metric, float64(cores)*100*ticks/passed, "service", name)
			}
			items = append(items, share("proc.cpu.use", spent[0]+spent[1]), share("proc.cpu.utime", spent[0]), share("proc.cpu.stime", spent[1]),
				share("proc.cpu.cutime", spent[2]), share("proc.cpu.cstime", spent[3]))
		}
		for i, s := range sizes {
			items = append(items, collect.G(s.metric, memory[i], "service", name))
		}
	}
	c.last, c.ticks, c.at = now, ticks, at
	return items, errors.Join(errs...)
}

// trees are where systemd keeps its control groups: alone, beside those of the old kind,
// and in a mixture of both.
var trees = []string{"sys/fs/cgroup", "sys/fs/cgroup/systemd", "sys/fs/cgroup/unified"}

// units returns the processes of each of the services that has any, by its name without
// suffix.
func (c *Collector) units(ctx context.Context, names []string) (map[string][]int, error) {
	top := ""
	for _, t := range trees {
		if _, err := os.Stat(c.root.Path(t, "cgroup.procs")); err == nil {
			top = c.root.Path(t)
			break
		}
	}
	if top == "" {
		return nil, fmt.Errorf("no control groups of systemd below %s: services can not be told apart", c.root.Path("sys/fs/cgroup"))
	}
	wanted := map[string]bool{}
	for _, n := range names {
		if n = strings.TrimSpace(n); n != "" {
			wanted[n] = true
		}
	}
	found := map[string][]int{}
	var walk func(dir, unit string) error
	walk = func(dir, unit string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if unit != "" {
			pids, err := pids(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				return err
			}
			found[unit] = append(found[unit], pids...)
		}
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has just gone
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			inner := unit
			if name, ok := unitName(e.Name()); ok {
				// A unit inside of a unit, as one of a user's, is its own.
				if inner = ""; wanted[name] || wanted[e.Name()] {
					inner = name
				}
			}
			if err := walk(filepath.Join(dir, e.Name()), inner); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(top, ""); err != nil {
		return nil, err
	}
	for name, pids := range found {
		slices.Sort(pids)
		if found[name] = slices.Compact(pids); len(pids) == 0 {
			delete(found, name)
		}
	}
	return found, nil
}

// unitName returns the name of a service or scope by its control group.
func unitName(dir string) (string, bool) {
	if name, ok := strings.CutSuffix(dir, ".service"); ok {
		return name, true
	}
	return strings.CutSuffix(dir, ".scope")
}

// pids reads the processes of a control group.
func pids(path string) (all []int, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it has just gone
	}
	if err != nil {
		return nil, err
	}
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil || pid < 0 {
			return nil, fmt.Errorf("%s: %q is no process", path, word)
		}
		if pid == 0 {
			return nil, fmt.Errorf("%s names processes that can not be seen from here: run the agent among the host's (--pid=host)", path)
		}
		all = append(all, pid)
	}
	return all, nil
}

// tell writes pidsFile when it is to hold something else.
func (c *Collector) tell(units map[string][]int) error {
	if c.folder == "" {
		return nil
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(units)) {
		b.WriteString(name)
		for i, pid := range units[name] {
			b.WriteByte(":,"[min(i, 1)])
			b.WriteString(strconv.Itoa(pid))
		}
		b.WriteByte('\n')
	}
	text := b.String()
	if text == c.written {
		return nil
	}
	path := filepath.Join(c.folder, pidsFile)
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return fmt.Errorf("app_base_dir: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("app_base_dir: %w", err)
	}
	c.written = text
	return nil
}
