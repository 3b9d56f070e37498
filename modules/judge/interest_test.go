package judge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
	"unsafe"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/stream"
	"falcon/modules/judge/filter"
)

func (w *world) page(path string, into any) int {
	w.t.Helper()
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = "127.0.0.1:1"
	w.admin().ServeHTTP(rec, r)
	if rec.Code == http.StatusOK {
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
			w.t.Fatalf("%s: %v in %s", path, err, rec.Body)
		}
	}
	return rec.Code
}

// disks is a book in which /, and all but two mounts, are watched on h1.
func disks() *rulebook.Book {
	b := book("h1")
	root, others := strategy(2), strategy(3)
	root.Metric, root.Tags = "df.free", model.RuleTags("mount=/")
	others.Metric, others.Tags = "df.free", model.RuleTags("^mount=/dev/shm,^mount=/run")
	b.Add("h1", []*model.Strategy{strategy(1), root, others})
	b.Add("h2", []*model.Strategy{root})
	b.Expressions = []*model.Expression{{Id: 4, Metric: "qps", Tags: map[string]string{"srv": "x"}, Func: "all(#1)", Operator: ">"}}
	b.Disabled = []string{"down"}
	return b
}

// The page says what becomes of a series, in the words of the classic filter, and why.
func TestFilterPage(t *testing.T) {
	w := newWorld(t, disks())
	w.start()
	w.mustSend(point(time.Now().Unix(), 50))
	for _, tc := range []struct {
		path, state, rules string
		series             int
	}{
		{"/filter/h1/cpu.idle", inUse, "s1 ", 1},
		{"/filter/h1/df.free", inUse, "s2 s3 ", 0},
		{"/filter/h1/df.free/mount=%2F", inUse, "s2 s3 ", 0},
		{"/filter/h1/df.free/mount=%2Frun", filterd, "", 0},
		{"/filter/?endpoint=h1&metric=df.free&tags=mount=/home", inUse, "s3 ", 0},
		{"/filter/h2/df.free/mount=a", filterd, "", 0},
		{"/filter/h2/cpu.idle", filterd, "", 0},
		{"/filter/nobody/qps", inUse, "e4 ", 0},
		{"/filter/nobody/qps/srv=y", filterd, "", 0},
		{"/filter/down/cpu.idle", filterd, "", 0},
	} {
		var got interest
		if code := w.page(tc.path, &got); code != http.StatusOK {
			t.Errorf("%s answers %d", tc.path, code)
		}
		rules := ""
		for _, s := range got.Strategies {
			rules += fmt.Sprintf("s%d ", s.Id)
		}
		for _, e := range got.Expressions {
			rules += fmt.Sprintf("e%d ", e.Id)
		}
		if got.State != tc.state || rules != tc.rules || got.Series != tc.series || got.Why == "" {
			t.Errorf("%s: %s by %q, %d series (%s), want %s by %q, %d", tc.path, got.State, rules, got.Series, got.Why, tc.state, tc.rules, tc.series)
		}
	}
	for _, path := range []string{"/filter/h1", "/filter/h1/m/novalue", "/filter/?endpoint=h1"} {
		if code := w.page(path, nil); code != http.StatusBadRequest {
			t.Errorf("%s answers %d", path, code)
		}
	}
	var stat struct {
		Series, Unwatched, Rules, Decided int
		Version                           string
	}
	if w.page("/filter/stat", &stat); stat.Series != 1 || stat.Rules != 4 || stat.Version == "" || stat.Decided != 1 {
		t.Errorf("stat %+v", stat)
	}
}

// Whether a rule watches a series of a stock transfer is looked up once, and again only
// when other rules watch its metric.
func TestInterestIsDecidedOnce(t *testing.T) {
	w := newWorld(t, disks())
	w.start()
	now := time.Now().Unix()
	other := point(now, 1)
	other.Endpoint, other.Metric = "h2", "mem.free"
	decided := func(what string, want int64) {
		t.Helper()
		before := w.table.decided.Load()
		for i := range int64(100) {
			p := *other
			p.Timestamp += i
			w.mustSend(&p)
		}
		if got := w.table.decided.Load() - before; got != want {
			t.Errorf("%s: looked up %d times, want %d", what, got, want)
		}
	}
	decided("at first", 1)
	decided("again", 0)
	b := disks()
	b.Strategies[rulebook.Key{Strategy: 1, Leaf: 7}].RightValue = 9
	w.changed(b)
	decided("after another threshold", 0)
	b = disks()
	more := strategy(9)
	more.Metric = "load.1min"
	b.Add("h2", append(b.Of("h2"), more))
	w.changed(b)
	decided("after a rule for another metric", 0)
	b = disks()
	more.Metric = "mem.free"
	b.Add("h1", append(b.Of("h1"), more))
	w.changed(b)
	decided("after a rule for the metric, of another host", 1)
	b = disks()
	b.Disabled = nil
	w.changed(b)
	decided("after a maintenance", 1)
}

