package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"falcon/common/model"
	"falcon/common/rpc"
)

// Version is the version of the stream protocol spoken here.
const Version = 1

const (
	methodOpen = "Stream.Open"
	methodPush = "Stream.Push"
)

// A Hello opens a stream.
type Hello struct {
	Version      int      `json:"version"`
	Capabilities []string `json:"capabilities"` // what the sender can do beyond the version; unknown ones are ignored
	Kind         string   `json:"kind"`         // what the points are for: "points", "graph", "judge", …
	Sender       string   `json:"sender"`       // who sends, for logs
	Ring         string   `json:"ring"`         // fingerprint of the sender's ring; empty when it has none
	Token        string   `json:"token"`
}

// A welcome answers a Hello.
type welcome struct {
	Version      int      `json:"version"`
	Capabilities []string `json:"capabilities"`
	Window       int      `json:"window"`       // pushes
	WindowBytes  int      `json:"window_bytes"` // bytes of columns
}

// An Ack answers a push. Every point of the push is in exactly one of Taken,
// Refused, More and the points of Redefine's refs.
type Ack struct {
	Seq   uint64
	Taken int
	// Refused says what was refused. At most 64 travel: when there are more, all but
	// the first are summed up by reason, with ref 0, which is no series'.
	Refused []model.Refusal
	More    int // refused points that are not in Refused
	// Redefine lists refs whose points were not taken since the receiver does not
	// know them; the sender sends those points again, with the definition.
	Redefine []uint32
	// Mute lists refs of which the receiver wants no more points for now.
	Mute []uint32
	// Unmute, when not nil, takes back what was muted.
	Unmute *Unmute
}

// An Unmute tells a sender which series are wanted again: those of some metrics, or
// all.
type Unmute struct {
	Generation uint64
	Metrics    []string
	All        bool
}

const (
	maxRefusals = 64
	// namedRefusals of them name their series when there are more; the rest are
	// summed up by reason.
	namedRefusals = 48
)

// summary returns at most maxRefusals refusals for all of them: the first as they
// are, the others by reason, with ref 0. more counts what has no place there either.
func summary(all []model.Refusal) (list []model.Refusal, more int) {
	if len(all) <= maxRefusals {
		return all, 0
	}
	list = slices.Clone(all[:namedRefusals])
	for _, r := range all[namedRefusals:] {
		i := slices.IndexFunc(list[namedRefusals:], func(x model.Refusal) bool { return x.Reason == r.Reason })
		switch {
		case i >= 0:
			list[namedRefusals+i].N += r.N
		case len(list) < maxRefusals:
			list = append(list, model.Refusal{Reason: r.Reason, N: r.N})
		default:
			more += r.N
		}
	}
	return list, more
}

var errPush = errors.New("broken push")

// capAfter is the capability of a sender whose pushes say which refusal they know of.
const capAfter = "after"

// A push is a Stream.Push as it is sent and received. When received, its byte
// slices lie in the connection's buffer.
type push struct {
	seq    uint64
	after  uint64 // the last refused push that the sender knew of; 0 for none
	define []definition
	forget []uint32
	cols   columns
}

type definition struct {
	ref    uint32
	series *model.Series
}

// AppendMsgpack writes the push; what is empty is left out.
func (p *push) AppendMsgpack(dst []byte) []byte {
	fields := 1
	for _, there := range [...]bool{p.after > 0, len(p.define) > 0, len(p.forget) > 0, p.cols.base != 0, len(p.cols.refs) > 0, len(p.cols.times) > 0, len(p.cols.values) > 0, len(p.cols.texts) > 0} {
		if there {
			fields++
		}
	}
	dst = rpc.AppendMsgpackMap(dst, fields)
	dst = appendInt(dst, "seq", int64(p.seq))
	if p.after > 0 {
		dst = appendInt(dst, "after", int64(p.after))
	}
	if len(p.define) > 0 {
		dst = rpc.AppendMsgpackArray(rpc.AppendMsgpackString(dst, "define"), len(p.define))
		for _, d := range p.define {
			dst = d.append(dst)
		}
	}
	dst = appendRefs(dst, "forget", p.forget)
	if p.cols.base != 0 {
		dst = appendInt(dst, "base", p.cols.base)
	}
	dst = appendBlob(dst, "refs", p.cols.refs)
	dst = appendBlob(dst, "times", p.cols.times)
	dst = appendBlob(dst, "values", p.cols.values)
	return appendBlob(dst, "texts", p.cols.texts)
}

func appendInt(dst []byte, key string, v int64) []byte {
	return rpc.AppendMsgpackInt(rpc.AppendMsgpackString(dst, key), v)
}

func appendBlob(dst []byte, key string, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	return rpc.AppendMsgpackString(rpc.AppendMsgpackString(dst, key), b)
}

func appendRefs(dst []byte, key string, refs []uint32) []byte {
	if len(refs) == 0 {
		return dst
	}
	dst = rpc.AppendMsgpackArray(rpc.AppendMsgpackString(dst, key), len(refs))
	for _, r := range refs {
		dst = rpc.AppendMsgpackInt(dst, int64(r))
	}
	return dst
}

