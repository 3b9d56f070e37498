package rpc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
)

// A method that panics answers an error; its stack is logged once.
func TestPanicIsAnAnswer(t *testing.T) {
	var log bytes.Buffer
	s := NewServer(ServerOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	HandleOrdered(s, "T.Panic", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		var none []int
		return &model.SimpleRpcResponse{Code: none[len(s.methods)]}, nil
	})
	HandleAsync(s, "T.Late", func(_ context.Context, _ *Conn, _ *model.NullRpcRequest, done func(*model.SimpleRpcResponse, error)) {
		done(nil, nil)
		panic("after the answer")
	})
	in := strings.Repeat(`{"method":"T.Panic","params":[],"id":1}`, 2) + `{"method":"T.Late","params":[],"id":2}`
	want := strings.Repeat(`{"id":1,"result":null,"error":"internal error in T.Panic"}`+"\n", 2) + `{"id":2,"result":{"code":0},"error":null}` + "\n"
	if got := string(exchange(t, s, []byte(in))); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if n := strings.Count(log.String(), "T.Panic"); n != 1 || !strings.Contains(log.String(), "server_test.go") {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	if n := s.Stats().Panics.Load(); n != 3 {
		t.Errorf("%d panics counted, want 3", n)
	}
}

// A result that the codec can not carry is an error answer, and the connection
// goes on.
func TestReplyThatDoesNotEncode(t *testing.T) {
	type bad struct{ F func() }
	s := pingServer()
	HandleOrdered(s, "T.Bad", func(context.Context, *Conn, *model.NullRpcRequest) (*[]*model.GraphItem, error) {
		return &[]*model.GraphItem{nil}, nil // gob refuses a nil inside a slice
	})
	HandleOrdered(s, "T.Func", func(context.Context, *Conn, *model.NullRpcRequest) (*bad, error) {
		return &bad{F: func() {}}, nil
	})
	addr := listen(t, s)
	for kind, method := range map[Codec]string{Gob: "T.Bad", JSON: "T.Func"} {
		c := NewClient(ClientOptions{Addr: addr, Codec: kind, MaxConns: 1})
		for range 2 {
			err := c.Call(t.Context(), method, &model.NullRpcRequest{}, nil)
			var se ServerError
			if !errors.As(err, &se) || !strings.Contains(err.Error(), "encode reply of "+method) {
				t.Errorf("%v: %v", kind, err)
			}
			if err := ping(t.Context(), c); err != nil {
				t.Errorf("%v: the connection is lost: %v", kind, err)
			}
		}
		c.Close()
	}
}

func TestMessageTooLarge(t *testing.T) {
	for name, in := range map[string]string{
		"json":          `{"method":"T.Ping","params":["` + strings.Repeat("x", 20<<10) + `"],"id":1}`,
		"msgpack claim": "\x94\x00\x01\xa6T.Ping\x91\xdb\xff\xff\xff\xff",
		"msgpack":       "\x94\x00\x01\xa6T.Ping\x91\xdd\x00\x00\xff\xff" + strings.Repeat("\x01", 20<<10),
		"gob":           string(read(t, "testdata/transfer-graph/gauge_one.c2s.bin")[:47]) + "\xfd\x01\x00\x00\xff\xff",
	} {
		s := NewServer(ServerOptions{MaxMessage: 10 << 10})
		if got := exchange(t, s, []byte(in)); len(got) > 0 {
			t.Errorf("%s: answered %q", name, got)
		}
		if n := s.Stats().TooLarge.Load(); n != 1 {
			t.Errorf("%s: too_large counted %d times, want 1", name, n)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want detection
	}{
		{"{", detectJSON}, {" \t\r\n{", detectJSON}, {" ", detectMore}, {"", detectMore}, {"[", detectBad}, {" [", detectBad},
		{"\x2e\x7f\x03\x01\x01\x07Request", detectGob},
		{"\x2f\xff\x81\x03\x01\x01\x07Request", detectGob},     // an older Go
		{"\x33\xff\x81\x03\x01\x01\x07Request\x01", detectGob}, // a process that has used gob before
		{"\x2e\x7f\x03\x01\x01\x07Reques", detectMore},
		{"\x2e\x7f\x03\x01\x01\x08Response" + strings.Repeat("x", 20), detectBad},
		{"\x94", detectMore}, {"\x94\x00", detectSpec}, {"\x94\x01", detectBad}, {"\xdc\x00", detectMore}, {"\xdc\x00\x04\x00", detectSpec},
		{"\x82", detectGoRPC}, {"\xde\x00\x02", detectGoRPC}, {"\x92", detectMore}, {"\x92\xa3", detectGoRPC}, {"\x92\xd9", detectGoRPC}, {"\x92\x01", detectBad}, {"\x93\x02", detectBad},
	} {
		if got, _ := detect([]byte(tc.in)); got != tc.want {
			t.Errorf("detect(%q) = %v, want %v", tc.in, got, tc.want)
		}
	}
}

func TestFirstBytesOfNothing(t *testing.T) {
	for _, in := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT /_goRPC_ HTTP/1.0\n\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\xff", "\x00", "\x93\x02", "\x94\x01", "\n\n\x94\x00"} {
		s := NewServer(ServerOptions{})
		if got := exchange(t, s, []byte(in)); len(got) > 0 || s.Stats().BadCodec.Load() != 1 {
			t.Errorf("%q: answered %q, bad_codec %d", in, got, s.Stats().BadCodec.Load())
		}
	}
	s := NewServer(ServerOptions{})
	if exchange(t, s, nil); s.Stats().BadCodec.Load() != 0 {
		t.Error("a probe that sends nothing counts as bad codec")
	}
}

// Beyond MaxConns connections are closed at once; a place that is given up is free.
func TestMaxConns(t *testing.T) {
	s := pingServer()
	s.opts.MaxConns = 1
	addr := listen(t, s)
	c := NewClient(ClientOptions{Addr: addr, Codec: Msgpack})
	if err := ping(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	second := NewClient(ClientOptions{Addr: addr, Codec: Msgpack})
	defer second.Close()
	if err := ping(t.Context(), second); err == nil {
		t.Error("a second connection was served")
	}
	if n := s.Stats().Refused.Load(); n == 0 {
		t.Error("refused was not counted")
	}
	c.Close()
	for ctx := t.Context(); ; {
		if ping(ctx, second) == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("no place after the first has left")
		}
	}
}

// A connection with MaxInFlight calls is not read from until one is answered.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{MaxInFlight: 4})
		gate := make(chan struct{})
		var running atomic.Int64
		Handle(s, "T.Wait", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
			running.Add(1)
			<-gate
			return nil, nil
		})
		c, stop := inBubble(t, s, ClientOptions{Codec: JSON, MaxConns: 1})
		defer stop()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _ = c.Call(t.Context(), "T.Wait", &model.NullRpcRequest{}, nil) })
		}
		synctest.Wait()
		if n := running.Load(); n != 4 {
			t.Errorf("%d calls run at once, want 4", n)
		}
		close(gate)
		wg.Wait()
		if n := running.Load(); n != 20 {
			t.Errorf("%d calls ran, want 20", n)
		}
	})
}

