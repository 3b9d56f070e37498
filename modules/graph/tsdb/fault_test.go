package tsdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"falcon/common/model"
	"falcon/modules/graph/tsdb/vfs"
	"falcon/modules/graph/tsdb/wal"
)

// faultFS fails writes, syncs and renames of the files whose name has a prefix.
type faultFS struct {
	vfs.OS
	mu        sync.Mutex
	prefix    string
	writeErr  error
	short     int // bytes that a failing write still writes
	syncErr   error
	renameErr error
	syncs     int
}

func (f *faultFS) set(prefix string, writeErr error, short int, syncErr error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prefix, f.writeErr, f.short, f.syncErr, f.renameErr = prefix, writeErr, short, syncErr, nil
}

func (f *faultFS) failRenames(prefix string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prefix, f.renameErr = prefix, err
}

// Rename implements vfs.FS.
func (f *faultFS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.renameErr != nil && strings.HasPrefix(filepath.Base(to), f.prefix) {
		return f.renameErr
	}
	return f.OS.Rename(from, to)
}

type faultFile struct {
	vfs.File
	fs   *faultFS
	name string
}

func (f *faultFS) Create(path string) (vfs.File, error) {
	g, err := f.OS.Create(path)
	return &faultFile{g, f, filepath.Base(path)}, err
}

func (f *faultFS) Append(path string) (vfs.File, error) {
	g, err := f.OS.Append(path)
	return &faultFile{g, f, filepath.Base(path)}, err
}

func (f *faultFile) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.writeErr != nil && strings.HasPrefix(f.name, f.fs.prefix) {
		n, _ := f.File.Write(p[:min(len(p), f.fs.short)])
		return n, f.fs.writeErr
	}
	return f.File.Write(p)
}

func (f *faultFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.syncErr != nil && strings.HasPrefix(f.name, f.fs.prefix) {
		f.fs.syncs++
		return f.fs.syncErr
	}
	return f.File.Sync()
}

func faultDB(t *testing.T, d Durability) (*DB, *faultFS, Options) {
	t.Helper()
	fs := &faultFS{}
	opt := Options{Dir: t.TempDir(), Now: newClock(t0).now, FS: fs, Durability: d}
	db := open(t, opt)
	t.Cleanup(func() { _ = db.Close() })
	return db, fs, opt
}

func TestFullDiskUnderTheLog(t *testing.T) {
	for _, short := range []int{0, 1, 8, 20} {
		db, fs, opt := faultDB(t, Interval)
		ref := resolve(t, db, "h", "c", model.Gauge, 60)
		mustPut(t, db, ref, t0-60, 1)
		fs.set("wal-", syscall.ENOSPC, short, nil)
		n, err := db.Append([]Sample{{ref, t0, 2}}, nil)
		if n != 0 || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Append on a full disk = %d, %v", n, err)
		}
		fs.set("", nil, 0, nil)
		// Room again, but the log may be torn and the head knows too much.
		if _, err := db.Append([]Sample{{ref, t0 + 60, 2}}, nil); !errors.Is(err, syscall.ENOSPC) || !errors.Is(db.ReadOnly(), syscall.ENOSPC) {
			t.Errorf("Append after a failure: %v, ReadOnly %v", err, db.ReadOnly())
		}
		var r *Refused
		if _, err := db.Resolve(&Def{Endpoint: "h", Counter: "new", Type: model.Gauge, Step: 60}); !errors.As(err, &r) || r.Reason != model.ReasonReadOnly {
			t.Errorf("Resolve of a new series: %v", err)
		}
		if err := db.Seal(unix(t0 + 9000)); err == nil {
			t.Error("a read-only DB was sealed")
		}
		if got := values(query(t, db, "h", "c", t0-60, t0-60)); got != "1" {
			t.Errorf("a read-only DB answers %s", got)
		}
		db = reopen(t, db, opt)
		if got := values(query(t, db, "h", "c", t0-60, t0)); got != "1 _" {
			t.Errorf("after the restart %s, want only what was acknowledged", got)
		}
		mustPut(t, db, resolve(t, db, "h", "c", model.Gauge, 60), t0, 3)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	db, fs, opt := faultDB(t, Group)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0-60, 1)
	fs.set("wal-", nil, 0, syscall.EIO)
	for range 3 {
		if n, err := db.Append([]Sample{{ref, t0, 2}}, nil); n != 0 || !errors.Is(err, syscall.EIO) {
			t.Fatalf("Append = %d, %v", n, err)
		}
	}
	db.syncTick()
	_, err := db.Delete("h", "c", model.Gauge, 60)
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("Delete: %v", err)
	}
	if fs.syncs != 1 {
		t.Errorf("%d syncs after one failed, want it never tried again", fs.syncs)
	}
	fs.set("", nil, 0, nil)
	db = reopen(t, db, opt)
	if got := values(query(t, db, "h", "c", t0-60, t0-60)); got != "1" {
		t.Errorf("after the restart %s", got)
	}
}

