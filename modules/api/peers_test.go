package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/redisx"
	"falcon/common/testkit"
)

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hbs hears of a change at once; while Redis is away nothing waits for it, and it
// hears of the change when Redis is back.
func TestHBSIsToldOfChanges(t *testing.T) {
	server := testkit.Redis(t)
	cfg := redisx.DefaultConfig()
	cfg.Addr = conf.DSN(server.Addr())
	pool, err := redisx.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	log := &lockedBuffer{}
	n := newRulesNotice(pool, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()

	heard, stands := make(chan string, 100), make(chan bool, 100)
	listen, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = pool.Subscribe(listen, redisx.RulesDirty, func() { stands <- true }, func(m []byte) { heard <- string(m) })
	})
	defer wg.Wait()
	defer stop()

	<-stands
	n.Changed()
	if m := <-heard; m != "api" {
		t.Errorf("heard %q", m)
	}
	if count, err := redisx.Int64(pool.Do(ctx, "GET", redisx.RulesDirty)); count != 1 || err != nil {
		t.Errorf("%s is %d, %v", redisx.RulesDirty, count, err)
	}

	server.Kill()
	for range 10 {
		n.Changed()
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if !strings.Contains(log.String(), "hbs is not told of a change") {
			return errors.New("the log does not say that hbs is not told")
		}
		return nil
	})
	server.Start()
	testkit.Eventually(t, 20*time.Second, func() error {
		count, err := redisx.Int64(pool.Do(ctx, "GET", redisx.RulesDirty))
		if err == nil && count == 0 {
			err = errors.New("not told yet")
		}
		return err
	})
	if got := strings.Count(log.String(), "hbs is not told"); got != 1 {
		t.Errorf("one outage is said %d times:\n%s", got, log)
	}

	if _, err := pool.Do(ctx, "HSET", redisx.Heartbeats, "h1", 1795319760, "h2", "x"); err != nil {
		t.Fatal(err)
	}
	seen, err := liveness{pool}.LastSeen(ctx, []string{"h1", "h2", "h3"})
	if err != nil || fmt.Sprint(seen) != "map[h1:1795319760]" {
		t.Errorf("LastSeen: %v, %v", seen, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
