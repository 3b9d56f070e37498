package plusjudge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// Every kind of peer is understood, and all that is told is in the event.
func TestCodecs(t *testing.T) {
	w := newWorld(t)
	for i, codec := range []rpc.Codec{rpc.Gob, rpc.JSON, rpc.GoRPC, rpc.Msgpack} {
		method := []string{"Judge.UnionJudge", "PlusJudge.Send"}[i%2]
		e := event(1+i%3, "h1", model.StatusProblem, w.clock().Unix(), nil)
		if r, err := w.send(codec, method, e); err != nil || r.Code != 0 {
			t.Errorf("%v: %+v, %v", codec, r, err)
		}
	}
	w.waitTold("PROBLEM 1")
	e := w.list()[0]
	if e.Id != "m_1_"+model.Checksum("serial/h1") || len(e.EventChain) != 2 || e.EventChain[1].Strategy.Metric != "m3" || e.EventChain[1].PushedTags["of"] != "3" {
		t.Errorf("%+v", e)
	}
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr, Codec: rpc.Gob})
	defer c.Close()
	if err := c.Call(t.Context(), "Judge.Ping", &model.NullRpcRequest{}, &model.SimpleRpcResponse{}); err != nil {
		t.Error(err)
	}
	if w.received.Get() != 4 || w.problems.Get() != 1 {
		t.Errorf("%d events, %d problems", w.received.Get(), w.problems.Get())
	}
}

// What is wrong is refused with its reason, and the next event is none the worse for it.
func TestRefuses(t *testing.T) {
	w := newWorld(t)
	expression := &model.Event{Id: "e_1_x", Status: "PROBLEM", Endpoint: "h1", EventTime: 1, Expression: &model.Expression{Id: 1}}
	for _, codec := range []rpc.Codec{rpc.Gob, rpc.JSON, rpc.Msgpack} {
		for _, e := range []*model.Event{expression, {}, event(1, "", "PROBLEM", 100, nil), event(1, "h1", "MAYBE", 100, nil)} {
			if r, err := w.send(codec, "Judge.UnionJudge", e); err != nil || r.Code != 1 {
				t.Errorf("%v: %+v, %v", codec, r, err)
			}
		}
	}
	if got := w.refused.All(); got[reasonNoStrategy] != 6 || got[model.ReasonNoName] != 3 || got[reasonStatus] != 3 {
		t.Errorf("refused %v", got)
	}
	w.holds(1, 2, 3)
	w.waitTold("PROBLEM 1")
}

// A stop, and one whose Redis was away, tell each problem once and each end once.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.holds(1, 2, 3)
	w.waitTold("PROBLEM 1")
	w.start()
	w.holds(1, 2, 3)
	w.look()
	w.waitTold("PROBLEM 1")

	w.r.SetError("LOADING away")
	w.ceases(2)
	if err := w.rewrite(); err != nil { // keeps the event that waits, and the state
		t.Fatal(err)
	}
	w.start()
	if w.out.Waiting() == 0 || w.core.Len() != 1 || w.core.Problems() != 0 {
		t.Errorf("%d events, %d combinations came back", w.out.Waiting(), w.core.Len())
	}
	w.r.SetError("")
	w.waitTold("PROBLEM 1", "OK 1")
	w.later(time.Second)
	w.holds(2) // what the others were before the restart begins nothing
	w.holds(1)
	w.waitTold("PROBLEM 1", "OK 1")
	w.holds(3)
	w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1")
}

// What goes on while it is restarted is not over, and what is silent after it is.
func TestHeldOverRestart(t *testing.T) {
	w := newWorld(t)
	w.holds(1, 2, 3)
	w.waitTold("PROBLEM 1")
	w.later(20 * time.Minute) // it was down
	w.start()
	w.look()
	w.later(299 * time.Second)
	w.look()
	w.waitTold("PROBLEM 1")
	w.holds(1, 3)
	w.later(2 * time.Second)
	w.look()
	w.waitTold("PROBLEM 1", "OK 1")
}

// A Redis that lost its memory is told the open problem again.
func TestRedisForgot(t *testing.T) {
	w := newWorld(t)
	w.holds(1, 2, 3)
	w.waitTold("PROBLEM 1")
	w.later(2 * time.Hour)
	w.r.FlushAll()
	w.waitTold("PROBLEM 1")

	w.later(time.Second)
	w.ceases(1)
	w.waitTold("PROBLEM 1", "OK 1")
	w.stop()
	w.r.FlushAll()
	w.start()
	w.waitTold("OK 1") // the problem is over: only its end matters
}

