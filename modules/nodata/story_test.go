package nodata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/portal"
)

var quietLog = slog.New(slog.DiscardHandler)

// table is a database of rows and groups.
type table struct {
	mu       sync.Mutex
	rows     []portal.Nodata
	groups   map[string][]string
	err      error
	reads    []time.Time
	migrated int
	heals    bool // by Migrate
}

func (d *table) Nodatas(context.Context, int, int) ([]portal.Nodata, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads = append(d.reads, time.Now())
	return slices.Clone(d.rows), d.err
}

func (d *table) WorkingHosts(_ context.Context, groups []string, _ time.Time) (map[string][]portal.RuleHost, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string][]portal.RuleHost{}
	for _, g := range groups {
		for i, h := range d.groups[g] {
			all[g] = append(all[g], portal.RuleHost{ID: i + 1, Name: h})
		}
	}
	return all, d.err
}

func (d *table) Migrate(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.migrated++; d.heals {
		d.err = nil
		return nil
	}
	return errors.New("nobody may")
}

func (d *table) set(fn func(*table)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn(d)
}

// world is all that a nodata meets, without a network: graphs that know last points, and
// a transfer.
type world struct {
	table
	mu     sync.Mutex
	points map[string]func(now int64) (ts int64, v float64) // by key; what is not there is not answered
	down   error                                            // of the api
	asked  []int                                            // series a request
	pushed []Mock
	pushes []time.Time
	ready  func()
	now    func() time.Time            // nil: the bubble's
	answer func(n int) (string, error) // of transfer to its n-th push, from 1; nil: all are taken
}

func (w *world) LastPoints(_ context.Context, series []*model.GraphLastParam) (all []*model.GraphLastResp, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, len(series))
	if w.down != nil {
		return nil, w.down
	}
	for _, s := range series {
		if f := w.points[s.Endpoint+"/"+s.Counter]; f != nil {
			ts, v := f(time.Now().Unix())
			all = append(all, &model.GraphLastResp{Endpoint: s.Endpoint, Counter: s.Counter, Value: &model.RRDData{Timestamp: ts, Value: model.JSONFloat(v)}})
		} else {
			all = append(all, &model.GraphLastResp{}, nil) // as stock's api answers for a graph that is away
		}
	}
	return all, nil
}

func (w *world) Post(ctx context.Context, url string, body []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var items []Mock
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, err
	}
	w.pushes = append(w.pushes, time.Now())
	if w.answer != nil {
		if said, err := w.answer(len(w.pushes)); said != "" || err != nil {
			return []byte(said), err
		}
	}
	w.pushed = append(w.pushed, items...)
	return []byte(`{"msg":"success","data":{"Message":"ok","Total":1,"Invalid":0,"Latency":0}}`), nil
}

func (w *world) set(fn func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn(w)
}

// mocks returns what transfer has, as endpoint@time in minutes since the bubble began.
func (w *world) mocks() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, m := range w.pushed {
		all = append(all, fmt.Sprintf("%s@%d", m.Endpoint, (m.Timestamp-epoch)/60))
	}
	return strings.Join(all, " ")
}

// epoch is when bubbles begin.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

func noPoint(int64) (int64, float64)   { return 0, 0 }
func fresh(now int64) (int64, float64) { return now - 10, 5 }
func stopped(ts int64) func(int64) (int64, float64) {
	return func(int64) (int64, float64) { return ts, 5 }
}

