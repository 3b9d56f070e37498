package judge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/testkit"
)

// Batches that come again, all of them in any order, tell nothing more; batches that
// change places tell a problem and its end once.
func TestStoryRepeatedAndReorderedBatches(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	t0 := time.Now().Unix() - 3600
	var batches [][]*model.JudgeItem
	for i, v := range []float64{50, 1, 1, 1, 50, 50, 1, 1, 50} {
		batches = append(batches, []*model.JudgeItem{point(t0+int64(i)*60, v)})
	}
	for _, b := range batches {
		w.mustSend(b...)
	}
	story := []string{"PROBLEM 1", "OK 1", "PROBLEM 1", "OK 1"}
	w.waitTold(story...)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		rng.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
		for _, b := range batches {
			w.mustSend(append(b, b...)...)
		}
	}
	t1 := t0 + 1200
	for _, p := range []struct {
		i int64
		v float64
	}{{0, 50}, {2, 1}, {1, 1}, {4, 1}, {3, 1}, {3, 1}, {6, 50}, {5, 1}, {6, 50}, {8, 50}, {7, 50}} {
		w.mustSend(point(t1+p.i*60, p.v))
	}
	w.waitTold(append(story, "PROBLEM 1", "OK 1")...)
	testkit.Eventually(t, 10*time.Second, func() error { // Redis has them before the judge knows
		if n := w.out.Waiting(); n > 0 {
			return fmt.Errorf("%d events more wait", n)
		}
		return nil
	})
	w.waitTold(append(story, "PROBLEM 1", "OK 1")...)
}

// A judge that is killed while a problem is open does not tell its beginning again, and
// tells its end.
func TestStoryKilledDuringAProblem(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-240, 1), point(now-180, 1))
	w.waitTold("PROBLEM 1")
	w.killAndStart()
	w.mustSend(point(now-180, 1), point(now-120, 1), point(now-60, 1)) // bad as before
	w.waitTold("PROBLEM 1")
	w.killAndStart()
	w.mustSend(point(now, 50))
	w.waitTold("PROBLEM 1", "OK 1")
}

// Without an hbs for ten minutes the rules stay: they fire, also for series that nobody
// has seen before. A judge that has no rules at all keeps the points of new series and
// judges them when hbs is back.
func TestStoryTenMinutesWithoutHBS(t *testing.T) {
	w := newWorld(t, book("h1", "h2")) // nobody listens where it looks for an hbs
	w.start()
	at := func(host string, minute int64, v float64) *model.JudgeItem {
		p := point(time.Now().Unix()-1200+60*minute, v)
		p.Endpoint = host
		return p
	}
	w.mustSend(at("h1", 0, 1), at("h1", 1, 1))
	w.waitTold("PROBLEM 1")
	w.skew.Store(int64(10 * time.Minute))
	w.mustSend(at("h1", 11, 50), at("h2", 10, 1), at("h2", 11, 1))
	w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1")
	testkit.Eventually(t, 10*time.Second, func() error {
		if _, err := w.follow.Heard(); err == nil {
			return errors.New("it does not say that no hbs answers")
		}
		return w.health()
	})

	fresh := newWorld(t, nil)
	fresh.start()
	fresh.mustSend(at("h1", 0, 1), at("h1", 1, 1))
	fresh.skew.Store(int64(10 * time.Minute))
	if fresh.health() == nil {
		t.Error("a judge without rules is well")
	}
	hbs := serveBook(t, fresh)
	hbs <- book("h1")
	fresh.waitTold("PROBLEM 1")
}

