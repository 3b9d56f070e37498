package polymetric

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/httpx"
	"falcon/common/portal"
)

// queued gives m results named by f, of now.
func queued(m *PolyMetric, n int, f func(int) string) {
	r := rule{row: row(1, "$(a)", "$#", 60)}
	for i := range n {
		r.row.Metric = f(i)
		m.push(r.item(float64(i), m.now()))
	}
}

func same(int) string { return "m" }

// Results leave in batches of 200 at most. While nobody takes them they wait, and leave
// in order when somebody does; what nobody takes for too long is dropped and counted.
func TestResultsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.away["sink"] = errAway
		m, logged, stop := w.start(t, nil)
		queued(m, 450, same)
		wait(time.Minute)
		if code, body := page(m, "/health"); code != http.StatusServiceUnavailable || body != "hand results on: connection refused\n" {
			t.Errorf("/health: %d %q", code, body)
		}
		w.locked(func() { delete(w.away, "sink") })
		wait(11 * time.Second)
		if got, want := look(w, &w.calls), []int{200, 200, 50}; !slices.Equal(got, want) {
			t.Errorf("pushes of %v items, want %v", got, want)
		}
		for i, item := range look(w, &w.pushed) {
			if item.Value != float64(i) {
				t.Fatalf("result %d has the value %v: they are out of order", i, item.Value)
			}
		}
		if _, body := page(m, "/health"); body != "ok" {
			t.Errorf("/health: %q", body)
		}
		w.took()

		w.locked(func() { w.away["sink"] = errAway })
		queued(m, 300, same)
		wait(6 * time.Minute)
		if got := m.dropped.Get(dropOld); got != 300 || m.queue.Len() != 0 {
			t.Errorf("%d dropped as too old and %d wait, want 300 and none", got, m.queue.Len())
		}
		if m.pushed.Get() != 450 {
			t.Errorf("%d are counted as pushed", m.pushed.Get())
		}
		stop()
		if n := len(logged.String()); n > 4000 {
			t.Errorf("%d bytes of log in seven minutes of trouble", n)
		}
	})
}

// One result that is refused costs itself alone.
func TestARefusedResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = "poison"
		m, logged, stop := w.start(t, nil)
		queued(m, 400, func(i int) string {
			if i == 77 || i == 300 {
				return "poison"
			}
			return "m"
		})
		wait(10 * time.Second)
		if n := len(w.took()); n != 398 || m.dropped.Get(dropRefused) != 2 || m.dropped.Sum() != 2 {
			t.Errorf("%d arrived, dropped %v", n, m.dropped.All())
		}
		stop()
		wantText(t, "the log", logged.String(), "a result is refused", "poison/a=b of cluster")
	})
}

// A wrong address refuses everything: then results wait, as for somebody who is away.
func TestAWrongAddressDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.away["sink"] = &httpx.StatusError{Method: "POST", URL: "u", Code: http.StatusNotFound}
		m, _, stop := w.start(t, nil)
		defer stop()
		queued(m, 3, same)
		wait(time.Minute)
		if m.dropped.Sum() != 0 {
			t.Errorf("dropped %v", m.dropped.All())
		}
		w.locked(func() { delete(w.away, "sink") })
		wait(time.Minute)
		if got := w.took(); len(got) != 3 {
			t.Errorf("pushed %v", got)
		}
	})
}

// A full queue lets the oldest go.
func TestAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.away["sink"] = errAway
		m, _, stop := w.start(t, func(c *Config, _ *Deps) { c.Push.Queue = 250 })
		defer stop()
		queued(m, 1, same)
		wait(time.Second) // the first is under way
		queued(m, 300, same)
		w.locked(func() { delete(w.away, "sink") })
		wait(time.Minute)
		if got := w.took(); len(got) != 251 || got[1] != "m=50" || m.dropped.Get(dropFull) != 50 {
			t.Errorf("%d arrived, the second of them %v, dropped %v", len(got), got[1], m.dropped.All())
		}
	})
}

// Whoever is asked to stop hands on what he has, for as long as the drain lasts.
func TestStopHandsOn(t *testing.T) {
	for _, tc := range []struct {
		name    string
		back    time.Duration // the sink is back so long after the stop
		took    time.Duration
		dropped int64
	}{
		{"in time", 3 * time.Second, 5 * time.Second, 0},
		{"too late", time.Minute, 11 * time.Second, 250},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 3600)}
				w.away["sink"] = errAway
				m, _, stop := w.start(t, nil)
				queued(m, 250, same)
				wait(2 * time.Minute)
				time.AfterFunc(tc.back, func() { w.locked(func() { delete(w.away, "sink") }) })
				began := time.Now()
				stop()
				if took := time.Since(began); took > tc.took {
					t.Errorf("it took %v to stop", took)
				}
				if n := int64(len(w.took())); n != 250-tc.dropped || m.dropped.Get(dropStopped) != tc.dropped {
					t.Errorf("%d arrived, dropped %v", n, m.dropped.All())
				}
				synctest.Wait()
			})
		})
	}
}
