package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/model"
)

// A captured call, as the .json beside the captured bytes shows it.
type captured struct {
	Seq     uint64
	Method  string
	Args    json.RawMessage
	Request struct {
		Method string
		Params []json.RawMessage
		ID     json.RawMessage
	}
	Reply json.RawMessage
	Error string
}

func (c *captured) method() string { return c.Method + c.Request.Method }

func (c *captured) arg() json.RawMessage {
	if c.Args != nil {
		return c.Args
	}
	if len(c.Request.Params) > 0 {
		return c.Request.Params[0]
	}
	return json.RawMessage("null")
}

// A fixture is one connection between two stock peers.
type fixture struct {
	name     string
	calls    []captured
	c2s, s2c []byte
}

func fixtures(t testing.TB, dir string) []fixture {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", dir, "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures in testdata/%s: %v", dir, err)
	}
	var all []fixture
	for _, name := range names {
		base := strings.TrimSuffix(name, ".json")
		f := fixture{name: filepath.Base(base), c2s: read(t, base+".c2s.bin"), s2c: read(t, base+".s2c.bin")}
		if strings.HasPrefix(f.name, "broken_json") {
			continue // not decodable, has a test of its own
		}
		text := bytes.ReplaceAll(read(t, name), []byte(`"NaN"`), []byte("null"))
		if text[0] == '{' { // a single call
			text = append(append([]byte("["), text...), ']')
		}
		if err := json.Unmarshal(text, &f.calls); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, f)
	}
	return all
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// normal writes v, or the JSON text that describes a value of the same type, in
// one way, so that the two can be compared.
func normal[T any](t testing.TB, v any) string {
	t.Helper()
	if text, ok := v.(json.RawMessage); ok {
		into := new(T)
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("fixture %.200s: %v", text, err)
		}
		v = into
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A stage plays the methods of stock daemons from a fixture: it notes what it is
// given and answers what stock has answered.
type stage struct {
	t   testing.TB
	mu  sync.Mutex
	got map[string][]string // method -> normal forms of the arguments, in any order
	// answers by normal form of the argument
	answers map[string]*captured
}

func play[A, R any](s *Server, st *stage, name string) {
	HandleOrdered(s, name, func(_ context.Context, _ *Conn, arg *A) (*R, error) {
		st.mu.Lock()
		defer st.mu.Unlock()
		key := normal[A](st.t, arg)
		st.got[name] = append(st.got[name], key)
		call := st.answers[name+key]
		if call == nil {
			return nil, errors.New("not in the fixture")
		}
		if call.Error != "" {
			return nil, errors.New(call.Error)
		}
		r := new(R)
		if name == "Graph.GetRrd" {
			return r, nil // the fixture's text has no body
		}
		err := json.Unmarshal(result(call), r)
		return r, err
	})
}

// result returns what a captured reply carries, in either of the two forms that
// the decoded views have.
func result(c *captured) json.RawMessage {
	var r struct{ Result json.RawMessage }
	if c.Request.Method != "" && json.Unmarshal(c.Reply, &r) == nil {
		return r.Result
	}
	return c.Reply
}

func newStage(t testing.TB, s *Server) *stage {
	st := &stage{t: t, got: map[string][]string{}, answers: map[string]*captured{}}
	play[model.NullRpcRequest, model.SimpleRpcResponse](s, st, "Transfer.Ping")
	play[[]*model.MetricValue, model.TransferResponse](s, st, "Transfer.Update")
	play[model.NullRpcRequest, model.SimpleRpcResponse](s, st, "Graph.Ping")
	play[[]*model.GraphItem, model.SimpleRpcResponse](s, st, "Graph.Send")
	play[model.GraphQueryParam, model.GraphQueryResponse](s, st, "Graph.Query")
	play[model.GraphInfoParam, model.GraphInfoResp](s, st, "Graph.Info")
	play[model.GraphLastParam, model.GraphLastResp](s, st, "Graph.Last")
	play[model.GraphLastParam, model.GraphLastResp](s, st, "Graph.LastRaw")
	play[[]*model.GraphDeleteParam, model.GraphDeleteResp](s, st, "Graph.Delete")
	play[string, model.File](s, st, "Graph.GetRrd")
	play[model.NullRpcRequest, string](s, st, "Agent.TrustableIps")
	return st
}

// learn prepares the answers of one fixture.
func (st *stage) learn(f *fixture) {
	for i := range f.calls {
		c := &f.calls[i]
		st.answers[c.method()+normalArg(st.t, c.method(), c.arg())] = c
	}
}

func normalArg(t testing.TB, method string, arg any) string {
	switch method {
	case "Transfer.Update":
		return normal[[]*model.MetricValue](t, arg)
	case "Graph.Send":
		return normal[[]*model.GraphItem](t, arg)
	case "Graph.Query":
		return normal[model.GraphQueryParam](t, arg)
	case "Graph.Info", "Graph.Last", "Graph.LastRaw":
		return normal[model.GraphLastParam](t, arg)
	case "Graph.Delete":
		return normal[[]*model.GraphDeleteParam](t, arg)
	case "Graph.GetRrd":
		return normal[string](t, arg)
	}
	return "{}"
}

// exchange gives b to s as one connection and returns what s answers until it
// closes.
func exchange(t testing.TB, s *Server, b []byte) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	s.ServeConn(t.Context(), halfClosed{theirs, bytes.NewReader(b)}, &wg)
	var got bytes.Buffer
	_, _ = io.Copy(&got, ours) // ends when s closes
	wg.Wait()
	_ = ours.Close()
	return got.Bytes()
}

