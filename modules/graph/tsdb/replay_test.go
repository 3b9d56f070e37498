package tsdb

import (
	"fmt"
	"testing"
)

// Replay keeps points back and sorts them. Series that come, go and come again
// under the same ids in between, and more points than are kept back, are the same
// after it.
func TestReplayKeepsTheOrderOfEachSeries(t *testing.T) {
	db, c, opt := testDB(t)
	const series, rounds = 1100, 500 // one host, hence one shard; in two slabs
	name := func(i, life int) string { return fmt.Sprintf("life%d.metric%d", life, i) }
	refs := make([]Ref, series)
	lives := make([]int, series)
	for i := range refs {
		refs[i] = resolve(t, db, "host", name(i, 0), "GAUGE", 60)
	}
	value := func(i, life, round int) float64 { return float64(i) + float64(life*1000+round%7)/100 }
	batch := make([]Sample, series)
	for r := range rounds {
		ts := t0 + int64(60*(r+1))
		c.set(ts)
		if r%100 == 50 { // some go, and others take their ids
			for i := r / 100; i < series; i += 10 {
				if _, err := db.Delete("host", name(i, lives[i]), "GAUGE", 60); err != nil {
					t.Fatal(err)
				}
				lives[i]++
				refs[i] = resolve(t, db, "host", name(i, lives[i]), "GAUGE", 60)
			}
		}
		for i := range batch {
			batch[i] = Sample{refs[i], ts, value(i, lives[i], r)}
		}
		if n, err := db.Append(batch, nil); n != series || err != nil {
			t.Fatalf("Append = %d, %v", n, err)
		}
	}
	if series*rounds <= maxWaiting {
		t.Fatalf("%d points are all kept back: the test needs more than %d", series*rounds, maxWaiting)
	}
	want := make([]string, series)
	for i := range want {
		want[i] = values(query(t, db, "host", name(i, lives[i]), t0, t0+60*rounds))
	}
	db = reopen(t, db, opt)
	for i := range want {
		if got := values(query(t, db, "host", name(i, lives[i]), t0, t0+60*rounds)); got != want[i] {
			t.Fatalf("series %d after replay\n got %s\nwant %s", i, got, want[i])
		}
		if lives[i] > 0 {
			if got := query(t, db, "host", name(i, lives[i]-1), t0, t0+60*rounds); len(got) > 0 {
				t.Fatalf("series %d was deleted, and is back with %d points", i, len(got))
			}
		}
	}
	if r := db.Stats().Recovery; r.Damaged > 0 {
		t.Errorf("%d damaged records", r.Damaged)
	}
}
