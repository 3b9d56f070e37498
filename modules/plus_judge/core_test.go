package plusjudge

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/common/verdict"
)

var settings = Settings{TTL: 300, Forget: 3600, MinInterval: 300}

// event is one of member id of three on host, whose series has the tag n.
func event(id int, host, status string, at int64, change func(*model.Event)) *model.Event {
	e := &model.Event{
		Id: verdict.StrategyID(id, model.Checksum(host+strconv.Itoa(id))), Status: status, Endpoint: host, LeftValue: float64(id), CurrentStep: 1, EventTime: at,
		PushedTags: map[string]string{"of": strconv.Itoa(id)},
		Strategy: &model.Strategy{
			Id: id, Metric: "m" + strconv.Itoa(id), Func: "all(#1)", Operator: ">", RightValue: 1, MaxStep: 2, Priority: 2, Note: "note " + strconv.Itoa(id),
			MultiSerial: "serial", MultiCount: 3, Tpl: &model.Template{Id: 7, ActionId: 9},
		},
	}
	if change != nil {
		change(e)
	}
	return e
}

// A story is lines of "time: what happens -> what is told". What happens is one or more
// of +id or -id (a member holds or does not), each with an optional @host and /tag for
// another series and =T for another event time; "tick"; "ack".
func story(t *testing.T, set Settings, lines string) *Core {
	t.Helper()
	c := NewCore(set)
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		before, want, _ := strings.Cut(line, "->")
		clock, acts, _ := strings.Cut(before, ":")
		now, err := strconv.ParseInt(strings.TrimSpace(clock), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		say := func(e *model.Event) {
			if e == nil {
				return
			}
			s := fmt.Sprintf("%s%d@%d", e.Status[:1], e.CurrentStep, e.EventTime)
			if e.Endpoint != "h1" {
				s += "/" + e.Endpoint
			}
			if e.Closed != "" {
				s += "/" + e.Closed
			}
			got = append(got, s)
		}
		for act := range strings.FieldsSeq(acts) {
			switch act {
			case "tick":
				for _, e := range c.Tick(now) {
					say(e)
				}
			case "ack":
				if n := c.Ack(verdict.CombinationID(1, "serial", "h1"), &Acked{"ann", 7}); n != 1 {
					t.Errorf("%s: %d acknowledged", line, n)
				}
			default:
				status := map[byte]string{'+': model.StatusProblem, '-': model.StatusOK, 'x': model.StatusOK}[act[0]]
				rest, at, ok := strings.Cut(act[1:], "=")
				ts := now
				if ok {
					ts, _ = strconv.ParseInt(at, 10, 64)
				}
				rest, tag, _ := strings.Cut(rest, "/")
				number, host, ok := strings.Cut(rest, "@")
				if !ok {
					host = "h1"
				}
				id, err := strconv.Atoi(number)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				e := event(id, host, status, ts, func(e *model.Event) {
					e.Id += tag
					if act[0] == 'x' {
						e.Closed = model.ClosedStrategyRemoved
					}
				})
				if why := Refuse(e, now, 300); why != "" {
					t.Fatalf("%s: refused: %s", line, why)
				}
				told, _, reason := c.Take(e, now)
				if reason != "" {
					t.Fatalf("%s: %s", line, reason)
				}
				say(told)
			}
		}
		if s := strings.Join(got, " "); s != strings.TrimSpace(want) {
			t.Errorf("%s\n told %q", line, s)
		}
	}
	return c
}

