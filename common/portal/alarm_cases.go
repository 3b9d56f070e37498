package portal

import (
	"context"
	"time"
)

// EventCase is a row of event_cases.
type EventCase struct {
	ID            string     `db:"id"`
	Endpoint      string     `db:"endpoint"`
	Metric        string     `db:"metric"` // the counter
	Func          *string    `db:"func"`
	Cond          string     `db:"cond"`
	Note          *string    `db:"note"`
	MaxStep       *int64     `db:"max_step"`
	CurrentStep   *int64     `db:"current_step"`
	Priority      int        `db:"priority"`
	Status        string     `db:"status"`    // PROBLEM or OK
	Timestamp     time.Time  `db:"timestamp"` // when the present incident began
	UpdateAt      *time.Time `db:"update_at"`
	ClosedAt      *time.Time `db:"closed_at"`
	ClosedNote    *string    `db:"closed_note"`
	UserModified  *int64     `db:"user_modified"`
	TplCreator    *string    `db:"tpl_creator"`
	ExpressionID  *int64     `db:"expression_id"`
	StrategyID    *int64     `db:"strategy_id"`
	TemplateID    *int64     `db:"template_id"`
	ProcessNote   *int64     `db:"process_note"`
	ProcessStatus *string    `db:"process_status"`
	// AckedBy works on the problem since AckedAt, or did until it was over: both stay until
	// the next one begins. Empty and nil: nobody.
	AckedBy string     `db:"acked_by"`
	AckedAt *time.Time `db:"acked_at"`
}

// CaseFilter chooses cases; what is zero does not matter.
type CaseFilter struct {
	Start, End      time.Time // of Timestamp, both included
	Since, Until    time.Time // of the newest event, both included
	Priority        *int
	Statuses        []string
	ProcessStatuses []string
	Metrics         []Pattern // the counter matches all of them
	ID              string
	Endpoints       []string
	StrategyID      int64
	TemplateID      int64
	Team            string // one of its teams
	Limit, Offset   int    // Limit 0 is 2000
}

// EventCases returns the cases that f chooses, the newest first.
func (db *DB) EventCases(ctx context.Context, f CaseFilter) ([]EventCase, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	if len(f.Endpoints) > maxMarks {
		return nil, invalid("%d endpoints are too many: at most %d", len(f.Endpoints), maxMarks)
	}
	var where conditions
	in := func(column string, values []string) {
		if len(values) > 0 {
			where.add(column+" IN ("+marks(len(values))+")", anys(values)...)
		}
	}
	if !f.Start.IsZero() {
		where.add("timestamp >= ?", f.Start)
	}
	if !f.End.IsZero() {
		where.add("timestamp <= ?", f.End)
	}
	if !f.Since.IsZero() {
		where.add("update_at >= ?", f.Since)
	}
	if !f.Until.IsZero() {
		where.add("update_at <= ?", f.Until)
	}
	if f.Priority != nil {
		where.add("priority = ?", *f.Priority)
	}
	if f.ID != "" {
		where.add("id = ?", f.ID)
	}
	if f.StrategyID != 0 {
		where.add("strategy_id = ?", f.StrategyID)
	}
	if f.TemplateID != 0 {
		where.add("template_id = ?", f.TemplateID)
	}
	if f.Team != "" {
		where.add("id IN (SELECT event_caseId FROM event_case_team WHERE team = ?)", f.Team)
	}
	in("status", f.Statuses)
	in("process_status", f.ProcessStatuses)
	in("endpoint", f.Endpoints)
	where.patterns("metric", f.Metrics)
	if f.Limit <= 0 {
		f.Limit = 2000
	}
	query := "SELECT id, endpoint, metric, func, cond, note, max_step, current_step, priority, status, timestamp, update_at," +
		" closed_at, closed_note, user_modified, tpl_creator, expression_id, strategy_id, template_id, process_note, process_status, acked_by, acked_at FROM event_cases" +
		where.sql() + " ORDER BY timestamp DESC, id LIMIT ? OFFSET ?"
	cases := []EventCase{}
	err := db.Alarms.read.SelectContext(ctx, &cases, db.Alarms.limited(ctx, query), append(where.args, f.Limit, max(f.Offset, 0))...)
	return cases, err
}

// CaseEvent is a row of events.
type CaseEvent struct {
	ID        int64      `db:"id"`
	CaseID    string     `db:"event_caseId"`
	Step      *int64     `db:"step"`
	Cond      string     `db:"cond"`
	Status    int        `db:"status"` // 0 PROBLEM, 1 OK
	Timestamp *time.Time `db:"timestamp"`
}

// CaseEvents returns the events of a case, the newest first; status -1 is any,
// limit 0 is 2000.
func (db *DB) CaseEvents(ctx context.Context, caseID string, start, end time.Time, status, limit, offset int) ([]CaseEvent, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	query, args := "SELECT id, event_caseId, step, cond, status, timestamp FROM events WHERE event_caseId = ?", []any{caseID}
	if !start.IsZero() {
		query, args = query+" AND timestamp >= ?", append(args, start)
	}
	if !end.IsZero() {
		query, args = query+" AND timestamp <= ?", append(args, end)
	}
	if status >= 0 {
		query, args = query+" AND status = ?", append(args, status)
	}
	if limit <= 0 {
		limit = 2000
	}
	events := []CaseEvent{}
	err := db.Alarms.read.SelectContext(ctx, &events, query+" ORDER BY timestamp DESC, id DESC LIMIT ? OFFSET ?", append(args, limit, max(offset, 0))...)
	return events, err
}
