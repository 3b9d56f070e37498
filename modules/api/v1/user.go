package v1

import (
	"slices"
	"strconv"
	"strings"

	"falcon/common/portal"
)

// profileInput is what people say about themselves. All of it is overwritten, so
// what is left out becomes empty.
type profileInput struct {
	CNName string `json:"cnname" form:"cnname" xml:"cnname"`
	Email  string `json:"email" form:"email" xml:"email"`
	Phone  string `json:"phone" form:"phone" xml:"phone"`
	IM     string `json:"im" form:"im" xml:"im"`
	QQ     string `json:"qq" form:"qq" xml:"qq"`
}

func (p *profileInput) profile() portal.Profile {
	return portal.Profile{CNName: p.CNName, Email: p.Email, Phone: p.Phone, IM: p.IM, QQ: p.QQ}
}

func (p *profileInput) check() error {
	if err := required("cnname", p.CNName, "email", p.Email); err != nil {
		return err
	}
	// Stock's pages write it into HTML as it stands.
	if strings.ContainsAny(p.CNName, `<>&'"`) {
		return bad(`cnname must not contain < > & ' "`)
	}
	return nil
}

type createInput struct {
	Name     string `json:"name" form:"name" xml:"name"`
	Password string `json:"password" form:"password" xml:"password"`
	profileInput
}

// createUser makes a user. With sign-up closed only admins may.
func (s *server) createUser(c *Call) (any, error) {
	// Whoever presents himself is checked, also where nobody has to.
	if s.SignupDisable || c.Header(headerToken) != "" {
		if err := s.whoami(c); err != nil {
			return nil, err
		}
	}
	if s.SignupDisable {
		if err := s.adminOnly(c); err != nil {
			return nil, err
		}
	}
	var in createInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("name", in.Name, "password", in.Password); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	// The stock dashboard keeps name:sig in one cookie.
	if strings.ContainsFunc(in.Name, func(r rune) bool { return r == ':' || r <= ' ' || r == 0x7f }) {
		return nil, bad("name %q must not contain blanks or colons", in.Name)
	}
	if s.reserved(in.Name) {
		return nil, bad("name %q belongs to a daemon", in.Name)
	}
	u := portal.User{Name: in.Name, CNName: in.CNName, Email: in.Email, Phone: in.Phone, IM: in.IM, QQ: in.QQ}
	if c.Caller.User != nil {
		u.Creator = c.Caller.User.ID
	}
	if strings.EqualFold(u.Name, "root") {
		role, err := s.roleOfRoot(c)
		if err != nil {
			return nil, err
		}
		u.Role = role
	}
	hash, err := s.hash(c.Ctx(), in.Password)
	if err != nil {
		return nil, err
	}
	u.Passwd = hash
	if u.ID, err = s.Portal.CreateUser(c.Ctx(), u); err != nil {
		return nil, err
	}
	c.Audit(u.Name, u)
	if c.Caller.Name == "" {
		c.Caller.Name = u.Name // he has made himself
	}
	if c.Caller.Cookie {
		return "user created", nil // the page's session stays the admin's
	}
	answer, err := s.logIn(c, &u)
	if session, ok := answer.(sessionAnswer); ok {
		return struct {
			Sig  string `json:"sig"`
			Name string `json:"name"`
		}{session.Sig, session.Name}, nil
	}
	return answer, err
}

// roleOfRoot gives a user named root the role of that name, as stock does, but only
// on a database without users or at the wish of an admin: a stranger who finds an
// open sign-up does not become root.
func (s *server) roleOfRoot(c *Call) (int, error) {
	if s.isAdmin(&c.Caller) {
		return portal.RoleRoot, nil
	}
	all, _, err := s.Portal.UserCounts(c.Ctx())
	if err != nil {
		return 0, err
	}
	if all > 0 {
		return 0, bad("the user root is made by an admin, or by falcon passwd root")
	}
	return portal.RoleRoot, nil
}

func (s *server) currentUser(c *Call) (any, error) {
	if c.Caller.User == nil {
		return nil, portal.ErrNotFound
	}
	return c.Caller.User, nil
}

func (s *server) userByID(c *Call) (any, error) {
	id, err := c.uid()
	if err != nil {
		return nil, err
	}
	return found(s.Portal.UserByID(c.Ctx(), id))
}

func (s *server) userByName(c *Call) (any, error) {
	return found(s.Portal.UserByName(c.Ctx(), c.Param("user_name")))
}

// found keeps a nil pointer from becoming a body that is not nil.
func found(u *portal.User, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (s *server) users(c *Call) (any, error) {
	limit, offset, err := c.page()
	if err != nil {
		return nil, err
	}
	match, err := portal.ParsePatterns(c.Query("q"), false)
	if err != nil {
		return nil, err
	}
	return s.Portal.Users(c.Ctx(), match, limit, offset)
}

func (s *server) updateUserByID(c *Call) (any, error) {
	id, err := c.uid()
	if err != nil {
		return nil, err
	}
	var in profileInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if c.Caller.User == nil || c.Caller.User.ID != id {
		if _, err := s.target(c, id); err != nil {
			return nil, err
		}
	}
	return s.setProfile(c, id, in)
}

func (s *server) updateSelf(c *Call) (any, error) {
	var in profileInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	return s.setProfile(c, c.Caller.User.ID, in)
}

func (s *server) setProfile(c *Call, id int64, in profileInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	c.Audit(id, in.profile())
	if err := s.Portal.UpdateUser(c.Ctx(), id, in.profile()); err != nil {
		return nil, err
	}
	return "user info updated", nil
}

// changeOwnPassword also ends the user's other sessions: who changes it may fear
// that somebody else has it.
func (s *server) changeOwnPassword(c *Call) (any, error) {
	var in struct {
		Old string `json:"old_password" form:"old_password" xml:"old_password"`
		New string `json:"new_password" form:"new_password" xml:"new_password"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("old_password", in.Old, "new_password", in.New); err != nil {
		return nil, err
	}
	if _, err := s.checkPassword(c, c.Caller.Name, in.Old); err != nil {
		return nil, err
	}
	c.Audit(c.Caller.User.ID, nil)
	return s.setPassword(c, c.Caller.User.ID, in.New, c.Caller.Sig)
}

// setPassword stores a password and ends all sessions of the user but keep.
func (s *server) setPassword(c *Call, id int64, password, keep string) (any, error) {
	hash, err := s.hash(c.Ctx(), password)
	if err != nil {
		return nil, err
	}
	if err := s.Portal.SetUserPassword(c.Ctx(), id, hash); err != nil {
		return nil, err
	}
	if err := s.Portal.DeleteSessions(c.Ctx(), id, keep); err != nil {
		return nil, err
	}
	return "password updated", nil
}

func (s *server) inTeams(c *Call) (any, error) {
	id, err := c.uid()
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(strings.Split(c.Query("team_names"), ","), func(s string) bool { return s == "" })
	if len(names) == 0 {
		return nil, bad("team_names is required")
	}
	in, err := s.Portal.UserInTeams(c.Ctx(), id, names)
	if err != nil {
		return nil, err
	}
	return strconv.FormatBool(in), nil
}

func (s *server) teamsOfUser(c *Call) (any, error) {
	id, err := c.uid()
	if err != nil {
		return nil, err
	}
	teams, err := s.Portal.TeamsOfUser(c.Ctx(), id)
	if err != nil {
		return nil, err
	}
	return map[string]any{"teams": teams}, nil
}
