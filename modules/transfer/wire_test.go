package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/rpc"
)

// captureTime is when the bytes of testdata were captured from stock.
var captureTime = time.Unix(1795320703, 0)

// serving runs a transfer without destinations and returns the address of its RPC.
func serving(t testing.TB, cfg Config) (*Transfer, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), RPC: ln, Ready: sync.OnceFunc(func() { close(ready) }), Now: func() time.Time { return captureTime }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-ready
	return tr, ln.Addr().String()
}

// nowhere is a configuration that sends nothing: what is valid is kept by nobody, and
// answered for.
func nowhere(t testing.TB) Config {
	cfg := testConfig(t, "127.0.0.1:1")
	cfg.Graph.Enabled = false
	return cfg
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// objects decodes a run of JSON objects.
func objects(t testing.TB, r io.Reader, n int) (all []map[string]any) {
	t.Helper()
	dec := json.NewDecoder(r)
	for len(all) < n || n < 0 {
		var v map[string]any
		if err := dec.Decode(&v); err == io.EOF && n < 0 {
			return all
		} else if err != nil {
			t.Fatalf("reply %d: %v", len(all), err)
		}
		if res, ok := v["result"].(map[string]any); ok {
			delete(res, "Latency") // how long it took
		}
		all = append(all, v)
	}
	return all
}

// Each call that was captured from stock gets stock's answer, word for word but for
// what cannot be read: there the names of Go's types stand.
func TestStockJSONRPC(t *testing.T) {
	_, addr := serving(t, nowhere(t))
	files, err := filepath.Glob("testdata/agent-transfer/*.c2s.bin")
	if err != nil || len(files) < 24 {
		t.Fatalf("%d captures: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".c2s.bin")
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write(readFile(t, file)); err != nil {
				t.Fatal(err)
			}
			want := objects(t, bytes.NewReader(readFile(t, strings.TrimSuffix(file, "c2s.bin")+"s2c.bin")), -1)
			got := objects(t, c, len(want))
			if name == "float_timestamp" {
				text, _ := got[0]["error"].(string)
				if !strings.Contains(text, "timestamp") || !strings.Contains(text, "number 1795320654.5") {
					t.Errorf("a fraction is refused with %q", text)
				}
				got[0]["error"] = want[0]["error"]
			}
			// Calls of one connection may be answered in any order.
			byID := func(a, b map[string]any) int { return int(a["id"].(float64) - b["id"].(float64)) }
			slices.SortFunc(got, byID)
			slices.SortFunc(want, byID)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// Each captured HTTP request gets stock's status, type and body.
func TestStockHTTP(t *testing.T) {
	cfg := testConfig(t, "127.0.0.1:1")
	cfg.Spool.After = 1 // points are spooled at once, and so answered for
	tr, _ := serving(t, cfg)
	h := tr.handler()
	for _, name := range []string{"health", "proc_step", "push_bad", "push_blank", "push_invalid", "trace_first", "push", "trace_second", "counter_all"} {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(readFile(t, "testdata/http-transfer/"+name+".c2s.bin"))))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(readFile(t, "testdata/http-transfer/"+name+".s2c.bin"))), req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRecorder()
		h.ServeHTTP(got, req)
		if got.Code != want.StatusCode || !strings.EqualFold(got.Header().Get("Content-Type"), want.Header.Get("Content-Type")) {
			t.Errorf("%s: %d %s, want %d %s", name, got.Code, got.Header().Get("Content-Type"), want.StatusCode, want.Header.Get("Content-Type"))
		}
		if name == "counter_all" {
			compareCounters(t, got.Body.Bytes(), wantBody)
			continue
		}
		g, w := got.Body.Bytes(), wantBody
		if strings.Contains(want.Header.Get("Content-Type"), "json") {
			g, w = normal(t, g), normal(t, w)
		}
		if !bytes.Equal(g, w) {
			t.Errorf("%s:\n got %q\nwant %q", name, g, w)
		}
	}
}

// normal returns JSON with its keys in order and without Latency.
func normal(t testing.TB, b []byte) []byte {
	t.Helper()
	v := objects(t, bytes.NewReader(b), 1)[0]
	if data, ok := v["data"].(map[string]any); ok {
		delete(data, "Latency")
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// compareCounters checks that stock's counters come first, in stock's order, and with
// stock's keys.
func compareCounters(t *testing.T, got, want []byte) {
	t.Helper()
	rows := func(b []byte) (names, keys []string) {
		var v struct {
			Data []map[string]any `json:"data"`
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		for _, row := range v.Data {
			names = append(names, row["Name"].(string))
			k := []string{}
			for key := range row {
				k = append(k, key)
			}
			slices.Sort(k)
			keys = append(keys, strings.Join(k, " "))
		}
		return names, keys
	}
	gotNames, gotKeys := rows(got)
	wantNames, wantKeys := rows(want)
	n := len(wantNames)
	if len(gotNames) < n || !slices.Equal(gotNames[:n], wantNames) {
		for i := range wantNames {
			if i >= len(gotNames) || gotNames[i] != wantNames[i] {
				t.Fatalf("counter %d is %q, want %q", i, gotNames[min(i, len(gotNames)-1)], wantNames[i])
			}
		}
	} else if !slices.Equal(gotKeys[:n], wantKeys) {
		t.Errorf("keys of the counters are %q\nwant                     %q", gotKeys[:n], wantKeys)
	}
}

func TestTraceAndFilter(t *testing.T) {
	cfg := testConfig(t, "127.0.0.1:1")
	cfg.Spool.After = 1
	tr, _ := serving(t, cfg)
	h := tr.handler()
	get := func(path string) (int, string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return rec.Code, strings.TrimSpace(rec.Body.String())
	}
	push := func(metric, tags string, values ...float64) {
		for i, v := range values {
			items := update{{Endpoint: "h", Metric: metric, Value: v, Step: 60, Type: "GAUGE", Tags: tags, Timestamp: captureTime.Unix() + int64(i)}}
			if _, err := tr.wait(t.Context(), items); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		path string
		code int
		want string
	}{
		{"/trace/h", 400, ""},
		{"/trace/", 400, ""},
		{"/trace/%zz/m", 400, ""},
		{"/filter/h/m/gt", 400, ""},
		{"/filter/h/m/gt/x", 200, `{"msg":"success","data":"bad threadhold"}`},
		{"/filter/h/m/ge/1", 200, `{"msg":"success","data":"bad opt: ge"}`},
	} {
		func() {
			defer func() {
				if p := recover(); p != nil && tc.path != "/trace/%zz/m" { // httptest's own parser
					t.Errorf("GET %s: %v", tc.path, p)
				}
			}()
			if code, body := get(tc.path); code != tc.code || tc.want != "" && body != tc.want {
				t.Errorf("GET %s: %d %s, want %d %s", tc.path, code, body, tc.code, tc.want)
			}
		}()
	}
	count := func(path string) int { _, body := get(path); return strings.Count(body, `"Value"`) }
	for _, tc := range []struct {
		path string
		want int
	}{
		{"/trace/h/m", 3}, // of five
		{"/trace/h/m/b=2,a=1", 0},
		{"/filter/h/m/gt/2", 3},
		{"/filter/h/m/lt/2", 1},
		{"/filter/h/m/eq/2.0000001", 1},
		{"/filter/h/m/ne/9", 5},
	} {
		if n := count(tc.path); n != 0 {
			t.Errorf("the first GET %s answers %d points, want none", tc.path, n)
		}
		push("m", "", 1, 2, 3, 4, 5)
		push("m", "c=1", 1)
		if n := count(tc.path); n != tc.want {
			t.Errorf("GET %s answers %d points, want %d", tc.path, n, tc.want)
		}
	}
	get("/trace/h/m/b=2,a=1")
	push("m", "a=1, b=2", 7)
	if n := count("/trace/h/m/a=1,b=2"); n != 1 {
		t.Errorf("a traced series with tags answers %d points, want 1", n)
	}
}

// More items than one call may bring are refused in words, before they are decoded.
func TestTooManyItems(t *testing.T) {
	tr, addr := serving(t, nowhere(t))
	for _, body := range []string{
		"[" + strings.Repeat("{},", 1_000_000) + "{}]",
		"[" + strings.Repeat("null,", 1_000_000) + `{"x":1}]`,
	} {
		rec := httptest.NewRecorder()
		tr.push(rec, httptest.NewRequest("POST", "/api/push", strings.NewReader(body)))
		if rec.Code != http.StatusRequestEntityTooLarge || !strings.Contains(rec.Body.String(), "1000001") {
			t.Errorf("/api/push: %d %q", rec.Code, rec.Body)
		}
	}
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.JSON})
	defer c.Close()
	items := make([]*struct{}, 1_000_001)
	var resp any
	if err := c.Call(t.Context(), "Transfer.Update", &items, &resp); err == nil || !strings.Contains(err.Error(), "at most 1000000") {
		t.Errorf("Transfer.Update of 1 000 001 items: %v", err)
	}
}

// The connections to each address are listed in stock's words.
func TestConnPool(t *testing.T) {
	g := &stockGraph{}
	p := &place{t: t}
	p.stock(g)
	defer func() { p.stop() }()
	tr := runTransfer(t, p.addr, nil)
	h := tr.handler()
	get := func(path string) string {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return fmt.Sprint(rec.Code, " ", rec.Body)
	}
	if got, want := get("/debug/connpool/graph"), "200 Name:"+p.addr+",Cnt:0,active:0,all:0,free:0\n"; got != want {
		t.Errorf("before the first point: %q, want %q", got, want)
	}
	if _, err := tr.wait(t.Context(), update{gauge("m", t0)}); err != nil {
		t.Fatal(err)
	}
	if got, want := get("/debug/connpool/graph"), "200 Name:"+p.addr+",Cnt:1,active:0,all:1,free:1\n"; got != want {
		t.Errorf("after it: %q, want %q", got, want)
	}
	if got := get("/debug/connpool/judge"); got != "200 \n" {
		t.Errorf("without a judge: %q", got)
	}
	if got := get("/debug/connpool/x"); !strings.HasPrefix(got, "404 there are no connections") {
		t.Errorf("of nobody: %q", got)
	}
}

func FuzzTracePath(f *testing.F) {
	for _, s := range []string{"/trace/h/m", "/filter/h/m/gt/1/a=b", "/trace/%2F/%", "/filter////"} {
		f.Add(s)
	}
	tr, err := New(nowhere(f), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	tr.cfg.Graph.Enabled = true
	h := tr.handler()
	f.Fuzz(func(t *testing.T, path string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + path + " HTTP/1.0\r\n\r\n")))
		if err != nil {
			return // the server refuses it before any handler sees it
		}
		h.ServeHTTP(httptest.NewRecorder(), req)
	})
}

func FuzzPush(f *testing.F) {
	f.Add([]byte(`[{"endpoint":"h","metric":"m","value":1,"step":60,"counterType":"GAUGE","tags":"a=b","timestamp":1},null,{"value":"x"},{"value":[1,{}]}]`))
	f.Add([]byte(`[{"endpoint":"h","metric":"m","value":1e308,"step":9223372036854775807,"counterType":"COUNTER","tags":",,=,==","timestamp":9223372036854775807}]`))
	tr, err := New(nowhere(f), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	h := tr.handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("POST", "/api/push", bytes.NewReader(body)))
		if rec.Code != 200 && rec.Code != 400 {
			t.Errorf("POST /api/push of %q: %d %s", body, rec.Code, rec.Body)
		}
		rejected := httptest.NewRecorder()
		h.ServeHTTP(rejected, httptest.NewRequest("GET", "/debug/rejected", nil))
		if !json.Valid(rejected.Body.Bytes()) {
			t.Errorf("/debug/rejected is no JSON after %q: %s", body, rejected.Body)
		}
	})
}
