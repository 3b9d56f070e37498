package core

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/rulebook"
	"falcon/modules/judge/filter"
)

var settings = Settings{Remain: 11, MinInterval: 300}

// watched returns the index of one strategy on host h1.
func watched(change func(*model.Strategy)) *filter.Index {
	s := &model.Strategy{
		Id: 1, Metric: "cpu.idle", Tags: map[string]string{}, Func: "all(#2)", Operator: "<", RightValue: 5, MaxStep: 3,
		Tpl: &model.Template{Id: 7, ActionId: 9},
	}
	if change != nil {
		change(s)
	}
	b := rulebook.New()
	b.Add("h1", []*model.Strategy{s})
	return filter.New(b)
}

// feed inserts points and judges the new ones with a clock that is theirs; it returns
// what was told as "STATUS step@time".
func feed(s *Series, ix *filter.Index, points ...expr.Point) string {
	var out []string
	for _, p := range points {
		s.Watch(ix, settings)
		if s.Insert(p, settings) != Judge {
			continue
		}
		for _, e := range s.Judge(nil, p.Ts, settings, make([]float64, 0, 8)) {
			out = append(out, told(e))
		}
	}
	return strings.Join(out, " ")
}

func told(e *model.Event) string {
	return fmt.Sprintf("%s %d@%d", e.Status, e.CurrentStep, e.EventTime)
}

func TestLatePoints(t *testing.T) {
	ix := watched(nil)
	s := NewSeries("h1", "cpu.idle", "", model.Gauge)
	if got := feed(&s, ix, expr.Point{Ts: 60, Value: 1}, expr.Point{Ts: 180, Value: 9}); got != "" {
		t.Errorf("told %q", got)
	}
	for _, tc := range []struct {
		ts   int64
		want Outcome
	}{{120, Late}, {180, Skip}, {120, Skip}, {30, Skip}, {240, Judge}} {
		if got := s.Insert(expr.Point{Ts: tc.ts, Value: 1}, settings); got != tc.want {
			t.Errorf("a point of %d: %v, want %v", tc.ts, got, tc.want)
		}
	}
	var at []int64
	for _, p := range s.points {
		at = append(at, p.Ts)
	}
	if !slices.Equal(at, []int64{240, 180, 120, 60}) {
		t.Errorf("kept %v", at)
	}
}

// Points that came before the rules are judged with, once the rules are there.
func TestRulesThatComeLater(t *testing.T) {
	s := NewSeries("h1", "cpu.idle", "", model.Gauge)
	s.Insert(expr.Point{Ts: 60, Value: 1}, settings)
	if got := feed(&s, watched(nil), expr.Point{Ts: 120, Value: 1}); got != "PROBLEM 1@120" {
		t.Errorf("told %q", got)
	}
}

// A rule keeps as many points as it looks at, 120 of them if need be.
func TestLongWindow(t *testing.T) {
	ix := watched(func(s *model.Strategy) { s.Func = "all(#120)" })
	for _, typ := range []string{model.Gauge, model.Counter} {
		s := NewSeries("h1", "cpu.idle", "", typ)
		var points []expr.Point
		for i := range int64(121) {
			points = append(points, expr.Point{Ts: 60 * (i + 1), Value: 1})
		}
		want := "PROBLEM 1@7200"
		if typ == model.Counter {
			want = "PROBLEM 1@7260"
		}
		if got := feed(&s, ix, points...); got != want {
			t.Errorf("%s: told %q, want %q", typ, got, want)
		}
	}
}

// One strategy through two leaves tells both, each with its own count.
func TestTwoActions(t *testing.T) {
	a := &model.Strategy{Id: 1, Metric: "cpu.idle", Func: "all(#1)", Operator: "<", RightValue: 5, MaxStep: 3, Tpl: &model.Template{Id: 7, ActionId: 9}}
	b := *a
	b.Tpl = &model.Template{Id: 8, ActionId: 10}
	book := rulebook.New()
	book.Add("h1", []*model.Strategy{a, &b})
	s := NewSeries("h1", "cpu.idle", "", model.Gauge)
	s.Watch(filter.New(book), settings)
	s.Insert(expr.Point{Ts: 60, Value: 1}, settings)
	events := s.Judge(nil, 60, settings, nil)
	if len(events) != 2 || events[0].Id != events[1].Id || events[0].ActionId() == events[1].ActionId() {
		t.Errorf("events %+v", events)
	}
}

