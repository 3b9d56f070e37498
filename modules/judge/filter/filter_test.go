package filter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/common/rulebook"
)

func strategy(id, leaf, action int, metric string, tags map[string]string) *model.Strategy {
	return &model.Strategy{
		Id: id, Metric: metric, Tags: tags, Func: "all(#3)", Operator: ">", RightValue: 5, MaxStep: 3, Priority: 1,
		Tpl: &model.Template{Id: leaf, ActionId: action},
	}
}

type tags = map[string]string

func book(change func(*rulebook.Book)) *rulebook.Book {
	b := rulebook.New()
	root := strategy(1, 7, 9, "df.bytes.free.percent", tags{"mount": "/"})
	notShm := strategy(2, 7, 9, "df.bytes.free.percent", tags{"^mount": "/dev/shm,/run"})
	idle7, idle8 := strategy(3, 7, 9, "cpu.idle", tags{}), strategy(3, 8, 10, "cpu.idle", tags{})
	b.Add("h1", []*model.Strategy{root, notShm, idle7, idle8})
	b.Add("h2", []*model.Strategy{idle7})
	b.Add("down", []*model.Strategy{idle7})
	b.Expressions = []*model.Expression{
		{Id: 4, Metric: "qps", Tags: tags{"srv": "falcon"}, Func: "avg(#2)", Operator: ">=", ActionId: 11},
		{Id: 5, Metric: "cpu.idle", Tags: tags{"endpoint": "h2"}, Func: "all(#1)", Operator: "<", ActionId: 11},
	}
	if change != nil {
		change(b)
	}
	return b
}

func keys(rules []*Rule) string {
	var out []string
	for _, r := range rules {
		out = append(out, r.Key)
	}
	return strings.Join(out, " ")
}

func TestRules(t *testing.T) {
	ix := New(book(func(b *rulebook.Book) { b.Disabled = []string{"down"} }))
	for _, tc := range []struct {
		endpoint, metric string
		tags             tags
		want             string
	}{
		{"h1", "df.bytes.free.percent", tags{"mount": "/", "fstype": "ext4"}, "s1|9 s2|9"},
		{"h1", "df.bytes.free.percent", tags{"mount": "/run"}, ""},
		{"h1", "df.bytes.free.percent", tags{"mount": "/home"}, "s2|9"},
		{"h1", "df.bytes.free.percent", nil, "s2|9"},
		{"h1", "cpu.idle", nil, "s3|9 s3|10"},
		{"h2", "cpu.idle", nil, "s3|9 e5|11"},
		{"h2", "df.bytes.free.percent", tags{"mount": "/"}, ""},
		{"nobody", "cpu.idle", nil, ""},
		{"nobody", "qps", tags{"srv": "falcon"}, "e4|11"},
		{"down", "cpu.idle", nil, ""},
		{"down", "qps", tags{"srv": "falcon"}, ""},
		{"h1", "mem.memfree", nil, ""},
	} {
		got := keys(ix.Rules(nil, tc.endpoint, tc.metric, tc.tags))
		if got != tc.want || ix.Watched(tc.endpoint, tc.metric, tc.tags) != (tc.want != "") {
			t.Errorf("%s/%s/%v: %q, want %q", tc.endpoint, tc.metric, tc.tags, got, tc.want)
		}
	}
}

// A rule that nobody can read is named; those beside it are in force.
func TestBad(t *testing.T) {
	ix := New(book(func(b *rulebook.Book) {
		b.Strategies[rulebook.Key{Strategy: 3, Leaf: 7}].Func = "a#"
		b.Expressions[0].Operator = "!"
	}))
	if len(ix.Bad) != 2 || ix.Bad[0].ID != 3 || ix.Bad[1].What != "expression" {
		t.Errorf("bad %+v", ix.Bad)
	}
	if got := keys(ix.Rules(nil, "h1", "cpu.idle", nil)); got != "s3|10" {
		t.Errorf("beside the bad one: %q", got)
	}
}

