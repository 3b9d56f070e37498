package tsdb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/testkit"
	"falcon/modules/graph/tsdb/segment"
)

const (
	crashSeries = 300
	crashStep   = 10
	crashDir    = "FALCON_TSDB_CRASH_DIR"
	crashBehind = 700 // ticks that every third series is late, two hours
)

// crashTick is the tick of the point that a series has at a tick of the clock; below
// 0 it has none yet.
func crashTick(i, tick int) int {
	if i%3 == 2 {
		return tick - crashBehind
	}
	return tick
}

func crashName(i int) (endpoint, counter, kind string) {
	return fmt.Sprintf("h%d", i%7), fmt.Sprintf("c%d", i), []string{model.Gauge, model.Derive}[i%2]
}

func crashValue(i, tick int) float64 { return float64(i*1000003+tick*tick) / 4 }

func crashTime(tick int) int64 { return t0 + int64(tick)*crashStep }

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	os.Exit(m.Run())
}

// crashChild appends from the tick given on stdin, printing each tick that was
// acknowledged, and seals whenever an hour of its fast clock has passed. A third of its
// points are two hours late; they are written to overlays a few times an hour. A series
// comes and goes each tick, so that the catalog is rewritten now and then.
func crashChild(dir string) {
	fail := func(err error) {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var from int
	if _, err := fmt.Fscan(os.Stdin, &from); err != nil {
		fail(err)
	}
	c := newClock(crashTime(from))
	db, err := Open(Options{Dir: dir, Now: c.now})
	if err != nil {
		fail(err)
	}
	refs := make([]Ref, crashSeries)
	for i := range refs {
		e, n, k := crashName(i)
		if refs[i], err = db.Resolve(&Def{Endpoint: e, Counter: n, Type: k, Step: crashStep}); err != nil {
			fail(err)
		}
	}
	due := make(chan time.Time) // a seal goes on while the next hour is appended
	go func() {
		for at := range due {
			if err := errors.Join(db.Seal(at), db.FlushLate(at), db.sweep(at)); err != nil {
				fail(err)
			}
		}
	}()
	var batch []Sample
	for tick := from; ; tick++ {
		c.set(crashTime(tick))
		batch = batch[:0]
		for i, ref := range refs {
			if j := crashTick(i, tick); j >= 0 {
				batch = append(batch, Sample{ref, crashTime(j), crashValue(i, j)})
			}
		}
		n, err := db.Append(batch, nil)
		if err != nil || n != len(batch) && tick > from {
			fail(fmt.Errorf("append: %d, %v", n, err))
		}
		passing := fmt.Sprint("passing", tick)
		if _, err := db.Resolve(&Def{Endpoint: "h", Counter: passing, Type: model.Gauge, Step: crashStep}); err != nil {
			fail(err)
		}
		if _, err := db.Delete("h", passing, model.Gauge, crashStep); err != nil {
			fail(err)
		}
		if tick%90 == 70 {
			due <- c.now()
		}
		if _, err := fmt.Println("acked", tick); err != nil {
			return
		}
	}
}

// A process that appends and seals is killed at random moments. Every point that
// it was acknowledged for is there with its value, and nothing else is.
func TestKillLoop(t *testing.T) {
	rounds, longest := 5, 250*time.Millisecond
	if os.Getenv("FALCON_SOAK") != "" {
		rounds, longest = 100, 2*time.Second
	}
	dir := t.TempDir()
	acked := -1
	for round := range rounds {
		// Every other child dies a while after it has begun to work, however slow
		// the machine is; the others perhaps while they recover.
		wait := 50*time.Millisecond + rand.N(longest)
		works := round%2 == 0
		cmd := exec.Command(os.Args[0])
		acked = follow(t, cmd, dir, acked, func(begun bool) {
			if begun == works {
				time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
			}
		})
		st := survived(t, dir, acked)
		t.Logf("round %d: %d ticks acked, %d segments, %d overlays, replayed %d, of them late %d, skipped %d, torn %d", round, acked+1, st.Segments, st.Overlays, st.Recovery.Points, st.Recovery.Late, st.Recovery.Skipped, st.Recovery.Torn)
		if t.Failed() {
			return
		}
	}
	if acked < 0 {
		t.Error("no child got anything done")
	}
	testkit.Outcome(t, "%d kills, %d ticks acknowledged", rounds, acked+1)
}

// follow runs a child until it ends and returns the last tick that was acknowledged. lives
// is called when it was started, and again, with true, when it has acknowledged something.
func follow(t *testing.T, cmd *exec.Cmd, dir string, acked int, lives func(begun bool)) int {
	t.Helper()
	cmd.Env = append(cmd.Environ(), crashDir+"="+dir)
	cmd.Stdin = strings.NewReader(fmt.Sprintln(acked + 1))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lives(false)
	begun := false
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if _, err := fmt.Sscanf(sc.Text(), "acked %d", &acked); err != nil {
			t.Errorf("child says %q", sc.Text())
		}
		if !begun {
			begun = true
			lives(true)
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // it was killed
	return acked
}

// survived looks at what a child that was killed has left: all that was acknowledged, and
// nothing else, in files of which none is damaged or half made.
func survived(t *testing.T, dir string, acked int) Stats {
	t.Helper()
	c := newClock(crashTime(acked))
	db := open(t, Options{Dir: dir, Now: c.now})
	checkAcked(t, db, acked)
	st := db.Stats()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir); err != nil || r.Faults != 0 {
		t.Fatalf("Verify: %+v, %v", r, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	catalogs := 0
	for _, f := range files {
		if strings.HasSuffix(f.Name(), segment.TmpSuffix) || strings.HasSuffix(f.Name(), segment.BadSuffix) {
			t.Errorf("%s is left", f.Name())
		}
		if strings.HasPrefix(f.Name(), "catalog") {
			catalogs++
		}
	}
	if catalogs != 1 {
		t.Errorf("there are %d catalogs", catalogs)
	}
	return st
}

// A process that appends and seals dies at each failpoint, more than once. Nothing that it
// acknowledged is lost.
func TestFailpoints(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "tsdb.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "failpoint", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	times := []int{1, 2}
	if os.Getenv("FALCON_SOAK") != "" {
		times = []int{1, 2, 3, 4, 5}
	}
	dir, acked := t.TempDir(), -1
	for _, n := range times {
		for _, name := range failpoint.Of("graph") {
			cmd := exec.Command(bin)
			cmd.Env = append(os.Environ(), fmt.Sprintf("FALCON_FAILPOINT=%s:%d", name, n))
			var missed *time.Timer
			acked = follow(t, cmd, dir, acked, func(begun bool) {
				if !begun {
					missed = time.AfterFunc(time.Minute, func() {
						t.Errorf("no child comes to %s for the %d. time", name, n)
						_ = cmd.Process.Kill()
					})
				}
			})
			missed.Stop()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
				t.Errorf("%s: the child ended with %v", name, cmd.ProcessState)
			}
			survived(t, dir, acked)
			if t.Failed() {
				t.Fatalf("after %s for the %d. time, with %d ticks acknowledged", name, n, acked+1)
			}
		}
	}
	testkit.Outcome(t, "%d ticks acknowledged", acked+1)
}

// checkAcked compares the stored values up to a tick, within the retention.
func checkAcked(t *testing.T, db *DB, acked int) {
	t.Helper()
	r := db.reader()
	first := max(0, acked-72*3600/crashStep/2)
	for i := range crashSeries {
		e, n, _ := crashName(i)
		k, hash := hashName(e, n)
		s := &db.shards[k]
		_, id, ok := s.find(hash, e, n)
		if !ok {
			if crashTick(i, acked) >= 0 {
				t.Fatalf("series %d is unknown", i)
			}
			continue
		}
		m := s.meta(id)
		r.reset(uint32(crashTime(first)/crashStep), acked-first+3)
		r.hold(s, 0, 0, 1<<31)
		for _, w := range s.windows {
			s.readBlocks(w, id, m.step, &r.span)
		}
		s.at(id).readOpen(&r.span)
		s.readLate(r, id, 0, 1<<31)
		db.readSegments(r, k, m)
		for j, v := range r.span.out {
			tick := first + j
			// The last batch may be stored without its answer having come back.
			if tick <= crashTick(i, acked) && v != crashValue(i, tick) || v == v && v != crashValue(i, tick) {
				t.Fatalf("series %d tick %d of %d: %v, want %v", i, tick, acked, v, crashValue(i, tick))
			}
		}
	}
}

// Appends, queries and seals at the same time: a query sees every point that was
// acknowledged before it began, once, whatever is being sealed.
func TestSealWhileAppendingAndQuerying(t *testing.T) {
	db, c, _ := testDB(t)
	const series, ticks = 40, 3000
	refs := make([]Ref, series)
	for i := range refs {
		e, n, _ := crashName(i)
		refs[i] = resolve(t, db, e, n, model.Gauge, crashStep)
	}
	var done atomic.Bool
	var acked atomic.Int64
	acked.Store(-1)
	var wg sync.WaitGroup
	due := make(chan time.Time) // a seal goes on while the next hour is appended
	wg.Go(func() {
		defer done.Store(true)
		defer close(due)
		batch := make([]Sample, series)
		for tick := range ticks {
			c.set(crashTime(tick))
			for i := range batch {
				batch[i] = Sample{refs[i], crashTime(tick), crashValue(i, tick)}
			}
			if n, err := db.Append(batch, nil); n != series || err != nil {
				t.Errorf("Append = %d, %v", n, err)
				return
			}
			acked.Store(int64(tick))
			if tick%360 == 70 {
				due <- c.now()
			}
		}
	})
	wg.Go(func() {
		for at := range due {
			if err := db.Seal(at); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range 2 {
		wg.Go(func() {
			var dst []Point
			for i := w; !done.Load(); i = (i + 1) % series {
				last := int(acked.Load())
				if last < 0 {
					continue
				}
				first := max(0, last-700)
				e, n, _ := crashName(i)
				_, dst, _ = db.Query(e, n, "AVERAGE", crashTime(first), crashTime(last), dst[:0])
				if len(dst) != last-first+1 {
					t.Errorf("%d points, want %d", len(dst), last-first+1)
					return
				}
				for j, p := range dst {
					if want := crashValue(i, first+j); p.Value != want {
						t.Errorf("series %d tick %d: %v, want %v", i, first+j, p.Value, want)
						return
					}
				}
				if _, p := db.Last(e, n); p.Ts < crashTime(last) {
					t.Errorf("Last is of %d, want %d or later", p.Ts, crashTime(last))
					return
				}
				db.Each(func(string, string, Info) bool { return true })
				_ = db.Stats()
			}
		})
	}
	wg.Wait()
	if st := db.Stats(); st.Segments < 3 || st.Refused["late"] > 0 {
		t.Errorf("%+v", st)
	}
}

// Creations and deletions go on while windows are sealed and ids are used again.
func TestChurnWhileSealing(t *testing.T) {
	db, c, opt := testDB(t)
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !done.Load() {
			if err := db.Seal(c.now()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var churn sync.WaitGroup
	for w := range 2 {
		churn.Go(func() {
			for i := range 200 {
				name := fmt.Sprintf("pod-%d-%d", w, i)
				ts := t0 + int64(i)*60
				c.set(ts)
				ref, err := db.Resolve(&Def{Endpoint: "h", Counter: name, Type: model.Gauge, Step: 60})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := db.Append([]Sample{{ref, ts, float64(i)}}, nil); err != nil {
					t.Error(err)
					return
				}
				if i%4 != 0 {
					if ok, err := db.Delete("h", name, model.Gauge, 60); !ok || err != nil {
						t.Errorf("Delete: %v, %v", ok, err)
						return
					}
				}
			}
		})
	}
	churn.Wait()
	done.Store(true)
	wg.Wait()
	for range 2 {
		n := 0
		db.Each(func(_, name string, _ Info) bool {
			n++
			var w, i int
			_, _ = fmt.Sscanf(name, "pod-%d-%d", &w, &i)
			known := 0
			for _, p := range query(t, db, "h", name, t0, t0+400*60) {
				if p.Value == p.Value {
					known++
					if p.Value != float64(i) {
						t.Errorf("%s shows %v of another", name, p.Value)
					}
				}
			}
			if known > 1 {
				t.Errorf("%s has %d points", name, known)
			}
			return true
		})
		if n != 100 {
			t.Errorf("%d series are left, want 100", n)
		}
		db = reopen(t, db, opt)
	}
}

// Run seals, waits for what is being replayed, and flushes at its end.
func TestRun(t *testing.T) {
	db, c, opt := testDB(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	mustPut(t, db, resolve(t, db, "h", "c", model.Gauge, 60), t0, 1)
	c.set(t0 + 700)
	resolve(t, db, "h", "without a point", model.Gauge, 60)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	db = reopen(t, db, opt)
	if _, ok := db.Lookup("h", "without a point"); !ok {
		t.Error("Run left a record in memory")
	}
}

func TestPatience(t *testing.T) {
	db, c, _ := testDB(t)
	c.set(t0 + 3*3600)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	segments := func() int { return db.Stats().Segments }
	seal := func(at int64) {
		t.Helper()
		c.set(at)
		if err := db.seal(unix(at), true); err != nil {
			t.Fatal(err)
		}
	}
	at := t0 + 3*3600
	// A spool is replayed into a window that ended hours ago.
	for i := range int64(20) {
		mustPut(t, db, ref, t0-3600+60*i+60, 1)
		at += 60
		seal(at)
	}
	if segments() != 0 {
		t.Fatal("a window was sealed while it was filled")
	}
	for range 6 {
		at += 60
		seal(at)
	}
	if segments() != 1 {
		t.Error("a quiet window was not sealed")
	}
}

// So many windows wait that the oldest ones go although they are being filled.
func TestPatienceEnds(t *testing.T) {
	db, c, _ := testDB(t)
	c.set(t0 + 1800)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	for i := range int64(12) {
		mustPut(t, db, ref, t0-3600*i, 1)
	}
	if err := db.seal(c.now(), true); err != nil {
		t.Fatal(err)
	}
	if st := db.Stats(); st.OpenWindows != maxOverdue || st.Segments != 12-maxOverdue {
		t.Errorf("%d windows are open, %d sealed", st.OpenWindows, st.Segments)
	}
}

func TestClockGuard(t *testing.T) {
	g := newClockGuard(time.Now())
	for i, tc := range []struct {
		wall, mono time.Duration
		want       bool
	}{
		{5 * time.Second, 5 * time.Second, true},
		{30 * time.Second, 5 * time.Second, true}, // slewed
		{time.Hour, 5 * time.Second, false},       // jumped ahead
		{5 * time.Minute, 5 * time.Minute, false},
		{-55 * time.Minute, 5 * time.Minute, false}, // put right
		{9 * time.Minute, 9 * time.Minute, false},
		{time.Minute, time.Minute, true},
	} {
		if got := g.passed(tc.wall-tc.mono, tc.mono); got != tc.want {
			t.Errorf("look %d: wall %v, monotonic %v: steady %v, want %v", i, tc.wall, tc.mono, got, tc.want)
		}
	}
	wall := time.Now().Round(0) // without its monotonic reading
	if g = newClockGuard(wall); !g.steady(wall.Add(time.Hour)) {
		t.Error("a clock without a monotonic reading is not taken as it is")
	}
}

func TestWindowArithmetic(t *testing.T) {
	for _, step := range []uint32{1, 7, 60, 61, 3599, 3600, 3601, 86400} {
		next := uint32(1)
		for w := uint32(0); w < 100; w++ {
			first, last := firstSlot(w, step), lastSlot(w, step)
			if first != next || last+1 < first || last+1-first > windowSpan {
				t.Fatalf("step %d window %d: slots %d to %d, want from %d", step, w, first, last, next)
			}
			for slot := first; slot <= last; slot++ {
				if windowOf(slot, step) != w {
					t.Fatalf("step %d: slot %d is in window %d, want %d", step, slot, windowOf(slot, step), w)
				}
			}
			next = last + 1
		}
	}
}
