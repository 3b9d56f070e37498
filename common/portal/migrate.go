package portal

import (
	"bufio"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"

	"github.com/pressly/goose/v3"
)

// schema holds the migrations, schema/<database>/<dialect>/<number>_<name>.sql.
// Each file is one statement below a line that says when it is not needed:
//
//	-- unless table endpoint
//	-- unless column strategy.is_multi
//	-- unless key strategy.idx_strategy_union_id
//
// Numbers 1 to 49 are stock's tables, 51 to 99 the keys of stock's tables that
// SQLite can not declare inside them, and from 100 what we add. A number is never
// used twice and a released file never changes.
//
//go:embed schema
var schema embed.FS

// migrate brings one database up to date under a lock that other processes
// respect too.
func (h *Handle) migrate(ctx context.Context, log *slog.Logger) error {
	if h.create != nil {
		if err := h.write.PingContext(ctx); isMySQL(err, mysqlUnknownDatabase) {
			if err := h.create(ctx); err != nil {
				return err
			}
			log.Info("database created", "database", h.name, "schema", h.schema)
		} else if err != nil {
			return err
		}
	}
	unlock, err := h.lockMigrations(ctx)
	if err != nil {
		return fmt.Errorf("wait for the migration of another process: %w", err)
	}
	defer unlock()

	dir, dialect := path.Join("schema", h.name, "mysql"), goose.DialectMySQL
	if h.SQLite() {
		dir, dialect = path.Join("schema", h.name, "sqlite"), goose.DialectSQLite3
	}
	files, err := fs.Sub(schema, dir)
	if err != nil {
		return err
	}
	migrations, err := h.migrations(files, log)
	if err != nil {
		return err
	}
	if len(migrations) == 0 {
		return nil
	}
	// Numbers say what a migration is about, not when it came: a later release adds ones
	// that are lower than what is there. Each has its guard, and none needs another.
	p, err := goose.NewProvider(dialect, h.write.DB, nil, goose.WithAllowOutofOrder(true),
		goose.WithGoMigrations(migrations...), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// migrations reads the files of one folder.
func (h *Handle) migrations(files fs.FS, log *slog.Logger) ([]*goose.Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var all []*goose.Migration
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		g, err := parseGuard(string(text))
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		// In a transaction, because the connection that goose holds is the
		// only writer a SQLite file has. MySQL commits at the statement.
		up := func(ctx context.Context, tx *sql.Tx) error {
			there, err := h.holds(ctx, tx, g)
			if err != nil {
				return fmt.Errorf("migration %s: look for %s: %w", name, g.object, err)
			}
			if there {
				log.Debug("migration not needed", "database", h.name, "migration", name)
				return nil
			}
			if _, err := tx.ExecContext(ctx, g.statement); err != nil {
				return fmt.Errorf("migration %s: %w", name, err)
			}
			return nil
		}
		all = append(all, goose.NewGoMigration(version, &goose.GoFunc{RunTx: up}, nil))
	}
	return all, nil
}

// A guarded is a statement and the object that makes it unnecessary.
type guarded struct {
	kind      string // table, column or key
	object    string // as written: T, T.C or T.K
	table     string
	part      string // the column or key
	statement string
}

func parseGuard(text string) (guarded, error) {
	var g guarded
	var body strings.Builder
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "-- unless "); ok {
			g.kind, g.object, _ = strings.Cut(rest, " ")
			g.table, g.part, _ = strings.Cut(g.object, ".")
			continue
		}
		if !strings.HasPrefix(line, "--") {
			body.WriteString(line + "\n")
		}
	}
	g.statement = strings.TrimSuffix(strings.TrimSpace(body.String()), ";")
	if g.kind != "table" && g.kind != "column" && g.kind != "key" || g.table == "" || (g.kind != "table") != (g.part != "") {
		return g, fmt.Errorf(`no line "-- unless table T", "-- unless column T.C" or "-- unless key T.K"`)
	}
	if g.statement == "" || strings.Contains(g.statement, ";") {
		return g, fmt.Errorf("not exactly one statement")
	}
	return g, nil
}

// holds says whether the database has the guard's object already.
func (h *Handle) holds(ctx context.Context, tx *sql.Tx, g guarded) (bool, error) {
	query, args := "", []any{g.table}
	switch h.dialect.String() + " " + g.kind {
	case "sqlite table":
		query = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	case "sqlite column":
		query, args = "SELECT COUNT(*) FROM pragma_table_info(?) WHERE name = ?", append(args, g.part)
	case "sqlite key":
		query, args = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND name = ?", append(args, g.part)
	case "mysql table":
		query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
	case "mysql column":
		query, args = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?", append(args, g.part)
	case "mysql key":
		query, args = "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?", append(args, g.part)
	}
	var n int
	err := tx.QueryRowContext(ctx, query, args...).Scan(&n)
	return n > 0, err
}

// String returns the dialect's name, as in the folders of schema/.
func (d dialect) String() string {
	if d == sqliteDialect {
		return "sqlite"
	}
	return "mysql"
}
