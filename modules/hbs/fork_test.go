package hbs

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/stat"
	"falcon/common/testkit"
	"falcon/modules/hbs/compile"
)

// forked returns rows that are shared with the fork's hbs on a Redis of the test.
func forked(t *testing.T, m *memory) (*forkRows, *redisx.Pool) {
	t.Helper()
	cfg := redisx.DefaultConfig()
	cfg.Addr = conf.DSN(testkit.Redis(t).Addr())
	pool, err := redisx.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	s := stat.New("hbs")
	return &forkRows{
		Rows: m, pool: pool, loc: time.UTC, log: slog.New(slog.NewTextHandler(io.Discard, nil)), now: time.Now, took: map[redisx.ForkSet]string{},
		published: s.Counter("p", "p", ""), taken: s.Counter("t", "t", ""), unreadable: s.Reasons("u", "u", ""),
	}, pool
}

// everything has a row of each kind that the fork's tables know.
func everything() *memory {
	m := fleet(3)
	m.rows.Hosts[2].MaintainEnd = always
	m.rows.Templates = append(m.rows.Templates, portal.RuleTemplate{ID: 2, Name: "child", Parent: 1, Action: 7, Creator: "ann"})
	m.rows.GroupTemplates = append(m.rows.GroupTemplates, portal.RulePair{Group: 1, Other: 2})
	m.rows.Strategies = append(m.rows.Strategies,
		portal.RuleStrategy{ID: 2, Metric: "df.bytes.free.percent", Tags: "^mount=/dev/shm,fstype=ext4", Func: "max(#2)", Op: "<=", RightValue: "0.25", MaxStep: 1, Priority: 2, Note: "a note|||with bars", Template: 2},
		portal.RuleStrategy{ID: 3, Metric: "m", Func: "all(#1)", Op: ">", RightValue: "1", RunBegin: "24:00", RunEnd: "24:00", Template: 2}, // rests
		portal.RuleStrategy{ID: 4, Metric: "app.state", Func: "all(#1)", Op: "!=", RightValue: portal.RightOfTexts, Template: 2, ValueType: portal.ValueString, RightString: "ok"},
	)
	m.rows.Expressions = []portal.RuleExpression{{ID: 5, Expression: "each(metric=qps srv=web ^idc=test)", Func: "avg(#3)", Op: ">=", RightValue: "1e6", MaxStep: 2, Priority: 1, Note: "busy", Action: 9}}
	m.rows.Plugins = []portal.RulePlugin{{Group: 1, Dir: "sys/ntp"}, {Group: 1, Dir: "net"}}
	m.rows.Services = []portal.RuleService{{Group: 1, Name: "nginx"}, {Group: 1, Name: "crond"}}
	return m
}

