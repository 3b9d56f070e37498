package portal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestUsers(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		root := must[int64](t)(db.CreateUser(ctx, User{Name: "root", Passwd: "h1", CNName: "Root", Email: "root@example.com", Role: RoleRoot}))
		ops := must[int64](t)(db.CreateUser(ctx, User{Name: "ops1", Passwd: "h2", CNName: "运维", Email: "ops1@example.com", Phone: "138", IM: "im", QQ: "1", Creator: root}))

		got := must[*User](t)(db.UserByName(ctx, "OPS1"))
		if got.ID != ops || got.Name != "ops1" || got.Passwd != "h2" || got.Creator != root || got.Role != RoleNormal || got.Created.IsZero() {
			t.Errorf(`UserByName("OPS1") = %+v, want ops1 as it was made`, got)
		}
		body := must[[]byte](t)(json.Marshal(got))
		want := fmt.Sprintf(`{"id":%d,"name":"ops1","cnname":"运维","email":"ops1@example.com","phone":"138","im":"im","qq":"1","role":0}`, ops)
		if string(body) != want {
			t.Errorf("user as JSON\n got %s\nwant %s", body, want)
		}

		if err := db.SetUserPassword(ctx, root, "900150983cd24fb0d6963f7d28e17f72"); err != nil {
			t.Fatal(err)
		}
		if all, stock, err := db.UserCounts(ctx); all != 2 || stock != 1 || err != nil {
			t.Errorf("UserCounts = %d, %d, %v, want 2, 1", all, stock, err)
		}
		for _, name := range []string{"root", "ROOT"} {
			if _, err := db.CreateUser(ctx, User{Name: name}); !errors.Is(err, ErrExists) {
				t.Errorf("CreateUser(%q) again: got %v, want ErrExists", name, err)
			}
		}
		if _, err := db.UserByID(ctx, 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("UserByID(0): got %v, want ErrNotFound", err)
		}
		if _, err := db.UserByName(ctx, "nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("UserByName(nobody): got %v, want ErrNotFound", err)
		}

		if err := db.UpdateUser(ctx, ops, Profile{CNName: "Ops", Email: "o@x"}); err != nil {
			t.Fatal(err)
		}
		if err := db.UpdateUser(ctx, ops, Profile{CNName: "Ops", Email: "o@x"}); err != nil {
			t.Errorf("an update that changes nothing: %v", err)
		}
		if err := db.SetUserRole(ctx, ops, RoleAdmin); err != nil {
			t.Fatal(err)
		}
		if err := db.SetUserPassword(ctx, ops, "h3"); err != nil {
			t.Fatal(err)
		}
		got = must[*User](t)(db.UserByID(ctx, ops))
		if got.CNName != "Ops" || got.Phone != "" || !got.Admin() || got.Passwd != "h3" {
			t.Errorf("after the updates: %+v", got)
		}
		for what, err := range map[string]error{
			"UpdateUser":      db.UpdateUser(ctx, 999, Profile{}),
			"SetUserRole":     db.SetUserRole(ctx, 999, 1),
			"SetUserPassword": db.SetUserPassword(ctx, 999, "x"),
			"DeleteUser":      db.DeleteUser(ctx, 999),
		} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%s(999): got %v, want ErrNotFound", what, err)
			}
		}
	})
}

func TestUsersPages(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		for _, name := range []string{"root", "ops1", "ops2", "Ops3", "dev"} {
			must[int64](t)(db.CreateUser(t.Context(), User{Name: name}))
		}
		for _, tc := range []struct {
			q             string
			limit, offset int
			want          string
		}{
			{"", 0, 0, "root ops1 ops2 Ops3 dev"},
			{".+", 2, 2, "ops2 Ops3"},
			{"^ops", 0, 0, "ops1 ops2 Ops3"},
			{"ops[12] 1", 0, 0, "ops1"},
			{"nobody", 10, 0, ""},
			{"", 2, 100, ""},
		} {
			match := must[[]Pattern](t)(ParsePatterns(tc.q, false))
			var names []string
			for _, u := range must[[]User](t)(db.Users(t.Context(), match, tc.limit, tc.offset)) {
				names = append(names, u.Name)
			}
			if got := strings.Join(names, " "); got != tc.want {
				t.Errorf("Users(%q, %d, %d) = %q, want %q", tc.q, tc.limit, tc.offset, got, tc.want)
			}
		}
	})
}

func TestUserFieldsThatDoNotFit(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		for _, tc := range []struct {
			u   User
			err string
		}{
			{User{}, "name is empty"},
			{User{Name: strings.Repeat("n", 65)}, "name is longer than 64 characters"},
			{User{Name: "a", Phone: strings.Repeat("1", 17)}, "phone is longer than 16 characters"},
			{User{Name: "b", CNName: "😀"}, `cnname holds '😀', which the column's character set lacks`},
			{User{Name: "c", IM: "\xff"}, "im is not UTF-8"},
			{User{Name: "d", CNName: strings.Repeat("運", 128), IM: "�"}, "<nil>"},
		} {
			_, err := db.CreateUser(t.Context(), tc.u)
			if fmt.Sprint(err) != tc.err {
				t.Errorf("CreateUser(%+v)\n got %v\nwant %s", tc.u, err, tc.err)
			}
		}
	})
}

