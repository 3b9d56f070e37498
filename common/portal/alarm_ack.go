package portal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"falcon/common/model"
)

// ack is who works on a case, while a batch of events changes it.
type ack struct {
	by    string
	ended bool // its problem is over
	gone  bool // and another one has begun
	both  bool // in the same batch
}

// holds returns who works on a case of a status: on one that is over nobody does.
func (a ack) holds(status string) string {
	if status != model.StatusProblem {
		return ""
	}
	return a.by
}

// take moves it with its case from one status to the next: it ends with the problem, and
// stands in the row until the next one begins.
func (a *ack) take(from, to string) {
	switch {
	case a.by == "":
	case to == model.StatusOK:
		a.ended = true
	case from == model.StatusOK:
		*a = ack{gone: true, both: a.ended}
	}
}

// writeAcks writes of the cases what became of those that somebody works on (contract
// alerting 4.11): the ones that are over are resolved.
func writeAcks(ctx context.Context, tx *sqlx.Tx, ids []string, cases map[string]*alarmCase) error {
	for _, w := range []struct {
		set   string
		which func(ack) bool
	}{
		{"acked_by = '', acked_at = NULL", func(a ack) bool { return a.gone }},
		{"process_note = 0, process_status = 'unresolved'", func(a ack) bool { return a.both }},
		{"process_status = 'resolved'", func(a ack) bool { return a.ended }},
	} {
		var some []string
		for _, id := range ids {
			if c := cases[id]; c != nil && w.which(c.acked) && !slices.Contains(some, id) {
				some = append(some, id)
			}
		}
		if len(some) == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE event_cases SET timestamp = timestamp, "+w.set+" WHERE id IN ("+marks(len(some))+")", anys(some)...); err != nil {
			return fmt.Errorf("write who works on %d cases: %w", len(some), err)
		}
	}
	return nil
}

// CaseAck says who works on a problem.
type CaseAck struct {
	// ID is the case's. Empty: all open cases of Endpoint and Counter.
	ID, Endpoint, Counter string
	By                    string
	At                    time.Time
	Undo                  bool // nobody does any more
}

// AckCases writes who works on open cases, or that nobody does any more, and returns the
// ids of those it changed or that were so already. A case that is over is left as it is.
// By, when it is a user's name, leaves a note, too.
func (db *DB) AckCases(ctx context.Context, a CaseAck) (ids []string, err error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	a.By = clip(a.By, 64)
	if strings.TrimSpace(a.By) == "" {
		a.By = "somebody" // a link to a group is nobody's own
	}
	err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		ids = nil
		var rows []struct {
			ID   string `db:"id"`
			By   string `db:"acked_by"`
			Full string `db:"counter_full"`
		}
		where, args := "id = ?", []any{clip(a.ID, 50)}
		if a.ID == "" {
			where, args = "endpoint = ? AND metric = ?", []any{clip(a.Endpoint, 100), clip(a.Counter, 200)}
		}
		if err := tx.SelectContext(ctx, &rows, "SELECT id, acked_by, COALESCE(counter_full, metric) AS counter_full FROM event_cases WHERE status = 'PROBLEM' AND "+where+" ORDER BY id"+
			db.Alarms.dialect.forUpdate(), args...); err != nil {
			return err
		}
		for _, r := range rows {
			if a.ID == "" && r.Full != clip(a.Counter, 10_000) {
				continue
			}
			ids = append(ids, r.ID)
			if a.Undo == (r.By == "") && (a.Undo || r.By == a.By) {
				continue
			}
			set, args := "acked_by = ?, acked_at = ?, process_status = 'in progress'", []any{a.By, a.At.Truncate(time.Second)}
			if a.Undo {
				set, args = "acked_by = '', acked_at = NULL, process_status = 'unresolved'", nil
			}
			if _, err := tx.ExecContext(ctx, "UPDATE event_cases SET timestamp = timestamp, "+set+" WHERE id = ?", append(args, r.ID)...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("write who works on case %q: %w", a.ID, err)
	}
	return ids, db.noteAck(ctx, a, ids)
}

// noteAck leaves a note of a user's acknowledgement at the cases: notes are of users, so
// a name that is nobody's leaves none.
func (db *DB) noteAck(ctx context.Context, a CaseAck, ids []string) error {
	if db.UIC == nil || len(ids) == 0 {
		return nil
	}
	user, err := db.UserByName(ctx, a.By)
	if err != nil {
		return nil //nolint:nilerr // the rows of the cases have the name
	}
	note, status := "acknowledged", "in progress"
	if a.Undo {
		note, status = "no longer acknowledged", "unresolved"
	}
	for _, id := range ids {
		// The same link may be used twice.
		last, err := db.EventNotes(ctx, NoteFilter{CaseID: id, Limit: 1})
		if err == nil && (len(last) == 0 || last[0].Note != note || last[0].UserID != user.ID || last[0].Status != status) {
			_, err = db.AddEventNote(ctx, EventNote{CaseID: id, Note: note, Status: status, Timestamp: &a.At, UserID: user.ID})
		}
		if err != nil {
			return fmt.Errorf("note who works on case %q: %w", id, err)
		}
	}
	return nil
}
