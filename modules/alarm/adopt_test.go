package alarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// fakeTransfer notes what alarm would have its judges know.
type fakeTransfer struct {
	addr string

	mu    sync.Mutex
	view  model.JudgesReply
	fail  error          // of Adopt
	away  int            // how many items of each call have a judge that is away
	got   []string       // id, status and step, with its marks
	told  []string       // nodes
	calls map[string]int // by method
}

func newFakeTransfer(t *testing.T, key, view string) *fakeTransfer {
	t.Helper()
	f := &fakeTransfer{calls: map[string]int{}}
	f.set(view, model.NodeHome)
	s := rpc.NewServer(rpc.ServerOptions{Drain: time.Millisecond})
	rpc.Handle(s, "Transfer.Judges", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.JudgesReply, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls["Judges"]++
		v := f.view
		return &v, nil
	})
	rpc.Handle(s, "Transfer.Adopt", func(_ context.Context, _ *rpc.Conn, r *model.ForwardRequest) (*model.ForwardReply, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.fail != nil {
			return nil, f.fail
		}
		f.calls["Adopt"]++
		for _, it := range r.Items {
			text := fmt.Sprint(it.Event.Id, " ", it.Event.Status, " ", it.Event.CurrentStep, " ", it.Event.ActionId() > 0)
			if it.Acked {
				text += " acked by " + it.AckedBy
			}
			if r.Release {
				text += " release"
			}
			f.got = append(f.got, text)
		}
		f.told = append(f.told, r.Told...)
		reply := &model.ForwardReply{Adopted: len(r.Items), Refused: map[string]int{}, Failed: map[string]string{}}
		if n := min(f.away, len(r.Items)); n > 0 {
			reply.Adopted, reply.Refused[model.AdoptAway], reply.Failed["j1"] = len(r.Items)-n, n, "connection refused"
		}
		return reply, nil
	})
	rpc.Protect(s, key, "Transfer.Judges", "Transfer.Adopt")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	f.addr = ln.Addr().String()
	return f
}

func (f *fakeTransfer) set(view, state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := model.JudgeNode{Kind: "judge", Node: "j1", State: state}
	if state != model.NodeHome {
		n.Since = time.Now().Unix() - 60
	}
	f.view = model.JudgesReply{View: view + " " + state, Nodes: []model.JudgeNode{n}}
}

func (f *fakeTransfer) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

// heard returns what came since the last call.
func (f *fakeTransfer) heard() (got []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	got, f.got = f.got, nil
	slices.Sort(got)
	return got
}

// let returns the nodes that were told that their judges know everything.
func (f *fakeTransfer) let() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

// looks returns how often the transfer was asked which judge has which series.
func (f *fakeTransfer) looks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls["Judges"]
}

// looked waits until whatever alarm does with an earlier answer of f is done, and f is
// asked anew.
func (w *world) looked(f *fakeTransfer) {
	w.t.Helper()
	before := f.looks()
	w.eventually(func() error {
		if f.looks() <= before {
			return errors.New("the transfer is not asked")
		}
		return nil
	})
}