// A problem whose rule is gone is closed after a minute of agreement; one whose rule is
// only resting, or of which nothing was heard, is not.
func TestClose(t *testing.T) {
	ix, s := watched(nil), Series{}
	problem := func() {
		s = NewSeries("h1", "cpu.idle", "", model.Gauge)
		if got := feed(&s, ix, expr.Point{Ts: 60, Value: 1}, expr.Point{Ts: 120, Value: 1}); got != "PROBLEM 1@120" || !s.Open() {
			t.Fatalf("told %q", got)
		}
	}
	none, other := filter.New(rulebook.New()), watched(func(s *model.Strategy) { s.Id = 2 })
	paused, down := rulebook.New(), rulebook.New()
	paused.Paused, down.Disabled = []int{1}, []string{"h1"}

	problem()
	for _, rests := range []*filter.Index{filter.New(paused), filter.New(down)} {
		for now := int64(200); now < 1000; now += 60 {
			if got := s.Close(nil, rests, settings, now, now); len(got) > 0 {
				t.Errorf("a resting rule closed %+v", got)
			}
		}
	}
	// Gone, but nothing was heard since.
	for now := int64(1000); now < 2000; now += 60 {
		if got := s.Close(nil, other, settings, now, 999); len(got) > 0 {
			t.Errorf("silence closed %+v", got)
		}
	}
	got := s.Close(nil, other, settings, 2000, 1990)
	if len(got) != 1 || told(got[0]) != "OK 1@2000" || got[0].Closed != model.ClosedStrategyRemoved || got[0].Strategy.Id != 1 || s.Open() {
		t.Errorf("closed %+v", got)
	}
	if got := s.Close(nil, other, settings, 3000, 3000); len(got) > 0 {
		t.Errorf("closed twice: %+v", got)
	}

	problem()
	s.Close(nil, none, settings, 200, 200)
	if got := s.Close(nil, none, settings, 260, 260); len(got) != 1 || got[0].Closed != model.ClosedHostRemoved {
		t.Errorf("closed %+v", got)
	}

	// A rule that comes back within the minute closes nothing.
	problem()
	s.Close(nil, none, settings, 200, 200)
	s.Close(nil, ix, settings, 230, 230)
	if got := s.Close(nil, none, settings, 290, 290); len(got) > 0 {
		t.Errorf("closed %+v", got)
	}
	// Changing what it says closes nothing either.
	edited := watched(func(s *model.Strategy) { s.Note, s.Priority, s.MaxStep = "new", 3, 1 })
	for now := int64(400); now < 1000; now += 60 {
		if got := s.Close(nil, edited, settings, now, now); len(got) > 0 {
			t.Errorf("an edit closed %+v", got)
		}
	}
}

// While a strategy is disabled its problem stays as it is, and afterwards it goes on: the
// next step when it still holds, one end when it does not, and no step for the time in
// between.
func TestDisabledGoesOn(t *testing.T) {
	ix := watched(func(s *model.Strategy) { s.Func = "all(#1)" })
	paused, down := rulebook.New(), rulebook.New()
	paused.Paused, down.Disabled = []int{1}, []string{"h1"}
	// The host has other rules, as most have.
	paused.Add("h1", []*model.Strategy{{Id: 2, Metric: "load", Func: "all(#1)", Operator: ">", Tpl: &model.Template{Id: 7, ActionId: 9}}})
	for name, rests := range map[string]*filter.Index{"strategy": filter.New(paused), "host": filter.New(down)} {
		for _, tc := range []struct {
			value float64
			told  string
		}{{1, "PROBLEM 2@1400"}, {50, "OK 1@1400"}} {
			s := NewSeries("h1", "cpu.idle", "", model.Gauge)
			if got := feed(&s, ix, expr.Point{Ts: 60, Value: 1}); got != "PROBLEM 1@60" {
				t.Fatalf("told %q", got)
			}
			for now := int64(120); now < 1400; now += 60 {
				if s.Watch(rests, settings) || !s.Rests(rests, settings) || s.Rests(ix, settings) {
					t.Fatalf("%s: the series is watched while its rule is disabled", name)
				}
				if got := s.Close(nil, rests, settings, now, now); len(got) > 0 {
					t.Fatalf("%s: closed %+v", name, got)
				}
			}
			if got := s.Close(nil, ix, settings, 1390, 1390); len(got) > 0 || !s.Open() {
				t.Fatalf("%s: the end of the disable closed %+v", name, got)
			}
			if got := feed(&s, ix, expr.Point{Ts: 1400, Value: tc.value}, expr.Point{Ts: 1460, Value: tc.value}); got != tc.told {
				t.Errorf("%s: afterwards %q, want %q", name, got, tc.told)
			}
		}
	}
}

