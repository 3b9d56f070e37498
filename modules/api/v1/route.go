package v1

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// A Permission says who may call a route (contract query 2.3).
type Permission int

const (
	unset       Permission = iota
	Open                   // everybody; the handler may still ask who it is
	Login                  // everybody who is logged in, and daemons with a token
	Person                 // users who are logged in, no daemons
	SelfOrAdmin            // the user of :uid himself, or an admin of no lower role
	Admin                  // admins
	Strict                 // like Login; with strict_permission like Admin
	Owner                  // like Login; the handler asks to whom the thing belongs
	Legacy                 // like Open, as in stock; with strict_permission like Login
	Grafana                // like Open, as in stock; with grafana_auth like Login
)

// String returns the permission in words.
func (p Permission) String() string {
	return [...]string{"unset", "open", "login", "person", "self or admin", "admin", "login, strictly admin", "owner", "open, strictly login", "open, with grafana_auth login"}[p]
}

// A Route is one line of the table.
type Route struct {
	Method string
	Path   string
	Who    Permission

	// Verb and Object are the line of the audit log, "create" "user". Both are
	// empty for routes that change nothing.
	Verb, Object string

	// Missing is the status when the handler finds no record; 0 means 400.
	Missing int

	// Handler answers, or Raw does, which is for what is not JSON.
	Handler func(s *server, c *Call) (any, error)
	Raw     http.Handler
}

// Writes says whether the route changes something, so that it is audited, and a
// browser has to show its CSRF token.
func (r *Route) Writes() bool { return r.Verb != "" }

// changesRules says whether what the route changes is compiled by hbs.
func (r *Route) changesRules() bool {
	switch r.Object {
	case "hostgroup", "host", "plugin", "template", "action", "strategy", "union", "expression", "disable":
		return true
	}
	return false
}

func (r *Route) key() string { return r.Method + " " + r.Path }

// checkTable finds the mistakes one can make in the table.
func checkTable(table []Route) error {
	var errs []error
	seen := map[string]bool{}
	for _, r := range table {
		wrong := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("route %s: %s", r.key(), fmt.Sprintf(format, args...)))
		}
		if seen[r.key()] {
			wrong("is registered twice")
		}
		seen[r.key()] = true
		if r.Who == unset {
			wrong("says not who may call it")
		}
		if (r.Verb == "") != (r.Object == "") {
			wrong("has half an audit line: verb %q, object %q", r.Verb, r.Object)
		}
		if (r.Handler == nil) == (r.Raw == nil) {
			wrong("needs exactly one of Handler and Raw")
		}
		if r.Who == SelfOrAdmin && !strings.Contains(r.Path, ":uid") {
			wrong("has no :uid to compare the caller with")
		}
		if r.Raw == nil && !strings.HasPrefix(r.Path, prefix+"/") {
			wrong("is not below %s", prefix)
		}
	}
	return errors.Join(errs...)
}

// checkRouter compares what the router serves with the table, both ways.
func checkRouter(e *gin.Engine, table []Route) error {
	in := map[string]bool{}
	for _, r := range table {
		in[r.key()] = true
	}
	var errs []error
	for _, r := range e.Routes() {
		key := r.Method + " " + r.Path
		if !in[key] {
			errs = append(errs, fmt.Errorf("route %s is served but not in the table: nobody has said who may call it", key))
		}
		delete(in, key)
	}
	for key := range in {
		errs = append(errs, fmt.Errorf("route %s is in the table but not served", key))
	}
	return errors.Join(errs...)
}
