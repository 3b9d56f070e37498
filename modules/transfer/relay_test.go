package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	netrpc "net/rpc"
	"net/rpc/jsonrpc"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/testkit"
)

// gatewayConfig is the configuration of a gateway without listeners.
func gatewayConfig(t testing.TB, addrs ...string) Config {
	cfg := GatewayConfig()
	cfg.HTTP.Enabled, cfg.RPC.Enabled, cfg.Socket.Enabled = false, false, false
	cfg.Transfer.Cluster = map[string]string{}
	for i, addr := range addrs {
		cfg.Transfer.Cluster[fmt.Sprint("t", i+1)] = addr
	}
	cfg.Spool.Dir = t.TempDir()
	cfg.TsPolicy = "stock"
	return cfg
}

// arrivals is what several transfers have taken, in the order of first arrival.
type arrivals struct {
	mu    sync.Mutex
	seen  map[int64]bool
	order []int64
}

func (a *arrivals) note(_ string, ts int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.seen[ts] {
		a.seen[ts] = true
		a.order = append(a.order, ts)
	}
}

func (a *arrivals) wants(t *testing.T, want []int64) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.order, want) {
		for i := range want {
			if i >= len(a.order) || a.order[i] != want[i] {
				t.Fatalf("%d points arrived, want %d; number %d is wrong", len(a.order), len(want), i)
			}
		}
		t.Fatalf("%d points arrived, want %d", len(a.order), len(want))
	}
}

func follow(peers ...*peer) *arrivals {
	a := &arrivals{seen: map[int64]bool{}}
	for _, p := range peers {
		p.set(func(p *peer) { p.seenBy = a.note })
	}
	return a
}

// A point reaches one of the transfers, with the step and the time it came with.
func TestRelayKeepsStepAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gatewayConfig(t, "a:1"))
		defer w.end()
		a := w.peers["a:1"]
		a.start()
		f := w.offer(&item{Endpoint: "h", Metric: "m", Tags: "b=1, a=2", Value: 5.0, Step: 5, Type: "COUNTER", Timestamp: t0 + 7},
			&item{Endpoint: "h", Metric: "text", Value: "up", Step: 60, Type: "GAUGE", Timestamp: t0 + 8})
		settle()
		if !f.kept() {
			t.Fatal(f)
		}
		a.wants("m", []int64{t0 + 7})
		a.wants("text", []int64{t0 + 8})
		s := a.streams[0].series[1]
		if s.Step != 5 || s.Tags != "a=2,b=1" || s.Type != "COUNTER" || s.Endpoint != "h" {
			t.Errorf("the series is %+v, want step 5, sorted tags and the type as it came", s)
		}
		if b := w.books("a:1"); b.Kind != "transfer" || b.Delivered != 2 {
			t.Errorf("books %+v, want 2 delivered to transfer", b)
		}
	})
}

// Whatever becomes of the transfers, each point reaches one of them, and in order.
func TestRelayGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gatewayConfig(t, "a:1", "b:1", "c:1"))
		defer w.end()
		peers := []*peer{w.peers["a:1"], w.peers["b:1"], w.peers["c:1"]}
		a, b, c := peers[0], peers[1], peers[2]
		all := follow(peers...)
		n, sent := 0, []*offered{}
		push := func(k int, pause time.Duration) {
			t.Helper()
			for range k {
				sent = append(sent, w.offer(gauge("m", t0+int64(n)*30)))
				n++
				after(pause)
				w.books("a:1,b:1,c:1")
			}
		}
		push(5, 50*time.Millisecond) // all are away
		b.start()
		push(20, 100*time.Millisecond)
		a.start()
		b.down()
		push(40, 50*time.Millisecond)
		c.set(func(p *peer) { p.up, p.acks = true, 3 }) // it dies on the way
		a.set(func(p *peer) { p.refuse = errors.New("busy: the spool is full") })
		push(40, 50*time.Millisecond)
		a.set(func(p *peer) { p.refuse, p.hold = nil, true }) // it takes and does not answer
		c.start()
		push(100, 100*time.Millisecond)
		a.release()
		b.start()
		push(300, 200*time.Millisecond) // each has its turn
		c.down()
		b.down()
		a.down()
		push(10, 20*time.Millisecond)
		c.start()
		after(20 * time.Second)
		for i, f := range sent {
			if !f.kept() {
				t.Fatalf("offer %d: %v", i, f)
			}
		}
		all.wants(t, every(t0, n, 30))
		if b := w.books("a:1,b:1,c:1"); b.Delivered != int64(n) || b.Spooled+b.InFlight != 0 || b.Dropped != 0 {
			t.Errorf("books %+v, want %d delivered", b, n)
		}
	})
}

