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

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/modules/judge/core"
	"falcon/modules/judge/filter"
	"falcon/modules/judge/journal"
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
	jobs   chan job
	index  atomic.Pointer[filter.Index] // nil until there is a book
	ready  atomic.Bool

	journal  *journal.Journal // the worker's, once Run has opened it
	diskFull error            // the worker's: what the last append said

	mu     sync.Mutex // of what follows; never held over I/O
	series map[string]*entry
	last   map[string]*told // the last event of each event id and action
	outbox []*told          // that Redis does not have, in order
	seq    uint64
	wake   chan struct{}

	stats                                  *stat.Set
	received, invalid, problems, oks, gone *stat.Counter
	damage                                 *stat.Counter
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
		set:  core.Settings{Remain: cfg.Remain, MinInterval: cfg.Alarm.MinInterval},
		jobs: make(chan job, 16), series: map[string]*entry{}, last: map[string]*told{}, wake: make(chan struct{}, 1),
	}
	if j.now == nil {
		j.now = time.Now
	}
	if cfg.Alarm.Enabled {
		var err error
		if j.redis, err = redisx.New(cfg.Alarm.Redis); err != nil {
			return nil, fmt.Errorf("judge: %w", err)
		}
	}
	host, _ := os.Hostname() // for hbs's log only
	j.follow = rules.New(rules.Options{
		Servers: cfg.HBS.Servers, Judge: host, Dir: cfg.Data, Interval: time.Duration(cfg.HBS.Interval) * time.Second,
		DialTimeout: time.Duration(cfg.HBS.Timeout), CallTimeout: time.Duration(cfg.HBS.FullTimeout), Log: deps.Log,
		Changed: func(b *rulebook.Book) {
			ix := filter.New(b)
			for _, bad := range ix.Bad {
				j.log.Warn("rule skipped", "what", bad.What, "id", bad.ID, "reason", bad.Reason)
			}
			j.index.Store(ix)
		},
	})
	j.count()
	return j, nil
}

// Run serves until ctx ends. It first recovers what the last run left.
func (j *Judge) Run(ctx context.Context) (err error) {
	if j.redis != nil {
		defer func() { err = errors.Join(err, j.redis.Close()) }()
	}
	jl, err := journal.Open(j.cfg.Data, j.replay)
	if err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	j.journal = jl
	defer func() { err = errors.Join(err, jl.Close()) }()
	if jl.Damaged > 0 || jl.Torn > 0 {
		j.log.Warn("the journal was damaged, the rest of it is used", "records", jl.Damaged, "torn_bytes", jl.Torn)
	}
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
	j.log.Info("serving", "rpc", rpcListener.Addr(), "series", len(j.series), "waiting_events", len(j.outbox))
	grp := run.New(ctx)
	// The worker stops last, after the calls in flight are answered.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	grp.Go("worker", func(context.Context) error { return j.work(work) })
	grp.Go("rules", j.follow.Run)
	if j.redis != nil {
		grp.Go("outbox", j.push)
	}
	if httpListener != nil {
		grp.Go("http", func(ctx context.Context) error {
			return httpx.Serve(ctx, httpListener, j.admin(), j.cfg.Drain.D(), j.log)
		})
	}
	grp.Go("rpc", func(ctx context.Context) error {
		defer stopWork()
		s := rpc.NewServer(rpc.ServerOptions{Log: j.log, Drain: j.cfg.Drain.D()})
		rpc.Handle(s, "Judge.Ping", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
			return &model.SimpleRpcResponse{}, nil
		})
		rpc.Handle(s, "Judge.Send", j.send)
		j.registerStreams(s)
		return s.Serve(ctx, rpcListener)
	})
	j.ready.Store(true)
	if j.deps.Ready != nil {
		j.deps.Ready()
	}
	return grp.Wait()
}
