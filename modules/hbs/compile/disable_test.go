package compile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
)

// disable adds a disable that is in force at noon, until an hour later.
func disable(r *portal.RuleRows, d portal.RuleDisable) *portal.RuleDisable {
	d.ID = len(r.Disables) + 1
	if d.Begin == 0 {
		d.Begin = noon.Unix()
	}
	if d.End == 0 {
		d.End = noon.Unix() + 3600
	}
	r.Disables = append(r.Disables, d)
	return &r.Disables[len(r.Disables)-1]
}

func onBinding(group, tpl int) portal.RuleDisable {
	return portal.RuleDisable{Type: portal.DisableBinding, Group: group, Template: tpl}
}

func onTemplate(tpl int) portal.RuleDisable {
	return portal.RuleDisable{Type: portal.DisableTemplate, Template: tpl}
}

// In the world of these cases base (1) is bound to group 1, of h1 and h2; web (2), its
// child, to group 2, of h2 alone, unless a case says otherwise. base has 100 (cpu.idle)
// and 101, web replaces 100 by 102 and 103.
func TestDisables(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*portal.RuleRows)
		h1, h2 string
		paused string // those that rest: their problems stay open
		down   string // the hosts on which nothing is judged
	}{
		{"nothing is disabled", func(*portal.RuleRows) {}, "100@1 101@1", "101@2 102@2 103@2", "[]", "[]"},

		{"1: a host, as in maintenance", func(r *portal.RuleRows) {
			disable(r, portal.RuleDisable{Type: portal.DisableHost, Host: 2})
		}, "100@1 101@1", "", "[]", "[h2]"},

		{"2: what a template owns goes wherever it is inherited", func(r *portal.RuleRows) { disable(r, onTemplate(1)) },
			"", "102@2 103@2", "[100 101]", "[]"},
		{"2: what comes through a template goes, too, and the parent's does not take its place", func(r *portal.RuleRows) { disable(r, onTemplate(2)) },
			"100@1 101@1", "", "[101 102 103]", "[]"},
		{"2: in the middle of a chain", func(r *portal.RuleRows) {
			bind(r, 2, 4)
			add(r, 104, 4, "load.1min", "", "9")
			disable(r, onTemplate(2))
		}, "100@1 101@1", "101@4 104@4", "[102 103]", "[]"},
		{"2: a template that nobody has", func(r *portal.RuleRows) { disable(r, onTemplate(3)) },
			"100@1 101@1", "101@2 102@2 103@2", "[]", "[]"},

		{"3: a strategy goes everywhere, through each leaf", func(r *portal.RuleRows) {
			disable(r, portal.RuleDisable{Type: portal.DisableStrategy, Strategy: 101})
		}, "100@1", "102@2 103@2", "[101]", "[]"},
		{"3: what it replaces does not come back", func(r *portal.RuleRows) {
			disable(r, portal.RuleDisable{Type: portal.DisableStrategy, Strategy: 102})
			disable(r, portal.RuleDisable{Type: portal.DisableStrategy, Strategy: 103})
		}, "100@1 101@1", "101@2", "[102 103]", "[]"},

		{"4: a strategy goes on one host", func(r *portal.RuleRows) {
			disable(r, portal.RuleDisable{Type: portal.DisableStrategyOnHost, Strategy: 101, Host: 2})
		}, "100@1 101@1", "102@2 103@2", "[101]", "[]"},
		{"4: what it replaces does not come back", func(r *portal.RuleRows) {
			for _, s := range []int{102, 103} {
				disable(r, portal.RuleDisable{Type: portal.DisableStrategyOnHost, Strategy: s, Host: 2})
			}
		}, "100@1 101@1", "101@2", "[102 103]", "[]"},

		{"5: a binding goes before inheritance, so the parent is in force", func(r *portal.RuleRows) { disable(r, onBinding(2, 2)) },
			"100@1 101@1", "100@1 101@1", "[101 102 103]", "[]"},
		{"5: on a group whose hosts have it through another as well", func(r *portal.RuleRows) {
			bind(r, 1, 2)
			disable(r, onBinding(2, 2))
		}, "101@2 102@2 103@2", "101@2 102@2 103@2", "[]", "[]"},
		{"5: on the parent's binding changes nothing for who has the child", func(r *portal.RuleRows) { disable(r, onBinding(1, 1)) },
			"", "101@2 102@2 103@2", "[100 101]", "[]"},
		{"5: one of another group is none of ours", func(r *portal.RuleRows) { disable(r, onBinding(1, 2)) },
			"100@1 101@1", "101@2 102@2 103@2", "[]", "[]"},
		{"5 comes before 2, which hides the parent that came back", func(r *portal.RuleRows) {
			disable(r, onBinding(2, 2))
			disable(r, onTemplate(1))
		}, "", "", "[100 101 102 103]", "[]"},

		{"two leaves of one action: the lower one speaks, and when it is disabled nobody", func(r *portal.RuleRows) {
			r.Templates[2].Action = 12
			bind(r, 2, 3)
			disable(r, onTemplate(2))
		}, "100@1 101@1", "100@3", "[101 102 103]", "[]"},

		{"not yet begun, over, and upside down", func(r *portal.RuleRows) {
			disable(r, onTemplate(1)).Begin = noon.Unix() + 1
			disable(r, onTemplate(1)).End = noon.Unix()
			d := disable(r, onTemplate(1))
			d.Begin, d.End = noon.Unix()+20, noon.Unix()+10
		}, "100@1 101@1", "101@2 102@2 103@2", "[]", "[]"},
		{"in its last second", func(r *portal.RuleRows) { disable(r, onTemplate(1)).End = noon.Unix() + 1 },
			"", "102@2 103@2", "[100 101]", "[]"},
		{"of a kind that this release does not know", func(r *portal.RuleRows) {
			disable(r, portal.RuleDisable{Type: 6, Host: 1, Template: 1, Strategy: 100, Group: 1})
		}, "100@1 101@1", "101@2 102@2 103@2", "[]", "[]"},
		{"beside hours", func(r *portal.RuleRows) {
			r.Strategies[0].RunBegin, r.Strategies[0].RunEnd = "20:00", "21:00" // 100
			disable(r, portal.RuleDisable{Type: portal.DisableStrategy, Strategy: 103})
		}, "101@1", "101@2 102@2", "[100 103]", "[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := world()
			bind(r, 1, 1)
			bind(r, 2, 2)
			tc.change(r)
			res := Compile(r, noon)
			for host, want := range map[string]string{"h1": tc.h1, "h2": tc.h2} {
				if got := of(res, host); got != want {
					t.Errorf("%s has %q, want %q", host, got, want)
				}
			}
			if got := fmt.Sprint(res.Book.Paused); got != tc.paused {
				t.Errorf("resting %s, want %s", got, tc.paused)
			}
			if got := fmt.Sprint(res.Book.Disabled); got != tc.down {
				t.Errorf("silent hosts %s, want %s", got, tc.down)
			}
			if res.Covered != 2 {
				t.Errorf("%d hosts are covered, want 2: a disable loses none", res.Covered)
			}
		})
	}
}

