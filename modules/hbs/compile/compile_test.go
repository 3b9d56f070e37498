package compile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.FixedZone("", 8*3600))

// world is a small portal: base (1) has the children web (2) and db (3), web has the
// child shop (4). Host 1 is in group 1, host 2 in groups 1 and 2.
func world() *portal.RuleRows {
	r := &portal.RuleRows{
		Hosts:  []portal.RuleHost{{ID: 1, Name: "h1"}, {ID: 2, Name: "h2"}, {ID: 3, Name: "h3"}},
		Groups: []portal.RuleGroup{{ID: 1, Name: "all"}, {ID: 2, Name: "shop"}},
		GroupHosts: []portal.RulePair{
			{Group: 1, Other: 1}, {Group: 1, Other: 2}, {Group: 2, Other: 2},
		},
		Templates: []portal.RuleTemplate{
			{ID: 1, Name: "base", Action: 11, Creator: "root"}, {ID: 2, Name: "web", Parent: 1, Action: 12, Creator: "root"},
			{ID: 3, Name: "db", Parent: 1, Action: 13, Creator: "root"}, {ID: 4, Name: "shop", Parent: 2, Action: 14, Creator: "root"},
		},
		Actions: []portal.RuleAction{{ID: 11, UIC: "ops"}, {ID: 12, UIC: "web"}, {ID: 14, UIC: "shop"}},
	}
	add(r, 100, 1, "cpu.idle", "", "5")
	add(r, 101, 1, "df.bytes.free.percent", "mount=/", "10")
	add(r, 102, 2, "cpu.idle", "", "3")
	add(r, 103, 2, "cpu.idle", "", "2")
	return r
}

func add(r *portal.RuleRows, id, tpl int, metric, tags, right string) *portal.RuleStrategy {
	r.Strategies = append(r.Strategies, portal.RuleStrategy{
		ID: id, Template: tpl, Metric: metric, Tags: tags, Func: "all(#3)", Op: "<", RightValue: right, MaxStep: 3, Priority: 1,
	})
	return &r.Strategies[len(r.Strategies)-1]
}

func bind(r *portal.RuleRows, group, tpl int) {
	r.GroupTemplates = append(r.GroupTemplates, portal.RulePair{Group: group, Other: tpl})
}

// of lists the strategies of a host as "id@leaf".
func of(res *Result, host string) string {
	var out []string
	for _, s := range res.Book.Of(host) {
		out = append(out, fmt.Sprintf("%d@%d", s.Id, s.Tpl.Id))
	}
	return strings.Join(out, " ")
}

