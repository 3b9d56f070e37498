package portal

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// Rows of alarms that are old go a batch at a time, so that no statement holds many
// locks. Each of the calls below deletes limit rows at most, 1000 whatever it says, and
// returns how many; fewer than limit means that there are no more.

// DeleteEvents deletes rows of events from before a time.
func (db *DB) DeleteEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	return db.deleteOld(ctx, "SELECT id FROM events WHERE timestamp < ? ORDER BY timestamp LIMIT ?", before, limit,
		"DELETE FROM events WHERE id IN ")
}

// DeleteNotices deletes messages of events from before a time, from inboxes too.
func (db *DB) DeleteNotices(ctx context.Context, before time.Time, limit int) (int, error) {
	return db.deleteOld(ctx, "SELECT id FROM alarm_notice WHERE event_ts < ? ORDER BY event_ts LIMIT ?", before, limit,
		"DELETE FROM alarm_inbox WHERE notice_id IN ", "DELETE FROM alarm_notice WHERE id IN ")
}

// DeleteCases deletes cases that are OK since before a time, with what belongs to them.
func (db *DB) DeleteCases(ctx context.Context, before time.Time, limit int) (int, error) {
	return db.deleteOld(ctx, "SELECT id FROM event_cases WHERE status = 'OK' AND update_at < ? ORDER BY update_at LIMIT ?", before, limit,
		"DELETE FROM events WHERE event_caseId IN ", "DELETE FROM event_note WHERE event_caseId IN ",
		"DELETE FROM event_case_team WHERE event_caseId IN ", "DELETE FROM event_cases WHERE id IN ")
}

func (db *DB) deleteOld(ctx context.Context, find string, before time.Time, limit int, deletes ...string) (n int, err error) {
	if err := db.needAlarms(); err != nil {
		return 0, err
	}
	limit = min(max(limit, 1), maxMarks)
	err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		var ids []string
		if err := tx.SelectContext(ctx, &ids, find+db.Alarms.dialect.forUpdate(), before, limit); err != nil {
			return err
		}
		n = len(ids)
		if n == 0 {
			return nil
		}
		for _, d := range deletes {
			if _, err := tx.ExecContext(ctx, d+"("+marks(n)+")", anys(ids)...); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// OpenCases counts the cases that are a problem now.
func (db *DB) OpenCases(ctx context.Context) (n int, err error) {
	if err := db.needAlarms(); err != nil {
		return 0, err
	}
	return n, db.Alarms.read.GetContext(ctx, &n, "SELECT COUNT(*) FROM event_cases WHERE status = 'PROBLEM'")
}