// Judges of the fork name a combination by its number and do not say how many members it
// has: hbs does.
func TestForkJudge(t *testing.T) {
	w := newWorld(t)
	var answer error
	n := 0
	w.members = func(_ context.Context, id int) (int, error) {
		n++
		if id != 5 {
			return 0, errors.New("what is that")
		}
		return 2, answer
	}
	w.start()
	fork := func(id, union int) *model.Event {
		return event(id, "h1", model.StatusProblem, w.clock().Unix(), func(e *model.Event) {
			e.Strategy.MultiSerial, e.Strategy.MultiCount, e.Strategy.UnionStrategyId = "", 0, union
		})
	}
	if _, err := w.send(rpc.Gob, "Judge.UnionJudge", fork(1, 7)); err == nil {
		t.Error("taken, though nobody knows the combination")
	}
	for id := 1; id <= 2; id++ {
		if r, err := w.send(rpc.Gob, "Judge.UnionJudge", fork(id, 5)); err != nil || r.Code != 0 {
			t.Fatal(r, err)
		}
	}
	w.waitTold("PROBLEM 1")
	if e := w.list()[0]; e.Id != "m_1_"+model.Checksum("u_5/h1") || n != 2 {
		t.Errorf("%s after %d questions", e.Id, n)
	}
	// An hbs that is away later is no reason to forget.
	answer = errors.New("away")
	w.later(2 * time.Minute)
	if r, err := w.send(rpc.Gob, "Judge.UnionJudge", fork(1, 5)); err != nil || r.Code != 0 {
		t.Error(r, err)
	}
	if got := w.refused.Get(reasonUnknown); got != 1 {
		t.Errorf("%d refused", got)
	}
}

// A full disk is no reason for silence: what is told is told, and nothing is acknowledged.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	w.holds(1, 2)
	w.journal.Fail(syscall.ENOSPC)
	if _, err := w.send(rpc.Gob, "Judge.UnionJudge", event(3, "h1", model.StatusProblem, w.clock().Unix(), nil)); err == nil {
		t.Error("acknowledged, though a restart would not know it")
	}
	w.waitTold("PROBLEM 1")
	if err := w.health(); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("health: %v", err)
	}
	w.journal.Fail(nil)
	w.holds(3) // a refresh changes nothing, and is no proof that the disk is well
	w.ceases(3)
	if err := w.health(); err != nil {
		t.Error(err)
	}
	w.start()
	w.waitTold("PROBLEM 1", "OK 1")
	if w.core.Problems() != 0 {
		t.Error("the end was forgotten")
	}
}

// The clock of the host is put by an hour, forward or back, in the middle of a problem, and the
// clocks of judges are right. That is no silence, and their events are not of the future: the problem goes on, ends when one of its conditions does, and begins again.
func TestClockSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.holds(1, 2, 3)
			w.waitTold("PROBLEM 1")
			w.later(time.Minute)
			w.mu.Lock() // what moment finds out of the clock of a host, which a test can not put
			w.put.Store(int64(step))
			if step > 0 { // the clock that it asks is not put back
				w.stepped(step)
			}
			w.mu.Unlock()
			w.look()
			w.waitTold("PROBLEM 1")
			w.holds(1, 2, 3)
			w.later(200 * time.Second)
			w.look()
			w.waitTold("PROBLEM 1")
			w.ceases(2)
			w.waitTold("PROBLEM 1", "OK 1")
			w.later(time.Second)
			w.holds(1, 2, 3)
			w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1")
		})
	}
}

