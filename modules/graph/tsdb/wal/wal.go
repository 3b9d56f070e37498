// Package wal is the write-ahead log of the storage engine: files wal-00000001
// and on, each a 16 byte header (FGWL, version u16, 2 zero bytes, number u64) and
// records.
//
// Small records are buffered in memory in their order and go out in front of the
// next write, so that naming a series costs no system call and can never come
// after its points. A failed write or sync is final: the log takes nothing more.
package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"falcon/common/failpoint"
	"falcon/modules/graph/tsdb/vfs"
)

// HeaderLen is the length of a file's header; its records begin there.
const HeaderLen = 16

const (
	magic   = "FGWL"
	version = 2
	prefix  = "wal-"
)

// Name returns the name of file seq.
func Name(seq uint64) string { return fmt.Sprintf("%s%08d", prefix, seq) }

// ParseName undoes Name.
func ParseName(name string) (seq uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || len(digits) < 8 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// CheckHeader tells whether a file begins as one of this version does.
func CheckHeader(b []byte) error {
	switch {
	case len(b) < HeaderLen:
		return errors.New("the header is torn")
	case string(b[:4]) != magic:
		return errors.New("this is no log file")
	case binary.LittleEndian.Uint16(b[4:]) != version:
		return fmt.Errorf("log version %d is unknown to this release", binary.LittleEndian.Uint16(b[4:]))
	}
	return nil
}

// A File is a finished log file.
type File struct {
	Seq    uint64
	Size   int64
	Newest uint32 // newest window of its points, late ones aside
	Late   bool   // it has points that came for sealed windows
}

// A Log is open for appending. Its methods may be called at the same time.
type Log struct {
	fs    vfs.FS
	dir   string
	limit int64

	// pend guards only memory: it is taken under the locks of shards.
	pend    sync.Mutex
	pending []byte

	// io puts the writes in order; whoever holds it may be in a system call.
	io      sync.Mutex
	f       vfs.File
	cur     File
	old     []File
	unsync  []vfs.File // rotated out, to be synced and closed
	spare   []byte
	written uint64
	newFile bool // the folder does not durably name the current file yet
	err     error

	// one syncs at a time; the others find their bytes synced
	syncing  sync.Mutex
	synced   uint64
	syncTime time.Duration
}

// Create begins file seq in dir. Files grow to about limit bytes. old are the
// files that are there already.
func Create(fs vfs.FS, dir string, seq uint64, limit int64, old []File) (*Log, error) {
	l := &Log{fs: fs, dir: dir, limit: limit, old: old}
	l.cur.Seq = seq - 1
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// open begins the next file.
func (l *Log) open() error {
	seq := l.cur.Seq + 1
	path := filepath.Join(l.dir, Name(seq))
	f, err := l.fs.Create(path)
	if err != nil {
		return fmt.Errorf("begin log file: %w", err)
	}
	h := make([]byte, 0, HeaderLen)
	h = append(h, magic...)
	h = binary.LittleEndian.AppendUint16(h, version)
	h = append(h, 0, 0)
	h = binary.LittleEndian.AppendUint64(h, seq)
	if err := write(f, h); err != nil {
		_ = f.Close()
		_ = l.fs.Remove(path) // a torn header must not look like lost data
		return fmt.Errorf("begin log file %q: %w", path, err)
	}
	l.f, l.cur, l.newFile = f, File{Seq: seq, Size: HeaderLen}, true
	return nil
}

func write(f vfs.File, b []byte) error {
	n, err := f.Write(b)
	if err == nil && n < len(b) {
		err = fmt.Errorf("wrote %d of %d bytes", n, len(b))
	}
	return err
}

// Buffer adds a record that goes out before whatever is written next. It returns
// how many bytes wait; the caller writes them when they become many.
func (l *Log) Buffer(rec []byte) int {
	l.pend.Lock()
	defer l.pend.Unlock()
	l.pending = append(l.pending, rec...)
	return len(l.pending)
}

// Write writes what is buffered and then rec, which may be nil, in one call, and
// returns the position behind it. newest is the newest window of the points in rec
// that came before their window was sealed; late says that there are others.
func (l *Log) Write(rec []byte, newest uint32, late bool) (pos uint64, err error) {
	l.io.Lock()
	defer l.io.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	l.pend.Lock()
	p := l.pending
	l.pending = l.spare[:0]
	l.pend.Unlock()
	l.spare = p[:0]
	if len(p) > 0 {
		p = append(p, rec...)
		l.spare = p[:0]
		rec = p
	}
	if len(rec) == 0 {
		return l.written, nil
	}
	if err := write(l.f, rec); err != nil {
		l.err = fmt.Errorf("write log: %w", err)
		return 0, l.err
	}
	l.written += uint64(len(rec))
	l.cur.Size += int64(len(rec))
	l.cur.Newest = max(l.cur.Newest, newest)
	l.cur.Late = l.cur.Late || late
	pos = l.written
	if l.cur.Size >= l.limit {
		l.rotate()
	}
	return pos, nil
}

// rotate goes on in the next file; the old one is synced and closed by Sync.
func (l *Log) rotate() {
	f, cur := l.f, l.cur
	if err := l.open(); err != nil {
		l.err = err
		return
	}
	l.unsync = append(l.unsync, f)
	l.old = append(l.old, cur)
}

// Rotate begins a new file and returns its number: everything written before is
// in files below it.
func (l *Log) Rotate() (seq uint64, err error) {
	l.io.Lock()
	defer l.io.Unlock()
	if l.err == nil && l.cur.Size > HeaderLen {
		l.rotate()
	}
	return l.cur.Seq, l.err
}

// Sync returns when everything up to pos is on the disk. Callers that come while
// one syncs share the next sync.
func (l *Log) Sync(pos uint64) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.synced >= pos && pos > 0 {
		return nil
	}
	l.io.Lock()
	err, done, f, newFile := l.err, l.unsync, l.f, l.newFile
	upTo := l.written
	l.unsync, l.newFile = nil, false
	l.io.Unlock()
	if err != nil {
		return err
	}
	if l.synced == upTo && len(done) == 0 && !newFile {
		return nil
	}
	start := time.Now()
	for _, d := range done {
		err = errors.Join(err, d.Sync(), d.Close())
	}
	err = errors.Join(err, f.Sync())
	if newFile {
		err = errors.Join(err, l.fs.SyncDir(l.dir))
	}
	l.syncTime += time.Since(start)
	if err != nil {
		return l.fail(fmt.Errorf("sync log: %w", err))
	}
	l.synced = upTo
	return nil
}

// fail makes err final.
func (l *Log) fail(err error) error {
	l.io.Lock()
	defer l.io.Unlock()
	if l.err == nil {
		l.err = err
	}
	return l.err
}

// Drop removes the finished files below seq whose points are all in windows
// before window, from the oldest up to the first that must stay: what a replay
// finds is always an unbroken end of history, so that it comes to the right state.
// Of the files with late points only those below lateSeq may go.
func (l *Log) Drop(seq uint64, window uint32, lateSeq uint64) error {
	l.io.Lock()
	n := 0
	for n < len(l.old) && l.old[n].Seq < seq && l.old[n].Newest < window && (!l.old[n].Late || l.old[n].Seq < lateSeq) {
		n++
	}
	gone := l.old[:n]
	l.old = append([]File(nil), l.old[n:]...)
	l.io.Unlock()
	var err error
	for _, f := range gone {
		err = errors.Join(err, l.fs.Remove(filepath.Join(l.dir, Name(f.Seq))))
		failpoint.Reached("graph.log-dropped")
	}
	return err
}

// Size returns the bytes in all files, and how many files there are.
func (l *Log) Size() (bytes int64, files int) {
	l.io.Lock()
	defer l.io.Unlock()
	bytes = l.cur.Size
	for _, f := range l.old {
		bytes += f.Size
	}
	return bytes, len(l.old) + 1
}

// Written returns the bytes written since Create.
func (l *Log) Written() uint64 {
	l.io.Lock()
	defer l.io.Unlock()
	return l.written
}

// SyncTime returns how long syncs have taken in all.
func (l *Log) SyncTime() time.Duration {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	return l.syncTime
}

// Close writes and syncs what is left and closes the files. After a failure it
// only closes.
func (l *Log) Close() error {
	_, err := l.Write(nil, 0, false)
	if err == nil {
		err = l.Sync(0)
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.io.Lock()
	defer l.io.Unlock()
	for _, f := range l.unsync {
		_ = f.Close()
	}
	l.unsync = nil
	if l.err == nil {
		l.err = errors.New("the log is closed")
	}
	return errors.Join(err, l.f.Close())
}
