package alarm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
)

// road is the road to a MariaDB, which can be closed and opened again.
type road struct {
	addr string

	mu     sync.Mutex
	closed bool
	frozen chan struct{} // nothing passes until it is closed; nil: all does
	conns  []net.Conn
	opened int // connections since it was open last
}

func newRoad(t *testing.T, to string) *road {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &road{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			r.mu.Lock()
			if r.closed || err != nil {
				r.mu.Unlock()
				_ = c.Close()
				if err == nil {
					_ = far.Close()
				}
				continue
			}
			r.conns = append(r.conns, c, far)
			r.opened++
			r.mu.Unlock()
			for _, pair := range [][2]net.Conn{{c, far}, {far, c}} {
				wg.Go(func() {
					_, _ = io.Copy(lane{r, pair[0]}, pair[1]) // it ends when one end is closed
					_, _ = pair[0].Close(), pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		r.thaw()
		r.close()
		wg.Wait()
	})
	return r
}

// A lane is one direction of a connection.
type lane struct {
	r  *road
	to net.Conn
}

func (l lane) Write(b []byte) (int, error) {
	l.r.mu.Lock()
	frozen := l.r.frozen
	l.r.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	return l.to.Write(b)
}

// freeze lets nothing pass any more: connections stay open, and new ones are taken.
func (r *road) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = make(chan struct{})
}

func (r *road) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen != nil {
		close(r.frozen)
		r.frozen = nil
	}
}

func (r *road) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

func (r *road) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.opened = false, 0
}

// onRoad runs a test with alarms that reach their databases by a road.
func onRoad(t *testing.T, test func(t *testing.T, w *world, r *road)) {
	eachStore(t, func(t *testing.T, w *world) {
		if w.at.AlarmsDSN == "" {
			t.Skip("a file is not away")
		}
		address := regexp.MustCompile(`tcp\(([^)]+)\)`)
		r := newRoad(t, address.FindStringSubmatch(w.at.AlarmsDSN)[1])
		for _, dsn := range []*string{&w.at.AlarmsDSN, &w.at.PortalDSN, &w.at.UICDSN} {
			*dsn = address.ReplaceAllString(*dsn, "tcp("+r.addr+")")
		}
		w.set = func(c *Config) {
			c.API.IM, c.DB.Patience = w.sink.URL+"/im", conf.Duration(300*time.Millisecond)
		}
		test(t, w, r)
	})
}

// owed says how many events in Redis have no rows yet.
func (w *world) owed() (n int64) {
	w.t.Helper()
	for i := range parts {
		k, err := redisx.Int64(w.pool.Do(w.t.Context(), "HLEN", redisx.AlarmOwed(i)))
		if err != nil {
			w.t.Fatal(err)
		}
		n += k
	}
	return n
}

func (w *world) paid() error {
	if n := w.owed(); n > 0 {
		return fmt.Errorf("rows of %d events are owed", n)
	}
	return w.empty()
}

