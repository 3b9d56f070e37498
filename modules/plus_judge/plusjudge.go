package plusjudge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/daemon"
	"falcon/common/failpoint"
	"falcon/common/httpx"
	"falcon/common/journal"
	"falcon/common/model"
	"falcon/common/outbox"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stat"
)

// Deps are the neighbours of a plus_judge.
type Deps struct {
	Log *slog.Logger // required
	// RPC and HTTP are listeners that are open already; nil means by the configuration.
	RPC, HTTP net.Listener
	// Reload reads the configuration again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once events are taken; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Members says how many strategies a combination of the fork has, 0 when it does not
	// know; nil means that the hbs of the configuration are asked.
	Members func(ctx context.Context, union int) (int, error)
}

// A PlusJudge is ready to Run.
type PlusJudge struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	now    func() time.Time
	redis  *redisx.Pool // nil while alarm.enabled is false
	out    *outbox.Box
	unions *unions
	ready  atomic.Bool

	mu      sync.Mutex // of what follows
	core    *Core
	records [][]byte       // on their way to the journal, in order
	told    []*outbox.Told // go out after them
	clock   time.Time      // when the core was asked last

	// writing is held while records go to the journal, so that they stand there in the
	// order in which they were made; nobody waits for it who decides.
	writing sync.Mutex
	journal *journal.Journal // from the beginning of Run
	diskErr atomic.Pointer[error]

	stats                                                               *stat.Set
	self                                                                *daemon.Reporter // of its own counters, as points
	received, kept, problems, oks, closed, discarded, diskErrs, damaged *stat.Counter
	refused, busy                                                       *stat.Reasons
}

// New checks cfg and deps. It starts nothing.
func New(cfg Config, deps Deps) (*PlusJudge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("plus_judge: %w", err)
	}
	if deps.Log == nil {
		return nil, errors.New("plus_judge: Deps.Log is required")
	}
	p := &PlusJudge{cfg: cfg, deps: deps, log: deps.Log, now: deps.Now, core: NewCore(cfg.settings())}
	if p.now == nil {
		p.now = time.Now
	}
	p.now = run.Forward(p.now)
	p.unions = newUnions(cfg.HBS, deps)
	if cfg.Alarm.Enabled {
		var err error
		if p.redis, err = redisx.New(cfg.Alarm.Redis); err != nil {
			return nil, fmt.Errorf("plus_judge: %w", err)
		}
	}
	p.out = outbox.New(outbox.Options{
		Log: p.log, Now: p.now, Redis: p.redis, QueuePattern: cfg.Alarm.QueuePattern, Max: cfg.Alarm.MaxWaiting, Pushed: p.notePushed, Met: p.noteMet,
	})
	p.count()
	return p, nil
}

// Run serves until ctx ends. It first recovers what the last run left.
func (p *PlusJudge) Run(ctx context.Context) (err error) {
	defer p.unions.close()
	if p.redis != nil {
		defer func() { err = errors.Join(err, p.redis.Close()) }()
	}
	if err := p.recover(); err != nil {
		return fmt.Errorf("plus_judge: %w", err)
	}
	defer func() { err = errors.Join(err, p.journal.Sync(), p.journal.Close()) }()
	rpcListener, httpListener := p.deps.RPC, p.deps.HTTP
	if rpcListener == nil {
		if rpcListener, err = p.cfg.RPC.Open("rpc"); err != nil {
			return err
		}
	}
	if httpListener == nil {
		if httpListener, err = p.cfg.HTTP.Open("http"); err != nil {
			return errors.Join(err, rpcListener.Close())
		}
	}
	p.log.Info("serving", "rpc", rpcListener.Addr(), "combinations", p.core.Len(), "waiting_events", p.out.Waiting())
	// Events that come in while it stops still go out: the outbox ends after the rest.
	pushing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var pushed sync.WaitGroup
	if p.redis != nil {
		pushed.Go(func() {
			if err := run.Recovered(func() error { return p.out.Run(pushing) }); err != nil {
				p.log.Error("the outbox ended", "err", err)
			}
		})
	}
	g := run.New(ctx)
	g.Go("self", p.self.Run)
	g.Go("tick", p.tick)
	if httpListener != nil {
		g.Go("http", func(ctx context.Context) error {
			return httpx.Serve(ctx, httpListener, p.admin(), p.cfg.Drain.D(), p.log)
		})
	}
	g.Go("rpc", func(ctx context.Context) error {
		s := rpc.NewServer(rpc.ServerOptions{Log: p.log, Drain: p.cfg.Drain.D()})
		p.register(s)
		return s.Serve(ctx, rpcListener)
	})
	p.ready.Store(true)
	if p.deps.Ready != nil {
		p.deps.Ready()
	}
	err = g.Wait()
	if p.redis != nil {
		p.drain()
	}
	stop()
	pushed.Wait()
	return err
}