func (w *world) hears(f *fakeTransfer, want ...string) {
	w.t.Helper()
	var all []string
	w.eventually(func() error {
		all = append(all, f.heard()...)
		slices.Sort(all)
		if !slices.Equal(all, want) {
			return fmt.Errorf("the transfer heard\n%s, want\n%s", strings.Join(all, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
}

// When a series may have another judge, judges are told of every open problem, and of
// recent ends; whoever moves waits for it. Without a change silent problems are told.
func TestAdopt(t *testing.T) { eachStore(t, testAdopt) }

func testAdopt(t *testing.T, w *world) {
	f, other := newFakeTransfer(t, "the key", "ring-1"), newFakeTransfer(t, "the key", "ring-1")
	w.set = func(c *Config) {
		c.API.IM, c.FleetKey = w.sink.URL+"/im", "the key"
		c.Adopt.Transfers = []string{f.addr, other.addr}
	}
	var clock struct {
		sync.Mutex
		ahead time.Duration
	}
	w.before = func(a *Alarm) {
		a.adopter.look = 20 * time.Millisecond
		a.now = func() time.Time {
			clock.Lock()
			defer clock.Unlock()
			return time.Now().Add(clock.ahead)
		}
	}
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix()
	w.push(
		event("s_1_open", action, 1, "PROBLEM", at-3000, 0), event("s_1_open", action, 2, "PROBLEM", at-2000, 0),
		event("s_1_new", action, 1, "PROBLEM", at-30, 0),
		event("s_1_over", action, 1, "PROBLEM", at-3000, 0), event("s_1_over", action, 1, "OK", at-2000, 0),
		event("m_1_both", action, 1, "PROBLEM", at-2000, 0),
		event("s_1_acked", action, 1, "PROBLEM", at-2000, 0), event("s_1_acked", 0, 1, "PROBLEM", at-2000, 0),
	)
	// The events are told first, while no transfer answers.
	change := w.set
	w.set = func(c *Config) { change(c); c.Adopt.Transfers = []string{testkit.FreeAddr(t)} }
	r := w.start()
	w.eventually(w.empty)
	w.eventually(func() error {
		if n := w.notices("s_1_new"); len(n) == 0 {
			return errors.New("not told")
		}
		return nil
	})
	r.stop()
	if _, err := w.db.AckCases(t.Context(), portal.CaseAck{ID: "s_1_acked", By: "ann", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w.set = change
	r = w.start()
	all := []string{
		"s_1_acked PROBLEM 1 false acked by ann", "s_1_acked PROBLEM 1 true acked by ann", "s_1_new PROBLEM 1 true", "s_1_open PROBLEM 2 true", "s_1_over OK 1 true",
	}
	with := func(mark string) (marked []string) {
		for _, s := range all {
			marked = append(marked, s+mark)
		}
		return marked
	}
	first, second := f, other // whoever sorts first is the one that is asked
	if other.addr < f.addr {
		first, second = other, f
	}
	w.hears(first, with(" release")...)
	if got := second.heard(); len(got) > 0 {
		t.Errorf("a transfer of the same view heard %q", got)
	}
	r.stop()
	r = w.start() // everything was told
	w.eventually(func() error {
		if first.looks() < 10 {
			return errors.New("too early")
		}
		return nil
	})
	if got := first.heard(); len(got) > 0 {
		t.Errorf("told again: %q", got)
	}

	t.Log("silent problems, after five minutes")
	clock.Lock()
	clock.ahead = 6 * time.Minute
	clock.Unlock()
	w.hears(first, slices.DeleteFunc(with(""), func(s string) bool { return strings.Contains(s, "_new") || strings.Contains(s, "_over") })...)

	t.Log("transfers that differ: each tells its own judges, and nobody lets go")
	second.set("ring-1", model.NodeLeaving)
	w.hears(second, with("")...)
	w.hears(first, with("")...)
	w.eventually(func() error {
		if told := second.let(); !slices.Equal(told, []string{"judge/j1"}) {
			return fmt.Errorf("the one that waits is told %q", told)
		}
		return nil
	})
	if told := first.let(); len(told) != 0 {
		t.Errorf("one that does not wait is told %q", told)
	}
	first.change(func() { first.fail = errors.New("no") })
	second.set("ring-1", model.NodeHome)
	w.hears(second, with(" release")...)
	first.change(func() { first.fail = nil })

	t.Log("transfers with two rings")
	second.set("ring-9", model.NodeHome)
	w.hears(second, with("")...)
	w.hears(first, with("")...)

	t.Log("a judge that is away is told after a minute")
	first.change(func() { first.away = 2 })
	first.set("ring-2", model.NodeHome)
	w.hears(first, with("")...)
	w.hears(second, with("")...)
	first.change(func() { first.away = 0 })
	second.set("ring-2", model.NodeHome)
	w.looked(second) // a pass that began before would see the minute gone, and the rings still two
	clock.Lock()
	clock.ahead += 61 * time.Second
	clock.Unlock()
	w.hears(first, with(" release")...)
	if err := r.health(); err != nil {
		t.Error(err)
	}
	if got := r.unadopted.All(); got[model.AdoptAway] != 2 || got[adoptJoined] == 0 {
		t.Errorf("counted %v", got)
	}
}

// What is told when: t is the second, the words are what transfers say and what was told.
func TestAdoptDue(t *testing.T) {
	t0 := time.Unix(1_000_000, 0)
	for _, tc := range []struct {
		name        string
		seen, told  string
		began       time.Duration // before now
		failed      time.Duration // before now; 0 for never
		pass, whole bool
	}{
		{"nothing", "a", "a", time.Minute, 0, false, false},
		{"the time has come", "a", "a", 5 * time.Minute, 0, true, false},
		{"a change", "b", "a", time.Second, 0, true, true},
		{"never told", "a", "", time.Second, 0, true, true},
		{"a change that failed just now", "b", "a", time.Second, 10 * time.Second, false, false},
		{"a change that failed a while ago", "b", "a", time.Second, time.Minute, true, true},
		{"silent ones meanwhile", "b", "a", 5 * time.Minute, 10 * time.Second, true, false},
		{"a clock that was set back", "a", "a", -time.Hour, 0, true, false},
	} {
		ad := &adopter{began: t0.Add(-tc.began)}
		if tc.failed != 0 {
			ad.failed = t0.Add(-tc.failed)
		}
		if pass, whole := ad.due(t0, tc.seen, tc.told); pass != tc.pass || pass && whole != tc.whole {
			t.Errorf("%s: pass %v, whole %v", tc.name, pass, whole)
		}
	}
}

// Two judges have a series, or one has lost what it knew: each step and each end is told
// once, and what is further than what was told is told.
func TestToldByTwoJudges(t *testing.T) { eachStore(t, testToldByTwoJudges) }

func testToldByTwoJudges(t *testing.T, w *world) {
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	one, two := w.action(portal.Action{UIC: "ops"}), w.action(portal.Action{UIC: "ops"})
	r := w.start()
	at := time.Now().Unix() - 5000
	step := func(what string, e *model.Event, told int) {
		t.Helper()
		before := len(w.sink.Posts("/im"))
		w.push(e)
		w.eventually(w.empty)
		w.eventually(func() error {
			if r.inHand() > 0 {
				return errors.New("in hand")
			}
			return nil
		})
		if n := len(w.sink.Posts("/im")) - before; n != told {
			t.Errorf("%s: told %d times, want %d", what, n, told)
		}
	}
	step("a problem", event("s_1_x", one, 1, "PROBLEM", at, 0), 1)
	step("its begin again", event("s_1_x", one, 1, "PROBLEM", at+60, 0), 0)
	step("the next step, of a judge that waits for less than five minutes", event("s_1_x", one, 2, "PROBLEM", at+120, 0), 1)
	step("the same step of another judge", event("s_1_x", one, 2, "PROBLEM", at+150, 0), 0)
	step("the same step, a good while later: the one after", event("s_1_x", one, 2, "PROBLEM", at+630, 0), 1)
	step("a step when all were told", event("s_1_x", one, 3, "PROBLEM", at+990, 0), 0)
	step("its end", event("s_1_x", one, 1, "OK", at+1000, 0), 1)
	step("its end by another judge", event("s_1_x", one, 1, "OK", at+1030, 0), 0)
	step("the next problem", event("s_1_x", one, 1, "PROBLEM", at+1100, 0), 1)
	step("for other people, too", event("s_1_x", two, 1, "PROBLEM", at+1100, 0), 1)
	step("its end", event("s_1_x", one, 1, "OK", at+1200, 0), 1)
	step("for other people, too", event("s_1_x", two, 1, "OK", at+1200, 0), 1)
	step("and again", event("s_1_x", two, 1, "OK", at+1260, 0), 0)
	if got := r.suppressed.All(); got[byOver] != 2 || got[byRestart] != 3 {
		t.Errorf("suppressed %v", got)
	}
}
