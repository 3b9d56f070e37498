package portal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"

	"falcon/common/run"
)

// sqliteReaders is how many reads of one SQLite file may run at the same time.
const sqliteReaders = 4

// openSQLite opens dir/name.db, creating it readable by its owner alone (uic
// holds password hashes).
func openSQLite(ctx context.Context, name, dir string) (*Handle, error) {
	path := filepath.Join(dir, name+".db")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}

	// A driver of our own, so that REGEXP is not forced on other users of the
	// library in this process.
	drv := &sqlite.Driver{}
	patterns := newPatternCache(256)
	if err := drv.RegisterDeterministicScalarFunction("regexp", 2, patterns.match); err != nil {
		return nil, fmt.Errorf("register REGEXP: %w", err)
	}

	// The graph index can be written again from graph's catalog, so losing its
	// last transactions in a power cut is cheaper than a sync for each.
	sync := "FULL"
	if name == Graph {
		sync = "NORMAL"
	}
	dsn := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) +
		"?_busy_timeout=5000&_journal_mode=WAL&_synchronous=" + sync +
		"&_time_format=datetime&_timezone=UTC&_dqs=0&_txlock="
	write := sqlx.NewDb(sql.OpenDB(sqliteConnector{drv, dsn + "immediate"}), "sqlite3")
	write.SetMaxOpenConns(1)
	// The first connection switches the file to WAL; readers come after it. While
	// another process does the same the busy timeout does not count.
	for try := 1; ; try++ {
		if err = write.PingContext(ctx); !isCollision(err) || try == maxTries || !run.Sleep(ctx, rand.N(min(time.Millisecond<<try, 250*time.Millisecond))) {
			break
		}
	}
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	read := sqlx.NewDb(sql.OpenDB(sqliteConnector{drv, dsn + "deferred&_query_only=1"}), "sqlite3")
	read.SetMaxOpenConns(sqliteReaders)
	read.SetMaxIdleConns(sqliteReaders)
	return &Handle{name: name, schema: path, dialect: sqliteDialect, read: read, write: write}, nil
}

type sqliteConnector struct {
	drv *sqlite.Driver
	dsn string
}

// Connect opens the file.
func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) { return c.drv.Open(c.dsn) }

// Driver returns the driver with our functions.
func (c sqliteConnector) Driver() driver.Driver { return c.drv }

// A patternCache keeps compiled regular expressions for REGEXP, which SQLite
// calls once a row with the pattern's text.
type patternCache struct {
	max int
	mu  sync.Mutex
	m   map[string]*regexp.Regexp
}

func newPatternCache(max int) *patternCache {
	return &patternCache{max: max, m: make(map[string]*regexp.Regexp, max)}
}

func (c *patternCache) get(pattern string) (*regexp.Regexp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if re, ok := c.m[pattern]; ok {
		return re, nil
	}
	// MySQL's REGEXP follows the column's collation, which ignores case.
	re, err := regexp.Compile("(?i)" + pattern)
	if err != nil {
		return nil, err
	}
	if len(c.m) >= c.max {
		for old := range c.m { // any one: patterns come from people, in bursts
			delete(c.m, old)
			break
		}
	}
	c.m[pattern] = re
	return re, nil
}

// match is SQL's "value REGEXP pattern", which SQLite calls as
// regexp(pattern, value). Null on either side gives null.
func (c *patternCache) match(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	if len(args) != 2 || args[0] == nil || args[1] == nil {
		return nil, nil
	}
	pattern, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("the pattern of REGEXP is no text but %T", args[0])
	}
	re, err := c.get(pattern)
	if err != nil {
		return nil, err
	}
	switch v := args[1].(type) {
	case string:
		return re.MatchString(v), nil
	case []byte:
		return re.Match(v), nil
	default:
		return re.MatchString(fmt.Sprint(v)), nil
	}
}