// Ordered calls are seen in the order of sending, answers may come later.
func TestOrderedAndAsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{})
		var got []int
		var waiting []func(*int, error)
		HandleAsync(s, "T.N", func(_ context.Context, _ *Conn, arg *int, done func(*int, error)) {
			got = append(got, *arg)
			waiting = append(waiting, done)
			if len(waiting) == 10 {
				for i, d := range waiting {
					d(&got[i], nil)
				}
			}
		})
		c, stop := inBubble(t, s, ClientOptions{})
		defer stop()
		cc, err := c.conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var answers []int
		var wg sync.WaitGroup
		for i := range 10 {
			reply := new(int)
			wg.Add(1)
			if err := cc.Start("T.N", &i, reply, func(error) { answers = append(answers, *reply); wg.Done() }); err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
		if want := "[0 1 2 3 4 5 6 7 8 9]"; fmt.Sprint(got) != want || fmt.Sprint(answers) != want {
			t.Errorf("seen %v, answered %v", got, answers)
		}
	})
}

// Idle connections go, busy ones stay however long a call takes.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pingServer()
		Handle(s, "T.Long", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
			<-time.After(time.Hour)
			return nil, nil
		})
		c, stop := inBubble(t, s, ClientOptions{CallTimeout: -1})
		defer stop()
		if err := c.Call(t.Context(), "T.Long", &model.NullRpcRequest{}, nil); err != nil {
			t.Errorf("a call of an hour: %v", err)
		}
		began := time.Now()
		<-c.conns[0].Done()
		if idle := time.Since(began); idle < 15*time.Minute || idle > 30*time.Minute {
			t.Errorf("closed after %v of silence", idle)
		}
	})
}

