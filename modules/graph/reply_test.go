package graph

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"math"
	"testing"

	"github.com/ugorji/go/codec"

	"falcon/common/model"
	"falcon/modules/graph/tsdb"
)

// What an answer writes of itself is, in every codec, what the library writes of
// the struct that it stands for.
func TestRepliesAreTheStructOfTheModel(t *testing.T) {
	reply := &queryReply{Endpoint: "host", Counter: "cpu.idle/core=1", DsType: "GAUGE", Step: 60}
	want := &model.GraphQueryResponse{Endpoint: "host", Counter: "cpu.idle/core=1", DsType: "GAUGE", Step: 60}
	times := []int64{0, 60, 65520, 65536, 65580, math.MaxUint32 - 60, math.MaxUint32, math.MaxUint32 + 1}
	for i := range 100 {
		times = append(times, 1795320600+int64(60*i))
	}
	for i, ts := range times {
		v := float64(i) / 7
		if i == 3 {
			v = math.NaN()
		}
		reply.points = append(reply.points, tsdb.Point{Ts: ts, Value: v})
		want.Values = append(want.Values, &model.RRDData{Timestamp: ts, Value: model.JSONFloat(v)})
	}
	reply.Values = values(reply.points)
	none := &queryReply{Endpoint: "none", Values: values(nil)}
	for _, tc := range []struct {
		name  string
		reply interface{ AppendMsgpack([]byte) []byte }
		want  any
		back  any
	}{
		{"one", reply, want, new(model.GraphQueryResponse)},
		{"batch", &batchReply{Answers: []*queryReply{reply, none}},
			&model.GraphQueryBatchResp{Answers: []*model.GraphQueryResponse{want, {Endpoint: "none", Values: []*model.RRDData{}}}}, new(model.GraphQueryBatchResp)},
		{"raw", &batchReply{Answers: []*queryReply{reply}, Raw: true},
			&model.GraphQueryBatchResp{Answers: []*model.GraphQueryResponse{want}, Raw: true}, new(model.GraphQueryBatchResp)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			js, err := json.Marshal(tc.want)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := json.Marshal(tc.reply); err != nil || !bytes.Equal(got, js) {
				t.Errorf("JSON %s, %v\nwant %s", got, err, js)
			}

			var h codec.MsgpackHandle
			h.RawToString = true
			if err := codec.NewDecoderBytes(tc.reply.AppendMsgpack([]byte{}), &h).Decode(tc.back); err != nil {
				t.Fatal(err)
			}
			var got, mp []byte
			// Written again by the library, the two must be the same bytes.
			if err := codec.NewEncoderBytes(&got, &h).Encode(tc.back); err != nil {
				t.Fatal(err)
			}
			if err := codec.NewEncoderBytes(&mp, &h).Encode(tc.want); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, mp) {
				t.Errorf("msgpack reads back as\n%x\nwant\n%x", got, mp)
			}

			var b bytes.Buffer
			if err := gob.NewEncoder(&b).Encode(tc.reply); err != nil {
				t.Fatal(err)
			}
			if err := gob.NewDecoder(&b).Decode(tc.back); err != nil {
				t.Fatal(err)
			}
			if got, err := json.Marshal(tc.back); err != nil || !bytes.Equal(got, js) {
				t.Errorf("gob reads back as %s, %v\nwant %s", got, err, js)
			}
		})
	}
}

func BenchmarkReply(b *testing.B) {
	r := &queryReply{Endpoint: "host", Counter: "cpu.idle", DsType: "GAUGE", Step: 60, points: make([]tsdb.Point, 720)}
	for i := range r.points {
		r.points[i] = tsdb.Point{Ts: 1795320600 + int64(60*i), Value: float64(i)}
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = r.AppendMsgpack(dst[:0])
	}
}
