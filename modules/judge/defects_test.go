package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/testkit"
	"falcon/modules/judge/rules"
)

// Each defect that testdata/defects.txt names has a test of its name, and each such test
// has its line.
func TestEveryDefectHasItsTest(t *testing.T) {
	listed := map[string]bool{}
	for line := range strings.Lines(string(read(t, "testdata/defects.txt"))) {
		if id, what, _ := strings.Cut(strings.TrimSpace(line), " "); id != "" && id != "#" {
			if listed[id] || what == "" {
				t.Errorf("line %q: twice, or without words", line)
			}
			listed[id] = true
		}
	}
	if len(listed) < 25 {
		t.Errorf("%d defects are listed, 25 are known", len(listed))
	}
	name := regexp.MustCompile(`(?m)^func TestDefect([JF]\d\d)\w*\(`)
	tested := map[string]bool{}
	for _, tree := range []string{"modules", "common"} {
		err := filepath.WalkDir(filepath.Join(testkit.Root(), tree), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range name.FindAllSubmatch(text, -1) {
				tested[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for id := range listed {
		if !tested[id] {
			t.Errorf("%s has no test TestDefect%s…", id, id)
		}
	}
	for id := range tested {
		if !listed[id] {
			t.Errorf("testdata/defects.txt does not name %s", id)
		}
	}
}

// Whatever an item or a rule is, the others are judged, and the process lives.
func TestDefectJ01NothingEndsTheProcess(t *testing.T) {
	b := book("h1")
	all := []*model.Strategy{strategy(1)}
	for i, fn := range []string{"#3)", "a#", "lookup(#2)", "lookup(#", "all(#99999999999999999999)", "", "all(#-1)", "kdiff(#1)", "stddev(#0)"} {
		s := strategy(10 + i)
		s.Func = fn
		all = append(all, s)
	}
	noTemplate := strategy(30)
	noTemplate.Tpl = &model.Template{}
	b.Add("h1", append(all, noTemplate))
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	bad := []*model.JudgeItem{nil, {}, {Endpoint: "h1"}, {Endpoint: "h1", Metric: "cpu.idle", Timestamp: now}, {Endpoint: "h1", Metric: "cpu.idle", JudgeType: "?", Timestamp: now - 300, Value: math.Inf(-1)}}
	w.mustSend(append(bad, point(now-60, 1), point(now, 1))...)
	testkit.Eventually(t, 20*time.Second, func() error {
		if list, _ := w.r.List("event:p0"); len(list) != 2 { // of 1 and 30
			return fmt.Errorf("%d events, want 2", len(list))
		}
		return nil
	})
	if n := len(w.inForce.Load().index.Bad); n != 9 {
		t.Errorf("%d rules are set aside, want 9", n)
	}
}

// Many calls bring points of a series, first ones and others, while its values are read:
// none is lost and what is read is in order. The race detector looks on.
func TestDefectJ02ValuesAreReadWhole(t *testing.T)    { concurrently(t) }
func TestDefectJ03FirstPointsAreAllKept(t *testing.T) { concurrently(t) }
func TestDefectF10ReadersSeeEveryValue(t *testing.T)  { concurrently(t) }

func concurrently(t *testing.T) {
	s := strategy(1)
	s.Func = "all(#60)"
	b := rulebook.New()
	const series, points = 8, 60
	for i := range series {
		b.Add(fmt.Sprint("h", i), []*model.Strategy{s})
	}
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	var senders, readers sync.WaitGroup
	stop := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for i := range series {
				before := int64(math.MaxInt64)
				for line := range strings.Lines(w.history(fmt.Sprintf("h%d/cpu.idle", i))) {
					var ts int64
					if _, err := fmt.Sscan(line, &ts); err == nil && ts >= before {
						t.Errorf("values are read out of order: %d behind %d", ts, before)
						return
					}
				}
			}
		}
	})
	for p := range points {
		senders.Go(func() {
			var items []*model.JudgeItem
			for i := range series {
				it := point(now-int64(p), 1)
				it.Endpoint = fmt.Sprint("h", i)
				items = append(items, it)
			}
			if err := w.send(items...); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	close(stop)
	readers.Wait()
	for i := range series {
		// The very first may come before others that are older: those are too old then.
		n := strings.Count(w.history(fmt.Sprintf("h%d/cpu.idle", i)), "\n")
		if kept := w.stale.Get(model.ReasonStale); int64(n)+kept < points || n == 0 {
			t.Errorf("h%d: %d of %d points are kept, %d of all were too old", i, n, points, kept)
		}
	}
	total := 0
	for i := range series {
		total += strings.Count(w.history(fmt.Sprintf("h%d/cpu.idle", i)), "\n")
	}
	if got := total + int(w.stale.Get(model.ReasonStale)); got != series*points {
		t.Errorf("%d points are kept or were too old, %d came", got, series*points)
	}
}

func TestDefectJ04ARefusedEventWaits(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	w.r.SetError("OOM command not allowed")
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1), point(now-60, 1), point(now, 50))
	if w.out.Waiting() != 2 {
		t.Errorf("%d events wait, want 2", w.out.Waiting())
	}
	w.killAndStart() // they are on the disk
	w.r.SetError("")
	w.waitTold("PROBLEM 1", "OK 1")
}

func TestDefectJ05AnInfiniteValueIsTold(t *testing.T) {
	b := book()
	s := strategy(1)
	s.Func, s.Operator = "diff(#1)", ">"
	b.Add("h1", []*model.Strategy{s})
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, -math.MaxFloat64), point(now, math.MaxFloat64))
	w.waitTold("PROBLEM 1")
	list, _ := w.r.List("event:p0")
	var e model.Event
	if err := json.Unmarshal([]byte(list[0]), &e); err != nil || e.LeftValue != math.MaxFloat64 {
		t.Errorf("told %v, %v", e.LeftValue, err)
	}
}

