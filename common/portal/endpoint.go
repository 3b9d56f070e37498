package portal

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Endpoint is a row of endpoint.
type Endpoint struct {
	ID       int64  `db:"id"`
	Endpoint string `db:"endpoint"`
	Ts       int64  `db:"ts"` // Unix time of the newest report, 0 when it never did
}

const endpointColumns = "id, endpoint, COALESCE(ts, 0) AS ts"

// EndpointIDs returns the ids of names, giving one to each that has none yet.
// Names that the column can not hold are left out. Two names that differ only in
// case are one endpoint and have one id.
func (db *DB) EndpointIDs(ctx context.Context, names []string) (map[string]int64, error) {
	want := map[string]int64{}
	for _, name := range names {
		if name != "" && fits(name, columnChars) == "" {
			want[name] = 0
		}
	}
	ids, missing, err := findEndpoints(ctx, db.Graph.read, sortedKeys(want))
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(missing, indexChunk) {
		made, err := db.makeEndpoints(ctx, chunk)
		if err != nil {
			return nil, err
		}
		maps.Copy(ids, made)
	}
	return ids, nil
}

// makeEndpoints inserts names, which are sorted and were not there a moment ago,
// and returns their ids. Its transactions do nothing else, so that a writer who
// waits for another one's new name holds nothing that the other may want.
func (db *DB) makeEndpoints(ctx context.Context, names []string) (ids map[string]int64, err error) {
	const head, tuple = "INSERT INTO endpoint (endpoint, ts, t_create) VALUES ", "(?, 0, CURRENT_TIMESTAMP)"
	insert := func(names []string) error {
		return db.Graph.Tx(ctx, func(tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, head+strings.Repeat(tuple+", ", len(names)-1)+tuple, anys(names)...)
			return err
		})
	}
	err = insert(names)
	if isDuplicate(err) {
		// Somebody else made one of them, or two of our names are one to the
		// column's collation: one by one, and a duplicate is what we want.
		for i := range names {
			if err = insert(names[i : i+1]); err != nil && !isDuplicate(err) {
				break
			}
		}
		if isDuplicate(err) {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	ids, missing, err := findEndpoints(ctx, db.Graph.write, names)
	if err != nil {
		return nil, err
	}
	for _, name := range missing { // spelt in a way that fold does not know
		var id int64
		err := db.Graph.write.GetContext(ctx, &id, "SELECT id FROM endpoint WHERE endpoint = ?", name)
		if err != nil {
			return nil, fmt.Errorf("endpoint %q after it was inserted: %w", name, notFound(err))
		}
		ids[name] = id
	}
	return ids, nil
}

// EndpointsByID returns the endpoints with these ids; ids that are unknown are
// left out.
func (db *DB) EndpointsByID(ctx context.Context, ids []int64) (map[int64]Endpoint, error) {
	found := make(map[int64]Endpoint, len(ids))
	for chunk := range slices.Chunk(ids, maxMarks) {
		var rows []Endpoint
		err := db.Graph.read.SelectContext(ctx, &rows,
			"SELECT "+endpointColumns+" FROM endpoint WHERE id IN ("+marks(len(chunk))+")", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			found[r.ID] = r
		}
	}
	return found, nil
}

// EndpointsByName returns the endpoints with these names that reported at since
// (Unix seconds) or later, ordered by name.
func (db *DB) EndpointsByName(ctx context.Context, names []string, since int64) ([]Endpoint, error) {
	all := []Endpoint{}
	for chunk := range slices.Chunk(names, maxMarks) {
		var rows []Endpoint
		err := db.Graph.read.SelectContext(ctx, &rows,
			"SELECT "+endpointColumns+" FROM endpoint WHERE endpoint IN ("+marks(len(chunk))+") AND COALESCE(ts, 0) >= ?",
			append(anys(chunk), since)...)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(a, b Endpoint) int {
		return cmp.Or(strings.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.ID, b.ID))
	})
	return slices.Compact(all), nil
}

// An EndpointSearch selects endpoints by name, by tags, or both.
type EndpointSearch struct {
	Match []Pattern // all must hold
	// Tags are substrings that must each occur in some counter of the endpoint.
	Tags   []string
	Since  int64 // reported at this Unix time or later
	Limit  int   // at least 1
	Offset int
}

