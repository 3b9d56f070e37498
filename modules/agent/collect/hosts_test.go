package collect_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/modules/agent/collect"
	"falcon/modules/agent/collect/coredump"
	"falcon/modules/agent/collect/cpu"
	"falcon/modules/agent/collect/df"
	"falcon/modules/agent/collect/disk"
	"falcon/modules/agent/collect/fakehost"
	"falcon/modules/agent/collect/kernel"
	"falcon/modules/agent/collect/load"
	"falcon/modules/agent/collect/mem"
	"falcon/modules/agent/collect/netif"
	"falcon/modules/agent/collect/netstat"
	"falcon/modules/agent/collect/service"
	"falcon/modules/agent/collect/sockstat"
	"falcon/modules/agent/collect/uptime"
)

type named struct {
	name string
	c    collect.Collector
}

// everything is all collectors that look at files alone.
func everything(root collect.Root) []named {
	services := service.New(root, "")
	services.Watch([]string{"nginx"})
	return []named{
		{"cpu", cpu.New(root, cpu.Options{PerCore: true, Pad: 2})}, {"mem", mem.New(root)}, {"load", load.New(root)},
		{"net.if", netif.New(root, netif.Options{Prefixes: []string{"eth", "en", "bond"}, TypeTag: true})},
		{"disk.io", disk.New(root)}, {"kernel", kernel.New(root)}, {"coredump", coredump.New(root)}, {"netstat", netstat.New(root)},
		{"ss", sockstat.New(root)}, {"service", services}, {"df", df.New(root, []string{"/nowhere"})}, {"uptime", uptime.New(root)},
	}
}

// look lets a collector look and writes what it finds, errors without the folder.
func look(ctx context.Context, root string, c collect.Collector) string {
	var b strings.Builder
	if s, ok := c.(collect.Sampler); ok {
		if err := s.Sample(); err != nil {
			return "error " + strings.ReplaceAll(err.Error(), root, "") + "\n"
		}
	}
	items, err := c.Collect(ctx)
	for _, it := range items {
		fmt.Fprintf(&b, "%-7s %s{%s} %v\n", it.Type, it.Metric, it.Tags, it.Value)
	}
	if err != nil {
		fmt.Fprintf(&b, "error %s\n", strings.ReplaceAll(err.Error(), root, ""))
	}
	return b.String()
}

// What is made of hosts of several ages, a minute apart.
func TestHosts(t *testing.T) {
	for _, h := range fakehost.Read(t, "testdata/hosts") {
		t.Run(h.Name, func(t *testing.T) {
			root := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				all := everything(collect.At(root))
				var b strings.Builder
				fakehost.Write(t, root, h.First)
				for n := 1; n <= 2; n++ {
					for _, c := range all {
						fmt.Fprintf(&b, "# look %d, %s\n%s", n, c.name, look(t.Context(), root, c.c))
					}
					<-time.After(time.Minute)
					fakehost.Write(t, root, h.Second)
				}
				golden := filepath.Join("testdata/hosts", h.Name+".golden")
				if *update {
					if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				got, wanted := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
				for i := range min(len(got), len(wanted)) {
					if got[i] != wanted[i] {
						t.Fatalf("line %d of %s\n got %s\nwant %s", i+1, golden, got[i], wanted[i])
					}
				}
				if len(got) != len(wanted) {
					t.Errorf("%d lines, want the %d of %s", len(got), len(wanted), golden)
				}
			})
		})
	}
}

// whose says which collector a file of the kernel is for.
var whose = []struct{ path, collector string }{
	{"proc/stat", "cpu"}, {"proc/diskstats", "disk.io"}, {"proc/meminfo", "mem"}, {"proc/loadavg", "load"}, {"proc/net/dev", "net.if"},
	{"proc/net/netstat", "netstat"}, {"proc/net/snmp", "netstat"}, {"proc/net/sockstat", "ss"}, {"proc/net/sockstat6", "ss"}, {"proc/net/snmp", "ss"},
	{"proc/uptime", "uptime"}, {"proc/sys/fs/file-max", "kernel"}, {"proc/sys/fs/file-nr", "kernel"}, {"proc/sys/kernel/pid_max", "kernel"},
	{"proc/sys/kernel/core_pattern", "coredump"}, {"proc/1/mountinfo", "df"}, {"etc/fstab", "df"}, {"sys/class/net/eno1/speed", "net.if"},
	{"proc/stat", "service"}, {"proc/uptime", "service"}, {"proc/700/stat", "service"}, {"proc/700/status", "service"},
	{"sys/fs/cgroup/system.slice/nginx.service/cgroup.procs", "service"}, {"proc/stat", "load"},
}

