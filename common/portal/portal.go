package portal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
)

// Names of stock's databases. A MySQL DSN may name its database differently;
// these are the names of the SQLite files and the ones that errors and logs use.
const (
	Graph     = "graph"
	UIC       = "uic"
	Portal    = "falcon_portal"
	Alarms    = "alarms"
	Dashboard = "dashboard"
)

// Config says where the databases are. A DSN that is set means MySQL; one that is
// empty means the SQLite file Dir/<database>.db. The two may be mixed.
type Config struct {
	// DSNs as stock writes them: user:password@tcp(host:port)/database?loc=Local&parseTime=true.
	// parseTime and clientFoundRows are forced on, whatever the DSN says.
	GraphDSN  string
	UICDSN    string
	PortalDSN string
	// Alarms and dashboard stay closed, and their calls fail, when they have neither
	// a DSN nor Dir while another database has a DSN: not every daemon needs them.
	AlarmsDSN    string
	DashboardDSN string
	// Dir is the folder of the SQLite files. It is made when it is missing.
	Dir string
	// Only names the databases that are opened, by the constants above; empty opens
	// all. Calls that need another one must not be made.
	Only []string
	// MaxConns bounds the open connections to each MySQL database. Default 32.
	MaxConns int
	// MaxIdle bounds those that are kept open unused. Default 8.
	MaxIdle int
}

// DB is the portal: one Handle a database.
type DB struct {
	Graph  *Handle
	UIC    *Handle
	Portal *Handle
	// Nil when Config names no place for them.
	Alarms    *Handle
	Dashboard *Handle

	log *slog.Logger
}

// Open prepares the databases of cfg. SQLite files are opened at once, so a
// folder that can not be written is an error here; MySQL is first dialled when a
// statement needs it, so a daemon starts while its database is away (Ping tells).
// The caller closes the DB.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*DB, error) {
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 32)
	cfg.MaxIdle = cmp.Or(cfg.MaxIdle, 8)
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	db := &DB{log: log}
	for _, d := range []struct {
		name, dsn string
		to        **Handle
	}{
		{Graph, cfg.GraphDSN, &db.Graph},
		{UIC, cfg.UICDSN, &db.UIC},
		{Portal, cfg.PortalDSN, &db.Portal},
		{Alarms, cfg.AlarmsDSN, &db.Alarms},
		{Dashboard, cfg.DashboardDSN, &db.Dashboard},
	} {
		if len(cfg.Only) > 0 && !slices.Contains(cfg.Only, d.name) {
			continue
		}
		if (d.name == Alarms || d.name == Dashboard) && len(cfg.Only) == 0 && d.dsn == "" && cfg.Dir == "" {
			continue
		}
		h, err := open(ctx, d.name, d.dsn, cfg, log)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open database %s: %w", d.name, because(ctx, err)), db.Close())
		}
		*d.to = h
	}
	return db, nil
}

func open(ctx context.Context, name, dsn string, cfg Config, log *slog.Logger) (*Handle, error) {
	if dsn != "" {
		return openMySQL(name, dsn, cfg, log)
	}
	if cfg.Dir == "" {
		return nil, errors.New("a database without a DSN needs Dir, the folder of the SQLite files")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	return openSQLite(ctx, name, cfg.Dir)
}

// handles lists the open databases in a fixed order.
func (db *DB) handles() []*Handle {
	return slices.DeleteFunc([]*Handle{db.UIC, db.Portal, db.Graph, db.Alarms, db.Dashboard}, func(h *Handle) bool { return h == nil })
}

// Ping says whether every database answers, within a second each or by ctx's end.
// The error names the ones that do not.
func (db *DB) Ping(ctx context.Context) error {
	var errs []error
	for _, h := range db.handles() {
		c, cancel := context.WithTimeout(ctx, time.Second)
		if err := h.read.PingContext(c); err != nil {
			errs = append(errs, fmt.Errorf("database %s: %w", h.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// PingAlarms says whether the database alarms answers, within a second or by ctx's end.
func (db *DB) PingAlarms(ctx context.Context) error {
	if err := db.needAlarms(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := db.Alarms.read.PingContext(ctx); err != nil {
		return fmt.Errorf("database %s: %w", db.Alarms.name, err)
	}
	return nil
}

// Migrate brings every database to the schema of this release; see schema/. It
// only ever adds: tables of a stock or fork database are recognised and left as
// they are, with their rows. A MySQL database that does not exist is created.
// Running it twice, or from several daemons at once, is harmless.
func (db *DB) Migrate(ctx context.Context) error {
	for _, h := range db.handles() {
		if err := h.migrate(ctx, db.log); err != nil {
			return fmt.Errorf("migrate database %s: %w", h.name, because(ctx, err))
		}
	}
	return nil
}

// Close closes all connections.
func (db *DB) Close() error {
	var errs []error
	for _, h := range db.handles() {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}
