package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"falcon/common/testkit"
)

// listen lets a transfer answer at a port of this machine until the test ends.
func (tr *transfer) listen(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			tr.mu.Lock()
			up := tr.up
			if up {
				tr.conns = append(tr.conns, c)
			}
			tr.mu.Unlock()
			if !up {
				_ = c.Close()
				continue
			}
			tr.wg.Go(func() {
				var wg sync.WaitGroup
				tr.s.ServeConn(context.Background(), c, &wg)
				wg.Wait()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		tr.kill()
		tr.wg.Wait()
	})
	return ln.Addr().String()
}

// An agent is killed again and again while its two transfers come and go. Once they are
// back, they have every point whose push was answered with success. FALCON_SOAK=1 kills
// it longer.
func TestKilledAgentLosesNothing(t *testing.T) {
	rounds := 4
	if os.Getenv("FALCON_SOAK") != "" {
		rounds = 50
	}
	rng := rand.New(rand.NewPCG(testkit.Seed(t), 1))
	a, b := newTransfer("a"), newTransfer("b")
	transfers := []*transfer{a, b}
	dir, addr := t.TempDir(), testkit.FreeAddr(t)
	cfg, err := json.Marshal(map[string]any{
		"hostname": "here", "http": map[string]any{"enabled": true, "listen": addr}, "heartbeat": map[string]any{"enabled": false},
		"transfer": map[string]any{"enabled": true, "addrs": []string{a.listen(t), b.listen(t)}, "interval": "1h"},
		"spool":    map[string]any{"dir": "spool"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cfg.json"), cfg, 0o600); err != nil {
		t.Fatal(err)
	}
	program := testkit.Program(t, "agent")
	start := func() *testkit.Process {
		p := testkit.Start(t, dir, program, "-c", "cfg.json")
		testkit.Eventually(t, 10*time.Second, func() error {
			resp, err := http.Get("http://" + addr + "/health")
			if err != nil {
				return err
			}
			return resp.Body.Close()
		})
		return p
	}

	var mu sync.Mutex
	acked, next := map[string]bool{}, int64(1_000_000)
	count := make(chan struct{}, 1)
	push := func(metric string) {
		for {
			var items []map[string]any
			var keys []string
			mu.Lock()
			for range 20 {
				items = append(items, map[string]any{"endpoint": "here", "metric": metric, "timestamp": next, "step": 60, "value": next, "counterType": "GAUGE"})
				keys = append(keys, fmt.Sprintf("%s@%d", metric, next))
				next++
			}
			mu.Unlock()
			body, err := json.Marshal(items)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := http.Post("http://"+addr+"/v1/push", "application/json", bytes.NewReader(body))
			if err != nil {
				return // it was killed: nobody vouches for the batch
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("push: %s", resp.Status)
				return
			}
			mu.Lock()
			for _, key := range keys {
				acked[key] = true
			}
			mu.Unlock()
			select {
			case count <- struct{}{}:
			default:
			}
		}
	}
	for range rounds {
		p := start()
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { push(fmt.Sprint("m", i)) })
		}
		for range 2 + rng.IntN(5) {
			for range 1 + rng.IntN(30) {
				<-count
			}
			tr := transfers[rng.IntN(2)]
			tr.set(func(tr *transfer) { tr.up = !tr.up })
			tr.kill()
		}
		for range rng.IntN(10) {
			<-count
		}
		p.Kill()
		wg.Wait()
	}
	for _, tr := range transfers {
		tr.set(func(tr *transfer) { tr.up = true })
	}
	p := start()
	testkit.Eventually(t, 30*time.Second, func() error {
		got := append(a.seen(), b.seen()...)
		slices.Sort(got)
		lost := 0
		for key := range acked {
			if _, ok := slices.BinarySearch(got, key); !ok {
				lost++
			}
		}
		if lost > 0 {
			return fmt.Errorf("%d of %d points are lost", lost, len(acked))
		}
		return nil
	})
	p.Stop()
	testkit.Outcome(t, "%d points answered for, %d kills", len(acked), rounds)
}
