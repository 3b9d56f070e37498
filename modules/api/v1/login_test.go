package v1

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"falcon/common/auth"
	"falcon/common/model"
	"falcon/common/portal"
)

func login(name, password string) map[string]string {
	return map[string]string{"name": name, "password": password}
}

// decode reads a JSON answer.
func decode[T any](t testing.TB, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %d %s", err, a.status, a.body)
	}
	return v
}

func TestLogin(t *testing.T) {
	w := newWorld(t, options{})
	a := w.call("", "POST", "/user/login", login("Ann", "ann-pw"))
	if a.status != 200 || !regexp.MustCompile(`^\{"sig":"[0-9a-f]{32}","name":"ann","admin":false\}$`).MatchString(a.body) {
		t.Fatalf("login: %d %s", a.status, a.body)
	}
	sig := decode[sessionAnswer](t, a).Sig
	if a.header.Get("Set-Cookie") != "" {
		t.Errorf("a script got the cookie %q", a.header.Get("Set-Cookie"))
	}
	// A second login is a session of its own; ending one leaves the other.
	second := decode[sessionAnswer](t, w.call("", "POST", "/user/login?name=ann&password=ann-pw", nil)).Sig
	if second == sig || second == "" {
		t.Errorf("the second login got %q after %q", second, sig)
	}
	w.want("ann:"+sig, "GET", "/user/auth_session", nil, 200, `{"message":"session is valid!"}`)
	w.want("ann:"+sig, "GET", "/user/logout", nil, 200, `{"message":"logout successful"}`)
	w.want("ann:"+sig, "GET", "/user/logout", nil, 400, `{"error":"session not found"}`)
	w.want("ann:"+sig, "GET", "/user/current", nil, 401, `{"error":"session not found"}`)
	w.want("ann:"+second, "GET", "/user/auth_session", nil, 200, `{"message":"session is valid!"}`)

	for _, tc := range []struct {
		body any
		want string
	}{
		{login("ann", "bob-pw"), "password error"},
		{login("nobody", "x"), "no such user"},
		{login("ann", ""), "name or password is blank"},
		{login("", "x"), "name or password is blank"},
	} {
		w.want("", "POST", "/user/login", tc.body, 400, `{"error":"`+tc.want+`"}`)
	}
	if admin := decode[sessionAnswer](t, w.call("", "POST", "/user/login", login("admin", "admin-pw"))); !admin.Admin {
		t.Errorf("admin is no admin: %+v", admin)
	}
}

