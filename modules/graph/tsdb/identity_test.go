package tsdb

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"falcon/common/model"
)

func TestResolveRefuses(t *testing.T) {
	db, _, _ := testDB(t)
	for _, tc := range []struct {
		def    Def
		reason string
	}{
		{Def{Endpoint: "h", Counter: "c", Type: "gauge", Step: 60}, model.ReasonType},
		{Def{Endpoint: "h", Counter: "c", Type: model.Gauge, Step: 0}, model.ReasonStep},
		{Def{Endpoint: "h", Counter: "c", Type: model.Gauge, Step: -60}, model.ReasonStep},
		{Def{Endpoint: "h", Counter: "c", Type: model.Gauge, Step: math.MaxInt}, model.ReasonStep},
		{Def{Endpoint: "", Counter: "c", Type: model.Gauge, Step: 60}, model.ReasonNoName},
		{Def{Endpoint: "h", Counter: "", Type: model.Gauge, Step: 60}, model.ReasonNoName},
		{Def{Endpoint: "h'", Counter: "c", Type: model.Gauge, Step: 60}, model.ReasonCharacter},
		{Def{Endpoint: "h", Counter: "c\x1a", Type: model.Gauge, Step: 60}, model.ReasonCharacter},
		{Def{Endpoint: "h\u00a0", Counter: "c", Type: model.Gauge, Step: 60}, model.ReasonCharacter},
		{Def{Endpoint: "h", Counter: "c\xff", Type: model.Gauge, Step: 60}, model.ReasonCharacter},
		{Def{Endpoint: "h", Counter: strings.Repeat("c", 5000), Type: model.Gauge, Step: 60}, model.ReasonTooLong},
	} {
		_, err := db.Resolve(&tc.def)
		var r *Refused
		if !errors.As(err, &r) || r.Reason != tc.reason {
			t.Errorf("Resolve(%.60q): %v, want %s", fmt.Sprintf("%+v", tc.def), err, tc.reason)
		}
	}
	resolve(t, db, "主机 1", "使用率/盘=a b", model.Gauge, 60)
}

func TestMaxSeries(t *testing.T) {
	c := newClock(t0)
	db := open(t, Options{Dir: t.TempDir(), Now: c.now, MaxSeries: 2})
	defer db.Close()
	resolve(t, db, "h", "a", model.Gauge, 60)
	resolve(t, db, "h", "b", model.Gauge, 60)
	_, err := db.Resolve(&Def{Endpoint: "h", Counter: "c", Type: model.Gauge, Step: 60})
	var r *Refused
	if !errors.As(err, &r) || r.Reason != model.ReasonLimit {
		t.Errorf("third series: %v", err)
	}
	resolve(t, db, "h", "a", model.Gauge, 60)
	if ok, err := db.Delete("h", "a", model.Gauge, 60); !ok || err != nil {
		t.Fatal(ok, err)
	}
	resolve(t, db, "h", "c", model.Gauge, 60)
}

// A series changes its step, then its type, then goes back to what it was first.
func TestIncarnations(t *testing.T) {
	db, c, opt := testDB(t)
	var seen []string
	db.Watch(func(c Change) { seen = append(seen, fmt.Sprintf("%d %s/%d", c.Kind, c.Info.Type, c.Info.Step)) })
	feed := func(kind string, step int, from, to int64) {
		for ts := from; ts < to; ts += int64(step) {
			c.set(ts)
			mustPut(t, db, resolve(t, db, "h", "c", kind, step), ts, float64(ts-t0)*2)
		}
	}
	feed(model.Gauge, 60, t0+60, t0+300)
	feed(model.Gauge, 30, t0+300, t0+420)
	feed(model.Counter, 60, t0+420, t0+600)
	feed(model.Derive, 60, t0+600, t0+660)
	feed(model.Gauge, 60, t0+660, t0+780)
	want := []Point{}
	for ts := t0 + 60; ts < t0+300; ts += 60 {
		want = append(want, Point{ts, float64(ts-t0) * 2})
	}
	for ts := t0 + 300; ts < t0+420; ts += 30 {
		want = append(want, Point{ts, float64(ts-t0) * 2})
	}
	want = append(want, Point{t0 + 420, math.NaN()}, Point{t0 + 480, 2}, Point{t0 + 540, 2}, Point{t0 + 600, 2},
		Point{t0 + 660, 1320}, Point{t0 + 720, 1440})
	check := func(state string) {
		t.Helper()
		info, ok := db.Lookup("h", "c")
		if !ok || info.Type != model.Gauge || info.Step != 60 || !info.Prev {
			t.Errorf("%s: Lookup = %+v", state, info)
		}
		if got := query(t, db, "h", "c", t0+60, t0+720); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s\n got %v\nwant %v", state, got, want)
		}
		if st := db.Stats(); st.Series != 1 || st.Alive != 3 {
			t.Errorf("%s: %d names, %d incarnations, want 1 and 3", state, st.Series, st.Alive)
		}
	}
	check("head")
	db = reopen(t, db, opt)
	check("after a restart")
	mustSeal(t, db, t0+4300)
	check("sealed")
	db = reopen(t, db, opt)
	check("sealed, after a restart")
	if got := fmt.Sprint(seen); got != "[0 GAUGE/60 1 GAUGE/30 1 DERIVE/60 1 GAUGE/60]" {
		t.Errorf("changes %s", got)
	}

	// The current one is deleted: the one that was current last takes its place.
	if ok, err := db.Delete("h", "c", model.Gauge, 60); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for range 2 {
		if info, ok := db.Lookup("h", "c"); !ok || info.Type != model.Derive {
			t.Errorf("Lookup after Delete = %+v", info)
		}
		if got := values(query(t, db, "h", "c", t0+300, t0+600)); got != "600 660 720 780 _ 2 2 2" {
			t.Errorf("after Delete got %s", got)
		}
		db = reopen(t, db, opt)
	}
}

