package hbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/conf"
	"falcon/common/portal"
	"falcon/common/rulebook"
)

// memory is a portal without a database.
type memory struct {
	mu    sync.Mutex
	rows  portal.RuleRows
	err   error
	reads int
	stall chan struct{} // when set, rows are handed out once it is closed
	saved []portal.HostReport

	agents []portal.HostAgent
	known  map[string]bool
}

func (m *memory) RuleRows(context.Context) (*portal.RuleRows, error) {
	m.mu.Lock()
	m.reads++
	r, err, stall := m.rows, m.err, m.stall
	m.stall = nil
	r.Strategies, r.GroupHosts = slices.Clone(r.Strategies), slices.Clone(r.GroupHosts)
	m.mu.Unlock()
	if stall != nil {
		<-stall
	}
	if err != nil {
		return nil, err
	}
	return &r, nil
}

func (m *memory) SaveHosts(_ context.Context, reports []portal.HostReport, _ string, only bool) (added []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	m.saved = append(m.saved, reports...)
	for _, r := range reports {
		if !m.known[r.Hostname] && !only {
			m.known[r.Hostname] = true
			added = append(added, r.Hostname)
		}
	}
	return added, nil
}

func (m *memory) SaveHostAgents(_ context.Context, agents []portal.HostAgent) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.agents = append(m.agents, agents...)
	}
	return m.err
}

func (m *memory) HostAgents(_ context.Context, names []string) (map[string]portal.HostAgent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := map[string]portal.HostAgent{}
	for _, a := range m.agents { // the last one counts
		if slices.Contains(names, a.Hostname) {
			rows[a.Hostname] = a
		}
	}
	return rows, m.err
}

func (m *memory) change(fn func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn(m)
}

// fleet returns a portal of n hosts h0, h1, … in one group, with one template of one
// strategy bound to it.
func fleet(n int) *memory {
	m := &memory{known: map[string]bool{}}
	for i := range n {
		m.rows.Hosts = append(m.rows.Hosts, portal.RuleHost{ID: i + 1, Name: fmt.Sprint("h", i)})
		m.rows.GroupHosts = append(m.rows.GroupHosts, portal.RulePair{Group: 1, Other: i + 1})
	}
	m.rows.Groups = []portal.RuleGroup{{ID: 1, Name: "all"}}
	m.rows.GroupTemplates = []portal.RulePair{{Group: 1, Other: 1}}
	m.rows.Templates = []portal.RuleTemplate{{ID: 1, Name: "base", Action: 9, Creator: "root"}}
	m.rows.Strategies = []portal.RuleStrategy{{ID: 1, Metric: "cpu.idle", Func: "all(#3)", Op: "<", RightValue: "5", MaxStep: 3, Template: 1}}
	return m
}

