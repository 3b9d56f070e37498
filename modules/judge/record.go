package judge

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"

	"falcon/common/expr"
)

// A record of the journal is what one batch changed: items, each of an opcode and its
// fields. Numbers are uvarints, times zigzag varints of the difference to the time
// before in the record, values 8 bytes little-endian, strings a length and bytes.
//
//	define  id, endpoint, metric, sorted tags, type
//	point   id, time, value     a point that rules have looked at
//	wait    id, time, value     one that waits for rules
//	told    length, JSON        an event, with its number
//	pushed  number              Redis has the event
//	acked   length, JSON        somebody works on a problem, or not any more
//	epoch   string              the memory of Redis that has the events so far
//
// Of a series whose values are texts:
//
//	text define  id, endpoint, metric, sorted tags, type
//	text         id, time, string    as point
//	text wait    id, time, string    as wait
const (
	opDefine = 1 + iota
	opPoint
	opWait
	opTold
	opPushed
	opEpoch
	opAcked
	opTextDefine
	opText
	opTextWait
)

// recorder builds a record.
type recorder struct {
	buf []byte
	at  int64 // the time before
}

func (r *recorder) reset() { r.buf, r.at = r.buf[:0], 0 }

func (r *recorder) string(s string) {
	r.buf = binary.AppendUvarint(r.buf, uint64(len(s)))
	r.buf = append(r.buf, s...)
}

func (r *recorder) define(e *entry) {
	op := byte(opDefine)
	if e.IsText() {
		op = opTextDefine
	}
	r.buf = append(r.buf, op)
	r.buf = binary.AppendUvarint(r.buf, e.id)
	r.string(e.Endpoint())
	r.string(e.Metric())
	r.string(e.SortedTags())
	r.string(e.typ)
}

func (r *recorder) point(op byte, id uint64, p expr.Point) {
	r.buf = append(r.buf, op)
	r.buf = binary.AppendUvarint(r.buf, id)
	r.buf = binary.AppendVarint(r.buf, p.Ts-r.at)
	r.buf = binary.LittleEndian.AppendUint64(r.buf, math.Float64bits(p.Value))
	r.at = p.Ts
}

// value is point for a series of either kind.
func (r *recorder) value(op byte, e *entry, p expr.Point) {
	if !e.IsText() {
		r.point(op, e.id, p)
		return
	}
	if op == opPoint {
		op = opText
	} else {
		op = opTextWait
	}
	r.buf = append(r.buf, op)
	r.buf = binary.AppendUvarint(r.buf, e.id)
	r.buf = binary.AppendVarint(r.buf, p.Ts-r.at)
	r.string(e.Text(p))
	r.at = p.Ts
}

func (r *recorder) told(t *told) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	r.buf = append(r.buf, opTold)
	r.buf = binary.AppendUvarint(r.buf, uint64(len(raw)))
	r.buf = append(r.buf, raw...)
	return nil
}

func (r *recorder) pushed(seq uint64) {
	r.buf = append(r.buf, opPushed)
	r.buf = binary.AppendUvarint(r.buf, seq)
}

func (r *recorder) epoch(name string) {
	r.buf = append(r.buf, opEpoch)
	r.string(name)
}

func (r *recorder) acked(a *acked) {
	raw, err := json.Marshal(a)
	if err != nil {
		return // texts and numbers can be written
	}
	r.buf = append(r.buf, opAcked)
	r.buf = binary.AppendUvarint(r.buf, uint64(len(raw)))
	r.buf = append(r.buf, raw...)
}

// replayer takes the items of a record.
type replayer interface {
	define(id uint64, endpoint, metric, tags, typ string, texts bool)
	point(id uint64, p expr.Point, waits bool)
	text(id uint64, ts int64, text string, waits bool)
	tell(t *told)
	push(seq uint64)
	remember(epoch string)
	ack(a *acked)
}

var errRecord = errors.New("the record is damaged or of another release")

// replayRecord hands the items of a record to r. What stands before a damage counts.
func replayRecord(b []byte, r replayer) error {
	d := decoder{b: b}
	var at int64
	for len(d.b) > 0 && !d.bad {
		op := d.b[0]
		d.b = d.b[1:]
		switch op {
		case opDefine, opTextDefine:
			id, endpoint, metric, tags, typ := d.uvarint(), d.string(), d.string(), d.string(), d.string()
			if !d.bad {
				r.define(id, endpoint, metric, tags, typ, op == opTextDefine)
			}
		case opPoint, opWait:
			id := d.uvarint()
			at += d.varint()
			if v := d.take(8); !d.bad {
				r.point(id, expr.Point{Ts: at, Value: math.Float64frombits(binary.LittleEndian.Uint64(v))}, op == opWait)
			}
		case opText, opTextWait:
			id := d.uvarint()
			at += d.varint()
			if text := d.string(); !d.bad {
				r.text(id, at, text, op == opTextWait)
			}
		case opTold:
			t := &told{}
			raw := d.take(d.uvarint())
			if d.bad {
				break
			}
			if err := json.Unmarshal(raw, t); err != nil || t.Told == nil || t.Event == nil || t.Event.Strategy == nil && t.Event.Expression == nil {
				return errRecord
			}
			r.tell(t)
		case opPushed:
			if seq := d.uvarint(); !d.bad {
				r.push(seq)
			}
		case opEpoch:
			if name := d.string(); !d.bad {
				r.remember(name)
			}
		case opAcked:
			a := &acked{}
			raw := d.take(d.uvarint())
			if d.bad {
				break
			}
			if err := json.Unmarshal(raw, a); err != nil {
				return errRecord
			}
			r.ack(a)
		default:
			d.bad = true
		}
	}
	if d.bad {
		return errRecord
	}
	return nil
}

// decoder reads fields; after the first that is not there it is bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) string() string { return string(d.take(d.uvarint())) }
