package core

import (
	"fmt"
	"strings"
	"testing"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/rulebook"
	"falcon/modules/judge/filter"
)

// conditions is watched with a condition of the combination serial.
func conditions(serial string, change func(*model.Strategy)) *filter.Index {
	b := rulebook.New()
	s := &model.Strategy{
		Id: 1, Metric: "cpu.idle", Tags: map[string]string{}, Func: "all(#2)", Operator: "<", RightValue: 5, MaxStep: 0,
		MultiSerial: serial, MultiCount: 2, Tpl: &model.Template{Id: 7, ActionId: 9},
	}
	if change != nil {
		change(s)
	}
	b.Add("h1", []*model.Strategy{s})
	return filter.NewWith(b, true)
}

// A condition is sent when it begins, each minute while it goes on, whatever its max, and
// when it ends; the first look at a series is sent in any case.
func TestMember(t *testing.T) {
	ix := conditions("x", nil)
	s := NewSeries("h1", "cpu.idle", "", model.Gauge)
	for _, tc := range []struct {
		ts    int64
		value float64
		want  string
	}{
		{10, 50, ""}, // two values are looked at
		{20, 50, "OK 1@20"},
		{30, 1, ""},
		{40, 1, "PROBLEM 1@40"},
		{50, 1, ""},
		{90, 1, ""},
		{100, 1, "PROBLEM 1@100"},
		{110, 1, ""},
		{170, 1, "PROBLEM 1@170"},
		{180, 50, "OK 1@180"},
		{190, 50, ""},
		{600, 1, ""},
		{610, 1, "PROBLEM 1@610"},
	} {
		if got := feed(&s, ix, expr.Point{Ts: tc.ts, Value: tc.value}); got != tc.want {
			t.Errorf("%d: %q, want %q", tc.ts, got, tc.want)
		}
	}
}

// How far apart points are is said when that is longer than a refresh.
func TestMemberEvery(t *testing.T) {
	for _, tc := range []struct{ step, want int64 }{{60, 0}, {61, 61}, {600, 600}, {90000, 3600}} {
		s := NewSeries("h1", "cpu.idle", "", model.Gauge)
		s.Watch(conditions("x", nil), settings)
		for i := range int64(2) {
			s.Insert(expr.Point{Ts: (i + 1) * tc.step, Value: 1}, settings)
		}
		events := s.Judge(nil, 2*tc.step, settings, nil)
		if len(events) != 1 || events[0].Every != tc.want || events[0].Strategy.MultiSerial != "x" {
			t.Errorf("points of %d s: %+v", tc.step, events)
		}
	}
}

// A condition that leaves its combination ends there, and begins anew in the next one; so
// does a plain rule that becomes a condition.
func TestMemberMoves(t *testing.T) {
	told := func(events []*model.Event) string {
		var out []string
		for _, e := range events {
			out = append(out, strings.TrimSpace(fmt.Sprint(e.Status, " ", e.Strategy.Serial(), " ", e.Closed)))
		}
		return strings.Join(out, ", ")
	}
	for _, tc := range []struct {
		name     string
		from, to *filter.Index
		closes   string
		begins   string
	}{
		{"another combination", conditions("x", nil), conditions("y", nil), "OK x strategy_removed", "PROBLEM y"},
		{"becomes a condition", watched(nil), conditions("y", nil), "OK  strategy_removed", "PROBLEM y"},
		{"is a rule of its own again", conditions("x", nil), watched(nil), "OK x strategy_removed", "PROBLEM"},
		{"stays", conditions("x", nil), conditions("x", func(s *model.Strategy) { s.Note = "new" }), "", ""},
	} {
		s := NewSeries("h1", "cpu.idle", "", model.Gauge)
		feed(&s, tc.from, expr.Point{Ts: 60, Value: 1}, expr.Point{Ts: 120, Value: 1})
		s.Watch(tc.to, settings)
		s.Insert(expr.Point{Ts: 150, Value: 1}, settings)
		if got := told(s.Judge(nil, 150, settings, nil)); got != tc.begins {
			t.Errorf("%s: begins %q, want %q", tc.name, got, tc.begins)
		}
		s.Close(nil, tc.to, settings, 200, 200)
		if got := told(s.Close(nil, tc.to, settings, 260, 260)); got != tc.closes {
			t.Errorf("%s: closes %q, want %q", tc.name, got, tc.closes)
		}
	}
}

// Without a plus_judge a condition is a rule that can not be judged with.
func TestMemberWithoutPlusJudge(t *testing.T) {
	b := rulebook.New()
	b.Add("h1", []*model.Strategy{{Id: 1, Metric: "m", Func: "all(#1)", Operator: ">", UnionStrategyId: 5, Tpl: &model.Template{Id: 7}}})
	if ix := filter.New(b); len(ix.Bad) != 1 || ix.Len() != 0 || !strings.Contains(ix.Bad[0].Reason, "union_judge_s") {
		t.Errorf("%+v", ix.Bad)
	}
	if ix := filter.NewWith(b, true); len(ix.Bad) != 0 || ix.Rules(nil, "h1", "m", nil)[0].Serial != "u_5" {
		t.Errorf("%+v", ix.Bad)
	}
}
