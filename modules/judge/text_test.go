package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/stream"
	"falcon/common/testkit"
)

// textBook is one in which h1 has all(#2) != ok on the texts of app.state, and a rule on
// its numbers.
func textBook() *rulebook.Book {
	b := rulebook.New()
	tpl := &model.Template{Id: 7, ActionId: 9}
	b.Add("h1", []*model.Strategy{
		{Id: 2, Metric: "app.state", Tags: map[string]string{}, Func: "all(#2)", Operator: "!=", ValueType: "string", RightString: "ok", MaxStep: 3, Tpl: tpl},
		{Id: 3, Metric: "app.state", Tags: map[string]string{}, Func: "all(#1)", Operator: "<", RightValue: 5, MaxStep: 3, Tpl: tpl},
	})
	return b
}

func textPoint(ts int64, value string) *model.StringItem {
	return &model.StringItem{Endpoint: "h1", Metric: "app.state", Value: value, Timestamp: ts}
}

func (w *world) sendTexts(codec rpc.Codec, items ...*model.StringItem) {
	w.t.Helper()
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr, Codec: codec})
	defer c.Close()
	if err := c.Call(context.Background(), "StringJudge.Send", items, &model.SimpleRpcResponse{}); err != nil {
		w.t.Fatal(err)
	}
}

// waitTexts waits until Redis has the events, oldest first: status, strategy, both texts
// and the number.
func (w *world) waitTexts(want ...string) {
	w.t.Helper()
	testkit.Eventually(w.t, 20*time.Second, func() error {
		list, _ := w.r.List("event:p0") // an error: it is empty
		var got []string
		for _, raw := range list {
			var e model.Event
			if err := json.Unmarshal([]byte(raw), &e); err != nil {
				return err
			}
			got = append([]string{fmt.Sprintf("%s %d %q %q %v", e.Status, e.StrategyId(), e.LeftString, e.RightString, e.LeftValue)}, got...)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("told %v, want %v", got, want)
		}
		return nil
	})
}

// Texts are judged whatever way they come; a restart, from the journal or from a
// snapshot, keeps them.
func TestTexts(t *testing.T) {
	for _, codec := range []rpc.Codec{rpc.Gob, rpc.JSON, rpc.Msgpack} {
		for _, snapshot := range []bool{false, true} {
			t.Run(fmt.Sprint(codec, snapshot), func(t *testing.T) {
				w := newWorld(t, textBook())
				w.start()
				again := func() {
					if snapshot {
						if err := w.rewrite(); err != nil {
							t.Fatal(err)
						}
					}
					w.start()
				}
				now := time.Now().Unix()
				w.sendTexts(codec, textPoint(now-240, "ok"), textPoint(now-180, "down"))
				again()
				w.sendTexts(codec, textPoint(now-120, "gone"))
				w.waitTexts(`PROBLEM 2 "gone" "ok" 0`)
				again()
				if got := w.history("h1/app.state"); strings.Count(got, "\n") != 3 || !strings.Contains(got, fmt.Sprintf("%d ", now-120)) || !strings.Contains(got, `"gone"`) {
					t.Errorf("the page shows\n%s", got)
				}
				if all := w.events(""); len(all) != 1 || all[0].Stopped || all[0].LeftString != "gone" {
					t.Errorf("events %+v", all)
				}
				w.sendTexts(codec, textPoint(now-60, "ok"))
				w.waitTexts(`PROBLEM 2 "gone" "ok" 0`, `OK 2 "ok" "ok" 0`)
			})
		}
	}
}

