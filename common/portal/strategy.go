package portal

import (
	"context"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Strategy is a row of strategy: a rule of a template. Its JSON is stock's strategy
// object. Whether it makes sense is for its callers to say; here it has to fit.
type Strategy struct {
	ID         int64  `db:"id" json:"id"`
	Metric     string `db:"metric" json:"metric"`
	Tags       string `db:"tags" json:"tags"`
	MaxStep    int    `db:"max_step" json:"max_step"`
	Priority   int    `db:"priority" json:"priority"`
	Func       string `db:"func" json:"func"`
	Op         string `db:"op" json:"op"`
	RightValue string `db:"right_value" json:"right_value"`
	Note       string `db:"note" json:"note"`
	RunBegin   string `db:"run_begin" json:"run_begin"` // HH:MM or empty
	RunEnd     string `db:"run_end" json:"run_end"`
	Template   int64  `db:"tpl_id" json:"tpl_id"`
	// ValueType is ValueString for a strategy about texts, which compares with
	// RightString and has RightOfTexts for its RightValue; else both are empty.
	ValueType   string `db:"value_type" json:"value_type,omitempty"`
	RightString string `db:"right_string" json:"right_string,omitempty"`
}

const strategyColumns = "id, metric, tags, max_step, priority, func, op, right_value, note, run_begin, run_end, tpl_id, value_type, right_string"

// Check says which field its column can not hold.
func (s *Strategy) Check() error {
	return fitAll(
		fit{"metric", s.Metric, 128}, fit{"tags", s.Tags, 256}, fit{"func", s.Func, 16}, fit{"op", storedOp(s.Op), 8}, fit{"right_value", s.RightValue, 64},
		fit{"note", s.Note, 128}, fit{"run_begin", s.RunBegin, 16}, fit{"run_end", s.RunEnd, 16},
		fit{"value_type", s.ValueType, 8}, fit{"right_string", s.RightString, 255})
}

// A fit is a text on its way into a column.
type fit struct {
	field, value string
	max          int
}

func fitAll(all ...fit) error {
	for _, f := range all {
		if why := fits(f.value, f.max); why != "" {
			return invalidField(f.field, "%s %s", f.field, why)
		}
	}
	return nil
}

func (s *Strategy) values() []any {
	return []any{s.Metric, s.Tags, s.MaxStep, s.Priority, s.Func, storedOp(s.Op), s.RightValue, s.Note, s.RunBegin, s.RunEnd, s.ValueType, s.RightString}
}

// Strategy returns a strategy, or ErrNotFound.
func (db *DB) Strategy(ctx context.Context, id int64) (*Strategy, error) {
	var s Strategy
	if err := db.Portal.read.GetContext(ctx, &s, "SELECT "+strategyColumns+" FROM strategy WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	s.Op = readOp(s.Op)
	return &s, nil
}

// Strategies returns the strategies of templates, ordered by id.
func (db *DB) Strategies(ctx context.Context, templates ...int64) ([]Strategy, error) {
	all := []Strategy{}
	for chunk := range slices.Chunk(templates, maxMarks) {
		var rows []Strategy
		err := db.Portal.read.SelectContext(ctx, &rows, "SELECT "+strategyColumns+" FROM strategy WHERE tpl_id IN ("+marks(len(chunk))+") ORDER BY id", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			rows[i].Op = readOp(rows[i].Op)
		}
		all = append(all, rows...)
	}
	return all, nil
}

// CreateStrategy adds a strategy to its template and returns its id; ErrNotFound when
// there is no such template.
func (db *DB) CreateStrategy(ctx context.Context, s Strategy) (id int64, err error) {
	if err := s.Check(); err != nil {
		return 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		// Locked, so that it does not go while it gets a strategy.
		var template int64
		if err := tx.GetContext(ctx, &template, "SELECT id FROM tpl WHERE id = ?"+db.Portal.dialect.forUpdate(), s.Template); err != nil {
			return notFound(err)
		}
		id, err = insertStrategy(ctx, tx, &s)
		return err
	})
	return id, err
}

func insertStrategy(ctx context.Context, tx *sqlx.Tx, s *Strategy) (int64, error) {
	return insert(ctx, tx, "INSERT INTO strategy (metric, tags, max_step, priority, func, op, right_value, note, run_begin, run_end, value_type, right_string, tpl_id) VALUES ("+marks(13)+")",
		append(s.values(), s.Template)...)
}

// UpdateStrategy overwrites the strategy s.ID but for its template; ErrNotFound when
// there is none.
func (db *DB) UpdateStrategy(ctx context.Context, s Strategy) error {
	if err := s.Check(); err != nil {
		return err
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE strategy SET metric = ?, tags = ?, max_step = ?, priority = ?, func = ?, op = ?, right_value = ?, note = ?,"+
			" run_begin = ?, run_end = ?, value_type = ?, right_string = ? WHERE id = ?", append(s.values(), s.ID)...)
		return one(res, err)
	})
}

// DeleteStrategy removes a strategy; ErrNotFound when there is none.
func (db *DB) DeleteStrategy(ctx context.Context, id int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		if err := leaveUnion(ctx, tx, id); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM strategy WHERE id = ?", id)
		return one(res, err)
	})
}

// SeriesOfMetric returns series of the index that have this metric, with any tags,
// limit at most. Bound it by ctx: the whole index is read.
func (db *DB) SeriesOfMetric(ctx context.Context, metric string, limit int) ([]IndexKey, error) {
	below := strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(metric) + "/%"
	all := []IndexKey{}
	err := db.Graph.read.SelectContext(ctx, &all, db.Graph.limited(ctx, "SELECT endpoint.endpoint, endpoint_counter.counter FROM endpoint_counter"+
		" JOIN endpoint ON endpoint.id = endpoint_counter.endpoint_id WHERE endpoint_counter.counter = ? OR endpoint_counter.counter LIKE ? ESCAPE '!' LIMIT ?"),
		metric, below, max(limit, 1))
	return all, err
}
