package fleet

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/testkit"
)

// Three hbs: one reads the database for all. It is paused, cut off from Redis and killed
// again and again while a rule is changed five times a second: nobody serves half a book,
// or an older rule than it served before, and a change is never long in coming. The
// queries of each are counted by MariaDB.
func TestLeaderOfThree(t *testing.T) {
	server, redis := testkit.MySQL(t), testkit.Redis(t)
	dir := t.TempDir()
	schema := fmt.Sprintf("falcon_lead_%d", time.Now().UnixNano())
	db, err := sql.Open("mysql", server+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	run := func(query string) {
		t.Helper()
		if _, err := db.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	run("CREATE DATABASE " + schema)
	t.Cleanup(func() {
		run("DROP DATABASE " + schema)
		for i := range 3 {
			run(fmt.Sprintf("DROP USER IF EXISTS '%s'@'%%'", userOf(schema, i)))
		}
	})

	type instance struct {
		*testkit.Process
		addr, pages, file string
		redis             *testkit.Line
		since             atomic.Int64 // the threshold that it served last
	}
	hbs := make([]*instance, 3)
	start := func(i int) {
		hbs[i].since.Store(0)
		hbs[i].Process = testkit.Start(t, dir, testkit.Program(t, "hbs"), "-c", hbs[i].file)
	}
	_, rest, _ := strings.Cut(server, "@")
	for i := range hbs {
		user := userOf(schema, i)
		run(fmt.Sprintf("CREATE USER '%s'@'%%'; GRANT ALL ON *.* TO '%[1]s'@'%%'", user))
		h := &instance{addr: testkit.FreeAddr(t), pages: testkit.FreeAddr(t), file: filepath.Join(dir, fmt.Sprint(i, ".json")), redis: testkit.NewLine(t, "unix", redis.Socket)}
		cfg, err := json.Marshal(values{
			"listen": h.addr, "http": values{"enabled": true, "listen": h.pages}, "database": user + "@" + rest + schema + "?loc=Local&parseTime=true",
			"redis": values{"enabled": true, "addr": h.redis.Addr, "readTimeout": "1s"}, "interval": "2s", "liveness": values{"enabled": false},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.file, cfg, 0o600); err != nil {
			t.Fatal(err)
		}
		hbs[i] = h
		start(i)
		healthyAt(t, h.pages)
	}
	run("USE " + schema + `;
		INSERT INTO host (id, hostname) VALUES (1, 'h1');
		INSERT INTO grp (id, grp_name) VALUES (1, 'all');
		INSERT INTO grp_host (grp_id, host_id) VALUES (1, 1);
		INSERT INTO tpl (id, tpl_name, action_id, create_user) VALUES (1, 'base', 1, 'root');
		INSERT INTO grp_tpl (grp_id, tpl_id) VALUES (1, 1);
		INSERT INTO strategy (id, metric, func, op, right_value, tpl_id) VALUES (1, 'cpu.idle', 'all(#3)', '<', '1', 1)`)

	at := redisx.DefaultConfig()
	at.Addr = conf.DSN(redis.Addr())
	pool, err := redisx.New(at)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	leader := func() int {
		out, err := redisx.String(pool.Do(t.Context(), "GET", redisx.HBSLock))
		if err != nil && !errors.Is(err, redisx.Nil) {
			t.Fatal(err)
		}
		for i, h := range hbs {
			if strings.Contains(out, "-"+strconv.Itoa(h.PID())+":") {
				return i
			}
		}
		return -1
	}
	led := func() (who int) {
		t.Helper()
		testkit.Eventually(t, 15*time.Second, func() error {
			if who = leader(); who < 0 {
				return fmt.Errorf("nobody leads")
			}
			return nil
		})
		return who
	}

	// Each has a user of the database of its own.
	queries := func(i int) (n int) {
		t.Helper()
		if err := db.QueryRow("SELECT COUNT(*) FROM mysql.general_log WHERE user_host LIKE ? AND argument LIKE '%FROM strategy%'", userOf(schema, i)+"[%").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := led()
	run("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON")
	t.Cleanup(func() {
		run("SET GLOBAL general_log = OFF; SET GLOBAL log_output = 'FILE'; TRUNCATE TABLE mysql.general_log")
	})
	testkit.Eventually(t, 20*time.Second, func() error {
		if n := queries(first); n < 3 {
			return fmt.Errorf("the leader has read the rules %d times", n)
		}
		return nil
	})
	for i := range hbs {
		n := queries(i)
		t.Logf("hbs %d (leads: %v) has read the rules %d times", i, i == first, n)
		if i != first && n > 0 && leader() == first {
			t.Errorf("hbs %d read the rules beside the leader", i)
		}
	}
	run("SET GLOBAL general_log = OFF")

	var mu sync.Mutex
	written := map[int64]time.Time{}
	var newest atomic.Int64
	newest.Store(1)
	change := func() {
		n := newest.Load() + 1
		mu.Lock()
		written[n] = time.Now()
		mu.Unlock()
		run(fmt.Sprintf("UPDATE %s.strategy SET right_value = '%d'", schema, n))
		newest.Store(n)
		if err := pool.RulesChanged(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
	}
	// look reads the book of an hbs and returns how late it is.
	look := func(h *instance) (late time.Duration, err error) {
		c := rpc.NewClient(rpc.ClientOptions{Addr: h.addr, DialTimeout: time.Second, CallTimeout: time.Second})
		defer c.Close()
		asked := newest.Load()
		var reply rulebook.Reply
		if err := c.Call(t.Context(), rulebook.Method, &rulebook.Request{}, &reply); err != nil {
			return 0, err
		}
		book, err := rulebook.Decode(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		rules := book.Of("h1")
		if len(rules) != 1 {
			t.Errorf("an hbs serves half a book: %+v", rules)
			return 0, nil
		}
		got := int64(rules[0].RightValue)
		if before := h.since.Swap(got); got < before {
			t.Errorf("an hbs served rule %d after %d", got, before)
		}
		if got >= asked {
			return 0, nil
		}
		mu.Lock()
		defer mu.Unlock()
		return time.Since(written[got+1]), nil
	}

	limit := 20 * time.Second
	if os.Getenv("FALCON_SOAK") != "" {
		limit = 5 * time.Minute
	}
	var latest time.Duration
	for end, round := time.Now().Add(limit), 0; time.Now().Before(end); round++ {
		// Not at once after a change, so that it falls into another step each time.
		tick := time.NewTimer(time.Duration(rand.IntN(400)) * time.Millisecond)
		<-tick.C
		who := led()
		h := hbs[who]
		undo, what := func() {}, ""
		switch round % 3 {
		case 0:
			what, undo = "is paused", h.Pause()
		case 1:
			h.redis.Cut(true)
			what, undo = "is cut off from Redis", func() { h.redis.Cut(false) }
		case 2:
			h.Kill()
			what, undo = "is killed", func() { start(who) }
		}
		began := time.Now()
		others := []*instance{hbs[(who+1)%3], hbs[(who+2)%3]}
		var late time.Duration
		testkit.Eventually(t, 15*time.Second, func() error {
			change()
			for _, o := range others {
				l, err := look(o)
				if err != nil {
					return err
				}
				// A change takes a moment, and there is always one.
				if late = max(late, l); l > time.Second || leader() == who || leader() < 0 {
					err = fmt.Errorf("after %v hbs is %v behind, leader is %d", time.Since(began), l, leader())
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		latest = max(latest, late)
		t.Logf("hbs %d %s: the others had all changes after %v, %v late at most", who, what, time.Since(began).Round(time.Millisecond), late.Round(time.Millisecond))
		undo()
		testkit.Eventually(t, 15*time.Second, func() error {
			l, err := look(h)
			if err == nil && l > time.Second {
				err = fmt.Errorf("it is %v behind", l)
			}
			return err
		})
	}
	testkit.Outcome(t, "a change was %v late at most", latest.Round(time.Millisecond))
}

func userOf(schema string, i int) string { return fmt.Sprintf("h%d_%s", i, schema[len(schema)-12:]) }

// healthyAt waits until a daemon says that it is well.
func healthyAt(t *testing.T, pages string) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		resp, err := http.Get("http://" + pages + "/health")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", pages, body)
		}
		return nil
	})
}
