package portal

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// statements reads a file of SQL below testdata/stock, by the database that a comment
// names; the lines before the first such comment are those of database.
func statements(t *testing.T, file, database string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/stock/" + file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	var text strings.Builder
	for line := range strings.Lines(string(b)) {
		if comment, ok := strings.CutPrefix(line, "-- "); ok {
			if name := strings.TrimSpace(comment); slices.Contains([]string{UIC, Portal, Graph, Dashboard, Alarms}, name) {
				database = name
			}
			continue
		}
		text.WriteString(line)
		if strings.HasSuffix(line, ";\n") {
			all[database] = append(all[database], strings.TrimSuffix(text.String(), ";\n"))
			text.Reset()
		}
	}
	if strings.TrimSpace(text.String()) != "" {
		t.Fatalf("%s ends within a statement: %q", file, text.String())
	}
	return all
}

// contents is every row of every table, of the columns that the tables have now.
type contents map[string]tableContents

type tableContents struct {
	columns string
	rows    []string
}

// read returns what a table holds in the given columns, or in all of its own.
func readTable(t *testing.T, h *Handle, name, columns string) tableContents {
	t.Helper()
	if columns == "" {
		var all []string
		if err := h.read.Select(&all, "SELECT CONCAT('`', column_name, '`') FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position", name); err != nil {
			t.Fatal(err)
		}
		columns = strings.Join(all, ", ")
	}
	var rows []string
	quotedColumns := "QUOTE(" + strings.ReplaceAll(columns, ", ", "), QUOTE(") + ")"
	if err := h.read.Select(&rows, "SELECT CONCAT_WS(',', "+quotedColumns+") FROM `"+name+"` ORDER BY 1"); err != nil {
		t.Fatal(err)
	}
	return tableContents{columns, rows}
}

// A dump of a whole installation of stock, or of its fork, is adopted where it stands:
// no definition loses a line, no row changes, twice; what stock's programs write works
// on; and our programs find in it what was there.
func TestADumpIsAdopted(t *testing.T) {
	for _, kind := range []string{"stock", "fork"} {
		t.Run(kind, func(t *testing.T) {
			cfg := testMySQL(t)
			db := must[*DB](t)(Open(t.Context(), cfg, nil))
			defer db.Close()
			// Its key would keep uic from being dropped.
			defer execSQL(t, db.Alarms, "DROP TABLE IF EXISTS event_note")
			run := func(all map[string][]string) {
				t.Helper()
				for _, h := range db.handles() {
					for _, statement := range all[h.name] {
						execSQL(t, h, strings.ReplaceAll(statement, "{uic}", db.UIC.schema))
					}
				}
			}
			for _, h := range db.handles() { // uic first: a key of alarms names it
				if err := h.create(t.Context()); err != nil {
					t.Fatal(err)
				}
				run(statements(t, h.name+".sql", h.name))
			}
			if kind == "fork" {
				run(statements(t, "fork.sql", ""))
			}
			defs, before := map[string]string{}, contents{}
			for _, h := range db.handles() {
				for name, def := range showCreate(t, h) {
					defs[h.name+"."+name] = def
					before[h.name+"."+name] = readTable(t, h, name, "")
				}
			}
			if len(before) < 22 {
				t.Fatalf("%d tables", len(before))
			}
			unchanged := func() {
				t.Helper()
				for _, h := range db.handles() {
					now := showCreate(t, h)
					for key, def := range defs {
						database, name, _ := strings.Cut(key, ".")
						if database != h.name {
							continue
						}
						if !extends(now[name], def) {
							t.Errorf("%s changed\nfrom %s\n  to %s", key, def, now[name])
						}
						if got := readTable(t, h, name, before[key].columns); !slices.Equal(got.rows, before[key].rows) {
							t.Errorf("rows of %s\n got %q\nwant %q", key, got.rows, before[key].rows)
						}
					}
				}
			}
			for range 2 {
				if err := db.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				unchanged()
			}

			found(t, db, kind)
			run(statements(t, "inserts.sql", ""))
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			workOn(t, db)
		})
	}
}

