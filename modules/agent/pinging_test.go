package agent

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// A ping node asks hbs for the hosts every five minutes, and one that does not know the
// question again after an hour.
func TestAskHosts(t *testing.T) {
	for _, c := range []struct {
		name  string
		knows bool
		pause time.Duration
	}{{"ours", true, 5 * time.Minute}, {"stock", false, time.Hour}} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			s := rpc.NewServer(rpc.ServerOptions{})
			if c.knows {
				rpc.Handle(s, "Hbs.GetAgents", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*struct{ Agent []string }, error) {
					asked++
					return &struct{ Agent []string }{[]string{"h1", "h2"}}, nil
				})
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan error, 1)
			go func() { served <- s.Serve(ctx, ln) }()
			defer func() { cancel(); <-served }()
			cfg := testConfig("t:1")
			cfg.Heartbeat.Enabled = true
			cfg.Ping.Enabled, cfg.Ping.IDC, cfg.Ping.HBS = true, "x", true
			now := time.Unix(1_700_000_000, 0)
			a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			client := rpc.NewClient(rpc.ClientOptions{Addr: ln.Addr().String(), StockCodec: rpc.JSON, DialTimeout: time.Second, CallTimeout: time.Second, MaxConns: 1, Log: slog.New(slog.DiscardHandler)})
			defer client.Close()
			a.askHosts(t.Context(), client)
			if got := a.pingAsk.Sub(now); got != c.pause {
				t.Errorf("asked again after %v, want %v", got, c.pause)
			}
			if !c.knows {
				return
			}
			a.askHosts(t.Context(), client)
			now = now.Add(5 * time.Minute)
			a.askHosts(t.Context(), client)
			if hosts := a.pinger.Known(); asked != 2 || !slices.Equal(hosts, []string{"h1", "h2"}) {
				t.Errorf("asked %d times, pinged are %v", asked, hosts)
			}
		})
	}
	cfg := testConfig("t:1")
	cfg.Ping.Enabled, cfg.Ping.IDC, cfg.Ping.HBS = true, "x", true
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "heartbeat.enabled is false") {
		t.Errorf("hosts of an hbs that is never asked: %v", err)
	}
}
