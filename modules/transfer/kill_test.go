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
	"time"
)

// A transfer is killed again and again while its graph comes and goes. Once the graph
// is back, it has every point that was answered for. FALCON_SOAK=1 kills it longer.
func TestKilledTransferLosesNothing(t *testing.T) {
	rounds := 5
	if os.Getenv("FALCON_SOAK") != "" {
		rounds = 100
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

	var mu sync.Mutex
	acked := map[string]bool{} // "metric@time"
	next := int64(0)
	// pusher sends batches until one is not answered.
	pusher := func(metric string, count chan<- struct{}) {
		for {
			mu.Lock()
			first := next
			next += 20
			mu.Unlock()
			var items []*item
			for i := range int64(20) {
				items = append(items, gauge(metric, 1_000_000_020+30*(first+i)))
			}
			b, err := json.Marshal(items)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := http.Post("http://"+m.http+"/api/push", "application/json", bytes.NewReader(b))
			if err != nil {
				return
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("push: %s", resp.Status)
				return
			}
			mu.Lock()
			for _, it := range items {
				acked[fmt.Sprintf("%s@%d", metric, it.Timestamp)] = true
			}
			mu.Unlock()
			select {
			case count <- struct{}{}:
			default:
			}
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range rounds {
		m.start()
		count := make(chan struct{}, 1)
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { pusher(fmt.Sprint("m", i), count) })
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
	lost := 0
	graph.set(func(g *peer) {
		for key := range acked {
			if g.count[key] == 0 {
				lost++
			}
		}
	})
	if lost > 0 || len(acked) == 0 {
		t.Errorf("%d of %d acknowledged points are nowhere", lost, len(acked))
	}
	t.Logf("%d points acknowledged, %d kills", len(acked), rounds)
}
