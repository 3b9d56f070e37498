package hbs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/rulebook"
	"falcon/common/run"
)

// store is a Redis without a server: what several hbs share.
type store struct {
	mu         sync.Mutex
	away       error
	holder     *handle
	expires    time.Time
	generation int64
	rules      redisx.Rules
	bodies     map[string][]byte
	puts       int
	watchers   []func()
}

// handle is the store as one hbs sees it.
type handle struct {
	*store
	hangs bool // it stands still: it renews nothing, and notices nothing
	dirty func()
}

func (h *handle) Lead(ctx context.Context, fn func(context.Context, int64) error) error {
	for {
		h.mu.Lock()
		won := h.away == nil && !h.hangs && (h.holder == nil || time.Now().After(h.expires))
		if won {
			h.holder, h.expires = h, time.Now().Add(leadTTL)
			h.generation++
		}
		generation, pause := h.generation, leadTTL/3
		h.mu.Unlock()
		if won {
			pause = leadTTL // when it steps down
			g := run.New(ctx)
			g.Go("lead", func(ctx context.Context) error { return fn(ctx, generation) })
			g.Go("renew", func(ctx context.Context) error {
				for run.Sleep(ctx, leadTTL/4) {
					h.mu.Lock()
					lost := h.holder != h || h.away != nil
					if !lost && !h.hangs {
						h.expires = time.Now().Add(leadTTL)
					}
					hangs := h.hangs
					h.mu.Unlock()
					if lost && !hangs {
						pause = leadTTL / 3
						return nil
					}
				}
				return nil
			})
			switch err := g.Wait(); {
			case errors.Is(err, redisx.ErrLost):
				pause = leadTTL / 3
			case err != nil:
				return err
			}
			h.mu.Lock()
			if h.holder == h {
				h.holder = nil
			}
			h.mu.Unlock()
		}
		if !run.Sleep(ctx, pause) {
			return nil
		}
	}
}

func (h *handle) Publish(_ context.Context, generation int64, r redisx.Rules, body func() []byte) (bool, error) {
	h.mu.Lock()
	if h.away != nil || generation != h.generation {
		defer h.mu.Unlock()
		return false, h.away
	}
	news := h.rules.Version != r.Version
	h.rules = r
	if h.bodies[r.Version] == nil {
		h.bodies[r.Version] = body()
		h.puts++
	}
	watchers := h.watchers
	h.mu.Unlock()
	if news {
		for _, fn := range watchers {
			fn()
		}
	}
	return true, nil
}

func (h *handle) InForce(context.Context) (redisx.Rules, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away == nil && h.rules.Version == "" {
		return redisx.Rules{}, redisx.Nil
	}
	return h.rules, h.away
}

func (h *handle) Body(_ context.Context, version string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away == nil && h.bodies[version] == nil {
		return nil, redisx.Nil
	}
	return h.bodies[version], h.away
}

func (h *handle) Changed(context.Context) error { h.dirty(); return nil }

func (h *handle) Watch(ctx context.Context, fn func()) error {
	h.mu.Lock()
	h.watchers = append(h.watchers, fn)
	h.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (s *store) set(fn func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s)
}

func (s *store) published() (rules redisx.Rules, puts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rules, s.puts
}

// several are hbs that share a portal and a store.
type several struct {
	*testing.T
	*store
	portals []*memory // one database, counted for each
	keepers []*keeper
	handles []*handle
	stops   []func()
}

func share(t *testing.T, n int, rows *memory) *several {
	s := &several{T: t, store: &store{bodies: map[string][]byte{}}}
	for range n {
		m := &memory{rows: rows.rows}
		m.rows.Strategies = slices.Clone(m.rows.Strategies)
		s.portals = append(s.portals, m)
		s.start(len(s.portals) - 1)
	}
	return s
}

// start starts an hbs, again after it was stopped.
func (s *several) start(i int) {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	k := newKeeper(s.portals[i], &cfg, time.UTC, slog.New(slog.DiscardHandler), time.Now)
	h := &handle{store: s.store, dirty: s.touch}
	k.shelf = h
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.Error(err)
		}
	})
	s.Cleanup(stop)
	if i < len(s.keepers) {
		s.keepers[i], s.handles[i], s.stops[i] = k, h, stop
		return
	}
	s.keepers, s.handles, s.stops = append(s.keepers, k), append(s.handles, h), append(s.stops, stop)
}