func TestJudgeAllocatesNothing(t *testing.T) {
	s := NewSeries("h1", "cpu.idle", "", model.Counter)
	ix := watched(func(s *model.Strategy) { s.RightValue = -1 })
	buf, ts := make([]float64, 0, 16), int64(0)
	for range 20 {
		ts += 60
		feed(&s, ix, expr.Point{Ts: ts, Value: 1})
	}
	if n := testing.AllocsPerRun(100, func() {
		ts += 60
		s.Watch(ix, settings)
		s.Insert(expr.Point{Ts: ts, Value: float64(ts)}, settings)
		s.Judge(nil, ts, settings, buf)
	}); n != 0 {
		t.Errorf("%v allocations a point", n)
	}
}

// The cases that a stock judge was asked, through the whole core. Ours keeps as many
// points as a rule looks at (contract alerting 1.4), so rules of longer windows, which
// can never fire in stock, are left out.
func TestGolden(t *testing.T) {
	for _, name := range []string{"judge-minint60", "judge-minint300"} {
		f, err := os.Open("../../../common/verdict/testdata/" + name + ".json.gz")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		var g struct {
			Remain      int
			MinInterval int64
			T0          int64
			Now         map[string]int64 `json:"now_at_point"`
			Cases       []struct {
				ID                             int
				Source, Metric, Endpoint, Note string
				RuleTags                       map[string]string `json:"rule_tags"`
				Func, Operator, JudgeType      string
				RightValue                     float64
				MaxStep                        int
				ItemTags                       map[string]string `json:"item_tags"`
				Points                         [][2]float64
				Events                         []struct {
					After  int `json:"after_point"`
					Status string
					Step   int     `json:"currentStep"`
					Left   float64 `json:"leftValue"`
					Time   int64   `json:"eventTime"`
					ID     string
				}
			}
		}
		if err := json.NewDecoder(z).Decode(&g); err != nil {
			t.Fatal(err)
		}
		set, ran := Settings{Remain: g.Remain, MinInterval: g.MinInterval}, 0
		for _, c := range g.Cases {
			if fn, err := expr.ParseFunc(c.Func); err != nil {
				t.Fatal(err)
			} else if expr.Needs(fn.Window(), c.JudgeType == model.Gauge) > g.Remain {
				if len(c.Events) > 0 {
					t.Errorf("%s/%d fires in stock, which keeps %d points", name, c.ID, g.Remain)
				}
				continue
			}
			ran++
			b := rulebook.New()
			if c.Source == "expression" {
				b.Expressions = []*model.Expression{{Id: c.ID, Metric: c.Metric, Tags: c.RuleTags, Func: c.Func, Operator: c.Operator, RightValue: c.RightValue, MaxStep: c.MaxStep}}
			} else {
				b.Add(c.Endpoint, []*model.Strategy{{Id: c.ID, Metric: c.Metric, Tags: c.RuleTags, Func: c.Func, Operator: c.Operator, RightValue: c.RightValue, MaxStep: c.MaxStep, Tpl: &model.Template{Id: 7}}})
			}
			ix := filter.New(b)
			s := NewSeries(c.Endpoint, c.Metric, model.SortedTags(c.ItemTags), c.JudgeType)
			var got, want []string
			for i, p := range c.Points {
				s.Watch(ix, set)
				if s.Insert(expr.Point{Ts: g.T0 + int64(p[0]), Value: p[1]}, set) != Judge {
					continue
				}
				for _, e := range s.Judge(nil, g.T0+g.Now[strconv.Itoa(i)], set, nil) {
					got = append(got, fmt.Sprint(i, e.Status, e.CurrentStep, e.LeftValue, e.EventTime-g.T0, e.Id))
				}
			}
			for _, e := range c.Events {
				want = append(want, fmt.Sprint(e.After, e.Status, e.Step, e.Left, e.Time, e.ID))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s/%d %s: %q, want %q", name, c.ID, c.Note, got, want)
			}
		}
		if ran < 38 {
			t.Errorf("%s: %d cases ran", name, ran)
		}
	}
}