// live runs a nodata in a bubble, calls fn and ends it.
func live(t *testing.T, w *world, change func(*Config), fn func(n *Nodata, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Self.Enabled = false // the agent of this machine is not asked
		cfg.HTTP.Enabled = false
		if change != nil {
			change(&cfg)
		}
		n, err := New(cfg, Deps{Log: quietLog, Rows: &w.table, Points: w, Ready: w.ready, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		n.pusher = w
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		end := sync.OnceFunc(func() {
			stop()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		defer end()
		fn(n, end)
	})
}

// keys returns what is watched.
func (n *Nodata) keys() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.book.keys
}

// at sleeps until a time after the bubble began, and a moment.
func at(d time.Duration) {
	time.Sleep(time.Until(time.Unix(epoch, 0).Add(d + time.Millisecond)))
	synctest.Wait()
}

// Rows are there at once, and then at second 50 of even minutes; a row that is new is in
// force then, one that is gone no longer.
func TestRowsAreRead(t *testing.T) {
	w := &world{}
	w.rows = []portal.Nodata{row(1, "host", "h1", "m", "")}
	live(t, w, nil, func(n *Nodata, stop func()) {
		at(0)
		if n.health() != nil || len(n.keys()) != 1 {
			t.Errorf("at the start: %v, %v", n.keys(), n.health())
		}
		w.table.set(func(d *table) {
			d.rows = append(d.rows[:0:0], row(2, "group", "web", "m", ""))
			d.groups = map[string][]string{"web": {"h2", "h3"}}
		})
		at(49 * time.Second)
		if fmt.Sprint(n.keys()) != "[h1/m]" {
			t.Errorf("before its time: %v", n.keys())
		}
		at(50 * time.Second)
		if fmt.Sprint(n.keys()) != "[h2/m h3/m]" {
			t.Errorf("at second 50: %v", n.keys())
		}
		// An error is never "no rows".
		w.table.set(func(d *table) { d.err = errors.New("gone away") })
		at(2*time.Minute + 50*time.Second)
		if err := n.health(); fmt.Sprint(err) != "read the rows of mockcfg: gone away" || len(n.keys()) != 2 {
			t.Errorf("while the database is away: %v, health %v", n.keys(), err)
		}
		w.table.set(func(d *table) { d.err = nil })
		at(4*time.Minute + 50*time.Second)
		if n.health() != nil {
			t.Errorf("the database is back: %v", n.health())
		}
		var when []string
		for _, r := range w.reads {
			when = append(when, r.UTC().Format("04:05"))
		}
		if got := fmt.Sprint(when); got != "[00:00 00:50 02:50 04:50]" {
			t.Errorf("read at %s", got)
		}
	})
}

// Without rows nodata is not healthy, and tries soon; a database that has no tables yet
// is brought to its schema.
func TestTheFirstRows(t *testing.T) {
	w := &world{}
	w.rows, w.err = []portal.Nodata{row(1, "host", "h1", "m", "")}, errors.New("no such table: mockcfg")
	ready := 0
	w.ready = func() { ready++ }
	live(t, w, nil, func(n *Nodata, stop func()) {
		at(12 * time.Second)
		if fmt.Sprint(n.health()) != "read the rows of mockcfg: no such table: mockcfg" || ready != 0 || w.migrated != 3 {
			t.Errorf("health %v, ready %d, migrated %d times", n.health(), ready, w.migrated)
		}
		w.table.set(func(d *table) { d.heals = true })
		at(16 * time.Second)
		if n.health() != nil || ready != 1 || len(n.keys()) != 1 {
			t.Errorf("health %v, ready %d, series %v", n.health(), ready, n.keys())
		}
	})
}

// The life of a series that stops: its last point is at minute 5; three steps later mocks
// begin, two steps back, one a minute, until it reports again.
func TestASilentSeriesGetsMocks(t *testing.T) {
	w := &world{points: map[string]func(int64) (int64, float64){"h1/m": fresh, "h2/m": fresh}}
	w.rows = []portal.Nodata{row(1, "host", "h1\nh2", "m", "")}
	live(t, w, nil, func(n *Nodata, stop func()) {
		at(5 * time.Minute)
		w.set(func(w *world) { w.points["h1/m"] = stopped(epoch + 300) })
		at(8*time.Minute + 30*time.Second)
		if w.mocks() != "" {
			t.Errorf("after three steps: %s", w.mocks())
		}
		at(9 * time.Minute)
		if got := w.mocks(); got != "h1@7" {
			t.Errorf("after four: %s", got)
		}
		// graph has the mock, and says so.
		w.set(func(w *world) { w.points["h1/m"] = func(now int64) (int64, float64) { return now/60*60 - 120, -1 } })
		at(11 * time.Minute)
		if got := w.mocks(); got != "h1@7 h1@8 h1@9" {
			t.Errorf("at minute 11: %s", got)
		}
		w.set(func(w *world) { w.points["h1/m"] = fresh })
		at(15 * time.Minute)
		if got := w.mocks(); got != "h1@7 h1@8 h1@9" {
			t.Errorf("it reports: %s", got)
		}
		m := w.pushed[0]
		if m != (Mock{"m", "h1", epoch + 420, 60, -1, "GAUGE", ""}) {
			t.Errorf("a mock is %+v", m)
		}
		if n.sent.Get() != int64(len(w.pushed)) || n.dropped.Sum() != 0 {
			t.Errorf("sent %d of %d, dropped %v", n.sent.Get(), len(w.pushed), n.dropped.All())
		}
	})
}

// A graph that was restarted knows nothing: three steps long nothing is made of it. A
// series that never had a point is silent from the start.
func TestAGraphThatForgets(t *testing.T) {
	w := &world{points: map[string]func(int64) (int64, float64){"h1/m": fresh, "h2/m": noPoint}}
	w.rows = []portal.Nodata{row(1, "host", "h1", "m", ""), row(2, "host", "h2", "m", "")}
	live(t, w, nil, func(n *Nodata, stop func()) {
		at(10 * time.Minute)
		w.set(func(w *world) { w.pushed, w.points["h1/m"] = nil, noPoint })
		at(12*time.Minute + 59*time.Second)
		if got := w.mocks(); strings.Contains(got, "h1") || !strings.Contains(got, "h2@10") {
			t.Errorf("within the grace: %s", got)
		}
		w.set(func(w *world) { w.points["h1/m"] = fresh })
		at(20 * time.Minute)
		w.set(func(w *world) { w.points["h1/m"] = noPoint })
		at(22*time.Minute + 59*time.Second)
		if got := w.mocks(); strings.Contains(got, "h1") {
			t.Errorf("within the second grace: %s", got)
		}
		at(25 * time.Minute)
		if got := w.mocks(); !strings.Contains(got, "h1@") {
			t.Errorf("after it: %s", got)
		}
	})
}

// While the api is away nothing is judged: it says nothing of the series.
func TestTheAPIAway(t *testing.T) {
	now := func(now int64) (int64, float64) { return now, 5 }
	w := &world{points: map[string]func(int64) (int64, float64){"h1/m": now}}
	w.rows = []portal.Nodata{row(1, "host", "h1\nh2", "m", "")} // of h2 nobody knows
	live(t, w, nil, func(n *Nodata, stop func()) {
		at(2 * time.Minute)
		if n.health() != nil {
			t.Errorf("health: %v", n.health())
		}
		w.set(func(w *world) { w.down = errors.New("connection refused") })
		at(30 * time.Minute)
		if got := w.mocks(); got != "" {
			t.Errorf("without an api: %s", got)
		}
		if got := fmt.Sprint(n.health()); got != "ask for last points: connection refused" {
			t.Errorf("health: %s", got)
		}
		if n.askFailed.Get("failed") == 0 {
			t.Error("nothing is counted")
		}
		// It comes back and knows an old point.
		w.set(func(w *world) { w.down, w.points["h1/m"] = nil, stopped(epoch+100) })
		at(31 * time.Minute)
		if got := w.mocks(); got != "h1@29" || n.health() != nil {
			t.Errorf("the api is back: %s, health %v", got, n.health())
		}
	})
}

// All series are asked for, in requests of the configured size.
func TestAsksInBatches(t *testing.T) {
	w := &world{points: map[string]func(int64) (int64, float64){}}
	var obj []string
	for i := range 450 {
		obj = append(obj, fmt.Sprint("h", i))
		w.points[fmt.Sprintf("h%d/m", i)] = fresh
	}
	w.rows = []portal.Nodata{row(1, "host", strings.Join(obj, "\n"), "m", "")}
	live(t, w, func(c *Config) { c.Collector.Concurrent = 2 }, func(n *Nodata, stop func()) {
		at(20 * time.Second)
		slices.Sort(w.asked)
		if fmt.Sprint(w.asked) != "[50 200 200]" || n.collectN.Load() != 450 {
			t.Errorf("asked for %v, %d answers", w.asked, n.collectN.Load())
		}
	})
}

// A transfer that is away for half a minute loses nothing; each try pauses twice as long.
func TestPushesAreTriedAgain(t *testing.T) {
	w := &world{points: map[string]func(int64) (int64, float64){"h1/m": noPoint}}
	w.rows = []portal.Nodata{row(1, "host", "h1", "m", "")}
	w.answer = func(n int) (string, error) {
		if n <= 4 {
			return "", errors.New("connection refused")
		}
		return "", nil
	}
	live(t, w, nil, func(n *Nodata, stop func()) {
		at(65 * time.Second)
		if got := fmt.Sprint(n.health()); got != "push mocks to transfer: connection refused" {
			t.Errorf("health: %s", got)
		}
		at(90 * time.Second)
		if got := w.mocks(); got != "h1@-1" || n.health() != nil || n.retries.Get() != 4 {
			t.Errorf("%s, health %v, %d retries", got, n.health(), n.retries.Get())
		}
		var when []string
		for _, p := range w.pushes {
			when = append(when, p.UTC().Format("04:05"))
		}
		if got := fmt.Sprint(when); got != "[01:00 01:01 01:03 01:07 01:15]" {
			t.Errorf("pushed at %s", got)
		}
	})
}

// A batch is given up after eight tries, and counted; what transfer calls wrong is not
// tried again; an item that it refuses takes no other with it.
func TestMocksThatAreLostAreCounted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(n int) (string, error)
		want   map[string]int64
		pushes int // within two minutes
	}{
		{"away", func(int) (string, error) { return "", errors.New("away") }, map[string]int64{"transfer_away": 2}, 8},
		{"busy", func(int) (string, error) { return "", &httpx.StatusError{Code: http.StatusServiceUnavailable} }, map[string]int64{"transfer_away": 2}, 8},
		{"wrong", func(int) (string, error) { return "", &httpx.StatusError{Code: http.StatusBadRequest} }, map[string]int64{"refused": 2}, 1},
		{"not success", func(int) (string, error) { return `{"msg":"no"}`, nil }, map[string]int64{"transfer_away": 2}, 8},
		{"no JSON", func(int) (string, error) { return `<html>`, nil }, map[string]int64{"transfer_away": 2}, 8},
		{"one is refused", func(int) (string, error) { return `{"msg":"success","data":{"Total":2,"Invalid":1}}`, nil }, map[string]int64{"invalid": 1}, 1},
	} {
		w := &world{points: map[string]func(int64) (int64, float64){"h1/m": noPoint, "h2/m": noPoint}, answer: tc.answer}
		w.rows = []portal.Nodata{{ID: 1, Obj: "h1\nh2", ObjType: "host", Metric: "m", DsType: "GAUGE", Step: 3600, Mock: -1}}
		live(t, w, nil, func(n *Nodata, stop func()) {
			at(3 * time.Minute)
			if got := n.sent.Get(); got != 2-n.dropped.Sum() {
				t.Errorf("%s: %d are counted as sent, dropped %v", tc.name, got, n.dropped.All())
			}
			if got := n.dropped.All(); !maps.Equal(got, tc.want) || len(w.pushes) != tc.pushes {
				t.Errorf("%s: dropped %v in %d pushes, want %v in %d", tc.name, got, len(w.pushes), tc.want, tc.pushes)
			}
			if n.health() != nil { // there is nothing to push any more
				t.Errorf("%s: health %v", tc.name, n.health())
			}
		})
	}
}

