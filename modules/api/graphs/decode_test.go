package graphs

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/ugorji/go/codec"

	"falcon/common/model"
)

// reflected has the fields of queryBatchResp without its decoder.
type reflected struct {
	Answers []*Series `json:"answers"`
	Raw     bool      `json:"raw"`
}

func handle(array, raw bool) *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: !raw}
	h.StructToArray = array
	h.TypeInfos = codec.NewTypeInfos([]string{"json", "codec"})
	return h
}

func encode(t testing.TB, h codec.Handle, v any) []byte {
	t.Helper()
	var b []byte
	if err := codec.NewEncoderBytes(&b, h).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b
}

func someAnswers() reflected {
	many := &Series{Endpoint: strings.Repeat("e", 300), Counter: strings.Repeat("c", 40), DsType: "DERIVE", Step: 300}
	for i := range 70_000 {
		many.Values = append(many.Values, model.RRDData{Timestamp: int64(i) << (i % 40), Value: model.JSONFloat(i)})
	}
	return reflected{Answers: []*Series{
		{Endpoint: "h", Counter: "cpu/k=v", DsType: "GAUGE", Step: 60, Values: []model.RRDData{{Timestamp: 1_795_319_760, Value: 1.5}, {Timestamp: -1, Value: -3}, {Timestamp: 1 << 40, Value: 1e300}}},
		nil,
		{Endpoint: "unknown", Counter: "x", Values: []model.RRDData{}},
		many,
	}}
}

// The decoder reads what every codec writes, in both forms of a struct.
func TestDecodeMsgpack(t *testing.T) {
	want := someAnswers()
	want.Raw = true
	for _, h := range []*codec.MsgpackHandle{handle(false, false), handle(false, true), handle(true, false), handle(true, true)} {
		b := encode(t, h, want)
		var got queryBatchResp
		if err := got.DecodeMsgpack(append(b, "what follows"...)); err != nil {
			t.Fatal(err)
		}
		if !got.Raw || !reflect.DeepEqual(got.Answers, want.Answers) {
			t.Errorf("array %v, raw %v: got %+v", h.StructToArray, !h.WriteExt, got.Answers[0])
		}
	}
}

func TestDecodeMsgpackOfOtherReleases(t *testing.T) {
	// Members that we do not know, in any order, and numbers in other kinds.
	newer := map[string]any{
		"more": map[string]any{"deep": []any{1, "x", nil, true, 1.5, []byte("b"), uint64(1 << 63)}},
		"answers": []any{map[string]any{
			"incomplete": []any{[]int{1, 2}}, "endpoint": []byte("h"), "step": uint64(60), "dstype": "GAUGE", "counter": "c",
			"Values": []any{map[string]any{"value": float32(1.5), "timestamp": uint32(7), "flag": true}, map[string]any{"timestamp": 8, "value": nil}, nil, map[string]any{"timestamp": int8(-9), "value": 3}},
		}},
	}
	var got queryBatchResp
	if err := got.DecodeMsgpack(encode(t, handle(false, false), newer)); err != nil {
		t.Fatal(err)
	}
	s := got.Answers[0]
	if s.Endpoint != "h" || s.Counter != "c" || s.DsType != "GAUGE" || s.Step != 60 || len(s.Values) != 3 ||
		s.Values[0] != (model.RRDData{Timestamp: 7, Value: 1.5}) || s.Values[1].Timestamp != 8 || !math.IsNaN(float64(s.Values[1].Value)) || s.Values[2] != (model.RRDData{Timestamp: -9, Value: 3}) {
		t.Errorf("got %+v", s)
	}
	for name, v := range map[string]any{"nothing": nil, "no answers": map[string]any{}, "answers is nothing": map[string]any{"answers": nil}} {
		var r queryBatchResp
		if err := r.DecodeMsgpack(encode(t, handle(false, false), v)); err != nil || len(r.Answers) != 0 {
			t.Errorf("%s: %v, %d answers", name, err, len(r.Answers))
		}
	}
	for name, b := range map[string]string{
		"empty": "", "a number": "\x01", "cut": "\x81\xa7answers\x91\x85\xa8endp", "a map for a list": "\x81\xa7answers\x80",
		"a length that lies": "\x81\xa7answers\xdd\xff\xff\xff\xff", "deep": "\x81\xa1x" + strings.Repeat("\x91", 100) + "\x00",
	} {
		var r queryBatchResp
		if err := r.DecodeMsgpack([]byte(b)); err == nil {
			t.Errorf("%s: no error, %d answers", name, len(r.Answers))
		}
	}
}

// Arbitrary bytes never panic, and what both decoders accept is the same.
func FuzzDecodeMsgpack(f *testing.F) {
	small := someAnswers()
	small.Answers = small.Answers[:3]
	for _, h := range []*codec.MsgpackHandle{handle(false, false), handle(true, true)} {
		f.Add(encode(f, h, small))
	}
	f.Add([]byte("\xdf\xff\xff\xff\xff"))
	f.Add([]byte("\x81\xa7answers\xdd\xff\xff\xff\xff\xc0\xc0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got queryBatchResp
		_ = got.DecodeMsgpack(b)
	})
}

func BenchmarkDecodeMsgpack(b *testing.B) {
	var all reflected
	for range 10 {
		s := &Series{Endpoint: "h", Counter: "cpu.idle", DsType: "GAUGE", Step: 60}
		for j := range 720 {
			s.Values = append(s.Values, model.RRDData{Timestamp: 1_795_319_760 + int64(j)*60, Value: model.JSONFloat(float64(j) + 0.25)})
		}
		all.Answers = append(all.Answers, s)
	}
	msg := encode(b, handle(false, false), all)
	b.ReportAllocs()
	for b.Loop() {
		var r queryBatchResp
		if err := r.DecodeMsgpack(msg); err != nil {
			b.Fatal(err)
		}
	}
}