// One look of an hbs that is away since is no agreement of two.
func TestCloseTakesTwoConfirmations(t *testing.T) {
	s := NewSeries("h1", "cpu.idle", "", model.Gauge)
	feed(&s, watched(nil), expr.Point{Ts: 60, Value: 1}, expr.Point{Ts: 120, Value: 1})
	none := filter.New(rulebook.New())
	for now := int64(200); now < 400; now += 10 {
		if got := s.Close(nil, none, settings, now, 201); len(got) > 0 {
			t.Fatalf("closed at %d: the rule went at 200, an hbs was heard of at 201 last", now)
		}
	}
}

// Another action is another key of the same event id: what goes on for the new people is
// not closed for the old ones.
func TestCloseWhileTheProblemGoesOn(t *testing.T) {
	s := NewSeries("h1", "cpu.idle", "", model.Gauge)
	feed(&s, watched(nil), expr.Point{Ts: 60, Value: 1}, expr.Point{Ts: 120, Value: 1})
	ix := watched(func(s *model.Strategy) { s.Tpl = &model.Template{Id: 7, ActionId: 10} })
	if got := feed(&s, ix, expr.Point{Ts: 180, Value: 1}); got != "PROBLEM 1@180" {
		t.Fatalf("told %q", got)
	}
	for now := int64(200); now < 400; now += 10 {
		if got := s.Close(nil, ix, settings, now, now); len(got) > 0 {
			t.Fatalf("%s is closed while it is a problem", got[0].Id)
		}
	}
	feed(&s, ix, expr.Point{Ts: 420, Value: 50})
	if got := s.Close(nil, ix, settings, 430, 430); len(got) != 1 {
		t.Errorf("%d ends of the old key once it is over, want 1", len(got))
	}
}

// Points that are ahead of the clock give way when they fill the series.
func TestPointsAheadGiveWay(t *testing.T) {
	s := NewSeries("h1", "cpu.idle", "", model.Gauge)
	s.Watch(watched(nil), settings)
	for i := range int64(20) {
		s.InsertAt(expr.Point{Ts: 1001 + i, Value: 9}, settings, 1000)
	}
	for _, tc := range []struct {
		ts   int64
		want Outcome
	}{{940, Judge}, {990, Judge}, {1010, Judge}, {1000, Late}, {1000, Skip}, {930, Skip}} {
		if got := s.InsertAt(expr.Point{Ts: tc.ts, Value: 1}, settings, 1000); got != tc.want {
			t.Errorf("a point of %d: %v, want %v", tc.ts, got, tc.want)
		}
	}
	if !s.Ahead(1000, 1000) || s.Ahead(990, 1000) || s.Ahead(1005, 1000) {
		t.Error("what is ahead is told wrongly")
	}
	if got := s.JudgeAt(nil, 1000, 1000, settings, nil); len(got) != 1 || got[0].EventTime != 1000 {
		t.Errorf("judged at 1000: %+v", got)
	}
}

