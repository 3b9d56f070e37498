package portal

import (
	"errors"
	"fmt"
	"math"
	"slices"
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
			saved, err := db.SaveEvents(t.Context(), all)
			if err != nil {
				t.Fatal(err)
			}
			var moved []bool
			for _, s := range saved {
				moved = append(moved, s.Moved)
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
		for team, want := range map[string]int{"dba": 3, "nobody": 0} {
			if cases, err := db.EventCases(t.Context(), CaseFilter{Team: team}); err != nil || len(cases) != want {
				t.Errorf("%d cases of team %s, %v; want %d", len(cases), team, err, want)
			}
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

// What strangers can write into an event is saved, whatever it is, and what MySQL takes
// for one id is one case.
func TestSaveEventsOfStrangers(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		wild := problem("s_wild", math.MaxInt32, math.MaxInt)
		wild.Strategy.MaxStep, wild.Strategy.Priority, wild.Strategy.Id, wild.Strategy.Tpl.Id = math.MaxInt, math.MinInt, -5, math.MaxInt
		wild.Endpoint, wild.Strategy.Func, wild.Strategy.Operator = "\xff\x00", strings.Repeat("f", 99), strings.Repeat("<", 999)
		twins := []AlarmEvent{{Event: problem("s_a", 1000, 1)}, {Event: problem("S_A", 1060, 2)}, {Event: problem("s_á", 1120, 3)}}
		if _, err := db.SaveEvents(t.Context(), append(twins, AlarmEvent{Event: wild, Teams: []string{"ops", "OPS", "Óps"}})); err != nil {
			t.Fatal(err)
		}
		if saved, err := db.SaveEvents(t.Context(), twins[1:]); err != nil || saved[1].Prior == nil {
			t.Errorf("twins again: %+v, %v", saved, err)
		}
	})
}

// A batch says what each of its events found, also when an earlier one of the batch
// made it so, and many cases are changed at once.
func TestSaveEventsTogether(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		batch := func(at int64, step int, status string) []AlarmEvent {
			var all []AlarmEvent
			for i := range MaxEvents {
				e := problem(fmt.Sprintf("s_%d", i%150), at+int64(i), step)
				e.Status, e.LeftValue = status, float64(i)
				if i%7 == 0 {
					e.Strategy.Note = fmt.Sprint("note ", at, i)
				}
				all = append(all, AlarmEvent{Event: e, Teams: []string{"ops"}})
			}
			return all
		}
		for n, b := range [][]AlarmEvent{batch(1000, 1, "PROBLEM"), batch(2000, 2, "PROBLEM"), batch(3000, 1, "OK"), batch(3000, 1, "OK")} {
			again := n == 3
			saved, err := db.SaveEvents(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range saved {
				if at := b[i].Event.EventTime; at == 1000+int64(i) && i < 150 {
					if s.Prior != nil || !s.Moved {
						t.Fatalf("the first event %d: %+v", i, s)
					}
				} else if s.Known != again {
					t.Fatalf("event %d at %d: known %v", i, at, s.Known)
				} else if i >= 150 && (s.Prior == nil || s.Prior.At.Unix() < at-150 || s.Prior.Status != b[i].Event.Status) {
					t.Fatalf("event %d at %d found %+v", i, at, s.Prior)
				}
			}
		}
		cases, err := db.EventCases(t.Context(), CaseFilter{Endpoints: []string{"host01"}})
		if err != nil || len(cases) != 150 {
			t.Fatalf("%d cases, %v", len(cases), err)
		}
		for _, c := range cases {
			var n int64
			if _, err := fmt.Sscanf(c.ID, "s_%d", &n); err != nil {
				t.Fatal(err)
			}
			if n < 50 {
				n += 150
			}
			if c.Status != "OK" || c.Timestamp.Unix() != 3000+n || c.UpdateAt.Unix() != 3000+n || *c.CurrentStep != 1 || c.Cond != fmt.Sprint(n, " > 3") {
				t.Errorf("case %+v", c)
			}
		}
		if n := count(t, db.Alarms, "events"); n != 3*MaxEvents {
			t.Errorf("%d event rows", n)
		}
	})
}

