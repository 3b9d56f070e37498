package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/stream"
	"falcon/common/testkit"
)

// strategy is cpu.idle below 5, twice.
func strategy(id int) *model.Strategy {
	return &model.Strategy{
		Id: id, Metric: "cpu.idle", Tags: map[string]string{}, Func: "all(#2)", Operator: "<", RightValue: 5, MaxStep: 3,
		Tpl: &model.Template{Id: 7, ActionId: 9},
	}
}

// book is one in which the hosts have the strategy.
func book(hosts ...string) *rulebook.Book {
	b := rulebook.New()
	for _, h := range hosts {
		b.Add(h, []*model.Strategy{strategy(1)})
	}
	return b
}

// world is a judge with its folder and Redis.
type world struct {
	*Judge
	t    *testing.T
	dir  string
	addr string
	r    *miniredis.Miniredis
	stop func()
	hbs  string // its address; nobody is there when empty

	silent conf.Duration // alarm.closeSilent
	key    conf.Secret   // fleet_key

	change func(*Config) // of the configuration; nil for nothing

	skew   atomic.Int64 // of the judge's clock, in nanoseconds
	hooked atomic.Pointer[func()]
}

// hook has fn called whenever the judge asks for the time; nil for nothing.
func (w *world) hook(fn func()) {
	if fn == nil {
		w.hooked.Store(nil)
		return
	}
	w.hooked.Store(&fn)
}

func (w *world) clock() time.Time {
	if fn := w.hooked.Load(); fn != nil {
		(*fn)()
	}
	return time.Now().Add(time.Duration(w.skew.Load()))
}

func newWorld(t *testing.T, b *rulebook.Book) *world {
	w := &world{t: t, dir: t.TempDir(), r: miniredis.RunT(t), stop: func() {}}
	w.save(b)
	t.Cleanup(func() { w.stop() })
	return w
}

// save puts a book on disk; nil for none.
func (w *world) save(b *rulebook.Book) {
	w.t.Helper()
	if b == nil {
		return
	}
	if err := os.WriteFile(filepath.Join(w.dir, "rules.book"), b.Encode(), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) config() Config {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Data = w.dir
	cfg.HBS.Servers = []string{w.hbs}
	if w.hbs == "" {
		cfg.HBS.Servers = []string{testkit.FreeAddr(w.t)}
	}
	cfg.Alarm.Redis.Addr = conf.DSN(w.r.Addr())
	cfg.HTTP.Enabled = false
	cfg.Alarm.CloseSilent, cfg.FleetKey = w.silent, w.key
	if w.change != nil {
		w.change(&cfg)
	}
	return cfg
}

// start runs the judge again.
func (w *world) start() {
	w.t.Helper()
	w.stop()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ready := make(chan struct{})
	j, err := New(w.config(), Deps{Log: slog.New(slog.DiscardHandler), RPC: ln, Now: w.clock, Ready: func() { close(ready) }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Judge, w.addr = j, ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	w.stop = func() {
		w.stop = func() {}
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run: %v", err)
		}
	}
	<-ready
}

func point(ts int64, value float64) *model.JudgeItem {
	return &model.JudgeItem{Endpoint: "h1", Metric: "cpu.idle", JudgeType: "GAUGE", Tags: map[string]string{}, Timestamp: ts, Value: value}
}

// send is what a stock transfer does.
func (w *world) send(items ...*model.JudgeItem) error {
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr})
	defer c.Close()
	return c.Call(context.Background(), "Judge.Send", items, &model.SimpleRpcResponse{})
}

func (w *world) mustSend(items ...*model.JudgeItem) {
	w.t.Helper()
	if err := w.send(items...); err != nil {
		w.t.Fatal(err)
	}
}

// waitTold waits until Redis has the events, oldest first.
func (w *world) waitTold(want ...string) {
	w.t.Helper()
	testkit.Eventually(w.t, 20*time.Second, func() error {
		list, _ := w.r.List("event:p0") // an error: it is empty
		var got []string
		for _, raw := range list {
			var e model.Event
			if err := json.Unmarshal([]byte(raw), &e); err != nil {
				return err
			}
			got = append([]string{strings.TrimSpace(fmt.Sprintf("%s %d %s", e.Status, e.CurrentStep, e.Closed))}, got...)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("told %v, want %v", got, want)
		}
		return nil
	})
}

