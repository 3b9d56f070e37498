package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"falcon/common/httpx"
	"falcon/modules/fleet"
)

// upFirst is the time from falcon up on an empty folder until the page is there.
func upFirst(ctx context.Context, b *bench) (float64, string, error) {
	cfg := filepath.Join(b.dir, "fleet.json")
	err := os.WriteFile(cfg, []byte(`{
		"agent": {"http": {"enabled": true, "listen": ":0"}},
		"transfer": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"graph": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"api": {"web_port": ":0"}
	}`), 0o600)
	if err != nil {
		return 0, "", err
	}
	began := time.Now()
	p, err := b.start("falcon", "up", "--data", "data", "--config", cfg)
	if err != nil {
		return 0, "", err
	}
	c := httpx.NewClient(httpx.Options{Tries: 1})
	for time.Since(began) < 30*time.Second {
		at, err := fleet.Endpoints(filepath.Join(b.dir, "data"))
		if err == nil {
			if _, err = c.Get(ctx, "http://"+at["api.web_port"]+"/"); err == nil {
				return time.Since(began).Seconds(), "", p.kill()
			}
		}
	}
	return 0, "", errors.Join(fmt.Errorf("no page within 30 s"), p.kill())
}