// bad writes text in the place of a file of a host that is well otherwise, and returns
// what is wrong with what its collector makes of it.
func bad(t testing.TB, root string, which int, text string) string {
	w := whose[which]
	for _, path := range []string{w.path, strings.Replace(w.path, "proc/net/", "proc/self/net/", 1)} {
		path = filepath.Join(root, path)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.WriteFile(path, was, 0o644); err != nil {
				t.Fatal(err)
			}
		}()
	}
	for _, c := range everything(collect.At(root)) {
		if c.name != w.collector {
			continue
		}
		for range 2 {
			var err error
			var items []collect.Item
			if s, ok := c.c.(collect.Sampler); ok {
				err = s.Sample()
			}
			if err == nil {
				items, err = c.c.Collect(t.Context())
			}
			// Nothing may go on as a value that is none; the agent drops NaN, with a count.
			for _, it := range items {
				if it.Metric == "" || it.Type != "GAUGE" && it.Type != "COUNTER" || strings.ContainsAny(it.Tags, "\n\r") {
					return fmt.Sprintf("%s makes %+v of %s", c.name, it, w.path)
				}
			}
			if err != nil && !strings.Contains(err.Error(), filepath.Base(w.path)) {
				return fmt.Sprintf("%s says %q of a bad %s", c.name, err, w.path)
			}
		}
	}
	return ""
}

// Whatever the kernel's files hold, nothing panics, and an error names the file.
func TestBadFiles(t *testing.T) {
	root := t.TempDir()
	for _, h := range fakehost.Read(t, "testdata/hosts") {
		if h.Name == "ubuntu22" {
			fakehost.Write(t, root, h.First)
		}
	}
	for which := range whose {
		for _, text := range []string{"", "\n", " ", "x", ":", "=", "(", ")", "cpu", "cpu \n", "cpu x 1 1 1\n", "cpux 1 1 1 1\n", "cpu 1 1 1 99999999999999999999\n", "8 0 sda 1\n", "8 0 sda x 1 1 1 1 1 1 1 1 1 1\n",
			"MemTotal:\n", "MemTotal: x kB\n", "MemTotal: -1 kB\n", "0.1\n", "1 2 3\n", "nan nan nan 1/1 1\n", "inf", "-1", "eth0:\n", "eno1: 1 2 3\n", "eno1: a b c d e f g h i j k l m n o p\n", "h\nh\neno1:\n",
			"TcpExt:\nTcpExt:\n", "TcpExt: TW\nTcpExt: x\n", "TcpExt: TW TW\nTcpExt: 1\n", "Tcp: CurrEstab\n", "Tcp: CurrEstab\nTcp: x\nUdp: a\nUdp: b\n", "TCP: inuse\n", "TCP: inuse x\n", "TCP6: inuse\n",
			"|", "/%", "/a/%e%", "1 2 3", "1 2 3:4 / / rw - ext4\n", "a b c d e f g h i j k\n", "\x00\xff\xfe", strings.Repeat("1 ", 5000), strings.Repeat("a", 100_000)} {
			if why := bad(t, root, which, text); why != "" {
				t.Errorf("%.60q: %s", text, why)
			}
		}
	}
}

func FuzzFiles(f *testing.F) {
	root := f.TempDir()
	var good []fakehost.File
	for _, h := range fakehost.Read(f, "testdata/hosts") {
		if h.Name == "ubuntu22" {
			good = h.First
			fakehost.Write(f, root, good)
		}
	}
	for which, w := range whose {
		for _, g := range good {
			if g.Path == w.path {
				f.Add(uint8(which), []byte(g.Text))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		if why := bad(t, root, int(which)%len(whose), string(text)); why != "" {
			t.Errorf("%.60q: %s", text, why)
		}
	})
}
