package agent

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/queue/spool"
)

func spooling(t *testing.T, addrs ...string) Config {
	cfg := testConfig(addrs...)
	cfg.Spool.Dir = filepath.Join(t.TempDir(), "spool")
	return cfg
}

// What was queued is on disk: another agent sends it, numbers and texts alike, before
// what is new; and it does not wait at its end for a transfer that is away.
func TestSpoolOutlivesTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, spooling(t, "t:1"))
		defer w.end()
		for i := range int64(5) {
			w.push("m", 1000+i)
		}
		rec := httptest.NewRecorder()
		w.a.handler().ServeHTTP(rec, httptest.NewRequest("POST", "/v1/push", strings.NewReader(
			`[{"endpoint":"here","metric":"text","value":"down","step":60,"counterType":"GAUGE","timestamp":1005,"tags":"b=2,a=1"}]`)))
		if rec.Body.String() != "success" {
			t.Fatal(rec.Body)
		}
		start := time.Now()
		w.stop()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("stopping took %v though the spool has everything", took)
		}
		w.again()
		w.push("m", 1006)
		balance(t, w.a.out)
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(10 * time.Second)
		w.transfers["t:1"].set(func(tr *transfer) {
			want := []string{}
			for i := range 5 {
				want = append(want, fmt.Sprintf("here m{} GAUGE 60 %d %d", 1000+i, 1000+i))
			}
			want = append(want, "here m{} GAUGE 60 1006 1006", "here text{a=1,b=2} GAUGE 60 1005 down")
			// Texts come last in a batch, and there may be one or two.
			got := slices.SortedStableFunc(slices.Values(tr.items), func(a, b string) int { return strings.Compare(a[:6], b[:6]) })
			if !slices.Equal(got, want) {
				t.Errorf("arrived %q\nwant    %q", got, want)
			}
		})
		balance(t, w.a.out)
		if n := w.a.out.waiting(); n != 0 {
			t.Errorf("%d points are still waiting", n)
		}
		w.again()
		after(10 * time.Second)
		if n := len(w.transfers["t:1"].seen()); n != 7 {
			t.Errorf("%d points arrived after another start, want the 7 of before", n)
		}
	})
}

// Who waits for a point in the spool is told when a transfer has it, and when it made
// room for newer ones.
func TestSpoolTellsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := spooling(t, "t:1")
		w := newWorld(t, cfg)
		defer w.end()
		if err := w.a.out.disk.spool.Close(); err != nil {
			t.Fatal(err)
		}
		small, err := spool.Open(spool.Options{Dir: cfg.Spool.Dir, MaxBytes: 1000, FileBytes: 250, DropOldest: true})
		if err != nil {
			t.Fatal(err)
		}
		w.a.out.mu.Lock()
		w.a.out.disk.spool = small
		w.a.out.mu.Unlock()
		var fs []*answered
		for i := range int64(30) {
			fs = append(fs, w.push("m", 1000+i))
			balance(t, w.a.out)
		}
		after(time.Minute)
		dropped := int(w.a.out.dropped.Get())
		if dropped < 5 || dropped > 25 {
			t.Fatalf("%d of 30 points were dropped", dropped)
		}
		for i, f := range fs {
			if done, err := f.get(); done != (i < dropped) || done && !errors.Is(err, errDropped) {
				t.Errorf("batch %d of which %d were dropped: answered %v, %v", i, dropped, done, err)
			}
		}
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(10 * time.Second)
		if got, want := join(w.transfers["t:1"].seen()), join(list("m", int64(1000+dropped), int64(30-dropped))); got != want {
			t.Errorf("arrived %s\nwant    %s", got, want)
		}
		for i, f := range fs[dropped:] {
			if done, err := f.get(); !done || err != nil {
				t.Errorf("batch %d: answered %v, %v", dropped+i, done, err)
			}
		}
		balance(t, w.a.out)
	})
}

