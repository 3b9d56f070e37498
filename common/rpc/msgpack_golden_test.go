package rpc

import (
	"bytes"
	"context"
	"flag"
	"math"
	"net"
	netrpc "net/rpc"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/ugorji/go/codec"

	"falcon/common/model"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A message is a call of the fleet with an argument and an answer that use every
// field.
type message struct {
	method string
	arg    any // not a pointer
	reply  any // not a pointer
}

func messages() []message {
	points := []*model.RRDData{{Timestamp: 1500000000, Value: 1.5}, {Timestamp: 1500000060, Value: model.JSONFloat(math.NaN())}}
	return []message{
		{"Transfer.Ping", model.NullRpcRequest{}, model.SimpleRpcResponse{Code: 0}},
		{"Transfer.Update", []*model.MetricValue{
			{Endpoint: "host01", Metric: "cpu.idle", Value: 97.5, Step: 60, Type: "GAUGE", Timestamp: 1500000000},
			{Endpoint: "主机", Metric: "net.if.in.bytes", Value: "12", Step: 10, Type: "COUNTER", Tags: "iface=eth0", Timestamp: 1500000000},
			nil,
		}, model.TransferResponse{Message: "ok", Total: 3, Invalid: 1, Latency: 2}},
		{"Graph.Ping", model.NullRpcRequest{}, model.SimpleRpcResponse{Code: 0}},
		{"Graph.Send", []*model.GraphItem{{
			Endpoint: "host01", Metric: "df.bytes.free", Tags: map[string]string{"mount": "/"}, Value: -0.25, Timestamp: 1500000000,
			DsType: "GAUGE", Step: 60, Heartbeat: 120, Min: "U", Max: "U",
		}}, model.SimpleRpcResponse{Code: 1}},
		{"Graph.Query", model.GraphQueryParam{Start: 1500000000, End: 1500003600, ConsolFun: "AVERAGE", Endpoint: "host01", Counter: "cpu.idle", Step: 60},
			model.GraphQueryResponse{Endpoint: "host01", Counter: "cpu.idle", DsType: "GAUGE", Step: 60, Values: points}},
		{"Graph.QueryBatch", model.GraphQueryBatchParam{Queries: []*model.GraphQueryParam{{Start: 1, End: 2, ConsolFun: "MAX", Endpoint: "h", Counter: "c"}}},
			model.GraphQueryBatchResp{Answers: []*model.GraphQueryResponse{{Endpoint: "h", Counter: "c", DsType: "DERIVE", Step: 30, Values: points}}}},
		{"Graph.Info", model.GraphInfoParam{Endpoint: "h", Counter: "c/a=b"}, model.GraphInfoResp{ConsolFun: "GAUGE", Step: 60, Filename: "./data/6070/ab/abc_GAUGE_60.rrd"}},
		{"Graph.Last", model.GraphLastParam{Endpoint: "h", Counter: "c"}, model.GraphLastResp{Endpoint: "h", Counter: "c", Value: points[0]}},
		{"Graph.LastRaw", model.GraphLastParam{Endpoint: "h", Counter: "c"}, model.GraphLastResp{Endpoint: "h", Counter: "c", Value: points[0]}},
		{"Graph.LastBatch", model.GraphLastBatchParam{Series: []*model.GraphLastParam{{Endpoint: "h", Counter: "c"}}, Raw: true},
			model.GraphLastBatchResp{Answers: []*model.GraphLastResp{{Endpoint: "h", Counter: "c", Value: points[0]}}}},
		{"Graph.Delete", []*model.GraphDeleteParam{{Endpoint: "h", Metric: "m", Step: 60, DsType: "GAUGE", Tags: "a=b"}}, model.GraphDeleteResp{}},
		{"Graph.GetRrd", "d2a3cf076e6613a23a3a010c6e6d647a_GAUGE_60", model.File{Filename: "x.rrd", Body: []byte{0, 1, 255}}},
		{"Graph.Search", model.GraphSearchParam{Match: "web !canary", Tags: []string{"mount=/"}, Endpoints: []string{"h"}, Since: 1500000000, Limit: 10, After: "g"},
			model.GraphSearchResp{
				Endpoints: []model.GraphEndpoint{{Endpoint: "h", Last: 1500000000, Counters: 200}},
				Counters:  []model.GraphCounter{{Endpoint: "h", Counter: "c", Type: "GAUGE", Step: 60, Last: 1500000000}}, Total: 2,
			}},
	}
}

// tape notes what passes through a connection.
type tape struct {
	net.Conn
	mu      sync.Mutex
	out, in bytes.Buffer
}

func (t *tape) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.out.Write(b)
	t.mu.Unlock()
	return t.Conn.Write(b)
}

