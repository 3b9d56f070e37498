package portal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTemplates(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		ids := map[string]int64{}
		create := func(name, parent string) int64 {
			t.Helper()
			ids[name] = must[int64](t)(db.CreateTemplate(ctx, Template{Name: name, ParentID: ids[parent], CreateUser: "ann"}))
			return ids[name]
		}
		create("base", "")
		create("linux", "base")
		create("db", "linux")
		for i := range MaxChain {
			create(fmt.Sprintf("c%d", i), map[bool]string{true: "", false: fmt.Sprintf("c%d", i-1)}[i == 0])
		}
		for _, tc := range []struct {
			id     string
			parent int64
			err    string
		}{
			{"db", ids["base"], "<nil>"},
			{"db", ids["linux"], "<nil>"},
			{"base", ids["base"], `template "base" can not inherit from itself`},
			{"base", ids["db"], `template "base" can not inherit from "db": that is a circle, "db" inherits from "linux" inherits from "base"`},
			{"db", 1 << 30, "there is no template with id 1073741824 to inherit from"},
			{"base", ids["c6"], `template "base" below "c6" would make a chain of 10 templates, at most 9 may inherit from each other`},
			{"db", ids["c8"], `template "db" below "c8" would make a chain of 10 templates, at most 9 may inherit from each other`},
			{"base", ids["c5"], "<nil>"},
			{"base", 0, "<nil>"},
		} {
			if err := db.UpdateTemplate(ctx, ids[tc.id], tc.id, tc.parent); fmt.Sprint(err) != tc.err {
				t.Errorf("%s below %d\n got %v\nwant %s", tc.id, tc.parent, err, tc.err)
			}
		}
		if _, err := db.CreateTemplate(ctx, Template{Name: "BASE"}); !errors.Is(err, ErrExists) {
			t.Errorf("a name that is taken: %v", err)
		}
		if _, err := db.CreateTemplate(ctx, Template{Name: "x", ActionID: 99}); fmt.Sprint(err) != "there is no action with id 99" {
			t.Errorf("an action that is not there: %v", err)
		}
		if err := db.UpdateTemplate(ctx, 1<<30, "y", 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("no such template: %v", err)
		}
		var names []string
		for _, c := range must[[]Template](t)(db.TemplateChain(ctx, ids["db"])) {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); got != "base linux db" {
			t.Errorf("chain %s", got)
		}
		execSQL(t, db.Portal, fmt.Sprintf("UPDATE tpl SET parent_id = %d WHERE id = %d", ids["db"], ids["base"]))
		if chain := must[[]Template](t)(db.TemplateChain(ctx, ids["db"])); len(chain) != 3 {
			t.Errorf("a circle has %d templates", len(chain))
		}
		execSQL(t, db.Portal, fmt.Sprintf("UPDATE tpl SET parent_id = 0 WHERE id = %d", ids["base"]))

		// The action of a template goes with it, one that is shared stays.
		one := must[int64](t)(db.SetTemplateAction(ctx, ids["linux"], Action{UIC: "ops", Callback: 1, Channels: "mail"}))
		two := must[int64](t)(db.SetTemplateAction(ctx, ids["linux"], Action{UIC: "ops,dba", URL: "http://x"}))
		if _, err := db.Action(ctx, one); !errors.Is(err, ErrNotFound) {
			t.Errorf("the action before: %v", err)
		}
		if err := db.UpdateAction(ctx, Action{ID: two, UIC: "dba", Callback: 2}); fmt.Sprint(err) != "callback is 2, write 1 for yes or 0 for no" {
			t.Errorf("callback 2: %v", err)
		}
		if err := db.UpdateAction(ctx, Action{ID: two, UIC: "dba"}); err != nil {
			t.Fatal(err)
		}
		shared := must[int64](t)(db.CreateTemplate(ctx, Template{Name: "shares", ActionID: two, CreateUser: "bob"}))
		if users := must[[]string](t)(db.ActionUsers(ctx, two)); len(users) != 2 {
			t.Errorf("users of the action: %v", users)
		}
		sid := must[int64](t)(db.CreateStrategy(ctx, Strategy{Metric: "cpu.idle", Func: "all(#3)", Op: "<", RightValue: "5", Template: ids["linux"]}))
		group := must[int64](t)(db.CreateGroup(ctx, "all", "ann"))
		if err := db.BindTemplate(ctx, Binding{group, ids["linux"], "ann"}); err != nil {
			t.Fatal(err)
		}
		if err := db.BindTemplate(ctx, Binding{group, ids["linux"], "bob"}); fmt.Sprint(err) != "this template is bound to this group already" {
			t.Errorf("bound twice: %v", err)
		}
		for _, b := range []Binding{{group, 1 << 30, ""}, {1 << 30, shared, ""}} {
			if err := db.BindTemplate(ctx, b); !errors.Is(err, ErrNotFound) {
				t.Errorf("BindTemplate(%+v): %v", b, err)
			}
		}
		if all := must[[]Template](t)(db.GroupTemplates(ctx, group)); len(all) != 1 || all[0].ActionID != two {
			t.Errorf("templates of the group: %+v", all)
		}
		if err := db.DeleteTemplate(ctx, ids["linux"]); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Action(ctx, two); err != nil {
			t.Errorf("the shared action: %v", err)
		}
		if _, err := db.Strategy(ctx, sid); !errors.Is(err, ErrNotFound) {
			t.Errorf("the strategy: %v", err)
		}
		if c := must[*Template](t)(db.Template(ctx, ids["db"])); c.ParentID != 0 {
			t.Errorf("the child inherits from %d", c.ParentID)
		}
		if n := count(t, db.Portal, "grp_tpl"); n != 0 {
			t.Errorf("%d bindings are left", n)
		}
		if err := db.DeleteTemplate(ctx, shared); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Action(ctx, two); !errors.Is(err, ErrNotFound) {
			t.Errorf("the action after its last user: %v", err)
		}
	})
}

