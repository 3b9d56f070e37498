package tsdb

import (
	"fmt"
	"math"
	"testing"

	"falcon/common/model"
)

type mv struct {
	m int64 // minute
	v float64
}

func ramp(minutes ...int64) (out []mv) {
	for _, m := range minutes {
		out = append(out, mv{m, float64(m)})
	}
	return out
}

// The base archive rows of contract query 1.4, in the head, over the edge of a
// window, after a seal and after a restart.
func TestGoldenVectorsOfTheBaseArchive(t *testing.T) {
	every := func(n, last int64) (m []int64) {
		for i := n; i <= last; i += n {
			m = append(m, i)
		}
		return m
	}
	for _, tc := range []struct {
		name, kind string
		in         []mv
		from, to   int64
		want       string
	}{
		{"gauge with a long gap", model.Gauge, ramp(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 30, 31, 32, 33, 34, 35, 36), 1, 36,
			"1 2 3 4 5 6 7 8 9 10 11 12 13 _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ 30 31 32 33 34 35 36"},
		{"gauge, one missing is filled, two are not", model.Gauge, ramp(1, 4, 5, 6, 7, 10, 11, 12, 14, 15), 1, 15,
			"1 _ _ 4 5 6 7 _ _ 10 11 12 14 14 15"},
		{"gauge every 2 minutes", model.Gauge, ramp(every(2, 8)...), 1, 8, "_ 2 4 4 6 6 8 8"},
		{"gauge every 3 minutes", model.Gauge, ramp(every(3, 9)...), 1, 9, "_ _ 3 _ _ 6 _ _ 9"},
		{"derive with gaps and a reset", model.Derive, []mv{{1, 60}, {2, 120}, {4, 240}, {5, 300}, {9, 540}, {10, 600}, {11, 10}, {12, 70}, {13, 130}, {14, 190}, {15, 250}}, 1, 15,
			"_ 1 1 1 1 _ _ _ 1 1 _ 1 1 1 1"},
		{"a fill looks behind the end of the range", model.Gauge, ramp(1, 3), 1, 2, "1 3"},
		{"a rate looks before the start of the range", model.Derive, []mv{{1, 0}, {2, 60}, {3, 180}}, 3, 3, "2"},
		{"over a long gap too", model.Derive, []mv{{1, 0}, {31, 1800}}, 30, 31, "_ 1"},
		{"nothing is made up before the first point", model.Gauge, ramp(5), 3, 6, "_ _ 5 _"},
	} {
		// Shifted so that the hour ends before, in and after the data.
		for _, shift := range []int64{0, -3, -12} {
			t.Run(fmt.Sprintf("%s/%d", tc.name, shift), func(t *testing.T) {
				t.Parallel()
				db, c, opt := testDB(t)
				at := func(m int64) int64 { return t0 + 60*(m+shift) }
				c.set(at(40))
				ref := resolve(t, db, "h", "c", tc.kind, 60)
				for _, p := range tc.in {
					mustPut(t, db, ref, at(p.m), p.v)
				}
				check := func(state string) {
					t.Helper()
					if got := values(query(t, db, "h", "c", at(tc.from)+7, at(tc.to)+9)); got != tc.want {
						t.Errorf("%s\n got %s\nwant %s", state, got, tc.want)
					}
				}
				check("in the head")
				db = reopen(t, db, opt)
				check("after a restart")
				mustSeal(t, db, t0+601)
				check("first hour sealed")
				db = reopen(t, db, opt)
				check("first hour sealed, after a restart")
				mustSeal(t, db, t0+4201)
				check("all sealed")
				db = reopen(t, db, opt)
				check("all sealed, after a restart")
			})
		}
	}
}

