package service

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// A process is one at the moment of a look.
type process struct {
	start  uint64    // in ticks since boot; tells two of one pid apart
	spent  [4]uint64 // ticks: user, system, and those of children that have ended
	memory [len(sizes)]float64
}

// sizes are the lines of /proc/PID/status that are added up, in the fork's order; kB.
var sizes = [...]struct{ line, metric string }{
	{"VmPeak", "proc.mem.peak"}, {"VmSize", "proc.mem.size"}, {"VmLck", "proc.mem.lck"}, {"VmHWM", "proc.mem.hwm"},
	{"VmRSS", "proc.mem.rss"}, {"VmData", "proc.mem.data"}, {"VmStk", "proc.mem.stk"}, {"VmExe", "proc.mem.exe"},
	{"VmLib", "proc.mem.lib"}, {"VmPTE", "proc.mem.pte"}, {"VmSwap", "proc.mem.swap"},
}

// errGone says that a process ended while its files were read.
var errGone = errors.New("the process has ended")

// read returns a file of a process.
func (c *Collector) read(pid int, file string) (string, error) {
	text, err := c.root.Read("proc", strconv.Itoa(pid), file)
	if errors.Is(err, syscall.ESRCH) {
		return "", errGone
	}
	return text, err
}

// process looks at one.
func (c *Collector) process(pid int) (*process, error) {
	stat, err := c.read(pid, "stat")
	if err != nil {
		return nil, err
	}
	p, err := parseStat(stat)
	if err != nil {
		return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	status, err := c.read(pid, "status")
	if err != nil {
		return nil, err
	}
	if err := p.parseStatus(status); err != nil {
		return nil, fmt.Errorf("/proc/%d/status: %w", pid, err)
	}
	return p, nil
}

// parseStat reads /proc/PID/stat. The name is in parentheses and may hold anything, more
// of them as well; the fields are counted from the last.
func parseStat(text string) (*process, error) {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return nil, fmt.Errorf("%.100q has no name in parentheses", text)
	}
	fields := strings.Fields(text[end+1:]) // the first is the third of all
	const utime, starttime = 14 - 3, 22 - 3
	if len(fields) <= starttime {
		return nil, fmt.Errorf("%d fields behind the name, want 20", len(fields))
	}
	p := &process{}
	var err error
	for i := range p.spent {
		if p.spent[i], err = strconv.ParseUint(fields[utime+i], 10, 64); err != nil {
			return nil, err
		}
	}
	p.start, err = strconv.ParseUint(fields[starttime], 10, 64)
	return p, err
}

// parseStatus reads the sizes of /proc/PID/status; threads of the kernel have none.
func (p *process) parseStatus(text string) error {
	for line := range strings.Lines(text) {
		key, rest, ok := strings.Cut(line, ":")
		if !ok || !strings.HasPrefix(key, "Vm") {
			continue
		}
		for i, s := range sizes {
			if s.line != key {
				continue
			}
			kB, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			p.memory[i] = float64(kB)
		}
	}
	return nil
}

// total returns the ticks that all processors have spent since boot, and how many are
// online.
func (c *Collector) total() (ticks float64, cores int, err error) {
	text, err := c.root.Read("proc/stat")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(line, " ")
		switch {
		case name == "cpu":
			fields := strings.Fields(rest)
			for _, f := range fields[:min(len(fields), 8)] { // guests are in user and nice
				v, err := strconv.ParseUint(f, 10, 64)
				if err != nil {
					return 0, 0, fmt.Errorf("/proc/stat: %w", err)
				}
				ticks += float64(v)
			}
		case strings.HasPrefix(name, "cpu"):
			cores++
		}
	}
	if ticks == 0 || cores == 0 {
		return 0, 0, errors.New("/proc/stat names no processor")
	}
	return ticks, cores, nil
}

// sinceBoot returns this moment as processes are told their beginning.
func (c *Collector) sinceBoot() (uint64, error) {
	text, err := c.root.Read("proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(text, " ")
	v, err := strconv.ParseFloat(strings.TrimSpace(first), 64)
	if err != nil || v < 0 || v > 1e12 {
		return 0, fmt.Errorf("/proc/uptime holds %.40q, want seconds", text)
	}
	return uint64(v * 100), nil // USER_HZ, which is 100 wherever Go runs
}
