package nodata

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// A captured is one request of stock's nodata and what it was answered.
type captured struct {
	req         *http.Request
	body, reply []byte
	status      int
}

func captures(t *testing.T, pattern string) (all []captured) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, file := range files {
		open := func(name string) *bufio.Reader {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return bufio.NewReader(bytes.NewReader(b))
		}
		var c captured
		if c.req, err = http.ReadRequest(open(file)); err != nil {
			t.Fatal(err)
		}
		if c.body, err = io.ReadAll(c.req.Body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(open(strings.Replace(file, ".c2s.", ".s2c.", 1)), c.req)
		if err != nil {
			t.Fatal(err)
		}
		c.status = resp.StatusCode
		if c.reply, err = io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// replay answers what stock was answered, and compares what is asked with what stock
// asked: path, token, type and body.
func replay(t *testing.T, c captured) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		same := r.Method == c.req.Method && r.URL.Path == c.req.URL.Path && r.Header.Get("Apitoken") == c.req.Header.Get("Apitoken") &&
			strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") && reflect.DeepEqual(decoded(t, body), decoded(t, c.body))
		if !same {
			t.Errorf("%s %s token %q: %s\nstock %s %s token %q: %s", r.Method, r.URL, r.Header.Get("Apitoken"), body,
				c.req.Method, c.req.URL, c.req.Header.Get("Apitoken"), c.body)
		}
		w.WriteHeader(c.status)
		_, _ = w.Write(c.reply)
	}))
}

func decoded(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Errorf("%s: %v", b, err)
	}
	return v
}

// What a stock api answered a stock nodata is answered to ours, which asks the same.
func TestCapturedAPI(t *testing.T) {
	for _, c := range captures(t, "testdata/nodata-api/*.c2s.bin") {
		srv := replay(t, c)
		n := newNodata(t, func(cfg *Config) {
			cfg.PlusAPI.Addr, cfg.PlusAPI.Token = srv.URL+"/", "interop-default-token"
		}, portal.Nodata{ID: 1, Obj: "it-h1", ObjType: "host", Metric: "it.nodata", DsType: "GAUGE", Step: 60, Mock: -1})
		if got := n.collect(t.Context()); got != 1 {
			t.Errorf("%d answers of stock's were understood, want 1", got)
		}
		if a := n.book.records["it-h1/it.nodata"].answers; len(a) != 1 || a[0].Time != 0 || a[0].Value != 0 {
			t.Errorf("read as %+v", a)
		}
		srv.Close()
	}
}

// The mocks that a stock nodata posted to a stock transfer are the ones that ours makes
// of the same series at the same time, and stock's answer is understood.
func TestCapturedTransfer(t *testing.T) {
	for _, c := range captures(t, "testdata/nodata-transfer/*.c2s.bin") {
		srv := replay(t, c)
		n := newNodata(t, func(cfg *Config) { cfg.Sender.TransferAddr = strings.TrimPrefix(srv.URL, "http://") },
			portal.Nodata{ID: 1, Obj: "it-h1", ObjType: "host", Metric: "it.nodata", DsType: "GAUGE", Step: 60, Mock: -1})
		var items []struct{ Timestamp int64 }
		if err := json.Unmarshal(c.body, &items); err != nil {
			t.Fatal(err)
		}
		now := items[0].Timestamp + 120 // the second in which stock judged
		n.book.fetched("it-h1/it.nodata", Answer{Fetched: now}, 3)
		n.out.begin()
		n.judge(time.Unix(now, 0))
		made := n.out.take(9)
		raw, err := json.Marshal(made)
		if err != nil || string(raw) != string(c.body) {
			t.Errorf("%s\nstock %s", raw, c.body)
		}
		n.out.giveBack(made)
		if sent := n.sendOnce(t.Context()); sent != 1 || n.sent.Get() != 1 || n.dropped.Sum() != 0 {
			t.Errorf("%d sent, %d counted, dropped %v", sent, n.sent.Get(), n.dropped.All())
		}
		srv.Close()
	}
}

