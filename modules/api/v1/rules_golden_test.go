package v1

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
)

// stockRules fills a portal with the teams, hosts and rules of the capture.
func stockRules(t *testing.T, db *portal.DB) *world {
	w := newWorldOf(t, db, false)
	w.clock = time.Unix(1795320703, 0)
	for _, q := range []string{
		"INSERT INTO team (id, name, creator) VALUES (1, 'it-team', 1), (2, 'it-team2', 1)",
		"INSERT INTO rel_team_user (tid, uid) VALUES (1, 2), (1, 3), (2, 3)",
	} {
		sqlExec(t, db.UIC, q)
	}
	for _, q := range []string{
		"INSERT INTO host (id, hostname) VALUES (1, 'it-agent'), (2, 'it-h1'), (3, 'it-h2'), (6, 'it-q1')",
		"INSERT INTO grp (id, grp_name, create_user) VALUES (1, 'it-all', 'root'), (2, 'it-agg', 'root'), (3, 'it-child', 'root')",
		"INSERT INTO grp_host (grp_id, host_id) VALUES (1, 1), (1, 2), (2, 2), (2, 3), (3, 2)",
		"INSERT INTO action (id, uic, url, callback) VALUES (1, 'it-team', 'http://127.0.0.1:31019/callback', 1), (2, 'it-team', '', 0), (3, 'it-team', '', 0)",
		"INSERT INTO tpl (id, tpl_name, parent_id, action_id, create_user) VALUES (1, 'it-tpl', 0, 1, 'root'), (2, 'it-child', 1, 3, 'ops1'), (3, 'it-mail', 0, 2, 'root')",
		"INSERT INTO grp_tpl (grp_id, tpl_id, bind_user) VALUES (1, 1, 'root'), (1, 3, 'root'), (3, 2, 'root')",
		"INSERT INTO plugin_dir (id, grp_id, dir, create_user) VALUES (1, 1, 'it/plug', 'root')",
	} {
		sqlExec(t, db.Portal, q)
	}
	for _, name := range []string{"strategies", "expressions"} {
		_, body := readResponse(t, name)
		var rows []map[string]any
		if err := json.Unmarshal([]byte(body), &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			var columns []string
			var args []any
			for column, value := range row {
				columns, args = append(columns, column), append(args, value)
			}
			marks := strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")
			sqlExec(t, db.Portal, "INSERT INTO "+map[string]string{"strategies": "strategy", "expressions": "expression"}[name]+" ("+strings.Join(columns, ", ")+") VALUES ("+marks+")", args...)
		}
	}
	return w
}

// sameAsStock replays a captured request and compares the answers.
func (w *world) sameAsStock(t *testing.T, name string) {
	t.Helper()
	req, body := readRequest(t, name)
	status, wantBody := readResponse(t, name)
	req.Header.Set("Apitoken", w.token("root"))
	got, gotBody, _ := w.replay(req, body)
	if got != status {
		t.Errorf("status %d, want %d (%s)", got, status, gotBody)
	}
	var gotJSON, wantJSON any
	if err := json.Unmarshal([]byte(gotBody), &gotJSON); err != nil {
		t.Fatalf("%v: %s", err, gotBody)
	}
	if err := json.Unmarshal([]byte(wantBody), &wantJSON); err != nil {
		t.Fatal(err)
	}
	if name == "event_notes" {
		// Stock leaves out when a note was written.
		row := gotJSON.([]any)[0].(map[string]any)
		if at, _ := row["timestamp"].(string); at == "" {
			t.Errorf("the note has no time: %s", gotBody)
		}
		row["timestamp"] = nil
	}
	if !covers(gotJSON, wantJSON) {
		t.Errorf("body\n got %s\nwant %s", gotBody, wantBody)
	}
}

// Stock's answers about rules are ours over the same rows.
func TestStocksAnswersAboutRules(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := stockRules(t, db)
		for _, name := range strings.Fields(`action action_none team_name team_none teams group_plugins group_templates host_groups host_templates hostgroup hostgroups
			strategies strategy template templates expressions expression maintain group_create group_bind`) {
			t.Run(name, func(t *testing.T) { w.sameAsStock(t, name) })
		}
		// Stock's daemons ask with the token that all of them share.
		for name, path := range map[string]string{"falcon-alarm": "/action/1", "aggregator": "/hostgroup/2"} {
			if a := w.call(name+":a token of the daemons", "GET", path, nil); a.status != 200 || !strings.Contains(a.body, `"id":`) {
				t.Errorf("%s as %s: %d %s", path, name, a.status, a.body)
			}
		}
		if a := w.call("falcon-alarm:a token of the daemons", "GET", "/team/name/it-team", nil); !strings.Contains(a.body, "ops2@example.com") {
			t.Errorf("a team for alarm: %d %s", a.status, a.body)
		}
		// What stock's current builds answer 500 to.
		a := w.call("root", "POST", "/template", map[string]any{"name": "n1", "parent_id": 0})
		if want := `{"id":4,"tpl_name":"n1","parent_id":0,"action_id":0,"create_user":"root"}`; a.status != 200 || a.body != want {
			t.Errorf("template created: %d %s, want %s", a.status, a.body, want)
		}
	})
}

// Times are shown with the offset of this machine; those of the capture are in UTC.
func init() { time.Local = time.UTC }

// stockAlarms fills the database alarms with the cases and events of the capture.
func stockAlarms(t *testing.T, db *portal.DB) {
	put := func(name, table string, columns map[string]string) {
		_, body := readResponse(t, name)
		var rows []map[string]any
		if err := json.Unmarshal([]byte(body), &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			var names []string
			var args []any
			for key, value := range row {
				if column, ok := columns[key]; ok {
					key = column
				}
				if text, ok := value.(string); ok {
					if at, err := time.Parse(time.RFC3339, text); err == nil {
						value = at
					}
				}
				names, args = append(names, key), append(args, value)
			}
			marks := strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")
			sqlExec(t, db.Alarms, "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+marks+")", args...)
		}
	}
	put("eventcases", "event_cases", map[string]string{"step": "max_step"})
	put("events", "events", nil)
}

// Stock's answers about alarms are ours over the same rows.
func TestStocksAnswersAboutAlarms(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := stockRules(t, db)
		stockAlarms(t, db)
		for _, name := range strings.Fields("eventcases eventcases_none events event_note event_notes") {
			t.Run(name, func(t *testing.T) { w.sameAsStock(t, name) })
		}
		a := w.call("root", "GET", "/alarm/eventcases?event_id=s_10_5a7c0c3f899fabdd3f9062ab1a6fb184", nil)
		if !strings.Contains(a.body, `"process_status":"in progress"`) {
			t.Errorf("the note did not reach the case: %s", a.body)
		}
	})
}
