package scrape

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/stat"
	"falcon/common/testkit"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/*.golden anew")

func shown(items []*model.MetricValue) string {
	var b strings.Builder
	for _, it := range items {
		fmt.Fprintf(&b, "%s %s{%s} %s %v step %d at %d\n", it.Endpoint, it.Metric, it.Tags, it.Type, it.Value, it.Step, it.Timestamp)
	}
	return b.String()
}

// Each kind of metric, and each way in which a label is no tag.
func TestKinds(t *testing.T) {
	body, err := os.ReadFile("testdata/kinds.txt")
	if err != nil {
		t.Fatal(err)
	}
	tg := Target{URL: "http://h/metrics", Interval: conf.Duration(30 * time.Second), Tags: map[string]string{"dc": "one"}, Deny: []string{"secret_.*", "(?i)SECOND"}}
	if err := tg.Check(); err != nil {
		t.Fatal(err)
	}
	r, err := tg.Parse(body, "here", 1_700_000_000)
	if err != nil {
		t.Fatal(err)
	}
	got := shown(r.Items)
	if *rewrite {
		if err := os.WriteFile("testdata/kinds.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/kinds.golden")
	if err != nil || got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if d := r.Dropped; d[ReasonValue] != 3 || d[ReasonDuplicate] != 1 || d[ReasonFiltered] != 1 || len(d) != 3 || r.Renamed != 2 {
		t.Errorf("dropped %v, renamed %d", d, r.Renamed)
	}
	for _, it := range r.Items {
		if model.NormalTags(it.Tags) != it.Tags {
			t.Errorf("tags %q are not as a transfer writes them", it.Tags)
		}
	}
}

// Which names are taken, and how many.
func TestFilter(t *testing.T) {
	body := []byte("a 1\nab 1\nb 1\nb_total 1\nc 1\n")
	for _, c := range []struct {
		t                   Target
		want                string
		filtered, overLimit int
	}{
		{Target{}, "a ab b b_total c", 0, 0},
		{Target{Allow: []string{"a", "b.*"}}, "a b b_total", 2, 0},
		{Target{Deny: []string{"a"}}, "ab b b_total c", 1, 0},
		{Target{Allow: []string{"a|b"}, Deny: []string{"b"}}, "a", 4, 0},
		{Target{Deny: []string{"(?i)A", "B"}}, "ab b b_total c", 1, 0}, // the flags of one are its own
		{Target{Limit: 2}, "a ab", 0, 3},
		{Target{Limit: 2, Deny: []string{"a"}}, "ab b", 1, 2},
	} {
		c.t.URL = "http://h"
		if err := c.t.Check(); err != nil {
			t.Fatal(err)
		}
		r, err := c.t.Parse(body, "h", 1)
		var names []string
		for _, it := range r.Items {
			names = append(names, it.Metric)
		}
		if got := strings.Join(names, " "); err != nil || got != c.want || r.Dropped[ReasonFiltered] != c.filtered || r.Dropped[ReasonLimit] != c.overLimit {
			t.Errorf("%v %v %d: %s, %v, %v", c.t.Allow, c.t.Deny, c.t.Limit, got, r.Dropped, err)
		}
	}
	tg := Target{URL: "http://h"}
	for _, bad := range []string{"<html>", "a{", "a 1 2 3", "a one", "a{b=\"c\"} 1", "\x00"} {
		if r, err := tg.Parse([]byte(bad), "h", 1); err == nil || r.Items != nil {
			t.Errorf("%q is %s", bad, shown(r.Items))
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		t    Target
		want string
	}{
		{Target{URL: "http://h:9100/metrics"}, ""},
		{Target{URL: "h:9100"}, "url: "},
		{Target{URL: "ftp://h"}, "url: "},
		{Target{}, "url: "},
		{Target{URL: "http://h", Interval: conf.Duration(1500 * time.Millisecond)}, "interval: 1.5s is not a whole number"},
		{Target{URL: "http://h", Interval: -1}, "interval: "},
		{Target{URL: "http://h", Timeout: conf.Duration(2 * time.Minute)}, "timeout: 2m0s is not between 0 and the interval, 1m0s"},
		{Target{URL: "http://h", Limit: -1}, "limit: -1"},
		{Target{URL: "http://h", Tags: map[string]string{"a": "b c"}}, "tags: "},
		{Target{URL: "http://h", Tags: map[string]string{"a=": "b"}}, "tags: "},
		{Target{URL: "http://h", Allow: []string{"("}}, "allow: "},
		{Target{URL: "http://h", Deny: []string{"a", "["}}, "deny: "},
	} {
		if err := c.t.Check(); (c.want == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.t, err, c.want)
		}
	}
	tg := Target{URL: "http://h", Interval: conf.Duration(5 * time.Second)}
	if err := tg.Check(); err != nil || tg.Timeout != tg.Interval || tg.Limit != defaultLimit {
		t.Errorf("defaults %+v, %v", tg, err)
	}
	if _, err := New([]Target{{URL: "http://h"}, {URL: "x"}}, Options{}, stat.New("t")); err == nil || !strings.HasPrefix(err.Error(), "scrape[1].url: ") {
		t.Errorf("error %v", err)
	}
}

type taken struct {
	mu    sync.Mutex
	items []*model.MetricValue
}

func (k *taken) take(items []*model.MetricValue) (int, string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.items = append(k.items, items...)
	return len(items), ""
}

func newScraper(t *testing.T, log *slog.Logger, tg Target) (*Scraper, *taken) {
	t.Helper()
	k := &taken{}
	at := time.Unix(1_700_000_000, 0)
	s, err := New([]Target{tg}, Options{Endpoint: "here", Log: log, Now: func() time.Time { return at }, Take: k.take}, stat.New("t"))
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

// What an exporter may do wrong makes scrape.up 0 and is told once, in words.
func TestOnce(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			if !strings.HasPrefix(r.Header.Get("Accept"), "text/plain;version=0.0.4") {
				w.WriteHeader(http.StatusNotAcceptable)
			}
			fmt.Fprint(w, "m 1\n")
		case "/huge":
			line := bytes.Repeat([]byte("# x\n"), 1<<18)
			for range 33 {
				_, _ = w.Write(line)
			}
		case "/html":
			fmt.Fprint(w, "<html>")
		case "/hangs":
			<-hang
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	defer close(hang)
	for path, want := range map[string]string{
		"/good": "", "/huge": "its answer is larger than 32 MiB", "/html": "it does not answer in the text format of Prometheus: ",
		"/none": "it answers 404 Not Found", "/hangs": "no answer within 200ms",
	} {
		var logged bytes.Buffer
		s, k := newScraper(t, slog.New(slog.NewTextHandler(&logged, nil)), Target{URL: srv.URL + path, Job: "j", Timeout: conf.Duration(30 * time.Second), Endpoint: "db-1"})
		if path == "/hangs" {
			s.targets[0].Timeout = conf.Duration(200 * time.Millisecond)
		}
		s.once(t.Context(), s.targets[0])
		s.once(t.Context(), s.targets[0])
		up, points := 1, 1
		if want != "" {
			up, points = 0, 0
		}
		own := fmt.Sprintf("db-1 scrape.up{job=j,url=%[1]s} GAUGE %[2]d step 60 at 1700000000\ndb-1 scrape.msec{job=j,url=%[1]s} GAUGE 0 step 60 at 1700000000\ndb-1 scrape.points{job=j,url=%[1]s} GAUGE %[3]d step 60 at 1700000000\n", srv.URL+path, up, points)
		all := own
		if up == 1 {
			all = "db-1 m{} GAUGE 1 step 60 at 1700000000\n" + own
		}
		if got := shown(k.items); got != all+all {
			t.Errorf("%s: items\n%s\nwant twice\n%s", path, got, all)
		}
		if n := strings.Count(logged.String(), "level=WARN"); n != min(1, len(want)) || !strings.Contains(logged.String(), want) {
			t.Errorf("%s: logged %s, want %q once", path, logged.String(), want)
		}
		if n := s.failed.Get(); n != int64(2*(1-up)) {
			t.Errorf("%s: %d failures", path, n)
		}
	}
	s, k := newScraper(t, slog.New(slog.DiscardHandler), Target{URL: "http://" + testkit.FreeAddr(t)})
	s.once(t.Context(), s.targets[0])
	if got := shown(k.items); !strings.HasPrefix(got, "here scrape.up{url=http://127.0.0.1:") || !strings.Contains(got, "} GAUGE 0 ") {
		t.Errorf("nobody there: %s", got)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	k.items = nil
	if s.once(stopped, s.targets[0]); k.items != nil {
		t.Errorf("of an agent that stops: %s", shown(k.items))
	}
}

// A target has one moment in its interval, which differs from host to host.
func TestPause(t *testing.T) {
	moments := map[time.Duration]bool{}
	for _, host := range []string{"h1", "h2", "h3"} {
		s, _ := newScraper(t, slog.New(slog.DiscardHandler), Target{URL: "http://h:1/metrics"})
		s.Endpoint = host
		now := time.Unix(1_700_000_000, 0)
		s.Now = func() time.Time { return now }
		first := s.pause(s.targets[0])
		if first <= 0 || first > time.Minute {
			t.Errorf("%s waits %v", host, first)
		}
		now = now.Add(first)
		if again := s.pause(s.targets[0]); again != time.Minute {
			t.Errorf("%s waits %v, then %v", host, first, again)
		}
		now = now.Add(-10 * time.Second)
		if again := s.pause(s.targets[0]); again != 10*time.Second {
			t.Errorf("%s waits %v ten seconds before its moment", host, again)
		}
		moments[first] = true
	}
	if len(moments) != 3 {
		t.Errorf("moments %v", moments)
	}
}

// Debian's node exporter, asked by a running Scraper.
func TestNodeExporter(t *testing.T) {
	program, err := exec.LookPath("prometheus-node-exporter")
	if err != nil {
		t.Skip("prometheus-node-exporter is not installed (package prometheus-node-exporter)")
	}
	addr := testkit.FreeAddr(t)
	p := testkit.Start(t, t.TempDir(), program, "--web.listen-address="+addr)
	defer p.Kill()
	k := &taken{}
	s, err := New([]Target{{URL: "http://" + addr + "/metrics", Job: "node", Interval: conf.Duration(time.Second), Deny: []string{"go_.*"}}},
		Options{Endpoint: "here", Log: slog.New(slog.DiscardHandler), Now: time.Now, Take: k.take}, stat.New("t"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	testkit.Eventually(t, 30*time.Second, func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		has := func(metric, tags, typ string) bool {
			return slices.ContainsFunc(k.items, func(it *model.MetricValue) bool {
				return it.Metric == metric && strings.Contains(it.Tags, tags) && it.Type == typ && it.Step == 1
			})
		}
		if !has("node_cpu_seconds_total", "cpu=0,mode=idle", model.Counter) || !has("node_load1", "", model.Gauge) || !has("scrape.up", "job=node", model.Gauge) {
			return fmt.Errorf("%d items, some are missing; the exporter says %s", len(k.items), p.Output())
		}
		for _, it := range k.items {
			if reason := model.CheckName(it.Endpoint, it.Metric, it.Tags, it.Type, it.Step); reason != "" || strings.HasPrefix(it.Metric, "go_") {
				t.Errorf("item %+v: %s", it, reason)
			}
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	body, err := os.ReadFile("testdata/kinds.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte("# TYPE a histogram\na_bucket{le=\"\"} 1\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		tg := Target{URL: "http://h", Limit: 10}
		if err := tg.Check(); err != nil {
			t.Fatal(err)
		}
		r, err := tg.Parse(body, "h", 1)
		if err != nil && r.Items != nil || len(r.Items) > 10 {
			t.Errorf("%q: %d items, %v", body, len(r.Items), err)
		}
		for _, it := range r.Items {
			if it.Tags != model.NormalTags(it.Tags) || strings.ContainsAny(it.Metric, " ,\n") {
				t.Errorf("%q makes %q with tags %q", body, it.Metric, it.Tags)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var body bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&body, "node_cpu_seconds_total{cpu=\"%d\",mode=\"idle\"} %d\n", i, i)
	}
	tg := Target{URL: "http://h"}
	if err := tg.Check(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := tg.Parse(body.Bytes(), "h", 1); err != nil {
			b.Fatal(err)
		}
	}
}
