package tsdb

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"falcon/common/model"
)

// reference is what a series must answer, worked out the slow way from the samples
// that were taken.
type reference struct {
	kind    string
	step    int64
	samples map[int64]float64 // by slot, the end of its step
	at      map[int64]int64   // the sample's own time, by slot
}

// values returns slot -> value for the slots that are known (contract query 1.4, the
// base archive).
func (r *reference) values() map[int64]float64 {
	out := map[int64]float64{}
	slots := slices.Sorted(maps.Keys(r.samples))
	for i, slot := range slots {
		v := r.samples[slot]
		if r.kind == model.Derive {
			if i == 0 {
				continue
			}
			prev := slots[i-1]
			v = (v - r.samples[prev]) / float64(r.at[slot]-r.at[prev])
			if v < 0 {
				continue // the counter began anew
			}
		}
		out[slot] = v
		// One missing slot takes the value of the next.
		if i > 0 && slots[i-1] == slot-2*r.step {
			out[slot-r.step] = v
		}
	}
	return out
}

// A random life of a few series, next to the reference: samples in and out of
// order, late ones of sealed hours too, duplicates, gaps, resets, seals and overlays at
// odd moments, clean restarts, deletes.
func TestRandomLifeAgainstAReference(t *testing.T) {
	rounds := 12
	if os.Getenv("FALCON_SOAK") != "" {
		rounds = 500
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomLife(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func randomLife(t *testing.T, rnd *rand.Rand) {
	db, clock, opt := testDB(t)
	type life struct {
		name string
		ref  Ref
		r    *reference
		next int64
		raw  float64
	}
	steps := []int{1, 7, 10, 30, 60, 300, 3600}
	var all []*life
	create := func(l *life) {
		l.ref = resolve(t, db, "host", l.name, l.r.kind, int(l.r.step))
	}
	for i := range 6 {
		kind := []string{model.Gauge, model.Derive}[i%2]
		l := &life{name: fmt.Sprintf("m%d", i), next: t0, r: &reference{
			kind: kind, step: int64(steps[rnd.IntN(len(steps))]), samples: map[int64]float64{}, at: map[int64]int64{}}}
		l.next -= l.next % l.r.step
		create(l)
		all = append(all, l)
	}
	now := t0
	check := func(when string) {
		t.Helper()
		for _, l := range all {
			want := l.r.values()
			_, got, err := db.Query("host", l.name, "AVERAGE", t0-90000, now+l.r.step, nil)
			if err != nil {
				t.Fatal(err)
			}
			have := map[int64]float64{}
			for _, p := range got {
				if !math.IsNaN(p.Value) {
					have[p.Ts] = p.Value
				}
			}
			for _, slot := range slices.Sorted(maps.Keys(want)) {
				if v, ok := have[slot]; !ok || math.Abs(v-want[slot]) > 1e-9*math.Abs(want[slot]) {
					t.Fatalf("%s: %s %s step %d at %d: %v (%v), want %v", when, l.name, l.r.kind, l.r.step, slot-t0, v, ok, want[slot])
				}
			}
			for slot := range have {
				if _, ok := want[slot]; !ok {
					t.Fatalf("%s: %s %s step %d at %d: %v, want nothing", when, l.name, l.r.kind, l.r.step, slot-t0, have[slot])
				}
			}
			for range 4 { // a part of it is the same
				from := t0 - 90000 + rnd.Int64N(now-t0+90000)
				to := from + rnd.Int64N(9000)
				_, part, _ := db.Query("host", l.name, "AVERAGE", from, to, nil)
				for _, p := range part {
					if v, ok := have[p.Ts]; ok != !math.IsNaN(p.Value) || ok && v != p.Value {
						t.Fatalf("%s: %s %s step %d at %d in [%d, %d]: %v, want %v (%v)", when, l.name, l.r.kind, l.r.step, p.Ts-t0, from-t0, to-t0, p.Value, v, ok)
					}
				}
			}
			if len(l.r.samples) > 0 {
				newest := slices.Max(slices.Collect(maps.Keys(l.r.samples)))
				if _, p := db.LastRaw("host", l.name); p.Ts != newest || p.Value != l.r.samples[newest] {
					t.Fatalf("%s: LastRaw(%s) = %v, want %v at %v", when, l.name, p, l.r.samples[newest], newest)
				}
				want := Point{newest, l.r.samples[newest]}
				if before, ok := l.r.samples[newest-l.r.step]; l.r.kind == model.Derive && ok {
					want.Value = max(0, (want.Value-before)/float64(l.r.step))
				} else if l.r.kind == model.Derive {
					want = Point{}
				}
				if _, p := db.Last("host", l.name); p != want {
					t.Fatalf("%s: Last(%s) = %v, want %v", when, l.name, p, want)
				}
			}
		}
	}
	for range 120 {
		now += int64(rnd.IntN(400))
		clock.set(now)
		for _, l := range all {
			for l.next <= now {
				ts := l.next
				l.next += l.r.step
				switch k := rnd.IntN(20); {
				case k == 0:
					continue // lost
				case k == 1 && rnd.IntN(3) == 0:
					l.next += l.r.step * int64(rnd.IntN(6))
				case k == 2 && l.r.kind == model.Derive:
					l.raw = 0 // began anew
				}
				if l.r.kind == model.Derive {
					l.raw += float64(rnd.IntN(5000))
				} else {
					l.raw = float64(rnd.IntN(1000)) / 8
				}
				reason := put(t, db, l.ref, ts, l.raw)
				if reason == "" {
					l.r.samples[ts], l.r.at[ts] = l.raw, ts
				} else {
					t.Fatalf("%s step %d at %d refused: %s", l.name, l.r.step, ts-t0, reason)
				}
				// The same time again, with another value: the first stays.
				if rnd.IntN(8) == 0 && reason == "" {
					if again := put(t, db, l.ref, ts, l.raw+1); again != model.ReasonDuplicate {
						t.Fatalf("%s: a second value at %d is %q, want duplicate", l.name, ts-t0, again)
					}
				}
			}
			// Now and then lost samples arrive late, which changes gauges only in their
			// own slots and counters in two each; some of them are there already.
			if rnd.IntN(5) == 0 && len(l.r.samples) > 3 {
				ts := now - now%l.r.step - l.r.step*int64(rnd.IntN(40))
				for range rnd.IntN(6) {
					ts -= l.r.step * int64(rnd.IntN(1+int(14400/l.r.step)))
					if ts <= t0-86400 {
						break
					}
					v := float64(rnd.IntN(100000)) / 4
					_, have := l.r.samples[ts]
					reason := put(t, db, l.ref, ts, v)
					switch {
					case have && reason != model.ReasonDuplicate:
						t.Fatalf("%s: a second value at %d is %q, want duplicate", l.name, ts-t0, reason)
					case !have && reason != "":
						t.Fatalf("%s: late sample at %d refused: %s", l.name, ts-t0, reason)
					case !have:
						l.r.samples[ts], l.r.at[ts] = v, ts
					}
				}
			}
		}
		switch rnd.IntN(12) {
		case 0:
			mustSeal(t, db, now)
		case 1:
			db = reopen(t, db, opt)
			for _, l := range all {
				create(l)
			}
		case 2:
			l := all[rnd.IntN(len(all))]
			if rnd.IntN(4) > 0 {
				break
			}
			if ok, err := db.Delete("host", l.name, l.r.kind, int(l.r.step)); !ok || err != nil {
				t.Fatalf("Delete(%s) = %v, %v", l.name, ok, err)
			}
			l.r.samples, l.r.at = map[int64]float64{}, map[int64]int64{}
			create(l)
		case 3, 4:
			mustFlush(t, db, now)
		case 5:
			check("meanwhile")
		}
	}
	check("before")
	db = reopen(t, db, opt)
	check("after a restart")
	mustFlush(t, db, now)
	check("in overlays")
	mustSeal(t, db, now+7200)
	check("sealed")
	db = reopen(t, db, opt)
	check("sealed and restarted")
	if r, err := Verify(opt.Dir); err != nil || r.Faults > 0 {
		t.Fatalf("Verify: %+v, %v", r, err)
	}
}
