package portal

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
)

// SetAlive writes down that something was there at a moment; an earlier one than that
// which is written changes nothing.
func (db *DB) SetAlive(ctx context.Context, name string, at time.Time) error {
	if err := db.needAlarms(); err != nil {
		return err
	}
	return db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE alarm_alive SET at = ? WHERE name = ? AND at < ?", at.Unix(), name, at.Unix())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO alarm_alive (name, at) VALUES (?, ?)", name, at.Unix())
		if isDuplicate(err) {
			return nil // it is written already, or by somebody else just now
		}
		return err
	})
}

// Alive returns when something was there last; the zero time when it never was.
func (db *DB) Alive(ctx context.Context, name string) (time.Time, error) {
	if err := db.needAlarms(); err != nil {
		return time.Time{}, err
	}
	var at int64
	err := db.Alarms.read.GetContext(ctx, &at, "SELECT at FROM alarm_alive WHERE name = ?", name)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return time.Unix(at, 0), err
}
