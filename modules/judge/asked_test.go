package judge

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/common/testkit"
)

// askedHbs is one that has HbsNew.GetFilteredStrategies alone, with the rule of strategy
// for cpu.idle of h1, as long as it is not told to fail.
func askedHbs(t *testing.T) (addr string, fails *atomic.Bool) {
	t.Helper()
	fails = &atomic.Bool{}
	s := rpc.NewServer(rpc.ServerOptions{Drain: time.Millisecond})
	type reply struct {
		HostStrategies map[string][]*model.Strategy `json:"hostStrategies"`
	}
	rpc.Handle(s, "HbsNew.GetFilteredStrategies", func(_ context.Context, _ *rpc.Conn, keys *map[string]int) (*reply, error) {
		if fails.Load() {
			return nil, errors.New("database is away")
		}
		r := &reply{map[string][]*model.Strategy{}}
		if _, ok := (*keys)["h1/cpu.idle"]; ok {
			r.HostStrategies["h1/cpu.idle"] = []*model.Strategy{strategy(1)}
		}
		return r, nil
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String(), fails
}

// asks waits until the judge asks its hbs for keys.
func (w *world) asks() {
	w.t.Helper()
	testkit.Eventually(w.t, 10*time.Second, func() error {
		if f := w.inForce.Load(); f == nil || !f.asked {
			return errors.New("the judge does not ask for keys")
		}
		return nil
	})
}

// Against an hbs that is asked for keys, points of series that it was not asked for yet
// wait, and are judged when it has answered: none is lost, and nobody's push waits.
func TestPointsWaitForAnHbsThatIsAsked(t *testing.T) {
	w := newWorld(t, nil)
	var fails *atomic.Bool
	w.hbs, fails = askedHbs(t)
	w.start()
	w.asks()
	fails.Store(true)
	now := time.Now().Unix()
	began := time.Now()
	w.mustSend(point(now-120, 1), point(now-60, 1))
	if took := time.Since(began); took > time.Second {
		t.Errorf("a push waited %v for hbs", took)
	}
	s := w.stream()
	h2 := s.Define(&model.Series{Endpoint: "h2", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	if r := s.push(stream.Point{Handle: h2, Time: now - 60, Value: 1}); r.Err != nil || r.Taken != 1 {
		t.Fatalf("push: %+v", r)
	}
	if s.Muted(h2) {
		t.Error("a series is muted before hbs was asked for it")
	}
	w.waitTold()
	if keys, unknown := w.follow.Asked(); keys != 2 || unknown != 2 {
		t.Errorf("%d keys, %d unknown, want 2 and 2", keys, unknown)
	}
	fails.Store(false)
	w.waitTold("PROBLEM 1")
	testkit.Eventually(t, 10*time.Second, func() error {
		if r := s.push(stream.Point{Handle: h2, Time: time.Now().Unix(), Value: 1}); r.Err != nil {
			return r.Err
		}
		if !s.Muted(h2) {
			return errors.New("h2, which nothing watches, is not muted")
		}
		return nil
	})
}

// An open problem of the last run stays open, and ends, when another hbs is asked for keys.
func TestAProblemOutlivesAChangeToAnHbsThatIsAsked(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1), point(now-60, 1))
	w.waitTold("PROBLEM 1")
	var fails *atomic.Bool
	w.hbs, fails = askedHbs(t)
	w.start()
	w.asks()
	fails.Store(true)
	e := w.entry("h1")
	w.follow.Known("h9", "cpu.idle")
	w.skew.Store(int64(10 * time.Minute))
	w.close()
	w.skew.Store(int64(20 * time.Minute))
	w.close()
	if !e.Open() {
		t.Error("the problem was closed")
	}
	w.skew.Store(0)
	w.mustSend(point(now, 50))
	w.waitTold("PROBLEM 1", "OK 1")
}
