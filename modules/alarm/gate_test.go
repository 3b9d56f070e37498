package alarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// silencer says what a test wants.
type silencer struct {
	all   []portal.Silence
	err   error
	asked int
}

func (s *silencer) Silences(context.Context, time.Time) ([]portal.Silence, error) {
	s.asked++
	return s.all, s.err
}

func TestGate(t *testing.T) {
	const at = 1_795_319_760
	now := int64(at)
	clock := func() time.Time { return time.Unix(now, 0) }
	strategy := event("s_10_a", 1, 1, "PROBLEM", at, 1) // 10, of host01, through leaf 7
	noTpl := event("s_10_a", 1, 1, "PROBLEM", at, 1)
	noTpl.Strategy.Tpl = nil
	expression := &model.Event{Id: "e_10_a", Status: "PROBLEM", Endpoint: "host01", Expression: &model.Expression{Id: 10}}
	for _, tc := range []struct {
		name  string
		s     portal.Silence
		event *model.Event
		want  bool
	}{
		{"1: the host", portal.Silence{Type: 1, Hosts: []string{"host01"}}, strategy, true},
		{"1: the host, of an expression", portal.Silence{Type: 1, Hosts: []string{"host01"}}, expression, true},
		{"1: another host", portal.Silence{Type: 1, Hosts: []string{"host02", "HOST01"}}, strategy, false},
		{"2: the leaf", portal.Silence{Type: 2, Template: 7}, strategy, true},
		{"2: the template that owns the strategy", portal.Silence{Type: 2, Template: 6, Strategies: []int{9, 10}}, strategy, true},
		{"2: another template", portal.Silence{Type: 2, Template: 6, Strategies: []int{9}}, strategy, false},
		{"2: never an expression", portal.Silence{Type: 2, Template: 7, Strategies: []int{10}}, expression, false},
		{"3: the strategy", portal.Silence{Type: 3, Strategies: []int{10}}, strategy, true},
		{"3: the strategy, whose template is not known", portal.Silence{Type: 3, Strategies: []int{10}}, noTpl, true},
		{"3: never an expression of that number", portal.Silence{Type: 3, Strategies: []int{10}}, expression, false},
		{"4: the strategy on the host", portal.Silence{Type: 4, Hosts: []string{"host01"}, Strategies: []int{10}}, strategy, true},
		{"4: on another host", portal.Silence{Type: 4, Hosts: []string{"host02"}, Strategies: []int{10}}, strategy, false},
		{"5: the leaf on a host of the group", portal.Silence{Type: 5, Template: 7, Hosts: []string{"host01"}}, strategy, true},
		{"5: another leaf", portal.Silence{Type: 5, Template: 6, Hosts: []string{"host01"}}, strategy, false},
		{"5: a host that has it elsewhere", portal.Silence{Type: 5, Template: 7, Hosts: []string{"host02"}}, strategy, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.s.Begin, tc.s.End = at, at+5
			g := newGate(&silencer{all: []portal.Silence{tc.s}}, clock, slog.New(slog.DiscardHandler))
			for _, step := range []struct {
				at   int64
				want bool
			}{{at - 1, false}, {at, tc.want}, {at + 4, tc.want}, {at + 5, false}} { // it begins and ends between two answers
				now = step.at
				if got := g.hides(t.Context(), tc.event) != nil; got != step.want {
					t.Errorf("at %+d: hidden %v, want %v", step.at-at, got, step.want)
				}
			}
		})
	}
}

// Somebody is asked once in ten seconds, and once in a second while that hides something,
// for it may have been ended. While nobody answers the last answer counts for
// a minute, and then everything is told.
func TestGateAsks(t *testing.T) {
	now := time.Unix(1_795_319_760, 0)
	s := &silencer{all: []portal.Silence{
		{ID: 1, Type: 3, Strategies: []int{10}, Begin: 1, End: now.Unix() + 1000}, {ID: 2, Type: 2, Template: 7, Begin: 1, End: now.Unix() + 9000},
	}}
	var log logged
	g := newGate(s, func() time.Time { return now }, slog.New(slog.NewTextHandler(&log, nil)))
	e := event("s_10_a", 1, 1, "PROBLEM", now.Unix(), 1)
	step := func(after time.Duration, asked int, hidden bool) {
		t.Helper()
		now = now.Add(after)
		by := g.hides(t.Context(), e)
		if (by != nil) != hidden || s.asked != asked {
			t.Errorf("hidden by %+v, asked %d times; want %v, %d", by, s.asked, hidden, asked)
		}
		if by != nil && by.ID != 2 {
			t.Errorf("hidden by %d, which ends first", by.ID)
		}
	}
	step(0, 1, true)
	step(900*time.Millisecond, 1, true)
	step(8*time.Second, 2, true)
	s.err = errors.New("connection refused")
	step(time.Second, 3, true)
	step(50*time.Second, 4, true)
	step(10*time.Second, 5, false)
	s.err = nil
	step(9*time.Second, 5, false)
	step(time.Second, 6, true)
	s.all = nil
	step(time.Second, 7, false)
	step(9*time.Second, 7, false)
	s.err = portal.ErrNotFound // a stock api
	step(time.Second, 8, false)
	step(10*time.Second, 9, false)
	if text := log.String(); strings.Count(text, "nobody says") != 1 || strings.Count(text, "known again") != 1 || strings.Count(text, "knows nothing of disabling") != 1 {
		t.Errorf("log:\n%s", text)
	}
}

