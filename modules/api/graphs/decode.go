package graphs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"falcon/common/model"
)

// The answers of QueryBatch are where most of the bytes are; they are read by hand,
// since reflection over every point would cost more than all else together. What a
// newer graph adds is skipped.

// errMsgpack is what bytes get that are not the answer's shape.
var errMsgpack = errors.New("broken msgpack in the answer of Graph.QueryBatch")

// DecodeMsgpack reads the answer; rpc calls it in place of its own decoder.
func (r *queryBatchResp) DecodeMsgpack(b []byte) error {
	d := mpReader{b: b}
	r.Answers, r.Raw = nil, false
	d.object([]string{"answers", "raw"}, func(field int) {
		if field == 1 {
			r.Raw = d.boolean()
			return
		}
		n := d.list()
		r.Answers = make([]*Series, 0, d.plausible(n))
		for range n {
			if d.err != nil {
				return
			}
			if d.null() {
				r.Answers = append(r.Answers, nil)
				continue
			}
			s := &Series{}
			d.series(s)
			r.Answers = append(r.Answers, s)
		}
	})
	return d.err
}

// Keys in the order of the struct's fields, which is that of the array form.
var (
	seriesFields = []string{"endpoint", "counter", "dstype", "step", "Values"}
	pointFields  = []string{"timestamp", "value"}
)

func (d *mpReader) series(s *Series) {
	d.object(seriesFields, func(field int) {
		switch field {
		case 0:
			s.Endpoint = string(d.text())
		case 1:
			s.Counter = string(d.text())
		case 2:
			s.DsType = string(d.text())
		case 3:
			s.Step = int(d.integer())
		case 4:
			n := d.list()
			s.Values = make([]model.RRDData, 0, d.plausible(n))
			for range n {
				if d.err != nil {
					return
				}
				if d.null() {
					continue
				}
				var p model.RRDData
				d.point(&p)
				s.Values = append(s.Values, p)
			}
		}
	})
}

// How our graphs write every point: a map with these keys, a time of 32 bits (0xce
// or 0xd2) and a value of 64.
const (
	pointHead  = "\x82\xa9timestamp"
	pointMid   = "\xa5value\xcb"
	pointBytes = len(pointHead) + 5 + len(pointMid) + 8
)

// point reads a point: the usual form at once, any other one member by member.
func (d *mpReader) point(p *model.RRDData) {
	if b := d.b; len(b) >= pointBytes && string(b[:len(pointHead)]) == pointHead {
		b = b[len(pointHead):pointBytes:pointBytes]
		if (b[0] == 0xce || b[0] == 0xd2 && b[1] < 0x80) && string(b[5:5+len(pointMid)]) == pointMid {
			p.Timestamp = int64(binary.BigEndian.Uint32(b[1:]))
			p.Value = model.JSONFloat(math.Float64frombits(binary.BigEndian.Uint64(b[5+len(pointMid):])))
			d.b = d.b[pointBytes:]
			return
		}
	}
	n, isMap := d.container()
	for i := range n {
		field := i
		if isMap {
			field = index(pointFields, d.text())
		}
		if d.err != nil {
			return
		}
		switch field {
		case 0:
			p.Timestamp = d.integer()
		case 1:
			p.Value = model.JSONFloat(d.number())
		default:
			d.skip(0)
		}
	}
}

// An mpReader reads msgpack from the front of b. After an error it reads zeros.
type mpReader struct {
	b   []byte
	err error
}

// object reads a struct in either of its forms and calls field for each known
// member, with the reader at its value.
func (d *mpReader) object(fields []string, field func(i int)) {
	if d.null() {
		return
	}
	n, isMap := d.container()
	for i := range n {
		k := i
		if isMap {
			k = index(fields, d.text())
		}
		if d.err != nil {
			return
		}
		if k < 0 || k >= len(fields) {
			d.skip(0)
		} else {
			field(k)
		}
	}
}

func index(fields []string, key []byte) int {
	for i, f := range fields {
		if f == string(key) {
			return i
		}
	}
	return -1
}

// plausible bounds what a length may allocate by the bytes that are there.
func (d *mpReader) plausible(n int) int { return min(n, len(d.b)) }

func (d *mpReader) fail() {
	d.err, d.b = errMsgpack, nil
}

// take returns the next n bytes, or nil.
func (d *mpReader) take(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

// head returns the next byte.
func (d *mpReader) head() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0xc1 // the one code that msgpack never uses
}

// uint returns a big-endian number of n bytes.
func (d *mpReader) uint(n int) uint64 {
	p := d.take(n)
	if p == nil {
		return 0
	}
	switch n {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(p))
	case 4:
		return uint64(binary.BigEndian.Uint32(p))
	}
	return binary.BigEndian.Uint64(p)
}