// Received values are those that came: raw counters, no filled gaps, nothing cut by
// bounds, over the edges of windows, from segments and over a change of step.
func TestReceived(t *testing.T) {
	for _, kind := range []string{model.Gauge, model.Derive} {
		t.Run(kind, func(t *testing.T) {
			db, c, opt := testDB(t)
			c.set(t0 + 4200)
			ref := resolve(t, db, "h", "c", kind, 60)
			for _, p := range []mv{{1, 60}, {2, 120}, {4, 240}, {5, 10}, {55, 70}, {59, 5}, {60, 6}, {62, 8}} {
				mustPut(t, db, ref, t0+60*p.m, p.v)
			}
			check := func(state string, from, to int64, want string) {
				t.Helper()
				info, pts, err := db.Received("h", "c", t0+60*from, t0+60*to, nil)
				got := ""
				for _, p := range pts {
					got += fmt.Sprintf(" %d:%v", (p.Ts-t0)/60, p.Value)
				}
				if err != nil || got != want || info.Type != kind {
					t.Errorf("%s, %d to %d: %v\n got%s\nwant%s", state, from, to, err, got, want)
				}
			}
			for _, state := range []string{"in the head", "sealed", "after a restart"} {
				check(state, 0, 70, " 1:60 2:120 4:240 5:10 55:70 59:5 60:6 62:8")
				check(state, 2, 59, " 2:120 4:240 5:10 55:70 59:5")
				check(state, 63, 70, "")
				if state == "in the head" {
					mustSeal(t, db, t0+4201)
				} else {
					db = reopen(t, db, opt)
				}
			}
			// Another step is another incarnation, and the earlier one answers for its time.
			ref = resolve(t, db, "h", "c", kind, 30)
			mustPut(t, db, ref, t0+60*63, 9)
			mustPut(t, db, ref, t0+60*64, 10)
			check("another step", 59, 70, " 59:5 60:6 62:8 63:9 64:10")
		})
	}
	db, _, _ := testDB(t)
	if info, pts, err := db.Received("h", "nobody", 0, t0, nil); info.Ref != 0 || pts != nil || err != nil {
		t.Error("an unknown series has no points and no error")
	}
}

func TestQueryKeepsToItsRange(t *testing.T) {
	db, c, _ := testDB(t)
	c.set(t0 + 3000)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	for i := int64(-10); i <= 10; i++ {
		mustPut(t, db, ref, t0+60*i, float64(i))
	}
	for _, tc := range []struct {
		start, end int64
		first, n   int64
	}{
		{t0 - 600, t0, t0 - 600, 11},
		{t0 - 610, t0 - 10, t0 - 660, 11}, // Start is floored, End is not raised
		{t0 - 30, t0, t0 - 60, 2},
		{t0 + 5, t0 + 7, t0, 1},
		{t0 + 600, t0 + 900, t0 + 600, 6}, // the future is padded
		{t0 + 60, t0, 0, 0},
	} {
		pts := query(t, db, "h", "c", tc.start, tc.end)
		if int64(len(pts)) != tc.n || tc.n > 0 && pts[0].Ts != tc.first {
			t.Errorf("Query(%d, %d): %d points from %v, want %d from %d", tc.start-t0, tc.end-t0, len(pts), pts, tc.n, tc.first)
		}
	}
	for _, cf := range []string{"LAST", "", "average"} {
		if info, pts, _ := db.Query("h", "c", cf, t0-600, t0, nil); len(pts) != 0 || info.Ref == 0 {
			t.Errorf("cf %q gave %d points", cf, len(pts))
		}
	}
	for _, cf := range []string{"MAX", "MIN"} {
		if _, pts, _ := db.Query("h", "c", cf, t0, t0+60, nil); values(pts) != "0 1" {
			t.Errorf("cf %s gave %s", cf, values(pts))
		}
	}
	if info, pts, err := db.Query("h", "nobody", "AVERAGE", 0, t0, nil); info.Ref != 0 || pts != nil || err != nil {
		t.Error("an unknown series has no points and no error")
	}
	if n := len(query(t, db, "h", "c", math.MinInt64, math.MaxInt64)); n > 8000 {
		t.Errorf("all of time gave %d points", n)
	}
}

