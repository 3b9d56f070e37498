package tsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/modules/graph/tsdb/codec"
	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/segment"
	"falcon/modules/graph/tsdb/wal"
)

// overlaysOf returns the names of the overlays in a folder.
func overlaysOf(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "seg-0-*.[0-9]*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return names
}

// logsOf returns the log files of a folder with what is in them.
func logsOf(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	names, _ := filepath.Glob(filepath.Join(dir, "wal-*"))
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[n] = b
	}
	return out
}

// Samples come when their hours are sealed. What is asked is the same wherever they
// are: in a buffer, in an overlay, after a restart, merged.
func TestLatePoints(t *testing.T) {
	for _, tc := range []struct {
		name, kind string
		step       int64
		in         []mv // in time, minutes from t0
		late       []mv // when both hours are sealed
		from, to   int64
		want       string
		dups       int // of late
	}{
		{name: "a gauge gets its values", kind: model.Gauge, step: 60, in: ramp(-5, -4, -1, 1, 62), late: ramp(-3, -2), from: -5, to: 0, want: "-5 -4 -3 -2 -1 1"},
		{name: "they come backwards", kind: model.Gauge, step: 60, in: ramp(-9, 62), late: ramp(-2, -3, -4, -5, -6, -7, -8), from: -9, to: -1, want: "-9 -8 -7 -6 -5 -4 -3 -2 _"},
		{name: "the first value of a file wins", kind: model.Gauge, step: 60, in: []mv{{-5, 1}, {-4, 2}, {62, 0}}, late: []mv{{-5, 8}, {-4, 9}, {-3, 3}}, from: -5, to: -3, want: "1 2 3", dups: 2},
		{name: "the first value of a buffer wins", kind: model.Gauge, step: 60, in: []mv{{-5, 1}, {62, 0}}, late: []mv{{-4, 2}, {-4, 3}, {-3, 4}, {-3, 4}}, from: -5, to: -3, want: "1 2 4", dups: 2},
		{name: "a gap is filled by a late value", kind: model.Gauge, step: 60, in: []mv{{-6, 1}, {-1, 6}, {62, 0}}, late: []mv{{-3, 4}}, from: -6, to: -1, want: "1 _ _ 4 6 6"},
		{name: "over the edge of two hours", kind: model.Gauge, step: 60, in: []mv{{-6, 1}, {5, 6}, {62, 0}}, late: []mv{{-1, 3}, {1, 4}}, from: -3, to: 3, want: "_ _ 3 4 4 _ _"},
		{name: "a late sample splits an interval", kind: model.Derive, step: 60, in: []mv{{-9, 0}, {-4, 600}, {62, 0}}, late: []mv{{-5, 540}}, from: -9, to: -4, want: "_ _ _ _ 2.25 1"},
		{name: "the first rate of an hour uses the late last sample of the one before", kind: model.Derive, step: 60, in: []mv{{-9, 0}, {1, 600}, {2, 660}, {62, 0}}, late: []mv{{0, 480}},
			from: 1, to: 2, want: "2 1"},
		{name: "and the late first sample the last one of the hour before", kind: model.Derive, step: 60, in: []mv{{-1, 0}, {3, 300}, {62, 0}}, late: []mv{{1, 60}}, from: 1, to: 3, want: "0.5 2 2"},
		{name: "an hour of which nothing came in time", kind: model.Derive, step: 60, in: []mv{{62, 6200}, {63, 6260}}, late: []mv{{-2, 0}, {-1, 60}, {1, 300}, {2, 300}}, from: -1, to: 2, want: "1 2 2 0"},
		{name: "and the rate behind it", kind: model.Derive, step: 60, in: []mv{{62, 6300}, {63, 6360}}, late: []mv{{57, 6000}}, from: 61, to: 63, want: "_ 1 1"},
		{name: "the sample before is hours away", kind: model.Derive, step: 60, in: []mv{{-130, 0}, {62, 20000}}, late: []mv{{5, 8100}}, from: 5, to: 6, want: "1 _"},
		{name: "a reset", kind: model.Derive, step: 60, in: []mv{{-9, 600}, {-7, 660}, {62, 0}}, late: []mv{{-8, 10}}, from: -8, to: -7, want: "_ 10.833333333333334"},
		{name: "step of 5 minutes", kind: model.Derive, step: 300, in: []mv{{-15, 0}, {5, 1200}, {62, 0}}, late: []mv{{0, 600}, {-5, 300}}, from: -10, to: 5, want: "0.5 0.5 1 2"},
		{name: "step of 2 hours", kind: model.Gauge, step: 7200, in: []mv{{0, 1}, {240, 3}}, late: []mv{{120, 2}}, from: 0, to: 240, want: "1 2 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			db, c, opt := testDB(t)
			c.set(t0 + 4*3600)
			ref := resolve(t, db, "h", "c", tc.kind, int(tc.step))
			for _, p := range tc.in {
				mustPut(t, db, ref, t0+60*p.m, p.v)
			}
			// A neighbour of the same host makes the hours be there.
			other := resolve(t, db, "h", "other", model.Gauge, 60)
			for m := int64(-20); m <= 240; m += 20 {
				mustPut(t, db, other, t0+60*m, 1)
			}
			mustSeal(t, db, t0+3*3600+600)
			dups := 0
			for _, p := range tc.late {
				switch r := put(t, db, ref, t0+60*p.m, p.v); r {
				case model.ReasonDuplicate:
					dups++
				case "":
				default:
					t.Fatalf("late sample of minute %d refused: %s", p.m, r)
				}
			}
			if dups != tc.dups {
				t.Errorf("%d duplicates, want %d", dups, tc.dups)
			}
			if st := db.Stats(); int(st.Late) != len(tc.late)-dups || int(st.LateRefused[model.ReasonDuplicate]) != dups || st.LateBytes == 0 {
				t.Errorf("%d late, %v refused, %d bytes; want %d and %d", st.Late, st.LateRefused, st.LateBytes, len(tc.late)-dups, dups)
			}
			check := func(state string) {
				t.Helper()
				if got := values(query(t, db, "h", "c", t0+60*tc.from, t0+60*tc.to)); got != tc.want {
					t.Errorf("%s\n got %s\nwant %s", state, got, tc.want)
				}
				for _, p := range tc.late { // all of them are there now
					if r := put(t, db, ref, t0+60*p.m, 77); r != model.ReasonDuplicate {
						t.Errorf("%s: minute %d again: %q", state, p.m, r)
					}
				}
			}
			check("in the buffer")
			db = reopen(t, db, opt)
			ref = resolve(t, db, "h", "c", tc.kind, int(tc.step))
			if rec := db.Stats().Recovery; int(rec.Late) != len(tc.late)-dups {
				t.Errorf("%d late points are back from the log, want %d", rec.Late, len(tc.late)-dups)
			}
			check("in the buffer, after a restart")
			mustFlush(t, db, t0+4*3600)
			check("in overlays")
			if st := db.Stats(); st.Overlays == 0 || st.Overlays != len(overlaysOf(t, opt.Dir)) || st.LateBytes != 0 {
				t.Errorf("%d overlays, %v on disk, %d bytes in buffers", st.Overlays, overlaysOf(t, opt.Dir), st.LateBytes)
			}
			db = reopen(t, db, opt)
			ref = resolve(t, db, "h", "c", tc.kind, int(tc.step))
			if rec := db.Stats().Recovery; rec.Overlays == 0 || rec.Late != 0 {
				t.Errorf("%+v, want overlays and no late point", rec)
			}
			check("in overlays, after a restart")
			mustSeal(t, db, t0+9*3600)
			check("all sealed")
			db = reopen(t, db, opt)
			ref = resolve(t, db, "h", "c", tc.kind, int(tc.step))
			check("all sealed, after a restart")
		})
	}
}

