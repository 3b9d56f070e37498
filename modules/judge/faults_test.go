package judge

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/common/rulebook"
	"falcon/common/stream"
	"falcon/common/testkit"
	"falcon/modules/judge/core"
)

// entry is the series cpu.idle of a host.
func (w *world) entry(host string) *entry {
	return w.table.find(host, "cpu.idle", "", model.Gauge, nil, nil)
}

// killAndStart goes on with what is on disk now, as after a kill.
func (w *world) killAndStart() {
	w.t.Helper()
	copied := w.t.TempDir()
	if out, err := exec.Command("cp", "-a", w.dir+"/.", copied).CombinedOutput(); err != nil {
		w.t.Fatal(string(out))
	}
	w.stop()
	w.dir = copied
	w.start()
}

// meets waits until the judge has met Redis, which is new: the problems that it has by then
// are pushed again.
func (w *world) meets() {
	w.t.Helper()
	testkit.Eventually(w.t, 20*time.Second, func() error {
		if _, epoch := w.out.state(); epoch == "" {
			return errors.New("redis was not met yet")
		}
		return nil
	})
}

// A point that is sent once more is not acknowledged before its first sending is on the
// disk.
func TestADuplicateWaitsForTheFirst(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1))
	b := w.begin() // the first call, on its way to a slow disk
	b.add(w.entry("h1"), expr.Point{Ts: now - 60, Value: 1}, "", now)
	acked := make(chan error, 1)
	go func() { acked <- w.send(point(now-60, 1)) }()
	select {
	case err := <-acked:
		t.Errorf("acknowledged (%v), and the point is on no disk", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := b.commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-acked; err != nil {
		t.Error(err)
	}
}

// The largest push of a stream, of a series with a long name, is kept like any other.
func TestALargePushIsKept(t *testing.T) {
	tags := "a=" + strings.Repeat("a", 40)
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	s := w.stream()
	h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Tags: tags, Type: "GAUGE", Step: 60})
	var points []stream.Point
	for i := range 1 << 18 {
		points = append(points, stream.Point{Handle: h1, Time: now - 1<<18 + int64(i), Value: 1})
	}
	if r := s.push(points...); r.Err != nil {
		t.Fatal(r.Err)
	}
	history := func() int { return len(w.table.find("h1", "cpu.idle", tags, "GAUGE", nil, nil).History()) }
	n := history()
	w.killAndStart()
	if got := history(); got != n || n == 0 {
		t.Errorf("%d of %d points are there after a kill", got, n)
	}
}

