package v1

import (
	"fmt"
	"strings"
	"testing"

	"falcon/common/portal"
)

func newUser(name string) map[string]string {
	return map[string]string{"name": name, "password": "secret", "cnname": "N", "email": "n@example.com", "phone": "1"}
}

func TestCreateUser(t *testing.T) {
	w := newWorld(t, options{})
	// Closed by default; the name alone proves nothing.
	w.want("", "POST", "/user/create", newUser("eve"), 401, `{"error":"token key is not set"}`)
	w.want("root:guess", "POST", "/user/create", newUser("eve"), 401, `{"error":"session not found"}`)
	w.want("ann", "POST", "/user/create", newUser("eve"), 400, `{"error":"you don't have permission"}`)

	a := w.call("admin", "POST", "/user/create", newUser("eve"))
	got := decode[map[string]string](t, a)
	if a.status != 200 || len(got) != 2 || got["name"] != "eve" || len(got["sig"]) != 32 {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	a = w.call("eve:"+got["sig"], "GET", "/user/current", nil)
	if !strings.HasSuffix(a.body, `"name":"eve","cnname":"N","email":"n@example.com","phone":"1","im":"","qq":"","role":0}`) {
		t.Errorf("the new user: %d %s", a.status, a.body)
	}
	u, err := w.db.UserByName(t.Context(), "eve")
	if err != nil || u.Creator != w.users["admin"].ID || !strings.HasPrefix(u.Passwd, "a2$") {
		t.Errorf("row %+v, err %v", u, err)
	}
	w.want("admin", "POST", "/user/create", newUser("EVE"), 400, `{"error":"name is already existing"}`)
	for field, want := range map[string]string{
		"name=": "name is required", "password=": "password is required", "cnname=": "cnname is required", "email=": "email is required",
		"cnname=<b>":                            `cnname must not contain \u003c \u003e \u0026 ' \"`,
		"name=a:b":                              `name \"a:b\" must not contain blanks or colons`,
		"name=a b":                              `name \"a b\" must not contain blanks or colons`,
		"name=Nodata":                           `name \"Nodata\" belongs to a daemon`,
		"name=plus":                             `name \"plus\" belongs to a daemon`,
		"phone=" + strings.Repeat("1", 17):      "phone is longer than 16 characters",
		"password=" + strings.Repeat("1", 1025): "a password has 1 to 1024 bytes",
	} {
		in := newUser("x")
		key, value, _ := strings.Cut(field, "=")
		in[key] = value
		w.want("admin", "POST", "/user/create", in, 400, `{"error":"`+want+`"}`)
	}
}

func TestOpenSignUp(t *testing.T) {
	open := func(s *Settings) { s.SignupDisable = false }
	w := newWorld(t, options{settings: open})
	if a := w.call("", "POST", "/user/create", newUser("eve")); a.status != 200 {
		t.Errorf("sign-up: %d %s", a.status, a.body)
	}
	w.want("", "POST", "/user/create", newUser("Root"), 400, `{"error":"the user root is made by an admin, or by falcon passwd root"}`)

	// On a database without users the first root is root.
	w = newWorld(t, options{settings: open, noUsers: true})
	if a := w.call("", "POST", "/user/create", newUser("root")); a.status != 200 {
		t.Errorf("sign-up: %d %s", a.status, a.body)
	}
	if u, err := w.db.UserByName(t.Context(), "root"); err != nil || u.Role != portal.RoleRoot {
		t.Errorf("root is %+v, %v", u, err)
	}
}

func TestUsersByIDAndName(t *testing.T) {
	w := newWorld(t, options{})
	ann := fmt.Sprintf(`{"id":%d,"name":"ann","cnname":"ann","email":"ann@example.com","phone":"","im":"","qq":"","role":0}`, w.users["ann"].ID)
	w.want("ann", "GET", "/user/current", nil, 200, ann)
	w.want("bob", "GET", fmt.Sprint("/user/u/", w.users["ann"].ID), nil, 200, ann)
	w.want("bob", "GET", "/user/name/ann", nil, 200, ann)
	w.want("bob", "GET", "/user/name/zz", nil, 417, `{"error":"record not found"}`)
	w.want("bob", "GET", "/user/u/999", nil, 404, `{"error":"record not found"}`)
	w.want("bob", "GET", "/user/u/0", nil, 400, `{"error":"uid \"0\" is not the id of a user"}`)
	w.want("bob", "GET", "/user/u/x", nil, 400, `{"error":"uid \"x\" is not the id of a user"}`)
	w.want("nodata:a token of the daemons", "GET", "/user/current", nil, 417, `{"error":"record not found"}`)
	for query, want := range map[string]string{
		"":                "root admin ann bob",
		"?q=^a":           "admin ann",
		"?q=.%2B":         "root admin ann bob",
		"?page=2&limit=3": "bob",
		"?limit=1":        "root admin ann bob",
		"?page=1":         "page without limit",
		"?page=0&limit=1": `page "0" is not a number above 0`,
		"?page=1&limit=x": `limit "x" is not a number above 0`,
		"?q=a(":           "regular expression \"a(\": error parsing regexp: missing closing ): `a(`",
	} {
		a := w.call("ann", "GET", "/user/users"+query, nil)
		got := ""
		if a.status == 200 {
			var names []string
			for _, u := range decode[[]portal.User](t, a) {
				names = append(names, u.Name)
			}
			got = strings.Join(names, " ")
		} else {
			got = decode[map[string]string](t, a)["error"]
		}
		if got != want {
			t.Errorf("users%s: got %q, want %q", query, got, want)
		}
	}
}

func TestUpdateUser(t *testing.T) {
	w := newWorld(t, options{})
	p := map[string]string{"cnname": "Ann", "email": "a@x", "phone": "12"}
	w.want("ann", "PUT", "/user/update", p, 200, `{"message":"user info updated"}`)
	u, _ := w.db.UserByName(t.Context(), "ann")
	if u.CNName != "Ann" || u.Phone != "12" || u.IM != "" {
		t.Errorf("row %+v", u)
	}
	w.want("ann", "PUT", "/user/update", map[string]string{"cnname": "Ann"}, 400, `{"error":"email is required"}`)

	of := func(name string) string { return fmt.Sprint("/user/u/", w.users[name].ID) }
	w.want("ann", "PUT", of("ann"), p, 200, `{"message":"user info updated"}`)
	w.want("bob", "PUT", of("ann"), p, 400, `{"error":"you don't have permission"}`)
	w.want("admin", "PUT", of("ann"), p, 200, `{"message":"user info updated"}`)
	w.want("admin", "PUT", of("root"), p, 400, `{"error":"you don't have permission"}`)
	w.want("root", "PUT", of("admin"), p, 200, `{"message":"user info updated"}`)
}

func TestChangeOwnPassword(t *testing.T) {
	w := newWorld(t, options{})
	other := must(w.db.CreateSession(t.Context(), w.users["ann"].ID, w.now(), w.now().Add(1e12)))
	change := func(from, to string) map[string]string {
		return map[string]string{"old_password": from, "new_password": to}
	}
	w.want("ann", "PUT", "/user/cgpasswd", change("wrong", "new"), 400, `{"error":"password error"}`)
	w.want("ann", "PUT", "/user/cgpasswd", change("ann-pw", ""), 400, `{"error":"new_password is required"}`)
	w.want("ann", "PUT", "/user/cgpasswd", change("ann-pw", "new"), 200, `{"message":"password updated"}`)
	w.want("ann", "GET", "/user/auth_session", nil, 200, `{"message":"session is valid!"}`)
	w.want("ann:"+other, "GET", "/user/auth_session", nil, 401, `{"error":"session not found"}`)
	w.want("", "POST", "/user/login", login("ann", "ann-pw"), 400, `{"error":"password error"}`)
	if a := w.call("", "POST", "/user/login", login("ann", "new")); a.status != 200 {
		t.Errorf("login with the new one: %d %s", a.status, a.body)
	}
}

func TestAdmin(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		w := newWorld(t, options{db: db})
		on := func(name string, more ...string) map[string]any {
			m := map[string]any{"user_id": w.users[name].ID}
			for i := 0; i+1 < len(more); i += 2 {
				m[more[i]] = more[i+1]
			}
			return m
		}
		nobody := map[string]any{"user_id": 999, "admin": "yes", "password": "x", "cnname": "x", "email": "x"}
		const denied, none = `{"error":"you don't have permission"}`, `{"error":"record not found"}`

		const role = "/admin/change_user_role"
		w.want("admin", "PUT", role, on("ann", "admin", "yes"), 200, `{"message":"user role updated"}`)
		w.want("admin", "PUT", role, on("bob", "admin", "perhaps"), 200, `{"message":"user role updated"}`)
		w.want("admin", "PUT", role, on("ann"), 400, `{"error":"admin is required"}`)
		w.want("admin", "PUT", role, on("root", "admin", "no"), 400, denied)
		w.want("root", "PUT", role, on("root", "admin", "no"), 400, `{"error":"root stays root: this route knows admins and others only"}`)
		w.want("admin", "PUT", role, nobody, 400, none)
		w.want("admin", "PUT", role, map[string]any{"admin": "yes"}, 400, `{"error":"user_id is required"}`)
		for name, want := range map[string]int{"ann": 1, "bob": 0, "root": 2} {
			if u := must(db.UserByName(t.Context(), name)); u.Role != want {
				t.Errorf("role of %s is %d, want %d", name, u.Role, want)
			}
		}
		if all := must(db.Users(t.Context(), nil, 0, 0)); len(all) != 4 {
			t.Errorf("%d users, want 4: an unknown id must not make one", len(all))
		}

		w.want("admin", "PUT", "/admin/change_user_passwd", on("bob", "password", "new"), 200, `{"message":"password updated"}`)
		w.want("bob", "GET", "/user/auth_session", nil, 401, `{"error":"session not found"}`)
		if a := w.call("", "POST", "/user/login", login("bob", "new")); a.status != 200 {
			t.Errorf("login: %d %s", a.status, a.body)
		}
		w.want("admin", "PUT", "/admin/change_user_passwd", on("root", "password", "new"), 400, denied)
		w.want("admin", "PUT", "/admin/change_user_passwd", nobody, 400, none)

		w.want("admin", "PUT", "/admin/change_user_profile", on("bob", "cnname", "Bob", "email", "b@x"), 200, `{"message":"user info updated"}`)
		w.want("admin", "PUT", "/admin/change_user_profile", on("root", "cnname", "R", "email", "r@x"), 400, denied)
		w.want("admin", "PUT", "/admin/change_user_profile", nobody, 400, none)

		w.want("admin", "DELETE", "/admin/delete_user", on("root"), 400, denied)
		w.want("admin", "DELETE", "/admin/delete_user", on("admin"), 400, `{"error":"nobody deletes himself: let another admin do it"}`)
		w.want("admin", "DELETE", "/admin/delete_user", nobody, 417, none)
		w.want("admin", "DELETE", "/admin/delete_user", on("bob"), 200, `{"message":"user deleted"}`)
		w.want("admin", "DELETE", "/admin/delete_user", on("bob"), 417, none)

		// Each change has its line, and no line a password or a signature.
		var lines []string
		for _, l := range must(db.OperLogs(t.Context(), 100)) {
			line := fmt.Sprint(l.User, " ", l.Source, " ", l.Op, " ", l.Object, " ", l.ObjectID)
			if l.After != nil {
				line += " " + *l.After
				if strings.Contains(*l.After, "new") || strings.Contains(*l.After, "a2$") {
					t.Errorf("the audit log tells a secret: %s", line)
				}
			}
			if l.RemoteIP != "127.0.0.1" {
				t.Errorf("remote ip %q", l.RemoteIP)
			}
			lines = append([]string{line}, lines...)
		}
		id := func(name string) string { return fmt.Sprint(w.users[name].ID) }
		want := []string{
			"admin api role user " + id("ann") + ` {"role":1}`,
			"admin api role user " + id("bob") + ` {"role":0}`,
			"admin api password user " + id("bob"),
			"bob api login session bob",
			"admin api update user " + id("bob") + ` {"CNName":"Bob","Email":"b@x","Phone":"","IM":"","QQ":""}`,
			"admin api delete user " + id("bob") + ` {"id":` + id("bob") + `,"name":"bob","cnname":"Bob","email":"b@x","phone":"","im":"","qq":"","role":0}`,
		}
		if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("audit log\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}

func TestTeams(t *testing.T) {
	w := newWorld(t, options{})
	sqlExec(t, w.db.UIC, "INSERT INTO team (id, name, resume, creator) VALUES (5, 'ops', 'we', 1)")
	sqlExec(t, w.db.UIC, "INSERT INTO rel_team_user (tid, uid) VALUES (5, ?)", w.users["ann"].ID)
	of := func(name string) string { return fmt.Sprint("/user/u/", w.users[name].ID) }
	w.want("bob", "GET", of("ann")+"/in_teams?team_names=dev,ops", nil, 200, `{"message":"true"}`)
	w.want("bob", "GET", of("bob")+"/in_teams?team_names=dev,ops", nil, 200, `{"message":"false"}`)
	w.want("bob", "GET", of("bob")+"/in_teams", nil, 400, `{"error":"team_names is required"}`)
	w.want("bob", "GET", of("ann")+"/teams", nil, 200, `{"teams":[{"id":5,"name":"ops","resume":"we","creator":1}]}`)
	w.want("bob", "GET", of("bob")+"/teams", nil, 200, `{"teams":[]}`)
}

// When the database is away nobody is told why, but somebody can read it.
func TestTheDatabaseIsAway(t *testing.T) {
	w := newWorld(t, options{})
	w.db.Close()
	w.want("ann", "GET", "/user/current", nil, 400, `{"error":"the database can not answer, see the log of api"}`)
	if !strings.Contains(w.log.String(), "request not answered") {
		t.Errorf("the log says %q", w.log)
	}
}
