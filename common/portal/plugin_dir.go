package portal

import (
	"context"
	"path"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Plugin is a row of plugin_dir: a folder of plugins that the hosts of a group run.
// Its JSON is stock's plugin object.
type Plugin struct {
	ID         int64  `db:"id" json:"id"`
	Group      int64  `db:"grp_id" json:"grp_id"`
	Dir        string `db:"dir" json:"dir"`
	CreateUser string `db:"create_user" json:"create_user"`
}

const pluginColumns = "id, grp_id, dir, create_user"

// GroupPlugins returns the plugin folders of a group, ordered by id.
func (db *DB) GroupPlugins(ctx context.Context, group int64) ([]Plugin, error) {
	all := []Plugin{}
	err := db.Portal.read.SelectContext(ctx, &all, "SELECT "+pluginColumns+" FROM plugin_dir WHERE grp_id = ? ORDER BY id", group)
	return all, err
}

// Plugin returns a binding of a plugin folder, or ErrNotFound.
func (db *DB) Plugin(ctx context.Context, id int64) (*Plugin, error) {
	var p Plugin
	if err := db.Portal.read.GetContext(ctx, &p, "SELECT "+pluginColumns+" FROM plugin_dir WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	return &p, nil
}

// CreatePlugin binds a plugin folder, below the folder of plugins, to a group.
func (db *DB) CreatePlugin(ctx context.Context, p Plugin) (id int64, err error) {
	if p.Dir == "" {
		return 0, invalidField("dir_path", "the plugin folder is empty")
	}
	// Agents run what is in it: nothing outside of their folder of plugins.
	if clean := path.Clean(p.Dir); path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return 0, invalidField("dir_path", "%q is not below the folder of plugins", p.Dir)
	}
	if why := fits(p.Dir, 255); why != "" {
		return 0, invalidField("dir_path", "dir_path %s", why)
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		id, err = insert(ctx, tx, "INSERT INTO plugin_dir (grp_id, dir, create_user) VALUES (?, ?, ?)", p.Group, p.Dir, clip(p.CreateUser, 64))
		return err
	})
	return id, err
}

// DeletePlugin ends a binding; ErrNotFound when there is none.
func (db *DB) DeletePlugin(ctx context.Context, id int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM plugin_dir WHERE id = ?", id)
		return one(res, err)
	})
}
