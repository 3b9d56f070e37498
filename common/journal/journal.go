// Package journal is an append-only log of records with a snapshot now and then: what a
// judge or plus_judge has taken and told, so that a kill loses nothing that was
// acknowledged.
//
// A batch is one write, without a sync: it outlives the process, and a power failure
// may take the last second. A record that a crash tore off at the end is dropped; one
// that is damaged in the middle is skipped and counted.
//
// Turn begins the next file, and Snapshot then writes what all earlier files are worth,
// while records go on into the new one; the earlier files are removed after it. A
// snapshot may hold some of what the new file holds as well, so whoever replays must
// not mind meeting a record twice.
//
// The files are journal-<n> and snapshot-<n>, the latter being what came before
// journal-<n>. Both are a magic of five bytes, the last of which is the version, and
// records of length (4 bytes), CRC-32C (4 bytes), payload; numbers are little-endian.
package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"falcon/common/failpoint"
)

var (
	magic = []byte{'F', 'J', 'R', 'N', 1}
	table = crc32.MakeTable(crc32.Castagnoli)
)

const (
	headSize = 8
	// MaxRecord bounds a record, so that a damaged length is not believed.
	MaxRecord = 16 << 20
	// maxHeld bounds what is kept in memory while the disk takes nothing.
	maxHeld = 64 << 20
)

// A Journal takes records, from several goroutines.
type Journal struct {
	dir  string
	lock *os.File // held while it is open: two that write one file destroy it

	mu   sync.Mutex // of what follows
	seq  int        // of file
	file *os.File
	size int64
	held []byte // records that the disk did not take; they go before the next ones
	fail error  // stands for the disk's, in tests

	syncedFile *os.File // what Sync brought to the disk last
	synced     int64

	// Damaged counts the records that were skipped when it was opened, Torn the bytes
	// that were cut off its end.
	Damaged int
	Torn    int64
	// Written is when the last run wrote last; the zero time when there was none.
	Written time.Time
}

// Open hands what is in dir to replay, the newest snapshot and the records since in
// their order, and continues it; a folder without a journal gets one. The record is
// replay's until it returns. What a finished snapshot has replaced, and what a crash
// cut short, is removed.
func Open(dir string, replay func(record []byte) error) (_ *Journal, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("journal: another process works in the folder %s: %w", dir, err)
	}
	found, err := list(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{dir: dir, lock: lock}
	if found.snapshot > 0 {
		if err := j.read(j.path("snapshot", found.snapshot), replay); err != nil {
			return nil, err
		}
	}
	for i, n := range found.journals {
		if last := i == len(found.journals)-1; last {
			err = j.resume(n, replay)
		} else {
			err = j.read(j.path("journal", n), replay)
		}
		if err != nil {
			return nil, err
		}
	}
	if j.file == nil {
		if err := j.begin(max(1, found.snapshot)); err != nil {
			return nil, err
		}
	}
	for _, name := range found.done {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return nil, errors.Join(fmt.Errorf("journal: %w", err), j.file.Close())
		}
	}
	return j, nil
}

// found is what a folder holds.
type found struct {
	snapshot int      // number of the newest, 0 for none
	journals []int    // numbers of those since, ascending
	done     []string // names of files that have no use any more
}

func list(dir string) (f found, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return f, err
	}
	var journals, snapshots []int
	for _, e := range entries {
		kind, rest, ok := strings.Cut(e.Name(), "-")
		if !ok || kind != "journal" && kind != "snapshot" {
			continue
		}
		switch n, err := strconv.Atoi(rest); {
		case err != nil || n <= 0:
			f.done = append(f.done, e.Name()) // a snapshot that was not finished
		case kind == "journal":
			journals = append(journals, n)
		default:
			snapshots = append(snapshots, n)
		}
	}
	slices.Sort(journals)
	for _, n := range snapshots {
		f.snapshot = max(f.snapshot, n)
	}
	for _, n := range snapshots {
		if n < f.snapshot {
			f.done = append(f.done, "snapshot-"+strconv.Itoa(n))
		}
	}
	for _, n := range journals {
		if n < f.snapshot {
			f.done = append(f.done, "journal-"+strconv.Itoa(n))
		} else {
			f.journals = append(f.journals, n)
		}
	}
	return f, nil
}