// A value of a buffer must not take the place of one in an overlay, nor one of an
// overlay that of an earlier one: the disk shows each of them alone in its turn.
func TestFirstValueWinsInTheOrderOfTheFiles(t *testing.T) {
	db, c, opt := testDB(t)
	c.set(t0 + 7200)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0-300, 1)
	mustSeal(t, db, t0+600)
	base := fmt.Sprintf("seg-0-%010d", t0-3600)
	hide := func(name string) {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(opt.Dir, name)); err != nil {
			t.Fatal(err)
		}
		db = open(t, opt)
		ref = resolve(t, db, "h", "c", model.Gauge, 60)
	}
	keep := map[string][]byte{}
	for i := 1; i <= 3; i++ {
		mustPut(t, db, ref, t0-300+60*int64(i), float64(i)) // so that each overlay has a point of its own
		if i > 1 {
			mustPut(t, db, ref, t0-240, float64(i*10)) // and all have this one
		}
		mustFlush(t, db, t0+7200+int64(i))
		b, err := os.ReadFile(filepath.Join(opt.Dir, base+".1"))
		if err != nil {
			t.Fatal(err)
		}
		keep[fmt.Sprintf("%s.%d", base, i)] = b
		hide(base + ".1")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for n, b := range keep {
		if err := os.WriteFile(filepath.Join(opt.Dir, n), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db = open(t, opt)
	t.Cleanup(func() { _ = db.Close() })
	if got := values(query(t, db, "h", "c", t0-300, t0-120)); got != "1 1 2 3" {
		t.Errorf("got %s, want of minute -4 the value of the first overlay", got)
	}
	// Merging them keeps it.
	ref = resolve(t, db, "h", "c", model.Gauge, 60)
	for i := range int64(6) {
		mustPut(t, db, ref, t0-600-60*i, 5)
		mustFlush(t, db, t0+7300+60*i)
	}
	if n := db.Stats().Overlays; n > maxOverlays {
		t.Errorf("%d overlays", n)
	}
	if got := values(query(t, db, "h", "c", t0-300, t0-120)); got != "1 1 2 3" {
		t.Errorf("merged: got %s", got)
	}
}

// Many overlays become one. A crash before the old ones are gone changes nothing, and
// numbers go on.
func TestOverlaysAreMerged(t *testing.T) {
	db, c, opt := testDB(t)
	c.set(t0 + 7200)
	g, d := resolve(t, db, "h", "g", model.Gauge, 60), resolve(t, db, "h", "d", model.Derive, 60)
	dead := resolve(t, db, "h", "dead", model.Gauge, 60)
	for _, ref := range []Ref{g, d} {
		mustPut(t, db, ref, t0-60*59, 0)
		mustPut(t, db, ref, t0+60, 6000)
	}
	mustSeal(t, db, t0+600)
	at := t0 + 7200
	old := map[string][]byte{}
	flush := func(i int64) {
		t.Helper()
		mustPut(t, db, g, t0-60*i, float64(i))
		mustPut(t, db, d, t0-60*i, 60*float64(59-i))
		mustPut(t, db, dead, t0-60*i, 1)
		at += 60
		mustFlush(t, db, at)
	}
	for i := int64(1); i <= maxOverlays; i++ {
		flush(i)
	}
	names := overlaysOf(t, opt.Dir)
	if len(names) != maxOverlays {
		t.Fatalf("%v, want %d overlays", names, maxOverlays)
	}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(opt.Dir, n))
		if err != nil {
			t.Fatal(err)
		}
		old[n] = b
	}
	if ok, err := db.Delete("h", "dead", model.Gauge, 60); !ok || err != nil {
		t.Fatal(ok, err)
	}
	dead = g // its points are duplicates from here on
	mustPut(t, db, g, t0-60*9, 9)
	mustPut(t, db, d, t0-60*9, 60*50)
	mustFlush(t, db, at+60)
	one := fmt.Sprintf("seg-0-%010d.%d", t0-3600, maxOverlays+1)
	if names = overlaysOf(t, opt.Dir); !slices.Equal(names, []string{one}) || db.Stats().Overlays != 1 {
		t.Fatalf("%v, Stats says %d, want %s alone", names, db.Stats().Overlays, one)
	}
	check := func(state string) {
		t.Helper()
		if got := values(query(t, db, "h", "g", t0-60*9, t0)); got != "9 8 7 6 5 4 3 2 1 6000" {
			t.Errorf("%s: %s", state, got)
		}
		if got := values(query(t, db, "h", "d", t0-60*9, t0+60)); got != "1 1 1 1 1 1 1 1 1 21 21" {
			t.Errorf("%s: %s", state, got)
		}
		if r, err := Verify(opt.Dir); err != nil || r.Faults > 0 {
			t.Errorf("%s: Verify %+v, %v", state, r, err)
		}
	}
	check("merged")
	db = reopen(t, db, opt)
	check("merged, after a restart")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for n, b := range old { // as if it had died between the two steps
		if err := os.WriteFile(filepath.Join(opt.Dir, n), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db = open(t, opt)
	t.Cleanup(func() { _ = db.Close() })
	check("after a crash before the old ones went")
	g, d, dead = resolve(t, db, "h", "g", model.Gauge, 60), resolve(t, db, "h", "d", model.Derive, 60), g
	mustPut(t, db, g, t0-60*10, 10)
	mustPut(t, db, d, t0-60*10, 60*49)
	mustFlush(t, db, at+120)
	if names = overlaysOf(t, opt.Dir); len(names) != 1 || !strings.HasSuffix(names[0], fmt.Sprint(".", maxOverlays+2)) {
		t.Errorf("%v, want one file with the next number", names)
	}
	check("merged again")
}

// A point is refused when it is older than the retention, and only then.
func TestLateIsRefusedBeyondTheRetention(t *testing.T) {
	c := newClock(t0)
	opt := Options{Dir: t.TempDir(), Now: c.now, Retention: 24 * time.Hour}
	db := open(t, opt)
	defer db.Close()
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0, 1)
	for _, tc := range []struct {
		ts   int64
		want string
	}{
		{t0 - 3600, ""}, {t0 - 13*3600, ""}, {t0 - 23*3600, ""}, {t0 - 24*3600 + 60, ""}, {t0 - 24*3600, model.ReasonLate}, {t0 - 48*3600, model.ReasonLate}, {60, model.ReasonLate},
	} {
		if got := put(t, db, ref, tc.ts, 2); got != tc.want {
			t.Errorf("%d hours old: %q, want %q", (t0-tc.ts)/3600, got, tc.want)
		}
	}
	if st := db.Stats(); st.Late != 3 || st.LateRefused[model.ReasonLate] != 3 || st.Refused[model.ReasonLate] != 3 {
		t.Errorf("%d late, refused %v, %v", st.Late, st.LateRefused, st.Refused)
	}
	// With the retention the overlays go, those without a first file of their hour too.
	mustFlush(t, db, t0)
	mustSeal(t, db, t0+600)
	c.set(t0 + 20*3600)
	mustPut(t, db, ref, t0+20*3600, 1)
	if n := len(overlaysOf(t, opt.Dir)); n != 2 {
		t.Fatalf("%d overlays, want 2", n)
	}
	if err := db.sweep(c.now()); err != nil {
		t.Fatal(err)
	}
	if st := db.Stats(); st.Overlays != 0 || len(overlaysOf(t, opt.Dir)) != 0 || st.Segments != 2 {
		t.Errorf("%d overlays and %d hours are left, on disk %v", st.Overlays, st.Segments, overlaysOf(t, opt.Dir))
	}
}

// A window that has late points takes none into the head, where they would not be
// compared with them: not when the clock is put back, not after a restart.
func TestWindowWithLatePointsStaysClosed(t *testing.T) {
	db, c, opt := testDB(t)
	put20 := func(minutes int64, v float64) string {
		return put(t, db, resolve(t, db, "h", "c", model.Gauge, 60), t0-20*3600-1800+60*minutes, v)
	}
	for i, state := range []string{"buffer", "buffer, after a restart", "overlay, after a restart"} {
		c.set(t0)
		if i == 0 {
			put20(0, 1)
		}
		c.set(t0 - 15*3600)
		if r := put20(0, 9); r != model.ReasonDuplicate {
			t.Errorf("%s: another value is %q, want duplicate", state, r)
		}
		if r := put20(int64(i+1), 2); r != "" {
			t.Errorf("%s: another point: %q", state, r)
		}
		if n := db.Stats().OpenWindows; n > 0 {
			t.Errorf("%s: it is in the head", state)
		}
		if i > 0 {
			mustFlush(t, db, t0)
		}
		db = reopen(t, db, opt)
	}
	if got := values(query(t, db, "h", "c", t0-20*3600-1800, t0-20*3600-1560)); got != "1 2 2 2 _" {
		t.Errorf("got %s", got)
	}
}

// An overlay with a point of the same time comes between the look into the files and
// the buffer.
func TestOverlayComesWhileALatePointIsLookedFor(t *testing.T) {
	db, c, _ := testDB(t)
	c.set(t0 + 7200)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0, 1)
	mustSeal(t, db, t0+600)
	sc, r, batch := &appendScratch{}, &reader{}, []Sample{{ref, t0 - 60, 9}, {ref, t0 - 120, 3}}
	s := &db.shards[ref.shard()]
	w, _ := s.lateRun(sc, batch, []int32{0, 1}, t0+7200, r)
	mustPut(t, db, ref, t0-60, 2)
	mustFlush(t, db, t0+7200)
	if n := db.storeRun(sc, batch, s, w, c.now(), r); n != 1 || len(sc.refused) != 1 || sc.refused[0] != (refusal{0, duplicate}) {
		t.Errorf("%d taken, refused %v, want the second taken and the first a duplicate", n, sc.refused)
	}
	if got := values(query(t, db, "h", "c", t0-120, t0)); got != "3 2 1" {
		t.Errorf("got %s", got)
	}
}