// Transfers that are well have their turns, and none gets a point twice by it.
func TestRelayTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gatewayConfig(t, "a:1", "b:1"))
		defer w.end()
		a, b := w.peers["a:1"], w.peers["b:1"]
		a.start()
		b.start()
		all := follow(a, b)
		const n = 600
		for i := range int64(n) { // a minute of points; some are always on their way
			w.offer(gauge("m", t0+i*30))
			<-time.After(100 * time.Millisecond)
		}
		after(time.Second)
		all.wants(t, every(t0, n, 30))
		na, nb := len(a.seen("m")), len(b.seen("m"))
		if na+nb != n || na < n/4 || nb < n/4 {
			t.Errorf("one has %d points and the other %d of %d", na, nb, n)
		}
		if b := w.books("a:1,b:1"); b.AtStart+b.Spooled != 0 || w.tr.relay.spool.Stats().Held != 0 {
			t.Errorf("something was spooled: %+v", b)
		}
	})
}

// What waited when the gateway stopped goes to whatever transfers it finds.
func TestRelaySpoolOutlivesAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gatewayConfig(t, "a:1", "b:1"))
		defer w.end()
		f := w.offer(gauge("m", t0), gauge("m", t0+30))
		after(time.Second)
		if !f.kept() {
			t.Fatal(f)
		}
		w.stop()
		w.cfg.Transfer.Cluster = map[string]string{"t9": "z:1"}
		w.start()
		if b := w.books("z:1"); b.AtStart != 2 {
			t.Errorf("books %+v, want 2 at start", b)
		}
		w.peers["z:1"].start()
		after(10 * time.Second)
		w.peers["z:1"].wants("m", []int64{t0, t0 + 30})
	})
}

// Beside graph a relay gets its own copy, at other times when the step says so.
func TestRelayBesideGraph(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t, "g:1")
		cfg.Transfer.Enabled = true
		cfg.Transfer.Cluster = map[string]string{"t1": "a:1"}
		w := newWorld(t, cfg)
		defer w.end()
		w.peers["g:1"].start()
		w.offer(gauge("m", t0+7))
		after(time.Second)
		w.peers["g:1"].wants("m", []int64{t0})
		w.peers["a:1"].start()
		after(10 * time.Second)
		w.peers["a:1"].wants("m", []int64{t0 + 7})
	})
}

// A stockTransfer serves Transfer.Update with net/rpc/jsonrpc, as a stock transfer
// does.
type stockTransfer struct {
	mu    sync.Mutex
	items []*model.MetricValue
	calls []int        // items of each
	bytes bytes.Buffer // of the connections that spoke JSON
}

type stockUpdate struct{ *stockTransfer }

func (s stockUpdate) Update(items []*model.MetricValue, reply *model.TransferResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, items...)
	s.calls = append(s.calls, len(items))
	*reply = model.TransferResponse{Message: "ok", Total: len(items)}
	return nil
}

// tapped notes what is read from a connection.
type tapped struct {
	net.Conn
	into *stockTransfer
}

func (c tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.into.mu.Lock()
	defer c.into.mu.Unlock()
	if b := b[:n]; c.into.bytes.Len() > 0 || n > 0 && b[0] == '{' {
		c.into.bytes.Write(b)
	}
	return n, err
}

// stockTransfer lets a stock transfer move in at p.
func (p *place) stockTransfer(s *stockTransfer) {
	p.t.Helper()
	srv := netrpc.NewServer()
	if err := srv.RegisterName("Transfer", stockUpdate{s}); err != nil {
		p.t.Fatal(err)
	}
	p.serve(func(c net.Conn) { srv.ServeCodec(jsonrpc.NewServerCodec(tapped{c, s})) })
}

