package core

import (
	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/verdict"
	"falcon/modules/judge/filter"
)

const (
	// refresh is how often a condition that goes on is sent, in seconds.
	refresh = 60
	// maxEvery bounds how far apart points may be that are waited for, in seconds.
	maxEvery = 3600
)

// Conditions appends how the conditions of combinations stand by the newest point, which
// was looked at by an earlier run: what that one had to say of it may not have arrived.
func (s *Series) Conditions(dst []*model.Event, now int64, buf []float64) []*model.Event {
	if len(s.points) == 0 {
		return dst
	}
	var room [expr.MaxWindow]string
	for _, r := range s.rules {
		switch {
		case r.Serial == "":
		case s.text:
			dst = s.textMember(dst, s.points, s.texts(room[:0], s.points), r, now)
		default:
			dst = s.member(dst, s.points, r, now, buf)
		}
	}
	return dst
}

// member appends what a combination has to know of one of its conditions: that it begins
// to hold or ends, and while it goes on a refresh each minute. How often people are told
// is for the combination to say. The first look at a series is always sent: whoever joins
// the conditions may know of another time, before this judge was started, when it held.
func (s *Series) member(dst []*model.Event, points []expr.Point, r *filter.Rule, now int64, buf []float64) []*model.Event {
	values, enough := expr.Values(buf[:0], points, r.Func.Window(), s.gauge)
	if !enough {
		return dst
	}
	left, triggered := r.Func.Eval(r.Op, r.Right, values)
	if e := s.condition(points, r, triggered, now); e != nil {
		e.LeftValue = verdict.Left(left)
		dst = append(dst, e)
	}
	return dst
}

// textMember is member for a series of texts.
func (s *Series) textMember(dst []*model.Event, points []expr.Point, texts []string, r *filter.Rule, now int64) []*model.Event {
	if n := r.Text.Window(); len(points) < n || len(texts) < n {
		return dst
	}
	left, triggered := r.Text.Eval(texts)
	if e := s.condition(points, r, triggered, now); e != nil {
		e.LeftString = left
		dst = append(dst, e)
	}
	return dst
}

// condition returns what has to be sent of a condition, without its value; nil for nothing.
func (s *Series) condition(points []expr.Point, r *filter.Rule, triggered bool, now int64) *model.Event {
	var st *state
	for i := range s.states {
		if s.states[i].rule.Key == r.Key {
			st = &s.states[i]
		}
	}
	status := verdict.OK
	if triggered {
		status = verdict.Problem
	}
	switch {
	case st == nil:
		s.states = append(s.states, state{})
		st = &s.states[len(s.states)-1]
	case st.Status != status:
	case !triggered || now-st.sent < refresh:
		return nil
	}
	*st = state{State: verdict.State{Status: status, Step: 1, EventTime: points[0].Ts}, rule: r, sent: now}
	e := s.event(st, 0)
	if len(points) > 1 {
		if every := points[0].Ts - points[1].Ts; every > refresh {
			e.Every = min(every, maxEvery)
		}
	}
	return e
}