// What is disabled has its rows, which say why nobody was told; when the disable is over
// the next step is told, though the problem began before.
func TestDisabledIsNotTold(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.channel("bell", "inbox", map[string]any{})
		w.channel("hook", "webhook", map[string]any{"url": w.sink.URL + "/hook"})
		action := w.action(portal.Action{UIC: "ops", Callback: 1, URL: w.sink.URL + "/callback"})
		at := time.Now().Unix()
		id, err := w.db.CreateDisable(ctx, portal.Disable{Type: portal.DisableStrategy, Strategy: 10, Begin: at - 60, End: at + 540, Duration: "10m", Reason: "known", Operator: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		var skew atomic.Int64
		w.before = func(a *Alarm) {
			a.gate.now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
		}
		r := w.start()
		w.push(event("s_10_a", action, 1, "PROBLEM", at-30, 1))
		other := event("s_11_a", action, 1, "PROBLEM", at-30, 1)
		other.Strategy.Id = 11
		w.push(other)
		told := func(hooks int) {
			t.Helper()
			w.eventually(func() error {
				if n, m := len(w.sink.Posts("/hook")), len(w.sink.Posts("/callback")); n != hooks || m != hooks {
					return fmt.Errorf("%d posts and %d callbacks, want %d", n, m, hooks)
				}
				return w.empty()
			})
		}
		told(1) // of the other strategy
		rows, err := w.db.CaseNotices(ctx, "s_10_a", 100)
		if err != nil || len(rows) != 5 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		want := "the strategy is disabled until " + time.Unix(at+540, 0).UTC().Format(time.DateTime) + " by ann: known"
		for _, n := range rows {
			if n.Result != portal.NoticeDisabled || n.Answer != want || n.Attempts != 0 {
				t.Errorf("row %+v, want disabled and %q", n, want)
			}
		}
		if items, _, err := w.db.Inbox(ctx, "ann", 10, 0); err != nil || len(items) != 1 {
			t.Errorf("%d items in the inbox, %v; want that of the other strategy", len(items), err)
		}
		if n := r.suppressed.Get(byDisabled); n != 1 {
			t.Errorf("%d suppressed", n)
		}

		// The same row, ended.
		if err := w.db.CancelDisable(ctx, id, "bob", at); err != nil {
			t.Fatal(err)
		}
		skew.Store(int64(gateSure))
		w.push(event("s_10_a", action, 2, "PROBLEM", at+300, 1))
		told(2)
		w.push(event("s_10_a", action, 1, "OK", at+360, 1))
		told(3)

		// A host, of an expression.
		sqlHost, err := w.db.SaveHosts(ctx, []portal.HostReport{{Hostname: "host01"}}, "", false)
		if err != nil || len(sqlHost) != 1 {
			t.Fatal(sqlHost, err)
		}
		if _, err := w.db.CreateDisable(ctx, portal.Disable{Type: portal.DisableHost, Host: 1, Begin: at - 60, End: at + 540, Duration: "10m"}); err != nil {
			t.Fatal(err)
		}
		skew.Store(int64(2 * gateFresh))
		w.push(&model.Event{Id: "e_5_a", Status: "PROBLEM", Endpoint: "host01", LeftValue: 1, CurrentStep: 1, EventTime: at - 30, PushedTags: map[string]string{},
			Expression: &model.Expression{Id: 5, Metric: "q", Tags: map[string]string{"a": "b"}, Func: "all(#1)", Operator: ">", MaxStep: 3, Priority: 1, ActionId: action}})
		w.eventually(func() error {
			rows, err := w.db.CaseNotices(ctx, "e_5_a", 100)
			if err != nil || len(rows) != 5 || rows[0].Result != portal.NoticeDisabled {
				return fmt.Errorf("rows %+v, %v", rows, err)
			}
			return w.empty()
		})
		told(3)
	})
}

// Where people come from an api, it is asked what is disabled as well; a stock one has no
// such route.
func TestGateAsksTheAPI(t *testing.T) {
	var stock atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stock.Load() {
			http.Error(w, "404 page not found", http.StatusNotFound)
			return
		}
		if r.URL.Path != "/api/v1/alarm/disable/silences" || !strings.Contains(r.Header.Get("Apitoken"), "secret") {
			http.Error(w, `{"error":"no"}`, http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `[{"id":3,"type":4,"begin_ts":5,"end_ts":9,"reason":"r","operator":"ann","hosts":["h1"],"tpl_id":0,"strategies":[7]}]`)
	}))
	defer srv.Close()
	p := newAPIPeople(srv.URL+"/", "secret")
	all, err := p.Silences(t.Context(), time.Now())
	if err != nil || len(all) != 1 || all[0].Type != portal.DisableStrategyOnHost || all[0].Hosts[0] != "h1" || all[0].Strategies[0] != 7 || all[0].End != 9 {
		t.Errorf("got %+v, %v", all, err)
	}
	stock.Store(true)
	if _, err := p.Silences(t.Context(), time.Now()); !errors.Is(err, portal.ErrNotFound) {
		t.Errorf("a stock api: %v", err)
	}
}
