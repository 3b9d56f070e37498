package tsdb

import (
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/model"
)

// t0 is a full hour; tests begin there.
const t0 = int64(1_800_000_000)

// A clock is set by hand.
type clock struct{ unix atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.unix.Load(), 0) }
func (c *clock) set(t int64)    { c.unix.Store(t) }
func newClock(t int64) *clock   { c := &clock{}; c.set(t); return c }
func unix(t int64) time.Time    { return time.Unix(t, 0) }
func mustSeal(t *testing.T, db *DB, at int64) {
	t.Helper()
	if err := db.Seal(unix(at)); err != nil {
		t.Fatal(err)
	}
}

// mustFlush writes the late buffers to overlays.
func mustFlush(t testing.TB, db *DB, at int64) {
	t.Helper()
	if err := db.FlushLate(unix(at)); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, opt Options) *DB {
	t.Helper()
	db, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// testDB is a DB at t0 in a folder of its own.
func testDB(t testing.TB) (*DB, *clock, Options) {
	t.Helper()
	c := newClock(t0)
	opt := Options{Dir: t.TempDir(), Now: c.now}
	db := open(t, opt)
	t.Cleanup(func() { _ = db.Close() })
	return db, c, opt
}

// reopen is a clean stop and a start.
func reopen(t testing.TB, db *DB, opt Options) *DB {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, opt)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func resolve(t testing.TB, db *DB, endpoint, counter, kind string, step int) Ref {
	t.Helper()
	ref, err := db.Resolve(&Def{Endpoint: endpoint, Counter: counter, Type: kind, Step: step, Min: math.NaN(), Max: math.NaN()})
	if err != nil {
		t.Fatalf("Resolve(%s %s %s %d): %v", endpoint, counter, kind, step, err)
	}
	return ref
}

// put appends one sample and returns why it was refused, "" when it was taken.
func put(t testing.TB, db *DB, ref Ref, ts int64, v float64) (reason string) {
	t.Helper()
	n, err := db.Append([]Sample{{ref, ts, v}}, func(_ int, r string) { reason = r })
	if err != nil || (n == 1) != (reason == "") {
		t.Fatalf("Append(%d, %v) = %d, %v, refused %q", ts, v, n, err, reason)
	}
	return reason
}

func mustPut(t testing.TB, db *DB, ref Ref, ts int64, v float64) {
	t.Helper()
	if r := put(t, db, ref, ts, v); r != "" {
		t.Fatalf("Append(%d, %v) refused: %s", ts, v, r)
	}
}

func query(t testing.TB, db *DB, endpoint, counter string, start, end int64) []Point {
	t.Helper()
	_, pts, err := db.Query(endpoint, counter, "AVERAGE", start, end, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pts
}

// values writes points as the golden vectors of the contract do.
func values(pts []Point) string {
	var b strings.Builder
	for i, p := range pts {
		if i > 0 {
			b.WriteByte(' ')
		}
		if p.Value != p.Value {
			b.WriteByte('_')
		} else {
			b.Write(model.JSONFloat(p.Value).AppendJSON(nil))
		}
	}
	return b.String()
}
