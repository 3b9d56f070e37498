package portal

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

func runSQL(t *testing.T, db *DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		execSQL(t, db.Portal, s)
	}
}

func TestRuleRows(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		runSQL(t, db,
			"INSERT INTO host (id, hostname, maintain_begin, maintain_end) VALUES (2, 'h2', 5, 7), (1, 'h1', 0, 0)",
			"INSERT INTO grp (id, grp_name) VALUES (3, 'all')",
			"INSERT INTO grp_host (grp_id, host_id) VALUES (3, 2), (3, 1)",
			"INSERT INTO tpl (id, tpl_name, parent_id, action_id, create_user) VALUES (4, 'base', 0, 6, 'root')",
			"INSERT INTO grp_tpl (grp_id, tpl_id, bind_user) VALUES (3, 4, 'root')",
			"INSERT INTO strategy (id, metric, tags, max_step, priority, func, op, right_value, note, run_begin, run_end, tpl_id) VALUES (5, 'cpu.idle', 'a=b', 3, 1, 'all(#3)', '<', '5', 'n', '08:00', '20:00', 4)",
			"INSERT INTO expression (id, expression, func, op, right_value, max_step, priority, note, action_id, pause) VALUES (7, 'each(metric=q a=b)', 'all(#1)', '>', '1', 3, 2, 'x', 6, 0), (8, 'each(metric=q a=b)', 'all(#1)', '>', '1', 3, 2, 'paused', 6, 1), (9, 'each(metric=q a=b)', 'all(#1)', '>', '1', 3, 2, 'nobody', 0, 0)",
			"INSERT INTO action (id, uic) VALUES (6, 'ops,dba')",
			"INSERT INTO plugin_dir (grp_id, dir) VALUES (3, 'sys/x')",
			"INSERT INTO grp_svs (grp_id, svs_name) VALUES (3, 'nginx'), (3, 'crond')",
		)
		r := must[*RuleRows](t)(db.RuleRows(t.Context()))
		if !slices.Equal(r.Hosts, []RuleHost{{1, "h1", 0, 0}, {2, "h2", 5, 7}}) {
			t.Errorf("hosts %+v", r.Hosts)
		}
		if !slices.Equal(r.GroupHosts, []RulePair{{3, 1}, {3, 2}}) || !slices.Equal(r.GroupTemplates, []RulePair{{3, 4}}) || !slices.Equal(r.Groups, []RuleGroup{{3, "all"}}) {
			t.Errorf("bindings %+v %+v %+v", r.Groups, r.GroupHosts, r.GroupTemplates)
		}
		if !slices.Equal(r.Templates, []RuleTemplate{{4, "base", 0, 6, "root"}}) || !slices.Equal(r.Actions, []RuleAction{{6, "ops,dba"}}) || !slices.Equal(r.Plugins, []RulePlugin{{3, "sys/x"}}) ||
			!slices.Equal(r.Services, []RuleService{{3, "crond"}, {3, "nginx"}}) {
			t.Errorf("templates %+v, actions %+v, plugins %+v", r.Templates, r.Actions, r.Plugins)
		}
		if !slices.Equal(r.Strategies, []RuleStrategy{{5, "cpu.idle", "a=b", 3, 1, "all(#3)", "<", "5", "n", "08:00", "20:00", 4, "", ""}}) {
			t.Errorf("strategies %+v", r.Strategies)
		}
		if !slices.Equal(r.Expressions, []RuleExpression{{7, "each(metric=q a=b)", "all(#1)", ">", "1", 3, 2, "x", 6}}) {
			t.Errorf("expressions %+v", r.Expressions)
		}
	})
}

type hostRow struct {
	ID            int    `db:"id"`
	Hostname      string `db:"hostname"`
	IP            string `db:"ip"`
	IPFull        string `db:"ip_full"`
	AgentVersion  string `db:"agent_version"`
	PluginVersion string `db:"plugin_version"`
}

