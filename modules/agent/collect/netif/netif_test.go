package netif

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/modules/agent/collect"
)

// A host is a tree of files that a test changes.
type host struct {
	t     *testing.T
	root  collect.Root
	now   time.Time
	addrs map[string][]string
	c     *Collector
}

func newHost(t *testing.T, opts Options) *host {
	h := &host{t: t, root: collect.At(t.TempDir()), now: time.Unix(1000, 0), addrs: map[string][]string{}}
	h.c = New(h.root, opts)
	h.c.now = func() time.Time { return h.now }
	h.c.addrs = func() (map[string][]string, error) { return h.addrs, nil }
	return h
}

func (h *host) write(path, text string) {
	h.t.Helper()
	full := h.root.Path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// carried sets the bytes that interfaces received and sent: "eth0 100 200".
func (h *host) carried(lines ...string) {
	h.t.Helper()
	text := "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	for _, l := range lines {
		f := strings.Fields(l)
		text += fmt.Sprintf("%6s: %s 1 0 0 0 0 0 0 %s 1 0 0 0 0 0 0\n", f[0], f[1], f[2])
	}
	h.write("proc/net/dev", text)
	h.write("proc/self/net/dev", text)
}

// look collects and returns the values by metric{tags}.
func (h *host) look() map[string]float64 {
	h.t.Helper()
	items, err := h.c.Collect(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, it := range items {
		out[it.Metric+"{"+it.Tags+"}"] = it.Value
	}
	return out
}

// Mbit/s are of the time between two looks; counters that began anew give none.
func TestMbps(t *testing.T) {
	h := newHost(t, Options{Prefixes: []string{"eth"}})
	h.carried("eth0 1000000 2000000", "lo 5 5")
	if _, ok := h.look()["net.if.in.Mbps{iface=eth0}"]; ok {
		t.Error("there is a rate at the first look")
	}
	h.now = h.now.Add(10 * time.Second)
	h.carried("eth0 13500000 2000000", "lo 5 5")
	got := h.look()
	if got["net.if.in.Mbps{iface=eth0}"] != 10 || got["net.if.out.Mbps{iface=eth0}"] != 0 {
		t.Errorf("in %v, out %v Mbit/s, want 10 and 0", got["net.if.in.Mbps{iface=eth0}"], got["net.if.out.Mbps{iface=eth0}"])
	}
	if _, ok := got["net.if.in.bytes{iface=lo}"]; ok {
		t.Error("lo is looked at though it was not asked for")
	}
	h.now = h.now.Add(10 * time.Second)
	h.carried("eth0 5 5")
	if v, ok := h.look()["net.if.in.Mbps{iface=eth0}"]; ok {
		t.Errorf("counters that began anew give %v Mbit/s", v)
	}
}

// The tag nictype tells speeds and bonds apart, and is off unless asked for.
func TestNICType(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"1g", map[string]string{"eth0/speed": "1000\n"}, "1g"},
		{"10g", map[string]string{"eth0/speed": "10000\n"}, "10g"},
		{"25g", map[string]string{"eth0/speed": "25000\n"}, "25g"},
		{"2.5g", map[string]string{"eth0/speed": "2500\n"}, "2.5g"},
		{"100m", map[string]string{"eth0/speed": "100\n"}, "100m"},
		{"virtual", map[string]string{"eth0/speed": "-1\n"}, ""},
		{"no file", nil, ""},
		{"bond of two", map[string]string{"eth0/speed": "2000\n", "eth0/bonding/slaves": "p1 p2\n", "p1/speed": "1000\n", "p2/speed": "1000\n"}, "2x1g"},
		{"one of them down", map[string]string{"eth0/speed": "10000\n", "eth0/bonding/slaves": "p1 p2\n", "p1/speed": "-1\n", "p2/speed": "10000\n"}, "2x10g"},
		{"bond of four", map[string]string{"eth0/speed": "100000\n", "eth0/bonding/slaves": "p1 p2 p3 p4\n", "p1/speed": "25000\n"}, "4x25g"},
		{"bond of one", map[string]string{"eth0/speed": "10000\n", "eth0/bonding/slaves": "p1\n", "p1/speed": "10000\n"}, "10g"},
		{"bond of none", map[string]string{"eth0/speed": "-1\n", "eth0/bonding/slaves": "\n"}, ""},
	} {
		for _, on := range []bool{true, false} {
			h := newHost(t, Options{TypeTag: on})
			h.carried("eth0 1 1")
			for file, text := range c.files {
				h.write("sys/class/net/"+file, text)
			}
			want := "net.if.in.bytes{iface=eth0}"
			if on && c.want != "" {
				want = "net.if.in.bytes{iface=eth0,nictype=" + c.want + "}"
			}
			if got := h.look(); got[want] != 1 {
				t.Errorf("%s, tag %v: %s is missing in %v", c.name, on, want, got)
			}
		}
	}
}

// net.if.change is 1 once for each change of interfaces, addresses or speed, and 0 at
// the first look.
func TestChange(t *testing.T) {
	h := newHost(t, Options{Prefixes: []string{"eth"}})
	h.carried("eth0 1 1")
	h.addrs["eth0"] = []string{"10.0.0.1/24", "fd00::/64"}
	for _, step := range []struct {
		what   string
		change func()
		want   float64
	}{
		{"the first look", func() {}, 0},
		{"nothing", func() {}, 0},
		{"another order of the addresses", func() { h.addrs["eth0"] = []string{"fd00::/64", "10.0.0.1/24"} }, 0},
		{"another address", func() { h.addrs["eth0"] = []string{"10.0.0.2/24", "fd00::/64"} }, 1},
		{"nothing again", func() {}, 0},
		{"an interface that is not looked at", func() { h.carried("eth0 1 1", "veth7 1 1"); h.addrs["veth7"] = []string{"172.17.0.1/16"} }, 0},
		{"another interface", func() { h.carried("eth0 1 1", "eth1 1 1") }, 1},
		{"its speed", func() { h.write("sys/class/net/eth1/speed", "1000\n") }, 1},
		{"its end", func() { h.carried("eth0 1 1") }, 1},
		{"nothing at last", func() {}, 0},
	} {
		step.change()
		if got := h.look()["net.if.change{}"]; got != step.want {
			t.Errorf("%s: net.if.change is %v, want %v", step.what, got, step.want)
		}
	}
	h.c.addrs = func() (map[string][]string, error) { return nil, errors.New("netlink: no buffer") }
	if items, err := h.c.Collect(t.Context()); err == nil || len(items) < 26 {
		t.Errorf("addresses that are not told: %d items, %v; want the rest and an error", len(items), err)
	}
	if _, err := addresses(); err != nil { // of this machine
		t.Error(err)
	}
}
