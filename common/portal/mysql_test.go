package portal

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"falcon/common/testkit"
)

// A server is gone without a word, and its address leads to another one. Of several
// connections one statement finds out, and those after it have new ones.
func TestServerIsGone(t *testing.T) {
	t.Parallel()
	cfg := testMySQL(t)
	my, err := mysql.ParseDSN(cfg.UICDSN)
	if err != nil {
		t.Fatal(err)
	}
	line := testkit.NewLine(t, "tcp", my.Addr)
	cfg.UICDSN, cfg.Only = strings.Replace(cfg.UICDSN, my.Addr, line.Addr, 1), []string{UIC}
	h := openTest(t, cfg).UIC
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
