package portal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockMigrations keeps the migrations of other processes out until unlock is
// called. It waits for them as long as ctx allows.
func (h *Handle) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if h.SQLite() {
		return lockFile(ctx, h.schema+".migrate")
	}
	// A lock of the server, which it gives back when the connection ends.
	conn, err := h.write.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "SET SESSION wait_timeout = 28800"); err != nil { // it is idle while others migrate
		return nil, errors.Join(err, conn.Close())
	}
	name := "falcon.migrate." + h.schema
	name = name[:min(len(name), 64)] // MySQL's limit
	for {
		var got sql.NullInt64
		err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 5)", name).Scan(&got)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), conn.Close())
		}
		if got.Int64 == 1 {
			break
		}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		var released sql.NullInt64
		_ = conn.QueryRowContext(ctx, "SELECT RELEASE_LOCK(?)", name).Scan(&released)
		conn.Close()
	}, nil
}

// lockFile takes an advisory lock on a file, which ends with the process.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, ctx.Err()), f.Close())
		}
	}
}
