package plusjudge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// On a Redis Cluster the master that has the list of the events dies again and again, with
// events told while it is away, and once the plus_judge is killed before anybody takes its
// place; in the end one comes back with nothing. What is true is told at last each time,
// and nothing that is not.
func TestOnARedisClusterWhoseMastersDie(t *testing.T) {
	t.Parallel()
	redis := testkit.NewRedisCluster(t, 3, true)
	dir := t.TempDir()
	const hosts = 12
	addr, pages := testkit.FreeAddr(t), testkit.FreeAddr(t)
	config := filepath.Join(dir, "plus_judge.json")
	cfg, err := json.Marshal(map[string]any{
		"data": filepath.Join(dir, "data"), "rpc": map[string]any{"enabled": true, "listen": addr}, "http": map[string]any{"enabled": true, "listen": pages},
		"alarm": map[string]any{"minInterval": 86400, "redis": map[string]any{"redis_cluster_nodes": redis.Seeds()[:2]}}, "journal": map[string]any{"every": "1s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, cfg, 0o600); err != nil {
		t.Fatal(err)
	}
	program := testkit.Program(t, "plus_judge")
	p := testkit.Start(t, dir, program, "-c", config)
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, CallTimeout: 5 * time.Second})
	defer c.Close()
	settings := redisx.DefaultConfig()
	for _, n := range redis.Seeds() {
		settings.Nodes = append(settings.Nodes, conf.DSN(n))
	}
	pool, err := redisx.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()

	t0 := time.Now().Unix() - 3600
	members := map[string]bool{} // what was said last, by host and member
	say := func(at int64, h, id int, status string) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			return c.Call(context.Background(), "Judge.UnionJudge", event(id, fmt.Sprintf("host%02d", h), status, at, nil), &model.SimpleRpcResponse{})
		})
		members[fmt.Sprint(h, " ", id)] = status == model.StatusProblem
	}
	told := map[string]string{} // by host: the event that is true by now
	allowed := map[string]bool{}
	arrives := func() {
		t.Helper()
		testkit.Eventually(t, 60*time.Second, func() error {
			list, err := redisx.Strings(pool.Do(t.Context(), "LRANGE", "event:p2", 0, -1))
			if err != nil {
				return err
			}
			last := map[string]string{}
			for i := len(list) - 1; i >= 0; i-- {
				var e model.Event
				if err := json.Unmarshal([]byte(list[i]), &e); err != nil {
					return err
				}
				key := fmt.Sprint(e.Endpoint, " ", e.Status, " ", e.EventTime)
				if !allowed[key] || e.CurrentStep != 1 {
					t.Fatalf("told %s, step %d, which is not", key, e.CurrentStep)
				}
				last[e.Endpoint] = key
			}
			for host, want := range told {
				if last[host] != want {
					return fmt.Errorf("the last of %d events about %s is %q, want %q", len(list), host, last[host], want)
				}
			}
			return nil
		})
	}
	wants := func(h int, status string, at int64) {
		host := fmt.Sprintf("host%02d", h)
		told[host] = fmt.Sprint(host, " ", status, " ", at)
		allowed[told[host]] = true
	}

	for h := range hosts {
		for id := 1; id <= 3; id++ {
			say(t0, h, id, model.StatusProblem)
		}
		wants(h, model.StatusProblem, t0)
	}
	arrives()
	for round := range 4 {
		at := t0 + int64(round+1)*60
		victim := redis.Master(redisx.Event(2)) // whoever has the list by now
		victim.Kill()
		status := []string{model.StatusOK, model.StatusProblem}[round%2]
		for h := range hosts / 2 {
			say(at, h, 2, status)
			wants(h, status, at)
		}
		if round == 2 { // with events that nobody has taken
			p.Kill()
			p = testkit.Start(t, dir, program, "-c", config)
			for h := range hosts { // judges refresh
				for id := 1; id <= 3; id++ {
					if members[fmt.Sprint(h, " ", id)] {
						say(at, h, id, model.StatusProblem)
					}
				}
			}
		}
		arrives()
		victim.Start() // empty; it follows who has taken over
		testkit.Eventually(t, 30*time.Second, func() error {
			info, err := victim.Do("INFO", "replication")
			if err == nil && !strings.Contains(info, "master_link_status:up") {
				err = errors.New(info)
			}
			return err
		})
	}
	// It is back before anybody has taken its place, and has forgotten everything: all that
	// is true is told again.
	forgetful := redis.Master(redisx.Event(2))
	forgetful.Kill()
	forgetful.Start()
	arrives()
	// The problems that went on all the time are still told of, and end.
	for h := hosts / 2; h < hosts; h++ {
		say(t0+600, h, 1, model.StatusOK)
		wants(h, model.StatusOK, t0+600)
	}
	arrives()
}
