package portal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrNotFound says that no row has that id or name. Its text is what stock's
	// clients are used to.
	ErrNotFound = errors.New("record not found")
	// ErrExists says that a row with that name is there already.
	ErrExists = errors.New("name is already existing")
)

// An InvalidError says that a value can not be stored or used as it is; the text
// is meant for the person who gave it.
type InvalidError struct {
	Reason string
	Field  string // of the request that holds the value, when there is one
}

func (e *InvalidError) Error() string { return e.Reason }

func invalid(format string, args ...any) error {
	return &InvalidError{Reason: fmt.Sprintf(format, args...)}
}

// invalidField is invalid with the name of the field that has to change.
func invalidField(field, format string, args ...any) error {
	return &InvalidError{Reason: fmt.Sprintf(format, args...), Field: field}
}

// MySQL's error numbers that decide what happens next.
const (
	mysqlDuplicate       = 1062
	mysqlUnknownDatabase = 1049
	mysqlLockWait        = 1205
	mysqlDeadlock        = 1213
)

func isMySQL(err error, number uint16) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == number
}

// isDuplicate says whether err is the refusal of a second row with one key.
func isDuplicate(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	return isMySQL(err, mysqlDuplicate)
}

// isCollision says whether the transaction lost against another one and would
// succeed if it ran again.
func isCollision(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff // without the extension
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	}
	return isMySQL(err, mysqlDeadlock) || isMySQL(err, mysqlLockWait)
}

// notFound turns the empty result of a query for one row into ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// fits says why s can not stand in a column of stock's utf8 with room for max
// characters, or "".
func fits(s string, max int) string {
	n := 0
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !isReplacement(s[i:]):
			return "is not UTF-8"
		case r > 0xffff:
			return fmt.Sprintf("holds %q, which the column's character set lacks", r)
		}
		n++
	}
	if n > max {
		return fmt.Sprintf("is longer than %d characters", max)
	}
	return ""
}

// isReplacement tells a real U+FFFD from a byte that could not be decoded.
func isReplacement(s string) bool {
	_, n := utf8.DecodeRuneInString(s)
	return n > 1
}

// gone says whether the caller no longer waits.
func gone(ctx context.Context) bool { return ctx.Err() != nil }

// because names the end of ctx where err tells only what that led to: a transaction that is
// over already, a connection that was closed. Who asks whether he was the one who ended it
// finds context.Canceled then.
func because(ctx context.Context, err error) error {
	if err == nil || !gone(ctx) || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}
