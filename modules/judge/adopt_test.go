package judge

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/testkit"
)

func (w *world) adoptAll(items ...*model.AdoptItem) []string {
	w.t.Helper()
	c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr, Key: w.key.Reveal()})
	defer c.Close()
	var reply model.AdoptReply
	if err := c.Call(w.t.Context(), "Judge.Adopt", items, &reply); err != nil {
		w.t.Fatal(err)
	}
	return reply.Adopted
}

// open is the open problem of strategy 1 on a host, as its judge before told it.
func open(host string, step int, at int64) *model.AdoptItem {
	return &model.AdoptItem{Event: model.Event{
		Id: "s_1_" + model.Checksum(host+"/cpu.idle"), Strategy: strategy(1), Status: model.StatusProblem, Endpoint: host,
		CurrentStep: step, EventTime: at, PushedTags: map[string]string{},
	}}
}

// meetsRedis waits until the judge knows the memory of Redis.
func (w *world) meetsRedis() {
	w.t.Helper()
	testkit.Eventually(w.t, 10*time.Second, func() error {
		if _, epoch := w.out.State(); epoch == "" {
			return errors.New("the judge has not met Redis")
		}
		return nil
	})
}

// A judge that takes a series over goes on where the one before it was, over kills, too:
// the next step or the end, and nothing from the beginning.
func TestAdopt(t *testing.T) {
	w := newWorld(t, book("h1", "h2", "h3", "h4"))
	w.start()
	w.meetsRedis() // which is new: a problem that is open by then would be told to it
	now := time.Now().Unix()
	acked := open("h3", 1, now-7200)
	acked.Acked = true
	if got := w.adoptAll(open("h1", 1, now-7200), open("h2", 1, now-7200), acked); len(got) != 3 {
		t.Fatalf("taken over: %q", got)
	}
	live := open("h4", 1, now-7200)
	live.Acked = true
	w.adoptAll(live)
	h4 := func(ts int64) *model.JudgeItem { p := point(ts, 1); p.Endpoint = "h4"; return p }
	w.mustSend(h4(now-60), h4(now))
	w.waitTold()
	for range 2 {
		if got := w.adoptAll(open("h1", 1, now-7200)); len(got) != 0 {
			t.Errorf("taken over twice: %q", got)
		}
		w.killAndStart()
	}
	w.waitTold() // nothing by itself
	of := func(host string, ts int64, v float64) *model.JudgeItem {
		p := point(ts, v)
		p.Endpoint = host
		return p
	}
	w.mustSend(of("h1", now-60, 1), of("h1", now, 1))
	w.waitTold("PROBLEM 2")
	w.mustSend(of("h2", now-60, 50), of("h2", now, 50))
	w.waitTold("PROBLEM 2", "OK 1")
	w.mustSend(of("h3", now-60, 1), of("h3", now, 1))
	w.waitTold("PROBLEM 2", "OK 1")
	if got := w.adoptAll(open("h2", 1, now-7200)); len(got) != 0 {
		t.Errorf("what is over here is taken over: %q", got)
	}
}

// What is no open problem of a plain rule is left, and harms nothing.
func TestAdoptNonsense(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	w.meets()
	now := time.Now().Unix()
	change := func(f func(*model.Event)) *model.AdoptItem { it := open("h1", 1, now-7200); f(&it.Event); return it }
	bad := []*model.AdoptItem{
		nil, {},
		change(func(e *model.Event) { e.Status = model.StatusOK }),
		change(func(e *model.Event) { e.Status = "WORSE" }),
		change(func(e *model.Event) { e.Strategy = nil }),
		change(func(e *model.Event) { e.Expression = &model.Expression{Metric: "cpu.idle"} }),
		change(func(e *model.Event) { e.Id = "s_1_x" }),
		change(func(e *model.Event) { e.Id = "m_1_x" }),
		change(func(e *model.Event) { e.CurrentStep = 0 }),
		change(func(e *model.Event) { e.EventTime = -1 }),
		change(func(e *model.Event) { e.Endpoint = "" }),
		change(func(e *model.Event) { e.PushedTags = map[string]string{"a": string(make([]byte, 70_000))} }),
	}
	if got := w.adoptAll(bad...); len(got) != 0 {
		t.Errorf("taken over: %q", got)
	}
	noTemplate := change(func(e *model.Event) { e.Strategy.Tpl = nil })
	if got := w.adoptAll(noTemplate); len(got) != 1 {
		t.Errorf("of a strategy without template: %q", got)
	}
	w.killAndStart()
	w.mustSend(point(now-60, 1), point(now, 1))
	w.waitTold("PROBLEM 1") // of those whose action it is
}

