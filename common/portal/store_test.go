package portal

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"
)

type sqlxTx = sqlx.Tx

// collision returns a real collision error of the store's driver.
func collision(t testing.TB, h *Handle) error {
	t.Helper()
	if !h.SQLite() {
		return &mysql.MySQLError{Number: mysqlDeadlock, Message: "Deadlock found when trying to get lock"}
	}
	// Two connections want to write the same file, and none waits.
	dir := t.TempDir()
	open := func() *sql.DB {
		return sql.OpenDB(sqliteConnector{&sqlite.Driver{}, "file:" + dir + "/busy.db?_busy_timeout=0&_txlock=immediate"})
	}
	a, b := open(), open()
	defer a.Close()
	defer b.Close()
	tx, err := a.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	_, err = b.BeginTx(context.Background(), nil)
	if err == nil || !isCollision(err) {
		t.Fatalf("a second writer got %v, want a collision", err)
	}
	return err
}

// contextAt returns a context with a deadline, as every request has one.
func contextAt(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), time.Minute)
}
