package polymetric

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/portal"
	"falcon/common/testkit"
)

// Hosts are asked for once a minute, used for an hour while nobody answers, and forgotten
// when their group is gone.
func TestRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := remember(w, time.Now)
		for _, step := range []struct {
			name  string
			after time.Duration
			do    func()
			hosts int
			err   error
			asked int
		}{
			{"first", 0, nil, 2, nil, 1},
			{"fresh", 59 * time.Second, nil, 2, nil, 1},
			{"not fresh", time.Second, func() { w.groups[2] = w.groups[2][:1] }, 1, nil, 2},
			{"nobody answers", time.Minute, func() { w.away["hosts"] = errAway }, 1, errAway, 3},
			{"still nobody", 58 * time.Minute, nil, 1, errAway, 4},
			{"too long", time.Minute, nil, 0, errAway, 5},
			{"back", time.Second, func() { delete(w.away, "hosts") }, 1, nil, 6},
			{"gone", time.Minute, func() { delete(w.groups, 2) }, 0, portal.ErrNotFound, 7},
			{"gone, and nobody answers", time.Second, func() { w.away["hosts"] = errAway }, 0, errAway, 8},
		} {
			time.Sleep(step.after)
			if step.do != nil {
				step.do()
			}
			hosts, err := r.Hosts(t.Context(), 2)
			if len(hosts) != step.hosts || !errors.Is(err, step.err) || w.looked != step.asked {
				t.Errorf("%s: %d hosts, %v, asked %d times; want %d, %v, %d", step.name, len(hosts), err, w.looked, step.hosts, step.err, step.asked)
			}
		}
	})
}

// eachPortal runs a test with the database in a file and in a MariaDB, both empty.
func eachPortal(t *testing.T, test func(t *testing.T, db *portal.DB)) {
	open := func(t *testing.T, cfg portal.Config) *portal.DB {
		cfg.Only = []string{portal.Portal}
		db, err := portal.Open(t.Context(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, portal.Config{Dir: t.TempDir()})) })
	t.Run("mysql", func(t *testing.T) {
		server := testkit.MySQL(t)
		name := fmt.Sprintf("falcon_polymetric_%d", time.Now().UnixNano())
		admin, err := sql.Open("mysql", server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := admin.Exec("DROP DATABASE IF EXISTS " + name); err != nil {
				t.Error(err)
			}
			_ = admin.Close()
		})
		test(t, open(t, portal.Config{PortalDSN: server + name + "?loc=Local"}))
	})
}

// A user who may read stock's tables and change nothing is enough.
func TestPortalOfAReader(t *testing.T) {
	server := testkit.MySQL(t)
	name := fmt.Sprintf("falcon_reader_%d", time.Now().UnixNano())
	admin, err := sql.Open("mysql", server)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	full, err := portal.Open(t.Context(), portal.Config{PortalDSN: server + name, Only: []string{portal.Portal}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := full.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"CREATE USER " + name + " IDENTIFIED BY 'x'", "GRANT SELECT ON " + name + ".cluster TO " + name, "GRANT SELECT ON " + name + ".host TO " + name} {
		if _, err := admin.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		for _, q := range []string{"DROP DATABASE " + name, "DROP USER " + name} {
			if _, err := admin.Exec(q); err != nil {
				t.Error(err)
			}
		}
	}()
	_, at, _ := strings.Cut(server, "@")
	reader, err := portal.Open(t.Context(), portal.Config{PortalDSN: name + ":x@" + at + name, Only: []string{portal.Portal}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if rows, err := Portal(reader).Rows(t.Context(), 1, -1); err != nil || len(rows) != 0 {
		t.Errorf("rows %v, %v", rows, err)
	}
}

// The database has rows and hosts; it is made when it is not there.
func TestPortal(t *testing.T) {
	eachPortal(t, func(t *testing.T, db *portal.DB) {
		ctx := t.Context()
		p := Portal(db)
		if rows, err := p.Rows(ctx, 1, -1); err != nil || len(rows) != 0 {
			t.Fatalf("an empty database has %v, %v", rows, err)
		}
		group, err := db.CreateGroup(ctx, "g", "root")
		if err != nil {
			t.Fatal(err)
		}
		if hosts, err := p.Hosts(ctx, group); err != nil || hosts == nil || len(hosts) != 0 {
			t.Errorf("a group without hosts: %v, %v", hosts, err)
		}
		if _, err := p.Hosts(ctx, group+1); !errors.Is(err, portal.ErrNotFound) {
			t.Errorf("a group that is not there: %v", err)
		}
		if _, err := db.SetGroupHosts(ctx, group, portal.BindReplace, []string{"h1", "h2"}, false); err != nil {
			t.Fatal(err)
		}
		if _, err := db.SetMaintenance(ctx, []string{"h2"}, nil, 10, 20); err != nil {
			t.Fatal(err)
		}
		if hosts, err := p.Hosts(ctx, group); err != nil || !slices.Equal(hosts, []Host{{"h1", 0, 0}, {"h2", 10, 20}}) {
			t.Errorf("hosts %v, %v", hosts, err)
		}
		var ids []int64
		for range 3 {
			a := row(0, "$(a)", "$#", 60).Aggregator
			a.Group = group
			id, err := db.CreateAggregator(ctx, a)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		rows, err := p.Rows(ctx, ids[1], -1)
		if err != nil || len(rows) != 2 || rows[0].ID != ids[1] || rows[0].Numerator != "$(a)" || !strings.HasPrefix(rows[0].LastUpdate, "2") {
			t.Errorf("rows %+v, %v", rows, err)
		}
	})
}
