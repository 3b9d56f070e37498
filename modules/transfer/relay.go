package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/common/stream"
)

// kindTransfer is the kind of the outlet that relays points to other transfers.
const kindTransfer = "transfer"

// A sender brings batches of points to a destination in the order of sending. A
// stream.Sender is one for a single address, a relay is one for several.
type sender interface {
	Run(ctx context.Context) error
	Define(s *model.Series) stream.Handle
	Release(h stream.Handle)
	Series(h stream.Handle) *model.Series
	Muted(h stream.Handle) bool
	SendIf(ctx context.Context, points []stream.Point, wanted func() bool, done func(stream.Result)) error
	WaitRetry(ctx context.Context) error
	State() stream.State
}

const (
	// turn is how long one of several transfers is sent to before it is the next
	// one's turn.
	turn = 10 * time.Second
	// shun is how long a transfer that has failed gets no turn while another is well.
	shun = 30 * time.Second

	legRetryMin = 100 * time.Millisecond
	legRetryMax = 5 * time.Second
)

// A relay sends to one of several transfers at a time: any of them takes any point.
// It goes to the next when one fails, and now and then in turn, but only when nothing
// is on its way: so the points of a series stay in order.
type relay struct {
	legs []*leg

	// Each leg is told of the same series in the same order, and so has the same
	// handles for them: a batch can go to any leg as it is.
	defs sync.Mutex

	mu    sync.Mutex
	at    int       // the leg in use
	since time.Time // when its turn began
	open  int       // batches without an answer
	empty chan struct{}
}

// A leg is the way to one transfer.
type leg struct {
	*stream.Sender
	node, addr string
	client     *rpc.Client // for a stock one
	delivered  *stat.Counter
	failed     *stat.Counter

	// Guarded by the relay's mu.
	pause    time.Duration
	until    time.Time // it is not to be tried before
	failedAt time.Time
}

func (r *relay) Run(ctx context.Context) error {
	g := run.New(ctx)
	for _, l := range r.legs {
		g.Go("transfer "+l.addr, l.Run)
	}
	return g.Wait()
}

func (r *relay) Define(s *model.Series) stream.Handle {
	r.defs.Lock()
	defer r.defs.Unlock()
	h := r.legs[0].Define(s)
	for _, l := range r.legs[1:] {
		if other := l.Define(s); other != h {
			panic(fmt.Sprintf("transfers number a series differently: %d and %d", h, other))
		}
	}
	return h
}

func (r *relay) Release(h stream.Handle) {
	r.defs.Lock()
	defer r.defs.Unlock()
	for _, l := range r.legs {
		l.Release(h)
	}
}

func (r *relay) Series(h stream.Handle) *model.Series { return r.legs[0].Series(h) }

// Muted is false: whatever a transfer does not want today, another may.
func (r *relay) Muted(stream.Handle) bool { return false }

// State is how the relay stands with the transfer it sends to.
func (r *relay) State() stream.State {
	r.mu.Lock()
	l := r.legs[r.at]
	r.mu.Unlock()
	return l.State()
}

// using reports whether leg i is the one in use.
func (r *relay) using(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at == i
}

// SendIf is stream.Sender's. A batch that comes back may be sent at once again: it goes
// to another transfer, if there is one.
func (r *relay) SendIf(ctx context.Context, points []stream.Point, wanted func() bool, done func(stream.Result)) error {
	l, err := r.begin(ctx)
	if err != nil {
		return err
	}
	err = l.SendIf(ctx, points, wanted, func(res stream.Result) {
		unsent := errors.Is(res.Err, stream.ErrUnwanted) // which says nothing of the transfer
		switch {
		case res.Err == nil:
			l.delivered.Add(res.Taken)
		case !unsent && !errors.Is(res.Err, stream.ErrStopped):
			l.failed.Add(len(points))
			res.Err = fmt.Errorf("%w: %w", stream.ErrAway, res.Err)
		}
		if !unsent {
			r.note(l, res.Err)
		}
		done(res)
		r.end() // behind done, so that nothing sent elsewhere is answered before it
	})
	if err != nil {
		r.end()
	}
	return err
}

