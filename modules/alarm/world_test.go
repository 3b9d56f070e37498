package alarm

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/stat"
	"falcon/common/testkit"
	"falcon/modules/alarm/sender/sendertest"
)

// world is what an alarm needs, for real: a redis-server, the databases, and a sink for
// what is sent over HTTP.
type world struct {
	t      *testing.T
	redis  *testkit.RedisServer
	pool   *redisx.Pool
	db     *portal.DB
	at     portal.Config
	sink   *sendertest.Sink
	lease  time.Duration
	set    func(*Config)
	before func(*Alarm) // Run
}

// eachStore runs a test with the databases in files and in a MariaDB.
func eachStore(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("mysql", func(t *testing.T) {
		server := testkit.MySQL(t)
		prefix := fmt.Sprintf("falcon_alarm_%d_", time.Now().UnixNano())
		admin, err := sql.Open("mysql", server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for _, name := range databases {
				if _, err := admin.Exec("DROP DATABASE IF EXISTS " + prefix + name); err != nil {
					t.Error(err)
				}
			}
			_ = admin.Close()
		})
		dsn := func(name string) string { return server + prefix + name + "?loc=Local&parseTime=true" }
		test(t, newWorldOn(t, portal.Config{AlarmsDSN: dsn(portal.Alarms), PortalDSN: dsn(portal.Portal), UICDSN: dsn(portal.UIC)}))
	})
}

var databases = []string{portal.Alarms, portal.Portal, portal.UIC}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, portal.Config{Dir: t.TempDir()})
}

func newWorldOn(t *testing.T, at portal.Config) *world {
	t.Helper()
	at.Only = databases
	w := &world{t: t, redis: testkit.Redis(t), at: at, sink: sendertest.HTTP(t), lease: time.Second}
	w.db = w.openDB()
	if err := w.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.pool = w.openRedis(w.redis.Addr())
	var members []int64
	for _, u := range []portal.User{
		{Name: "ann", Email: "ann@example.com", Phone: "111", IM: "im-ann"},
		{Name: "bob", Email: "bob@example.com", Phone: "222", IM: "im-bob"},
		{Name: "bare"},
	} {
		id, err := w.db.CreateUser(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, id)
	}
	if _, err := w.db.CreateTeam(t.Context(), portal.Team{Name: "ops"}, members); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) openDB() *portal.DB {
	w.t.Helper()
	db, err := portal.Open(w.t.Context(), w.at, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (w *world) openRedis(addr string) *redisx.Pool {
	w.t.Helper()
	cfg := redisx.DefaultConfig()
	cfg.Addr = conf.DSN(addr)
	p, err := redisx.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = p.Close() })
	return p
}

// channel adds a channel.
func (w *world) channel(name, typ string, config any) {
	w.t.Helper()
	raw, err := json.Marshal(config)
	if err == nil {
		_, err = w.db.CreateAlarmChannel(w.t.Context(), portal.AlarmChannel{Name: name, Type: typ, Config: string(raw), Enabled: true, Created: time.Now()})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// action adds an action and returns its id. Actions belong to templates.
func (w *world) action(a portal.Action) int {
	w.t.Helper()
	tpl, err := w.db.CreateTemplate(w.t.Context(), portal.Template{Name: fmt.Sprint("t", time.Now().UnixNano()), CreateUser: "ann"})
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.db.SetTemplateAction(w.t.Context(), tpl, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return int(id)
}

// running is an alarm that runs.
type running struct {
	*Alarm
	addr string
	log  *logged
	stop func()
	kill func() // what kill -9 leaves: nothing is given back and no lock is released
}

type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) start() *running {
	w.t.Helper()
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Drain = conf.Duration(3 * time.Second)
	cfg.Timezone = "UTC"
	cfg.Alarms.Addr, cfg.DB.Portal, cfg.DB.UIC = conf.DSN(w.at.AlarmsDSN), conf.DSN(w.at.PortalDSN), conf.DSN(w.at.UICDSN)
	if w.set != nil {
		w.set(&cfg)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	r := &running{addr: ln.Addr().String(), log: &logged{}}
	// A way to Redis and databases of its own, so that it can be cut off.
	way := newWay(w.t, w.redis.Socket)
	pool, db := w.openRedis("unix:"+way.socket), w.openDB()
	out := slog.New(slog.NewTextHandler(r.log, nil))
	if r.Alarm, err = New(cfg, Deps{Log: out, DB: db, Redis: pool, Listener: ln}); err != nil {
		w.t.Fatal(err)
	}
	r.lease, r.gap = w.lease, 20*time.Millisecond
	if w.before != nil {
		w.before(r.Alarm)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	end := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Errorf("Run: %v", err)
			}
			if taken, told, untold, left := r.taken.Get(), r.told.Get(), r.untold.Sum(), r.inHand(); taken != told+untold+left {
				w.t.Errorf("of %d events that were taken %d were told, %d were not, and %d are in hand", taken, told, untold, left)
			}
			if w.t.Failed() && os.Getenv("ALARM_LOG") != "" {
				w.t.Log(r.log.String())
			}
		})
	}
	r.stop = end
	r.kill = func() {
		// It can reach nobody any more, which is as good as dead for all others.
		r.cfg.Drain = conf.Duration(time.Millisecond)
		way.cut()
		_ = db.Close()
		end()
	}
	w.t.Cleanup(end)
	return r
}

