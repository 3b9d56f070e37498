package alarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// combined is an event of two conditions, as a plus_judge makes it.
func combined(action int, status string, at int64) *model.Event {
	e := event("m_12_d2a3cf076e6613a23a3a010c6e6d647a", action, 1, status, at, 1)
	other := *event("s_15_x", action, 1, status, at, 3)
	o := *other.Strategy
	o.Id, o.Metric, o.Func, o.Operator, o.RightValue, o.Note = 15, "load.1min", "avg(#5)", ">", 8, "busy"
	other.Strategy, other.LeftValue, other.PushedTags = &o, 9.25, map[string]string{"cpu": "all"}
	e.EventChain = []*model.Event{&other}
	return e
}

func TestComposeChain(t *testing.T) {
	e := combined(9, "PROBLEM", 1500000000)
	got := Compose(e, "http://d", time.UTC)
	want := Message{
		Short: "[P1][PROBLEM][host01][2 conditions][n; busy all(#3) cpu.idle 1.5>1, avg(#5) load.1min/cpu=all 9.25>8][O1 2017-07-14 02:40:00]",
		Body: "PROBLEM\r\nP1\r\nEndpoint:host01\r\nConditions:2\r\nMetric:cpu.idle,load.1min\r\ncpu.idle all(#3): 1.5>1\r\nload.1min/cpu=all avg(#5): 9.25>8\r\n" +
			"Note:n; busy\r\nMax:3, Current:1\r\nTimestamp:2017-07-14 02:40:00\r\n" + link(e, "http://d") + "\r\n",
	}
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if link(e, "http://d") == "" {
		t.Error("it leads nowhere")
	}
	e.EventChain = []*model.Event{nil, {}}
	if got := Compose(e, "", time.UTC); !strings.Contains(got.Short, "[2 conditions]") {
		t.Errorf("%q", got.Short)
	}
}

// An event of several conditions has its rows and its messages as any other; one that a
// new plus_judge tells again tells nobody.
func TestChainStory(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.channel("bell", "inbox", map[string]any{})
		w.channel("hook", "webhook", map[string]any{"url": w.sink.URL + "/hook"})
		action := w.action(portal.Action{UIC: "ops"})
		w.start()
		at := time.Now().Unix() - 1000
		id := combined(action, "PROBLEM", at).Id
		w.push(combined(action, "PROBLEM", at))
		w.eventually(func() error {
			if got := w.sink.Posts("/hook"); len(got) != 1 {
				return fmt.Errorf("%d posts", len(got))
			}
			return w.empty()
		})
		w.push(combined(action, "PROBLEM", at+70), combined(action, "OK", at+130))
		w.eventually(func() error {
			if got := w.sink.Posts("/hook"); len(got) != 2 {
				return fmt.Errorf("%d posts", len(got))
			}
			return w.empty()
		})
		if all := strings.Join(w.notices(id), "\n"); strings.Count(all, portal.NoticeDup) == 0 {
			t.Errorf("nothing says that it was told before: %s", all)
		}
		cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{ID: id})
		if err != nil || len(cases) != 1 {
			t.Fatalf("%d cases, %v", len(cases), err)
		}
		c := cases[0]
		if c.Status != "OK" || c.Metric != "cpu.idle" || c.Cond != "1.5 > 1" || c.Note == nil || *c.Note != "n (with load.1min/cpu=all avg(#5) 9.25 > 8)" {
			t.Errorf("%+v note %v", c, *c.Note)
		}
		if !slices.ContainsFunc(w.notices(id), func(n string) bool { return strings.Contains(n, "bell") }) {
			t.Errorf("the bell: %v", w.notices(id))
		}
	})
}