// While buffers are written their points are known, and when they could not be written
// they and those that came meanwhile are together again.
func TestLatePointsComeDuringAFlush(t *testing.T) {
	db, c, opt := testDB(t)
	c.set(t0 + 7200)
	ref, other := resolve(t, db, "h", "c", model.Gauge, 60), resolve(t, db, "h", "other", model.Gauge, 60)
	mustPut(t, db, ref, t0, 1)
	mustSeal(t, db, t0+600)
	mustPut(t, db, ref, t0-60, 2)
	mustPut(t, db, ref, t0-7200, 5)
	before := db.Stats().LateBytes
	if windows, left := db.freezeLate(); len(windows) != 2 || left {
		t.Fatalf("%v, %v", windows, left)
	}
	if r := put(t, db, ref, t0-60, 9); r != model.ReasonDuplicate {
		t.Errorf("a point that is being written again: %q", r)
	}
	mustPut(t, db, ref, t0-120, 3)
	mustPut(t, db, other, t0-120, 4)
	check := func(state string) {
		t.Helper()
		got := values(query(t, db, "h", "c", t0-120, t0)) + " " + values(query(t, db, "h", "other", t0-120, t0-120)) + " " + values(query(t, db, "h", "c", t0-7200, t0-7200))
		if got != "3 2 1 4 5" {
			t.Errorf("%s: got %s", state, got)
		}
	}
	check("during it")
	db.thawLate()
	check("after it")
	if n := db.Stats().LateBytes; n != before+lateHeadSize {
		t.Errorf("%d bytes in buffers, want %d", n, before+lateHeadSize)
	}
	mustFlush(t, db, t0+7200)
	if n := db.Stats().LateBytes; n != 0 {
		t.Errorf("%d bytes in buffers", n)
	}
	check("written")
	db = reopen(t, db, opt)
	check("after a restart")
}