func TestEnvironments(t *testing.T) {
	r := world()
	env := func(group, tpl int, env string) {
		r.EnvTemplates = append(r.EnvTemplates, portal.RuleEnvPair{Group: group, Template: tpl, Env: env})
	}
	bind(r, 1, 1)     // all of group 1
	env(1, 2, "prod") // those of group 1 that are in production
	env(1, 3, "test") // and those that are tested
	env(2, 4, "prod") // and of group 2
	env(1, 9, "prod") // no such template
	for _, tc := range []struct {
		envs   map[string]string
		h1, h2 string
	}{
		{nil, "100@1 101@1", "100@1 101@1"},
		{map[string]string{"h1": "prod", "h2": "test"}, "101@2 102@2 103@2", "100@3 101@3"},
		{map[string]string{"h1": "staging", "h2": "prod"}, "100@1 101@1", "101@4 102@4 103@4"},
		{map[string]string{"H1": "prod"}, "100@1 101@1", "100@1 101@1"}, // names are compared byte by byte
	} {
		r.Envs = nil
		for h, e := range tc.envs {
			r.Envs = append(r.Envs, portal.RuleEnv{Host: h, Env: e})
		}
		res := Compile(r, noon)
		if h1, h2 := of(res, "h1"), of(res, "h2"); h1 != tc.h1 || h2 != tc.h2 {
			t.Errorf("%v\n got %q and %q\nwant %q and %q", tc.envs, h1, h2, tc.h1, tc.h2)
		}
	}
	// A disabled binding is one in every environment.
	r.Envs = []portal.RuleEnv{{Host: "h1", Env: "prod"}}
	disable(r, onBinding(1, 2))
	if got := of(Compile(r, noon), "h1"); got != "100@1 101@1" {
		t.Errorf("with the binding disabled h1 has %q", got)
	}
}

