package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"falcon/common/daemon"
	"falcon/modules/agent/collect"
	"falcon/modules/agent/collect/cpu"
	"falcon/modules/agent/collect/df"
	"falcon/modules/agent/collect/disk"
)

// A host is what the pages below /proc, /page and /system show: this machine at this
// moment, in stock's shapes (contract ingest 3.10).
type host struct {
	root     collect.Root
	endpoint string
	now      func() time.Time
	cpu      *cpu.Collector  // the one that is collected from
	disk     *disk.Collector // the same
	df       *df.Collector   // of the pages alone
	timeout  time.Duration

	asking sync.Mutex // df is asked by one page at a time
}

// newHost returns the pages' view of what slots look at.
func newHost(cfg *Config, root collect.Root, endpoint string, now func() time.Time, slots []*slot) *host {
	h := &host{root: root, endpoint: endpoint, now: now, df: df.New(root, cfg.Collector.MountPoint), timeout: cfg.Collector.Timeout.D()}
	for _, s := range slots {
		switch c := s.c.(type) {
		case *cpu.Collector:
			h.cpu = c
		case *disk.Collector:
			h.disk = c
		}
	}
	return h
}

// errNotPrepared is stock's text while the first second has not passed.
var errNotPrepared = errors.New("not prepared")

// pages announces the pages on mux.
func (h *host) pages(mux *http.ServeMux) {
	for path, of := range map[string]func(context.Context) (any, error){
		"/proc/cpu/num":         h.cpuNum,
		"/proc/cpu/mhz":         h.cpuMHz,
		"/proc/cpu/usage":       h.cpuUsage,
		"/page/cpu/usage":       h.cpuUsagePage,
		"/proc/memory":          h.memory,
		"/page/memory":          h.memoryPage,
		"/proc/kernel/hostname": func(context.Context) (any, error) { return h.endpoint, nil },
		"/proc/kernel/maxproc":  func(context.Context) (any, error) { return h.number("proc/sys/kernel/pid_max") },
		"/proc/kernel/maxfiles": func(context.Context) (any, error) { return h.number("proc/sys/fs/file-max") },
		"/proc/kernel/version":  h.kernelVersion,
		"/proc/system/uptime":   h.uptime,
		"/page/system/uptime":   h.uptimePage,
		"/proc/system/loadavg":  h.loadavg,
		"/page/system/loadavg":  h.loadavgPage,
		"/page/df":              h.dfPage,
		"/page/diskio":          h.diskioPage,
		"/system/date":          func(context.Context) (any, error) { return h.now().Format(time.DateTime), nil },
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), h.timeout)
			defer cancel()
			v, err := of(ctx)
			answer(w, v, err)
		})
	}
}

// answer writes stock's envelope; an error is its msg, with status 200.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		daemon.WriteJSON(w, map[string]string{"msg": err.Error()})
		return
	}
	daemon.WriteJSON(w, struct {
		Msg  string `json:"msg"`
		Data any    `json:"data"`
	}{"success", v})
}

func (h *host) number(path string) (any, error) {
	text, err := h.root.Read(path)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("/%s: %w", path, err)
	}
	return n, nil
}

// cpus returns how many processors are online.
func (h *host) cpus() (int, error) {
	text, err := h.root.Read("proc/stat")
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " ")
		if rest, ok := strings.CutPrefix(name, "cpu"); ok && rest != "" {
			n++
		}
	}
	return n, nil
}

func (h *host) cpuNum(context.Context) (any, error) { return h.cpus() }

func (h *host) cpuMHz(context.Context) (any, error) {
	text, err := h.root.Read("proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		if key, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(key), "cpu MHz") {
			return strings.TrimSpace(v), nil
		}
	}
	return nil, errors.New("/proc/cpuinfo of this machine tells no MHz")
}

func (h *host) shares() (cpu.Shares, error) {
	if h.cpu == nil {
		return cpu.Shares{}, errNotPrepared
	}
	s, ok, err := h.cpu.Now()
	if err != nil {
		return s, err
	}
	if !ok {
		return s, errNotPrepared
	}
	return s, nil
}

func (h *host) cpuUsage(context.Context) (any, error) {
	s, err := h.shares()
	return struct {
		Idle    float64 `json:"idle"`
		Busy    float64 `json:"busy"`
		User    float64 `json:"user"`
		Nice    float64 `json:"nice"`
		System  float64 `json:"system"`
		Iowait  float64 `json:"iowait"`
		IRQ     float64 `json:"irq"`
		SoftIRQ float64 `json:"softirq"`
		Steal   float64 `json:"steal"`
		Guest   float64 `json:"guest"`
	}(s), err
}

func (h *host) cpuUsagePage(context.Context) (any, error) {
	s, err := h.shares()
	row := []string{}
	for _, v := range []float64{s.Idle, s.Busy, s.User, s.Nice, s.System, s.Iowait, s.IRQ, s.SoftIRQ, s.Steal, s.Guest} {
		row = append(row, percent(v))
	}
	return [][]string{row}, err
}

func percent(v float64) string { return fmt.Sprintf("%.1f%%", v) }