// Two changes that are right one by one never make a circle together.
func TestNoCircleByTwoAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		a := must[int64](t)(db.CreateTemplate(t.Context(), Template{Name: "a"}))
		b := must[int64](t)(db.CreateTemplate(t.Context(), Template{Name: "b"}))
		var wg sync.WaitGroup
		errs := make([]error, 2)
		wg.Go(func() { errs[0] = db.UpdateTemplate(t.Context(), a, "a", b) })
		wg.Go(func() { errs[1] = db.UpdateTemplate(t.Context(), b, "b", a) })
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("both ways: %v", errs)
		}
	})
}

func TestExpressions(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		e := Expression{Expression: "each(metric=qps srv=a)", Func: "all(#1)", Op: ">", RightValue: "10", MaxStep: 3, CreateUser: "ann"}
		id, action, err := db.CreateExpression(ctx, e, Action{UIC: "ops"})
		if err != nil {
			t.Fatal(err)
		}
		e.ID, e.Pause, e.CreateUser = id, 1, "bob"
		if err := db.UpdateExpression(ctx, e, Action{UIC: "dba"}); err != nil {
			t.Fatal(err)
		}
		got := must[*Expression](t)(db.Expression(ctx, id))
		if got.Pause != 1 || got.CreateUser != "ann" || got.ActionID != action || must[Action](t)(db.Action(ctx, action)).UIC != "dba" {
			t.Errorf("changed to %+v", got)
		}
		// Another rule uses the same action: a change gives this one its own.
		must[int64](t)(db.CreateTemplate(ctx, Template{Name: "t", ActionID: action}))
		if err := db.UpdateExpression(ctx, e, Action{UIC: "net"}); err != nil {
			t.Fatal(err)
		}
		got = must[*Expression](t)(db.Expression(ctx, id))
		if got.ActionID == action || must[Action](t)(db.Action(ctx, action)).UIC != "dba" || must[Action](t)(db.Action(ctx, got.ActionID)).UIC != "net" {
			t.Errorf("a shared action was changed: %+v", got)
		}
		if err := db.DeleteExpression(ctx, id); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db.Portal, "action"); n != 1 {
			t.Errorf("%d actions are left, want the template's", n)
		}
		for _, err := range []error{db.DeleteExpression(ctx, id), db.UpdateExpression(ctx, e, Action{})} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("of an expression that is gone: %v", err)
			}
		}
		e.RightValue = strings.Repeat("1", 17)
		if _, _, err := db.CreateExpression(ctx, e, Action{}); fmt.Sprint(err) != "right_value is longer than 16 characters" {
			t.Errorf("too long: %v", err)
		}
	})
}