// The chunk of a counter carries the sample before it, in overlays too, and in the
// hour behind a late point that sample is the late one. Last knows it as well.
func TestChunksCarryTheSampleBefore(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			db, c, opt := testDB(t)
			c.set(t0 + 4000)
			ref := resolve(t, db, "h", "c", model.Derive, 60)
			mustPut(t, db, ref, t0-7200, 0)
			mustPut(t, db, ref, t0+60, 60)
			mustSeal(t, db, t0+4200)
			mustPut(t, db, ref, t0+3660, 3660)
			mustPut(t, db, ref, t0-60, 30)
			mustPut(t, db, ref, t0+3600, 3000)
			if restart {
				db = reopen(t, db, opt)
			}
			prev := func(name string, w int64) string {
				t.Helper()
				g, err := segment.Open(db.fs, opt.Dir, name)
				if err != nil {
					t.Fatal(err)
				}
				defer g.Release()
				body, err := g.Chunk(ref.shard(), ref.id())
				if err != nil {
					t.Fatal(err)
				}
				var dec codec.Decoder
				p, err := dec.Chunk(body, make([]float64, 60), 60)
				if err != nil {
					t.Fatal(err)
				}
				return fmt.Sprintf("%v at %d", p.Value, w+60-60*int64(p.Gap)-t0)
			}
			last := func(state string) {
				t.Helper()
				if _, p := db.Last("h", "c"); p != (Point{t0 + 3660, 11}) {
					t.Errorf("%s: Last %v", state, p)
				}
			}
			last("buffer")
			if restart {
				mustSeal(t, db, t0+7800)
				last("sealed")
				mustFlush(t, db, t0+7800)
			} else {
				mustFlush(t, db, t0+4200)
				last("overlay")
				mustSeal(t, db, t0+7800)
			}
			last("both")
			for _, tc := range []struct {
				name string
				w    int64
				want string
			}{
				{segment.OverlayName(0, uint32(t0-3600), 1), t0 - 3600, "0 at -7200"},
				{segment.OverlayName(0, uint32(t0), 1), t0, "30 at -60"},
				{segment.Name(0, uint32(t0+3600)), t0 + 3600, "3000 at 3600"},
			} {
				if got := prev(tc.name, tc.w); got != tc.want {
					t.Errorf("%s carries %s, want %s", tc.name, got, tc.want)
				}
			}
		})
	}
}

