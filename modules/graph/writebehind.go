package graph

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/modules/graph/tsdb"
)

// IndexStore is the SQL side of the search index; *portal.DB is one.
type IndexStore interface {
	IndexWrite(ctx context.Context, cache *portal.EndpointCache, rows []portal.IndexRow) ([]portal.IndexRefusal, error)
	IndexDelete(ctx context.Context, keys []portal.IndexKey, before int64) (int, error)
}

const (
	indexBatch = 500
	retryFirst = time.Second
	retryMost  = time.Minute
)

// writeBehind brings the SQL index to what the engine holds (contract query 1.9, I1
// to I7). New and deleted series wait in a bounded queue, and go first; a walk over all series
// renews the rest, once over Warmup after start and then once a Refresh, so that a
// row that was lost, or did not fit the queue, comes back by itself. The data path
// never waits for it.
type writeBehind struct {
	store  IndexStore
	cfg    Index
	index  *index
	lookup lookup
	log    *slog.Logger
	now    func() time.Time

	written, deleted, failed *stat.Counter
	refused                  *stat.Reasons

	mu    sync.Mutex
	first map[seriesName]news     // new and gone series
	later map[seriesName]struct{} // rows to be renewed; each waits in one of the two
	wake  chan struct{}
}

type seriesName struct{ endpoint, counter string }

// news is why a row must be touched.
type news uint8

const (
	renewed news = iota // its time is to be renewed
	created             // it is new, or its step or type is
	deleted             // somebody deleted the series
	expired             // it was silent for too long here; another node may have it
)

// otherNode is how long ago a row must have been renewed for nobody else to hold
// the series; a node renews its rows each Refresh.
const otherNode = 7 * 24 * time.Hour

// batch is what one round writes.
type batch struct {
	rows             []portal.IndexRow
	deleted, expired []portal.IndexKey
}

func (b *batch) len() int { return len(b.rows) + len(b.deleted) + len(b.expired) }

// changed notes that the row of a series must be written or removed. What does not
// fit is counted; rows that were to be written are made good by the next walk, rows
// that were to be removed stay until somebody deletes their endpoint.
func (w *writeBehind) changed(endpoint, counter string, what news) {
	w.mu.Lock()
	fits := w.note(seriesName{endpoint, counter}, what)
	w.mu.Unlock()
	if !fits {
		w.refused.Add(model.ReasonBusy, 1)
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// note queues n and reports whether it had room; w.mu is held.
func (w *writeBehind) note(n seriesName, what news) bool {
	if _, waits := w.first[n]; waits || what != renewed && len(w.first) < w.cfg.Queue {
		if what != renewed {
			w.first[n] = what
		}
		delete(w.later, n)
		return true
	}
	if what == deleted || what == expired {
		return false
	}
	if _, waits := w.later[n]; !waits && len(w.later) >= w.cfg.Queue {
		return false
	}
	w.later[n] = struct{}{}
	return true
}

func (w *writeBehind) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.first) + len(w.later)
}

// take moves up to a batch out of the queue, news before renewals.
func (w *writeBehind) take() (b batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, what := range w.first {
		if b.len() == indexBatch {
			return b
		}
		delete(w.first, n)
		w.enter(&b, n, what)
	}
	for n := range w.later {
		if b.len() == indexBatch {
			break
		}
		delete(w.later, n)
		w.enter(&b, n, renewed)
	}
	return b
}

// enter puts a series into b. What is true now decides, not what was true when it
// was queued.
func (w *writeBehind) enter(b *batch, n seriesName, what news) {
	key := portal.IndexKey{Endpoint: n.endpoint, Counter: n.counter}
	if in, ok := w.lookup(n.endpoint, n.counter); ok {
		b.rows = append(b.rows, row(n.endpoint, n.counter, in, w.now()))
	} else if what == deleted {
		b.deleted = append(b.deleted, key)
	} else if what == expired {
		b.expired = append(b.expired, key)
	}
}

// putBack queues what could not be written; first what no walk makes good.
func (w *writeBehind) putBack(b batch) {
	for _, k := range b.deleted {
		w.changed(k.Endpoint, k.Counter, deleted)
	}
	for _, k := range b.expired {
		w.changed(k.Endpoint, k.Counter, expired)
	}
	for _, r := range b.rows {
		w.changed(r.Endpoint, r.Counter, created)
	}
}

func row(endpoint, counter string, in tsdb.Info, now time.Time) portal.IndexRow {
	_, tags := model.SplitCounter(counter)
	ts := in.Last
	if ts == 0 {
		ts = now.Unix() // its first point is on the way
	}
	return portal.IndexRow{Endpoint: endpoint, Counter: counter, Tags: tags, Step: in.Step, Type: in.Type, Ts: ts}
}

// follow writes what changed until ctx ends. What then still waits is written after
// the next start, when every row is.
func (w *writeBehind) follow(ctx context.Context) error {
	cache := portal.NewEndpointCache(1_000_000)
	pause := retryFirst
	for ctx.Err() == nil {
		b := w.take()
		if b.len() == 0 {
			select {
			case <-w.wake:
			case <-ctx.Done():
			}
			continue
		}
		// A batch that is under way is finished, or given up soon, when ctx ends.
		bctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err := w.write(bctx, cache, b)
		cancel()
		if err == nil {
			pause = retryFirst
			continue
		}
		w.failed.Add(1)
		w.log.Warn("index not written; it is tried again", "err", err, "n", b.len(), "retry_in", pause)
		w.putBack(b)
		if !run.Sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, retryMost)
	}
	return nil
}

func (w *writeBehind) write(ctx context.Context, cache *portal.EndpointCache, b batch) error {
	if len(b.rows) > 0 {
		refused, err := w.store.IndexWrite(ctx, cache, b.rows)
		if err != nil {
			return err
		}
		for _, r := range refused {
			w.refused.Add(model.ReasonTooLong, 1)
			w.log.Debug("series has no place in the SQL index", "endpoint", b.rows[r.Row].Endpoint, "counter", b.rows[r.Row].Counter, "err", r.Reason)
		}
		w.written.Add(len(b.rows) - len(refused))
	}
	for _, d := range []struct {
		keys   []portal.IndexKey
		before int64
	}{{b.deleted, 0}, {b.expired, w.now().Add(-otherNode).Unix()}} {
		if len(d.keys) == 0 {
			continue
		}
		n, err := w.store.IndexDelete(ctx, d.keys, d.before)
		if err != nil {
			return err
		}
		w.deleted.Add(n)
	}
	return nil
}

// walk renews every row: the first time spread over Warmup, then over Refresh.
func (w *writeBehind) walk(ctx context.Context) error {
	span := w.cfg.Warmup.D()
	for {
		names := w.index.sorted()
		if len(names) == 0 {
			if !run.Sleep(ctx, time.Minute) {
				return nil
			}
			continue
		}
		// In portions, so that a short pause is no busy loop with many endpoints.
		portion := len(names)/int(max(span/time.Second, 1)) + 1
		pause := span * time.Duration(portion) / time.Duration(len(names))
		for len(names) > 0 {
			n := min(portion, len(names))
			for _, endpoint := range names[:n] {
				for _, counter := range w.index.countersOf(endpoint) {
					w.changed(endpoint, counter, renewed)
				}
			}
			names = names[n:]
			if !run.Sleep(ctx, pause) {
				return nil
			}
		}
		span = w.cfg.Refresh.D()
	}
}
