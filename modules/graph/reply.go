package graph

import (
	"encoding/binary"
	"math"
	"slices"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/modules/graph/tsdb"
)

// queryReply and batchReply are model.GraphQueryResponse and GraphQueryBatchResp as
// graph answers them. Points are most of what it sends, so in msgpack, which the
// api speaks, they go from the engine's form to the wire without a struct for each.
// JSON and gob see the fields, and Values must be set for them.
type (
	queryReply struct {
		Endpoint string           `json:"endpoint"`
		Counter  string           `json:"counter"`
		DsType   string           `json:"dstype"`
		Step     int              `json:"step"`
		Values   []*model.RRDData `json:"Values"`

		points []tsdb.Point
	}
	batchReply struct {
		Answers []*queryReply `json:"answers"`
		Raw     bool          `json:"raw,omitempty"`
	}
)

// values copies points into the form of the wire, in one piece.
func values(pts []tsdb.Point) []*model.RRDData {
	data := make([]model.RRDData, len(pts))
	out := make([]*model.RRDData, len(pts))
	for i, p := range pts {
		data[i] = model.RRDData{Timestamp: p.Ts, Value: model.JSONFloat(p.Value)}
		out[i] = &data[i]
	}
	return out
}

// A point is a map of two, whose time nearly always has these many bytes.
const (
	pointText = "\x82\xa9timestamp\xce0000\xa5value\xcb00000000"
	timeAt    = 12
	valueAt   = 23
)

// room is what an answer takes beside its points and names, at most.
const room = 80

func (r *queryReply) size() int {
	return room + len(r.Endpoint) + len(r.Counter) + len(r.points)*len(pointText)
}

// AppendMsgpack writes what the msgpack codec would write of the struct, with
// points for Values.
func (r *queryReply) AppendMsgpack(dst []byte) []byte {
	return r.append(slices.Grow(dst, r.size()))
}

// AppendMsgpack writes what the msgpack codec would write of the struct.
func (r *batchReply) AppendMsgpack(dst []byte) []byte {
	n := room
	for _, a := range r.Answers {
		n += a.size()
	}
	dst = slices.Grow(dst, n)
	fields := 1
	if r.Raw {
		fields = 2
	}
	dst = rpc.AppendMsgpackString(rpc.AppendMsgpackMap(dst, fields), "answers")
	dst = rpc.AppendMsgpackArray(dst, len(r.Answers))
	for _, a := range r.Answers {
		dst = a.append(dst)
	}
	if r.Raw {
		dst = append(rpc.AppendMsgpackString(dst, "raw"), 0xc3)
	}
	return dst
}

func (r *queryReply) append(dst []byte) []byte {
	text := rpc.AppendMsgpackString[string]
	dst = rpc.AppendMsgpackMap(dst, 5)
	dst = text(text(dst, "endpoint"), r.Endpoint)
	dst = text(text(dst, "counter"), r.Counter)
	dst = text(text(dst, "dstype"), r.DsType)
	dst = rpc.AppendMsgpackInt(text(dst, "step"), int64(r.Step))
	dst = rpc.AppendMsgpackArray(text(dst, "Values"), len(r.points))
	for i := range r.points {
		p := &r.points[i]
		if p.Ts <= math.MaxUint16 || p.Ts > math.MaxUint32 {
			dst = rpc.AppendMsgpackInt(append(dst, pointText[:timeAt-1]...), p.Ts)
			dst = append(dst, pointText[timeAt+4:valueAt]...)
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(p.Value))
			continue
		}
		at := len(dst)
		dst = append(dst, pointText...)
		binary.BigEndian.PutUint32(dst[at+timeAt:], uint32(p.Ts))
		binary.BigEndian.PutUint64(dst[at+valueAt:], math.Float64bits(p.Value))
	}
	return dst
}
