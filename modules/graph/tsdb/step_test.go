package tsdb

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"falcon/common/model"
	"falcon/common/testkit"
	"falcon/modules/graph/tsdb/vfs"
)

// stepFS calls step before everything that changes the disk, and once in the middle
// of each write.
type stepFS struct {
	vfs.OS
	step func(what string)
}

type stepFile struct {
	vfs.File
	fs   *stepFS
	name string
}

func (f *stepFS) Create(path string) (vfs.File, error) {
	f.step("create " + filepath.Base(path))
	g, err := f.OS.Create(path)
	return &stepFile{g, f, filepath.Base(path)}, err
}

func (f *stepFS) Append(path string) (vfs.File, error) {
	g, err := f.OS.Append(path)
	return &stepFile{g, f, filepath.Base(path)}, err
}

func (f *stepFS) Rename(from, to string) error {
	f.step("rename to " + filepath.Base(to))
	return f.OS.Rename(from, to)
}

func (f *stepFS) Remove(path string) error {
	f.step("remove " + filepath.Base(path))
	return f.OS.Remove(path)
}

func (f *stepFS) SyncDir(dir string) error {
	f.step("sync the folder")
	return f.OS.SyncDir(dir)
}

func (f *stepFile) Write(p []byte) (int, error) {
	f.fs.step("write " + f.name)
	n, err := f.File.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	f.fs.step("write half of " + f.name)
	m, err := f.File.Write(p[len(p)/2:])
	return n + m, err
}

func (f *stepFile) Sync() error {
	f.fs.step("sync " + f.name)
	return f.File.Sync()
}

// A process dies at every single step of appending, sealing, writing overlays and
// merging them, late points among what it does: what was acknowledged is there, once
// and with its value, and a new process goes on from it.
func TestDeathAtEveryStep(t *testing.T) {
	type point struct {
		series int
		ts     int64
	}
	value := func(p point) float64 { return float64(p.series*100000) + float64(p.ts-t0)/10 }
	type death struct {
		what  string
		dir   string
		now   int64
		acked int // of points
		sent  int
	}
	var (
		points []point
		deaths []death
		acked  int
	)
	c := newClock(t0)
	root := t.TempDir()
	fs := &stepFS{}
	opt := Options{Dir: t.TempDir(), Now: c.now, FS: fs}
	fs.step = func(what string) {
		d := death{what, filepath.Join(root, fmt.Sprint(len(deaths))), c.now().Unix(), acked, len(points)}
		if err := os.CopyFS(d.dir, os.DirFS(opt.Dir)); err != nil {
			t.Fatal(err)
		}
		deaths = append(deaths, d)
	}
	kinds := []string{model.Gauge, model.Derive}
	resolveAll := func(db *DB) (refs []Ref) {
		for i, kind := range kinds {
			refs = append(refs, resolve(t, db, "h", fmt.Sprint("c", i), kind, 60))
		}
		return refs
	}
	db := open(t, opt)
	refs := resolveAll(db)
	add := func(times ...int64) {
		t.Helper()
		var batch []Sample
		for _, ts := range times {
			for i, ref := range refs {
				points = append(points, point{i, ts})
				batch = append(batch, Sample{ref, ts, value(point{i, ts})})
			}
		}
		if n, err := db.Append(batch, func(_ int, r string) { t.Error(r) }); n != len(batch) || err != nil {
			t.Fatalf("Append = %d, %v", n, err)
		}
		acked = len(points)
	}
	add(t0-60, t0, t0+60)
	c.set(t0 + 4200)
	add(t0+4200, t0+60*55)
	mustSeal(t, db, t0+4200)
	for i := int64(1); i <= maxOverlays+3; i++ { // in one hour and, now and then, in another
		now := t0 + 4200 + 60*i
		c.set(now)
		late := []int64{t0 - 60 - 60*i, now}
		if i%4 == 0 {
			late = append(late, t0+60+60*i)
		}
		add(late...)
		if i == 6 {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, opt)
			refs = resolveAll(db)
		}
		mustFlush(t, db, now)
	}
	add(t0-3000, t0+600) // in buffers while an hour is sealed
	c.set(t0 + 7920)
	add(t0 + 7920)
	mustSeal(t, db, t0+7920)
	mustFlush(t, db, t0+7920)
	c.set(t0 + 11400)
	mustSeal(t, db, t0+11400)
	for i := range int64(2) { // nothing but late points is in the log
		add(t0-1800+60*i, t0+60*40+60*i)
		mustFlush(t, db, t0+11400)
	}
	if st := db.Stats(); st.Overlays < 3 || st.Segments != 4 || st.LogFiles != 1 {
		t.Fatalf("%d overlays, %d hours: the story is not what it was", st.Overlays, st.Segments)
	}
	fs.step("end")
	fs.step = func(string) {}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if len(deaths) < 150 {
		t.Errorf("only %d steps", len(deaths))
	}
	check := func(d death, db *DB, when string) {
		t.Helper()
		have := map[point]float64{}
		for i := range kinds {
			_, pts, err := db.Received("h", fmt.Sprint("c", i), t0-7200, t0+9000, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pts {
				have[point{i, p.Ts}] = p.Value
			}
		}
		for j, p := range points[:d.sent] {
			v, ok := have[p]
			if !ok && j < d.acked || ok && v != value(p) {
				t.Fatalf("death %q, %s: series %d at %d: %v (there: %v), want %v", d.what, when, p.series, p.ts-t0, v, ok, value(p))
			}
			delete(have, p)
		}
		if len(have) > 0 {
			t.Fatalf("death %q, %s: points that nobody sent: %v", d.what, when, have)
		}
	}
	for _, d := range deaths {
		c := newClock(d.now)
		o := Options{Dir: d.dir, Now: c.now}
		db := open(t, o)
		check(d, db, "after it")
		if rec := db.Stats().Recovery; rec.Damaged > 0 {
			t.Fatalf("death %q: %+v", d.what, rec)
		}
		// Whoever has no answer sends again; nothing of it is taken twice.
		refs := resolveAll(db)
		var again []Sample
		for _, p := range points[:d.sent] {
			again = append(again, Sample{refs[p.series], p.ts, value(p) + 1})
		}
		for j := d.acked; j < d.sent; j++ {
			again[j].Value--
		}
		n, err := db.Append(again, nil)
		if err != nil || n > d.sent-d.acked {
			t.Fatalf("death %q: %d points were taken again, %v", d.what, n, err)
		}
		d.acked = d.sent
		check(d, db, "sent again")
		mustSeal(t, db, d.now)
		mustFlush(t, db, d.now)
		check(d, db, "gone on")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
		check(d, db, "gone on, after a restart")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify(d.dir); err != nil || r.Faults > 0 {
			t.Fatalf("death %q: Verify %+v, %v", d.what, r, err)
		}
	}
	testkit.Outcome(t, "died %d times", len(deaths))
}