// drain gives the last events some time to reach Redis; those that do not are in the
// journal.
func (p *PlusJudge) drain() {
	deadline := time.NewTimer(min(p.cfg.Drain.D(), 2*time.Second))
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for p.out.Waiting() > 0 {
		select {
		case <-look.C:
		case <-deadline.C:
			return
		}
	}
}

// recover takes from the journal what the last run knew.
func (p *PlusJudge) recover() error {
	now := p.now().Unix()
	bad := 0
	var err error
	p.journal, err = journal.Open(p.cfg.Dir(), func(raw []byte) error {
		r, err := decode(raw)
		if err != nil {
			bad++ // what stands before and after it counts
			return nil
		}
		p.replay(r, now)
		return nil
	})
	if err != nil {
		return err
	}
	p.damaged.Add(p.journal.Damaged + bad)
	if p.journal.Damaged+bad > 0 || p.journal.Torn > 0 {
		p.log.Warn("the journal was damaged, the rest of it is used", "records", p.journal.Damaged+bad, "torn_bytes", p.journal.Torn)
	}
	return nil
}

func (p *PlusJudge) replay(r *record, now int64) {
	switch {
	case r.Series != nil:
		p.core.Restore(r.Series, r.At, now)
	case r.Told != nil:
		if p.out.Recover(&outbox.Told{Seq: r.Seq, At: r.At, Event: r.Told, Pushed: r.Done, Recent: r.Recent}) {
			p.core.RestoreTold(r.Told, r.acked(), r.At, now)
		}
	case len(r.Pushed) > 0:
		p.out.RecoverPushed(r.Pushed...)
	case r.Ack != "":
		p.core.Ack(r.Ack, r.acked())
	case r.Epoch != "":
		p.out.RecoverMet(r.Epoch)
	}
}

// take looks at an event of a condition. It returns once the journal has what changed.
func (p *PlusJudge) take(e *model.Event) (reason string, err error) {
	now := p.now().Unix()
	if reason = Refuse(e, now, p.cfg.MaxFutureSec); reason != "" {
		return reason, nil
	}
	if err := p.journal.Room(); err != nil {
		p.broken(err)
		p.busy.Add("disk", 1)
		return "", fmt.Errorf("plus_judge takes no events until its disk does: %w", err)
	}
	if err := p.out.Room(); err != nil {
		p.busy.Add("redis", 1)
		return "", fmt.Errorf("plus_judge takes no events: %w", err)
	}
	p.mu.Lock()
	now = p.moment()
	ev, changed, reason := p.core.Take(e, now)
	if reason != "" {
		p.mu.Unlock()
		return reason, nil
	}
	if changed {
		p.note(&record{Series: e, At: now})
	}
	p.tell(now, ev)
	p.mu.Unlock()
	p.kept.Add(1)
	if !changed && ev == nil {
		return "", nil // a refresh
	}
	return "", p.flush()
}

// note has a record written by the next flush; the caller holds mu.
func (p *PlusJudge) note(r *record) {
	raw, err := r.encode()
	if err != nil { // Refuse lets nothing in that can not be written
		p.log.Error("a change can not be written and a restart would forget it", "err", err)
		return
	}
	p.records = append(p.records, raw)
}

// tell numbers events and has them go out with the next flush; the caller holds mu.
func (p *PlusJudge) tell(now int64, events ...*model.Event) {
	for _, e := range events {
		switch {
		case e == nil:
			continue
		case e.Status == model.StatusProblem:
			p.problems.Add(1)
		default:
			p.oks.Add(1)
		}
		if e.Closed == model.ClosedStale {
			p.closed.Add(1)
		}
		t := p.out.Tell(e, "")
		p.note(&record{Told: e, Seq: t.Seq, At: t.At})
		p.told = append(p.told, t)
	}
}

// flush writes what was noted and lets the events out. An error says that a restart would
// not know it; the events go out all the same: a full disk is no reason for silence.
func (p *PlusJudge) flush() error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	records, events := p.records, p.told
	p.records, p.told = nil, nil
	p.mu.Unlock()
	var err error
	if len(records) > 0 {
		failpoint.Reached("plus_judge.judged")
		err = p.journal.Append(records...)
		p.broken(err)
	} else if p.diskErr.Load() != nil {
		// Another flush has taken this one's records, and may have failed with them.
		err = p.journal.Flush()
		p.broken(err)
	}
	if p.out.Closed() {
		p.discarded.Add(len(events))
	}
	p.out.Put(events)
	return err
}

