package portal

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Action is a row of action: whom a rule tells, and how. Its JSON is stock's action
// object with Channels added.
type Action struct {
	ID  int64  `db:"id" json:"id"`
	UIC string `db:"uic" json:"uic"` // names of teams, with commas
	URL string `db:"url" json:"url"` // of the callback
	// The switches are 1 or 0.
	Callback           int `db:"callback" json:"callback"`
	BeforeCallbackSMS  int `db:"before_callback_sms" json:"before_callback_sms"`
	BeforeCallbackMail int `db:"before_callback_mail" json:"before_callback_mail"`
	AfterCallbackSMS   int `db:"after_callback_sms" json:"after_callback_sms"`
	AfterCallbackMail  int `db:"after_callback_mail" json:"after_callback_mail"`
	// Channels are names of alarm's channels, with commas; empty means all that are
	// enabled.
	Channels string `db:"channels" json:"channels"`
}

const actionColumns = "id, uic, url, callback, before_callback_sms, before_callback_mail, after_callback_sms, after_callback_mail, channels"

func (a *Action) check() error {
	for _, f := range []struct{ name, value string }{{"uic", a.UIC}, {"url", a.URL}, {"channels", a.Channels}} {
		if why := fits(f.value, 255); why != "" {
			return invalidField(f.name, "%s %s", f.name, why)
		}
	}
	for _, f := range []struct {
		name  string
		value int
	}{
		{"callback", a.Callback}, {"before_callback_sms", a.BeforeCallbackSMS}, {"before_callback_mail", a.BeforeCallbackMail},
		{"after_callback_sms", a.AfterCallbackSMS}, {"after_callback_mail", a.AfterCallbackMail},
	} {
		if f.value != 0 && f.value != 1 {
			return invalidField(f.name, "%s is %d, write 1 for yes or 0 for no", f.name, f.value)
		}
	}
	return nil
}

func (a *Action) values() []any {
	return []any{a.UIC, a.URL, a.Callback, a.BeforeCallbackSMS, a.BeforeCallbackMail, a.AfterCallbackSMS, a.AfterCallbackMail, a.Channels}
}

// Action returns an action, or ErrNotFound. Id 0 is no action's.
func (db *DB) Action(ctx context.Context, id int64) (Action, error) {
	var a Action
	err := db.Portal.read.GetContext(ctx, &a, "SELECT "+actionColumns+" FROM action WHERE id = ?", id)
	return a, notFound(err)
}

// ActionUsers returns the creators of the templates and expressions that use an
// action.
func (db *DB) ActionUsers(ctx context.Context, id int64) ([]string, error) {
	names := []string{}
	if id == 0 { // the action of those that have none
		return names, nil
	}
	err := db.Portal.read.SelectContext(ctx, &names,
		"SELECT create_user FROM tpl WHERE action_id = ? UNION SELECT create_user FROM expression WHERE action_id = ?", id, id)
	return names, err
}

// SetTemplateAction gives a template a new action and returns its id. The one that
// it had goes, unless something else uses it.
func (db *DB) SetTemplateAction(ctx context.Context, template int64, a Action) (id int64, err error) {
	if err := a.check(); err != nil {
		return 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		var old int64
		if err := tx.GetContext(ctx, &old, "SELECT action_id FROM tpl WHERE id = ?"+db.Portal.dialect.forUpdate(), template); err != nil {
			return notFound(err)
		}
		if id, err = insertAction(ctx, tx, &a); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE tpl SET action_id = ? WHERE id = ?", id, template); err != nil {
			return err
		}
		return dropAction(ctx, tx, old)
	})
	return id, err
}

// UpdateAction overwrites the action a.ID; ErrNotFound when there is none.
func (db *DB) UpdateAction(ctx context.Context, a Action) error {
	if err := a.check(); err != nil {
		return err
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error { return updateAction(ctx, tx, &a) })
}

