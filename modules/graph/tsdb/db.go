package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"falcon/common/run"
	"falcon/modules/graph/tsdb/catalog"
	"falcon/modules/graph/tsdb/vfs"
	"falcon/modules/graph/tsdb/wal"
)

// walLimit is the size at which a log file ends.
const walLimit = 64 << 20

// A DB is an open storage folder. Its methods may be called at the same time,
// but for Close, which comes last.
type DB struct {
	opt    Options
	fs     vfs.FS
	log    *slog.Logger
	lock   *os.File
	opened time.Time

	shards  [numShards]shard
	alive   atomic.Int64 // incarnations
	wal     *wal.Log
	gate    gate
	appends sync.Pool // *appendScratch
	readers sync.Pool // *reader
	watch   func(Change)
	failure atomic.Pointer[error]

	lateBytes atomic.Int64 // in late buffers
	overlays  atomic.Int64

	sealing    sync.Mutex     // one seal, flush of late buffers, sweep or catalog write at a time
	lateSeq    uint64         // log files below it have no late point that is not in an overlay
	lateErr    error          // why the last flush of late buffers failed
	lateFailed time.Time      // when
	lastOver   map[uint32]int // highest number of an overlay by window
	cat        *catalog.Catalog
	catPuts    int // records in the catalog
	busy       map[uint32]*activity
	measured   time.Time
	segs       atomic.Int64
	segBytes   atomic.Int64
	sealNanos  atomic.Int64
	seals      atomic.Int64
	crcErrors  atomic.Int64
	recovery   Recovery
}

// Open takes the folder, recovers what is in it and is then ready for every call.
// It starts no goroutine: the work of the background is Run's. It fails when
// another process has the folder, when a release that is newer wrote it, and when
// the catalog can not be read.
func Open(opt Options) (*DB, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	db := &DB{opt: opt, fs: opt.FS, log: opt.Log, opened: opt.Now(), busy: map[uint32]*activity{}, lastOver: map[uint32]int{}}
	db.measured = db.opened
	db.gate.init()
	for k := range db.shards {
		db.shards[k].db, db.shards[k].index = db, k
	}
	if err := db.fs.MkdirAll(opt.Dir); err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	if db.lock, err = lockDir(opt.Dir); err != nil {
		return nil, err
	}
	if err := db.recover(); err != nil {
		db.releaseSegments()
		return nil, errors.Join(fmt.Errorf("open storage %q: %w", opt.Dir, err), db.lock.Close())
	}
	return db, nil
}

// lockDir takes the folder for this process; the lock ends with it.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock storage: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock storage %q: another process has it, give each graph its own folder: %w", dir, err)
	}
	return f, nil
}

func (db *DB) now() time.Time { return db.opt.Now() }

// Watch has fn called, with no lock held, for every series that is created,
// deleted or becomes another incarnation. Set it before Run and the first Resolve.
func (db *DB) Watch(fn func(Change)) { db.watch = fn }

// ReadOnly returns why the DB takes no writes, nil when it does. It stays so until
// the folder is opened again.
func (db *DB) ReadOnly() error {
	if p := db.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail makes the DB read-only.
func (db *DB) fail(cause error) {
	err := fmt.Errorf("storage %q is read-only until a restart: %w", db.opt.Dir, cause)
	if db.failure.CompareAndSwap(nil, &err) {
		db.log.Error("storage is read-only", "dir", db.opt.Dir, "err", cause)
	}
}

// Run does the work of the background until ctx ends: it syncs the log each second,
// seals windows, writes late points to overlays, removes what is past its retention
// and deletes series that have been silent too long. It returns when the log is on the
// disk.
func (db *DB) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { db.every(ctx, time.Second, db.syncTick) })
	guard := newClockGuard(db.now())
	var swept time.Time
	wg.Go(func() {
		db.every(ctx, 5*time.Second, func() {
			now := db.now()
			if !guard.steady(now) {
				return
			}
			if err := db.seal(now, true); err != nil {
				db.log.Error("window not sealed", "err", err)
			}
			if now.Sub(swept) >= time.Hour {
				swept = now
				if err := db.sweep(now); err != nil {
					db.log.Error("sweep of old data not finished", "err", err)
				}
			}
		})
	})
	wg.Go(func() {
		db.every(ctx, time.Second, func() {
			now := db.now()
			if db.ReadOnly() != nil || !db.lateDue(now) {
				return
			}
			_ = db.FlushLate(now) // it has said so; they stay where they are until the next try
		})
	})
	wg.Wait()
	db.syncTick()
	return db.ReadOnly()
}

// every calls fn at each tick until ctx ends.
func (db *DB) every(ctx context.Context, d time.Duration, fn func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			fn()
		}
	}
}

// syncTick writes what is buffered and syncs it.
func (db *DB) syncTick() {
	if db.ReadOnly() != nil {
		return
	}
	_, err := db.wal.Write(nil, 0, false)
	if err == nil && db.opt.Durability != None {
		err = db.wal.Sync(0)
	}
	if err != nil {
		db.fail(err)
	}
}

// Close flushes and syncs the log and lets go of the folder. Call it after Run
// has returned, when no other call is under way.
func (db *DB) Close() error {
	db.sealing.Lock()
	defer db.sealing.Unlock()
	err := db.wal.Close()
	if db.ReadOnly() != nil {
		err = nil // it was told already
	}
	err = errors.Join(err, db.cat.Close())
	db.releaseSegments()
	return errors.Join(err, db.lock.Close())
}

// releaseSegments drops what the lists hold; readers that are still at it keep
// theirs.
func (db *DB) releaseSegments() {
	for _, g := range db.shards[0].segments {
		_ = g.Release()
	}
	for k := range db.shards {
		db.shards[k].segments = nil
	}
}

// A clockGuard notices when the wall clock and the monotonic clock part.
type clockGuard struct {
	last time.Time
	calm time.Duration // since they last did, by the monotonic clock
}

func newClockGuard(now time.Time) *clockGuard { return &clockGuard{last: now, calm: grace} }

// jumpLimit is how far the clocks may part between two looks.
const jumpLimit = time.Minute

// steady tells whether now may decide what is sealed or removed. After a jump it
// says no for as long as a window has grace, so that a clock that is put right
// again has done no harm. A clock without a monotonic reading never jumps.
func (g *clockGuard) steady(now time.Time) bool {
	step, mono := run.Step(g.last, now), now.Sub(g.last)
	g.last = now
	return g.passed(step, mono)
}

func (g *clockGuard) passed(step, mono time.Duration) bool {
	if step.Abs() > jumpLimit {
		g.calm = 0
	} else {
		g.calm = min(g.calm+mono, grace)
	}
	return g.calm >= grace
}
