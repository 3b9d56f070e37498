package record

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
)

// A Type tells what a record says.
type Type uint8

// Types of records. They are on disk: never renumber.
const (
	Points  Type = 1
	Late    Type = 2
	Put     Type = 3
	Del     Type = 4
	Current Type = 6
)

// HeaderLen is the length of a frame before its payload.
const HeaderLen = 9

// MaxLen bounds type and payload of one record.
const MaxLen = 1 << 26

// ErrCorrupt says that a payload is not what this package wrote.
var ErrCorrupt = errors.New("record: corrupt payload")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Begin appends the header of a record to dst; its payload is appended next, and
// End is called with the offset at which Begin was.
func Begin(dst []byte, t Type) []byte {
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0, byte(t))
}

// End completes the record that begins at off and ends with b.
func End(b []byte, off int) []byte {
	r := b[off:]
	binary.LittleEndian.PutUint32(r, uint32(len(r)-8))
	binary.LittleEndian.PutUint32(r[4:], crc32.Checksum(r[8:], castagnoli))
	return b
}

// A Scanner reads the records of a file one after the other. A damaged record is
// skipped and counted when a whole one follows it; what is behind the last whole
// record is the tail, which a crash leaves in the newest file.
type Scanner struct {
	b   []byte
	off int
	// Bad counts damaged records, each of which may hide many points.
	Bad int
}

// NewScanner reads the records in b, which begin at offset off.
func NewScanner(b []byte, off int) *Scanner { return &Scanner{b: b, off: min(off, len(b))} }

// Next returns the next whole record; the payload is part of the file. It
// answers false at the end or before a torn tail.
func (s *Scanner) Next() (Type, []byte, bool) {
	for off, bad := s.off, 0; ; bad++ {
		n, ok := frame(s.b[off:])
		if n == 0 {
			return 0, nil, false
		}
		r := s.b[off : off+n]
		off += n
		if ok {
			s.off = off
			s.Bad += bad
			return Type(r[8]), r[HeaderLen:], true
		}
	}
}

// Offset is where the whole records end that Next has returned.
func (s *Scanner) Offset() int { return s.off }

// Tail is the number of bytes behind Offset.
func (s *Scanner) Tail() int { return len(s.b) - s.off }

// frame returns the length of the record that b begins with and whether its sum
// is right; 0 when its length can not be.
func frame(b []byte) (n int, ok bool) {
	if len(b) < HeaderLen {
		return 0, false
	}
	l := binary.LittleEndian.Uint32(b)
	if l == 0 || l > MaxLen || int(l) > len(b)-8 {
		return 0, false
	}
	n = 8 + int(l)
	return n, crc32.Checksum(b[8:n], castagnoli) == binary.LittleEndian.Uint32(b[4:])
}

// A Series is what a put record says about one incarnation of a series.
type Series struct {
	Shard     uint8
	ID        uint32
	Type      uint8 // the engine's code of GAUGE or DERIVE
	Current   bool  // the one that a lookup by name finds
	Born      uint32
	BornWin   uint32 // windows before it belong to an earlier owner of the id
	Since     uint32 // Unix time since which it is the current one
	Step      uint32
	Heartbeat uint32
	Min, Max  float64 // NaN for none
	Endpoint  []byte
	Counter   []byte
}

const (
	seriesFixed   = 33
	flagCurrent   = 1 << 0
	flagHasBounds = 1 << 1
)

// AppendSeries appends the payload of a put record.
func AppendSeries(dst []byte, s *Series) []byte {
	var flags byte
	if s.Current {
		flags |= flagCurrent
	}
	bounds := s.Min == s.Min || s.Max == s.Max
	if bounds {
		flags |= flagHasBounds
	}
	dst = append(dst, s.Shard, s.Type, flags)
	le := binary.LittleEndian
	for _, u := range [...]uint32{s.ID, s.Born, s.BornWin, s.Since, s.Step, s.Heartbeat} {
		dst = le.AppendUint32(dst, u)
	}
	dst = le.AppendUint16(dst, uint16(len(s.Endpoint)))
	dst = le.AppendUint16(dst, uint16(len(s.Counter)))
	dst = append(dst, 0, 0) // reserved
	if bounds {
		dst = le.AppendUint64(dst, math.Float64bits(s.Min))
		dst = le.AppendUint64(dst, math.Float64bits(s.Max))
	}
	dst = append(dst, s.Endpoint...)
	return append(dst, s.Counter...)
}

// ParseSeries reads the payload of a put record. Endpoint and Counter are parts
// of p.
func ParseSeries(p []byte, s *Series) error {
	if len(p) < seriesFixed {
		return ErrCorrupt
	}
	le := binary.LittleEndian
	s.Shard, s.Type, s.Current = p[0], p[1], p[2]&flagCurrent != 0
	flags := p[2]
	for i, u := range [...]*uint32{&s.ID, &s.Born, &s.BornWin, &s.Since, &s.Step, &s.Heartbeat} {
		*u = le.Uint32(p[3+4*i:])
	}
	ne, nc := int(le.Uint16(p[27:])), int(le.Uint16(p[29:]))
	p = p[seriesFixed:]
	s.Min, s.Max = math.NaN(), math.NaN()
	if flags&flagHasBounds != 0 {
		if len(p) < 16 {
			return ErrCorrupt
		}
		s.Min = math.Float64frombits(le.Uint64(p))
		s.Max = math.Float64frombits(le.Uint64(p[8:]))
		p = p[16:]
	}
	if len(p) != ne+nc || s.Step == 0 {
		return ErrCorrupt
	}
	s.Endpoint, s.Counter = p[:ne], p[ne:]
	return nil
}

// AppendDel appends the payload of a del record.
func AppendDel(dst []byte, shard uint8, id uint32) []byte {
	return binary.LittleEndian.AppendUint32(append(dst, shard), id)
}

// ParseDel reads the payload of a del record.
func ParseDel(p []byte) (shard uint8, id uint32, err error) {
	if len(p) != 5 {
		return 0, 0, ErrCorrupt
	}
	return p[0], binary.LittleEndian.Uint32(p[1:]), nil
}

// AppendCurrent appends the payload of a current record.
func AppendCurrent(dst []byte, shard uint8, id, since uint32) []byte {
	return binary.LittleEndian.AppendUint32(AppendDel(dst, shard, id), since)
}

// ParseCurrent reads the payload of a current record.
func ParseCurrent(p []byte) (shard uint8, id, since uint32, err error) {
	if len(p) != 9 {
		return 0, 0, 0, ErrCorrupt
	}
	return p[0], binary.LittleEndian.Uint32(p[1:]), binary.LittleEndian.Uint32(p[5:]), nil
}
