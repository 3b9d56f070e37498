package tsdb

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"falcon/modules/graph/tsdb/tsdbtest"
)

// cpu returns the processor time of the process: other load on the machine does
// not count.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A feeder sends a load in batches of 500, as runs of 10 series of a host; 1 % of
// the points come a step late and 0.5 % twice, as from a real fleet.
type feeder struct {
	load  *tsdbtest.Load
	refs  []Ref
	batch []Sample
	late  []Sample
	spent time.Duration // in Append
	n     int
}

func newFeeder(b testing.TB, db *DB, n int) *feeder {
	f := &feeder{load: tsdbtest.New(n, 60), refs: make([]Ref, n)}
	for i := range f.refs {
		e, c, kind := f.load.Def(i)
		f.refs[i] = resolve(b, db, e, c, kind, 60)
	}
	return f
}

func (f *feeder) flush(b testing.TB, db *DB) {
	start := time.Now()
	if _, err := db.Append(f.batch, nil); err != nil {
		b.Fatal(err)
	}
	f.spent += time.Since(start)
	f.n += len(f.batch)
	f.batch = f.batch[:0]
}

// tick appends one point of every series.
func (f *feeder) tick(b testing.TB, db *DB, ts int64) {
	late := f.late
	f.late = nil
	f.batch = f.batch[:0]
	runs := f.load.Len() / 10
	stride := 7919
	for runs%stride == 0 {
		stride += 2
	}
	for p, k := 0, 0; k < runs; k++ {
		p = (p + stride) % runs
		for i := p * 10; i < p*10+10; i++ {
			s := Sample{f.refs[i], ts, f.load.Value(i, ts)}
			h := (uint64(i)*0x9e3779b97f4a7c15 ^ uint64(ts)*0xbf58476d1ce4e5b9) >> 40
			if h%100 == 0 {
				f.late = append(f.late, s)
				continue
			}
			if h%200 == 1 {
				f.batch = append(f.batch, s)
			}
			f.batch = append(f.batch, s)
		}
		if len(late) > 0 {
			f.batch = append(f.batch, late[0])
			late = late[1:]
		}
		if len(f.batch) >= 480 {
			f.flush(b, db)
		}
	}
	f.batch = append(f.batch, late...)
	f.flush(b, db)
}

