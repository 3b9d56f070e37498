package graph

import (
	"bytes"
	"math"
	"testing"

	"github.com/ugorji/go/codec"

	"falcon/common/model"
)

// What an answer writes of itself reads back, with the library, as the struct.
func TestRepliesReadBackAsTheStruct(t *testing.T) {
	in := &model.GraphQueryResponse{Endpoint: "host", Counter: "cpu.idle/core=1", DsType: "GAUGE", Step: 60}
	for i := range 100 {
		in.Values = append(in.Values, &model.RRDData{Timestamp: 1795320600 + int64(60*i), Value: model.JSONFloat(i) / 7})
	}
	in.Values[3].Value = model.JSONFloat(math.NaN())
	batch := &model.GraphQueryBatchResp{Answers: []*model.GraphQueryResponse{in, {Endpoint: "none"}}}
	var h codec.MsgpackHandle
	h.RawToString = true
	for name, tc := range map[string]struct {
		written []byte
		lib     any
		back    any
	}{
		"one":   {(*queryReply)(in).AppendMsgpack(nil), in, new(model.GraphQueryResponse)},
		"batch": {(*batchReply)(batch).AppendMsgpack(nil), batch, new(model.GraphQueryBatchResp)},
	} {
		if err := codec.NewDecoderBytes(tc.written, &h).Decode(tc.back); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got, want []byte
		// Written again by the library, the two must be the same bytes.
		if err := codec.NewEncoderBytes(&got, &h).Encode(tc.back); err != nil {
			t.Fatal(err)
		}
		if err := codec.NewEncoderBytes(&want, &h).Encode(tc.lib); err != nil {
			t.Fatal(err)
		}
		want = bytes.ReplaceAll(want, []byte("\xa6Values\xc0"), []byte("\xa6Values\x90")) // no points are an empty list
		if !bytes.Equal(got, want) {
			t.Errorf("%s: read back as\n%x\nwant\n%x", name, got, want)
		}
	}
}
