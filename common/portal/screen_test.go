package portal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestScreens(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		create := func(pid int64, name string) *Screen {
			s, _, err := db.CreateScreen(ctx, Screen{PID: pid, Name: name})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		a := create(0, "a")
		b := create(a.ID, "b ") // the column drops blanks at the end
		c := create(b.ID, "c")
		if again, made, err := db.CreateScreen(ctx, Screen{PID: a.ID, Name: "B"}); err != nil || made || again.ID != b.ID {
			t.Errorf("the same name in the same place: %+v, made %v, %v", again, made, err)
		}
		if got := must[*Screen](t)(db.ScreenByName(ctx, "B")); *got != *b || b.Name != "b" {
			t.Errorf("by name: %+v, want %+v", got, b)
		}
		for _, tc := range []struct {
			s   Screen
			err string
		}{
			{Screen{a.ID, c.ID, "a"}, `screen "a" can not be below itself`},
			{Screen{a.ID, a.ID, "a"}, `screen "a" can not be below itself`},
			{Screen{a.ID, 1 << 30, "a"}, "there is no screen with id 1073741824"},
			{Screen{a.ID, 0, ""}, "a screen needs a name"},
			{Screen{a.ID, 0, strings.Repeat("x", 129)}, "name is longer than 128 characters"},
			{Screen{1 << 30, 0, "x"}, "record not found"},
			{Screen{c.ID, a.ID, "b"}, "name is already existing"},
			{Screen{c.ID, a.ID, "c2"}, "<nil>"},
		} {
			if err := db.UpdateScreen(ctx, tc.s); fmt.Sprint(err) != tc.err {
				t.Errorf("UpdateScreen(%+v)\n got %v\nwant %s", tc.s, err, tc.err)
			}
		}
		if _, _, err := db.CreateScreen(ctx, Screen{PID: 1 << 30, Name: "x"}); fmt.Sprint(err) != "there is no screen with id 1073741824" {
			t.Errorf("below no screen: %v", err)
		}
		if got := must[[]Screen](t)(db.ScreensBelow(ctx, a.ID)); len(got) != 2 {
			t.Errorf("below a: %+v", got)
		}
		if got := must[[]Screen](t)(db.Screens(ctx, []Pattern{{Expr: "^c"}}, 0, 0)); len(got) != 1 || got[0].ID != c.ID {
			t.Errorf("matching ^c: %+v", got)
		}
		if got := must[[]Screen](t)(db.Screens(ctx, nil, 2, 1)); len(got) != 2 || got[0].ID != b.ID {
			t.Errorf("two from the second: %+v", got)
		}
		// What is below a deleted screen stays, and can still be renamed there.
		if err := db.DeleteScreen(ctx, a.ID); err != nil {
			t.Fatal(err)
		}
		if err := db.UpdateScreen(ctx, Screen{b.ID, a.ID, "b3"}); err != nil {
			t.Error(err)
		}
		if _, err := db.Screen(ctx, a.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted: %v", err)
		}
		if err := db.DeleteScreen(ctx, a.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
	})
}