// While the database is away people are told, each once and in order; the rows are written
// when it is back, and what comes then goes on from them.
func TestToldWithoutRows(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		w.channel("bell", "inbox", nil)
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		r := w.start()
		w.push(event("s_0", action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(1))
		w.eventually(w.empty)

		road.close()
		var ids []string
		for i := range 20 {
			id := fmt.Sprint("s_1_", i)
			ids = append(ids, id)
			for step := 1; step <= 2; step++ {
				e := event(id, action, step, "PROBLEM", at+int64(60*step), i%4)
				e.Endpoint = id
				w.push(e)
			}
		}
		w.push(event("s_0", action, 1, "OK", at+500, 0))
		w.eventually(w.posts(1 + 41))
		w.eventually(w.empty)
		if err := r.health(); err == nil || !strings.Contains(err.Error(), "write events") {
			t.Errorf("health %v", err)
		}
		if n := w.owed(); n != 41 || r.owedN.Load() != 41 {
			t.Errorf("rows of %d events are owed, %d by the counter", n, r.owedN.Load())
		}
		if n := w.notices(ids[0]); len(n) > 0 {
			t.Errorf("rows by a closed road: %q", n)
		}

		road.open()
		w.eventually(w.paid)
		w.eventually(r.health)
		for _, id := range ids {
			want := []string{"ann bell sent 1 1", "ann bell sent 1 2", "ann im sent 1 1", "ann im sent 1 2", "bare bell sent 1 1", "bare bell sent 1 2",
				"bob bell sent 1 1", "bob bell sent 1 2", "bob im sent 1 1", "bob im sent 1 2"}
			got := w.notices(id)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%s: %q, want %q", id, got, want)
			}
		}
		if _, unread, err := w.db.Inbox(t.Context(), "ann", 1, 0); err != nil || unread != 1+41 {
			t.Errorf("%d in the inbox, %v", unread, err)
		}
		cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{Statuses: []string{"PROBLEM"}, Limit: 100})
		if err != nil || len(cases) != 20 {
			t.Errorf("%d cases are open, %v", len(cases), err)
		}
		if len(cases) > 0 && (cases[0].CurrentStep == nil || *cases[0].CurrentStep != 2) {
			t.Errorf("case %+v", cases[0])
		}
		w.push(event(ids[0], action, 1, "PROBLEM", at+200, 0)) // its judge has forgotten it: too soon
		w.push(event(ids[1], action, 1, "OK", at+600, 1))
		w.eventually(w.empty)
		if n := len(w.contents("/im")); n != 1+41+1 {
			t.Errorf("%d messages", n)
		}
		if n := w.notices(ids[0]); !slices.Contains(n, "ann im dup 0 1") {
			t.Errorf("what was told without rows is not known: %q", n)
		}
		for _, text := range w.contents("/im") {
			if strings.Contains(text, "repeat") {
				t.Errorf("told as a repeat: %s", text)
			}
		}
		all := w.contents("/im")
		for _, id := range ids {
			var steps []string
			for _, text := range all {
				if rest, ok := strings.CutPrefix(text[strings.Index(text, "][")+2:], "PROBLEM]["+id+"]"); ok {
					steps = append(steps, rest[strings.Index(rest, "[O"):][:3])
				}
			}
			if !slices.Equal(steps, []string{"[O1", "[O2"}) {
				t.Errorf("%s was told as %q", id, steps)
			}
		}
	})
}

// The database hangs: its connections are open, and nothing comes back. People are told as
// when it is gone, within the patience and the time that an answer may take, and the rows are
// written when it goes on.
func TestDatabaseHangs(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		r := w.start()
		w.push(event("s_0", action, 1, "PROBLEM", at, 0)) // people and channels are known
		w.eventually(w.posts(1))
		w.eventually(w.empty)
		road.freeze()
		const each = 8 // of both workers
		for round := range 5 {
			for host := range each {
				w.push(event(fmt.Sprint("s_1_", round*each+host), action, 1, "PROBLEM", at, 1))
			}
			within(t, 40*time.Second, w.posts(1+each*(1+round))) // the connections themselves give up after a minute
		}
		if err := r.health(); err == nil || !strings.Contains(err.Error(), "write events") {
			t.Errorf("health %v", err)
		}
		road.thaw()
		w.eventually(w.paid)
		w.eventually(r.health)
		for host := range 5 * each {
			got := w.notices(fmt.Sprint("s_1_", host))
			if slices.Sort(got); !slices.Equal(got, []string{"ann im sent 1 1", "bob im sent 1 1"}) {
				t.Errorf("%d: %q", host, got)
			}
		}
		if n := len(w.contents("/im")); n != 1+5*each {
			t.Errorf("%d messages", n)
		}
	})
}

// The clock of the host is put by an hour while the database is away and people are told:
// rows are written in the order in which they were.
func TestClockSteps(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		var put atomic.Int64
		w.before = func(a *Alarm) { a.now = func() time.Time { return time.Now().Add(time.Duration(put.Load())) } }
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		w.start()
		w.push(event("s_0", action, 1, "PROBLEM", at, 0)) // people and channels are known
		w.eventually(w.posts(1))
		w.eventually(w.empty)
		road.close()
		for i, step := range []time.Duration{0, -time.Hour, time.Hour} {
			put.Store(int64(step))
			for host := range 8 { // of both workers
				status := []string{"PROBLEM", "OK", "PROBLEM"}[i]
				w.push(event(fmt.Sprint("s_1_", host), action, 1, status, at+int64(600*i), 1))
			}
			w.eventually(w.posts(1 + 8*(i+1)))
			w.eventually(w.empty)
		}
		road.open()
		w.eventually(w.paid)
		cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{Limit: 100})
		if err != nil || len(cases) != 1+8 {
			t.Fatalf("%d cases, %v", len(cases), err)
		}
		for _, c := range cases {
			if c.ID == "s_0" {
				continue
			}
			if c.Status != "PROBLEM" || c.Timestamp.Unix() != at+1200 {
				t.Errorf("%s is %s since %v, want PROBLEM since %v", c.ID, c.Status, c.Timestamp, time.Unix(at+1200, 0))
			}
		}
	})
}

