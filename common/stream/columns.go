package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A Handle names a series in one Sender, for as long as the Sender lives.
type Handle uint32

// A Point is one value of a series on its way out.
type Point struct {
	Handle Handle
	Time   int64 // Unix seconds
	Value  float64
	Text   string // of a series whose values are strings; Value is then not used
}

// Points are the columns of a push as a receiver sees them. Point i has Refs[i] and
// Times[i]; its value is Values[i], or Texts[i-len(Values)] behind the last of
// Values.
type Points struct {
	Refs   []uint32
	Times  []int64 // Unix seconds
	Values []float64
	// Texts are pieces of one allocation: clone what is kept for long.
	Texts []string
}

// Len returns the number of points.
func (p *Points) Len() int { return len(p.Refs) }

// reset empties p and keeps its memory, unless it is out of proportion.
func (p *Points) reset() {
	const keep = 1 << 18 // points
	if cap(p.Refs) > keep {
		*p = Points{}
		return
	}
	clear(p.Texts)
	p.Refs, p.Times, p.Values, p.Texts = p.Refs[:0], p.Times[:0], p.Values[:0], p.Texts[:0]
}

// columns are the encoded form of Points.
type columns struct {
	base                       int64
	refs, times, values, texts []byte
}

func (c *columns) reset() {
	c.base = 0
	c.refs, c.times, c.values, c.texts = c.refs[:0], c.times[:0], c.values[:0], c.texts[:0]
}

// size is what counts against the window.
func (c *columns) size() int { return len(c.refs) + len(c.times) + len(c.values) + len(c.texts) }

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendZigzag is binary.AppendVarint with the short forms, which nearly all are,
// inlined.
func appendZigzag(dst []byte, v int64) []byte {
	u := zigzag(v)
	if u < 0x80 {
		return append(dst, byte(u))
	}
	if u < 0x4000 {
		return append(dst, byte(u)|0x80, byte(u>>7))
	}
	return binary.AppendUvarint(dst, u)
}

var (
	errColumn  = errors.New("broken column")
	errTooMany = errors.New("too many points in one push")
)

// decode appends the points of c to p, at most limit of them. It allocates in
// proportion to the bytes it is given, whatever they claim.
func (c *columns) decode(p *Points, limit int) error {
	if len(c.values)%8 != 0 {
		return fmt.Errorf("%w: values have %d bytes", errColumn, len(c.values))
	}
	ref, b := int64(0), c.refs
	for len(b) > 0 {
		u := uint64(b[0])
		if u < 0x80 {
			b = b[1:]
		} else {
			n := 0
			if u, n = binary.Uvarint(b); n <= 0 {
				return fmt.Errorf("%w: refs end inside a number", errColumn)
			}
			b = b[n:]
		}
		ref += unzigzag(u)
		if ref < 0 || ref > math.MaxUint32 {
			return fmt.Errorf("%w: ref %d", errColumn, ref)
		}
		if len(p.Refs) >= limit {
			return fmt.Errorf("%w: more than %d", errTooMany, limit)
		}
		p.Refs = append(p.Refs, uint32(ref))
	}
	n := len(p.Refs)
	b = c.times
	for len(b) > 0 {
		u := uint64(b[0])
		if u < 0x80 {
			b = b[1:]
		} else {
			m := 0
			if u, m = binary.Uvarint(b); m <= 0 {
				return fmt.Errorf("%w: times end inside a number", errColumn)
			}
			b = b[m:]
		}
		if len(p.Times) == n {
			return fmt.Errorf("%w: more times than refs", errColumn)
		}
		p.Times = append(p.Times, c.base+unzigzag(u))
	}
	numbers := len(c.values) / 8
	if len(p.Times) != n || numbers > n {
		return fmt.Errorf("%w: %d refs, %d times, %d values", errColumn, n, len(p.Times), numbers)
	}
	for b = c.values; len(b) >= 8; b = b[8:] {
		p.Values = append(p.Values, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return decodeTexts(p, c.texts, n-numbers)
}

// decodeTexts reads exactly n strings.
func decodeTexts(p *Points, b []byte, n int) error {
	if n > len(b) || n == 0 && len(b) > 0 {
		return fmt.Errorf("%w: %d bytes for %d texts", errColumn, len(b), n)
	}
	if n == 0 {
		return nil
	}
	all := string(b)
	for range n {
		l, m := binary.Uvarint(b)
		if m <= 0 || l > uint64(len(b)-m) {
			return fmt.Errorf("%w: texts end inside a string", errColumn)
		}
		b = b[m:]
		at := len(all) - len(b)
		p.Texts = append(p.Texts, all[at:at+int(l)])
		b = b[l:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %d bytes behind the last text", errColumn, len(b))
	}
	return nil
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
