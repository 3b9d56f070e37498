package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/stat"
	"falcon/common/testkit"
)

// world is an outbox, a Redis and what its journal was told.
type world struct {
	*Box
	t    *testing.T
	r    *miniredis.Miniredis
	pool *redisx.Pool
	now  time.Time

	mu     sync.Mutex
	pushed []uint64
	met    []string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, r: miniredis.RunT(t), now: time.Unix(1_700_000_000, 0)}
	cfg := redisx.DefaultConfig()
	cfg.Addr = conf.DSN(w.r.Addr())
	var err error
	if w.pool, err = redisx.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.pool.Close() })
	w.restart()
	return w
}

// restart makes the outbox of another run, which knows nothing yet.
func (w *world) restart() {
	w.Box = New(Options{
		Log: slog.New(slog.DiscardHandler), Now: w.clock, Redis: w.pool, QueuePattern: "event:p%v",
		Pushed: func(seqs []uint64) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.pushed = append(w.pushed, seqs...)
		},
		Met: func(epoch string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.met = append(w.met, epoch)
		},
	})
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// epochMet returns the last memory that the journal was told of.
func (w *world) epochMet() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.met[len(w.met)-1]
}

// run lets events out until the test, or stop, ends it.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	g.Go(func() {
		if err := w.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); g.Wait() })
	w.t.Cleanup(stop)
	return stop
}

func event(id int, status string, at int64) *model.Event {
	s := &model.Strategy{Id: id, Metric: "cpu.idle", Func: "all(#1)", Operator: ">", Priority: 1}
	return &model.Event{Id: fmt.Sprint("s_", id), Strategy: s, Endpoint: "h1", Status: status, CurrentStep: 1, EventTime: at}
}

func (w *world) list() []string {
	list, _ := w.r.List("event:p1") // an error: it is empty
	var ids []string
	for _, raw := range list {
		var e model.Event
		if err := json.Unmarshal([]byte(raw), &e); err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, e.Id+" "+e.Status)
	}
	slices.Reverse(ids)
	return ids
}

func (w *world) waitList(want ...string) {
	w.t.Helper()
	testkit.Eventually(w.t, 10*time.Second, func() error {
		if got := w.list(); !slices.Equal(got, want) {
			return fmt.Errorf("redis has %q, want %q", got, want)
		}
		return nil
	})
}

func seqs(events []*Told) (all string) {
	for _, t := range events {
		mark := ""
		if t.Pushed {
			mark = "+"
		}
		all += fmt.Sprint(t.Seq, mark, " ")
	}
	return strings.TrimSpace(all)
}

// Events go in the order in which they were told, and none before the journal had its say
// of it and of those before it.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.Tell(event(1, model.StatusProblem, 60), ""), w.Tell(event(2, model.StatusProblem, 60), ""), w.Tell(event(1, model.StatusOK, 120), "")
	w.Put([]*Told{b})
	if n := len(w.front(10)); n != 0 {
		t.Errorf("%d events may go, the first one is not in the journal", n)
	}
	w.Put([]*Told{a})
	if got := seqs(w.front(10)); got != "1 2" {
		t.Errorf("%q may go, want 1 and 2", got)
	}
	if got := seqs(w.front(1)); got != "1" {
		t.Errorf("front(1) is %q", got)
	}
	w.run()
	w.waitList("s_1 PROBLEM", "s_2 PROBLEM")
	w.Put([]*Told{c})
	w.waitList("s_1 PROBLEM", "s_2 PROBLEM", "s_1 OK")
	testkit.Eventually(t, 20*time.Second, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.Equal(w.pushed, []uint64{1, 2, 3}) || len(w.met) != 1 || w.met[0] == "" {
			return fmt.Errorf("the journal was told of %v and of the memories %q", w.pushed, w.met)
		}
		return nil
	})
}

