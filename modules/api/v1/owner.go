package v1

import (
	"errors"
	"slices"
	"strings"

	"falcon/common/portal"
)

// Who may change rules and groups (contract query 2.3, alerting 6.2): admins and the
// maintainers of the configuration everything, and others what is theirs. Stock asks
// nobody at some of the routes; those are its holes, which strict_permission closes.

// mayAll says whether the caller may change everybody's rules.
func (s *server) mayAll(c *Call) bool {
	return s.isAdmin(&c.Caller) || c.Caller.User != nil && slices.Contains(s.Maintainers, c.Caller.User.Name)
}

// isCaller says whether the caller is a person of that name.
func isCaller(c *Call, name string) bool {
	return c.Caller.User != nil && strings.EqualFold(c.Caller.User.Name, name)
}

// hole lets everybody in where stock does, unless permissions are strict.
func (s *server) hole() bool { return !s.StrictPermission }

// needGroup refuses callers to whom a group does not belong.
func (s *server) needGroup(c *Call, g *portal.Group) error {
	if s.mayAll(c) || isCaller(c, g.CreateUser) {
		return nil
	}
	return c.denied()
}

// needTemplate refuses callers to whom a template does not belong: it is its
// creator's, and of the teams that its action tells.
func (s *server) needTemplate(c *Call, t *portal.Template) error {
	may, err := s.mayTemplate(c, t)
	if err == nil && !may {
		err = c.denied()
	}
	return err
}

func (s *server) mayTemplate(c *Call, t *portal.Template) (bool, error) {
	if s.mayAll(c) || isCaller(c, t.CreateUser) {
		return true, nil
	}
	return s.isTold(c, t.ActionID)
}

// needExpression is needTemplate for an expression.
func (s *server) needExpression(c *Call, e *portal.Expression) error {
	if s.mayAll(c) || isCaller(c, e.CreateUser) {
		return nil
	}
	told, err := s.isTold(c, e.ActionID)
	if err == nil && !told {
		err = c.denied()
	}
	return err
}

// needAction refuses callers to whom an action does not belong. One that several
// rules share is theirs who made all of those.
func (s *server) needAction(c *Call, id int64) error {
	if s.mayAll(c) {
		return nil
	}
	told, err := s.isTold(c, id)
	if err != nil || told {
		return err
	}
	creators, err := s.Portal.ActionUsers(c.Ctx(), id)
	if err != nil {
		return err
	}
	if len(creators) == 0 || slices.ContainsFunc(creators, func(name string) bool { return !isCaller(c, name) }) {
		return c.denied()
	}
	return nil
}

// isTold says whether the caller is a member of a team that an action tells.
func (s *server) isTold(c *Call, action int64) (bool, error) {
	if c.Caller.User == nil || action == 0 {
		return false, nil
	}
	a, err := s.Portal.Action(c.Ctx(), action)
	if err != nil {
		if errors.Is(err, portal.ErrNotFound) {
			return false, nil
		}
		return false, err
	}
	return s.Portal.UserInTeams(c.Ctx(), c.Caller.User.ID, splitList(a.UIC))
}

// splitList reads a list with commas, without what is empty.
func splitList(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}
