package alarm

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
)

// A message that was with the provider when alarm was killed is sent again and says so;
// one that was sent is not, and one that nobody had begun with is sent as if nothing had
// happened.
func TestKilled(t *testing.T) {
	eachStore(t, testKilled)
}

func testKilled(t *testing.T, w *world) {
	w.channel("bell", "inbox", nil)
	w.set = func(c *Config) { c.API.IM, c.Worker.IM = w.sink.URL+"/im", 1 }
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	first := w.start()
	w.push(event("s_1_sent", action, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if n := w.notices("s_1_sent"); !slices.Contains(n, "ann im sent 1 1") {
			return fmt.Errorf("%q", n)
		}
		return nil
	})
	w.sink.Hold()
	w.push(event("s_1_inside", action, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if n := len(w.sink.Posts("/im")); n != 2 {
			return fmt.Errorf("%d posts", n)
		}
		return nil
	})
	first.kill()
	w.sink.Release()
	w.push(event("s_1_later", action, 1, "PROBLEM", at, 0))
	w.start()
	w.eventually(w.empty)
	got := w.contents("/im")
	slices.Sort(got)
	short := "[P0][PROBLEM][host01][][n all(#3) cpu.idle  1.5>1][O1 " + time.Unix(at, 0).UTC().Format(time.DateTime) + "]"
	want := []string{short, short, short, short + " (possible repeat)"}
	if !slices.Equal(got, want) {
		t.Errorf("told\n%q, want\n%q", got, want)
	}
	for id, attempts := range map[string]int{"s_1_sent": 1, "s_1_inside": 2, "s_1_later": 1} {
		if n := w.notices(id); !slices.Contains(n, fmt.Sprintf("ann im sent %d 1", attempts)) || !slices.Contains(n, "bare bell sent 1 1") || len(n) != 5 {
			t.Errorf("%s: %q", id, n)
		}
	}
	if _, unread, err := w.db.Inbox(t.Context(), "ann", 1, 0); err != nil || unread != 3 {
		t.Errorf("%d unread, %v", unread, err)
	}
}

// Two alarms share the work; when one is cut off the other does all of it. Each event
// is told, those of one id in order.
func TestTwoShare(t *testing.T) {
	eachStore(t, testTwoShare)
}

func testTwoShare(t *testing.T, w *world) {
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	a, b := w.start(), w.start()
	shares := func(want int64) func() error {
		return func() error {
			if x, y := a.holds.Load(), b.holds.Load(); x != want || y != parts-want && want > 0 {
				return fmt.Errorf("%d and %d parts", x, y)
			}
			return nil
		}
	}
	w.eventually(shares(parts / 2))
	const ids, steps = 60, 10
	at := time.Now().Unix() - 10_000
	burst := func(from, to int) {
		for step := from; step <= to; step++ {
			for id := range ids {
				e := event(fmt.Sprint("s_2_", id), action, step, "PROBLEM", at+int64(step)*60, id%3)
				e.Endpoint, e.Strategy.MaxStep = fmt.Sprint("host", id), 100
				w.push(e)
			}
		}
	}
	burst(1, 5)
	w.eventually(func() error {
		if a.told.Get() < 20 || b.told.Get() < 20 {
			return fmt.Errorf("told %d and %d", a.told.Get(), b.told.Get())
		}
		return nil
	})
	b.kill()
	burst(6, steps)
	w.eventually(func() error {
		if n := a.holds.Load(); n != parts {
			return fmt.Errorf("the survivor has %d parts", n)
		}
		return w.empty()
	})
	plain, any := map[string][]string{}, map[string]map[string]bool{}
	repeats := 0
	for _, text := range w.contents("/im") {
		endpoint := strings.Split(text, "][")[2]
		step := strings.Fields(text[strings.LastIndex(text, "[O"):])[0]
		if any[endpoint] == nil {
			any[endpoint] = map[string]bool{}
		}
		any[endpoint][step] = true
		if strings.Contains(text, "(possible repeat)") {
			repeats++
			continue
		}
		plain[endpoint] = append(plain[endpoint], step)
	}
	for id := range ids {
		host := fmt.Sprint("host", id)
		got := plain[host]
		// A message whose first try was cut off may come as a repeat only.
		if len(any[host]) != steps || len(got) > steps || !slices.IsSortedFunc(got, byStep) {
			t.Errorf("host%d was told %q, with repeats %v", id, got, any[host])
		}
		if n := w.notices(fmt.Sprint("s_2_", id)); len(n) != 2*steps || slices.ContainsFunc(n, func(s string) bool { return !strings.Contains(s, " sent ") }) {
			t.Errorf("s_2_%d: %d notices %q", id, len(n), n)
		}
	}
	if repeats > 60 {
		t.Errorf("%d possible repeats", repeats)
	}
	t.Logf("%d possible repeats", repeats)
	a.stop()
}

