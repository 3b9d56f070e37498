package portal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSetGroupHosts(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		if _, err := db.SaveHosts(ctx, []HostReport{{Hostname: "h1"}, {Hostname: "h2", IP: "10.0.0.2"}, {Hostname: "H3", IP: "2001:db8:1:2:3:4:5:6"}}, "", false); err != nil {
			t.Fatal(err)
		}
		group := must[int64](t)(db.CreateGroup(ctx, "g", "ann"))
		other := must[int64](t)(db.CreateGroup(ctx, "other", "ann"))
		for _, tc := range []struct {
			mode  BindMode
			names string
			dry   bool
			want  string
		}{
			{BindAdd, "h1,h2", true, "added [h1 h2] removed [] created [] unchanged 0 members 2"},
			{BindAdd, " h1,h2,,h1,h3 ", false, "added [h1 h2 H3] removed [] created [] unchanged 0 members 3"},
			{BindAdd, "h1,new", true, "added [new] removed [] created [new] unchanged 1 members 4"},
			{BindAdd, "h1,new", false, "added [new] removed [] created [new] unchanged 1 members 4"},
			{BindRemove, "h1,none", true, "added [] removed [h1] created [] unchanged 1 members 3"},
			{BindRemove, "H1,none", false, "added [] removed [h1] created [] unchanged 1 members 3"},
			{BindReplace, "h2,newer", true, "added [newer] removed [H3 new] created [newer] unchanged 1 members 2"},
			{BindReplace, "h2,newer", false, "added [newer] removed [H3 new] created [newer] unchanged 1 members 2"},
			{BindReplace, "h2,newer", false, "added [] removed [] created [] unchanged 2 members 2"},
			{BindReplace, "", false, "added [] removed [h2 newer] created [] unchanged 0 members 0"},
			{BindAdd, "h1,h2", false, "added [h1 h2] removed [] created [] unchanged 0 members 2"},
		} {
			c, err := db.SetGroupHosts(ctx, group, tc.mode, strings.Split(tc.names, ","), tc.dry)
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("added %v removed %v created %v unchanged %d members %d", c.Added, c.Removed, c.Created, c.Unchanged, c.Members)
			if got != tc.want {
				t.Errorf("%s %q dry %v\n got %s\nwant %s", tc.mode, tc.names, tc.dry, got, tc.want)
			}
			if n := count(t, db.Portal, "grp_host WHERE grp_id = ?", group); !tc.dry && n != c.Members {
				t.Errorf("%s %q: %d rows, said %d members", tc.mode, tc.names, n, c.Members)
			}
		}
		if _, err := db.SetGroupHosts(ctx, 1<<30, BindAdd, []string{"h1"}, false); !errors.Is(err, ErrNotFound) {
			t.Errorf("no such group: %v", err)
		}
		if _, err := db.SetGroupHosts(ctx, group, "move", nil, false); fmt.Sprint(err) != `"move" is unknown, use "add", "remove" or "replace"` {
			t.Errorf("an unknown mode: %v", err)
		}
		if _, err := db.SetGroupHosts(ctx, group, BindAdd, []string{strings.Repeat("x", 256)}, false); err == nil {
			t.Error("a long name was taken")
		}
		many := make([]string, 2500)
		for i := range many {
			many[i] = fmt.Sprintf("many-%04d", i)
		}
		if c := must[*HostChange](t)(db.SetGroupHosts(ctx, other, BindReplace, many, false)); len(c.Created) != 2500 || count(t, db.Portal, "grp_host WHERE grp_id = ?", other) != 2500 {
			t.Errorf("of 2500 hosts %d were made", len(c.Created))
		}

		hosts := must[[]Host](t)(db.GroupHosts(ctx, group))
		if len(hosts) != 2 || hosts[1].IP != "10.0.0.2" {
			t.Errorf("hosts %+v", hosts)
		}
		if g := must[[]Group](t)(db.HostGroups(ctx, hosts[0].ID)); len(g) != 1 || g[0].Name != "g" {
			t.Errorf("groups of a host: %+v", g)
		}
		if g := must[map[int64][]Group](t)(db.GroupsOfHosts(ctx, []int64{hosts[0].ID, hosts[1].ID, 1 << 30})); len(g) != 2 || g[hosts[0].ID][0].Name != "g" {
			t.Errorf("groups of hosts: %+v", g)
		}
		for _, tc := range []struct {
			words string
			want  int
		}{{"many 123", 13}, {"2001:db8", 1}, {"10.0.0.2", 1}, {"h1 h2", 0}, {"%", 0}} {
			_, total, err := db.SearchHosts(ctx, strings.Fields(tc.words), 10, 0)
			if err != nil || total != tc.want {
				t.Errorf("SearchHosts(%q) has %d, %v; want %d", tc.words, total, err, tc.want)
			}
		}
		if page, _, err := db.SearchHosts(ctx, []string{"MANY"}, 2, 1); err != nil || len(page) != 2 || page[0].Hostname != "many-0001" {
			t.Errorf("a page %+v, %v", page, err)
		}

		if n := must[int](t)(db.SetMaintenance(ctx, []string{"h1", "none"}, nil, 10, 20)); n != 1 {
			t.Errorf("%d hosts in maintenance", n)
		}
		if n := must[int](t)(db.SetMaintenance(ctx, nil, []int64{hosts[1].ID}, 10, 30)); n != 1 {
			t.Errorf("%d hosts in maintenance", n)
		}
		if h := must[*Host](t)(db.Host(ctx, hosts[0].ID)); h.MaintainBegin != 10 || h.MaintainEnd != 20 {
			t.Errorf("host %+v", h)
		}
		for _, at := range [][2]int64{{20, 10}, {-1, 10}, {1, 1 << 33}} {
			if _, err := db.SetMaintenance(ctx, []string{"h1"}, nil, at[0], at[1]); err == nil {
				t.Errorf("maintenance from %d to %d was taken", at[0], at[1])
			}
		}

		if err := db.UnbindHost(ctx, group, hosts[0].ID); err != nil {
			t.Fatal(err)
		}
		if err := db.UnbindHost(ctx, group, hosts[0].ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("unbound twice: %v", err)
		}
		plugin := must[int64](t)(db.CreatePlugin(ctx, Plugin{Group: group, Dir: "sys/ntp", CreateUser: "ann"}))
		for _, dir := range []string{"", "/etc", "../x", "a/../../x"} {
			if _, err := db.CreatePlugin(ctx, Plugin{Group: group, Dir: dir}); err == nil {
				t.Errorf("the plugin folder %q was taken", dir)
			}
		}
		if all := must[[]Plugin](t)(db.GroupPlugins(ctx, group)); len(all) != 1 || all[0].ID != plugin {
			t.Errorf("plugins %+v", all)
		}
		if err := db.RenameGroup(ctx, other, "G"); !errors.Is(err, ErrExists) {
			t.Errorf("a name that is taken: %v", err)
		}
		if err := db.DeleteGroup(ctx, group); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db.Portal, "grp_host WHERE grp_id = ?", group) + count(t, db.Portal, "plugin_dir"); n != 0 {
			t.Errorf("%d rows of a group that is gone", n)
		}
	})
}

