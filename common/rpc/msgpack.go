package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"

	"github.com/ugorji/go/codec"
)

const maxMsgpackDepth = 64

var errMsgpack = errors.New("broken msgpack")

// A mpScan finds the end of one msgpack value in bytes that arrive piece by piece.
// It never looks at a byte twice, and its depth is bounded, so that what has
// passed it can be given to a recursive decoder.
type mpScan struct {
	pos  int // all before it is understood
	skip int // so many bytes of payload follow at pos
	// left counts the values still to come at each level of nesting; a map of n
	// has 2n.
	left  [maxMsgpackDepth]uint64
	depth int
	max   int
}

// from starts a new value at offset pos; a message has at most limit bytes.
func (s *mpScan) from(pos, limit int) {
	s.pos, s.skip, s.depth, s.max = pos, 0, 0, limit
}

// run continues with b, the whole message so far, and reports whether the value is
// complete; then pos is its end.
func (s *mpScan) run(b []byte) (done bool, err error) {
	for {
		if s.skip > 0 {
			n := min(s.skip, len(b)-s.pos)
			s.pos += n
			s.skip -= n
			if s.skip > 0 {
				return false, nil
			}
			if s.valueEnds() {
				return true, nil
			}
		}
		if s.pos >= len(b) {
			return false, nil
		}
		head, payload, values, ok := mpShape(b[s.pos:])
		switch {
		case !ok:
			return false, errMsgpack
		case head == 0:
			return false, nil
		case payload > uint64(s.max):
			return false, ErrTooLarge
		}
		s.pos += head
		switch {
		case values > 0:
			if s.depth == maxMsgpackDepth {
				return false, fmt.Errorf("%w: nested deeper than %d", errMsgpack, maxMsgpackDepth)
			}
			s.left[s.depth] = values
			s.depth++
		case payload > 0:
			s.skip = int(payload)
		default:
			if s.valueEnds() {
				return true, nil
			}
		}
	}
}

// valueEnds leaves the containers that the value just ended was the last of, and
// reports whether none is left.
func (s *mpScan) valueEnds() bool {
	for s.depth > 0 {
		if s.left[s.depth-1]--; s.left[s.depth-1] > 0 {
			return false
		}
		s.depth--
	}
	return true
}

// mpShape reads the head of a value: its length, how many bytes of payload follow,
// or how many values. head is 0 when b is too short to tell.
func mpShape(b []byte) (head int, payload, values uint64, ok bool) {
	length := func(n int) (uint64, bool) {
		if len(b) < 1+n {
			return 0, false
		}
		switch n {
		case 1:
			return uint64(b[1]), true
		case 2:
			return uint64(binary.BigEndian.Uint16(b[1:])), true
		}
		return uint64(binary.BigEndian.Uint32(b[1:])), true
	}
	c := b[0]
	switch {
	case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3:
		return 1, 0, 0, true
	case c <= 0x8f:
		return 1, 0, 2 * uint64(c&0x0f), true
	case c <= 0x9f:
		return 1, 0, uint64(c & 0x0f), true
	case c <= 0xbf:
		return 1, uint64(c & 0x1f), 0, true
	case c >= 0xc4 && c <= 0xc6: // bin
		n := 1 << (c - 0xc4)
		if l, ok := length(n); ok {
			return 1 + n, l, 0, true
		}
		return 0, 0, 0, true
	case c >= 0xc7 && c <= 0xc9: // ext: one byte of type more
		n := 1 << (c - 0xc7)
		if l, ok := length(n); ok {
			return 1 + n, l + 1, 0, true
		}
		return 0, 0, 0, true
	case c == 0xca, c == 0xce, c == 0xd2:
		return 1, 4, 0, true
	case c == 0xcb, c == 0xcf, c == 0xd3:
		return 1, 8, 0, true
	case c == 0xcc, c == 0xd0:
		return 1, 1, 0, true
	case c == 0xcd, c == 0xd1:
		return 1, 2, 0, true
	case c >= 0xd4 && c <= 0xd8: // fixext
		return 1, 1 + 1<<(c-0xd4), 0, true
	case c >= 0xd9 && c <= 0xdb: // str
		n := 1 << (c - 0xd9)
		if l, ok := length(n); ok {
			return 1 + n, l, 0, true
		}
		return 0, 0, 0, true
	case c == 0xdc, c == 0xdd, c == 0xde, c == 0xdf:
		n := 2
		if c == 0xdd || c == 0xdf {
			n = 4
		}
		l, ok := length(n)
		if !ok {
			return 0, 0, 0, true
		}
		if c >= 0xde {
			l *= 2
		}
		return 1 + n, 0, l, true
	}
	return 0, 0, 0, false // 0xc1
}

