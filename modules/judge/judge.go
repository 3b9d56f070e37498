package judge

import (
	"context"
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
	"falcon/common/journal"
	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/modules/judge/core"
	"falcon/modules/judge/filter"
	"falcon/modules/judge/rules"
)

// Deps are the neighbours of a judge.
type Deps struct {
	Log *slog.Logger // required
	// RPC and HTTP are listeners that are open already; nil means by the configuration.
	RPC, HTTP net.Listener
	// Reload reads the configuration again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once points are taken; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// A Judge is ready to Run.
type Judge struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	now    func() time.Time
	set    core.Settings
	follow *rules.Follower
	redis  *redisx.Pool // nil while alarm.enabled is false

	table   *table
	out     *box
	union   *union                  // nil while union_judge_s is not enabled
	inForce atomic.Pointer[inForce] // nil until there is a book
	booked  chan struct{}           // a book came into force
	ready   atomic.Bool
	started int64 // Unix seconds: what was silent before was not listened to

	journal *journal.Journal // from the beginning of Run
	// turning is held for reading over a batch, from its first point to its record, and
	// for writing while the journal begins its next file. turn counts these.
	turning sync.RWMutex
	turn    uint32
	diskErr atomic.Pointer[error] // what the last append said, nil for nothing

	stats                                                                       *stat.Set
	self                                                                        *daemon.Reporter // of its own counters, as points
	received, kept, filtered, late, problems, oks, discarded, diskErrs, damaged *stat.Counter
	invalid, stale, refusedBusy                                                 *stat.Reasons
	took                                                                        atomic.Int64 // of the last batch, nanoseconds
}

// New checks cfg and deps. It starts nothing.
func New(cfg Config, deps Deps) (*Judge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("judge: %w", err)
	}
	if deps.Log == nil {
		return nil, errors.New("judge: Deps.Log is required")
	}
	j := &Judge{
		cfg: cfg, deps: deps, log: deps.Log, now: deps.Now,
		set:   core.Settings{Remain: cfg.Remain, MinInterval: cfg.Alarm.MinInterval},
		table: newTable(), booked: make(chan struct{}, 1), turn: 1,
	}
	if j.now == nil {
		j.now = time.Now
	}
	j.now = run.Forward(j.now)
	if cfg.Alarm.Enabled {
		var err error
		if j.redis, err = redisx.New(cfg.Alarm.Redis); err != nil {
			return nil, fmt.Errorf("judge: %w", err)
		}
	}
	j.out = newBox(outbox.Options{
		Log: deps.Log, Now: j.now, Redis: j.redis, QueuePattern: cfg.Alarm.QueuePattern, Max: cfg.Alarm.MaxWaiting, Pushed: j.notePushed, Met: j.noteMet,
	})
	if cfg.IsUnion {
		return nil, errors.New("judge: is_union is the file of a plus_judge: run it with falcon-judge or falcon-plus_judge")
	}
	if cfg.Union.Enabled {
		var err error
		if j.union, err = newUnion(cfg.Union, j.now, deps.Log); err != nil {
			return nil, fmt.Errorf("judge: %w", err)
		}
	}
	tls, err := cfg.HBS.TLS.Config("hbs")
	if err != nil {
		return nil, fmt.Errorf("judge: %w", err)
	}
	host, _ := os.Hostname() // for hbs's log only
	j.follow = rules.New(rules.Options{
		Servers: cfg.HBS.Servers, Judge: host, Dir: cfg.Dir(), Interval: time.Duration(cfg.HBS.Interval) * time.Second,
		DialTimeout: time.Duration(cfg.HBS.Timeout), CallTimeout: time.Duration(cfg.HBS.FullTimeout), TLS: tls, Log: deps.Log,
		Changed: j.changedBy, Answered: j.wakeSweep, Seen: j.table.names,
	})
	j.table.unknown, j.table.current = func(endpoint, metric string) bool { return !j.follow.Known(endpoint, metric) }, j.inForce.Load
	j.count()
	return j, nil
}

// changed brings a book into force.
func (j *Judge) changed(b *rulebook.Book) { j.changedBy(b, rules.By{}) }

