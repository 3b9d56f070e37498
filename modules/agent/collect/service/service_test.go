package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"falcon/modules/agent/collect"
)

// A fake is a host below a folder.
type fake struct {
	t    *testing.T
	root string
}

func (f fake) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// clock sets what the two processors have spent, and the seconds since boot.
func (f fake) clock(ticks, uptime int) {
	f.write("proc/stat", fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 77 0\ncpu0 1 0 0 1\ncpu1 1 0 0 1\nctxt 5\n", ticks/4, ticks-ticks/4))
	f.write("proc/uptime", fmt.Sprintf("%d.00 1.0\n", uptime))
}

// process writes one; its name is a hard one.
func (f fake) process(pid, start int, utime, stime, cutime, cstime, rss int) {
	f.write(fmt.Sprintf("proc/%d/stat", pid), fmt.Sprintf("%d (a ) 7 (b)) S 1 1 1 0 -1 4194304 9 9 9 9 %d %d %d %d 20 0 1 0 %d 1000 50 184467 1 1 0\n", pid, utime, stime, cutime, cstime, start))
	f.write(fmt.Sprintf("proc/%d/status", pid), fmt.Sprintf("Name:\ta\nVmPeak:\t%d kB\nVmSize:\t    20 kB\nVmLck:\t 1 kB\nVmPin:\t 9 kB\nVmHWM:\t3 kB\nVmRSS:\t%d kB\nVmData:\t4 kB\nVmStk:\t5 kB\nVmExe:\t6 kB\nVmLib:\t7 kB\nVmPTE:\t8 kB\nVmSwap:\t2 kB\nThreads:\t1\n", rss+100, rss))
}

func newFake(t *testing.T) fake { return fake{t, t.TempDir()} }

// look returns what a look finds, a line each.
func look(t *testing.T, c *Collector) map[string]string {
	t.Helper()
	items, err := c.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, it := range items {
		got[it.Metric+"{"+it.Tags+"}"] = fmt.Sprint(it.Type, " ", it.Value)
	}
	return got
}

func wants(t *testing.T, what string, got map[string]string, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %s is %q, want %q", what, k, got[k], v)
		}
	}
}

// The same services by the control groups of a host of each kind.
func TestServices(t *testing.T) {
	for name, top := range map[string]string{"v2": "sys/fs/cgroup", "v1": "sys/fs/cgroup/systemd", "mixed": "sys/fs/cgroup/unified"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			for path, pids := range map[string]string{
				"": "1\n", "init.scope": "1\n", "system.slice/nginx.service": "10\n11\n", "system.slice/php.service": "", "system.slice/php.service/pool.slice": "20\n",
				"system.slice/idle.service": "", "user.slice/user-5.slice/user@5.service": "30\n", "user.slice/user-5.slice/user@5.service/app.slice/web.service": "31\n",
				"machine.slice/box.scope": "40\n", "system.slice/other.service": "50\n",
			} {
				f.write(filepath.Join(top, path, "cgroup.procs"), pids)
			}
			f.clock(10_000, 1_000)
			for _, pid := range []int{1, 10, 11, 20, 30, 31, 40, 50} {
				f.process(pid, 500, 100, 50, 10, 5, pid)
			}
			dir := t.TempDir()
			c := New(collect.At(f.root), dir)
			if got := look(t, c); len(got) != 0 {
				t.Errorf("before hbs names services there are %v", got)
			}
			c.Watch([]string{"nginx", "php.service", "user@5", "box", "idle", "gone"})
			got := look(t, c)
			if len(got) != 4*11 {
				t.Errorf("the first look finds %d values: %v", len(got), got)
			}
			wants(t, "memory", got, map[string]string{
				"proc.mem.rss{service=nginx}": "GAUGE 21", "proc.mem.peak{service=nginx}": "GAUGE 221", "proc.mem.size{service=nginx}": "GAUGE 40", "proc.mem.lck{service=nginx}": "GAUGE 2",
				"proc.mem.hwm{service=nginx}": "GAUGE 6", "proc.mem.data{service=nginx}": "GAUGE 8", "proc.mem.stk{service=nginx}": "GAUGE 10", "proc.mem.exe{service=nginx}": "GAUGE 12",
				"proc.mem.lib{service=nginx}": "GAUGE 14", "proc.mem.pte{service=nginx}": "GAUGE 16", "proc.mem.swap{service=nginx}": "GAUGE 4",
				"proc.mem.rss{service=php}": "GAUGE 20", "proc.mem.rss{service=user@5}": "GAUGE 30", "proc.mem.rss{service=box}": "GAUGE 40",
			})
			if b, err := os.ReadFile(filepath.Join(dir, "service_pids")); err != nil || string(b) != "box:40\nnginx:10,11\nphp:20\nuser@5:30\n" {
				t.Errorf("service_pids is %q, %v", b, err)
			}

			// 2 000 ticks of two processors are ten seconds. A child has begun since; one
			// process has another's pid; one has come over from elsewhere.
			f.clock(12_000, 1_010)
			f.process(10, 500, 600, 150, 30, 15, 10)
			f.process(11, 100_500, 30, 20, 0, 0, 11)
			f.write(filepath.Join(top, "system.slice/nginx.service/cgroup.procs"), "10\n11\n12\n13\n99\n")
			f.process(12, 100_600, 40, 10, 0, 0, 12)
			f.process(13, 400, 5_000, 5_000, 0, 0, 13)
			got = look(t, c)
			wants(t, "processor", got, map[string]string{
				"proc.cpu.utime{service=nginx}": "GAUGE 57", "proc.cpu.stime{service=nginx}": "GAUGE 13", "proc.cpu.use{service=nginx}": "GAUGE 70",
				"proc.cpu.cutime{service=nginx}": "GAUGE 2", "proc.cpu.cstime{service=nginx}": "GAUGE 1", "proc.cpu.use{service=php}": "GAUGE 0",
			})

			// A service that has ended has no values, and nothing is an error.
			f.write(filepath.Join(top, "system.slice/nginx.service/cgroup.procs"), "")
			f.clock(14_000, 1_020)
			if got := look(t, c); len(got) != 3*16 || got["proc.mem.rss{service=nginx}"] != "" {
				t.Errorf("after it has ended there are %v", got)
			}
			c.Watch(nil)
			if got := look(t, c); len(got) != 0 {
				t.Errorf("with nothing to look at there are %v", got)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "service_pids")); err != nil || len(b) != 0 {
				t.Errorf("service_pids is %q, %v", b, err)
			}
		})
	}
}

