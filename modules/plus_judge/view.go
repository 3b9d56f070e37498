package plusjudge

import (
	"cmp"
	"maps"
	"slices"

	"falcon/common/model"
	"falcon/common/verdict"
)

// A View is how a combination stands, for people. Times are Unix seconds.
type View struct {
	Serial   string `json:"serial"`
	Endpoint string `json:"endpoint"`
	Action   int    `json:"action"`
	Status   string `json:"status"`
	Step     int    `json:"step"` // of the last message
	// Since is when the last message was told, 0 for never.
	Since int64  `json:"since"`
	Event string `json:"event,omitempty"` // id of the last message
	Acked bool   `json:"acked,omitempty"`
	// Count members have to hold, and Holds of them do.
	Count   int          `json:"count"`
	Holds   int          `json:"holds"`
	Members []MemberView `json:"members"`
	// Unheard is how many members were never heard of: nothing of them holds.
	Unheard int   `json:"unheard"`
	Heard   int64 `json:"heard"` // when any member was last heard of
}

// A MemberView is how one condition stands.
type MemberView struct {
	Strategy int    `json:"strategy_id"`
	Metric   string `json:"metric"`
	Rule     string `json:"rule"` // all(#3)
	Holds    bool   `json:"holds"`
	// Waits says that it held before a restart of plus_judge and was not heard of since.
	Waits bool `json:"waits,omitempty"`
	// Since is since when it holds or does not.
	Since  int64        `json:"since"`
	Series []SeriesView `json:"series"`
}

// A SeriesView is the last event of a condition on a series.
type SeriesView struct {
	Counter string  `json:"counter"`
	Status  string  `json:"status"`
	Value   float64 `json:"value"`
	Time    int64   `json:"time"`
	Heard   int64   `json:"heard"`
	// Silent says that it is a problem of which nothing was heard for too long.
	Silent bool `json:"silent,omitempty"`
}

// Views returns the combinations of an endpoint, of all with the empty one, limit at
// most, ordered by endpoint and serial; and how many there are.
func (c *Core) Views(endpoint string, now int64, limit int) (some []View, n int) {
	var keys []string
	for key, cm := range c.all {
		if endpoint == "" || cm.endpoint == endpoint {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(c.all[a].endpoint, c.all[b].endpoint), cmp.Compare(a, b))
	})
	some = []View{}
	for _, key := range keys[:min(limit, len(keys))] {
		some = append(some, c.view(c.all[key], now))
	}
	return some, len(keys)
}

func (c *Core) view(cm *combination, now int64) View {
	v := View{
		Serial: cm.serial, Endpoint: cm.endpoint, Action: cm.action, Status: model.StatusOK, Step: cm.state.Step, Since: cm.since,
		Acked: cm.state.Acked, Count: cm.count, Heard: cm.heard, Members: []MemberView{},
	}
	if cm.state.Status == verdict.Problem {
		v.Status = model.StatusProblem
	}
	if cm.last != nil {
		v.Event = cm.last.Id
	}
	for _, id := range slices.Sorted(maps.Keys(cm.members)) {
		m := cm.members[id]
		h := c.holds(cm, m, now)
		mv := MemberView{Strategy: id, Holds: h == yes, Waits: h == probably, Series: []SeriesView{}}
		if e := m.latest(); e != nil {
			mv.Metric, mv.Rule = e.Metric(), e.Func()+" "+e.Operator()
		}
		for _, name := range slices.Sorted(maps.Keys(m.series)) {
			s := m.series[name]
			problem := s.event.Status == model.StatusProblem
			if problem == (h != no) {
				if first := mv.Since == 0; first || s.since < mv.Since == (h != no) {
					mv.Since = s.since // the first that holds, the last that ended
				}
			}
			mv.Series = append(mv.Series, SeriesView{
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