// An alarm that dies while it tells without rows leaves a record: who comes next writes the
// rows, and tells again only what was with the provider.
func TestKilledWithoutRows(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		set := w.set
		w.set = func(c *Config) { set(c); c.Worker.IM = 1 }
		r := w.start()
		ids := sameWorker("s_", 3)
		w.push(event(ids[0], action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(1))
		w.eventually(w.empty)
		road.close()
		w.push(event(ids[1], action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(2))
		w.eventually(w.empty)
		w.sink.Hold()
		w.push(event(ids[2], action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(3))
		r.kill()
		w.sink.Release()
		road.open()
		w.start()
		within(t, 30*time.Second, w.paid)
		if n := w.notices(ids[1]); !slices.Contains(n, "ann im sent 1 1") || !slices.Contains(n, "bob im sent 1 1") {
			t.Errorf("told before the kill: %q", n)
		}
		var last []string
		for _, text := range w.contents("/im") {
			if strings.Contains(text, "repeat") {
				last = append(last, text)
			}
		}
		got := w.notices(ids[2])
		slices.Sort(got)
		if len(got) != 2 || !strings.HasPrefix(got[0], "ann im sent 2") || !strings.HasPrefix(got[1], "bob im sent 2") || len(last) != 1 {
			t.Errorf("with the provider at the kill: %q, marked %q; all %q", got, last, w.contents("/im"))
		}
	})
}

// Who takes the parts of one that dies takes its records, too, also while the database is
// still away.
func TestTakenOverWithoutRows(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		a, b := w.start(), w.start()
		w.eventually(func() error {
			if a.holds.Load() != parts/2 || b.holds.Load() != parts/2 {
				return fmt.Errorf("%d and %d parts", a.holds.Load(), b.holds.Load())
			}
			return nil
		})
		ids := make([]string, parts) // one of each part
		for i, found := 0, 0; found < parts; i++ {
			if id := fmt.Sprint("s_", i); ids[partOf(id, parts)] == "" {
				ids[partOf(id, parts)] = id
				found++
			}
		}
		push := func(step int) {
			for _, id := range ids {
				e := event(id, action, step, "PROBLEM", at+int64(400*step), 0)
				e.Endpoint = id
				w.push(e)
			}
		}
		push(1)
		w.eventually(w.posts(parts))
		w.eventually(w.empty)
		road.close()
		w.sink.Hold()
		push(2)
		w.eventually(w.posts(2 * parts)) // all are with the provider
		a.kill()
		w.sink.Release()
		within(t, 30*time.Second, func() error {
			if n := w.owed(); n != parts {
				return fmt.Errorf("%d owed", n)
			}
			return w.empty()
		})
		told, marked := map[string]int{}, 0
		for _, text := range w.contents("/im") {
			if strings.Contains(text, "[O2 ") {
				told[strings.Split(text, "][")[2]]++
				if strings.Contains(text, "repeat") {
					marked++
				}
			}
		}
		twice := 0
		for _, id := range ids {
			switch told[id] {
			case 1:
			case 2:
				twice++
			default:
				t.Errorf("%s was told %d times", id, told[id])
			}
		}
		if twice == 0 || twice != marked {
			t.Errorf("%d were told twice, %d say so", twice, marked)
		}
		road.open()
		w.eventually(w.paid)
		if n := w.notices(ids[0]); len(n) != 4 || strings.Contains(fmt.Sprint(n), "queued") {
			t.Errorf("rows %q", n)
		}
	})
}

