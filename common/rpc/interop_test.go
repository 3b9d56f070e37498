package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	netrpc "net/rpc"
	"net/rpc/jsonrpc"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/ugorji/go/codec"

	"falcon/common/model"
)

// listen serves s on a free port until the test ends.
func listen(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// A sample holds one value of each argument and reply type of the first slice.
var (
	sampleItems = []*model.GraphItem{
		{Endpoint: "h", Metric: "m", Tags: map[string]string{"k": "v"}, Value: 1.5, Timestamp: 1700000000, DsType: "GAUGE", Step: 60, Heartbeat: 120, Min: "U", Max: "U"},
		{Endpoint: strings.Repeat("long", 100), Metric: "z", Value: -1, Timestamp: 1700000060, DsType: "DERIVE", Step: 60},
	}
	sampleValues = []*model.MetricValue{
		{Endpoint: "h", Metric: "m", Value: 1.5, Step: 60, Type: "GAUGE", Tags: "a=b", Timestamp: 1700000000},
		{Endpoint: "h", Metric: "n", Value: "12", Step: 60, Type: "COUNTER", Timestamp: 1700000000},
	}
	sampleQuery = model.GraphQueryResponse{Endpoint: "h", Counter: "m", DsType: "GAUGE", Step: 60, Values: []*model.RRDData{{Timestamp: 60, Value: 1}, {Timestamp: 120, Value: 2.5}}}
)

// A sampleService is the same service for net/rpc's server and for ours.
type sampleService struct{ t testing.TB }

func (s sampleService) check(got, want any) error {
	if !reflect.DeepEqual(got, want) {
		s.t.Errorf("argument\n got %v\nwant %v", got, want)
		return errors.New("wrong argument")
	}
	return nil
}

func (s sampleService) Send(arg []*model.GraphItem, reply *model.SimpleRpcResponse) error {
	return s.check(fmt.Sprint(deref(arg)), fmt.Sprint(deref(sampleItems)))
}

func (s sampleService) Update(arg []*model.MetricValue, reply *model.TransferResponse) error {
	*reply = model.TransferResponse{Message: "ok", Total: len(arg)}
	return s.check(arg, sampleValues)
}

func (s sampleService) Query(arg model.GraphQueryParam, reply *model.GraphQueryResponse) error {
	*reply = sampleQuery
	return s.check(arg, model.GraphQueryParam{Start: 1, End: 2, ConsolFun: "MAX", Endpoint: "h", Counter: "m/k=v"})
}

func (s sampleService) Fail(arg model.NullRpcRequest, reply *model.SimpleRpcResponse) error {
	return errors.New(`bad "thing"`)
}

func deref(items []*model.GraphItem) []model.GraphItem {
	var r []model.GraphItem
	for _, i := range items {
		c := *i
		if len(c.Tags) == 0 {
			c.Tags = nil // gob sends no empty map
		}
		r = append(r, c)
	}
	return r
}

func adapt[A, R any](s *Server, name string, fn func(A, *R) error) {
	Handle(s, name, func(_ context.Context, _ *Conn, arg *A) (*R, error) {
		r := new(R)
		return r, fn(*arg, r)
	})
}

func sampleServer(t testing.TB) *Server {
	s := NewServer(ServerOptions{})
	svc := sampleService{t}
	adapt(s, "S.Send", svc.Send)
	adapt(s, "S.Update", svc.Update)
	adapt(s, "S.Query", svc.Query)
	adapt(s, "S.Fail", svc.Fail)
	return s
}

// converse makes every sample call by means of call, many at the same time.
func converse(t *testing.T, call func(method string, arg, reply any) error) {
	t.Helper()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var simple model.SimpleRpcResponse
			if err := call("S.Send", sampleItems, &simple); err != nil {
				t.Errorf("Send: %v", err)
			}
			var update model.TransferResponse
			if err := call("S.Update", sampleValues, &update); err != nil || update.Total != 2 || update.Message != "ok" {
				t.Errorf("Update: %+v, %v", update, err)
			}
			var query model.GraphQueryResponse
			arg := model.GraphQueryParam{Start: 1, End: 2, ConsolFun: "MAX", Endpoint: "h", Counter: "m/k=v"}
			if err := call("S.Query", arg, &query); err != nil || !reflect.DeepEqual(query, sampleQuery) {
				t.Errorf("Query: %+v, %v", query, err)
			}
			if err := call("S.Fail", model.NullRpcRequest{}, &simple); err == nil || err.Error() != `bad "thing"` {
				t.Errorf("Fail: %v", err)
			}
			if err := call("S.Nope", model.NullRpcRequest{}, &simple); err == nil || err.Error() != "rpc: can't find method S.Nope" {
				t.Errorf("Nope: %v", err)
			}
		})
	}
	wg.Wait()
}

