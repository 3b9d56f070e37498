// Package journal is an append-only file of records with a snapshot now and then: what
// a judge has taken and told, so that a kill loses nothing that was acknowledged.
//
// A batch is one write, without a sync: it outlives the process, and a power failure
// may take the last second. A record that a crash tore off at the end is dropped; one
// that is damaged in the middle is skipped and counted. Rewrite replaces the file by
// what is worth keeping of it.
//
// The file is journal-<n>: a magic of five bytes, the last of which is the version, and
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
	"strconv"
	"strings"
)

var (
	magic = []byte{'F', 'J', 'R', 'N', 1}
	table = crc32.MakeTable(crc32.Castagnoli)
)

const (
	headSize = 8
	// MaxRecord bounds a record, so that a damaged length is not believed.
	MaxRecord = 16 << 20
)

// A Journal takes records. It is not for use by several goroutines at once.
type Journal struct {
	dir  string
	seq  int
	file *os.File
	size int64
	buf  []byte

	// Damaged counts the records that were skipped when it was opened, Torn the bytes
	// that were cut off its end.
	Damaged int
	Torn    int64
}

// Open reads the newest journal in dir, handing each record to replay in order, and
// continues it; a folder without one gets one. The record is replay's until it
// returns. Files of rewrites that a crash cut short are removed.
func Open(dir string, replay func(record []byte) error) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	newest, others, err := files(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{dir: dir, seq: newest}
	if newest == 0 {
		if err := j.create(1, func(func([]byte) error) error { return nil }); err != nil {
			return nil, err
		}
	} else if err := j.recover(replay); err != nil {
		return nil, err
	}
	for _, name := range others {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return nil, errors.Join(fmt.Errorf("journal: %w", err), j.Close())
		}
	}
	return j, nil
}

// files returns the newest journal's number, 0 for none, and the names of all other
// files that are the journal's.
func files(dir string) (newest int, others []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, nil, err
	}
	names := map[int]string{}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), "journal-")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(rest)
		if err != nil || n <= 0 {
			others = append(others, e.Name()) // a rewrite that was not finished
			continue
		}
		names[n] = e.Name()
		newest = max(newest, n)
	}
	for n, name := range names {
		if n != newest {
			others = append(others, name)
		}
	}
	return newest, others, nil
}

func (j *Journal) path(seq int) string { return filepath.Join(j.dir, "journal-"+strconv.Itoa(seq)) }

// recover replays the file and cuts off what a crash left at its end.
func (j *Journal) recover(replay func([]byte) error) error {
	f, err := os.OpenFile(j.path(j.seq), os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	good, err := j.scan(f, replay)
	if err == nil {
		var end int64
		if end, err = f.Seek(0, io.SeekEnd); err == nil && end > good {
			j.Torn = end - good
			err = f.Truncate(good)
		}
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("journal %s: %w", f.Name(), err), f.Close())
	}
	j.file, j.size = f, good
	return nil
}

// scan returns where the last whole record ends.
func (j *Journal) scan(f *os.File, replay func([]byte) error) (good int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, max(len(magic), headSize))
	if _, err := io.ReadFull(r, head[:len(magic)]); err != nil || string(head[:len(magic)]) != string(magic) {
		return 0, fmt.Errorf("it is not a journal of this release (it begins with %q): move it away to start without", head[:len(magic)])
	}
	good = int64(len(magic))
	var record []byte
	for {
		if _, err := io.ReadFull(r, head[:headSize]); err != nil {
			return good, nil // the end, or a torn head
		}
		n, sum := int64(binary.LittleEndian.Uint32(head)), binary.LittleEndian.Uint32(head[4:])
		if n > MaxRecord || good+headSize+n > info.Size() {
			return good, nil // torn, or a length that nobody wrote
		}
		if int64(cap(record)) < n {
			record = make([]byte, n)
		}
		record = record[:n]
		if _, err := io.ReadFull(r, record); err != nil {
			return good, err
		}
		good += headSize + n
		if crc32.Checksum(record, table) != sum {
			j.Damaged++
			continue
		}
		if err := replay(record); err != nil {
			return good, err
		}
	}
}

func appendRecord(dst, record []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(record)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(record, table))
	return append(dst, record...)
}

// Append writes records with one call. After an error none of them is there.
func (j *Journal) Append(records ...[]byte) error {
	j.buf = j.buf[:0]
	for _, r := range records {
		if len(r) > MaxRecord {
			return fmt.Errorf("journal: a record of %d bytes, %d are possible", len(r), MaxRecord)
		}
		j.buf = appendRecord(j.buf, r)
	}
	n, err := j.file.Write(j.buf)
	if err == nil {
		j.size += int64(n)
		return nil
	}
	// What was written of it must not be followed by anything.
	if terr := j.file.Truncate(j.size); terr != nil {
		return errors.Join(fmt.Errorf("journal: %w", err), terr)
	}
	_, serr := j.file.Seek(j.size, io.SeekStart)
	return errors.Join(fmt.Errorf("journal: %w", err), serr)
}

// Size returns how large the file is, in bytes.
func (j *Journal) Size() int64 { return j.size }

// Rewrite replaces all records by those that fill emits. A crash in the middle leaves
// the old ones, an error, too.
func (j *Journal) Rewrite(fill func(emit func(record []byte) error) error) error {
	old := j.file
	if err := j.create(j.seq+1, fill); err != nil {
		return err
	}
	return errors.Join(old.Close(), os.Remove(j.path(j.seq-1)))
}

// create makes the file of seq with what fill emits and continues it.
func (j *Journal) create(seq int, fill func(emit func([]byte) error) error) (err error) {
	f, err := os.Create(j.path(seq) + ".tmp")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("journal: %w", err), f.Close(), os.Remove(f.Name()))
		}
	}()
	w, size := bufio.NewWriterSize(f, 1<<20), int64(len(magic))
	if _, err := w.Write(magic); err != nil {
		return err
	}
	err = fill(func(record []byte) error {
		if len(record) > MaxRecord {
			return fmt.Errorf("a record of %d bytes, %d are possible", len(record), MaxRecord)
		}
		j.buf = appendRecord(j.buf[:0], record)
		size += int64(len(j.buf))
		_, err := w.Write(j.buf)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), j.path(seq)); err != nil {
		return err
	}
	j.file, j.seq, j.size = f, seq, size
	return nil
}

// Sync makes what was appended outlive a power failure.
func (j *Journal) Sync() error { return j.file.Sync() }

// Close ends the journal.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
