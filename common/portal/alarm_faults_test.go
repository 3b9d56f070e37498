package portal

import (
	"testing"
	"time"
)

// A claim that is given back late does not undo what whoever claimed it then has done.
func TestGivenBackLate(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		at := time.Unix(2000, 0)
		rows, err := db.QueueNotices(t.Context(), []Notice{{CaseID: "s_1", EventTS: at, SendTS: at, Endpoint: "h", Metric: "m", Status: "PROBLEM", Step: 1, ActionID: 9, Receiver: "root", Channel: "im"}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the one that was paused, and the one that took over
			if mine, err := db.ClaimNotices(t.Context(), rows); err != nil || !mine[0] {
				t.Fatal(mine, err)
			}
			rows[0].Attempts++
		}
		done, back, failed := rows[0], rows[0], rows[0]
		done.Result, done.Answer = NoticeSent, "ok"
		back.Attempts = 0
		failed.Result, failed.Attempts = NoticeFailed, 3
		if err := db.SetNotices(t.Context(), []Notice{done}); err != nil {
			t.Fatal(err)
		}
		for _, late := range []Notice{back, failed} {
			if err := db.SetNotices(t.Context(), []Notice{late}); err != nil {
				t.Fatal(err)
			}
			if got, err := db.CaseNotices(t.Context(), "s_1", 1); err != nil || got[0].Result != NoticeSent || got[0].Attempts != 2 {
				t.Errorf("%+v, %v", got, err)
			}
		}
	})
}

// An event that is saved again does not open a case again that somebody has dealt with.
func TestSavedAgainStaysResolved(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		e := problem("s_1", 1000, 1)
		save := func() {
			t.Helper()
			if _, err := db.SaveEvents(t.Context(), []AlarmEvent{{Event: e, Teams: []string{"ops"}}}); err != nil {
				t.Fatal(err)
			}
		}
		save()
		execSQL(t, db.Alarms, "DELETE FROM event_case_team")
		if _, err := db.AddEventNote(t.Context(), EventNote{CaseID: "s_1", Note: "known", Status: "ignored"}); err != nil {
			t.Fatal(err)
		}
		save()
		cases, err := db.EventCases(t.Context(), CaseFilter{ID: "s_1", Team: "ops"})
		if err != nil || len(cases) != 1 || *cases[0].ProcessStatus != "ignored" {
			t.Errorf("%d cases, %v; %s", len(cases), err, *cases[0].ProcessStatus)
		}
	})
}
