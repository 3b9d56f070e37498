package core

import (
	"slices"

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

// Recover is Insert for points of an earlier run, which may come in another order than
// they were judged in.
func (s *Series) Recover(p expr.Point, set Settings) Outcome {
	if n := len(s.points); n > 0 && n < max(s.keep, set.Remain) && p.Ts < s.points[n-1].Ts {
		s.points = append(s.points, p)
		return Late
	}
	return s.Insert(p, set)
}

// History returns the points, newest first. They are the series'.
func (s *Series) History() []expr.Point { return s.points }

// SetType follows a series that is pushed with another type than before.
func (s *Series) SetType(typ string) {
	s.gauge = s.text || len(typ) > 0 && (typ[0] == 'G' || typ[0] == 'g')
	s.index = nil // how many points it keeps is another number now
}

// Told says whether a rule has had an event on the series.
func (s *Series) Told() bool { return len(s.states) > 0 }

// End appends the ends of all problems of a series that is silent for good, and forgets
// what was told.
func (s *Series) End(dst []*model.Event, now int64) []*model.Event {
	for i := range s.states {
		if st := &s.states[i]; st.Status == verdict.Problem {
			st.State = verdict.State{Status: verdict.OK, Step: 1, EventTime: now}
			e := s.event(st, 0)
			e.Closed = model.ClosedStale
			dst = append(dst, e)
		}
	}
	s.states = nil
	return dst
}

// Ack marks the open problems of an event id, or all when it is empty, as acknowledged:
// nothing more is told of them but their ends. false takes the mark back. It returns how
// many there are.
func (s *Series) Ack(eventID string, acked bool) (n int) {
	sum := model.Checksum(s.pk)
	for i := range s.states {
		if st := &s.states[i]; st.Status == verdict.Problem && (eventID == "" || st.rule.EventID(sum) == eventID) {
			st.Acked = acked
			n++
		}
	}
	return n
}

// Adopt is Restore for an event that another judge told: a problem goes on from it unless
// the rule has had one here that is as new, and an end ends an older problem. It returns
// why nothing changes, "" when something does.
func (s *Series) Adopt(e *model.Event, acked bool) (refused string) {
	r := filter.RuleOf(e)
	if r.EventID(model.Checksum(s.pk)) != e.Id {
		return model.AdoptInvalid
	}
	i := s.stateOf(r)
	ends := e.Status != model.StatusProblem
	switch {
	case i >= 0 && s.states[i].EventTime >= e.EventTime:
		return model.AdoptKnown
	case ends && (i < 0 || s.states[i].Status != verdict.Problem):
		return model.AdoptNothing
	}
	st := state{rule: r, State: verdict.State{Status: verdict.Problem, Step: e.CurrentStep, EventTime: e.EventTime, Acked: acked}}
	if ends {
		st.State = verdict.State{Status: verdict.OK, Step: e.CurrentStep, EventTime: e.EventTime}
	}
	if i >= 0 {
		s.states[i] = st
	} else {
		s.states = append(s.states, st)
	}
	return ""
}

// Release forgets what was told of a rule, which another judge goes on with. It says
// whether anything was.
func (s *Series) Release(e *model.Event) bool {
	r := filter.RuleOf(e)
	i := s.stateOf(r)
	if i < 0 || r.EventID(model.Checksum(s.pk)) != e.Id {
		return false
	}
	s.states = slices.Delete(s.states, i, i+1)
	return true
}

// stateOf returns where the state of a rule is, -1 when it has had no event.
func (s *Series) stateOf(r *filter.Rule) int {
	return slices.IndexFunc(s.states, func(st state) bool { return st.rule.Key == r.Key })
}