// serveBook is the hbs of a judge: it has the last book that it was given, and until
// then none.
func serveBook(t *testing.T, w *world) chan<- *rulebook.Book {
	ln, err := net.Listen("tcp", w.cfg.HBS.Servers[0])
	if err != nil {
		t.Fatal(err)
	}
	books := make(chan *rulebook.Book, 8)
	var have *rulebook.Book
	lock := make(chan struct{}, 1)
	s := rpc.NewServer(rpc.ServerOptions{Drain: time.Millisecond})
	rpc.Handle(s, rulebook.Method, func(ctx context.Context, _ *rpc.Conn, req *rulebook.Request) (*rulebook.Reply, error) {
		lock <- struct{}{}
		defer func() { <-lock }()
		if have == nil || have.Version().String() == req.Version {
			select {
			case have = <-books:
			case <-time.After(200 * time.Millisecond): // it waits shorter than it may
				if have == nil {
					return nil, errors.New("hbs not ready")
				}
				return &rulebook.Reply{Kind: rulebook.NotModified, Version: req.Version}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return &rulebook.Reply{Kind: rulebook.Full, Version: have.Version().String(), Body: have.Encode()}, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		w.stop()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return books
}

// A strategy that is deleted is let go of: its open problem is closed for those who look,
// and what was kept of its series, and in the table of those that are watched, goes.
func TestStoryDeletedStrategyIsLetGo(t *testing.T) {
	w := newWorld(t, book("h1", "h2"))
	w.skew.Store(-int64(time.Minute + 10*time.Second))
	w.start()
	hbs := serveBook(t, w)
	hbs <- book("h1", "h2")
	now := time.Now().Unix()
	quiet := point(now-60, 50)
	quiet.Endpoint = "h2"
	w.mustSend(point(now-120, 1), point(now-60, 1), quiet)
	w.waitTold("PROBLEM 1")
	if n, _ := w.table.sizes(); n != 2 {
		t.Fatalf("%d series are kept, want 2", n)
	}

	other := rulebook.New()
	load := strategy(2)
	load.Metric = "load.1min"
	other.Add("h1", []*model.Strategy{load})
	hbs <- other
	testkit.Eventually(t, 20*time.Second, func() error {
		if f := w.inForce.Load(); f.index.Version != other.Version() {
			return errors.New("the strategy is in force yet")
		}
		return nil
	})
	w.close() // it sees that the strategy is gone, and a minute passes
	w.skew.Store(0)
	testkit.Eventually(t, 20*time.Second, func() error {
		w.close()
		if n, _ := w.table.sizes(); n > 0 {
			return fmt.Errorf("%d series are kept yet", n)
		}
		return nil
	})
	w.waitTold("PROBLEM 1", "OK 1 strategy_removed")
	if got := w.history("h1/cpu.idle"); !strings.HasPrefix(got, "not found") {
		t.Errorf("its history is there yet:\n%s", got)
	}
}

// ^mount=/dev/shm leaves out that series alone: by itself, with a tag that must be there,
// and in an expression.
func TestStoryInvertedTag(t *testing.T) {
	rule := func(id int, metric string, tags map[string]string) *model.Strategy {
		s := strategy(id)
		s.Metric, s.Tags, s.Func = metric, tags, "all(#1)"
		return s
	}
	b := rulebook.New()
	b.Add("h1", []*model.Strategy{
		rule(1, "df.free", map[string]string{"^mount": "/dev/shm"}),
		rule(2, "df.free", map[string]string{"^mount": "/dev/shm", "fstype": "ext4"}),
	})
	b.Expressions = []*model.Expression{{
		Id: 3, Metric: "df.used", Tags: map[string]string{"^mount": "/dev/shm", "fstype": "ext4"}, Func: "all(#1)", Operator: "<", RightValue: 5, MaxStep: 3, ActionId: 9,
	}}
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	want := map[string]bool{}
	for _, series := range []struct {
		metric string
		tags   map[string]string
		told   []string
	}{
		{"df.free", map[string]string{"mount": "/", "fstype": "ext4"}, []string{"s_1", "s_2"}},
		{"df.free", map[string]string{"mount": "/dev/shm", "fstype": "ext4"}, nil},
		{"df.free", map[string]string{"mount": "/dev/shm", "fstype": "tmpfs"}, nil},
		{"df.free", map[string]string{"mount": "/run", "fstype": "tmpfs"}, []string{"s_1"}},
		{"df.free", map[string]string{}, []string{"s_1"}},
		{"df.used", map[string]string{"mount": "/", "fstype": "ext4"}, []string{"e_3"}},
		{"df.used", map[string]string{"mount": "/dev/shm", "fstype": "ext4"}, nil},
		{"df.used", map[string]string{"mount": "/", "fstype": "tmpfs"}, nil},
	} {
		w.mustSend(&model.JudgeItem{Endpoint: "h1", Metric: series.metric, JudgeType: "GAUGE", Tags: series.tags, Timestamp: now, Value: 1})
		for _, rule := range series.told {
			want[fmt.Sprint(rule, " ", series.tags)] = true
		}
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		events, _ := w.out.state()
		got := map[string]bool{}
		for _, e := range events {
			got[fmt.Sprint(e.Event.Id[:3], " ", e.Event.PushedTags)] = true
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || len(events) != len(want) {
			return fmt.Errorf("told\n%v, want\n%v", got, want)
		}
		return nil
	})
}
