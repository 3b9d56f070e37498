package tsdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"falcon/modules/graph/tsdb/catalog"
	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/segment"
	"falcon/modules/graph/tsdb/wal"
)

// Recovery tells what Open found.
type Recovery struct {
	Series   int           // incarnations
	Segments int           // mapped
	Points   int64         // replayed from the log
	Overlays int           // of late points, mapped
	Late     int64         // of Points, those that go back to late buffers
	Skipped  int64         // points in the log that segments or overlays hold already
	LogBytes int64         // read
	Torn     int64         // bytes of a torn tail that a crash left
	Damaged  int           // damaged records and files that hid data
	Took     time.Duration // in all
}

// format is the file FORMAT: what must agree to read the folder.
type format struct {
	Engine  string `json:"engine"`
	Version int    `json:"version"`
	Shards  int    `json:"shards"`
	Window  int    `json:"window"` // seconds
}

var ourFormat = format{"falcon-graph", 1, numShards, windowSpan}

// checkFormat reads FORMAT, or writes it into a new folder.
func (db *DB) checkFormat(isNew bool) error {
	path := filepath.Join(db.opt.Dir, "FORMAT")
	b, err := db.fs.Map(path, false)
	if err == nil {
		defer func() { _ = db.fs.Unmap(b) }()
		var f format
		if err := json.Unmarshal(b, &f); err != nil {
			return fmt.Errorf("read %q: %w", path, err)
		}
		if f != ourFormat {
			return fmt.Errorf("%q says %+v, this release reads %+v: use the release that wrote it", path, f, ourFormat)
		}
		return nil
	}
	if !isNew {
		return fmt.Errorf("the folder holds data but no FORMAT: %w", err)
	}
	text, err := json.Marshal(ourFormat)
	if err != nil {
		return err
	}
	f, err := db.fs.Create(path + segment.TmpSuffix)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := db.fs.Rename(path+segment.TmpSuffix, path); err != nil {
		return err
	}
	return db.fs.SyncDir(db.opt.Dir)
}

// files is a folder, sorted out.
type files struct {
	segments []string // with overlays
	logs     []uint64 // ascending
	catalogs []uint64 // ascending
}

func (db *DB) listFiles() (fs files, err error) {
	names, err := db.fs.ReadDir(db.opt.Dir)
	if err != nil {
		return fs, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, segment.TmpSuffix) {
			if err := db.fs.Remove(filepath.Join(db.opt.Dir, name)); err != nil {
				return fs, err
			}
			continue
		}
		if seq, ok := wal.ParseName(name); ok {
			fs.logs = append(fs.logs, seq)
		} else if n, ok := catalog.ParseName(name); ok {
			fs.catalogs = append(fs.catalogs, n)
		} else if tier, t0, n, ok := segment.ParseName(name); ok && tier == 0 {
			fs.segments = append(fs.segments, name)
			if w := t0 / windowSpan; n > 0 {
				db.lastOver[w] = max(db.lastOver[w], n)
			}
		}
	}
	return fs, nil
}

// recover builds the state from the files.
func (db *DB) recover() error {
	start := time.Now()
	fs, err := db.listFiles()
	if err != nil {
		return err
	}
	if err := db.checkFormat(len(fs.logs)+len(fs.catalogs)+len(fs.segments) == 0); err != nil {
		return err
	}
	db.openSegments(fs.segments)
	rp := newReplay(db)
	defer rp.stop()
	if err := db.loadCatalog(fs.catalogs, rp); err != nil {
		return err
	}
	old, err := db.replayLogs(fs.logs, rp)
	if err != nil {
		return errors.Join(err, db.cat.Close())
	}
	rp.stop()
	db.recovery.Points, db.recovery.Late, db.recovery.Skipped = rp.points()
	db.recovery.Damaged += rp.damaged()
	db.settle()

	seq := uint64(1)
	if len(fs.logs) > 0 {
		seq = fs.logs[len(fs.logs)-1] + 1
	}
	if db.wal, err = wal.Create(db.fs, db.opt.Dir, seq, walLimit, old); err != nil {
		return errors.Join(err, db.cat.Close())
	}
	// Whole files may be behind the segments since the last process died.
	if err := db.wal.Drop(db.droppable(), db.shards[0].published, db.lateSeq); err != nil {
		db.log.Warn("old log file not removed", "err", err)
	}
	db.recovery.Took = time.Since(start)
	db.recovery.Series = int(db.alive.Load())
	db.log.Info("storage recovered", "series", db.recovery.Series, "segments", db.recovery.Segments,
		"overlays", db.recovery.Overlays, "points", db.recovery.Points, "late", db.recovery.Late, "torn_bytes", db.recovery.Torn, "damaged", db.recovery.Damaged, "took", db.recovery.Took)
	return nil
}

// droppable returns the number below which log files may go at start. Their series
// records are in the catalog only after a seal, so it is 0 while anything waits for
// the catalog.
func (db *DB) droppable() uint64 {
	for k := range db.shards {
		if len(db.shards[k].dirty)+len(db.shards[k].dead) > 0 {
			return 0
		}
	}
	return math.MaxUint64
}

