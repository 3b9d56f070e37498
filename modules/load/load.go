package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/run"
)

// Deps are what a Load needs. Zero fields have the defaults given.
type Deps struct {
	Log *slog.Logger // of progress; default: nothing is logged
	// Now tells the time that points get. Default time.Now. How fast they are sent goes by
	// the wall clock.
	Now func() time.Time
}

// A Load sends points once.
type Load struct {
	cfg Config
	log *slog.Logger
	now func() time.Time

	total counts
	acks  latencies
}

// counts are of points, but for retried.
type counts struct {
	began, ended   time.Time
	acked, retried atomic.Int64

	mu      sync.Mutex
	refused map[string]int
	failure string // the last reason for which a batch was sent again
}

// New checks the configuration.
func New(cfg Config, deps Deps) (*Load, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Load{cfg: cfg, log: deps.Log, now: deps.Now}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.total.refused = map[string]int{}
	return l, nil
}

// progressEvery is how often the log says how far it is.
const progressEvery = 5 * time.Second

// Run sends everything, insisting until each point is answered for or ctx ends, and then
// verifies what was acknowledged. The report is of what was done also when it fails.
func (l *Load) Run(ctx context.Context) (*Report, error) {
	watched, err := watch(l.cfg.Watch)
	if err != nil {
		return nil, err
	}
	step := int64(l.cfg.Step)
	// The last round is sent at the end of the run, and has the time of then.
	rest := l.cfg.interval() * time.Duration(l.cfg.Rounds-1)
	first := l.now().Add(rest).Unix()/step*step - step*int64(l.cfg.Rounds-1)
	w := newWorkload(l.cfg, first)
	ledgers, err := l.send(ctx, w)
	report := l.report(w)
	if err := errors.Join(err, watched.measure(report)); err != nil {
		return report, err
	}
	if len(l.cfg.Graphs) == 0 {
		return report, nil
	}
	report.Verified, err = l.verify(ctx, w, ledgers)
	return report, err
}

// send sends all rounds over all connections.
func (l *Load) send(ctx context.Context, w *workload) (ledgers []*ledger, err error) {
	l.total.began = time.Now()
	defer func() { l.total.ended = time.Now() }()
	n := min(l.cfg.Connections, l.cfg.Endpoints)
	errs := make([]error, n)
	ledgers = make([]*ledger, n)
	progress, stop := context.WithCancel(ctx)
	var telling, wg sync.WaitGroup
	telling.Go(func() { l.tell(progress) })
	for c := range n {
		from, to := c*l.cfg.Endpoints/n*l.cfg.Metrics, (c+1)*l.cfg.Endpoints/n*l.cfg.Metrics
		ledgers[c] = newLedger(from, to-from, l.cfg.Rounds)
		wg.Go(func() {
			errs[c] = run.Recovered(func() error { return l.connection(ctx, w, ledgers[c]) })
		})
	}
	wg.Wait()
	stop()
	telling.Wait()
	return ledgers, errors.Join(errs...)
}