func TestInheritance(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*portal.RuleRows)
		h1, h2 string
	}{
		{"nothing bound", func(*portal.RuleRows) {}, "", ""},
		{"a template alone", func(r *portal.RuleRows) { bind(r, 1, 1) }, "100@1 101@1", "100@1 101@1"},
		{"a child replaces what watches the same, all of it", func(r *portal.RuleRows) { bind(r, 1, 2) }, "101@2 102@2 103@2", "101@2 102@2 103@2"},
		{"an ancestor that is bound as well is contained", func(r *portal.RuleRows) { bind(r, 1, 1); bind(r, 1, 2) }, "101@2 102@2 103@2", "101@2 102@2 103@2"},
		{"through another group, and bound twice", func(r *portal.RuleRows) { bind(r, 1, 1); bind(r, 2, 1); bind(r, 2, 4) }, "100@1 101@1", "101@4 102@4 103@4"},
		{"two children tell their own people", func(r *portal.RuleRows) { bind(r, 1, 2); bind(r, 1, 3) },
			"100@3 101@2 101@3 102@2 103@2", "100@3 101@2 101@3 102@2 103@2"},
		{"two children with one action tell once, the lower one", func(r *portal.RuleRows) {
			r.Templates[2].Action = 12
			bind(r, 1, 3)
			bind(r, 1, 2)
		}, "100@3 101@2 102@2 103@2", "100@3 101@2 102@2 103@2"},
		{"another tag is another thing", func(r *portal.RuleRows) {
			add(r, 104, 2, "df.bytes.free.percent", "mount=/home", "1")
			bind(r, 1, 2)
		}, "101@2 102@2 103@2 104@2", "101@2 102@2 103@2 104@2"},
		{"spaces and order of tags do not matter", func(r *portal.RuleRows) {
			r.Strategies[1].Tags = "mount=/, fstype=ext4"
			add(r, 104, 2, "df.bytes.free.percent", "fstype=ext4,mount=/", "1")
			bind(r, 1, 2)
		}, "102@2 103@2 104@2", "102@2 103@2 104@2"},
		{"outside its hours a child leaves the parent in force", func(r *portal.RuleRows) {
			for i := range r.Strategies {
				if r.Strategies[i].Template == 2 {
					r.Strategies[i].RunBegin, r.Strategies[i].RunEnd = "20:00", "08:00"
				}
			}
			bind(r, 1, 2)
		}, "100@2 101@2", "100@2 101@2"},
		{"a parent that does not exist ends the chain", func(r *portal.RuleRows) { r.Templates[1].Parent = 99; bind(r, 1, 2) }, "102@2 103@2", "102@2 103@2"},
		{"a cycle is set aside, its neighbours are not", func(r *portal.RuleRows) {
			r.Templates[1].Parent, r.Templates[3].Parent = 4, 2
			bind(r, 1, 2)
			bind(r, 1, 3)
		}, "100@3 101@3", "100@3 101@3"},
		{"a host in maintenance", func(r *portal.RuleRows) {
			bind(r, 1, 1)
			r.Hosts[0].MaintainBegin, r.Hosts[0].MaintainEnd = noon.Unix()-10, noon.Unix()
		}, "", "100@1 101@1"},
		{"maintenance that is over", func(r *portal.RuleRows) {
			bind(r, 1, 1)
			r.Hosts[0].MaintainBegin, r.Hosts[0].MaintainEnd = noon.Unix()-10, noon.Unix()-1
		}, "100@1 101@1", "100@1 101@1"},
		{"bad rows beside good ones", func(r *portal.RuleRows) {
			add(r, 104, 1, "a", "", "five")
			add(r, 105, 99, "a", "", "5")
			add(r, 106, 1, "", "", "5")
			add(r, 107, 1, "a", "", "5").Func = "#3)"
			bind(r, 1, 1)
		}, "100@1 101@1", "100@1 101@1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := world()
			tc.change(r)
			res := Compile(r, noon)
			if got := of(res, "h1"); got != tc.h1 {
				t.Errorf("h1 has %q, want %q", got, tc.h1)
			}
			if got := of(res, "h2"); got != tc.h2 {
				t.Errorf("h2 has %q, want %q", got, tc.h2)
			}
			if got := of(res, "h3"); got != "" {
				t.Errorf("h3, which is in no group, has %q", got)
			}
		})
	}
}

func TestBadRowsAreNamed(t *testing.T) {
	r := world()
	add(r, 104, 1, "a", "", "five")
	add(r, 105, 99, "a", "", "5")
	add(r, 106, 1, "", "", "5")
	add(r, 107, 1, "a", "", "5").Func = "some(#3)"
	r.Templates[1].Parent, r.Templates[3].Parent = 4, 2
	for i, text := range []string{"each(metric=a srv=x", "no parentheses", "each(srv=x)", "each(metric=a)", "each(metric=a ^srv=x)", "each(metric=a srv)"} {
		r.Expressions = append(r.Expressions, portal.RuleExpression{ID: i + 1, Expression: text, Func: "all(#1)", Op: ">", RightValue: "1", Action: 1})
	}
	res := Compile(r, noon)
	var got []string
	for _, b := range res.Bad {
		got = append(got, fmt.Sprint(b.What, " ", b.ID))
	}
	slices.Sort(got)
	want := []string{"expression 1", "expression 2", "expression 3", "expression 4", "expression 5", "expression 6",
		"strategy 104", "strategy 105", "strategy 106", "strategy 107", "template 2", "template 4"}
	if !slices.Equal(got, want) {
		t.Errorf("set aside %q, want %q", got, want)
	}
	for _, b := range res.Bad {
		if len(b.Reason) < 15 {
			t.Errorf("%v is no reason", b)
		}
	}
}

func TestDeepChain(t *testing.T) {
	r := &portal.RuleRows{Hosts: []portal.RuleHost{{ID: 1, Name: "h1"}}, GroupHosts: []portal.RulePair{{Group: 1, Other: 1}}}
	for i := 1; i <= 10; i++ {
		r.Templates = append(r.Templates, portal.RuleTemplate{ID: i, Name: fmt.Sprint(i), Parent: i - 1, Action: 1})
		add(r, i, i, fmt.Sprint("m", i), "", "1")
	}
	bind(r, 1, 9)
	if got := len(Compile(r, noon).Book.Of("h1")); got != 9 {
		t.Errorf("nine templates deep: %d strategies, want 9", got)
	}
	r.GroupTemplates[0].Other = 10
	if got := len(Compile(r, noon).Book.Of("h1")); got != 0 {
		t.Errorf("ten templates deep: %d strategies, want none, as in stock", got)
	}
}