// openSegments maps the segments and overlays. One that can not be read is left out:
// the rest still serves.
func (db *DB) openSegments(names []string) {
	var list []*segment.Segment
	published, floor := uint32(0), uint32(0)
	for _, name := range names {
		g, err := segment.Open(db.fs, db.opt.Dir, name)
		if err != nil {
			db.recovery.Damaged++
			db.crcErrors.Add(1)
			if errors.Is(err, segment.ErrVersion) {
				// Its hour is written; leave it to the release that can read it.
				if _, t0, n, _ := segment.ParseName(name); n == 0 {
					published = max(published, t0/windowSpan+1)
				}
				db.log.Error("segment left out", "segment", name, "err", err)
				continue
			}
			db.log.Error("segment is damaged, it is set aside", "segment", name, "as", name+segment.BadSuffix, "err", err)
			path := filepath.Join(db.opt.Dir, name)
			if err := db.fs.Rename(path, path+segment.BadSuffix); err != nil {
				db.log.Error("damaged segment not set aside", "segment", name, "err", err)
			}
			continue
		}
		list = append(list, g)
		db.segBytes.Add(g.Size())
		if g.Overlay > 0 {
			db.overlays.Add(1)
			floor = max(floor, g.T1/windowSpan)
			continue
		}
		db.segs.Add(1)
		published = max(published, g.T1/windowSpan)
	}
	sortSegments(list)
	db.recovery.Overlays = int(db.overlays.Load())
	db.recovery.Segments = len(list) - db.recovery.Overlays
	// A window with an overlay takes no points into the head, also when the window
	// itself was never sealed.
	floor = max(floor, published)
	for k := range db.shards {
		s := &db.shards[k]
		s.segments, s.published, s.floor = list, published, floor
		if floor > 0 {
			s.newest = floor - 1
		}
	}
}

// loadCatalog reads the newest catalog and opens it for appending.
func (db *DB) loadCatalog(numbers []uint64, rp *replay) error {
	n, end, size := uint64(1), 0, 0
	if len(numbers) > 0 {
		n = numbers[len(numbers)-1]
		path := filepath.Join(db.opt.Dir, catalog.Name(n))
		b, err := db.fs.Map(path, false)
		if err != nil {
			return fmt.Errorf("read catalog: %w", err)
		}
		size = len(b)
		rp.fromLog = false
		var bad int
		end, bad, err = catalog.Scan(b, func(t record.Type, p []byte) error {
			db.catPuts++
			rp.add(t, p)
			return nil
		})
		rp.barrier()
		err = errors.Join(err, db.fs.Unmap(b))
		if err != nil {
			return fmt.Errorf("read catalog %q: %w", path, err)
		}
		if bad > 0 {
			db.recovery.Damaged += bad
			db.log.Error("catalog is damaged, some series are lost", "catalog", path, "records", bad)
		}
		for _, old := range numbers[:len(numbers)-1] { // a crash came between two steps
			if err := db.fs.Remove(filepath.Join(db.opt.Dir, catalog.Name(old))); err != nil {
				return err
			}
		}
	}
	var err error
	db.cat, err = catalog.Open(db.fs, db.opt.Dir, n, int64(end), int64(size))
	return err
}

// replayLogs applies the log files in their order and returns them. Only the
// newest may end in a torn record, since nothing is written behind one.
func (db *DB) replayLogs(seqs []uint64, rp *replay) ([]wal.File, error) {
	rp.fromLog = true
	var old []wal.File
	for i, seq := range seqs {
		path := filepath.Join(db.opt.Dir, wal.Name(seq))
		b, err := db.fs.Map(path, false)
		if err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
		newestFile := i == len(seqs)-1
		if err := wal.CheckHeader(b); err != nil {
			size := len(b)
			err = errors.Join(fmt.Errorf("read log %q: %w", path, err), db.fs.Unmap(b))
			if !newestFile || size >= wal.HeaderLen {
				return nil, err
			}
			// Its writer died before the first record.
			if err := db.fs.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		sc := record.NewScanner(b, wal.HeaderLen)
		for {
			t, p, ok := sc.Next()
			if !ok {
				break
			}
			rp.add(t, p)
		}
		rp.barrier()
		end, tail := sc.Offset(), sc.Tail()
		db.recovery.LogBytes += int64(len(b))
		if err := db.fs.Unmap(b); err != nil {
			return nil, err
		}
		if sc.Bad > 0 || tail > 0 && !newestFile {
			db.recovery.Damaged += max(sc.Bad, 1)
			db.crcErrors.Add(int64(max(sc.Bad, 1)))
			db.log.Error("log is damaged, points are lost", "log", path, "records", sc.Bad, "tail", tail)
		}
		if tail > 0 && newestFile {
			db.recovery.Torn = int64(tail)
			if err := db.fs.Truncate(path, int64(end)); err != nil {
				return nil, fmt.Errorf("cut torn log: %w", err)
			}
		}
		newest, late := rp.windows()
		old = append(old, wal.File{Seq: seq, Size: int64(end), Newest: newest, Late: late})
	}
	return old, nil
}

// settle completes the shards after the replay.
func (db *DB) settle() {
	var overlays []*segment.Segment
	for _, g := range db.shards[0].segments {
		if g.Overlay > 0 {
			overlays = append(overlays, g)
		}
	}
	for k := range db.shards {
		s := &db.shards[k]
		s.cur = nil
		for id := uint32(0); id < s.n; id++ {
			x := s.at(id)
			if x.flags&flagAlive == 0 {
				if db.inOverlay(overlays, k, id) {
					s.waiting = append(s.waiting, id)
				} else {
					s.free = append(s.free, id)
				}
				continue
			}
			if len(s.segments) > 0 {
				x.flags |= flagPrevUnknown
				x.prevSlot, x.prevValue = 0, 0
			}
			for i := len(s.segments) - 1; i >= 0 && x.last == 0; i-- {
				g := s.segments[i]
				w := g.T0 / windowSpan
				if w < x.bornWin && g.Overlay == 0 {
					if len(overlays) == 0 {
						break
					}
					continue
				}
				if db.has(g, k, id) {
					x.last = lastSlot(w, x.step)
				}
			}
		}
		db.alive.Add(int64(s.alive))
		s.appended, s.lateTaken = 0, 0
	}
}
