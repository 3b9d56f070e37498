package portal

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// AlarmChannel is a row of alarm_channel: a way to tell people. What Config holds,
// in JSON, is for the channel's type to say.
type AlarmChannel struct {
	ID      int64     `db:"id"`
	Name    string    `db:"name"`
	Type    string    `db:"type"` // inbox, mail, webhook …
	Config  string    `db:"config"`
	Enabled bool      `db:"enabled"`
	Creator string    `db:"creator"`
	Created time.Time `db:"created"`
}

func (c *AlarmChannel) check() error {
	for _, f := range []struct {
		what, value string
		max         int
	}{{"name", c.Name, 64}, {"type", c.Type, 32}} {
		if f.value == "" {
			return invalid("a channel needs a %s", f.what)
		}
		if why := fits(f.value, f.max); why != "" {
			return invalid("the channel's %s %q %s", f.what, f.value, why)
		}
	}
	// A text column holds 65 535 bytes.
	if why := fits(c.Config, 20_000); why != "" {
		return invalid("the channel's config %s", why)
	}
	return nil
}

// AlarmChannels returns all channels, ordered by name.
func (db *DB) AlarmChannels(ctx context.Context) ([]AlarmChannel, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	all := []AlarmChannel{}
	err := db.Alarms.read.SelectContext(ctx, &all, "SELECT id, name, type, config, enabled, creator, created FROM alarm_channel ORDER BY name")
	return all, err
}

// CreateAlarmChannel adds a channel and returns its id; ErrExists when the name is
// taken.
func (db *DB) CreateAlarmChannel(ctx context.Context, c AlarmChannel) (id int64, err error) {
	if err := db.needAlarms(); err != nil {
		return 0, err
	}
	if err := c.check(); err != nil {
		return 0, err
	}
	err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "INSERT INTO alarm_channel (name, type, config, enabled, creator, created) VALUES (?, ?, ?, ?, ?, ?)",
			c.Name, c.Type, c.Config, c.Enabled, clip(c.Creator, 64), c.Created)
		if isDuplicate(err) {
			return ErrExists
		}
		if err != nil {
			return err
		}
		id, err = res.LastInsertId()
		return err
	})
	return id, err
}

// UpdateAlarmChannel changes everything of the channel c.ID but its creator and its
// time; ErrNotFound when there is none, ErrExists when the name is another's.
func (db *DB) UpdateAlarmChannel(ctx context.Context, c AlarmChannel) error {
	if err := db.needAlarms(); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	return db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE alarm_channel SET name = ?, type = ?, config = ?, enabled = ? WHERE id = ?", c.Name, c.Type, c.Config, c.Enabled, c.ID)
		if isDuplicate(err) {
			return ErrExists
		}
		return one(res, err)
	})
}

// DeleteAlarmChannel removes a channel; ErrNotFound when there is none. Its notices
// stay.
func (db *DB) DeleteAlarmChannel(ctx context.Context, id int64) error {
	if err := db.needAlarms(); err != nil {
		return err
	}
	return db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM alarm_channel WHERE id = ?", id)
		return one(res, err)
	})
}