// An unmute that could not be told, since the disk took nothing, is told again.
func TestAnUnmuteOutlivesAFullDisk(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	s := w.stream()
	h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	h2 := s.Define(&model.Series{Endpoint: "h2", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	s.push(stream.Point{Handle: h1, Time: now - 180, Value: 1}, stream.Point{Handle: h2, Time: now - 180, Value: 1})
	if !s.Muted(h2) {
		t.Fatal("what nobody watches is not muted")
	}
	w.journal.Fail(errors.New("no space"))
	w.changed(book("h1", "h2"))
	if r := s.push(stream.Point{Handle: h1, Time: now - 120, Value: 1}); r.Err == nil {
		t.Fatal("a full disk took points")
	}
	w.journal.Fail(nil)
	for i := range 5 {
		s.push(stream.Point{Handle: h1, Time: now - 60 + int64(i), Value: 1})
	}
	if s.Muted(h2) {
		t.Error("h2, which a rule watches, stays muted")
	}
}

func pointsOf(ts int64, refs ...uint32) *stream.Points {
	p := &stream.Points{}
	for _, r := range refs {
		p.Refs, p.Times, p.Values = append(p.Refs, r), append(p.Times, ts), append(p.Values, 1)
	}
	return p
}

func pushTo(in *inbound, p *stream.Points) (a *stream.Ack) {
	in.Push(p, func(x *stream.Ack, _ error) { a = x })
	return a
}

// Rules that change in the middle of a push, and back, mute nothing that they watch.
func TestRulesThatChangeAndComeBack(t *testing.T) {
	w := newWorld(t, book("h1", "h2"))
	w.start()
	now := time.Now().Unix()
	in := &inbound{j: w.Judge, rules: w.inForce.Load(), refs: newRefs()}
	in.Define(1, &model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE"})
	in.Define(2, &model.Series{Endpoint: "h2", Metric: "cpu.idle", Type: "GAUGE"})
	pushTo(in, pointsOf(now-120, 1, 2))
	var asked atomic.Int32
	w.hook(func() { // the push asks for the time, its batch, and then the event of h1
		if asked.Add(1) == 3 {
			w.changed(book("h1"))
		}
	})
	a := pushTo(in, pointsOf(now-60, 1, 2))
	w.hook(nil)
	muted := len(a.Mute) > 0
	w.changed(book("h1", "h2"))
	if a = pushTo(in, pointsOf(now, 1)); muted && a.Unmute == nil {
		t.Error("h2, which a rule watches, stays muted for good")
	}
}

// Two books that come before the first push are not mixed up.
func TestTwoBooksBeforeTheFirstPush(t *testing.T) {
	w := newWorld(t, nil)
	w.start()
	in := &inbound{j: w.Judge, rules: w.inForce.Load(), refs: newRefs()}
	w.changed(book("h1"))
	in.Define(1, &model.Series{Endpoint: "h2", Metric: "cpu.idle", Type: "GAUGE"})
	w.changed(book("h1", "h2"))
	if a := pushTo(in, pointsOf(time.Now().Unix(), 1)); len(a.Mute) > 0 && a.Unmute == nil {
		t.Error("h2, which a rule watches, is muted")
	}
}

// The events of a series leave in the order in which they were made, whichever batch
// reaches the disk first.
func TestEventsLeaveInOrder(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1))
	first := w.begin()
	first.add(w.entry("h1"), expr.Point{Ts: now - 60, Value: 1}, "", now)
	second := w.begin()
	second.add(w.entry("h1"), expr.Point{Ts: now, Value: 50}, "", now)
	if err := errors.Join(second.commit(), first.commit()); err != nil {
		t.Fatal(err)
	}
	w.waitTold("PROBLEM 1", "OK 1")
}

// A snapshot between an event and its record does not say that Redis has it.
func TestSnapshotBeforeTheRecord(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1))
	w.meets()
	w.skew.Store(int64(-2 * time.Minute)) // the judge is away for longer than what it pushes again
	w.turning.Lock()
	if err := w.journal.Turn(); err != nil {
		t.Fatal(err)
	}
	w.turn++
	w.turning.Unlock()
	b := w.begin()
	b.add(w.entry("h1"), expr.Point{Ts: now - 60, Value: 1}, "", now)
	if err := w.journal.Snapshot(w.snapshot); err != nil {
		t.Fatal(err)
	}
	w.skew.Store(0)
	committed := false
	b.abandon(&committed) // killed before its commit
	w.killAndStart()
	w.mustSend(point(now-60, 1)) // it was not acknowledged
	w.waitTold("PROBLEM 1")
}

// Records of two batches in the other order lose no point of a young series.
func TestReplayInAnotherOrder(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	first, second := w.begin(), w.begin()
	first.add(w.entry("h1"), expr.Point{Ts: now - 120, Value: 50}, "", now)
	second.add(w.entry("h1"), expr.Point{Ts: now - 60, Value: 1}, "", now)
	if err := errors.Join(second.commit(), first.commit()); err != nil {
		t.Fatal(err)
	}
	w.killAndStart()
	if got := len(w.entry("h1").History()); got != 2 {
		t.Errorf("%d of 2 points are there after a kill", got)
	}
}

// A shard may be larger than a record.
func TestSnapshotOfALargeShard(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	sh := &w.table.shards[0]
	for i := range 12_000 {
		sh.mu.Lock()
		e := w.table.add(sh, fmt.Sprintf("host%06d", i), "cpu.idle", "", "GAUGE")
		for k := range 120 {
			e.Insert(expr.Point{Ts: int64(1_700_000_000 + 60*k), Value: 1}, core.Settings{Remain: 120})
		}
		sh.mu.Unlock()
	}
	if err := w.rewrite(); err != nil {
		t.Error(err)
	}
}