// A name may have numbers and texts: rules see those of their kind.
func TestNumbersAndTextsOfOneName(t *testing.T) {
	w := newWorld(t, textBook())
	w.start()
	now := time.Now().Unix()
	number := &model.JudgeItem{Endpoint: "h1", Metric: "app.state", JudgeType: "GAUGE", Timestamp: now - 120, Value: 1}
	w.mustSend(number)
	w.sendTexts(rpc.Gob, textPoint(now-120, "down"), textPoint(now-60, "down"))
	w.waitTexts(`PROBLEM 3 "" "" 1`, `PROBLEM 2 "down" "ok" 0`)
	if n, _ := w.table.sizes(); n != 2 {
		t.Errorf("%d series are kept, want 2", n)
	}
	if got := w.history("h1/app.state"); strings.Count(got, "\n") != 3 || !strings.Contains(got, " 1\n") {
		t.Errorf("the page shows\n%s", got)
	}
	// Both problems are acknowledged by the name of the series, also over a restart.
	reply, err := w.acknowledge(&model.AckRequest{Endpoint: "h1", Metric: "app.state", User: "ann"})
	if err != nil || reply.Matched != 2 {
		t.Errorf("%+v, %v", reply, err)
	}
	w.start()
	for _, e := range w.events("") {
		if !e.Acked || e.AckedBy != "ann" {
			t.Errorf("%s is acknowledged %v by %q", e.Id, e.Acked, e.AckedBy)
		}
	}
	if i := w.interest("h1", "app.state", "a=b", map[string]string{"a": "b"}); len(i.Strategies) != 2 || i.State != inUse {
		t.Errorf("the filter says %+v", i)
	}
	// A text that no rule watches is dropped, as a number is.
	other := textPoint(now, "x")
	other.Metric = "app.other"
	before := w.filtered.Get()
	w.sendTexts(rpc.Gob, other)
	if n, _ := w.table.sizes(); n != 2 || w.filtered.Get() != before+1 {
		t.Errorf("%d series, %d filtered", n, w.filtered.Get()-before)
	}
}

func TestTextsThatAreRefused(t *testing.T) {
	w := newWorld(t, textBook())
	w.start()
	now := time.Now().Unix()
	nameless := textPoint(now, "x")
	nameless.Endpoint = ""
	w.sendTexts(rpc.Gob, textPoint(now, strings.Repeat("x", model.MaxText+1)), textPoint(now, ""), textPoint(0, "x"), textPoint(now+9000, "x"), nameless)
	for _, reason := range []string{model.ReasonTooLong, model.ReasonNoValue, model.ReasonTimestamp, model.ReasonFuture, model.ReasonNoName} {
		if n := w.invalid.Get(reason); n != 1 {
			t.Errorf("%d refused as %s, want 1", n, reason)
		}
	}
	s := w.stream()
	h := s.Define(&model.Series{Endpoint: "h1", Metric: "app.state", Type: "GAUGE", Step: 60, Text: true})
	r := s.push(stream.Point{Handle: h, Time: now, Text: strings.Repeat("x", model.MaxText+1)}, stream.Point{Handle: h, Time: now + 1})
	if r.Err != nil || r.Taken != 0 || len(r.Refused) != 2 {
		t.Errorf("%+v", r)
	}
}

// A stream brings numbers and texts side by side; a text that no rule wants is muted.
func TestTextsOfAStream(t *testing.T) {
	w := newWorld(t, textBook())
	w.start()
	now := time.Now().Unix()
	s := w.stream()
	texts := s.Define(&model.Series{Endpoint: "h1", Metric: "app.state", Type: "GAUGE", Step: 60, Text: true})
	numbers := s.Define(&model.Series{Endpoint: "h1", Metric: "app.state", Type: "GAUGE", Step: 60})
	other := s.Define(&model.Series{Endpoint: "h2", Metric: "app.state", Type: "GAUGE", Step: 60, Text: true})
	r := s.push(stream.Point{Handle: texts, Time: now - 120, Text: "down"}, stream.Point{Handle: other, Time: now - 120, Text: "down"},
		stream.Point{Handle: numbers, Time: now - 120, Value: 50}, stream.Point{Handle: texts, Time: now - 60, Text: "lost"})
	if r.Err != nil || r.Taken != 4 {
		t.Fatalf("%+v", r)
	}
	w.waitTexts(`PROBLEM 2 "lost" "ok" 0`)
	if !s.Muted(other) || s.Muted(texts) || s.Muted(numbers) {
		t.Errorf("muted: %v %v %v", s.Muted(other), s.Muted(texts), s.Muted(numbers))
	}
	s.push(stream.Point{Handle: texts, Time: now, Text: "ok"})
	w.waitTexts(`PROBLEM 2 "lost" "ok" 0`, `OK 2 "ok" "ok" 0`)
}