// byStep orders "[O2" before "[O10".
func byStep(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// A stop tells what is in hand and leaves the rest to the next.
func TestStop(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM, c.Worker.IM = w.sink.URL+"/im", 1 }
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	r := w.start()
	for i := range 500 {
		w.push(event(fmt.Sprint("s_3_", i), action, 1, "PROBLEM", at, 0))
	}
	w.eventually(func() error {
		if r.told.Get() < 10 {
			return errors.New("nothing is told")
		}
		return nil
	})
	r.stop()
	for _, pattern := range []string{"*:inflight:*", "*:lock"} {
		if left, err := redisx.Strings(w.pool.Do(t.Context(), "KEYS", pattern)); err != nil || len(left) > 0 {
			t.Errorf("a stop leaves %q, %v: the next would wait for their leases", left, err)
		}
	}
	next := w.start()
	w.eventually(w.empty)
	next.stop()
	got := w.contents("/im")
	if len(got) != 500 || strings.Contains(fmt.Sprint(got), "repeat") {
		t.Errorf("%d messages", len(got))
	}
}

// While Redis is away nothing is lost but what it forgets, and alarm goes on by itself.
func TestRedisRestarts(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	r := w.start()
	w.push(event("s_4_a", action, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if n := len(w.sink.Posts("/im")); n != 1 {
			return fmt.Errorf("%d posts", n)
		}
		return nil
	})
	// Messages that are in hand are told without Redis.
	w.sink.Hold()
	w.push(event("s_4_b", action, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if n := len(w.sink.Posts("/im")); n != 2 {
			return fmt.Errorf("%d posts", n)
		}
		return nil
	})
	w.redis.Kill()
	w.sink.Release()
	w.eventually(func() error {
		if r.health() == nil {
			return errors.New("nobody says that redis is away")
		}
		if n := w.notices("s_4_b"); !slices.Contains(n, "ann im sent 1 1") {
			return fmt.Errorf("%q", n)
		}
		return nil
	})
	w.redis.Start()
	// Judge pushes again what Redis may have lost; what was told is not told again.
	w.push(event("s_4_b", action, 1, "PROBLEM", at, 0), event("s_4_c", action, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if n := w.notices("s_4_c"); !slices.Contains(n, "ann im sent 1 1") {
			return fmt.Errorf("%q", n)
		}
		if err := r.health(); err != nil {
			return err
		}
		return w.empty()
	})
	if n := len(w.sink.Posts("/im")); n != 3 {
		t.Errorf("%d posts, want 3", n)
	}
}