// What was pushed to a stock gateway reaches a stock transfer with the bytes that a
// stock gateway sends, and is answered as stock answers.
func TestStockGateway(t *testing.T) {
	s := &stockTransfer{}
	p := &place{t: t}
	p.stockTransfer(s)
	defer func() { p.stop() }()
	cfg := gatewayConfig(t, p.addr)
	cfg.Spool.After = conf.Duration(10 * time.Second)
	tr, _ := serving(t, cfg)
	h := tr.handler()
	for _, name := range []string{"health", "push"} {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(readFile(t, "testdata/http-gateway/"+name+".c2s.bin"))))
		if err != nil {
			t.Fatal(err)
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(readFile(t, "testdata/http-gateway/"+name+".s2c.bin"))), req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRecorder()
		h.ServeHTTP(got, req)
		if got.Code != want.StatusCode || !strings.EqualFold(got.Header().Get("Content-Type"), want.Header.Get("Content-Type")) {
			t.Errorf("%s: %d %s, want %d %s", name, got.Code, got.Header().Get("Content-Type"), want.StatusCode, want.Header.Get("Content-Type"))
		}
		g := got.Body.Bytes()
		if name == "push" {
			g, body = normal(t, g), normal(t, body)
		}
		if !bytes.Equal(g, body) {
			t.Errorf("%s: %q, want %q", name, g, body)
		}
	}
	for path, want := range map[string]string{
		"/proc/transfer/pools":         `"data":["Name:` + p.addr + `,Cnt:`,
		"/proc/transfer/send":          `{"Name":"t1:` + p.addr + `","Cnt":2,`,
		"/proc/transfer/sendfail":      `{"Name":"t1:` + p.addr + `","Cnt":0,`,
		"/proc/counters":               `{"Name":"SendToTransferCnt","Cnt":2,`,
		"/counter/all":                 `{"Name":"HttpRecvCnt","Cnt":2,`,
		"/debug/connpool/transfer":     `Name:` + p.addr + `,Cnt:`,
		"/pfc/proc/metrics/json":       `"Send":{"rate":0,"sum":2}`,
		"/pfc/proc/metrics/gauge/json": `{"gauge":{"SendQueueSize":{"value":0}}}`,
		"/pfc/proc/metrics/size":       `{"all":8,"gauge":1,"meter":7}`,
		"/pfc/proc/metrics/falcon":     `"metric":"sum","value":2,"step":60,"counterType":"GAUGE","tags":"service=gateway,name=HttpRecv"`,
		"/trace/it-h1/it.g_gwa/a=2":    `{"msg":"success","data":[]}`,
	} {
		req := httptest.NewRequest("GET", path, nil)
		req.RemoteAddr = "127.0.0.1:1"
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("GET %s: %d %s, want %s in it", path, rec.Code, rec.Body, want)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	got, want := sameID(s.bytes.String()), sameID(string(readFile(t, "testdata/gateway-transfer/relay.c2s.bin")))
	if got != want {
		t.Errorf("the stock transfer got\n %s\nwant\n %s", got, want)
	}
}

// sameID replaces the number of a call.
func sameID(s string) string {
	at := strings.LastIndex(s, `"id":`)
	return s[:max(at, 0)] + `"id":N}`
}

// A stock transfer gets its batches, and ours takes over when it goes.
func TestRelayFromStockToOurs(t *testing.T) {
	stock, at := &stockTransfer{}, &place{t: t}
	at.stockTransfer(stock)
	cfg := gatewayConfig(t, at.addr)
	cfg.Transfer.Batch = 50
	tr, _ := serving(t, cfg)
	var items update
	for i := range int64(120) {
		items = append(items, gauge("m", t0+30*i))
	}
	if _, err := tr.wait(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		stock.mu.Lock()
		defer stock.mu.Unlock()
		if len(stock.items) != 120 {
			return fmt.Errorf("stock has %d items", len(stock.items))
		}
		return nil
	})
	at.stop()
	ours := newPeer(t)
	at.ours(ours)
	defer func() { at.stop() }()
	if _, err := tr.wait(t.Context(), update{gauge("m", t0)}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if n := len(ours.seen("m")); n != 1 {
			return fmt.Errorf("ours has %d points", n)
		}
		return nil
	})
}

