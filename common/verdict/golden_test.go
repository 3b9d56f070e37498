package verdict

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"falcon/common/expr"
	"falcon/common/model"
)

// golden is a table of rules and points with the events that a stock judge pushed.
type golden struct {
	Remain      int
	MinInterval int64
	T0          int64
	Now         map[string]int64 `json:"now_at_point"`
	Texts       []string         `json:"event_texts"`
	Cases       []struct {
		ID                             int
		Source, Metric, Endpoint, Note string
		RuleTags                       map[string]string `json:"rule_tags"`
		Func, Operator                 string
		RightValue                     float64
		MaxStep, Priority              int
		JudgeType                      string
		ItemTags                       map[string]string `json:"item_tags"`
		Points                         [][2]float64
		Events                         []struct {
			After  int `json:"after_point"`
			List   string
			Status string
			Step   int     `json:"currentStep"`
			Left   float64 `json:"leftValue"`
			Time   int64   `json:"eventTime"`
			ID     string
		}
	}
}

// Every case of both tables: the events that we make are those of stock, after the
// same points, as the same JSON.
func TestGolden(t *testing.T) {
	for name, cases := range map[string]int{"judge-minint60": 43, "judge-minint300": 129} {
		g := load(t, name)
		if len(g.Cases) != cases {
			t.Errorf("%s has %d cases, want %d", name, len(g.Cases), cases)
		}
		var texts []string
		for _, c := range g.Cases {
			t.Run(fmt.Sprintf("%s/%d %s", name, c.ID, c.Note), func(t *testing.T) {
				strategy := &model.Strategy{
					Id: c.ID, Metric: c.Metric, Tags: c.RuleTags, Func: c.Func, Operator: c.Operator, RightValue: c.RightValue,
					MaxStep: c.MaxStep, Priority: c.Priority, Note: c.Note, Tpl: &model.Template{Id: 7, Name: "base", ActionId: 9, Creator: "root"},
				}
				expression := &model.Expression{
					Id: c.ID, Metric: c.Metric, Tags: c.RuleTags, Func: c.Func, Operator: c.Operator, RightValue: c.RightValue,
					MaxStep: c.MaxStep, Priority: c.Priority, Note: c.Note, ActionId: 9,
				}
				checksum := model.Checksum(model.PK(c.Endpoint, c.Metric, model.SortedTags(c.ItemTags)))
				fn, err := expr.ParseFunc(c.Func)
				if err != nil {
					t.Fatal(err)
				}
				op, _ := expr.ParseOp(c.Operator) // "!" is one of the cases, and never holds
				gauge := c.JudgeType == model.Gauge
				watched := Match(c.RuleTags, c.ItemTags)
				if c.Source == "expression" {
					watched = MatchExpression(c.RuleTags, c.Endpoint, c.ItemTags)
				}

				var (
					points []expr.Point // newest first
					state  State
					events = c.Events
				)
				for i, p := range c.Points {
					ts := g.T0 + int64(p[0])
					if !watched || len(points) > 0 && ts <= points[0].Ts {
						continue
					}
					points = slices.Insert(points, 0, expr.Point{Ts: ts, Value: p[1]})
					points = points[:min(len(points), g.Remain)]
					values, enough := expr.Values(nil, points, fn.Window(), gauge)
					if !enough {
						continue
					}
					left, triggered := fn.Eval(op, c.RightValue, values)
					// A rate has the time of its newer point.
					seen := Seen{Triggered: triggered, Newest: ts, Oldest: points[len(values)-1].Ts, Now: g.T0 + g.Now[strconv.Itoa(i)]}
					var emit Emit
					if state, emit = Next(state, Rule{c.MaxStep, g.MinInterval}, seen); emit == Nothing {
						continue
					}
					var e *model.Event
					if c.Source == "expression" {
						e = Event(ExpressionID(c.ID, checksum), c.Endpoint, c.ItemTags, state, left)
						e.Expression = expression
					} else {
						e = Event(StrategyID(c.ID, checksum), c.Endpoint, c.ItemTags, state, left)
						e.Strategy = strategy
					}
					if len(events) == 0 {
						t.Fatalf("after point %d an event that stock does not have: %+v", i, e)
					}
					w := events[0]
					events = events[1:]
					want := *e
					want.Id, want.Status, want.CurrentStep, want.LeftValue, want.EventTime = w.ID, w.Status, w.Step, w.Left, g.T0+w.Time
					got, list := text(t, e), fmt.Sprintf("event:p%d", c.Priority)
					if got != text(t, &want) || i != w.After || list != w.List {
						t.Errorf("after point %d, in %s: %s\nwant after %d, in %s: %s", i, list, got, w.After, w.List, text(t, &want))
					}
					texts = append(texts, got)
				}
				if len(events) > 0 {
					t.Errorf("%d events are missing, the first is %+v", len(events), events[0])
				}
			})
		}
		for _, want := range g.Texts {
			if !slices.Contains(texts, want) {
				t.Errorf("%s: no event reads byte for byte\n%s", name, want)
			}
		}
	}
}

func text(t *testing.T, e *model.Event) string {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func load(t *testing.T, name string) (g golden) {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&g); err != nil {
		t.Fatal(err)
	}
	return g
}