// The queue is bounded: the oldest go, and are counted.
func TestTheQueueIsBounded(t *testing.T) {
	w := &world{points: map[string]func(int64) (int64, float64){}, answer: func(int) (string, error) { return "", errors.New("away") }}
	var obj []string
	for i := range 10 {
		obj = append(obj, fmt.Sprint("h", i))
		w.points[fmt.Sprintf("h%d/m", i)] = noPoint
	}
	w.rows = []portal.Nodata{row(1, "host", strings.Join(obj, "\n"), "m", "")}
	live(t, w, func(c *Config) { c.Sender.Queue, c.Sender.Batch = 15, 3 }, func(n *Nodata, stop func()) {
		at(2*time.Minute + 10*time.Second) // 20 mocks: 3 in hand, 15 wait
		if n.out.len() != 15 || n.dropped.Get("queue_full") != 2 {
			t.Errorf("%d wait, dropped %v", n.out.len(), n.dropped.All())
		}
	})
}

// When more series are silent than the threshold allows nothing is sent, and the gauge
// says so; when there are fewer mocks go out again.
func TestTooManySilentSeriesAreHeldBack(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		w := &world{points: map[string]func(int64) (int64, float64){"h1/m": noPoint, "h2/m": noPoint, "h3/m": fresh, "h4/m": fresh}}
		w.rows = []portal.Nodata{row(1, "host", "h1\nh2\nh3\nh4", "m", "")}
		live(t, w, func(c *Config) { c.Sender.Block.Enabled = enabled }, func(n *Nodata, stop func()) {
			at(3 * time.Minute)
			value := func(name string) int64 {
				v, ok := n.stats.Value(name)
				if !ok {
					t.Errorf("there is no counter %s", name)
				}
				return v
			}
			if !enabled {
				if w.mocks() == "" || value("nodata.blocking") != 0 || value("FloodRate") != 50 {
					t.Errorf("blocking is off: %q, blocking %d, rate %d", w.mocks(), value("nodata.blocking"), value("FloodRate"))
				}
				return
			}
			if w.mocks() != "" || value("nodata.blocking") != 1 || value("FloodRate") != 50 || value("Threshold") != 32 || n.dropped.Get("blocked") == 0 {
				t.Errorf("%q, blocking %d, rate %d, threshold %d, dropped %v", w.mocks(), value("nodata.blocking"), value("FloodRate"), value("Threshold"), n.dropped.All())
			}
			w.set(func(w *world) { w.points["h2/m"] = fresh })
			at(5 * time.Minute)
			if got := w.mocks(); !strings.HasSuffix(got, "h1@3") || strings.Contains(got, "h2") || value("nodata.blocking") != 0 {
				t.Errorf("one is silent: %s, blocking %d", got, value("nodata.blocking"))
			}
		})
	}
}