// halfClosed is a connection whose peer has sent in and closed its side.
type halfClosed struct {
	net.Conn
	in io.Reader
}

func (h halfClosed) Read(p []byte) (int, error) { return h.in.Read(p) }

// What stock agents send is understood, and JSON answers are stock's byte for byte.
func TestGoldenJSONRequests(t *testing.T) {
	for _, dir := range []string{"agent-transfer", "agent-hbs"} {
		for _, f := range fixtures(t, dir) {
			t.Run(dir+"/"+f.name, func(t *testing.T) {
				if f.name == "float_timestamp" || f.name == "pipelined" || f.name == "stream_start" {
					t.Skip("has a test of its own")
				}
				s := NewServer(ServerOptions{})
				st := newStage(t, s)
				st.learn(&f)
				got := exchange(t, s, f.c2s)
				if !bytes.Equal(got, f.s2c) {
					t.Errorf("answer to %s\n got %s\nwant %s", f.name, got, f.s2c)
				}
			})
		}
	}
}

func TestGoldenStreamOfAnAgent(t *testing.T) {
	for _, f := range fixtures(t, "agent-transfer") {
		if f.name != "stream_start" {
			continue
		}
		s := NewServer(ServerOptions{})
		st := newStage(t, s)
		st.learn(&f)
		got := exchange(t, s, f.c2s)
		if !bytes.Equal(got, f.s2c) {
			t.Errorf("answer to a stock agent\n got %s\nwant %s", got, f.s2c)
		}
	}
}

// A timestamp with a fraction fails the call and not the connection; broken syntax
// closes it without an answer.
func TestBadJSON(t *testing.T) {
	s := NewServer(ServerOptions{})
	newStage(t, s)
	got := string(exchange(t, s, read(t, "testdata/agent-transfer/float_timestamp.c2s.bin")))
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `{"id":51,"result":null,"error":"json: cannot unmarshal number 1795320654.5 into Go struct field`) || !strings.HasPrefix(lines[1], `{"id":52,"result"`) {
		t.Errorf("fraction in a timestamp: got %s", got)
	}

	for _, tc := range []struct{ name, in, want string }{
		{"broken after a good call", `{"method":"Transfer.Ping","params":[{}],"id":1} {"method": nonsense`, `{"id":1,"result":{"code":0},"error":null}` + "\n"},
		{"no colon", `{"method" "Transfer.Ping"`, ""},
		{"array", `[1]`, ""},
		{"no method", `{"params":[{}],"id":1}`, ""},
		{"ugorji's JSON", `{"ServiceMethod":"Transfer.Ping","Seq":1}`, ""},
		{"method is a number", `{"method":1,"params":[{}],"id":1}`, ""},
		{"params an object", `{"method":"Transfer.Ping","params":{},"id":1}`, `{"id":1,"result":null,"error":"json: cannot unmarshal object into Go value of type [1]interface {}"}` + "\n"},
		{"params null", `{"method":"Transfer.Ping","params":null,"id":1}`, `{"id":1,"result":null,"error":"jsonrpc: request body missing params"}` + "\n"},
		{"no id, keys in capitals", ` {"METHOD":"Transfer.Ping","Params":[]}`, `{"id":null,"result":{"code":0},"error":null}` + "\n"},
		{"several on a line, any id", `{"method":"Transfer.Ping","params":[{},1,[2]],"id":{"a":[1,"}"]}}{"id":"x\"}","params":[],"method":"Transfer.Ping"}`,
			`{"id":{"a":[1,"}"]},"result":{"code":0},"error":null}` + "\n" + `{"id":"x\"}","result":{"code":0},"error":null}` + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := NewServer(ServerOptions{})
			HandleOrdered(s, "Transfer.Ping", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
				return nil, nil
			})
			if got := string(exchange(t, s, []byte(tc.in))); got != tc.want {
				t.Errorf("%s\n got %q\nwant %q", tc.in, got, tc.want)
			}
		})
	}
}