// What one hbs publishes another one reads as the same rules.
func TestForkTables(t *testing.T) {
	m := everything()
	f, pool := forked(t, m)
	if _, err := f.RuleRows(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.published.Get(); n != int64(len(forkTables)) {
		t.Fatalf("%d tables were published", n)
	}
	now := time.Now().UTC()
	want := compile.Compile(&m.rows, now)
	other := &forkRows{
		Rows: &memory{rows: portal.RuleRows{Strategies: m.rows.Strategies[2:]}}, pool: pool, loc: f.loc, log: f.log, now: f.now,
		took: map[redisx.ForkSet]string{}, published: f.published, taken: f.taken, unreadable: f.unreadable,
	}
	rows, err := other.RuleRows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := f.taken.Get(); n != int64(len(forkTables)-2) { // two are for the fork alone
		t.Errorf("%d tables were taken, %v", n, f.unreadable)
	}
	got := compile.Compile(rows, now)
	if got.Book.Version() != want.Book.Version() {
		t.Errorf("got  %+v\nwant %+v", printBook(got), printBook(want))
	}
	if a, b := got.Plugins("h0"), want.Plugins("h0"); !slices.Equal(a, b) || len(a) != 2 {
		t.Errorf("plugins %q, want %q", a, b)
	}

	// The keys are as operators of the fork know them.
	for key, kind := range map[string]string{
		"StrategiesLock": "string", "TemplateCacheLock": "string", "HostTemplateIdsLock": "string", "GroupTemplatesLock": "string", "HostGroupsMapLock": "string",
		"HostMapLock": "string", "MonitoredHostsLock": "string", "ExpressionCacheLock": "string", "GroupPluginsLock": "string",
		"strategies": "string", "tpl": "string", "template": "string", "host_template": "string", "expressions": "string", "host": "string",
		"monitored_host": "string", "group": "string", "plugin": "string", "HostServiceIdsLockKey": "string", "host_Service": "string",
	} {
		if got, err := redisx.String(pool.Do(t.Context(), "TYPE", key)); err != nil || got != kind {
			t.Errorf("%s is a %s, %v", key, got, err)
		}
		ttl, err := redisx.Int64(pool.Do(t.Context(), "TTL", key))
		if lock := strings.Contains(key, "Lock"); err != nil || lock != (ttl > 50 && ttl <= 55) {
			t.Errorf("%s lasts %d s, %v", key, ttl, err)
		}
	}
	for _, tc := range []struct {
		set          redisx.ForkSet
		field, value string
	}{
		{redisx.ForkHosts, "h1", "2"}, {redisx.ForkMonitored, "1", "h0"}, {redisx.ForkMonitored, "3", ""}, {redisx.ForkHostGroups, "2", "1"},
		{redisx.ForkGroupTemplates, "1", "1|||2"}, {redisx.ForkHostTemplates, "3", "1|||2"}, {redisx.ForkPlugins, "1", "sys/ntp|||net"}, {redisx.ForkServices, "h1", "crond,nginx"},
		{redisx.ForkTemplates, "2", `{"id":2,"name":"child","parentId":1,"actionId":7,"creator":"ann"}`},
		{redisx.ForkExpressions, "5", `{"id":5,"metric":"qps","tags":{"^idc":"test","srv":"web"},"func":"avg(#3)","operator":"\u003e=","rightValue":1000000,"maxStep":2,"priority":1,"note":"busy","actionId":9}`},
		{redisx.ForkStrategies, "3", ""}, {redisx.ForkStrategies, "4", ""}, // which the fork does not know
	} {
		fields, err := pool.ReadFork(t.Context(), tc.set)
		if err != nil || fields[tc.field] != tc.value {
			t.Errorf("%s of %s is %s, %v", tc.field, tc.set.Pointer, fields[tc.field], err)
		}
		key, err := redisx.String(pool.Do(t.Context(), "GET", tc.set.Pointer))
		if ttl, err2 := redisx.Int64(pool.Do(t.Context(), "TTL", key)); err != nil || err2 != nil || ttl < 1100 || ttl > 1200 {
			t.Errorf("%s lasts %d s, %v %v", key, ttl, err, err2)
		}
	}
}

func printBook(r *compile.Result) string {
	b, _ := json.Marshal(struct{ A, B, C any }{r.Strategies(), r.Hosts(), r.Book.Expressions})
	return string(b)
}

// An hbs of the fork has the strategies' lock: its rules are taken, when they can be.
func TestForkHasALock(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fields map[string]string
		right  float64 // in force
	}{
		{"theirs", map[string]string{"1": `{"id":1,"metric":"cpu.idle","tags":{},"func":"all(#3)","operator":"<","rightValue":9,"maxStep":3,"priority":0,"note":"","tpl":{"id":1}}`}, 9},
		{"empty", nil, 5},
		{"no JSON", map[string]string{"1": "nonsense"}, 5},
		{"another id", map[string]string{"1": `{"id":2,"tpl":{"id":1}}`}, 5},
		{"without a template", map[string]string{"1": `{"id":1,"metric":"cpu.idle","func":"all(#3)","operator":"<","rightValue":9}`}, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, pool := forked(t, fleet(2))
			do := func(args ...any) {
				t.Helper()
				if _, err := pool.Do(t.Context(), args[0].(string), args[1:]...); err != nil {
					t.Fatal(err)
				}
			}
			// As the fork does it.
			do("SETNX", "StrategiesLock", time.Now().Unix()+55)
			do("EXPIRE", "StrategiesLock", 55)
			for k, v := range tc.fields {
				do("HMSET", "strategies_theirs_1", k, v)
			}
			do("SET", "strategies", "strategies_theirs_1")
			rows, err := f.RuleRows(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			book := compile.Compile(rows, time.Now()).Book
			if got := book.Of("h1"); len(got) != 1 || got[0].RightValue != tc.right {
				t.Errorf("in force is %+v, want the threshold %v", got, tc.right)
			}
			if key, err := redisx.String(pool.Do(t.Context(), "GET", "strategies")); err != nil || key != "strategies_theirs_1" {
				t.Errorf("the pointer is %q, %v: it was not ours to move", key, err)
			}
			if n := f.published.Get(); n != int64(len(forkTables)-1) {
				t.Errorf("%d tables were published beside theirs", n)
			}
			// Their lock's time has passed, and its expiry was lost: it is taken.
			do("SET", "StrategiesLock", time.Now().Unix()-1)
			if _, err := f.RuleRows(t.Context()); err != nil {
				t.Fatal(err)
			}
			if fields, err := pool.ReadFork(t.Context(), redisx.ForkStrategies); err != nil || !strings.Contains(fields["1"], `"rightValue":5`) {
				t.Errorf("published is %v, %v", fields, err)
			}
			if v, err := redisx.Int64(pool.Do(t.Context(), "GET", "StrategiesLock")); err != nil || v <= time.Now().Unix() {
				t.Errorf("the lock says %d, %v: an hbs of the fork would take it, too", v, err)
			}
		})
	}
}

