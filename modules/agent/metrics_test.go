package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/testkit"
	"falcon/modules/agent/collect/fakehost"
)

// A metric is a line of collect/testdata/metrics.json: something that this agent may send.
type metric struct {
	Metric   string   `json:"metric"`
	Type     string   `json:"type"`
	Unit     string   `json:"unit"`
	Tags     []string `json:"tags"`
	Optional []string `json:"optional_tags"` // tags that not each of its series has
	Source   string   `json:"source"`
	// Collector is the name of its slot, or of its package when it has an interval of its
	// own and no level; empty for what is asked for by hbs.
	Collector string `json:"collector"`
	Level     int    `json:"level"`
	From      string `json:"from"` // who had it first: stock, fork, company or ours
	When      string `json:"when"` // empty: always
}

// asked is When of the metrics that an agent makes only where a rule wants them.
const asked = "asked for by hbs"

// apart are the packages whose metrics have an interval of their own, and what their
// names look like in the code.
var apart = map[string]*regexp.Regexp{"ping": regexp.MustCompile(`item\("([^"]+)"`), "scrape": regexp.MustCompile(`own\("([^"]+)"`)}

func metricsList(t *testing.T) (all []metric, by map[string]metric) {
	t.Helper()
	b, err := os.ReadFile("collect/testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	by = map[string]metric{}
	for _, m := range all {
		if _, twice := by[m.Metric]; twice {
			t.Errorf("%s is in the list twice", m.Metric)
		}
		by[m.Metric] = m
		if m.Unit == "" || m.Source == "" || (m.Level < 1 || m.Level > 4) != (apart[m.Collector] != nil) || !slices.Contains([]string{"stock", "fork", "company", "ours"}, m.From) || (m.Collector == "") != (m.When == asked) {
			t.Errorf("%s lacks something: %+v", m.Metric, m)
		}
	}
	return all, by
}

// fits says why an item is not one of the metric.
func (m metric) fits(typ, tags string) string {
	if typ != m.Type {
		return fmt.Sprintf("%s is a %s, in the list a %s", m.Metric, typ, m.Type)
	}
	keys := model.ParseTags(tags)
	for _, k := range m.Tags {
		if _, ok := keys[k]; !ok {
			return fmt.Sprintf("%s{%s} lacks the tag %s of the list", m.Metric, tags, k)
		}
		delete(keys, k)
	}
	for _, k := range m.Optional {
		delete(keys, k)
	}
	if len(keys) > 0 {
		return fmt.Sprintf("%s{%s} has tags that are not in the list", m.Metric, tags)
	}
	return ""
}

// made lets every collector look at hosts of all kinds and returns what they make, by
// "metric|type|tags", with the slot.
func made(t *testing.T) map[string]*slot {
	t.Helper()
	gpu := t.TempDir()
	if err := os.WriteFile(filepath.Join(gpu, "nvidia-smi"), []byte("#!/bin/sh\necho GPU-a, 45, 15360, 1024, 12, 34, 70.25, 30\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", gpu+":"+os.Getenv("PATH"))
	out := map[string]*slot{}
	hosts := fakehost.Read(t, "collect/testdata/hosts")
	for i := range len(hosts) + 1 {
		cfg := testConfig("t:1")
		cfg.Collector.IfacePrefix, cfg.Collector.MountPoint = []string{"eth", "en", "bond"}, []string{"/"}
		cfg.PerCore, cfg.NICTypeTag, cfg.IP = true, true, "10.1.2.3"
		cfg.NTP.Servers = []string{sntp(t)}
		root := t.TempDir()
		a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Root: root})
		if err != nil {
			t.Fatal(err)
		}
		a.version = "7.1.0"
		a.services.Watch([]string{"nginx"})
		kernel := "old"
		a.renaming = newRenaming(func() (string, error) { return kernel, nil })
		for n := range 2 {
			switch {
			case i == len(hosts):
				writeRoot(t, root, n)
			case n == 0:
				fakehost.Write(t, root, hosts[i].First)
			default:
				fakehost.Write(t, root, hosts[i].Second)
			}
			sampled(t, a)
			for _, s := range a.slots {
				items, err := s.c.Collect(t.Context())
				if err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "can not be told apart") {
					t.Errorf("%s: %v", s.name, err)
				}
				for _, it := range items {
					out[it.Metric+"|"+it.Type+"|"+it.Tags] = s
				}
				s.wasLate = true
			}
			kernel = "new"
		}
	}
	return out
}

