package nodata

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/testkit"
)

// an instance is one of several nodatas with the same Redis, whose judging the test does.
type instance struct {
	*Nodata
	w    *world
	pool *redisx.Pool
	stop func()
}

func startInstance(t *testing.T, addr string) *instance {
	t.Helper()
	rc := redisx.DefaultConfig()
	rc.Addr = conf.DSN(addr)
	pool, err := redisx.New(rc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Redis = Redis{Enabled: true, Config: rc}
	w := &world{table: table{rows: []portal.Nodata{row(1, "host", "h1", "m", "")}}}
	n, err := New(cfg, Deps{Log: quietLog, Rows: &w.table, Points: w, Redis: pool})
	if err != nil {
		t.Fatal(err)
	}
	n.pusher, n.lease = w, time.Second
	if _, err := n.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.lead(ctx); err != nil {
			t.Errorf("lead: %v", err)
		}
	})
	i := &instance{n, w, pool, func() { cancel(); wg.Wait() }}
	t.Cleanup(func() { i.stop(); _ = pool.Close() })
	return i
}

// minute judges on all instances, as each of them does at its own clock.
func minute(at int64, all ...*instance) {
	for _, i := range all {
		i.mu.Lock()
		i.book.fetched("h1/m", Answer{Fetched: at}, 0)
		i.mu.Unlock()
		i.judge(time.Unix(at, 0))
	}
}

// posted returns the minutes of the mocks that an instance has posted.
func (i *instance) posted() string {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	var all []string
	for _, m := range i.w.pushed {
		all = append(all, fmt.Sprint(m.Timestamp/60+2))
	}
	return strings.Join(all, " ")
}

// Of two one sends. When it dies the other sends what both judged since, and what the
// dead one may have kept to itself; when Redis is back the first stands by.
func TestOneOfTwoSends(t *testing.T) {
	server := testkit.Redis(t)
	a, b := startInstance(t, server.Addr()), startInstance(t, server.Addr())
	testkit.Eventually(t, 10*time.Second, func() error {
		if a.sends.Load() == b.sends.Load() {
			return errors.New("none or both of them send")
		}
		return nil
	})
	if b.sends.Load() {
		a, b = b, a
	}
	minute(600, a, b)
	minute(660, a, b)
	testkit.Eventually(t, 20*time.Second, func() error {
		if got := a.posted(); got != "10 11" {
			return fmt.Errorf("the first posted %q", got)
		}
		return nil
	})
	if got := b.posted(); got != "" {
		t.Errorf("the one that stands by posted %q", got)
	}
	if got := b.book.records["h1/m"]; got.status != statusNodata || got.count != 2 {
		t.Errorf("the one that stands by knows %+v", got)
	}

	// a loses its Redis, which is as good as its death; nobody tells it, and it judges on.
	_ = a.pool.Close()
	minute(720, b)
	testkit.Eventually(t, 10*time.Second, func() error {
		if got := b.posted(); got != "11 12" || a.sends.Load() {
			return fmt.Errorf("the second posted %q; the first sends: %v", got, a.sends.Load())
		}
		return nil
	})
	minute(780, a, b)
	testkit.Eventually(t, 20*time.Second, func() error {
		if got := b.posted(); got != "11 12 13" {
			return fmt.Errorf("the second posted %q", got)
		}
		return nil
	})
	if got := a.posted(); got != "10 11" {
		t.Errorf("without the lock the first posted %q", got)
	}
	a.askRedis(t.Context())
	if err := a.health(); err == nil || !strings.HasPrefix(err.Error(), "ask redis for the lock: ") {
		t.Errorf("health of the one without Redis: %v", err)
	}
	b.askRedis(t.Context())
	b.ready.Store(true)
	if err := b.health(); err != nil {
		t.Errorf("health of the other: %v", err)
	}
}

// One that ends in order leaves the lock, after it has sent what waited.
func TestTheLockIsLeftInOrder(t *testing.T) {
	server := testkit.Redis(t)
	a := startInstance(t, server.Addr())
	testkit.Eventually(t, 20*time.Second, func() error {
		if !a.sends.Load() {
			return errors.New("it does not send")
		}
		return nil
	})
	tried := make(chan struct{}, 1)
	a.w.set(func(w *world) {
		w.answer = func(n int) (string, error) {
			if n == 1 {
				tried <- struct{}{}
				return "", errors.New("away")
			}
			return "", nil
		}
	})
	minute(600, a)
	<-tried
	a.stop()
	if got := a.posted(); got != "10" {
		t.Errorf("at its end it posted %q", got)
	}
	l, err := a.pool.TryLock(t.Context(), redisx.NodataSender, time.Second)
	if err != nil || l == nil {
		t.Errorf("the lock is not free: %v", err)
	}
}

// One whose api is away leaves the lock to the other, and takes it when that one dies and
// its api is back.
func TestWhoKnowsNothingLeavesTheLock(t *testing.T) {
	server := testkit.Redis(t)
	a := startInstance(t, server.Addr())
	testkit.Eventually(t, 20*time.Second, func() error {
		if !a.sends.Load() {
			return errors.New("it does not send")
		}
		return nil
	})
	b := startInstance(t, server.Addr())
	a.w.set(func(w *world) { w.down = errors.New("connection refused") })
	a.collect(t.Context())
	testkit.Eventually(t, 10*time.Second, func() error {
		if a.sends.Load() || !b.sends.Load() {
			return fmt.Errorf("the blind one sends: %v, the other: %v", a.sends.Load(), b.sends.Load())
		}
		return nil
	})
	a.w.set(func(w *world) { w.down = nil })
	a.collect(t.Context())
	b.stop()
	testkit.Eventually(t, 10*time.Second, func() error {
		if !a.sends.Load() {
			return errors.New("nobody sends")
		}
		return nil
	})
}
