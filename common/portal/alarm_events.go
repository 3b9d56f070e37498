package portal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"falcon/common/model"
)

// MaxEvents is how many events SaveEvents takes at once.
const MaxEvents = 200

// AlarmEvent is an event on its way into the rows.
type AlarmEvent struct {
	Event *model.Event
	// Teams are the teams of the event's action; they are written when a problem
	// begins, which is at step 1.
	Teams []string
}

// SaveEvents writes events, MaxEvents at most, in one transaction (contract alerting
// 4.14). The result says of each whether it moved its case: false is an event that is
// older than the case's newest one, which leaves a row in events only. An event that
// was saved before leaves nothing. All of them are saved or, with an error, none.
func (db *DB) SaveEvents(ctx context.Context, events []AlarmEvent) (moved []bool, err error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	if len(events) > MaxEvents {
		return nil, fmt.Errorf("save %d events: at most %d at once", len(events), MaxEvents)
	}
	err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		moved = make([]bool, len(events)) // again in each try
		for i, e := range events {
			if moved[i], err = saveEvent(ctx, tx, e); err != nil {
				return fmt.Errorf("save event %q: %w", e.Event.Id, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return moved, nil
}

func saveEvent(ctx context.Context, tx *sqlx.Tx, a AlarmEvent) (moved bool, err error) {
	e := a.Event
	id, at := clip(e.Id, 50), time.Unix(e.EventTime, 0)
	cond := clip(Cond(e), 200)
	var template int
	var creator string
	if t := e.Tpl(); t != nil {
		template, creator = t.Id, clip(t.Creator, 64)
	}
	args := []any{at, max(e.MaxStep(), 0), max(e.CurrentStep, 0), clip(e.Note(), 500), cond, clip(e.Status, 20), clip(e.Func(), 50),
		e.Priority(), creator, e.ExpressionId(), e.StrategyId(), template}

	// A column that is set to itself is not set to the present by a server that
	// updates the first timestamp of a table unasked.
	began := "timestamp = timestamp"
	if e.CurrentStep == 1 {
		began = "timestamp = ?"
	}
	update := func() (bool, error) {
		args := args
		if e.CurrentStep == 1 {
			args = append([]any{at}, args...)
		}
		res, err := tx.ExecContext(ctx, "UPDATE event_cases SET "+began+", update_at = ?, max_step = ?, current_step = ?, note = ?, cond = ?, status = ?, func = ?,"+
			" priority = ?, tpl_creator = ?, expression_id = ?, strategy_id = ?, template_id = ?,"+
			" process_note = CASE WHEN process_status IN ('resolved', 'ignored') THEN 0 ELSE process_note END,"+
			" process_status = CASE WHEN process_status IN ('resolved', 'ignored') THEN 'unresolved' ELSE process_status END"+
			" WHERE id = ? AND (update_at IS NULL OR update_at <= ?)", append(args, id, at)...)
		if err != nil {
			return false, err
		}
		n, err := res.RowsAffected()
		return n > 0, err
	}
	if moved, err = update(); err != nil {
		return false, err
	}
	if !moved {
		var there int
		err := tx.GetContext(ctx, &there, "SELECT COUNT(*) FROM event_cases WHERE id = ?", id)
		if err != nil {
			return false, err
		}
		if there == 0 {
			counter := e.Counter()
			_, err = tx.ExecContext(ctx, "INSERT INTO event_cases (timestamp, update_at, max_step, current_step, note, cond, status, func, priority, tpl_creator,"+
				" expression_id, strategy_id, template_id, id, endpoint, metric, counter_full) VALUES ("+marks(17)+")",
				append(append([]any{at}, args...), id, clip(e.Endpoint, 100), clip(counter, 200), clip(counter, 10_000))...)
			if isDuplicate(err) { // another alarm was first
				moved, err = update()
			} else {
				moved = err == nil
			}
			if err != nil {
				return false, err
			}
		}
	}

	status := 0
	if e.Status == "OK" {
		status = 1
	}
	var one int
	err = tx.GetContext(ctx, &one, "SELECT 1 FROM events WHERE event_caseId = ? AND cond = ? AND step = ? AND status = ? AND timestamp = ? LIMIT 1",
		id, cond, max(e.CurrentStep, 0), status, at)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, "INSERT INTO events (event_caseId, step, cond, status, timestamp) VALUES (?, ?, ?, ?, ?)",
			id, max(e.CurrentStep, 0), cond, status, at)
	}
	if err != nil || !moved || status != 0 || e.CurrentStep != 1 {
		return moved, err
	}

	if _, err := tx.ExecContext(ctx, "DELETE FROM event_case_team WHERE event_caseId = ?", id); err != nil {
		return false, err
	}
	seen := map[string]bool{}
	for _, team := range a.Teams {
		if team = clip(team, 64); team == "" || seen[team] {
			continue
		}
		seen[team] = true
		_, err := tx.ExecContext(ctx, "INSERT INTO event_case_team (event_caseId, team) VALUES (?, ?)", id, team)
		if err != nil && !isDuplicate(err) { // names that differ in case are one in MySQL
			return false, err
		}
	}
	return moved, nil
}

// Cond returns the condition of an event as its rows have it: "1.5e+06 > 3".
func Cond(e *model.Event) string {
	return strconv.FormatFloat(e.LeftValue, 'g', -1, 64) + " " + e.Operator() + " " + strconv.FormatFloat(e.RightValue(), 'g', -1, 64)
}

var errNoAlarms = errors.New("the database alarms is not configured: give it a DSN or a folder")

func (db *DB) needAlarms() error {
	if db.Alarms == nil {
		return errNoAlarms
	}
	return nil
}
