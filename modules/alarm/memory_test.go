package alarm

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/testkit"
)

// memoryGrowth is how much larger an alarm may become, in bytes, whose provider is slower
// than events come: each worker has window events in hand, at six kilobytes with the
// messages and rows of two people, and twice that for the garbage.
const memoryGrowth = workerCount * window * 12 << 10

// A provider takes each message for half a second while a storm of events comes. Those beyond
// what an alarm has in hand wait in Redis, and not in its memory, and once the provider is
// quick everybody is told, once. In the long form for five minutes, and more than twice as
// many events as it has in hand.
func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t)
	slow, told := make(chan struct{}), map[string]int{}
	var mu sync.Mutex
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text := r.PostFormValue("content")
		select {
		case <-slow:
		case <-time.After(500 * time.Millisecond):
		}
		mu.Lock()
		defer mu.Unlock()
		told[strings.Split(text, "][")[2]]++
	}))
	t.Cleanup(sink.Close)
	action := w.action(portal.Action{UIC: "ops"})
	p := w.startProgram(testkit.Program(t, "alarm"), sink.URL)
	lasts, storm, now := 4*time.Second, 2*window, time.Now().Unix()
	if os.Getenv("FALCON_SOAK") != "" {
		lasts, storm = 5*time.Minute, 10*window
	}
	send := func(from, to int) {
		var events []*model.Event
		for i := from; i < to; i++ {
			e := event(fmt.Sprint("s_", i), action, 1, model.StatusProblem, now, 0)
			e.Endpoint = fmt.Sprint("host", i)
			events = append(events, e)
		}
		w.push(events...)
	}
	send(0, 100)
	people := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(told)
	}
	w.eventually(func() error {
		if n := people(); n < 10 {
			return fmt.Errorf("%d are told", n)
		}
		return nil
	})
	before, most := p.Memory(), 0
	send(100, storm)
	for end := time.Now().Add(lasts); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		most = max(most, p.Memory())
	}
	if people() == storm {
		t.Error("the provider was no slower than the storm")
	}
	if n := storm - workerCount*window; n > 0 {
		waiting, err := redisx.Int64(w.pool.Do(t.Context(), "EVAL", "local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do if redis.call('TYPE', k).ok == 'list' and not string.find(k, 'inflight') then n = n + redis.call('LLEN', k) end end return n", 0))
		if err != nil || waiting < int64(n/2) {
			t.Errorf("%d events wait in redis, %v", waiting, err)
		}
	}
	close(slow)
	testkit.Eventually(t, 2*time.Minute, func() error {
		most = max(most, p.Memory())
		if n := people(); n < storm {
			return fmt.Errorf("%d of %d are told", n, storm)
		}
		return w.empty()
	})
	if most > before+memoryGrowth {
		t.Errorf("it grew from %d to %d bytes", before, most)
	}
	for host, n := range told {
		if n != 1 {
			t.Fatalf("%s is told %d times", host, n)
		}
	}
	testkit.Outcome(t, "%d MB at most, %d before", most>>20, before>>20)
	p.Stop()
}