// keep runs a keeper over m inside a bubble until the test ends.
func keep(t *testing.T, m *memory, set func(*Config)) *keeper {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	if set != nil {
		set(&cfg)
	}
	k := newKeeper(m, &cfg, time.UTC, slog.New(slog.DiscardHandler), time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return k
}

// ask asks for the book and takes it to what the judge has.
func ask(t *testing.T, k *keeper, have *rulebook.Book, wait time.Duration) (kind string, got *rulebook.Book) {
	t.Helper()
	req := &rulebook.Request{Judge: "judge-00", Wait: int(wait.Milliseconds())}
	if have != nil {
		req.Version = have.Version().String()
	}
	r, err := k.book(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	switch r.Kind {
	case rulebook.NotModified:
		got = have
	case rulebook.Full:
		if got, err = rulebook.Decode(r.Body); err != nil {
			t.Fatal(err)
		}
	case rulebook.Changes:
		d, err := rulebook.DecodeDelta(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = have.Apply(d); err != nil {
			t.Fatal(err)
		}
	}
	if got.Version().String() != r.Version {
		t.Errorf("%s: version %v, hbs says %s", r.Kind, got.Version(), r.Version)
	}
	return r.Kind, got
}

// A judge gets the book, waits for a change, gets the change within a second of it
// being known, and hears that nothing changed when nothing did.
func TestBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet(3)
		k := keep(t, m, nil)
		kind, book := ask(t, k, nil, 15*time.Second)
		if kind != rulebook.Full || len(book.Hosts) != 3 {
			t.Fatalf("%s with %d hosts", kind, len(book.Hosts))
		}
		began := time.Now()
		if kind, _ := ask(t, k, book, time.Minute); kind != rulebook.NotModified || time.Since(began) != maxWait {
			t.Errorf("%s after %v", kind, time.Since(began))
		}
		began = time.Now()
		go func() {
			time.Sleep(2 * time.Second)
			m.change(func(m *memory) { m.rows.Strategies[0].RightValue = "7" })
			k.touch()
		}()
		kind, book = ask(t, k, book, 15*time.Second)
		if took := time.Since(began); kind != rulebook.Changes || took > 3*time.Second || book.Of("h1")[0].RightValue != 7 {
			t.Errorf("%s after %v: %+v", kind, took, book.Of("h1")[0])
		}
		// A change that nobody tells of is found within a minute.
		began = time.Now()
		m.change(func(m *memory) { m.rows.Strategies[0].RightValue = "8" })
		for kind = rulebook.NotModified; kind == rulebook.NotModified; {
			kind, book = ask(t, k, book, 15*time.Second)
		}
		if took := time.Since(began); took > time.Minute || book.Of("h1")[0].RightValue != 8 {
			t.Errorf("%s after %v: %+v", kind, took, book.Of("h1")[0])
		}
	})
}

// A judge that missed some changes walks through them; one that missed too many, or
// comes from another hbs, gets the whole book.
func TestBookOfALateJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet(3)
		k := keep(t, m, nil)
		_, first := ask(t, k, nil, time.Second)
		change := func(n int) {
			for i := range n {
				m.change(func(m *memory) { m.rows.Strategies[0].RightValue = fmt.Sprint(100 + i) })
				k.touch()
				time.Sleep(time.Second)
			}
		}
		change(3)
		steps, at := 0, first
		for {
			kind, next := ask(t, k, at, 0)
			if kind == rulebook.NotModified {
				break
			}
			if at = next; kind != rulebook.Changes {
				t.Fatal(kind)
			}
			steps++
		}
		if steps != 3 || at.Of("h0")[0].RightValue != 102 {
			t.Errorf("%d steps to %+v", steps, at.Of("h0")[0])
		}
		change(maxDeltas + 1)
		if kind, _ := ask(t, k, first, 0); kind != rulebook.Full {
			t.Errorf("far behind: %s", kind)
		}
	})
}

// Rules that were changed and changed back, as hours do each day, and then changed to
// something new, lead every judge to the new ones, wherever it stands.
func TestBookThatWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet(3)
		k := keep(t, m, nil)
		_, first := ask(t, k, nil, time.Second)
		var second *rulebook.Book
		for _, right := range []string{"6", "5", "6", "5", "7"} { // it begins with 5
			m.change(func(m *memory) { m.rows.Strategies[0].RightValue = right })
			k.touch()
			time.Sleep(time.Second)
			if second == nil {
				_, second = ask(t, k, first, 0)
			}
		}
		for _, at := range []*rulebook.Book{first, second} {
			for range maxDeltas {
				kind, next := ask(t, k, at, 0)
				if at = next; kind == rulebook.NotModified {
					break
				}
			}
			if got := at.Of("h0")[0].RightValue; got != 7 {
				t.Errorf("a judge is led to %v, want 7", got)
			}
		}
	})
}

// Not ready is an error, never an empty book; and a database that goes away later
// changes nothing.
func TestDatabaseAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet(3)
		m.err = errors.New("no database")
		k := keep(t, m, nil)
		if _, err := k.book(context.Background(), &rulebook.Request{Wait: 5000}); !errors.Is(err, errNotReady) {
			t.Fatalf("error %v", err)
		}
		if err := k.health(); err == nil {
			t.Error("healthy without rules")
		}
		m.change(func(m *memory) { m.err = nil })
		_, book := ask(t, k, nil, 5*time.Second)
		m.change(func(m *memory) { m.err = errors.New("gone again") })
		k.touch()
		if kind, _ := ask(t, k, book, 5*time.Second); kind != rulebook.NotModified || k.health() != nil {
			t.Errorf("%s, health %v", kind, k.health())
		}
	})
}

