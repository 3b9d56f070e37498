package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	netrpc "net/rpc"
	"net/rpc/jsonrpc"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// stockHBS is a stock hbs.
type stockHBS struct{ got chan model.AgentReportRequest }

func (h stockHBS) ReportStatus(r *model.AgentReportRequest, _ *model.SimpleRpcResponse) error {
	h.got <- *r
	return nil
}

// A report goes to the first hbs that answers, also to a stock one, which speaks
// JSON alone and hangs up on what it does not know.
func TestHeartbeat(t *testing.T) {
	got := make(chan model.AgentReportRequest, 8)
	ours := func(ctx context.Context, ln net.Listener) error {
		s := rpc.NewServer(rpc.ServerOptions{})
		rpc.Handle(s, "Agent.ReportStatus", func(_ context.Context, _ *rpc.Conn, r *model.AgentReportRequest) (*model.SimpleRpcResponse, error) {
			got <- *r
			return &model.SimpleRpcResponse{}, nil
		})
		return s.Serve(ctx, ln)
	}
	stock := func(ctx context.Context, ln net.Listener) error {
		s := netrpc.NewServer()
		if err := s.RegisterName("Agent", stockHBS{got}); err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { ln.Close() })
		var wg sync.WaitGroup
		defer wg.Wait()
		for {
			c, err := ln.Accept()
			if err != nil {
				return nil
			}
			context.AfterFunc(ctx, func() { c.Close() })
			wg.Go(func() { s.ServeCodec(jsonrpc.NewServerCodec(c)) })
		}
	}
	for name, serve := range map[string]func(context.Context, net.Listener) error{"ours": ours, "stock": stock} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			served := make(chan error, 1)
			go func() { served <- serve(ctx, ln) }()
			defer func() { stop(); <-served }()

			dead, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			dead.Close()
			cfg := DefaultConfig()
			cfg.Self.Enabled = false // the agent of this machine is not asked
			cfg.Hostname, cfg.HTTP.Enabled, cfg.Transfer.Enabled = "h1", false, false
			cfg.Heartbeat = Heartbeat{Enabled: true, Addr: dead.Addr().String() + ", " + ln.Addr().String(), Interval: conf.Seconds(time.Hour), Timeout: conf.Millis(time.Second)}
			a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			run, end := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- a.Run(run) }()
			want := model.AgentReportRequest{Hostname: "h1", IP: "127.0.0.1", AgentVersion: agentVersion(), PluginVersion: "plugin not enabled"}
			r := <-got
			if r.SelfUpgrade != "self_upgrade is false" || r.BootID == "" {
				t.Errorf("reported %+v", r)
			}
			r.SelfUpgrade, r.MachineID, r.BootID = "", "", "" // of this machine
			if r != want {
				t.Errorf("reported %+v, want %+v", r, want)
			}
			trusted := "" // ours, here, does not tell
			if name == "stock" {
				trusted = "10.9.8.7,10.9.8.8"
			}
			testkit.Eventually(t, 10*time.Second, func() error {
				if got := strings.Join(a.trustedIPs(), ","); got != trusted {
					return fmt.Errorf("trusted are %q, want %q", got, trusted)
				}
				return nil
			})
			end()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TrustableIps is asked after each report.
func (h stockHBS) TrustableIps(_ *model.NullRpcRequest, list *string) error {
	*list = "10.9.8.7,10.9.8.8"
	return nil
}

func TestHeartbeatConfig(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:6030": true, "a:1, b:2": true, "": false, "a": false} {
		cfg := DefaultConfig()
		cfg.Self.Enabled = false // the agent of this machine is not asked
		cfg.Heartbeat.Enabled, cfg.Heartbeat.Addr = true, addr
		if err := cfg.Validate(); (err == nil) != ok {
			t.Errorf("addr %q: %v", addr, err)
		}
	}
}