func TestDeleteAndUseAgain(t *testing.T) {
	db, c, opt := testDB(t)
	old := resolve(t, db, "h", "old", model.Derive, 60)
	mustPut(t, db, old, t0-60, 1)
	mustPut(t, db, old, t0+60, 5)
	keep := resolve(t, db, "h", "keep", model.Gauge, 60)
	mustPut(t, db, keep, t0, 7)
	c.set(t0 + 700)
	mustSeal(t, db, t0+700)
	if ok, _ := db.Delete("h", "old", model.Gauge, 60); ok {
		t.Error("another type was deleted")
	}
	if ok, err := db.Delete("h", "old", model.Counter, 60); !ok || err != nil {
		t.Fatal(ok, err)
	}
	gone := func() {
		t.Helper()
		if _, ok := db.Lookup("h", "old"); ok {
			t.Error("a deleted series is found")
		}
		if got := put(t, db, old, t0+120, 6); got != model.ReasonUnknown {
			t.Errorf("a point of a deleted series: %q", got)
		}
		if got := values(query(t, db, "h", "keep", t0, t0)); got != "7" {
			t.Errorf("its neighbour has %s", got)
		}
	}
	gone()
	// Until a seal the id rests.
	early := resolve(t, db, "h", "early", model.Derive, 60)
	if early.id() == old.id() {
		t.Error("an id was used again before a seal")
	}
	mustPut(t, db, early, t0+300, 1)
	mustSeal(t, db, t0+4300)
	c.set(t0 + 4300)
	// same shard, hence the freed id
	heir := resolve(t, db, "h", "heir", model.Derive, 60)
	if heir.id() != old.id() || heir == old {
		t.Fatalf("ref %x after %x: the id was not used again", heir, old)
	}
	gone()
	mustPut(t, db, heir, t0+4200, 60)
	mustPut(t, db, heir, t0+4260, 120)
	check := func(state string) {
		t.Helper()
		if got := values(query(t, db, "h", "heir", t0-120, t0+240)); strings.Trim(got, "_ ") != "" {
			t.Errorf("%s: the heir shows %s of the old owner", state, got)
		}
		if got := values(query(t, db, "h", "heir", t0+4200, t0+4260)); got != "_ 1" {
			t.Errorf("%s: the heir has %s", state, got)
		}
		if _, p := db.Last("h", "heir"); p != (Point{t0 + 4260, 1}) {
			t.Errorf("%s: Last %+v", state, p)
		}
		if _, ok := db.Lookup("h", "old"); ok {
			t.Errorf("%s: the old owner is back", state)
		}
	}
	check("head")
	db = reopen(t, db, opt)
	check("restart")
	mustSeal(t, db, t0+9000)
	check("sealed")
	db = reopen(t, db, opt)
	check("sealed and restart")
}

