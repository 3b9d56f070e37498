package portal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Template is a row of tpl. Its JSON is stock's template object.
type Template struct {
	ID         int64  `db:"id" json:"id"`
	Name       string `db:"tpl_name" json:"tpl_name"`
	ParentID   int64  `db:"parent_id" json:"parent_id"` // 0 for none
	ActionID   int64  `db:"action_id" json:"action_id"` // 0 for none: nobody is told
	CreateUser string `db:"create_user" json:"create_user"`
}

const templateColumns = "tpl.id, tpl.tpl_name, tpl.parent_id, tpl.action_id, tpl.create_user"

// MaxChain is how many templates may inherit from each other: judges and hbs, stock's
// too, take a longer chain for a circle and none of its rules is in force.
const MaxChain = 9

// Template returns a template, or ErrNotFound.
func (db *DB) Template(ctx context.Context, id int64) (*Template, error) {
	return db.template(ctx, "id = ?", id)
}

// TemplateByName returns a template, or ErrNotFound. Case does not matter.
func (db *DB) TemplateByName(ctx context.Context, name string) (*Template, error) {
	return db.template(ctx, "tpl_name = ?", name)
}

func (db *DB) template(ctx context.Context, where string, arg any) (*Template, error) {
	var t Template
	if err := db.Portal.read.GetContext(ctx, &t, "SELECT "+templateColumns+" FROM tpl WHERE "+where, arg); err != nil {
		return nil, notFound(err)
	}
	return &t, nil
}

// Templates returns the templates whose names match, ordered by id. Limit 0 means all.
func (db *DB) Templates(ctx context.Context, match []Pattern, limit, offset int) ([]Template, error) {
	var where conditions
	where.patterns("tpl_name", match)
	query, args := "SELECT "+templateColumns+" FROM tpl"+where.sql()+" ORDER BY id", where.args
	if limit > 0 {
		query, args = query+" LIMIT ? OFFSET ?", append(args, limit, max(offset, 0))
	}
	all := []Template{}
	err := db.Portal.read.SelectContext(ctx, &all, db.Portal.limited(ctx, query), args...)
	return all, err
}

// TemplateNames returns the names of templates by their ids.
func (db *DB) TemplateNames(ctx context.Context, ids []int64) (map[int64]string, error) {
	names := map[int64]string{}
	for chunk := range slices.Chunk(ids, maxMarks) {
		var rows []Template
		if err := db.Portal.read.SelectContext(ctx, &rows, "SELECT "+templateColumns+" FROM tpl WHERE id IN ("+marks(len(chunk))+")", anys(chunk)...); err != nil {
			return nil, err
		}
		for _, t := range rows {
			names[t.ID] = t.Name
		}
	}
	return names, nil
}

// TemplateChain returns a template and those it inherits from, the root first. It ends
// at a parent that does not exist, and where a circle would begin. ErrNotFound when
// there is no such template.
func (db *DB) TemplateChain(ctx context.Context, id int64) ([]Template, error) {
	var chain []Template
	for id != 0 && !slices.ContainsFunc(chain, func(t Template) bool { return t.ID == id }) {
		t, err := db.Template(ctx, id)
		if err != nil && len(chain) > 0 && errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		chain = append(chain, *t)
		id = t.ParentID
	}
	if len(chain) == 0 {
		return nil, ErrNotFound
	}
	slices.Reverse(chain)
	return chain, nil
}

func (t *Template) check() error {
	if t.Name == "" {
		return invalidField("name", "a template needs a name")
	}
	return fitAll(fit{"name", t.Name, 255})
}

// CreateTemplate makes a template and returns its id; ErrExists when the name is
// taken. Its parent and its action must exist, when they are not 0.
func (db *DB) CreateTemplate(ctx context.Context, t Template) (id int64, err error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		if err := (rulesTx{ctx, tx, db.Portal.dialect}).checkParent(0, t.Name, t.ParentID); err != nil {
			return err
		}
		if t.ActionID != 0 {
			var n int
			if err := tx.GetContext(ctx, &n, "SELECT COUNT(*) FROM action WHERE id = ?", t.ActionID); err != nil {
				return err
			}
			if n == 0 {
				return invalidField("action_id", "there is no action with id %d", t.ActionID)
			}
		}
		id, err = insertTemplate(ctx, tx, &t)
		return err
	})
	return id, err
}

func insertTemplate(ctx context.Context, tx *sqlx.Tx, t *Template) (int64, error) {
	return insert(ctx, tx, "INSERT INTO tpl (tpl_name, parent_id, action_id, create_user) VALUES (?, ?, ?, ?)", t.Name, t.ParentID, t.ActionID, clip(t.CreateUser, 64))
}