func (t *tape) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.mu.Lock()
	t.in.Write(b[:n])
	t.mu.Unlock()
	return n, err
}

// libraryBytes lets the library's client call the library's server once and returns
// what passed.
func libraryBytes(t *testing.T, m message, rpc codec.Rpc) (c2s, s2c []byte) {
	t.Helper()
	h := &codec.MsgpackHandle{}
	here, there := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		// net/rpc wants services with methods; a codec alone is enough to answer.
		sc := rpc.ServerCodec(there, h)
		var req netrpc.Request
		if err := sc.ReadRequestHeader(&req); err != nil {
			t.Error(err)
			return
		}
		if err := sc.ReadRequestBody(reflect.New(reflect.TypeOf(m.arg)).Interface()); err != nil {
			t.Error(err)
			return
		}
		if err := sc.WriteResponse(&netrpc.Response{ServiceMethod: req.ServiceMethod, Seq: req.Seq}, m.reply); err != nil {
			t.Error(err)
		}
	}()
	rec := &tape{Conn: here}
	c := netrpc.NewClientWithCodec(rpc.ClientCodec(rec, h))
	if err := c.Call(m.method, m.arg, reflect.New(reflect.TypeOf(m.reply)).Interface()); err != nil {
		t.Fatalf("%s: %v", m.method, err)
	}
	<-served
	_ = c.Close()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return bytes.Clone(rec.out.Bytes()), bytes.Clone(rec.in.Bytes())
}

// answering returns a server that answers m, and notes the argument it was given.
func answering(m message) (s *Server, got *any) {
	s, got = NewServer(ServerOptions{}), new(any)
	argType := reflect.TypeOf(m.arg)
	s.register(&method{
		name: m.method, ordered: true,
		newArg: func() any { return reflect.New(argType).Interface() },
		start: func(_ context.Context, _ *Conn, arg any, done func(any, error)) {
			*got = reflect.ValueOf(arg).Elem().Interface()
			reply := reflect.New(reflect.TypeOf(m.reply))
			reply.Elem().Set(reflect.ValueOf(m.reply))
			done(reply.Interface(), nil)
		},
	})
	return s, got
}

// Every message of the fleet as the library's client and server write it, in both
// of its RPC codecs: our server reads the request as it was meant, and writes the
// very reply.
func TestGoldenMsgpackMessages(t *testing.T) {
	for name, rpc := range map[string]codec.Rpc{"spec": codec.MsgpackSpecRpc, "gorpc": codec.GoRpc} {
		for _, m := range messages() {
			t.Run(name+"/"+m.method, func(t *testing.T) {
				base := filepath.Join("testdata", "msgpack", strings.ToLower(m.method)+"."+name)
				c2s, s2c := libraryBytes(t, m, rpc)
				if *update {
					for file, b := range map[string][]byte{base + ".c2s.bin": c2s, base + ".s2c.bin": s2c} {
						if err := os.WriteFile(file, b, 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
				if want := read(t, base+".c2s.bin"); !bytes.Equal(c2s, want) {
					t.Errorf("the library's client now writes\n%q\nthe golden request is\n%q", c2s, want)
				}
				s, got := answering(m)
				reply := exchange(t, s, read(t, base+".c2s.bin"))
				if want := read(t, base+".s2c.bin"); !bytes.Equal(reply, want) {
					t.Errorf("our server answers\n%q\nthe library's\n%q", reply, want)
				}
				if x, y := normal[any](t, *got), normal[any](t, m.arg); x != y {
					t.Errorf("our server understood %s\nmeant was %s", x, y)
				}
			})
		}
	}
}
