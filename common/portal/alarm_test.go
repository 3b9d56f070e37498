package portal

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
)

func problem(id string, at int64, step int) *model.Event {
	return &model.Event{Id: id, Status: "PROBLEM", Endpoint: "host01", LeftValue: 1.5e6, CurrentStep: step, EventTime: at,
		PushedTags: map[string]string{"mount": "/", "fstype": "ext4"},
		Strategy: &model.Strategy{Id: 12, Metric: "df", Func: "all(#3)", Operator: ">", RightValue: 3, MaxStep: 3, Priority: 2, Note: "disk",
			Tpl: &model.Template{Id: 7, ActionId: 9, Creator: "root"}}}
}

// Contract alerting 4.14: the case follows the newest event, its timestamp is the
// beginning of the incident, and every event is there once.
func TestSaveEvents(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		recovered := problem("s_1", 1300, 1)
		recovered.Status = "OK"
		long := problem("s_2", 1000, 1)
		long.Endpoint, long.Strategy.Note = strings.Repeat("主", 300), strings.Repeat("😀", 600)
		expr := &model.Event{Id: "e_3", Status: "PROBLEM", Endpoint: "h", CurrentStep: 1, EventTime: 1000,
			Expression: &model.Expression{Id: 4, Metric: "m", Operator: "==", RightValue: 1, MaxStep: 1}}
		save := func(events ...*model.Event) string {
			t.Helper()
			var all []AlarmEvent
			for _, e := range events {
				all = append(all, AlarmEvent{Event: e, Teams: []string{"ops", "dba", "ops"}})
			}
			moved, err := db.SaveEvents(t.Context(), all)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(moved)
		}
		if got, want := save(problem("s_1", 1000, 1), problem("s_1", 1120, 2), long, expr), "[true true true true]"; got != want {
			t.Errorf("first events moved %s, want %s", got, want)
		}
		check := func(when, status string, began, updated, step int64, events int) {
			t.Helper()
			cases, err := db.EventCases(t.Context(), CaseFilter{ID: "s_1", Endpoints: []string{"host01"}, Statuses: []string{status}, Metrics: []Pattern{{Expr: "^df/"}}})
			if err != nil || len(cases) != 1 {
				t.Fatalf("%s: cases %v, %v", when, cases, err)
			}
			rows, err := db.CaseEvents(t.Context(), "s_1", time.Time{}, time.Time{}, -1, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			c := cases[0]
			if c.Timestamp.Unix() != began || c.UpdateAt.Unix() != updated || *c.CurrentStep != step || len(rows) != events ||
				c.Metric != "df/fstype=ext4,mount=/" || c.Cond != "1.5e+06 > 3" || *c.TplCreator != "root" || *c.ProcessStatus != "unresolved" {
				t.Errorf("%s: case %+v with %d events, want began %d updated %d step %d events %d", when, c, len(rows), began, updated, step, events)
			}
		}
		check("two steps", "PROBLEM", 1000, 1120, 2, 2)
		execSQL(t, db.Alarms, "UPDATE event_cases SET process_status = 'ignored', process_note = 5")
		if got := save(recovered); got != "[true]" {
			t.Errorf("recovery moved %s", got)
		}
		check("recovered", "OK", 1300, 1300, 1, 3)
		if got := save(problem("s_1", 1240, 3)); got != "[false]" {
			t.Errorf("a late event moved %s", got)
		}
		check("late", "OK", 1300, 1300, 1, 4)
		save(recovered, problem("s_1", 1000, 1))
		check("saved again", "OK", 1300, 1300, 1, 4)

		var teams []string
		if err := db.Alarms.read.Select(&teams, "SELECT team FROM event_case_team WHERE event_caseId = 's_1' ORDER BY team"); err != nil || fmt.Sprint(teams) != "[dba ops]" {
			t.Errorf("teams %v, %v", teams, err)
		}
		cases, err := db.EventCases(t.Context(), CaseFilter{Start: time.Unix(900, 0), End: time.Unix(1100, 0)})
		if err != nil || len(cases) != 2 {
			t.Errorf("cases of a time: %d, %v; want 2", len(cases), err)
		}
	})
}

