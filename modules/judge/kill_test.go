package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/testkit"
)

var point60 = expr.Point{Ts: 60, Value: 1}

// A judge that is killed again and again, by a sender that repeats what was not
// acknowledged, tells each beginning and each end once: the ledger of all events is
// that of a judge that never died.
func TestKillLedger(t *testing.T) {
	redis := testkit.Redis(t)
	dir := t.TempDir()
	const hosts, rounds = 40, 24
	b := rulebook.New()
	for h := range hosts {
		b.Add(fmt.Sprintf("host%02d", h), []*model.Strategy{strategy(1)})
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "rules.book"), b.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := testkit.FreeAddr(t)
	config := filepath.Join(dir, "judge.json")
	text := fmt.Sprintf(`{"data":%q,"remain":11,"http":{"enabled":false},"rpc":{"listen":%q},
		"hbs":{"servers":[%q]},"alarm":{"minInterval":0,"redis":{"dsn":%q}}}`, data, addr, testkit.FreeAddr(t), redis.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program := testkit.Program(t, "judge")
	p := testkit.Start(t, dir, program, "-c", config)
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, CallTimeout: 5 * time.Second})
	defer c.Close()

	t0 := time.Now().Unix() - rounds*60
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]int{}
	low := make([]int, hosts) // how many bad points in a row
	for round := range rounds {
		var items []*model.JudgeItem
		for h := range hosts {
			v := 50.0
			if rng.IntN(3) > 0 {
				v = 1
			}
			ts := t0 + int64(round)*60
			items = append(items, &model.JudgeItem{Endpoint: fmt.Sprintf("host%02d", h), Metric: "cpu.idle", JudgeType: "GAUGE", Tags: map[string]string{}, Timestamp: ts, Value: v})
			if v == 1 {
				low[h]++
				if low[h] == 2 {
					want[fmt.Sprint("PROBLEM", 1, items[h].Endpoint, ts)]++
				}
			} else {
				if low[h] >= 2 {
					want[fmt.Sprint("OK", 1, items[h].Endpoint, ts)]++
				}
				low[h] = 0
			}
		}
		kill := round%3 == 1
		testkit.Eventually(t, 20*time.Second, func() error {
			killed := make(chan struct{})
			if kill {
				go func() { // at any moment of the call, or after it
					defer close(killed)
					<-time.After(time.Duration(rng.IntN(4000)) * time.Microsecond)
					p.Kill()
				}()
			} else {
				close(killed)
			}
			err := c.Call(context.Background(), "Judge.Send", items, &model.SimpleRpcResponse{})
			<-killed
			if kill {
				kill = false
				p = testkit.Start(t, dir, program, "-c", config)
			}
			return err
		})
	}
	settings := redisx.DefaultConfig()
	settings.Addr = conf.DSN(redis.Addr())
	pool, err := redisx.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	testkit.Eventually(t, 20*time.Second, func() error {
		list, err := redisx.Strings(pool.Do(t.Context(), "LRANGE", "event:p0", 0, -1))
		if err != nil {
			return err
		}
		got := map[string]int{}
		for _, raw := range list {
			var e model.Event
			if err := json.Unmarshal([]byte(raw), &e); err != nil {
				return err
			}
			if e.Status == model.StatusProblem && e.CurrentStep > 1 {
				continue // how often it is repeated depends on the clock
			}
			got[fmt.Sprint(e.Status, e.CurrentStep, e.Endpoint, e.EventTime)]++
		}
		for k, n := range want {
			if got[k] != n {
				return fmt.Errorf("%s was told %d times, want %d", k, got[k], n)
			}
		}
		if len(got) != len(want) {
			return fmt.Errorf("%d events were told, want %d", len(got), len(want))
		}
		return nil
	})
	t.Logf("%d events, each once", len(want))
}
