package polymetric

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// exchange is a captured request and stock's answer to it.
type exchange struct {
	request *http.Request
	body    []byte
	answer  []byte // of the HTTP body
	status  int
}

// captured reads a conversation of stock.
func captured(t *testing.T, path string) (all []exchange) {
	t.Helper()
	open := func(side string) *bufio.Reader {
		b, err := os.ReadFile("testdata/" + path + side)
		if err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(bytes.NewReader(b))
	}
	requests, answers := open(".c2s.bin"), open(".s2c.bin")
	for {
		req, err := http.ReadRequest(requests)
		if errors.Is(err, io.EOF) && len(all) > 0 {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		e := exchange{request: req}
		if e.body, err = io.ReadAll(req.Body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, req)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		e.status = resp.StatusCode
		if e.answer, err = io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// replay serves captured answers in order, and says where a request is not stock's.
type replay struct {
	t    *testing.T
	mu   sync.Mutex
	next []exchange
	n    int
}

func (r *replay) ServeHTTP(w http.ResponseWriter, got *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.next) == 0 {
		r.t.Errorf("%s %s is one request more than stock's", got.Method, got.URL)
		return
	}
	want := r.next[0]
	r.next = r.next[1:]
	r.n++
	body, err := io.ReadAll(got.Body)
	if err != nil {
		r.t.Error(err)
	}
	if got.Method != want.request.Method || got.URL.RequestURI() != want.request.URL.RequestURI() {
		r.t.Errorf("request %d is %s %s, want %s %s", r.n, got.Method, got.URL, want.request.Method, want.request.URL)
	}
	for _, key := range []string{"Apitoken", "Content-Type"} {
		if g, w := got.Header.Get(key), want.request.Header.Get(key); g != w {
			r.t.Errorf("request %d has the %s %q, want %q", r.n, key, g, w)
		}
	}
	if g, w := decoded(r.t, body), decoded(r.t, want.body); !reflect.DeepEqual(g, w) {
		r.t.Errorf("request %d is\n%s\nwant\n%s", r.n, body, want.body)
	}
	rw := w
	rw.WriteHeader(want.status)
	_, _ = rw.Write(want.answer)
}

func decoded(t *testing.T, b []byte) (v any) {
	t.Helper()
	if len(b) > 0 {
		if err := json.Unmarshal(b, &v); err != nil {
			t.Errorf("%v: %s", err, b)
		}
	}
	return v
}

// fixed rows are those of the capture.
type fixed []portal.DatedAggregator

// The rows of the fleet that was captured (wire/http-api/aggregators).
var capturedRows = fixed{
	{Aggregator: portal.Aggregator{ID: 1, Group: 2, Numerator: "$(it.agg)", Denominator: "$#", Endpoint: "it-cluster", Metric: "it.agg.avg", Tags: "calc=mean", DsType: "GAUGE", Step: 30, Creator: "root"}},
	{Aggregator: portal.Aggregator{ID: 2, Group: 2, Numerator: "($(it.agg)+$(it.agg2/k=v))>25", Denominator: "$#", Endpoint: "it-cluster", Metric: "it.agg.share", DsType: "GAUGE", Step: 30, Creator: "root"}},
}

// What stock's aggregator asked stock's api, and what it pushed to stock's agent, is what
// ours asks and pushes: the requests are equal after decoding, the answers understood.
func TestAsStock(t *testing.T) {
	asked, pushed := &replay{t: t}, &replay{t: t, next: captured(t, "aggregator-agent/push")}
	for _, name := range []string{"stream", "stream1", "stream2", "stream3"} {
		asked.next = append(asked.next, captured(t, "aggregator-api/"+name)...)
	}
	api, agent := httptest.NewServer(asked), httptest.NewServer(pushed)
	defer api.Close()
	defer agent.Close()

	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.API.PlusAPI, cfg.API.PlusAPIToken, cfg.API.PushAPI = api.URL+"/", "interop-default-token", agent.URL+"/v1/push"
	var now time.Time
	m, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Rows: newWorld(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	var items []*model.MetricValue
	for i, at := range []int64{1795320702, 1795320723} { // when stock had these turns
		now = time.Unix(at, 0)
		m.groups = remember(newAPI(cfg.API), m.now) // stock asks for the hosts each time, ours once a minute
		r := mustRead(t, capturedRows[i])
		out, reason := m.compute(t.Context(), r, now)
		if out.err != nil || reason != "" {
			t.Fatalf("row %d: %v (%s)", r.row.ID, out.err, reason)
		}
		if i == 1 && (out.valid != 1 || fmt.Sprint(out.lacking) != "[it-h2/it.agg2/k=v]") {
			t.Errorf("row 2 has %d hosts, lacking %v; want one, without it-h2", out.valid, out.lacking)
		}
		items = append(items, out.item)
	}
	if len(asked.next) != 0 {
		t.Errorf("%d of stock's requests were not made", len(asked.next))
	}
	// The later pushes of the capture repeat these two, a step later each.
	for n := range pushed.next {
		item := *items[n%2]
		item.Timestamp += int64(n / 2 * 30)
		if err := m.sink.Push(t.Context(), []*model.MetricValue{&item}); err != nil {
			t.Error(err)
		}
	}
	if len(pushed.next) != 0 {
		t.Errorf("%d of stock's pushes were not made", len(pushed.next))
	}
}

// What an api answers when things are wrong, ours or stock's, and what has no api behind
// it.
func TestAnswersOfAnAPI(t *testing.T) {
	answer, status := "", http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.API.PlusAPI = srv.URL
	a := newAPI(cfg.API)
	for _, tc := range []struct {
		status int
		answer string
		gone   bool
		says   string
	}{
		{417, `{"error":"record not found"}`, true, "record not found"},
		{400, `{"error":"record not found"}`, true, "record not found"},
		{400, `{"error":"database is closed"}`, false, "database is closed"},
		{404, `404 page not found`, false, "404 page not found"},
		{401, `{"error":"session not found"}`, false, "api.plus_api_token"},
		{200, `{"message":"hello"}`, false, "is api.plus_api an api?"},
		{200, `<html>`, false, "the answer of /api/v1/hostgroup/2"},
		{200, `{"hostgroup":{"id":3},"hosts":[]}`, false, "a group with id 3"},
	} {
		status, answer = tc.status, tc.answer
		_, err := a.Hosts(t.Context(), 2)
		if err == nil || errors.Is(err, portal.ErrNotFound) != tc.gone {
			t.Errorf("%d %s: %v, gone %v", tc.status, tc.answer, err, tc.gone)
			continue
		}
		wantText(t, "the error", err.Error(), tc.says)
	}
	status, answer = 200, `{"hostgroup":{"id":2},"hosts":null}`
	if hosts, err := a.Hosts(t.Context(), 2); err != nil || hosts == nil || len(hosts) != 0 {
		t.Errorf("a group without hosts: %v, %v", hosts, err)
	}
	series := []*model.GraphLastParam{{Endpoint: "h", Counter: "c"}}
	for _, tc := range []struct{ answer, want string }{
		{`[{"endpoint":"h","counter":"c","value":{"timestamp":7,"value":1.5}},null,{"endpoint":"h","counter":"d","value":null}]`, "3 7 1.5"},
		{`[{"endpoint":"h","counter":"c","value":{"timestamp":7,"value":null}}]`, "1 7 NaN"},
		{`null`, "0"},
		{`{"error":1}`, "the answer of /api/v1/graph/lastpoint"},
	} {
		answer = tc.answer
		got, err := a.Last(t.Context(), series)
		text := fmt.Sprint(len(got))
		if err != nil {
			text = err.Error()
		} else if len(got) > 0 {
			text += fmt.Sprint(" ", got[0].Value.Timestamp, " ", float64(got[0].Value.Value))
		}
		wantText(t, "lastpoint "+tc.answer, text, tc.want)
	}
}
