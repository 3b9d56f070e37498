package v1

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"falcon/common/portal"
)

// member is how a list of teams shows a user: with no more than a name.
type member struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	CNName string `json:"cnname"`
	Email  string `json:"email"`
	Phone  string `json:"phone"`
	IM     string `json:"im"`
	QQ     string `json:"qq"`
	Role   int    `json:"role"`
}

type teamRow struct {
	Team    portal.Team `json:"team"`
	Creator string      `json:"creator_name"`
	Users   []member    `json:"users"`
}

// teams lists all teams to admins and daemons, and to others those they made or are
// in.
func (s *server) teams(c *Call) (any, error) {
	match, err := portal.ParsePatterns(c.Query("q"), false)
	if err != nil {
		return nil, err
	}
	search := portal.TeamSearch{Match: match}
	if search.Limit, search.Offset, err = c.page(); err != nil {
		return nil, err
	}
	if c.Caller.User != nil && !s.isAdmin(&c.Caller) {
		search.Of = c.Caller.User.ID
	}
	teams, err := s.Portal.Teams(c.Ctx(), search)
	if err != nil {
		return nil, err
	}
	ids, creators := make([]int64, len(teams)), make([]int64, len(teams))
	for i, t := range teams {
		ids[i], creators[i] = t.ID, t.Creator
	}
	members, err := s.Portal.TeamMembers(c.Ctx(), ids)
	if err != nil {
		return nil, err
	}
	names, err := s.Portal.UserNames(c.Ctx(), creators)
	if err != nil {
		return nil, err
	}
	rows := make([]teamRow, len(teams))
	for i, t := range teams {
		rows[i] = teamRow{t, names[t.Creator], []member{}}
		for _, u := range members[t.ID] {
			rows[i].Users = append(rows[i].Users, member{ID: u.ID, Name: u.Name, CNName: u.CNName})
		}
	}
	return rows, nil
}

// teamDict lists the teams by themselves, all of them to everybody: whoever writes a
// rule has to name who is told.
func (s *server) teamDict(c *Call) (any, error) {
	return s.Portal.Teams(c.Ctx(), portal.TeamSearch{})
}

// teamAnswer is a team with its members, as alarm reads it.
type teamAnswer struct {
	portal.Team
	Users   []portal.User `json:"users"`
	Creator string        `json:"creator_name"` // stock leaves it empty
}

func (s *server) teamByID(c *Call) (any, error) {
	id, err := c.id("team_id", "a team")
	if err != nil {
		return nil, err
	}
	t, err := s.Portal.Team(c.Ctx(), id)
	return s.teamWithUsers(c, t, err)
}

func (s *server) teamByName(c *Call) (any, error) {
	t, err := s.Portal.TeamByName(c.Ctx(), c.Param("team_name"))
	return s.teamWithUsers(c, t, err)
}

func (s *server) teamWithUsers(c *Call, t *portal.Team, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	members, err := s.Portal.TeamMembers(c.Ctx(), []int64{t.ID})
	if err != nil {
		return nil, err
	}
	users := members[t.ID]
	if users == nil {
		users = []portal.User{}
	}
	return teamAnswer{Team: *t, Users: users}, nil
}

