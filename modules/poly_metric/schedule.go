package polymetric

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/run"
)

// A worked row has turns, or a reason why not.
type worked struct {
	row  portal.DatedAggregator
	rule *rule // nil: bad says why
	bad  error
	stop context.CancelFunc // ends its turns

	mu   sync.Mutex
	next time.Time // its next turn
	at   time.Time // its last turn; zero: there was none
	last outcome   // of it
}

// board are the rows that this instance works, by id.
type board struct {
	mu   sync.Mutex
	m    map[int64]*worked
	read bool // the rows were read at least once
}

// all returns the rows by id, and whether they were ever read.
func (b *board) all() (rows []*worked, read bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(b.m)) {
		rows = append(rows, b.m[id])
	}
	return rows, b.read
}

// readTimeout bounds a look at the rows, the making of the database included.
const readTimeout = time.Minute

// reread reads the rows. A row that was edited begins anew, one that is gone stops; when
// they can not be read, the rows in hand are worked on.
func (m *PolyMetric) reread(ctx context.Context, start func(*worked)) {
	first, last := m.cfg.ids()
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := m.deps.Rows.Rows(reading, first, last)
	if err != nil {
		if ctx.Err() == nil {
			m.trouble.Set(m.log, "the rows are as they were", "read the rows of cluster", err)
		}
		return
	}
	m.trouble.Clear("read the rows of cluster")
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	if m.board.m == nil {
		m.board.m = map[int64]*worked{}
	}
	there, stopped := map[int64]bool{}, false
	for _, row := range rows {
		there[row.ID] = true
		if old := m.board.m[row.ID]; old != nil {
			if old.row == row {
				continue
			}
			old.stop()
			stopped = true
		}
		w := &worked{row: row, stop: func() {}}
		m.board.m[row.ID] = w
		if w.rule, w.bad = read(row); w.bad != nil {
			m.log.Warn("a row can not be worked", "row", row.ID, "endpoint", row.Endpoint, "metric", row.Metric, "err", w.bad)
			continue
		}
		start(w)
	}
	for id, w := range m.board.m {
		if !there[id] {
			w.stop()
			delete(m.board.m, id)
			stopped = true
		}
	}
	if stopped {
		m.atEase() // it may have been the one that had no answers
	}
	m.board.read = true
}

// atEase forgets what did not work for rows; those that still have turns will say it
// again.
func (m *PolyMetric) atEase() {
	m.trouble.Clear("ask for the hosts of groups")
	m.trouble.Clear("ask for last points")
}

// turns works a row until ctx ends.
func (m *PolyMetric) turns(ctx context.Context, w *worked) {
	for {
		now := m.now()
		next := w.rule.turn(now)
		w.mu.Lock()
		w.next = next
		w.mu.Unlock()
		if !run.Sleep(ctx, next.Sub(now)) {
			return
		}
		// A machine that slept has missed turns: this is the last of them.
		turn := w.rule.turn(m.now()).Add(-w.rule.step)
		var out outcome
		if err := run.Recovered(func() error { out = m.work(ctx, w.rule, turn); return nil }); err != nil {
			m.log.Error("a row panicked", "row", w.row.ID, "err", err)
			m.gaps.Add("panic", 1)
			out = outcome{err: errors.New("a fault of poly_metric, see its log")}
		}
		if ctx.Err() != nil {
			return // it stopped in the middle, which says nothing of the row
		}
		w.mu.Lock()
		w.at, w.last = turn, out
		w.mu.Unlock()
	}
}

// work does a turn of a row.
func (m *PolyMetric) work(ctx context.Context, r *rule, turn time.Time) outcome {
	out, reason := m.compute(ctx, r, turn)
	switch {
	case ctx.Err() != nil:
	case out.item == nil:
		m.gaps.Add(reason, 1)
	default:
		m.lacking.Add(out.nLacking)
		m.results.Add(1)
		m.push(out.item)
	}
	return out
}

// compute returns what a turn comes to and, without a result, the reason to count.
func (m *PolyMetric) compute(ctx context.Context, r *rule, turn time.Time) (outcome, string) {
	hosts, err := m.groups.Hosts(ctx, r.row.Group)
	switch {
	case ctx.Err() != nil:
		return outcome{err: ctx.Err()}, ""
	case errors.Is(err, portal.ErrNotFound):
		return outcome{err: fmt.Errorf("there is no group with id %d", r.row.Group)}, "no_group"
	case err == nil:
		m.trouble.Clear("ask for the hosts of groups")
	default:
		m.trouble.Set(m.log, "the hosts of a group are as they were, or nobody knows them", "ask for the hosts of groups", err)
		if hosts == nil {
			return outcome{err: fmt.Errorf("ask for the hosts of group %d: %w", r.row.Group, err)}, "hosts"
		}
	}
	names := present(hosts, m.now())
	points, err := m.lastPoints(ctx, r, names)
	if err != nil {
		return outcome{hosts: len(names), err: fmt.Errorf("ask for last points: %w", err)}, "points"
	}
	out := r.evaluate(names, points, turn, m.now())
	switch {
	case errors.Is(out.err, expr.ErrNoHost):
		return out, "no_host"
	case errors.Is(out.err, expr.ErrZero):
		return out, "zero"
	case out.err != nil:
		return out, "not_finite"
	}
	return out, ""
}

// lastPoints asks for the last points of a rule's counters on hosts, in batches. When one
// of them has no answer there is none at all: a sum over the others would look like a
// fall.
func (m *PolyMetric) lastPoints(ctx context.Context, r *rule, hosts []string) (map[model.GraphLastParam]model.RRDData, error) {
	series := r.series(hosts)
	if len(series) == 0 {
		return nil, nil
	}
	// What is not known before the next turn comes too late.
	asking, cancel := context.WithTimeout(ctx, r.step)
	defer cancel()
	points := make(map[model.GraphLastParam]model.RRDData, len(series))
	var mu sync.Mutex // guards points
	err := each(slices.Collect(slices.Chunk(series, m.cfg.API.Batch)), func(batch []*model.GraphLastParam) error {
		answers, err := m.ask(asking, batch, askTries)
		mu.Lock()
		defer mu.Unlock()
		for _, a := range answers {
			if a != nil && a.Value != nil {
				points[model.GraphLastParam{Endpoint: a.Endpoint, Counter: a.Counter}] = *a.Value
			}
		}
		return err
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		m.trouble.Set(m.log, "rows have no result", "ask for last points", err)
		return nil, err
	}
	m.trouble.Clear("ask for last points")
	return points, nil
}