func insertAction(ctx context.Context, tx *sqlx.Tx, a *Action) (int64, error) {
	return insert(ctx, tx, "INSERT INTO action (uic, url, callback, before_callback_sms, before_callback_mail, after_callback_sms, after_callback_mail, channels)"+
		" VALUES ("+marks(8)+")", a.values()...)
}

func updateAction(ctx context.Context, tx *sqlx.Tx, a *Action) error {
	res, err := tx.ExecContext(ctx, "UPDATE action SET uic = ?, url = ?, callback = ?, before_callback_sms = ?, before_callback_mail = ?, after_callback_sms = ?,"+
		" after_callback_mail = ?, channels = ? WHERE id = ?", append(a.values(), a.ID)...)
	return one(res, err)
}

// dropAction removes an action that nothing uses any more.
func dropAction(ctx context.Context, tx *sqlx.Tx, id int64) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM action WHERE id = ? AND NOT EXISTS (SELECT 1 FROM tpl WHERE action_id = ?)"+
		" AND NOT EXISTS (SELECT 1 FROM expression WHERE action_id = ?)", id, id, id)
	return err
}

// insert runs an INSERT of one row and returns its id.
func insert(ctx context.Context, tx *sqlx.Tx, query string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if isDuplicate(err) {
		return 0, ErrExists
	}
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// Lists of an action that name something.
const (
	ActionTeams    = "uic"
	ActionChannels = "channels"
)

// ActionsThatName returns how many actions name something in a list, ActionTeams or
// ActionChannels.
func (db *DB) ActionsThatName(ctx context.Context, list, name string) (n int, err error) {
	var all []string
	if err := db.Portal.read.SelectContext(ctx, &all, "SELECT "+list+" FROM action WHERE INSTR(LOWER("+list+"), ?) > 0", strings.ToLower(name)); err != nil {
		return 0, err
	}
	for _, text := range all {
		if _, ok := renamed(text, name, ""); ok {
			n++
		}
	}
	return n, nil
}

// CanRenameInActions says why RenameInActions would refuse a name: some list has no
// room for it.
func (db *DB) CanRenameInActions(ctx context.Context, list, old, name string) error {
	_, err := renames(ctx, db.Portal.read, list, old, name, "")
	return err
}

// RenameInActions lets the actions that name something in a list know its new name.
func (db *DB) RenameInActions(ctx context.Context, list, old, name string) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		changed, err := renames(ctx, tx, list, old, name, db.Portal.dialect.forUpdate())
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(changed)) {
			if _, err := tx.ExecContext(ctx, "UPDATE action SET "+list+" = ? WHERE id = ?", changed[id], id); err != nil {
				return err
			}
		}
		return nil
	})
}

// renames returns the lists that name something, with its new name, by the ids of the
// actions.
func renames(ctx context.Context, q sqlx.QueryerContext, list, old, name, lock string) (map[int64]string, error) {
	var all []struct {
		ID   int64  `db:"id"`
		Text string `db:"names"`
	}
	err := sqlx.SelectContext(ctx, q, &all, "SELECT id, "+list+" AS names FROM action WHERE INSTR(LOWER("+list+"), ?) > 0 ORDER BY id"+lock, strings.ToLower(old))
	if err != nil {
		return nil, err
	}
	changed := map[int64]string{}
	for _, a := range all {
		text, ok := renamed(a.Text, old, name)
		if !ok {
			continue
		}
		if why := fits(text, 255); why != "" {
			return nil, invalidField("name", "action %d names %q, which %s with the new name", a.ID, a.Text, why)
		}
		changed[a.ID] = text
	}
	return changed, nil
}

// renamed replaces a name in a list with commas, and says whether it was there.
func renamed(list, old, name string) (string, bool) {
	there := false
	parts := strings.Split(list, ",")
	for i, p := range parts {
		if strings.EqualFold(strings.TrimSpace(p), old) {
			parts[i], there = name, true
		}
	}
	return strings.Join(parts, ","), there
}