// misfit sends arguments of the wrong type: the call fails and the connection lives.
func misfit(t *testing.T, call func(method string, arg, reply any) error) {
	t.Helper()
	for range 3 {
		var query model.GraphQueryResponse
		if err := call("S.Query", "a text", &query); err == nil {
			t.Error("a text was taken for a struct")
		}
		if err := call("S.Send", map[string]int{"a": 1}, &model.SimpleRpcResponse{}); err == nil {
			t.Error("a map was taken for a list")
		}
		if err := call("S.Send", sampleItems, &model.SimpleRpcResponse{}); err != nil {
			t.Errorf("after a misfit: %v", err)
		}
	}
}

// handles are the ways in which a msgpack peer may be configured.
func handles() map[string]*codec.MsgpackHandle {
	m := map[string]*codec.MsgpackHandle{}
	for _, array := range []bool{false, true} {
		for _, ext := range []bool{false, true} {
			h := &codec.MsgpackHandle{WriteExt: ext}
			h.StructToArray = array
			h.RawToString = true
			m[fmt.Sprintf("array=%v,ext=%v", array, ext)] = h
		}
	}
	return m
}

func TestForeignClients(t *testing.T) {
	addr := listen(t, sampleServer(t))
	dialTo := func(t *testing.T) net.Conn {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	run := func(name string, client func(net.Conn) *netrpc.Client) {
		t.Run(name, func(t *testing.T) {
			c := client(dialTo(t))
			defer c.Close()
			call := func(method string, arg, reply any) error { return c.Call(method, arg, reply) }
			converse(t, call)
			misfit(t, call)
		})
	}
	run("gob", func(nc net.Conn) *netrpc.Client { return netrpc.NewClient(nc) })
	run("jsonrpc", func(nc net.Conn) *netrpc.Client { return jsonrpc.NewClient(nc) })
	for name, h := range handles() {
		run("gorpc/"+name, func(nc net.Conn) *netrpc.Client { return netrpc.NewClientWithCodec(codec.GoRpc.ClientCodec(nc, h)) })
		run("spec/"+name, func(nc net.Conn) *netrpc.Client {
			return netrpc.NewClientWithCodec(codec.MsgpackSpecRpc.ClientCodec(nc, h))
		})
	}
}

// foreignServer serves the sample with net/rpc and the codec given.
func foreignServer(t *testing.T, serve func(*netrpc.Server, net.Conn)) string {
	t.Helper()
	s := netrpc.NewServer()
	if err := s.RegisterName("S", sampleService{t}); err != nil {
		t.Fatal(err)
	}
	return accept(t, func(nc net.Conn) { serve(s, nc) })
}

// accept calls fn with each connection on a goroutine of its own, until the test
// ends; then it closes them and waits.
func accept(t *testing.T, fn func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, nc)
			mu.Unlock()
			wg.Go(func() {
				fn(nc)
				_ = nc.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, nc := range open {
			_ = nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

func ourCall(t *testing.T, c *Client) func(method string, arg, reply any) error {
	return func(method string, arg, reply any) error { return c.Call(t.Context(), method, arg, reply) }
}

func TestForeignServers(t *testing.T) {
	run := func(name string, kind Codec, serve func(*netrpc.Server, net.Conn)) {
		t.Run(name, func(t *testing.T) {
			c := NewClient(ClientOptions{Addr: foreignServer(t, serve), Codec: kind})
			defer c.Close()
			converse(t, ourCall(t, c))
		})
	}
	run("gob", Gob, func(s *netrpc.Server, nc net.Conn) { s.ServeConn(nc) })
	run("jsonrpc", JSON, func(s *netrpc.Server, nc net.Conn) { s.ServeCodec(jsonrpc.NewServerCodec(nc)) })
	for name, h := range handles() {
		run("gorpc/"+name, GoRPC, func(s *netrpc.Server, nc net.Conn) { s.ServeCodec(codec.GoRpc.ServerCodec(nc, h)) })
		run("spec/"+name, Msgpack, func(s *netrpc.Server, nc net.Conn) { s.ServeCodec(codec.MsgpackSpecRpc.ServerCodec(nc, h)) })
	}
}

func TestOursToOurs(t *testing.T) {
	addr := listen(t, sampleServer(t))
	for _, kind := range []Codec{Auto, JSON, Gob, GoRPC, Msgpack} {
		t.Run(kind.String(), func(t *testing.T) {
			c := NewClient(ClientOptions{Addr: addr, Codec: kind})
			defer c.Close()
			converse(t, ourCall(t, c))
			misfit(t, ourCall(t, c))
			if kind == Auto && c.Speaks() != Msgpack {
				t.Errorf("an auto client speaks %v to ours", c.Speaks())
			}
		})
	}
}

// Real stock servers close the connection on msgpack; the call arrives all the same.
func TestAutoFindsStock(t *testing.T) {
	run := func(name string, stock Codec, serve func(*netrpc.Server, net.Conn)) {
		t.Run(name, func(t *testing.T) {
			c := NewClient(ClientOptions{Addr: foreignServer(t, serve), StockCodec: stock})
			defer c.Close()
			converse(t, ourCall(t, c))
			if c.Speaks() != stock {
				t.Errorf("speaks %v, want %v", c.Speaks(), stock)
			}
		})
	}
	run("gob", Gob, func(s *netrpc.Server, nc net.Conn) { s.ServeConn(nc) })
	run("jsonrpc", JSON, func(s *netrpc.Server, nc net.Conn) { s.ServeCodec(jsonrpc.NewServerCodec(nc)) })
}

// The bytes of a msgpack ping, as the library writes them.
func TestGoldenMsgpack(t *testing.T) {
	s := NewServer(ServerOptions{})
	HandleOrdered(s, "Transfer.Ping", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		return nil, nil
	})
	for _, tc := range []struct{ name, in, want string }{
		{"gorpc, map", "\x82\xadServiceMethod\xadTransfer.Ping\xa3Seq\x05\x80", "\x83\xadServiceMethod\xadTransfer.Ping\xa3Seq\x05\xa5Error\xa0\x81\xa4code\x00"},
		{"gorpc, array", "\x92\xadTransfer.Ping\x05\x90", "\x83\xadServiceMethod\xadTransfer.Ping\xa3Seq\x05\xa5Error\xa0\x81\xa4code\x00"},
		{"gorpc, error", "\x82\xadServiceMethod\xa1x\xa3Seq\x05\x80", "\x83\xadServiceMethod\xa1x\xa3Seq\x05\xa5Error\xb8rpc: can't find method x\x80"},
		{"spec", "\x94\x00\x05\xadTransfer.Ping\x91\x80", "\x94\x01\x05\xc0\x81\xa4code\x00"},
		{"spec, wide heads", "\xdc\x00\x04\x00\xce\x00\x01\x00\x00\xd9\x0dTransfer.Ping\xdc\x00\x01\x80", "\x94\x01\xce\x00\x01\x00\x00\xc0\x81\xa4code\x00"},
		{"spec, no params", "\x94\x00\x05\xadTransfer.Ping\x90", "\x94\x01\x05\xc0\x81\xa4code\x00"},
		{"spec, error", "\x94\x00\x05\xa1x\x91\x80", "\x94\x01\x05\xb8rpc: can't find method x\xc0"},
		{"spec, notification", "\x93\x02\xa1x\x90", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := exchange(t, s, []byte(tc.in)); !bytes.Equal(got, []byte(tc.want)) {
				t.Errorf("% x\n got %q\nwant %q", tc.in, got, tc.want)
			}
		})
	}
}
