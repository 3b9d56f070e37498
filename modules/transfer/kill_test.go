package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"

	"falcon/common/testkit"
)

// A transfer is killed again and again while its graph comes and goes. Once the graph
// is back, it has every point that was answered for. FALCON_SOAK=1 kills it longer.
func TestKilledTransferLosesNothing(t *testing.T) {
	rounds := 5
	if os.Getenv("FALCON_SOAK") != "" {
		rounds = 50
	}
	graph := newPeer(t)
	at := &place{t: t}
	at.ours(graph)
	up := true
	defer func() {
		if up {
			at.stop()
		}
	}()
	m := newMember(t, "transfer", map[string]any{"graph": map[string]any{"enabled": true, "cluster": map[string]string{"graph-00": at.addr}}})

	load := newPushes(t, m)
	rnd := rand.New(rand.NewPCG(testkit.Seed(t), 1))
	for range rounds {
		m.start()
		count := make(chan struct{}, 1)
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { load.push(fmt.Sprint("m", i), count) })
		}
		for range 2 + rnd.IntN(4) {
			for range 1 + rnd.IntN(15) {
				<-count
			}
			if up {
				at.stop()
			} else {
				at.ours(graph)
			}
			up = !up
		}
		for range rnd.IntN(10) {
			<-count
		}
		m.kill()
		wg.Wait()
	}
	if !up {
		at.ours(graph)
		up = true
	}
	m.start()
	m.settled()
	m.p.Stop()
	load.verify(graph)
	testkit.Outcome(t, "%d points acknowledged, %d kills", len(load.acked), rounds)
}

// pushes are points that are pushed to a member which is killed meanwhile.
type pushes struct {
	t             *testing.T
	to            *member
	mu            sync.Mutex
	pushed, acked map[string]bool // "metric@time"
	next          int64
}

func newPushes(t *testing.T, to *member) *pushes {
	return &pushes{t: t, to: to, pushed: map[string]bool{}, acked: map[string]bool{}}
}

// push sends batches of a metric until one is not answered, and counts those that are.
func (p *pushes) push(metric string, count chan<- struct{}) {
	for {
		var items []*item
		var keys []string
		p.mu.Lock()
		for range 20 {
			it := gauge(metric, 1_000_000_020+30*p.next)
			p.next++
			key := fmt.Sprintf("%s@%d", metric, it.Timestamp)
			items, keys = append(items, it), append(keys, key)
			p.pushed[key] = true
		}
		p.mu.Unlock()
		b, err := json.Marshal(items)
		if err != nil {
			p.t.Error(err)
			return
		}
		resp, err := http.Post("http://"+p.to.http+"/api/push", "application/json", bytes.NewReader(b))
		if err != nil {
			return // it was killed: nobody vouches for the batch
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			p.t.Errorf("push: %s", resp.Status)
			return
		}
		p.mu.Lock()
		for _, key := range keys {
			p.acked[key] = true
		}
		p.mu.Unlock()
		select {
		case count <- struct{}{}:
		default:
		}
	}
}

// verify looks whether the graph has each point that was answered for, and none that
// nobody pushed.
func (p *pushes) verify(graph *peer) {
	p.t.Helper()
	lost, strange := 0, 0
	graph.set(func(g *peer) {
		for key := range p.acked {
			if g.count[key] == 0 {
				lost++
			}
		}
		for key := range g.count {
			if !p.pushed[key] {
				strange++
			}
		}
	})
	if lost > 0 || strange > 0 || len(p.acked) == 0 {
		p.t.Errorf("%d of %d acknowledged points are nowhere, %d points came from nowhere", lost, len(p.acked), strange)
	}
}