func TestCatalogIsWrittenAnew(t *testing.T) {
	db, c, opt := testDB(t)
	for i := range 600 {
		name := fmt.Sprintf("c%d", i)
		mustPut(t, db, resolve(t, db, "h", name, model.Gauge, 60), t0, float64(i))
		if i%3 != 0 {
			if ok, err := db.Delete("h", name, model.Gauge, 60); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	mustSeal(t, db, t0+600)
	c.set(t0 + 3600)
	before := db.cat.Size()
	for i := range 600 {
		if i%3 == 0 && i%2 == 0 {
			if ok, err := db.Delete("h", fmt.Sprintf("c%d", i), model.Gauge, 60); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	mustPut(t, db, resolve(t, db, "h", "late", model.Gauge, 60), t0+3600, 1)
	mustSeal(t, db, t0+7800)
	if after := db.cat.Size(); after*3 > before*2 {
		t.Errorf("the catalog has %d bytes after %d, want it without the dead", after, before)
	}
	db = reopen(t, db, opt)
	n := 0
	db.Each(func(e, c string, info Info) bool {
		n++
		if e != "h" || info.Step != 60 {
			t.Errorf("Each: %q %q %+v", e, c, info)
		}
		return true
	})
	if n != 101 {
		t.Errorf("%d series, want 101", n)
	}
}

func TestSweep(t *testing.T) {
	db, c, opt := testDB(t)
	var changes []Change
	db.Watch(func(c Change) { changes = append(changes, c) })
	mustPut(t, db, resolve(t, db, "h", "silent", model.Gauge, 60), t0, 1)
	live := resolve(t, db, "h", "live", model.Gauge, 60)
	mustPut(t, db, live, t0, 1)
	mustSeal(t, db, t0+600)
	day := int64(86400)
	// A clock that is a year ahead takes nothing away.
	if err := db.sweep(unix(t0 + 365*day)); err != nil {
		t.Fatal(err)
	}
	if st := db.Stats(); st.Segments != 1 || st.Series != 2 {
		t.Fatalf("a wrong clock left %d segments, %d series", st.Segments, st.Series)
	}
	// A reader holds the segment while it expires.
	s := &db.shards[live.shard()]
	r := &reader{}
	s.mu.Lock()
	r.hold(s, 0, 0, math.MaxUint32)
	s.mu.Unlock()
	c.set(t0 + 31*day)
	mustPut(t, db, live, t0+31*day, 2)
	if err := db.sweep(c.now()); err != nil {
		t.Fatal(err)
	}
	if names, _ := db.fs.ReadDir(opt.Dir); !strings.Contains(fmt.Sprint(names), "seg-0-") {
		t.Error("the file went before its last reader")
	}
	if c, err := r.segs[0].Chunk(live.shard(), live.id()); c == nil || err != nil {
		t.Errorf("the reader sees %v, %v", c, err)
	}
	r.release()
	if names, _ := db.fs.ReadDir(opt.Dir); strings.Contains(fmt.Sprint(names), "seg-0-") {
		t.Errorf("left: %v", names)
	}
	if st := db.Stats(); st.Segments != 0 || st.Series != 1 || st.SegmentBytes != 0 {
		t.Errorf("%+v", st)
	}
	if n := len(changes); n != 3 || changes[2].Kind != Expired || changes[2].Counter != "silent" {
		t.Errorf("changes %+v", changes)
	}
}

func TestConcurrentCreation(t *testing.T) {
	db, _, opt := testDB(t)
	const n = 3000
	var refs [4][n]Ref
	var wg sync.WaitGroup
	for w := range refs {
		wg.Go(func() {
			for i := range n {
				j := (i + w*n/4) % n
				ref, err := db.Resolve(&Def{Endpoint: fmt.Sprintf("h%d", j%10), Counter: fmt.Sprint(j), Type: model.Gauge, Step: 60})
				if err != nil {
					t.Error(err)
					return
				}
				refs[w][j] = ref
				n, err := db.Append([]Sample{{ref, t0 + int64(w)*60, float64(w)}}, func(_ int, r string) { t.Error(r) })
				if err != nil || n != 1 {
					t.Errorf("Append: %d, %v", n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for w := range refs {
		if refs[w] != refs[0] {
			t.Fatal("the same name got two refs")
		}
	}
	for j := range 2 * n {
		if j == n {
			db = reopen(t, db, opt)
		}
		j %= n
		if got := values(query(t, db, fmt.Sprintf("h%d", j%10), fmt.Sprint(j), t0, t0+180)); got != "0 1 2 3" {
			t.Fatalf("series %d: %s", j, got)
		}
	}
}
