package portal

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// Group is a row of grp. Its JSON is stock's group object.
type Group struct {
	ID         int64  `db:"id" json:"id"`
	Name       string `db:"grp_name" json:"grp_name"`
	CreateUser string `db:"create_user" json:"create_user"`
}

const groupColumns = "grp.id, grp.grp_name, grp.create_user"

func checkGroupName(name string) error {
	if name == "" {
		return invalidField("name", "a group needs a name")
	}
	if why := fits(name, 255); why != "" {
		return invalidField("name", "group name %q %s", name, why)
	}
	return nil
}

// CreateGroup makes a host group and returns its id; ErrExists when the name is taken.
func (db *DB) CreateGroup(ctx context.Context, name, user string) (id int64, err error) {
	if err := checkGroupName(name); err != nil {
		return 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		// come_from 1: not synchronised from elsewhere.
		id, err = insert(ctx, tx, "INSERT INTO grp (grp_name, create_user, come_from) VALUES (?, ?, 1)", name, clip(user, 64))
		return err
	})
	return id, err
}

// Group returns a group, or ErrNotFound.
func (db *DB) Group(ctx context.Context, id int64) (*Group, error) {
	return db.group(ctx, "id = ?", id)
}

// GroupByName returns a group, or ErrNotFound. Case does not matter.
func (db *DB) GroupByName(ctx context.Context, name string) (*Group, error) {
	return db.group(ctx, "grp_name = ?", name)
}

func (db *DB) group(ctx context.Context, where string, arg any) (*Group, error) {
	var g Group
	if err := db.Portal.read.GetContext(ctx, &g, "SELECT "+groupColumns+" FROM grp WHERE "+where, arg); err != nil {
		return nil, notFound(err)
	}
	return &g, nil
}

// Groups returns the groups whose names match, ordered by id. Limit 0 means all.
func (db *DB) Groups(ctx context.Context, match []Pattern, limit, offset int) ([]Group, error) {
	var where conditions
	where.patterns("grp_name", match)
	query, args := "SELECT "+groupColumns+" FROM grp"+where.sql()+" ORDER BY id", where.args
	if limit > 0 {
		query, args = query+" LIMIT ? OFFSET ?", append(args, limit, max(offset, 0))
	}
	all := []Group{}
	err := db.Portal.read.SelectContext(ctx, &all, db.Portal.limited(ctx, query), args...)
	return all, err
}

// RenameGroup gives a group another name; ErrNotFound when there is none, ErrExists
// when the name is another's.
func (db *DB) RenameGroup(ctx context.Context, id int64, name string) error {
	if err := checkGroupName(name); err != nil {
		return err
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE grp SET grp_name = ? WHERE id = ?", name, id)
		if isDuplicate(err) {
			return ErrExists
		}
		return one(res, err)
	})
}

// DeleteGroup removes a group with everything that is bound to it: hosts (which
// stay), templates (which stay), plugin folders, services and aggregators.
func (db *DB) DeleteGroup(ctx context.Context, id int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM grp WHERE id = ?", id)
		if err := one(res, err); err != nil {
			return err
		}
		for _, table := range []string{"grp_host", "grp_tpl", "grp_tpl_env", "plugin_dir", "grp_svs", "cluster"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE grp_id = ?", id); err != nil {
				return err
			}
		}
		return nil
	})
}