// When the server stops, calls in flight are answered, and those that do not end
// are given up after Drain.
func TestStopDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Drain: 10 * time.Second})
		for name, d := range map[string]time.Duration{"T.Quick": 3 * time.Second, "T.Stuck": time.Hour} {
			Handle(s, name, func(ctx context.Context, _ *Conn, _ *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(d):
					return nil, nil
				}
			})
		}
		l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, l) }()
		errs := map[string]chan error{}
		for _, name := range []string{"T.Quick", "T.Stuck"} {
			c := NewClient(ClientOptions{Codec: JSON, CallTimeout: -1, Dial: l.dial})
			defer c.Close()
			answer := make(chan error, 1)
			errs[name] = answer
			go func() { answer <- c.Call(t.Context(), name, &model.NullRpcRequest{}, nil) }()
		}
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-errs["T.Quick"]; err != nil {
			t.Errorf("quick call: %v", err)
		}
		if err := <-errs["T.Stuck"]; !errors.Is(err, ErrPeerClosed) {
			t.Errorf("stuck call: %v", err)
		}
		if err := <-served; err != nil || time.Since(began) != 10*time.Second {
			t.Errorf("Serve returned %v after %v", err, time.Since(began))
		}
	})
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
func (l *pipeListener) dial(context.Context, string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.closed:
		return nil, errors.New("refused")
	}
}

func TestAuthorize(t *testing.T) {
	s := pingServer()
	s.opts.Authorize = func(method string, c *Conn) error {
		if method == "T.Ping" && c.Codec() == JSON {
			return errors.New("not allowed: T.Ping needs the fleet key")
		}
		return nil
	}
	in := `{"method":"T.Ping","params":[{}],"id":1}{"method":"T.Nope","params":[{}],"id":2}`
	want := `{"id":1,"result":null,"error":"not allowed: T.Ping needs the fleet key"}` + "\n" + `{"id":2,"result":null,"error":"rpc: can't find method T.Nope"}` + "\n"
	if got := string(exchange(t, s, []byte(in))); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"graph-00"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	s := pingServer()
	s.opts.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	addr := listen(t, s)
	c := NewClient(ClientOptions{Addr: addr, TLS: &tls.Config{RootCAs: pool}})
	defer c.Close()
	if err := ping(t.Context(), c); err != nil {
		t.Error(err)
	}
	plain := NewClient(ClientOptions{Addr: addr, Codec: JSON})
	defer plain.Close()
	if err := ping(t.Context(), plain); err == nil {
		t.Error("plain text was answered")
	}
}