func TestTokenTexts(t *testing.T) {
	w := newWorld(t, options{})
	for header, want := range map[string]string{
		"":                              "token key is not set",
		`{"name":"","sig":"x"}`:         "token key:name is empty",
		`{"NAME":"ann","SIG":""}`:       "token key:sig is empty",
		`{"name":"zz","sig":"x"}`:       "not found this user",
		`{"name":"ann","sig":"x"}`:      "session not found",
		`ann`:                           "invalid character 'a' looking for beginning of value",
		w.token("ann:" + w.sigs["bob"]): "session not found", // somebody else's
		w.token("ANN:" + w.sigs["ann"]): "",
		w.token("nodata:" + defaults().DefaultToken): "",
		w.token("root:" + defaults().DefaultToken):   "session not found", // real names are for people
		w.token("nodata:" + "wrong"):                 "not found this user",
	} {
		a := w.call("", "GET", "/user/auth_session", nil, "Apitoken", header)
		if want == "" && a.status == 200 {
			continue
		}
		if want2 := `{"error":"` + want + `"}`; a.status != 401 || a.body != want2 {
			t.Errorf("Apitoken %q\n got %d %s\nwant 401 %s", header, a.status, a.body, want2)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	w := newWorld(t, options{})
	w.want("ann", "GET", "/user/auth_session", nil, 200, `{"message":"session is valid!"}`)
	w.pass(time.Hour)
	w.want("ann", "GET", "/user/auth_session", nil, 401, `{"error":"session not found"}`)
}

// A session that was read is believed for two seconds, but for what this api has
// changed itself.
func TestSessionsAreRememberedForAMoment(t *testing.T) {
	w := newWorld(t, options{})
	ann := w.users["ann"].ID
	valid := func(who string, want int) {
		t.Helper()
		if a := w.call(who, "GET", "/user/auth_session", nil); a.status != want {
			t.Errorf("%s: got %d %s, want %d", who, a.status, a.body, want)
		}
	}
	valid("ann", 200)
	if err := w.db.DeleteSession(t.Context(), ann, w.sigs["ann"]); err != nil { // elsewhere
		t.Fatal(err)
	}
	w.pass(1999 * time.Millisecond)
	valid("ann", 200)
	w.pass(time.Millisecond)
	valid("ann", 401)

	valid("bob", 200)
	w.want("admin", "DELETE", "/admin/delete_user", map[string]any{"user_id": w.users["bob"].ID}, 200, `{"message":"user deleted"}`)
	valid("bob", 401)

	// What was read before a change is not remembered after it.
	c := callerCache{life: time.Second, now: w.now}
	_, gen, _ := c.get("x", "y")
	c.forget()
	c.put("x", "y", Caller{Name: "x"}, gen)
	if _, _, ok := c.get("x", "y"); ok {
		t.Error("a read from before the change is believed")
	}
	for i := range 2 * maxCallers {
		_, gen, _ := c.get("", "")
		c.put(fmt.Sprint(i), "", Caller{}, gen)
	}
	if len(c.m) > maxCallers {
		t.Errorf("%d callers are kept", len(c.m))
	}
}

func TestBlockedUsers(t *testing.T) {
	w := newWorld(t, options{})
	if err := w.db.SetUserRole(t.Context(), w.users["ann"].ID, portal.RoleBlocked); err != nil {
		t.Fatal(err)
	}
	w.want("", "POST", "/user/login", login("ann", "ann-pw"), 400, `{"error":"this user is blocked"}`)
	w.want("ann", "GET", "/user/current", nil, 401, `{"error":"this user is blocked"}`)
}

// Stock's hashes log in, and are replaced where no stock daemon needs them.
func TestStocksHashesAreRenewedAtLogin(t *testing.T) {
	for _, tc := range []struct {
		kind string // of the configuration
		want string // beginning of the hash afterwards
	}{
		{auth.Argon2id, "a2$"},
		{auth.MD5, model.Checksum("old")},
		{"", model.Checksum("old")}, // the database says that stock is here
	} {
		t.Run("password_hash "+tc.kind, func(t *testing.T) {
			w := newWorld(t, options{settings: func(s *Settings) { s.PasswordHash = tc.kind }})
			if err := w.db.SetUserPassword(t.Context(), w.users["ann"].ID, model.Checksum("old")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if a := w.call("", "POST", "/user/login", login("ann", "old")); a.status != 200 {
					t.Errorf("login: %d %s", a.status, a.body)
				}
			}
			u, err := w.db.UserByName(t.Context(), "ann")
			if err != nil || !strings.HasPrefix(u.Passwd, tc.want) {
				t.Errorf("hash %q, err %v, want %s…", u.Passwd, err, tc.want)
			}
			w.want("", "POST", "/user/login", login("ann", "wrong"), 400, `{"error":"password error"}`)
		})
	}
}

// A browser gets a cookie that scripts can not read, and shows with each change a
// token that only our page was told.
func TestTheBrowsersSession(t *testing.T) {
	w := newWorld(t, options{})
	a := w.call("", "POST", "/user/login", login("admin", "admin-pw"), "X-Requested-With", "falcon")
	got := decode[map[string]any](t, a)
	csrf, _ := got["csrf"].(string)
	if a.status != 200 || len(got) != 3 || got["name"] != "admin" || got["admin"] != true || len(csrf) != 32 {
		t.Fatalf("login: %d %s", a.status, a.body)
	}
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"falcon_session=", "; Path=/", "; Max-Age=3600", "; HttpOnly", "; SameSite=Strict"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("cookie %q lacks %q", cookie, part)
		}
	}
	cookie, _, _ = strings.Cut(cookie, ";")
	if strings.Contains(a.body, cookie[len(cookie)-32:]) {
		t.Error("the page's script was told the signature")
	}
	host := strings.TrimPrefix(w.url, "http://")
	body := map[string]any{"user_id": w.users["bob"].ID, "admin": "yes"}
	const role = "/admin/change_user_role"
	for _, tc := range []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"reading", "GET", "/user/current", nil, 200},
		{"reading from our page", "GET", "/user/current", []string{"Origin", "http://" + host, "Sec-Fetch-Site", "same-origin"}, 200},
		{"reading from another port", "GET", "/user/current", []string{"Origin", "http://" + host + "1"}, 401},
		{"reading from another site", "GET", "/user/current", []string{"Sec-Fetch-Site", "cross-site"}, 401},
		{"reading from a sibling", "GET", "/user/current", []string{"Sec-Fetch-Site", "same-site"}, 401},
		{"writing without the token", "PUT", role, nil, 403},
		{"writing with a wrong one", "PUT", role, []string{"X-Falcon-CSRF", csrf[1:] + "0"}, 403},
		{"writing with it", "PUT", role, []string{"X-Falcon-CSRF", csrf}, 200},
		{"logging out without it", "GET", "/user/logout", nil, 403},
	} {
		var b any
		if tc.method == "PUT" {
			b = body
		}
		if a := w.call("", tc.method, tc.path, b, append(tc.headers, "Cookie", cookie)...); a.status != tc.status {
			t.Errorf("%s: got %d %s, want %d", tc.name, a.status, a.body, tc.status)
		}
	}
	// After a reload the page asks for its token.
	a = w.call("", "GET", "/user/auth_session", nil, "Cookie", cookie)
	if a.header.Get("X-Falcon-CSRF") != csrf {
		t.Errorf("auth_session tells %q, want %q", a.header.Get("X-Falcon-CSRF"), csrf)
	}
	if a := w.call("ann", "GET", "/user/auth_session", nil); a.header.Get("X-Falcon-CSRF") != "" {
		t.Error("a script with an Apitoken got a CSRF token")
	}
	a = w.call("", "GET", "/user/logout", nil, "Cookie", cookie, "X-Falcon-CSRF", csrf)
	if a.status != 200 || !strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logout: %d %s, cookie %q", a.status, a.body, a.header.Get("Set-Cookie"))
	}
	if a := w.call("", "GET", "/user/current", nil, "Cookie", cookie); a.status != 401 {
		t.Errorf("after logout: %d %s", a.status, a.body)
	}
	for _, junk := range []string{"falcon_session=", "falcon_session=x", "falcon_session=.", "falcon_session=*.x", "falcon_session=YWRtaW4.", "other=1"} {
		w.want("", "GET", "/user/current", nil, 401, `{"error":"token key is not set"}`, "Cookie", junk)
	}
}