func TestSessions(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx, now := t.Context(), time.Unix(1_795_000_000, 0)
		uid := must[int64](t)(db.CreateUser(ctx, User{Name: "u"}))
		a := must[string](t)(db.CreateSession(ctx, uid, now, now.Add(time.Hour)))
		b := must[string](t)(db.CreateSession(ctx, uid, now, now.Add(2*time.Hour)))
		if len(a) != 32 || a == b {
			t.Fatalf("signatures %q and %q, want two of 32 digits", a, b)
		}
		for _, tc := range []struct {
			name string
			uid  int64
			sig  string
			at   time.Time
			err  error
		}{
			{"the first", uid, a, now, nil},
			{"the second at the same time", uid, b, now, nil},
			{"of another user", uid + 1, a, now, ErrNotFound},
			{"in capitals", uid, strings.ToUpper(a), now, ErrNotFound},
			{"just before it ends", uid, a, now.Add(time.Hour - time.Second), nil},
			{"when it ends", uid, a, now.Add(time.Hour), ErrNotFound},
			{"the longer one then", uid, b, now.Add(time.Hour), nil},
			{"empty", uid, "", now, ErrNotFound},
		} {
			if tc.name == "in capitals" && strings.ToUpper(a) == a {
				continue // no letter in it
			}
			if _, err := db.SessionBySig(ctx, tc.uid, tc.sig, tc.at); !errors.Is(err, tc.err) {
				t.Errorf("%s: SessionBySig = %v, want %v", tc.name, err, tc.err)
			}
		}
		if err := db.DeleteSession(ctx, uid, a); err != nil {
			t.Fatal(err)
		}
		if err := db.DeleteSession(ctx, uid, a); !errors.Is(err, ErrNotFound) {
			t.Errorf("DeleteSession twice: %v, want ErrNotFound", err)
		}
		c := must[string](t)(db.CreateSession(ctx, uid, now, now.Add(time.Hour)))
		if err := db.DeleteSessions(ctx, uid, c); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db.UIC, "session"); n != 1 {
			t.Errorf("%d sessions after all but one were ended", n)
		}
		if n, err := db.DeleteEndedSessions(ctx, now.Add(time.Hour)); n != 1 || err != nil {
			t.Errorf("DeleteEndedSessions = %d, %v, want 1", n, err)
		}
	})
}

// A script that logs in at every run does not fill the table.
func TestSessionsOfOneUserAreBounded(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx, now := t.Context(), time.Unix(1_795_000_000, 0)
		var first, second, last string
		for i := range maxSessions + 1 {
			sig := must[string](t)(db.CreateSession(ctx, 7, now, now.Add(time.Hour)))
			switch i {
			case 0:
				first = sig
			case 1:
				second = sig
			}
			last = sig
		}
		if n := count(t, db.UIC, "session"); n != maxSessions {
			t.Errorf("%d sessions, want %d", n, maxSessions)
		}
		for sig, want := range map[string]error{first: ErrNotFound, second: nil, last: nil} {
			if _, err := db.SessionBySig(ctx, 7, sig, now); !errors.Is(err, want) {
				t.Errorf("SessionBySig = %v, want %v", err, want)
			}
		}
		// Ended ones go at the next login.
		must[string](t)(db.CreateSession(ctx, 7, now.Add(2*time.Hour), now.Add(3*time.Hour)))
		if n := count(t, db.UIC, "session"); n != 1 {
			t.Errorf("%d sessions after all others ended, want 1", n)
		}
	})
}

func TestDeleteUserLeavesNothingForTheNextOne(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx, now := t.Context(), time.Unix(1_795_000_000, 0)
		uid := must[int64](t)(db.CreateUser(ctx, User{Name: "u"}))
		must[string](t)(db.CreateSession(ctx, uid, now, now.Add(time.Hour)))
		execSQL(t, db.UIC, "INSERT INTO team (id, name, resume) VALUES (3, 'ops', 'r')")
		execSQL(t, db.UIC, "INSERT INTO rel_team_user (tid, uid) VALUES (3, ?)", uid)
		if teams := must[[]Team](t)(db.TeamsOfUser(ctx, uid)); len(teams) != 1 || teams[0] != (Team{3, "ops", "r", 0}) {
			t.Errorf("TeamsOfUser = %+v", teams)
		}
		for names, want := range map[string]bool{"ops": true, "dev,OPS": true, "dev": false, "": false} {
			if in, err := db.UserInTeams(ctx, uid, strings.Split(names, ",")); in != want || err != nil {
				t.Errorf("UserInTeams(%q) = %v, %v, want %v", names, in, err, want)
			}
		}
		if err := db.DeleteUser(ctx, uid); err != nil {
			t.Fatal(err)
		}
		if s, r, n := count(t, db.UIC, "session"), count(t, db.UIC, "rel_team_user"), count(t, db.UIC, "team"); s != 0 || r != 0 || n != 1 {
			t.Errorf("left %d sessions, %d memberships, %d teams, want 0, 0, 1", s, r, n)
		}
	})
}

func TestOperLog(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		at := time.Unix(1_795_000_000, 0)
		after := `{"role":1}`
		long := strings.Repeat("é", 100) + "😀"
		for _, l := range []OperLog{
			{At: at, User: "root", Source: "api", RemoteIP: "::1", Object: "user", ObjectID: "7", Op: "update", After: &after},
			{At: at, User: long, Object: long, ObjectID: long, Op: "delete"},
		} {
			if err := db.AddOperLog(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
		rows := must[[]OperLog](t)(db.OperLogs(t.Context(), 10))
		if len(rows) != 2 || rows[0].ObjectID != strings.Repeat("é", 64) {
			t.Fatalf("OperLogs = %+v", rows)
		}
		if r := rows[1]; r.User != "root" || !r.At.Equal(at) || r.Before != nil || r.After == nil || *r.After != after {
			t.Errorf("first row = %+v", r)
		}
	})
}
