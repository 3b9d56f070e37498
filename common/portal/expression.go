package portal

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"
)

// Expression is a row of expression: a rule without a template. Its JSON is stock's
// expression object.
type Expression struct {
	ID         int64  `db:"id" json:"id"`
	Expression string `db:"expression" json:"expression"`
	Func       string `db:"func" json:"func"`
	Op         string `db:"op" json:"op"`
	RightValue string `db:"right_value" json:"right_value"`
	MaxStep    int    `db:"max_step" json:"max_step"`
	Priority   int    `db:"priority" json:"priority"`
	Note       string `db:"note" json:"note"`
	ActionID   int64  `db:"action_id" json:"action_id"`
	CreateUser string `db:"create_user" json:"create_user"`
	Pause      int    `db:"pause" json:"pause"` // 1: it is not judged
}

const expressionColumns = "id, expression, func, op, right_value, max_step, priority, note, action_id, create_user, pause"

// Check says which field its column can not hold.
func (e *Expression) Check() error {
	return fitAll(fit{"expression", e.Expression, 1024}, fit{"func", e.Func, 16}, fit{"op", e.Op, 8}, fit{"right_value", e.RightValue, 16}, fit{"note", e.Note, 1024})
}

func (e *Expression) values() []any {
	return []any{e.Expression, e.Func, e.Op, e.RightValue, e.MaxStep, e.Priority, e.Note, e.Pause}
}

// Expression returns an expression, or ErrNotFound.
func (db *DB) Expression(ctx context.Context, id int64) (*Expression, error) {
	var e Expression
	if err := db.Portal.read.GetContext(ctx, &e, "SELECT "+expressionColumns+" FROM expression WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	return &e, nil
}

// Expressions returns the expressions, ordered by id. Limit 0 means all.
func (db *DB) Expressions(ctx context.Context, limit, offset int) ([]Expression, error) {
	query, args := "SELECT "+expressionColumns+" FROM expression ORDER BY id", []any(nil)
	if limit > 0 {
		query, args = query+" LIMIT ? OFFSET ?", append(args, limit, max(offset, 0))
	}
	all := []Expression{}
	err := db.Portal.read.SelectContext(ctx, &all, query, args...)
	return all, err
}

// CreateExpression makes an expression with an action of its own and returns both ids.
func (db *DB) CreateExpression(ctx context.Context, e Expression, a Action) (id, action int64, err error) {
	if err := e.Check(); err != nil {
		return 0, 0, err
	}
	if err := a.check(); err != nil {
		return 0, 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		if action, err = insertAction(ctx, tx, &a); err != nil {
			return err
		}
		id, err = insert(ctx, tx, "INSERT INTO expression (expression, func, op, right_value, max_step, priority, note, pause, action_id, create_user) VALUES ("+marks(10)+")",
			append(e.values(), action, clip(e.CreateUser, 64))...)
		return err
	})
	return id, action, err
}

// UpdateExpression overwrites the expression e.ID, but for who made it, and its
// action; one that has none gets one. ErrNotFound when there is none.
func (db *DB) UpdateExpression(ctx context.Context, e Expression, a Action) error {
	if err := e.Check(); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return err
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		if err := tx.GetContext(ctx, &a.ID, "SELECT action_id FROM expression WHERE id = ?"+db.Portal.dialect.forUpdate(), e.ID); err != nil {
			return notFound(err)
		}
		// One that is shared with another rule is left to that one.
		var users int
		if err := tx.GetContext(ctx, &users, "SELECT (SELECT COUNT(*) FROM tpl WHERE action_id = ?) + (SELECT COUNT(*) FROM expression WHERE action_id = ? AND id <> ?)",
			a.ID, a.ID, e.ID); err != nil {
			return err
		}
		err := ErrNotFound
		if a.ID != 0 && users == 0 {
			err = updateAction(ctx, tx, &a)
		}
		if errors.Is(err, ErrNotFound) {
			a.ID, err = insertAction(ctx, tx, &a)
		}
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "UPDATE expression SET expression = ?, func = ?, op = ?, right_value = ?, max_step = ?, priority = ?, note = ?, pause = ?,"+
			" action_id = ? WHERE id = ?", append(e.values(), a.ID, e.ID)...)
		return one(res, err)
	})
}

// DeleteExpression removes an expression with its action; ErrNotFound when there is
// none.
func (db *DB) DeleteExpression(ctx context.Context, id int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		var action int64
		if err := tx.GetContext(ctx, &action, "SELECT action_id FROM expression WHERE id = ?"+db.Portal.dialect.forUpdate(), id); err != nil {
			return notFound(err)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM expression WHERE id = ?", id); err != nil {
			return err
		}
		return dropAction(ctx, tx, action)
	})
}
