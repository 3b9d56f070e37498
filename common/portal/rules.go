package portal

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// RuleRows are the rows of falcon_portal that rules are compiled from, as they were
// at one moment.
type RuleRows struct {
	Hosts          []RuleHost
	Groups         []RuleGroup
	GroupHosts     []RulePair // group, host
	GroupTemplates []RulePair // group, template
	Templates      []RuleTemplate
	Strategies     []RuleStrategy
	Members        []RuleMember `json:",omitempty"`
	Unions         []RuleUnion  `json:",omitempty"`
	Expressions    []RuleExpression
	Actions        []RuleAction
	Plugins        []RulePlugin
	Services       []RuleService `json:",omitempty"`
	Envs           []RuleEnv
	EnvTemplates   []RuleEnvPair
	Disables       []RuleDisable
}

// RuleHost is a host; it is in maintenance from MaintainBegin to MaintainEnd, both
// Unix seconds and included.
type RuleHost struct {
	ID            int    `db:"id"`
	Name          string `db:"hostname"`
	MaintainBegin int64  `db:"maintain_begin"`
	MaintainEnd   int64  `db:"maintain_end"`
}

// RuleGroup is a host group.
type RuleGroup struct {
	ID   int    `db:"id"`
	Name string `db:"grp_name"`
}

// RulePair binds something to a group.
type RulePair struct {
	Group int `db:"grp_id"`
	Other int `db:"other"`
}

// RuleTemplate is a template.
type RuleTemplate struct {
	ID      int    `db:"id"`
	Name    string `db:"tpl_name"`
	Parent  int    `db:"parent_id"`
	Action  int    `db:"action_id"`
	Creator string `db:"create_user"`
}

// RuleStrategy is a strategy as it is written, the threshold and the tags as text.
type RuleStrategy struct {
	ID         int    `db:"id"`
	Metric     string `db:"metric"`
	Tags       string `db:"tags"`
	MaxStep    int    `db:"max_step"`
	Priority   int    `db:"priority"`
	Func       string `db:"func"`
	Op         string `db:"op"`
	RightValue string `db:"right_value"`
	Note       string `db:"note"`
	RunBegin   string `db:"run_begin"`
	RunEnd     string `db:"run_end"`
	Template   int    `db:"tpl_id"`

	ValueType   string `db:"value_type"`   // ValueString for one about texts
	RightString string `db:"right_string"` // what such a one compares with
}

// RuleExpression is an expression that is not paused and has an action.
type RuleExpression struct {
	ID         int    `db:"id"`
	Expression string `db:"expression"`
	Func       string `db:"func"`
	Op         string `db:"op"`
	RightValue string `db:"right_value"`
	MaxStep    int    `db:"max_step"`
	Priority   int    `db:"priority"`
	Note       string `db:"note"`
	Action     int    `db:"action_id"`
}

// RuleAction says which teams an action tells.
type RuleAction struct {
	ID  int    `db:"id"`
	UIC string `db:"uic"`
}

// RulePlugin binds a folder of plugins to a group.
type RulePlugin struct {
	Group int    `db:"grp_id"`
	Dir   string `db:"dir"`
}

// RuleService names a service of systemd that the agents of a group measure.
type RuleService struct {
	Group int    `db:"grp_id"`
	Name  string `db:"svs_name"`
}

// RuleEnv says in which environment a host is.
type RuleEnv struct {
	Host string `db:"hostname"`
	Env  string `db:"env"`
}

// RuleEnvPair binds a template to the hosts of a group that are in an environment.
type RuleEnvPair struct {
	Group    int    `db:"grp_id"`
	Template int    `db:"tpl_id"`
	Env      string `db:"env"`
}

// RuleDisable is a disable that was not cancelled; it is in force from Begin to before
// End, Unix seconds.
type RuleDisable struct {
	ID       int         `db:"id"`
	Type     DisableType `db:"type"`
	Host     int         `db:"host_id"`
	Template int         `db:"tpl_id"`
	Strategy int         `db:"strategy_id"`
	Group    int         `db:"grp_id"`
	Begin    int64       `db:"begin_ts"`
	End      int64       `db:"end_ts"`
	Reason   string      `db:"reason"`
	Operator string      `db:"operator"`
}

// RuleRows reads all rules in one transaction that sees one state of the database.
// Rows come in ascending order of their ids. Of disables those are left out that were
// over a day ago by this host's clock; whoever uses them looks at the clock himself.
func (db *DB) RuleRows(ctx context.Context) (*RuleRows, error) {
	opts := &sql.TxOptions{ReadOnly: true}
	if !db.Portal.SQLite() {
		opts.Isolation = sql.LevelRepeatableRead
	}
	tx, err := db.Portal.read.BeginTxx(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", because(ctx, err))
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	r := &RuleRows{}
	for _, q := range []struct {
		to   any
		what string
	}{
		{&r.Hosts, "id, hostname, maintain_begin, maintain_end FROM host ORDER BY id"},
		{&r.Groups, "id, grp_name FROM grp ORDER BY id"},
		{&r.GroupHosts, "grp_id, host_id AS other FROM grp_host ORDER BY grp_id, host_id"},
		{&r.GroupTemplates, "grp_id, tpl_id AS other FROM grp_tpl ORDER BY grp_id, tpl_id"},
		{&r.Templates, "id, tpl_name, parent_id, action_id, create_user FROM tpl ORDER BY id"},
		{&r.Strategies, "id, metric, tags, max_step, priority, func, op, right_value, note, run_begin, run_end, tpl_id, value_type, right_string FROM strategy ORDER BY id"},
		{&r.Members, ruleMembers},
		{&r.Unions, ruleUnions},
		{&r.Expressions, "id, expression, func, op, right_value, max_step, priority, note, action_id FROM expression WHERE action_id > 0 AND pause = 0 ORDER BY id"},
		{&r.Actions, "id, uic FROM action ORDER BY id"},
		{&r.Plugins, "grp_id, dir FROM plugin_dir ORDER BY grp_id, dir"},
		{&r.Services, "grp_id, svs_name FROM grp_svs ORDER BY grp_id, svs_name"},
		{&r.Envs, "hostname, env FROM host_env WHERE env <> '' ORDER BY hostname"},
		{&r.EnvTemplates, "grp_id, tpl_id, env FROM grp_tpl_env ORDER BY grp_id, tpl_id, env"},
		{&r.Disables, fmt.Sprintf("id, type, host_id, tpl_id, strategy_id, grp_id, begin_ts, end_ts, reason, operator FROM alarm_disable"+
			" WHERE cancel_ts = 0 AND end_ts > %d ORDER BY id", time.Now().Add(-24*time.Hour).Unix())},
	} {
		if err := sqlx.SelectContext(ctx, tx, q.to, "SELECT "+q.what); err != nil {
			return nil, fmt.Errorf("read rules: %w", because(ctx, err))
		}
	}
	for i := range r.Strategies {
		r.Strategies[i].Op = readOp(r.Strategies[i].Op)
	}
	return r, nil
}
