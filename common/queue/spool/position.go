package spool

import (
	"encoding/binary"
	"hash/crc32"
	"os"

	"golang.org/x/sys/unix"
)

const slotSize = 32 // generation u64, file u64, offset u64, CRC-32C u32, 4 spare

// positionFile remembers how far the reader has committed. Its two slots are
// written in turn, so that a torn write leaves the one before it.
type positionFile struct {
	f   *os.File
	gen uint64
	at  place
}

func openPosition(path string) (*positionFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	p := &positionFile{f: f}
	for slot := range int64(2) {
		var b [slotSize]byte
		if _, err := f.ReadAt(b[:], slot*slotSize); err != nil {
			continue // not written yet
		}
		gen := binary.LittleEndian.Uint64(b[:])
		if crc32.Checksum(b[:24], castagnoli) != binary.LittleEndian.Uint32(b[24:]) || gen <= p.gen {
			continue
		}
		p.gen = gen
		p.at = place{binary.LittleEndian.Uint64(b[8:]), int64(binary.LittleEndian.Uint64(b[16:]))}
	}
	return p, nil
}

func (p *positionFile) write(at place) error {
	var b [slotSize]byte
	binary.LittleEndian.PutUint64(b[:], p.gen+1)
	binary.LittleEndian.PutUint64(b[8:], at.file)
	binary.LittleEndian.PutUint64(b[16:], uint64(at.offset))
	binary.LittleEndian.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
	if _, err := p.f.WriteAt(b[:], int64((p.gen+1)%2)*slotSize); err != nil {
		return err
	}
	p.gen++
	p.at = at
	return nil
}

func (p *positionFile) sync() error { return unix.Fdatasync(int(p.f.Fd())) }
