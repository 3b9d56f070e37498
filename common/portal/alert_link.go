package portal

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
)

// alertPathLen is stock's. Case does not matter when a path is looked up, which leaves
// 10^14 paths: nobody guesses one.
const alertPathLen = 9

// CreateAlertLink keeps a text behind a short random path and returns the path.
// Characters that the column lacks are replaced: a message with an emoji is not lost.
func (db *DB) CreateAlertLink(ctx context.Context, content string) (path string, err error) {
	if content == "" {
		return "", invalidField("content", "content is required")
	}
	const maxContent = 5 << 20 // characters; three bytes of each fit into a mediumtext
	content = clip(content, maxContent)
	for try := 0; ; try++ {
		path = randomPath()
		err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
			_, err := insert(ctx, tx, "INSERT INTO alert_link (path, content) VALUES (?, ?)", path, content)
			return err
		})
		if !errors.Is(err, ErrExists) || try == 3 {
			return path, err
		}
	}
}

// AlertLink returns the text behind a path, or ErrNotFound.
func (db *DB) AlertLink(ctx context.Context, path string) (content string, err error) {
	err = db.Portal.read.GetContext(ctx, &content, "SELECT content FROM alert_link WHERE path = ?", path)
	return content, notFound(err)
}

// DeleteAlertLinks deletes links from before a time, the oldest first and no more than
// limit, and returns how many. More may be there when it is limit.
func (db *DB) DeleteAlertLinks(ctx context.Context, before time.Time, limit int) (n int, err error) {
	limit = min(max(limit, 1), maxMarks)
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		// No key is over create_at, but ids grow with it: what is old is at the front.
		var rows []struct {
			ID  int64 `db:"id"`
			Old bool  `db:"old"`
		}
		if err := tx.SelectContext(ctx, &rows, "SELECT id, create_at < ? AS old FROM alert_link ORDER BY id LIMIT ?", before, limit); err != nil {
			return err
		}
		var ids []any
		for _, r := range rows {
			if r.Old {
				ids = append(ids, r.ID)
			}
		}
		if n = len(ids); n == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM alert_link WHERE id IN ("+marks(n)+")", ids...)
		return err
	})
	return n, err
}

func randomPath() string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	path := make([]byte, 0, alertPathLen)
	var b [64]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		for _, c := range b {
			// The remainder of a byte above 247 would favour the first letters.
			if c >= 248 {
				continue
			}
			if path = append(path, letters[c%62]); len(path) == alertPathLen {
				return string(path)
			}
		}
	}
}
