package compile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"falcon/common/model"
	"falcon/common/portal"
)

// A combination is strategies of which all have to hold on a host (contract alerting 5.1).
// What says so stands in the strategies, in our form (is_multi and a serial), in the
// fork's (the number of a row of union_strategy), or in both; ours then counts.
type combination struct {
	serial  string
	count   int     // members that have to hold
	there   []int   // strategies that say that they are members, also those that can not be read
	members []*rule // that can be judged, ascending
}

// combine marks the members of combinations. One that can not alarm is taken out: what is
// left of it would alarm alone, which nobody wanted.
func (c *compiler) combine() {
	members := map[int]portal.RuleMember{}
	for _, m := range c.rows.Members {
		members[m.Strategy] = m
	}
	if len(members) == 0 {
		return
	}
	listed := map[int]string{}
	for _, u := range c.rows.Unions {
		listed[u.ID] = "," + strings.ReplaceAll(u.Strategies, " ", "") + ","
	}
	rules := make(map[int]*rule, len(c.strategies))
	for _, r := range c.strategies {
		rules[r.rule.Id] = r
	}
	by := map[string]*combination{}
	var order []string
	out := map[*rule]string{} // with the reason
	for _, s := range c.rows.Strategies {
		m, ok := members[s.ID]
		if !ok {
			continue
		}
		r := rules[s.ID] // nil when it can not be read
		serial := m.Serial
		switch {
		case m.Multi != 0 && serial != "":
		case m.Union > 0:
			serial = "u_" + strconv.Itoa(m.Union)
			if list, ok := listed[m.Union]; ok && !strings.Contains(list, ","+strconv.Itoa(s.ID)+",") {
				if r != nil {
					out[r] = fmt.Sprintf("it is of combination %d, whose row in union_strategy does not name it", m.Union)
				}
				continue
			}
		default:
			if r != nil {
				out[r] = "is_multi is set and multi_serial is empty: nobody knows what it is a condition of"
			}
			continue
		}
		cm := by[serial]
		if cm == nil {
			cm = &combination{serial: serial}
			by[serial] = cm
			order = append(order, serial)
		}
		cm.there = append(cm.there, s.ID)
		if m.Multi != 0 && m.Serial != "" {
			cm.count = max(cm.count, m.Count)
		}
		if r != nil {
			r.rule.UnionStrategyId = m.Union
			cm.members = append(cm.members, r)
		}
	}
	for _, serial := range order {
		cm := by[serial]
		if reason := cm.inactive(); reason != "" {
			for _, r := range cm.members {
				out[r] = reason
			}
			continue
		}
		for _, r := range cm.members {
			r.rule.MultiSerial, r.rule.MultiCount = serial, cm.count
		}
	}
	if len(out) == 0 {
		return
	}
	for _, r := range c.strategies { // in the order of their ids
		if reason, ok := out[r]; ok {
			c.bad = append(c.bad, Bad{"strategy", r.rule.Id, reason})
			c.owned[r.tpl] = slices.DeleteFunc(c.owned[r.tpl], func(o *rule) bool { return o == r })
		}
	}
	c.strategies = slices.DeleteFunc(c.strategies, func(r *rule) bool { return out[r] != "" })
}

// maxMembers is how many members a plus_judge takes.
const maxMembers = 64

// inactive says why the combination can not alarm, "" when it can, and settles how many
// members have to hold: in our form as many as were wanted, in the fork's those there are.
func (cm *combination) inactive() string {
	if cm.count == 0 || cm.count < len(cm.there) {
		cm.count = len(cm.there)
	}
	what := "it is one of several conditions (" + cm.serial + ")"
	switch {
	case max(cm.count, len(cm.there)) < 2 || len(cm.there) == 1:
		return what + ", and the only one that is left: none alarms until it is a rule of its own or has company"
	case len(cm.members) < cm.count:
		return fmt.Sprintf("%s, of which %d can be judged and %d would have to hold: none alarms", what, len(cm.members), cm.count)
	case cm.count > maxMembers:
		return fmt.Sprintf("%s, which are more than %d: none alarms", what, maxMembers)
	}
	for _, r := range cm.members {
		if r.tpl != cm.members[0].tpl {
			return fmt.Sprintf("%s of different templates, %d and %d: a combination tells the people of one", what, cm.members[0].tpl, r.tpl)
		}
	}
	return ""
}

// Unions returns the combinations that can alarm and have a row of union_strategy, by its
// id: the members in ascending order, each with the template that owns it. Hours do not
// matter.
func (r *Result) Unions() map[int][]*model.Strategy {
	out := map[int][]*model.Strategy{}
	for _, s := range r.c.strategies {
		if id := s.rule.UnionStrategyId; id > 0 && s.rule.MultiSerial != "" {
			m := r.c.as(s, s.tpl)
			out[id] = append(out[id], &m)
		}
	}
	return out
}
