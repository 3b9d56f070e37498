package portal

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// CreateGroup makes a host group and returns its id; ErrExists when the name is taken.
func (db *DB) CreateGroup(ctx context.Context, name, user string) (id int64, err error) {
	if why := fits(name, 255); why != "" {
		return 0, fmt.Errorf("group name %q %s", name, why)
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "INSERT INTO grp (grp_name, create_user) VALUES (?, ?)", name, clip(user, 64))
		if err != nil {
			return err
		}
		id, err = res.LastInsertId()
		return err
	})
	if isDuplicate(err) {
		return 0, ErrExists
	}
	return id, err
}