// The log keeps a late point until an overlay has it, and no longer.
func TestLogOfLatePoints(t *testing.T) {
	db, c, opt := testDB(t)
	c.set(t0 + 60)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0, 1)
	mustSeal(t, db, t0+600)
	mustPut(t, db, ref, t0-60, 2)
	mustPut(t, db, ref, t0+60, 3)
	db = reopen(t, db, opt)
	mustSeal(t, db, t0+4200) // nothing but the late point keeps the file
	files := db.Stats().LogFiles
	before := logsOf(t, opt.Dir)
	if files < 2 {
		t.Fatalf("%d log files: the late point is nowhere", files)
	}
	mustFlush(t, db, t0+4200)
	if n := db.Stats().LogFiles; n != 1 {
		t.Errorf("%d log files after the overlay, want the empty one", n)
	}
	// As if it had died before the files went: the points are known.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for n, b := range before {
		if err := os.WriteFile(n, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db = open(t, opt)
	t.Cleanup(func() { _ = db.Close() })
	if rec := db.Stats().Recovery; rec.Late != 0 || rec.Skipped == 0 {
		t.Errorf("%+v: late points in the log and in an overlay came back", rec)
	}
	if got := values(query(t, db, "h", "c", t0-60, t0+60)); got != "2 1 3" {
		t.Errorf("got %s", got)
	}
	// Points that were on their way to the log when their buffer was written do not hold
	// it for ever: a seal without late points lets it go.
	ref = resolve(t, db, "h", "c", model.Gauge, 60)
	c.set(t0 + 7200)
	mustPut(t, db, ref, t0+7200, 4)
	if _, err := db.wal.Write(record.End(record.Begin(nil, record.Late), 0), 0, true); err != nil {
		t.Fatal(err)
	}
	mustSeal(t, db, t0+7800)
	if n := db.Stats().LogFiles; n != 1 {
		t.Errorf("%d log files after a seal", n)
	}
}