// The list, what collectors make and what stock has sent are one: nothing is sent that is
// not in the list, and nothing is in the list that nobody makes.
func TestMetricsList(t *testing.T) {
	all, by := metricsList(t)
	seen := map[string]bool{}
	items := made(t)
	for _, key := range slices.Sorted(maps.Keys(items)) {
		f, s := strings.SplitN(key, "|", 3), items[key]
		m, ok := by[f[0]]
		if !ok {
			t.Errorf("%s of the collector %s is not in collect/testdata/metrics.json", f[0], s.name)
			continue
		}
		seen[f[0]] = true
		if why := m.fits(f[1], f[2]); why != "" {
			t.Error(why)
		}
		if m.When != asked && (m.Collector != s.name || m.Level != s.level) {
			t.Errorf("%s is of the collector %s, level %d; in the list of %s, level %d", f[0], s.name, s.level, m.Collector, m.Level)
		}
	}
	for name, in := range apart {
		files, err := filepath.Glob(filepath.Join(name, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range in.FindAllStringSubmatch(string(read(t, file)), -1) {
				if seen[m[1]] = true; by[m[1]].Collector != name {
					t.Errorf("%s of %s is not in collect/testdata/metrics.json", m[1], file)
				}
			}
		}
	}
	for _, m := range all {
		if m.When != asked && !seen[m.Metric] {
			t.Errorf("%s is in collect/testdata/metrics.json, and no collector makes it of any host", m.Metric)
		}
	}
	for name := range DefaultConfig().Ignore {
		if _, ok := by[name]; !ok {
			t.Errorf("%s is left out by default, and is not in collect/testdata/metrics.json", name)
		}
	}
	n := 0
	for _, it := range pushedByStock(t) {
		n++
		m, ok := by[it.Metric]
		if !ok {
			t.Errorf("stock sends %s, which is not in collect/testdata/metrics.json", it.Metric)
		} else if why := m.fits(it.Type, it.Tags); why != "" {
			t.Errorf("stock sends another: %s", why)
		} else if m.From != "stock" {
			t.Errorf("stock sends %s, the list says it is of %s", it.Metric, m.From)
		}
	}
	if n < 100 {
		t.Errorf("only %d items were captured", n)
	}
}

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// docs/metrics.md is made of the list: go test ./modules/agent -run TestMetricsPage -update
func TestMetricsPage(t *testing.T) {
	all, _ := metricsList(t)
	want := metricsPage(all)
	path := filepath.Join(testkit.Root(), "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/metrics.md is not made of modules/agent/collect/testdata/metrics.json: go test ./modules/agent -run TestMetricsPage -update")
	}
}

// metricsPage is the page about the list, a table for each collector.
func metricsPage(all []metric) string {
	var b strings.Builder
	b.WriteString(`# Metrics of the agent

Everything that an agent may send, by the name of the collector in its log and in ` + "`agent.collector.stuck`" + `. How often a level is looked at, ` + "`metric_level_interval`" + ` says: 10, 30, 60 and 120 s, or all of it each ` + "`transfer.interval`" + ` without that key. Who had a metric first:
stock's agent, the fork's, a company that runs stock's and had to add it, or ours. What is marked *off* is left out while ` + "`ignore`" + ` is not in the configuration, as in stock's; the shipped agent.json sends it.

This page is made of ` + "`modules/agent/collect/testdata/metrics.json`" + `, which a test holds to the code.
`)
	off := DefaultConfig().Ignore
	for i, m := range all {
		if i == 0 || all[i-1].Collector != m.Collector {
			title := m.Collector
			if title == "" {
				title = asked
			}
			fmt.Fprintf(&b, "\n## %s\n\n| metric | type | unit | tags | level | from | found in | when |\n|---|---|---|---|---|---|---|---|\n", title)
		}
		var tags []string
		for _, k := range m.Tags {
			tags = append(tags, "`"+k+"`")
		}
		for _, k := range m.Optional {
			tags = append(tags, "(`"+k+"`)")
		}
		when := m.When
		if when == "" {
			when = "always"
		}
		if off[m.Metric] {
			when += "; *off*"
		}
		level := "its own interval"
		if m.Level > 0 {
			level = strconv.Itoa(m.Level)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n", m.Metric, m.Type, m.Unit, strings.Join(tags, " "), level, m.From, m.Source, when)
	}
	return b.String()
}

// sntp is a time server whose clock is this one; it returns its address.
func sntp(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		for b := make([]byte, 512); ; {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			const since1900 = 2208988800
			now := time.Now()
			stamp := uint64(now.Unix()+since1900)<<32 | uint64(now.Nanosecond())<<32/1e9
			r := make([]byte, 48)
			r[0], r[1] = 4<<3|4, 1 // version 4, a server; next to the clock itself
			copy(r[24:32], b[40:48])
			for _, at := range []int{16, 32, 40} { // set, received, sent
				binary.BigEndian.PutUint64(r[at:], stamp)
			}
			_, _ = c.WriteTo(r, from)
		}
	}()
	return c.LocalAddr().String()
}
