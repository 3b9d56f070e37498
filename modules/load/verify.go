package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/ring"
	"falcon/common/rpc"
	"falcon/common/run"
)

const (
	askers      = 16 // questions under way
	maxExamples = 10
	// settleEvery is the pause before what is missing is asked for again.
	settleEvery = 500 * time.Millisecond
)

// verify asks the graphs for every point that was acknowledged. Transfer acknowledges what
// it has in its spool, so what is missing is asked for again until it had Settle to arrive.
func (l *Load) verify(ctx context.Context, w *workload, ledgers []*ledger) (*Verified, error) {
	r, err := ring.New(l.cfg.RingHash, l.cfg.Replicas, slices.Sorted(maps.Keys(l.cfg.Graphs)))
	if err != nil {
		return nil, err
	}
	clients := map[string]*rpc.Client{}
	for name, addr := range l.cfg.Graphs {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, StockCodec: rpc.Gob, CallTimeout: callTimeout})
		defer c.Close()
		clients[name] = c
	}
	began := time.Now()
	found := make([]compared, l.cfg.series())
	of := make([]*ledger, len(found))
	todo := make([]int, 0, len(found))
	for _, book := range ledgers {
		for i := book.from; i < book.from+book.n; i++ {
			of[i] = book
			todo = append(todo, i)
		}
	}
	for {
		next := make(chan int)
		var wg sync.WaitGroup
		for range askers {
			wg.Go(func() {
				for i := range next {
					s := w.series(i)
					found[i] = w.compare(ctx, clients[r.Node(s.PK())], of[i], i, &s)
				}
			})
		}
		for _, i := range todo {
			next <- i
		}
		close(next)
		wg.Wait()
		todo = slices.DeleteFunc(todo, func(i int) bool { return found[i].err == nil && found[i].missing == 0 })
		if len(todo) == 0 || time.Since(began) > l.cfg.Settle {
			break
		}
		l.log.Info("waiting for points to arrive", "series", len(todo), "example", found[todo[0]].example, "err", found[todo[0]].err)
		if !run.Sleep(ctx, settleEvery) {
			break
		}
	}
	v := &Verified{Graphs: len(clients), Series: len(found), Seconds: time.Since(began).Seconds()}
	var failed error
	for _, one := range found {
		v.Points += int64(one.points)
		v.Missing += int64(one.missing)
		v.Wrong += int64(one.wrong)
		if one.example != "" && len(v.Examples) < maxExamples {
			v.Examples = append(v.Examples, one.example)
		}
		if failed == nil {
			failed = one.err
		}
	}
	return v, errors.Join(failed, v.err(), context.Cause(ctx))
}

// compared is what a graph has of the acknowledged points of a series.
type compared struct {
	points, missing, wrong int
	example                string
	err                    error // the graph does not answer, or keeps the series otherwise
}

// compare asks for series i. Of a COUNTER graphs tell rates, so a point is compared where
// the one before it was acknowledged, too.
func (w *workload) compare(ctx context.Context, c *rpc.Client, book *ledger, i int, s *model.Series) (out compared) {
	var resp model.GraphQueryResponse
	q := &model.GraphQueryParam{Endpoint: s.Endpoint, Counter: s.Counter(), ConsolFun: "AVERAGE", Start: w.first, End: w.time(w.cfg.Rounds - 1)}
	if out.err = c.Call(ctx, "Graph.Query", q, &resp); out.err != nil {
		out.err = fmt.Errorf("ask %s for %s of %s: %w", c.Addr(), s.Counter(), s.Endpoint, out.err)
		return out
	}
	if resp.Step != 0 && resp.Step != s.Step {
		out.err = fmt.Errorf("%s keeps %s of %s with a step of %d s and not of %d: the shortest step of transfer (minStep) is longer, or the name had another step before",
			c.Addr(), s.Counter(), s.Endpoint, resp.Step, s.Step)
		return out
	}
	have := make(map[int64]float64, len(resp.Values))
	for _, v := range resp.Values {
		if !math.IsNaN(float64(v.Value)) {
			have[v.Timestamp] = float64(v.Value)
		}
	}
	rate := s.Type == model.Counter
	for round := range w.cfg.Rounds {
		if !book.has(i, round) || rate && (round == 0 || !book.has(i, round-1)) {
			continue
		}
		ts := w.time(round)
		want := w.value(i, ts)
		if rate {
			want = (want - w.value(i, ts-int64(s.Step))) / float64(s.Step)
		}
		out.points++
		got, ok := have[ts]
		switch {
		case !ok:
			out.missing++
		case got != want:
			out.wrong++
		default:
			continue
		}
		if out.example == "" {
			out.example = fmt.Sprintf("%s of %s at %d: ", s.Counter(), s.Endpoint, ts)
			if ok {
				out.example += fmt.Sprintf("%g, want %g", got, want)
			} else {
				out.example += fmt.Sprintf("nothing, want %g", want)
			}
		}
	}
	return out
}
