package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	netrpc "net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"falcon/common/model"
	"falcon/modules/agent/collect"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each captured HTTP request gets stock's status, type and body.
func TestStockHTTP(t *testing.T) {
	a, err := New(testConfig("t:1"), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := a.handler()
	for _, name := range []string{"health", "push", "push_bad", "push_blank", "push_object"} {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(read(t, "testdata/http-agent/"+name+".c2s.bin"))))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(read(t, "testdata/http-agent/"+name+".s2c.bin"))), req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRecorder()
		h.ServeHTTP(got, req)
		if got.Code != want.StatusCode || got.Body.String() != string(body) || got.Result().Header.Get("Content-Type") != want.Header.Get("Content-Type") {
			t.Errorf("%s: %d %q %s\nwant %d %q %s", name, got.Code, got.Body, got.Result().Header.Get("Content-Type"), want.StatusCode, body, want.Header.Get("Content-Type"))
		}
	}
}

// More items than one request may bring are refused in words, before they are
// decoded.
func TestTooManyItems(t *testing.T) {
	a, err := New(testConfig("t:1"), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	a.push(rec, httptest.NewRequest("POST", "/v1/push", strings.NewReader("["+strings.Repeat("{},", 1_000_000)+"{}]")))
	if rec.Code != http.StatusRequestEntityTooLarge || !strings.Contains(rec.Body.String(), "1000001") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func FuzzPush(f *testing.F) {
	f.Add([]byte(`[{"endpoint":"h","metric":"m","value":1,"step":60,"counterType":"GAUGE","tags":"a=b","timestamp":1},null]`))
	f.Add([]byte(`[{"value":"x","tags":",,=,==","step":-9223372036854775808}]`))
	cfg := testConfig("t:1")
	cfg.DefaultTags = map[string]string{"a": "1"}
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rec := httptest.NewRecorder()
		a.push(rec, httptest.NewRequest("POST", "/v1/push", bytes.NewReader(body)))
		if rec.Code != 200 && rec.Code != 400 {
			t.Errorf("POST /v1/push of %q: %d %s", body, rec.Code, rec.Body)
		}
	})
}

// stockTransfer keeps the JSON of what arrives, as it arrives.
type stockTransfer struct {
	mu    sync.Mutex
	items []json.RawMessage
}

// Update is Transfer.Update of a stock transfer.
func (s *stockTransfer) Update(items []json.RawMessage, r *model.TransferResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, items...)
	r.Message, r.Total = "ok", len(items)
	return nil
}

// A stock transfer gets items with stock's keys, in stock's types, by JSON-RPC.
func TestStockTransferGetsStockItems(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stockTransfer{}
	server := netrpc.NewServer()
	if err := server.RegisterName("Transfer", s); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { server.ServeCodec(jsonrpc.NewServerCodec(c)) })
		}
	})
	defer func() { ln.Close(); serving.Wait() }()

	a, err := New(testConfig(ln.Addr().String()), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.slots = nil
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	kept := make(chan error, 1)
	points, _ := a.points([]*model.MetricValue{
		{Endpoint: "it-h1", Metric: "it.push", Value: 1.5, Step: 60, Type: "GAUGE", Tags: "b=2, a=1", Timestamp: 1795320703},
		{Endpoint: "it-h1", Metric: "it.text", Value: "on", Step: 10, Type: "GAUGE", Timestamp: 1795320704},
	})
	points = append(points, point{series: a.series.get(name{"here", "cpu.switches", "", collect.C("", 0).Type, 60, false}), ts: 5, value: 1 << 40})
	a.out.add(points, func(err error) { kept <- err })
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"endpoint":"it-h1","metric":"it.push","value":1.5,"step":60,"counterType":"GAUGE","tags":"a=1,b=2","timestamp":1795320703}`,
		`{"endpoint":"it-h1","metric":"it.text","value":"on","step":10,"counterType":"GAUGE","tags":"","timestamp":1795320704}`,
		`{"endpoint":"here","metric":"cpu.switches","value":1099511627776,"step":60,"counterType":"COUNTER","tags":"","timestamp":5}`,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for _, it := range s.items {
		if !bytes.Contains(it, []byte("agent.alive")) {
			got = append(got, string(it))
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("stock got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
