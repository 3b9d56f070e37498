package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"falcon/common/auth"
	"falcon/common/portal"
	v1 "falcon/modules/api/v1"
)

// RootName is the name of the first user.
const RootName = "root"

// EnsureRoot makes the user root, with a random password and the highest role,
// when the database has no user at all. The password is returned this once; created
// tells whether it was made now. kind is Config.PasswordHash.
func EnsureRoot(ctx context.Context, db *portal.DB, h *auth.Hasher, kind string) (password string, created bool, err error) {
	all, _, err := db.UserCounts(ctx)
	if err != nil || all > 0 {
		return "", false, err
	}
	password = rand.Text()[:20] // 100 bits
	hash, err := hashFor(ctx, db, h, kind, password)
	if err != nil {
		return "", false, err
	}
	_, err = db.CreateUser(ctx, portal.User{Name: RootName, Passwd: hash, CNName: RootName, Role: portal.RoleRoot})
	if errors.Is(err, portal.ErrExists) {
		return "", false, nil // another process was faster
	}
	if err != nil {
		return "", false, fmt.Errorf("create user %s: %w", RootName, err)
	}
	return password, true, nil
}

// SetPassword gives a user a new password and ends all his sessions. It makes the
// user root when that one is missing, so that nobody stays locked out. kind is
// Config.PasswordHash.
func SetPassword(ctx context.Context, db *portal.DB, h *auth.Hasher, kind, name, password string) error {
	hash, err := hashFor(ctx, db, h, kind, password)
	if err != nil {
		return err
	}
	u, err := db.UserByName(ctx, name)
	if errors.Is(err, portal.ErrNotFound) && name == RootName {
		_, err := db.CreateUser(ctx, portal.User{Name: RootName, Passwd: hash, CNName: RootName, Role: portal.RoleRoot})
		return err
	}
	if err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	if err := db.SetUserPassword(ctx, u.ID, hash); err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	return db.DeleteSessions(ctx, u.ID, "")
}

// hashFor makes a hash of kind, or of the one that suits the database.
func hashFor(ctx context.Context, db *portal.DB, h *auth.Hasher, kind, password string) (string, error) {
	if kind == "" {
		var err error
		if kind, err = v1.HashKind(ctx, db); err != nil {
			return "", err
		}
	}
	return h.Hash(ctx, kind, password)
}

// Names of what EnsureBasics makes.
const (
	BasicTeam     = "ops"
	BasicTemplate = "host.basics"
)

// Marks under which the portal remembers what was made once.
const (
	markRules    = "basics"
	markChannels = "basic channels"
)

// basics are the rules that a new fleet begins with: what goes wrong on every host.
var basics = []portal.Strategy{
	{Metric: "agent.heartbeat.alive", Func: "all(#1)", Op: "==", RightValue: "0", MaxStep: 3, Priority: 0, Note: "the agent is silent: the host may be down"},
	{Metric: "df.bytes.free.percent", Func: "all(#1)", Op: "<", RightValue: "5", MaxStep: 3, Priority: 1, Note: "a disk is nearly full"},
	{Metric: "df.inodes.free.percent", Func: "all(#1)", Op: "<", RightValue: "5", MaxStep: 3, Priority: 1, Note: "a disk has hardly any inodes left"},
	{Metric: "mem.memfree.percent", Func: "all(#3)", Op: "<", RightValue: "5", MaxStep: 3, Priority: 2, Note: "hardly any memory is left"},
	{Metric: "load.1minPerCPU", Func: "all(#3)", Op: ">", RightValue: "3", MaxStep: 3, Priority: 2, Note: "more work than the cores can do"},
	{Metric: "mem.swapused.percent", Func: "all(#3)", Op: ">", RightValue: "80", MaxStep: 3, Priority: 3, Note: "the swap is nearly full"},
}

// EnsureBasics makes what the first alarm needs, once in the life of a portal: the
// channels inbox and log, the team ops with root in it, the group of that name when it
// is missing, and a template of basic rules that is bound to the group and tells the
// team. A portal that has teams or templates of its own, as that of a stock
// installation, gets the channels alone. What an operator deletes does not come back,
// for the portal remembers. It says whether the rules were made now; root must be
// there (EnsureRoot).
func EnsureBasics(ctx context.Context, db *portal.DB, group string, now time.Time) (made bool, err error) {
	if err := ensureChannels(ctx, db, now); err != nil {
		return false, fmt.Errorf("make the first channels: %w", err)
	}
	done, err := db.Marked(ctx, markRules)
	if err != nil || done {
		return false, err
	}
	empty, err := isEmpty(ctx, db)
	if err != nil {
		return false, err
	}
	if !empty {
		return db.FirstRules(ctx, markRules, now, nil)
	}
	root, err := db.UserByName(ctx, RootName)
	if err != nil {
		return false, fmt.Errorf("user %s: %w", RootName, err)
	}
	_, err = db.CreateTeam(ctx, portal.Team{Name: BasicTeam, Resume: "they are told of everything", Creator: root.ID}, []int64{root.ID})
	if err != nil && !errors.Is(err, portal.ErrExists) {
		return false, fmt.Errorf("create team %s: %w", BasicTeam, err)
	}
	id, err := ensureGroup(ctx, db, group)
	if err != nil {
		return false, err
	}
	made, err = db.FirstRules(ctx, markRules, now, &portal.Rules{
		Template: portal.Template{Name: BasicTemplate, CreateUser: RootName}, Action: portal.Action{UIC: BasicTeam}, Strategies: basics, Groups: []int64{id},
	})
	if err != nil {
		return false, fmt.Errorf("make the first rules: %w", err)
	}
	return made, nil
}

// isEmpty says whether a portal has no rules and no people to tell yet. The team of a
// first start that was cut short does not count.
func isEmpty(ctx context.Context, db *portal.DB) (bool, error) {
	templates, err := db.Templates(ctx, nil, 1, 0)
	if err != nil {
		return false, err
	}
	teams, err := db.Teams(ctx, portal.TeamSearch{Limit: 2})
	if err != nil {
		return false, err
	}
	return len(templates) == 0 && (len(teams) == 0 || len(teams) == 1 && teams[0].Name == BasicTeam), nil
}

// ensureChannels makes the channels inbox and log in a portal that has none.
func ensureChannels(ctx context.Context, db *portal.DB, now time.Time) error {
	if db.Alarms == nil {
		return nil // once they are there
	}
	done, err := db.Marked(ctx, markChannels)
	if err != nil || done {
		return err
	}
	all, err := db.AlarmChannels(ctx)
	if err != nil {
		return err
	}
	if len(all) < 2 { // fewer than both: none, or the first of a start that was cut short
		for _, kind := range []string{"inbox", "log"} {
			_, err := db.CreateAlarmChannel(ctx, portal.AlarmChannel{Name: kind, Type: kind, Config: "{}", Enabled: true, Creator: RootName, Created: now})
			if err != nil && !errors.Is(err, portal.ErrExists) {
				return err
			}
		}
	}
	_, err = db.FirstRules(ctx, markChannels, now, nil)
	return err
}