// UpdateTemplate gives a template a name and a parent; ErrNotFound when there is none,
// ErrExists when the name is another's.
func (db *DB) UpdateTemplate(ctx context.Context, id int64, name string, parent int64) error {
	if err := (&Template{Name: name}).check(); err != nil {
		return err
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		if err := (rulesTx{ctx, tx, db.Portal.dialect}).checkParent(id, name, parent); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "UPDATE tpl SET tpl_name = ?, parent_id = ? WHERE id = ?", name, parent, id)
		if isDuplicate(err) {
			return ErrExists
		}
		return one(res, err)
	})
}

// checkParent says why the template id, 0 for a new one, can not inherit from parent.
func (tx rulesTx) checkParent(id int64, name string, parent int64) error {
	if parent == 0 {
		return nil
	}
	// All of them, locked: two changes that are right one by one may be a circle
	// together.
	var all []Template
	if err := tx.SelectContext(tx.ctx, &all, "SELECT "+templateColumns+" FROM tpl ORDER BY id"+tx.dialect.forUpdate()); err != nil {
		return err
	}
	byID := make(map[int64]Template, len(all))
	children := map[int64][]int64{}
	for _, t := range all {
		byID[t.ID] = t
		children[t.ParentID] = append(children[t.ParentID], t.ID)
	}
	if _, ok := byID[parent]; !ok {
		return invalidField("parent_id", "there is no template with id %d to inherit from", parent)
	}
	var path []string
	for at := parent; at != 0 && byID[at].ID != 0; at = byID[at].ParentID {
		path = append(path, byID[at].Name)
		if id != 0 && at == id {
			if len(path) == 1 {
				return invalidField("parent_id", "template %q can not inherit from itself", name)
			}
			return invalidField("parent_id", "template %q can not inherit from %q: that is a circle, %s", name, byID[parent].Name, strings.Join(quoted(path), " inherits from "))
		}
		if len(path) > MaxChain {
			break
		}
	}
	if n := len(path) + depth(children, id, MaxChain+1); n > MaxChain {
		return invalidField("parent_id", "template %q below %q would make a chain of %d templates, at most %d may inherit from each other", name, byID[parent].Name, n, MaxChain)
	}
	return nil
}

// depth returns how many templates the longest chain downwards from id has, itself
// included, and no more than limit.
func depth(children map[int64][]int64, id int64, limit int) int {
	deepest := 0
	if id != 0 && limit > 1 {
		for _, c := range children[id] {
			deepest = max(deepest, depth(children, c, limit-1))
		}
	}
	return deepest + 1
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return out
}

// DeleteTemplate removes a template with its strategies, its bindings and its action,
// if nothing else uses that one. Templates that inherit from it inherit from none
// afterwards.
func (db *DB) DeleteTemplate(ctx context.Context, id int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		var action int64
		if err := tx.GetContext(ctx, &action, "SELECT action_id FROM tpl WHERE id = ?"+db.Portal.dialect.forUpdate(), id); err != nil {
			return notFound(err)
		}
		if err := dropUnions(ctx, tx, id); err != nil {
			return err
		}
		for _, query := range []string{
			"DELETE FROM tpl WHERE id = ?", "DELETE FROM strategy WHERE tpl_id = ?", "DELETE FROM grp_tpl WHERE tpl_id = ?",
			"DELETE FROM grp_tpl_env WHERE tpl_id = ?", "UPDATE tpl SET parent_id = 0 WHERE parent_id = ?",
		} {
			if _, err := tx.ExecContext(ctx, query, id); err != nil {
				return err
			}
		}
		return dropAction(ctx, tx, action)
	})
}

// Binding is a row of grp_tpl. Its JSON is stock's.
type Binding struct {
	Group    int64  `db:"grp_id" json:"grp_id"`
	Template int64  `db:"tpl_id" json:"tpl_id"`
	BindUser string `db:"bind_user" json:"bind_user"`
}

// Binding returns how a template is bound to a group, or ErrNotFound.
func (db *DB) Binding(ctx context.Context, group, template int64) (*Binding, error) {
	var b Binding
	err := db.Portal.read.GetContext(ctx, &b, "SELECT grp_id, tpl_id, bind_user FROM grp_tpl WHERE grp_id = ? AND tpl_id = ? LIMIT 1", group, template)
	if err != nil {
		return nil, notFound(err)
	}
	return &b, nil
}

// BindTemplate binds a template to a group; ErrNotFound when there is no such group or
// template, and an *InvalidError when it is bound already.
func (db *DB) BindTemplate(ctx context.Context, b Binding) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		// Locked: the table has no key that would refuse a second row.
		if err := (rulesTx{ctx, tx, db.Portal.dialect}).lockBinding(b.Group, b.Template); err != nil {
			return err
		}
		var n int
		if err := tx.GetContext(ctx, &n, "SELECT COUNT(*) FROM grp_tpl WHERE grp_id = ? AND tpl_id = ?", b.Group, b.Template); err != nil {
			return err
		}
		if n > 0 {
			return invalid("this template is bound to this group already")
		}
		return insertBinding(ctx, tx, b)
	})
}

