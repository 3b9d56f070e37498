package portal

import (
	"context"
	"errors"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Screen is a row of dashboard_screen: a page of graphs. Its JSON is stock's.
type Screen struct {
	ID   int64  `db:"id" json:"id"`
	PID  int64  `db:"pid" json:"pid"` // the screen it is below, 0 for none
	Name string `db:"name" json:"name"`
}

const screenColumns = "id, pid, name"

func (s *Screen) check() error {
	// The column pads with blanks, and MySQL gives none of them back.
	if s.Name = strings.TrimRight(s.Name, " "); s.Name == "" {
		return invalidField("name", "a screen needs a name")
	}
	if s.PID < 0 {
		return invalidField("pid", "pid %d is not the id of a screen; 0 means none", s.PID)
	}
	return fitAll(fit{"name", s.Name, 128})
}

// Screen returns a screen, or ErrNotFound.
func (db *DB) Screen(ctx context.Context, id int64) (*Screen, error) {
	var s Screen
	if err := db.Dashboard.read.GetContext(ctx, &s, "SELECT "+screenColumns+" FROM dashboard_screen WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	return &s, nil
}

// ScreenByName returns the first screen of a name, or ErrNotFound. Case does not matter.
func (db *DB) ScreenByName(ctx context.Context, name string) (*Screen, error) {
	var s Screen
	err := db.Dashboard.read.GetContext(ctx, &s, "SELECT "+screenColumns+" FROM dashboard_screen WHERE name = ? ORDER BY id LIMIT 1", name)
	if err != nil {
		return nil, notFound(err)
	}
	return &s, nil
}

// Screens returns the screens whose names match, ordered by id. Limit 0 means all.
func (db *DB) Screens(ctx context.Context, match []Pattern, limit, offset int) ([]Screen, error) {
	var where conditions
	where.patterns("name", match)
	return db.screens(ctx, where, limit, offset)
}

// ScreensBelow returns the screens directly below another one, 0 for the uppermost,
// ordered by id.
func (db *DB) ScreensBelow(ctx context.Context, pid int64) ([]Screen, error) {
	var where conditions
	where.add("pid = ?", pid)
	return db.screens(ctx, where, 0, 0)
}

func (db *DB) screens(ctx context.Context, where conditions, limit, offset int) ([]Screen, error) {
	query, args := "SELECT "+screenColumns+" FROM dashboard_screen"+where.sql()+" ORDER BY id", where.args
	if limit > 0 {
		query, args = query+" LIMIT ? OFFSET ?", append(args, limit, max(offset, 0))
	}
	all := []Screen{}
	err := db.Dashboard.read.SelectContext(ctx, &all, db.Dashboard.limited(ctx, query), args...)
	return all, err
}

// CreateScreen makes a screen below another one. One of that name that is there
// already is returned in its place, and made is false.
func (db *DB) CreateScreen(ctx context.Context, s Screen) (created *Screen, made bool, err error) {
	if err := s.check(); err != nil {
		return nil, false, err
	}
	err = db.Dashboard.Tx(ctx, func(tx *sqlx.Tx) error {
		made = false
		// Under a lock on the parent: a fork's table has no key that would refuse a
		// second row below it.
		if err := lockParent(ctx, tx, db.Dashboard.dialect, s.PID); err != nil {
			return err
		}
		err := tx.GetContext(ctx, &s, "SELECT "+screenColumns+" FROM dashboard_screen WHERE pid = ? AND name = ? ORDER BY id LIMIT 1", s.PID, s.Name)
		if !errors.Is(notFound(err), ErrNotFound) {
			return err
		}
		s.ID, err = insert(ctx, tx, "INSERT INTO dashboard_screen (pid, name) VALUES (?, ?)", s.PID, s.Name)
		made = err == nil
		return err
	})
	if errors.Is(err, ErrExists) { // somebody else was faster
		made = false
		err = notFound(db.Dashboard.write.GetContext(ctx, &s, "SELECT "+screenColumns+" FROM dashboard_screen WHERE pid = ? AND name = ? ORDER BY id LIMIT 1", s.PID, s.Name))
	}
	if err != nil {
		return nil, false, err
	}
	return &s, made, nil
}

// lockParent says whether a screen is there to be the parent of another, and keeps it
// there. 0 is none.
func lockParent(ctx context.Context, tx *sqlx.Tx, d dialect, pid int64) error {
	if pid == 0 {
		return nil
	}
	var id int64
	if err := notFound(tx.GetContext(ctx, &id, "SELECT id FROM dashboard_screen WHERE id = ?"+d.forUpdate(), pid)); err != nil {
		if errors.Is(err, ErrNotFound) {
			return invalidField("pid", "there is no screen with id %d", pid)
		}
		return err
	}
	return nil
}

// UpdateScreen gives a screen another name and place; ErrNotFound when there is none,
// ErrExists when the name is another's in that place.
func (db *DB) UpdateScreen(ctx context.Context, s Screen) error {
	if err := s.check(); err != nil {
		return err
	}
	return db.Dashboard.Tx(ctx, func(tx *sqlx.Tx) error {
		// All of them, locked: two moves that are right one by one may be a circle
		// together.
		var all []Screen
		if err := tx.SelectContext(ctx, &all, "SELECT "+screenColumns+" FROM dashboard_screen ORDER BY id"+db.Dashboard.dialect.forUpdate()); err != nil {
			return err
		}
		byID := make(map[int64]Screen, len(all))
		for _, o := range all {
			byID[o.ID] = o
		}
		old, ok := byID[s.ID]
		if !ok {
			return ErrNotFound
		}
		if s.PID != old.PID && s.PID != 0 { // stock leaves the children of what it deletes where they are
			if _, ok := byID[s.PID]; !ok {
				return invalidField("pid", "there is no screen with id %d", s.PID)
			}
			for at, n := s.PID, 0; at != 0 && n <= len(all); at, n = byID[at].PID, n+1 {
				if at == s.ID {
					return invalidField("pid", "screen %q can not be below itself", s.Name)
				}
			}
		}
		res, err := tx.ExecContext(ctx, "UPDATE dashboard_screen SET pid = ?, name = ?, time = CURRENT_TIMESTAMP WHERE id = ?", s.PID, s.Name, s.ID)
		if isDuplicate(err) {
			return ErrExists
		}
		return one(res, err)
	})
}

// DeleteScreen removes a screen; ErrNotFound when there is none. As in stock, the
// screens below it and its graphs stay.
func (db *DB) DeleteScreen(ctx context.Context, id int64) error {
	return db.Dashboard.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM dashboard_screen WHERE id = ?", id)
		return one(res, err)
	})
}
