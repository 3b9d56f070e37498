package alarm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/modules/alarm/sender"
)

// Deps are the neighbours of an alarm.
type Deps struct {
	Log *slog.Logger
	// DB has the database alarms, and falcon_portal and uic when people come from there.
	DB    *portal.DB
	Redis *redisx.Pool

	// Listener is where HTTP is served; nil means by the configuration.
	Listener net.Listener
	// Reload reads the configuration file again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once events are taken; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// An Alarm is ready to Run.
type Alarm struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	now      func() time.Time
	loc      *time.Location
	instance string        // its name among the alarms of this Redis; a restart has another
	lease    time.Duration // of locks: how long an alarm that is dead holds up others
	gap      time.Duration // between two tries of a message
	backlog  int           // of messages for one provider that takes none

	people    *remembered
	gate      *gate
	channels  *channels
	callbacks *sender.Caller
	workers   []*worker
	outlets   outlets
	active    active
	results   *mailbox[*message]
	adopter   *adopter
	deadMan   *deadMan // nil when nobody is to be called

	dealtBefore atomic.Bool        // events, by this alarm
	owedResults *mailbox[*message] // of messages without rows
	owedN       atomic.Int64       // events whose rows are owed, as far as this alarm knows

	// Outlets tell and results are written while the others stop already.
	telling, writing sync.WaitGroup
	// While alarm stops, soft ends when no more messages may be begun, flush when the last
	// of them has its result, and hard when what is under way may take no longer.
	soft, flush, hard context.Context
	shared            chan struct{} // closed once no more parts are taken

	ready   atomic.Bool
	trouble daemon.Trouble // what keeps events from being told
	failing daemon.Trouble // what keeps some messages from being sent
	holds   atomic.Int64
	heldN   atomic.Int64
	lag     lag
	again   atomic.Int64 // messages between two tries
	open    atomic.Int64
	lens    lengths

	stats                              *stat.Set
	self                               *daemon.Reporter // of its own counters, as points
	taken, told                        *stat.Counter
	dead, dbErrors, adopted            *stat.Counter
	untold, unadopted                  *stat.Reasons
	pops, ok, bad, retries, suppressed *stat.Reasons
}

// workerCount is how many batches are worked at once.
const workerCount = 2

// New checks cfg and deps. It opens nothing and starts nothing.
func New(cfg Config, deps Deps) (*Alarm, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("alarm: %w", err)
	}
	if deps.Log == nil || deps.DB == nil || deps.Redis == nil {
		return nil, errors.New("alarm: Deps.Log, Deps.DB and Deps.Redis are required")
	}
	if deps.DB.Alarms == nil {
		return nil, errors.New("alarm: Deps.DB has no database alarms")
	}
	loc, err := cfg.location()
	if err != nil {
		return nil, fmt.Errorf("alarm: %w", err)
	}
	host, _ := os.Hostname() // for people who look into Redis
	a := &Alarm{
		cfg: cfg, deps: deps, log: deps.Log, now: deps.Now, loc: loc, instance: fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:8]),
		lease: 10 * time.Second, gap: time.Second, backlog: maxBacklog, results: newMailbox[*message](), owedResults: newMailbox[*message](), shared: make(chan struct{}), outlets: outlets{m: map[string]*outlet{}},
		callbacks: sender.NewCaller(3*time.Second, 20*time.Second),
		channels:  &channels{db: deps.DB, api: cfg.API, log: deps.Log},
	}
	if a.now == nil {
		a.now = time.Now
	}
	if cfg.Ack.Secret.Reveal() == model.SampleSecret {
		a.log.Warn("messages have no links to acknowledge: ack.secret is that of a sample file, choose your own", "ack.secret", model.SampleSecret)
	}
	if cfg.people() == fromPortal {
		if deps.DB.Portal == nil || deps.DB.UIC == nil {
			return nil, errors.New("alarm: Deps.DB lacks falcon_portal or uic, where people come from")
		}
		a.people = remember(portalPeople{deps.DB}, 5*time.Second, a.now)
		a.gate = newGate(deps.DB, a.now, a.log)
	} else {
		api := newAPIPeople(cfg.API.PlusAPI, cfg.API.PlusAPIToken.Reveal())
		a.people = remember(api, time.Minute, a.now)
		a.gate = newGate(api, a.now, a.log)
	}
	a.adopter = &adopter{a: a, look: adoptLook}
	for range workerCount {
		a.workers = append(a.workers, a.newWorker())
	}
	a.count()
	a.watchSelf()
	return a, nil
}