// Several who bring the same hosts, and an hbs that hears of them, leave each host
// once in the group.
func TestSetGroupHostsAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		group := must[int64](t)(db.CreateGroup(t.Context(), "g", "ann"))
		names, reports := make([]string, 300), make([]HostReport, 300)
		for i := range names {
			names[i] = fmt.Sprintf("host-%03d", i)
			reports[i].Hostname = names[i]
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := db.SetGroupHosts(t.Context(), group, BindAdd, names, false); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if _, err := db.SaveHosts(t.Context(), reports, "", false); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if rows, hosts := count(t, db.Portal, "grp_host"), count(t, db.Portal, "host"); rows != 300 || hosts != 300 {
			t.Errorf("%d rows of %d hosts, want 300", rows, hosts)
		}
	})
}

func TestHostNamesOfGroups(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		for _, name := range []string{"pay", "payroll", "web"} {
			id := must[int64](t)(db.CreateGroup(ctx, name, "ann"))
			must[*HostChange](t)(db.SetGroupHosts(ctx, id, BindAdd, []string{name + ".h1", "shared"}, false))
		}
		for _, tc := range []struct {
			match []Pattern
			limit int
			want  string
		}{
			{[]Pattern{{Expr: "^pay"}}, 10, "[pay.h1 payroll.h1 shared]"},
			{[]Pattern{{Expr: "^pay"}}, 2, "[pay.h1 payroll.h1]"},
			{nil, 10, "[pay.h1 payroll.h1 shared web.h1]"},
			{[]Pattern{{Expr: "none"}}, 10, "[]"},
		} {
			if got := fmt.Sprint(must[[]string](t)(db.HostNamesOfGroups(ctx, tc.match, tc.limit))); got != tc.want {
				t.Errorf("HostNamesOfGroups(%v, %d)\n got %s\nwant %s", tc.match, tc.limit, got, tc.want)
			}
		}
	})
}

func TestWorkingHosts(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		runSQL(t, db,
			"INSERT INTO host (id, hostname, maintain_begin, maintain_end) VALUES (1, 'h1', 0, 0), (2, 'h2', 100, 200), (3, 'h3', 0, 0)",
			"INSERT INTO grp (id, grp_name) VALUES (5, 'Web'), (6, 'db'), (7, 'empty')",
			"INSERT INTO grp_host (grp_id, host_id) VALUES (5, 2), (5, 1), (5, 1), (6, 2), (6, 3)",
		)
		for _, tc := range []struct {
			at     int64
			groups string
			want   string
		}{
			{99, "Web db", "db:[h2 h3] Web:[h1 h2]"},
			{100, "Web db", "db:[h3] Web:[h1]"},
			{200, "Web", "Web:[h1]"},
			{201, "Web", "Web:[h1 h2]"},
			{99, "web WEB empty none", "WEB:[h1 h2] web:[h1 h2]"},
			{99, "", ""},
		} {
			got, err := db.WorkingHosts(t.Context(), strings.Fields(tc.groups), time.Unix(tc.at, 0))
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, g := range []string{"db", "WEB", "Web", "web", "empty", "none"} {
				var names []string
				for _, h := range got[g] {
					names = append(names, h.Name)
				}
				if len(names) > 0 {
					all = append(all, fmt.Sprint(g, ":", names))
				}
			}
			if s := strings.Join(all, " "); s != tc.want || len(got) != len(all) {
				t.Errorf("WorkingHosts(%s) at %d: %s of %v, want %s", tc.groups, tc.at, s, got, tc.want)
			}
		}
	})
}
