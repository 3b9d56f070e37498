package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/testkit"
	"falcon/modules/agent/scrape"
)

// From the page of an exporter to the point at a transfer, with the default tags.
func TestScrapeIsSent(t *testing.T) {
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# TYPE hits_total counter\nhits_total{path=\"/\"} 7\n")
	}))
	defer exporter.Close()
	stock := &stockTransfer{}
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Hostname, cfg.HTTP.Enabled, cfg.Heartbeat.Enabled = "here", false, false
	cfg.DefaultTags = map[string]string{"dc": "one"}
	cfg.Transfer.Addrs = []string{serveStock(t, "Transfer", stock)}
	cfg.Scrape = []scrape.Target{{URL: exporter.URL, Interval: conf.Duration(time.Second)}}
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
		got := ""
		for _, it := range stock.items {
			got += string(it)
		}
		for _, want := range []string{
			`"metric":"hits_total","value":7,"step":1,"counterType":"COUNTER","tags":"dc=one,path=/"`,
			`"metric":"scrape.up","value":1,"step":1,"counterType":"GAUGE","tags":"dc=one,url=` + exporter.URL + `"`,
		} {
			if !strings.Contains(got, want) {
				return fmt.Errorf("transfer has %s, want %s", got, want)
			}
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	cfg.Scrape = []scrape.Target{{URL: "x"}}
	if _, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "scrape[0].url: ") {
		t.Errorf("a target that is no page: %v", err)
	}
}