func TestBadHosts(t *testing.T) {
	for _, tc := range []struct {
		name, file, text, err string
	}{
		{"no control groups", "sys/x", "", "can not be told apart"},
		{"a process of another namespace", "sys/fs/cgroup/system.slice/a.service/cgroup.procs", "0\n", "--pid=host"},
		{"no number", "sys/fs/cgroup/system.slice/a.service/cgroup.procs", "x\n", `a.service/cgroup.procs: "x" is no process`},
		{"a short stat", "proc/7/stat", "7 (x) S 1", "/proc/7/stat: 2 fields behind the name"},
		{"a stat without a name", "proc/7/stat", "7 x S 1", "/proc/7/stat: \"7 x S 1\" has no name"},
		{"a bad status", "proc/7/status", "VmRSS: lots kB\n", "/proc/7/status: VmRSS"},
		{"no processor", "proc/stat", "ctxt 1\n", "/proc/stat names no processor"},
		{"no uptime", "proc/uptime", "-1\n", "/proc/uptime"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			if tc.name != "no control groups" {
				f.write("sys/fs/cgroup/cgroup.procs", "1\n")
				f.write("sys/fs/cgroup/system.slice/a.service/cgroup.procs", "7\n")
			}
			f.clock(1000, 10)
			f.process(7, 1, 1, 1, 1, 1, 1)
			f.write(tc.file, tc.text)
			c := New(collect.At(f.root), "")
			c.Watch([]string{"a"})
			if items, err := c.Collect(t.Context()); err == nil || !strings.Contains(err.Error(), tc.err) || len(items) > 0 {
				t.Errorf("%d items, error %v, want %q", len(items), err, tc.err)
			}
		})
	}
	f := newFake(t)
	f.write("sys/fs/cgroup/cgroup.procs", "1\n")
	f.write("sys/fs/cgroup/a.service/cgroup.procs", "7\n")
	f.clock(1000, 10)
	f.process(7, 1, 1, 1, 1, 1, 1)
	c := New(collect.At(f.root), filepath.Join(f.root, "missing"))
	c.Watch([]string{"a"})
	if items, err := c.Collect(t.Context()); err == nil || !strings.Contains(err.Error(), "app_base_dir") || len(items) != 11 {
		t.Errorf("without the folder of service_pids: %d items, error %v", len(items), err)
	}
}

// Nothing that stands in the files of a process makes it panic.
func FuzzProcess(f *testing.F) {
	f.Add("7 (a b) S 1 1 1 0 -1 4194304 9 9 9 9 1 2 3 4 20 0 1 0 500 1000 50", "VmRSS:\t5 kB\n")
	f.Add("7 ()", "VmPeak:")
	f.Add(")", "VmPTE: -1 kB")
	f.Fuzz(func(t *testing.T, stat, status string) {
		p, err := parseStat(stat)
		if (p == nil) == (err == nil) && err == nil {
			t.Error("neither a process nor an error")
		}
		_ = (&process{}).parseStatus(status)
	})
}
