package fleet

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// Three transfers are killed and paused at random, sometimes all of them at once, while
// programs push to the agent before them, which is killed as well. Afterwards the graph
// has every point that was pushed, once, with its value. FALCON_SOAK=1 goes on for nine
// minutes.
func TestAgentOverOutages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rounds, pace := 120, 150*time.Millisecond
	if os.Getenv("FALCON_SOAK") != "" {
		rounds, pace = 900, 600*time.Millisecond
	}
	rng := rand.New(rand.NewPCG(testkit.Seed(t), 1))
	start := func(program, name string, cfg values) *testkit.Process {
		t.Helper()
		b, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name+".json")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return testkit.Start(t, dir, testkit.Program(t, program), "-c", file)
	}
	listen := func(a string) values { return values{"enabled": true, "listen": a} }
	healthy := func(addr string) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			resp, err := http.Get("http://" + addr + "/health")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("health: %s", resp.Status)
			}
			return nil
		})
	}
	graph, graphPage := testkit.FreeAddr(t), testkit.FreeAddr(t)
	start("graph", "graph", values{"http": listen(graphPage), "rpc": listen(graph), "data": filepath.Join(dir, "graph"), "db": values{"dir": filepath.Join(dir, "db")}})
	healthy(graphPage)

	// A transfer, and when it comes back from what it suffers.
	type suffering struct {
		name, rpc, page string
		cfg             values
		p               *testkit.Process
		resume          func() // nil while it is neither paused nor dead
		until           time.Time
	}
	var transfers []*suffering
	var addrs []string
	for i := range 3 {
		s := &suffering{name: fmt.Sprint("transfer-", i), rpc: testkit.FreeAddr(t), page: testkit.FreeAddr(t)}
		s.cfg = values{
			"http": listen(s.page), "rpc": listen(s.rpc), "socket": values{"enabled": false}, "minStep": 1,
			"graph": values{"enabled": true, "cluster": values{"graph-00": graph}}, "spool": values{"dir": filepath.Join(dir, "spool-"+s.name)},
		}
		s.p = start("transfer", s.name, s.cfg)
		transfers, addrs = append(transfers, s), append(addrs, s.rpc)
		healthy(s.page)
	}
	page := testkit.FreeAddr(t)
	agent := values{
		"hostname": "this-host", "http": listen(page), "heartbeat": values{"enabled": false}, "spool": values{"dir": filepath.Join(dir, "spool-agent")},
		"transfer": values{"enabled": true, "addrs": addrs, "interval": 3600},
	}
	a := start("agent", "agent", agent)
	healthy(page)

	const series, step = 20, 5
	first := time.Now().Unix() - 600
	first -= first % step
	counts := map[string]int{}
	for r := range rounds {
		var items []values
		ts := first + int64(r)*step%900 // the long form pushes more series, not later ones
		for i := range series {
			items = append(items, values{"endpoint": fmt.Sprintf("h%d", i), "metric": fmt.Sprintf("m%d", int64(r)*step/900), "timestamp": ts, "step": step, "value": r*series + i, "counterType": "GAUGE"})
		}
		push(t, "http://"+page+"/v1/push", items)
		for _, s := range transfers {
			if s.resume != nil && time.Now().After(s.until) {
				s.resume()
				s.resume = nil
			}
		}
		if s := transfers[rng.IntN(3)]; s.resume == nil && rng.IntN(3) == 0 {
			s.until = time.Now().Add(time.Duration(rng.IntN(4000)) * time.Millisecond)
			if rng.IntN(2) == 0 {
				s.resume = s.p.Pause()
				counts["paused"]++
			} else {
				s.p.Kill()
				s.resume = func() { s.p = start("transfer", s.name, s.cfg) }
				counts["killed"]++
			}
		}
		if rng.IntN(40) == 0 {
			a.Kill()
			a = start("agent", "agent", agent)
			healthy(page)
			counts["agent killed"]++
		}
		<-time.After(pace)
	}
	for _, s := range transfers {
		if s.resume != nil {
			s.resume()
		}
	}
	over := time.Now()
	c := rpc.NewClient(rpc.ClientOptions{Addr: graph, StockCodec: rpc.Gob})
	defer c.Close()
	testkit.Eventually(t, time.Minute, func() error {
		missing, wrong := 0, 0
		for m := range int64(rounds)*step/900 + 1 {
			for i := range series {
				var got model.GraphQueryResponse
				if err := c.Call(t.Context(), "Graph.Query", &model.GraphQueryParam{
					Start: first - step, End: first + 900, ConsolFun: "AVERAGE", Endpoint: fmt.Sprintf("h%d", i), Counter: fmt.Sprintf("m%d", m),
				}, &got); err != nil {
					return err
				}
				points := map[int64]float64{}
				for _, v := range got.Values {
					points[v.Timestamp] = float64(v.Value)
				}
				for r := m * 900 / step; r < min((m+1)*900/step, int64(rounds)); r++ {
					switch v, ok := points[first+r*step%900]; {
					case !ok || v != v:
						missing++
					case v != float64(r*series+int64(i)):
						wrong++
					}
				}
			}
		}
		if missing+wrong > 0 {
			return fmt.Errorf("%d of %d points are missing, %d have another value", missing, rounds*series, wrong)
		}
		return nil
	})
	testkit.Outcome(t, "%d points, %v; all there %v after the last outage", rounds*series, counts, time.Since(over).Round(time.Millisecond))
}
