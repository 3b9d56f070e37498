package v1

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"falcon/common/portal"
)

// whoami is admit for open routes that ask who calls.
func (s *server) whoami(c *Call) error {
	caller, err := s.identify(c)
	if err != nil {
		return err
	}
	c.Caller = caller
	return s.checkCSRF(c)
}

// authSession says whether the caller is logged in. A browser of ours also gets
// its CSRF token again, after a reload of the page.
func (s *server) authSession(c *Call) (any, error) {
	if err := s.whoami(c); err != nil {
		return nil, err
	}
	if c.Caller.Cookie {
		c.SetHeader(headerCSRF, csrfToken(c.Caller.Sig))
	}
	return "session is valid!", nil
}

type credentialsInput struct {
	Name     string `json:"name" form:"name" xml:"name"`
	Password string `json:"password" form:"password" xml:"password"`
}

// A session as stock answers it, and one for our own page, whose script must not
// learn the signature.
type (
	sessionAnswer struct {
		Sig   string `json:"sig"`
		Name  string `json:"name"`
		Admin bool   `json:"admin"`
	}
	pageAnswer struct {
		Name  string `json:"name"`
		Admin bool   `json:"admin"`
		CSRF  string `json:"csrf"`
	}
)

func (s *server) login(c *Call) (any, error) {
	in := credentialsInput{Name: c.Query("name"), Password: c.Query("password")}
	if c.gin.Request.ContentLength != 0 {
		if err := c.Bind(&in); err != nil {
			return nil, err
		}
	}
	if in.Name == "" || in.Password == "" {
		return nil, bad("name or password is blank")
	}
	u, err := s.checkPassword(c, in.Name, in.Password)
	if err != nil {
		return nil, err
	}
	if u.Role == portal.RoleBlocked {
		return nil, bad("this user is blocked")
	}
	s.rehash(c.Ctx(), u, in.Password)
	s.counts.logins.Add(1)
	c.Caller = Caller{Name: u.Name, User: u}
	c.Audit(u.Name, nil)
	return s.logIn(c, u)
}

// logIn makes a session and answers it in the form that the caller expects.
func (s *server) logIn(c *Call, u *portal.User) (any, error) {
	sig, err := s.newSession(c.Ctx(), u)
	if err != nil {
		return nil, err
	}
	if byScript(c) {
		setCookie(c, u.Name, sig, s.SessionLife)
		return pageAnswer{u.Name, u.Admin(), csrfToken(sig)}, nil
	}
	return sessionAnswer{sig, u.Name, u.Admin()}, nil
}

// checkPassword returns the user when the password is right. Whoever fails too
// often, by name or by address, waits.
func (s *server) checkPassword(c *Call, name, password string) (*portal.User, error) {
	if wait := s.throttle.wait(name, c.IP()); wait > 0 {
		s.counts.throttled.Add(1)
		seconds := int((wait + time.Second - 1) / time.Second)
		c.SetHeader("Retry-After", strconv.Itoa(seconds))
		return nil, &Error{Status: http.StatusTooManyRequests, Text: "too many logins failed, try again in " + strconv.Itoa(seconds) + " s"}
	}
	u, err := s.Portal.UserByName(c.Ctx(), name)
	if err != nil {
		if errors.Is(err, portal.ErrNotFound) {
			s.counts.badLogins.Add(1)
			return nil, bad("no such user")
		}
		s.throttle.refund(name, c.IP()) // the fault is ours
		return nil, err
	}
	ok, err := s.Hasher.Verify(c.Ctx(), u.Passwd, password)
	if err != nil {
		s.throttle.refund(name, c.IP())
		return nil, err
	}
	if !ok {
		s.counts.badLogins.Add(1)
		return nil, bad("password error")
	}
	s.throttle.refund(name, c.IP())
	return u, nil
}

// rehash replaces a hash that is weaker than what is wanted, now that the password
// is at hand. The login does not depend on it.
func (s *server) rehash(ctx context.Context, u *portal.User, password string) {
	kind, err := s.kind(ctx)
	if err == nil && s.Hasher.Outdated(kind, u.Passwd) {
		var hash string
		if hash, err = s.Hasher.Hash(ctx, kind, password); err == nil {
			err = s.Portal.SetUserPassword(ctx, u.ID, hash)
		}
	}
	if err != nil {
		s.Log.Warn("password hash not renewed, the old one stays", "user", u.Name, "err", err)
	}
}

func (s *server) logout(c *Call) (any, error) {
	if err := s.whoami(c); err != nil {
		if isUnauthorized(err) { // stock answers 400 here
			setCookie(c, "", "", 0)
			return nil, bad("%v", err)
		}
		return nil, err
	}
	if c.Caller.User == nil {
		return nil, bad("session not found")
	}
	if err := s.Portal.DeleteSession(c.Ctx(), c.Caller.User.ID, c.Caller.Sig); err != nil {
		return nil, err
	}
	if c.Caller.Cookie {
		setCookie(c, "", "", 0)
	}
	c.Audit(c.Caller.Name, nil)
	return "logout successful", nil
}

// loginAs lets an admin become a user of a lower role.
func (s *server) loginAs(c *Call) (any, error) {
	var in struct {
		Name string `json:"name" form:"name" xml:"name"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("name", in.Name); err != nil {
		return nil, err
	}
	if c.Caller.Cookie {
		return nil, bad("a browser's session stays its user's: log in as %s, or call with an Apitoken", in.Name)
	}
	u, err := s.Portal.UserByName(c.Ctx(), in.Name)
	if errors.Is(err, portal.ErrNotFound) {
		return nil, bad("no such user") // the stock dashboard reads this text
	}
	if err != nil {
		return nil, err
	}
	if u.Role >= c.Caller.User.Role {
		return nil, denied()
	}
	sig, err := s.newSession(c.Ctx(), u)
	if err != nil {
		return nil, err
	}
	c.Audit(u.Name, nil)
	return sessionAnswer{sig, u.Name, u.Admin()}, nil
}
