package transfer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"falcon/common/testkit"
)

// A member is a daemon of a test that is killed and started again.
type member struct {
	t         *testing.T
	dir       string
	program   string
	http, rpc string
	p         *testkit.Process
}

// newMember writes the file of a daemon; rest is what it has beside its listeners.
func newMember(t *testing.T, program string, rest map[string]any) *member {
	t.Helper()
	m := &member{t: t, dir: t.TempDir(), program: testkit.Program(t, program), http: testkit.FreeAddr(t), rpc: testkit.FreeAddr(t)}
	cfg := map[string]any{
		"http": map[string]any{"enabled": true, "listen": m.http}, "rpc": map[string]any{"enabled": true, "listen": m.rpc},
		"socket": map[string]any{"enabled": false}, "ts_policy": "stock",
		"spool": map[string]any{"dir": filepath.Join(m.dir, "spool"), "after": "50ms"},
	}
	for k, v := range rest {
		cfg[k] = v
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "cfg.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// start starts the daemon and waits until it takes points.
func (m *member) start() {
	m.t.Helper()
	m.p = testkit.Start(m.t, m.dir, m.program, "-c", filepath.Join(m.dir, "cfg.json"))
	testkit.Eventually(m.t, 10*time.Second, func() error {
		resp, err := http.Get("http://" + m.http + "/health")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("health: %s", resp.Status)
		}
		return nil
	})
}

func (m *member) kill() {
	m.p.Kill()
	m.p = nil
}

// settled waits until all that the daemon has taken is delivered, and its books agree.
func (m *member) settled() {
	m.t.Helper()
	testkit.Eventually(m.t, 30*time.Second, func() error {
		resp, err := http.Get("http://" + m.http + "/debug/accounting")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var all []struct {
			Spooled  int64 `json:"spooled"`
			InFlight int64 `json:"in_flight"`
			Missing  int64 `json:"missing"`
			Damaged  int64 `json:"damaged"`
			Dropped  int64 `json:"dropped"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
			return err
		}
		for _, b := range all {
			if b.Spooled+b.InFlight != 0 || b.Missing != 0 || b.Damaged != 0 || b.Dropped != 0 {
				return fmt.Errorf("books are %+v", b)
			}
		}
		return nil
	})
}

// A gateway and the two transfers behind it are killed again and again. Once they are
// back, the graph has exactly the points that were pushed, and each that was answered
// for. FALCON_SOAK=1 kills them longer.
func TestKilledGatewayLosesNothing(t *testing.T) {
	rounds := 4
	if os.Getenv("FALCON_SOAK") != "" {
		rounds = 80
	}
	graph := newPeer(t)
	at := &place{t: t}
	at.ours(graph)
	defer func() { at.stop() }()
	toGraph := map[string]any{"graph": map[string]any{"enabled": true, "cluster": map[string]string{"graph-00": at.addr}}}
	behind := []*member{newMember(t, "transfer", toGraph), newMember(t, "transfer", toGraph)}
	gateway := newMember(t, "gateway", map[string]any{
		"transfer": map[string]any{"enabled": true, "cluster": map[string]string{"t1": behind[0].rpc, "t2": behind[1].rpc}},
	})

	load := newPushes(t, gateway)
	rnd := rand.New(rand.NewPCG(testkit.Seed(t), 1))
	kills := 0
	behind[0].start()
	for range rounds {
		gateway.start()
		count := make(chan struct{}, 1)
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { load.push(fmt.Sprint("m", i), count) })
		}
		for range 2 + rnd.IntN(4) {
			for range 1 + rnd.IntN(15) {
				<-count
			}
			if m := behind[rnd.IntN(2)]; m.p == nil {
				m.start()
			} else {
				m.kill()
				kills++
			}
		}
		for range rnd.IntN(10) {
			<-count
		}
		gateway.kill()
		kills++
		wg.Wait()
	}
	for _, m := range append(behind, gateway) {
		if m.p == nil {
			m.start()
		}
	}
	gateway.settled()
	for _, m := range behind {
		m.settled()
	}
	load.verify(graph)
	testkit.Outcome(t, "%d points acknowledged, %d kills", len(load.acked), kills)
	for _, m := range append(behind, gateway) {
		m.p.Stop()
	}
}
