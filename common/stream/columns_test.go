package stream

import (
	"bytes"
	"context"
	"io"
	"math"
	"net"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/common/rpc"
)

func series(n int, text bool) *model.Series {
	return &model.Series{
		Endpoint: "web-" + string(rune('a'+n%26)), Metric: "cpu.idle", Tags: "core=" + string(rune('0'+n%10)), Type: model.Gauge,
		Step: 60, Heartbeat: 120, Min: -1.5, Max: 100, Text: text,
	}
}

// A push as it travels, byte for byte.
func TestGoldenPush(t *testing.T) {
	var tab table
	tab.connect()
	a, b := tab.define(series(0, false)), tab.define(series(1, true))
	var p push
	p.seq = 1
	tab.fill(&p, []Point{{Handle: a, Time: 1700000000, Value: 1.5}, {Handle: b, Time: 1700000060, Text: "up"}, {Handle: a, Time: 1700000060, Value: -2}}, 0)
	want := "\x87\xa3seq\x01" +
		"\xa6define\x92" +
		"\x9a\x01\xa5web-a\xa8cpu.idle\xa6core=0\xa5GAUGE\x3c\x78\xcb\xbf\xf8\x00\x00\x00\x00\x00\x00\xcb\x40\x59\x00\x00\x00\x00\x00\x00\xa6number" +
		"\x9a\x02\xa5web-b\xa8cpu.idle\xa6core=1\xa5GAUGE\x3c\x78\xcb\xbf\xf8\x00\x00\x00\x00\x00\x00\xcb\x40\x59\x00\x00\x00\x00\x00\x00\xa6string" +
		"\xa4base\xce\x65\x53\xf1\x00" +
		"\xa4refs\xa3\x02\x00\x02" +
		"\xa5times\xa3\x00\x78\x78" +
		"\xa6values\xb0\x00\x00\x00\x00\x00\x00\xf8\x3f\x00\x00\x00\x00\x00\x00\x00\xc0" +
		"\xa5texts\xa3\x02up"
	got := string(p.AppendMsgpack(nil))
	if got != want {
		t.Errorf("push\n got %q\nwant %q", got, want)
	}

	var back push
	if err := back.DecodeMsgpack([]byte(got)); err != nil {
		t.Fatal(err)
	}
	var pts Points
	if err := back.cols.decode(&pts, 10); err != nil {
		t.Fatal(err)
	}
	if w := (Points{Refs: []uint32{1, 1, 2}, Times: []int64{1700000000, 1700000060, 1700000060}, Values: []float64{1.5, -2}, Texts: []string{"up"}}); !reflect.DeepEqual(pts, w) {
		t.Errorf("points\n got %+v\nwant %+v", pts, w)
	}
	if len(back.define) != 2 || !reflect.DeepEqual(back.define[0].series, series(0, false)) || !reflect.DeepEqual(back.define[1].series, series(1, true)) {
		t.Errorf("definitions %+v", back.define)
	}
}

func TestGoldenAck(t *testing.T) {
	a := Ack{Seq: 3, Taken: 5, Refused: []model.Refusal{{Ref: 7, Reason: "late", N: 2}}, More: 1, Redefine: []uint32{300}, Mute: []uint32{1, 2}, Unmute: &Unmute{Generation: 9, Metrics: []string{"cpu.idle"}}}
	want := "\x87\xa3seq\x03\xa5taken\x05\xa7refused\x91\x93\x07\xa4late\x02\xa4more\x01\xa8redefine\x91\xcd\x01\x2c\xa4mute\x92\x01\x02\xa6unmute\x82\xaageneration\x09\xa7metrics\x91\xa8cpu.idle"
	if got := string(a.AppendMsgpack(nil)); got != want {
		t.Errorf("ack\n got %q\nwant %q", got, want)
	}
	var back Ack
	if err := back.DecodeMsgpack([]byte(want)); err != nil || !reflect.DeepEqual(back, a) {
		t.Errorf("got %+v, %v", back, err)
	}
	// Of a newer peer: fields and elements that are not known here.
	newer := "\x85\xa3seq\x03\xa3new\x92\x01\xc0\xa5taken\x05\xa7refused\x91\x94\x07\xa4late\x02\xc3\xa6unmute\x82\xa3all\xc3\xa1x\xc0"
	back = Ack{}
	if err := back.DecodeMsgpack([]byte(newer)); err != nil || back.Taken != 5 || len(back.Refused) != 1 || !back.Unmute.All {
		t.Errorf("newer ack: %+v, %v", back, err)
	}
	// Beyond 64 refusals all but the first are summed up.
	var many Ack
	for i := range 70 {
		many.Refused = append(many.Refused, model.Refusal{Ref: uint32(i), Reason: "late", N: 2})
	}
	back = Ack{}
	if err := back.DecodeMsgpack(many.AppendMsgpack(nil)); err != nil || len(back.Refused) != 49 || back.Refused[48] != (model.Refusal{Reason: "late", N: 44}) || back.More != 0 {
		t.Errorf("70 refusals: %+v, %d more, %v", back.Refused, back.More, err)
	}
}

