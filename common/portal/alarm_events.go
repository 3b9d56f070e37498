package portal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"falcon/common/model"
)

// MaxEvents is how many events SaveEvents takes at once.
const MaxEvents = 200

// AlarmEvent is an event on its way into the rows.
type AlarmEvent struct {
	Event *model.Event
	// Teams are the teams of the event's action; they are written when a problem
	// begins, which is at step 1. Nil says that they are not known: those that are
	// written stay.
	Teams []string
}

// Saved says what became of an AlarmEvent.
type Saved struct {
	// Moved is false for an event that is older than the case's newest one: it leaves
	// a row in events only.
	Moved bool
	// Known says that the event was saved before: it is delivered again.
	Known bool
	// Prior is the case as it was before the event; nil when the event made it.
	Prior *PriorCase
}

// PriorCase is what an event found.
type PriorCase struct {
	Status string
	Step   int
	Began  time.Time // of the incident
	At     time.Time // of the newest event
	// AckedBy says who works on the problem, empty for nobody.
	AckedBy string
}

// SaveEvents writes events, MaxEvents at most, in one transaction (contract alerting
// 4.14). The result says of each what it did to its case. An event that was saved
// before leaves nothing new. All of them are saved or, with an error, none.
func (db *DB) SaveEvents(ctx context.Context, events []AlarmEvent) (saved []Saved, err error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	if len(events) > MaxEvents {
		return nil, fmt.Errorf("save %d events: at most %d at once", len(events), MaxEvents)
	}
	if len(events) == 0 {
		return nil, nil
	}
	err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) (err error) {
		saved, err = saveTogether(ctx, tx, db.Alarms.dialect, events)
		return err
	})
	if isDuplicate(err) {
		// Another alarm made one of the cases meanwhile, or MySQL takes two ids for one.
		err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
			saved = make([]Saved, len(events)) // again in each try
			for i, e := range events {
				if saved[i], err = saveAlone(ctx, tx, db.Alarms.dialect, e); err != nil {
					return fmt.Errorf("save event %q: %w", e.Event.Id, err)
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return saved, nil
}

// caseRow is what an event makes of its case; its fields are clipped to their columns.
type caseRow struct {
	Updated    time.Time
	MaxStep    int64
	Step       int64
	Note       string
	Cond       string
	Status     string
	Func       string
	Priority   int64
	Creator    string
	Expression int64
	Strategy   int64
	Template   int64
}

// caseColumns are the columns of values, in its order.
var caseColumns = []string{"update_at", "max_step", "current_step", "note", "cond", "status", "func", "priority", "tpl_creator",
	"expression_id", "strategy_id", "template_id"}

// caseInsert is the table with the columns of a new case.
var caseInsert = "event_cases (timestamp, " + strings.Join(caseColumns, ", ") + ", id, endpoint, metric, counter_full)"

func (r *caseRow) values() []any {
	return []any{r.Updated, r.MaxStep, r.Step, r.Note, r.Cond, r.Status, r.Func, r.Priority, r.Creator, r.Expression, r.Strategy, r.Template}
}

func rowOf(e *model.Event) caseRow {
	r := caseRow{
		Updated: time.Unix(e.EventTime, 0), MaxStep: unsigned(e.MaxStep()), Step: unsigned(e.CurrentStep), Note: clip(noteOf(e), 500),
		Cond: clip(Cond(e), 200), Status: clip(e.Status, 20), Func: clip(e.Func(), 50), Priority: int64(min(max(e.Priority(), math.MinInt32), math.MaxInt32)),
		Expression: unsigned(e.ExpressionId()), Strategy: unsigned(e.StrategyId()),
	}
	if t := e.Tpl(); t != nil {
		r.Template, r.Creator = unsigned(t.Id), clip(t.Creator, 64)
	}
	return r
}

// unsigned makes n fit into an int unsigned.
func unsigned(n int) int64 { return int64(min(max(n, 0), math.MaxUint32)) }

// alarmCase is a case while a batch changes it.
type alarmCase struct {
	caseRow
	Began time.Time

	old      *caseRow // in the table; nil when it has no row
	rebegun  bool     // Began is to be written
	changed  bool
	endpoint string
	counter  string
	acked    ack
	teams    []string // when not nil: of the problem that began last
}

func (c *alarmCase) prior() *PriorCase {
	return &PriorCase{Status: c.Status, Step: int(c.Step), Began: c.Began, At: c.Updated, AckedBy: c.acked.holds(c.Status)}
}

// take moves the case to an event.
func (c *alarmCase) take(a AlarmEvent) {
	c.acked.take(c.Status, a.Event.Status)
	c.caseRow, c.changed = rowOf(a.Event), true
	if a.Event.CurrentStep == 1 {
		c.Began, c.rebegun = c.Updated, true
	}
	c.takeTeams(a)
}

func (c *alarmCase) takeTeams(a AlarmEvent) {
	if a.Event.CurrentStep == 1 && a.Event.Status == model.StatusProblem && a.Teams != nil {
		c.teams = a.Teams
	}
}

// saveTogether saves events with a few statements. A case that somebody else makes at
// the same moment is a duplicate error.
func saveTogether(ctx context.Context, tx *sqlx.Tx, d dialect, events []AlarmEvent) ([]Saved, error) {
	ids := make([]string, 0, len(events))
	for _, e := range events {
		ids = append(ids, clip(e.Event.Id, 50))
	}
	cases, err := lockCases(ctx, tx, d, ids)
	if err != nil {
		return nil, fmt.Errorf("read the cases of %d events: %w", len(events), err)
	}
	saved := make([]Saved, len(events))
	rows := make([]eventRow, 0, len(events))
	seen := map[eventRow]bool{}
	var again []string // ids with events that may have a row already
	var asked []eventRow
	for i, a := range events {
		// An event that was saved has moved its case to its time, or past it.
		if c := cases[ids[i]]; c != nil && c.old.Updated.Unix() >= a.Event.EventTime {
			again, asked = append(again, ids[i]), append(asked, rowOfEvent(ids[i], a.Event))
		}
	}
	known, err := knownEvents(ctx, tx, asked, again)
	if err != nil {
		return nil, fmt.Errorf("look for %d events: %w", len(asked), err)
	}
	for i, a := range events {
		e, id := a.Event, ids[i]
		row := rowOfEvent(id, e)
		c := cases[id]
		switch {
		case c == nil:
			counter := e.Counter()
			c = &alarmCase{endpoint: clip(e.Endpoint, 100), counter: counter, Began: time.Unix(e.EventTime, 0)}
			cases[id] = c
			saved[i].Moved = true
		default:
			saved[i].Prior = c.prior()
			saved[i].Moved = c.Updated.Unix() <= row.At
		}
		saved[i].Known = seen[row] || known[row]
		switch {
		case saved[i].Moved && saved[i].Known:
			c.takeTeams(a) // they may not have been known then
		case saved[i].Moved:
			c.take(a)
		}
		if !saved[i].Known {
			seen[row] = true
			rows = append(rows, row)
		}
	}
	if err := writeCases(ctx, tx, ids, cases); err != nil {
		return nil, err
	}
	if err := writeAcks(ctx, tx, ids, cases); err != nil {
		return nil, err
	}
	if err := writeEvents(ctx, tx, rows); err != nil {
		return nil, fmt.Errorf("write %d events: %w", len(rows), err)
	}
	return saved, writeTeams(ctx, tx, ids, cases)
}

// lockCases reads the cases that are there.
func lockCases(ctx context.Context, tx *sqlx.Tx, d dialect, ids []string) (map[string]*alarmCase, error) {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	var rows []struct {
		ID string `db:"id"`
		caseRow
		UpdateAt   *time.Time `db:"update_at"`
		Began      time.Time  `db:"timestamp"`
		MaxStep    int64      `db:"max_step"`
		Step       int64      `db:"current_step"`
		Creator    string     `db:"tpl_creator"`
		Expression int64      `db:"expression_id"`
		Strategy   int64      `db:"strategy_id"`
		Template   int64      `db:"template_id"`
		AckedBy    string     `db:"acked_by"`
	}
	err := tx.SelectContext(ctx, &rows, "SELECT id, timestamp, update_at, COALESCE(max_step, 0) AS max_step, COALESCE(current_step, 0) AS current_step,"+
		" COALESCE(note, '') AS note, cond, status, COALESCE(func, '') AS func, priority, COALESCE(tpl_creator, '') AS tpl_creator,"+
		" COALESCE(expression_id, 0) AS expression_id, COALESCE(strategy_id, 0) AS strategy_id, COALESCE(template_id, 0) AS template_id, acked_by"+
		" FROM event_cases WHERE id IN ("+marks(len(sorted))+") ORDER BY id"+d.forUpdate(), anys(sorted)...)
	if err != nil {
		return nil, err
	}
	cases := make(map[string]*alarmCase, len(ids))
	for _, r := range rows {
		row := r.caseRow
		row.MaxStep, row.Step, row.Creator, row.Expression, row.Strategy, row.Template = r.MaxStep, r.Step, r.Creator, r.Expression, r.Strategy, r.Template
		if r.UpdateAt != nil {
			row.Updated = *r.UpdateAt
		}
		cases[r.ID] = &alarmCase{caseRow: row, Began: r.Began, old: &row, acked: ack{by: r.AckedBy}}
	}
	return cases, nil
}

// reopened are the columns that a case which somebody had dealt with loses.
const reopened = "process_note = CASE WHEN process_status IN ('resolved', 'ignored') THEN 0 ELSE process_note END," +
	" process_status = CASE WHEN process_status IN ('resolved', 'ignored') THEN 'unresolved' ELSE process_status END"

// updateChunk is how many cases one UPDATE changes: each is compared with those before
// it, for each column.
const updateChunk = 25

// writeCases writes the cases that changed, in the order of ids.
func writeCases(ctx context.Context, tx *sqlx.Tx, ids []string, cases map[string]*alarmCase) error {
	var made, begun, moved []string
	done := map[string]bool{}
	for _, id := range ids {
		c := cases[id]
		switch {
		case done[id] || !c.changed:
		case c.old == nil:
			made = append(made, id)
		case c.rebegun:
			begun = append(begun, id)
		default:
			moved = append(moved, id)
		}
		done[id] = true
	}
	for len(made) > 0 {
		var args []any
		n, size := 0, 0
		// Counters may be long, and a server takes no statement of many megabytes.
		for _, id := range made {
			c := cases[id]
			full := clip(c.counter, 10_000)
			args = append(append(args, c.Began), c.values()...)
			args = append(args, id, c.endpoint, clip(c.counter, 200), full)
			n++
			if size += len(full); size > 256<<10 {
				break
			}
		}
		if err := insertRows(ctx, tx, caseInsert, n, args); err != nil {
			return fmt.Errorf("make %d cases: %w", n, err)
		}
		made = made[n:]
	}
	for chunk := range slices.Chunk(begun, updateChunk) {
		if err := updateCases(ctx, tx, chunk, cases, true); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(moved, updateChunk) {
		if err := updateCases(ctx, tx, chunk, cases, false); err != nil {
			return err
		}
	}
	return nil
}

// updateCases changes the columns in which the cases differ from their rows.
func updateCases(ctx context.Context, tx *sqlx.Tx, ids []string, cases map[string]*alarmCase, begun bool) error {
	now, old := make([][]any, len(ids)), make([][]any, len(ids))
	for i, id := range ids {
		c := cases[id]
		now[i], old[i] = c.values(), c.old.values()
	}
	var set strings.Builder
	var args []any
	assign := func(column string, value func(i int) any) {
		set.WriteString(column + " = ")
		same := true
		for i := range ids {
			same = same && equal(value(i), value(0))
		}
		if same {
			set.WriteString("?, ")
			args = append(args, value(0))
			return
		}
		set.WriteString("CASE id")
		for i, id := range ids {
			set.WriteString(" WHEN ? THEN ?")
			args = append(args, id, value(i))
		}
		set.WriteString(" END, ")
	}
	// A column that is set to itself is not set to the present by a server that
	// updates the first timestamp of a table unasked.
	if begun {
		assign("timestamp", func(i int) any { return cases[ids[i]].Began })
	} else {
		set.WriteString("timestamp = timestamp, ")
	}
	for k, column := range caseColumns {
		differs := false
		for i := range ids {
			differs = differs || !equal(now[i][k], old[i][k])
		}
		if differs {
			assign(column, func(i int) any { return now[i][k] })
		}
	}
	_, err := tx.ExecContext(ctx, "UPDATE event_cases SET "+set.String()+reopened+" WHERE id IN ("+marks(len(ids))+")", append(args, anys(ids)...)...)
	if err != nil {
		return fmt.Errorf("update %d cases: %w", len(ids), err)
	}
	return nil
}

// equal compares column values; times are the same when their seconds are.
func equal(a, b any) bool {
	if x, ok := a.(time.Time); ok {
		y, ok := b.(time.Time)
		return ok && x.Unix() == y.Unix()
	}
	return a == b
}

// eventRow is a row of events.
type eventRow struct {
	Case   string
	Step   int64
	Cond   string
	Status int
	At     int64 // Unix seconds
}

func rowOfEvent(id string, e *model.Event) eventRow {
	r := eventRow{Case: id, Step: unsigned(e.CurrentStep), Cond: clip(Cond(e), 200), At: e.EventTime}
	if e.Status == model.StatusOK {
		r.Status = 1
	}
	return r
}

// knownEvents returns rows that are there; only the cases again may have them.
func knownEvents(ctx context.Context, tx *sqlx.Tx, rows []eventRow, again []string) (known map[eventRow]bool, err error) {
	if len(again) > 0 {
		first, last := rows[0].At, rows[0].At
		for _, r := range rows {
			first, last = min(first, r.At), max(last, r.At)
		}
		var there []CaseEvent
		err := tx.SelectContext(ctx, &there, "SELECT id, event_caseId, step, cond, status, timestamp FROM events WHERE event_caseId IN ("+marks(len(again))+
			") AND timestamp BETWEEN ? AND ?", append(anys(again), time.Unix(first, 0), time.Unix(last, 0))...)
		if err != nil {
			return nil, err
		}
		known = map[eventRow]bool{}
		for _, t := range there {
			if t.Step != nil && t.Timestamp != nil {
				known[eventRow{t.CaseID, *t.Step, t.Cond, t.Status, t.Timestamp.Unix()}] = true
			}
		}
	}
	return known, nil
}

// writeEvents writes rows.
func writeEvents(ctx context.Context, tx *sqlx.Tx, rows []eventRow) error {
	if len(rows) == 0 {
		return nil
	}
	args := make([]any, 0, 5*len(rows))
	for _, r := range rows {
		args = append(args, r.Case, r.Step, r.Cond, r.Status, time.Unix(r.At, 0))
	}
	return insertRows(ctx, tx, "events (event_caseId, step, cond, status, timestamp)", len(rows), args)
}

// writeTeams writes the teams of the problems that began, in the order of ids.
func writeTeams(ctx context.Context, tx *sqlx.Tx, ids []string, cases map[string]*alarmCase) error {
	var begun []string
	var args []any
	n := 0
	for _, id := range ids {
		c := cases[id]
		if c.teams == nil {
			continue
		}
		begun = append(begun, id)
		seen := map[string]bool{}
		for _, team := range c.teams {
			// Names that differ in case are one.
			if team = clip(team, 64); team != "" && !seen[strings.ToLower(team)] {
				seen[strings.ToLower(team)] = true
				args = append(args, id, team)
				n++
			}
		}
		c.teams = nil
	}
	if len(begun) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM event_case_team WHERE event_caseId IN ("+marks(len(begun))+")", anys(begun)...); err != nil {
		return fmt.Errorf("remove the teams of %d cases: %w", len(begun), err)
	}
	for len(args) > 0 {
		k := min(n, maxMarks/2)
		err := insertRows(ctx, tx, "event_case_team (event_caseId, team)", k, args[:2*k])
		for i := 0; isDuplicate(err) && i < k; i++ { // MySQL takes two names for one
			if err := insertRows(ctx, tx, "event_case_team (event_caseId, team)", 1, args[2*i:2*i+2]); err != nil && !isDuplicate(err) {
				return fmt.Errorf("write a team of case %q: %w", args[2*i], err)
			}
		}
		if err != nil && !isDuplicate(err) {
			return fmt.Errorf("write the teams of %d cases: %w", len(begun), err)
		}
		args, n = args[2*k:], n-k
	}
	return nil
}

// insertRows inserts n rows of equal length into a table; into is its name and columns.
func insertRows(ctx context.Context, tx *sqlx.Tx, into string, n int, args []any) error {
	tuple := "(" + marks(len(args)/n) + ")"
	_, err := tx.ExecContext(ctx, "INSERT INTO "+into+" VALUES "+strings.Repeat(tuple+", ", n-1)+tuple, args...)
	return err
}

// saveAlone saves one event by its id as the database compares ids.
func saveAlone(ctx context.Context, tx *sqlx.Tx, d dialect, a AlarmEvent) (s Saved, err error) {
	e, row := a.Event, rowOf(a.Event)
	id := clip(e.Id, 50)
	cases, err := lockCases(ctx, tx, d, []string{id})
	if err != nil {
		return s, err
	}
	for _, c := range cases { // one at most, whose id may be written differently
		s.Prior = c.prior()
	}
	set := strings.Join(caseColumns, " = ?, ") + " = ?"
	update := func() (bool, error) {
		began, args := "timestamp = timestamp", row.values()
		if e.CurrentStep == 1 {
			began, args = "timestamp = ?", append([]any{row.Updated}, args...)
		}
		res, err := tx.ExecContext(ctx, "UPDATE event_cases SET "+began+", "+set+", "+reopened+" WHERE id = ? AND (update_at IS NULL OR update_at <= ?)",
			append(args, id, row.Updated)...)
		if err != nil {
			return false, err
		}
		n, err := res.RowsAffected()
		return n > 0, err
	}
	var known map[eventRow]bool
	event := rowOfEvent(id, e)
	for written := range cases {
		event.Case = written
	}
	if s.Prior != nil {
		known, err = knownEvents(ctx, tx, []eventRow{event}, []string{event.Case})
		if err != nil {
			return s, err
		}
	}
	if s.Known = known[event]; s.Known {
		s.Moved = s.Prior.At.Unix() <= e.EventTime
	} else if s.Prior != nil {
		s.Moved, err = update()
	} else {
		args := append(append([]any{row.Updated}, row.values()...), id, clip(e.Endpoint, 100), clip(e.Counter(), 200), clip(e.Counter(), 10_000))
		err = insertRows(ctx, tx, caseInsert, 1, args)
		s.Moved = true
		if isDuplicate(err) { // made this very moment, perhaps by the same event
			if known, err = knownEvents(ctx, tx, []eventRow{event}, []string{id}); err == nil {
				s.Known = known[event]
				s.Moved, err = update()
			}
		}
	}
	if err == nil && s.Moved && !s.Known {
		for written, c := range cases {
			c.acked.take(c.Status, e.Status)
			err = writeAcks(ctx, tx, []string{written}, cases)
		}
	}
	if err == nil && !s.Known {
		err = writeEvents(ctx, tx, []eventRow{event})
	}
	if err == nil && s.Moved && e.Status == model.StatusProblem && e.CurrentStep == 1 && a.Teams != nil {
		err = writeTeams(ctx, tx, []string{id}, map[string]*alarmCase{id: {teams: a.Teams}})
	}
	return s, err
}

// Refused says whether a database that works does not take a row, whatever is tried:
// what it holds does not fit.
func Refused(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code := e.Code() & 0xff // without the extension
		return code == sqlite3.SQLITE_CONSTRAINT || code == sqlite3.SQLITE_MISMATCH || code == sqlite3.SQLITE_TOOBIG
	}
	// Null, out of range, no time, no text of the character set, too long, a violated
	// check, no parent row.
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains([]uint16{1048, 1264, 1292, 1366, 1406, 1452, 3819, 4025}, e.Number)
}

// Cond returns the condition of an event as its rows have it: "1.5e+06 > 3", or
// "down != ok" of texts.
func Cond(e *model.Event) string {
	if e.Texts() {
		return e.LeftString + " " + e.Operator() + " " + e.RightString
	}
	return strconv.FormatFloat(e.LeftValue, 'g', -1, 64) + " " + e.Operator() + " " + strconv.FormatFloat(e.RightValue(), 'g', -1, 64)
}

var errNoAlarms = errors.New("the database alarms is not configured: give it a DSN or a folder")

func (db *DB) needAlarms() error {
	if db.Alarms == nil {
		return errNoAlarms
	}
	return nil
}
