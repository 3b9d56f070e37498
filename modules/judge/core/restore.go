package core

import (
	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/verdict"
	"falcon/modules/judge/filter"
)

// Restore takes the last event of a rule on the series, of an earlier run.
func (s *Series) Restore(e *model.Event) {
	st := state{rule: filter.RuleOf(e), State: verdict.State{Step: e.CurrentStep, EventTime: e.EventTime}}
	if e.Status == model.StatusProblem {
		st.Status = verdict.Problem
	}
	for i := range s.states {
		if s.states[i].rule.Key == st.rule.Key {
			s.states[i] = st
			return
		}
	}
	s.states = append(s.states, st)
}

// History returns the points, newest first. They are the series'.
func (s *Series) History() []expr.Point { return s.points }