// Times of any precision name one row.
func TestNoticesOfParts(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		n := Notice{CaseID: "s_1", EventTS: time.Unix(1000, 700_000_000), SendTS: time.Unix(2000, 999_999_999), Status: "OK", Receiver: "root", Channel: "inbox"}
		for range 2 {
			rows, err := db.QueueNotices(t.Context(), []Notice{n})
			if err != nil || rows[0].EventTS.Unix() != 1000 || rows[0].SendTS.Unix() != 2000 {
				t.Fatalf("%+v, %v", rows, err)
			}
		}
		if n := count(t, db.Alarms, "alarm_notice"); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

// A message is one sender's: the second who claims it does not get it.
func TestClaimNotices(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		at := time.Unix(2000, 0)
		var all []Notice
		for i := range 5 {
			all = append(all, Notice{CaseID: "s_1", EventTS: time.Unix(1000, 0), SendTS: at, Status: "PROBLEM", Step: 1, ActionID: 9,
				Receiver: fmt.Sprint("user", i), Channel: "mail", Inbox: i == 4})
		}
		all[4].Result, all[4].Attempts = NoticeSent, 1
		rows, err := db.QueueNotices(t.Context(), append(all, all[0]))
		if err != nil || rows[5].ID != rows[0].ID || rows[4].Result != NoticeSent {
			t.Fatalf("%+v, %v", rows, err)
		}
		if _, unread, err := db.Inbox(t.Context(), "user4", 1, 0); err != nil || unread != 1 {
			t.Errorf("%d unread, %v", unread, err)
		}
		claim := func(n ...Notice) string {
			t.Helper()
			got, err := db.ClaimNotices(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(got)
		}
		if got := claim(rows[:2]...); got != "[true true]" {
			t.Errorf("first claim %s", got)
		}
		if got := claim(rows[1:5]...); got != "[false true true false]" {
			t.Errorf("second claim %s", got)
		}
		rows[0].Result, rows[0].Attempts, rows[0].Answer = NoticeSent, 1, "ok"
		rows[1].Result, rows[1].Attempts, rows[1].Answer = NoticeFailed, 3, "no"
		if err := db.SetNotices(t.Context(), rows[:2]); err != nil {
			t.Fatal(err)
		}
		again, err := db.QueueNotices(t.Context(), all)
		if err != nil || again[0].Result != NoticeSent || again[1].Result != NoticeFailed || again[1].Answer != "no" || again[2].Attempts != 1 {
			t.Errorf("again %+v, %v", again, err)
		}
		told := func(asked ...Telling) string {
			t.Helper()
			all, err := db.LastTold(t.Context(), asked)
			if err != nil {
				t.Fatal(err)
			}
			var text []string
			for _, one := range all {
				if one == nil {
					text = append(text, "-")
				} else {
					text = append(text, fmt.Sprintf("%d@%d", one.Step, one.At.Unix()))
				}
			}
			return strings.Join(text, " ")
		}
		after, before := Telling{"s_1", 9, time.Unix(1001, 0)}, Telling{"s_1", 9, time.Unix(1000, 0)}
		if got, want := told(before, after, Telling{"s_1", 8, after.At}, Telling{"s_nobody", 9, after.At}), "- 1@1000 - -"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		if got, want := told(slices.Repeat([]Telling{before, after}, tellings)...), strings.TrimSpace(strings.Repeat("- 1@1000 ", tellings)); got != want {
			t.Errorf("of many: %s", got)
		}
		if got := told(); got != "" {
			t.Errorf("of none: %s", got)
		}
		ok1 := problem("s_1", 1100, 1)
		ok1.Status = "OK"
		if _, err := db.SaveEvents(t.Context(), []AlarmEvent{{Event: ok1}}); err != nil {
			t.Fatal(err)
		}
		if got, want := told(Telling{"s_1", 9, time.Unix(1200, 0)}, after), "- 1@1000"; got != want {
			t.Errorf("told of a problem that was over: %s, want %s", got, want)
		}
	})
}

// A row that a database does not take is told from a database that does not work.
func TestRefused(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		_, err := db.Alarms.write.Exec("INSERT INTO alarm_channel (name, type, config, created) VALUES (NULL, 'x', '', '2020-01-01')")
		if err == nil || !Refused(err) {
			t.Errorf("no name: %v", err)
		}
		if _, err := db.Alarms.write.Exec("INSERT INTO nowhere (x) VALUES (1)"); err == nil || Refused(err) {
			t.Errorf("no table: %v", err)
		}
		if err := collision(t, db.Alarms); Refused(err) {
			t.Errorf("a collision: %v", err)
		}
	})
}

// Counters that are as long as can be are saved, two hundred at once.
func TestSaveEventsOfLongCounters(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		var all []AlarmEvent
		for i := range MaxEvents {
			e := problem(fmt.Sprint("s_", i), 1000, 1)
			e.PushedTags["long"] = strings.Repeat("主", 30_000)
			all = append(all, AlarmEvent{Event: e})
		}
		if _, err := db.SaveEvents(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db.Alarms, "event_cases"); n != MaxEvents {
			t.Errorf("%d cases", n)
		}
	})
}
