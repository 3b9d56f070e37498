package v1

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// permissions is who may call what, again and in full: root, admin (role 1), ann
// who is meant by :uid, bob who is not, a daemon with stock's token, one that may
// write, and nobody.
const permissions = `
                                       root admin ann  bob  old  plus nobody
GET    /user/auth_session              yes  yes   yes  yes  yes  yes  401
GET    /user/logout                    yes  yes   yes  yes  no   no   400
POST   /user/login                     yes  yes   yes  yes  yes  yes  yes
POST   /user/create                    yes  yes   no   no   no   no   401
GET    /user/current                   yes  yes   yes  yes  yes  yes  401
GET    /user/u/:uid                    yes  yes   yes  yes  yes  yes  401
PUT    /user/u/:uid                    yes  yes   yes  no   no   no   401
GET    /user/name/:user_name           yes  yes   yes  yes  yes  yes  401
PUT    /user/update                    yes  yes   yes  yes  no   no   401
PUT    /user/cgpasswd                  yes  yes   yes  yes  no   no   401
GET    /user/users                     yes  yes   yes  yes  yes  yes  401
GET    /user/u/:uid/in_teams           yes  yes   yes  yes  yes  yes  401
GET    /user/u/:uid/teams              yes  yes   yes  yes  yes  yes  401
PUT    /admin/change_user_role         yes  yes   no   no   no   no   401
PUT    /admin/change_user_passwd       yes  yes   no   no   no   no   401
PUT    /admin/change_user_profile      yes  yes   no   no   no   no   401
DELETE /admin/delete_user              yes  yes   no   no   no   no   401
POST   /admin/login                    yes  yes   no   no   no   no   401
GET    /graph/endpointobj              yes  yes   yes  yes  yes  yes  401
GET    /graph/endpoint                 yes  yes   yes  yes  yes  yes  401
GET    /graph/endpoint_counter         yes  yes   yes  yes  yes  yes  401
POST   /graph/history                  yes  yes   yes  yes  yes  yes  401
POST   /graph/lastpoint                yes  yes   yes  yes  yes  yes  401
POST   /graph/info                     yes  yes   yes  yes  yes  yes  401
DELETE /graph/endpoint                 yes  yes   no   no   no   no   401
DELETE /graph/counter                  yes  yes   no   no   no   no   401
GET    /team                           yes  yes   yes  yes  yes  yes  401
GET    /team/dict                      yes  yes   yes  yes  yes  yes  401
GET    /team/t/:team_id                yes  yes   yes  yes  yes  yes  401
GET    /team/name/:team_name           yes  yes   yes  yes  yes  yes  401
POST   /team                           yes  yes   yes  yes  no   yes  401
PUT    /team                           yes  yes   yes  yes  no   yes  401
POST   /team/user                      yes  yes   yes  yes  no   yes  401
DELETE /team/:team_id                  yes  yes   yes  yes  no   yes  401
GET    /hostgroup                      yes  yes   yes  yes  yes  yes  401
POST   /hostgroup                      yes  yes   yes  yes  no   yes  401
PUT    /hostgroup                      yes  yes   yes  yes  no   yes  401
GET    /hostgroup/:id                  yes  yes   yes  yes  yes  yes  401
DELETE /hostgroup/:id                  yes  yes   yes  yes  no   yes  401
POST   /hostgroup/host                 yes  yes   yes  yes  no   yes  401
PUT    /hostgroup/host                 yes  yes   yes  yes  no   yes  401
PATCH  /hostgroup/:id/host             yes  yes   yes  yes  no   yes  401
PUT    /hostgroup/:id/hosts            yes  yes   yes  yes  no   yes  401
GET    /hostgroup/:id/plugins          yes  yes   yes  yes  yes  yes  401
POST   /plugin                         yes  yes   yes  yes  no   yes  401
DELETE /plugin/:id                     yes  yes   yes  yes  no   yes  401
POST   /hostgroup/template             yes  yes   yes  yes  no   yes  401
PUT    /hostgroup/template             yes  yes   yes  yes  no   yes  401
GET    /hostgroup/:id/template         yes  yes   yes  yes  yes  yes  401
GET    /hostgroupsimple/:id            yes  yes   yes  yes  yes  yes  401
GET    /hostgrouphosts/:group_name     yes  yes   yes  yes  yes  yes  401
GET    /hostgroupstag                  yes  yes   yes  yes  yes  yes  401
GET    /hosts                          yes  yes   yes  yes  yes  yes  401
GET    /hosts/join                     yes  yes   yes  yes  yes  yes  401
GET    /host/:host_id/template         yes  yes   yes  yes  yes  yes  401
GET    /host/:host_id/hostgroup        yes  yes   yes  yes  yes  yes  401
GET    /host/:host_id/strategies       yes  yes   yes  yes  yes  yes  401
GET    /fleet/health                   yes  yes   yes  yes  yes  yes  401
GET    /agent/upgrade                  yes  yes   yes  yes  yes  yes  401
POST   /agent/upgrade                  yes  yes   no   no   no   no   401
DELETE /agent/upgrade                  yes  yes   no   no   no   no   401
POST   /agent/upgrade/stop             yes  yes   no   no   no   no   401
POST   /agent/upgrade/go               yes  yes   no   no   no   no   401
POST   /host/maintain                  yes  yes   yes  yes  no   yes  401
DELETE /host/maintain                  yes  yes   yes  yes  no   yes  401
PUT    /host/env                       yes  yes   yes  yes  no   yes  401
GET    /alarm/disable                  yes  yes   yes  yes  yes  yes  401
GET    /alarm/disable/silences         yes  yes   yes  yes  yes  yes  401
POST   /alarm/disable                  yes  yes   yes  yes  no   yes  401
POST   /alarm/disable/preview          yes  yes   yes  yes  yes  yes  401
DELETE /alarm/disable/:id              yes  yes   yes  yes  no   yes  401
GET    /template                       yes  yes   yes  yes  yes  yes  401
GET    /template_simple                yes  yes   yes  yes  yes  yes  401
GET    /template/:id                   yes  yes   yes  yes  yes  yes  401
POST   /template                       yes  yes   yes  yes  no   yes  401
PUT    /template                       yes  yes   yes  yes  no   yes  401
DELETE /template/:id                   yes  yes   yes  yes  no   yes  401
GET    /template/:id/hostgroup         yes  yes   yes  yes  yes  yes  401
GET    /template/:id/inherited         yes  yes   yes  yes  yes  yes  401
POST   /template/action                yes  yes   yes  yes  no   yes  401
PUT    /template/action                yes  yes   yes  yes  no   yes  401
GET    /action/:act_id                 yes  yes   yes  yes  yes  yes  401
GET    /strategy                       yes  yes   yes  yes  yes  yes  401
GET    /strategy/:sid                  yes  yes   yes  yes  yes  yes  401
POST   /strategy                       yes  yes   yes  yes  no   yes  401
PUT    /strategy                       yes  yes   yes  yes  no   yes  401
DELETE /strategy/:sid                  yes  yes   yes  yes  no   yes  401
POST   /strategy/check                 yes  yes   yes  yes  yes  yes  401
POST   /strategy/backtest              yes  yes   yes  yes  yes  yes  401
GET    /union                          yes  yes   yes  yes  yes  yes  401
GET    /union/:id                      yes  yes   yes  yes  yes  yes  401
POST   /union                          yes  yes   yes  yes  no   yes  401
PUT    /union                          yes  yes   yes  yes  no   yes  401
DELETE /union/:id                      yes  yes   yes  yes  no   yes  401
GET    /metric/default_list            yes  yes   yes  yes  yes  yes  401
GET    /expression                     yes  yes   yes  yes  yes  yes  401
GET    /expression/:eid                yes  yes   yes  yes  yes  yes  401
POST   /expression                     yes  yes   yes  yes  no   yes  401
PUT    /expression                     yes  yes   yes  yes  no   yes  401
DELETE /expression/:eid                yes  yes   yes  yes  no   yes  401
POST   /expression/backtest            yes  yes   yes  yes  yes  yes  401
GET    /tplgrp                         yes  yes   yes  yes  yes  yes  401
POST   /alarm/link                     yes  yes   yes  yes  yes  yes  401
GET    /alarm/link/:path               yes  yes   yes  yes  yes  yes  yes
GET    /grafana                        yes  yes   yes  yes  yes  yes  yes
GET    /grafana/metrics/find           yes  yes   yes  yes  yes  yes  yes
GET    /grafana/render                 yes  yes   yes  yes  yes  yes  yes
POST   /grafana/render                 yes  yes   yes  yes  yes  yes  yes
GET    /hostgroup/:id/aggregators      yes  yes   yes  yes  yes  yes  401
GET    /aggregator/:id                 yes  yes   yes  yes  yes  yes  401
POST   /aggregator                     yes  yes   yes  yes  no   yes  401
PUT    /aggregator                     yes  yes   yes  yes  no   yes  401
DELETE /aggregator/:id                 yes  yes   yes  yes  no   yes  401
GET    /nodata                         yes  yes   yes  yes  yes  yes  401
GET    /nodata/:nid                    yes  yes   yes  yes  yes  yes  401
POST   /nodata                         yes  yes   yes  yes  no   yes  401
PUT    /nodata                         yes  yes   yes  yes  no   yes  401
DELETE /nodata/:nid                    yes  yes   yes  yes  no   yes  401
POST   /dashboard/screen               yes  yes   yes  yes  no   yes  401
GET    /dashboard/screen/:id           yes  yes   yes  yes  yes  yes  401
GET    /dashboard/screens/pid/:pid     yes  yes   yes  yes  yes  yes  401
GET    /dashboard/screens              yes  yes   yes  yes  yes  yes  401
GET    /dashboard/screensearch/:name   yes  yes   yes  yes  yes  yes  401
GET    /dashboard/screensall           yes  yes   yes  yes  yes  yes  401
PUT    /dashboard/screen/:id           yes  yes   yes  yes  no   yes  401
DELETE /dashboard/screen/:id           yes  yes   yes  yes  no   yes  401
POST   /dashboard/graph                yes  yes   yes  yes  no   yes  401
PUT    /dashboard/graph/:id            yes  yes   yes  yes  no   yes  401
GET    /dashboard/graph/:id            yes  yes   yes  yes  yes  yes  401
DELETE /dashboard/graph/:id            yes  yes   yes  yes  no   yes  401
GET    /dashboard/graphs/screen/:screen_id yes  yes   yes  yes  yes  yes  401
POST   /dashboard/tmpgraph             yes  yes   yes  yes  no   yes  401
GET    /dashboard/tmpgraph/:id         yes  yes   yes  yes  yes  yes  401
GET    /alarm/eventcases               yes  yes   yes  yes  yes  yes  401
POST   /alarm/eventcases               yes  yes   yes  yes  yes  yes  401
GET    /alarm/events                   yes  yes   yes  yes  yes  yes  401
POST   /alarm/events                   yes  yes   yes  yes  yes  yes  401
GET    /alarm/event_note               yes  yes   yes  yes  yes  yes  401
POST   /alarm/event_note               yes  yes   yes  yes  no   yes  401
GET    /alarm/problems                 yes  yes   yes  yes  yes  yes  401
GET    /alarm/combinations             yes  yes   yes  yes  yes  yes  401
POST   /alarm/ack                      yes  yes   yes  yes  no   no   401
DELETE /alarm/ack/:event_id            yes  yes   yes  yes  no   no   401
GET    /alarm/notices                  yes  yes   yes  yes  yes  yes  401
GET    /alarm/inbox                    yes  yes   yes  yes  no   no   401
POST   /alarm/inbox/read               yes  yes   yes  yes  no   no   401
GET    /alarm/channels                 yes  yes   yes  yes  yes  yes  401
POST   /alarm/channels                 yes  yes   no   no   no   no   401
POST   /alarm/channels/test            yes  yes   no   no   no   no   401
PUT    /alarm/channels/:id             yes  yes   no   no   no   no   401
DELETE /alarm/channels/:id             yes  yes   no   no   no   no   401
POST   /alarm/channels/:id/test        yes  yes   no   no   no   no   401
`

