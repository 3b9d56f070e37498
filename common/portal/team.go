package portal

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Team is a row of team, without its members.
type Team struct {
	ID      int64  `db:"id" json:"id"`
	Name    string `db:"name" json:"name"`
	Resume  string `db:"resume" json:"resume"`
	Creator int64  `db:"creator" json:"creator"` // a user's id
}

func (t *Team) check() error {
	if t.Name == "" {
		return invalidField("name", "a team needs a name")
	}
	// Actions hold names of teams with commas between them.
	if strings.Contains(t.Name, ",") || strings.TrimSpace(t.Name) != t.Name {
		return invalidField("name", "the team's name %q must not contain commas, nor begin or end with a blank", t.Name)
	}
	for _, f := range []struct {
		name, value string
		max         int
	}{{"name", t.Name, 64}, {"resume", t.Resume, 255}} {
		if why := fits(f.value, f.max); why != "" {
			return invalidField(f.name, "%s %s", f.name, why)
		}
	}
	return nil
}

const teamColumns = "id, name, resume, creator"

// Team returns a team, or ErrNotFound.
func (db *DB) Team(ctx context.Context, id int64) (*Team, error) { return db.team(ctx, "id = ?", id) }

// TeamByName returns a team, or ErrNotFound. Case does not matter.
func (db *DB) TeamByName(ctx context.Context, name string) (*Team, error) {
	return db.team(ctx, "name = ?", name)
}

func (db *DB) team(ctx context.Context, where string, arg any) (*Team, error) {
	var t Team
	if err := db.UIC.read.GetContext(ctx, &t, "SELECT "+teamColumns+" FROM team WHERE "+where, arg); err != nil {
		return nil, notFound(err)
	}
	return &t, nil
}

// A TeamSearch selects teams. The zero TeamSearch is all of them.
type TeamSearch struct {
	Match []Pattern // of the name
	// Of, when not 0, leaves the teams that this user made or is a member of.
	Of            int64
	Limit, Offset int // Limit 0 means all
}

// Teams returns the teams that s selects, ordered by id.
func (db *DB) Teams(ctx context.Context, s TeamSearch) ([]Team, error) {
	var where conditions
	where.patterns("name", s.Match)
	if s.Of != 0 {
		where.add("(creator = ? OR id IN (SELECT tid FROM rel_team_user WHERE uid = ?))", s.Of, s.Of)
	}
	query, args := "SELECT "+teamColumns+" FROM team"+where.sql()+" ORDER BY id", where.args
	if s.Limit > 0 {
		query, args = query+" LIMIT ? OFFSET ?", append(args, s.Limit, max(s.Offset, 0))
	}
	all := []Team{}
	err := db.UIC.read.SelectContext(ctx, &all, db.UIC.limited(ctx, query), args...)
	return all, err
}

// TeamMembers returns the members of teams, by the id of the team and ordered by the
// id of the user.
func (db *DB) TeamMembers(ctx context.Context, teams []int64) (map[int64][]User, error) {
	members := map[int64][]User{}
	for chunk := range slices.Chunk(teams, maxMarks) {
		var rows []struct {
			Team int64 `db:"tid"`
			User
		}
		err := db.UIC.read.SelectContext(ctx, &rows, "SELECT DISTINCT rel_team_user.tid, "+prefixed("user", userColumns)+
			" FROM rel_team_user JOIN user ON user.id = rel_team_user.uid WHERE rel_team_user.tid IN ("+marks(len(chunk))+") ORDER BY user.id", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			members[r.Team] = append(members[r.Team], r.User)
		}
	}
	return members, nil
}

// UsersOfTeams returns the members of the named teams, each once, ordered by id.
// Names that are no team's are passed over.
func (db *DB) UsersOfTeams(ctx context.Context, names []string) ([]User, error) {
	all := []User{}
	for chunk := range slices.Chunk(names, maxMarks) {
		var rows []User
		err := db.UIC.read.SelectContext(ctx, &rows, "SELECT "+userColumns+" FROM user WHERE id IN (SELECT rel_team_user.uid FROM rel_team_user"+
			" JOIN team ON team.id = rel_team_user.tid WHERE team.name IN ("+marks(len(chunk))+"))", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(a, b User) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b User) bool { return a.ID == b.ID }), nil
}

// TeamsOfUser returns the teams that a user is a member of, ordered by id.
func (db *DB) TeamsOfUser(ctx context.Context, uid int64) ([]Team, error) {
	all := []Team{}
	err := db.UIC.read.SelectContext(ctx, &all,
		"SELECT "+teamColumns+" FROM team WHERE id IN (SELECT tid FROM rel_team_user WHERE uid = ?) ORDER BY id", uid)
	return all, err
}