// What nobody can read stands in alarm:dead with its reason and holds nothing up.
func TestPoison(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	wild := event("s_5_\x00\xff😀", action, 1, "PROBLEM", at, 2)
	wild.Strategy.Priority, wild.Endpoint, wild.CurrentStep = -7, strings.Repeat("e", 100_000), 1<<40
	raw := []string{
		"", "[]", `{"id":1}`, `{"id":"s_1","strategy":{},"expression":{},"status":"OK","eventTime":1}`, strings.Repeat("x", MaxEvent+1), "\xff\xfe\x00",
		`{"id":"s_2","strategy":{},"status":"PROBLEM","eventTime":99999999999}`,
	}
	for _, s := range raw {
		if _, err := w.pool.Do(t.Context(), "LPUSH", redisx.Event(1), s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.pool.Do(t.Context(), "LPUSH", redisx.Part(3, 1), "{"); err != nil { // that nobody dealt
		t.Fatal(err)
	}
	w.push(event("s_5_good", action, 1, "PROBLEM", at, 1))
	if _, err := w.pool.Do(t.Context(), "LPUSH", redisx.Event(1), mustJSON(t, wild)); err != nil {
		t.Fatal(err)
	}
	r := w.start()
	w.eventually(func() error {
		if n := len(w.sink.Posts("/im")); n != 2 {
			return fmt.Errorf("%d posts", n)
		}
		return w.empty()
	})
	if got := r.dead.Get(); got != int64(len(raw))+1 {
		t.Errorf("%d dead events", got)
	}
	all, err := redisx.Strings(w.pool.Do(t.Context(), "LRANGE", redisx.Dead, 0, -1))
	if err != nil || len(all) != len(raw)+1 || !strings.Contains(fmt.Sprint(all), "event of 1048577 bytes: at most 1048576") {
		t.Errorf("%d in the list, %v", len(all), err)
	}
	for _, s := range all {
		if len(s) > 2*maxDeadEvent {
			t.Errorf("%d bytes are kept of a dead event", len(s))
		}
	}
}

// While nobody can say whom an event is for its rows are written, and it is told, in
// order, when somebody can.
func TestPeopleAway(t *testing.T) {
	w := newWorld(t)
	w.channel("bell", "inbox", nil)
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	r := w.start()
	away := &awayPeople{People: r.people.from, err: errors.New("the portal is away")}
	away.down.Store(true)
	r.people.from = away
	w.push(event("s_6_a", action, 1, "PROBLEM", at, 0), event("s_6_a", action, 1, "OK", at+60, 0), event("s_6_n", 0, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if n := r.heldN.Load(); n != 2 {
			return fmt.Errorf("%d held", n)
		}
		return nil
	})
	if err := r.health(); err == nil || !strings.Contains(err.Error(), "the portal is away") {
		t.Errorf("health %v", err)
	}
	cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{Endpoints: []string{"host01"}})
	if err != nil || len(cases) != 2 {
		t.Errorf("%d cases, %v", len(cases), err)
	}
	away.down.Store(false)
	w.eventually(w.empty)
	got := w.contents("/im")
	if len(got) != 2 || !strings.Contains(got[0], "[PROBLEM]") || !strings.Contains(got[1], "[OK]") {
		t.Errorf("told %q", got)
	}
	w.eventually(r.health)
}

// A problem that judge tells from its beginning again, because it was restarted, is not
// told again at once, and then as its next step.
func TestJudgeForgot(t *testing.T) {
	eachStore(t, testJudgeForgot)
}

func testJudgeForgot(t *testing.T, w *world) {
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	other := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 10_000
	w.start()
	at1 := func(id string, action, step int, status string, after int64) *model.Event {
		return event(id, action, step, status, at+after, 0)
	}
	w.push(
		at1("s_7", action, 1, "PROBLEM", 0),
		at1("s_7", other, 1, "PROBLEM", 0),        // through another template
		at1("s_7", action, 1, "PROBLEM", 60),      // forgotten: too soon
		at1("s_7", action, 1, "PROBLEM", 400),     // forgotten again: step 2
		at1("s_7", action, 3, "PROBLEM", 800),     // the last
		at1("s_7", action, 1, "PROBLEM", 1200),    // forgotten: all steps are told
		at1("s_7", action, 1, "OK", 1300),         // recovered
		at1("s_7", action, 1, "PROBLEM", 1400),    // a new one
		at1("s_7", action, 1, "PROBLEM", 100),     // late: not told
		closed(at1("s_7", action, 1, "OK", 1500)), // not told
	)
	w.eventually(w.empty)
	var got []string
	for _, text := range w.contents("/im") {
		f := strings.Split(text, "][")
		got = append(got, f[1]+" "+strings.Fields(f[len(f)-1])[0])
	}
	want := []string{"PROBLEM O1", "PROBLEM O1", "PROBLEM O2", "PROBLEM O3", "OK O1", "PROBLEM O1"}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if n := w.notices("s_7"); strings.Count(fmt.Sprint(n), " dup ") != 4 {
		t.Errorf("notices %q", n)
	}
	cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{ID: "s_7"})
	if err != nil || cases[0].Status != "OK" || cases[0].UpdateAt.Unix() != at+1500 {
		t.Errorf("case %+v, %v", cases, err)
	}
}

