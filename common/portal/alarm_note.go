package portal

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// NoteComment is the status of a note that leaves its case as it is.
const NoteComment = "comment"

// NoteStatuses are what a note may make of its case, and NoteComment.
var NoteStatuses = []string{"in progress", "unresolved", "resolved", "ignored", NoteComment}

// EventNote is a row of event_note: what somebody says about a case.
type EventNote struct {
	ID        int64      `db:"id"`
	CaseID    string     `db:"event_caseId"`
	Note      string     `db:"note"`
	Ticket    string     `db:"case_id"` // of another system, as the writer names it
	Status    string     `db:"status"`
	Timestamp *time.Time `db:"timestamp"`
	UserID    int64      `db:"user_id"`
}

// NoteFilter chooses notes; what is zero does not matter.
type NoteFilter struct {
	CaseID        string
	Start, End    time.Time // both included
	Status        string
	Limit, Offset int // Limit 0 is 50
}

// EventNotes returns the notes that f chooses, the newest first.
func (db *DB) EventNotes(ctx context.Context, f NoteFilter) ([]EventNote, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	var where conditions
	if f.CaseID != "" {
		where.add("event_caseId = ?", f.CaseID)
	}
	if !f.Start.IsZero() {
		where.add("timestamp >= ?", f.Start)
	}
	if !f.End.IsZero() {
		where.add("timestamp <= ?", f.End)
	}
	if f.Status != "" {
		where.add("status = ?", f.Status)
	}
	if f.Limit <= 0 {
		f.Limit = 50
	}
	notes := []EventNote{}
	err := db.Alarms.read.SelectContext(ctx, &notes, "SELECT id, COALESCE(event_caseId, '') AS event_caseId, COALESCE(note, '') AS note, COALESCE(case_id, '') AS case_id,"+
		" COALESCE(status, '') AS status, timestamp, COALESCE(user_id, 0) AS user_id FROM event_note"+where.sql()+" ORDER BY timestamp DESC, id DESC LIMIT ? OFFSET ?",
		append(where.args, f.Limit, max(f.Offset, 0))...)
	return notes, err
}

// AddEventNote writes a note and returns its id. Any status but NoteComment becomes
// that of the case. ErrNotFound says that there is no such case.
func (db *DB) AddEventNote(ctx context.Context, n EventNote) (id int64, err error) {
	if err := db.needAlarms(); err != nil {
		return 0, err
	}
	if !slices.Contains(NoteStatuses, n.Status) {
		return 0, invalid("status %q is unknown, use one of: %s", n.Status, strings.Join(NoteStatuses, ", "))
	}
	for _, f := range []struct {
		what, value string
		max         int
	}{{"note", n.Note, 300}, {"case_id", n.Ticket, 20}} {
		if why := fits(f.value, f.max); why != "" {
			return 0, invalid("%s %s", f.what, why)
		}
	}
	if n.Timestamp == nil {
		now := time.Now()
		n.Timestamp = &now
	}
	err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		var found string
		if err := tx.GetContext(ctx, &found, "SELECT id FROM event_cases WHERE id = ?"+db.Alarms.dialect.forUpdate(), n.CaseID); err != nil {
			return notFound(err)
		}
		res, err := tx.ExecContext(ctx, "INSERT INTO event_note (event_caseId, note, case_id, status, timestamp, user_id) VALUES (?, ?, ?, ?, ?, ?)",
			found, n.Note, n.Ticket, n.Status, *n.Timestamp, n.UserID)
		if err != nil {
			return err
		}
		if id, err = res.LastInsertId(); err != nil || n.Status == NoteComment {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE event_cases SET timestamp = timestamp, process_note = ?, process_status = ? WHERE id = ?", id, n.Status, found)
		return err
	})
	return id, err
}
