package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/ugorji/go/codec"

	"falcon/common/model"
)

func FuzzDetect(f *testing.F) {
	for _, s := range []string{"{", " \n{", "\x94\x00", "\xdc\x00\x04\x00", "\x82\xad", "\x92\xa1", "\x2e\x7f\x03\x01\x01\x07Request", "CONNECT ", "\x2f\xff\x81\x03\x01\x01\x07Request", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4*detectWindow {
			return
		}
		whole, _ := detect(b)
		// What is decided on a part must hold for the whole.
		for n := range len(b) {
			if part, _ := detect(b[:n]); part != detectMore && part != whole {
				t.Fatalf("detect(%q) is %v, but of its first %d bytes %v", b, whole, n, part)
			}
		}
	})
}

// The scanner takes every object that encoding/json takes, of the same length, and
// however the bytes are cut it finds the same.
func FuzzJSONScan(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":[]}`, `{"method":"A.B","params":[[{"x":1.5e-3,"y":null}],2],"id":[1,{"z":"\\\""}]} x`, `{"a":tru`, `{"a":true}`, `{"a" 1}`,
		`{"params":[[]],"params":[]}`, `{"id":"\\"}`, `{"params":[1,2],"result":[3]}`, strings.Repeat(`{"a":[`, 300), `{"":"\u00e9"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || b[0] != '{' {
			return
		}
		var s jsonScan
		done, err := s.run(b)
		var p jsonScan
		var pdone bool
		var perr error
		for n := 1; n <= len(b) && !pdone && perr == nil; n++ {
			pdone, perr = p.run(b[:n])
		}
		if done != pdone || (err == nil) != (perr == nil) || done && s != p {
			t.Fatalf("%q: whole %v %v %+v, in pieces %v %v %+v", b, done, err, s, pdone, perr, p)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		var v struct {
			Method, Params, ID, Result, Error *json.RawMessage
		}
		if dec.Decode(&v) != nil {
			return // the scanner may be more lenient than encoding/json, never stricter
		}
		if !done {
			if bytes.Count(b, []byte("{"))+bytes.Count(b, []byte("[")) >= maxJSONDepth || len(b) > maxNumber {
				return
			}
			t.Fatalf("%q: not taken: %v", b, err)
		}
		if int64(s.pos) != dec.InputOffset() {
			t.Fatalf("%q: ends at %d, want %d", b, s.pos, dec.InputOffset())
		}
		if bytes.Contains(b, []byte(`\u`)) || !json.Valid(b[:s.pos]) || !ascii(b) {
			return // escaped keys are not recognised, on purpose
		}
		if v.Params != nil && string(*v.Params) != string(s.params.of(b)) {
			t.Fatalf("%q: params %q, want %q", b, s.params.of(b), *v.Params)
		}
		var first []json.RawMessage
		if v.Params != nil && json.Unmarshal(*v.Params, &first) == nil && len(first) > 0 && string(first[0]) != string(s.argument.of(b)) {
			t.Fatalf("%q: argument %q, want %q", b, s.argument.of(b), first[0])
		}
	})
}

// ascii: encoding/json folds some letters beyond ASCII into ASCII ones, which keys
// of ours never have.
func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func FuzzMsgpackScan(f *testing.F) {
	for _, s := range []string{"\xc0", "\x94\x00\x01\xa1x\x91\x80", "\xdd\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\xc7\x01\x05a", "\xc1", "\xdf\x00\x00\x00\x01\xa1a\x92\x01\x02", strings.Repeat("\x91", 100)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, p mpScan
		s.from(0, 1<<20)
		done, err := s.run(b)
		p.from(0, 1<<20)
		var pdone bool
		var perr error
		for n := 1; n <= len(b) && !pdone && perr == nil; n++ {
			pdone, perr = p.run(b[:n])
		}
		if done != pdone || (err == nil) != (perr == nil) || done && s.pos != p.pos {
			t.Fatalf("% x: whole %v %d %v, in pieces %v %d %v", b, done, s.pos, err, pdone, p.pos, perr)
		}
	})
}

// fuzzServer answers every method of the slice.
func fuzzServer(t testing.TB) *Server {
	s := NewServer(ServerOptions{MaxMessage: 1 << 20})
	st := newStage(t, s)
	st.t = t
	return s
}

// Arbitrary bytes never stop a server, and a claim of a length costs nothing.
func FuzzConnection(f *testing.F) {
	for _, dir := range []string{"agent-transfer", "transfer-graph", "api-graph", "graph-client"} {
		for _, fx := range fixtures(f, dir) {
			if len(fx.c2s) < 2000 {
				f.Add(fx.c2s)
			}
		}
	}
	h := codec.MsgpackHandle{}
	for _, arg := range []any{sampleItems, sampleValues, model.GraphQueryParam{Endpoint: "h"}, []model.GraphDeleteParam{{Endpoint: "h"}}} {
		for _, m := range []string{"Graph.Send", "Transfer.Update", "Graph.Query", "Graph.Delete"} {
			var b []byte
			codec.NewEncoderBytes(&b, &h).MustEncode([]any{0, 1, m, []any{arg}})
			f.Add(b)
		}
	}
	f.Add([]byte("\x94\x00\x01\xaaGraph.Send\x91\xdd\xff\xff\xff\xff"))
	f.Add([]byte("\x94\x00\x01\xaaGraph.Send\x91\xdb\x00\x0f\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := fuzzServer(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		exchange(t, s, b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("%d bytes made the server allocate %d", len(b), n)
		}
		if n := s.Stats().Panics.Load(); n > 0 {
			t.Errorf("%d panics by %q", n, b)
		}
	})
}

// Arbitrary answers never stop a client.
func FuzzReplies(f *testing.F) {
	for _, fx := range fixtures(f, "api-graph") {
		f.Add(byte(Gob), fx.s2c)
	}
	f.Add(byte(JSON), []byte(`{"id":1,"result":{"code":0},"error":null}`))
	f.Add(byte(Msgpack), []byte("\x94\x01\x01\xc0\x81\xa4code\x00"))
	f.Add(byte(GoRPC), []byte("\x83\xadServiceMethod\xa1x\xa3Seq\x01\xa5Error\xa0\x81\xa4code\x00"))
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		k := Codec(kind)
		if k == Auto || k >= numCodecs {
			return
		}
		in := newInbuf(bytes.NewReader(b), 1<<20)
		c := newClientCodec(k, in, newMpCoder())
		for {
			var h replyHeader
			if c.head(&h) != nil {
				return
			}
			if err := c.body(&h, new(model.GraphQueryResponse)); err != nil && !isArgError(err) {
				return
			}
		}
	})
}

func BenchmarkPing(b *testing.B) {
	addr := listen(b, pingServer())
	for _, kind := range []Codec{JSON, Gob, Msgpack} {
		b.Run(kind.String(), func(b *testing.B) {
			c := NewClient(ClientOptions{Addr: addr, Codec: kind})
			defer c.Close()
			b.ReportAllocs()
			for b.Loop() {
				if err := ping(context.Background(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJSONScan(b *testing.B) {
	one := `{"endpoint":"web-0001.example","metric":"cpu.idle","value":93.25,"step":60,"counterType":"GAUGE","tags":"core=1,mode=idle","timestamp":1700000000},`
	msg := []byte(`{"method":"Transfer.Update","params":[[` + strings.TrimSuffix(strings.Repeat(one, 200), ",") + `]],"id":1}`)
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		var s jsonScan
		if done, err := s.run(msg); !done || err != nil {
			b.Fatal(done, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200, "ns/item")
}

var _ io.ByteReader = (*gobReader)(nil)