func TestLoginsAreThrottled(t *testing.T) {
	w := newWorld(t, options{settings: func(s *Settings) { s.TrustedProxies = []string{"127.0.0.1"} }})
	from := func(ip string) []string { return []string{"X-Forwarded-For", ip} }
	// One name from many addresses.
	for i := range nameBurst {
		w.want("", "POST", "/user/login", login("ann", "wrong"), 400, `{"error":"password error"}`, from(fmt.Sprintf("10.0.0.%d", i))...)
	}
	a := w.want("", "POST", "/user/login", login("ANN", "ann-pw"), 429, `{"error":"too many logins failed, try again in 6 s"}`, from("10.0.1.1")...)
	if a.header.Get("Retry-After") != "6" {
		t.Errorf("Retry-After %q, want 6", a.header.Get("Retry-After"))
	}
	// Nobody else is held up, and time heals.
	for range 2 * nameBurst { // successes cost nothing
		if a := w.call("", "POST", "/user/login", login("bob", "bob-pw"), from("10.0.1.1")...); a.status != 200 {
			t.Fatalf("bob: %d %s", a.status, a.body)
		}
	}
	w.pass(nameEvery)
	if a := w.call("", "POST", "/user/login", login("ann", "ann-pw"), from("10.0.1.1")...); a.status != 200 {
		t.Errorf("ann after %v: %d %s", nameEvery, a.status, a.body)
	}

	// Many names from one network.
	for i := range addrBurst {
		ip := fmt.Sprintf("2001:db8:1:2::%x", i+1)
		w.want("", "POST", "/user/login", login(fmt.Sprint("nobody", i), "x"), 400, `{"error":"no such user"}`, from(ip)...)
	}
	w.want("", "POST", "/user/login", login("bob", "bob-pw"), 429, `{"error":"too many logins failed, try again in 2 s"}`, from("2001:db8:1:2:3::1")...)
	if a := w.call("", "POST", "/user/login", login("bob", "bob-pw"), from("2001:db8:1:3::1")...); a.status != 200 {
		t.Errorf("from the next network: %d %s", a.status, a.body)
	}

	// Without a trusted proxy nobody chooses his own address.
	w = newWorld(t, options{})
	for i := range addrBurst {
		w.call("", "POST", "/user/login", login(fmt.Sprint("nobody", i), "x"), from(fmt.Sprintf("10.0.0.%d", i))...)
	}
	if a := w.call("", "POST", "/user/login", login("bob", "bob-pw"), from("10.9.9.9")...); a.status != http.StatusTooManyRequests {
		t.Errorf("with a made up address: %d %s", a.status, a.body)
	}
}

