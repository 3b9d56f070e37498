package portal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
)

// A Handle is one database. On MySQL reads and writes share one pool; on SQLite
// writes have one connection of their own, so that they queue in the process
// instead of failing on the file's lock, and reads have several.
type Handle struct {
	name    string // graph, uic, falcon_portal
	schema  string // the database's name inside MySQL, the file's path for SQLite
	dialect dialect
	read    *sqlx.DB
	write   *sqlx.DB

	// create makes the MySQL database when it does not exist; nil for SQLite.
	create func(ctx context.Context) error
	// mariadb caches whether the server is MariaDB: 0 unknown, 1 no, 2 yes.
	mariadb atomic.Int32
}

// Name returns the name of the stock database: graph, uic or falcon_portal.
func (h *Handle) Name() string { return h.name }

// SQLite says whether the database is a SQLite file.
func (h *Handle) SQLite() bool { return h.dialect == sqliteDialect }

func (h *Handle) close() error {
	err := h.write.Close()
	if h.read != h.write {
		err = errors.Join(err, h.read.Close())
	}
	return err
}

// maxTries is how often a transaction is run before a collision is an error. The
// pause before try n is up to 2^n ms, 250 ms at most, so the last one comes after
// two seconds of pauses.
const maxTries = 15

// Tx runs fn in a transaction and commits it. When the transaction loses against
// another one (a deadlock, a lock that was held too long, a busy file) it is
// rolled back and fn runs again, so fn must not leave anything behind but its
// statements. An error of fn rolls back and is returned as it is, with ctx's when that
// has ended.
func (h *Handle) Tx(ctx context.Context, fn func(tx *sqlx.Tx) error) error {
	for try := 1; ; try++ {
		err := h.tx(ctx, fn)
		if err == nil || !isCollision(err) || gone(ctx) {
			return because(ctx, err)
		}
		if try == maxTries {
			return fmt.Errorf("after %d tries: %w", try, err)
		}
		// The losers of one collision must not meet again.
		pause := time.NewTimer(rand.N(min(time.Millisecond<<try, 250*time.Millisecond)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return because(ctx, err)
		}
	}
}

func (h *Handle) tx(ctx context.Context, fn func(tx *sqlx.Tx) error) error {
	tx, err := h.write.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		// After a deadlock MySQL has rolled back already, after a lock wait
		// only the statement: roll back in every case.
		// What ended the transaction has said why; a connection that can not
		// even roll back is thrown away by the pool.
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// dialect is the word or two in which MySQL and SQLite differ.
type dialect int

const (
	mysqlDialect dialect = iota
	sqliteDialect
)

// forUpdate ends a SELECT whose rows the transaction is going to change. SQLite
// has one writer: its transaction owns the file.
func (d dialect) forUpdate() string {
	if d == sqliteDialect {
		return ""
	}
	return " FOR UPDATE"
}

// greatest returns the larger of two expressions, neither of which is null.
func (d dialect) greatest(a, b string) string {
	if d == sqliteDialect {
		return "MAX(" + a + ", " + b + ")"
	}
	return "GREATEST(" + a + ", " + b + ")"
}

// marks returns n question marks, "?, ?, ?".
func marks(n int) string {
	if n == 0 {
		return ""
	}
	return strings.Repeat("?, ", n-1) + "?"
}

// anys turns a slice into arguments.
func anys[T any](s []T) []any {
	a := make([]any, len(s))
	for i, v := range s {
		a[i] = v
	}
	return a
}

// maxMarks bounds the arguments of one statement: SQLite takes 32 766, MySQL
// 65 535, and long lists are no faster than two shorter ones.
const maxMarks = 1000
