package v1

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"falcon/common/portal"
)

// A Caller is who calls.
type Caller struct {
	Name   string       // as registered, or the name of a daemon; "" for nobody
	User   *portal.User // nil for daemons and for nobody
	Sig    string       // of the session
	Cookie bool         // came with the browser's cookie
	Writes bool         // a daemon that may change things
}

// Service says whether the caller is a daemon.
func (c *Caller) Service() bool { return c.Name != "" && c.User == nil }

// Names under which stock's daemons present the default token.
var pseudoUsers = []string{"falcon-alarm", "aggregator", "nodata"}

const (
	headerToken  = "Apitoken"
	headerCSRF   = "X-Falcon-CSRF"
	cookieName   = "falcon_session"
	headerScript = "X-Requested-With" // "falcon": the login of our own page
)

// admit finds out who calls and whether he may. Routes that are open get a caller
// only when their handlers ask.
func (s *server) admit(c *Call) error {
	if c.route.Who == Open || c.route.Who == Legacy && !s.StrictPermission || c.route.Who == Grafana && !s.GrafanaAuth {
		return nil
	}
	caller, err := s.identify(c)
	if err != nil {
		if !s.SkipAuth || !isUnauthorized(err) {
			return err
		}
		if caller, err = s.unproven(c); err != nil {
			return err
		}
	}
	c.Caller = caller
	if err := s.checkCSRF(c); err != nil {
		return err
	}
	switch c.route.Who {
	case Login, Owner, Legacy, Grafana:
		return s.anyLogin(c)
	case Person:
		if caller.User == nil {
			return denied()
		}
		return nil
	case SelfOrAdmin:
		id, err := c.uid()
		if err != nil {
			return err
		}
		if caller.User != nil && caller.User.ID == id {
			return nil
		}
		return s.adminOnly(c)
	case Strict:
		if s.StrictPermission {
			return s.adminOnly(c)
		}
		return s.anyLogin(c)
	default:
		return s.adminOnly(c)
	}
}

func (s *server) anyLogin(c *Call) error {
	if c.Caller.Service() && c.route.Writes() && !c.Caller.Writes {
		return denied()
	}
	return nil
}

func (s *server) adminOnly(c *Call) error {
	if !s.isAdmin(&c.Caller) {
		return denied()
	}
	return nil
}

// isAdmin says whether the caller is one. Without access control every user is;
// daemons never are.
func (s *server) isAdmin(c *Caller) bool {
	return c.User != nil && (c.User.Admin() || !s.AccessControl)
}

func isUnauthorized(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized
}

// identify returns the caller that the request proves to come from. The texts of
// its errors are stock's.
func (s *server) identify(c *Call) (Caller, error) {
	name, sig, cookie, err := credentials(c)
	if err != nil {
		return Caller{}, err
	}
	if service, ok := s.service(name, sig); ok {
		return service, nil
	}
	known, gen, ok := s.callers.get(name, sig)
	if ok {
		known.Cookie = cookie
		return known, nil
	}
	user, err := s.Portal.UserByName(c.Ctx(), name)
	if errors.Is(err, portal.ErrNotFound) {
		return Caller{}, unauthorized("not found this user")
	}
	if err != nil {
		return Caller{}, err
	}
	_, err = s.Portal.SessionBySig(c.Ctx(), user.ID, sig, s.Now())
	if errors.Is(err, portal.ErrNotFound) {
		return Caller{}, unauthorized("session not found")
	}
	if err != nil {
		return Caller{}, err
	}
	if user.Role == portal.RoleBlocked {
		return Caller{}, unauthorized("this user is blocked")
	}
	caller := Caller{Name: user.Name, User: user, Sig: sig}
	s.callers.put(name, sig, caller, gen)
	caller.Cookie = cookie
	return caller, nil
}

// unproven is skip_auth: the name in the header is believed, no name is nobody.
func (s *server) unproven(c *Call) (Caller, error) {
	name, _, _, err := credentials(c)
	if err != nil && name == "" {
		return Caller{}, nil
	}
	user, err := s.Portal.UserByName(c.Ctx(), name)
	if errors.Is(err, portal.ErrNotFound) {
		return Caller{}, nil
	}
	if err != nil {
		return Caller{}, err
	}
	return Caller{Name: user.Name, User: user}, nil
}