// breakDisk has the spool take nothing more; what it has can be read.
func (w *world) breakDisk() {
	w.t.Helper()
	w.a.out.mu.Lock()
	old := w.a.out.disk.spool
	w.a.out.mu.Unlock()
	if err := old.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// mendDisk gives the outbox a disk that takes points.
func (w *world) mendDisk() {
	w.t.Helper()
	again, err := spool.Open(spool.Options{Dir: w.cfg.Spool.Dir + "2"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.a.out.mu.Lock()
	w.a.out.disk.spool = again
	w.a.out.mu.Unlock()
}

// While the disk takes nothing a push is answered when a transfer has its points, and with
// 503 when none has them in time: its points are in memory only.
func TestAPushWaitsWhileTheDiskTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, spooling(t, "t:1"))
		defer w.end()
		post := func(ts int) (rec *httptest.ResponseRecorder, took time.Duration) {
			rec = httptest.NewRecorder()
			began := time.Now()
			w.a.handler().ServeHTTP(rec, httptest.NewRequest("POST", "/v1/push", strings.NewReader(
				fmt.Sprintf(`[{"endpoint":"here","metric":"m","value":%d,"step":60,"counterType":"GAUGE","tags":"","timestamp":%[1]d}]`, ts))))
			return rec, time.Since(began)
		}
		if rec, took := post(1000); rec.Code != 200 || took != 0 {
			t.Errorf("with a spool: %d after %v", rec.Code, took)
		}
		w.breakDisk()
		if rec, took := post(1001); rec.Code != 503 || took != unsafeFor || !strings.Contains(rec.Body.String(), "push them again") {
			t.Errorf("nobody has it: %d %s after %v", rec.Code, rec.Body, took)
		}
		if notes := strings.Join(w.a.notes(), "\n"); !strings.Contains(notes, "spool.dir") {
			t.Errorf("notes %q", notes)
		}
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(10 * time.Second)
		if rec, took := post(1002); rec.Code != 200 || took >= unsafeFor || rec.Body.String() != "success" {
			t.Errorf("a transfer takes it: %d %s after %v", rec.Code, rec.Body, took)
		}
		w.mendDisk()
		if rec, took := post(1003); rec.Code != 200 || took != 0 {
			t.Errorf("the disk takes it again: %d after %v", rec.Code, took)
		}
		if notes := w.a.notes(); len(notes) != 0 {
			t.Errorf("notes %q", notes)
		}
		after(10 * time.Second)
		if got, want := join(w.transfers["t:1"].seen()), join(list("m", 1000, 4)); got != want {
			t.Errorf("arrived %s\nwant    %s", got, want)
		}
	})
}

// A disk that takes nothing is no reason to refuse: points wait in memory, behind those
// on disk, and go to the disk again once those are gone.
func TestDiskThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := spooling(t, "t:1")
		w := newWorld(t, cfg)
		defer w.end()
		w.push("m", 1000)
		w.push("m", 1001)
		w.breakDisk()
		w.push("m", 1002)
		w.push("m", 1003)
		if n := w.a.out.lost(); n != 2 {
			t.Errorf("%d points are in memory, want 2", n)
		}
		if n := w.a.out.unspooled.Get(); n != 1 {
			t.Errorf("the disk was asked for %d points, want for the first only, so that nothing overtakes it", n)
		}
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(10 * time.Second)
		if got, want := join(w.transfers["t:1"].seen()), join(list("m", 1000, 4)); got != want {
			t.Errorf("arrived %s\nwant    %s", got, want)
		}
		w.mendDisk()
		w.push("m", 1004)
		if n := w.a.out.lost(); n != 0 {
			t.Errorf("%d points are in memory though the disk takes them again", n)
		}
		after(10 * time.Second)
	})
}

// A batch leaves each half second, the first at once; while more waits than one holds,
// the next does not wait.
func TestBatches(t *testing.T) {
	for _, disk := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg := testConfig("t:1")
			if disk {
				cfg = spooling(t, "t:1")
			}
			w := newWorld(t, cfg)
			defer w.end()
			tr := w.transfers["t:1"]
			tr.set(func(tr *transfer) { tr.up = true })
			pushes := func() (n int) { tr.set(func(tr *transfer) { n = tr.pushes }); return n }
			after(10 * time.Second)
			w.push("m", 1)
			synctest.Wait()
			if n := pushes(); n != 1 {
				t.Errorf("disk %v: %d batches at once, want the first", disk, n)
			}
			for i := range int64(10) {
				w.push("m", 2+i)
				after(49 * time.Millisecond)
			}
			if n := pushes(); n != 1 {
				t.Errorf("disk %v: %d batches within half a second, want 1", disk, n)
			}
			after(100 * time.Millisecond)
			if n, got := pushes(), len(tr.seen()); n != 2 || got != 11 {
				t.Errorf("disk %v: %d batches after it with %d points, want 2 with 11", disk, n, got)
			}
			after(10 * time.Second)
			before := pushes()
			many := make([]point, 35_000)
			for i := range many {
				many[i] = point{series: w.a.series.get(name{"here", "many", "", "GAUGE", 60, false}), ts: int64(i)}
			}
			w.a.out.add(many, nil)
			after(100 * time.Millisecond)
			if n := pushes() - before; n != 3 {
				t.Errorf("disk %v: %d batches of 35 000 points at once, want three full ones", disk, n)
			}
			after(time.Second)
			if n := pushes() - before; n != 4 || len(tr.seen()) != 35_011 {
				t.Errorf("disk %v: %d batches in the end, %d points", disk, n, len(tr.seen()))
			}
			balance(t, w.a.out)
		})
	}
}

// After a failure what was read from the spool is read again, in its order, also when a
// record did not fit into the batch before it.
func TestSpoolIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, spooling(t, "t:1"))
		defer w.end()
		tr := w.transfers["t:1"]
		tr.set(func(tr *transfer) { tr.up, tr.hold = true, true })
		const each, records = 4000, 24 // more than a sender takes at once
		for n := range int64(records) {
			many := make([]point, each)
			for i := range many {
				many[i] = point{series: w.a.series.get(name{"here", "m", "", "GAUGE", 60, false}), ts: n*each + int64(i)}
			}
			w.a.out.add(many, nil)
		}
		after(time.Second)
		tr.set(func(tr *transfer) { tr.up = false })
		tr.kill()
		after(time.Second) // the dead connection takes nothing any more
		tr.set(func(tr *transfer) { tr.up, tr.hold = true, false })
		after(time.Minute)
		if got, want := tr.seen(), list("m", 0, each*records); !slices.Equal(got, want) {
			t.Errorf("%d points arrived, want %d in their order", len(got), len(want))
		}
		balance(t, w.a.out)
	})
}

