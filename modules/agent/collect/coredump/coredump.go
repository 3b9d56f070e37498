// Package coredump notices processes that dump core, and collects kernel.coredump.
package coredump

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"falcon/modules/agent/collect"
)

// Collector tells whether any process has dumped core since the last look.
type Collector struct{ w *Watcher }

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{Watch(root)} }

// Collect returns kernel.coredump: 1 when a core has appeared since the last look, else
// 0; nothing where the kernel is told to put cores into no folder that can be watched.
func (c *Collector) Collect(context.Context) ([]collect.Item, error) {
	names, watched, err := c.w.New()
	if err != nil || !watched {
		return nil, err
	}
	return []collect.Item{collect.G("kernel.coredump", min(float64(len(names)), 1))}, nil
}

// A Watcher looks into the folder that core_pattern names, or into that of
// systemd-coredump or apport when cores are piped to one of them.
type Watcher struct {
	root  collect.Root
	where string               // the folder of the last look
	known map[string]time.Time // files of it, and when they were written
}

// Watch returns a Watcher. What is there at its first look is old.
func Watch(root collect.Root) *Watcher { return &Watcher{root: root} }

// New returns the names of the processes whose cores have appeared since the last call;
// of one that the file's name does not tell, "". watched is false where nothing can be
// watched.
func (w *Watcher) New() (processes []string, watched bool, err error) {
	pattern, err := w.root.Read("proc/sys/kernel/core_pattern")
	if err != nil {
		return nil, false, err
	}
	folder, file := place(strings.TrimSpace(pattern))
	if folder == "" {
		return nil, false, nil
	}
	entries, err := os.ReadDir(w.root.Path(folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	first := w.where != folder
	w.where = folder
	found := map[string]time.Time{}
	for _, e := range entries {
		m := file.FindStringSubmatch(e.Name())
		if m == nil || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it has just gone
		}
		found[e.Name()] = info.ModTime()
		if was, ok := w.known[e.Name()]; !first && (!ok || info.ModTime().After(was) && info.ModTime().Sub(was) > settling) {
			name := ""
			if len(m) > 1 {
				name = m[1]
			}
			processes = append(processes, name)
		}
	}
	w.known = found
	return processes, true, nil
}

// settling is how long a core is written at most: it is one core as long as its time
// moves in smaller steps.
const settling = 10 * time.Second

var (
	// core.NAME.UID.BOOT.PID.MICROSECONDS, compressed or not.
	ofSystemd = regexp.MustCompile(`^core\.(.+)\.\d+\.[0-9a-f]{32}\.\d+\.\d+(?:\.[a-z0-9]+)?$`)
	// _usr_bin_NAME.UID.crash
	ofApport = regexp.MustCompile(`^.*_([^_]+)\.\d+\.crash$`)
)

// place returns the folder into which cores go by a core_pattern, "" for none that is
// known, and what their names look like, the process as first group.
func place(pattern string) (folder string, file *regexp.Regexp) {
	if program, piped := strings.CutPrefix(pattern, "|"); piped {
		switch {
		case strings.Contains(program, "systemd-coredump"):
			return "/var/lib/systemd/coredump", ofSystemd
		case strings.Contains(program, "apport"):
			return "/var/crash", ofApport
		}
		return "", nil
	}
	folder, name := path.Split(pattern)
	if !path.IsAbs(pattern) || strings.Contains(folder, "%") || name == "" {
		return "", nil // the folder of each process, or one that depends on it
	}
	var b strings.Builder
	b.WriteString("^")
	grouped := false
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			b.WriteString(regexp.QuoteMeta(name[i : i+1]))
			continue
		}
		if i++; i == len(name) {
			break // the kernel drops it, too
		}
		switch name[i] {
		case '%':
			b.WriteString("%")
		case 'e', 'f', 'E':
			if grouped {
				b.WriteString(".+")
			} else {
				b.WriteString("(.+)")
			}
			grouped = true
		case 'h':
			b.WriteString(".+")
		default: // numbers: pid, uid, gid, signal, time, limits
			b.WriteString(`-?\d+`)
		}
	}
	b.WriteString(`(?:\.\d+)?$`) // core_uses_pid
	return path.Clean(folder), regexp.MustCompile(b.String())
}
