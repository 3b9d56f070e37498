package judge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/stat"
	"falcon/common/testkit"
)

// plus is a plus_judge that writes down what it is sent.
type plus struct {
	addr string
	stop func()

	mu   sync.Mutex
	got  []string // status, strategy and endpoint
	fail bool
}

func (p *plus) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func (p *plus) failing(yes bool) {
	p.mu.Lock()
	p.fail = yes
	p.mu.Unlock()
}

func newPlus(t *testing.T, addr string) *plus {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &plus{addr: ln.Addr().String()}
	s := rpc.NewServer(rpc.ServerOptions{})
	rpc.Handle(s, "Judge.UnionJudge", func(_ context.Context, _ *rpc.Conn, e *model.Event) (*model.SimpleRpcResponse, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.fail {
			return nil, errors.New("the disk takes nothing")
		}
		p.got = append(p.got, fmt.Sprintf("%s %d %s %s %d", e.Status, e.Strategy.Id, e.Endpoint, e.Strategy.MultiSerial, e.Strategy.MultiCount))
		return &model.SimpleRpcResponse{}, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	p.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(p.stop)
	return p
}

// conditionBook is one in which h1 has a condition and a plain rule on the same metric.
func conditionBook() *rulebook.Book {
	b := rulebook.New()
	plain, member := strategy(1), strategy(2)
	member.MultiSerial, member.MultiCount = "x", 2
	b.Add("h1", []*model.Strategy{plain, member})
	return b
}

// Conditions go to the plus_judge and never to Redis, also after a restart of either.
func TestConditionsAreForwarded(t *testing.T) {
	p := newPlus(t, "127.0.0.1:0")
	w := newWorld(t, conditionBook())
	w.change = func(cfg *Config) { cfg.Union.Cluster = map[string]string{"plus-00": p.addr} }
	w.start()
	sees := func(want ...string) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			if got := p.seen(); !slices.Equal(got, want) {
				return fmt.Errorf("sent %q, want %q", got, want)
			}
			return nil
		})
	}
	problem, ok := "PROBLEM 2 h1 x 2", "OK 2 h1 x 2"
	now := time.Now().Unix()
	w.mustSend(point(now-300, 1), point(now-240, 1))
	sees(problem)
	w.waitTold("PROBLEM 1") // of the plain rule

	// A restarted judge says how it stands: the one before may have been killed before it
	// could. The next point is a refresh.
	w.start()
	sees(problem, problem)
	w.mustSend(point(now-180, 1))
	sees(problem, problem, problem)

	// What the plus_judge does not take is sent until it does.
	p.failing(true)
	w.mustSend(point(now-120, 50))
	testkit.Eventually(t, 20*time.Second, func() error {
		if w.union.retried.Get() == 0 {
			return errors.New("not tried yet")
		}
		return nil
	})
	p.failing(false)
	sees(problem, problem, problem, ok)
	w.waitTold("PROBLEM 1", "OK 1")
	if n := w.problems.Get(); n != 0 { // since the restart
		t.Errorf("%d problems were counted as told", n)
	}
}