// definitionFields is how many values a definition has; a later version may append
// more.
const definitionFields = 10

func (d *definition) append(dst []byte) []byte {
	s := d.series
	dst = rpc.AppendMsgpackArray(dst, definitionFields)
	dst = rpc.AppendMsgpackInt(dst, int64(d.ref))
	for _, v := range [...]string{s.Endpoint, s.Metric, s.Tags, s.Type} {
		dst = rpc.AppendMsgpackString(dst, v)
	}
	dst = rpc.AppendMsgpackInt(dst, int64(s.Step))
	dst = rpc.AppendMsgpackInt(dst, int64(s.Heartbeat))
	dst = rpc.AppendMsgpackFloat(dst, s.Min)
	dst = rpc.AppendMsgpackFloat(dst, s.Max)
	if s.Text {
		return rpc.AppendMsgpackString(dst, "string")
	}
	return rpc.AppendMsgpackString(dst, "number")
}

func (d *definition) decode(b []byte) (rest []byte, err error) {
	n, b, err := rpc.MsgpackArray(b)
	if err != nil || n < definitionFields {
		return b, fmt.Errorf("%w: a definition has %d values, want %d", errPush, n, definitionFields)
	}
	var ref, step, heartbeat int64
	if ref, b, err = rpc.MsgpackInt(b); err != nil {
		return b, err
	}
	var names [4][]byte
	for i := range names {
		if names[i], b, err = rpc.MsgpackBytes(b); err != nil {
			return b, err
		}
	}
	if step, b, err = rpc.MsgpackInt(b); err != nil {
		return b, err
	}
	if heartbeat, b, err = rpc.MsgpackInt(b); err != nil {
		return b, err
	}
	if len(b) < 18 || b[0] != 0xcb || b[9] != 0xcb {
		return b, fmt.Errorf("%w: min and max of a definition are no float64", errPush)
	}
	low, high := math.Float64frombits(binary.BigEndian.Uint64(b[1:])), math.Float64frombits(binary.BigEndian.Uint64(b[10:]))
	kind, b, err := rpc.MsgpackBytes(b[18:])
	if err != nil {
		return b, err
	}
	for range n - definitionFields {
		if b, err = rpc.MsgpackSkip(b); err != nil {
			return b, err
		}
	}
	if ref < 1 || ref > math.MaxUint32 {
		return b, fmt.Errorf("%w: definition of ref %d", errPush, ref)
	}
	// One allocation holds the three names; they live and die together.
	all := string(names[0]) + string(names[1]) + string(names[2])
	e, m := len(names[0]), len(names[0])+len(names[1])
	d.ref = uint32(ref)
	d.series = &model.Series{
		Endpoint: all[:e], Metric: all[e:m], Tags: all[m:], Type: knownType(names[3]),
		Step: int(step), Heartbeat: int(heartbeat), Min: low, Max: high, Text: string(kind) == "string",
	}
	return b, nil
}