func TestResting(t *testing.T) {
	ix := New(book(func(b *rulebook.Book) { b.Disabled, b.Paused = []string{"down"}, []int{8} }))
	rule := func(strategy int) *Rule { return &Rule{Strategy: &model.Strategy{}, id: strategy} }
	for _, tc := range []struct {
		endpoint string
		rule     *Rule
		want     bool
	}{
		{"down", rule(99), true}, {"h1", rule(8), true}, {"h1", rule(99), false},
		{"h1", &Rule{Expression: &model.Expression{}, id: 8}, false}, // another thing of that number
	} {
		if got := ix.Resting(tc.endpoint, tc.rule); got != tc.want {
			t.Errorf("%s, %+v: %v", tc.endpoint, tc.rule, got)
		}
	}
	if !ix.Knows("h1") || !ix.Knows("down") || ix.Knows("nobody") {
		t.Error("hosts are not known as the book has them")
	}
}

func TestChanged(t *testing.T) {
	from := New(book(nil))
	for _, tc := range []struct {
		name    string
		change  func(*rulebook.Book)
		metrics string
		all     bool
	}{
		{"nothing", nil, "", false},
		{"a threshold concerns no decision", func(b *rulebook.Book) { b.Strategies[rulebook.Key{Strategy: 1, Leaf: 7}].RightValue = 6 }, "", false},
		{"tags of a strategy", func(b *rulebook.Book) { b.Strategies[rulebook.Key{Strategy: 1, Leaf: 7}].Tags = tags{} }, "df.bytes.free.percent", false},
		{"the metric of a strategy", func(b *rulebook.Book) { b.Strategies[rulebook.Key{Strategy: 1, Leaf: 7}].Metric = "new" }, "df.bytes.free.percent new", false},
		{"an expression goes", func(b *rulebook.Book) { b.Expressions = b.Expressions[:1] }, "cpu.idle", false},
		{"an expression comes", func(b *rulebook.Book) {
			b.Expressions = append(b.Expressions, &model.Expression{Id: 6, Metric: "x", Tags: tags{"a": "b"}, Func: "all(#1)", Operator: ">"})
		}, "x", false},
		{"a host gets other rules", func(b *rulebook.Book) { b.Hosts["h2"] = b.Hosts["h1"] }, "cpu.idle df.bytes.free.percent", false},
		{"a host goes", func(b *rulebook.Book) { delete(b.Hosts, "h2") }, "cpu.idle", false},
		{"a template gets one more", func(b *rulebook.Book) {
			b.Add("h1", append(b.Of("h1"), strategy(9, 7, 9, "net.if.in", tags{})))
		}, "net.if.in", false},
		{"maintenance", func(b *rulebook.Book) { b.Disabled = []string{"h1"} }, "", true},
	} {
		metrics, all := Changed(from, New(book(tc.change)))
		if got := strings.Join(metrics, " "); got != tc.metrics || all != tc.all {
			t.Errorf("%s: %q %v, want %q %v", tc.name, got, all, tc.metrics, tc.all)
		}
	}
}

