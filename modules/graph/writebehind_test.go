package graph

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/testkit"
)

// eachStore runs a test with the index on SQLite, and on MariaDB when there is one.
func eachStore(t *testing.T, test func(t *testing.T, db *portal.DB)) {
	open := func(t *testing.T, cfg portal.Config) *portal.DB {
		t.Helper()
		cfg.Only = []string{portal.Graph}
		db, err := portal.Open(t.Context(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return db
	}
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, portal.Config{Dir: t.TempDir()})) })
	t.Run("mysql", func(t *testing.T) {
		dsn := testkit.MySQL(t) + fmt.Sprintf("falcon_test_index_%d", os.Getpid()) + "?loc=Local&parseTime=true"
		test(t, open(t, portal.Config{GraphDSN: dsn}))
	})
}

// rows reads the counters of an endpoint from SQL, "counter:type:step@time".
func rows(t *testing.T, db *portal.DB, endpoint string) string {
	t.Helper()
	found, err := db.EndpointsByName(t.Context(), []string{endpoint}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range found {
		counters, err := db.CountersByEndpointIDs(t.Context(), []int64{e.ID})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range counters {
			out = append(out, fmt.Sprintf("%s:%s:%d@%d", c.Counter, c.Type, c.Step, c.Ts))
		}
	}
	return strings.Join(out, " ")
}

// wantRows waits for rows. A row that is written before the first point of its series
// is in carries the time of the clock, which is as good.
func wantRows(t *testing.T, db *portal.DB, endpoint, want string) {
	t.Helper()
	const now = captureTime - captureTime%60
	testkit.Eventually(t, 20*time.Second, func() error {
		got := strings.ReplaceAll(rows(t, db, endpoint), fmt.Sprintf("@%d", captureTime), fmt.Sprintf("@%d", now))
		if got != want {
			return fmt.Errorf("rows of %s are %q, want %q", endpoint, got, want)
		}
		return nil
	})
}

// New series get their rows, deleted ones lose them; a database that is away delays
// that and nothing else.
func TestSQLIndexFollows(t *testing.T) {
	eachStore(t, func(t *testing.T, db *portal.DB) {
		s := &store{IndexStore: db, failed: make(chan struct{}, 1)}
		endpoint := fmt.Sprintf("h-%d", time.Now().UnixNano())
		w := start(t, func(c *Config, d *Deps) {
			c.Index.Enabled = true
			d.Index = s
		})
		const now = captureTime - captureTime%60
		tagged := graphItem(endpoint, "b", now, 1)
		tagged.Tags = map[string]string{"k": "v", "a": "1"}
		w.send(graphItem(endpoint, "a", now, 1), tagged)
		wantRows(t, db, endpoint, fmt.Sprintf("a:GAUGE:60@%d b/a=1,k=v:GAUGE:60@%d", now, now))

		s.away.Store(true)
		w.send(graphItem(endpoint, "c", now, 1))
		<-s.failed
		var last model.GraphLastResp
		w.call("Graph.LastRaw", &model.GraphLastParam{Endpoint: endpoint, Counter: "c"}, &last)
		if last.Value.Timestamp != now {
			t.Error("the data path waits for the database")
		}
		if err := w.g.health(); err != nil {
			t.Errorf("health while the database is away: %v", err)
		}
		w.call("Graph.Delete", &[]*model.GraphDeleteParam{{Endpoint: endpoint, Metric: "a", Step: 60, DsType: model.Gauge}}, &model.GraphDeleteResp{})
		if n := w.g.behind.waiting(); n == 0 {
			t.Error("nothing waits for a database that is away")
		}
		s.away.Store(false)
		wantRows(t, db, endpoint, fmt.Sprintf("b/a=1,k=v:GAUGE:60@%d c:GAUGE:60@%d", now, now))
		if w.g.behind.failed.Get() == 0 {
			t.Error("the failed batch is not counted")
		}
	})
}

// behind is a write-behind of an index that nobody follows yet.
func behind(queue int, names ...string) *writeBehind {
	x, info := known(names...)
	g, err := New(func() Config { c := DefaultConfig(); c.Index.Queue = queue; return c }(), Deps{Log: slog.New(slog.DiscardHandler), Index: &store{}})
	if err != nil {
		panic(err)
	}
	w := g.behind
	w.index, w.lookup = x, info
	return w
}

// The queue is bounded; news go before renewals, and what is true now decides.
func TestQueueOfTheSQLIndex(t *testing.T) {
	w := behind(3, "h a", "h b", "h c", "h d", "h e")
	for _, c := range []string{"a", "b", "c", "d", "a"} {
		w.changed("h", c, renewed)
	}
	if w.waiting() != 3 || w.refused.Get(model.ReasonBusy) != 1 {
		t.Errorf("%d wait and %d have no place, want 3 and 1", w.waiting(), w.refused.Get(model.ReasonBusy))
	}
	w.changed("h", "e", created)
	w.changed("h", "x", deleted)
	w.changed("h", "a", expired) // it is there again meanwhile
	w.changed("h", "y", deleted)
	if w.waiting() != 5 || w.refused.Get(model.ReasonBusy) != 2 {
		t.Errorf("%d wait and %d have no place, want 5 and 2", w.waiting(), w.refused.Get(model.ReasonBusy))
	}
	b := w.take()
	if len(b.rows) != 4 || len(b.deleted) != 1 || b.deleted[0].Counter != "x" || len(b.expired) != 0 || w.waiting() != 0 {
		t.Errorf("batch %+v", b)
	}
	for _, r := range b.rows[2:] {
		if r.Counter == "e" || r.Counter == "a" {
			t.Errorf("a renewal goes before the news of %s", r.Counter)
		}
	}
	w.putBack(b)
	if w.waiting() != 5 {
		t.Errorf("%d wait after a batch that failed, want 5", w.waiting())
	}
}

// The walk renews every row once over Warmup, and once a Refresh from then on; with
// many endpoints it is no busy loop.
func TestWalkRenewsEveryRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const endpoints = 30_000 // more than seconds in Warmup
		var names []string
		for i := range endpoints {
			names = append(names, fmt.Sprintf("host-%05d m", i))
		}
		w := behind(1_000_000, names...)
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(done)
			if err := w.walk(ctx); err != nil {
				t.Error(err)
			}
		}()
		<-time.After(3 * time.Hour)
		synctest.Wait()
		if n := w.waiting(); n < endpoints*4/10 || n > endpoints*6/10 {
			t.Errorf("half of Warmup has renewed %d of %d rows", n, endpoints)
		}
		<-time.After(3*time.Hour + time.Minute)
		synctest.Wait()
		if n := w.waiting(); n != endpoints {
			t.Errorf("Warmup has renewed %d of %d rows", n, endpoints)
		}
		for w.waiting() > 0 {
			w.take()
		}
		<-time.After(24 * time.Hour)
		synctest.Wait()
		if n := w.waiting(); n < endpoints-endpoints/100 {
			t.Errorf("the day after, %d of %d rows were renewed", n, endpoints)
		}
		cancel()
		<-done
	})
}

// An end is not put off by a long queue.
func TestFollowEndsWithALongQueue(t *testing.T) {
	w := behind(1_000_000, "h a")
	for i := range 100_000 {
		w.changed("h", fmt.Sprint("m", i), renewed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.follow(ctx); err != nil || w.waiting() != 100_000 {
		t.Errorf("%d of 100000 wait after the end, %v", w.waiting(), err)
	}
}