// null reads a nil, if it is the next value.
func (d *mpReader) null() bool {
	if len(d.b) > 0 && d.b[0] == 0xc0 {
		d.b = d.b[1:]
		return true
	}
	return false
}

// boolean reads a yes or no; anything else is a no.
func (d *mpReader) boolean() bool {
	if len(d.b) > 0 && d.b[0] == 0xc3 {
		d.b = d.b[1:]
		return true
	}
	d.skip(0)
	return false
}

// container reads the head of a map or an array.
func (d *mpReader) container() (n int, isMap bool) {
	switch c := d.head(); {
	case c&0xf0 == 0x80:
		return int(c & 0x0f), true
	case c&0xf0 == 0x90:
		return int(c & 0x0f), false
	case c == 0xdc:
		return int(d.uint(2)), false
	case c == 0xdd:
		return int(d.uint(4)), false
	case c == 0xde:
		return int(d.uint(2)), true
	case c == 0xdf:
		return int(d.uint(4)), true
	}
	d.fail()
	return 0, false
}

// list reads the head of an array; nil is an empty one.
func (d *mpReader) list() int {
	if d.null() {
		return 0
	}
	n, isMap := d.container()
	if isMap {
		d.fail()
		return 0
	}
	return n
}

// text reads a string, in any of the forms that peers write one. It is valid until
// the message is.
func (d *mpReader) text() []byte {
	switch c := d.head(); {
	case c&0xe0 == 0xa0:
		return d.take(int(c & 0x1f))
	case c == 0xd9 || c == 0xc4:
		return d.take(int(d.uint(1)))
	case c == 0xda || c == 0xc5:
		return d.take(int(d.uint(2)))
	case c == 0xdb || c == 0xc6:
		return d.take(int(d.uint(4)))
	case c == 0xc0:
		return nil
	}
	d.fail()
	return nil
}

// integer reads a whole number.
func (d *mpReader) integer() int64 {
	switch c := d.head(); {
	case c < 0x80:
		return int64(c)
	case c >= 0xe0:
		return int64(int8(c))
	case c >= 0xcc && c <= 0xcf:
		return int64(d.uint(1 << (c - 0xcc)))
	case c == 0xd0:
		return int64(int8(d.uint(1)))
	case c == 0xd1:
		return int64(int16(d.uint(2)))
	case c == 0xd2:
		return int64(int32(d.uint(4)))
	case c == 0xd3:
		return int64(d.uint(8))
	case c == 0xc0:
		return 0
	}
	d.fail()
	return 0
}

// number reads a number; nil is NaN.
func (d *mpReader) number() float64 {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	switch d.b[0] {
	case 0xcb:
		d.b = d.b[1:]
		return math.Float64frombits(d.uint(8))
	case 0xca:
		d.b = d.b[1:]
		return float64(math.Float32frombits(uint32(d.uint(4))))
	case 0xc0:
		d.b = d.b[1:]
		return math.NaN()
	case 0xcf:
		d.b = d.b[1:]
		return float64(d.uint(8))
	}
	return float64(d.integer())
}

// maxDepth bounds the nesting of what is skipped.
const maxDepth = 32

// skip reads any value and forgets it.
func (d *mpReader) skip(depth int) {
	if d.err != nil || len(d.b) == 0 || depth > maxDepth {
		d.err = errors.Join(d.err, fmt.Errorf("%w: nested deeper than %d, or cut short", errMsgpack, maxDepth))
		d.b = nil
		return
	}
	c := d.b[0]
	switch {
	case c < 0x80 || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3:
		d.take(1)
	case c&0xf0 == 0x80, c&0xf0 == 0x90, c >= 0xdc && c <= 0xdf:
		n, isMap := d.container()
		for range n {
			if isMap {
				d.skip(depth + 1)
			}
			d.skip(depth + 1)
			if d.err != nil {
				return
			}
		}
	case c&0xe0 == 0xa0, c >= 0xd9 && c <= 0xdb, c >= 0xc4 && c <= 0xc6:
		d.text()
	case c == 0xca:
		d.take(5)
	case c == 0xcb:
		d.take(9)
	case c >= 0xcc && c <= 0xd3:
		d.integer()
	case c >= 0xd4 && c <= 0xd8: // fixext
		d.take(2 + 1<<(c-0xd4))
	case c >= 0xc7 && c <= 0xc9: // ext
		d.take(1)
		n := int(d.uint(1 << (c - 0xc7)))
		d.take(1 + n)
	default:
		d.fail()
	}
}