// What is newer takes the place of what a judge that was away still has: its problem ended
// meanwhile, or ended and began again, or went on; what is older does not. Over a kill, too.
func TestAdoptWhatIsNewer(t *testing.T) {
	w := newWorld(t, book("h1", "h2", "h3", "h4"))
	w.start()
	w.meetsRedis()
	now := time.Now().Unix()
	of := func(host string, ts int64, v float64) *model.JudgeItem {
		p := point(ts, v)
		p.Endpoint = host
		return p
	}
	for _, host := range []string{"h1", "h2", "h3", "h4"} {
		w.mustSend(of(host, now-7260, 1), of(host, now-7200, 1))
	}
	w.waitTold("PROBLEM 1", "PROBLEM 1", "PROBLEM 1", "PROBLEM 1")
	ended := open("h1", 1, now-3600)
	ended.Event.Status = model.StatusOK
	late := open("h4", 1, now-9000)
	late.Event.Status = model.StatusOK
	if got := w.adoptAll(ended, open("h2", 1, now-3600), open("h3", 2, now-3600), late, open("h4", 3, now-9000)); len(got) != 3 {
		t.Fatalf("taken over: %q", got)
	}
	if got := w.adoptAll(ended, open("h2", 1, now-3600)); len(got) != 0 {
		t.Errorf("taken over twice: %q", got)
	}
	w.killAndStart()
	told := []string{"PROBLEM 1", "PROBLEM 1", "PROBLEM 1", "PROBLEM 1"}
	w.mustSend(of("h1", now-60, 50), of("h1", now, 50))
	w.waitTold(told...) // its end was told by another
	w.mustSend(of("h2", now-60, 1), of("h2", now, 1))
	told = append(told, "PROBLEM 2") // the step after the newer problem's first
	w.waitTold(told...)
	w.mustSend(of("h3", now-60, 1), of("h3", now, 1))
	told = append(told, "PROBLEM 3")
	w.waitTold(told...)
	w.mustSend(of("h4", now-60, 50), of("h4", now, 50))
	told = append(told, "OK 1")
	w.waitTold(told...)
}

// What another judge has now is forgotten, and nobody is told: not when the series stays
// silent, not over a kill, and not by a Redis that has lost its memory.
func TestRelease(t *testing.T) {
	w := newWorld(t, book("h1", "h2"))
	w.start()
	w.meetsRedis()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1), point(now-60, 1))
	w.waitTold("PROBLEM 1")
	item := open("h1", 1, now-60)
	item.Release = true
	other := open("h2", 1, now-60)
	other.Release = true
	if got := w.adoptAll(item, other, item); len(got) != 1 {
		t.Errorf("released: %q", got)
	}
	look := func(what string) {
		t.Helper()
		if e := w.entry("h1"); e.Open() {
			t.Errorf("%s: the problem is open", what)
		} else if events := e.End(nil, now); len(events) != 0 {
			t.Errorf("%s: %+v would be told", what, events)
		}
		for _, e := range w.events("") {
			t.Errorf("%s: the event %s %s is there", what, e.Id, e.Status)
		}
		w.out.Last(func(told *outbox.Told) {
			if told.Event.Status == model.StatusProblem || now-told.At <= 3600 {
				t.Errorf("%s: %s %s would be told a Redis that has forgotten", what, told.Event.Id, told.Event.Status)
			}
		})
	}
	look("released")
	w.killAndStart()
	w.out.Forget()
	look("after a kill")
	w.waitTold("PROBLEM 1")
}

// A problem that was taken over and whose rule is gone is closed like any other.
func TestAdoptOfARuleThatIsGone(t *testing.T) {
	w := newWorld(t, rulebook.New())
	w.start()
	now := time.Now().Unix()
	w.adoptAll(open("h1", 1, now-60))
	e := w.entry("h1")
	e.shard.mu.Lock()
	ix := w.inForce.Load().index
	e.Close(nil, ix, w.set, now, now)
	events := e.Close(nil, ix, w.set, now+60, now+60)
	e.shard.mu.Unlock()
	if len(events) != 1 || events[0].Closed != model.ClosedHostRemoved {
		t.Errorf("closed %+v", events)
	}
}

// Two addresses of a node get the same points and share a Redis: each event is told once,
// and when one of them dies the other goes on.
func TestTwoAddressesOfANode(t *testing.T) {
	a, b := newWorld(t, book("h1")), newWorld(t, book("h1"))
	b.r = a.r
	a.start()
	b.start()
	now := time.Now().Unix()
	for _, p := range []*model.JudgeItem{point(now-180, 1), point(now-120, 1)} {
		a.mustSend(p)
		b.mustSend(p)
	}
	a.waitTold("PROBLEM 1")
	a.stop()
	b.mustSend(point(now-60, 50))
	b.waitTold("PROBLEM 1", "OK 1")
	a.start()
	a.mustSend(point(now-60, 50)) // from the spool
	a.mustSend(point(now, 50))
	b.mustSend(point(now, 50))
	for _, w := range []*world{a, b} {
		testkit.Eventually(t, 20*time.Second, func() error {
			if n := w.out.Waiting(); n > 0 {
				return fmt.Errorf("%d events wait", n)
			}
			return nil
		})
	}
	b.waitTold("PROBLEM 1", "OK 1")
}