func TestStrategies(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		tpl := must[int64](t)(db.CreateTemplate(ctx, Template{Name: "t"}))
		s := Strategy{Metric: "df.bytes.free.percent", Tags: "mount=/", Func: "all(#1)", Op: "<", RightValue: "5", MaxStep: 0, Priority: 1, RunBegin: "08:00", RunEnd: "20:00", Template: tpl}
		s.ID = must[int64](t)(db.CreateStrategy(ctx, s))
		if got := must[*Strategy](t)(db.Strategy(ctx, s.ID)); *got != s {
			t.Errorf("stored %+v, want %+v", got, s)
		}
		s.Note, s.MaxStep = "disk", 3
		if err := db.UpdateStrategy(ctx, s); err != nil {
			t.Fatal(err)
		}
		if all := must[[]Strategy](t)(db.Strategies(ctx, tpl, 99)); len(all) != 1 || all[0] != s {
			t.Errorf("strategies %+v", all)
		}
		if _, err := db.CreateStrategy(ctx, Strategy{Template: 99}); !errors.Is(err, ErrNotFound) {
			t.Errorf("of no template: %v", err)
		}
		var invalid *InvalidError
		s.Note = strings.Repeat("x", 129)
		if err := db.UpdateStrategy(ctx, s); !errors.As(err, &invalid) || invalid.Field != "note" {
			t.Errorf("a long note: %v", err)
		}
		if err := db.DeleteStrategy(ctx, s.ID); err != nil {
			t.Fatal(err)
		}
		if err := db.DeleteStrategy(ctx, s.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
	})
}

// What was entered once never comes again.
func TestFirstRules(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		group := must[int64](t)(db.CreateGroup(ctx, "all", "root"))
		rules := &Rules{Template: Template{Name: "basics", CreateUser: "root"}, Action: Action{UIC: "ops"}, Groups: []int64{group},
			Strategies: []Strategy{{Metric: "a", Func: "all(#1)", Op: "<", RightValue: "5"}, {Metric: "b", Func: "all(#1)", Op: "<", RightValue: "5"}}}
		var wg sync.WaitGroup
		var made [3]bool
		for i := range made {
			wg.Go(func() { made[i] = must[bool](t)(db.FirstRules(ctx, "basics", time.Unix(1000, 0), rules)) })
		}
		wg.Wait()
		n := 0
		for _, m := range made {
			if m {
				n++
			}
		}
		if n != 1 || count(t, db.Portal, "strategy") != 2 || count(t, db.Portal, "grp_tpl") != 1 || !must[bool](t)(db.Marked(ctx, "basics")) {
			t.Errorf("made %v", made)
		}
		tpl := must[*Template](t)(db.TemplateByName(ctx, "basics"))
		if must[Action](t)(db.Action(ctx, tpl.ActionID)).UIC != "ops" {
			t.Errorf("template %+v", tpl)
		}
		if err := db.DeleteTemplate(ctx, tpl.ID); err != nil {
			t.Fatal(err)
		}
		if must[bool](t)(db.FirstRules(ctx, "basics", time.Unix(1000, 0), rules)) || count(t, db.Portal, "tpl") != 0 {
			t.Error("what was deleted came back")
		}
		if must[bool](t)(db.FirstRules(ctx, "other", time.Unix(1000, 0), nil)) || !must[bool](t)(db.Marked(ctx, "other")) {
			t.Error("a mark alone")
		}
	})
}
