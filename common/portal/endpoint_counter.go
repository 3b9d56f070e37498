package portal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// EndpointCounter is a row of endpoint_counter.
type EndpointCounter struct {
	ID         int64  `db:"id"`
	EndpointID int64  `db:"endpoint_id"`
	Counter    string `db:"counter"`
	Step       int    `db:"step"` // seconds
	Type       string `db:"type"` // GAUGE or DERIVE; COUNTER in stock's rows
	Ts         int64  `db:"ts"`   // Unix time of the newest report
}

const counterColumns = "id, endpoint_id, counter, step, type, COALESCE(ts, 0) AS ts"

// CountersByEndpointIDs returns all counters of these endpoints, ordered by
// endpoint id and counter. With counters given, only those with these names.
func (db *DB) CountersByEndpointIDs(ctx context.Context, ids []int64, counters ...string) ([]EndpointCounter, error) {
	all := []EndpointCounter{}
	read := func(ids []int64, counters []string) error {
		query := "SELECT " + counterColumns + " FROM endpoint_counter WHERE endpoint_id IN (" + marks(len(ids)) + ")"
		args := anys(ids)
		if len(counters) > 0 {
			query += " AND counter IN (" + marks(len(counters)) + ")"
			args = append(args, anys(counters)...)
		}
		var rows []EndpointCounter
		err := db.Graph.read.SelectContext(ctx, &rows, query, args...)
		all = append(all, rows...)
		return err
	}
	for chunk := range slices.Chunk(ids, maxMarks) {
		if len(counters) == 0 {
			if err := read(chunk, nil); err != nil {
				return nil, err
			}
		}
		for names := range slices.Chunk(counters, maxMarks) {
			if err := read(chunk, names); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(all, func(a, b EndpointCounter) int {
		return cmp.Or(cmp.Compare(a.EndpointID, b.EndpointID), strings.Compare(a.Counter, b.Counter), cmp.Compare(a.ID, b.ID))
	})
	return slices.Compact(all), nil
}

// A CounterSearch selects counters of some endpoints.
type CounterSearch struct {
	EndpointIDs []int64 // at least one, maxMarks at most
	Match       []Pattern
	Limit       int // at least 1
	Offset      int
}

// SearchCounters returns a page of the counters that s selects, ordered by
// endpoint id and counter, and how many there are in all. Bound it by ctx.
func (db *DB) SearchCounters(ctx context.Context, s CounterSearch) (page []EndpointCounter, total int, err error) {
	page = []EndpointCounter{}
	if len(s.EndpointIDs) == 0 {
		return page, 0, nil
	}
	if len(s.EndpointIDs) > maxMarks {
		return nil, 0, invalid("more than %d endpoints: ask for fewer at a time", maxMarks)
	}
	var where conditions
	where.add("endpoint_id IN ("+marks(len(s.EndpointIDs))+")", anys(s.EndpointIDs)...)
	where.patterns("counter", s.Match)
	err = db.Graph.page(ctx, &page, &total, counterColumns, "endpoint_counter"+where.sql(), "endpoint_id, counter", where.args, s.Limit, s.Offset)
	return page, total, err
}

// entryKey is the unique key of tag_endpoint and endpoint_counter.
type entryKey struct {
	endpointID int64
	text       string // the tag or the counter
}

// An indexEntry is a row to be written to one of the two.
type indexEntry struct {
	entryKey
	step int    // counters only
	typ  string // counters only
	ts   int64
}

// An entryTable is what tag_endpoint and endpoint_counter have in common. Both
// are one row a (endpoint_id, text) with a time.
type entryTable struct {
	name, column string
	typed        bool // has step and type
}

var (
	tagTable     = entryTable{"tag_endpoint", "tag", false}
	counterTable = entryTable{"endpoint_counter", "counter", true}
)

// writeEntries writes entries whose endpoints this transaction has locked.
//
// Rows that exist are looked up without a lock and updated by id, all in one
// statement, those that are up to date not at all; the others are inserted in one
// statement. When that meets a duplicate, or a row is gone by the time it is to be
// updated, the entries concerned go one by one.
func (tx indexTx) writeEntries(t entryTable, entries []indexEntry) error {
	slices.SortFunc(entries, func(a, b indexEntry) int {
		return cmp.Or(cmp.Compare(a.endpointID, b.endpointID), strings.Compare(a.text, b.text))
	})
	for chunk := range slices.Chunk(entries, 200) { // SQLite nests ORs no deeper than 1000
		if err := tx.writeChunk(t, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (tx indexTx) writeChunk(t entryTable, entries []indexEntry) error {
	rows, err := tx.findEntries(t, entries)
	if err != nil {
		return err
	}
	newest := map[int64]int64{} // id -> ts, for rows of which only the time changes
	var raised, single, missing []indexEntry
	for _, e := range entries {
		row, ok := rows[entryKey{e.endpointID, fold(e.text)}]
		switch {
		case !ok:
			missing = append(missing, e)
		case e.ts < row.Ts:
		case t.typed && (e.step != row.Step || e.typ != row.Type):
			single = append(single, e)
		case e.ts > row.Ts:
			newest[row.ID] = max(newest[row.ID], e.ts)
			raised = append(raised, e)
		}
	}
	all, err := tx.setTimes(t.name, newest, "")
	if err != nil {
		return err
	}
	if !all {
		single = append(single, raised...)
	}
	if len(missing) > 0 {
		err := tx.insertEntries(t, missing)
		if isDuplicate(err) {
			single = append(single, missing...)
		} else if err != nil {
			return err
		}
	}
	for _, e := range single {
		if err := tx.writeOne(t, e); err != nil {
			return fmt.Errorf("%s %q of endpoint %d: %w", t.column, e.text, e.endpointID, err)
		}
	}
	return nil
}

// findEntries looks rows up by their keys; the result is keyed by the folded
// text.
func (tx indexTx) findEntries(t entryTable, entries []indexEntry) (map[entryKey]EndpointCounter, error) {
	columns := "id, endpoint_id, " + t.column + " AS counter, COALESCE(ts, 0) AS ts"
	if t.typed {
		columns += ", step, type"
	}
	var where strings.Builder
	args := make([]any, 0, 2*len(entries))
	for i := 0; i < len(entries); {
		j := i
		args = append(args, entries[i].endpointID)
		for ; j < len(entries) && entries[j].endpointID == entries[i].endpointID; j++ {
			args = append(args, entries[j].text)
		}
		if i > 0 {
			where.WriteString(" OR ")
		}
		where.WriteString("endpoint_id = ? AND " + t.column + " IN (" + marks(j-i) + ")")
		i = j
	}
	rows := make(map[entryKey]EndpointCounter, len(entries))
	if len(entries) == 0 {
		return rows, nil
	}
	var found []EndpointCounter
	if err := tx.SelectContext(tx.ctx, &found, "SELECT "+columns+" FROM "+t.name+" WHERE "+where.String(), args...); err != nil {
		return nil, err
	}
	for _, r := range found {
		rows[entryKey{r.EndpointID, fold(r.Counter)}] = r
	}
	return rows, nil
}

// insertEntries inserts all of them or none.
func (tx indexTx) insertEntries(t entryTable, entries []indexEntry) error {
	head, tuple := "INSERT INTO "+t.name+" (endpoint_id, "+t.column+", ts, t_create) VALUES ", "(?, ?, ?, CURRENT_TIMESTAMP)"
	if t.typed {
		head, tuple = "INSERT INTO "+t.name+" (endpoint_id, "+t.column+", ts, step, type, t_create) VALUES ", "(?, ?, ?, ?, ?, CURRENT_TIMESTAMP)"
	}
	args := make([]any, 0, 5*len(entries))
	for _, e := range entries {
		args = append(args, e.endpointID, e.text, e.ts)
		if t.typed {
			args = append(args, e.step, e.typ)
		}
	}
	_, err := tx.exec(head+strings.Repeat(tuple+", ", len(entries)-1)+tuple, args...)
	return err
}

// writeOne is UPDATE, INSERT, UPDATE for one row, by its natural key.
func (tx indexTx) writeOne(t entryTable, e indexEntry) error {
	set, args := "ts = "+tx.dialect.greatest("COALESCE(ts, 0)", "?"), []any{e.ts}
	if t.typed {
		// MySQL assigns from left to right and compares with what it has
		// assigned already, so the time comes last.
		set = "step = CASE WHEN COALESCE(ts, 0) <= ? THEN ? ELSE step END, type = CASE WHEN COALESCE(ts, 0) <= ? THEN ? ELSE type END, " + set
		args = []any{e.ts, e.step, e.ts, e.typ, e.ts}
	}
	update := "UPDATE " + t.name + " SET " + set + ", t_modify = CURRENT_TIMESTAMP WHERE endpoint_id = ? AND " + t.column + " = ?"
	args = append(args, e.endpointID, e.text)
	for try := 0; ; try++ {
		n, err := tx.exec(update, args...)
		if err != nil || n > 0 {
			return err
		}
		err = tx.insertEntries(t, []indexEntry{e})
		if !isDuplicate(err) || try == 3 {
			return err
		}
	}
}