// A large batch for a stock transfer goes in calls of Batch, several at once, and each
// series in order.
func TestStockTransferGetsLanes(t *testing.T) {
	stock, at := &stockTransfer{}, &place{t: t}
	at.stockTransfer(stock)
	defer func() { at.stop() }()
	cfg := gatewayConfig(t, at.addr)
	cfg.Transfer.Batch = 10
	cfg.Spool.After = conf.Duration(10 * time.Second)
	tr, _ := serving(t, cfg)
	var items update
	for i := range int64(50) {
		for m := range 7 {
			items = append(items, gauge(fmt.Sprint("m", m), t0+30*i))
		}
	}
	if _, err := tr.wait(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	stock.mu.Lock()
	defer stock.mu.Unlock()
	got := map[string][]int64{}
	for _, it := range stock.items {
		got[it.Metric] = append(got[it.Metric], it.Timestamp)
	}
	for m := range 7 {
		if name := fmt.Sprint("m", m); !slices.Equal(got[name], every(t0, 50, 30)) {
			t.Errorf("%s arrived as %v", name, got[name])
		}
	}
	if len(stock.calls) < 35 || slices.Max(stock.calls) > 10 {
		t.Errorf("calls of %v items, want at most 10 in each", stock.calls)
	}
}

// Two stock transfers come and go, one of ours takes the place of one of them for a
// while, and each point that was answered for is with somebody.
func TestStockTransfersComeAndGo(t *testing.T) {
	one, two, ours := &stockTransfer{}, &stockTransfer{}, newPeer(t)
	a, b := &place{t: t}, &place{t: t}
	a.stockTransfer(one)
	b.addr = testkit.FreeAddr(t)
	cfg := gatewayConfig(t, a.addr, b.addr)
	cfg.Spool.After = conf.Duration(50 * time.Millisecond)
	tr, _ := serving(t, cfg)
	n := int64(0)
	push := func(k int) {
		t.Helper()
		for range k {
			var items update
			for range 5 {
				items = append(items, gauge("m", t0+30*n))
				n++
			}
			if _, err := tr.wait(t.Context(), items); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 4 {
		push(20)
		b.stockTransfer(two)
		push(20)
		a.stop()
		push(20)
		b.stop()
		push(20) // nobody is there
		a.ours(ours)
		push(20)
		a.stop()
		a.stockTransfer(one)
	}
	defer func() { a.stop() }()
	testkit.Eventually(t, 30*time.Second, func() error {
		if b := tr.relay.account(); b.Spooled+b.InFlight != 0 || b.missing() != 0 {
			return fmt.Errorf("books are %+v", b)
		}
		return nil
	})
	seen := map[int64]bool{}
	for _, s := range []*stockTransfer{one, two} {
		s.mu.Lock()
		for _, it := range s.items {
			seen[it.Timestamp] = true
		}
		s.mu.Unlock()
	}
	for _, ts := range ours.seen("m") {
		seen[ts] = true
	}
	for i := range n {
		if !seen[t0+30*i] {
			t.Fatalf("point %d of %d is nowhere", i, n)
		}
	}
	if len(seen) != int(n) {
		t.Errorf("%d points arrived, %d were pushed", len(seen), n)
	}
}

// A gateway and a transfer of ours speak TLS when both are told to.
func TestRelayByTLS(t *testing.T) {
	cert, key := testkit.SelfSigned(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- p.server().Serve(ctx, tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
	}()
	defer func() { cancel(); <-ended }()
	cfg := gatewayConfig(t, plain.Addr().String())
	cfg.Spool.After = conf.Duration(10 * time.Second)
	cfg.Transfer.TLS = daemon.ClientTLS{Enabled: true, CA: cert}
	tr, _ := serving(t, cfg)
	if _, err := tr.wait(t.Context(), update{gauge("m", t0)}); err != nil {
		t.Fatal(err)
	}
	p.wants("m", []int64{t0})
}

func TestGatewayFiles(t *testing.T) {
	for _, file := range []string{"gateway.json", "gateway-stock.json"} {
		cfg := GatewayConfig()
		warnings, err := conf.Load(filepath.Join("testdata", file), &cfg)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %v", file, err, warnings)
			continue
		}
		tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Name: "gateway"})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if len(tr.outlets) != 1 || tr.relay == nil || tr.relay.addr != strings.Join(slices.Sorted(maps.Values(cfg.Transfer.Cluster)), ",") {
			t.Errorf("%s: outlets %v", file, tr.outlets)
		}
	}
	for text, want := range map[string]string{
		`{"transfer":{"cluster":{}}}`:            `transfer.cluster: name at least one transfer, such as "t1": "10.0.0.1:8433"`,
		`{"transfer":{"cluster":{"t1":"here"}}}`: `transfer.cluster.t1: "here" is no address, write host:port`,
	} {
		cfg := GatewayConfig()
		if _, err := conf.Parse([]byte(text), &cfg); err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}