// lenient is what changes when strict_permission is off.
const lenient = `
                                       root admin ann  bob  old  plus nobody
DELETE /graph/endpoint                 yes  yes   yes  yes  no   yes  401
DELETE /graph/counter                  yes  yes   yes  yes  no   yes  401
GET    /template_simple                yes  yes   yes  yes  yes  yes  yes
GET    /action/:act_id                 yes  yes   yes  yes  yes  yes  yes
GET    /tplgrp                         yes  yes   yes  yes  yes  yes  yes
`

func TestPermissions(t *testing.T) {
	checkPermissions(t, permissions, options{}, true)
}

func TestPermissionsThatAreNotStrict(t *testing.T) {
	checkPermissions(t, lenient, options{settings: func(s *Settings) { s.StrictPermission = false }}, false)
}

func checkPermissions(t *testing.T, table string, o options, whole bool) {
	w := newWorld(t, o)
	tokens := map[string]string{"old": "nodata:a token of the daemons", "plus": "plus:a token of its own", "nobody": ""}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	who := strings.Fields(lines[0])
	told := map[string]bool{}
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		method, path := f[0], f[1]
		told[method+" "+prefix+path] = true
		path = strings.NewReplacer(":uid", fmt.Sprint(w.users["ann"].ID), ":user_name", "ann").Replace(path)
		path = regexp.MustCompile(`:\w+`).ReplaceAllString(path, "1234567") // which is nobody's
		for i, name := range who {
			caller := name
			if t, ok := tokens[name]; ok {
				caller = t
			}
			if path == "/user/logout" && w.users[name] != nil { // a session to spare
				sig := must(w.db.CreateSession(t.Context(), w.users[name].ID, w.now(), w.now().Add(time.Hour)))
				caller = name + ":" + sig
			}
			var body any // an empty one reaches the handler, which wants more
			if method != http.MethodGet {
				body = map[string]any{}
			}
			a := w.call(caller, method, path, body)
			got := "yes"
			switch {
			case a.status == http.StatusUnauthorized:
				got = "401"
			case strings.Contains(a.body, "you don't have permission"), strings.HasSuffix(path, "logout") && strings.Contains(a.body, "session not found"):
				got = "no"
			case a.status == http.StatusBadRequest && strings.Contains(a.body, "token key is not set"):
				got = "400"
			case strings.Contains(a.body, "no hbs is configured"): // it got as far as that
			case a.status >= 500:
				got = fmt.Sprintf("%d %s", a.status, a.body)
			}
			if got != f[2+i] {
				t.Errorf("%s %s as %s: got %s, want %s (%d %s)", method, path, name, got, f[2+i], a.status, a.body)
			}
		}
	}
	if !whole {
		return
	}
	s := &server{}
	for _, r := range s.routes() {
		if strings.HasPrefix(r.Path, prefix) && !told[r.key()] {
			t.Errorf("this test says nothing of %s", r.key())
		}
		delete(told, r.key())
	}
	for key := range told {
		t.Errorf("%s is not in the table of routes", key)
	}
}

