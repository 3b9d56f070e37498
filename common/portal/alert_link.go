package portal

import (
	"context"
	"crypto/rand"
	"errors"

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