func TestBrokenColumns(t *testing.T) {
	one := make([]byte, 8)
	for _, tc := range []struct {
		name string
		c    columns
	}{
		{"half a value", columns{refs: []byte{2}, times: []byte{0}, values: one[:4]}},
		{"more times than refs", columns{refs: []byte{2}, times: []byte{0, 0}, values: one}},
		{"fewer times than refs", columns{refs: []byte{2, 2}, times: []byte{0}, values: one}},
		{"more values than refs", columns{values: one}},
		{"ref below zero", columns{refs: []byte{1}, times: []byte{0}, values: one}},
		{"ref beyond 32 bits", columns{refs: appendZigzag(nil, 1<<32), times: []byte{0}, values: one}},
		{"endless varint", columns{refs: bytes.Repeat([]byte{0xff}, 11), times: []byte{0}, values: one}},
		{"text is missing", columns{refs: []byte{2}, times: []byte{0}}},
		{"text ends early", columns{refs: []byte{2}, times: []byte{0}, texts: []byte{5, 'a'}}},
		{"text of 2^60 bytes", columns{refs: []byte{2}, times: []byte{0}, texts: appendZigzag(nil, 1<<59)}},
		{"bytes behind the last text", columns{refs: []byte{2}, times: []byte{0}, texts: []byte{1, 'a', 'b'}}},
		{"texts without points", columns{texts: []byte{0}}},
		{"too many points", columns{refs: make([]byte, 5), times: make([]byte, 5), values: make([]byte, 40)}},
	} {
		var p Points
		if err := tc.c.decode(&p, 4); err == nil {
			t.Errorf("%s: taken as %+v", tc.name, p)
		}
	}
}

func recordOf(points []Point, tab *table) []byte {
	var e Encoder
	return e.Encode(nil, points, tab.series)
}

func TestRecord(t *testing.T) {
	var tab table
	a, b, c := tab.define(series(0, false)), tab.define(series(1, true)), tab.define(series(2, false))
	gone := tab.define(series(3, false))
	tab.release(gone)
	points := []Point{
		{Handle: c, Time: 100, Value: math.Inf(1)}, {Handle: b, Time: 90, Text: "x"}, {Handle: a, Time: 160, Value: -0.5},
		{Handle: gone, Time: 1, Value: 1}, {Handle: 99, Time: 1, Value: 1}, {Handle: b, Time: 150, Text: ""}, {Handle: c, Time: 160, Value: 3},
	}
	var e Encoder
	for range 3 { // scratch memory is used again
		var r Record
		if err := r.Decode(e.Encode(nil, points, tab.series)); err != nil {
			t.Fatal(err)
		}
		if want := []model.Series{*series(2, false), *series(1, true), *series(0, false)}; !reflect.DeepEqual(r.Series, want) {
			t.Errorf("series\n got %+v\nwant %+v", r.Series, want)
		}
		if want := (Points{Refs: []uint32{0, 2, 0, 1, 1}, Times: []int64{100, 160, 160, 90, 150}, Values: []float64{math.Inf(1), -0.5, 3}, Texts: []string{"x", ""}}); !reflect.DeepEqual(r.Points, want) {
			t.Errorf("points\n got %+v\nwant %+v", r.Points, want)
		}
	}
	var r Record
	if err := r.Decode([]byte{9}); err == nil || !strings.Contains(err.Error(), "version 9: this program reads version 1") {
		t.Errorf("a version of the future: %v", err)
	}
	whole := recordOf(points, &tab)
	for n := range whole {
		if err := r.Decode(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken as a record", n, len(whole))
		}
	}
}

func FuzzRecord(f *testing.F) {
	var tab table
	a, b := tab.define(series(0, false)), tab.define(series(1, true))
	f.Add(recordOf([]Point{{Handle: a, Time: 100, Value: 1}, {Handle: b, Time: 90, Text: "x"}}, &tab))
	f.Add(recordOf(nil, &tab))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, in []byte) {
		var r Record
		if bounded(t, in, func() error { return r.Decode(in) }) != nil {
			return
		}
		// What is read can be written and read again.
		var tab table
		handles := map[uint32]Handle{}
		for i := range r.Series {
			handles[uint32(i)] = tab.define(&r.Series[i])
		}
		var points []Point
		for i, ref := range r.Points.Refs {
			p := Point{Handle: handles[ref], Time: r.Points.Times[i]}
			if n := len(r.Points.Values); i < n {
				p.Value = r.Points.Values[i]
			} else {
				p.Text = r.Points.Texts[i-n]
			}
			points = append(points, p)
		}
		var again Record
		if err := again.Decode(recordOf(points, &tab)); err != nil || len(again.Points.Refs) != len(points) {
			t.Fatalf("written again: %v", err)
		}
	})
}