// Every route that changes something is audited; those that only read are not.
func TestRoutesThatWriteAreAudited(t *testing.T) {
	reads := []string{"POST " + prefix + "/graph/history", "POST " + prefix + "/graph/lastpoint", "POST " + prefix + "/graph/info", "POST " + prefix + "/strategy/check",
		"POST " + prefix + "/strategy/backtest", "POST " + prefix + "/expression/backtest",
		"POST " + prefix + "/alarm/eventcases", "POST " + prefix + "/alarm/events", "POST " + prefix + "/alarm/link", "POST " + prefix + "/grafana/render", "POST " + prefix + "/alarm/disable/preview"}
	for _, r := range (&server{Deps: Deps{Admin: http.NotFoundHandler()}}).routes() {
		if r.Raw != nil {
			continue
		}
		want := r.Method != http.MethodGet && r.Method != http.MethodHead || r.Path == prefix+"/user/logout"
		for _, key := range reads {
			if key == r.key() {
				want = false
			}
		}
		if r.Writes() != want {
			t.Errorf("%s: audited %v, want %v", r.key(), r.Writes(), want)
		}
	}
}

// What is wrong with the table is said, and nothing starts.
func TestTheTableIsChecked(t *testing.T) {
	ok := Route{Method: "GET", Path: prefix + "/x", Who: Login, Handler: (*server).currentUser}
	change := func(f func(*Route)) []Route { r := ok; f(&r); return []Route{r} }
	for _, tc := range []struct {
		table []Route
		err   string
	}{
		{[]Route{ok}, "<nil>"},
		{[]Route{ok, ok}, "route GET /api/v1/x: is registered twice"},
		{change(func(r *Route) { r.Who = unset }), "route GET /api/v1/x: says not who may call it"},
		{change(func(r *Route) { r.Verb = "delete" }), `route GET /api/v1/x: has half an audit line: verb "delete", object ""`},
		{change(func(r *Route) { r.Handler = nil }), "route GET /api/v1/x: needs exactly one of Handler and Raw"},
		{change(func(r *Route) { r.Who = SelfOrAdmin }), "route GET /api/v1/x: has no :uid to compare the caller with"},
		{change(func(r *Route) { r.Path = "/x" }), "route GET /x: is not below /api/v1"},
	} {
		if err := checkTable(tc.table); fmt.Sprint(err) != tc.err {
			t.Errorf("checkTable\n got %v\nwant %s", err, tc.err)
		}
	}
}