// A message that is with its provider when the database comes back has its result in its row.
func TestBackWhileTelling(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		w.start()
		w.push(event("s_0", action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(1))
		w.eventually(w.empty)
		road.close()
		w.sink.Hold()
		w.push(event("s_0", action, 2, "PROBLEM", at+400, 0))
		w.eventually(w.posts(2))
		road.open()
		w.eventually(func() error {
			road.mu.Lock()
			defer road.mu.Unlock()
			if road.opened == 0 {
				return errors.New("nobody has seen that the database is back")
			}
			return nil
		})
		w.sink.Release()
		w.eventually(w.paid)
		if n := w.notices("s_0"); !slices.Contains(n, "ann im sent 1 2") || len(w.contents("/im")) != 2 {
			t.Errorf("%q, told %q", n, w.contents("/im"))
		}
	})
}

// A stop while the database is away leaves what could not be told to the next alarm, as it was.
func TestStoppedWithoutRows(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		set := w.set
		w.set = func(c *Config) { set(c); c.Worker.IM = 1 }
		r := w.start()
		w.push(event("s_0", action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(1))
		road.close()
		w.sink.Hold()
		const n = 40
		for i := range n {
			w.push(event(fmt.Sprint("s_1_", i), action, 1, "PROBLEM", at, 0))
		}
		w.eventually(w.posts(2))
		w.eventually(func() error {
			if k := w.owed(); k != n {
				return fmt.Errorf("%d owed", k)
			}
			return nil
		})
		w.stopWhileHeld(r)
		road.open()
		w.start()
		within(t, 30*time.Second, w.paid)
		repeats := 0
		for _, p := range w.sink.Posts("/im") {
			if strings.Contains(p.Form["content"], "repeat") {
				repeats++
			}
		}
		if repeats > 0 {
			t.Errorf("%d messages are marked as repeats", repeats)
		}
		if got := len(w.sink.Posts("/im")); got != 1+n {
			t.Errorf("%d messages, want %d", got, 1+n)
		}
	})
}

// A record of an event that is still in its list: its people were told, and nobody dies of
// a record that can not be read.
func TestRecordsAreWritten(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		e := event("s_1", action, 1, "PROBLEM", at, 0)
		part := partOf(e.Id, parts)
		n := portal.Notice{CaseID: e.Id, EventTS: time.Unix(at, 0), SendTS: time.Now(), Endpoint: e.Endpoint, Metric: e.Counter(), Status: e.Status, Step: 1, ActionID: action,
			Receiver: "ann", Channel: "im", Result: portal.NoticeSent, Attempts: 1, Answer: "ok"}
		bob := n
		bob.Receiver, bob.Result, bob.Answer = "bob", portal.NoticeQueued, ""
		// The database went away when it had written ann's row, and before it said so.
		queued := n
		queued.Result, queued.Attempts, queued.Answer = portal.NoticeQueued, 0, ""
		if _, err := w.db.SaveEvents(t.Context(), []portal.AlarmEvent{{Event: e}}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.db.QueueNotices(t.Context(), []portal.Notice{queued}); err != nil {
			t.Fatal(err)
		}
		raw := mustJSON(t, record{At: 1, Event: mustJSON(t, e), Teams: []string{"ops"}, Notices: []portal.Notice{n, bob}})
		late := mustJSON(t, record{At: 2, Event: []byte(`{"id":"","status":"?"}`)})
		if _, err := w.pool.Do(t.Context(), "HSET", redisx.AlarmOwed(part), owedKey(e), raw, "bad", "{", "event", late); err != nil {
			t.Fatal(err)
		}
		w.push(e)
		w.start()
		w.eventually(w.paid)
		got := w.contents("/im")
		if len(got) != 1 || !strings.Contains(got[0], "(possible repeat)") || w.sink.Posts("/im")[0].Form["tos"] != "im-bob" {
			t.Errorf("told %q, %v, want the one that was about to be sent", got, w.sink.Posts("/im"))
		}
		notices := w.notices(e.Id)
		slices.Sort(notices)
		if !slices.Equal(notices, []string{"ann im sent 1 1", "bob im sent 2 1"}) {
			t.Errorf("notices %q", notices)
		}
	})
}