// The book changes by itself where a disable begins and where it ends, and is again what
// it was.
func TestDisablesBeginAndEnd(t *testing.T) {
	r := world()
	bind(r, 1, 1)
	clean := Compile(r, noon).Book.Version()
	d := disable(r, onTemplate(1))
	d.Begin, d.End = noon.Unix()+60, noon.Unix()+660
	r.Disables = append(r.Disables, portal.RuleDisable{Type: portal.DisableHost, Host: 1, Begin: noon.Unix() - 100, End: noon.Unix()})

	var got []string
	for at := noon; len(got) < 10; {
		res := Compile(r, at)
		got = append(got, fmt.Sprintf("%v %q", at.Sub(noon), of(res, "h1")))
		if res.Next.IsZero() {
			if res.Book.Version() != clean {
				t.Error("after the end the book is another than before")
			}
			break
		}
		if before := Compile(r, res.Next.Add(-time.Second)); before.Book.Version() != res.Book.Version() {
			t.Errorf("the book changes before %v", res.Next.Sub(noon))
		}
		at = res.Next.In(noon.Location())
	}
	if want := []string{`0s "100@1 101@1"`, `1m0s ""`, `11m0s "100@1 101@1"`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExplainDisables(t *testing.T) {
	r := world()
	r.Envs = []portal.RuleEnv{{Host: "h2", Env: "prod"}}
	bind(r, 1, 1)
	bind(r, 2, 2)
	r.EnvTemplates = []portal.RuleEnvPair{{Group: 2, Template: 2, Env: "prod"}, {Group: 2, Template: 2, Env: "test"}}
	explain := func(id int) (HostRules, []string) {
		rules, ok := Compile(r, noon).Host(func(h portal.RuleHost) bool { return h.ID == id })
		if !ok {
			t.Fatal("no such host")
		}
		var out []string
		for _, s := range rules.Strategies {
			text := fmt.Sprintf("%d@%d in", s.Strategy.Id, s.Leaf.ID)
			for _, g := range s.Groups {
				text += " " + g.Name + "/" + g.Env
			}
			if s.Disabled != nil {
				text += fmt.Sprintf(" by %d until %d", s.Disabled.Type, s.Disabled.Until-noon.Unix())
			}
			out = append(out, text)
		}
		return rules, out
	}
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %s\nwant %s", what, strings.Join(got, "; "), strings.Join(want, "; "))
		}
	}
	rules, got := explain(2)
	check("nothing disabled", got, "101@2 in shop/ shop/prod", "102@2 in shop/ shop/prod", "103@2 in shop/ shop/prod")
	if rules.Host.Env != "prod" || rules.Host.Disabled != nil {
		t.Errorf("host %+v", rules.Host)
	}

	disable(r, portal.RuleDisable{Type: portal.DisableStrategy, Strategy: 102, End: noon.Unix() + 600})
	disable(r, portal.RuleDisable{Type: portal.DisableStrategyOnHost, Strategy: 102, Host: 2, End: noon.Unix() + 1800})
	disable(r, portal.RuleDisable{Type: portal.DisableStrategyOnHost, Strategy: 103, Host: 1})
	_, got = explain(2)
	check("the longest counts", got, "101@2 in shop/ shop/prod", "102@2 in shop/ shop/prod by 4 until 1800", "103@2 in shop/ shop/prod")

	disable(r, onBinding(2, 2))
	_, got = explain(2)
	check("a binding, and what is in force instead", got, "100@1 in all/", "101@1 in all/", "101@2 in shop/ shop/prod by 5 until 3600",
		"102@2 in shop/ shop/prod by 5 until 3600", "103@2 in shop/ shop/prod by 5 until 3600")

	disable(r, portal.RuleDisable{Type: portal.DisableHost, Host: 2, End: noon.Unix() + 9000, Reason: "disk", Operator: "ann"})
	rules, got = explain(2)
	if rules.Host.Disabled == nil || rules.Host.Maintain || len(got) != 5 || !strings.HasSuffix(got[0], "by 1 until 9000") {
		t.Errorf("a disabled host: %+v, %q", rules.Host, got)
	}
	b, err := json.Marshal(rules.Host)
	if want := fmt.Sprintf(`{"id":2,"hostname":"h2","env":"prod","maintain":false,"disabled":{"type":1,"until":%d,"id":5,"reason":"disk","operator":"ann"}}`, noon.Unix()+9000); err != nil || string(b) != want {
		t.Errorf("host\n got %s\nwant %s", b, want)
	}
}

