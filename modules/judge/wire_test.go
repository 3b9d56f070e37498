package judge

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	netrpc "net/rpc"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/common/redisx"
	"falcon/modules/judge/rules"
)

// Stock's captures were made where clocks show UTC.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// What a stock transfer sent to a stock judge gets, connection by connection, the same
// replies from ours.
func TestStockTransfer(t *testing.T) {
	w := newWorld(t, book("it-h1"))
	w.start()
	files, err := filepath.Glob("testdata/transfer-judge/*.c2s.bin")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".c2s.bin"), func(t *testing.T) {
			request := read(t, file)
			want := replies(t, bytes.NewReader(read(t, strings.Replace(file, ".c2s.", ".s2c.", 1))), -1)
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got := replies(t, conn, len(want))
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("reply %d is %+v, stock's %+v", i, got[i], want[i])
				}
			}
		})
	}
	if w.received.Get() < 450 {
		t.Errorf("%d points arrived", w.received.Get())
	}
}

type reply struct {
	method string
	seq    uint64
	err    string
	code   int
}

// replies reads n gob replies; -1 is until the end.
func replies(t *testing.T, r io.Reader, n int) (all []reply) {
	t.Helper()
	dec := gob.NewDecoder(r)
	for len(all) != n {
		var head netrpc.Response
		var body model.SimpleRpcResponse
		if err := dec.Decode(&head); err == io.EOF && n < 0 {
			bySeq(all)
			return all
		} else if err != nil {
			t.Fatalf("after %d replies: %v", len(all), err)
		}
		if err := dec.Decode(&body); err != nil {
			t.Fatal(err)
		}
		all = append(all, reply{head.ServiceMethod, head.Seq, head.Error, body.Code})
	}
	bySeq(all)
	return all
}

// bySeq sorts replies: calls in flight together are answered in any order.
func bySeq(all []reply) {
	slices.SortFunc(all, func(a, b reply) int { return int(a.seq) - int(b.seq) })
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Stock's pages, byte for byte, over the rules and points that stock had.
func TestStockPages(t *testing.T) {
	var strategies struct {
		Reply struct {
			Result model.StrategiesResponse `json:"result"`
		} `json:"reply"`
	}
	var expressions struct {
		Reply struct {
			Result model.ExpressionResponse `json:"result"`
		} `json:"reply"`
	}
	for file, to := range map[string]any{"getstrategies": &strategies, "getexpressions": &expressions} {
		if err := json.Unmarshal(read(t, "testdata/http-judge/"+file+".json"), to); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, rules.FromStock(&strategies.Reply.Result, &expressions.Reply.Result))
	w.start()
	const t0 = 1795320510
	for i, v := range []float64{90, 90, 90, 90, 90, 10} {
		w.mustSend(&model.JudgeItem{Endpoint: "it-h1", Metric: "it.gauge", JudgeType: "GAUGE", Timestamp: t0 + 30*int64(i), Value: v})
	}
	for i := range 4 {
		w.mustSend(&model.JudgeItem{Endpoint: "it-h1", Metric: "it.counter", JudgeType: "COUNTER", Timestamp: t0 + 60 + 30*int64(i), Value: 6000 * float64(i)})
	}
	h := w.admin()
	for _, name := range []string{"health", "strategy", "strategy_none", "expression", "history_gauge", "history_counter", "history_none"} {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(read(t, "testdata/http-judge/"+name+".c2s.bin"))))
		if err != nil {
			t.Fatal(err)
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(read(t, "testdata/http-judge/"+name+".s2c.bin"))), req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRecorder()
		h.ServeHTTP(got, req)
		if typ := got.Result().Header.Get("Content-Type"); got.Code != want.StatusCode || typ != want.Header.Get("Content-Type") || got.Body.String() != string(body) {
			t.Errorf("%s: %d %s %q\nwant %d %s %q", req.URL, got.Code, typ, got.Body, want.StatusCode, want.Header.Get("Content-Type"), body)
		}
	}
	for path, want := range map[string]string{
		"/count": "total: 2\n", "/history/x?pk=it-h1/it.gauge": "1795320660 ", "/filter/stat": `"series":2`,
		"/events?status=OK": `"status":"OK"`, "/counter/all": `"recv"`,
	} {
		got := httptest.NewRecorder()
		h.ServeHTTP(got, httptest.NewRequest(http.MethodGet, path, nil))
		if got.Code != http.StatusOK || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%s answers %d %.300s, want %s in it", path, got.Code, got.Body, want)
		}
	}
	got := httptest.NewRecorder()
	h.ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/events?status=PROBLEM", nil))
	if strings.Contains(got.Body.String(), `"OK"`) {
		t.Errorf("/events?status=PROBLEM has an OK event: %s", got.Body)
	}
}

// What a stock judge pushed to Redis: read and written by us it has the same bytes, and
// goes into the same list.
func TestStockEvents(t *testing.T) {
	r := bufio.NewReader(bytes.NewReader(read(t, "testdata/judge-redis/stream.c2s.bin")))
	line := func() string {
		text, err := r.ReadString('\n')
		if err == io.EOF {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(text)
	}
	n := 0
	for head := line(); head != ""; head = line() {
		count, err := strconv.Atoi(strings.TrimPrefix(head, "*"))
		if err != nil {
			t.Fatalf("%q begins no command", head)
		}
		var words []string
		for range count {
			size, err := strconv.Atoi(strings.TrimPrefix(line(), "$"))
			if err != nil {
				t.Fatal(err)
			}
			word := make([]byte, size+2)
			if _, err := io.ReadFull(r, word); err != nil {
				t.Fatal(err)
			}
			words = append(words, string(word[:size]))
		}
		if words[0] != "LPUSH" {
			continue
		}
		n++
		var e model.Event
		if err := json.Unmarshal([]byte(words[2]), &e); err != nil {
			t.Fatal(err)
		}
		ours, err := json.Marshal(&e)
		if err != nil {
			t.Fatal(err)
		}
		if string(ours) != words[2] || fmt.Sprintf(DefaultConfig().Alarm.QueuePattern, e.Priority()) != words[1] {
			t.Errorf("ours  %s\nstock %s in %s", ours, words[2], words[1])
		}
	}
	if n < 15 {
		t.Errorf("%d events", n)
	}
}

// Whatever a record holds, replaying it neither panics nor takes memory without end.
func FuzzReplay(f *testing.F) {
	var r recorder
	e := newTable().find("h1", "cpu.idle", "a=b", model.Gauge, nil, nil)
	r.define(e)
	r.point(opPoint, e.id, point60)
	r.pushed(7)
	r.epoch("name")
	f.Add(bytes.Clone(r.buf))
	r.reset()
	texts := newTable().findKind("h1", "app.state", "", model.Gauge, nil, true, nil)
	r.define(texts)
	r.value(opPoint, texts, expr.Point{Ts: 60, Value: texts.Word("down")})
	r.value(opWait, texts, expr.Point{Ts: 120, Value: texts.Word("ok")})
	f.Add(bytes.Clone(r.buf))
	f.Fuzz(func(_ *testing.T, b []byte) {
		j := &Judge{table: newTable(), out: newBox(outbox.Options{Now: time.Now, Redis: new(redisx.Pool)}), now: time.Now}
		j.set.Remain = 3
		_ = replayRecord(b, &recovery{j: j, ids: map[uint64]*entry{}})
	})
}
