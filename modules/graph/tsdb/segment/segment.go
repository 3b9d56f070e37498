package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"sync/atomic"

	"falcon/modules/graph/tsdb/vfs"
)

var (
	// ErrCorrupt says that a file, or one chunk of it, is damaged.
	ErrCorrupt = errors.New("segment is damaged")
	// ErrVersion says that a file is of a version that this release can not read.
	ErrVersion = errors.New("segment version is unknown to this release")
)

// A Segment is a mapped file. It lives while somebody holds it: whoever got it
// from a list acquires it before that list can change, and releases it.
type Segment struct {
	Header
	Name    string
	Overlay int // its number; 0 for the first file of the span

	fs     vfs.FS
	path   string
	b      []byte
	index  []shardIndex
	refs   atomic.Int64
	doomed atomic.Bool
}

type shardIndex struct {
	base    uint64
	offsets []byte
}

// Open maps and checks a segment. The caller holds it.
func Open(fs vfs.FS, dir, name string) (*Segment, error) {
	path := filepath.Join(dir, name)
	b, err := fs.Map(path, true)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	g, err := Parse(b)
	if err != nil {
		_ = fs.Unmap(b)
		return nil, fmt.Errorf("open segment %q: %w", path, err)
	}
	g.Name, g.fs, g.path = name, fs, path
	_, _, g.Overlay, _ = ParseName(name)
	return g, nil
}

// Parse reads a segment from memory. The caller holds it.
func Parse(b []byte) (*Segment, error) {
	le := binary.LittleEndian
	if len(b) < headerLen || string(b[:5]) != magic {
		return nil, ErrCorrupt
	}
	if b[5] != version {
		return nil, fmt.Errorf("%w: %d", ErrVersion, b[5])
	}
	if len(b) < headerLen+footerLen || le.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return nil, ErrCorrupt
	}
	g := &Segment{b: b, Header: Header{
		Tier: b[6], T0: le.Uint32(b[8:]), T1: le.Uint32(b[12:]), Bin: le.Uint32(b[16:]),
		Shards: le.Uint16(b[20:]), Created: le.Uint32(b[24:]),
	}}
	foot := b[len(b)-footerLen:]
	off := le.Uint64(foot)
	if string(foot[12:]) != footMagic || off < headerLen || off > uint64(len(b)-footerLen) || g.T1 <= g.T0 {
		return nil, ErrCorrupt
	}
	ix := b[off : len(b)-footerLen]
	if crc32.Checksum(ix, castagnoli) != le.Uint32(foot[8:]) {
		return nil, ErrCorrupt
	}
	for len(ix) > 0 {
		if len(ix) < 12 || len(g.index) == int(g.Shards) {
			return nil, ErrCorrupt
		}
		base, n := le.Uint64(ix), uint64(le.Uint32(ix[8:]))
		ix = ix[12:]
		if 4*n > uint64(len(ix)) || base > off {
			return nil, ErrCorrupt
		}
		g.index = append(g.index, shardIndex{base, ix[:4*n]})
		ix = ix[4*n:]
	}
	g.refs.Store(1)
	return g, nil
}

// Has tells whether the series has a chunk.
func (g *Segment) Has(shard int, id uint32) bool { return g.offset(shard, id) != 0 }

// Len returns how many ids the index of a shard covers.
func (g *Segment) Len(shard int) int {
	if shard >= len(g.index) {
		return 0
	}
	return len(g.index[shard].offsets) / 4
}

func (g *Segment) offset(shard int, id uint32) uint32 {
	if shard >= len(g.index) {
		return 0
	}
	ix := g.index[shard].offsets
	if uint64(id)*4 >= uint64(len(ix)) {
		return 0
	}
	return binary.LittleEndian.Uint32(ix[4*id:])
}

// Chunk returns the body of a series' chunk, nil when it has none, and
// ErrCorrupt when it is damaged. The bytes are valid while the segment is held.
func (g *Segment) Chunk(shard int, id uint32) ([]byte, error) {
	rel := g.offset(shard, id)
	if rel == 0 {
		return nil, nil
	}
	off := g.index[shard].base + uint64(rel)
	if off+chunkHead > uint64(len(g.b)) {
		return nil, ErrCorrupt
	}
	n := uint64(binary.LittleEndian.Uint16(g.b[off:]))
	sum := binary.LittleEndian.Uint16(g.b[off+2:])
	off += chunkHead
	if off+n > uint64(len(g.b)) {
		return nil, ErrCorrupt
	}
	body := g.b[off : off+n]
	if uint16(crc32.Checksum(body, castagnoli)) != sum {
		return nil, ErrCorrupt
	}
	return body, nil
}

// Size is the length of the file.
func (g *Segment) Size() int64 { return int64(len(g.b)) }

// Acquire holds the segment once more. The caller knows that it is held.
func (g *Segment) Acquire() { g.refs.Add(1) }

// Release lets go of it; the last one to do so unmaps it, and removes the file
// when it is doomed.
func (g *Segment) Release() error {
	if g.refs.Add(-1) > 0 {
		return nil
	}
	if g.fs == nil {
		return nil
	}
	err := g.fs.Unmap(g.b)
	if g.doomed.Load() {
		err = errors.Join(err, g.fs.Remove(g.path))
	}
	return err
}

// Doom has the file removed when the last reader is done.
func (g *Segment) Doom() { g.doomed.Store(true) }
