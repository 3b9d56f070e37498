package portal

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"falcon/common/model"
)

// Who works on a problem stands in its case until the next one begins; the end resolves
// it, and only what is open can be acknowledged.
func TestAckCases(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		if _, err := db.CreateUser(t.Context(), User{Name: "anna"}); err != nil {
			t.Fatal(err)
		}
		save := func(id, status string, step int, at int64) Saved {
			t.Helper()
			e := problem(id, at, step)
			e.Status = status
			saved, err := db.SaveEvents(t.Context(), []AlarmEvent{{Event: e}})
			if err != nil {
				t.Fatal(err)
			}
			return saved[0]
		}
		want := func(what, id, want string) {
			t.Helper()
			cases, err := db.EventCases(t.Context(), CaseFilter{ID: id})
			if err != nil || len(cases) != 1 {
				t.Fatalf("%d cases, %v", len(cases), err)
			}
			c, at := cases[0], int64(0)
			if c.AckedAt != nil {
				at = c.AckedAt.Unix()
			}
			if got := fmt.Sprint(c.AckedBy, " ", at, " ", *c.ProcessStatus, " ", c.Timestamp.Unix()); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		ack := func(a CaseAck, want ...string) {
			t.Helper()
			a.At = time.Unix(1500, 0)
			ids, err := db.AckCases(t.Context(), a)
			if err != nil || !slices.Equal(ids, want) {
				t.Errorf("acknowledging %+v means %q, %v; want %q", a, ids, err, want)
			}
		}
		save("s_1", "PROBLEM", 1, 1000)
		save("s_2", "PROBLEM", 1, 1000)
		ack(CaseAck{ID: "s_1", By: "anna"}, "s_1")
		ack(CaseAck{ID: "s_1", By: "anna"}, "s_1") // the link was used twice
		want("an acknowledged case", "s_1", "anna 1500 in progress 1000")
		want("another case", "s_2", " 0 unresolved 1000")
		if notes, err := db.EventNotes(t.Context(), NoteFilter{CaseID: "s_1"}); err != nil || len(notes) != 1 || notes[0].Note != "acknowledged" {
			t.Errorf("notes %+v, %v", notes, err)
		}
		if s := save("s_1", "PROBLEM", 2, 1600); s.Prior.AckedBy != "anna" {
			t.Errorf("the next step does not know who works on it: %+v", s.Prior)
		}
		want("a further step", "s_1", "anna 1500 in progress 1000")
		ack(CaseAck{ID: "s_1", By: "anna", Undo: true}, "s_1")
		want("taken back", "s_1", " 0 unresolved 1000")
		ack(CaseAck{ID: "s_1"}, "s_1")
		want("by a link of nobody's own", "s_1", "somebody 1500 in progress 1000")
		save("s_1", "OK", 1, 1700)
		want("over", "s_1", "somebody 1500 resolved 1700")
		ack(CaseAck{ID: "s_1", By: "anna"})
		if s := save("s_1", "PROBLEM", 1, 1800); s.Prior.AckedBy != "" {
			t.Errorf("the next problem is acknowledged by %q", s.Prior.AckedBy)
		}
		want("the next problem", "s_1", " 0 unresolved 1800")

		e := problem("s_1", 1, 1)
		series := CaseAck{Endpoint: e.Endpoint, Counter: e.Counter(), By: "anna"}
		ack(series, "s_1", "s_2")
		// In one batch: the end, and the next problem.
		end, again := problem("s_1", 1900, 1), problem("s_1", 2000, 1)
		end.Status = model.StatusOK
		if _, err := db.SaveEvents(t.Context(), []AlarmEvent{{Event: end}, {Event: again}}); err != nil {
			t.Fatal(err)
		}
		want("over and begun again in one batch", "s_1", " 0 unresolved 2000")
		series.Counter += "x"
		ack(series)
	})
}