func hostRows(t *testing.T, db *DB) []hostRow {
	t.Helper()
	var rows []hostRow
	if err := db.Portal.read.SelectContext(t.Context(), &rows, "SELECT id, hostname, ip, ip_full, agent_version, plugin_version FROM host ORDER BY hostname"); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestSaveHosts(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		runSQL(t, db, "INSERT INTO grp (id, grp_name) VALUES (3, 'all')")
		save := func(join string, only bool, want []string, reports ...HostReport) {
			t.Helper()
			if added := must[[]string](t)(db.SaveHosts(t.Context(), reports, join, only)); !slices.Equal(added, want) {
				t.Errorf("added %q, want %q", added, want)
			}
		}
		h1, h2 := HostReport{"h1", "10.0.0.1", "0.1.0", "plugin not enabled"}, HostReport{"h2", "2001:db8::1234:5678:9abc", strings.Repeat("v", 20), strings.Repeat("字", 200)}
		save("all", false, []string{"h1", "h2"}, h2, h1)
		save("all", false, nil, h1, h2)
		h1.IP = "10.0.0.2"
		save("all", true, nil, h1, HostReport{Hostname: "unknown"})
		rows := hostRows(t, db)
		if len(rows) != 2 || rows[0].IP != "10.0.0.2" || rows[0].IPFull != "10.0.0.2" || rows[0].AgentVersion != "0.1.0" {
			t.Errorf("rows %+v", rows)
		}
		if r := rows[1]; r.IP != "" || r.IPFull != h2.IP || len(r.AgentVersion) != 16 || r.PluginVersion != strings.Repeat("字", 128) {
			t.Errorf("row of h2 %+v", r)
		}
		var members []int
		if err := db.Portal.read.SelectContext(t.Context(), &members, "SELECT host_id FROM grp_host WHERE grp_id = 3 ORDER BY host_id"); err != nil || len(members) != 2 {
			t.Errorf("members %v, %v", members, err)
		}
		// Who was taken out stays out; a group that is not there is joined by nobody.
		runSQL(t, db, "DELETE FROM grp_host")
		save("all", false, nil, h1)
		save("nowhere", false, []string{"h3"}, HostReport{Hostname: "h3", IP: "no address, and a long one"})
		if err := db.Portal.read.SelectContext(t.Context(), &members, "SELECT host_id FROM grp_host"); err != nil || len(members) != 0 {
			t.Errorf("members %v, %v", members, err)
		}
		if r := hostRows(t, db)[2]; r.IP != "no address, and " {
			t.Errorf("row of h3 %+v", r)
		}
	})
}

// Two hbs hear of the same hosts at once: each host has one row and one membership.
func TestSaveHostsTogether(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		runSQL(t, db, "INSERT INTO grp (id, grp_name) VALUES (3, 'all')")
		var reports []HostReport
		for _, c := range "abcdefghijklmnopqrstuvwxyz" {
			reports = append(reports, HostReport{Hostname: "host-" + string(c), IP: "10.0.0.1"})
		}
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex
			added int
		)
		for range 4 {
			wg.Go(func() {
				made, err := db.SaveHosts(t.Context(), reports, "all", false)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				added += len(made)
			})
		}
		wg.Wait()
		var members int
		if err := db.Portal.read.GetContext(t.Context(), &members, "SELECT COUNT(*) FROM grp_host"); err != nil {
			t.Fatal(err)
		}
		if n := len(hostRows(t, db)); n != 26 || members != 26 || added != 26 {
			t.Errorf("%d rows, %d memberships, %d called new, want 26 each", n, members, added)
		}
	})
}

func TestClip(t *testing.T) {
	for _, tc := range []struct {
		in   string
		max  int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"磁盘满了", 2, "磁盘"}, {"a\xffb", 3, "ab"}, {"a🔥b", 3, "a\ufffdb"}, {"", 0, ""}} {
		if got := clip(tc.in, tc.max); got != tc.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tc.in, tc.max, got, tc.want)
		}
	}
}
