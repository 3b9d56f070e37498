package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/testkit"
	"falcon/common/verdict"
)

// A tried is a rule on a series of its own, with the hours in which it holds.
type tried struct {
	strategy *model.Strategy
	typ      string
	points   []expr.Point // in the order in which they come
	hours    []verdict.Span
}

func randomTrial(r *rand.Rand, id int, t0 int64) *tried {
	n, m := 1+r.IntN(4), 1+r.IntN(3)
	fn := []string{
		fmt.Sprintf("all(#%d)", n), fmt.Sprintf("max(#%d)", n), fmt.Sprintf("min(#%d)", n), fmt.Sprintf("sum(#%d)", n), fmt.Sprintf("avg(#%d)", n),
		fmt.Sprintf("diff(#%d)", n), fmt.Sprintf("pdiff(#%d)", n), fmt.Sprintf("lookup(#%d,%d)", m, n+m), fmt.Sprintf("stddev(#%d)", n+11),
		fmt.Sprintf("kdiff(#%d,%d)", n, m), fmt.Sprintf("kpdiff(#%d,%d)", n, m), fmt.Sprintf("all(#%d)", 12+r.IntN(12)),
	}[r.IntN(12)]
	x := &tried{
		typ: []string{model.Gauge, model.Counter, model.Derive}[r.IntN(3)],
		strategy: &model.Strategy{
			Id: id, Metric: "m", Tags: map[string]string{}, Func: fn, Operator: []string{"<", "<=", ">", ">=", "==", "!="}[r.IntN(6)],
			RightValue: float64(r.IntN(5)), MaxStep: r.IntN(5), Tpl: &model.Template{Id: 7, ActionId: 9},
		},
		hours: []verdict.Span{{From: 0, To: 1 << 40}},
	}
	if strings.HasPrefix(fn, "all(#1") && len(fn) > 7 {
		x.strategy.Operator, x.strategy.RightValue = ">=", 1
	}
	v, level := 0.0, r.IntN(5)
	for at := t0; at < t0+200*60; at += 60 {
		switch k := r.IntN(20); {
		case k == 0: // missing
		case k == 1 && len(x.points) > 2 && id%3 != 0: // once more, or late; across the edge of hours a judge goes by when it comes
			x.points = append(x.points, expr.Point{Ts: x.points[len(x.points)-1-r.IntN(2)].Ts - int64(r.IntN(2)), Value: 9})
			continue
		}
		if r.IntN(30) == 0 {
			at += int64(60 * r.IntN(6))
		}
		if r.IntN(8) == 0 {
			level = r.IntN(6)
		}
		if x.typ == model.Gauge {
			v = float64(level)
		} else if v += 60 * float64(level); r.IntN(40) == 0 {
			v = 0 // it was restarted
		}
		x.points = append(x.points, expr.Point{Ts: at, Value: v})
	}
	if id%3 == 0 {
		a, b := t0+int64(60*(20+r.IntN(30))), t0+int64(60*(100+r.IntN(30)))
		x.hours = []verdict.Span{{From: 0, To: a}, {From: a + int64(60*r.IntN(30)), To: b}, {From: b + 1200, To: 1 << 40}}
	}
	return x
}

// inHours is a book as hbs makes it of those that are in their hours.
func inHours(all []*tried, at int64) *rulebook.Book {
	b := rulebook.New()
	for i, x := range all {
		t := verdict.Trial{Spans: x.hours}
		if t.Watches(at) {
			b.Add(fmt.Sprint("h", i), []*model.Strategy{x.strategy})
		} else {
			b.Paused = append(b.Paused, x.strategy.Id)
		}
	}
	slices.Sort(b.Paused)
	return b
}

// A rule that is tried on points tells what a judge tells that gets them one by one,
// each at its time: all functions and operators, gauges and counters, points that are
// missing, late or there twice, hours that end and begin again.
func TestTrialsTellWhatJudgeTells(t *testing.T) {
	const t0 = int64(1_795_320_000)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	all := make([]*tried, 150)
	edges := map[int64]bool{}
	for i := range all {
		all[i] = randomTrial(r, i+1, t0)
		for _, s := range all[i].hours {
			edges[s.From], edges[s.To] = true, true
		}
	}
	var clock atomic.Int64
	clock.Store(t0)
	w := newWorld(t, inHours(all, t0))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	j, err := New(w.config(), Deps{Log: slog.New(slog.DiscardHandler), RPC: ln, Now: func() time.Time { return time.Unix(clock.Load(), 0) }, Ready: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	<-ready
	c := rpc.NewClient(rpc.ClientOptions{Addr: ln.Addr().String()})
	defer c.Close()

	// Each moment its points, in their order; the clock is that of the newest so far.
	next := make([]int, len(all))
	for now := t0; now < t0+260*60; now += 60 {
		clock.Store(now)
		if edges[now] {
			j.changed(inHours(all, now))
			j.close()
		}
		var items []*model.JudgeItem
		for i, x := range all {
			for next[i] < len(x.points) && x.points[next[i]].Ts <= now {
				p := x.points[next[i]]
				items = append(items, &model.JudgeItem{Endpoint: fmt.Sprint("h", i), Metric: "m", JudgeType: x.typ, Timestamp: p.Ts, Value: p.Value})
				next[i]++
			}
		}
		if err := c.Call(ctx, "Judge.Send", items, &model.SimpleRpcResponse{}); err != nil {
			t.Fatal(err)
		}
	}

	want, n, steps := make([]string, len(all)), 0, 0
	for i, x := range all {
		fn, err := expr.ParseFunc(x.strategy.Func)
		if err != nil {
			t.Fatal(err)
		}
		op, err := expr.ParseOp(x.strategy.Operator)
		if err != nil {
			t.Fatal(err)
		}
		rule := verdict.Trial{
			Condition: verdict.Condition{Func: fn, Op: op, Right: x.strategy.RightValue}, Rule: verdict.Rule{MaxStep: x.strategy.MaxStep, MinInterval: 300}, Spans: x.hours,
		}
		told, _ := rule.Run(nil, x.points, x.typ == model.Gauge)
		for _, e := range told {
			ev := verdict.Event("", "", nil, e.State, e.Left)
			want[i] += fmt.Sprintln(ev.Status, ev.CurrentStep, ev.EventTime-t0, ev.LeftValue)
			n++
			steps = max(steps, ev.CurrentStep)
		}
	}
	if n < 300 || steps < 4 {
		t.Fatalf("%d events of %d steps at most: the cases tell too little", n, steps)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		list, _ := w.r.List("event:p0")
		got := make([]string, len(all))
		for _, raw := range slices.Backward(list) { // pushed at the left
			var e model.Event
			if err := json.Unmarshal([]byte(raw), &e); err != nil {
				return err
			}
			got[e.Strategy.Id-1] += fmt.Sprintln(e.Status, e.CurrentStep, e.EventTime-t0, e.LeftValue)
		}
		for i := range all {
			if got[i] != want[i] {
				return fmt.Errorf("seed %d: %s %s %s %v max %d, hours %v\njudge told\n%s\na trial says\n%s", seed, all[i].typ, all[i].strategy.Func, all[i].strategy.Operator,
					all[i].strategy.RightValue, all[i].strategy.MaxStep, all[i].hours, got[i], want[i])
			}
		}
		return nil
	})
}
