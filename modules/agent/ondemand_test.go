package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	netrpc "net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/testkit"
)

// builtinReply is an answer of an hbs as it was captured.
type builtinReply struct {
	Result model.BuiltinMetricResponse
}

func captured(t *testing.T, name string) *builtinReply {
	t.Helper()
	r := &builtinReply{}
	if err := json.Unmarshal(read(t, "testdata/agent-hbs/"+name+".s2c.bin"), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// A captured stock hbs answers what was captured, to the questions that were captured.
type capturedHBS struct {
	t     *testing.T
	mu    sync.Mutex
	asked []string // JSON of the questions
}

func (h *capturedHBS) ReportStatus(*model.AgentReportRequest, *model.SimpleRpcResponse) error {
	return nil
}

func (h *capturedHBS) TrustableIps(*model.NullRpcRequest, *string) error { return nil }

func (h *capturedHBS) BuiltinMetrics(q *json.RawMessage, r *model.BuiltinMetricResponse) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, string(*q))
	*r = captured(h.t, map[bool]string{true: "builtinmetrics_new", false: "builtinmetrics_same"}[len(h.asked) == 1]).Result
	return nil
}

// serveStock serves the methods of a stock daemon until the test ends.
func serveStock(t *testing.T, name string, methods any) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := netrpc.NewServer()
	if err := s.RegisterName(name, methods); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { c.Close() })
			wg.Go(func() { s.ServeCodec(jsonrpc.NewServerCodec(c)) })
		}
	})
	t.Cleanup(func() { cancel(); ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// The conversation with a stock hbs, word for word: first the checksum "nil", then the
// one of the list.
func TestBuiltinMetricsConversation(t *testing.T) {
	h := &capturedHBS{t: t}
	addr := serveStock(t, "Agent", h)
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Hostname, cfg.HTTP.Enabled, cfg.Transfer.Enabled = "it-agent", false, false
	cfg.Heartbeat = Heartbeat{Enabled: true, Addr: addr, Interval: conf.Seconds(time.Second), Timeout: conf.Millis(time.Second)}
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	testkit.Eventually(t, 20*time.Second, func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.asked) < 2 {
			return fmt.Errorf("asked %d times", len(h.asked))
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i, name := range []string{"builtinmetrics_new", "builtinmetrics_same"} {
		var call struct{ Params []json.RawMessage }
		if err := json.Unmarshal(read(t, "testdata/agent-hbs/"+name+".c2s.bin"), &call); err != nil {
			t.Fatal(err)
		}
		if want := string(call.Params[0]); h.asked[i] != want {
			t.Errorf("question %d is %s, want %s", i, h.asked[i], want)
		}
	}
}

// writeAsked writes what the captured list asks for.
func writeAsked(t *testing.T, root string) {
	t.Helper()
	for file, text := range map[string]string{
		"etc/passwd":      "0123456789",
		"proc/net/tcp":    "  sl  local_address\n 0: 0100007F:792C 00000000:0000 0A 0:0\n",
		"proc/77/status":  "Name:\tredis-server\n",
		"proc/77/cmdline": "redis-server\x00*:6379\x00",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The captured list on a fake host: each value, with stock's tags.
func TestOnDemandValues(t *testing.T) {
	root := t.TempDir()
	writeRoot(t, root, 0)
	writeAsked(t, root)
	page := httptest.NewServer(nil)
	defer page.Close()
	cfg := testConfig("t:1")
	cfg.Hostname = "it-agent"
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Root: root})
	if err != nil {
		t.Fatal(err)
	}
	list := captured(t, "builtinmetrics_new").Result
	for _, m := range list.Metrics {
		m.Tags = strings.Replace(m.Tags, "http://127.0.0.1:31019", page.URL, 1)
	}
	list.Metrics = append(list.Metrics, nil, &model.BuiltinMetric{Metric: "proc.num", Tags: "user=root"}, &model.BuiltinMetric{Metric: "net.ping", Tags: "host=x"})
	a.demand.apply(&list)
	var got []string
	for _, s := range a.demand.slots() {
		items, err := s.c.Collect(t.Context())
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		for _, it := range items {
			got = append(got, fmt.Sprintf("%d %s{%s} %s %v", s.level, it.Metric, a.tagged(it.Tags), it.Type, it.Value))
		}
	}
	want := []string{
		"3 du.bs{path=/etc/passwd} GAUGE 10",
		"2 net.port.listen{port=31020} GAUGE 1",
		"2 net.port.listen{port=31021} GAUGE 0",
		"2 proc.num{cmdline=no-such-process-it} GAUGE 0",
		"2 proc.num{name=redis-server} GAUGE 1",
		"3 url.check.health{src=it-agent,timeout=3,url=" + page.URL + "/probe} GAUGE 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := a.demand.refused.Sum(); n != 2 {
		t.Errorf("%d refused, want 2: %v", n, a.demand.refused.All())
	}
}

// A list is taken when its checksum is another one, whatever the clock of that hbs says;
// an hbs that has no answer changes nothing, and an empty list ends everything.
func TestDemandIsApplied(t *testing.T) {
	a, err := New(testConfig("t:1"), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ports := func() (n int) {
		items, _ := a.demand.by["net.port.listen"].Collect(t.Context())
		return len(items)
	}
	list := func(sum string, at int64, tags ...string) *model.BuiltinMetricResponse {
		r := &model.BuiltinMetricResponse{Checksum: sum, Timestamp: at}
		for _, t := range tags {
			r.Metrics = append(r.Metrics, &model.BuiltinMetric{Metric: "net.port.listen", Tags: t})
		}
		return r
	}
	for _, c := range []struct {
		what  string
		reply *model.BuiltinMetricResponse
		sum   string
		ports int
	}{
		{"no answer yet", list("", 0), "nil", 0},
		{"the first list", list("a", 1000, "port=1"), "a", 1},
		{"the same", list("a", 1060), "a", 1},
		{"another one, of a clock behind", list("b", 500, "port=1", "port=2"), "b", 2},
		{"an hbs without its database", list("", 0), "b", 2},
		{"nothing to look at", list("", 1120), "", 0},
		{"again", list("b", 1120, "port=1", "port=2"), "b", 2},
	} {
		a.demand.apply(c.reply)
		if a.demand.sum() != c.sum || ports() != c.ports {
			t.Errorf("%s: checksum %q and %d ports, want %q and %d", c.what, a.demand.sum(), ports(), c.sum, c.ports)
		}
	}
}

// What hbs asks for goes out with the step of its level, and ends when hbs does not ask
// any more.
func TestOnDemandIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		root := t.TempDir()
		if err := os.MkdirAll(root+"/proc/net", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+"/proc/net/tcp", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		var mu sync.Mutex
		log := slog.New(slog.NewTextHandler(writer(func(b []byte) { mu.Lock(); defer mu.Unlock(); logged.Write(b) }), nil))
		a, err := New(cfg, Deps{Log: log, Root: root})
		if err != nil {
			t.Fatal(err)
		}
		slots := a.demand.slots()
		w := newWorldWith(t, cfg, Deps{Log: log, Root: root}, slots...)
		defer w.end()
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		a.demand.refused = w.a.demand.refused
		a.demand.apply(&model.BuiltinMetricResponse{Checksum: "x", Timestamp: 1, Metrics: []*model.BuiltinMetric{{Metric: "net.port.listen", Tags: "port=80"}, {Metric: "du.bs", Tags: "x"}}})
		after(90 * time.Second)
		got := strings.Join(w.transfers["t:1"].seen(), " ")
		n := strings.Count(got, "net.port.listen@")
		if n < 2 {
			t.Errorf("sent %s", got)
		}
		a.demand.apply(&model.BuiltinMetricResponse{Checksum: "", Timestamp: 1})
		after(5 * time.Minute)
		if m := strings.Count(strings.Join(w.transfers["t:1"].seen(), " "), "net.port.listen@"); m != n {
			t.Errorf("%d points after hbs asks for none", m-n)
		}
		mu.Lock()
		defer mu.Unlock()
		if s := logged.String(); !strings.Contains(s, "metric=du.bs tags=x") {
			t.Errorf("nothing tells of the rule that can not be served: %s", s)
		}
	})
}