// A nodata that is asked to end sends what waits, within its drain, and says what it
// could not.
func TestTheEndSendsWhatWaits(t *testing.T) {
	for _, away := range []bool{false, true} {
		w := &world{points: map[string]func(int64) (int64, float64){"h1/m": noPoint, "h2/m": noPoint}}
		w.answer = func(n int) (string, error) {
			if n == 1 || away {
				return "", errors.New("away")
			}
			return "", nil
		}
		w.rows = []portal.Nodata{row(1, "host", "h1\nh2", "m", "")}
		live(t, w, func(c *Config) { c.Sender.Batch = 1 }, func(n *Nodata, stop func()) {
			at(60 * time.Second) // the first try has failed, the second waits
			began := time.Now()
			stop()
			if took := time.Since(began); took > n.cfg.Drain.D() {
				t.Errorf("it took %v to end", took)
			}
			if got, want := w.mocks(), map[bool]string{false: "h1@-1 h2@-1"}[away]; got != want {
				t.Errorf("transfer away %v: %q, want %q", away, got, want)
			}
			if got := n.dropped.Get("stopped"); away && got != 2 || !away && got != 0 {
				t.Errorf("transfer away %v: %d are counted as lost", away, got)
			}
		})
	}
}

// Sections that are switched off do nothing.
func TestSwitchedOff(t *testing.T) {
	w := &world{points: map[string]func(int64) (int64, float64){"h1/m": noPoint}}
	w.rows = []portal.Nodata{row(1, "host", "h1", "m", "")}
	for _, tc := range []struct {
		name  string
		off   func(*Config)
		wants func(n *Nodata) bool
	}{
		{"config", func(c *Config) { c.Rows.Enabled = false }, func(n *Nodata) bool { return len(w.reads) == 0 && n.health() == nil }},
		{"collector", func(c *Config) { c.Collector.Enabled = false }, func(n *Nodata) bool { return len(w.asked) == 0 && len(w.reads) > 0 }},
		{"sender", func(c *Config) { c.Sender.Enabled = false }, func(n *Nodata) bool { return len(w.pushes) == 0 && len(w.asked) > 0 && n.silent.Load() == 1 }},
	} {
		live(t, w, tc.off, func(n *Nodata, stop func()) {
			at(3 * time.Minute)
			if !tc.wants(n) {
				t.Errorf("%s: reads %d, asked %d, pushed %d, health %v", tc.name, len(w.reads), len(w.asked), len(w.pushes), n.health())
			}
		})
	}
}