// With a patience of 0 events wait for the database.
func TestNoPatience(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		set := w.set
		w.set = func(c *Config) { set(c); c.DB.Patience = 0 }
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		r := w.start()
		w.push(event("s_0", action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(1))
		road.close()
		w.push(event("s_1", action, 1, "PROBLEM", at, 0))
		w.eventually(func() error {
			if r.dbErrors.Get() < 4 {
				return errors.New("not tried often enough")
			}
			return nil
		})
		if err := w.posts(1)(); err != nil {
			t.Error(err)
		}
		road.open()
		w.eventually(w.posts(2))
		w.eventually(w.empty)
	})
}

// The end of a problem that is told again, since its rows may be all that came of it, is no
// end of a problem that nobody was told of, as long as nobody can look.
func TestOverIsLookedUp(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	r := w.start()
	it := &item{event: event("s_1", action, 1, model.StatusOK, time.Now().Unix(), 0), saved: &portal.Saved{Known: true, Prior: &portal.PriorCase{Status: model.StatusOK}}}
	w.eventually(func() error { return r.workers[0].address(t.Context(), it) })
	w.eventually(func() error { // the channels are read a moment after the start
		if n := len(r.workers[0].plan(t.Context(), it, nil, false)); n != 1 {
			return fmt.Errorf("nobody knows whether the problem was told, and %d messages tell its end", n)
		}
		return nil
	})
	if n := len(r.workers[0].plan(t.Context(), it, nil, true)); n != 0 {
		t.Errorf("nothing was told of the problem, and %d messages tell its end", n)
	}
}

// A problem is told without rows, and the database is back before its end, of the same
// batch, looks what was told of it. Rows do not know that: they are not asked, or the end
// would be taken for that of a problem that nobody was told of.
func TestRowsAreNotAskedMeanwhile(t *testing.T) {
	w := newWorld(t)
	action := w.action(portal.Action{UIC: "ops"})
	r := w.start()
	it := &item{event: event("s_1", action, 1, model.StatusOK, time.Now().Unix(), 0), saved: &portal.Saved{Known: true, Prior: &portal.PriorCase{Status: model.StatusOK}}}
	one := r.newWorker()
	w.eventually(func() error { return one.address(t.Context(), it) })
	if told, how := one.lookUp(t.Context(), []*item{it}); how != done || told[it] != nil {
		t.Fatalf("rows know %+v, %v", told[it], how)
	}
	one.withoutRows(queueMessages, errors.New("the database is away"))
	if _, how := one.lookUp(t.Context(), []*item{it}); how != away {
		t.Errorf("rows are asked what was told meanwhile: %v", how)
	}
}

// Events that may have been dealt twice are told as possible repeats.
func TestDealtTwiceWithoutRows(t *testing.T) {
	onRoad(t, func(t *testing.T, w *world, road *road) {
		redealt := func() int64 {
			n, err := redisx.Int64(w.pool.Do(t.Context(), "EXISTS", redisx.AlarmRedealt))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 5000
		r := w.start()
		w.push(event("s_0", action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(1))
		w.eventually(w.empty)
		if redealt() != 0 {
			t.Error("the first that deals says that it deals twice")
		}
		r.stop()
		gone := w.pool.NewQueue("gone", redisx.Event(0))
		if err := gone.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.push(event("s_1", action, 1, "PROBLEM", at, 0)) // dealt, and not taken out of flight
		if all, err := gone.Pop(t.Context(), 1); err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		w.start()
		w.eventually(w.posts(2))
		w.eventually(w.empty)
		if redealt() != 1 {
			t.Error("what another had in flight is dealt, and nobody says so")
		}
		road.close()
		w.push(event("s_2", action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(3))
		if got := w.contents("/im"); strings.Contains(got[1], "repeat") || !strings.Contains(got[2], "(possible repeat)") {
			t.Errorf("told %q", got)
		}
	})
}

// Messages without rows have names of their own, of which providers drop repetitions.
func TestMessageID(t *testing.T) {
	n := portal.Notice{CaseID: "s_1", EventTS: time.Unix(1, 0), Status: model.StatusProblem, Step: 1, Receiver: "ann", Channel: "im"}
	other := n
	other.Receiver = "bob"
	again := n
	if messageID(&n) != messageID(&again) || messageID(&n) == messageID(&other) {
		t.Errorf("%s, %s", messageID(&n), messageID(&other))
	}
	if n.ID = 7; messageID(&n) != "alarm.notice.7" {
		t.Errorf("with a row: %s", messageID(&n))
	}
}