// However the bytes are cut, the same calls are found.
func TestOneByteAtATime(t *testing.T) {
	for _, name := range []string{"agent-transfer/mixed", "api-graph/last", "transfer-graph/tags"} {
		b := read(t, "testdata/"+name+".c2s.bin")
		dir, base, _ := strings.Cut(name, "/")
		for _, f := range fixtures(t, dir) {
			if f.name != base {
				continue
			}
			var replies [2][]byte
			for i, in := range []io.Reader{bytes.NewReader(b), oneByte{bytes.NewReader(b)}} {
				s := NewServer(ServerOptions{})
				st := newStage(t, s)
				st.learn(&f)
				ours, theirs := net.Pipe()
				var wg sync.WaitGroup
				s.ServeConn(t.Context(), halfClosed{theirs, in}, &wg)
				replies[i], _ = io.ReadAll(ours)
				wg.Wait()
			}
			if len(replies[0]) == 0 || !bytes.Equal(replies[0], replies[1]) {
				t.Errorf("%s\n got %q\nwant %q", name, replies[1], replies[0])
			}
		}
	}
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

// A server that stops with requests unread says goodbye in a way that does not
// throw its last answers away.
func TestStopKeepsLastAnswers(t *testing.T) {
	const calls = 50
	s := NewServer(ServerOptions{MaxInFlight: 2})
	ctx, cancel := context.WithCancel(context.Background())
	Handle(s, "T.Stop", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		cancel()
		<-s.stoppedForTest()
		return &model.SimpleRpcResponse{Code: 7}, nil
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, strings.Repeat(`{"method":"T.Stop","params":[{},"`+strings.Repeat("x", 10_000)+`"],"id":1}`, calls)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if n := strings.Count(string(got), `"code":7`); err != nil || n < 1 || n > 2 {
		t.Errorf("%d answers, want 1 or 2, then EOF: %v", n, err)
	}
	_ = nc.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// stoppedForTest is closed when the connections have been told to stop.
func (s *Server) stoppedForTest() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		return c.stopped
	}
	return nil
}

// A list reads and writes itself: numbers in JSON, and badly when told so.
type list struct {
	numbers []string
	broken  bool
}

func (l *list) DecodeJSON(b []byte) error {
	if b[0] != '[' {
		return fmt.Errorf("a list, please, not %s", b)
	}
	l.numbers = strings.Split(string(b[1:len(b)-1]), ",")
	return nil
}

func (l *list) AppendJSON(dst []byte) []byte {
	if l.broken {
		panic("a bug")
	}
	return fmt.Appendf(dst, "[%s]", strings.Join(l.numbers, ","))
}

func TestOwnJSON(t *testing.T) {
	s := NewServer(ServerOptions{})
	HandleOrdered(s, "T.Echo", func(_ context.Context, _ *Conn, arg *list) (*list, error) { return arg, nil })
	HandleOrdered(s, "T.Broken", func(context.Context, *Conn, *list) (*list, error) { return &list{broken: true}, nil })
	in := `{"method":"T.Echo","params":[[1,2,3]],"id":1}{"method":"T.Echo","params":["x"],"id":2}{"method":"T.Echo","params":[],"id":3}`
	want := `{"id":1,"result":[1,2,3],"error":null}
{"id":2,"result":null,"error":"a list, please, not \"x\""}
{"id":3,"result":[],"error":null}
`
	if got := string(exchange(t, s, []byte(in))); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	// An encoder that panics costs the connection, and nobody waits for the answer.
	if got := exchange(t, s, []byte(`{"method":"T.Broken","params":[],"id":1}`)); len(got) > 0 || s.Stats().Panics.Load() != 1 {
		t.Errorf("got %q, %d panics", got, s.Stats().Panics.Load())
	}

	addr := listen(t, s)
	c := NewClient(ClientOptions{Addr: addr, Codec: JSON})
	defer c.Close()
	var back list
	if err := c.Call(t.Context(), "T.Echo", &list{numbers: []string{"4", "5"}}, &back); err != nil || fmt.Sprint(back.numbers) != "[4 5]" {
		t.Errorf("through our client: %v, %v", back, err)
	}
}

// A badEncoder breaks while it is in the queue of a connection.
type badEncoder struct{}

func (badEncoder) AppendMsgpack([]byte) []byte { panic("a bug") }

func TestArgumentThatPanics(t *testing.T) {
	addr := listen(t, pingServer())
	c := NewClient(ClientOptions{Addr: addr})
	defer c.Close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic of an encoder was swallowed")
			}
		}()
		_ = c.Call(t.Context(), "T.Ping", badEncoder{}, nil)
	}()
	if err := ping(t.Context(), c); err != nil {
		t.Errorf("the client is lost: %v", err)
	}
}
