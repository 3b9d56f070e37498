package polymetric

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/testkit"
)

// One of two instances works the rows. The other is healthy and does nothing, and takes
// over when the first is stopped, and within the lease when it falls silent.
func TestOneOfTwoWorks(t *testing.T) {
	server := testkit.Redis(t)
	type instance struct {
		*world
		m    *PolyMetric
		stop func()
		pool *redisx.Pool
	}
	start := func(ids ...int64) instance {
		rc := redisx.DefaultConfig()
		rc.Addr = conf.DSN(server.Addr())
		pool, err := redisx.New(rc)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld()
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 1)}
		m, _, stop := w.start(t, func(c *Config, d *Deps) {
			c.Redis.Enabled, c.Redis.Config, c.Redis.Lease, d.Redis = true, rc, conf.Duration(3*time.Second), pool
			c.Database.IDs = ids
		})
		return instance{w, m, stop, pool}
	}
	wantResults := func(i instance, limit time.Duration) {
		t.Helper()
		i.took()
		testkit.Eventually(t, limit, func() error {
			if n := len(look(i.world, &i.pushed)); n < 2 {
				return fmt.Errorf("%d results", n)
			}
			return nil
		})
	}
	wantIdle := func(i instance) {
		t.Helper()
		if n := len(look(i.world, &i.pushed)); n > 0 || len(look(i.world, &i.asked)) > 0 {
			t.Errorf("an instance without the lock has pushed %d results and asked %v", n, look(i.world, &i.asked))
		}
		if code, body := page(i.m, "/health"); code != http.StatusOK || body != "ok" {
			t.Errorf("/health of an instance without the lock: %d %q", code, body)
		}
		if _, body := page(i.m, "/items"); body != "" {
			t.Errorf("/items of an instance without the lock: %q", body)
		}
	}
	a := start(1, -1)
	wantResults(a, 10*time.Second)
	b := start(1, -1)
	other := start(1, 50) // rows of another range have another lock
	wantResults(other, 10*time.Second)
	other.stop()
	wantResults(a, 10*time.Second)
	wantIdle(b)

	a.stop()
	wantResults(b, 10*time.Second)

	// The lock is taken away as if b had been silent for a lease: it stops before another
	// instance works, and takes the lock again when that one is gone.
	if _, err := b.pool.Do(t.Context(), "SET", redisx.Aggregators(1, -1), "somebody else", "PX", 4000); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 3*time.Second, func() error {
		if b.m.works.Load() {
			return fmt.Errorf("b works without the lock")
		}
		return nil
	})
	wantResults(b, 10*time.Second)
	b.stop()
}

// While Redis is away nobody works, and health says so.
func TestRedisIsAway(t *testing.T) {
	rc := redisx.DefaultConfig()
	rc.Addr = conf.DSN("unix:" + t.TempDir() + "/nobody")
	pool, err := redisx.New(rc)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	m, _, stop := w.start(t, func(c *Config, d *Deps) {
		c.Redis.Enabled, c.Redis.Config, c.Redis.Lease, d.Redis = true, rc, conf.Duration(3*time.Second), pool
	})
	defer stop()
	testkit.Eventually(t, 10*time.Second, func() error {
		if code, body := page(m, "/health"); code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "ask Redis for the lock: ") {
			return fmt.Errorf("/health: %d %q", code, body)
		}
		return nil
	})
}

// A neighbour that is missing is refused by name.
func TestNew(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	with := func(change func(*Config)) Config {
		c := DefaultConfig()
		c.Self.Enabled = false // the agent of this machine is not asked
		change(&c)
		return c
	}
	for _, tc := range []struct {
		cfg  Config
		deps Deps
		want string
	}{
		{DefaultConfig(), Deps{Log: log}, "poly_metric: Deps.Log and Deps.Rows are required"},
		{DefaultConfig(), Deps{Rows: newWorld()}, "poly_metric: Deps.Log and Deps.Rows are required"},
		{with(func(c *Config) { c.Redis.Enabled = true }), Deps{Log: log, Rows: newWorld()}, "poly_metric: Deps.Redis is required while redis.enabled"},
		{with(func(c *Config) { c.Database.IDs = nil }), Deps{Log: log, Rows: newWorld()}, "poly_metric: database.ids: 0 numbers are no range, write the first and the last id, [1, -1] for all"},
	} {
		if _, err := New(tc.cfg, tc.deps); err == nil || err.Error() != tc.want {
			t.Errorf("New: %v, want %s", err, tc.want)
		}
	}
}

// The pages: what every daemon has, and a reload for this machine alone.
func TestPages(t *testing.T) {
	w := newWorld()
	reloaded := 0
	m, _, stop := w.start(t, func(c *Config, d *Deps) {
		c.API.PlusAPIToken = "a secret token"
		d.Reload = func() (Config, error) { reloaded++; return DefaultConfig(), context.Canceled }
	})
	defer stop()
	for _, path := range []string{"/version", "/workdir", "/config", "/counter/all", "/statistics/all", "/metrics", "/items", "/bad"} {
		code, body := page(m, path)
		if code != http.StatusOK || strings.Contains(body, "a secret token") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, _ := page(m, "/config/reload"); code != http.StatusForbidden || reloaded != 0 {
		t.Errorf("/config/reload from elsewhere: %d, reloaded %d times", code, reloaded)
	}
}
