package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/testkit"
)

// A stock hbs that binds plugins as it was captured.
type pluginHBS struct {
	t        *testing.T
	mu       sync.Mutex
	asked    string
	versions []string
}

func (h *pluginHBS) ReportStatus(r *model.AgentReportRequest, _ *model.SimpleRpcResponse) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.versions = append(h.versions, r.PluginVersion)
	return nil
}

func (h *pluginHBS) MinePlugins(q *json.RawMessage, r *model.AgentPluginsResponse) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = string(*q)
	var answer struct{ Result model.AgentPluginsResponse }
	if err := json.Unmarshal(read(h.t, "testdata/agent-hbs/mineplugins.s2c.bin"), &answer); err != nil {
		return err
	}
	*r = answer.Result
	return nil
}

// From the list of a stock hbs to the point at a transfer, and what /plugins shows of it
// meanwhile.
func TestPluginsOfHBS(t *testing.T) {
	h := &pluginHBS{t: t}
	addr := serveStock(t, "Agent", h)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "it/plug"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "it/plug/1_a.sh"), []byte("#!/bin/sh\necho '[{\"metric\":\"it.plug\",\"value\":7,\"step\":60,\"counterType\":\"GAUGE\"},{\"metric\":\"it.bad\",\"value\":7}]'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	stock := &stockTransfer{}
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Hostname, cfg.HTTP.Enabled = "it-agent", false
	cfg.Transfer.Addrs = []string{serveStock(t, "Transfer", stock)}
	cfg.Heartbeat = Heartbeat{Enabled: true, Addr: addr, Interval: conf.Seconds(time.Second), Timeout: conf.Millis(time.Second)}
	cfg.Plugin.Enabled, cfg.Plugin.Dir, cfg.Plugin.Logs = true, dir, t.TempDir()
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.slots = nil
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	testkit.Eventually(t, 20*time.Second, func() error {
		stock.mu.Lock()
		defer stock.mu.Unlock()
		for _, it := range stock.items {
			if strings.Contains(string(it), `"endpoint":"it-agent","metric":"it.plug","value":7,"step":60,"counterType":"GAUGE","tags":"","timestamp":`) {
				return nil
			}
		}
		return fmt.Errorf("transfer has %s", stock.items)
	})
	st := a.plugins.States()["it/plug/1_a.sh"]
	if st.FilePath != "it/plug/1_a.sh" || st.Cycle != 1 || st.Items != 1 || st.Error != "1 of 2 items refused; item 1 (it.bad): counterType is not GAUGE, COUNTER or DERIVE" {
		t.Errorf("state %+v", st)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	var call struct{ Params []json.RawMessage }
	if err := json.Unmarshal(read(t, "testdata/agent-hbs/mineplugins.c2s.bin"), &call); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked != string(call.Params[0]) {
		t.Errorf("asked %s, want %s", h.asked, call.Params[0])
	}
	if v := h.versions[0]; !strings.HasPrefix(v, "Error:") || len(v) > maxPluginVersion {
		t.Errorf("version of a folder that is no repository: %q", v)
	}
}

// PluginVersion is the commit, or stock's word for why there is none; a repository that
// the folder merely lies in is neither told nor touched.
func TestPluginVersion(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	outer := t.TempDir()
	dir := filepath.Join(outer, "plugin")
	git := func(in string, args ...string) string {
		t.Helper()
		out, err := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-C", in}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	a, ask := visitor(t, func(c *Config) { c.Plugin.Enabled, c.Plugin.Dir = true, dir })
	if v := a.pluginVersion(t.Context()); v != "plugin dir not existent" {
		t.Errorf("without a folder: %q", v)
	}
	git(outer, "init", "-q")
	file := filepath.Join(outer, "mine")
	if err := os.WriteFile(file, []byte("committed"), 0o600); err != nil {
		t.Fatal(err)
	}
	git(outer, "add", ".")
	git(outer, "commit", "-q", "-m", "a")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v := a.pluginVersion(t.Context()); !strings.HasPrefix(v, "Error:") {
		t.Errorf("inside of a repository: %q", v)
	}
	if got := ask("GET", "/plugin/reset", local, ""); !strings.HasPrefix(got, "200 git reset --hard in dir:") {
		t.Errorf("reset: %s", got)
	}
	if got := string(read(t, file)); got != "changed" {
		t.Error("/plugin/reset has reset the repository around the folder")
	}
	git(dir, "init", "-q")
	git(dir, "commit", "-q", "--allow-empty", "-m", "a")
	if v, want := a.pluginVersion(t.Context()), git(dir, "rev-parse", "HEAD"); v != want || len(v) != 40 {
		t.Errorf("version %q, want %q", v, want)
	}
}

func TestPluginConfig(t *testing.T) {
	for _, c := range []struct {
		change func(*Plugin)
		want   string
	}{
		{func(*Plugin) {}, ""},
		{func(p *Plugin) { p.Dir = "" }, "plugin.dir and plugin.logs"},
		{func(p *Plugin) { p.Logs = "" }, "plugin.dir and plugin.logs"},
		{func(p *Plugin) { p.MaxOutput = 0 }, "plugin.maxOutput: 0 is not between 1 and 1024 MB"},
		{func(p *Plugin) { p.Enabled, p.MaxOutput = false, 0 }, ""},
	} {
		cfg := DefaultConfig()
		cfg.Self.Enabled = false // the agent of this machine is not asked
		cfg.Plugin.Enabled = true
		c.change(&cfg.Plugin)
		if err := cfg.Validate(); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", cfg.Plugin, err, c.want)
		}
	}
}