func (j *Journal) path(kind string, n int) string {
	return filepath.Join(j.dir, kind+"-"+strconv.Itoa(n))
}

// read replays a file that is not written to any more.
func (j *Journal) read(path string, replay func([]byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	good, size, err := j.scan(f, replay)
	if err != nil {
		return fmt.Errorf("journal %s: %w", path, err)
	}
	j.Torn += size - good
	return nil
}

// resume replays the newest file, cuts off what a crash left at its end and continues
// it.
func (j *Journal) resume(n int, replay func([]byte) error) error {
	f, err := os.OpenFile(j.path("journal", n), os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("journal: %w", err), f.Close())
	}
	j.Written = info.ModTime()
	good, size, err := j.scan(f, replay)
	if err == nil && good < int64(len(magic)) {
		_, err = f.WriteAt(magic, 0)
		good = int64(len(magic))
	}
	if err == nil && size > good {
		j.Torn += size - good
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("journal %s: %w", f.Name(), err), f.Close())
	}
	j.file, j.size, j.seq = f, good, n
	return nil
}

// scan returns where the last whole record ends, and the size of the file.
func (j *Journal) scan(f *os.File, replay func([]byte) error) (good, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	size = info.Size()
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, max(len(magic), headSize))
	n, err := io.ReadFull(r, head[:len(magic)])
	if err != nil && string(head[:n]) == string(magic[:n]) {
		return int64(n), size, nil // a crash between the file's birth and its first bytes
	}
	if string(head[:n]) != string(magic) {
		return 0, size, fmt.Errorf("it is not a journal of this release (it begins with %q): move it away to start without", head[:n])
	}
	good = int64(len(magic))
	at := good // where the reader is
	var record []byte
	for {
		if _, err := io.ReadFull(r, head[:headSize]); err != nil {
			return good, size, nil // the end, or a torn head
		}
		n, sum := int64(binary.LittleEndian.Uint32(head)), binary.LittleEndian.Uint32(head[4:])
		if n > MaxRecord || at+headSize+n > size {
			// Torn, or a length that is damaged: then whole records follow somewhere.
			next, err := whole(f, at+1, size)
			if err != nil || next < 0 {
				return good, size, err
			}
			j.Damaged++
			if _, err := f.Seek(next, io.SeekStart); err != nil {
				return good, size, err
			}
			r.Reset(f)
			at = next
			continue
		}
		if int64(cap(record)) < n {
			record = make([]byte, n)
		}
		record = record[:n]
		if _, err := io.ReadFull(r, record); err != nil {
			return good, size, err
		}
		at += headSize + n
		good = at
		if crc32.Checksum(record, table) != sum {
			j.Damaged++
			continue
		}
		if err := replay(record); err != nil {
			return good, size, err
		}
	}
}

// whole looks for a record that is whole at or behind the offset from, and returns where
// it begins, -1 when there is none.
func whole(f *os.File, from, size int64) (int64, error) {
	rest := make([]byte, size-from)
	if _, err := f.ReadAt(rest, from); err != nil {
		return 0, err
	}
	for i := 0; i+headSize < len(rest); i++ {
		n, sum := int64(binary.LittleEndian.Uint32(rest[i:])), binary.LittleEndian.Uint32(rest[i+4:])
		if n > 0 && n <= MaxRecord && int64(i)+headSize+n <= int64(len(rest)) && crc32.Checksum(rest[i+headSize:][:n], table) == sum {
			return from + int64(i), nil
		}
	}
	return -1, nil
}

func appendRecord(dst, record []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(record)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(record, table))
	return append(dst, record...)
}