// A route that somebody registers beside the table is found.
func TestNothingIsServedBesideTheTable(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	table := []Route{{Method: "GET", Path: "/a"}, {Method: "GET", Path: "/b"}}
	e.GET("/a", func(*gin.Context) {})
	e.POST("/a", func(*gin.Context) {})
	want := "route POST /a is served but not in the table: nobody has said who may call it\nroute GET /b is in the table but not served"
	if err := checkRouter(e, table); fmt.Sprint(err) != want {
		t.Errorf("checkRouter\n got %v\nwant %s", err, want)
	}
}

func TestPathsOutsideOfTheTable(t *testing.T) {
	w := newWorld(t, options{})
	for path, want := range map[string]string{
		"/":             "200 This is the api of Falcon. What it answers is below /api/v1/.\n",
		"/health":       "200 admin page",
		"/debug/pprof/": "200 admin page",
		"/nothing":      "404 404 page not found",
		"/api/nothing":  "404 404 page not found",
	} {
		a := w.get(path)
		if got := fmt.Sprint(a.status, " ", a.body); got != want {
			t.Errorf("GET %s: got %q, want %q", path, got, want)
		}
	}
	page := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "page ", r.URL.Path) })
	w = newWorld(t, options{page: page})
	for path, want := range map[string]string{
		"/": "200 page /", "/login": "200 page /login", "/assets/x.js": "200 page /assets/x.js", "/health": "200 admin page",
		"/api/v1/nothing": "404 404 page not found",
	} {
		a := w.get(path)
		if got := fmt.Sprint(a.status, " ", a.body); got != want {
			t.Errorf("GET %s with a page: got %q, want %q", path, got, want)
		}
	}
}

