package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// hbs is one behind in-memory connections that knows services, or does not.
type hbs struct {
	s  *rpc.Server
	wg sync.WaitGroup

	mu    sync.Mutex
	up    bool
	conns []net.Conn

	asked atomic.Int64
	reply atomic.Pointer[model.AgentServiceConfigRpcResponse]
}

func newHBS(knows bool) *hbs {
	h := &hbs{s: rpc.NewServer(rpc.ServerOptions{})}
	h.set(true)
	h.reply.Store(&model.AgentServiceConfigRpcResponse{Code: 2})
	rpc.Handle(h.s, "Agent.ReportStatus", func(context.Context, *rpc.Conn, *model.AgentReportRequest) (*model.SimpleRpcResponse, error) {
		return &model.SimpleRpcResponse{}, nil
	})
	rpc.Handle(h.s, "Agent.TrustableIps", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*string, error) { return new(string), nil })
	if knows {
		rpc.Handle(h.s, "Agent.SyncServiceNames", func(_ context.Context, _ *rpc.Conn, r *model.AgentReportRequest) (*model.AgentServiceConfigRpcResponse, error) {
			if r.Hostname != "here" {
				return nil, fmt.Errorf("asked for %q", r.Hostname)
			}
			h.asked.Add(1)
			return h.reply.Load(), nil
		})
	}
	return h
}

// set brings it up, or down with its connections.
func (h *hbs) set(up bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up = up
	for _, c := range h.conns {
		c.Close()
	}
	h.conns = nil
}

func (h *hbs) dial() (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.up {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	h.conns = append(h.conns, theirs)
	h.wg.Go(func() {
		var wg sync.WaitGroup
		h.s.ServeConn(context.Background(), theirs, &wg)
		wg.Wait()
	})
	return ours, nil
}

// Services are asked for at once, then each minute, of the first hbs that knows the
// method; while hbs is away the last answer holds.
func TestServicesFollowHBS(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"proc/stat": "cpu 1 1 1 1\ncpu0 1 1 1 1\n", "proc/uptime": "9.0 1\n", "proc/7/stat": "7 (x) S" + strings.Repeat(" 1", 30), "proc/7/status": "VmRSS: 5 kB\n",
		"sys/fs/cgroup/cgroup.procs": "", "sys/fs/cgroup/nginx.service/cgroup.procs": "7\n", "sys/fs/cgroup/crond.service/cgroup.procs": "7\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		all := map[string]*hbs{"127.0.0.1:1": newHBS(false), "127.0.0.2:1": newHBS(true)}
		fresh := all["127.0.0.2:1"]
		fresh.reply.Store(&model.AgentServiceConfigRpcResponse{Args: "nginx, crond"})
		cfg := testConfig("t:1")
		cfg.Transfer.Enabled = false
		cfg.Heartbeat.Enabled, cfg.Heartbeat.Addr = true, "127.0.0.1:1,127.0.0.2:1"
		w := newWorldWith(t, cfg, Deps{Log: slog.New(slog.DiscardHandler), Root: root, Dial: func(_ context.Context, addr string) (net.Conn, error) { return all[addr].dial() }})
		measured := func() string {
			items, err := w.a.services.Collect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, it := range items {
				if it.Metric == "proc.mem.rss" {
					out = append(out, it.Tags)
				}
			}
			slices.Sort(out)
			return strings.Join(out, " ")
		}
		is := func(when string, asked int64, want string) {
			t.Helper()
			if n := fresh.asked.Load(); n != asked {
				t.Errorf("%s hbs was asked %d times, want %d", when, n, asked)
			}
			if got := measured(); got != want {
				t.Errorf("%s measured are %q, want %q", when, got, want)
			}
		}
		after(time.Second)
		is("at once", 1, "service=crond service=nginx")
		fresh.reply.Store(&model.AgentServiceConfigRpcResponse{Args: "crond"})
		after(time.Minute)
		is("after a minute", 2, "service=crond")
		fresh.set(false)
		fresh.reply.Store(&model.AgentServiceConfigRpcResponse{Code: 2, Args: "crond"})
		all["127.0.0.1:1"].set(false)
		after(70 * time.Second)
		is("while none answers", 2, "service=crond")
		fresh.set(true)
		after(10 * time.Second)
		is("when there are none", 3, "")
		w.end()
		for _, h := range all {
			h.wg.Wait()
		}
	})
}