func TestDefectJ06LastEventsGo(t *testing.T) {
	w := newWorld(t, book("h1", "h2"))
	w.start()
	now := time.Now().Unix()
	h2 := func(ts int64) *model.JudgeItem { p := point(ts, 1); p.Endpoint = "h2"; return p }
	w.mustSend(point(now-60, 1), point(now, 1), h2(now-60), h2(now))
	w.waitTold("PROBLEM 1", "PROBLEM 1")
	// The rule of one is deleted, and both fall silent.
	w.changed(book("h2"))
	w.skew.Store(int64((forgetAfter + 60) * time.Second))
	w.close()
	w.out.Last(func(last *outbox.Told) {
		if last.Event.Status != model.StatusOK || last.Event.Closed == "" {
			t.Errorf("%s of %s stays", last.Event.Id, last.Event.Endpoint)
		}
	})
	w.skew.Store(int64((forgetAfter + 2*3600) * time.Second))
	w.out.Forget()
	last := 0
	w.out.Last(func(*outbox.Told) { last++ })
	if n, _ := w.table.sizes(); n != 0 || last != 0 {
		t.Errorf("%d series and %d last events stay", n, last)
	}
}

func TestDefectJ07AKillChangesNothing(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-180, 1), point(now-120, 1))
	w.waitTold("PROBLEM 1")
	w.killAndStart()
	w.mustSend(point(now-60, 1))
	w.waitTold("PROBLEM 1")
	w.killAndStart()
	w.mustSend(point(now, 50))
	w.waitTold("PROBLEM 1", "OK 1")
}