// UserInTeams says whether a user is a member of at least one of the named teams.
func (db *DB) UserInTeams(ctx context.Context, uid int64, names []string) (bool, error) {
	for chunk := range slices.Chunk(names, maxMarks) {
		var n int
		err := db.UIC.read.GetContext(ctx, &n,
			"SELECT COUNT(*) FROM rel_team_user JOIN team ON team.id = rel_team_user.tid WHERE rel_team_user.uid = ? AND team.name IN ("+marks(len(chunk))+")",
			append([]any{uid}, anys(chunk)...)...)
		if err != nil || n > 0 {
			return n > 0, err
		}
	}
	return false, nil
}

// MissingTeams returns those of names that no team has, in their order.
func (db *DB) MissingTeams(ctx context.Context, names []string) ([]string, error) {
	there := map[string]bool{}
	for chunk := range slices.Chunk(names, maxMarks) {
		var found []string
		if err := db.UIC.read.SelectContext(ctx, &found, "SELECT name FROM team WHERE name IN ("+marks(len(chunk))+")", anys(chunk)...); err != nil {
			return nil, err
		}
		for _, name := range found {
			there[fold(name)] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return there[fold(name)] }), nil
}

// CreateTeam makes a team of these users and returns its id; ErrExists when the name
// is taken.
func (db *DB) CreateTeam(ctx context.Context, t Team, users []int64) (id int64, err error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	err = db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		if id, err = insert(ctx, tx, "INSERT INTO team (name, resume, creator) VALUES (?, ?, ?)", t.Name, t.Resume, t.Creator); err != nil {
			return err
		}
		return addMembers(ctx, tx, id, users)
	})
	return id, err
}

// UpdateTeam changes name and resume of the team t.ID and, when users is not nil, who
// is in it. ErrNotFound when there is none, ErrExists when the name is another's.
func (db *DB) UpdateTeam(ctx context.Context, t Team, users []int64) error {
	if err := t.check(); err != nil {
		return err
	}
	return db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE team SET name = ?, resume = ? WHERE id = ?", t.Name, t.Resume, t.ID)
		if isDuplicate(err) {
			return ErrExists
		}
		if err := one(res, err); err != nil || users == nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM rel_team_user WHERE tid = ?", t.ID); err != nil {
			return err
		}
		return addMembers(ctx, tx, t.ID, users)
	})
}

// AddTeamMembers puts users into a team; those that are in it stay.
func (db *DB) AddTeamMembers(ctx context.Context, team int64, users []int64) error {
	return db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		var n int
		if err := tx.GetContext(ctx, &n, "SELECT COUNT(*) FROM team WHERE id = ?", team); err != nil {
			return err
		}
		if n == 0 {
			return ErrNotFound
		}
		var in []int64
		if err := tx.SelectContext(ctx, &in, "SELECT uid FROM rel_team_user WHERE tid = ?", team); err != nil {
			return err
		}
		return addMembers(ctx, tx, team, slices.DeleteFunc(slices.Clone(users), func(id int64) bool { return slices.Contains(in, id) }))
	})
}

// addMembers enters users, who must exist, into a team that has none of them.
func addMembers(ctx context.Context, tx *sqlx.Tx, team int64, users []int64) error {
	users = slices.Compact(slices.Sorted(slices.Values(users)))
	for chunk := range slices.Chunk(users, maxMarks/2) {
		var there []int64
		if err := tx.SelectContext(ctx, &there, "SELECT id FROM user WHERE id IN ("+marks(len(chunk))+")", anys(chunk)...); err != nil {
			return err
		}
		args := make([]any, 0, 2*len(chunk))
		for _, uid := range chunk {
			if !slices.Contains(there, uid) {
				return invalidField("users", "there is no user with id %d", uid)
			}
			args = append(args, team, uid)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO rel_team_user (tid, uid) VALUES "+strings.Repeat("(?, ?), ", len(chunk)-1)+"(?, ?)", args...); err != nil {
			return err
		}
	}
	return nil
}

// DeleteTeam removes a team; ErrNotFound when there is none. Actions that name it
// keep the name.
func (db *DB) DeleteTeam(ctx context.Context, id int64) error {
	return db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM team WHERE id = ?", id)
		if err := one(res, err); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM rel_team_user WHERE tid = ?", id)
		return err
	})
}

// prefixed puts a table's name before each of its columns.
func prefixed(table, columns string) string {
	return table + "." + strings.ReplaceAll(columns, ", ", ", "+table+".")
}