// SearchEndpoints returns a page of the endpoints that s selects, ordered by
// name, and how many there are in all. It reads whole tables: bound it by ctx. Only
// fleets with stock graph nodes need it; ours search in memory.
func (db *DB) SearchEndpoints(ctx context.Context, s EndpointSearch) (page []Endpoint, total int, err error) {
	var where conditions
	where.patterns("endpoint", s.Match)
	for _, tag := range s.Tags {
		where.add("id IN (SELECT endpoint_id FROM endpoint_counter WHERE INSTR(LOWER(counter), LOWER(?)) > 0)", tag)
	}
	if s.Since > 0 {
		where.add("COALESCE(ts, 0) >= ?", s.Since)
	}
	page = []Endpoint{}
	err = db.Graph.page(ctx, &page, &total, endpointColumns, "endpoint"+where.sql(), "endpoint", where.args, s.Limit, s.Offset)
	return page, total, err
}

// page reads a page of rows into dst, and the number of all rows into total.
func (h *Handle) page(ctx context.Context, dst any, total *int, columns, from, order string, args []any, limit, offset int) error {
	if err := h.read.GetContext(ctx, total, h.limited(ctx, "SELECT COUNT(*) FROM "+from), args...); err != nil {
		return err
	}
	if *total <= offset {
		return nil
	}
	return h.read.SelectContext(ctx, dst,
		h.limited(ctx, "SELECT "+columns+" FROM "+from+" ORDER BY "+order+" LIMIT ? OFFSET ?"),
		append(slices.Clone(args), max(limit, 1), max(offset, 0))...)
}

// touch gives endpoints their newer times and locks their rows, in one statement
// and the order of their ids, so that two writers never wait for each other. It
// says whether all of them are there.
func (tx indexTx) touch(ids, seen map[string]int64) (all bool, err error) {
	newest := make(map[int64]int64, len(ids)) // two spellings may be one row
	for name, id := range ids {
		newest[id] = max(newest[id], seen[name])
	}
	// By name too: after a restart MySQL may give the id of a deleted row to
	// another one. The function keeps MySQL from reading the rows, and so
	// locking them, in the order of their names; the comparison is still the
	// column's.
	column := "LOWER(endpoint)"
	if tx.dialect == sqliteDialect {
		column = "endpoint"
	}
	return tx.setTimes("endpoint", newest, " AND "+column+" IN ("+marks(len(ids))+")", anys(sortedKeys(ids))...)
}

// setTimes raises the times of rows by id, in the order of ids. It says whether
// every id has a row that meets the further condition.
func (tx indexTx) setTimes(table string, newest map[int64]int64, and string, andArgs ...any) (all bool, err error) {
	if len(newest) == 0 {
		return true, nil
	}
	ids := slices.Sorted(maps.Keys(newest))
	args := make([]any, 0, 3*len(ids))
	for _, id := range ids {
		args = append(args, id, newest[id])
	}
	query := "UPDATE " + table + " SET ts = " +
		tx.dialect.greatest("COALESCE(ts, 0)", "CASE id"+strings.Repeat(" WHEN ? THEN ?", len(ids))+" END") +
		", t_modify = CURRENT_TIMESTAMP WHERE id IN (" + marks(len(ids)) + ")" + and
	n, err := tx.exec(query, append(append(args, anys(ids)...), andArgs...)...)
	return n == int64(len(ids)), err
}

func (tx indexTx) exec(query string, args ...any) (n int64, err error) {
	res, err := tx.ExecContext(tx.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// findEndpoints looks names up and returns those that have no row, in order.
func findEndpoints(ctx context.Context, q sqlx.QueryerContext, names []string) (ids map[string]int64, missing []string, err error) {
	ids = make(map[string]int64, len(names))
	for chunk := range slices.Chunk(names, maxMarks) {
		var rows []Endpoint
		err := sqlx.SelectContext(ctx, q, &rows,
			"SELECT "+endpointColumns+" FROM endpoint WHERE endpoint IN ("+marks(len(chunk))+")", anys(chunk)...)
		if err != nil {
			return nil, nil, err
		}
		// The row may be spelt in another case.
		byFold := make(map[string]int64, len(rows))
		for _, r := range rows {
			byFold[fold(r.Endpoint)] = r.ID
		}
		for _, name := range chunk {
			if id, ok := byFold[fold(name)]; ok {
				ids[name] = id
			} else {
				missing = append(missing, name)
			}
		}
	}
	return ids, missing, nil
}

// fold maps names that the columns' collations take for equal to one string, as
// far as that is the case of ASCII letters. What it misses on MySQL (other case,
// accents, blanks at the end) is found as a duplicate at the INSERT.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func sortedKeys(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