func TestStories(t *testing.T) {
	all := settings
	all.RecoverAll = true
	for _, tc := range []struct {
		name  string
		set   Settings
		lines string
	}{
		{"two of three are nothing", settings, `
			100: +1 +2 ->
			160: +1 +2 ->
			460: tick ->`},
		{"three of three on one host are a problem, and its end is when one goes", settings, `
			100: +1 +2 ->
			130: +3 -> P1@130
			160: +1 +2 ->
			190: -2 -> O1@190
			220: -1 -3 ->
			250: +1 +2 +3 -> P1@250`},
		{"members on other hosts do not complete each other", settings, `
			100: +1 +2@h2 +3@h3 ->
			160: +3 +1@h2 +2@h3 ->
			170: +2 -> P1@170
			180: +3@h2 -> P1@180/h2`},
		{"one that is silent holds no more", settings, `
			100: +1 +2 +3 -> P1@100
			160: +1 +2 ->
			220: +1 +2 ->
			280: +1 +2 ->
			340: +1 +2 ->
			399: tick ->
			400: tick ->
			401: tick -> O1@340
			460: +1 +2 ->
			470: +3 -> P1@470`},
		{"silence begins nothing", settings, `
			100: +1 +2 ->
			450: +3 ->
			460: +1 ->
			470: +2 -> P1@470`},
		{"told again after five minutes, twice at most, as the primary says", settings, `
			100: +1 +2 +3 -> P1@100
			160: +1 +2 +3 ->
			390: +1 +2 +3 ->
			399: tick ->
			400: tick ->
			401: +1 -> P2@401
			660: +1 +2 +3 ->
			760: +1 ->
			800: -3 -> O1@800`},
		{"acknowledged: nothing but its end, and the next problem is new", settings, `
			100: +1 +2 +3 -> P1@100
			110: ack ->
			250: +1 +2 +3 ->
			460: +1 +2 +3 ->
			500: -3 -> O1@500
			510: +3 -> P1@510`},
		{"a member holds while one of its series does", settings, `
			100: +1/a +1/b +2 +3 -> P1@100
			110: -1/a ->
			120: -1/b -> O1@120
			130: +1/b -> P1@130`},
		{"all: it is over when nothing holds", all, `
			100: +1 +2 +3 -> P1@100
			110: -1 ->
			120: -2 ->
			410: +3 ->
			420: -3 -> O1@420
			430: +1 +2 ->
			440: +3 -> P1@440`},
		{"all: told again only while all hold", all, `
			100: +1 +2 +3 -> P1@100
			110: -1 ->
			410: +2 +3 ->
			420: +1 -> P2@420`},
		{"all: silence of the last ends it", all, `
			100: +1 +2 +3 -> P1@100
			350: +2 ->
			650: tick ->
			651: tick -> O1@350`},
		{"an end that comes before its beginning is nothing", settings, `
			100: -1 -2 ->
			110: +1 +2 +3 -> P1@110`},
		{"events of one id never look alike", settings, `
			100: +1 +2 +3 -> P1@100
			105: -2=90 -> O1@100
			110: +2=95 -> P1@101
			115: -2=96 -> O1@101
			120: +2=97 -> P1@102`},
		{"a rule that was removed closes it", settings, `
			100: +1 +2 +3 -> P1@100
			150: x2 -> O1@150/strategy_removed`},
		{"a rule that was removed while there was no problem tells nothing", settings, `
			100: +1 +2 ->
			150: x2 ->`},
		{"nobody looked for an hour: closed as stale", settings, `
			100: +1 +2 +3 -> P1@100
			3701: tick -> O1@3701/stale
			3702: +1 +2 ->
			3703: +3 -> P1@3703`},
	} {
		t.Run(tc.name, func(t *testing.T) { story(t, tc.set, tc.lines) })
	}
}

// The event of a combination has what its people have to know, and the shape of any other.
func TestEvent(t *testing.T) {
	c := NewCore(settings)
	var got *model.Event
	for _, e := range []*model.Event{
		event(12, "h1", model.StatusProblem, 130, func(e *model.Event) { e.Strategy.Priority = 3 }),
		event(40, "h1", model.StatusProblem, 160, func(e *model.Event) { e.Strategy.Priority = 1; e.Every = 600 }),
		event(15, "h1", model.StatusProblem, 100, nil),
	} {
		told, changed, reason := c.Take(e, 200)
		if got = told; !changed || reason != "" {
			t.Errorf("%s: changed %v, refused %q", e.Id, changed, reason)
		}
	}
	if got == nil {
		t.Fatal("nothing was told")
	}
	if want := "m_12_" + model.Checksum("serial/h1"); got.Id != want {
		t.Errorf("id %s, want %s", got.Id, want)
	}
	if len(got.Id) > 50 {
		t.Errorf("id of %d characters", len(got.Id))
	}
	if got.Strategy.Id != 12 || got.Strategy.Priority != 1 || got.Strategy.Metric != "m12" || got.Strategy.MultiCount != 3 {
		t.Errorf("strategy %+v", got.Strategy)
	}
	if got.EventTime != 160 || got.LeftValue != 12 || got.PushedTags["of"] != "12" || got.CurrentStep != 1 || got.ActionId() != 9 {
		t.Errorf("event %+v", got)
	}
	var chain []int
	for _, e := range got.EventChain {
		chain = append(chain, e.Strategy.Id)
		if e.Every != 0 {
			t.Errorf("%s tells people how often it is refreshed", e.Id)
		}
	}
	if !slices.Equal(chain, []int{15, 40}) {
		t.Errorf("chain %v, want [15 40]", chain)
	}
	// Its end goes where its beginning went, though the severe member is gone by then.
	over, _, _ := c.Take(event(40, "h1", model.StatusOK, 210, func(e *model.Event) { e.Strategy.Priority = 5 }), 211)
	if over == nil || over.Id != got.Id || over.Priority() != 1 || over.Status != model.StatusOK {
		t.Errorf("end %+v", over)
	}
}