// A judge that starts says how conditions stand only of what was not silent when the one
// before ended, and nothing when that was long ago.
func TestConditionsAtStart(t *testing.T) {
	for _, tc := range []struct {
		name string
		down time.Duration
		want []string
	}{
		{"just now", 0, []string{"PROBLEM 2 h1 x 2", "OK 2 h2 x 2"}},
		{"long ago", 2 * staleForward * time.Second, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlus(t, "127.0.0.1:0")
			b := rulebook.New()
			for _, h := range []string{"h1", "h2", "h3"} {
				member := strategy(2)
				member.MultiSerial, member.MultiCount = "x", 2
				b.Add(h, []*model.Strategy{member})
			}
			w := newWorld(t, b)
			w.start()
			// A day ago, in a stream that is replayed: old, and not silent.
			now := time.Now().Unix() - 86400
			of := func(host string, ts int64, v float64) *model.JudgeItem {
				it := point(ts, v)
				it.Endpoint = host
				return it
			}
			w.mustSend(of("h1", now-60, 1), of("h1", now, 1), of("h2", now-60, 50), of("h2", now-30, 50), of("h3", now-2*staleForward-60, 1), of("h3", now-2*staleForward, 1))
			w.change = func(cfg *Config) { cfg.Union.Cluster = map[string]string{"plus-00": p.addr} }
			w.skew.Store(int64(tc.down))
			w.start()
			testkit.Eventually(t, 20*time.Second, func() error {
				got := p.seen()
				slices.Sort(got)
				want := slices.Sorted(slices.Values(tc.want))
				if n := w.union.waiting(); !slices.Equal(got, want) || n > 0 {
					return fmt.Errorf("sent %q, want %q; %d wait", got, want, n)
				}
				return nil
			})
		})
	}
}

// What does not hold is said first: a plus_judge that knows of another time would else join
// what holds with what is over.
func TestEndsComeFirstAtStart(t *testing.T) {
	p := newPlus(t, "127.0.0.1:0")
	var all []*model.Strategy
	for id := 2; id < 10; id++ {
		member := strategy(id)
		member.Metric, member.MultiSerial, member.MultiCount = fmt.Sprint("m", id), "x", 8
		all = append(all, member)
	}
	b := rulebook.New()
	b.Add("h1", all)
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	for id := 2; id < 10; id++ {
		for _, ago := range []int64{60, 0} {
			it := point(now-ago, []float64{1, 50}[id%2]) // those of even ids hold
			it.Metric = fmt.Sprint("m", id)
			w.mustSend(it)
		}
	}
	w.change = func(cfg *Config) { cfg.Union.Cluster = map[string]string{"plus-00": p.addr} }
	w.start()
	testkit.Eventually(t, 20*time.Second, func() error {
		var statuses []string
		for _, e := range p.seen() {
			status, _, _ := strings.Cut(e, " ")
			statuses = append(statuses, status)
		}
		if got := strings.Join(statuses, " "); got != "OK OK OK OK PROBLEM PROBLEM PROBLEM PROBLEM" {
			return fmt.Errorf("sent %s", got)
		}
		return nil
	})
}

// Without union_judge_s conditions are not judged, and are counted as such.
func TestConditionsWithoutPlusJudge(t *testing.T) {
	w := newWorld(t, conditionBook())
	w.change = func(cfg *Config) { cfg.Union.Enabled = false }
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-300, 1), point(now-240, 1))
	w.waitTold("PROBLEM 1")
	if n, _ := w.stats.Value("strategy.bad"); n != 1 {
		t.Errorf("strategy.bad is %d", n)
	}
}

// A judge does not become a plus_judge by itself.
func TestIsUnionIsAnotherProgram(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.IsUnion = true
	if _, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "plus_judge") {
		t.Errorf("%v", err)
	}
}

func member(status, endpoint string, id int) *model.Event {
	return &model.Event{
		Id: fmt.Sprintf("s_%d_%s", id, endpoint), Status: status, Endpoint: endpoint, EventTime: 1,
		Strategy: &model.Strategy{Id: id, MultiSerial: "x", MultiCount: 2},
	}
}

