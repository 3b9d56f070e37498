package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/testkit"
	"falcon/modules/judge/rules"
)

// Two hbs on MariaDB and Redis: they agree on the version without speaking to each
// other, a change that is announced is with a judge within seconds, and the death of
// one is nothing to a judge that knows both.
func TestTwoHBS(t *testing.T) {
	server := testkit.MySQL(t)
	redis := testkit.Redis(t)
	dir := t.TempDir()
	schema := fmt.Sprintf("falcon_hbs_%d", time.Now().UnixNano())
	db, err := sql.Open("mysql", server+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	run := func(query string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	run("CREATE DATABASE " + schema)
	t.Cleanup(func() {
		if _, err := db.Exec("DROP DATABASE " + schema); err != nil {
			t.Error(err)
		}
	})

	type instance struct {
		*testkit.Process
		addr string
	}
	start := func(name string) instance {
		addr, pages := testkit.FreeAddr(t), testkit.FreeAddr(t)
		cfg, err := json.Marshal(values{
			"listen": addr, "http": values{"enabled": true, "listen": pages}, "database": server + schema + "?loc=Local&parseTime=true",
			"redis": values{"enabled": true, "addr": redis.Addr()}, "auto_group": "all", "liveness": values{"enabled": false},
		})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name+".json")
		if err := os.WriteFile(file, cfg, 0o600); err != nil {
			t.Fatal(err)
		}
		p := testkit.Start(t, dir, testkit.Program(t, "hbs"), "-c", file)
		testkit.Eventually(t, 20*time.Second, func() error {
			resp, err := http.Get("http://" + pages + "/health")
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("health of %s: %s", name, resp.Status)
			}
			return nil
		})
		return instance{p, addr}
	}
	one, two := start("one"), start("two")

	run("INSERT INTO " + schema + ".grp (id, grp_name) VALUES (1, 'all')")
	for _, h := range []instance{one, two} {
		c := rpc.NewClient(rpc.ClientOptions{Addr: h.addr})
		var reply model.SimpleRpcResponse
		if err := c.Call(t.Context(), "Agent.ReportStatus", &model.AgentReportRequest{Hostname: "h1", IP: "10.0.0.1"}, &reply); err != nil || reply.Code != 0 {
			t.Errorf("heartbeat: %+v %v", reply, err)
		}
		c.Close()
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM " + schema + ".grp_host").Scan(&n); err != nil || n != 1 {
			return fmt.Errorf("%d memberships of one host, %v", n, err)
		}
		return nil
	})

	got := make(chan *rulebook.Book, 16)
	judge := rules.New(rules.Options{
		Servers: []string{one.addr, two.addr}, Judge: "judge-00", Dir: dir, Interval: time.Minute, DialTimeout: time.Second, CallTimeout: 5 * time.Second,
		Log: slog.New(slog.DiscardHandler), Changed: func(b *rulebook.Book, _ rules.By) { got <- b },
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- judge.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	inForce := func(what string, limit time.Duration, is func(*rulebook.Book) bool) *rulebook.Book {
		t.Helper()
		began, timer := time.Now(), time.NewTimer(limit)
		defer timer.Stop()
		for {
			select {
			case b := <-got:
				if is(b) {
					t.Logf("%s: in force at a judge after %v", what, time.Since(began))
					return b
				}
			case <-timer.C:
				t.Fatalf("%s: not in force within %v", what, limit)
			}
		}
	}
	announce := func() {
		t.Helper()
		for _, words := range []string{"INCR rules:dirty", "PUBLISH rules:dirty 1"} {
			if _, err := command(redis.Socket, words); err != nil {
				t.Fatal(err)
			}
		}
	}
	run("INSERT INTO " + schema + ".tpl (id, tpl_name, action_id, create_user) VALUES (1, 'base', 1, 'root')")
	run("INSERT INTO " + schema + ".grp_tpl (grp_id, tpl_id) VALUES (1, 1)")
	run("INSERT INTO " + schema + ".strategy (id, metric, func, op, right_value, tpl_id) VALUES (1, 'cpu.idle', 'all(#3)', '<', '5', 1)")
	announce()
	book := inForce("a new rule", 15*time.Second, func(b *rulebook.Book) bool { return len(b.Of("h1")) == 1 })

	version := func(h instance) string {
		c := rpc.NewClient(rpc.ClientOptions{Addr: h.addr})
		defer c.Close()
		var reply rulebook.Reply
		if err := c.Call(t.Context(), rulebook.Method, &rulebook.Request{}, &reply); err != nil {
			t.Fatal(err)
		}
		return reply.Version
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if a, b := version(one), version(two); a != book.Version().String() || a != b {
			return fmt.Errorf("versions %s and %s, the judge has %v", a, b, book.Version())
		}
		return nil
	})

	one.Kill()
	run("UPDATE " + schema + ".strategy SET right_value = '7'")
	announce()
	inForce("a change after one hbs died", 15*time.Second, func(b *rulebook.Book) bool { return b.Of("h1")[0].RightValue == 7 })

	two.Kill()
	testkit.Eventually(t, 10*time.Second, func() error {
		if _, err := judge.Heard(); err == nil {
			return fmt.Errorf("the judge does not notice that no hbs is there")
		}
		return nil
	})
	if b := judge.Book(); len(b.Of("h1")) != 1 {
		t.Error("the rules went with the hbs")
	}
}
