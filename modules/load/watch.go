package load

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// A watched process, and the CPU that it had taken at the beginning.
type watched struct {
	name  string
	proc  procfs.Proc
	start uint64 // tells the process from a later one with its PID
	cpu   float64
}

type watchedAll []watched

// watch finds processes by PID, or all of a program by name.
func watch(names []string) (all watchedAll, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	procs, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	for _, name := range names {
		found := false
		for _, p := range procs {
			program := programOf(p)
			if strconv.Itoa(p.PID) != name && program != name {
				continue
			}
			stat, err := p.Stat()
			if err != nil {
				continue // it has just ended
			}
			found = true
			if !slices.ContainsFunc(all, func(w watched) bool { return w.proc.PID == p.PID }) {
				all = append(all, watched{program, p, stat.Starttime, stat.CPUTime()})
			}
		}
		if !found {
			return nil, fmt.Errorf("watch: no process has the PID or the program %q", name)
		}
	}
	return all, nil
}

// programOf is the file name of the program that p runs; a kernel's thread has none.
func programOf(p procfs.Proc) string {
	args, err := p.CmdLine()
	if err != nil || len(args) == 0 {
		return ""
	}
	return strings.TrimSuffix(filepath.Base(args[0]), " (deleted)")
}

// measure adds what the processes have taken since to a report.
func (all watchedAll) measure(r *Report) error {
	var errs []error
	for _, w := range all {
		stat, err := w.proc.Stat()
		if err == nil && stat.Starttime != w.start {
			err = errors.New("another process has its PID")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("watch: %s (%d) has ended: %w", w.name, w.proc.PID, err))
			continue
		}
		one := Watched{Program: w.name, PID: w.proc.PID, CPU: stat.CPUTime() - w.cpu, RSS: float64(stat.ResidentMemory())}
		if status, err := w.proc.NewStatus(); err == nil {
			one.Peak = float64(status.VmHWM)
		}
		if r.Acked > 0 {
			one.PerMillion = one.CPU / float64(r.Acked) * 1e6
		}
		r.Watched = append(r.Watched, one)
	}
	return errors.Join(errs...)
}