func closed(e *model.Event) *model.Event { e.Closed = model.ClosedStrategyRemoved; return e }

// A kill after the rows of events and before their messages: they are told when they
// come again, in order, though their case has moved on.
func TestKilledBetween(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
		action := w.action(portal.Action{UIC: "ops"})
		at := time.Now().Unix() - 1000
		events := []*model.Event{event("s_8", action, 1, "PROBLEM", at, 0), event("s_8", action, 2, "PROBLEM", at+60, 0), event("s_8", action, 1, "OK", at+120, 0)}
		var rows []portal.AlarmEvent
		for _, e := range events {
			rows = append(rows, portal.AlarmEvent{Event: e})
		}
		if _, err := w.db.SaveEvents(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		w.push(events...)
		w.push(events[0]) // and one is dealt twice
		w.start()
		w.eventually(w.empty)
		var got []string
		for _, text := range w.contents("/im") {
			got = append(got, strings.Split(text, "][")[1])
		}
		if fmt.Sprint(got) != "[PROBLEM PROBLEM OK]" {
			t.Errorf("told %q", got)
		}
		saved, err := w.db.CaseEvents(t.Context(), "s_8", time.Time{}, time.Time{}, -1, 0, 0)
		if err != nil || len(saved) != 3 {
			t.Errorf("%d event rows, %v", len(saved), err)
		}
	})
}

// An event of which nobody knows for an hour whom it is for is dead, and those behind it
// are not.
func TestNobodyKnowsForAnHour(t *testing.T) {
	w := newWorld(t)
	w.channel("bell", "inbox", nil)
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	var later atomic.Int64
	away := &awayPeople{err: errors.New("the portal is away")}
	away.down.Store(true)
	w.before = func(a *Alarm) {
		a.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		away.People, a.people.from = a.people.from, away
	}
	r := w.start()
	w.push(event("s_1", action, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if n := r.heldN.Load(); n != 1 {
			return fmt.Errorf("%d held", n)
		}
		return nil
	})
	later.Store(int64(2 * time.Hour))
	w.eventually(func() error {
		if n := r.dead.Get(); n != 1 {
			return fmt.Errorf("%d dead", n)
		}
		return w.empty()
	})
	reason, err := redisx.String(w.pool.Do(t.Context(), "LINDEX", redisx.Dead, 0))
	if err != nil || !strings.Contains(reason, "for an hour nobody knew whom it is for: action") {
		t.Errorf("%s, %v", reason, err)
	}
	away.down.Store(false)
	w.push(event("s_1", action, 1, "OK", at+60, 0))
	w.eventually(func() error {
		if n := w.notices("s_1"); len(n) != 3 {
			return fmt.Errorf("%q", n)
		}
		return w.empty()
	})
}

// An event that the database does not take is dead; the others of its batch are told.
func TestDatabaseRefuses(t *testing.T) {
	w := newWorld(t)
	w.channel("bell", "inbox", nil)
	action := w.action(portal.Action{UIC: "ops"})
	raw, err := sql.Open("sqlite", filepath.Join(w.at.Dir, "alarms.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = raw.Exec("CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.event_caseId = 's_bad' BEGIN SELECT RAISE(ABORT, 'not this one'); END")
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Unix() - 1000
	w.push(event("s_1", action, 1, "PROBLEM", at, 0), event("s_bad", action, 1, "PROBLEM", at, 0), event("s_2", action, 1, "PROBLEM", at, 0))
	r := w.start()
	w.eventually(func() error {
		if a, b, n := len(w.notices("s_1")), len(w.notices("s_2")), r.dead.Get(); a != 3 || b != 3 || n != 1 {
			return fmt.Errorf("%d and %d messages, %d dead", a, b, n)
		}
		return w.empty()
	})
	if reason, err := redisx.String(w.pool.Do(t.Context(), "LINDEX", redisx.Dead, 0)); err != nil || !strings.Contains(reason, "not this one") {
		t.Errorf("%s, %v", reason, err)
	}
}