// write notes a record and writes it.
func (p *PlusJudge) write(r *record) error {
	p.mu.Lock()
	p.note(r)
	p.mu.Unlock()
	return p.flush()
}

// notePushed marks events in the journal that Redis has. The error is the disk's, and the
// next run then pushes them once more.
func (p *PlusJudge) notePushed(seqs []uint64) { _ = p.write(&record{Pushed: seqs}) }

// noteMet has the journal remember the memory of Redis, or with a broken disk this run.
func (p *PlusJudge) noteMet(epoch string) { _ = p.write(&record{Epoch: epoch}) }

// broken remembers what the journal said last, for /health.
func (p *PlusJudge) broken(err error) {
	if err == nil {
		if p.diskErr.Swap(nil) != nil {
			p.log.Info("the journal takes records again")
		}
		return
	}
	p.diskErrs.Add(1)
	if p.diskErr.Swap(&err) == nil {
		p.log.Error("the journal takes nothing: conditions are judged and not acknowledged, and a restart would forget them", "err", err)
	}
}

const tickEvery = 5 * time.Second

// tick looks for silence, and lets the journal turn.
func (p *PlusJudge) tick(ctx context.Context) error {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	every := p.cfg.Turning.Every.D()
	turn := time.NewTicker(min(tickEvery, every))
	defer turn.Stop()
	turned := time.Now()
	for {
		select {
		case <-ticker.C:
			p.look()
			if err := p.journal.Sync(); err != nil {
				p.broken(err)
			}
		case <-turn.C:
			if time.Since(turned) >= every || p.journal.Size() > p.cfg.Turning.Size {
				turned = time.Now()
				if err := p.rewrite(); err != nil {
					p.log.Error("the journal can not be rewritten and grows on", "err", err)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// stepLimit is how far the wall clock may be put before what is known is put with it.
const stepLimit = 10 * time.Second

// moment returns the time, Unix seconds; the caller holds mu. When somebody has put the
// clock, members were not silent for that long: what is known of them goes with it.
func (p *PlusJudge) moment() int64 {
	now := p.now()
	if !p.clock.IsZero() {
		p.stepped(run.Step(p.clock, now))
	}
	p.clock = now
	return now.Unix()
}

func (p *PlusJudge) stepped(by time.Duration) {
	if by.Abs() < stepLimit {
		return
	}
	p.log.Warn("the clock of this host was put, and the ages of conditions with it", "by", by)
	p.core.Shift(int64(by / time.Second))
}

// look tells what silence has ended.
func (p *PlusJudge) look() {
	p.mu.Lock()
	now := p.moment()
	p.tell(now, p.core.Tick(now)...)
	p.mu.Unlock()
	_ = p.flush() // the events go out; broken says what stays wrong
}

// rewrite replaces the journal's files by a snapshot of what a restart needs. Events go
// on meanwhile.
func (p *PlusJudge) rewrite() error {
	p.writing.Lock()
	err := p.journal.Turn()
	p.writing.Unlock()
	if err != nil {
		return err
	}
	return p.journal.Snapshot(p.snapshot)
}

// snapshot emits the state. Told events come first: what they say of members is less than
// what the series say.
func (p *PlusJudge) snapshot(emit func([]byte) error) error {
	// Nothing may be between the core and the outbox: an event that is made is in one of
	// them, or in a record that is written into the new file.
	p.writing.Lock()
	events, epoch := p.out.State()
	p.mu.Lock()
	var records []*record
	for _, t := range events {
		r := &record{Told: t.Event, Seq: t.Seq, At: t.At, Done: t.Pushed, Recent: t.Recent}
		if by := p.core.Acked(t.Event); by != nil && t.Event.Status == model.StatusProblem {
			r.Acked, r.By, r.AckedAt = true, by.By, by.At
		}
		records = append(records, r)
	}
	p.core.Each(func(e *model.Event, at int64) {
		records = append(records, &record{Series: e, At: at})
	})
	p.mu.Unlock()
	p.writing.Unlock()
	if epoch != "" {
		records = append(records, &record{Epoch: epoch})
	}
	for _, r := range records {
		raw, err := r.encode()
		if err != nil {
			continue // it can not be told either
		}
		if err := emit(raw); err != nil {
			return err
		}
	}
	return nil
}
