package portal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const dt0 = int64(1_795_319_760)

func TestDisables(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		runSQL(t, db,
			"INSERT INTO host (id, hostname) VALUES (1, 'h1')",
			"INSERT INTO grp (id, grp_name) VALUES (3, 'all')",
			"INSERT INTO tpl (id, tpl_name) VALUES (4, 'base')",
			"INSERT INTO strategy (id, metric, right_value, note, tpl_id) VALUES (5, 'cpu.idle', '1', 'busy', 4)")
		create := func(d Disable) int64 {
			d.Begin, d.End, d.Duration, d.Operator = dt0+d.Begin, dt0+d.End, "10m", "ann"
			return must[int64](t)(db.CreateDisable(ctx, d))
		}
		host := create(Disable{Type: DisableHost, Host: 1, End: 600, Reason: "磁盘"})
		create(Disable{Type: DisableTemplate, Template: 4, End: 700})
		create(Disable{Type: DisableStrategy, Strategy: 5, End: 800})
		create(Disable{Type: DisableStrategyOnHost, Host: 1, Strategy: 5, Begin: 100, End: 900})
		create(Disable{Type: DisableBinding, Group: 3, Template: 4, End: 1000})

		list := func(f DisableFilter) string {
			page, total, err := db.Disables(ctx, f, 10, 0)
			if err != nil || total != len(page) {
				t.Fatalf("%+v: %d of %d, %v", f, len(page), total, err)
			}
			var out []string
			for _, d := range page {
				out = append(out, fmt.Sprintf("%d %s/%s/%s/%s", d.Type, d.Hostname, d.TemplateName, d.Metric, d.GroupName))
			}
			return strings.Join(out, ", ")
		}
		for _, tc := range []struct {
			f    DisableFilter
			want string
		}{
			{DisableFilter{}, "5 /base//all, 4 h1/base/cpu.idle/, 3 /base/cpu.idle/, 2 /base//, 1 h1///"},
			{DisableFilter{ActiveAt: dt0}, "5 /base//all, 3 /base/cpu.idle/, 2 /base//, 1 h1///"},
			{DisableFilter{ActiveAt: dt0 + 600}, "5 /base//all, 4 h1/base/cpu.idle/, 3 /base/cpu.idle/, 2 /base//"},
			{DisableFilter{Host: 1}, "4 h1/base/cpu.idle/, 1 h1///"},
			{DisableFilter{Template: 4}, "5 /base//all, 4 h1/base/cpu.idle/, 3 /base/cpu.idle/, 2 /base//"},
			{DisableFilter{Group: 3}, "5 /base//all"},
			{DisableFilter{Type: DisableStrategy}, "3 /base/cpu.idle/"},
		} {
			if got := list(tc.f); got != tc.want {
				t.Errorf("%+v\n got %s\nwant %s", tc.f, got, tc.want)
			}
		}

		d := must[*NamedDisable](t)(db.Disable(ctx, host))
		if d.Reason != "磁盘" || d.Operator != "ann" || d.Begin != dt0 || !d.Active(dt0) || d.Active(dt0-1) || d.Active(dt0+600) {
			t.Errorf("read back %+v", d)
		}
		if err := db.CancelDisable(ctx, host, "bob", dt0+60); err != nil {
			t.Fatal(err)
		}
		d = must[*NamedDisable](t)(db.Disable(ctx, host))
		if d.CancelTS != dt0+60 || d.CancelUser != "bob" || d.Active(dt0+60) {
			t.Errorf("ended %+v", d)
		}
		for id, at := range map[int64]int64{host: dt0 + 70, host + 1: dt0 + 700} {
			var invalid *InvalidError
			if err := db.CancelDisable(ctx, id, "bob", at); !errors.As(err, &invalid) {
				t.Errorf("ending %d, which is over: %v", id, err)
			}
		}
		if err := db.CancelDisable(ctx, 999, "bob", dt0); !errors.Is(err, ErrNotFound) {
			t.Errorf("ending none: %v", err)
		}
		if _, err := db.Disable(ctx, 999); !errors.Is(err, ErrNotFound) {
			t.Errorf("reading none: %v", err)
		}
		for _, bad := range []Disable{
			{Type: 6, Begin: dt0, End: dt0 + 1}, {Begin: dt0, End: dt0 + 1}, {Type: 1, Begin: dt0, End: dt0},
			{Type: 1, Begin: dt0, End: dt0 + 14*86400 + 1}, {Type: 1, Begin: dt0, End: dt0 + 1, Reason: strings.Repeat("x", 256)},
		} {
			var invalid *InvalidError
			if _, err := db.CreateDisable(ctx, bad); !errors.As(err, &invalid) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

func TestParseDisableDuration(t *testing.T) {
	for _, d := range DisableDurations {
		if got, err := ParseDisableDuration(d.Name); err != nil || got != d.For {
			t.Errorf("%s: %v, %v", d.Name, got, err)
		}
	}
	for _, text := range []string{"", "2h", "20m", "4w", "10M", "forever", "0"} {
		if _, err := ParseDisableDuration(text); err == nil || !strings.Contains(err.Error(), "10m 30m 1h 3h 6h 1d 3d 1w 2w") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What is silent is spelled out: the hosts, the strategies that a template owns, and of a
// group those hosts that have the template through no other binding.
func TestSilences(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		runSQL(t, db,
			"INSERT INTO host (id, hostname) VALUES (1, 'h1'), (2, 'h2'), (3, 'h3'), (4, 'h4')",
			"INSERT INTO grp (id, grp_name) VALUES (1, 'a'), (2, 'b'), (3, 'c')",
			"INSERT INTO grp_host (grp_id, host_id) VALUES (1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (3, 3), (3, 4)",
			"INSERT INTO grp_tpl (grp_id, tpl_id) VALUES (1, 7), (2, 7)",
			"INSERT INTO grp_tpl_env (grp_id, tpl_id, env) VALUES (3, 7, 'prod')",
			"INSERT INTO host_env (hostname, env) VALUES ('h3', 'prod'), ('h4', 'test')",
			"INSERT INTO strategy (id, metric, right_value, tpl_id) VALUES (5, 'm', '1', 7), (6, 'm', '1', 8), (8, 'm', '1', 7)")
		row := func(id int, columns string) string {
			return fmt.Sprintf("INSERT INTO alarm_disable (id, type, host_id, tpl_id, strategy_id, grp_id, begin_ts, end_ts, duration) VALUES (%d, %s, '10m')", id, columns)
		}
		at := fmt.Sprintf("%d, %d", dt0, dt0+600)
		runSQL(t, db, row(1, "1, 1, 0, 0, 0, "+at), row(2, "2, 0, 7, 0, 0, "+at), row(3, "3, 0, 0, 6, 0, "+at), row(4, "4, 2, 0, 6, 0, "+at), row(5, "5, 0, 7, 0, 1, "+at),
			row(6, fmt.Sprintf("1, 1, 0, 0, 0, %d, %d", dt0-600, dt0)), row(7, fmt.Sprintf("3, 0, 0, 5, 0, %d, %d", dt0+5, dt0+600)), row(8, "1, 2, 0, 0, 0, "+at),
			row(9, "9, 2, 0, 0, 0, "+at), "UPDATE alarm_disable SET cancel_ts = 1 WHERE id = 8")
		read := func() []string {
			var out []string
			for _, s := range must[[]Silence](t)(db.Silences(t.Context(), time.Unix(dt0, 0))) {
				out = append(out, fmt.Sprintf("%d: %d %v %d %v", s.ID, s.Type, s.Hosts, s.Template, s.Strategies))
			}
			return out
		}
		want := []string{"1: 1 [h1] 0 []", "2: 2 [] 7 [5 8]", "3: 3 [] 0 [6]", "4: 4 [h2] 0 [6]", "5: 5 [h1 h4] 7 []", "7: 3 [] 0 [5]"}
		if got := read(); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		// A second group that is closed keeps nobody.
		runSQL(t, db, row(10, "5, 0, 7, 0, 2, "+at))
		if got := read(); !slices.Contains(got, "5: 5 [h1 h2 h4] 7 []") || !slices.Contains(got, "10: 5 [h2] 7 []") {
			t.Errorf("two closed groups: %q", got)
		}
	})
}

func TestHostEnv(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx, at := t.Context(), time.Unix(dt0, 0)
		runSQL(t, db, "INSERT INTO host_env (hostname, env, parent_host) VALUES ('H1', 'test', 'p')")
		set := func(env string, hosts ...string) {
			t.Helper()
			if err := db.SetHostEnv(ctx, hosts, env, at); err != nil {
				t.Fatal(err)
			}
		}
		set("prod", "h1", "h2", "h2")
		set("prod", "h2") // again
		set("", "h2", "h3")
		set("staging", "h4")
		got := must[map[string]string](t)(db.HostEnvs(ctx, []string{"h1", "h2", "h3", "h4", "h5"}))
		if len(got) != 2 || got["h1"] != "prod" || got["h4"] != "staging" {
			t.Errorf("got %v", got)
		}
		var parent string
		if err := db.Portal.read.Get(&parent, "SELECT parent_host FROM host_env WHERE hostname = 'h1'"); err != nil || parent != "p" {
			t.Errorf("parent %q, %v", parent, err)
		}
		var invalid *InvalidError
		if err := db.SetHostEnv(ctx, []string{"h1"}, "production", at); !errors.As(err, &invalid) || invalid.Field != "env" {
			t.Errorf("an unknown environment: %v", err)
		}
	})
}