// A snapshot and the journal after it may have an event twice, and in another order; what
// was marked as pushed does not go again.
func TestRecover(t *testing.T) {
	w := newWorld(t)
	told := func(seq uint64, id int, status string, pushed bool) *Told {
		return &Told{Seq: seq, At: w.now.Unix() - 7200, Event: event(id, status, int64(seq)), Pushed: pushed}
	}
	for i, x := range []struct {
		t    *Told
		news bool
	}{
		{told(2, 1, model.StatusProblem, true), true},
		{told(4, 2, model.StatusProblem, false), true},
		{told(3, 3, model.StatusProblem, false), true},
		{told(3, 3, model.StatusProblem, false), false}, // again
		{told(1, 1, model.StatusOK, true), false},       // older
		{told(5, 1, model.StatusOK, false), true},
	} {
		if got := w.Recover(x.t); got != x.news {
			t.Errorf("event %d is news: %v", i, got)
		}
	}
	if got := seqs(w.queue); got != "3 4 5" {
		t.Errorf("%q wait", got)
	}
	w.RecoverPushed(4, 9)
	if got := seqs(w.queue); got != "3 5" {
		t.Errorf("%q wait, 4 was pushed", got)
	}
	w.RecoverMet("before")
	if events, epoch := w.State(); seqs(events) != "3 4+ 5" || epoch != "before" {
		t.Errorf("the state is %q, %q", seqs(events), epoch)
	}
	if next := w.Tell(event(7, model.StatusProblem, 1), ""); next.Seq != 6 {
		t.Errorf("the next event is number %d, want 6", next.Seq)
	}
}

// What Redis may have lost goes again: with the same memory the last minute, with another
// one open problems and the last hour.
func TestAgain(t *testing.T) {
	for fresh, want := range map[bool]string{false: "4", true: "1 3 4"} {
		w := newWorld(t)
		for i, x := range []struct {
			status string
			age    int64
		}{{model.StatusProblem, 7200}, {model.StatusOK, 7200}, {model.StatusOK, 1800}, {model.StatusOK, 59}} {
			w.Recover(&Told{Seq: uint64(i + 1), At: w.now.Unix() - x.age, Event: event(i, x.status, 1), Pushed: true})
		}
		w.again(fresh)
		if got := seqs(w.queue); got != strings.ReplaceAll(want, " ", "+ ")+"+" {
			t.Errorf("fresh %v: %q go again, want %q", fresh, got, want)
		}
		w.again(fresh)
		if got := len(w.queue); got != len(strings.Fields(want)) {
			t.Errorf("fresh %v: %d wait once they were queued twice", fresh, got)
		}
		w.Forget()
		if w.Last(func(t *Told) {
			if t.Seq == 2 {
				w.t.Error("an end is kept for two hours")
			}
		}); len(w.last) != 3 {
			t.Errorf("%d last events are kept, want 3", len(w.last))
		}
	}
}

// While Redis is away events wait; one with another memory is given what is open, and the
// memory is noted only when it has it.
func TestRedisForgets(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.Put([]*Told{w.Tell(event(1, model.StatusProblem, 60), "")})
	w.waitList("s_1 PROBLEM")
	w.r.SetError("LOADING")
	w.Put([]*Told{w.Tell(event(2, model.StatusProblem, 60), "")})
	if w.Waiting() == 0 {
		t.Error("a Redis that is away has taken the event")
	}
	w.r.FlushAll()
	w.r.SetError("")
	testkit.Eventually(t, 10*time.Second, func() error {
		got := w.list() // what waited may come first: that the memory is new is seen when it is back
		if slices.Sort(got); !slices.Equal(got, []string{"s_1 PROBLEM", "s_2 PROBLEM"}) {
			return fmt.Errorf("redis has %q", got)
		}
		return nil
	})
	testkit.Eventually(t, 20*time.Second, func() error {
		_, epoch := w.State()
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.met) != 2 || w.met[0] == w.met[1] || epoch != w.met[1] {
			return fmt.Errorf("the memories met are %q, now %q", w.met, epoch)
		}
		return nil
	})
}

// losesTheLast has Redis come back, after so long, without what it was given last, but with its
// name: as with an append-only file that was behind.
func (w *world) losesTheLast(away time.Duration) {
	w.t.Helper()
	epoch, err := w.r.Get(redisx.Epoch)
	if err != nil {
		w.t.Fatal(err)
	}
	w.r.SetError("LOADING")
	testkit.Eventually(w.t, 10*time.Second, func() error {
		if len(w.Notes()) == 0 {
			return errors.New("nobody notices that Redis is away")
		}
		return nil
	})
	w.r.FlushAll()
	if err := w.r.Set(redisx.Epoch, epoch); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.now = w.now.Add(away)
	w.mu.Unlock()
	w.r.SetError("")
}