func TestSeverer(t *testing.T) {
	order := []int{9, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	for i, a := range order {
		for j, b := range order {
			if got := verdict.Severer(a, b); got != (i < j) {
				t.Errorf("Severer(%d, %d) is %v", a, b, got)
			}
		}
	}
}

// Points that are ten minutes apart hold for three of them.
func TestSlowSeries(t *testing.T) {
	c := NewCore(settings)
	slow := func(e *model.Event) { e.Every = 600; e.Strategy.MultiCount = 2 }
	c.Take(event(1, "h1", model.StatusProblem, 100, slow), 100)
	told, _, _ := c.Take(event(2, "h1", model.StatusProblem, 150, slow), 150)
	if told == nil {
		t.Fatal("nothing told")
	}
	c.Take(event(2, "h1", model.StatusProblem, 1700, slow), 1700)
	if got := c.Tick(1900); len(got) != 0 {
		t.Errorf("ended after three steps: %+v", got[0])
	}
	if got := c.Tick(1901); len(got) != 1 || got[0].Status != model.StatusOK {
		t.Errorf("goes on: %+v", got)
	}
}

// People of two actions are told of their own combination.
func TestTwoActions(t *testing.T) {
	c := NewCore(settings)
	told := map[int]string{}
	for _, action := range []int{9, 10} {
		for id := 1; id <= 3; id++ {
			e, _, _ := c.Take(event(id, "h1", model.StatusProblem, 100, func(e *model.Event) { e.Strategy.Tpl.ActionId = action }), 100)
			if e != nil {
				told[e.ActionId()] = e.Id
			}
		}
	}
	if len(told) != 2 || told[9] != told[10] {
		t.Errorf("told %v, want one id for two actions", told)
	}
	if n := c.Ack(told[9], &Acked{}); n != 2 {
		t.Errorf("%d acknowledged, want both", n)
	}
}

// What strangers send is refused with its reason.
func TestRefuse(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(*model.Event)
	}{
		{"", func(*model.Event) {}},
		{"", func(e *model.Event) { e.Strategy.MultiSerial, e.Strategy.UnionStrategyId = "", 5 }},
		{reasonNoStrategy, func(e *model.Event) { e.Strategy, e.Expression = nil, &model.Expression{Id: 3} }},
		{reasonNoStrategy, func(e *model.Event) { e.Strategy = nil }},
		{reasonNoStrategy, func(e *model.Event) { e.Strategy.Id = 0 }},
		{reasonNoSerial, func(e *model.Event) { e.Strategy.MultiSerial = "" }},
		{model.ReasonNoName, func(e *model.Event) { e.Endpoint = "" }},
		{model.ReasonNoName, func(e *model.Event) { e.Id = "" }},
		{model.ReasonTooLong, func(e *model.Event) { e.Endpoint = strings.Repeat("x", 2000) }},
		{model.ReasonTooLong, func(e *model.Event) { e.PushedTags = map[string]string{"a": strings.Repeat("x", 20000)} }},
		{reasonCount, func(e *model.Event) { e.Strategy.MultiCount = 1 }},
		{reasonCount, func(e *model.Event) { e.Strategy.MultiCount = 65 }},
		{reasonStatus, func(e *model.Event) { e.Status = "" }},
		{model.ReasonTimestamp, func(e *model.Event) { e.EventTime = 0 }},
		{model.ReasonFuture, func(e *model.Event) { e.EventTime = 401 }},
		{model.ReasonValue, func(e *model.Event) { e.LeftValue = math.NaN() }},
		{model.ReasonValue, func(e *model.Event) { e.Strategy.RightValue = math.Inf(1) }},
	} {
		e := event(1, "h1", model.StatusProblem, 100, tc.change)
		if got := Refuse(e, 100, 300); got != tc.want {
			t.Errorf("%+v: %q, want %q", e, got, tc.want)
		}
	}
	if got := Refuse(nil, 100, 300); got != model.ReasonNull {
		t.Errorf("nil: %q", got)
	}
}

