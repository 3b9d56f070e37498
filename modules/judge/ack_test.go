package judge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/rpc"
)

// ack acknowledges by RPC, as transfer does, and returns how many matched.
func (w *world) ack(r model.AckRequest) int {
	w.t.Helper()
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr, Key: w.key.Reveal()})
	defer c.Close()
	var reply model.AckReply
	if err := c.Call(w.t.Context(), "Judge.Ack", &r, &reply); err != nil {
		w.t.Fatal(err)
	}
	return reply.Matched
}

// low sends two low points n minutes after now, with a clock of then.
func (w *world) low(now int64, n int, value float64) {
	w.t.Helper()
	w.skew.Store(int64(n) * int64(time.Minute))
	w.mustSend(point(now+int64(n)*60-60, value), point(now+int64(n)*60, value))
}

func (w *world) shownAcked(want string) {
	w.t.Helper()
	for _, e := range w.events("") {
		if got := e.AckedBy; got != want || e.Acked != (want != "") {
			w.t.Errorf("%s is acknowledged by %q, want %q", e.Id, got, want)
		}
	}
}

// Nothing more is told of an acknowledged problem but its end, over kills and snapshots,
// too; the next problem is told again.
func TestAcknowledged(t *testing.T) {
	for _, how := range []string{"kill", "snapshot", "go on"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, book("h1"))
			w.start()
			between := func() {
				w.t.Helper()
				switch how {
				case "snapshot":
					if err := w.rewrite(); err != nil {
						t.Fatal(err)
					}
					fallthrough
				case "kill":
					w.killAndStart()
				}
			}
			now := time.Now().Unix()
			w.low(now, 0, 1)
			w.waitTold("PROBLEM 1")
			id := "s_1_" + model.Checksum("h1/cpu.idle")
			for _, other := range []model.AckRequest{
				{EventId: "s_2_x", Endpoint: "h1", Metric: "cpu.idle"}, {EventId: id, Endpoint: "h2", Metric: "cpu.idle"},
				{EventId: id, Endpoint: "h1", Metric: "cpu.idle", Tags: map[string]string{"a": "b"}},
			} {
				if n := w.ack(other); n != 0 {
					t.Errorf("%+v matches %d", other, n)
				}
			}
			if n := w.ack(model.AckRequest{EventId: id, Endpoint: "h1", Metric: "cpu.idle", User: "anna", At: 7}); n != 1 {
				t.Errorf("%d matched, want 1", n)
			}
			between()
			w.shownAcked("anna")
			w.low(now, 10, 1)
			between()
			w.low(now, 20, 1)
			w.waitTold("PROBLEM 1")
			w.low(now, 30, 50)
			w.waitTold("PROBLEM 1", "OK 1")
			w.shownAcked("")
			if n := w.ack(model.AckRequest{EventId: id, Endpoint: "h1", Metric: "cpu.idle"}); n != 0 {
				t.Errorf("what is over matches %d", n)
			}
			between()
			w.low(now, 40, 1)
			w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1")
			w.shownAcked("")
			w.low(now, 50, 1)
			w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1", "PROBLEM 2")
		})
	}
}

// An acknowledgement without an event id means all problems of the series, and can be
// taken back.
func TestAcknowledgedAndNot(t *testing.T) {
	b := book("h1")
	b.Add("h1", []*model.Strategy{strategy(1), strategy(2)})
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	w.low(now, 0, 1)
	w.waitTold("PROBLEM 1", "PROBLEM 1")
	if n := w.ack(model.AckRequest{Endpoint: "h1", Metric: "cpu.idle", User: "anna"}); n != 2 {
		t.Errorf("%d matched, want 2", n)
	}
	w.low(now, 10, 1)
	w.waitTold("PROBLEM 1", "PROBLEM 1")
	w.killAndStart()
	if n := w.ack(model.AckRequest{EventId: "s_2_" + model.Checksum("h1/cpu.idle"), Endpoint: "h1", Metric: "cpu.idle", Undo: true}); n != 1 {
		t.Errorf("%d matched, want 1", n)
	}
	w.killAndStart()
	w.low(now, 20, 1)
	w.waitTold("PROBLEM 1", "PROBLEM 1", "PROBLEM 2")
}

