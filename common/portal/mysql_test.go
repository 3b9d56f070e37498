package portal

import (
	"bytes"
	"database/sql"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"falcon/common/testkit"
)

// behindALine opens a database that is reached by a line.
func behindALine(t *testing.T) (*Handle, *testkit.Line) {
	t.Helper()
	cfg := testMySQL(t)
	my, err := mysql.ParseDSN(cfg.UICDSN)
	if err != nil {
		t.Fatal(err)
	}
	line := testkit.NewLine(t, "tcp", my.Addr)
	cfg.UICDSN, cfg.Only = strings.Replace(cfg.UICDSN, my.Addr, line.Addr, 1), []string{UIC}
	return openTest(t, cfg).UIC, line
}

// A client is gone without a word, in the middle of a transaction. The server does not know,
// and its locks are let go of all the same, before those who wait for them give up.
func TestClientIsGone(t *testing.T) {
	t.Parallel()
	h, line := behindALine(t)
	execSQL(t, h, "CREATE TABLE gone (id INT PRIMARY KEY, n INT)")
	execSQL(t, h, "INSERT INTO gone VALUES (1, 1)")
	tx, err := h.write.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("UPDATE gone SET n = 2"); err != nil {
		t.Fatal(err)
	}
	line.Die()
	if _, err := h.write.Exec("UPDATE gone SET n = 3 WHERE n = 1"); err != nil {
		_, err = h.write.Exec("UPDATE gone SET n = 3 WHERE n = 1") // the first one may have had a dead connection
		if err != nil {
			t.Error(err)
		}
	}
	if n := count(t, h, "gone WHERE n = 3"); n != 1 {
		t.Error("the transaction of the client that is gone came before")
	}
	_ = tx.Rollback()
}

// A server is gone without a word, and its address leads to another one. Of several
// connections one statement finds out, and those after it have new ones.
func TestServerIsGone(t *testing.T) {
	t.Parallel()
	h, line := behindALine(t)
	var conns []*sql.Conn
	for range 4 {
		c, err := h.write.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		if err := c.Close(); err != nil { // it goes back to the pool
			t.Fatal(err)
		}
	}
	made := line.Die()
	if _, err := h.write.Exec("DO 1"); err == nil {
		t.Error("a statement was done by a server that is gone")
	}
	for range 4 {
		execSQL(t, h, "DO 1")
	}
	if n := line.Dials(); n != made+1 {
		t.Errorf("%d connections were made to the new server, want 1", n-made)
	}
}

// Why a connection is of no use is in the log, with the database.
func TestDriverLog(t *testing.T) {
	t.Parallel()
	cfg := testMySQL(t)
	cfg.Only = []string{UIC}
	openTest(t, cfg) // which creates it
	var said bytes.Buffer
	db, err := Open(t.Context(), cfg, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := db.UIC.write.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var id int
	if err := c.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	execSQL(t, db.UIC, "KILL ?", id)
	if _, err := c.ExecContext(t.Context(), "DO 1"); err == nil {
		t.Error("a connection that was killed is of use")
	}
	if text := said.String(); !strings.Contains(text, "the MySQL driver says of a connection") || !strings.Contains(text, "database=uic") {
		t.Errorf("the log says %q", text)
	}
}