func TestThrottleIsBounded(t *testing.T) {
	now := time.Unix(t0, 0)
	th := newThrottle(func() time.Time { return now })
	for i := range throttleKeys + throttleKeys/2 {
		th.wait(fmt.Sprint("name", i), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if n, a := len(th.names.until), len(th.addrs.until); n > throttleKeys || a > throttleKeys {
		t.Errorf("%d names and %d addresses are kept, want %d at most", n, a, throttleKeys)
	}
	now = now.Add(time.Hour)
	th.wait("x", "y")
	th.names.room(now) // not full: nothing to do
	for i := range throttleKeys {
		th.wait(fmt.Sprint("other", i), "z")
	}
	if th.wait("fresh", "a") != 0 {
		t.Error("a fresh name has to wait")
	}
}

func TestLoginAs(t *testing.T) {
	w := newWorld(t, options{})
	a := w.call("admin", "POST", "/admin/login", map[string]string{"name": "ann"})
	if got := decode[sessionAnswer](t, a); a.status != 200 || got.Name != "ann" || len(got.Sig) != 32 || got.Admin {
		t.Errorf("admin/login: %d %s", a.status, a.body)
	}
	w.want("admin", "POST", "/admin/login", map[string]string{"name": "nobody"}, 400, `{"error":"no such user"}`)
	w.want("admin", "POST", "/admin/login", map[string]string{"name": "root"}, 400, `{"error":"you don't have permission"}`)
	w.want("admin", "POST", "/admin/login", map[string]string{"name": "admin"}, 400, `{"error":"you don't have permission"}`)
	w.want("admin", "POST", "/admin/login", map[string]string{}, 400, `{"error":"name is required"}`)
	if a := w.call("root", "POST", "/admin/login", "name=admin", "Content-Type", "application/x-www-form-urlencoded"); a.status != 200 {
		t.Errorf("as a form: %d %s", a.status, a.body)
	}
}

// Skip_auth believes the name and asks for no proof.
func TestSkipAuth(t *testing.T) {
	w := newWorld(t, options{settings: func(s *Settings) { s.SkipAuth = true }})
	if a := w.call("", "GET", "/user/users", nil); a.status != 200 {
		t.Errorf("nobody: %d %s", a.status, a.body)
	}
	if a := w.call("ann:whatever", "GET", "/user/current", nil); a.status != 200 || !strings.Contains(a.body, `"name":"ann"`) {
		t.Errorf("ann without proof: %d %s", a.status, a.body)
	}
	w.want("", "GET", "/user/current", nil, 417, `{"error":"record not found"}`)
	w.want("", "PUT", "/admin/change_user_role", map[string]any{}, 400, `{"error":"you don't have permission"}`)
}

// Without access control whoever is logged in is an admin.
func TestNoAccessControl(t *testing.T) {
	w := newWorld(t, options{settings: func(s *Settings) { s.AccessControl = false }})
	w.want("ann", "PUT", "/admin/change_user_role", map[string]any{"user_id": w.users["bob"].ID, "admin": "yes"}, 200, `{"message":"user role updated"}`)
	w.want("nodata:a token of the daemons", "PUT", "/admin/change_user_role", map[string]any{"user_id": 1, "admin": "yes"}, 400, `{"error":"you don't have permission"}`)
}

// Whatever a cookie holds, it names nobody without a session.
func FuzzReadCookie(f *testing.F) {
	for _, s := range []string{"", ".", "a.b", "YW5u.0123", "=.=", "\x00", strings.Repeat("A", 5000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r, err := http.NewRequest("GET", "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookieName+"="+value)
		if name, sig, ok := readCookie(r); ok && (name == "" || sig == "") {
			t.Errorf("readCookie(%q) = %q, %q", value, name, sig)
		}
	})
}