// Append writes a record and returns once it outlives the process. With an error it
// does not yet: it waits in memory, and a later call brings it to the disk before its
// own. Room comes before it, so that this has an end.
func (j *Journal) Append(records ...[]byte) error {
	for _, record := range records {
		if len(record) > MaxRecord {
			return fmt.Errorf("journal: a record of %d bytes, %d are possible", len(record), MaxRecord)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, record := range records {
		j.held = appendRecord(j.held, record)
	}
	return j.write()
}

// Room says why nothing may be appended: the disk takes nothing, and as much waits in
// memory as should.
func (j *Journal) Room() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.held) < maxHeld {
		return nil
	}
	return j.write()
}

// Flush brings to the disk what waits, if anything does.
func (j *Journal) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.write()
}

func (j *Journal) write() error {
	if len(j.held) == 0 {
		return nil
	}
	n, err := 0, j.fail
	if err == nil {
		n, err = j.file.Write(j.held)
	}
	if err == nil {
		failpoint.Reached("journal.appended")
		j.size += int64(n)
		if j.held = j.held[:0]; cap(j.held) > 4<<20 {
			j.held = nil
		}
		return nil
	}
	// What was written of it must not be followed by anything.
	terr := j.file.Truncate(j.size)
	_, serr := j.file.Seek(j.size, io.SeekStart)
	return errors.Join(fmt.Errorf("journal: %w", err), terr, serr)
}

// Fail makes the disk answer err from now on, or be itself again with nil: for the tests
// of those who write a journal.
func (j *Journal) Fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = err
}

// Size returns how large the present file is, in bytes.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// Turn begins the next file: whatever is appended from now on goes there. After an
// error the present one goes on.
func (j *Journal) Turn() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(); err != nil {
		return err
	}
	old := j.file
	if err := j.begin(j.seq + 1); err != nil {
		return err
	}
	failpoint.Reached("journal.turned")
	_ = old.Close() // its records were written with success, and the next file has begun
	return nil
}

func (j *Journal) begin(n int) error {
	f, err := os.Create(j.path("journal", n))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if _, err := f.Write(magic); err != nil {
		return errors.Join(fmt.Errorf("journal: %w", err), f.Close(), os.Remove(f.Name()))
	}
	j.file, j.seq, j.size = f, n, int64(len(magic))
	return nil
}

// Snapshot writes what fill emits in the place of all files before the present one,
// which the last Turn began, and removes those. A crash in the middle, or an error,
// leaves them. One call at a time.
func (j *Journal) Snapshot(fill func(emit func(record []byte) error) error) (err error) {
	j.mu.Lock()
	n := j.seq
	j.mu.Unlock()
	f, err := os.Create(j.path("snapshot", n) + ".tmp")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("journal: %w", err), f.Close(), os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(magic); err != nil {
		return err
	}
	var buf []byte
	err = fill(func(record []byte) error {
		if len(record) > MaxRecord {
			return fmt.Errorf("a record of %d bytes, %d are possible", len(record), MaxRecord)
		}
		buf = appendRecord(buf[:0], record)
		_, err := w.Write(buf)
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return err
	}
	failpoint.Reached("journal.snapshot")
	if err := os.Rename(f.Name(), j.path("snapshot", n)); err != nil {
		return err
	}
	failpoint.Reached("journal.snapshot-named")
	// The name must be on the disk before the files that it replaces are not.
	if err := syncDir(j.dir); err != nil {
		return err
	}
	found, err := list(j.dir)
	if err != nil {
		return err
	}
	for _, name := range found.done {
		if err := os.Remove(filepath.Join(j.dir, name)); err != nil {
			return err
		}
		failpoint.Reached("journal.removed")
	}
	return f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sync makes what was appended before it outlive a power failure. Records are appended
// meanwhile.
func (j *Journal) Sync() error {
	j.mu.Lock()
	err := j.write()
	file, size := j.file, j.size
	same := file == j.syncedFile && size == j.synced
	j.mu.Unlock()
	if err != nil || same {
		return err
	}
	if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) { // a turn closes it
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	j.syncedFile, j.synced = file, size
	j.mu.Unlock()
	return nil
}

// Close ends the journal.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	return errors.Join(j.Flush(), j.file.Close(), j.lock.Close())
}
