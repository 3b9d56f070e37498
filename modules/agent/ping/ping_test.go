package ping

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/stat"
	"falcon/common/testkit"
)

func TestRead(t *testing.T) {
	got := Read(strings.Join([]string{
		"127.0.0.1    : 0.030 0.024 0.036",
		"10.255.255.1 : - - -",
		"web-1        : 1.5 - 2.5",
		"fd00::1      : 3 3 3\r",
		"nosuch.invalid: Name or service not known",
		"ICMP Host Unreachable from 10.0.0.1 for ICMP Echo sent to 10.0.0.2",
		"short : 1 2",
		"long : 1 2 3 4",
		"odd : 1 x 3",
		"odder : NaN 1 -1",
		"",
	}, "\n"), 3)
	want := map[string]Answer{"127.0.0.1": {3, 3, 0.03}, "10.255.255.1": {3, 0, 0}, "web-1": {3, 2, 2}, "fd00::1": {3, 3, 3}}
	if len(got) != len(want) {
		t.Errorf("read %v", got)
	}
	for k, w := range want {
		if g := got[k]; g.Sent != w.Sent || g.Received != w.Received || g.Msec < w.Msec-1e-9 || g.Msec > w.Msec+1e-9 {
			t.Errorf("%s is %+v, want %+v", k, g, w)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("127.0.0.1 : 0.03 -\n", 2)
	f.Fuzz(func(t *testing.T, text string, count int) {
		for k, a := range Read(text, count) {
			if a.Received > a.Sent || a.Sent != count || a.Msec < 0 {
				t.Errorf("%q: %s is %+v", text, k, a)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.IDC = "" }, `ping.idc: "" is no name`},
		{func(c *Config) { c.IDC = "a,b" }, "ping.idc: "},
		{func(c *Config) { c.Targets = nil }, "ping: there is nobody to ask"},
		{func(c *Config) { c.Targets, c.HBS = nil, true }, ""},
		{func(c *Config) { c.Targets = []string{"-f/etc/passwd"} }, "ping.targets: "},
		{func(c *Config) { c.Targets = []string{"a b"} }, "ping.targets: "},
		{func(c *Config) { c.Targets = []string{"web=10.0.0.1=x"} }, "ping.targets: "},
		{func(c *Config) { c.Nodes = map[string][]string{"sh": {"a\nb"}} }, "ping.nodes.sh: "},
		{func(c *Config) { c.Nodes = map[string][]string{"s h": {"a"}} }, "ping.nodes: "},
		{func(c *Config) { c.Interval = conf.Duration(time.Millisecond) }, "ping.interval: 1ms is not a whole number"},
		{func(c *Config) { c.Count = 0 }, "ping.count: 0 is not between 1 and 100"},
		{func(c *Config) { c.Count = 60 }, "ping.count: 60 packets take 1m0s, which is not less than ping.interval, 1m0s"},
		{func(c *Config) { c.Timeout = 1 }, "ping.timeout: "},
		{func(c *Config) { c.Fping = "" }, "ping.fping: "},
		{func(c *Config) { c.Redis = &redisx.Config{Addr: "nowhere"} }, "ping.redis: "},
	} {
		cfg := DefaultConfig()
		cfg.Enabled, cfg.IDC, cfg.Targets = true, "bj1", []string{"127.0.0.1", "web-1=10.0.0.1"}
		c.change(&cfg)
		if err := cfg.Validate(); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", cfg, err, c.want)
		}
	}
	off := Config{}
	if err := off.Validate(); err != nil {
		t.Errorf("a section that is off: %v", err)
	}
}

type node struct {
	*Pinger
	mu     sync.Mutex
	items  []*model.MetricValue
	logged bytes.Buffer
}

func newNode(t *testing.T, cfg Config) *node {
	t.Helper()
	n := &node{}
	cfg.Enabled = true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var err error
	n.Pinger, err = New(cfg, Options{
		Endpoint: "node-1", Log: slog.New(slog.NewTextHandler(&n.logged, nil)), Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
		Take: func(items []*model.MetricValue) (int, string) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.items = append(n.items, items...)
			return len(items), ""
		},
	}, stat.New("t"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// shown are the items; msec of a real answer is "?".
func (n *node) shown(real bool) string {
	var lines []string
	for _, it := range n.items {
		v := fmt.Sprint(it.Value)
		if f, ok := it.Value.(float64); real && ok && it.Metric == "icmp.ping.msec" && f > 0 && f < 5000 {
			v = "?"
		}
		lines = append(lines, fmt.Sprintf("%s %s{%s} %s %s %d @%d", it.Endpoint, it.Metric, it.Tags, it.Type, v, it.Step, it.Timestamp))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Debian's fping on addresses of this machine, on one that nobody has, and on a name
// without an address; hosts and the nodes of another data centre.
func TestRound(t *testing.T) {
	if _, err := exec.LookPath("fping"); err != nil {
		t.Skip("fping is not installed (package fping)")
	}
	if err := exec.Command("fping", "-q", "127.0.0.1").Run(); err != nil {
		t.Skipf("fping can not ask 127.0.0.1 here: %v", err)
	}
	cfg := DefaultConfig()
	cfg.IDC, cfg.Count, cfg.Timeout, cfg.HBS = "bj1", 2, conf.Duration(time.Second), true
	cfg.Targets = []string{"127.0.0.1", "web-1=127.0.0.2", "dead=0.0.0.1", "127.0.0.1"}
	cfg.Nodes = map[string][]string{"bj1": {"127.0.0.9"}, "sh1": {"far=127.0.0.3", "gone=0.0.0.1"}}
	n := newNode(t, cfg)
	n.Hosts([]string{"127.0.0.4", "-f", "no such host", "nosuch.invalid"})
	n.round(t.Context())
	want := strings.TrimSpace(`
127.0.0.1 icmp.ping.alive{src_idc=bj1} GAUGE 1 60 @1700000000
127.0.0.1 icmp.ping.loss{src_idc=bj1} GAUGE 0 60 @1700000000
127.0.0.1 icmp.ping.msec{src_idc=bj1} GAUGE ? 60 @1700000000
127.0.0.4 icmp.ping.alive{src_idc=bj1} GAUGE 1 60 @1700000000
127.0.0.4 icmp.ping.loss{src_idc=bj1} GAUGE 0 60 @1700000000
127.0.0.4 icmp.ping.msec{src_idc=bj1} GAUGE ? 60 @1700000000
dead icmp.ping.alive{src_idc=bj1} GAUGE 0 60 @1700000000
dead icmp.ping.loss{src_idc=bj1} GAUGE 100 60 @1700000000
far icmp.ping.alive{dst_idc=sh1,src=node-1,src_idc=bj1} GAUGE 1 60 @1700000000
far icmp.ping.loss{dst_idc=sh1,src=node-1,src_idc=bj1} GAUGE 0 60 @1700000000
far icmp.ping.msec{dst_idc=sh1,src=node-1,src_idc=bj1} GAUGE ? 60 @1700000000
gone icmp.ping.alive{dst_idc=sh1,src=node-1,src_idc=bj1} GAUGE 0 60 @1700000000
gone icmp.ping.loss{dst_idc=sh1,src=node-1,src_idc=bj1} GAUGE 100 60 @1700000000
web-1 icmp.ping.alive{src_idc=bj1} GAUGE 1 60 @1700000000
web-1 icmp.ping.loss{src_idc=bj1} GAUGE 0 60 @1700000000
web-1 icmp.ping.msec{src_idc=bj1} GAUGE ? 60 @1700000000`)
	if got := n.shown(true); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n.lost.Get(ReasonName) != 2 || n.lost.Get(ReasonUnresolved) != 1 || !strings.Contains(n.logged.String(), "the names of 1 hosts have no address") {
		t.Errorf("lost %v, logged %s", n.lost.All(), n.logged.String())
	}
	n.standby.Store(true) // another node has the lease
	n.items = nil
	n.round(t.Context())
	if got := n.shown(true); strings.Contains(got, "{src_idc") || !strings.Contains(got, "far icmp.ping.alive") {
		t.Errorf("on standby\n%s", got)
	}
}

// script makes a program that stands for fping.
func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fping")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// A loss in part; and fpings that fail: what they printed counts, what they did not is
// told once, and none of them holds a round up.
func TestTroubles(t *testing.T) {
	child := "1000." + strconv.Itoa(os.Getpid()) + "55"
	for _, c := range []struct{ name, text, items, logged string }{
		{"some packets are lost", "cat >/dev/null; echo 'a : 1 - 2 -' >&2; echo 'b : - - - -' >&2; exit 1",
			"a icmp.ping.alive{src_idc=x} GAUGE 1 2 @1700000000\na icmp.ping.loss{src_idc=x} GAUGE 50 2 @1700000000\na icmp.ping.msec{src_idc=x} GAUGE 1.5 2 @1700000000\nb icmp.ping.alive{src_idc=x} GAUGE 0 2 @1700000000\nb icmp.ping.loss{src_idc=x} GAUGE 100 2 @1700000000", ""},
		{"it refuses", "echo 'fping: these options are too risky' >&2; exit 3", "", "exit status 3: fping: these options are too risky"},
		{"it fails half way", "echo 'a : 1 1 1 1' >&2; exit 4", "a icmp.ping.alive{src_idc=x} GAUGE 1 2 @1700000000\na icmp.ping.loss{src_idc=x} GAUGE 0 2 @1700000000\na icmp.ping.msec{src_idc=x} GAUGE 1 2 @1700000000", "exit status 4"},
		{"it hangs", "echo 'a : 1 1 1 1' >&2; sleep " + child + " & sleep " + child, "a icmp.ping.alive{src_idc=x} GAUGE 1 2 @1700000000\na icmp.ping.loss{src_idc=x} GAUGE 0 2 @1700000000\na icmp.ping.msec{src_idc=x} GAUGE 1 2 @1700000000", "1 of 2 hosts were asked before the round was over"},
		{"it writes without an end", "yes >&2", "", "0 of 2 hosts were asked before the round was over"},
	} {
		cfg := DefaultConfig()
		cfg.IDC, cfg.Targets, cfg.Count, cfg.Timeout, cfg.Fping = "x", []string{"a", "b"}, 4, conf.Duration(10*time.Millisecond), script(t, c.text)
		cfg.Interval = conf.Duration(4 * time.Second)
		n := newNode(t, cfg)
		n.cfg.Interval = conf.Duration(2 * time.Second)
		n.round(t.Context())
		n.round(t.Context())
		n.items = n.items[:len(n.items)/2]
		if got := n.shown(false); got != c.items {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.items)
		}
		if s := n.logged.String(); strings.Count(s, "level=WARN") != min(len(c.logged), 1) || !strings.Contains(s, c.logged) {
			t.Errorf("%s: logged %s, want %q once", c.name, s, c.logged)
		}
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		left, err := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range left {
			if b, err := os.ReadFile(file); err == nil && bytes.Contains(b, []byte(child)) {
				return fmt.Errorf("%s is left of an fping that was killed", file)
			}
		}
		return err
	})
	cfg := DefaultConfig()
	cfg.IDC, cfg.Targets, cfg.Fping = "x", []string{"a"}, "no-such-fping"
	n := newNode(t, cfg)
	n.round(t.Context())
	if !strings.Contains(n.logged.String(), "install the package fping") || n.items != nil || n.failed.Get() != 1 {
		t.Errorf("without fping: %s", n.logged.String())
	}
}

// Many addresses are asked by several fpings, each once.
func TestBatches(t *testing.T) {
	cfg := DefaultConfig()
	cfg.IDC, cfg.Count, cfg.Fping = "x", 1, script(t, "while read a; do echo \"$a : 1\" >&2; done")
	for i := range 2*batch + 1 {
		cfg.Targets = append(cfg.Targets, fmt.Sprintf("h%d=10.0.%d.%d", i, i/250, i%250), fmt.Sprintf("alias%d=10.0.%d.%d", i, i/250, i%250))
	}
	n := newNode(t, cfg)
	n.round(t.Context())
	if len(n.items) != 3*2*(2*batch+1) {
		t.Errorf("%d items of %d hosts; %s", len(n.items), len(cfg.Targets), n.logged.String())
	}
}

// A host that hbs forgets, since it began anew, is asked for another day.
func TestForget(t *testing.T) {
	cfg := DefaultConfig()
	cfg.IDC, cfg.HBS = "x", true
	n := newNode(t, cfg)
	now := time.Unix(1_700_000_000, 0)
	n.Now = func() time.Time { return now }
	n.Hosts([]string{"a", "b"})
	now = now.Add(23 * time.Hour)
	n.Hosts([]string{"b"})
	if asks := n.asks(); len(asks) != 2 {
		t.Errorf("asks %v", asks)
	}
	now = now.Add(2 * time.Hour)
	n.Hosts(nil)
	if asks := n.asks(); len(asks) != 1 || asks[0].Endpoint != "b" {
		t.Errorf("asks %v", asks)
	}
}

// Of two nodes of a data centre one asks the hosts; the other does once the first has
// gone, and both do while Redis is away.
func TestLease(t *testing.T) {
	redis := testkit.Redis(t)
	start := func(idc string) (*node, func()) {
		cfg := DefaultConfig()
		cfg.IDC, cfg.Targets = idc, []string{"a"}
		rc := redisx.DefaultConfig()
		rc.Addr = conf.DSN(redis.Addr())
		cfg.Redis = &rc
		n := newNode(t, cfg)
		n.ttl = 2 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.lease(ctx) }()
		return n, sync.OnceFunc(func() { cancel(); <-done })
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			if !ok() {
				return fmt.Errorf("not yet: %s", what)
			}
			return nil
		})
	}
	a, stopA := start("bj1")
	until("the lease is taken", func() bool {
		b, err := redisx.New(*a.cfg.Redis)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		v, err := redisx.String(b.Do(t.Context(), "GET", redisx.PingNode("bj1")))
		return err == nil && v != ""
	})
	b, stopB := start("bj1")
	defer stopB()
	c, stopC := start("sh1")
	defer stopC()
	until("the second stands by", func() bool { return b.standby.Load() })
	if a.standby.Load() || c.standby.Load() {
		t.Error("the first of its data centre stands by")
	}
	stopA()
	until("the second asks", func() bool { return !b.standby.Load() })
	d, stopD := start("bj1")
	defer stopD()
	until("the third stands by", func() bool { return d.standby.Load() })
	redis.Kill()
	until("all ask", func() bool { return !b.standby.Load() && !d.standby.Load() })
	redis.Start()
	until("one stands by", func() bool { return b.standby.Load() != d.standby.Load() })
}