// begin returns the leg that the next batch goes to.
func (r *relay) begin(ctx context.Context) (*leg, error) {
	for {
		r.mu.Lock()
		now := time.Now()
		away := now.Before(r.legs[r.at].until)
		due := len(r.legs) > 1 && now.Sub(r.since) >= turn
		if !away && !due || r.open == 0 {
			if away || due {
				r.at, r.since = r.choose(now, away), now
			}
			r.open++
			l := r.legs[r.at]
			r.mu.Unlock()
			return l, nil
		}
		wait := r.empty
		r.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// choose returns the next leg that is well; while the present one is, only one that
// has been so for a while. When none is, the one that may be tried first.
func (r *relay) choose(now time.Time, away bool) int {
	first := r.at
	for i := range r.legs {
		n := (r.at + 1 + i) % len(r.legs)
		l := r.legs[n]
		if !now.Before(l.until) && (away || n == r.at || now.Sub(l.failedAt) >= shun) {
			return n
		}
		if l.until.Before(r.legs[first].until) {
			first = n
		}
	}
	return first
}

// note enters how a batch fared on l.
func (r *relay) note(l *leg, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		l.pause, l.until = 0, time.Time{}
	case !now.Before(l.until): // else it is one of several that failed together
		l.pause = min(max(2*l.pause, legRetryMin), legRetryMax)
		l.until, l.failedAt = now.Add(l.pause), now
	}
}

func (r *relay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open--; r.open == 0 {
		close(r.empty)
		r.empty = make(chan struct{})
	}
}

// WaitRetry returns once some transfer may be tried.
func (r *relay) WaitRetry(ctx context.Context) error {
	r.mu.Lock()
	now := time.Now()
	wait := legRetryMax
	for _, l := range r.legs {
		wait = min(wait, l.until.Sub(now))
	}
	r.mu.Unlock()
	if wait > 0 {
		run.Sleep(ctx, wait)
	}
	return ctx.Err()
}

// newRelay builds the outlet for other transfers; it opens nothing.
func (t *Transfer) newRelay(p *Relay) (*outlet, error) {
	if !p.Enabled {
		return nil, nil
	}
	secure, err := p.TLS.Config(kindTransfer)
	if err != nil {
		return nil, err
	}
	r := &relay{empty: make(chan struct{}), since: time.Now()}
	var names, addrs []string
	var pools []pool
	for _, node := range slices.Sorted(maps.Keys(p.Cluster)) {
		addr := strings.TrimSpace(p.Cluster[node])
		names, addrs = append(names, node), append(addrs, addr)
		log := t.log.With("node", node)
		stock := &stockPeer{addr: addr, batch: p.Batch, client: rpc.NewClient(rpc.ClientOptions{
			Addr: addr, Codec: rpc.JSON, Log: log,
			DialTimeout: p.ConnTimeout.D(), CallTimeout: p.CallTimeout.D(), MaxConns: p.MaxConns, MaxIdle: p.MaxIdle,
			TLS: secure, Dial: t.deps.Dial,
		})}
		counters := t.stats.Labeled(map[string]string{"node": node, "addr": addr})
		l := &leg{
			node: node, addr: addr, client: stock.client,
			delivered: counters.Counter("", "relay_delivered_points_total", "Points this transfer has taken."),
			failed:    counters.Counter("", "relay_failed_points_total", "Points this transfer has not taken; another was tried."),
		}
		stock.invalid = counters.Counter("", "relay_invalid_points_total", "Points this stock transfer has called invalid.")
		if l.Sender, err = stream.NewSender(stream.SenderOptions{
			Addr: addr, Log: log, Kind: stream.KindPoints, Sender: t.name + " " + t.host,
			DialTimeout: p.ConnTimeout.D(), CallTimeout: p.CallTimeout.D(), Drain: t.cfg.Drain.D() / 2,
			Stock: stock.sendTransfer, StockConnects: stock.client.Connects, TLS: secure, Dial: t.deps.Dial,
		}); err != nil {
			return nil, err
		}
		stock.series = l.Series
		r.legs = append(r.legs, l)
		pools = append(pools, pool{addr, l.Sender, l.client})
	}
	r.at = rand.IntN(len(r.legs)) // many gateways begin at different ones
	o := t.newBareOutlet(kindTransfer, strings.Join(names, ","), strings.Join(addrs, ","), p.SpoolAge.D())
	// Any transfer takes what waited for another.
	o.folder = kindTransfer
	o.snd, o.pools = r, pools
	o.hangUp = func() {
		for _, l := range r.legs {
			l.client.Close()
		}
	}
	return o, nil
}

// maxLanes bounds the calls to a stock transfer that are under way together.
const maxLanes = 16

// sendTransfer brings points to a stock transfer as a stock gateway does. A large
// batch goes in several lanes at once, since the way may be long; the points of a
// series share a lane, whose calls follow each other, so that they stay in order.
func (p *stockPeer) sendTransfer(ctx context.Context, points []stream.Point) error {
	lanes := make([][]*model.MetricValue, min(max(len(points)/p.batch, 1), maxLanes))
	for _, pt := range points {
		s := p.series(pt.Handle)
		if s == nil {
			continue
		}
		it := &model.MetricValue{
			Endpoint: s.Endpoint, Metric: s.Metric, Value: pt.Value, Step: int64(s.Step), Type: s.Type, Tags: s.Tags, Timestamp: pt.Time,
		}
		if s.Text {
			it.Value = pt.Text
		}
		lane := &lanes[int(pt.Handle)%len(lanes)]
		*lane = append(*lane, it)
	}
	errs := make([]error, len(lanes))
	var wg sync.WaitGroup
	for n, items := range lanes {
		wg.Go(func() { errs[n] = p.sendLane(ctx, items) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one says enough: the batch is sent again
		}
	}
	return nil
}

func (p *stockPeer) sendLane(ctx context.Context, items []*model.MetricValue) error {
	for part := range slices.Chunk(items, p.batch) {
		var resp model.TransferResponse
		if err := p.client.Call(ctx, "Transfer.Update", &part, &resp); err != nil {
			return fmt.Errorf("send %d points to stock transfer %s: %w", len(part), p.addr, err)
		}
		p.invalid.Add(resp.Invalid)
	}
	return nil
}
