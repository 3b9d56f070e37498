package segment

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"falcon/common/failpoint"
	"falcon/modules/graph/tsdb/vfs"
)

const (
	magic     = "FGSEG"
	version   = 1
	headerLen = 32
	footerLen = 16
	footMagic = "GESF"
	chunkHead = 4
	// MaxChunk bounds the body of a chunk. The longest there is, 3600 noisy
	// floats, has 30 KB.
	MaxChunk = math.MaxUint16
	// TmpSuffix marks a file that is being written.
	TmpSuffix = ".tmp"
	// BadSuffix marks a file that was set aside because it is damaged.
	BadSuffix = ".bad"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Header says what a segment holds.
type Header struct {
	Tier    uint8
	T0, T1  uint32 // Unix seconds; the span is (T0, T1]
	Bin     uint32 // seconds; 0 in tier 0, where each series has its own step
	Shards  uint16
	Created uint32
}

// Name returns the name of the first file of a tier and span, without overlays.
func Name(tier uint8, t0 uint32) string { return fmt.Sprintf("seg-%d-%010d", tier, t0) }

// OverlayName returns the name of overlay n, 1 or more, of a tier and span.
func OverlayName(tier uint8, t0 uint32, n int) string {
	return fmt.Sprintf("%s.%d", Name(tier, t0), n)
}

// ParseName undoes Name and, for overlays (n > 0), OverlayName.
func ParseName(name string) (tier uint8, t0 uint32, n int, ok bool) {
	rest, ok := strings.CutPrefix(name, "seg-")
	if !ok {
		return 0, 0, 0, false
	}
	ts, rest, ok := strings.Cut(rest, "-")
	if !ok {
		return 0, 0, 0, false
	}
	start, ns, overlay := strings.Cut(rest, ".")
	t, err1 := strconv.ParseUint(ts, 10, 8)
	s, err2 := strconv.ParseUint(start, 10, 32)
	var err3 error
	if overlay {
		n, err3 = strconv.Atoi(ns)
	}
	ok = err1 == nil && err2 == nil && err3 == nil && (!overlay || n > 0)
	return uint8(t), uint32(s), n, ok
}

// A Writer writes one segment. Shards are written in their order, and the chunks
// of a shard in ascending order of their ids.
type Writer struct {
	fs    vfs.FS
	path  string
	f     vfs.File
	w     *bufio.Writer
	off   uint64
	base  uint64
	index []byte
	ids   []uint32 // offsets of the current shard
	open  bool
}

// Create begins the file name in dir.
func Create(fs vfs.FS, dir, name string, h Header) (*Writer, error) {
	w := &Writer{fs: fs, path: filepath.Join(dir, name)}
	f, err := fs.Create(w.path + TmpSuffix)
	if err != nil {
		return nil, fmt.Errorf("begin segment: %w", err)
	}
	w.f, w.w = f, bufio.NewWriterSize(f, 1<<18)
	le := binary.LittleEndian
	b := append([]byte(magic), version, h.Tier, 0)
	for _, u := range [...]uint32{h.T0, h.T1, h.Bin} {
		b = le.AppendUint32(b, u)
	}
	b = le.AppendUint16(b, h.Shards)
	b = append(b, 0, 0)
	b = le.AppendUint32(b, h.Created)
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, _ = w.w.Write(b) // bufio keeps the error for Flush
	w.off = headerLen
	return w, nil
}

// Shard begins the next shard, whose ids are below n.
func (w *Writer) Shard(n int) {
	w.endShard()
	w.open = true
	w.base = w.off - 1 // so that the first chunk is at 1
	w.ids = append(w.ids[:0], make([]uint32, n)...)
}

func (w *Writer) endShard() {
	if !w.open {
		return
	}
	w.open = false
	n := len(w.ids)
	for n > 0 && w.ids[n-1] == 0 {
		n--
	}
	le := binary.LittleEndian
	w.index = le.AppendUint64(w.index, w.base)
	w.index = le.AppendUint32(w.index, uint32(n))
	for _, o := range w.ids[:n] {
		w.index = le.AppendUint32(w.index, o)
	}
}

// Add writes the chunk of a series of the current shard.
func (w *Writer) Add(id uint32, body []byte) error {
	rel := w.off - w.base
	if len(body) > MaxChunk || rel > math.MaxUint32 || int(id) >= len(w.ids) {
		return fmt.Errorf("segment %q has no room for series %d: %d bytes at offset %d of its shard", w.path, id, len(body), rel)
	}
	var h [chunkHead]byte
	binary.LittleEndian.PutUint16(h[:], uint16(len(body)))
	binary.LittleEndian.PutUint16(h[2:], uint16(crc32.Checksum(body, castagnoli)))
	_, _ = w.w.Write(h[:])
	if _, err := w.w.Write(body); err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	w.ids[id] = uint32(rel)
	w.off += chunkHead + uint64(len(body))
	return nil
}

// Commit writes the index, and returns when the file stands whole under its name
// on the disk. On an error nothing is left of it.
func (w *Writer) Commit() error {
	w.endShard()
	le := binary.LittleEndian
	_, _ = w.w.Write(w.index)
	b := le.AppendUint64(nil, w.off)
	b = le.AppendUint32(b, crc32.Checksum(w.index, castagnoli))
	_, _ = w.w.Write(append(b, footMagic...))
	err := w.w.Flush()
	if err == nil {
		err = w.f.Sync()
	}
	err = errors.Join(err, w.f.Close())
	w.f = nil
	if err == nil {
		failpoint.Reached("graph.segment")
		err = w.fs.Rename(w.path+TmpSuffix, w.path)
	}
	if err == nil {
		err = w.fs.SyncDir(filepath.Dir(w.path))
	}
	if err != nil {
		w.Abort()
		return fmt.Errorf("write segment %q: %w", w.path, err)
	}
	return nil
}

// Abort removes what was written.
func (w *Writer) Abort() {
	if w.f != nil {
		_ = w.f.Close()
		w.f = nil
	}
	_ = w.fs.Remove(w.path + TmpSuffix)
}