// What was told stays told: the second queueing finds the row with its result.
func TestNoticesAreQueuedOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		at := time.Unix(2000, 0)
		n := Notice{CaseID: "s_1", EventTS: time.Unix(1000, 0), SendTS: at, Endpoint: "h", Metric: "m", Status: "PROBLEM", Step: 1, ActionID: 9, Receiver: "root", Channel: "inbox"}
		other := n
		other.Receiver = "ann"
		first, err := db.QueueNotices(t.Context(), []Notice{n, other})
		if err != nil || first[0].Result != NoticeQueued || first[0].ID == first[1].ID {
			t.Fatalf("queued %+v, %v", first, err)
		}
		if err := db.SetNotice(t.Context(), first[0].ID, NoticeSent, 2, "250 ok", at); err != nil {
			t.Fatal(err)
		}
		again, err := db.QueueNotices(t.Context(), []Notice{n, other})
		if err != nil || again[0].ID != first[0].ID || again[0].Result != NoticeSent || again[0].Answer != "250 ok" || again[1].Result != NoticeQueued {
			t.Errorf("queued again %+v, %v", again, err)
		}
		if err := db.SetNotice(t.Context(), 1<<30, NoticeSent, 1, "", at); !errors.Is(err, ErrNotFound) {
			t.Errorf("SetNotice of no row: %v", err)
		}

		for range 2 {
			for _, row := range first {
				if err := db.AddInbox(t.Context(), "root", row.ID, at); err != nil {
					t.Fatal(err)
				}
			}
		}
		items, unread, err := db.Inbox(t.Context(), "root", 10, 0)
		if err != nil || len(items) != 2 || unread != 2 || items[1].Answer != "250 ok" {
			t.Fatalf("inbox %+v, %d unread, %v", items, unread, err)
		}
		for _, step := range []struct {
			user string
			ids  []int64
			want int
		}{{"ann", nil, 2}, {"root", []int64{items[0].InboxID}, 1}, {"root", nil, 0}} {
			if err := db.ReadInbox(t.Context(), step.user, at, step.ids...); err != nil {
				t.Fatal(err)
			}
			if _, unread, err = db.Inbox(t.Context(), "root", 1, 0); err != nil || unread != step.want {
				t.Errorf("after ReadInbox(%s, %v) %d unread, %v; want %d", step.user, step.ids, unread, err, step.want)
			}
		}
	})
}

func TestAlarmChannels(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		c := AlarmChannel{Name: "hook", Type: "webhook", Config: `{"url":"http://127.0.0.1:1"}`, Enabled: true, Creator: "root", Created: time.Unix(1000, 0)}
		id, err := db.CreateAlarmChannel(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.CreateAlarmChannel(t.Context(), c); !errors.Is(err, ErrExists) {
			t.Errorf("the second of one name: %v", err)
		}
		c.ID, c.Enabled = id, false
		if err := db.UpdateAlarmChannel(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		all, err := db.AlarmChannels(t.Context())
		if err != nil || len(all) != 1 || all[0].Enabled || all[0].Config != c.Config {
			t.Errorf("channels %+v, %v", all, err)
		}
		if err := db.DeleteAlarmChannel(t.Context(), id); err != nil {
			t.Error(err)
		}
		if err := db.DeleteAlarmChannel(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
	})
}

func TestAlarmsMayBeClosed(t *testing.T) {
	db := must[*DB](t)(Open(t.Context(), Config{GraphDSN: "root@tcp(127.0.0.1:1)/graph", UICDSN: "root@tcp(127.0.0.1:1)/uic", PortalDSN: "root@tcp(127.0.0.1:1)/falcon_portal"}, nil))
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.SaveEvents(t.Context(), nil); !errors.Is(err, errNoAlarms) {
		t.Errorf("SaveEvents without the database: %v", err)
	}
}