// When a transfer refuses a batch, what it says of a later one counts nothing: that one
// goes elsewhere too, behind the first.
func TestRefusalBeforeASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1"))
		defer w.end()
		tr := w.transfers["t:1"]
		tr.set(func(tr *transfer) { tr.up, tr.hold = true, true })
		w.push("m", 1000)
		after(600 * time.Millisecond)
		w.push("m", 1001)
		after(600 * time.Millisecond)
		var held []func(error)
		tr.set(func(tr *transfer) {
			held = tr.held
			tr.held, tr.hold = nil, false
		})
		if len(held) != 2 {
			t.Fatalf("%d batches are with the transfer, want 2", len(held))
		}
		held[0](errors.New("busy"))
		held[1](nil)
		after(10 * time.Second)
		if got := join(tr.seen()); got != "m@1000 m@1001" {
			t.Errorf("arrived %s", got)
		}
		balance(t, w.a.out)
	})
}

// A transfer that hangs is left within two seconds.
func TestHangingTransferIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, spooling(t, "t:1", "t:2"))
		defer w.end()
		for _, tr := range w.transfers {
			tr.set(func(tr *transfer) { tr.up, tr.hold = true, true })
		}
		w.push("m", 1000)
		synctest.Wait()
		for _, tr := range w.transfers {
			tr.set(func(tr *transfer) {
				if tr.pushes == 0 {
					tr.hold = false
				}
			})
		}
		after(2 * time.Second)
		n := 0
		for _, tr := range w.transfers {
			n += len(tr.seen())
		}
		if n != 1 {
			t.Error("the point is not with the other transfer after two seconds")
		}
	})
}

// Whatever three transfers do for ten minutes (be away, hang, refuse, die with what
// they had taken but not acknowledged), and however often the agent itself starts
// again, each point arrives; and since a graph keeps one value for a time, once.
func TestNothingIsLostInOutages(t *testing.T) {
	for _, disk := range []bool{false, true} {
		for seed := range uint64(12) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 7))
				cfg := testConfig("t:1", "t:2", "t:3")
				if disk {
					cfg = spooling(t, "t:1", "t:2", "t:3")
				}
				w := newWorld(t, cfg)
				defer w.end()
				all := slices.Collect(maps.Values(w.transfers))
				slices.SortFunc(all, func(a, b *transfer) int { return strings.Compare(a.name, b.name) })
				ts := int64(1000)
				end := time.Now().Add(9 * time.Minute)
				for time.Now().Before(end) {
					for range rng.IntN(4) {
						w.push("m", ts)
						ts++
					}
					tr := all[rng.IntN(3)]
					switch rng.IntN(12) {
					case 0:
						tr.set(func(tr *transfer) { tr.up = false })
						tr.kill()
					case 1, 2:
						tr.set(func(tr *transfer) { tr.up = true })
					case 3:
						tr.set(func(tr *transfer) { tr.hold = !tr.hold })
					case 4:
						tr.set(func(tr *transfer) {
							if tr.refuse = nil; rng.IntN(2) == 0 {
								tr.refuse = errors.New("busy")
							}
						})
					case 5:
						tr.set(func(tr *transfer) { tr.deaf = !tr.deaf })
					case 6:
						tr.kill()
					case 7:
						if disk && rng.IntN(4) == 0 {
							w.again()
						}
					}
					after(time.Duration(rng.IntN(1500)) * time.Millisecond)
				}
				for _, tr := range all {
					tr.set(func(tr *transfer) { tr.up, tr.hold, tr.refuse, tr.deaf = true, false, nil, false })
					tr.kill()
				}
				after(time.Minute)
				arrived := map[string]int{}
				for _, tr := range all {
					for _, s := range tr.seen() {
						arrived[s]++
					}
				}
				for _, s := range list("m", 1000, ts-1000) {
					if arrived[s] == 0 {
						t.Errorf("disk %v, seed %d: %s is lost", disk, seed, s)
					}
				}
				if len(arrived) != int(ts-1000) {
					t.Errorf("disk %v, seed %d: %d points arrived, %d were pushed", disk, seed, len(arrived), ts-1000)
				}
				balance(t, w.a.out)
				if w.a.out.dropped.Get() > 0 || w.a.out.refused.Sum() > 0 || w.a.out.waiting() > 0 {
					t.Errorf("disk %v, seed %d: %d dropped, %v refused, %d waiting", disk, seed, w.a.out.dropped.Get(), w.a.out.refused.All(), w.a.out.waiting())
				}
			})
		}
	}
}