// A problem is told once, also by a judge that was restarted in the middle and whose
// Redis was away, and once more with its end when Redis has lost everything right after.
func TestRestart(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1), nil, point(now-60, 1), point(now+9000, 1))
	w.waitTold("PROBLEM 1")

	w.start()
	w.r.SetError("LOADING away") // before the next event
	w.mustSend(point(now-60, 1), point(now, 50))
	if err := w.rewrite(); err != nil { // keeps the event that waits, and the state
		t.Fatal(err)
	}
	w.start()
	if n, _ := w.table.sizes(); n != 1 || w.out.Waiting() == 0 {
		t.Errorf("%d series and %d events came back from the snapshot, want 1 and at least 1", n, w.out.Waiting())
	}
	w.r.SetError("")
	w.waitTold("PROBLEM 1", "OK 1")

	w.stop()
	w.r.FlushAll()
	w.start()
	w.waitTold("PROBLEM 1", "OK 1")
}

// Another judge met the empty Redis first: this one still sees that the memory is not
// the one that had its problem.
func TestRedisForgotWhileJudgeWasDown(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-7200, 1), point(now-7140, 1))
	w.waitTold("PROBLEM 1")
	w.out.Last(func(e *outbox.Told) {
		e.At -= 7200 // it is long ago
	})
	if err := w.rewrite(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.r.FlushAll()
	if _, err := w.redis.Memory(t.Context()); err == nil {
		t.Fatal("the pool of a judge that has ended is open")
	}
	if err := w.r.Set("falcon:epoch", "made by another judge"); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.waitTold("PROBLEM 1")
}

// Without rules points wait; the first rules judge them.
func TestPointsWaitForRules(t *testing.T) {
	w := newWorld(t, nil)
	w.start()
	if err := w.health(); err == nil || !strings.Contains(err.Error(), "hbs.servers") {
		t.Errorf("health without rules: %v", err)
	}
	now := time.Now().Unix()
	other := point(now, 1)
	other.Endpoint = "h2"
	w.mustSend(point(now-120, 1), point(now-60, 1), other)
	w.start() // they outlive a restart
	if n, _ := w.table.sizes(); n != 2 {
		t.Errorf("%d series wait, want 2", n)
	}
	w.changed(book("h1"))
	w.waitTold("PROBLEM 1")
	w.close()
	if n, _ := w.table.sizes(); n != 1 {
		t.Errorf("%d series are kept once the rules are there, want 1", n)
	}
}

// A disk that takes nothing is no reason for silence, and no point is acknowledged that
// a restart would forget.
func TestDiskTakesNothing(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1))
	w.journal.Fail(errors.New("no space left on device"))
	if err := w.send(point(now-60, 1)); err == nil {
		t.Error("a point was acknowledged that is on no disk")
	}
	w.waitTold("PROBLEM 1")
	if err := w.health(); err == nil || !strings.Contains(err.Error(), w.dir) {
		t.Errorf("health: %v", err)
	}
	w.journal.Fail(nil)
	w.mustSend(point(now-60, 1)) // again, as the sender does
	if err := w.health(); err != nil {
		t.Errorf("health after it: %v", err)
	}
	w.start()
	w.mustSend(point(now, 50))
	w.waitTold("PROBLEM 1", "OK 1")
}

// sender streams to the judge as our transfer does.
type sender struct {
	*stream.Sender
	t *testing.T
}

func (w *world) stream() *sender {
	w.t.Helper()
	snd, err := stream.NewSender(stream.SenderOptions{Addr: w.addr, Kind: stream.KindJudge, Sender: "test", CallTimeout: 30 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- snd.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-ended })
	return &sender{snd, w.t}
}

func (s *sender) push(points ...stream.Point) stream.Result {
	s.t.Helper()
	result := make(chan stream.Result, 1)
	if err := s.Send(s.t.Context(), points, func(r stream.Result) { result <- r }); err != nil {
		s.t.Fatal(err)
	}
	return <-result
}