// bounded fails when fn allocates out of proportion to its input.
func bounded(t *testing.T, in []byte, fn func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := fn()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+200*uint64(len(in)) {
		t.Errorf("%d bytes made it allocate %d", len(in), n)
	}
	return err
}

func FuzzPush(f *testing.F) {
	var tab table
	tab.connect()
	a, b := tab.define(series(0, false)), tab.define(series(1, true))
	var p push
	p.seq, p.after = 8, 7
	tab.fill(&p, []Point{{Handle: a, Time: 100, Value: 1}, {Handle: b, Time: 90, Text: "x"}}, 0)
	p.forget = []uint32{1}
	f.Add(p.AppendMsgpack(nil))
	f.Add([]byte("\x82\xa3seq\x01\xa6define\xdd\xff\xff\xff\xff"))
	f.Add([]byte("\x82\xa3seq\x01\xa6forget\xdd\xff\xff\xff\xff\x01"))
	f.Add([]byte("\xdf\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		_ = bounded(t, in, func() error {
			var p push
			if err := p.DecodeMsgpack(in); err != nil {
				return err
			}
			var pts Points
			return p.cols.decode(&pts, 1<<20)
		})
		var a Ack
		_ = bounded(t, in, func() error { return a.DecodeMsgpack(in) })
	})
}

func benchPoints(tab *table, text bool) []Point {
	var points []Point
	for i := range 5000 {
		h := tab.define(series(i, text))
		points = append(points, Point{Handle: h, Time: 1700000000 + int64(i%60), Value: float64(i) * 1.1, Text: "some text"})
	}
	return points
}

func BenchmarkEncode(b *testing.B) {
	for name, text := range map[string]bool{"number": false, "text": true} {
		b.Run(name, func(b *testing.B) {
			var tab table
			tab.connect()
			points := benchPoints(&tab, text)
			var p push
			tab.fill(&p, points, 0) // defines them
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				tab.fill(&p, points, 0)
				out = p.AppendMsgpack(out[:0])
			}
			perPoint(b, len(points))
			b.ReportMetric(float64(len(out))/float64(len(points)), "B/point")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, text := range map[string]bool{"number": false, "text": true} {
		b.Run(name, func(b *testing.B) {
			var tab table
			tab.connect()
			points := benchPoints(&tab, text)
			var p push
			tab.fill(&p, points, 0)
			tab.fill(&p, points, 0) // without definitions
			in := p.AppendMsgpack(nil)
			var pts Points
			b.ReportAllocs()
			for b.Loop() {
				var p push
				pts.reset()
				if err := p.DecodeMsgpack(in); err != nil {
					b.Fatal(err)
				}
				if err := p.cols.decode(&pts, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
			perPoint(b, len(points))
		})
	}
}

func BenchmarkRecord(b *testing.B) {
	var tab table
	points := benchPoints(&tab, false)
	var e Encoder
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = e.Encode(out[:0], points, tab.series)
	}
	perPoint(b, len(points))
}

func perPoint(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/point")
}

// The two halves of Stream.Open, byte for byte.
func TestGoldenOpen(t *testing.T) {
	ours, theirs := net.Pipe()
	const request = "\x94\x00\x01\xabStream.Open\x91\x86" +
		"\xa7version\x01" + "\xaccapabilities\x91\xa1c" + "\xa4kind\xa5graph" + "\xa6sender\xa2t1" + "\xa4ring\xa2r1" + "\xa5token\xa1x"
	const reply = "\x94\x01\x01\xc0\x84\xaccapabilities\x90\xa7version\x01\xa6window\x08\xacwindow_bytes\xd2\x00\x40\x00\x00"
	got := make([]byte, len(request))
	go func() {
		_, _ = io.ReadFull(theirs, got)
		_, _ = io.WriteString(theirs, reply)
	}()
	cc, err := rpc.Dial(t.Context(), rpc.ClientOptions{Addr: "x", Codec: rpc.Msgpack, Dial: func(context.Context, string) (net.Conn, error) { return ours, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	var w welcome
	err = cc.Call(t.Context(), methodOpen, &Hello{Version: 1, Capabilities: []string{"c"}, Kind: "graph", Sender: "t1", Ring: "r1", Token: "x"}, &w)
	if err != nil || w.Version != 1 || w.Window != 8 || w.WindowBytes != 4<<20 {
		t.Errorf("welcome %+v, %v", w, err)
	}
	if string(got) != request {
		t.Errorf("open\n got %q\nwant %q", got, request)
	}
	_ = theirs.Close()
}
