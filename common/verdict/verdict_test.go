package verdict

import (
	"encoding/json"
	"math"
	"testing"
)

func TestNext(t *testing.T) {
	rule := Rule{MaxStep: 3, MinInterval: 300}
	problem := func(step int, at int64) State { return State{Status: Problem, Step: step, EventTime: at} }
	for _, tc := range []struct {
		name string
		s    State
		r    Rule
		seen Seen
		want State
		emit Emit
	}{
		{"1: a muted rule never begins", State{}, Rule{MaxStep: 0, MinInterval: 300}, Seen{true, 100, 40, 100}, State{}, Nothing},
		{"2: first alarm", State{}, rule, Seen{true, 100, 40, 100}, problem(1, 100), TellProblem},
		{"2: again after it was over", State{Status: OK, Step: 1, EventTime: 99}, rule, Seen{true, 100, 40, 100}, problem(1, 100), TellProblem},
		{"3: told often enough", problem(3, 100), rule, Seen{true, 1000, 900, 1000}, problem(3, 100), Nothing},
		{"4: points that were told", problem(1, 100), rule, Seen{true, 1000, 100, 1000}, problem(1, 100), Nothing},
		{"5: too soon", problem(1, 100), rule, Seen{true, 399, 101, 399}, problem(1, 100), Nothing},
		{"6: next step", problem(1, 100), rule, Seen{true, 400, 101, 400}, problem(2, 400), TellProblem},
		{"7: over", problem(3, 100), rule, Seen{false, 160, 101, 160}, State{Status: OK, Step: 1, EventTime: 160}, TellOK},
		{"8: nothing was, nothing is", State{}, rule, Seen{false, 100, 40, 100}, State{}, Nothing},
		{"8: it is over already", State{Status: OK, Step: 1, EventTime: 99}, rule, Seen{false, 160, 100, 160}, State{Status: OK, Step: 1, EventTime: 99}, Nothing},
		{"acked: no further step", State{Problem, 1, 100, true}, rule, Seen{true, 1000, 900, 1000}, State{Problem, 1, 100, true}, Nothing},
		{"acked: over, and told", State{Problem, 1, 100, true}, rule, Seen{false, 1000, 900, 1000}, State{Status: OK, Step: 1, EventTime: 1000}, TellOK},
		{"a rule that became muted says when it is over", problem(1, 100), Rule{}, Seen{false, 160, 101, 160}, State{Status: OK, Step: 1, EventTime: 160}, TellOK},
	} {
		if got, emit := Next(tc.s, tc.r, tc.seen); got != tc.want || emit != tc.emit {
			t.Errorf("%s: %+v %v, want %+v %v", tc.name, got, emit, tc.want, tc.emit)
		}
	}
}

func TestMatch(t *testing.T) {
	type m = map[string]string
	for _, tc := range []struct {
		name       string
		want, tags m
		strategy   bool
		expression bool // on endpoint h1
	}{
		{"no tags match every series", m{}, m{"a": "1"}, true, true},
		{"nil", nil, nil, true, true},
		{"the series may have more", m{"a": "1"}, m{"a": "1", "b": "2"}, true, true},
		{"another value", m{"a": "1"}, m{"a": "2"}, false, false},
		{"a tag that is not there", m{"a": ""}, m{}, false, false},
		{"excluded", m{"^a": "1"}, m{"a": "1"}, false, false},
		{"not excluded", m{"^a": "1"}, m{"a": "2"}, true, true},
		{"without the tag it is watched", m{"^a": "1"}, m{}, true, true},
		{"several values are excluded", m{"^a": "1,2"}, m{"a": "2"}, false, false},
		{"both kinds", m{"^a": "1", "b": "2"}, m{"a": "3", "b": "2"}, true, true},
		{"the endpoint", m{"endpoint": "h1"}, m{}, false, true},
		{"another endpoint", m{"endpoint": "h2"}, m{}, false, false},
		{"a tag of that name goes first", m{"endpoint": "h1"}, m{"endpoint": "h2"}, false, false},
		{"an excluded endpoint", m{"^endpoint": "h1"}, m{}, true, false},
	} {
		if got := Match(tc.want, tc.tags); got != tc.strategy {
			t.Errorf("%s: strategy %v, want %v", tc.name, got, tc.strategy)
		}
		if got := MatchExpression(tc.want, "h1", tc.tags); got != tc.expression {
			t.Errorf("%s: expression %v, want %v", tc.name, got, tc.expression)
		}
	}
}

func TestEventCanBeWritten(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, err := json.Marshal(Event("s_1_x", "h", nil, State{}, v)); err != nil {
			t.Errorf("%v: %v", v, err)
		}
	}
}
