package portal

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestEventNotes(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		if _, err := db.SaveEvents(t.Context(), []AlarmEvent{{Event: problem("s_1", 1000, 1)}}); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(2000, 0)
		for i, n := range []EventNote{
			{CaseID: "s_1", Note: "looking", Status: "in progress", UserID: 7, Ticket: "T-1", Timestamp: &at},
			{CaseID: "s_1", Note: "a thought", Status: "comment", UserID: 8},
		} {
			id, err := db.AddEventNote(t.Context(), n)
			if err != nil || id == 0 {
				t.Fatalf("note %d: %d, %v", i, id, err)
			}
		}
		cases, err := db.EventCases(t.Context(), CaseFilter{ID: "s_1"})
		if err != nil || *cases[0].ProcessStatus != "in progress" || *cases[0].ProcessNote == 0 || cases[0].Timestamp.Unix() != 1000 {
			t.Errorf("case %+v, %v", cases[0], err)
		}
		notes, err := db.EventNotes(t.Context(), NoteFilter{CaseID: "s_1"})
		if err != nil || len(notes) != 2 || notes[1].Note != "looking" || notes[1].UserID != 7 || notes[1].Ticket != "T-1" || notes[1].Timestamp.Unix() != 2000 {
			t.Errorf("notes %+v, %v", notes, err)
		}
		if notes, err := db.EventNotes(t.Context(), NoteFilter{Start: at, End: at, Status: "in progress"}); err != nil || len(notes) != 1 {
			t.Errorf("notes of a second: %+v, %v", notes, err)
		}
		if _, err := db.AddEventNote(t.Context(), EventNote{CaseID: "s_2", Status: "comment"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a note on nothing: %v", err)
		}
		for _, n := range []EventNote{{CaseID: "s_1", Status: "done"}, {CaseID: "s_1", Status: "comment", Note: strings.Repeat("x", 301)}} {
			var bad *InvalidError
			if _, err := db.AddEventNote(t.Context(), n); !errors.As(err, &bad) {
				t.Errorf("note %+v: %v", n, err)
			}
		}
	})
}

// Old rows go in batches, and what is open or young stays.
func TestAlarmRetention(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		var batch []AlarmEvent
		for i := range 10 {
			at, status := int64(1000+i), "OK"
			if i >= 8 {
				status = "PROBLEM"
			}
			e := problem(fmt.Sprint("s_", i), at, 1)
			e.Status = status
			batch = append(batch, AlarmEvent{Event: e, Teams: []string{"ops"}})
		}
		if _, err := db.SaveEvents(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		var notices []Notice
		for i := range 10 {
			notices = append(notices, Notice{CaseID: fmt.Sprint("s_", i), EventTS: time.Unix(int64(1000+i), 0), SendTS: time.Unix(2000, 0),
				Status: "OK", Receiver: "root", Channel: "inbox", Inbox: true, Result: NoticeSent})
		}
		if _, err := db.QueueNotices(t.Context(), notices); err != nil {
			t.Fatal(err)
		}
		if _, err := db.AddEventNote(t.Context(), EventNote{CaseID: "s_0", Status: "comment"}); err != nil {
			t.Fatal(err)
		}
		if n, err := db.OpenCases(t.Context()); err != nil || n != 2 {
			t.Errorf("%d open, %v", n, err)
		}
		before := time.Unix(1005, 0)
		for _, tc := range []struct {
			what   string
			delete func() (int, error)
			want   string
		}{
			{"events", func() (int, error) { return db.DeleteEvents(t.Context(), before, 3) }, "3 2 0"},
			{"notices", func() (int, error) { return db.DeleteNotices(t.Context(), before, 5) }, "5 0 0"},
			{"cases", func() (int, error) { return db.DeleteCases(t.Context(), time.Unix(5000, 0), 6) }, "6 2 0"},
		} {
			var got []string
			for range 3 {
				n, err := tc.delete()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(n))
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("%s: deleted %s, want %s", tc.what, s, tc.want)
			}
		}
		for table, want := range map[string]int{"event_cases": 2, "events": 2, "alarm_notice": 5, "alarm_inbox": 5, "event_note": 0, "event_case_team": 2} {
			if n := count(t, db.Alarms, table); n != want {
				t.Errorf("%d rows in %s, want %d", n, table, want)
			}
		}
	})
}