// What is remembered of a series that nobody watches is small, bounded, and forgotten
// when it is silent.
func TestDecisionsAreBounded(t *testing.T) {
	if n := unsafe.Sizeof(uint64(0)) + unsafe.Sizeof(decision{}); n > 24 {
		t.Errorf("%d bytes a series, want 24 at most", n)
	}
	tb := newTable()
	rules := &inForce{index: filter.New(rulebook.New()), generation: 1}
	sh := &tb.shards[0]
	for i := range uint64(maxUnwatched) {
		sh.unwatched[i] = decision{1, 100}
	}
	it := &model.JudgeItem{Endpoint: "h", Metric: "m", JudgeType: "GAUGE"}
	for i := 0; len(sh.unwatched) <= maxUnwatched && i < 1000; i++ {
		it.Endpoint = fmt.Sprint("h", i)
		if tb.findStock(it, rules, 200) != nil {
			t.Fatal("a series without rules is kept")
		}
	}
	if n := len(sh.unwatched); n != maxUnwatched {
		t.Errorf("%d decisions in a shard, %d are allowed", n, maxUnwatched)
	}
	tb.expire(100 + unwatchedFor + 1)
	if n := len(sh.unwatched); n != 0 {
		t.Errorf("%d decisions on silent series are left", n)
	}
}

// A rule that is deleted judges nothing from the next point on, and its series goes.
func TestADeletedRuleIsNoticedAtOnce(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1))
	w.changed(rulebook.New())
	w.mustSend(point(now-60, 1), point(now, 1))
	w.waitTold()
	if n := w.filtered.Get(); n != 2 {
		t.Errorf("%d points were dropped, want 2", n)
	}
	w.close()
	if kept, _ := w.table.sizes(); kept != 0 {
		t.Errorf("%d series are kept", kept)
	}
}

// A point that is ahead of the clock, as far as it may be, keeps none from being judged.
func TestAPointAheadFreezesNothing(t *testing.T) {
	for _, how := range []string{"stock", "stream"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, book("h1"))
			w.start()
			now := time.Now().Unix()
			if how == "stock" {
				w.mustSend(point(now+290, 50))
				w.mustSend(point(now-60, 1), point(now, 1))
			} else {
				s := w.stream()
				h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
				s.push(stream.Point{Handle: h1, Time: now + 290, Value: 50})
				s.push(stream.Point{Handle: h1, Time: now - 60, Value: 1}, stream.Point{Handle: h1, Time: now, Value: 1})
			}
			w.waitTold("PROBLEM 1")
			w.mustSend(point(now-30, 50)) // late, though nothing newer but the one ahead and now is there
			w.waitTold("PROBLEM 1")
		})
	}
}

// An open problem says whether its series has stopped and its host is gone, on the page
// and by RPC; after closeSilent it is closed, but not for the time that nobody listened,
// and not in maintenance.
func TestAProblemOfASeriesThatStopped(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.silent = conf.Duration(time.Hour)
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	w.waitTold("PROBLEM 1")
	var closes int64
	shown := func(stopped, gone bool) {
		t.Helper()
		var page []OpenEvent
		w.page("/events?status=PROBLEM", &page)
		c := rpc.NewClient(rpc.ClientOptions{Addr: w.addr})
		defer c.Close()
		var call eventsReply
		if err := c.Call(t.Context(), "Judge.Events", &eventsRequest{model.StatusProblem}, &call); err != nil {
			t.Fatal(err)
		}
		for _, got := range [][]OpenEvent{page, call.Events} {
			if len(got) != 1 || got[0].Stopped != stopped || got[0].Gone != gone || got[0].LastPoint < now {
				t.Errorf("shown %+v, want stopped %v, gone %v", got, stopped, gone)
			}
		}
		o := page[0]
		for id, want := range map[string]int{"": 1, o.Id: 1, "s_9_other": 0} {
			var brief model.ProblemsReply
			if err := c.Call(t.Context(), "Judge.Problems", &model.ProblemsRequest{ID: id}, &brief); err != nil || len(brief.Problems) != want {
				t.Fatalf("%q: %+v, %v", id, brief, err)
			}
			if want == 0 {
				continue
			}
			p := brief.Problems[0]
			if p.ID != o.Id || p.Endpoint != "h1" || p.Metric != o.Metric() || p.Stopped != stopped || p.Gone != gone || p.LastPoint != o.LastPoint || p.ClosesAt != o.ClosesAt {
				t.Errorf("in brief %+v, whole %+v", p, o)
			}
		}
		switch closes = o.ClosesAt; {
		case !stopped && closes != 0:
			t.Errorf("it is closed at %d, and goes on", closes)
		case stopped && closes < o.LastPoint+3600:
			t.Errorf("it is closed at %d, an hour after %d is later", closes, o.LastPoint)
		}
	}
	shown(false, false)
	w.skew.Store(int64(20 * time.Minute))
	shown(true, false)
	w.changed(book("h2"))
	shown(true, true)
	w.changed(func() *rulebook.Book { b := book("h2"); b.Disabled = []string{"h1"}; return b }())
	w.skew.Store(int64(2 * time.Hour))
	w.close()
	shown(true, false)
	w.save(book("h1"))
	w.start() // two hours later: nobody listened
	w.close()
	shown(true, false)
	if at := time.Now().Add(3 * time.Hour).Unix(); closes < at-60 || closes > at { // an hour after the start, which was two hours later
		t.Errorf("it is closed at %d, want %d", closes, at)
	}
	w.skew.Store(int64(4 * time.Hour))
	w.close()
	w.waitTold("PROBLEM 1", "OK 1 stale")
	var page []OpenEvent
	if w.page("/events?status=PROBLEM", &page); len(page) != 0 {
		t.Errorf("shown %+v", page)
	}
}