// touch is what api says after a change: everybody hears it.
func (s *several) touch() {
	for _, k := range s.keepers {
		k.touch()
	}
}

// change changes the database.
func (s *several) change(fn func(*memory)) {
	for _, m := range s.portals {
		m.change(fn)
	}
}

// leader returns who compiles, and fails when several do.
func (s *several) leader() int {
	s.Helper()
	who := -1
	for i, k := range s.keepers {
		k.mu.Lock()
		leads := k.leads
		k.mu.Unlock()
		if leads && who >= 0 {
			s.Errorf("%d and %d lead", who, i)
		}
		if leads {
			who = i
		}
	}
	return who
}

// reads returns how often each has read the database since the last call.
func (s *several) reads() (all []int) {
	for _, m := range s.portals {
		m.change(func(m *memory) { all = append(all, m.reads); m.reads = 0 })
	}
	return all
}

// wants checks that all have one book, with the threshold that is in force.
func (s *several) wants(right float64, who ...int) {
	s.Helper()
	for i, k := range s.keepers {
		if len(who) > 0 && i != who[0] {
			continue
		}
		e, err := k.get()
		if err != nil {
			s.Fatalf("hbs %d: %v", i, err)
		}
		if got := e.Book.Of("h1"); len(got) != 1 || got[0].RightValue != right {
			s.Errorf("hbs %d has %+v, want the threshold %v", i, got, right)
		}
		if first, _ := s.keepers[0].get(); len(who) == 0 && e.version != first.version {
			s.Errorf("hbs %d has version %v, hbs 0 %v", i, e.version, first.version)
		}
	}
}

func threshold(text string) func(*memory) {
	return func(m *memory) { m.rows.Strategies[0].RightValue = text }
}

// One of several reads the database; all have the book, the reasons for it and what
// agents are told.
func TestOneReadsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet(3)
		m.rows.Plugins = []portal.RulePlugin{{Group: 1, Dir: "sys/ntp"}}
		m.rows.Services = []portal.RuleService{{Group: 1, Name: "nginx"}}
		s := share(t, 3, m)
		time.Sleep(5 * time.Second)
		lead := s.leader()
		if lead < 0 {
			t.Fatal("nobody leads")
		}
		s.wants(5)
		for i, k := range s.keepers {
			e, _ := k.get()
			if rules, ok := e.Host(func(h portal.RuleHost) bool { return h.Name == "h1" }); !ok || len(rules.Strategies) != 1 || rules.Strategies[0].Groups[0].Name != "all" {
				t.Errorf("hbs %d explains %+v", i, rules)
			}
			if dirs := e.Plugins("h2"); len(dirs) != 1 {
				t.Errorf("hbs %d has the plugins %v", i, dirs)
			}
			if names := e.Services("h2"); len(names) != 1 {
				t.Errorf("hbs %d has the services %v", i, names)
			}
		}
		s.reads()
		time.Sleep(10 * time.Minute)
		for i, n := range s.reads() {
			if want := map[bool]int{true: 10, false: 0}[i == lead]; n != want {
				t.Errorf("hbs %d read the database %d times in ten minutes, want %d", i, n, want)
			}
		}
		if _, puts := s.published(); puts != 1 {
			t.Errorf("what did not change was published %d times", puts)
		}
		for i, k := range s.keepers {
			if age := k.age(); age > time.Minute+look {
				t.Errorf("hbs %d believes its rules to be %v old", i, age)
			}
		}

		// A change is everywhere within a second of api's word.
		s.change(threshold("7"))
		s.touch()
		time.Sleep(time.Second)
		s.wants(7)
		// A host that a follower adds is known to who compiles.
		follower := (lead + 1) % 3
		s.change(func(m *memory) {
			m.rows.Hosts = append(m.rows.Hosts, portal.RuleHost{ID: 9, Name: "new"})
			m.rows.GroupHosts = append(m.rows.GroupHosts, portal.RulePair{Group: 1, Other: 9})
		})
		s.keepers[follower].added()
		time.Sleep(time.Second)
		for i, k := range s.keepers {
			if e, _ := k.get(); e.Book.Hosts["new"] == 0 {
				t.Errorf("hbs %d does not know the new host", i)
			}
		}
		// So is a name that only explanations have.
		s.change(func(m *memory) { m.rows.Groups = []portal.RuleGroup{{ID: 1, Name: "everybody"}} })
		s.touch()
		time.Sleep(time.Second)
		for i, k := range s.keepers {
			e, _ := k.get()
			if rules, _ := e.Host(func(h portal.RuleHost) bool { return h.Name == "h1" }); rules.Strategies[0].Groups[0].Name != "everybody" {
				t.Errorf("hbs %d explains %+v", i, rules.Strategies[0].Groups)
			}
		}
	})
}