func TestSegmentThatCanNotBeWritten(t *testing.T) {
	db, fs, opt := faultDB(t, Interval)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0, 1)
	for _, f := range []func(){
		func() { fs.set("seg-", syscall.ENOSPC, 10, nil) },
		func() { fs.set("seg-", nil, 0, syscall.EIO) },
	} {
		f()
		if err := db.Seal(unix(t0 + 600)); err == nil {
			t.Fatal("Seal did not fail")
		}
		if db.ReadOnly() != nil {
			t.Fatal("a segment that fails is no reason to be read-only")
		}
	}
	mustPut(t, db, ref, t0-60, 0) // the points of the window are late now
	fs.set("", nil, 0, nil)
	mustSeal(t, db, t0+600)
	if got := put(t, db, ref, t0-60, 9); got != model.ReasonDuplicate {
		t.Errorf("a resend for the sealed window: %q", got)
	}
	if got := put(t, db, ref, t0, 9); got != model.ReasonDuplicate {
		t.Errorf("a resend for the sealed window: %q", got)
	}
	for range 2 {
		if got := values(query(t, db, "h", "c", t0-60, t0)); got != "0 1" {
			t.Errorf("got %s", got)
		}
		db = reopen(t, db, opt)
	}
	names, _ := fs.ReadDir(opt.Dir)
	if strings.Contains(fmt.Sprint(names), ".tmp") {
		t.Errorf("left: %v", names)
	}
}

func TestCatalogThatCanNotBeWritten(t *testing.T) {
	db, fs, opt := faultDB(t, Interval)
	mustPut(t, db, resolve(t, db, "h", "c", model.Gauge, 60), t0, 1)
	fs.set("catalog-", syscall.ENOSPC, 5, nil)
	if err := db.Seal(unix(t0 + 600)); !errors.Is(err, syscall.ENOSPC) || db.ReadOnly() == nil {
		t.Fatalf("Seal = %v, ReadOnly %v", err, db.ReadOnly())
	}
	fs.set("", nil, 0, nil)
	db = reopen(t, db, opt)
	mustSeal(t, db, t0+600)
	db = reopen(t, db, opt)
	if got := values(query(t, db, "h", "c", t0, t0)); got != "1" {
		t.Errorf("got %s", got)
	}
}

