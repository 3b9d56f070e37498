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
// that of a judge that never died. FALCON_SOAK=1 kills it fifty times.
func TestKillLedger(t *testing.T) {
	kills := 8
	if os.Getenv("FALCON_SOAK") != "" {
		kills = 50
	}
	redis := testkit.Redis(t)
	dir := t.TempDir()
	const hosts = 40
	rounds := 3 * kills
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

	t0 := time.Now().Unix() - int64(rounds)*60
	rng := rand.New(rand.NewPCG(testkit.Seed(t), 1))
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
	testkit.Outcome(t, "%d kills, %d events, each once", kills, len(want))
}

// A judge that is killed behind each answer forgets no acknowledgement: nothing more is
// told of the problem, its end is, and the next problem is told again.
func TestKillKeepsAcknowledgements(t *testing.T) {
	redis := testkit.Redis(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "rules.book"), book("h1").Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := testkit.FreeAddr(t)
	config := filepath.Join(dir, "judge.json")
	text := fmt.Sprintf(`{"data":%q,"http":{"enabled":false},"rpc":{"listen":%q},"fleet_key":"k",
		"hbs":{"servers":[%q]},"alarm":{"minInterval":0,"queuePattern":"ackevent:p%%v","redis":{"dsn":%q}}}`, data, addr, testkit.FreeAddr(t), redis.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program := testkit.Program(t, "judge")
	p := testkit.Start(t, dir, program, "-c", config)
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Key: "k"})
	defer c.Close()
	call := func(method string, arg any) (matched int) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			var r model.AckReply
			err := c.Call(t.Context(), method, arg, &r)
			matched = r.Matched
			return err
		})
		p.Kill()
		p = testkit.Start(t, dir, program, "-c", config)
		return matched
	}
	ts := time.Now().Unix() - 6000
	points := func(v float64) {
		t.Helper()
		ts += 120
		call("Judge.Send", []*model.JudgeItem{point(ts-60, v), point(ts, v)})
	}
	points(1)
	if n := call("Judge.Ack", &model.AckRequest{Endpoint: "h1", Metric: "cpu.idle", User: "anna"}); n != 1 {
		t.Fatalf("%d matched", n)
	}
	points(1)
	points(1)
	points(50)
	points(1)
	points(1)
	settings := redisx.DefaultConfig()
	settings.Addr = conf.DSN(redis.Addr())
	pool, err := redisx.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	testkit.Eventually(t, 20*time.Second, func() error {
		list, err := redisx.Strings(pool.Do(t.Context(), "LRANGE", "ackevent:p0", 0, -1))
		if err != nil {
			return err
		}
		got := ""
		for _, raw := range list {
			var e model.Event
			if err := json.Unmarshal([]byte(raw), &e); err != nil {
				return err
			}
			got = fmt.Sprintf("%s %d, ", e.Status, e.CurrentStep) + got
		}
		if got != "PROBLEM 1, OK 1, PROBLEM 1, PROBLEM 2, " {
			return fmt.Errorf("told %s", got)
		}
		return nil
	})
}