func TestBoundsAndHeartbeat(t *testing.T) {
	db, c, _ := testDB(t)
	c.set(t0 + 3000)
	ref, err := db.Resolve(&Def{Endpoint: "h", Counter: "c", Type: model.Derive, Step: 60, Heartbeat: 240, Min: 0, Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []mv{{1, 0}, {2, 60}, {3, 60000}, {6, 60180}, {11, 60480}} {
		mustPut(t, db, ref, t0+60*p.m, p.v)
	}
	if got, want := values(query(t, db, "h", "c", t0+60, t0+660)), "_ 1 _ 1 1 1 _ _ _ _ 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Steps that do not divide an hour, and steps above it, over many windows.
func TestAnyStep(t *testing.T) {
	for _, step := range []int{1, 7, 10, 30, 60, 61, 3599, 3600, 3601, 5400, 7200, 86400} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			t.Parallel()
			db, c, opt := testDB(t)
			ref := resolve(t, db, "h", "c", model.Gauge, step)
			n := int64(4)
			if step < 600 {
				n = int64(5 * 3600 / step)
			}
			start := (t0/int64(step) + 1) * int64(step)
			for i := range n {
				ts := start + i*int64(step)
				c.set(ts)
				mustPut(t, db, ref, ts, float64(i))
				if got := put(t, db, ref, ts, 99); got != model.ReasonDuplicate {
					t.Fatalf("second value at %d: %q", ts, got)
				}
			}
			check := func() {
				t.Helper()
				pts := query(t, db, "h", "c", start, start+(n-1)*int64(step))
				if int64(len(pts)) != n {
					t.Fatalf("%d points, want %d", len(pts), n)
				}
				for i, p := range pts {
					if p.Ts != start+int64(i*step) || p.Value != float64(i) {
						t.Fatalf("point %d is %+v", i, p)
					}
				}
				if _, p := db.Last("h", "c"); p.Ts != start+(n-1)*int64(step) || p.Value != float64(n-1) {
					t.Fatalf("Last = %+v", p)
				}
			}
			check()
			mustSeal(t, db, c.unix.Load()-3600)
			check()
			db = reopen(t, db, opt)
			check()
			mustSeal(t, db, c.unix.Load()+9000)
			check()
			db = reopen(t, db, opt)
			check()
		})
	}
}

func TestLast(t *testing.T) {
	db, c, opt := testDB(t)
	c.set(t0 + 3000)
	g := resolve(t, db, "h", "g", model.Gauge, 60)
	d := resolve(t, db, "h", "d", model.Counter, 60)
	check := func(g, raw, rate Point) {
		t.Helper()
		if _, p := db.Last("h", "g"); p != g {
			t.Errorf("Last gauge %+v, want %+v", p, g)
		}
		if _, p := db.LastRaw("h", "d"); p != raw {
			t.Errorf("LastRaw derive %+v, want %+v", p, raw)
		}
		if _, p := db.Last("h", "d"); p != rate {
			t.Errorf("Last derive %+v, want %+v", p, rate)
		}
	}
	check(Point{}, Point{}, Point{})
	mustPut(t, db, g, t0, 5)
	mustPut(t, db, d, t0, 600)
	check(Point{t0, 5}, Point{t0, 600}, Point{})
	mustPut(t, db, d, t0+60, 660)
	check(Point{t0, 5}, Point{t0 + 60, 660}, Point{t0 + 60, 1})
	for range 2 {
		mustSeal(t, db, t0+601)
		check(Point{t0, 5}, Point{t0 + 60, 660}, Point{t0 + 60, 1})
		db = reopen(t, db, opt)
		check(Point{t0, 5}, Point{t0 + 60, 660}, Point{t0 + 60, 1})
	}
	d = resolve(t, db, "h", "d", model.Counter, 60)
	mustPut(t, db, d, t0+120, 6)
	check(Point{t0, 5}, Point{t0 + 120, 6}, Point{t0 + 120, 0})
	mustPut(t, db, d, t0+240, 66)
	check(Point{t0, 5}, Point{t0 + 240, 66}, Point{})
	mustSeal(t, db, t0+5000)
	check(Point{t0, 5}, Point{t0 + 240, 66}, Point{})
	db = reopen(t, db, opt)
	check(Point{t0, 5}, Point{t0 + 240, 66}, Point{})
	if info, ok := db.Lookup("h", "d"); !ok || info.Type != model.Derive || info.Last < t0+240 || info.Last > t0+3600 {
		t.Errorf("Lookup = %+v", info)
	}
}
