package api

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"falcon/common/expr"
	"falcon/common/portal"
)

// portalHas counts what EnsureBasics makes.
func portalHas(t *testing.T, db *portal.DB) string {
	t.Helper()
	ctx := t.Context()
	templates, err1 := db.Templates(ctx, nil, 0, 0)
	teams, err2 := db.Teams(ctx, portal.TeamSearch{})
	groups, err3 := db.Groups(ctx, nil, 0, 0)
	channels, err4 := db.AlarmChannels(ctx)
	if err := fmt.Sprint(err1, err2, err3, err4); err != "<nil> <nil> <nil> <nil>" {
		t.Fatal(err)
	}
	rules := 0
	for _, tpl := range templates {
		s, err := db.Strategies(ctx, tpl.ID)
		if err != nil {
			t.Fatal(err)
		}
		rules += len(s)
	}
	return fmt.Sprintf("%d templates, %d rules, %d teams, %d groups, %d channels", len(templates), rules, len(teams), len(groups), len(channels))
}

const allBasics = "1 templates, 6 rules, 1 teams, 1 groups, 2 channels"

func ensureBasics(t *testing.T, db *portal.DB) bool {
	t.Helper()
	made, err := EnsureBasics(t.Context(), db, "all", time.Unix(1795319760, 0))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestEnsureBasics(t *testing.T) {
	ctx, db := t.Context(), openPortal(t)
	if _, _, err := EnsureRoot(ctx, db, hasher(), ""); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var made [4]bool
	for i := range made {
		wg.Go(func() { made[i] = ensureBasics(t, db) })
	}
	wg.Wait()
	if n := len(slices.DeleteFunc(made[:], func(m bool) bool { return !m })); n != 1 {
		t.Errorf("%d of four at once made the rules", n)
	}
	if got := portalHas(t, db); got != allBasics {
		t.Errorf("made %s", got)
	}
	// The rules reach the group's hosts and tell root.
	tpl, err := db.TemplateByName(ctx, BasicTemplate)
	if err != nil {
		t.Fatal(err)
	}
	action, err := db.Action(ctx, tpl.ActionID)
	if err != nil {
		t.Fatal(err)
	}
	users, err := db.UsersOfTeams(ctx, []string{action.UIC})
	if err != nil || len(users) != 1 || users[0].Name != RootName {
		t.Errorf("told are %+v, %v", users, err)
	}
	groups, err := db.TemplateGroups(ctx, tpl.ID)
	if err != nil || len(groups) != 1 || groups[0].Name != "all" {
		t.Errorf("bound to %+v, %v", groups, err)
	}
	for _, s := range basics {
		f, err := expr.ParseFunc(s.Func)
		op, err2 := expr.ParseOp(s.Op)
		if err != nil || err2 != nil || len(f.Warnings(op, 1)) > 0 || s.Check() != nil {
			t.Errorf("%+v: %v %v %v", s, err, err2, f.Warnings(op, 1))
		}
	}

	// What is deleted does not come back.
	if err := db.DeleteTemplate(ctx, tpl.ID); err != nil {
		t.Fatal(err)
	}
	teams, err := db.Teams(ctx, portal.TeamSearch{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.DeleteTeam(ctx, teams[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := db.DeleteGroup(ctx, groups[0].ID); err != nil {
		t.Fatal(err)
	}
	channels, err := db.AlarmChannels(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range channels {
		if err := db.DeleteAlarmChannel(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
	}
	if again := ensureBasics(t, db); again || portalHas(t, db) != "0 templates, 0 rules, 0 teams, 0 groups, 0 channels" {
		t.Errorf("it came back: %v, %s", again, portalHas(t, db))
	}
}

// A start that was cut short is finished by the next one, and the portal of an
// installation that has rules of its own keeps to them.
func TestEnsureBasicsOnWhatIsThere(t *testing.T) {
	for _, tc := range []struct {
		name string
		fill func(ctx context.Context, db *portal.DB) error
		want string
	}{
		{"group alone", func(ctx context.Context, db *portal.DB) error {
			_, err := db.CreateGroup(ctx, "all", RootName)
			return err
		}, allBasics},
		{"cut short", func(ctx context.Context, db *portal.DB) error {
			_, err := db.CreateTeam(ctx, portal.Team{Name: BasicTeam}, nil)
			return err
		}, allBasics},
		{"own team", func(ctx context.Context, db *portal.DB) error {
			_, err := db.CreateTeam(ctx, portal.Team{Name: "dba"}, nil)
			return err
		}, "0 templates, 0 rules, 1 teams, 0 groups, 2 channels"},
		{"own template", func(ctx context.Context, db *portal.DB) error {
			_, err := db.CreateTemplate(ctx, portal.Template{Name: "linux"})
			return err
		}, "1 templates, 0 rules, 0 teams, 0 groups, 2 channels"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := openPortal(t)
			if _, _, err := EnsureRoot(t.Context(), db, hasher(), ""); err != nil {
				t.Fatal(err)
			}
			if err := tc.fill(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				ensureBasics(t, db)
				if got := portalHas(t, db); got != tc.want {
					t.Errorf("%s, want %s", got, tc.want)
				}
			}
		})
	}
}
