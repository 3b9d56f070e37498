package nodata

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// RowSource is where rows and groups are; *portal.DB is one.
type RowSource interface {
	Nodatas(ctx context.Context, limit, offset int) ([]portal.Nodata, error)
	WorkingHosts(ctx context.Context, groups []string, at time.Time) (map[string][]portal.RuleHost, error)
	// Migrate brings the database to its schema.
	Migrate(ctx context.Context) error
}

// rowsTimeout bounds one reading of the rows.
const rowsTimeout = 30 * time.Second

// read returns the series of the rows as they are now.
func (n *Nodata) read(ctx context.Context) (series map[string]Series, unusable int, err error) {
	ctx, cancel := context.WithTimeout(ctx, rowsTimeout)
	defer cancel()
	rows, err := n.deps.Rows.Nodatas(ctx, 0, 0)
	if err != nil {
		// On a new box nobody may have made the tables yet. Who can not is not in need of
		// it when the next reading works.
		if n.deps.Rows.Migrate(ctx) != nil {
			return nil, 0, err
		}
		if rows, err = n.deps.Rows.Nodatas(ctx, 0, 0); err != nil {
			return nil, 0, err
		}
	}
	hosts, err := n.deps.Rows.WorkingHosts(ctx, groups(rows), n.now())
	if err != nil {
		return nil, 0, err
	}
	members := make(map[string][]string, len(hosts))
	for group, all := range hosts {
		for _, h := range all {
			members[group] = append(members[group], h.Name)
		}
	}
	series, unusable = expand(rows, members)
	return series, unusable, nil
}

// load reads the rows and watches their series; when that fails it goes on with those it
// has. It returns how many there are.
func (n *Nodata) load(ctx context.Context) (int, error) {
	series, unusable, err := n.read(ctx)
	if err != nil {
		if ctx.Err() == nil {
			n.trouble.Set(n.log, "the rows are as they were", "read the rows of mockcfg", err)
		}
		return 0, err
	}
	n.trouble.Clear("read the rows of mockcfg")
	n.mu.Lock()
	n.book.load(series)
	n.mu.Unlock()
	n.rowsRuns.Add(1)
	n.rowsAt.Store(n.now().Unix())
	n.rowsN.Store(int64(len(series)))
	n.unusable.Store(int64(unusable))
	return len(series), nil
}

// collect asks for the last points of all series, and returns how many answers came.
func (n *Nodata) collect(ctx context.Context) int {
	n.mu.Lock()
	ask := make([]*model.GraphLastParam, 0, len(n.book.keys))
	for _, key := range n.book.keys {
		s := n.book.series[key]
		ask = append(ask, &model.GraphLastParam{Endpoint: s.Endpoint, Counter: s.Counter()})
	}
	n.mu.Unlock()
	var answers atomic.Int64
	var lastErr atomic.Pointer[error]
	parts := slices.Collect(slices.Chunk(ask, n.cfg.batch()))
	inParallel(ctx, n.cfg.concurrent(), parts, func(part []*model.GraphLastParam) {
		got, err := n.points.LastPoints(ctx, part)
		answers.Add(int64(n.take(got)))
		if err != nil && ctx.Err() == nil {
			lastErr.Store(&err)
			if len(got) == 0 {
				n.askFailed.Add("failed", len(part))
			} else {
				n.askFailed.Add("unanswered", max(0, len(part)-len(got)))
			}
		}
	})
	if ctx.Err() != nil {
		return int(answers.Load())
	}
	err := lastErr.Load()
	blind := err != nil && answers.Load() == 0
	n.blind.Store(blind)
	switch {
	case blind:
		n.trouble.Set(n.log, "nothing is known of the series: none is judged", "ask for last points", *err)
	case err != nil:
		// Series that nobody answers for are not judged; the others are.
		n.trouble.Clear("ask for last points")
		n.partly.Set(n.log, "some last points did not come", "ask for last points", *err)
	default:
		n.trouble.Clear("ask for last points")
		n.partly.Clear("ask for last points")
	}
	n.collected.Add(int(answers.Load()))
	n.collectRuns.Add(1)
	n.collectN.Store(answers.Load())
	n.collectAt.Store(n.now().Unix())
	return int(answers.Load())
}

// take notes answers, and returns how many are of series that are watched. Stock's api
// answers an element without names for a graph that is away.
func (n *Nodata) take(answers []*model.GraphLastResp) (taken int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.moment().Unix()
	for _, a := range answers {
		if a == nil || a.Value == nil {
			continue
		}
		if n.book.fetched(model.PK(a.Endpoint, a.Counter, ""), Answer{Time: a.Value.Timestamp, Value: float64(a.Value.Value), Fetched: at}, n.cfg.Grace) {
			taken++
		}
	}
	return taken
}

// judge looks at all series at the moment at, and gives the mocks to the outbox.
func (n *Nodata) judge(at time.Time) Round {
	n.mu.Lock()
	n.believe()
	r := n.book.judge(at.Add(-n.skew).Unix(), n.cfg.threshold())
	n.mu.Unlock()
	n.judgeRuns.Add(1)
	n.judgeAt.Store(at.Unix())
	n.silent.Store(int64(r.Silent))
	n.floodRate.Store(&r.Rate)
	if was := n.blocking.Swap(r.Blocked); r.Blocked {
		n.dropped.Add("blocked", r.Dropped)
		n.log.Warn("mocks are held back: too many series are silent at once", "silent", r.Silent, "judged", r.Judged, "percent", r.Rate, "threshold", n.cfg.Sender.Block.Threshold)
	} else if was {
		n.log.Info("mocks are sent again", "silent", r.Silent, "judged", r.Judged, "percent", r.Rate)
	}
	if n.cfg.Sender.Enabled {
		n.dropped.Add("queue_full", n.out.add(r.Mocks))
		if len(r.Mocks) == 0 && n.out.len() == 0 {
			n.trouble.Clear("push mocks to transfer") // there is nothing to push
		}
	}
	return r
}
