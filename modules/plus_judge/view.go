package plusjudge

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"falcon/common/model"
	"falcon/common/verdict"
)

// maxViews bounds what is shown of the combinations at once.
const maxViews = 1000

// Views returns the combinations that r asks for, ordered by endpoint and serial.
func (c *Core) Views(r model.CombinationsRequest, now int64) model.CombinationsReply {
	var keys []string
	for key, cm := range c.all {
		switch {
		case r.Endpoint != "" && cm.endpoint != r.Endpoint, r.Serial != "" && cm.serial != r.Serial:
		case r.Event != "" && (cm.last == nil || cm.last.Id != r.Event):
		case r.Problems && cm.state.Status != verdict.Problem:
		default:
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(c.all[a].endpoint, c.all[b].endpoint), cmp.Compare(a, b))
	})
	limit := maxViews
	if r.Limit > 0 {
		limit = min(limit, r.Limit)
	}
	some := []model.Combination{}
	for _, key := range keys[:min(limit, len(keys))] {
		some = append(some, c.view(c.all[key], now))
	}
	return model.CombinationsReply{Total: len(keys), Combinations: some}
}

func (c *Core) view(cm *combination, now int64) model.Combination {
	v := model.Combination{
		Serial: cm.serial, Endpoint: cm.endpoint, Action: cm.action, Status: model.StatusOK, Step: cm.state.Step, Since: cm.since,
		Acked: cm.state.Acked, Count: cm.count, Heard: cm.heard, Members: []model.Condition{},
	}
	if cm.state.Status == verdict.Problem {
		v.Status = model.StatusProblem
	}
	if cm.last != nil {
		v.Event = cm.last.Id
	}
	if v.Acked {
		v.AckedBy, v.AckedAt = cm.acked.By, cm.acked.At
	}
	for _, id := range slices.Sorted(maps.Keys(cm.members)) {
		m := cm.members[id]
		h := c.holds(cm, m, now)
		mv := model.Condition{Strategy: id, Holds: h == yes, Waits: h == probably, Series: []model.ConditionSeries{}}
		if e := m.latest(); e != nil {
			mv.Metric, mv.Rule = e.Metric(), ruleOf(e)
		}
		for _, name := range slices.Sorted(maps.Keys(m.series)) {
			s := m.series[name]
			problem := s.event.Status == model.StatusProblem
			if problem == (h != no) {
				if first := mv.Since == 0; first || s.since < mv.Since == (h != no) {
					mv.Since = s.since // the first that holds, the last that ended
				}
			}
			mv.Series = append(mv.Series, model.ConditionSeries{
				Counter: s.event.Counter(), Status: s.event.Status, Value: s.event.LeftValue, Time: s.event.EventTime, Heard: s.at,
				Silent: problem && now-s.at > c.ttl(s.event),
			})
		}
		if mv.Holds {
			v.Holds++
		}
		v.Members = append(v.Members, mv)
	}
	v.Unheard = max(0, cm.count-len(v.Members))
	return v
}

// ruleOf is the condition of an event for people: all(#3) < 5, all(#1) != "ok".
func ruleOf(e *model.Event) string {
	right := strconv.FormatFloat(e.RightValue(), 'g', -1, 64)
	if e.Texts() {
		right = strconv.Quote(e.Strategy.RightString)
	}
	return e.Func() + " " + e.Operator() + " " + right
}