// newNodata returns one that does not run, with rows that are read.
func newNodata(t *testing.T, change func(*Config), rows ...portal.Nodata) *Nodata {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg, Deps{Log: quietLog, Rows: &table{rows: rows, groups: map[string][]string{"web": {"h1", "h2"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// Faults of an api: each is told in words, and none is taken for an answer.
func TestFaultsOfTheAPI(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		status     int
		answers    int
		trouble    string
	}{
		{"an element without names, as stock answers for a graph that is away", `[{"endpoint":"","counter":"","value":null},{"endpoint":"h2","counter":"m","value":{"timestamp":7,"value":null}}]`, 200, 1, ""},
		{"null", `null`, 200, 0, ""},
		{"a series that nobody asked for", `[{"endpoint":"h9","counter":"m","value":{"timestamp":7,"value":1}}]`, 200, 0, ""},
		{"no token", `{"error":"token key:sig is empty"}`, 401, 0, "write a token for nodata into plus_api.token"},
		{"broken", `{"error":"x"}`, 500, 0, "status 500"},
		{"no JSON", `<html>`, 200, 0, "invalid character"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		}))
		n := newNodata(t, func(c *Config) { c.PlusAPI.Addr = srv.URL }, row(1, "host", "h1\nh2", "m", ""))
		got := n.collect(t.Context())
		said := fmt.Sprint(n.trouble.Err())
		if got != tc.answers || tc.trouble == "" && said != "<nil>" || !strings.Contains(said, tc.trouble) {
			t.Errorf("%s: %d answers, %s", tc.name, got, said)
		}
		srv.Close()
	}
}

// When a transfer takes nothing the next one is tried.
func TestTheNextTransferIsTried(t *testing.T) {
	took := make(chan string, 1)
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		took <- string(b)
		_, _ = io.WriteString(w, `{"msg":"success","data":{"Total":1,"Invalid":0}}`)
	}))
	defer good.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	n := newNodata(t, func(c *Config) {
		c.Sender.TransferAddr = strings.TrimPrefix(dead.URL, "http://") + ", " + good.URL
	})
	n.out.begin()
	n.out.add([]Mock{{Metric: "m", Endpoint: "h1", Timestamp: 60, Step: 60, Value: 1.5, Type: "GAUGE", Tags: "a=1"}})
	if sent := n.sendOnce(t.Context()); sent != 1 || n.retries.Get() != 1 {
		t.Errorf("%d sent, %d retries", sent, n.retries.Get())
	}
	select {
	case got := <-took:
		if want := `[{"metric":"m","endpoint":"h1","timestamp":60,"step":60,"value":1.5,"counterType":"GAUGE","tags":"a=1"}]`; got != want {
			t.Errorf("took %s, want %s", got, want)
		}
	default:
		t.Error("the transfer that is there took nothing")
	}
}