// What stock transfer and api send in gob is understood, and what stock graph
// answered is understood by our client when our server says it.
func TestGoldenGob(t *testing.T) {
	for _, dir := range []string{"transfer-graph", "api-graph", "graph-client"} {
		for _, f := range fixtures(t, dir) {
			t.Run(dir+"/"+f.name, func(t *testing.T) {
				s := NewServer(ServerOptions{})
				st := newStage(t, s)
				st.learn(&f)
				reply := exchange(t, s, f.c2s)

				want := map[string][]string{}
				for _, c := range f.calls {
					if !strings.HasSuffix(c.method(), ".Nope") {
						want[c.method()] = append(want[c.method()], normalArg(t, c.method(), c.arg()))
					}
				}
				for m, args := range want {
					if g := strings.Join(st.got[m], "\n"); g != strings.Join(args, "\n") {
						t.Errorf("arguments of %s\n got %s\nwant %s", m, g, strings.Join(args, "\n"))
					}
				}
				// The same check reads stock's bytes and ours.
				checkReplies(t, "ours", f, reply)
				checkReplies(t, "stock", f, f.s2c)
			})
		}
	}
}

// checkReplies has a client call what the fixture calls and gives it bytes as the
// answers.
func checkReplies(t *testing.T, whose string, f fixture, bytesFromServer []byte) {
	t.Helper()
	ours, theirs := net.Pipe()
	// The answers must not arrive before the questions are registered.
	asked := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	go func() {
		<-asked
		_, _ = theirs.Write(bytesFromServer)
	}()
	codec := Gob
	if bytesFromServer[0] == '{' {
		codec = JSON
	}
	cc, err := Dial(t.Context(), ClientOptions{Addr: "fixture", Codec: codec, Dial: func(context.Context, string) (net.Conn, error) { return ours, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	defer cc.Close()
	var waits []func()
	for _, c := range f.calls {
		cc.seq = c.Seq - 1
		if codec == JSON {
			cc.seq = 0
			if err := json.Unmarshal(c.Request.ID, &cc.seq); err != nil {
				t.Fatal(err)
			}
			cc.seq--
		}
		var ask func(t *testing.T, whose string, cc *ClientConn, c captured) func()
		switch c.method() {
		case "Transfer.Ping", "Graph.Ping", "Graph.Nope", "Transfer.Nope":
			ask = expect[model.SimpleRpcResponse]
		case "Graph.Send":
			ask = expect[model.SimpleRpcResponse]
		case "Transfer.Update":
			ask = expect[model.TransferResponse]
		case "Graph.Query":
			ask = expect[model.GraphQueryResponse]
		case "Graph.Info":
			ask = expect[model.GraphInfoResp]
		case "Graph.Last", "Graph.LastRaw":
			ask = expect[model.GraphLastResp]
		case "Graph.Delete":
			ask = expect[model.GraphDeleteResp]
		case "Graph.GetRrd":
			ask = expect[model.File]
		default:
			t.Fatalf("no reply type for %s", c.method())
		}
		waits = append(waits, ask(t, whose, cc, c))
	}
	close(asked)
	for _, wait := range waits {
		wait()
	}
}

func expect[R any](t *testing.T, whose string, cc *ClientConn, c captured) func() {
	t.Helper()
	reply := new(R)
	done := make(chan error, 1)
	if err := cc.Start(c.method(), &model.NullRpcRequest{}, reply, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		var err error
		select {
		case err = <-done:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: no answer to %s", whose, c.method())
		}
		want := c.Error
		if c.Request.Method != "" {
			var r struct{ Error *string }
			if json.Unmarshal(c.Reply, &r) == nil && r.Error != nil {
				want = *r.Error
			}
		}
		if want != "" {
			if err == nil || err.Error() != want {
				t.Errorf("%s: error of %s\n got %v\nwant %s", whose, c.method(), err, want)
			}
			return
		}
		if err != nil {
			t.Errorf("%s: %s: %v", whose, c.method(), err)
			return
		}
		if file, ok := any(reply).(*model.File); ok {
			if whose == "stock" && (len(file.Body) != 70664 || !strings.HasSuffix(file.Filename, "_GAUGE_60.rrd")) {
				t.Errorf("GetRrd: file %q of %d bytes", file.Filename, len(file.Body))
			}
			return
		}
		if got, want := normal[R](t, reply), normal[R](t, result(&c)); got != want {
			t.Errorf("%s: reply of %s\n got %s\nwant %s", whose, c.method(), got, want)
		}
	}
}

func TestGoldenJSONReplies(t *testing.T) {
	for _, f := range fixtures(t, "agent-transfer") {
		if f.name == "float_timestamp" {
			continue
		}
		t.Run(f.name, func(t *testing.T) { checkReplies(t, "stock", f, f.s2c) })
	}
}