// Most hosts losing their rules is believed at the second look.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet(200)
		k := keep(t, m, func(c *Config) { c.Guard = 10 })
		_, book := ask(t, k, nil, time.Second)
		began := time.Now()
		m.change(func(m *memory) { m.rows.GroupHosts = m.rows.GroupHosts[:50] })
		k.touch()
		kind := rulebook.NotModified
		for kind == rulebook.NotModified {
			kind, book = ask(t, k, book, 15*time.Second)
		}
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute+5*time.Second || len(book.Hosts) != 50 {
			t.Errorf("%d hosts after %v", len(book.Hosts), took)
		}
		// One that is taken back meanwhile never comes to be.
		m.change(func(m *memory) { m.rows.GroupHosts = m.rows.GroupHosts[:10] })
		k.touch()
		time.Sleep(5 * time.Second)
		m.change(func(m *memory) { m.rows.GroupHosts = m.rows.GroupHosts[:50] })
		k.touch()
		if kind, _ := ask(t, k, book, 15*time.Second); kind != rulebook.NotModified {
			t.Error(kind)
		}
	})
}

// Hours begin on the minute, without anybody saying so.
// A disable is in force when it begins and ends by itself, to the second, though nobody
// touches the keeper and its interval is an hour; and the guard does not take the hosts
// that it silences for lost.
func TestDisableEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet(200)
		begin := time.Now().Add(5 * time.Minute)
		m.rows.Disables = []portal.RuleDisable{
			{ID: 1, Type: portal.DisableTemplate, Template: 1, Begin: begin.Unix(), End: begin.Unix() + 600},
			{ID: 2, Type: portal.DisableHost, Host: 1, Begin: begin.Unix() + 300, End: begin.Unix() + 900},
		}
		k := keep(t, m, func(c *Config) { c.Interval = conf.Seconds(time.Hour) })
		synctest.Wait()
		for _, tc := range []struct {
			at       time.Duration
			hosts    int
			disabled int
			paused   int
		}{
			{-time.Second, 200, 0, 0}, {time.Second, 0, 0, 1}, {299 * time.Second, 0, 0, 1}, {301 * time.Second, 0, 1, 1},
			{599 * time.Second, 0, 1, 1}, {601 * time.Second, 199, 1, 0}, {901 * time.Second, 200, 0, 0},
		} {
			time.Sleep(time.Until(begin.Add(tc.at)))
			synctest.Wait()
			_, b := ask(t, k, nil, 0)
			if len(b.Hosts) != tc.hosts || len(b.Disabled) != tc.disabled || len(b.Paused) != tc.paused {
				t.Errorf("at %v: %d hosts, %d disabled, %d paused; want %d, %d, %d", tc.at, len(b.Hosts), len(b.Disabled), len(b.Paused), tc.hosts, tc.disabled, tc.paused)
			}
		}
	})
}

func TestHoursBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet(1) // the bubble's clock begins at midnight
		m.rows.Strategies[0].RunBegin, m.rows.Strategies[0].RunEnd = "00:01", "00:02"
		k := keep(t, m, func(c *Config) { c.Interval = conf.Seconds(time.Hour) })
		_, book := ask(t, k, nil, time.Second)
		if len(book.Hosts) != 0 || len(book.Paused) != 1 {
			t.Fatalf("before its hours: %+v", book)
		}
		for len(book.Hosts) == 0 {
			_, book = ask(t, k, book, 15*time.Second)
		}
		if at := time.Now().UTC().Format("15:04:05"); at != "00:01:00" {
			t.Errorf("in force at %s", at)
		}
		for len(book.Hosts) == 1 {
			_, book = ask(t, k, book, 15*time.Second)
		}
		if at := time.Now().UTC().Format("15:04:05"); at != "00:03:00" {
			t.Errorf("out of force at %s", at)
		}
	})
}
