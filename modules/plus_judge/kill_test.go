package plusjudge

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

const ledgerHosts = 12

// A ledger is what a plus_judge that is killed was told of conditions, and what it must
// have made of that.
type ledger struct {
	t       *testing.T
	redis   *testkit.RedisServer
	dir     string
	program string
	p       *testkit.Process
	c       *rpc.Client
	rng     *rand.Rand
	at      int64 // time of the last round
	starts  int
	holds   [ledgerHosts][4]bool
	open    [ledgerHosts]bool
	want    [ledgerHosts][]string
}

func newLedger(t *testing.T, program string) *ledger {
	t.Helper()
	l := &ledger{t: t, redis: testkit.Redis(t), dir: t.TempDir(), program: program, rng: rand.New(rand.NewPCG(testkit.Seed(t), 1)), at: time.Now().Unix() - 30_000}
	addr := testkit.FreeAddr(t)
	text := fmt.Sprintf(`{"data":%q,"http":{"enabled":false},"rpc":{"listen":%q},"alarm":{"redis":{"dsn":%q}},"journal":{"every":"1s"}}`,
		filepath.Join(l.dir, "data"), addr, l.redis.Addr())
	if err := os.WriteFile(filepath.Join(l.dir, "plus_judge.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l.start("")
	l.c = rpc.NewClient(rpc.ClientOptions{Addr: addr, CallTimeout: 5 * time.Second})
	t.Cleanup(l.c.Close)
	return l
}

// start starts a plus_judge that dies at a failpoint, or lives.
func (l *ledger) start(deadly string) {
	l.starts++
	l.p = testkit.StartDeadly(l.t, deadly, l.dir, l.program, "-c", "plus_judge.json")
}

// round says of every condition whether it holds, as judges do, so that what a kill made
// uncertain is certain in the same round; one of each host changes. What is not
// acknowledged is said again, and so are the others of a host when one was started between
// them: it begins no problem before it has heard of all. A plus_judge that has died is started again. In a deadly
// round it is killed at any moment of a call, or after it.
func (l *ledger) round(deadly bool) {
	l.t.Helper()
	l.at++
	for h := range ledgerHosts {
		changes := 1 + l.rng.IntN(3)
		host := fmt.Sprintf("host%02d", h)
		l.holds[h][changes] = !l.holds[h][changes]
		for starts := 0; starts != l.starts; {
			starts = l.starts
			for id := 1; id <= 3; id++ {
				status := model.StatusOK
				if l.holds[h][id] {
					status = model.StatusProblem
				}
				e := event(id, host, status, l.at, nil)
				kill := deadly && h == ledgerHosts/2 && id == changes
				testkit.Eventually(l.t, 20*time.Second, func() error {
					if l.p.Dead() {
						l.start("")
					}
					killed := make(chan struct{})
					if kill {
						p, after := l.p, time.Duration(l.rng.IntN(1500))*time.Microsecond
						go func() {
							defer close(killed)
							<-time.After(after)
							p.Kill()
						}()
					} else {
						close(killed)
					}
					err := l.c.Call(l.t.Context(), "Judge.UnionJudge", e, &model.SimpleRpcResponse{})
					<-killed
					kill, deadly = false, deadly && !kill
					return err
				})
			}
		}
		if all := l.holds[h][1] && l.holds[h][2] && l.holds[h][3]; all != l.open[h] {
			l.open[h] = all
			status := model.StatusOK
			if all {
				status = model.StatusProblem
			}
			l.want[h] = append(l.want[h], status)
		}
	}
}

// verify waits until each begin and each end is in Redis, once and in order, and looks for
// files that no start removes.
func (l *ledger) verify() {
	t := l.t
	t.Helper()
	if l.p.Dead() {
		l.start("")
	}
	settings := redisx.DefaultConfig()
	settings.Addr = conf.DSN(l.redis.Addr())
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
		for h, want := range l.want {
			host := fmt.Sprintf("host%02d", h)
			if fmt.Sprint(got[host]) != fmt.Sprint(want) {
				return fmt.Errorf("%s was told %v, want %v", host, got[host], want)
			}
			n += len(want)
		}
		return nil
	})
	if n < 20 {
		t.Errorf("%d events are no proof", n)
	}
	l.p.Stop()
	l.start("")
	testkit.Eventually(t, 20*time.Second, func() error {
		return l.c.Call(t.Context(), "Judge.UnionJudge", event(1, "host00", model.StatusOK, l.at, nil), &model.SimpleRpcResponse{})
	})
	l.p.Stop()
	if left, _ := filepath.Glob(filepath.Join(l.dir, "data", "*.tmp")); len(left) > 0 { // the pattern is good
		t.Errorf("%q are left", left)
	}
	if all, _ := filepath.Glob(filepath.Join(l.dir, "data", "snapshot-*")); len(all) > 1 {
		t.Errorf("snapshots are %q", all)
	}
	testkit.Outcome(t, "%d events, each once", n)
}

// A plus_judge that is killed again and again, by a sender that repeats what was not
// acknowledged and refreshes what goes on, tells each beginning and each end once, in
// order, and ends nothing that goes on. FALCON_SOAK=1 kills it twenty times.
func TestKillLedger(t *testing.T) {
	kills := 8
	if os.Getenv("FALCON_SOAK") != "" {
		kills = 20
	}
	l := newLedger(t, testkit.Program(t, "plus_judge"))
	for round := range 3 * kills {
		l.round(round%3 == 1)
	}
	l.verify()
	testkit.Outcome(t, "%d kills", kills)
}

// The same ledger of one that dies at each failpoint.
func TestFailpoints(t *testing.T) {
	l := newLedger(t, filepath.Join(testkit.Failpoints(t, "plus_judge"), "falcon-plus_judge"))
	l.round(false)
	for _, name := range failpoint.Of("plus_judge") {
		deadly := fmt.Sprint(name, ":", 1+l.rng.IntN(2))
		l.p.Kill()
		l.start(deadly)
		died := l.p
		for limit := time.Now().Add(30 * time.Second); !died.Dead(); {
			if time.Now().After(limit) {
				t.Fatalf("it never comes to %s", deadly)
			}
			l.round(false)
			<-time.After(30 * time.Millisecond) // journals turn by the clock
		}
		if !died.Killed() {
			t.Fatalf("at %s it ended by itself", deadly)
		}
	}
	l.verify()
}