// A series keeps 11 points, and more only when a rule of its own looks at more.
func TestWindowsAreTheirOwn(t *testing.T) {
	eleven := Settings{Remain: 11, MinInterval: 300}
	b := rulebook.New()
	rule := func(id int, metric, fn string) *model.Strategy {
		return &model.Strategy{Id: id, Metric: metric, Func: fn, Operator: "<", RightValue: 5, MaxStep: 3, Tpl: &model.Template{Id: 7, ActionId: 9}}
	}
	b.Add("h1", []*model.Strategy{rule(1, "a", "all(#3)"), rule(2, "b", "all(#30)"), rule(3, "b", "diff(#3)"), rule(4, "c", "all(#120)"), rule(5, "d", "kdiff(#20,20)")})
	ix := filter.New(b)
	for _, tc := range []struct {
		metric, typ string
		want        int
	}{
		{"a", model.Gauge, 11}, {"b", model.Gauge, 30}, {"b", model.Counter, 31}, {"c", model.Gauge, 120}, {"c", model.Derive, 121},
		{"d", model.Gauge, 40}, {"nothing", model.Gauge, 11},
	} {
		s := NewSeries("h1", tc.metric, "", tc.typ)
		s.Watch(ix, eleven)
		for i := range int64(300) {
			s.Insert(expr.Point{Ts: i + 1}, eleven)
		}
		if len(s.points) != tc.want || cap(s.points) != tc.want {
			t.Errorf("%s as %s keeps %d points in a block of %d, want %d", tc.metric, tc.typ, len(s.points), cap(s.points), tc.want)
		}
	}
}

// One strategy through two leaves: each counts its steps, is acknowledged and ends by
// itself.
func TestTwoActionsCountForThemselves(t *testing.T) {
	one := &model.Strategy{Id: 1, Metric: "cpu.idle", Func: "all(#1)", Operator: "<", RightValue: 5, MaxStep: 1, Tpl: &model.Template{Id: 7, ActionId: 9}}
	two := *one
	two.Tpl, two.MaxStep = &model.Template{Id: 8, ActionId: 10}, 3
	b := rulebook.New()
	b.Add("h1", []*model.Strategy{one, &two})
	s := NewSeries("h1", "cpu.idle", "", model.Gauge)
	ix := filter.New(b)
	if got := feed(&s, ix, expr.Point{Ts: 60, Value: 1}); got != "PROBLEM 1@60 PROBLEM 1@60" {
		t.Errorf("told %q", got)
	}
	if got := feed(&s, ix, expr.Point{Ts: 660, Value: 1}); got != "PROBLEM 2@660" {
		t.Errorf("told %q, want a second step for those who want three", got)
	}
	if got := feed(&s, ix, expr.Point{Ts: 720, Value: 9}); got != "OK 1@720 OK 1@720" {
		t.Errorf("told %q", got)
	}
}

// A new condition closes nothing by itself: the next point decides whether the problem goes
// on, with the steps that it had, or is over.
func TestANewConditionDecides(t *testing.T) {
	for _, change := range []func(*model.Strategy){
		func(s *model.Strategy) { s.RightValue = 4 }, func(s *model.Strategy) { s.Func = "all(#3)" }, func(s *model.Strategy) { s.Operator = "<=" },
	} {
		for value, want := range map[float64]string{1: "PROBLEM 2@600", 50: "OK 1@600"} {
			s := NewSeries("h1", "cpu.idle", "", model.Gauge)
			feed(&s, watched(nil), expr.Point{Ts: 60, Value: 1}, expr.Point{Ts: 120, Value: 1})
			edited := watched(change)
			for now := int64(200); now < 1000; now += 60 {
				if got := s.Close(nil, edited, settings, now, now); len(got) > 0 {
					t.Fatalf("closed: %+v", got)
				}
			}
			s.Insert(expr.Point{Ts: 480, Value: 1}, settings)
			s.Insert(expr.Point{Ts: 540, Value: 1}, settings)
			if got := feed(&s, edited, expr.Point{Ts: 600, Value: value}); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
	}
}

// A function is read once, when its book comes: what its text says afterwards is of no
// consequence, and looking at a point allocates nothing.
func TestDefectJ13FunctionsAreParsedOnce(t *testing.T) {
	var s *model.Strategy
	ix := watched(func(of *model.Strategy) { s = of })
	s.Func, s.Operator = "no function", "?"
	series := NewSeries("h1", "cpu.idle", "", model.Gauge)
	if got := feed(&series, ix, expr.Point{Ts: 60, Value: 1}, expr.Point{Ts: 120, Value: 1}); got != "PROBLEM 1@120" {
		t.Errorf("told %q", got)
	}
	buf := make([]float64, 0, 8)
	if n := testing.AllocsPerRun(100, func() { series.Judge(nil, 121, settings, buf) }); n != 0 {
		t.Errorf("%v allocations a point", n)
	}
}