// A restart ends nothing that goes on, and begins nothing with what it knew before.
func TestRestore(t *testing.T) {
	problem := func() *Core {
		c := NewCore(settings)
		for id := 1; id <= 3; id++ {
			c.Take(event(id, "h1", model.StatusProblem, 100, nil), 100)
		}
		return c
	}
	again := func(c *Core, now int64) *Core {
		r := NewCore(settings)
		c.Each(func(e *model.Event, at int64) { r.Restore(e, at, now) })
		for _, cm := range c.all {
			if cm.last != nil {
				r.RestoreTold(cm.last, c.Acked(cm.last), cm.since, now)
			}
		}
		return r
	}
	// It goes on while the members come back one by one.
	c := again(problem(), 1000)
	for i, now := range []int64{1001, 1100, 1200} {
		e, _, _ := c.Take(event(i+1, "h1", model.StatusProblem, now, nil), now)
		if e != nil && e.CurrentStep == 1 {
			t.Errorf("told %+v", e)
		}
		if told := c.Tick(now + 1); len(told) > 0 {
			t.Errorf("tick told %+v", told[0])
		}
	}
	// It ends at once when one says that it does not hold.
	c = again(problem(), 1000)
	if e, _, _ := c.Take(event(2, "h1", model.StatusOK, 1001, nil), 1001); e == nil || e.Status != model.StatusOK {
		t.Errorf("told %+v", e)
	}
	// It ends when nobody comes back, and not before.
	c = again(problem(), 1000)
	if told := c.Tick(1299); len(told) != 0 {
		t.Errorf("told %+v", told[0])
	}
	if told := c.Tick(1300); len(told) != 1 || told[0].Status != model.StatusOK || told[0].Closed != "" {
		t.Errorf("told %+v", told)
	}
	// After hours nobody is told of an end that was long ago.
	c = again(problem(), 10000)
	if told := c.Tick(10299); len(told) != 0 {
		t.Errorf("told %+v", told[0])
	}
	if told := c.Tick(10300); len(told) != 1 || told[0].Closed != model.ClosedStale || c.Len() != 0 {
		t.Errorf("told %+v", told)
	}
	// What held before begins nothing.
	two := NewCore(settings)
	two.Take(event(1, "h1", model.StatusProblem, 100, nil), 100)
	two.Take(event(2, "h1", model.StatusProblem, 100, nil), 100)
	c = again(two, 200)
	if e, _, _ := c.Take(event(3, "h1", model.StatusProblem, 210, nil), 210); e != nil {
		t.Errorf("told %+v by what was before the restart", e)
	}
	c.Take(event(1, "h1", model.StatusProblem, 220, nil), 220)
	if e, _, _ := c.Take(event(2, "h1", model.StatusProblem, 230, nil), 230); e == nil {
		t.Error("nothing is told though all hold")
	}
	// An acknowledged one stays so.
	acked := problem()
	acked.Ack(verdict.CombinationID(1, "serial", "h1"), &Acked{"ann", 7})
	c = again(acked, 500)
	for id := 1; id <= 3; id++ {
		if e, _, _ := c.Take(event(id, "h1", model.StatusProblem, 600, nil), 600); e != nil {
			t.Errorf("told %+v", e)
		}
	}
}