// The log is cut at every byte of its last record: what was before is there, and
// the DB goes on.
func TestRecoveryFromATornLog(t *testing.T) {
	db, _, opt := testDB(t)
	ref := resolve(t, db, "h", "c", model.Derive, 60)
	mustPut(t, db, ref, t0, 60)
	mustPut(t, db, ref, t0+60, 120)
	size := db.Stats().LogBytes
	n, err := db.Append([]Sample{{ref, t0 + 120, 180}, {resolve(t, db, "h", "new", model.Gauge, 60), t0, 1}}, nil)
	if n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	name := wal.Name(1)
	whole, err := os.ReadFile(filepath.Join(opt.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	cat, _ := os.ReadFile(filepath.Join(opt.Dir, "catalog-00000001"))
	format, _ := os.ReadFile(filepath.Join(opt.Dir, "FORMAT"))
	for cut := int(size); cut <= len(whole); cut++ {
		o := opt
		o.Dir = t.TempDir()
		for n, b := range map[string][]byte{name: whole[:cut], "catalog-00000001": cat, "FORMAT": format} {
			if err := os.WriteFile(filepath.Join(o.Dir, n), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		db := open(t, o)
		want := "_ 1 _"
		if cut == len(whole) {
			want = "_ 1 1"
		}
		if got := values(query(t, db, "h", "c", t0, t0+120)); got != want {
			t.Fatalf("cut at %d of %d: %s, want %s", cut, len(whole), got, want)
		}
		rec := db.Stats().Recovery
		if rec.Damaged != 0 || (rec.Torn == 0) != (cut == int(size) || cut == len(whole)) && rec.Torn > int64(len(whole)) {
			t.Fatalf("cut at %d: %+v", cut, rec)
		}
		mustPut(t, db, resolve(t, db, "h", "new", model.Gauge, 60), t0+60, 2)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
		if rec := db.Stats().Recovery; rec.Torn != 0 || rec.Damaged != 0 {
			t.Fatalf("second start after a cut at %d: %+v", cut, rec)
		}
		if got := values(query(t, db, "h", "new", t0+60, t0+60)); got != "2" {
			t.Fatalf("cut at %d: new series has %s", cut, got)
		}
		_ = db.Close()
	}
}

func TestDamageElsewhereIsCountedAndTheRestKept(t *testing.T) {
	db, c, opt := testDB(t)
	ref := resolve(t, db, "h", "c", model.Gauge, 60)
	mustPut(t, db, ref, t0, 1)
	mustSeal(t, db, t0+600)
	c.set(t0 + 700)
	mustPut(t, db, ref, t0+60, 2)
	at := db.Stats().LogBytes
	mustPut(t, db, ref, t0+120, 3)
	mustPut(t, db, ref, t0+180, 4)
	db = reopen(t, db, opt)
	mustPut(t, db, resolve(t, db, "h", "c", model.Gauge, 60), t0+240, 5)
	_ = db.Close()
	flip := func(name string, at int64) {
		t.Helper()
		path := filepath.Join(opt.Dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	logs, _ := filepath.Glob(filepath.Join(opt.Dir, "wal-*"))
	flip(filepath.Base(logs[0]), at+12)
	db = open(t, opt)
	if got := values(query(t, db, "h", "c", t0, t0+240)); got != "1 2 4 4 5" {
		t.Errorf("a damaged record: got %s, want the record gone, and its slot filled", got)
	}
	if rec := db.Stats().Recovery; rec.Damaged != 1 {
		t.Errorf("%+v", rec)
	}
	_ = db.Close()
	seg := fmt.Sprintf("seg-0-%010d", t0-3600)
	flip(seg, 40) // in a chunk
	db = open(t, opt)
	if got := values(query(t, db, "h", "c", t0, t0+60)); got != "_ 2" || db.Stats().CRCErrors == 0 {
		t.Errorf("a damaged chunk: got %s, %d errors", got, db.Stats().CRCErrors)
	}
	_ = db.Close()
	flip(seg, 3) // no segment at all
	db = open(t, opt)
	defer db.Close()
	if got := values(query(t, db, "h", "c", t0, t0+60)); got != "_ 2" || db.Stats().Recovery.Damaged == 0 {
		t.Errorf("a damaged segment: got %s, %+v", got, db.Stats().Recovery)
	}
	if _, err := os.Stat(filepath.Join(opt.Dir, seg+".bad")); err != nil {
		t.Error(err)
	}
}

// The disk loses a file under its mapping: reads fail, the process does not.
func TestDiskFailsUnderTheMapping(t *testing.T) {
	db, c, opt := testDB(t)
	g := resolve(t, db, "h", "g", model.Gauge, 60)
	d := resolve(t, db, "h", "d", model.Derive, 60)
	for i := range int64(2) {
		mustPut(t, db, g, t0+60*i, 1)
		mustPut(t, db, d, t0+60*i, 60*float64(i))
		if i == 0 {
			mustSeal(t, db, t0+600)
			c.set(t0 + 600)
		}
	}
	db = reopen(t, db, opt)
	if err := os.Truncate(filepath.Join(opt.Dir, fmt.Sprintf("seg-0-%010d", t0-3600)), 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"g", "d"} {
		if got := values(query(t, db, "h", name, t0, t0)); got != "_" {
			t.Errorf("%s: got %s", name, got)
		}
		db.Last("h", name)
	}
	if got := values(query(t, db, "h", "d", t0+60, t0+60)); got != "_" {
		t.Errorf("a rate without its first sample: %s", got)
	}
	if db.Stats().CRCErrors < 3 {
		t.Errorf("%d errors are counted", db.Stats().CRCErrors)
	}
	mustSeal(t, db, t0+4300)
	if got := values(query(t, db, "h", "g", t0+60, t0+60)); got != "1" {
		t.Errorf("the next hour: %s", got)
	}
}

func TestTheFolderIsTakenOnce(t *testing.T) {
	db, _, opt := testDB(t)
	if _, err := Open(opt); err == nil || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("second Open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(opt.Dir, "FORMAT")
	if err := os.WriteFile(path, []byte(`{"engine":"falcon-graph","version":2,"shards":16,"window":3600}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(opt); err == nil || !strings.Contains(err.Error(), "use the release that wrote it") {
		t.Errorf("Open of a newer format: %v", err)
	}
}
