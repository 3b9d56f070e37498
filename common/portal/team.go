package portal

import (
	"context"
	"slices"
)

// Team is a row of team, without its members.
type Team struct {
	ID      int64  `db:"id" json:"id"`
	Name    string `db:"name" json:"name"`
	Resume  string `db:"resume" json:"resume"`
	Creator int64  `db:"creator" json:"creator"`
}

// TeamsOfUser returns the teams that a user is a member of, ordered by id.
func (db *DB) TeamsOfUser(ctx context.Context, uid int64) ([]Team, error) {
	all := []Team{}
	err := db.UIC.read.SelectContext(ctx, &all,
		"SELECT id, name, resume, creator FROM team WHERE id IN (SELECT tid FROM rel_team_user WHERE uid = ?) ORDER BY id", uid)
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