// Redis was killed and its file was behind: a problem and its end are lost together, of which
// the end alone is the last event. Both go again, also when Redis was away for long, and when
// the one who told them was killed meanwhile.
func TestRedisLosesTheLast(t *testing.T) {
	for _, away := range []time.Duration{time.Second, time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			w := newWorld(t)
			w.run()
			problem, end := w.Tell(event(1, model.StatusProblem, 60), ""), w.Tell(event(1, model.StatusOK, 120), "")
			w.Put([]*Told{problem, end})
			w.waitList("s_1 PROBLEM", "s_1 OK")
			w.losesTheLast(away)
			w.waitList("s_1 PROBLEM", "s_1 OK")
		})
		t.Run(away.String()+", killed", func(t *testing.T) {
			w := newWorld(t)
			stop := w.run()
			w.Put([]*Told{w.Tell(event(1, model.StatusProblem, 60), ""), w.Tell(event(1, model.StatusOK, 120), "")})
			w.waitList("s_1 PROBLEM", "s_1 OK")
			var events []*Told
			testkit.Eventually(t, 10*time.Second, func() error {
				if events, _ = w.State(); seqs(events) != "1+ 2+" {
					return fmt.Errorf("the state is %q", seqs(events))
				}
				return nil
			})
			epoch := w.epochMet()
			w.losesTheLast(away)
			stop()
			w.restart()
			for _, e := range events {
				w.Recover(e)
			}
			w.RecoverMet(epoch)
			w.run()
			w.waitList("s_1 PROBLEM", "s_1 OK")
		})
	}
}

// What Redis has had for a while is in its file: it does not go again.
func TestRedisKeeps(t *testing.T) {
	w := newWorld(t)
	for _, ago := range []time.Duration{time.Minute, behind + time.Second, behind - time.Second} {
		w.recent = append(w.recent, &Told{Seq: uint64(len(w.recent) + 1), Event: event(1, model.StatusOK, 1), taken: time.Now().Add(-ago)})
	}
	w.keeps()
	if got := seqs(w.recent); got != "3" {
		t.Errorf("%q may be lost, want 3", got)
	}
}

// The books balance: what was told, left by the last run or repeated is with Redis, lost with
// a word, or waits.
func TestCount(t *testing.T) {
	w := newWorld(t)
	counters := stat.New("test")
	w.Count(counters)
	check := func(when string, told int64, want map[string]int64) {
		t.Helper()
		sum := told
		for name, sign := range map[string]int64{"event.recovered": 1, "event.again": 1, "event.pushed": -1, "event.unwritable": -1, "event.spool": -1} {
			n, ok := counters.Value(name)
			if sum += sign * n; !ok || n != want[name] {
				t.Errorf("%s: %s is %d, want %d", when, name, n, want[name])
			}
		}
		if sum != 0 {
			t.Errorf("%s: %d events are nowhere", when, sum)
		}
	}
	w.Recover(&Told{Seq: 1, At: w.now.Unix(), Event: event(1, model.StatusProblem, 60)})
	w.Recover(&Told{Seq: 2, At: w.now.Unix(), Event: event(2, model.StatusProblem, 60)})
	w.Recover(&Told{Seq: 3, At: w.now.Unix(), Event: event(3, model.StatusProblem, 60)})
	w.RecoverPushed(3, 1)
	check("recovered", 0, map[string]int64{"event.recovered": 1, "event.spool": 1})
	unwritable := event(4, model.StatusProblem, 60)
	unwritable.LeftValue = math.NaN()
	w.Put([]*Told{w.Tell(unwritable, ""), w.Tell(event(5, model.StatusProblem, 60), "")})
	check("told", 2, map[string]int64{"event.recovered": 1, "event.spool": 3})
	w.run()
	w.waitList("s_1 PROBLEM", "s_3 PROBLEM", "s_2 PROBLEM", "s_5 PROBLEM") // the last minute's first
	testkit.Eventually(t, 10*time.Second, func() error {
		if n := w.Waiting(); n > 0 {
			return fmt.Errorf("%d events wait", n)
		}
		return nil
	})
	check("pushed", 2, map[string]int64{"event.recovered": 1, "event.again": 2, "event.pushed": 4, "event.unwritable": 1})
}

// Who is killed after it met another memory, and before that had everything, begins again.
func TestKilledBeforeItWasTold(t *testing.T) {
	w := newWorld(t)
	open := &Told{Seq: 1, At: w.now.Unix() - 7200, Event: event(1, model.StatusProblem, 60), Pushed: true}
	w.Recover(open)
	w.RecoverMet("before")
	met, err := w.meet(t.Context(), redisx.Memory{})
	if err != nil || w.Waiting() != 1 {
		t.Fatal(err, w.Waiting())
	}
	w.mu.Lock()
	if len(w.met) != 0 {
		t.Errorf("%q is noted, which has nothing yet", w.met)
	}
	w.mu.Unlock()
	w.restart() // killed
	w.Recover(open)
	w.RecoverMet("before")
	w.run()
	w.waitList("s_1 PROBLEM")
	testkit.Eventually(t, 20*time.Second, func() error {
		if _, epoch := w.State(); epoch != met.Epoch {
			return fmt.Errorf("the memory is %q, want %q", epoch, met.Epoch)
		}
		return nil
	})
}