// The readers below take one value from the front of b, which mpScan has found
// whole, and return the rest.

// MsgpackInt reads an integer of any width and sign. It, and the functions beside
// it, are for types that implement MsgpackDecoder.
func MsgpackInt(b []byte) (v int64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, b, errMsgpack
	}
	head, payload, _, ok := mpShape(b)
	if !ok || head == 0 || uint64(len(b)-head) < payload {
		return 0, b, errMsgpack
	}
	p, rest := b[head:head+int(payload)], b[head+int(payload):]
	switch c := b[0]; {
	case c <= 0x7f:
		return int64(c), rest, nil
	case c >= 0xe0:
		return int64(int8(c)), rest, nil
	case c == 0xcc:
		return int64(p[0]), rest, nil
	case c == 0xcd:
		return int64(binary.BigEndian.Uint16(p)), rest, nil
	case c == 0xce:
		return int64(binary.BigEndian.Uint32(p)), rest, nil
	case c == 0xcf, c == 0xd3:
		return int64(binary.BigEndian.Uint64(p)), rest, nil
	case c == 0xd0:
		return int64(int8(p[0])), rest, nil
	case c == 0xd1:
		return int64(int16(binary.BigEndian.Uint16(p))), rest, nil
	case c == 0xd2:
		return int64(int32(binary.BigEndian.Uint32(p))), rest, nil
	case c == 0xc0:
		return 0, rest, nil
	}
	return 0, b, fmt.Errorf("%w: %#x is no integer", errMsgpack, b[0])
}

// MsgpackFloat reads a number of any kind as a float.
func MsgpackFloat(b []byte) (v float64, rest []byte, err error) {
	switch {
	case len(b) >= 9 && b[0] == 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(b[1:])), b[9:], nil
	case len(b) >= 5 && b[0] == 0xca:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b[1:]))), b[5:], nil
	}
	i, rest, err := MsgpackInt(b)
	return float64(i), rest, err
}

// MsgpackBytes reads a string or bytes in any of msgpack's forms; nil reads as
// empty. The result is a piece of b.
func MsgpackBytes(b []byte) (v, rest []byte, err error) {
	if len(b) == 0 {
		return nil, b, errMsgpack
	}
	switch c := b[0]; {
	case c == 0xc0:
		return nil, b[1:], nil
	case c >= 0xa0 && c <= 0xbf, c >= 0xc4 && c <= 0xc6, c >= 0xd9 && c <= 0xdb:
		head, payload, _, _ := mpShape(b)
		if head == 0 || uint64(len(b)-head) < payload {
			return nil, b, errMsgpack
		}
		return b[head : head+int(payload)], b[head+int(payload):], nil
	}
	return nil, b, fmt.Errorf("%w: %#x is no string", errMsgpack, b[0])
}

// MsgpackArray reads the head of an array and returns how many values follow; nil
// reads as an empty array. A length is only a claim until the values are read.
func MsgpackArray(b []byte) (n int, rest []byte, err error) { return mpContainer(b, 0x90, 0xdc) }

// MsgpackMap reads the head of a map and returns how many pairs follow; nil reads
// as an empty map.
func MsgpackMap(b []byte) (n int, rest []byte, err error) { return mpContainer(b, 0x80, 0xde) }

func mpContainer(b []byte, fix, wide byte) (n int, rest []byte, err error) {
	switch {
	case len(b) == 0:
		return 0, b, errMsgpack
	case b[0] == 0xc0:
		return 0, b[1:], nil
	case b[0]&0xf0 == fix:
		return int(b[0] & 0x0f), b[1:], nil
	case b[0] == wide && len(b) >= 3:
		return int(binary.BigEndian.Uint16(b[1:])), b[3:], nil
	case b[0] == wide+1 && len(b) >= 5:
		return int(binary.BigEndian.Uint32(b[1:])), b[5:], nil
	}
	return 0, b, fmt.Errorf("%w: %#x is not the container that is due", errMsgpack, b[0])
}