// Combinations have their place on the ring, all conditions of one host the same.
func TestRingOfPlusJudges(t *testing.T) {
	cfg := defaultUnion()
	cfg.Cluster = map[string]string{"a": "127.0.0.1:1", "b": "127.0.0.1:2"}
	u, err := newUnion(cfg, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	u.count(stat.New("judge"))
	at := map[string]map[string]bool{} // host -> nodes
	for h := range 200 {
		host := fmt.Sprint("h", h)
		for id := 1; id <= 2; id++ {
			if !u.take(member("PROBLEM", host, id)) {
				t.Fatal("not a condition")
			}
		}
		at[host] = map[string]bool{}
	}
	used := map[string]int{}
	for name, n := range u.nodes {
		for _, l := range n.lanes {
			for f := l.pop(); f.event != nil; f = l.pop() {
				at[f.event.Endpoint][name] = true
				used[name]++
			}
		}
	}
	for host, nodes := range at {
		if len(nodes) != 1 {
			t.Errorf("%s is at %v", host, slices.Collect(maps.Keys(nodes)))
		}
	}
	if used["a"] < 100 || used["b"] < 100 {
		t.Errorf("placed %v", used)
	}
	if u.take(&model.Event{Strategy: &model.Strategy{Id: 1}}) || u.take(&model.Event{Expression: &model.Expression{}}) {
		t.Error("a plain rule was taken for a condition")
	}
}

// Only the newest event of a series waits, behind what came before it, and no more series than
// there is room for.
func TestLane(t *testing.T) {
	l := &lane{wake: make(chan struct{}, 1), waiting: map[string]forward{}}
	l.put(forward{event: member("PROBLEM", "h1", 1), at: 1})
	l.put(forward{event: member("PROBLEM", "h2", 1), at: 1})
	if replaced, room := l.put(forward{event: member("OK", "h1", 1), at: 2}); !replaced || !room {
		t.Errorf("an event of h1 waited: replaced %v, room %v", replaced, room)
	}
	if f := l.pop(); f.event.Endpoint != "h2" {
		t.Errorf("first %+v", f.event)
	}
	l.put(forward{event: member("PROBLEM", "h2", 1), at: 2})
	f := l.pop()
	if f.event.Endpoint != "h1" || f.event.Status != "OK" {
		t.Errorf("second %+v", f.event)
	}
	if !l.back(f) { // not taken: it stays first
		t.Error("the event does not wait again")
	}
	if again := l.pop(); again != f {
		t.Errorf("then %+v", again.event)
	}
	l.put(forward{event: member("PROBLEM", "h1", 1), at: 3})
	if l.back(f) { // a newer one has come meanwhile
		t.Error("an event waits that is out of date")
	}
	l.pop() // h2
	if f := l.pop(); f.event == nil || f.event.Status != "PROBLEM" {
		t.Errorf("last %+v", f.event)
	}
	if f := l.pop(); f.event != nil {
		t.Errorf("left over %+v", f.event)
	}
	full := 0
	for i := range maxForwards + 5 {
		if _, room := l.put(forward{event: member("PROBLEM", "h1", i), at: 1}); !room {
			full++
		}
	}
	if full != 5 {
		t.Errorf("%d had no room, want 5", full)
	}
}

// While the plus_judge is away it is asked once a second, and what is old by then is not
// sent: its refresh has come.
func TestPlusJudgeAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, err := newUnion(defaultUnion(), time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s := stat.New("judge")
		u.count(s)
		var dials atomic.Int32
		n := u.nodes["plus-00"]
		n.client = rpc.NewClient(rpc.ClientOptions{Addr: "plus", Dial: func(context.Context, string) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("connection refused")
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- u.run(ctx) }()
		u.take(member("PROBLEM", "h1", 1))
		time.Sleep(10 * time.Second)
		if n := dials.Load(); n < 20 || n > 120 {
			t.Errorf("%d dials in ten seconds", n)
		}
		if u.waiting() != 1 {
			t.Errorf("%d wait", u.waiting())
		}
		time.Sleep(staleForward * time.Second)
		if got := u.dropped.Get(model.ReasonStale); got != 1 || u.waiting() != 0 {
			t.Errorf("%d dropped, %d wait", got, u.waiting())
		}
		u.take(member("OK", "h1", 1))
		time.Sleep(2 * staleForward * time.Second)
		if u.waiting() != 1 {
			t.Error("the end of a condition was given up")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