// found says whether our statements find what stock's rows say.
func found(t *testing.T, db *DB, kind string) {
	t.Helper()
	ctx := t.Context()
	expect := func(what string, got any, want string) {
		t.Helper()
		if text := fmt.Sprint(got); text != want {
			t.Errorf("%s\n got %s\nwant %s", what, text, want)
		}
	}
	u := must[*User](t)(db.UserByName(ctx, "root"))
	expect("root", []any{u.ID, u.Role, u.Passwd}, "[1 2 900150983cd24fb0d6963f7d28e17f72]")
	must[*Session](t)(db.SessionBySig(ctx, 1, "d3a5652ee62a11f18571a6d12c9aa55b", time.Unix(1_600_000_000, 0)))
	team := must[*Team](t)(db.TeamByName(ctx, "运维"))
	expect("team", []any{team.ID, team.Resume, len(must[map[int64][]User](t)(db.TeamMembers(ctx, []int64{1}))[1])}, "[1 值班 2]")
	hosts := "[it-agent it-h1]"
	if kind == "fork" {
		hosts = "[it-agent it-h1 it-far]"
	}
	names := []string{}
	for _, h := range must[[]Host](t)(db.GroupHosts(ctx, 1)) {
		names = append(names, h.Hostname)
	}
	expect("hosts of it-all", names, hosts)
	rules := must[*RuleRows](t)(db.RuleRows(ctx))
	expect("rules", []any{len(rules.Templates), len(rules.Strategies), len(rules.Expressions), rules.Strategies[1].Note}, "[2 2 1 磁盘]")
	expect("group of a template", must[[]Group](t)(db.EndpointTemplateGroups(ctx, "it-h1", 1)), "[{1 it-all root} {2 机房 root}]")
	expect("aggregators", must[[]Aggregator](t)(db.GroupAggregators(ctx, 1, 0, 0)), "[{1 1 $(cpu.idle) $# it-cluster cpu.idle.avg  GAUGE 60 root}]")
	expect("nodata", must[[]Nodata](t)(db.Nodatas(ctx, 0, 0)), "[{1 it-nodata it-h1 host agent.alive  GAUGE 60 -1 root}]")
	expect("link", must[string](t)(db.AlertLink(ctx, "Ab3dEf6hI")), "[P3][PROBLEM]")
	expect("screens below", must[[]Screen](t)(db.ScreensBelow(ctx, 0)), "[{1 0 业务}]")
	expect("graphs of a screen", must[[]Widget](t)(db.Widgets(ctx, 2, 10)),
		"[{2 load [it-h1] [load.1min load.5min] 2 k 86400  1 srv=pay} {1 cpu [it-agent it-h1] [cpu.idle] 2 h 3600  2 }]")
	id, made, err := db.SaveTmpGraph(ctx, TmpGraph{[]string{"b", "a"}, []string{"y", "x"}})
	expect("a chart by link", fmt.Sprint(id, made, err), "1 false <nil>")
	cases := must[[]EventCase](t)(db.EventCases(ctx, CaseFilter{Endpoints: []string{"it-h1"}, Limit: 10}))
	if len(cases) != 1 || cases[0].Status != "PROBLEM" {
		t.Errorf("cases: %+v", cases)
	}
	expect("events", len(must[[]CaseEvent](t)(db.CaseEvents(ctx, "s_1_5a7c0c3f899fabdd3f9062ab1a6fb184", time.Time{}, time.Time{}, -1, 10, 0))), "2")
	expect("notes", len(must[[]EventNote](t)(db.EventNotes(ctx, NoteFilter{CaseID: "s_1_5a7c0c3f899fabdd3f9062ab1a6fb184", Limit: 10}))), "1")
}

// workOn changes what stock has written, as our programs do.
func workOn(t *testing.T, db *DB) {
	t.Helper()
	ctx := t.Context()
	const caseID = "s_1_5a7c0c3f899fabdd3f9062ab1a6fb184"
	when := func() (at string) {
		if err := db.Alarms.read.Get(&at, "SELECT CAST(timestamp AS CHAR) FROM event_cases WHERE id = ?", caseID); err != nil {
			t.Fatal(err)
		}
		return at
	}
	begun := when()
	if _, err := db.AddEventNote(ctx, EventNote{CaseID: caseID, Note: "seen", Status: "resolved", UserID: 1, Timestamp: new(time.Unix(1_600_000_000, 0))}); err != nil {
		t.Fatal(err)
	}
	// Stock's column moves by itself whenever the row changes.
	if now := when(); now != begun {
		t.Errorf("a note moved the begin of an alarm from %s to %s", begun, now)
	}
	// The fork has no key against a second one, and a second one.
	if s, made, err := db.CreateScreen(ctx, Screen{PID: 1, Name: "pay"}); err != nil || made || s.ID != 2 {
		t.Errorf("a screen that is there: %+v, made %v, %v", s, made, err)
	}
	if err := db.UpdateScreen(ctx, Screen{1, 0, "renamed"}); err != nil {
		t.Error(err)
	}
	if err := db.UpdateNodata(ctx, Nodata{ID: 1, Name: "x", Obj: "h", ObjType: "host", Metric: "m", DsType: "GAUGE", Step: 60}); err != nil {
		t.Error(err)
	}
	if err := db.DeleteGroup(ctx, 1); err != nil {
		t.Error(err)
	}
	write(t, db, nil, IndexRow{"it-h1", "it.qc/k=v", "k=v", 60, "DERIVE", 1795320720})
}
