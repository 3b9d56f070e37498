package portal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"time"

	"github.com/jmoiron/sqlx"
)

// Session is a row of session: one login of one user.
type Session struct {
	ID      int64  `db:"id"`
	UID     int64  `db:"uid"`
	Sig     string `db:"sig"`     // 32 hex digits
	Expired int64  `db:"expired"` // Unix time of its end
}

// maxSessions is how many logins of one user are kept. Scripts log in at each
// run and never out: the oldest go first.
const maxSessions = 100

// CreateSession logs a user in until expires and returns the signature, 16 random
// bytes in hex. Ended sessions of the user are removed on the way, and the
// oldest when there are more than 100.
func (db *DB) CreateSession(ctx context.Context, uid int64, now, expires time.Time) (sig string, err error) {
	var b [16]byte
	rand.Read(b[:]) // never fails
	sig = hex.EncodeToString(b[:])
	err = db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		var old []int64
		if err := tx.SelectContext(ctx, &old, "SELECT id FROM session WHERE uid = ? AND expired > ? ORDER BY id", uid, now.Unix()); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM session WHERE uid = ? AND expired <= ?", uid, now.Unix()); err != nil {
			return err
		}
		if n := len(old) - maxSessions + 1; n > 0 {
			if _, err := tx.ExecContext(ctx, "DELETE FROM session WHERE uid = ? AND id <= ?", uid, old[n-1]); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO session (uid, sig, expired) VALUES (?, ?, ?)", uid, sig, expires.Unix())
		return err
	})
	return sig, err
}

// SessionBySig returns the session of a user with this signature that has not
// ended at now, or ErrNotFound.
func (db *DB) SessionBySig(ctx context.Context, uid int64, sig string, now time.Time) (*Session, error) {
	var all []Session
	err := db.UIC.read.SelectContext(ctx, &all,
		"SELECT id, uid, sig, expired FROM session WHERE uid = ? AND sig = ? AND expired > ?", uid, sig, now.Unix())
	if err != nil {
		return nil, err
	}
	for i := range all {
		// The column ignores case, a signature must not.
		if subtle.ConstantTimeCompare([]byte(all[i].Sig), []byte(sig)) == 1 {
			return &all[i], nil
		}
	}
	return nil, ErrNotFound
}

// DeleteSession ends one login of a user, or says ErrNotFound.
func (db *DB) DeleteSession(ctx context.Context, uid int64, sig string) error {
	return db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM session WHERE uid = ? AND sig = ?", uid, sig)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}

// DeleteSessions ends all logins of a user but the one with the signature keep,
// which may be empty.
func (db *DB) DeleteSessions(ctx context.Context, uid int64, keep string) error {
	return db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM session WHERE uid = ? AND sig <> ?", uid, keep)
		return err
	})
}

// DeleteEndedSessions removes sessions of all users that ended before now and
// returns how many.
func (db *DB) DeleteEndedSessions(ctx context.Context, now time.Time) (n int64, err error) {
	err = db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM session WHERE expired <= ?", now.Unix())
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}