// A judge that is killed while it tells a Redis that lost its memory begins again.
func TestKilledWhileTellingAFreshRedis(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-7200, 1), point(now-7140, 1))
	w.waitTold("PROBLEM 1")
	w.out.Last(func(e *outbox.Told) {
		e.At -= 7200
	})
	if err := w.rewrite(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.r.FlushAll()
	j, err := New(w.config(), Deps{Log: w.deps.Log})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.recover(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.redis.Memory(t.Context()); err != nil { // it has met the new memory
		t.Fatal(err)
	}
	if err := errors.Join(j.journal.Close(), j.redis.Close()); err != nil { // killed
		t.Fatal(err)
	}
	w.start()
	w.waitTold("PROBLEM 1")
}

// A Redis that loses its memory and is back before anybody looks is noticed.
func TestRedisForgetsBetweenTwoLooks(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	w.waitTold("PROBLEM 1")
	w.r.FlushAll()
	w.waitTold("PROBLEM 1")
}

// A point of the future does not freeze its series, over a stream either.
func TestFutureOnAStream(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	s := w.stream()
	h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	s.push(stream.Point{Handle: h1, Time: now + 1_000_000, Value: 50})
	s.push(stream.Point{Handle: h1, Time: now - 60, Value: 1}, stream.Point{Handle: h1, Time: now, Value: 1})
	w.waitTold("PROBLEM 1")
}

// A threshold that is no number judges nothing and harms no snapshot.
func TestThresholdThatIsNoNumber(t *testing.T) {
	s := strategy(1)
	s.RightValue = math.Inf(1)
	b := rulebook.New()
	b.Add("h1", []*model.Strategy{s})
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	if err := w.rewrite(); err != nil {
		t.Error(err)
	}
}

// The type of the newest point counts, on a stream and from stock; an old point sent
// once more brings nothing back.
func TestTypesThatChange(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	s := w.stream()
	gauge := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	counter := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "COUNTER", Step: 60})
	for _, p := range []stream.Point{
		{Handle: gauge, Time: now - 240, Value: 50}, {Handle: counter, Time: now - 180, Value: 1000}, {Handle: gauge, Time: now - 120, Value: 500},
		{Handle: gauge, Time: now - 60, Value: 400}, {Handle: gauge, Time: now, Value: 300}, // as rates they are below 5
	} {
		s.push(p)
	}
	if n := w.problems.Get(); n != 0 {
		t.Errorf("%d problems of values that are well", n)
	}
	as := func(typ string, p *model.JudgeItem) *model.JudgeItem { p.Endpoint, p.JudgeType = "h1", typ; return p }
	w.mustSend(as("COUNTER", point(now+60, 100)))
	w.mustSend(as("GAUGE", point(now, 100)))
	if typ := w.table.get("h1/cpu.idle").typ; typ != "COUNTER" {
		t.Errorf("the type is %s: that of an old point counts", typ)
	}
}

// A series of which only the end is known is not kept for ever.
func TestSeriesWithoutPointsGo(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	w.waitTold("PROBLEM 1")
	w.skew.Store(int64((forgetAfter + 60) * time.Second))
	w.close()
	w.waitTold("PROBLEM 1", "OK 1 stale")
	for range 2 { // the snapshot has the end, and no point
		if err := w.rewrite(); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.close()
	}
	if n, _ := w.table.sizes(); n != 0 {
		t.Errorf("%d series are kept that have no points", n)
	}
}

// A host whose clock is a month behind is judged like any other: its silence is that of
// its points, not of their times.
func TestAClockThatIsBehind(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	then := time.Now().Unix() - 30*24*3600
	for i := range 3 {
		w.mustSend(point(then+int64(i)*120, 1), point(then+int64(i)*120+60, 1))
		w.close()
	}
	w.waitTold("PROBLEM 1", "PROBLEM 2", "PROBLEM 3")
}

// An empty older file, as a crash leaves it, does not keep judge from starting.
func TestEmptyOlderFile(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	w.mustSend(point(time.Now().Unix()-60, 1))
	w.stop()
	if err := os.Rename(w.dir+"/journal-1", w.dir+"/journal-2"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.dir+"/journal-1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	if n, _ := w.table.sizes(); n != 1 {
		t.Errorf("%d series came back, want 1", n)
	}
}

// A folder has one judge.
func TestOneJudgeAFolder(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	j, err := New(w.config(), Deps{Log: w.deps.Log})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.recover(); err == nil || !strings.Contains(err.Error(), "another process works in the folder") {
		t.Errorf("a second judge in the folder: %v", err)
	}
}

// One list that Redis does not take, since the key is something else, is in the log and
// nothing is lost for it.
func TestAListThatIsNone(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	if err := w.r.Set("event:p0", "no list"); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	testkit.Eventually(t, 20*time.Second, func() error {
		if n := w.out.Waiting(); n != 1 {
			return fmt.Errorf("%d events wait, want 1", n)
		}
		return nil
	})
	w.r.Del("event:p0")
	w.waitTold("PROBLEM 1")
}

// Points that have to be sent again with their definition are counted once.
func TestReceivedIsCountedOnce(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	s := w.stream()
	h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	s.push(stream.Point{Handle: h1, Time: now - 120, Value: 1})
	w.skew.Store(int64((forgetAfter + 60) * time.Second))
	w.close() // forgotten: the next is sent twice
	w.skew.Store(0)
	s.push(stream.Point{Handle: h1, Time: now - 60, Value: 1})
	if got := w.received.Get(); got != 2 {
		t.Errorf("recv is %d, of two points", got)
	}
}