func TestHours(t *testing.T) {
	for _, tc := range []struct {
		begin, end, at string
		in             bool
		next           string // of the same or the next day
	}{
		{"", "", "12:00", true, ""},
		{"08:00", "20:00", "12:00", true, "20:01"},
		{"08:00", "20:00", "20:00", true, "20:01"},
		{"08:00", "20:00", "20:01", false, "00:00"},
		{"20:00", "08:00", "12:00", false, "20:00"},
		{"20:00", "08:00", "23:59", true, "00:00"},
		{"20:00", "08:00", "03:00", true, "08:01"},
		{"20:00", "", "21:00", true, "00:00"},
		{"20:00", "", "12:00", false, "20:00"},
		{"", "08:00", "07:00", true, "08:01"},
		{"", "08:00", "12:00", false, "00:00"},
		{"18:00", "24:00", "23:59", true, "00:00"},
	} {
		at, err := time.ParseInLocation("2006-01-02 15:04", "2026-03-04 "+tc.at, noon.Location())
		if err != nil {
			t.Fatal(err)
		}
		h := hours{tc.begin, tc.end}
		if got := h.contain(at); got != tc.in {
			t.Errorf("%s to %s at %s: %v, want %v", tc.begin, tc.end, tc.at, got, tc.in)
		}
		next := ""
		if n := h.next(at); !n.IsZero() {
			next = n.Format("15:04")
		}
		if next != tc.next {
			t.Errorf("%s to %s at %s: changes at %q, want %q", tc.begin, tc.end, tc.at, next, tc.next)
		}
	}
}

// The book says what is paused and what is disabled, so that nothing of it is taken
// for deleted; and when it changes by itself.
func TestPausedAndNext(t *testing.T) {
	r := world()
	bind(r, 1, 1)
	r.Strategies[0].RunBegin, r.Strategies[0].RunEnd = "13:00", "14:00"
	r.Hosts[1].MaintainBegin, r.Hosts[1].MaintainEnd = noon.Unix(), noon.Unix()+600
	res := Compile(r, noon)
	if !slices.Equal(res.Book.Paused, []int{100}) || !slices.Equal(res.Book.Disabled, []string{"h2"}) {
		t.Errorf("paused %v, disabled %v", res.Book.Paused, res.Book.Disabled)
	}
	if want := time.Unix(noon.Unix()+601, 0); !res.Next.Equal(want) {
		t.Errorf("next change %v, want %v", res.Next, want)
	}
}

