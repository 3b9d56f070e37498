package plusjudge

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
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// A plus_judge that is killed again and again, by a sender that repeats what was not
// acknowledged and refreshes what goes on, tells each beginning and each end once, in
// order, and ends nothing that goes on.
func TestKillLedger(t *testing.T) {
	redis := testkit.Redis(t)
	dir := t.TempDir()
	const hosts, rounds = 12, 24
	addr := testkit.FreeAddr(t)
	config := filepath.Join(dir, "plus_judge.json")
	text := fmt.Sprintf(`{"data":%q,"http":{"enabled":false},"rpc":{"listen":%q},"alarm":{"redis":{"dsn":%q}}}`,
		filepath.Join(dir, "data"), addr, redis.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program := testkit.Program(t, "plus_judge")
	p := testkit.Start(t, dir, program, "-c", config)
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, CallTimeout: 5 * time.Second})
	defer c.Close()

	t0 := time.Now().Unix() - rounds*60
	rng := rand.New(rand.NewPCG(3, 4))
	holds := [hosts][4]bool{}
	open := [hosts]bool{}
	want := [hosts][]string{}
	for round := range rounds {
		kill := round%3 == 1
		// Every member is said again, as judges do, so that what a kill made uncertain is
		// certain in the same round; one of them changes.
		for h := range hosts {
			changes := 1 + rng.IntN(3)
			host := fmt.Sprintf("host%02d", h)
			holds[h][changes] = !holds[h][changes]
			for id := 1; id <= 3; id++ {
				status := model.StatusOK
				if holds[h][id] {
					status = model.StatusProblem
				}
				e := event(id, host, status, t0+int64(round)*60, nil)
				testkit.Eventually(t, 20*time.Second, func() error {
					killed := make(chan struct{})
					if kill && h == hosts/2 && id == changes {
						go func() { // at any moment of the call, or after it
							defer close(killed)
							<-time.After(time.Duration(rng.IntN(1500)) * time.Microsecond)
							p.Kill()
						}()
					} else {
						close(killed)
					}
					err := c.Call(context.Background(), "Judge.UnionJudge", e, &model.SimpleRpcResponse{})
					<-killed
					if kill && h == hosts/2 && id == changes {
						kill = false
						p = testkit.Start(t, dir, program, "-c", config)
					}
					return err
				})
			}
			all := holds[h][1] && holds[h][2] && holds[h][3]
			if all != open[h] {
				open[h] = all
				status := model.StatusOK
				if all {
					status = model.StatusProblem
				}
				want[h] = append(want[h], status)
			}
		}
	}
	settings := redisx.DefaultConfig()
	settings.Addr = conf.DSN(redis.Addr())
	pool, err := redisx.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	n := 0
	testkit.Eventually(t, 20*time.Second, func() error {
		list, err := redisx.Strings(pool.Do(t.Context(), "LRANGE", "event:p2", 0, -1))
		if err != nil {
			return err
		}
		got := map[string][]string{}
		for i := len(list) - 1; i >= 0; i-- {
			var e model.Event
			if err := json.Unmarshal([]byte(list[i]), &e); err != nil {
				return err
			}
			if e.Status == model.StatusProblem && e.CurrentStep > 1 {
				continue // how often it is repeated depends on the clock
			}
			got[e.Endpoint] = append(got[e.Endpoint], e.Status)
		}
		n = 0
		for h := range hosts {
			host := fmt.Sprintf("host%02d", h)
			if fmt.Sprint(got[host]) != fmt.Sprint(want[h]) {
				return fmt.Errorf("%s was told %v, want %v", host, got[host], want[h])
			}
			n += len(want[h])
		}
		return nil
	})
	if n < 20 {
		t.Errorf("%d events are no proof", n)
	}
	t.Logf("%d events, each once", n)
}
