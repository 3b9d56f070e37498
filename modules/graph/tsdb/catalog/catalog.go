// Package catalog is the file that says which series exist: catalog-00000001, a
// 16 byte header (FGCT, version u16, 2 zero bytes, number u64) and the put, del
// and current records of package record.
//
// It is appended to and synced before log files are removed, so that it and the
// log together always know every series, and written anew under the next number
// when more than a third of it is dead.
package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"falcon/common/failpoint"
	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/vfs"
)

const (
	magic     = "FGCT"
	version   = 1
	headerLen = 16
	prefix    = "catalog-"
)

// Name returns the name of catalog n.
func Name(n uint64) string { return fmt.Sprintf("%s%08d", prefix, n) }

// ParseName undoes Name.
func ParseName(name string) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || len(digits) < 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// A Catalog is open for appending. It is not for use from several goroutines.
type Catalog struct {
	fs   vfs.FS
	dir  string
	n    uint64
	f    vfs.File
	size int64
}

// Scan calls visit for each record in the bytes of a catalog. It returns the
// offset behind the last whole record and how many damaged ones it skipped.
func Scan(b []byte, visit func(t record.Type, payload []byte) error) (end, bad int, err error) {
	switch {
	case len(b) < headerLen || string(b[:4]) != magic:
		return 0, 0, errors.New("this is no catalog")
	case binary.LittleEndian.Uint16(b[4:]) != version:
		return 0, 0, fmt.Errorf("catalog version %d is unknown to this release", binary.LittleEndian.Uint16(b[4:]))
	}
	s := record.NewScanner(b, headerLen)
	for {
		t, p, ok := s.Next()
		if !ok {
			return s.Offset(), s.Bad, nil
		}
		if err := visit(t, p); err != nil {
			return s.Offset(), s.Bad, err
		}
	}
}

// Open continues catalog n, whose whole records end at offset end, or begins it
// when end is 0. A torn tail is cut off: its records are in the log too.
func Open(fs vfs.FS, dir string, n uint64, end, size int64) (*Catalog, error) {
	c := &Catalog{fs: fs, dir: dir, n: n}
	path := filepath.Join(dir, Name(n))
	if end == 0 {
		return c, c.write(n, nil)
	}
	if end < size {
		if err := fs.Truncate(path, end); err != nil {
			return nil, fmt.Errorf("cut torn catalog: %w", err)
		}
	}
	f, err := fs.Append(path)
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	c.f, c.size = f, end
	return c, nil
}

// Size is the length of the file.
func (c *Catalog) Size() int64 { return c.size }

// Append adds whole records and returns when they are on the disk.
func (c *Catalog) Append(recs []byte) error {
	if len(recs) == 0 {
		return nil
	}
	if _, err := c.f.Write(recs); err != nil {
		return fmt.Errorf("write catalog: %w", err)
	}
	if err := c.f.Sync(); err != nil {
		return fmt.Errorf("sync catalog: %w", err)
	}
	c.size += int64(len(recs))
	return nil
}

// Rewrite replaces the file by one that holds just the records that fill writes,
// under the next number.
func (c *Catalog) Rewrite(fill func(add func(recs []byte) error) error) error {
	old, oldFile := c.n, c.f
	if err := c.write(c.n+1, fill); err != nil {
		return err
	}
	failpoint.Reached("graph.catalog-named")
	err := oldFile.Close()
	return errors.Join(err, c.fs.Remove(filepath.Join(c.dir, Name(old))))
}

// write makes catalog n beside the old one and moves it into place.
func (c *Catalog) write(n uint64, fill func(add func([]byte) error) error) error {
	path := filepath.Join(c.dir, Name(n))
	tmp := path + ".tmp"
	f, err := c.fs.Create(tmp)
	if err != nil {
		return fmt.Errorf("begin catalog: %w", err)
	}
	size := int64(0)
	add := func(b []byte) error {
		_, err := f.Write(b)
		size += int64(len(b))
		return err
	}
	h := append([]byte(magic), version, 0, 0, 0)
	err = add(binary.LittleEndian.AppendUint64(h, n))
	if err == nil && fill != nil {
		err = fill(add)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		failpoint.Reached("graph.catalog")
		err = c.fs.Rename(tmp, path)
	}
	if err == nil {
		err = c.fs.SyncDir(c.dir)
	}
	if err != nil {
		_ = f.Close()
		_ = c.fs.Remove(tmp)
		return fmt.Errorf("write catalog %d: %w", n, err)
	}
	c.n, c.f, c.size = n, f, size
	return nil
}

// Close closes the file.
func (c *Catalog) Close() error { return c.f.Close() }