func TestTags(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                          {},
		"a=1,b=2":                   {"a": "1", "b": "2"},
		" a = 1 ,junk,b=x=y":        {"a": "1", "b": "x=y"},
		"a=1,a=2":                   {"a": "2"},
		"^mount=/a,^mount=/b,k=v":   {"^mount": "/a,/b", "k": "v"},
		"^mount=/dev/shm,mount=/da": {"^mount": "/dev/shm", "mount": "/da"},
	} {
		if got := model.RuleTags(text); !maps.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestExpression(t *testing.T) {
	r := &portal.RuleRows{Expressions: []portal.RuleExpression{{
		ID: 5, Expression: "each(metric=qps  srv=falcon ^idc=bj ^idc=sh)", Func: "avg(#3)", Op: ">=", RightValue: "1e3", MaxStep: 2, Priority: 4, Note: "n", Action: 7,
	}}}
	got := Compile(r, noon).Book.Expressions
	if len(got) != 1 || got[0].Metric != "qps" || got[0].RightValue != 1000 || got[0].ActionId != 7 ||
		!maps.Equal(got[0].Tags, map[string]string{"srv": "falcon", "^idc": "bj,sh"}) {
		t.Errorf("got %+v", got[0])
	}
}

func TestExplain(t *testing.T) {
	r := world()
	bind(r, 1, 2)
	bind(r, 2, 2)
	r.Strategies[3].RunBegin, r.Strategies[3].RunEnd = "20:00", "21:00" // 103
	res := Compile(r, noon)
	rules, ok := res.Host(func(h portal.RuleHost) bool { return h.ID == 2 })
	if !ok {
		t.Fatal("host 2 is not known")
	}
	var got []string
	for _, s := range rules.Strategies {
		got = append(got, fmt.Sprint(s.Strategy.Id, " of ", s.Owner.Name, " through ", s.Leaf.Name, " to ", s.Action.UIC, " in ", s.Groups, " now ", s.InWindow, " over ", s.Overridden))
	}
	want := []string{
		"101 of base through web to web in [{{1 all} } {{2 shop} }] now true over []",
		"102 of web through web to web in [{{1 all} } {{2 shop} }] now true over [{100 1}]",
		"103 of web through web to web in [{{1 all} } {{2 shop} }] now false over [{100 1}]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, ok := res.Host(func(h portal.RuleHost) bool { return h.Name == "nobody" }); ok {
		t.Error("nobody has rules")
	}
}

func TestBuiltinAndPlugins(t *testing.T) {
	r := world()
	bind(r, 1, 2)
	add(r, 110, 1, "net.port.listen", "port=22", "0")
	add(r, 111, 2, "net.port.listen", "port=22", "1") // replaces it, and asks for the same
	add(r, 112, 2, "proc.num", "name=cron,^user=root", "1")
	add(r, 113, 4, "du.bs", "path=/tmp", "1")
	add(r, 114, 2, "url.check.health", "", "1") // names nothing to look at
	add(r, 115, 1, "proc.coredump", "name=nginx", "0")
	r.Plugins = []portal.RulePlugin{{Group: 1, Dir: "sys/b"}, {Group: 1, Dir: "sys/a"}, {Group: 2, Dir: "sys/a"}}
	r.Services = []portal.RuleService{{Group: 1, Name: "nginx"}, {Group: 1, Name: "crond"}, {Group: 2, Name: "crond"}}
	res := Compile(r, noon)
	var got []string
	for _, m := range res.Builtin("h2").Metrics {
		got = append(got, m.Metric+" "+m.Tags)
	}
	if want := []string{"net.port.listen port=22", "proc.coredump name=nginx", "proc.num name=cron"}; !slices.Equal(got, want) {
		t.Errorf("on demand %q, want %q", got, want)
	}
	if got := res.Plugins("h2"); !slices.Equal(got, []string{"sys/a", "sys/b"}) {
		t.Errorf("plugins %q", got)
	}
	if got := res.Services("h2"); !slices.Equal(got, []string{"crond", "nginx"}) {
		t.Errorf("services %q", got)
	}
	if b := res.Builtin("nobody"); res.Services("nobody") != nil || len(b.Metrics) != 0 || b.Checksum != "" || res.Plugins("nobody") != nil {
		t.Error("an unknown host has something to do")
	}
}

// The checksum of contract ingest 3.8, whatever the order; hosts of other templates have
// another, and those of the same the same answer.
func TestBuiltinChecksum(t *testing.T) {
	r := world()
	bind(r, 1, 1)
	bind(r, 2, 2)
	add(r, 110, 2, "proc.num", "name=crond", "1")
	add(r, 111, 1, "net.port.listen", "port=80", "0")
	res := Compile(r, noon)
	if got := res.Builtin("h2").Checksum; got != "8f5860fd36c12dcc4ef26b2dae562436" {
		t.Errorf("checksum %s", got)
	}
	r.GroupHosts = append(r.GroupHosts, portal.RulePair{Group: 1, Other: 3})
	res = Compile(r, noon)
	if b := res.Builtin("h1"); len(b.Metrics) != 1 || b.Checksum == "" || b.Checksum == res.Builtin("h2").Checksum || b != res.Builtin("h3") {
		t.Errorf("h1 collects %+v, h2 %+v, h3 %+v", b, res.Builtin("h2"), res.Builtin("h3"))
	}
	if first, again := res.Builtin("h2"), res.Builtin("h2"); first != again {
		t.Error("it is made again each time")
	}
	r.GroupTemplates = nil
	if b := Compile(r, noon).Builtin("h2"); b.Checksum != "" {
		t.Errorf("without templates: %+v", b)
	}
}

// Equal rows make equal versions, in whatever order the work is done.
func TestStable(t *testing.T) {
	r := world()
	bind(r, 1, 2)
	bind(r, 2, 3)
	first := Compile(r, noon)
	for range 20 {
		if again := Compile(r, noon); again.Book.Version() != first.Book.Version() || !reflect.DeepEqual(again.Book, first.Book) {
			t.Fatal("the same rows made another book")
		}
	}
}