// The clock of the host is put by an hour, and later back. When it was right before, points
// go on as they were, and when it was wrong they follow it: nobody becomes silent by that,
// who is silent is found in the time it takes, and mocks have the times of points.
func TestClockSteps(t *testing.T) {
	for name, tc := range map[string]struct {
		step   time.Duration
		follow bool
	}{
		"wrong, forward": {time.Hour, false},
		"wrong, back":    {-time.Hour, false},
		"right, forward": {time.Hour, true},
		"right, back":    {-time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			var host, fleet atomic.Int64 // how far both clocks are from the bubble's, in seconds
			report := func(now int64) (int64, float64) { return now + fleet.Load() - 10, 5 }
			w := &world{points: map[string]func(int64) (int64, float64){"h1/m": report, "h2/m": report}}
			w.now = func() time.Time { return time.Now().Add(time.Duration(host.Load()) * time.Second) }
			w.rows = []portal.Nodata{row(1, "host", "h1\nh2", "m", "")}
			live(t, w, nil, func(n *Nodata, stop func()) {
				put := func(by time.Duration) { // what moment finds out of the clock of a host, which a test can not put
					n.mu.Lock()
					defer n.mu.Unlock()
					n.moment()
					host.Add(int64(by / time.Second))
					n.stepped(by)
					n.clock = n.now()
				}
				at(5*time.Minute + 30*time.Second)
				put(tc.step)
				if tc.follow {
					fleet.Store(int64(tc.step / time.Second))
				}
				at(10 * time.Minute)
				if got := w.mocks(); got != "" {
					t.Errorf("after the step: %s", got)
				}
				if notes := n.partly.Each(); (len(notes) == 0) != tc.follow {
					t.Errorf("notes: %q", notes)
				}
				last, _ := report(time.Now().Unix())
				w.set(func(w *world) { w.points["h1/m"] = stopped(last) })
				at(14 * time.Minute)
				want := fmt.Sprintf("h1@%d h1@%d", 11+fleet.Load()/60, 12+fleet.Load()/60)
				if got := w.mocks(); got != want {
					t.Errorf("a series is silent: %s, want %s", got, want)
				}
				w.set(func(w *world) { w.points["h1/m"] = report })
				at(15*time.Minute + 30*time.Second)
				put(-tc.step)
				fleet.Store(0)
				at(25 * time.Minute)
				if got := w.mocks(); got != want || len(n.partly.Each()) > 0 {
					t.Errorf("the clock is put back: %s, want %s, %q", got, want, n.partly.Each())
				}
			})
		})
	}
}