// With a new text the problem is open until the next value decides.
func TestTextOfARuleChanges(t *testing.T) {
	w := newWorld(t, textBook())
	w.start()
	now := time.Now().Unix()
	w.sendTexts(rpc.Gob, textPoint(now-120, "down"), textPoint(now-60, "down"))
	w.waitTexts(`PROBLEM 2 "down" "ok" 0`)
	b := rulebook.New()
	st := *textBook().Of("h1")[0]
	st.RightString = "fine"
	b.Add("h1", []*model.Strategy{&st})
	w.changed(b)
	close := func(at int64) []*model.Event {
		e := w.table.getKind("h1/app.state", true)
		e.shard.mu.Lock()
		defer e.shard.mu.Unlock()
		return e.Close(nil, w.inForce.Load().index, w.set, at, at)
	}
	if got := append(close(now), close(now+61)...); len(got) != 0 {
		t.Errorf("closed: %+v", got)
	}
	w.sendTexts(rpc.Gob, textPoint(now, "fine"))
	w.waitTexts(`PROBLEM 2 "down" "ok" 0`, `OK 2 "fine" "fine" 0`)
}

// Texts cost series of numbers nothing: an entry fills its size class.
func TestEntryFillsItsSizeClass(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n > 192 {
		t.Errorf("a series takes %d bytes, 192 are its place in memory", n)
	}
}

// A problem over texts moves to another judge like any other.
func TestTextsAreAdopted(t *testing.T) {
	w := newWorld(t, textBook())
	w.start()
	testkit.Eventually(t, 20*time.Second, func() error { // an empty Redis is told of open problems
		if _, epoch := w.out.state(); epoch == "" {
			return errors.New("the judge has not met its Redis")
		}
		return nil
	})
	now := time.Now().Unix()
	ev := &model.Event{
		Id: "s_2_" + model.Checksum("h1/app.state"), Strategy: textBook().Of("h1")[0], Status: model.StatusProblem, Endpoint: "h1",
		CurrentStep: 1, EventTime: now - 300, LeftString: "down", RightString: "ok",
	}
	reply, err := w.adopt(t.Context(), nil, &[]*model.AdoptItem{{Event: *ev}})
	if err != nil || len(reply.Adopted) != 1 {
		t.Fatalf("%+v, %v", reply, err)
	}
	if e := w.table.getKind("h1/app.state", true); e == nil || !e.Open() || w.table.get("h1/app.state") != nil {
		t.Error("the problem is not with the series of texts")
	}
	w.start()
	w.sendTexts(rpc.Gob, textPoint(now-60, "ok"), textPoint(now, "ok"))
	w.waitTexts(`OK 2 "ok" "ok" 0`)
}

// That no rule watches the numbers of a name says nothing of its texts.
func TestNumbersThatNobodyWatchesHideNoTexts(t *testing.T) {
	b := rulebook.New()
	b.Add("h1", textBook().Of("h1")[:1])
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	w.mustSend(&model.JudgeItem{Endpoint: "h1", Metric: "app.state", JudgeType: "GAUGE", Timestamp: now - 120, Value: 1})
	w.sendTexts(rpc.Gob, textPoint(now-120, "down"), textPoint(now-60, "down"))
	w.waitTexts(`PROBLEM 2 "down" "ok" 0`)
}
