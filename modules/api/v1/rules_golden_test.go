package v1

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
	"falcon/modules/api/graphs/graphtest"
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
	tables := map[string]string{"strategies": "strategy", "expressions": "expression", "aggregators": "cluster", "nodatas": "mockcfg"}
	for _, name := range []string{"strategies", "expressions", "aggregators", "nodatas"} {
		_, body := readResponse(t, name)
		if name == "aggregators" {
			var page struct{ Aggregators json.RawMessage }
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatal(err)
			}
			body = string(page.Aggregators)
		}
		var rows []map[string]any
		if err := json.Unmarshal([]byte(body), &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if name == "nodatas" {
				row["t_create"] = w.clock
			}
			var columns []string
			var args []any
			for column, value := range row {
				columns, args = append(columns, column), append(args, value)
			}
			marks := strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")
			sqlExec(t, db.Portal, "INSERT INTO "+tables[name]+" ("+strings.Join(columns, ", ")+") VALUES ("+marks+")", args...)
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
		for _, name := range strings.Fields(capturesOfRules) {
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
		for _, name := range strings.Fields(capturesOfAlarms) {
			t.Run(name, func(t *testing.T) { w.sameAsStock(t, name) })
		}
		a := w.call("root", "GET", "/alarm/eventcases?event_id=s_10_5a7c0c3f899fabdd3f9062ab1a6fb184", nil)
		if !strings.Contains(a.body, `"process_status":"in progress"`) {
			t.Errorf("the note did not reach the case: %s", a.body)
		}
	})
}

// Stock's answers about screens are ours, in a database that is as empty.
func TestStocksAnswersAboutScreens(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorldOf(t, db, false)
		for _, name := range strings.Fields(capturesOfScreens) {
			t.Run(name, func(t *testing.T) { w.sameAsStock(t, name) })
		}
	})
}

// Stock's answers to Grafana are ours, but that ours are in the order of names.
func TestStocksAnswersToGrafana(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorldOf(t, db, false)
		const start = 1795320060
		w.ours.Put(graphtest.Gauge("it-q1", "it.qg", 60, start, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19), graphtest.Gauge("it-q1", "it.qc/k=v", 60, start, 1))
		for _, name := range []string{"it-agent", "it-h1", "it-h9", "it-h2", "it-maint", "it-cluster"} {
			w.ours.Put(graphtest.Gauge(name, "it.x", 60, start, 1))
		}
		for _, name := range strings.Fields(capturesOfGrafana) {
			t.Run(name, func(t *testing.T) {
				if name != "grafana_root" {
					w.sameAsStock(t, name)
					return
				}
				req, body := readRequest(t, name)
				_, want := readResponse(t, name)
				_, got, _ := w.replay(req, body)
				if g, s := sortedSegments(t, got), sortedSegments(t, want); g != s {
					t.Errorf("body\n got %s\nwant %s", g, s)
				}
			})
		}
	})
}

func sortedSegments(t *testing.T, body string) string {
	t.Helper()
	var all []segment
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b segment) int { return strings.Compare(a.Text, b.Text) })
	return fmt.Sprint(all)
}

// The list of metrics for forms is what stands in the file, without the empty text that
// stock has behind the last line.
func TestStocksListOfMetrics(t *testing.T) {
	w := newWorldOf(t, openPortal(t, portal.Config{Dir: t.TempDir()}), false)
	_, body := readResponse(t, "default_metrics")
	var names []string
	if err := json.Unmarshal([]byte(body), &names); err != nil || names[len(names)-1] != "" {
		t.Fatal(names, err)
	}
	file := filepath.Join(t.TempDir(), "metric")
	if err := os.WriteFile(file, []byte(strings.Join(names, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	w.settingsOnly(func(s *Settings) { s.MetricListFile = file })
	want := must(json.Marshal(names[:len(names)-1]))
	w.want("root", "GET", "/metric/default_list", nil, 200, string(want))
}

// What stock's alarm, aggregator and nodata asked stock's api, byte for byte and with
// the token that all of them share, gets the same answers here.
func TestStocksDaemonsAskOurs(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := stockRules(t, db)
		w.settingsOnly(func(s *Settings) { s.DefaultToken = "interop-default-token" })
		sqlExec(t, db.Portal, "UPDATE action SET uic = 'it-team,it-team2' WHERE id = 3")
		for _, tc := range []struct {
			name  string
			first func() // what has happened meanwhile
		}{
			{name: "alarm-stream"}, {name: "alarm-stream1"}, {name: "alarm-stream2"}, {name: "alarm-stream3"},
			{name: "nodata-stream"}, {name: "nodata-stream1"},
			{name: "aggregator-stream"},
			{"aggregator-stream1", func() {
				w.ours.Put(graphtest.Gauge("it-h1", "it.agg", 30, 1795320690, 10), graphtest.Gauge("it-h2", "it.agg", 30, 1795320690, 20))
			}},
			{"aggregator-stream2", func() {
				sqlExec(t, db.Portal, "UPDATE host SET maintain_begin = 1, maintain_end = 2 WHERE id = 3")
			}},
			{"aggregator-stream3", func() {
				w.ours.Put(graphtest.Gauge("it-h1", "it.agg", 30, 1795320720, 10), graphtest.Gauge("it-h2", "it.agg", 30, 1795320720, 20),
					graphtest.Gauge("it-h1", "it.agg2/k=v", 30, 1795320720, 30))
			}},
		} {
			t.Run(tc.name, func(t *testing.T) {
				if tc.first != nil {
					tc.first()
				}
				w.replayStream(t, "testdata/daemons/"+tc.name)
			})
		}
	})
	files, err := filepath.Glob("testdata/daemons/*.c2s.bin")
	if err != nil || len(files) != 10 {
		t.Errorf("%d captures, %v: each needs a line above", len(files), err)
	}
}

// replayStream replays all requests of a connection.
func (w *world) replayStream(t *testing.T, path string) {
	t.Helper()
	open := func(side string) *bufio.Reader {
		b, err := os.ReadFile(path + side)
		if err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(bytes.NewReader(b))
	}
	requests, answers := open(".c2s.bin"), open(".s2c.bin")
	for n := 0; ; n++ {
		req, err := http.ReadRequest(requests)
		if errors.Is(err, io.EOF) && n > 0 {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Del("Accept-Encoding") // nobody compresses here
		resp, err := http.ReadResponse(answers, req)
		if err != nil {
			t.Fatal(err)
		}
		want := readAll(resp)
		status, got, _ := w.replay(req, body)
		var gotJSON, wantJSON any
		if err := errors.Join(json.Unmarshal([]byte(got), &gotJSON), json.Unmarshal([]byte(want), &wantJSON)); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		if status != resp.StatusCode || !covers(gotJSON, wantJSON) {
			t.Errorf("%s %s\n got %d %s\nwant %d %s", req.Method, req.RequestURI, status, got, resp.StatusCode, want)
		}
	}
}
