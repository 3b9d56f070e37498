package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"falcon/common/portal"
)

// freshPortal makes an empty portal in MariaDB and opens it for rows that are written
// past it. The caller closes it.
func freshPortal(ctx context.Context) (dsn string, rows *sql.DB, err error) {
	server := os.Getenv("FALCON_TEST_MYSQL")
	if server == "" {
		return "", nil, errors.New(`FALCON_TEST_MYSQL is not set: eval "$(scripts/services.sh up)" first`)
	}
	dsn = server + fmt.Sprintf("falcon_bench_%d_portal?loc=Local&parseTime=true", time.Now().UnixNano())
	db, err := portal.Open(ctx, portal.Config{PortalDSN: dsn, Only: []string{portal.Portal}}, nil)
	if err != nil {
		return "", nil, err
	}
	if err := errors.Join(db.Migrate(ctx), db.Close()); err != nil {
		return "", nil, err
	}
	rows, err = sql.Open("mysql", dsn) // the driver is portal's
	return dsn, rows, err
}

// insert writes n rows, into is "table (column, …)" and row the values of one.
func insert(ctx context.Context, db *sql.DB, into string, n int, row func(i int) string) error {
	const at = 500 // in one statement
	for from := 0; from < n; from += at {
		var rows []string
		for i := from; i < min(from+at, n); i++ {
			rows = append(rows, "("+row(i)+")")
		}
		if _, err := db.ExecContext(ctx, "INSERT INTO "+into+" VALUES "+strings.Join(rows, ",")); err != nil {
			return err
		}
	}
	return nil
}

// serverPID returns the process of the server, which must be on this machine.
func serverPID(ctx context.Context, db *sql.DB) (int, error) {
	var file string
	if err := db.QueryRowContext(ctx, "SELECT @@pid_file").Scan(&file); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("the database must be on this machine, for its CPU is read: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