// lockBinding locks a group and a template that are to be bound to each other;
// ErrNotFound when one of them does not exist.
func (tx rulesTx) lockBinding(group, template int64) error {
	for _, q := range []struct {
		query string
		id    int64
	}{{"SELECT id FROM grp WHERE id = ?", group}, {"SELECT id FROM tpl WHERE id = ?", template}} {
		var id int64
		if err := tx.GetContext(tx.ctx, &id, q.query+tx.dialect.forUpdate(), q.id); err != nil {
			return notFound(err)
		}
	}
	return nil
}

func insertBinding(ctx context.Context, tx *sqlx.Tx, b Binding) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO grp_tpl (grp_id, tpl_id, bind_user) VALUES (?, ?, ?)", b.Group, b.Template, clip(b.BindUser, 64))
	return err
}

// UnbindTemplate ends a binding; ErrNotFound when there is none.
func (db *DB) UnbindTemplate(ctx context.Context, group, template int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM grp_tpl WHERE grp_id = ? AND tpl_id = ?", group, template)
		return one(res, err)
	})
}

// GroupTemplates returns the templates that are bound to a group, ordered by id.
func (db *DB) GroupTemplates(ctx context.Context, group int64) ([]Template, error) {
	all := []Template{}
	err := db.Portal.read.SelectContext(ctx, &all,
		"SELECT "+templateColumns+" FROM tpl WHERE id IN (SELECT tpl_id FROM grp_tpl WHERE grp_id = ?) ORDER BY id", group)
	return all, err
}

// HostTemplates returns the templates that are bound to a group of a host, for all hosts
// or for those of its environment, ordered by id.
func (db *DB) HostTemplates(ctx context.Context, host int64) ([]Template, error) {
	all := []Template{}
	err := db.Portal.read.SelectContext(ctx, &all, "SELECT "+templateColumns+" FROM tpl WHERE id IN (SELECT grp_tpl.tpl_id FROM grp_tpl"+
		" JOIN grp_host ON grp_host.grp_id = grp_tpl.grp_id WHERE grp_host.host_id = ?)"+
		" OR id IN (SELECT b.tpl_id FROM grp_tpl_env b JOIN grp_host ON grp_host.grp_id = b.grp_id JOIN host ON host.id = grp_host.host_id"+
		" JOIN host_env e ON e.hostname = host.hostname AND e.env = b.env WHERE host.id = ?) ORDER BY id", host, host)
	return all, err
}

// TemplateGroups returns the groups that a template is bound to, ordered by id.
func (db *DB) TemplateGroups(ctx context.Context, template int64) ([]Group, error) {
	all := []Group{}
	err := db.Portal.read.SelectContext(ctx, &all,
		"SELECT "+groupColumns+" FROM grp WHERE id IN (SELECT grp_id FROM grp_tpl WHERE tpl_id = ?) ORDER BY id", template)
	return all, err
}

// EndpointTemplateGroups returns the groups through which the host of that name gets a
// template, bound to them itself or by one that inherits from it, ordered by id.
func (db *DB) EndpointTemplateGroups(ctx context.Context, host string, template int64) ([]Group, error) {
	var all []Template
	if err := db.Portal.read.SelectContext(ctx, &all, "SELECT "+templateColumns+" FROM tpl"); err != nil {
		return nil, err
	}
	children := map[int64][]int64{}
	for _, t := range all {
		children[t.ParentID] = append(children[t.ParentID], t.ID)
	}
	ids := []int64{template}
	for i := 0; i < len(ids); i++ {
		for _, child := range children[ids[i]] {
			if !slices.Contains(ids, child) {
				ids = append(ids, child)
			}
		}
	}
	groups := map[int64]Group{}
	for chunk := range slices.Chunk(ids, maxMarks) {
		var rows []Group
		err := db.Portal.read.SelectContext(ctx, &rows, "SELECT DISTINCT "+groupColumns+" FROM grp JOIN grp_host ON grp_host.grp_id = grp.id JOIN host ON host.id = grp_host.host_id"+
			" JOIN grp_tpl ON grp_tpl.grp_id = grp.id WHERE host.hostname = ? AND grp_tpl.tpl_id IN ("+marks(len(chunk))+")", append([]any{host}, anys(chunk)...)...)
		if err != nil {
			return nil, err
		}
		for _, g := range rows {
			groups[g.ID] = g
		}
	}
	found := slices.Collect(maps.Values(groups))
	slices.SortFunc(found, func(a, b Group) int { return cmp.Compare(a.ID, b.ID) })
	return found, nil
}
