package portal

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Envs are the environments in which a host may be.
var Envs = []string{"prod", "staging", "test"}

// CheckEnv refuses what is no environment.
func CheckEnv(env string) error {
	if !slices.Contains(Envs, env) {
		return invalidField("env", "env %q is none of %s", env, strings.Join(Envs, " "))
	}
	return nil
}

// HostEnvs returns the environments of hosts, by name; those that are unknown are
// missing.
func (db *DB) HostEnvs(ctx context.Context, hosts []string) (map[string]string, error) {
	envs := map[string]string{}
	for chunk := range slices.Chunk(hosts, maxMarks) {
		var rows []RuleEnv
		if err := db.Portal.read.SelectContext(ctx, &rows, "SELECT hostname, env FROM host_env WHERE env <> '' AND hostname IN ("+marks(len(chunk))+")", anys(chunk)...); err != nil {
			return nil, err
		}
		for _, r := range rows {
			envs[r.Host] = r.Env
		}
	}
	return envs, nil
}

// SetHostEnv says in which environment hosts are, "" for unknown. What else their rows
// hold stays.
func (db *DB) SetHostEnv(ctx context.Context, hosts []string, env string, at time.Time) error {
	if env != "" {
		if err := CheckEnv(env); err != nil {
			return err
		}
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		for _, h := range slices.Compact(slices.Sorted(slices.Values(hosts))) {
			// The name as well: a row that somebody spelled otherwise would be another host's.
			var n int
			if err := tx.GetContext(ctx, &n, "SELECT COUNT(*) FROM host_env WHERE hostname = ?", h); err != nil {
				return err
			}
			if n == 0 {
				if env == "" {
					continue
				}
				_, err := tx.ExecContext(ctx, "INSERT INTO host_env (hostname, env, update_at) VALUES (?, ?, ?)", h, env, at)
				if err == nil {
					continue
				}
				if !isDuplicate(err) { // somebody else was faster
					return err
				}
			}
			if _, err := tx.ExecContext(ctx, "UPDATE host_env SET hostname = ?, env = ?, update_at = ? WHERE hostname = ?", h, env, at, h); err != nil {
				return err
			}
		}
		return nil
	})
}

// EnvBinding is a row of grp_tpl_env: a template that is bound to those hosts of a group
// that are in one environment.
type EnvBinding struct {
	ID       int64  `db:"id" json:"id"`
	Group    int64  `db:"grp_id" json:"grp_id"`
	Template int64  `db:"tpl_id" json:"tpl_id"`
	Env      string `db:"env" json:"env"`
	BindUser string `db:"bind_user" json:"bind_user"`
}

const envBindingColumns = "id, grp_id, tpl_id, env, bind_user"

// EnvBinding returns how a template is bound to a group in an environment, or
// ErrNotFound.
func (db *DB) EnvBinding(ctx context.Context, group, template int64, env string) (*EnvBinding, error) {
	var b EnvBinding
	err := db.Portal.read.GetContext(ctx, &b, "SELECT "+envBindingColumns+" FROM grp_tpl_env WHERE grp_id = ? AND tpl_id = ? AND env = ?", group, template, env)
	if err != nil {
		return nil, notFound(err)
	}
	return &b, nil
}

// BindTemplateEnv binds a template to the hosts of a group that are in an environment,
// and returns the id of the binding; ErrNotFound when there is no such group or
// template, and an *InvalidError when it is bound already.
func (db *DB) BindTemplateEnv(ctx context.Context, b EnvBinding) (id int64, err error) {
	if err := CheckEnv(b.Env); err != nil {
		return 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		if err := (rulesTx{ctx, tx, db.Portal.dialect}).lockBinding(b.Group, b.Template); err != nil {
			return err
		}
		id, err = insert(ctx, tx, "INSERT INTO grp_tpl_env (grp_id, tpl_id, env, bind_user) VALUES (?, ?, ?, ?)", b.Group, b.Template, b.Env, clip(b.BindUser, 64))
		if errors.Is(err, ErrExists) {
			return invalid("this template is bound to this group in %s already", b.Env)
		}
		return err
	})
	return id, err
}

// UnbindTemplateEnv ends a binding; ErrNotFound when there is none.
func (db *DB) UnbindTemplateEnv(ctx context.Context, group, template int64, env string) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM grp_tpl_env WHERE grp_id = ? AND tpl_id = ? AND env = ?", group, template, env)
		return one(res, err)
	})
}

// NamedEnvBinding is an EnvBinding with the names of both.
type NamedEnvBinding struct {
	EnvBinding
	GroupName    string `db:"grp_name" json:"grp_name"`
	TemplateName string `db:"tpl_name" json:"tpl_name"`
}

// GroupEnvBindings returns the templates that are bound to a group in one environment,
// ordered by template and environment.
func (db *DB) GroupEnvBindings(ctx context.Context, group int64) ([]NamedEnvBinding, error) {
	return db.envBindings(ctx, "b.grp_id = ? ORDER BY b.tpl_id, b.env", group)
}

// TemplateEnvBindings returns the groups to which a template is bound in one
// environment, ordered by group and environment.
func (db *DB) TemplateEnvBindings(ctx context.Context, template int64) ([]NamedEnvBinding, error) {
	return db.envBindings(ctx, "b.tpl_id = ? ORDER BY b.grp_id, b.env", template)
}

func (db *DB) envBindings(ctx context.Context, where string, arg any) ([]NamedEnvBinding, error) {
	all := []NamedEnvBinding{}
	err := db.Portal.read.SelectContext(ctx, &all, "SELECT b.id, b.grp_id, b.tpl_id, b.env, b.bind_user, g.grp_name, t.tpl_name FROM grp_tpl_env b"+
		" JOIN grp g ON g.id = b.grp_id JOIN tpl t ON t.id = b.tpl_id WHERE "+where, arg)
	return all, err
}