// get asks for a path as it stands.
func (w *world) get(path string) answer {
	w.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(must(http.NewRequestWithContext(w.t.Context(), "GET", w.url+path, nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := fmt.Fprint(&b, readAll(resp)); err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, b.String(), resp.Header}
}

// Every request moves the deadlines of its connection, whatever it asks for.
func TestDeadlines(t *testing.T) {
	w := newWorld(t, options{page: http.NotFoundHandler()})
	for _, path := range []string{"/", "/health", "/nothing", "/api/v1/user/current", "/api/v1/nothing"} {
		rec := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		w.handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if r, wr := rec.read.Sub(before), rec.write.Sub(before); r < 10*time.Second || r > time.Minute || wr < 30*time.Second || wr > time.Minute {
			t.Errorf("GET %s: may read for %v and write for %v, want 10 s and 30 s", path, r, wr)
		}
	}
}

type deadlines struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

func TestTransport(t *testing.T) {
	w := newWorld(t, options{})
	a := w.call("", http.MethodOptions, "/graph/history", nil, "Origin", "http://grafana:3000")
	if a.status != 200 || a.body != "" || a.header.Get("Access-Control-Allow-Origin") != "http://grafana:3000" || a.header.Get("Access-Control-Allow-Credentials") != "true" ||
		a.header.Get("Access-Control-Max-Age") != "86400" || a.header.Get("Access-Control-Allow-Headers") != "Content-Type, Content-Length, Apitoken" {
		t.Errorf("OPTIONS: %+v", a)
	}
	// A slash at the end changes nothing.
	w.want("ann", "GET", "/user/name/ann/", nil, 200, w.call("ann", "GET", "/user/name/ann", nil).body)
	// Large bodies are refused in words.
	w.want("ann", "POST", "/graph/lastpoint", `[{"endpoint":"`+strings.Repeat("x", 5000)+`"}]`, 413, `{"error":"the request body is larger than 4096 bytes"}`)
	w.want("ann", "POST", "/graph/lastpoint", `[]x`, 400, `{"error":"invalid character 'x' looking for beginning of value"}`)
	w.want("ann", "POST", "/graph/lastpoint", ``, 400, `{"error":"the request has no body"}`)
}