func TestPagesLeaveDisabledOut(t *testing.T) {
	r := world()
	bind(r, 1, 2)
	add(r, 110, 2, "net.port.listen", "port=22", "0")
	disable(r, portal.RuleDisable{Type: portal.DisableStrategy, Strategy: 102})
	disable(r, portal.RuleDisable{Type: portal.DisableStrategyOnHost, Strategy: 103, Host: 1})
	disable(r, onTemplate(1))
	disable(r, onBinding(1, 2))
	disable(r, portal.RuleDisable{Type: portal.DisableHost, Host: 2})
	res := Compile(r, noon)
	var ids []int
	for id := range res.Strategies() {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if want := []int{103, 110}; !slices.Equal(ids, want) {
		t.Errorf("strategies %v, want %v", ids, want)
	}
	if hosts := res.Hosts(); len(hosts) != 2 || hosts[2].Name != "" {
		t.Errorf("hosts %v", hosts)
	}
	// Agents go on collecting: nothing is missing when the disable ends.
	if got := res.Builtin("h1").Metrics; len(got) != 1 {
		t.Errorf("on demand %v", got)
	}
}

func TestPreview(t *testing.T) {
	r := world()
	bind(r, 1, 1)
	bind(r, 2, 2)
	r.Strategies[1].Note = "root is full" // 101
	r.Expressions = []portal.RuleExpression{{ID: 5, Expression: "each(metric=q endpoint=h1)", Func: "all(#1)", Op: ">", RightValue: "1", Action: 7}}
	res := Compile(r, noon)
	for _, tc := range []struct {
		d    portal.RuleDisable
		want string
	}{
		{portal.RuleDisable{Type: portal.DisableHost, Host: 1}, "1 [h1]; 2 of [100@1x1 101@1x1]; instead []; 1"},
		{onTemplate(1), "2 [h1 h2]; 3 of [100@1x1 101@1x1 101@2x1]; instead []; 0"},
		{portal.RuleDisable{Type: portal.DisableStrategy, Strategy: 101}, "2 [h1 h2]; 2 of [101@1x1 101@2x1]; instead []; 0"},
		{portal.RuleDisable{Type: portal.DisableStrategyOnHost, Strategy: 101, Host: 2}, "1 [h2]; 1 of [101@2x1]; instead []; 0"},
		{onBinding(2, 2), "1 [h2]; 3 of [101@2x1 102@2x1 103@2x1]; instead [100@1x1 101@1x1]; 0"},
		{onBinding(2, 3), "0 []; 0 of []; instead []; 0"},
	} {
		list := func(all []Previewed) (out []string) {
			for _, p := range all {
				out = append(out, fmt.Sprintf("%d@%dx%d", p.ID, p.Template.ID, p.Hosts))
			}
			return out
		}
		p := res.Preview(tc.d, noon)
		if got := fmt.Sprintf("%d %v; %d of %v; instead %v; %d", p.HostCount, p.Hosts, p.Pairs, list(p.Strategies), list(p.Instead), p.Expressions); got != tc.want {
			t.Errorf("%v\n got %s\nwant %s", tc.d.Type, got, tc.want)
		}
	}
	if of(res, "h1") != "100@1 101@1" || len(r.Disables) != 0 {
		t.Error("a preview changed the rules")
	}
	// Lists are bounded, numbers are not.
	for i := range 150 {
		r.Hosts = append(r.Hosts, portal.RuleHost{ID: 100 + i, Name: fmt.Sprintf("n%03d", i)})
		r.GroupHosts = append(r.GroupHosts, portal.RulePair{Group: 1, Other: 100 + i})
	}
	if p := Compile(r, noon).Preview(onTemplate(1), noon); p.HostCount != 152 || len(p.Hosts) != 100 || p.Pairs != 303 || p.Strategies[0].Hosts != 151 {
		t.Errorf("of many hosts: %d, %d listed, %d pairs, %+v", p.HostCount, len(p.Hosts), p.Pairs, p.Strategies)
	}
}