// Whoever has the locks has them until they end, also for a change in between.
func TestForkLockIsKept(t *testing.T) {
	m := fleet(2)
	f, pool := forked(t, m)
	for i := range 3 {
		m.change(threshold(fmt.Sprint(10 + i)))
		rows, err := f.RuleRows(t.Context())
		if err != nil || rows.Strategies[0].RightValue != fmt.Sprint(10+i) {
			t.Fatalf("round %d: %+v %v", i, rows, err)
		}
		if fields, err := pool.ReadFork(t.Context(), redisx.ForkStrategies); err != nil || !strings.Contains(fields["1"], fmt.Sprintf(`"rightValue":%d`, 10+i)) {
			t.Errorf("round %d: published is %v, %v", i, fields, err)
		}
	}
	// A table without rows is a name without a key.
	m.change(func(m *memory) { m.rows.Plugins = nil })
	if _, err := f.RuleRows(t.Context()); err != nil {
		t.Fatal(err)
	}
	key, err := redisx.String(pool.Do(t.Context(), "GET", "plugin"))
	if n, err2 := redisx.Int64(pool.Do(t.Context(), "EXISTS", key)); err != nil || err2 != nil || n != 0 {
		t.Errorf("%s exists: %d, %v %v", key, n, err, err2)
	}
}

// Of the fork's hbs and ours who try a lock at one time, never both kinds get it, and of
// ours one at most; one that nobody has somebody gets.
func TestForkLockRace(t *testing.T) {
	_, pool := forked(t, fleet(1))
	for round := range 300 {
		set := redisx.ForkSet{Lock: fmt.Sprintf("lock%d", round)}
		past := []int64{0, 1, 49, 51, 56, 3600}[round%6] // s since its time has passed, its expiry being lost; 0: there is none
		if past > 0 {
			if _, err := pool.Do(t.Context(), "SET", set.Lock, time.Now().Unix()-past); err != nil {
				t.Fatal(err)
			}
		}
		var ours, theirs atomic.Int32
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				if i%2 == 0 {
					value, err := pool.TakeForkLock(t.Context(), set, "")
					if err != nil {
						t.Error(err)
					}
					if value != "" {
						ours.Add(1)
					}
					return
				}
				n, err := redisx.Int64(pool.Do(t.Context(), "SETNX", set.Lock, time.Now().Unix()+55))
				if err != nil {
					t.Error(err)
				}
				if n == 1 {
					theirs.Add(1)
					return
				}
				text, err := redisx.String(pool.Do(t.Context(), "GET", set.Lock))
				if at, err2 := strconv.ParseInt(text, 10, 64); err == nil && err2 == nil && time.Now().Unix()-at > 55 {
					theirs.Add(1)
				}
			})
		}
		all.Wait()
		if a, b := ours.Load(), theirs.Load(); a > 1 || a > 0 && b > 0 || past < 50 && a+b == 0 {
			t.Fatalf("round %d, passed by %d s: %d of ours and %d of the fork's got the lock", round, past, a, b)
		}
		if past > 50 {
			if ttl, err := redisx.Int64(pool.Do(t.Context(), "TTL", set.Lock)); err != nil || ttl <= 0 || ttl > 55 {
				t.Fatalf("a lock whose expiry was lost lasts %d s, %v", ttl, err)
			}
		}
	}
}

// Redis is away: the database is enough.
func TestForkWithoutRedis(t *testing.T) {
	f, pool := forked(t, everything())
	pool.Close()
	rows, err := f.RuleRows(t.Context())
	if err != nil || len(rows.Strategies) != 4 || len(rows.Hosts) != 3 {
		t.Errorf("%+v %v", rows, err)
	}
	if len(slices.Collect(maps.Keys(f.took))) != 0 {
		t.Error("a lock was taken without Redis")
	}
}