func BenchmarkAppend(b *testing.B) {
	c := newClock(t0)
	db := open(b, Options{Dir: b.TempDir(), Now: c.now})
	defer db.Close()
	f := newFeeder(b, db, tsdbtest.Size(20000))
	ts := t0
	for range 14 { // every series has been packed once
		ts += 60
		c.set(ts)
		f.tick(b, db, ts)
	}
	f.n, f.spent = 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; {
		ts += 60
		c.set(ts)
		before := f.n
		f.tick(b, db, ts)
		i += f.n - before
		if (ts-t0)%3600 == 1200 {
			b.StopTimer()
			if err := db.Seal(c.now()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(f.spent.Nanoseconds())/float64(f.n), "append-ns/pt")
	b.ReportMetric(float64(db.Stats().HeadBytes)/float64(f.load.Len()), "head-B/series")
	b.ReportMetric(float64(db.Stats().LogWritten)/float64(db.Stats().Appended), "log-B/pt")
}

// BenchmarkAppendLate replays a spool: every point is of a sealed hour, all series of
// it in time order, and the buffers are written whenever they are full.
func BenchmarkAppendLate(b *testing.B) {
	c := newClock(t0)
	db := open(b, Options{Dir: b.TempDir(), Now: c.now})
	defer db.Close()
	f := newFeeder(b, db, tsdbtest.Size(20000))
	for m := int64(0); m <= 60; m += 10 { // each hour has something that came in time
		c.set(t0 + 60*m)
		f.tick(b, db, t0+60*m)
	}
	c.set(t0 + 12*3600)
	if err := db.Seal(c.now()); err != nil {
		b.Fatal(err)
	}
	f.n, f.spent = 0, 0
	var flushed time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for i, hour := 0, int64(0); i < b.N; hour++ {
		for m := int64(1); m < 60 && i < b.N; m++ {
			if m%10 == 0 && hour == 0 {
				continue
			}
			before := f.n
			f.tick(b, db, t0-3600*hour+60*m)
			i += f.n - before
			if db.lateDue(c.now()) {
				start := cpu()
				if err := db.FlushLate(c.now()); err != nil {
					b.Fatal(err)
				}
				flushed += cpu() - start
			}
		}
	}
	b.StopTimer()
	start := cpu()
	if err := db.FlushLate(c.now()); err != nil {
		b.Fatal(err)
	}
	flushed += cpu() - start
	st := db.Stats()
	b.ReportMetric(float64(f.spent.Nanoseconds())/float64(f.n), "append-ns/pt")
	b.ReportMetric(float64(flushed.Nanoseconds())/float64(st.Late), "flush-cpu-ns/pt")
}

// BenchmarkQueryOverlays asks for an hour that has eight overlays, and for one that
// has none in the same folder.
func BenchmarkQueryOverlays(b *testing.B) {
	c := newClock(t0)
	db := open(b, Options{Dir: b.TempDir(), Now: c.now})
	defer db.Close()
	f := newFeeder(b, db, tsdbtest.Size(2000))
	for m := int64(1); m <= 180; m++ {
		if m > 60 || m%9 == 0 {
			c.set(t0 + 60*m)
			f.tick(b, db, t0+60*m)
		}
	}
	c.set(t0 + 4*3600)
	if err := db.Seal(c.now()); err != nil {
		b.Fatal(err)
	}
	f.late = nil
	for k := int64(1); k <= maxOverlays; k++ {
		for m := k; m < 60; m += 9 {
			f.tick(b, db, t0+60*m)
		}
		f.late = nil
		if err := db.FlushLate(c.now().Add(time.Duration(k) * time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	if n := db.Stats().Overlays; n != maxOverlays {
		b.Fatalf("%d overlays", n)
	}
	for _, tc := range []struct {
		name string
		end  int64
	}{{"eight", t0 + 3600}, {"none", t0 + 3*3600}} {
		b.Run(tc.name, func(b *testing.B) {
			var dst []Point
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e, n, _ := f.load.Def(i * 7919 % f.load.Len())
				_, dst, _ = db.Query(e, n, "AVERAGE", tc.end-3540, tc.end, dst[:0])
			}
			if len(dst) != 60 {
				b.Fatalf("%d points", len(dst))
			}
		})
	}
}

func BenchmarkResolveNew(b *testing.B) {
	db := open(b, Options{Dir: b.TempDir()})
	defer db.Close()
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("family.metric%d/device=sd%d", i, i%7)
	}
	b.ReportAllocs()
	i := 0
	host := ""
	for b.Loop() {
		if i%len(names) == 0 {
			host = fmt.Sprintf("host-%06d", i/len(names))
		}
		resolve(b, db, host, names[i%len(names)], "GAUGE", 60)
		i++
	}
}

func BenchmarkQuery1h(b *testing.B) {
	for _, state := range []string{"head", "sealed"} {
		b.Run(state, func(b *testing.B) {
			c := newClock(t0)
			db := open(b, Options{Dir: b.TempDir(), Now: c.now})
			defer db.Close()
			f := newFeeder(b, db, tsdbtest.Size(2000))
			ts := t0
			for range 130 {
				ts += 60
				c.set(ts)
				f.tick(b, db, ts)
			}
			end := ts
			if state == "sealed" {
				end = t0 + 7200
				if err := db.Seal(unix(ts + 7200)); err != nil {
					b.Fatal(err)
				}
			}
			names := make([][2]string, f.load.Len())
			for i := range names {
				names[i][0], names[i][1], _ = f.load.Def(i)
			}
			var dst []Point
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				n := names[i*7919%len(names)]
				i++
				_, dst, _ = db.Query(n[0], n[1], "AVERAGE", end-3600, end, dst[:0])
			}
			if len(dst) != 61 {
				b.Fatalf("%d points", len(dst))
			}
		})
	}
}

func BenchmarkRecovery(b *testing.B) {
	c := newClock(t0)
	opt := Options{Dir: b.TempDir(), Now: c.now}
	db := open(b, opt)
	f := newFeeder(b, db, tsdbtest.Size(5000))
	for i := int64(1); i <= 70; i++ {
		c.set(t0 + 60*i)
		f.tick(b, db, t0+60*i)
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	start := cpu()
	for range b.N {
		db := open(b, opt)
		if got := db.Stats().Recovery.Points; got < int64(f.n)*98/100 {
			b.Fatalf("recovered %d of %d points", got, f.n)
		}
		_ = db.Close()
	}
	spent := cpu() - start
	b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/float64(f.n), "cpu-ns/pt")
}

func BenchmarkRawBytes(b *testing.B) {
	c := newClock(t0)
	dir := b.TempDir()
	db := open(b, Options{Dir: dir, Now: c.now})
	defer db.Close()
	f := newFeeder(b, db, tsdbtest.Size(5000))
	var spent time.Duration
	hours := int64(0)
	for b.Loop() {
		for i := int64(1); i <= 60; i++ {
			ts := t0 + hours*3600 + 60*i
			c.set(ts)
			f.tick(b, db, ts)
		}
		hours++
		start := cpu()
		if err := db.Seal(unix(t0 + hours*3600 + 600)); err != nil {
			b.Fatal(err)
		}
		spent += cpu() - start
	}
	st := db.Stats()
	b.ReportMetric(float64(st.SegmentBytes)/float64(st.Appended), "B/pt")
	b.ReportMetric(float64(spent.Nanoseconds())/float64(st.Appended), "seal-cpu-ns/pt")
}

// TestRawBytesPerPoint keeps the size that does not depend on the machine.
func TestRawBytesPerPoint(t *testing.T) {
	c := newClock(t0)
	db := open(t, Options{Dir: t.TempDir(), Now: c.now})
	defer db.Close()
	f := newFeeder(t, db, 2000)
	for i := int64(1); i <= 61; i++ {
		c.set(t0 + 60*i)
		f.tick(t, db, t0+60*i)
	}
	mustSeal(t, db, t0+4200)
	st := db.Stats()
	if got := float64(st.SegmentBytes) / (2000 * 60); got > 1.6 {
		t.Errorf("%.2f bytes a raw point, want at most 1.6", got)
	}
	var log int64
	names, _ := filepath.Glob(filepath.Join(db.opt.Dir, "wal-*"))
	for _, n := range names {
		if fi, err := os.Stat(n); err == nil {
			log += fi.Size()
		}
	}
	if log != st.LogBytes {
		t.Errorf("the log has %d bytes on disk, Stats says %d", log, st.LogBytes)
	}
}
