package portal

import (
	"context"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
)

// Marked says whether something was done once and for all, see FirstRules.
func (db *DB) Marked(ctx context.Context, name string) (bool, error) {
	var n int
	err := db.Portal.read.GetContext(ctx, &n, "SELECT COUNT(*) FROM portal_mark WHERE name = ?", name)
	return n > 0, err
}

// Rules are a template with all that belongs to it.
type Rules struct {
	Template   Template
	Action     Action
	Strategies []Strategy
	Groups     []int64 // to which it is bound
}

// FirstRules enters rules under a mark, once in the life of the database: when the
// mark is there nothing happens, so what an operator has deleted does not come back.
// Without rules (nil), or when their template's name is taken, only the mark is set.
// It says whether the rules were entered.
func (db *DB) FirstRules(ctx context.Context, mark string, at time.Time, r *Rules) (made bool, err error) {
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		made = false
		_, err := tx.ExecContext(ctx, "INSERT INTO portal_mark (name, at) VALUES (?, ?)", mark, at)
		if isDuplicate(err) || err == nil && r == nil {
			return nil
		}
		if err != nil {
			return err
		}
		var n int
		if err := tx.GetContext(ctx, &n, "SELECT COUNT(*) FROM tpl WHERE tpl_name = ?", r.Template.Name); err != nil || n > 0 {
			return err
		}
		made = true
		return enterRules(ctx, tx, r)
	})
	return made && err == nil, err
}

func enterRules(ctx context.Context, tx *sqlx.Tx, r *Rules) error {
	t := r.Template
	err := errors.Join(t.check(), r.Action.check())
	for i := range r.Strategies {
		err = errors.Join(err, r.Strategies[i].Check())
	}
	if err != nil {
		return err
	}
	if t.ActionID, err = insertAction(ctx, tx, &r.Action); err != nil {
		return err
	}
	if t.ID, err = insertTemplate(ctx, tx, &t); err != nil {
		return err
	}
	for _, s := range r.Strategies {
		s.Template = t.ID
		if _, err := insertStrategy(ctx, tx, &s); err != nil {
			return err
		}
	}
	for _, g := range r.Groups {
		if err := insertBinding(ctx, tx, Binding{Group: g, Template: t.ID, BindUser: t.CreateUser}); err != nil {
			return err
		}
	}
	return nil
}
