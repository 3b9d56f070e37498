package portal

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"falcon/common/dialer"
)

// openMySQL prepares a pool for dsn without dialling.
func openMySQL(name, dsn string, cfg Config, log *slog.Logger) (*Handle, error) {
	my, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("%w: write user:password@tcp(host:3306)/%s?loc=Local&parseTime=true", err, name)
	}
	if my.DBName == "" {
		return nil, fmt.Errorf("the DSN names no database: end it with /%s", name)
	}
	if strings.ContainsAny(my.DBName, "`\x00") {
		return nil, fmt.Errorf("the database name %q can not be used", my.DBName)
	}
	my.ParseTime = true
	// The number of rows that matched, not of those that changed: an UPDATE
	// that finds its row unchanged must not be followed by an INSERT.
	my.ClientFoundRows = true
	// One round trip a statement instead of three.
	my.InterpolateParams = true
	my.Timeout = cmp.Or(my.Timeout, 5*time.Second)
	my.ReadTimeout = cmp.Or(my.ReadTimeout, 60*time.Second)
	my.WriteTimeout = cmp.Or(my.WriteTimeout, 60*time.Second)
	my.Logger = driverLog{log.With("database", name)}

	var db *sqlx.DB
	if my.Net == "tcp" {
		d := dialer.New(my.Timeout)
		my.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return watched{c.(*net.TCPConn), func() {
				db.SetMaxIdleConns(0) // which closes them
				db.SetMaxIdleConns(cfg.MaxIdle)
			}}, nil
		}
	}

	conn, err := mysql.NewConnector(my)
	if err != nil {
		return nil, err
	}
	db = sqlx.NewDb(sql.OpenDB(prepared{conn}), "mysql")
	db.SetMaxOpenConns(max(cfg.MaxConns, 2)) // a migration needs two
	db.SetMaxIdleConns(cfg.MaxIdle)
	// Shorter than what load balancers and wait_timeout allow.
	db.SetConnMaxLifetime(3 * time.Minute)
	db.SetConnMaxIdleTime(idle * 3 / 4)

	bare := my.Clone()
	bare.DBName = ""
	return &Handle{
		name: name, schema: my.DBName, dialect: mysqlDialect, read: db, write: db,
		create: func(ctx context.Context) error { return createDatabase(ctx, bare, my.DBName) },
	}, nil
}

// driverLog has in our log what the driver says of a connection: the statement that fails by it
// says no more than that it was invalid.
type driverLog struct{ *slog.Logger }

// Print implements mysql.Logger.
func (l driverLog) Print(v ...any) {
	l.Info("the MySQL driver says of a connection", "text", strings.TrimSpace(fmt.Sprint(v...)))
}

// watched is a connection that says when its server turns out to be gone without a word. The
// unused ones beside it are as dead then, and a statement on each would take its time to
// notice.
type watched struct {
	*net.TCPConn
	gone func()
}

func (c watched) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if errors.Is(err, syscall.ETIMEDOUT) {
		c.gone()
	}
	return n, err
}

// createDatabase makes a database as stock's scripts do.
func createDatabase(ctx context.Context, bare *mysql.Config, name string) error {
	conn, err := mysql.NewConnector(bare)
	if err != nil {
		return err
	}
	db := sql.OpenDB(conn)
	defer db.Close()
	_, err = db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS `"+name+"` DEFAULT CHARACTER SET utf8 COLLATE utf8_general_ci")
	if err != nil {
		return fmt.Errorf("create database %s: %w (create it by hand, or let the user of the DSN create it)", name, err)
	}
	return nil
}

// idle is for how long the server keeps a connection on which nothing is asked. A client that
// is gone without a word may have left a transaction behind, which holds its locks until then;
// the server's default is eight hours.
const idle = time.Minute

// session are the settings of a connection. The isolation by a DSN variable would not do: its
// name differs between the servers and releases we support. MariaDB, which alone reads the
// comment, ends a transaction sooner in which nothing is asked: ours go from one statement to
// the next at once.
var session = []string{
	"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	fmt.Sprintf("SET SESSION wait_timeout = %d /*M!100300 , SESSION idle_transaction_timeout = 10 */", int(idle.Seconds())),
}

// prepared connections have the settings of session.
type prepared struct{ driver.Connector }

// Connect dials.
func (c prepared) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	exec, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the MySQL driver can not execute on a bare connection"), conn.Close())
	}
	for _, set := range session {
		if _, err := exec.ExecContext(ctx, set, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", set, err), conn.Close())
		}
	}
	return conn, nil
}

// limited returns the SELECT query so that the server gives it up after about as
// long as the caller waits: a cancelled context closes our end of the connection,
// but the server would go on scanning.
func (h *Handle) limited(ctx context.Context, query string) string {
	deadline, ok := ctx.Deadline()
	rest, isSelect := strings.CutPrefix(query, "SELECT ")
	if h.SQLite() || !ok || !isSelect {
		return query
	}
	left := max(time.Until(deadline), time.Millisecond)
	if h.isMariaDB(ctx) {
		return fmt.Sprintf("SET STATEMENT max_statement_time=%.3f FOR %s", left.Seconds(), query)
	}
	return fmt.Sprintf("SELECT /*+ MAX_EXECUTION_TIME(%d) */ %s", left.Milliseconds(), rest)
}

func (h *Handle) isMariaDB(ctx context.Context) bool {
	if h.mariadb.Load() == 0 {
		var version string
		if err := h.read.GetContext(ctx, &version, "SELECT VERSION()"); err != nil {
			return false // the query itself will meet the same error
		}
		h.mariadb.Store(1)
		if strings.Contains(version, "MariaDB") {
			h.mariadb.Store(2)
		}
	}
	return h.mariadb.Load() == 2
}