func TestWidgets(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		s, _, err := db.CreateScreen(ctx, Screen{Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		ok := Widget{Title: "t", Endpoints: []string{"h2", "h1"}, Counters: []string{"c"}, Screen: s.ID, Type: "h", Timespan: 3600}
		with := func(f func(*Widget)) Widget { w := ok; f(&w); return w }
		for _, tc := range []struct {
			w   Widget
			err string
		}{
			{with(func(w *Widget) { w.Title = "" }), "a graph needs a title"},
			{with(func(w *Widget) { w.Type = "x" }), `graph_type "x" is unknown, use "h" (a chart for each counter), "k" (a chart for each endpoint) or "a" (all in one)`},
			{with(func(w *Widget) { w.Method = "P99" }), `method "P99" is unknown, use SUM, AVERAGE, MAX, MIN, LAST or nothing`},
			{with(func(w *Widget) { w.Screen++ }), fmt.Sprintf("there is no screen with id %d", s.ID+1)},
			{with(func(w *Widget) { w.Endpoints = []string{"a|b"} }), `endpoints: "a|b" can not stand in a list that is joined by |`},
			{with(func(w *Widget) { w.Counters = []string{strings.Repeat("x", 1025)} }), "counters is longer than 1024 characters"},
			{with(func(w *Widget) { w.Timespan = -1 }), "timespan -1 is not a number of seconds above 0"},
			{with(func(w *Widget) { w.Position = -1 }), "position -1 is not a number from 0"},
		} {
			if _, err := db.CreateWidget(ctx, tc.w); fmt.Sprint(err) != tc.err {
				t.Errorf("CreateWidget(%+v)\n got %v\nwant %s", tc.w, err, tc.err)
			}
		}
		second := must[int64](t)(db.CreateWidget(ctx, with(func(w *Widget) { w.Position, w.Method = 2, " " })))
		first := must[int64](t)(db.CreateWidget(ctx, with(func(w *Widget) { w.Position, w.Endpoints, w.Method = 1, nil, "SUM" })))
		all := must[[]Widget](t)(db.Widgets(ctx, s.ID, 10))
		if len(all) != 2 || all[0].ID != first || all[1].ID != second || all[1].Method != "" || !slices.Equal(all[1].Endpoints, []string{"h1", "h2"}) || all[0].Endpoints == nil {
			t.Errorf("in their order: %+v", all)
		}
		all[0].Position, all[0].Title = 3, "u"
		if err := db.UpdateWidget(ctx, all[0]); err != nil {
			t.Fatal(err)
		}
		if got := must[[]Widget](t)(db.Widgets(ctx, s.ID, 1)); len(got) != 1 || got[0].ID != second {
			t.Errorf("after the move: %+v", got)
		}
		if err := db.UpdateWidget(ctx, with(func(w *Widget) { w.ID = 1 << 30 })); !errors.Is(err, ErrNotFound) {
			t.Errorf("update of none: %v", err)
		}
		if err := db.DeleteWidget(ctx, first); err != nil {
			t.Error(err)
		}
		if _, err := db.Widget(ctx, first); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted: %v", err)
		}
		// Its screen may be gone.
		if err := db.DeleteScreen(ctx, s.ID); err != nil {
			t.Fatal(err)
		}
		if err := db.UpdateWidget(ctx, with(func(w *Widget) { w.ID, w.Title = second, "v" })); err != nil {
			t.Error(err)
		}
	})
}

func TestTmpGraphs(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		id, made, err := db.SaveTmpGraph(ctx, TmpGraph{[]string{"b", "a"}, []string{"y", "x"}})
		if err != nil || !made {
			t.Fatal(made, err)
		}
		again, made, err := db.SaveTmpGraph(ctx, TmpGraph{[]string{"a", "b"}, []string{"x", "y"}})
		if err != nil || made || again != id {
			t.Errorf("the same choice: %d, made %v, %v, want %d", again, made, err, id)
		}
		if n := count(t, db.Dashboard, "tmp_graph WHERE ck = '1eed7ef22546dc479c713aadb1bb1953'"); n != 1 { // of a|b:x|y
			t.Errorf("%d rows", n)
		}
		g := must[*TmpGraph](t)(db.TmpGraph(ctx, id))
		if fmt.Sprint(*g) != "{[a b] [x y]}" {
			t.Errorf("got %v", *g)
		}
		if _, err := db.TmpGraph(ctx, id+1); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

func TestAggregators(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		g := must[int64](t)(db.CreateGroup(ctx, "g", "ann"))
		ok := Aggregator{Group: g, Numerator: "$(a)", Denominator: "$#", Endpoint: "e", Metric: "m", Tags: "k=v", DsType: "GAUGE", Step: 60, Creator: "ann"}
		with := func(f func(*Aggregator)) Aggregator { a := ok; f(&a); return a }
		for _, tc := range []struct {
			a   Aggregator
			err string
		}{
			{with(func(a *Aggregator) { a.Numerator = "" }), "numerator is required"},
			{with(func(a *Aggregator) { a.Step = 0 }), "step 0 is not a number of seconds above 0"},
			{with(func(a *Aggregator) { a.Group++ }), fmt.Sprintf("there is no group with id %d", g+1)},
			{with(func(a *Aggregator) { a.Metric = strings.Repeat("x", 256) }), "metric is longer than 255 characters"},
		} {
			if _, err := db.CreateAggregator(ctx, tc.a); fmt.Sprint(err) != tc.err {
				t.Errorf("CreateAggregator(%+v)\n got %v\nwant %s", tc.a, err, tc.err)
			}
		}
		ok.ID = must[int64](t)(db.CreateAggregator(ctx, ok))
		if got := must[*Aggregator](t)(db.Aggregator(ctx, ok.ID)); *got != ok {
			t.Errorf("got %+v, want %+v", *got, ok)
		}
		ok.Step, ok.Tags = 30, ""
		if err := db.UpdateAggregator(ctx, ok); err != nil {
			t.Fatal(err)
		}
		if got := must[[]Aggregator](t)(db.GroupAggregators(ctx, g, 0, 0)); len(got) != 1 || got[0] != ok {
			t.Errorf("of the group: %+v, want %+v", got, ok)
		}
		second := ok
		second.ID = must[int64](t)(db.CreateAggregator(ctx, ok))
		for _, tc := range []struct {
			first, last int64
			want        []Aggregator
		}{
			{-1, -1, []Aggregator{ok, second}},
			{1, -1, []Aggregator{ok, second}},
			{second.ID, -1, []Aggregator{second}},
			{-1, ok.ID, []Aggregator{ok}},
			{ok.ID, second.ID, []Aggregator{ok, second}},
			{second.ID, ok.ID, nil},
			{0, 0, nil},
		} {
			var got []Aggregator
			for _, a := range must[[]DatedAggregator](t)(db.AggregatorsBetween(ctx, tc.first, tc.last)) {
				if !strings.HasPrefix(a.LastUpdate, "2") {
					t.Errorf("changed last at %q", a.LastUpdate)
				}
				got = append(got, a.Aggregator)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("ids %d to %d: %+v, want %+v", tc.first, tc.last, got, tc.want)
			}
		}
		if err := db.DeleteAggregator(ctx, second.ID); err != nil {
			t.Error(err)
		}
		if got := must[[]Aggregator](t)(db.GroupAggregators(ctx, g, 1, 1)); len(got) != 0 {
			t.Errorf("second page: %+v", got)
		}
		if err := db.DeleteAggregator(ctx, ok.ID); err != nil {
			t.Error(err)
		}
		if err := db.DeleteAggregator(ctx, ok.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
	})
}

