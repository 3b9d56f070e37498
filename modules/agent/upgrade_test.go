package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/modules/agent/collect"
)

// put writes a file below root.
func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// An agent whose self_upgrade is off takes no order and says so; hbs gets the ids of the
// machine and the MD5 of the file that is in force.
func TestSelfUpgradeIsOff(t *testing.T) {
	var downloads atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { downloads.Add(1) }))
	defer srv.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan model.AgentReportRequest, 16)
	s := rpc.NewServer(rpc.ServerOptions{})
	rpc.Handle(s, "Agent.ReportStatus", func(_ context.Context, _ *rpc.Conn, r *model.AgentReportRequest) (*model.AgentUpgradeRpcResponse, error) {
		got <- *r
		return &model.AgentUpgradeRpcResponse{Args: &model.AgentUpgradeArgs{WgetURL: srv.URL, Version: "9.9", BinFileMd5: "35ac8534c0b31237e844ef8ee2bb9b9e"}}, nil
	})
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	defer func() { stop(); <-served }()

	root := t.TempDir()
	put(t, root, "etc/machine-id", "4f2a\n")
	put(t, root, "proc/sys/kernel/random/boot_id", "91c0\n")
	put(t, root, "agent.json", "{}")
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Hostname, cfg.HTTP.Enabled, cfg.Transfer.Enabled = "h1", false, false
	cfg.Heartbeat = Heartbeat{Enabled: true, Addr: ln.Addr().String(), Interval: conf.Seconds(time.Second), Timeout: conf.Millis(time.Second)}
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Root: root, File: filepath.Join(root, "agent.json")})
	if err != nil {
		t.Fatal(err)
	}
	run, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(run) }()
	for range 3 {
		r := <-got
		if r.SelfUpgrade != "self_upgrade is false" || r.InUpgrading || r.MachineID != "4f2a" || r.BootID != "91c0" || r.ConfigMd5 != "99914b932bd37a50b983c5e7c90ae93b" {
			t.Errorf("reported %+v", r)
		}
	}
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := downloads.Load(); n != 0 {
		t.Errorf("%d downloads", n)
	}
}

// An agent inside of falcon up is not a program of its own.
func TestLargerProcessDoesNotUpgrade(t *testing.T) {
	cfg := testConfig("a:1")
	cfg.SelfUpgrade = true
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var r model.AgentReportRequest
	a.about(&r)
	if !strings.Contains(r.SelfUpgrade, "larger process") {
		t.Errorf("%+v", r)
	}
	a.ordered(&model.AgentUpgradeRpcResponse{Args: &model.AgentUpgradeArgs{Version: "9.9"}}) // and nothing happens
}

func TestUpgradeConfig(t *testing.T) {
	for _, tc := range []struct{ in, err string }{
		{`{"upgrade":{"public_key":"x"}}`, "upgrade.public_key"},
		{`{"upgrade":{"require_signature":true}}`, "write upgrade.public_key"},
		{`{"upgrade":{"rate":-1}}`, "rate can not be negative"},
		{`{"upgrade":{"timeout":"1ms"}}`, "a second at least"},
		{`{"upgrade":{"public_key":"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3","require_signature":true}}`, ""},
	} {
		cfg := DefaultConfig()
		cfg.Self.Enabled = false // the agent of this machine is not asked
		_, err := conf.Parse([]byte(tc.in), &cfg)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s\n got %v\nwant %s", tc.in, err, tc.err)
		}
	}
}

func TestFirstLineIsBounded(t *testing.T) {
	root := t.TempDir()
	put(t, root, "etc/machine-id", strings.Repeat("a", 200)+"\n")
	if got := machineID(collect.At(root)); len(got) != 64 {
		t.Errorf("%d bytes", len(got))
	}
	if got := bootID(collect.At(root)); got != "" {
		t.Errorf("without a file %q", got)
	}
}