// The leader stops, dies or stands still: another takes over within twelve seconds, and
// who comes back late writes over nobody and serves nothing old.
func TestLeaderGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := share(t, 3, fleet(3))
		time.Sleep(5 * time.Second)
		first := s.leader()
		s.change(threshold("7")) // nobody says so
		s.stops[first]()
		time.Sleep(12 * time.Second)
		second := s.leader()
		if second < 0 || second == first {
			t.Fatalf("%d leads after %d stopped", second, first)
		}
		s.wants(7, second)
		s.start(first)
		time.Sleep(time.Second)
		s.wants(7)

		// It stands still in the middle of reading, with rows that are old by now.
		s.change(threshold("8"))
		late := s.portals[second]
		release := make(chan struct{})
		late.change(func(m *memory) { m.stall = release })
		s.keepers[second].touch()
		s.set(func(*store) { s.handles[second].hangs = true })
		time.Sleep(15 * time.Second)
		s.set(func(st *store) {
			if st.holder == s.handles[second] || st.holder == nil {
				t.Error("nobody took over from who stands still")
			}
		})
		s.change(threshold("9"))
		s.touch()
		time.Sleep(time.Second)
		rules, puts := s.published()
		close(release) // goes on with the rows that it had read
		synctest.Wait()
		if now, n := s.published(); now.Version != rules.Version || n != puts {
			t.Error("who lost the lock has published")
		}
		if e, _ := s.keepers[second].get(); e.Book.Of("h1")[0].RightValue == 8 {
			t.Error("who lost the lock serves what it could not publish")
		}
		s.set(func(*store) { s.handles[second].hangs = false })
		time.Sleep(2 * look)
		s.wants(9)
		if s.leader() < 0 {
			t.Error("nobody leads")
		}
	})
}

// Redis goes away: everybody goes on with what it has and then reads for itself; when it
// is back, with or without its memory, one does for all.
func TestSharedStoreGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := share(t, 3, fleet(3))
		time.Sleep(5 * time.Second)
		s.set(func(st *store) { st.away = errors.New("no redis") })
		s.change(threshold("7"))
		time.Sleep(2*time.Minute + look)
		s.wants(7)
		if s.leader() >= 0 {
			t.Error("somebody leads without a lock")
		}
		// It has an old memory, and nobody leads yet: what was read since is newer.
		s.set(func(st *store) { st.away, st.holder, st.expires = nil, &handle{}, time.Now().Add(10*time.Second) })
		time.Sleep(9 * time.Second)
		s.wants(7)
		s.set(func(st *store) {
			st.holder, st.rules, st.bodies, st.generation = nil, redisx.Rules{}, map[string][]byte{}, 0
		})
		time.Sleep(time.Minute)
		if s.leader() < 0 {
			t.Error("nobody leads")
		}
		s.reads()
		time.Sleep(5 * time.Minute)
		n := 0
		for _, reads := range s.reads() {
			n += reads
		}
		if n != 5 {
			t.Errorf("the database was read %d times in five minutes", n)
		}
		s.change(threshold("8"))
		s.touch()
		time.Sleep(time.Second)
		s.wants(8)
		// What was on the shelf before is what is published when it is back.
		s.set(func(st *store) { st.away = errors.New("no redis") })
		s.change(threshold("9"))
		time.Sleep(2*time.Minute + look)
		s.wants(9)
		s.change(threshold("8"))
		s.set(func(st *store) { st.away, st.holder = nil, nil })
		time.Sleep(2 * leadTTL)
		s.wants(8)
	})
}

// Redis is away for the moment in which rules are published, too short for the lock to be
// lost: they are published when it is back.
func TestSharedStoreBlinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := share(t, 3, fleet(3))
		time.Sleep(5 * time.Second)
		for s.leader() < 0 || time.Since(time.Unix(0, 0))%(leadTTL/4) > time.Second {
			time.Sleep(100 * time.Millisecond)
		}
		s.set(func(st *store) { st.away = errors.New("no redis") })
		s.change(threshold("7"))
		s.touch()
		time.Sleep(500 * time.Millisecond)
		s.set(func(st *store) { st.away = nil })
		time.Sleep(1500 * time.Millisecond)
		s.wants(7)
	})
}