type memory struct {
	Total uint64 `json:"total"`
	Free  uint64 `json:"free"`
	Used  uint64 `json:"used"`
}

// mem returns bytes. What buffers and caches hold counts as free, as in stock.
func (h *host) mem() (m memory, err error) {
	text, err := h.root.Read("proc/meminfo")
	if err != nil {
		return m, err
	}
	kB := map[string]uint64{}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		name, rest, _ := strings.Cut(s.Text(), ":")
		if f := strings.Fields(rest); len(f) > 0 {
			kB[name], _ = strconv.ParseUint(f[0], 10, 64) // what is no number counts as none
		}
	}
	m.Total = kB["MemTotal"] << 10
	m.Free = min((kB["MemFree"]+kB["Buffers"]+kB["Cached"])<<10, m.Total)
	m.Used = m.Total - m.Free
	if m.Total == 0 {
		return m, errors.New("/proc/meminfo has no MemTotal")
	}
	return m, nil
}

func (h *host) memory(context.Context) (any, error) { return h.mem() }

func (h *host) memoryPage(context.Context) (any, error) {
	m, err := h.mem()
	return []uint64{m.Total >> 20, m.Used >> 20, m.Free >> 20}, err
}

func (h *host) kernelVersion(context.Context) (any, error) {
	text, err := h.root.Read("proc/sys/kernel/osrelease")
	return strings.TrimSpace(text), err
}

type running struct {
	Days  int64 `json:"days"`
	Hours int64 `json:"hours"`
	Mins  int64 `json:"mins"`
}

func (h *host) up() (u running, err error) {
	text, err := h.root.Read("proc/uptime")
	if err != nil {
		return u, err
	}
	first, _, _ := strings.Cut(text, " ")
	seconds, err := strconv.ParseFloat(strings.TrimSpace(first), 64)
	if err != nil {
		return u, fmt.Errorf("/proc/uptime: %w", err)
	}
	mins := int64(seconds) / 60
	return running{mins / (24 * 60), mins / 60 % 24, mins % 60}, nil
}

func (h *host) uptime(context.Context) (any, error) { return h.up() }

func (h *host) uptimePage(context.Context) (any, error) {
	u, err := h.up()
	return fmt.Sprintf("%d days %d hours %d minutes", u.Days, u.Hours, u.Mins), err
}

type loadavg struct{ Avg1min, Avg5min, Avg15min float64 }

func (h *host) load() (l loadavg, running, total int64, err error) {
	text, err := h.root.Read("proc/loadavg")
	if err != nil {
		return l, 0, 0, err
	}
	if _, err := fmt.Sscanf(text, "%f %f %f %d/%d", &l.Avg1min, &l.Avg5min, &l.Avg15min, &running, &total); err != nil {
		return l, 0, 0, fmt.Errorf("/proc/loadavg holds %q: %w", strings.TrimSpace(text), err)
	}
	return l, running, total, nil
}

func (h *host) loadavg(context.Context) (any, error) {
	l, running, total, err := h.load()
	return struct {
		loadavg
		RunningProcesses int64
		TotalProcesses   int64
	}{l, running, total}, err
}

func (h *host) loadavgPage(context.Context) (any, error) {
	l, _, _, err := h.load()
	if err != nil {
		return nil, err
	}
	n, err := h.cpus()
	rows := [][]any{}
	for _, v := range []float64{l.Avg1min, l.Avg5min, l.Avg15min} {
		rows = append(rows, []any{v, int64(v * 100 / float64(max(n, 1)))})
	}
	return rows, err
}

// dfPage leaves out what does not answer in time.
func (h *host) dfPage(ctx context.Context) (any, error) {
	h.asking.Lock()
	defer h.asking.Unlock()
	all, err := h.df.Usage(ctx)
	if len(all) == 0 && err != nil {
		return nil, err
	}
	rows := [][]string{}
	for _, u := range all {
		inodes := 0.0
		if u.Inodes > 0 {
			inodes = u.InodesUsed() * 100 / u.Inodes
		}
		rows = append(rows, []string{
			u.Source, readable(u.Total), readable(u.Used), readable(u.Free), percent(u.UsedPercent), u.Mount,
			readable(u.Inodes), readable(u.InodesUsed()), readable(u.InodesFree), percent(inodes), u.Type,
		})
	}
	return rows, nil
}

// readable writes 8589934592 as 8.0G.
func readable(v float64) string {
	unit := 0
	const units = "BKMGTPE"
	for v >= 1024 && unit < len(units)-1 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f%c", v, units[unit])
}

func (h *host) diskioPage(context.Context) (any, error) {
	rows := [][]string{}
	if h.disk == nil {
		return rows, nil
	}
	whole := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	part := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	all, err := h.disk.Rates()
	for _, d := range all {
		rows = append(rows, []string{
			d.Device, whole(d.ReadsMerged), whole(d.WritesMerged), whole(d.Reads), whole(d.Writes),
			part(d.ReadSectors / 2), part(d.WriteSectors / 2), // kB
			part(d.RequestSectors), part(d.QueueLength), part(d.Await), part(d.ServiceTime), part(d.Util) + "%",
		})
	}
	return rows, err
}
