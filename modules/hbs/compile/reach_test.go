package compile

import (
	"fmt"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/common/portal"
)

// said writes a reach as "host hours-hours …; host …", in hours after noon.
func said(r *model.Reach) string {
	var out []string
	for _, s := range r.Sets {
		text := strings.Join(s.Hosts, ",")
		for _, span := range s.Spans {
			text += fmt.Sprintf(" %g-%g", float64(span[0]-noon.Unix())/3600, float64(span[1]-noon.Unix())/3600)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestReach(t *testing.T) {
	at := func(hours float64) int64 { return noon.Unix() + int64(3600*hours) }
	for _, tc := range []struct {
		name   string
		change func(*portal.RuleRows)
		p      model.ReachParam
		want   string
	}{
		{"a template that is bound to nothing", func(*portal.RuleRows) {}, model.ReachParam{Template: 1}, ""},
		{"the hosts of the groups", func(r *portal.RuleRows) { bind(r, 2, 1) }, model.ReachParam{Template: 1}, "h2 0-24"},
		{"a new strategy beside those that watch something else", func(r *portal.RuleRows) { bind(r, 1, 4) }, model.ReachParam{Template: 1, Metric: "load.1min"}, "h1,h2 0-24"},
		{"one that a descendant replaces", func(r *portal.RuleRows) { bind(r, 1, 1); bind(r, 2, 2) }, model.ReachParam{Template: 1}, "h1 0-24"},
		{"the saved one, changed to watch what its descendant does not", func(r *portal.RuleRows) { bind(r, 1, 2) },
			model.ReachParam{Template: 1, Strategy: 100, Tags: "core=1"}, "h1,h2 0-24"},
		{"the saved one, with other hours", func(r *portal.RuleRows) { bind(r, 2, 1) },
			model.ReachParam{Template: 1, Strategy: 100, RunBegin: "20:00", RunEnd: "07:59"}, "h2 8-20"},
		{"a child's replaces the parent's", func(r *portal.RuleRows) { bind(r, 1, 4) }, model.ReachParam{Template: 4}, "h1,h2 0-24"},
		{"hours", func(r *portal.RuleRows) { bind(r, 2, 4) }, model.ReachParam{Template: 4, RunBegin: "20:00", RunEnd: "07:59"}, "h2 8-20"},
		{"hours of the day", func(r *portal.RuleRows) { bind(r, 2, 4) }, model.ReachParam{Template: 4, RunBegin: "08:00", RunEnd: "19:59"}, "h2 0-8 20-24"},
		{"the parent's outside the hours of the child's", func(r *portal.RuleRows) {
			for i := range r.Strategies {
				if r.Strategies[i].Template == 2 {
					r.Strategies[i].RunBegin, r.Strategies[i].RunEnd = "20:00", "07:59"
				}
			}
			bind(r, 1, 2)
		}, model.ReachParam{Template: 1}, "h1,h2 0-8 20-24"},
		{"maintenance", func(r *portal.RuleRows) {
			bind(r, 1, 1)
			r.Hosts[1].MaintainBegin, r.Hosts[1].MaintainEnd = at(2), at(3)-1
		}, model.ReachParam{Template: 1}, "h1 0-24; h2 0-2 3-24"},
		{"maintenance all the time", func(r *portal.RuleRows) {
			bind(r, 2, 1)
			r.Hosts[1].MaintainBegin, r.Hosts[1].MaintainEnd = at(-2), at(30)
		}, model.ReachParam{Template: 1}, "h2"},
		{"hosts by name, bound to nothing", func(*portal.RuleRows) {}, model.ReachParam{Hosts: []string{"h3", "h1", "h1", "nobody"}}, "h1,h3 0-24"},
		{"hosts of groups, whatever is bound to them", func(r *portal.RuleRows) { bind(r, 1, 4) }, model.ReachParam{Groups: []int{1, 2}}, "h1,h2 0-24"},
		{"an expression: those in maintenance", func(r *portal.RuleRows) {
			r.Hosts[0].MaintainBegin, r.Hosts[0].MaintainEnd = at(23), at(40)
		}, model.ReachParam{Any: true}, "h1 0-23"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rows := world()
			tc.change(rows)
			res := Compile(rows, noon)
			if tc.p.Metric == "" {
				tc.p.Metric = "cpu.idle"
			}
			tc.p.From, tc.p.To = at(0), at(24)
			got, err := res.Reach(&tc.p)
			if err != nil || said(got) != tc.want || got.Any != tc.p.Any {
				t.Errorf("%+v\n got %s, %v\nwant %s", tc.p, said(got), err, tc.want)
			}
			if tc.p.Hosts != nil && fmt.Sprint(got.Unknown) != "[nobody]" {
				t.Errorf("unknown %q", got.Unknown)
			}
			// The rows that are in force are as they were.
			if again := Compile(rows, noon); again.Book.Version() != res.Book.Version() {
				t.Error("the rows have changed")
			}
		})
	}
	res := Compile(world(), noon)
	for _, p := range []model.ReachParam{{Template: 77}, {Groups: []int{77}}} {
		p.From, p.To = at(0), at(24)
		if _, err := res.Reach(&p); err == nil || !strings.Contains(err.Error(), " 77") {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// A range with more changes than can be followed says from when on it is a guess.
func TestReachIsBounded(t *testing.T) {
	rows := world()
	bind(rows, 1, 2)
	for i := range rows.Strategies {
		rows.Strategies[i].Metric = "cpu.idle"
	}
	for len(rows.Hosts) < maxHostMoments/8 {
		rows.Hosts = append(rows.Hosts, portal.RuleHost{ID: 100 + len(rows.Hosts)})
	}
	p := &model.ReachParam{Template: 2, Metric: "cpu.idle", RunBegin: "08:00", RunEnd: "09:00", From: noon.Unix(), To: noon.Unix() + 30*86400}
	got, err := Compile(rows, noon).Reach(p)
	if err != nil || got.Until <= p.From || got.Until >= p.To {
		t.Errorf("until %d, %v", got.Until, err)
	}
}