// MsgpackSkip drops one value.
func MsgpackSkip(b []byte) (rest []byte, err error) {
	var s mpScan
	s.from(0, len(b))
	done, err := s.run(b)
	if err != nil || !done {
		return b, errMsgpack
	}
	return b[s.pos:], nil
}

// MsgpackIsArray reports whether b begins with an array rather than a map: a
// struct may be sent as either.
func MsgpackIsArray(b []byte) bool {
	return len(b) > 0 && (b[0]&0xf0 == 0x90 || b[0] == 0xdc || b[0] == 0xdd)
}

// AppendMsgpackInt appends v in its shortest form.
func AppendMsgpackInt(dst []byte, v int64) []byte {
	switch {
	case v >= -32 && v <= 127:
		return append(dst, byte(v))
	case v >= 0 && v <= 0xff:
		return append(dst, 0xcc, byte(v))
	case v >= 0 && v <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(v))
	case v >= 0 && v <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(v))
}

// AppendMsgpackFloat writes v as a 64-bit float.
func AppendMsgpackFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(v))
}

// AppendMsgpackString appends s as a string in the form every reader knows (raw
// 5, 16 or 32); bytes are written in the same way.
func AppendMsgpackString[S string | []byte](dst []byte, s S) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, s...)
}

// AppendMsgpackArray appends the head of an array of n values.
func AppendMsgpackArray(dst []byte, n int) []byte { return appendContainer(dst, n, 0x90, 0xdc) }

// AppendMsgpackMap appends the head of a map of n pairs.
func AppendMsgpackMap(dst []byte, n int) []byte { return appendContainer(dst, n, 0x80, 0xde) }

func appendContainer(dst []byte, n int, fix, wide byte) []byte {
	switch {
	case n < 16:
		return append(dst, fix|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, wide), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, wide+1), uint32(n))
}

// An mpCoder encodes and decodes bodies with the library, whose coders are costly
// to make and are kept.
type mpCoder struct {
	handle codec.MsgpackHandle
	encs   sync.Pool
	decs   sync.Pool
	bufs   sync.Pool // of *[]byte
}

// buffer returns empty memory for one message; release takes it back as b, which
// may have moved.
func (c *mpCoder) buffer() *[]byte {
	if b, _ := c.bufs.Get().(*[]byte); b != nil {
		return b
	}
	b := make([]byte, 0, 128)
	return &b
}

func (c *mpCoder) release(buf *[]byte, b []byte) {
	if cap(b) <= keepBuffer {
		*buf = b[:0]
		c.bufs.Put(buf)
	}
}

func newMpCoder() *mpCoder {
	c := &mpCoder{}
	c.handle.RawToString = true
	c.handle.MapType = reflect.TypeFor[map[string]any]()
	c.handle.MaxDepth = 2 * maxMsgpackDepth
	return c
}

type mpEncoder struct {
	enc *codec.Encoder
	out []byte
}

// encode appends v to dst.
func (c *mpCoder) encode(dst []byte, v any) ([]byte, error) {
	if a, ok := v.(MsgpackAppender); ok {
		return a.AppendMsgpack(dst), nil
	}
	e, _ := c.encs.Get().(*mpEncoder)
	if e == nil {
		e = &mpEncoder{}
		e.enc = codec.NewEncoderBytes(&e.out, &c.handle)
	}
	e.enc.ResetBytes(&e.out)
	err := e.enc.Encode(v)
	if err == nil {
		dst = append(dst, e.out...)
	}
	if cap(e.out) > keepBuffer {
		e.out = nil
	}
	c.encs.Put(e)
	return dst, err
}

// decode reads the value that b begins with.
func (c *mpCoder) decode(b []byte, v any) error {
	if d, ok := v.(MsgpackDecoder); ok {
		return d.DecodeMsgpack(b)
	}
	d, _ := c.decs.Get().(*codec.Decoder)
	if d == nil {
		d = codec.NewDecoderBytes(b, &c.handle)
	} else {
		d.ResetBytes(b)
	}
	err := d.Decode(v)
	d.ResetBytes(nil) // do not hold on to the connection's buffer
	c.decs.Put(d)
	return err
}