func TestNodata(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		ok := Nodata{Name: "n", Obj: "h1\nh2", ObjType: "host", Metric: "m", Tags: "k=v", DsType: "GAUGE", Step: 60, Mock: -1.5, Creator: "ann"}
		with := func(f func(*Nodata)) Nodata { n := ok; f(&n); return n }
		for _, tc := range []struct {
			n   Nodata
			err string
		}{
			{with(func(n *Nodata) { n.Name = "" }), "name is required"},
			{with(func(n *Nodata) { n.ObjType = "hosts" }), `obj_type "hosts" is unknown, use "group", "host" or "other"`},
			{with(func(n *Nodata) { n.DsType = "gauge" }), `dstype "gauge" is unknown, use GAUGE, COUNTER or DERIVE`},
			{with(func(n *Nodata) { n.Step = 0 }), "step 0 is not a number of seconds above 0"},
		} {
			if _, err := db.CreateNodata(ctx, tc.n); fmt.Sprint(err) != tc.err {
				t.Errorf("CreateNodata(%+v)\n got %v\nwant %s", tc.n, err, tc.err)
			}
		}
		ok.ID = must[int64](t)(db.CreateNodata(ctx, ok))
		if _, err := db.CreateNodata(ctx, ok); !errors.Is(err, ErrExists) {
			t.Errorf("a second one of the name: %v", err)
		}
		changed := with(func(n *Nodata) { n.Mock, n.Name, n.Creator = 0, "other", "bob" })
		if err := db.UpdateNodata(ctx, changed); err != nil {
			t.Fatal(err)
		}
		ok.Mock = 0
		if got := must[[]Nodata](t)(db.Nodatas(ctx, 0, 0)); len(got) != 1 || got[0] != ok {
			t.Errorf("got %+v, want %+v", got, ok)
		}
		if err := db.DeleteNodata(ctx, ok.ID); err != nil {
			t.Error(err)
		}
		if _, err := db.Nodata(ctx, ok.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted: %v", err)
		}
	})
}

func TestAlertLinks(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		path := must[string](t)(db.CreateAlertLink(ctx, "a,,b 🔥"))
		if len(path) != 9 || strings.Trim(path, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("path %q", path)
		}
		if got := must[string](t)(db.AlertLink(ctx, path)); got != "a,,b \ufffd" {
			t.Errorf("got %q", got)
		}
		if _, err := db.AlertLink(ctx, "nothing"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		now := time.Now()
		execSQL(t, db.Portal, "INSERT INTO alert_link (path, content, create_at) VALUES ('old1', 'x', ?), ('old2', 'x', ?)", now.Add(-50*time.Hour), now.Add(-26*time.Hour))
		if n := must[int](t)(db.DeleteAlertLinks(ctx, now.Add(-48*time.Hour), 10)); n != 1 || count(t, db.Portal, "alert_link") != 2 {
			t.Errorf("%d links of before two days deleted, %d left", n, count(t, db.Portal, "alert_link"))
		}
		if n := must[int](t)(db.DeleteAlertLinks(ctx, now.Add(time.Hour), 1)); n != 1 {
			t.Errorf("one at a time: %d", n)
		}
		if _, err := db.CreateAlertLink(ctx, ""); fmt.Sprint(err) != "content is required" {
			t.Error(err)
		}
	})
}