// connection sends the series of a ledger, round by round, each at its moment.
func (l *Load) connection(ctx context.Context, w *workload, book *ledger) error {
	to, err := dial(w, book.from, book.n)
	if err != nil {
		return err
	}
	defer to.close()
	var (
		results = make(chan outcome, inFlight+1)
		again   []batch // not answered for
		open    int
	)
	settle := func(o outcome) {
		open--
		if o.err != nil {
			again = append(again, o.batch)
			l.total.fail(o.err)
			return
		}
		l.acks.add(o.took)
		refused := 0
		for reason, n := range o.refused {
			l.total.refuse(reason, n)
			refused += n
		}
		l.total.acked.Add(int64(o.points() - refused))
		if o.unknown {
			return // whatever the graphs have of it is as good
		}
		lost := map[int]bool{}
		for _, i := range o.lost {
			lost[i] = true
		}
		for i := o.from; i < o.to; i++ {
			if !lost[i] {
				book.mark(i, o.round)
			}
		}
	}
	send := func(b batch) {
		for open >= inFlight {
			settle(<-results)
		}
		open++
		to.send(ctx, b, func(o outcome) { results <- o })
		for {
			select {
			case o := <-results:
				settle(o)
			default:
				return
			}
		}
	}
	retry := func() error {
		for len(again) > 0 {
			if err := to.pause(ctx); err != nil {
				return err
			}
			b := again[0]
			again = again[1:]
			send(b)
		}
		return nil
	}
	// until waits for a moment, and sends what has to be sent again meanwhile.
	until := func(at time.Time) error {
		for {
			if err := retry(); err != nil {
				return err
			}
			wait := time.Until(at)
			if wait <= 0 {
				return nil
			}
			select {
			case o := <-results:
				settle(o)
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	defer func() { // what is under way comes back
		for open > 0 {
			settle(<-results)
		}
	}()
	pushes := (book.n + l.cfg.Batch - 1) / l.cfg.Batch
	interval := l.cfg.interval()
	for round := range l.cfg.Rounds {
		for k := range pushes {
			due := interval*time.Duration(round) + interval*time.Duration(k)/time.Duration(pushes)
			if err := until(l.total.began.Add(due)); err != nil {
				return err
			}
			from := book.from + k*l.cfg.Batch
			send(batch{round, from, min(from+l.cfg.Batch, book.from+book.n)})
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	for open > 0 || len(again) > 0 {
		if open > 0 {
			settle(<-results)
		}
		if err := retry(); err != nil {
			return err
		}
	}
	return nil
}

// tell logs how far it is.
func (l *Load) tell(ctx context.Context) {
	all, before, at := int64(l.cfg.series())*int64(l.cfg.Rounds), int64(0), time.Now()
	for run.Sleep(ctx, progressEvery) {
		acked := l.total.acked.Load()
		attrs := []any{"acked", acked, "of", all, "per_second", math.Round(float64(acked-before) / time.Since(at).Seconds())}
		if refused := l.total.refusals(); refused > 0 {
			attrs = append(attrs, "refused", refused)
		}
		if n := l.total.retried.Load(); n > 0 {
			attrs = append(attrs, "retried", n, "why", l.total.lastFailure())
		}
		l.log.Info("sending", attrs...)
		before, at = acked, time.Now()
	}
}

func (c *counts) fail(err error) {
	c.retried.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err.Error()
}

func (c *counts) lastFailure() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

func (c *counts) refuse(reason string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[reason] += n
}

func (c *counts) refusals() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.refused {
		n += k
	}
	return n
}

// latencies counts durations in buckets that grow by a tenth.
type latencies struct {
	buckets [256]atomic.Int64
	most    atomic.Int64
}

const bucketGrowth = 1.1

func (l *latencies) add(d time.Duration) {
	us := max(float64(d.Microseconds()), 1)
	l.buckets[min(int(math.Log(us)/math.Log(bucketGrowth)), len(l.buckets)-1)].Add(1)
	for {
		most := l.most.Load()
		if int64(d) <= most || l.most.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// quantile returns a duration that the share q of all does not exceed, a tenth too long
// at most; 0 of none.
func (l *latencies) quantile(q float64) time.Duration {
	var all int64
	for i := range l.buckets {
		all += l.buckets[i].Load()
	}
	if all == 0 {
		return 0
	}
	rest := int64(math.Ceil(q * float64(all)))
	for i := range l.buckets {
		if rest -= l.buckets[i].Load(); rest <= 0 {
			return min(time.Duration(math.Pow(bucketGrowth, float64(i+1)))*time.Microsecond, time.Duration(l.most.Load()))
		}
	}
	return time.Duration(l.most.Load())
}

// report is what has become of the points so far.
func (l *Load) report(w *workload) *Report {
	l.total.mu.Lock()
	defer l.total.mu.Unlock()
	r := &Report{
		Protocol: l.cfg.Protocol, To: l.cfg.to(), Series: l.cfg.series(), Rounds: l.cfg.Rounds, Step: l.cfg.Step, First: w.first, Last: w.time(l.cfg.Rounds - 1),
		Acked: l.total.acked.Load(), Retried: l.total.retried.Load(), Why: l.total.failure, Refused: map[string]int{}, Seconds: l.total.ended.Sub(l.total.began).Seconds(),
		AckP50: l.acks.quantile(0.5).Seconds(), AckP99: l.acks.quantile(0.99).Seconds(), AckMax: time.Duration(l.acks.most.Load()).Seconds(),
	}
	for reason, n := range l.total.refused {
		r.Refused[reason] = n
	}
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Acked) / r.Seconds
	}
	return r
}

var errUnverified = errors.New("acknowledged points are not where they belong")

func (v *Verified) err() error {
	if v.Missing+v.Wrong == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d missing, %d wrong of %d", errUnverified, v.Missing, v.Wrong, v.Points)
}