func TestDefectJ08AlarmsOff(t *testing.T) {
	w := newWorld(t, book("h1"))
	cfg := w.config()
	cfg.Alarm.Enabled = false
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	j, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), RPC: ln, Ready: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	<-ready
	w.addr = ln.Addr().String()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	if n := j.discarded.Get(); n != 1 {
		t.Errorf("%d events were discarded, want 1", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDefectJ09PointsWaitForHbs(t *testing.T) {
	w := newWorld(t, nil)
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	if n := w.filtered.Get(); n != 0 || w.health() == nil {
		t.Errorf("%d points are dropped, health %v: want none, and 503", n, w.health())
	}
	w.changed(book("h1"))
	w.waitTold("PROBLEM 1")
}

func TestDefectJ11TheFutureStopsNothing(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(2*now-1, 50)) // what a stock transfer lets through
	w.mustSend(point(now-60, 1), point(now, 1))
	w.waitTold("PROBLEM 1")
}

func TestDefectJ14TwoSlashes(t *testing.T) {
	w := newWorld(t, nil)
	w.start()
	p := point(time.Now().Unix(), 7)
	p.Metric, p.Tags = "http//get", map[string]string{"path": "/a/../b//c"}
	w.mustSend(p)
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/history/?pk=h1/http//get/path=/a/../b//c", nil)
	w.admin().ServeHTTP(rec, r)
	if !strings.HasSuffix(strings.TrimSpace(rec.Body.String()), " 7") {
		t.Errorf("answer %d %s", rec.Code, rec.Body)
	}
}

// An expression watches a host that no strategy reaches, whoever hbs is.
func TestDefectF02ExpressionsNeedNoStrategy(t *testing.T) {
	for _, asked := range []bool{false, true} {
		w := newWorld(t, nil)
		w.start()
		b := book("h9")
		b.Expressions = []*model.Expression{{Id: 4, Metric: "cpu.idle", Tags: map[string]string{"endpoint": "h1"}, Func: "all(#2)", Operator: "<", RightValue: 5, MaxStep: 1}}
		w.changedBy(b, rules.By{Asked: asked})
		now := time.Now().Unix()
		w.mustSend(point(now-60, 1), point(now, 1))
		w.waitTold("PROBLEM 1")
	}
}

// Events of expressions go all the way, over a restart, too.
func TestDefectF03EventsOfExpressions(t *testing.T) {
	b := rulebook.New()
	b.Expressions = []*model.Expression{{Id: 4, Metric: "cpu.idle", Tags: map[string]string{"endpoint": "h1"}, Func: "all(#2)", Operator: "<", RightValue: 5, MaxStep: 1}}
	w := newWorld(t, b)
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-120, 1), point(now-60, 1))
	w.waitTold("PROBLEM 1")
	if err := w.rewrite(); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.mustSend(point(now, 50))
	w.waitTold("PROBLEM 1", "OK 1")
	var shown []OpenEvent
	if w.page("/events", &shown); len(shown) != 1 || shown[0].Strategy != nil || shown[0].Expression.Id != 4 {
		t.Errorf("shown %+v", shown)
	}
	for _, e := range []*model.Event{{}, {Strategy: &model.Strategy{}}} { // nor do any others
		_, _, _, _ = e.ActionId(), e.Priority(), e.Tpl(), e.Counter()
	}
}

// An hbs that takes a question and never answers keeps no push waiting.
func TestDefectF06NoPushWaitsForHbs(t *testing.T) {
	s := rpc.NewServer(rpc.ServerOptions{Drain: time.Millisecond})
	hang := func(ctx context.Context, _ *rpc.Conn, _ *map[string]int) (*struct{}, error) {
		<-ctx.Done()
		return nil, errors.New("never")
	}
	rpc.Handle(s, "HbsNew.GetFilteredStrategies", hang)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	w := newWorld(t, book("h1"))
	w.hbs = ln.Addr().String()
	w.start()
	now := time.Now().Unix()
	began := time.Now()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			p := point(now, 1)
			p.Endpoint = fmt.Sprint("new", i)
			w.mustSend(p)
		})
	}
	all.Wait()
	w.mustSend(point(now-60, 1), point(now, 1))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("pushes took %v", took)
	}
	w.waitTold("PROBLEM 1")
}

// Rules of several conditions are set aside by name: none is taken for a plain rule, so no
// condition of one host, or of long ago, tells anything.
func TestDefectF07NoConditionAlone(t *testing.T)     { conditions(t) }
func TestDefectF08NoConditionIsRouted(t *testing.T)  { conditions(t) }
func TestDefectF09NoConditionOfLongAgo(t *testing.T) { conditions(t) }

func conditions(t *testing.T) {
	b := book("h1")
	fork, ours := strategy(2), strategy(3)
	fork.UnionStrategyId, ours.MultiSerial, ours.MultiCount = 65, "6d82176a11a98cf0cd916cd6f2977a92", 2
	b.Add("h1", []*model.Strategy{fork, ours})
	w := newWorld(t, b)
	w.change = func(cfg *Config) { cfg.Union.Enabled = false }
	w.start()
	now := time.Now().Unix()
	w.mustSend(point(now-60, 1), point(now, 1))
	w.waitTold()
	var bad bytes.Buffer
	for _, r := range w.inForce.Load().index.Bad {
		fmt.Fprintf(&bad, "%d: %s\n", r.ID, r.Reason)
	}
	if strings.Count(bad.String(), "several conditions") != 2 {
		t.Errorf("set aside:\n%s", &bad)
	}
}