// DecodeMsgpack reads a push. The columns stay where they are in b.
func (p *push) DecodeMsgpack(b []byte) error {
	n, b, err := rpc.MsgpackMap(b)
	if err != nil {
		return fmt.Errorf("%w: %w", errPush, err)
	}
	for range n {
		var k []byte
		if k, b, err = rpc.MsgpackBytes(b); err != nil {
			return err
		}
		var v int64
		switch string(k) {
		case "seq":
			v, b, err = rpc.MsgpackInt(b)
			p.seq = uint64(v)
		case "after":
			v, b, err = rpc.MsgpackInt(b)
			p.after = uint64(v)
		case "define":
			b, err = p.decodeDefine(b)
		case "forget":
			p.forget, b, err = decodeRefs(b)
		case "base":
			p.cols.base, b, err = rpc.MsgpackInt(b)
		case "refs":
			p.cols.refs, b, err = rpc.MsgpackBytes(b)
		case "times":
			p.cols.times, b, err = rpc.MsgpackBytes(b)
		case "values":
			p.cols.values, b, err = rpc.MsgpackBytes(b)
		case "texts":
			p.cols.texts, b, err = rpc.MsgpackBytes(b)
		default: // of a newer sender
			b, err = rpc.MsgpackSkip(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *push) decodeDefine(b []byte) ([]byte, error) {
	n, b, err := rpc.MsgpackArray(b)
	if err != nil {
		return b, err
	}
	for range n {
		var d definition
		if b, err = d.decode(b); err != nil {
			return b, err
		}
		p.define = append(p.define, d)
	}
	return b, nil
}

func decodeRefs(b []byte) (refs []uint32, rest []byte, err error) {
	n, b, err := rpc.MsgpackArray(b)
	if err != nil {
		return nil, b, err
	}
	for range n {
		var v int64
		if v, b, err = rpc.MsgpackInt(b); err != nil {
			return nil, b, err
		}
		if v < 0 || v > math.MaxUint32 {
			return nil, b, fmt.Errorf("%w: ref %d", errPush, v)
		}
		refs = append(refs, uint32(v))
	}
	return refs, b, nil
}

// AppendMsgpack writes the ack; what is empty is left out.
func (a *Ack) AppendMsgpack(dst []byte) []byte {
	refused, more := summary(a.Refused)
	more += a.More
	fields := 2
	for _, there := range [...]bool{len(refused) > 0, more > 0, len(a.Redefine) > 0, len(a.Mute) > 0, a.Unmute != nil} {
		if there {
			fields++
		}
	}
	dst = rpc.AppendMsgpackMap(dst, fields)
	dst = appendInt(dst, "seq", int64(a.Seq))
	dst = appendInt(dst, "taken", int64(a.Taken))
	if len(refused) > 0 {
		dst = rpc.AppendMsgpackArray(rpc.AppendMsgpackString(dst, "refused"), len(refused))
		for _, r := range refused {
			dst = rpc.AppendMsgpackInt(rpc.AppendMsgpackArray(dst, 3), int64(r.Ref))
			dst = rpc.AppendMsgpackInt(rpc.AppendMsgpackString(dst, r.Reason), int64(r.N))
		}
	}
	if more > 0 {
		dst = appendInt(dst, "more", int64(more))
	}
	dst = appendRefs(dst, "redefine", a.Redefine)
	dst = appendRefs(dst, "mute", a.Mute)
	if u := a.Unmute; u != nil {
		dst = rpc.AppendMsgpackMap(rpc.AppendMsgpackString(dst, "unmute"), 2)
		dst = appendInt(dst, "generation", int64(u.Generation))
		if u.All {
			return append(rpc.AppendMsgpackString(dst, "all"), 0xc3)
		}
		dst = rpc.AppendMsgpackArray(rpc.AppendMsgpackString(dst, "metrics"), len(u.Metrics))
		for _, m := range u.Metrics {
			dst = rpc.AppendMsgpackString(dst, m)
		}
	}
	return dst
}

// DecodeMsgpack reads an ack.
func (a *Ack) DecodeMsgpack(b []byte) error {
	n, b, err := rpc.MsgpackMap(b)
	if err != nil {
		return fmt.Errorf("broken ack: %w", err)
	}
	for range n {
		var k []byte
		if k, b, err = rpc.MsgpackBytes(b); err != nil {
			return err
		}
		var v int64
		switch string(k) {
		case "seq":
			v, b, err = rpc.MsgpackInt(b)
			a.Seq = uint64(v)
		case "taken":
			v, b, err = rpc.MsgpackInt(b)
			a.Taken = int(v)
		case "more":
			v, b, err = rpc.MsgpackInt(b)
			a.More = int(v)
		case "refused":
			b, err = a.decodeRefused(b)
		case "redefine":
			a.Redefine, b, err = decodeRefs(b)
		case "mute":
			a.Mute, b, err = decodeRefs(b)
		case "unmute":
			b, err = a.decodeUnmute(b)
		default:
			b, err = rpc.MsgpackSkip(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Ack) decodeRefused(b []byte) ([]byte, error) {
	n, b, err := rpc.MsgpackArray(b)
	if err != nil {
		return b, err
	}
	for range n {
		var fields int
		if fields, b, err = rpc.MsgpackArray(b); err != nil || fields < 3 {
			return b, errors.Join(errors.New("broken ack: a refusal has fewer than 3 values"), err)
		}
		var ref, count int64
		var reason []byte
		if ref, b, err = rpc.MsgpackInt(b); err != nil {
			return b, err
		}
		if reason, b, err = rpc.MsgpackBytes(b); err != nil {
			return b, err
		}
		if count, b, err = rpc.MsgpackInt(b); err != nil {
			return b, err
		}
		for range fields - 3 {
			if b, err = rpc.MsgpackSkip(b); err != nil {
				return b, err
			}
		}
		a.Refused = append(a.Refused, model.Refusal{Ref: uint32(ref), Reason: string(reason), N: int(count)})
	}
	return b, nil
}

func (a *Ack) decodeUnmute(b []byte) ([]byte, error) {
	if len(b) > 0 && b[0] == 0xc0 {
		return b[1:], nil
	}
	n, b, err := rpc.MsgpackMap(b)
	if err != nil {
		return b, err
	}
	u := &Unmute{}
	for range n {
		var k []byte
		if k, b, err = rpc.MsgpackBytes(b); err != nil {
			return b, err
		}
		switch string(k) {
		case "generation":
			var v int64
			v, b, err = rpc.MsgpackInt(b)
			u.Generation = uint64(v)
		case "all":
			u.All = len(b) > 0 && b[0] == 0xc3
			b, err = rpc.MsgpackSkip(b)
		case "metrics":
			var m int
			if m, b, err = rpc.MsgpackArray(b); err != nil {
				return b, err
			}
			for range m {
				var s []byte
				if s, b, err = rpc.MsgpackBytes(b); err != nil {
					return b, err
				}
				u.Metrics = append(u.Metrics, string(s))
			}
		default:
			b, err = rpc.MsgpackSkip(b)
		}
		if err != nil {
			return b, err
		}
	}
	a.Unmute = u
	return b, nil
}