// The pages of stock, in its shapes.
func TestPages(t *testing.T) {
	reloaded := errors.New("grace: -1 is negative")
	n := newNodata(t, nil, row(7, "group", "web", "cpu.idle", "b=2,a=1"), row(8, "host", "h3", "m", ""))
	n.now = func() time.Time { return time.Unix(1_000_020, 0) }
	n.points = pointsFunc(func(series []*model.GraphLastParam) (all []*model.GraphLastResp) {
		for _, s := range series {
			all = append(all, &model.GraphLastResp{Endpoint: s.Endpoint, Counter: s.Counter, Value: &model.RRDData{Timestamp: 1_000_000, Value: 2.5}})
		}
		return all
	})
	n.deps.Reload = func() (Config, error) { return DefaultConfig(), reloaded }
	n.pusher = &world{}
	srv := httptest.NewServer(n.admin())
	defer srv.Close()
	page := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	series := `{"id":7,"name":"row7","objType":"group","endpoint":"h1","metric":"cpu.idle","tags":{"a":"1","b":"2"},"type":"GAUGE","step":60,"mock":-1}`
	ok := func(data string) string { return `{"msg":"success","data":` + data + "}\n" }
	for _, tc := range []struct {
		path   string
		status int
		want   string
	}{
		{"/health", 503, "nodata is starting\n"},
		{"/proc/status/h1/cpu.idle/a=1,b=2", 200, ok(`{"Key":"h1/cpu.idle/a=1,b=2","Status":"","Cnt":0,"Ts":0}`)},
		{"/proc/collect/h1/cpu.idle/a=1,b=2", 200, "nothing was fetched\n"},
		{"/debug/collector/collect", 200, ok(`{"cnt":3,"time":0}`)},
		{"/proc/collect/h1/cpu.idle/a=1,b=2", 200, "ts:1000000, value:2.500000, fetched:1000020\n"},
		{"/debug/judge/judge", 200, ok(`{"cnt":0,"time":0}`)},
		{"/proc/status/h1/cpu.idle/a=1,b=2", 200, ok(`{"Key":"h1/cpu.idle/a=1,b=2","Status":"OK","Cnt":0,"Ts":0}`)},
		{"/proc/config/h1/cpu.idle/a=1,b=2", 200, ok(series)},
		{"/proc/config/none", 200, ok("null")},
		{"/proc/config", 200, ok(`{"h1/cpu.idle/a=1,b=2":` + series + `,"h2/cpu.idle/a=1,b=2":` + strings.Replace(series, `"h1"`, `"h2"`, 1) +
			`,"h3/m":{"id":8,"name":"row8","objType":"host","endpoint":"h3","metric":"m","tags":{},"type":"GAUGE","step":60,"mock":-1}}`)},
		{"/proc/group/web", 200, ok(`{"h1":1,"h2":2}`)},
		{"/proc/group/none", 200, ok(`{}`)},
		{"/debug/config/sync", 200, ok(`{"cnt":3,"time":0}`)},
		{"mocks", 0, ""},
		{"/debug/sender/send", 200, ok(`{"cnt":2,"time":0}`)},
		{"/config/reload", 400, `{"msg":"nothing changed: grace: -1 is negative"}` + "\n"},
		{"ready", 0, ""},
		{"/health", 200, "ok\n"},
		{"away", 0, ""},
		{"/proc/config", 503, `{"msg":"gone"}` + "\n"},
		{"/proc/group/web", 503, `{"msg":"gone"}` + "\n"},
		{"/debug/config/sync", 503, `{"msg":"gone"}` + "\n"},
		{"/health", 503, "read the rows of mockcfg: gone\n"},
	} {
		switch tc.path {
		case "mocks":
			n.out.begin()
			n.out.add([]Mock{{}, {}})
			continue
		case "ready":
			n.ready.Store(true)
			continue
		case "away":
			n.deps.Rows.(*table).set(func(d *table) { d.err = errors.New("gone") })
			continue
		}
		if status, got := page(tc.path); status != tc.status || got != tc.want {
			t.Errorf("GET %s\n got %d %s\nwant %d %s", tc.path, status, got, tc.status, tc.want)
		}
	}

	reloaded = nil
	for _, path := range []string{"/config", "/config/reload"} {
		status, got := page(path)
		var answer struct {
			Msg  string
			Data map[string]any
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil || status != 200 || answer.Msg != "success" || answer.Data["sender"] == nil {
			t.Errorf("GET %s: %d %s, %v", path, status, got, err)
		}
	}
	want := "ConfigCronCnt ConfigLastTs ConfigLastCnt CollectorCronCnt CollectorLastCnt CollectorLastTs CollectorCnt JudgeCronCnt JudgeLastTs SenderCronCnt SenderLastTs SenderCnt FloodRate Threshold nodata.blocking"
	for _, path := range []string{"/proc/counters", "/statistics/all", "/counter/all"} {
		_, got := page(path)
		var answer struct {
			Msg  string
			Data []struct {
				Name string
				Cnt  int64
			}
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil || answer.Msg != "success" {
			t.Fatalf("GET %s: %s, %v", path, got, err)
		}
		var names []string
		counts := map[string]int64{}
		for _, row := range answer.Data {
			names, counts[row.Name] = append(names, row.Name), row.Cnt
		}
		if got := strings.Join(names, " "); !strings.HasPrefix(got, want) {
			t.Errorf("GET %s has %s\nwant       %s", path, got, want)
		}
		if counts["ConfigCronCnt"] != 2 || counts["ConfigLastCnt"] != 3 || counts["CollectorCronCnt"] != 1 || counts["CollectorLastCnt"] != 3 || counts["CollectorCnt"] != 3 ||
			counts["CollectorLastTs"] != 1_000_020 || counts["JudgeCronCnt"] != 1 || counts["JudgeLastTs"] != 1_000_020 || counts["SenderCronCnt"] != 1 || counts["SenderCnt"] != 2 ||
			counts["SenderLastTs"] != 1_000_020 || counts["Threshold"] != 32 {
			t.Errorf("GET %s: %v", path, counts)
		}
	}
	if _, got := page("/metrics"); !strings.Contains(got, "falcon_nodata_sent_mocks_total 2") || !strings.Contains(got, "falcon_nodata_blocking 0") {
		t.Error("/metrics lacks counters")
	}
}

type pointsFunc func([]*model.GraphLastParam) []*model.GraphLastResp

func (f pointsFunc) LastPoints(_ context.Context, s []*model.GraphLastParam) ([]*model.GraphLastResp, error) {
	return f(s), nil
}
