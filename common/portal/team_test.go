package portal

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// teamOf shows a team and its members.
func teamOf(t *testing.T, db *DB, id int64) string {
	t.Helper()
	team := must[*Team](t)(db.Team(t.Context(), id))
	members := must[map[int64][]User](t)(db.TeamMembers(t.Context(), []int64{id}))[id]
	var names []string
	for _, u := range members {
		names = append(names, u.Name)
	}
	return fmt.Sprintf("%s %q by %d: %s", team.Name, team.Resume, team.Creator, strings.Join(names, " "))
}

func TestTeams(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		uid := map[string]int64{}
		for _, name := range []string{"ann", "bob", "cid"} {
			uid[name] = must[int64](t)(db.CreateUser(ctx, User{Name: name, Email: name + "@example.com"}))
		}
		ops := must[int64](t)(db.CreateTeam(ctx, Team{Name: "ops", Resume: "they watch", Creator: uid["ann"]}, []int64{uid["bob"], uid["ann"], uid["bob"]}))
		dba := must[int64](t)(db.CreateTeam(ctx, Team{Name: "dba", Creator: uid["cid"]}, nil))
		if got, want := teamOf(t, db, ops), fmt.Sprintf(`ops "they watch" by %d: ann bob`, uid["ann"]); got != want {
			t.Errorf("created %s, want %s", got, want)
		}
		for _, tc := range []struct {
			team  Team
			users []int64
			err   string
		}{
			{Team{Name: "OPS"}, nil, ErrExists.Error()},
			{Team{}, nil, "a team needs a name"},
			{Team{Name: "a,b"}, nil, `the team's name "a,b" must not contain commas, nor begin or end with a blank`},
			{Team{Name: "new"}, []int64{uid["ann"], 1 << 30}, "there is no user with id 1073741824"},
			{Team{Name: strings.Repeat("x", 65)}, nil, "name is longer than 64 characters"},
		} {
			if _, err := db.CreateTeam(ctx, tc.team, tc.users); fmt.Sprint(err) != tc.err {
				t.Errorf("CreateTeam(%+v, %v)\n got %v\nwant %s", tc.team, tc.users, err, tc.err)
			}
		}

		if err := db.UpdateTeam(ctx, Team{ID: ops, Name: "ops"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.AddTeamMembers(ctx, ops, []int64{uid["ann"], uid["cid"]}); err != nil {
			t.Fatal(err)
		}
		if got, want := teamOf(t, db, ops), fmt.Sprintf(`ops "" by %d: ann bob cid`, uid["ann"]); got != want {
			t.Errorf("after a change %s, want %s", got, want)
		}
		if err := db.UpdateTeam(ctx, Team{ID: dba, Name: "Ops"}, nil); !errors.Is(err, ErrExists) {
			t.Errorf("a name that is taken: %v", err)
		}
		if err := db.UpdateTeam(ctx, Team{ID: dba, Name: "dba"}, []int64{uid["cid"], uid["bob"]}); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, u := range must[[]User](t)(db.UsersOfTeams(ctx, []string{"ops", "dba", "nobody"})) {
			names = append(names, u.Name+" "+u.Email)
		}
		if got, want := strings.Join(names, ", "), "ann ann@example.com, bob bob@example.com, cid cid@example.com"; got != want {
			t.Errorf("UsersOfTeams: %s, want %s", got, want)
		}
		if missing := must[[]string](t)(db.MissingTeams(ctx, []string{"x", "OPS", "y"})); fmt.Sprint(missing) != "[x y]" {
			t.Errorf("MissingTeams: %v", missing)
		}
		for who, want := range map[string]int{"": 2, "ann": 1, "bob": 2, "cid": 2} {
			if all := must[[]Team](t)(db.Teams(ctx, TeamSearch{Of: uid[who]})); len(all) != want {
				t.Errorf("teams of %q: %v, want %d", who, all, want)
			}
		}
		if all := must[[]Team](t)(db.Teams(ctx, TeamSearch{Match: []Pattern{{Expr: "^D"}}, Limit: 5})); len(all) != 1 || all[0].Name != "dba" {
			t.Errorf("teams that begin with d: %v", all)
		}

		if err := db.UpdateTeam(ctx, Team{ID: dba, Name: "dba"}, []int64{}); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db.UIC, "rel_team_user WHERE tid = ?", dba); n != 0 {
			t.Errorf("an emptied team has %d members", n)
		}
		if err := db.DeleteTeam(ctx, ops); err != nil {
			t.Fatal(err)
		}
		if err := db.DeleteTeam(ctx, ops); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		if n := count(t, db.UIC, "rel_team_user"); n != 0 {
			t.Errorf("%d members of teams that are gone", n)
		}
	})
}
