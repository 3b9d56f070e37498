package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"falcon/common/model"
)

// A record is a batch on its own, dictionary included: what spools keep. It does
// not check itself; a spool does that for whatever it stores.
//
//	version byte
//	uvarint number of series, each:
//	  endpoint, metric, tags, type   uvarint length + bytes
//	  step, heartbeat                zigzag varint, seconds
//	  min, max                       8 bytes, little-endian; NaN for none
//	  flags                          1: the values are strings
//	base                             zigzag varint
//	refs, times, values, texts       uvarint length + bytes: columns, refs count from 0
const recordVersion = 1

const flagText = 1

var errRecord = errors.New("broken record")

// An Encoder writes records and keeps its scratch memory between them. The zero
// Encoder is ready; it is not for concurrent use.
type Encoder struct {
	// index[h] is the place of handle h in the dictionary of the record whose
	// number is stamp[h].
	index, stamp []uint32
	record       uint32
	dict         []byte
	cols         columns
}

// Encode appends a record of points to dst. series tells what a handle means, as
// Sender.Series does; points for which it answers nil are left out. The order of
// points is kept but for those with a text, which come last.
func (e *Encoder) Encode(dst []byte, points []Point, series func(Handle) *model.Series) []byte {
	if e.record++; e.record == 0 {
		clear(e.stamp)
		e.record = 1
	}
	e.cols.reset()
	e.dict = e.dict[:0]
	n := uint32(0)
	if len(points) > 0 {
		e.cols.base = points[0].Time
	}
	last := int64(0)
	// The second round takes the texts; there mostly is none.
	for texts := range 2 {
		more := false
		for i := range points {
			p := &points[i]
			h := int(p.Handle)
			if h >= len(e.stamp) {
				grow := h + 1 - len(e.stamp)
				e.stamp = append(slices.Grow(e.stamp, grow), make([]uint32, grow)...)
				e.index = append(slices.Grow(e.index, grow), make([]uint32, grow)...)
			}
			if e.stamp[h] != e.record {
				s := series(p.Handle)
				e.stamp[h] = e.record
				if s == nil {
					e.index[h] = absent
				} else {
					e.index[h] = n << 1
					if s.Text {
						e.index[h] |= 1
					}
					e.dict = appendSeries(e.dict, s)
					n++
				}
			}
			at := e.index[h]
			if at == absent {
				continue
			}
			if int(at&1) != texts {
				more = true
				continue
			}
			ref := int64(at >> 1)
			e.cols.refs = appendZigzag(e.cols.refs, ref-last)
			last = ref
			e.cols.times = appendZigzag(e.cols.times, p.Time-e.cols.base)
			if texts == 0 {
				e.cols.values = appendFloat(e.cols.values, p.Value)
			} else {
				e.cols.texts = appendText(e.cols.texts, p.Text)
			}
		}
		if !more {
			break
		}
	}
	dst = append(dst, recordVersion)
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = append(dst, e.dict...)
	dst = binary.AppendVarint(dst, e.cols.base)
	for _, col := range [][]byte{e.cols.refs, e.cols.times, e.cols.values, e.cols.texts} {
		dst = append(binary.AppendUvarint(dst, uint64(len(col))), col...)
	}
	return dst
}

const absent = math.MaxUint32

func appendSeries(dst []byte, s *model.Series) []byte {
	for _, v := range [...]string{s.Endpoint, s.Metric, s.Tags, s.Type} {
		dst = append(binary.AppendUvarint(dst, uint64(len(v))), v...)
	}
	dst = binary.AppendVarint(dst, int64(s.Step))
	dst = binary.AppendVarint(dst, int64(s.Heartbeat))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.Min))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.Max))
	if s.Text {
		return append(dst, flagText)
	}
	return append(dst, 0)
}

// A Record is a decoded batch: Points.Refs are indexes into Series.
type Record struct {
	Series []model.Series
	Points Points
}

// Decode reads a record that Encode has written into r, whose memory it uses
// again; strings of r are new. Its error says that b is damaged or of a version
// that is not known here.
func (r *Record) Decode(b []byte) error {
	r.Series = r.Series[:0]
	r.Points.reset()
	if len(b) == 0 {
		return fmt.Errorf("%w: it is empty", errRecord)
	}
	if b[0] != recordVersion {
		return fmt.Errorf("record of version %d: this program reads version %d", b[0], recordVersion)
	}
	d := recordReader{b: b[1:]}
	const smallest = 4 + 2 + 16 + 1 // bytes of a series without a name
	n := d.uvarint()
	if n > uint64(len(d.b)/smallest) {
		return fmt.Errorf("%w: %d series in %d bytes", errRecord, n, len(d.b))
	}
	for range n {
		var s model.Series
		s.Endpoint, s.Metric, s.Tags, s.Type = d.str(), d.str(), d.str(), knownType(d.bytes())
		s.Step, s.Heartbeat = int(d.varint()), int(d.varint())
		s.Min, s.Max = d.float(), d.float()
		s.Text = d.byte()&flagText != 0
		r.Series = append(r.Series, s)
	}
	var c columns
	c.base = d.varint()
	c.refs, c.times, c.values, c.texts = d.bytes(), d.bytes(), d.bytes(), d.bytes()
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%w: it does not end where it should", errRecord)
	}
	if err := c.decode(&r.Points, math.MaxInt); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	numbers := len(r.Points.Values)
	for i, ref := range r.Points.Refs {
		if int(ref) >= len(r.Series) {
			return fmt.Errorf("%w: ref %d of %d series", errRecord, ref, len(r.Series))
		}
		if r.Series[ref].Text != (i >= numbers) {
			return fmt.Errorf("%w: value of the wrong kind for %s", errRecord, r.Series[ref].PK())
		}
	}
	return nil
}

// knownType returns b as a string, without allocating for the types there are.
func knownType(b []byte) string {
	switch string(b) {
	case model.Gauge:
		return model.Gauge
	case model.Counter:
		return model.Counter
	case model.Derive:
		return model.Derive
	}
	return string(b)
}

// A recordReader takes values from the front of b; after the first that is not
// there it is bad and everything reads as zero.
type recordReader struct {
	b   []byte
	bad bool
}

func (d *recordReader) fail() {
	d.bad = true
	d.b = nil
}

func (d *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *recordReader) varint() int64 { return unzigzag(d.uvarint()) }

func (d *recordReader) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *recordReader) str() string { return string(d.bytes()) }

func (d *recordReader) float() float64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(d.b))
	d.b = d.b[8:]
	return v
}

func (d *recordReader) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}