func (j *Judge) changedBy(b *rulebook.Book, by rules.By) {
	ix := filter.NewWith(b, j.union != nil)
	for _, bad := range ix.Bad {
		j.log.Warn("rule skipped", "what", bad.What, "id", bad.ID, "reason", bad.Reason)
	}
	next := &inForce{index: ix, generation: 1, at: j.now(), asked: by.Asked}
	if before := j.inForce.Load(); before != nil {
		next.anew, next.generation, next.all, next.since = before.anew, before.generation, before.all, before.since
		if !by.Grown {
			next.generation++
			metrics, all := filter.Changed(before.index, ix)
			if by.Anew || by.Asked != before.asked {
				next.anew++
				all = true
			}
			next.concerns(metrics, all)
		}
	}
	j.inForce.Store(next)
	j.wakeSweep()
}

// wakeSweep has the points looked at that wait for rules.
func (j *Judge) wakeSweep() {
	select {
	case j.booked <- struct{}{}:
	default:
	}
}

// Run serves until ctx ends. It first recovers what the last run left.
func (j *Judge) Run(ctx context.Context) (err error) {
	if j.redis != nil {
		defer func() { err = errors.Join(err, j.redis.Close()) }()
	}
	if err := j.recover(); err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	defer func() { err = errors.Join(err, j.journal.Sync(), j.journal.Close()) }()
	rpcListener, httpListener := j.deps.RPC, j.deps.HTTP
	if rpcListener == nil {
		if rpcListener, err = j.cfg.RPC.Open("rpc"); err != nil {
			return err
		}
	}
	if httpListener == nil {
		if httpListener, err = j.cfg.HTTP.Open("http"); err != nil {
			return errors.Join(err, rpcListener.Close())
		}
	}
	series, _ := j.table.sizes()
	j.log.Info("serving", "rpc", rpcListener.Addr(), "series", series, "waiting_events", j.out.Waiting())
	g := run.New(ctx)
	g.Go("rules", j.follow.Run)
	g.Go("self", j.self.Run)
	g.Go("sweep", j.sweep)
	g.Go("sync", j.keepSafe)
	if j.redis != nil {
		g.Go("outbox", j.out.Run)
	}
	if j.union != nil {
		g.Go("union", j.union.run)
	}
	if httpListener != nil {
		g.Go("http", func(ctx context.Context) error {
			return httpx.Serve(ctx, httpListener, j.admin(), j.cfg.Drain.D(), j.log)
		})
	}
	g.Go("rpc", func(ctx context.Context) error {
		s := rpc.NewServer(rpc.ServerOptions{Log: j.log, Drain: j.cfg.Drain.D()})
		rpc.Handle(s, "Judge.Ping", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
			return &model.SimpleRpcResponse{}, nil
		})
		rpc.Handle(s, "Judge.Send", j.send)
		rpc.Handle(s, "StringJudge.Send", j.sendTexts)
		rpc.Handle(s, "Judge.Events", j.eventsCall)
		rpc.Handle(s, "Judge.Problems", j.problemsCall)
		rpc.Handle(s, "Judge.Ack", j.ackCall)
		rpc.Handle(s, "Judge.Adopt", j.adopt)
		rpc.Protect(s, j.cfg.FleetKey.Reveal(), "Judge.Ack", "Judge.Adopt")
		j.registerStreams(s)
		return s.Serve(ctx, rpcListener)
	})
	j.ready.Store(true)
	if j.deps.Ready != nil {
		j.deps.Ready()
	}
	return g.Wait()
}

// recover takes the rules of the last run from disk and what it had in its journal.
func (j *Judge) recover() error {
	j.started = j.now().Unix()
	j.follow.Load()
	r := &recovery{j: j, ids: map[uint64]*entry{}}
	bad := 0
	var err error
	j.journal, err = journal.Open(j.cfg.Dir(), func(record []byte) error {
		if err := replayRecord(record, r); err != nil {
			bad++ // what stands before and after it counts
		}
		return nil
	})
	if err != nil {
		return err
	}
	j.damaged.Add(j.journal.Damaged + bad)
	if j.journal.Damaged+bad+r.lost > 0 || j.journal.Torn > 0 {
		j.log.Warn("the journal was damaged, the rest of it is used",
			"records", j.journal.Damaged+bad, "torn_bytes", j.journal.Torn, "points_without_series", r.lost)
	}
	j.sayConditions()
	return nil
}