// Run works until ctx ends. Then no more events are taken, and those in hand are told
// as far as Config.Drain allows; the rest is left to the next alarm.
func (a *Alarm) Run(ctx context.Context) error {
	ln := a.deps.Listener
	if ln == nil {
		var err error
		if ln, err = a.cfg.HTTP.Open("http"); err != nil {
			return err
		}
	}
	hard, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	soft, endSoft := context.WithCancel(hard)
	defer endSoft()
	flush, endFlush := context.WithCancel(hard)
	defer endFlush()
	a.soft, a.flush, a.hard = soft, flush, hard
	g := run.New(ctx)
	if ln != nil {
		a.log.Info("serving", "http", ln.Addr(), "instance", a.instance)
		g.Go("http", func(ctx context.Context) error { return httpx.Serve(ctx, ln, a.admin(), time.Second, a.log) })
	}
	g.Go("alarm", func(ctx context.Context) error { return a.run(ctx, endSoft, stop) })
	err := g.Wait()
	endSoft()
	a.telling.Wait()
	endFlush()
	a.writing.Wait()
	return err
}

// run is Run without the pages.
func (a *Alarm) run(ctx context.Context, endSoft, endHard func()) error {
	hard := a.hard
	if lists, unnamed, _ := a.cfg.queues(); len(unnamed) > 0 {
		a.log.Info("lists that redis.highQueues and redis.lowQueues leave out are read as well", "lists", unnamed, "order", lists)
	}
	if !a.insist(ctx, "bring the databases to their schema", func() error { return a.deps.DB.Migrate(ctx) }) ||
		!a.insist(ctx, "read the channels", func() error { return a.rereadChannels(ctx) }) {
		return nil
	}
	a.writing.Go(a.finishSent)
	a.writing.Go(a.finishOwed)
	var working sync.WaitGroup
	g := run.New(ctx)
	for _, w := range a.workers {
		a.writing.Go(w.finishDone)
		working.Add(1)
		g.Go("worker", func(ctx context.Context) error {
			defer working.Done()
			return w.run(ctx, hard)
		})
	}
	g.Go("parts", func(ctx context.Context) error { return a.share(ctx, hard) })
	g.Go("dealer", func(ctx context.Context) error { return a.deps.Redis.Lead(ctx, redisx.AlarmDealer, a.lease, a.deal) })
	g.Go("self", a.self.Run)
	if a.deadMan != nil {
		g.Go("deadman", a.deadMan.run)
	}
	g.Go("housekeeping", a.housekeep)
	g.Go("adopt", a.adopt)
	g.Go("channels", func(ctx context.Context) error {
		return run.Every(ctx, channelsEvery, func(ctx context.Context) {
			if err := a.rereadChannels(ctx); err != nil && ctx.Err() == nil {
				a.failing.Set(a.log, "the channels are as they were", "channels", err)
			} else {
				a.failing.Clear("channels")
			}
		})
	})
	g.Go("lengths", func(ctx context.Context) error { return run.Every(ctx, channelsEvery, a.measure) })
	g.Go("end", func(ctx context.Context) error {
		<-ctx.Done()
		// The last tenth of the drain is for giving back what could not be told.
		time.AfterFunc(a.cfg.Drain.D()*6/10, endSoft)
		time.AfterFunc(a.cfg.Drain.D()*9/10, endHard)
		working.Wait()
		return nil
	})
	a.ready.Store(true)
	if a.deps.Ready != nil {
		a.deps.Ready()
	}
	return g.Wait()
}

// start starts an outlet, which works until the drain is over.
func (a *Alarm) start(o *outlet) {
	a.telling.Go(func() { a.claim(a.soft, o) })
	for _, lane := range o.lanes {
		a.telling.Go(func() { a.lane(a.soft, o, lane) })
	}
	a.telling.Go(func() { a.hand(a.soft, o) })
	for _, lane := range o.beside {
		a.telling.Go(func() { a.lane(a.soft, o, lane) })
	}
}