func TestEnvBindings(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		runSQL(t, db,
			"INSERT INTO host (id, hostname) VALUES (1, 'h1'), (2, 'h2')", "INSERT INTO grp (id, grp_name) VALUES (3, 'all'), (6, 'x')",
			"INSERT INTO grp_host (grp_id, host_id) VALUES (3, 1), (3, 2)", "INSERT INTO tpl (id, tpl_name) VALUES (4, 'base'), (5, 'other')")
		id := must[int64](t)(db.BindTemplateEnv(ctx, EnvBinding{Group: 3, Template: 4, Env: "prod", BindUser: "ann"}))
		must[int64](t)(db.BindTemplateEnv(ctx, EnvBinding{Group: 3, Template: 4, Env: "test"}))
		must[int64](t)(db.BindTemplateEnv(ctx, EnvBinding{Group: 6, Template: 5, Env: "test"}))
		var invalid *InvalidError
		if _, err := db.BindTemplateEnv(ctx, EnvBinding{Group: 3, Template: 4, Env: "prod"}); !errors.As(err, &invalid) {
			t.Errorf("bound twice: %v", err)
		}
		if _, err := db.BindTemplateEnv(ctx, EnvBinding{Group: 3, Template: 99, Env: "prod"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("no template: %v", err)
		}
		if _, err := db.BindTemplateEnv(ctx, EnvBinding{Group: 3, Template: 4, Env: "lab"}); !errors.As(err, &invalid) {
			t.Errorf("no environment: %v", err)
		}
		if b := must[*EnvBinding](t)(db.EnvBinding(ctx, 3, 4, "prod")); *b != (EnvBinding{id, 3, 4, "prod", "ann"}) {
			t.Errorf("read back %+v", b)
		}
		got := must[[]NamedEnvBinding](t)(db.GroupEnvBindings(ctx, 3))
		if len(got) != 2 || got[0].Env != "prod" || got[1].TemplateName != "base" || got[1].GroupName != "all" {
			t.Errorf("of the group %+v", got)
		}
		if got := must[[]NamedEnvBinding](t)(db.TemplateEnvBindings(ctx, 5)); len(got) != 1 || got[0].GroupName != "x" {
			t.Errorf("of the template %+v", got)
		}
		if err := db.SetHostEnv(ctx, []string{"h1"}, "prod", time.Unix(dt0, 0)); err != nil {
			t.Fatal(err)
		}
		for host, want := range map[int64]int{1: 1, 2: 0} {
			if got := must[[]Template](t)(db.HostTemplates(ctx, host)); len(got) != want {
				t.Errorf("host %d has %v", host, got)
			}
		}
		runSQL(t, db, fmt.Sprintf("INSERT INTO alarm_disable (id, type, host_id, begin_ts, end_ts, duration) VALUES (1, 1, 2, 5, %d, '1d'), (2, 1, 2, 5, 9, '1d')", time.Now().Unix()+60))
		r := must[*RuleRows](t)(db.RuleRows(ctx))
		if !slices.Equal(r.Envs, []RuleEnv{{"h1", "prod"}}) || !slices.Equal(r.EnvTemplates, []RuleEnvPair{{3, 4, "prod"}, {3, 4, "test"}, {6, 5, "test"}}) ||
			len(r.Disables) != 1 || r.Disables[0].Type != DisableHost || r.Disables[0].Host != 2 {
			t.Errorf("rules %+v %+v %+v", r.Envs, r.EnvTemplates, r.Disables)
		}
		if err := db.UnbindTemplateEnv(ctx, 3, 4, "prod"); err != nil {
			t.Error(err)
		}
		if err := db.UnbindTemplateEnv(ctx, 3, 4, "prod"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unbound twice: %v", err)
		}
		// What goes takes its bindings along.
		if err := errors.Join(db.DeleteTemplate(ctx, 4), db.DeleteGroup(ctx, 6)); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db.Portal, "grp_tpl_env"); n != 0 {
			t.Errorf("%d bindings are left", n)
		}
	})
}