// Strangers can not make it keep without bound.
func TestBounds(t *testing.T) {
	c := NewCore(settings)
	full := 0
	for i := range MaxSeries + 10 {
		e := event(1, "h1", model.StatusProblem, 100, func(e *model.Event) { e.Id += strconv.Itoa(i) })
		if _, _, reason := c.Take(e, 100); reason == reasonFull {
			full++
		}
	}
	if full != 10 {
		t.Errorf("%d refused, want 10", full)
	}
	// One that does not hold makes room for one that does.
	c.Take(event(1, "h1", model.StatusOK, 110, func(e *model.Event) { e.Id += "5" }), 110)
	if _, _, reason := c.Take(event(1, "h1", model.StatusProblem, 120, func(e *model.Event) { e.Id += "new" }), 120); reason != "" {
		t.Errorf("refused: %s", reason)
	}
	for i := range MaxMembers + 10 {
		if _, _, reason := c.Take(event(i+1, "h1", model.StatusProblem, 100, nil), 100); reason == reasonFull {
			full++
		}
	}
	if full != 21 { // the first member has no place for one more series
		t.Errorf("%d refused, want 21", full)
	}
}

// A chain that a stranger sends is not kept.
func TestForeignChain(t *testing.T) {
	c := NewCore(settings)
	c.Take(event(1, "h1", model.StatusProblem, 100, func(e *model.Event) { e.EventChain = []*model.Event{{}} }), 100)
	c.Each(func(e *model.Event, _ int64) {
		if e.EventChain != nil {
			t.Errorf("kept %v", e.EventChain)
		}
	})
}

// What is silent for an hour is forgotten, though its combination is not.
func TestForgetsSeries(t *testing.T) {
	c := NewCore(settings)
	c.Take(event(1, "h1", model.StatusProblem, 100, nil), 100)
	for now := int64(100); now < 4000; now += 60 {
		c.Take(event(2, "h1", model.StatusProblem, now, nil), now)
		c.Tick(now)
	}
	a := c.Views(model.CombinationsRequest{Endpoint: "h1"}, 4000)
	views, n := a.Combinations, a.Total
	if n != 1 || len(views[0].Members) != 1 || views[0].Unheard != 2 || views[0].Holds != 1 {
		t.Errorf("%+v", views)
	}
	c.Tick(9000)
	if c.Len() != 0 {
		t.Errorf("%d combinations", c.Len())
	}
}

func TestViews(t *testing.T) {
	c := story(t, settings, `
		100: +1 +2 +3 -> P1@100
		110: +1@h2 ->
		150: +2 ->
		380: +1 ->
		402: -2 -> O1@402`)
	a := c.Views(model.CombinationsRequest{Limit: 1}, 402)
	views, n := a.Combinations, a.Total
	if n != 2 || len(views) != 1 || views[0].Endpoint != "h1" {
		t.Fatalf("%d, %+v", n, views)
	}
	v := views[0]
	if v.Status != "OK" || v.Since != 402 || v.Count != 3 || v.Holds != 1 || v.Unheard != 0 {
		t.Errorf("%+v", v)
	}
	if m := v.Members[0]; m.Metric != "m1" || m.Rule != ruleOf(event(1, "h1", model.StatusProblem, 100, nil)) || !strings.HasPrefix(m.Rule, "all(#") {
		t.Errorf("%+v", m)
	}
	if m := v.Members[0]; !m.Holds || m.Since != 100 || m.Series[0].Counter != "m1/of=1" {
		t.Errorf("%+v", m)
	}
	if m := v.Members[1]; m.Holds || m.Since != 402 || m.Series[0].Status != "OK" {
		t.Errorf("%+v", m)
	}
	if m := v.Members[2]; m.Holds || !m.Series[0].Silent {
		t.Errorf("%+v", m)
	}
	if a = c.Views(model.CombinationsRequest{Endpoint: "h2"}, 402); a.Total != 1 || a.Combinations[0].Unheard != 2 || a.Combinations[0].Status != "OK" || a.Combinations[0].Since != 0 {
		t.Errorf("%+v", a)
	}
	for r, want := range map[model.CombinationsRequest]int{
		{Serial: v.Serial}: 2, {Serial: "another"}: 0, {Event: v.Event}: 1, {Event: "m_another"}: 0, {Problems: true}: 0, {Endpoint: "h1", Serial: v.Serial, Limit: -1}: 1,
	} {
		if a := c.Views(r, 402); a.Total != want || len(a.Combinations) != want {
			t.Errorf("%+v: %d of %d, want %d", r, len(a.Combinations), a.Total, want)
		}
	}
}