// Run writes late points when the first of them is ten minutes old, or when they are
// many.
func TestRunWritesLatePoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := Options{Dir: t.TempDir(), LateBytes: 50_000}
		db := open(t, opt)
		defer db.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- db.Run(ctx) }()
		now := func() int64 { return time.Now().Unix() / 60 * 60 }
		ref := resolve(t, db, "h", "c", model.Gauge, 1)
		mustPut(t, db, ref, now(), 1)
		mustPut(t, db, ref, now()-20*3600, 1)
		time.Sleep(9*time.Minute + 50*time.Second)
		if n := db.Stats().Overlays; n != 0 {
			t.Errorf("%d overlays before ten minutes", n)
		}
		time.Sleep(20 * time.Second)
		if st := db.Stats(); st.Overlays != 1 || st.LateBytes != 0 {
			t.Errorf("%d overlays after ten minutes, %d bytes in buffers", st.Overlays, st.LateBytes)
		}
		for i := range int64(3500) {
			mustPut(t, db, ref, now()-30*3600+i, 1)
		}
		time.Sleep(2 * time.Second)
		if st := db.Stats(); st.Overlays < 2 || st.LateBytes != 0 {
			t.Errorf("%d overlays after many points, %d bytes in buffers", st.Overlays, st.LateBytes)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The memory of late points is bounded without Run, too: whoever brings more writes
// them. When the disk takes no overlays they are not acknowledged, and what came in
// time goes on.
func TestLateBytesAreBounded(t *testing.T) {
	fs := &faultFS{}
	c := newClock(t0)
	opt := Options{Dir: t.TempDir(), Now: c.now, FS: fs, LateBytes: 20_000}
	db := open(t, opt)
	t.Cleanup(func() { _ = db.Close() })
	ref := resolve(t, db, "h", "c", model.Gauge, 1)
	mustPut(t, db, ref, t0-20*3600, 1)
	next := t0 - 20*3600 + 1
	for range 5000 {
		mustPut(t, db, ref, next, 1)
		next++
		if n := db.Stats().LateBytes; n > opt.LateBytes*5/4+latePageSize {
			t.Fatalf("%d bytes of late points, want at most a quarter above %d", n, opt.LateBytes)
		}
	}
	if db.Stats().Overlays == 0 {
		t.Fatal("nothing was written")
	}
	fs.set("seg-", syscall.ENOSPC, 0, nil)
	taken := 0
	var err error
	for ; err == nil && taken < 5000; taken++ {
		_, err = db.Append([]Sample{{ref, next, 1}}, nil)
		next++
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%d points were taken on a full disk, then %v", taken, err)
	}
	n, err := db.Append([]Sample{{ref, t0, 5}, {ref, next, 1}}, nil)
	if n != 1 || !errors.Is(err, syscall.ENOSPC) || db.ReadOnly() != nil {
		t.Errorf("Append with a point in time = %d, %v, want it taken; read-only: %v", n, err, db.ReadOnly())
	}
	mustPut(t, db, ref, t0+1, 6)
	fs.set("", nil, 0, nil)
	c.set(t0 + 60)
	mustPut(t, db, ref, next, 1)
	if got := db.Stats().Late; int(got) != 5000+taken+1 {
		t.Errorf("%d late points kept, want %d", got, 5000+taken+1)
	}
	db = reopen(t, db, opt)
	if got := values(query(t, db, "h", "c", t0, t0+1)); got != "5 6" {
		t.Errorf("got %s", got)
	}
}

// Whatever fails while an overlay is written: the points stay in memory and in the
// log, nothing is left in the folder, and the next try writes them.
func TestOverlayThatCanNotBeWritten(t *testing.T) {
	for _, tc := range []struct {
		name   string
		breaks func(*faultFS)
	}{
		{"no room", func(f *faultFS) { f.set("seg-", syscall.ENOSPC, 0, nil) }},
		{"a short write", func(f *faultFS) { f.set("seg-", syscall.ENOSPC, 10, nil) }},
		{"the sync", func(f *faultFS) { f.set("seg-", nil, 0, syscall.EIO) }},
		{"the rename", func(f *faultFS) { f.failRenames("seg-", syscall.EIO) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := &faultFS{}
			c := newClock(t0 + 60)
			opt := Options{Dir: t.TempDir(), Now: c.now, FS: fs}
			db := open(t, opt)
			t.Cleanup(func() { _ = db.Close() })
			ref := resolve(t, db, "h", "c", model.Derive, 60)
			mustPut(t, db, ref, t0-300, 0)
			mustPut(t, db, ref, t0+60, 6000)
			mustSeal(t, db, t0+600)
			mustPut(t, db, ref, t0-240, 60)
			check := func(want string) {
				t.Helper()
				if got := values(query(t, db, "h", "c", t0-240, t0-120)); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			tc.breaks(fs)
			at := t0 + 600
			for range 2 {
				if err := db.FlushLate(unix(at)); err == nil {
					t.Fatal("no error")
				}
				at += 60
				if db.ReadOnly() != nil {
					t.Fatal("an overlay that fails is no reason to be read-only")
				}
				check("1 _ _")
			}
			mustPut(t, db, ref, t0-180, 120)
			check("1 1 _")
			if r := put(t, db, ref, t0-240, 7); r != model.ReasonDuplicate {
				t.Errorf("a resend: %q", r)
			}
			names, _ := fs.ReadDir(opt.Dir)
			if s := fmt.Sprint(names); strings.Contains(s, ".tmp") || len(overlaysOf(t, opt.Dir)) > 0 {
				t.Errorf("left: %s", s)
			}
			fs.set("", nil, 0, nil)
			db = reopen(t, db, opt)
			check("1 1 _")
			ref = resolve(t, db, "h", "c", model.Derive, 60)
			tc.breaks(fs)
			if err := db.FlushLate(unix(at)); err == nil {
				t.Fatal("no error")
			}
			mustPut(t, db, ref, t0-120, 180)
			fs.set("", nil, 0, nil)
			mustFlush(t, db, at+60)
			check("1 1 1")
			db = reopen(t, db, opt)
			if rec := db.Stats().Recovery; rec.Late != 0 || rec.Overlays != 1 {
				t.Errorf("%+v", rec)
			}
			check("1 1 1")
		})
	}
}

// A damaged overlay is set aside, a damaged chunk of one is as if it were not there;
// the rest serves. The values can be sent again.
func TestDamagedOverlay(t *testing.T) {
	db, c, opt := testDB(t)
	c.set(t0 + 7200)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0, 1)
	mustSeal(t, db, t0+600)
	for i := int64(1); i <= maxOverlays; i++ {
		mustPut(t, db, ref, t0-60*i, float64(i))
		mustFlush(t, db, t0+7200+60*i)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	flip := func(n int, at int) {
		t.Helper()
		path := filepath.Join(opt.Dir, fmt.Sprintf("seg-0-%010d.%d", t0-3600, n))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flip(2, 3)  // no overlay at all
	flip(4, 40) // in the chunk
	flip(5, 5)  // of a later release
	if r, err := Verify(opt.Dir); err != nil || r.Faults != 3 {
		t.Errorf("Verify finds %d faults, %v; want 3", r.Faults, err)
	}
	db = open(t, opt)
	if rec := db.Stats().Recovery; rec.Damaged != 2 || rec.Overlays != maxOverlays-2 {
		t.Errorf("%+v", rec)
	}
	if got := values(query(t, db, "h", "c", t0-60*6, t0)); got != "6 _ _ 3 1 1 1" || db.Stats().CRCErrors < 3 {
		t.Errorf("got %s, %d errors", got, db.Stats().CRCErrors)
	}
	ref = resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0-240, 44)
	for i := range int64(4) { // until they are merged
		mustPut(t, db, ref, t0-1200+60*i, 0)
		mustFlush(t, db, t0+9000+60*i)
	}
	if got := values(query(t, db, "h", "c", t0-60*6, t0)); got != "6 44 44 3 1 1 1" {
		t.Errorf("after the values came again: %s", got)
	}
	names := fmt.Sprint(overlaysOf(t, opt.Dir))
	for _, keep := range []string{".2.bad", ".4", ".5"} { // not read: not removed
		if !strings.Contains(names+" ", keep+" ") && !strings.Contains(names, keep+"]") {
			t.Errorf("%s has no %s", names, keep)
		}
	}
	if strings.Contains(names, ".3 ") {
		t.Errorf("%s: what is merged is still there", names)
	}
	_ = db.Close()
}

// The chunk of a deleted series in an overlay is nobody's, however often the ids of
// the shard are used again.
func TestDeleteWithOverlays(t *testing.T) {
	db, c, opt := testDB(t)
	c.set(t0 + 60)
	keep := resolve(t, db, "h", "keep", model.Gauge, 60)
	old := resolve(t, db, "h", "old", model.Gauge, 60)
	mustPut(t, db, keep, t0, 1)
	mustSeal(t, db, t0+600)
	mustPut(t, db, old, t0-60, 66)
	mustPut(t, db, keep, t0-60, 2)
	mustFlush(t, db, t0+700)
	mustPut(t, db, old, t0-120, 67) // and in the buffer
	if ok, err := db.Delete("h", "old", model.Gauge, 60); !ok || err != nil {
		t.Fatal(ok, err)
	}
	heirs := 0
	round := func(state string, at int64) {
		t.Helper()
		c.set(at)
		mustPut(t, db, resolve(t, db, "h", "keep", model.Gauge, 60), at, 3)
		mustSeal(t, db, at+4200)
		name := fmt.Sprintf("heir %d", heirs)
		heirs++
		heir := resolve(t, db, "h", name, model.Gauge, 60)
		mustPut(t, db, heir, t0-180, 1) // a late point of its own: its id is in an overlay from now on
		mustFlush(t, db, at+4300)
		if got := values(query(t, db, "h", name, t0-180, t0-60)); got != "1 _ _" {
			t.Errorf("%s: %s shows %s", state, name, got)
		}
		if got := values(query(t, db, "h", "keep", t0-60, t0)); got != "2 1" {
			t.Errorf("%s: the neighbour has %s", state, got)
		}
		if heir.id() == old.id() {
			t.Errorf("%s: the id is used again", state)
		}
	}
	round("at once", t0+3600)
	db = reopen(t, db, opt)
	round("after a restart", t0+2*3600)
	db = reopen(t, db, opt)
	round("after another", t0+3*3600)
	if r, err := Verify(opt.Dir); err != nil || r.Faults > 0 {
		t.Errorf("Verify: %+v, %v", r, err)
	}
	// When the overlays have gone the id comes back.
	day := int64(86400)
	c.set(t0 + 4*day)
	mustPut(t, db, resolve(t, db, "h", "keep", model.Gauge, 60), t0+4*day, 3)
	if err := db.sweep(c.now()); err != nil {
		t.Fatal(err)
	}
	mustSeal(t, db, t0+4*day+600)
	if heir := resolve(t, db, "h", "last heir", model.Gauge, 60); heir.id() != old.id() {
		t.Errorf("id %d is not used again, got %d", old.id(), heir.id())
	}
}

// A series changed its step during the outage. Whatever came first, each incarnation
// answers for its own time.
func TestLateIncarnations(t *testing.T) {
	for _, order := range []string{"live first", "spool first"} {
		t.Run(order, func(t *testing.T) {
			db, c, opt := testDB(t)
			other := resolve(t, db, "h", "other", model.Gauge, 60)
			feed := func(step, from, to int64) {
				t.Helper()
				ref := resolve(t, db, "h", "c", model.Gauge, int(step))
				for ts := from; ts < to; ts += step {
					mustPut(t, db, ref, ts, float64(ts-t0))
				}
			}
			feed(60, t0, t0+300)
			for h := range int64(5) { // the outage
				c.set(t0 + 3600*h + 60)
				mustPut(t, db, other, t0+3600*h+60, 1)
				mustSeal(t, db, t0+3600*h+60)
			}
			now := t0 + 5*3600
			c.set(now)
			if order == "live first" {
				feed(30, now, now+60)
			}
			feed(60, t0+300, t0+600)
			feed(30, t0+600, t0+900)
			if order == "spool first" {
				feed(30, now, now+60)
			}
			check := func(state string) {
				t.Helper()
				var want []Point
				for ts := t0 + 240; ts < t0+600; ts += 60 {
					want = append(want, Point{ts, float64(ts - t0)})
				}
				for ts := t0 + 600; ts < t0+690; ts += 30 {
					want = append(want, Point{ts, float64(ts - t0)})
				}
				if got := query(t, db, "h", "c", t0+240, t0+660); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s\n got %v\nwant %v", state, got, want)
				}
				if info, p := db.LastRaw("h", "c"); p.Ts != now+30 || info.Step != 30 {
					t.Errorf("%s: last %v of %+v", state, p, info)
				}
			}
			check("buffers")
			db = reopen(t, db, opt)
			check("buffers, after a restart")
			mustFlush(t, db, now+600)
			check("overlays")
			db = reopen(t, db, opt)
			check("overlays, after a restart")
		})
	}
}

// Late points come in, hours are sealed, buffers are written and merged, and queries
// see every point that was acknowledged before they began, once and with its value.
func TestLateWhileSealingAndQuerying(t *testing.T) {
	db, c, opt := testDB(t)
	const series, ticks, behind = 30, 2400, 700 // at 10 s: two hours late
	refs := make([]Ref, series)
	for i := range refs {
		e, n, k := crashName(i)
		refs[i] = resolve(t, db, e, n, k, crashStep)
	}
	var done atomic.Bool
	var acked atomic.Int64 // late ticks: all odd series have them
	acked.Store(-1)
	var wg sync.WaitGroup
	due := make(chan time.Time)
	wg.Go(func() {
		defer done.Store(true)
		defer close(due)
		for tick := range ticks {
			c.set(crashTime(tick))
			var batch []Sample
			for i := range refs {
				if i%2 == 0 {
					batch = append(batch, Sample{refs[i], crashTime(tick), crashValue(i, tick)})
				} else if j := tick - behind; j >= 0 {
					batch = append(batch, Sample{refs[i], crashTime(j), crashValue(i, j)})
				}
			}
			if n, err := db.Append(batch, nil); n != len(batch) || err != nil {
				t.Errorf("Append = %d of %d, %v", n, len(batch), err)
				return
			}
			acked.Store(int64(tick - behind))
			if tick%40 == 30 {
				due <- c.now() // it goes on while the next points come
			}
		}
	})
	wg.Go(func() {
		for at := range due {
			if err := errors.Join(db.Seal(at), db.FlushLate(at)); err != nil {
				t.Error(err)
			}
		}
	})
	check := func(i, last int) {
		first := max(0, last-500)
		e, n, _ := crashName(i)
		_, pts, err := db.Received(e, n, crashTime(first), crashTime(last), nil)
		if len(pts) != last-first+1 || err != nil {
			t.Errorf("series %d: %d points of ticks %d to %d, %v", i, len(pts), first, last, err)
			done.Store(true)
			return
		}
		for j, p := range pts {
			if want := crashValue(i, first+j); p.Value != want {
				t.Errorf("series %d tick %d: %v, want %v", i, first+j, p.Value, want)
				return
			}
		}
	}
	wg.Go(func() {
		for i := 1; !done.Load(); i = (i + 2) % (series - series%2) {
			if last := int(acked.Load()); last >= 0 {
				check(i|1, last)
			}
			_ = db.Stats()
		}
	})
	wg.Wait()
	if st := db.Stats(); st.Late == 0 || st.Overlays == 0 || st.Overlays > maxOverlays*st.Segments {
		t.Errorf("%d late points, %d overlays over %d hours", st.Late, st.Overlays, st.Segments)
	}
	db = reopen(t, db, opt)
	for i := range refs {
		last := ticks - 1
		if i%2 == 1 {
			last -= behind
		}
		check(i, last)
	}
}

// A window is sealed while late points of it are in the buffer already, since its
// seal failed before: nothing twice, nothing missing, and rates are right.
func TestSealAfterLatePointsOfTheWindow(t *testing.T) {
	db, fs, opt := faultDB(t, Interval)
	g, d := resolve(t, db, "h", "g", model.Gauge, 60), resolve(t, db, "h", "d", model.Derive, 60)
	for _, m := range []int64{-9, -8, -6} {
		mustPut(t, db, g, t0+60*m, float64(m))
		mustPut(t, db, d, t0+60*m, 60*float64(m+9))
	}
	fs.set("seg-", syscall.ENOSPC, 0, nil)
	if err := db.Seal(unix(t0 + 600)); err == nil {
		t.Fatal("no error")
	}
	for _, m := range []int64{-7, -2} {
		mustPut(t, db, g, t0+60*m, float64(m))
		mustPut(t, db, d, t0+60*m, 60*float64(m+9))
	}
	mustPut(t, db, g, t0-20*3600, 5) // of an hour that is not waiting for its seal
	if r := put(t, db, g, t0-60*8, 99); r != model.ReasonDuplicate {
		t.Errorf("what is in the head again: %q", r)
	}
	mustPut(t, db, d, t0, 60*9)
	db = reopen(t, db, opt) // the next point is in another log file
	mustPut(t, db, resolve(t, db, "h", "d", model.Derive, 60), t0+60, 60*10)
	check := func(state string) {
		t.Helper()
		if got := values(query(t, db, "h", "g", t0-60*9, t0-60*2)); got != "-9 -8 -7 -6 _ _ _ -2" {
			t.Errorf("%s: %s", state, got)
		}
		if got := values(query(t, db, "h", "d", t0-60*8, t0+60)); got != "1 1 1 _ _ _ 1 1 1 1" {
			t.Errorf("%s: %s", state, got)
		}
		if got := values(query(t, db, "h", "d", t0+60, t0+60)); got != "1" {
			t.Errorf("%s: %s", state, got)
		}
		if _, p := db.LastRaw("h", "g"); p != (Point{t0 - 120, -2}) {
			t.Errorf("%s: newest %v", state, p)
		}
		if _, p := db.Last("h", "d"); p != (Point{t0 + 60, 1}) {
			t.Errorf("%s: newest rate %v", state, p)
		}
	}
	check("seal failed")
	fs.set("", nil, 0, nil)
	mustFlush(t, db, t0+600) // it waits for the seal
	if n := len(overlaysOf(t, opt.Dir)); n != 1 {
		t.Errorf("%d overlays, want the one of another hour, since this one is not sealed", n)
	}
	db = reopen(t, db, opt)
	check("after a restart")
	mustPut(t, db, resolve(t, db, "h", "g", model.Gauge, 60), t0-20*3600-60, 5)
	mustFlush(t, db, t0+600)
	mustSeal(t, db, t0+600) // the log has to keep what the flush before left
	check("sealed")
	if logsOf(t, opt.Dir)[filepath.Join(opt.Dir, wal.Name(2))] == nil { // the seal that failed had begun it
		t.Error("late points that are only in memory are not in the log any more")
	}
	mustFlush(t, db, t0+600)
	check("overlay")
	mustSeal(t, db, t0+4300)
	check("all sealed")
	db = reopen(t, db, opt)
	check("all sealed, after a restart")
	if files := slices.Collect(maps.Keys(logsOf(t, opt.Dir))); len(files) != 1 {
		t.Errorf("log files %v", files)
	}
}
