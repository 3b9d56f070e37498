// Package proc collects what rules ask about processes by name: proc.num, how many
// there are, and proc.coredump, whether one has dumped core.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"falcon/modules/agent/collect"
	"falcon/modules/agent/collect/coredump"
)

// nameBytes is how much of a program's name the kernel keeps.
const nameBytes = 15

// want is a rule's question about processes.
type want struct {
	tags          string // as the rule writes them
	name, cmdline string // either may be empty, for any
}

// parse reads name=X and cmdline=Y; other pairs say nothing about processes.
func parse(tags string) (want, string) {
	w := want{tags: tags}
	for pair := range strings.SplitSeq(tags, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(pair), "=")
		switch v = strings.TrimSpace(v); k {
		case "name":
			w.name = kept(v)
		case "cmdline":
			w.cmdline = v
		}
	}
	if w.name == "" && w.cmdline == "" {
		return w, "it names no process, write name=crond, cmdline=/usr/sbin/crond or both"
	}
	return w, ""
}

// kept is what the kernel keeps of a name. Without it a longer one would never be found.
func kept(name string) string { return name[:min(len(name), nameBytes)] }

func (w want) key() string { return w.tags }

// Collector counts processes.
type Collector struct {
	root  collect.Root
	wants collect.Wants[want]
}

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root: root} }

// Want takes tags with name=X, cmdline=Y or both.
func (c *Collector) Want(tags []string) []collect.Unwanted {
	return c.wants.Set(tags, parse, want.key)
}

// Collect returns proc.num for each rule, with the rule's tags as they are: the number
// of processes of that name whose command line, its NULs removed, contains that text.
// Threads of the kernel have no command line and do not count.
func (c *Collector) Collect(ctx context.Context) ([]collect.Item, error) {
	wants := c.wants.Get()
	if len(wants) == 0 {
		return nil, nil
	}
	pids, err := os.ReadDir(c.root.Path("proc"))
	if err != nil {
		return nil, err
	}
	counts, seen := make([]int, len(wants)), 0
	var buf bytes.Buffer
	for _, pid := range pids {
		if s := pid.Name(); s[0] < '0' || s[0] > '9' {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("after %d processes: %w", seen, err)
		}
		cmdline, name, ok := c.process(pid.Name(), &buf)
		if !ok {
			continue // it has ended, or belongs to the kernel
		}
		seen++
		for i, w := range wants {
			if (w.name == "" || w.name == name) && (w.cmdline == "" || bytes.Contains(cmdline, []byte(w.cmdline))) {
				counts[i]++
			}
		}
	}
	if seen == 0 {
		return nil, errors.New("no process can be seen in " + c.root.Path("proc"))
	}
	items := make([]collect.Item, 0, len(wants))
	for i, w := range wants {
		it := collect.G("proc.num", float64(counts[i]))
		it.Tags = w.tags
		items = append(items, it)
	}
	return items, nil
}

// maxCmdline is how much of a command line is looked at.
const maxCmdline = 2 << 20

// process returns the command line of a process, good until the next call, and its name.
func (c *Collector) process(pid string, buf *bytes.Buffer) (cmdline []byte, name string, ok bool) {
	buf.Reset()
	if c.slurp(buf, pid, "cmdline") != nil {
		return nil, "", false
	}
	n, whole := 0, buf.Len() // of the command line without its NULs, and with them
	for _, b := range buf.Bytes() {
		if b != 0 {
			buf.Bytes()[n] = b
			n++
		}
	}
	if n == 0 || c.slurp(buf, pid, "status") != nil {
		return nil, "", false
	}
	all := buf.Bytes()
	for line := range bytes.Lines(all[whole:]) {
		if v, found := bytes.CutPrefix(line, []byte("Name:")); found {
			return all[:n], string(bytes.TrimSpace(v)), true
		}
	}
	return nil, "", false
}

func (c *Collector) slurp(buf *bytes.Buffer, pid, file string) error {
	f, err := os.Open(c.root.Path("proc", pid, file))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = buf.ReadFrom(io.LimitReader(f, maxCmdline))
	return err
}

// Dumps tells which processes dumped core.
type Dumps struct {
	root  collect.Root
	watch *coredump.Watcher // nil while nobody asks
	wants collect.Wants[want]
}

// NewDumps returns a collector.
func NewDumps(root collect.Root) *Dumps { return &Dumps{root: root} }

// Want takes tags with name=X.
func (d *Dumps) Want(tags []string) []collect.Unwanted {
	return d.wants.Set(tags, func(tags string) (want, string) {
		w, _ := parse(tags)
		if w.name == "" {
			return w, "it names no process, write name=crond"
		}
		return w, ""
	}, want.key)
}

// Collect returns proc.coredump for each rule, with the rule's tags as they are: 1 when
// a core of a process of that name has appeared since the last call, else 0, as from the
// first call on that somebody asks; an error
// where the kernel puts cores into no folder that can be watched.
func (d *Dumps) Collect(context.Context) ([]collect.Item, error) {
	wants := d.wants.Get()
	if len(wants) == 0 {
		d.watch = nil // what appears from now on is old when somebody asks again
		return nil, nil
	}
	if d.watch == nil {
		d.watch = coredump.Watch(d.root)
	}
	processes, watched, err := d.watch.New()
	switch {
	case err != nil:
		return nil, err
	case !watched:
		return nil, errors.New("proc.coredump: kernel.core_pattern names no folder that can be watched; write one such as /var/cores/core-%e-%p")
	}
	dumped := map[string]bool{}
	for _, p := range processes {
		dumped[kept(p)] = true
	}
	items := make([]collect.Item, 0, len(wants))
	for _, w := range wants {
		v := 0.0
		if dumped[w.name] {
			v = 1
		}
		it := collect.G("proc.coredump", v)
		it.Tags = w.tags
		items = append(items, it)
	}
	return items, nil
}