// Points of our own transfers come over a stream and are judged the same. What no rule
// watches is muted, and comes again once a rule does.
func TestStream(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	s := w.stream()
	h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	h2 := s.Define(&model.Series{Endpoint: "h2", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	r := s.push(stream.Point{Handle: h1, Time: now - 60, Value: 1}, stream.Point{Handle: h2, Time: now - 60, Value: 1}, stream.Point{Handle: h1, Time: now, Value: 2})
	if r.Err != nil || r.Taken+r.Muted != 3 {
		t.Errorf("result %+v, want 3 taken", r)
	}
	w.waitTold("PROBLEM 1")
	if s.Muted(h1) || !s.Muted(h2) {
		t.Errorf("muted: watched %v, unwatched %v", s.Muted(h1), s.Muted(h2))
	}
	if n, _ := w.table.sizes(); n != 1 {
		t.Errorf("%d series are kept, want 1", n)
	}
	if r := s.push(stream.Point{Handle: h2, Time: now, Value: 1}); r.Muted != 1 {
		t.Errorf("a muted point: %+v", r)
	}

	w.changed(book("h1", "h2"))
	testkit.Eventually(t, 10*time.Second, func() error {
		s.push(stream.Point{Handle: h1, Time: now, Value: 2})
		if s.Muted(h2) {
			return errors.New("it is still muted")
		}
		return nil
	})
	s.push(stream.Point{Handle: h2, Time: now - 60, Value: 1}, stream.Point{Handle: h2, Time: now, Value: 1})
	w.waitTold("PROBLEM 1", "PROBLEM 1")

	// A series whose rule is gone is forgotten, and its ref with it.
	w.changed(book("h1"))
	testkit.Eventually(t, 10*time.Second, func() error {
		s.push(stream.Point{Handle: h2, Time: now + 60, Value: 1})
		if !s.Muted(h2) {
			return errors.New("it is not muted")
		}
		return nil
	})
}

// A strategy may be disabled for two weeks, twice as long as a series may be silent: its
// problem is open all the time, and afterwards a series that is silent in truth is closed
// a week later.
func TestDisabledForLongerThanSilence(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	w.waitTold("PROBLEM 1")
	resting := book()
	resting.Paused = []int{1}
	w.changed(resting)
	days := func(n int) { w.skew.Store(int64(time.Duration(n) * 24 * time.Hour)) }
	for day := range 15 {
		days(day)
		w.close()
	}
	w.changed(book("h1"))
	w.close()
	w.waitTold("PROBLEM 1")
	if e := w.table.get("h1/cpu.idle"); e == nil || !e.Open() {
		t.Error("the problem is closed")
	}
	days(22)
	w.close()
	w.waitTold("PROBLEM 1", "OK 1 stale")
}

// A series that was forgotten while a stream still had it is defined again.
func TestForgottenWhileStreaming(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	s := w.stream()
	now := time.Now().Unix()
	h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	s.push(stream.Point{Handle: h1, Time: now - 120, Value: 50})
	w.skew.Store(int64((forgetAfter + 60) * time.Second))
	w.close()
	w.skew.Store(0)
	if n, _ := w.table.sizes(); n != 0 {
		t.Fatalf("%d series are kept of one that is silent for a week", n)
	}
	if r := s.push(stream.Point{Handle: h1, Time: now - 60, Value: 1}, stream.Point{Handle: h1, Time: now, Value: 1}); r.Taken != 2 {
		t.Errorf("result %+v, want 2 taken", r)
	}
	w.waitTold("PROBLEM 1")
}

// A stock transfer names the series with each point; what nobody watches is decided
// once for each book.
func TestUnwatchedOfStockPeers(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	other := func(ts int64) *model.JudgeItem { p := point(ts, 1); p.Endpoint = "h2"; return p }
	w.mustSend(other(now-120), other(now-60), point(now, 50))
	if kept, unwatched := w.table.sizes(); kept != 1 || unwatched != 1 || w.filtered.Get() != 2 {
		t.Errorf("%d kept, %d unwatched, %d points filtered; want 1, 1, 2", kept, unwatched, w.filtered.Get())
	}
	w.changed(book("h1", "h2"))
	w.mustSend(other(now-60), other(now))
	w.waitTold("PROBLEM 1")
	if kept, unwatched := w.table.sizes(); kept != 2 || unwatched != 0 {
		t.Errorf("%d kept, %d unwatched after the new rules; want 2, 0", kept, unwatched)
	}
	w.table.expire(now + 3*unwatchedFor)
}

// Everything that can be wrong with an item is counted by its reason and keeps nobody
// back.
func TestRefusals(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	edit := func(f func(*model.JudgeItem)) *model.JudgeItem { p := point(now-60, 1); f(p); return p }
	w.mustSend(point(now-60, 1), nil,
		edit(func(p *model.JudgeItem) { p.Endpoint = "" }),
		edit(func(p *model.JudgeItem) { p.Metric = strings.Repeat("m", 70_000) }),
		edit(func(p *model.JudgeItem) { p.JudgeType = "" }),
		edit(func(p *model.JudgeItem) { p.Timestamp = -5 }),
		edit(func(p *model.JudgeItem) { p.Timestamp = now + 360 }),
		edit(func(p *model.JudgeItem) { p.Value = nan }),
		point(now-60, 7), point(now, 1))
	want := map[string]int64{
		model.ReasonNull: 1, model.ReasonNoName: 1, model.ReasonTooLong: 1, model.ReasonType: 1,
		model.ReasonTimestamp: 1, model.ReasonFuture: 1, model.ReasonValue: 1,
	}
	if got := w.invalid.All(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("refused %v, want %v", got, want)
	}
	if n := w.stale.Get(model.ReasonStale); n != 1 {
		t.Errorf("%d points stale, want the second of one time", n)
	}
	w.waitTold("PROBLEM 1")
}
