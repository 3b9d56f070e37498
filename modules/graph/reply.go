package graph

import (
	"encoding/binary"
	"math"

	"falcon/common/model"
	"falcon/common/rpc"
)

// queryReply and batchReply are answers that write their own msgpack: points are
// most of what graph sends, and the codec's reflection would be most of its CPU.
// JSON and gob see the structs they are made of.
type (
	queryReply model.GraphQueryResponse
	batchReply model.GraphQueryBatchResp
)

// AppendMsgpack writes what the msgpack codec would write of the struct.
func (r *queryReply) AppendMsgpack(dst []byte) []byte {
	return appendAnswer(dst, (*model.GraphQueryResponse)(r))
}

// AppendMsgpack writes what the msgpack codec would write of the struct.
func (r *batchReply) AppendMsgpack(dst []byte) []byte {
	dst = rpc.AppendMsgpackString(rpc.AppendMsgpackMap(dst, 1), "answers")
	dst = rpc.AppendMsgpackArray(dst, len(r.Answers))
	for _, a := range r.Answers {
		dst = appendAnswer(dst, a)
	}
	return dst
}

func appendAnswer(dst []byte, r *model.GraphQueryResponse) []byte {
	text := rpc.AppendMsgpackString[string]
	dst = rpc.AppendMsgpackMap(dst, 5)
	dst = text(text(dst, "endpoint"), r.Endpoint)
	dst = text(text(dst, "counter"), r.Counter)
	dst = text(text(dst, "dstype"), r.DsType)
	dst = rpc.AppendMsgpackInt(text(dst, "step"), int64(r.Step))
	dst = rpc.AppendMsgpackArray(text(dst, "Values"), len(r.Values))
	for _, p := range r.Values {
		dst = append(dst, "\x82\xa9timestamp"...)
		dst = rpc.AppendMsgpackInt(dst, p.Timestamp)
		dst = append(dst, "\xa5value\xcb"...)
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(float64(p.Value)))
	}
	return dst
}
