package portal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver that testMySQL opens by name
)

// eachStore runs a test on SQLite, and on MariaDB when there is one; there the
// tests share their databases, since making them takes a second, and each finds
// them empty.
func eachStore(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, openTest(t, Config{Dir: t.TempDir()}))
	})
	t.Run("mysql", func(t *testing.T) {
		needMySQL(t)
		shared = true
		db := openTest(t, mysqlConfig(sharedPrefix))
		for _, h := range db.handles() {
			var tables []string
			if err := h.read.Select(&tables, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name <> 'goose_db_version'"); err != nil {
				t.Fatal(err)
			}
			for _, name := range tables {
				execSQL(t, h, "DELETE FROM `"+name+"`")
			}
		}
		test(t, db)
	})
}

const mysqlEnv = "FALCON_TEST_MYSQL"

// sharedPrefix begins the names of the databases that eachStore uses, and shared says that
// there are some.
var (
	sharedPrefix = fmt.Sprintf("falcon_test_%08x_", rand.Uint32())
	shared       bool
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared {
		if err := dropDatabases(sharedPrefix); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func needMySQL(t testing.TB) {
	t.Helper()
	if os.Getenv(mysqlEnv) == "" {
		t.Skip(mysqlEnv + " is not set: run scripts/services.sh up")
	}
}

// testMySQL returns a Config with databases of this test's own, which do not
// exist yet and are dropped at its end.
func testMySQL(t testing.TB) Config {
	t.Helper()
	needMySQL(t)
	prefix := fmt.Sprintf("falcon_test_%08x_", rand.Uint32())
	t.Cleanup(func() {
		if err := dropDatabases(prefix); err != nil {
			t.Error(err)
		}
	})
	return mysqlConfig(prefix)
}

func mysqlConfig(prefix string) Config {
	dsn := func(name string) string {
		return os.Getenv(mysqlEnv) + prefix + name + "?loc=Local&parseTime=true"
	}
	return Config{GraphDSN: dsn(Graph), UICDSN: dsn(UIC), PortalDSN: dsn(Portal), AlarmsDSN: dsn(Alarms), DashboardDSN: dsn(Dashboard)}
}

func dropDatabases(prefix string) error {
	db, err := sql.Open("mysql", os.Getenv(mysqlEnv))
	if err != nil {
		return err
	}
	defer db.Close()
	for _, name := range []string{Graph, UIC, Portal, Alarms, Dashboard} {
		if _, err := db.Exec("DROP DATABASE IF EXISTS " + prefix + name); err != nil {
			return err
		}
	}
	return nil
}

// openTest opens and migrates cfg for the time of a test.
func openTest(t testing.TB, cfg Config) *DB {
	t.Helper()
	db, err := Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// must returns v of a call that has to succeed.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func execSQL(t testing.TB, h *Handle, query string, args ...any) {
	t.Helper()
	if _, err := h.write.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func count(t testing.TB, h *Handle, from string, args ...any) (n int) {
	t.Helper()
	if err := h.read.Get(&n, "SELECT COUNT(*) FROM "+from, args...); err != nil {
		t.Fatalf("count %s: %v", from, err)
	}
	return n
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		err  string
	}{
		{"nothing", Config{}, "open database graph: a database without a DSN needs Dir, the folder of the SQLite files"},
		{"no database", Config{Dir: "x", GraphDSN: "root@tcp(127.0.0.1:1)/"}, "open database graph: the DSN names no database: end it with /graph"},
		{"no address", Config{Dir: "x", GraphDSN: "root"}, "open database graph: invalid DSN: missing the slash separating the database name: write user:password@tcp(host:3306)/graph?loc=Local&parseTime=true"},
		{"a file is in the way", Config{Dir: "/dev/null/portal"}, "open database graph: mkdir /dev/null: not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db, err := Open(t.Context(), tc.cfg, nil)
			if err == nil {
				db.Close()
			}
			if fmt.Sprint(err) != tc.err {
				t.Errorf("Open(%+v)\n got %v\nwant %s", tc.cfg, err, tc.err)
			}
		})
	}
}

func TestPingNamesTheDatabaseThatIsAway(t *testing.T) {
	db := must[*DB](t)(Open(t.Context(), Config{Dir: t.TempDir(), UICDSN: "root@tcp(127.0.0.1:1)/uic"}, nil))
	defer db.Close()
	want := "database uic: dial tcp 127.0.0.1:1: connect: connection refused"
	if err := db.Ping(t.Context()); fmt.Sprint(err) != want {
		t.Errorf("Ping()\n got %v\nwant %s", err, want)
	}
}

func TestSQLiteFilesAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir() + "/a b?c#d%41"
	openTest(t, Config{Dir: dir})
	for _, name := range []string{Graph, UIC, Portal, Alarms, Dashboard} {
		info := must[os.FileInfo](t)(os.Stat(dir + "/" + name + ".db"))
		if info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("%s.db has mode %v and %d bytes, want 0600 and a schema", name, info.Mode(), info.Size())
		}
	}
}

func TestReadersOfSQLiteCanNotWrite(t *testing.T) {
	db := openTest(t, Config{Dir: t.TempDir()})
	if _, err := db.UIC.read.Exec("DELETE FROM user"); err == nil {
		t.Error("a reader deleted rows")
	}
}

// A transaction that loses is run again as a whole, and leaves once what it did.
func TestTxRunsAgainAfterACollision(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		tries := 0
		err := db.UIC.Tx(t.Context(), func(tx *sqlxTx) error {
			tries++
			if _, err := tx.Exec("INSERT INTO team (name) VALUES (?)", "ops"); err != nil {
				return err
			}
			if tries < 4 {
				return fmt.Errorf("insert: %w", collision(t, db.UIC))
			}
			return nil
		})
		if err != nil || tries != 4 || count(t, db.UIC, "team") != 1 {
			t.Errorf("Tx: err %v after %d tries with %d rows, want nil, 4, 1", err, tries, count(t, db.UIC, "team"))
		}

		tries = 0
		ctx, cancel := context.WithCancel(t.Context())
		err = db.UIC.Tx(ctx, func(tx *sqlxTx) error {
			tries++
			cancel()
			return collision(t, db.UIC)
		})
		if err == nil || tries != 1 {
			t.Errorf("Tx whose caller left: err %v after %d tries, want an error after 1", err, tries)
		}
	})
}

// A transaction whose context ends says so, also where the driver only tells that it is over.
func TestTxSaysThatItsContextEnded(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.UIC.Tx(ctx, func(tx *sqlxTx) error {
			cancel()
			for n := 0; ; n++ {
				if _, err := tx.Exec("INSERT INTO team (name) VALUES (?)", fmt.Sprint(n)); err != nil {
					return err
				}
			}
		})
		if !errors.Is(err, sql.ErrTxDone) || !errors.Is(err, context.Canceled) || count(t, db.UIC, "team") != 0 {
			t.Errorf("Tx: err %v with %d rows, want the end of the transaction and of the context, 0", err, count(t, db.UIC, "team"))
		}
	})
}
