package portal

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
)

// OperLog is a row of oper_log: somebody changed something.
type OperLog struct {
	ID       int64     `db:"id"`
	At       time.Time `db:"ts"`
	User     string    `db:"user_name"`
	Source   string    `db:"source"`    // api, page, cli
	RemoteIP string    `db:"remote_ip"` // of the caller
	Object   string    `db:"object"`    // user, endpoint, counter …
	ObjectID string    `db:"object_id"` // its id or name
	Op       string    `db:"op"`        // create, update, delete, login …
	Before   *string   `db:"before_json"`
	After    *string   `db:"after_json"`
}

// AddOperLog appends a row. Texts that are longer than their columns are cut: a
// line that is cut is better than none.
func (db *DB) AddOperLog(ctx context.Context, l OperLog) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx,
			"INSERT INTO oper_log (ts, user_name, source, remote_ip, object, object_id, op, before_json, after_json) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			l.At, cut(l.User, 64), cut(l.Source, 16), cut(l.RemoteIP, 64), cut(l.Object, 32), cut(l.ObjectID, 64), cut(l.Op, 16), l.Before, l.After)
		return err
	})
}

// OperLogs returns the newest rows, newest first.
func (db *DB) OperLogs(ctx context.Context, limit int) ([]OperLog, error) {
	all := []OperLog{}
	err := db.Portal.read.SelectContext(ctx, &all,
		"SELECT id, ts, user_name, source, remote_ip, object, object_id, op, before_json, after_json FROM oper_log ORDER BY id DESC LIMIT ?", max(limit, 1))
	return all, err
}

// cut keeps the first max characters of s, with those that stock's utf8 can not
// hold replaced.
func cut(s string, max int) string {
	b := make([]byte, 0, min(len(s), 3*max))
	n := 0
	for _, r := range s {
		if n == max {
			break
		}
		if r > 0xffff {
			r = utf8.RuneError
		}
		b = utf8.AppendRune(b, r)
		n++
	}
	return string(b)
}