// Who can not read the database lets another lead; when nobody can, all keep what they
// have and say how old it is; an hbs that starts then has it, too.
func TestLeaderCanNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := share(t, 3, fleet(3))
		time.Sleep(5 * time.Second)
		first := s.leader()
		s.portals[first].change(func(m *memory) { m.err = errors.New("no route to the database") })
		s.change(threshold("7"))
		time.Sleep(2 * time.Minute)
		s.wants(7)
		if now := s.leader(); now == first {
			t.Error("who can not read leads")
		}
		s.change(func(m *memory) { m.err = errors.New("the database is away") })
		time.Sleep(10 * time.Minute)
		s.wants(7)
		s.stops[first]()
		s.start(first)
		time.Sleep(time.Second)
		s.wants(7)
		if age := s.keepers[first].age(); age < 8*time.Minute || age > 15*time.Minute {
			t.Errorf("it believes the rules to be %v old", age)
		}
	})
}

// The guard of who compiles protects all, also when it has just come to lead.
func TestGuardOfWhoTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := share(t, 2, fleet(200))
		time.Sleep(5 * time.Second)
		s.stops[s.leader()]()
		s.change(func(m *memory) { m.rows.GroupHosts = nil }) // somebody emptied a table
		time.Sleep(12 * time.Second)
		s.start((s.leader() + 1) % 2)
		time.Sleep(12 * time.Second)
		for i, k := range s.keepers {
			if e, err := k.get(); err != nil || len(e.Book.Hosts) != 200 {
				t.Errorf("hbs %d has rules of %d hosts, %v", i, len(e.Book.Hosts), err)
			}
		}
		// All end, and one that starts has nothing else to measure by.
		s.stops[0]()
		s.stops[1]()
		time.Sleep(leadTTL)
		s.start(0)
		s.start(1)
		time.Sleep(time.Second)
		for i, k := range s.keepers {
			if e, err := k.get(); err != nil || len(e.Book.Hosts) != 200 {
				t.Errorf("hbs %d has rules of %d hosts after a restart, %v", i, len(e.Book.Hosts), err)
			}
		}
		time.Sleep(2 * time.Minute) // a second look agrees
		for i, k := range s.keepers {
			if e, err := k.get(); err != nil || len(e.Book.Hosts) != 0 {
				t.Errorf("hbs %d has rules of %d hosts, %v", i, len(e.Book.Hosts), err)
			}
		}
	})
}

// What is on the shelf and can not be read is as if it were not there.
func TestUnreadableRules(t *testing.T) {
	good := &edition{at: time.Unix(1500000000, 0)}
	good.seal(&portal.RuleRows{}, nil)
	for name, body := range map[string][]byte{
		"nothing":          nil,
		"damage":           []byte("nonsense"),
		"no JSON":          rulebook.Pack([]byte("nonsense")),
		"another format":   rulebook.Pack([]byte(`{"format":99,"at":"2017-07-14T02:40:00Z","rows":{}}`)),
		"without rows":     rulebook.Pack([]byte(`{"format":1,"at":"2017-07-14T02:40:00Z"}`)),
		"without a moment": rulebook.Pack([]byte(`{"format":1,"rows":{}}`)),
		"cut":              good.body()[:len(good.body())-3],
	} {
		if _, _, err := unpackRows(body, "x"); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if _, at, err := unpackRows(good.body(), "x"); err != nil || at.Unix() != 1500000000 {
		t.Errorf("%v %v", at, err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := share(t, 2, fleet(3))
		time.Sleep(5 * time.Second)
		follower := 1 - s.leader()
		s.set(func(st *store) { // a newer release leads
			st.rules.Version = "newer"
			st.bodies["newer"] = rulebook.Pack([]byte(`{"format":99}`))
			st.generation++
		})
		s.stops[1-follower]()
		s.set(func(st *store) { st.holder, st.expires = &handle{}, time.Now().Add(time.Hour) })
		s.change(threshold("7"))
		time.Sleep(3 * time.Minute)
		s.wants(7, follower)
	})
}