func (s *server) createTeam(c *Call) (any, error) {
	var in struct {
		Name   string  `json:"team_name" form:"team_name" xml:"team_name"`
		Resume string  `json:"resume" form:"resume" xml:"resume"`
		Users  []int64 `json:"users" form:"users" xml:"users"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("team_name", in.Name); err != nil {
		return nil, err
	}
	t := portal.Team{Name: in.Name, Resume: in.Resume}
	if c.Caller.User != nil {
		t.Creator = c.Caller.User.ID
	}
	var err error
	if t.ID, err = s.Portal.CreateTeam(c.Ctx(), t, in.Users); err != nil {
		return nil, err
	}
	c.Audit(t.ID, map[string]any{"team": t, "users": in.Users})
	return fmt.Sprintf("team created! Affect row: 1, Affect refer: %d", len(in.Users)), nil
}

// ownTeam returns a team that the caller may change: his own or, with members, one
// that he is in.
func (s *server) ownTeam(c *Call, id int64, members bool) (*portal.Team, []portal.User, error) {
	t, err := s.Portal.Team(c.Ctx(), id)
	if err != nil {
		return nil, nil, err
	}
	all, err := s.Portal.TeamMembers(c.Ctx(), []int64{id})
	if err != nil {
		return nil, nil, err
	}
	users, u := all[id], c.Caller.User
	switch {
	case s.isAdmin(&c.Caller), u != nil && u.ID == t.Creator:
	case members && u != nil && slices.ContainsFunc(users, func(m portal.User) bool { return m.ID == u.ID }):
	default:
		return nil, nil, c.denied()
	}
	return t, users, nil
}

// updateTeam changes what is given: an empty text or list empties, what is missing
// stays. A name can not be emptied.
func (s *server) updateTeam(c *Call) (any, error) {
	var in struct {
		ID     int64    `json:"team_id" form:"team_id" xml:"team_id"`
		Name   string   `json:"name" form:"name" xml:"name"`
		Resume *string  `json:"resume" form:"resume" xml:"resume"`
		Users  *[]int64 `json:"users" form:"users" xml:"users"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.ID <= 0 {
		return nil, badField("team_id", "team_id is required")
	}
	old, users, err := s.ownTeam(c, in.ID, true)
	if err != nil {
		return nil, err
	}
	t := *old
	if in.Name != "" {
		t.Name = in.Name
	}
	if in.Resume != nil {
		t.Resume = *in.Resume
	}
	var members []int64
	if in.Users != nil {
		members = append([]int64{}, *in.Users...)
	}
	if t.Name != old.Name {
		if err := s.Portal.CanRenameInActions(c.Ctx(), portal.ActionTeams, old.Name, t.Name); err != nil {
			return nil, err
		}
	}
	c.Before(map[string]any{"team": old, "users": idsOf(users)})
	c.Audit(t.ID, map[string]any{"team": t, "users": in.Users})
	if err := s.Portal.UpdateTeam(c.Ctx(), t, members); err != nil {
		return nil, err
	}
	if t.Name != old.Name {
		if err := s.renameInActions(c, portal.ActionTeams, old.Name, t.Name); err != nil {
			return nil, err
		}
	}
	return "team updated!", nil
}

// renameInActions lets actions know the new name of a team or a channel: they would
// tell nobody from now on. They are in another database than what was renamed, so
// this comes after it and may fail alone.
func (s *server) renameInActions(c *Call, list, old, name string) error {
	err := s.Portal.RenameInActions(c.Ctx(), list, old, name)
	if err == nil {
		return nil
	}
	s.Log.Error("actions name something that has a new name, nobody is told through them", "list", list, "old", old, "new", name, "err", err)
	return &Error{Status: http.StatusInternalServerError, Text: fmt.Sprintf("%s is %s now, but the actions that name it could not be changed: call it %s again, and try later", old, name, old)}
}

func idsOf(users []portal.User) []int64 {
	ids := make([]int64, len(users))
	for i, u := range users {
		ids[i] = u.ID
	}
	return ids
}

func (s *server) addTeamUsers(c *Call) (any, error) {
	var in struct {
		ID    int64    `json:"team_id" form:"team_id" xml:"team_id"`
		Users []string `json:"users" form:"users" xml:"users"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if len(in.Users) == 0 {
		return nil, badField("users", "empty users")
	}
	t, _, err := s.ownTeam(c, in.ID, true)
	if err != nil {
		return nil, err
	}
	users, err := s.Portal.UsersByName(c.Ctx(), in.Users)
	if err != nil {
		return nil, err
	}
	for _, name := range in.Users {
		if !slices.ContainsFunc(users, func(u portal.User) bool { return strings.EqualFold(u.Name, name) }) {
			return nil, badField("users", "there is no user %q", name)
		}
	}
	c.Audit(t.ID, map[string]any{"added": in.Users})
	if err := s.Portal.AddTeamMembers(c.Ctx(), t.ID, idsOf(users)); err != nil {
		return nil, err
	}
	return "add successful", nil
}

func (s *server) deleteTeam(c *Call) (any, error) {
	id, err := c.id("team_id", "a team")
	if err != nil {
		return nil, err
	}
	t, users, err := s.ownTeam(c, id, false)
	if err != nil {
		return nil, err
	}
	c.Before(map[string]any{"team": t, "users": idsOf(users)})
	c.Audit(id, nil)
	if err := s.Portal.DeleteTeam(c.Ctx(), id); err != nil {
		return nil, err
	}
	n, err := s.Portal.ActionsThatName(c.Ctx(), portal.ActionTeams, t.Name)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		return fmt.Sprintf("team %s is deleted; %d actions still name it and tell nobody through it", t.Name, n), nil
	}
	return fmt.Sprintf("team %s is deleted", t.Name), nil
}