// Everything at once: calls, streams, rules, snapshots, sweeps, a Redis that comes and
// goes. Afterwards every event is in Redis once, and a kill changes nothing.
func TestEverythingAtOnce(t *testing.T) {
	all := []string{"h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7"}
	w := newWorld(t, book(all...))
	w.start()
	end := time.Now().Add(3 * time.Second)
	if os.Getenv("FALCON_SOAK") != "" {
		end = time.Now().Add(time.Minute)
	}
	var wg sync.WaitGroup
	base := time.Now().Unix() - 100_000
	run := func(pause time.Duration, f func(i int)) {
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				f(i)
				if pause > 0 {
					<-time.After(pause)
				}
			}
		})
	}
	for g := range 4 {
		run(0, func(i int) {
			p := point(base+int64(i), float64(rand.IntN(2)*50))
			p.Endpoint = fmt.Sprint("h", g)
			q := *p
			q.Endpoint, q.JudgeType = "h7", []string{"GAUGE", "COUNTER"}[i%2]
			_ = w.send(p, p, &q)
		})
		s := w.stream()
		var handles []stream.Handle
		for k := range 8 {
			handles = append(handles, s.Define(&model.Series{Endpoint: fmt.Sprint("h", k), Metric: "cpu.idle", Tags: fmt.Sprintf("g=%d", g), Type: "GAUGE", Step: 1}))
		}
		run(0, func(i int) {
			var points []stream.Point
			for _, h := range handles {
				points = append(points, stream.Point{Handle: h, Time: base + int64(i), Value: float64(rand.IntN(2) * 50)})
			}
			s.push(points...)
		})
	}
	run(3*time.Millisecond, func(i int) { w.changed(book("h0", "h1", "h2", "h3", fmt.Sprint("h", 4+i%4))) })
	run(5*time.Millisecond, func(int) {
		if err := w.rewrite(); err != nil {
			t.Error(err)
		}
	})
	run(2*time.Millisecond, func(int) { w.close(); w.judgeWaiting(); w.table.expire(time.Now().Unix()) })
	run(time.Millisecond, func(int) { w.history("h0/cpu.idle"); w.filterStat(); w.out.state() })
	run(300*time.Millisecond, func(i int) { w.r.SetError([]string{"", "LOADING"}[i%2]) })
	wg.Wait()
	w.r.SetError("")
	testkit.Eventually(t, 2*time.Minute, func() error {
		list, _ := w.r.List("event:p0")
		if made := w.problems.Get() + w.oks.Get(); w.out.Waiting() > 0 || int64(len(list)) != made {
			return fmt.Errorf("%d events of %d are in redis, %d wait", len(list), made, w.out.Waiting())
		}
		return nil
	})
	type state struct {
		points int
		open   bool
	}
	look := func() map[string]state {
		m := map[string]state{}
		for i := range w.table.shards {
			sh := &w.table.shards[i]
			sh.mu.Lock()
			for pk, e := range sh.series {
				m[pk] = state{len(e.History()), e.Open()}
			}
			sh.mu.Unlock()
		}
		return m
	}
	before := look()
	w.save(book(all...))
	w.killAndStart()
	after := look()
	for pk, b := range before {
		if a := after[pk]; a.open != b.open || a.points < b.points {
			t.Errorf("%s: %+v became %+v after a kill", pk, b, a)
		}
	}
}

// The clock of a judge's host steps by an hour, forward and back, in the middle of a problem.
// Its points come with the right times: nothing is told that is not so, nothing is missed, and
// none is of the future.
func TestClockSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, book("h1"))
			w.start()
			now := time.Now().Unix()
			s := w.stream()
			h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
			push := func(ago int64, value float64) {
				t.Helper()
				if r := s.push(stream.Point{Handle: h1, Time: now - ago, Value: value}); r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			push(300, 1)
			push(240, 1)
			w.waitTold("PROBLEM 1")
			w.skew.Store(int64(step))
			w.sweepOnce()
			w.waitTold("PROBLEM 1")
			push(180, 50)
			w.waitTold("PROBLEM 1", "OK 1")
			w.sweepOnce()
			if n := w.invalid.Sum(); n > 0 {
				t.Errorf("%d points are refused: %v", n, w.invalid.All())
			}
			w.skew.Store(0)
			w.sweepOnce()
			push(120, 50)
			w.waitTold("PROBLEM 1", "OK 1")
			push(60, 1)
			push(0, 1)
			w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1")
			if kept, _ := w.table.sizes(); kept != 1 {
				t.Errorf("%d series are kept", kept)
			}
		})
	}
}

// sweepOnce does what a judge does each tick.
func (w *world) sweepOnce() {
	w.close()
	w.judgeWaiting()
	w.table.expire(w.now().Unix())
	w.out.forgetAcks()
	w.out.Forget()
}
