package v1

import "falcon/common/portal"

// target returns the user whom an admin is about to change. Nobody changes a user
// above himself.
func (s *server) target(c *Call, id int64) (*portal.User, error) {
	if id <= 0 {
		return nil, bad("user_id is required")
	}
	u, err := s.Portal.UserByID(c.Ctx(), id)
	if err != nil {
		return nil, err
	}
	if u.Role > c.Caller.User.Role {
		return nil, denied()
	}
	return u, nil
}

type userInput struct {
	UserID int64 `json:"user_id" form:"user_id" xml:"user_id"`
}

// changeRole makes a user an admin ("yes") or not ("no"); any other word keeps the
// role, as in stock.
func (s *server) changeRole(c *Call) (any, error) {
	var in struct {
		userInput
		Admin string `json:"admin" form:"admin" xml:"admin"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("admin", in.Admin); err != nil {
		return nil, err
	}
	u, err := s.target(c, in.UserID)
	if err != nil {
		return nil, err
	}
	role := u.Role
	switch in.Admin {
	case "yes":
		role = portal.RoleAdmin
	case "no":
		role = portal.RoleNormal
	}
	if u.Role == portal.RoleRoot && role != u.Role {
		return nil, bad("root stays root: this route knows admins and others only")
	}
	c.Audit(u.ID, map[string]int{"role": role})
	if err := s.Portal.SetUserRole(c.Ctx(), u.ID, role); err != nil {
		return nil, err
	}
	return "user role updated", nil
}

func (s *server) changePassword(c *Call) (any, error) {
	var in struct {
		userInput
		Password string `json:"password" form:"password" xml:"password"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("password", in.Password); err != nil {
		return nil, err
	}
	u, err := s.target(c, in.UserID)
	if err != nil {
		return nil, err
	}
	keep := ""
	if u.ID == c.Caller.User.ID {
		keep = c.Caller.Sig
	}
	c.Audit(u.ID, nil)
	return s.setPassword(c, u.ID, in.Password, keep)
}

func (s *server) changeProfile(c *Call) (any, error) {
	var in struct {
		userInput
		profileInput
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	u, err := s.target(c, in.UserID)
	if err != nil {
		return nil, err
	}
	return s.setProfile(c, u.ID, in.profileInput)
}

func (s *server) deleteUser(c *Call) (any, error) {
	var in userInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	u, err := s.target(c, in.UserID)
	if err != nil {
		return nil, err
	}
	if u.ID == c.Caller.User.ID {
		return nil, bad("nobody deletes himself: let another admin do it")
	}
	c.Audit(u.ID, u)
	if err := s.Portal.DeleteUser(c.Ctx(), u.ID); err != nil {
		return nil, err
	}
	return "user deleted", nil
}