func TestDecisionAllocatesNothing(t *testing.T) {
	ix := New(book(nil))
	of := tags{"mount": "/", "fstype": "ext4"}
	buf := make([]*Rule, 0, 8)
	if n := testing.AllocsPerRun(100, func() { buf = ix.Rules(buf[:0], "h1", "df.bytes.free.percent", of) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !slices.ContainsFunc(buf, func(r *Rule) bool { return r.EventID("x") == "s_1_x" }) {
		t.Errorf("rules %q", keys(buf))
	}
}

// What must not be judged is set aside, with the reason.
func TestRulesThatAreSetAside(t *testing.T) {
	strategy := func(change func(*model.Strategy)) *rulebook.Book {
		s := &model.Strategy{Id: 1, Metric: "cpu.idle", Tags: map[string]string{}, Func: "all(#1)", Operator: "<", RightValue: 5, Tpl: &model.Template{Id: 7}}
		change(s)
		b := rulebook.New()
		b.Add("h1", []*model.Strategy{s})
		return b
	}
	expression := func(tags map[string]string) *rulebook.Book {
		b := rulebook.New()
		b.Expressions = []*model.Expression{{Id: 1, Metric: "cpu.idle", Tags: tags, Func: "all(#1)", Operator: "<", RightValue: 5}}
		return b
	}
	for _, tc := range []struct {
		why  string
		book *rulebook.Book
	}{
		{"several conditions", strategy(func(s *model.Strategy) { s.UnionStrategyId = 5 })},
		{"several conditions", strategy(func(s *model.Strategy) { s.MultiSerial = "1,2" })},
		{"is no number", strategy(func(s *model.Strategy) { s.RightValue = math.Inf(1) })},
		{"is no number", strategy(func(s *model.Strategy) { s.RightValue = math.NaN() })},
		{"would watch everything", expression(map[string]string{})},
		{"would watch everything", expression(map[string]string{"^a": "b"})},
	} {
		ix := New(tc.book)
		if ix.Watched("h1", "cpu.idle", map[string]string{"a": "c"}) || len(ix.Bad) != 1 || !strings.Contains(ix.Bad[0].Reason, tc.why) {
			t.Errorf("%s: set aside %+v", tc.why, ix.Bad)
		}
	}
}

// Whatever two books are, Changed names every metric on which they see a series
// differently.
func TestChangedForgetsNothing(t *testing.T) {
	random := func(r *rand.Rand) *rulebook.Book {
		b := rulebook.New()
		var all []*model.Strategy
		for i := range 4 {
			s := &model.Strategy{
				Id: i, Metric: fmt.Sprint("m", r.IntN(2)), Tags: map[string]string{}, Func: []string{"all(#1)", "bad"}[r.IntN(6)/5], Operator: "<",
				Tpl: &model.Template{Id: r.IntN(2), ActionId: 1},
			}
			switch r.IntN(4) {
			case 0:
				s.Tags["a"] = "x"
			case 1:
				s.Tags["^a"] = "x"
			}
			if r.IntN(8) == 0 {
				s.ValueType, s.Operator = "string", "=="
			}
			all = append(all, s)
		}
		for h := range 2 {
			b.Add(fmt.Sprint("h", h), slices.DeleteFunc(slices.Clone(all), func(*model.Strategy) bool { return r.IntN(4) == 0 }))
		}
		for i := range r.IntN(3) {
			b.Expressions = append(b.Expressions, &model.Expression{
				Id: i, Metric: fmt.Sprint("m", r.IntN(2)), Tags: map[string]string{"a": fmt.Sprint("x", r.IntN(2))}, Func: "all(#1)", Operator: "<",
			})
		}
		if r.IntN(4) == 0 {
			b.Disabled = []string{fmt.Sprint("h", r.IntN(2))}
		}
		return b
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		x, y := New(random(r)), New(random(r))
		metrics, all := Changed(x, y)
		for _, host := range []string{"h0", "h1", "h2"} {
			for _, metric := range []string{"m0", "m1"} {
				for _, tags := range []map[string]string{nil, {"a": "x"}, {"a": "y"}, {"a": "x1"}} {
					if x.Watched(host, metric, tags) != y.Watched(host, metric, tags) && !all && !slices.Contains(metrics, metric) {
						t.Fatalf("%s %s %v: watched %v, then %v; Changed says %v", host, metric, tags, x.Watched(host, metric, tags), y.Watched(host, metric, tags), metrics)
					}
					if x.WatchedText(host, metric, tags) != y.WatchedText(host, metric, tags) && !all && !slices.Contains(metrics, metric) {
						t.Fatalf("texts of %s %s %v: watched %v, then %v; Changed says %v", host, metric, tags, x.WatchedText(host, metric, tags), y.WatchedText(host, metric, tags), metrics)
					}
				}
			}
		}
	}
}