// As many events wait for Redis as may: no event of a condition is taken, and its judge
// keeps it, until Redis is back. Nothing is lost, and nothing told twice.
func TestEventsWaitForRedis(t *testing.T) {
	w := newWorld(t)
	w.change = func(c *Config) { c.Alarm.MaxWaiting = 1 }
	w.start()
	w.holds(1, 2)
	w.r.SetError("LOADING away")
	w.holds(3)
	for range 2 {
		if _, err := w.send(rpc.Msgpack, "Judge.UnionJudge", event(3, "h1", model.StatusOK, w.clock().Unix()+1, nil)); err == nil || !strings.Contains(err.Error(), "1 events wait for redis (alarm.maxWaiting)") {
			t.Errorf("an event more: %v", err)
		}
		if err := w.health(); err == nil || !strings.Contains(err.Error(), "alarm.maxWaiting") {
			t.Errorf("health: %v", err)
		}
		if n := w.busy.All()["redis"]; n != 1 {
			t.Errorf("%d events were kept back", n)
		}
		w.start()
	}
	w.r.SetError("")
	w.waitTold("PROBLEM 1")
	w.later(time.Second)
	testkit.Eventually(t, 20*time.Second, w.health)
	w.ceases(3)
	w.waitTold("PROBLEM 1", "OK 1")
	testkit.Eventually(t, 20*time.Second, w.health)
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	w.holds(1, 2)
	get := func(method, path, body string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.RemoteAddr = "127.0.0.1:9"
		rec := httptest.NewRecorder()
		w.admin().ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	for _, path := range []string{"/combinations", "/combinations/h1", "/combinations?endpoint=h1"} {
		code, body := get("GET", path, "")
		var got model.CombinationsReply
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %v", path, code, err)
		}
		if got.Total != 1 || got.Combinations[0].Holds != 2 || got.Combinations[0].Unheard != 1 {
			t.Errorf("%s: %s", path, body)
		}
	}
	if _, body := get("GET", "/combinations/h2", ""); !strings.Contains(body, `"total":0`) && !strings.Contains(body, `"total": 0`) {
		t.Errorf("another host: %s", body)
	}
	w.holds(3)
	id := "m_1_" + model.Checksum("serial/h1")
	if code, body := get("POST", "/ack", `{"event_id":"`+id+`","user":"ann"}`); code != 200 || !strings.Contains(body, `"matched":1`) && !strings.Contains(body, `"matched": 1`) {
		t.Errorf("ack: %d %s", code, body)
	}
	if code, _ := get("POST", "/ack", `{`); code != http.StatusBadRequest {
		t.Errorf("ack of nothing: %d", code)
	}
	since := w.clock().Unix()
	worksOnIt := func(by string) {
		t.Helper()
		c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr})
		defer c.Close()
		var all model.CombinationsReply
		if err := c.Call(t.Context(), "PlusJudge.Combinations", &model.CombinationsRequest{Event: id}, &all); err != nil || all.Total != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		if v := all.Combinations[0]; v.Acked != (by != "") || v.AckedBy != by || by != "" && v.AckedAt != since {
			t.Errorf("%q works on it since %d, want %q since %d", v.AckedBy, v.AckedAt, by, since)
		}
	}
	worksOnIt("ann")
	goesOn := func() {
		for range 6 {
			w.later(time.Minute)
			w.holds(1, 2, 3)
		}
	}
	goesOn()
	w.start() // acknowledged still
	worksOnIt("ann")
	goesOn()
	if err := w.rewrite(); err != nil { // and in a snapshot
		t.Fatal(err)
	}
	w.start()
	worksOnIt("ann")
	goesOn()
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr})
	defer c.Close()
	var reply model.AckReply
	if err := c.Call(t.Context(), "Judge.Ack", &model.AckRequest{EventId: "s_1_x"}, &reply); err != nil || reply.Matched != 0 {
		t.Errorf("ack of a plain rule: %+v %v", reply, err)
	}
	w.later(time.Minute)
	if err := c.Call(t.Context(), "Judge.Ack", &model.AckRequest{EventId: id, Undo: true}, &reply); err != nil || reply.Matched != 1 {
		t.Errorf("undo: %+v %v", reply, err)
	}
	worksOnIt("")
	w.waitTold("PROBLEM 1")
	w.holds(1)
	w.waitTold("PROBLEM 1", "PROBLEM 2")
	for _, path := range []string{"/health", "/version", "/workdir", "/counter/all", "/config"} {
		if code, body := get("GET", path, ""); code != 200 || body == "" {
			t.Errorf("%s: %d", path, code)
		}
	}
	if _, body := get("GET", "/counter/all", ""); !strings.Contains(body, "combo.count") || !strings.Contains(body, "member.event") || !strings.Contains(body, `"stale"`) {
		t.Errorf("counters %s", body)
	}
}

// What strangers send neither panics nor is kept when it makes no sense.
func FuzzTake(f *testing.F) {
	good, err := json.Marshal(event(1, "h1", model.StatusProblem, 100, nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"strategy":null,"expression":{"id":1}}`))
	f.Add([]byte(`{"strategy":{"id":1,"multi_serial":"x","multi_count":2},"event_chain":[null]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := &model.Event{}
		if json.Unmarshal(raw, e) != nil {
			return
		}
		c := NewCore(settings)
		for id := 1; id <= 2; id++ {
			c.Take(event(id, "h1", model.StatusProblem, 100, nil), 100)
		}
		if Refuse(e, 100, 300) != "" {
			return
		}
		told, changed, _ := c.Take(e, 100)
		if told != nil {
			if _, err := json.Marshal(told); err != nil {
				t.Errorf("told what can not be written: %v", err)
			}
		}
		if changed {
			raw, err := (&record{Series: e, At: 1}).encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := decode(raw); err != nil {
				t.Errorf("a restart can not read %s", raw)
			}
		}
		c.Tick(5000)
		c.Views(model.CombinationsRequest{}, 5000)
	})
}

// What a disk has made of the journal is skipped, and never a crash.
func FuzzRecord(f *testing.F) {
	for _, r := range []*record{
		{Series: event(1, "h1", model.StatusProblem, 100, nil), At: 5},
		{Told: event(1, "h1", model.StatusProblem, 100, nil), Seq: 1, At: 5},
		{Pushed: []uint64{1}}, {Epoch: "x"}, {Ack: "m_1_x"},
	} {
		raw, err := r.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decode(raw)
		if err != nil {
			return
		}
		p := &PlusJudge{core: NewCore(settings), now: time.Now}
		p.out = outbox.New(outbox.Options{Now: time.Now, Redis: new(redisx.Pool)})
		p.replay(r, 100)
		p.core.Tick(10_000)
	})
}