// An acknowledgement is answered once it is on the disk, behind the problem that it means.
func TestAnAckWaitsForItsProblem(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1))
	b := w.begin()
	b.add(w.entry("h1"), expr.Point{Ts: now, Value: 1}, "", now) // a problem, on its way to a slow disk
	acked := make(chan int, 1)
	go func() { acked <- w.ack(model.AckRequest{Endpoint: "h1", Metric: "cpu.idle", User: "anna"}) }()
	select {
	case <-acked:
		t.Error("answered, and the problem is on no disk")
	case <-time.After(300 * time.Millisecond):
	}
	if err := b.commit(); err != nil {
		t.Fatal(err)
	}
	if n := <-acked; n != 1 {
		t.Errorf("%d matched", n)
	}
	w.killAndStart()
	w.shownAcked("anna")
}

// Who may acknowledge, by RPC and by HTTP.
func TestWhoMayAcknowledge(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.key = "the key"
	w.start()
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr})
	defer c.Close()
	if err := c.Call(t.Context(), "Judge.Ack", &model.AckRequest{Endpoint: "h1", Metric: "m"}, nil); err == nil || !strings.Contains(err.Error(), "fleet key") {
		t.Errorf("without the key: %v", err)
	}
	if err := c.Call(t.Context(), "Judge.Ping", &model.NullRpcRequest{}, nil); err != nil {
		t.Errorf("stock's method: %v", err)
	}
	w.ack(model.AckRequest{Endpoint: "h1", Metric: "m"}) // has the key
	for _, tc := range []struct {
		key, given, from, kind, body string
		want                         int
	}{
		{"k", "k", "10.0.0.1:1", "application/json", `{"endpoint":"h1","metric":"m"}`, 200},
		{"k", "", "127.0.0.1:1", "application/json", `{"endpoint":"h1","metric":"m"}`, 403},
		{"k", "x", "127.0.0.1:1", "application/json", `{}`, 403},
		{"", "", "10.0.0.1:1", "application/json", `{}`, 403},
		{"", "", "127.0.0.1:1", "application/json", `{"endpoint":"h1","metric":"m"}`, 200},
		{"", "", "127.0.0.1:1", "text/plain", `{"endpoint":"h1","metric":"m"}`, 415}, // a form of some page
		{"", "", "127.0.0.1:1", "application/json", `{"endpoint":"h1"}`, 400},
		{"", "", "127.0.0.1:1", "application/json", `[`, 400},
	} {
		w.cfg.FleetKey = "" // of the page alone
		if tc.key != "" {
			w.cfg.FleetKey = "k"
		}
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			r := httptest.NewRequest(method, "/ack", strings.NewReader(tc.body))
			r.RemoteAddr = tc.from
			r.Header.Set("Content-Type", tc.kind)
			r.Header.Set(ackHeader, tc.given)
			rec := httptest.NewRecorder()
			w.admin().ServeHTTP(rec, r)
			if rec.Code != tc.want {
				t.Errorf("%s %+v: %d %s", method, tc, rec.Code, rec.Body)
			}
		}
	}
}

// A snapshot that knows more than the acknowledgement beside it wins: the problem that
// was meant is over, and the next one is nobody's.
func TestAnAckOfAProblemThatIsOver(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.low(now, 0, 1)
	w.waitTold("PROBLEM 1")
	w.turning.Lock()
	if err := w.journal.Turn(); err != nil {
		t.Fatal(err)
	}
	w.turn++
	w.turning.Unlock()
	w.ack(model.AckRequest{Endpoint: "h1", Metric: "cpu.idle", User: "anna"})
	w.low(now, 10, 50)
	w.low(now, 20, 1)
	w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1")
	if err := w.journal.Snapshot(w.snapshot); err != nil {
		t.Fatal(err)
	}
	w.killAndStart()
	w.shownAcked("")
	w.low(now, 30, 1)
	w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1", "PROBLEM 2")
}