// credentials reads name and signature from the header or, failing that, from the
// cookie of a page of this origin.
func credentials(c *Call) (name, sig string, cookie bool, err error) {
	header := c.Header(headerToken)
	if header == "" {
		if name, sig, ok := readCookie(c.gin.Request); ok {
			return name, sig, true, nil
		}
		// What Grafana can send without a plugin's help: the name and the token of a
		// service, as a user and a password.
		if name, sig, ok := c.gin.Request.BasicAuth(); ok && c.route.Who == Grafana && name != "" && sig != "" {
			return name, sig, false, nil
		}
		return "", "", false, unauthorized("token key is not set")
	}
	var token struct {
		Name string `json:"name"`
		Sig  string `json:"sig"`
	}
	if err := json.Unmarshal([]byte(header), &token); err != nil {
		return "", "", false, unauthorized("%v", err)
	}
	if token.Name == "" {
		return "", "", false, unauthorized("token key:name is empty")
	}
	if token.Sig == "" {
		return token.Name, "", false, unauthorized("token key:sig is empty")
	}
	return token.Name, token.Sig, false, nil
}

// service recognises a daemon by its token.
func (s *server) service(name, sig string) (Caller, bool) {
	if t, ok := s.ServiceTokens[name]; ok && same(t.Token, sig) {
		return Caller{Name: name, Writes: t.Scope == "write"}, true
	}
	if s.DefaultToken != "" && slices.Contains(pseudoUsers, name) && same(s.DefaultToken, sig) {
		return Caller{Name: name}, true
	}
	return Caller{}, false
}

// reserved says whether a name belongs to daemons, so that no person may have it.
func (s *server) reserved(name string) bool {
	lower := strings.ToLower(name)
	if slices.Contains(pseudoUsers, lower) {
		return true
	}
	for service := range s.ServiceTokens {
		if strings.EqualFold(service, name) {
			return true
		}
	}
	return false
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// --- the browser ---------------------------------------------------------------------

// A browser of ours holds its session in a cookie that scripts can not read and
// that other sites can not send. It proves with each change that the change comes
// from our page by a token that only our page has been told.

// csrfToken is derived from the signature, which only the cookie carries.
func csrfToken(sig string) string {
	m := hmac.New(sha256.New, []byte(sig))
	m.Write([]byte("falcon csrf"))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// checkCSRF refuses a change by cookie without the token.
func (s *server) checkCSRF(c *Call) error {
	if !c.Caller.Cookie || !c.route.Writes() || same(csrfToken(c.Caller.Sig), c.Header(headerCSRF)) {
		return nil
	}
	return &Error{Status: http.StatusForbidden, Text: "header " + headerCSRF + " is missing or wrong: load the page again"}
}

// sameOrigin says whether a request comes from a page of this server, or from no
// page at all. SameSite alone would let in pages of other ports and subdomains.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

func readCookie(r *http.Request) (name, sig string, ok bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || !sameOrigin(r) {
		return "", "", false
	}
	b64, sig, ok := strings.Cut(cookie.Value, ".")
	b, err := base64.RawURLEncoding.DecodeString(b64)
	return string(b), sig, ok && err == nil && len(b) > 0 && sig != ""
}

// setCookie gives the browser its session, for as long as it lives; an empty sig
// takes it away.
func setCookie(c *Call, name, sig string, life time.Duration) {
	cookie := &http.Cookie{
		Name: cookieName, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Value:  base64.RawURLEncoding.EncodeToString([]byte(name)) + "." + sig,
		MaxAge: int(life / time.Second),
		Secure: c.gin.Request.TLS != nil || strings.EqualFold(c.Header("X-Forwarded-Proto"), "https"),
	}
	if sig == "" {
		cookie.Value, cookie.MaxAge = "", -1
	}
	http.SetCookie(c.gin.Writer, cookie)
}

// byScript says whether our own page logs in. Scripts of other origins can not set
// the header without asking, and are told no.
func byScript(c *Call) bool {
	return strings.EqualFold(c.Header(headerScript), "falcon") && sameOrigin(c.gin.Request)
}

// newSession logs a user in.
func (s *server) newSession(ctx context.Context, u *portal.User) (sig string, err error) {
	now := s.Now()
	return s.Portal.CreateSession(ctx, u.ID, now, now.Add(s.SessionLife))
}