// Without a Redis nobody takes events: none waits, and the last ones are known.
func TestClosed(t *testing.T) {
	b := New(Options{Now: time.Now})
	b.Put([]*Told{b.Tell(event(1, model.StatusProblem, 60), model.Gauge)})
	b.Recover(&Told{Seq: 9, Event: event(2, model.StatusProblem, 60)})
	if events, _ := b.State(); !b.Closed() || b.Waiting() != 0 || seqs(events) != "1+ 9+" {
		t.Errorf("%d wait, %q", b.Waiting(), seqs(events))
	}
}

// What another one has pushed is known and does not wait.
func TestAdopt(t *testing.T) {
	w := newWorld(t)
	w.Adopt(event(1, model.StatusProblem, w.now.Unix()-7200), model.Gauge)
	if w.again(false); w.Waiting() != 0 {
		t.Errorf("%d wait", w.Waiting())
	}
	if w.again(true); w.Waiting() != 1 {
		t.Error("a Redis that forgot is not told of it")
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		change func(*Config)
		want   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.MinInterval = -1 }, "alarm.minInterval"},
		{func(c *Config) { c.QueuePattern = "event" }, "alarm.queuePattern"},
		{func(c *Config) { c.QueuePattern = "event:%s" }, "alarm.queuePattern"},
		{func(c *Config) { c.QueuePattern = "event:%d%d" }, "alarm.queuePattern"},
		{func(c *Config) { c.Redis.Addr = "nowhere" }, "alarm.redis: addr"},
		{func(c *Config) { c.Enabled, c.QueuePattern = false, "" }, ""},
	} {
		cfg := DefaultConfig()
		tc.change(&cfg)
		err := cfg.Validate()
		if got := fmt.Sprint(err); tc.want == "" != (err == nil) || !strings.Contains(got, tc.want) && tc.want != "" {
			t.Errorf("%+v\n got %v\nwant %q", cfg, err, tc.want)
		}
	}
}

// A Redis that has a bound for its memory, and nobody who takes events out for a while: it is
// not filled to its bound, at which it would refuse those who take events out as well. They
// find all events, each once and in order.
func TestRedisIsNearlyFull(t *testing.T) {
	server := testkit.Redis(t, "--appendonly", "no", "--maxmemory", "16mb")
	cfg := redisx.DefaultConfig()
	cfg.Addr = conf.DSN(server.Addr())
	pool, err := redisx.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	b := New(Options{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Redis: pool, QueuePattern: "event:p%v", Max: 1_000_000, Pushed: func([]uint64) {}, Met: func(string) {},
	})
	const n = 20_000
	for i := range n {
		ev := event(i, model.StatusProblem, int64(i))
		ev.Strategy.Note = strings.Repeat("x", 1000)
		b.Put([]*Told{b.Tell(ev, "")})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	g.Go(func() { _ = b.Run(ctx) })
	defer g.Wait()
	defer cancel()
	testkit.Eventually(t, 30*time.Second, func() error {
		if notes := strings.Join(b.Notes(), "\n"); !strings.Contains(notes, "of its maxmemory of 16 MB in use") {
			return fmt.Errorf("notes: %q", notes)
		}
		return nil
	})
	if left := b.Waiting(); left == 0 || left == n {
		t.Fatalf("%d events wait", left)
	}
	q := pool.NewQueue("consumer", "event:p1")
	if err := q.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	taken := 0
	testkit.Eventually(t, time.Minute, func() error {
		for {
			elements, err := q.Pop(t.Context(), 400)
			if err != nil {
				t.Fatal(err)
			}
			if len(elements) == 0 {
				break
			}
			for _, e := range elements {
				var ev model.Event
				if err := json.Unmarshal(e.Payload, &ev); err != nil || ev.Id != fmt.Sprint("s_", taken) {
					t.Fatalf("event %d is %s, %v", taken, ev.Id, err)
				}
				taken++
			}
			if err := q.Done(t.Context(), elements...); err != nil {
				t.Fatal(err)
			}
		}
		if taken < n || len(b.Notes()) > 0 {
			return fmt.Errorf("%d of %d events are taken; %q", taken, n, b.Notes())
		}
		return nil
	})
}