// stopWhileHeld stops an alarm whose calls the sink holds, and lets them go when none begins
// any more, after six tenths of the drain, and one that is under way may end well still, as it
// may until nine tenths. The drain is long, for a machine that is busy.
func (w *world) stopWhileHeld(r *running) {
	r.cfg.Drain = conf.Duration(10 * time.Second)
	time.AfterFunc(r.cfg.Drain.D()*3/4, w.sink.Release)
	r.stop()
}

// way is a way to a socket that can be cut.
type way struct {
	socket string
	ln     net.Listener
	mu     sync.Mutex
	conns  []net.Conn
}

func newWay(t *testing.T, to string) *way {
	t.Helper()
	dir, err := os.MkdirTemp("", "falcon-way-") // a path that is short enough
	if err != nil {
		t.Fatal(err)
	}
	y := &way{socket: filepath.Join(dir, "sock")}
	if y.ln, err = net.Listen("unix", y.socket); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := y.ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			y.mu.Lock()
			y.conns = append(y.conns, c, far)
			y.mu.Unlock()
			copyTo := func(a, b net.Conn) func() {
				return func() {
					_, _ = io.Copy(a, b) // it ends when one end is closed
					_, _ = a.Close(), b.Close()
				}
			}
			wg.Go(copyTo(c, far))
			wg.Go(copyTo(far, c))
		}
	})
	t.Cleanup(func() {
		y.cut()
		wg.Wait()
		_ = os.RemoveAll(dir)
	})
	return y
}

func (y *way) cut() {
	_ = y.ln.Close()
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, c := range y.conns {
		_ = c.Close()
	}
}

// event makes an event as a stock judge writes it.
func event(id string, action, step int, status string, at int64, priority int) *model.Event {
	return &model.Event{Id: id, Status: status, Endpoint: "host01", LeftValue: 1.5, CurrentStep: step, EventTime: at, PushedTags: map[string]string{},
		Strategy: &model.Strategy{Id: 10, Metric: "cpu.idle", Tags: map[string]string{}, Func: "all(#3)", Operator: ">", RightValue: 1, MaxStep: 3,
			Priority: priority, Note: "n", Tpl: &model.Template{Id: 7, Name: "base", ActionId: action, Creator: "root"}}}
}

func (w *world) push(events ...*model.Event) {
	w.t.Helper()
	for _, e := range events {
		raw := mustJSON(w.t, e)
		testkit.Eventually(w.t, 20*time.Second, func() error { // redis may just have been restarted
			_, err := w.pool.Do(w.t.Context(), "LPUSH", redisx.Event(e.Priority()), raw)
			return err
		})
	}
}

// eventually waits until try finds what the test wants.
func (w *world) eventually(try func() error) {
	w.t.Helper()
	testkit.Eventually(w.t, 20*time.Second, try)
}

// notices returns the messages of a case as "receiver channel result attempts step".
func (w *world) notices(id string) []string {
	w.t.Helper()
	rows, err := w.db.CaseNotices(w.t.Context(), id, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, n := range rows {
		out = append(out, fmt.Sprintf("%s %s %s %d %d", n.Receiver, n.Channel, n.Result, n.Attempts, n.Step))
	}
	return out
}

// contents returns the contents of what the sink took on a path, in order.
func (w *world) contents(path string) []string {
	var out []string
	for _, p := range w.sink.Posts(path) {
		out = append(out, p.Form["content"])
	}
	return out
}

// lists is a script that names the lists in Redis, at one moment.
const lists = `local out = {}
for _, k in ipairs(redis.call('KEYS', '*')) do
	if redis.call('TYPE', k).ok == 'list' and k ~= ARGV[1] then table.insert(out, k .. ' ' .. redis.call('LLEN', k)) end
end
return out`

// empty says which events are left in Redis.
func (w *world) empty() error {
	left, err := redisx.Strings(w.pool.Do(w.t.Context(), "EVAL", lists, 0, redisx.Dead))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left in redis: %q", left)
	}
	return err
}

// counted returns the parts of a count that are not zero.
func counted(r *stat.Reasons) map[string]int64 {
	all := r.All()
	maps.DeleteFunc(all, func(_ string, n int64) bool { return n == 0 })
	return all
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// awayPeople are people who do not answer while they are down.
type awayPeople struct {
	People
	down atomic.Bool
	err  error
}

func (p *awayPeople) Action(ctx context.Context, id int) (portal.Action, error) {
	if p.down.Load() {
		return portal.Action{}, p.err
	}
	return p.People.Action(ctx, id)
}
