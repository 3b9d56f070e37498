package hbs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"falcon/common/portal"
	"falcon/common/rulebook"
	"falcon/modules/hbs/compile"
)

// errNotReady is what everybody who asks for rules hears until there are some. Stock
// judges, too, keep what they have on an error.
var errNotReady = errors.New("hbs not ready")

// Rows reads the rules; *portal.DB does.
type Rows interface {
	RuleRows(ctx context.Context) (*portal.RuleRows, error)
}

// maxDeltas is how many changes back a judge may be and still get changes.
const maxDeltas = 64

// An edition is a compiled book with its forms for the wire.
type edition struct {
	*compile.Result
	version rulebook.Version
	full    func() []byte // encoded at the first need
	stock   func() *stockRules
}

// A keeper compiles the book again when something may have changed, and hands out
// the one that is in force.
type keeper struct {
	rows  Rows
	loc   *time.Location
	guard int
	every time.Duration
	log   *slog.Logger
	now   func() time.Time

	dirty chan struct{} // holds one wish to compile

	mu      sync.Mutex
	current *edition
	changed chan struct{} // closed when current is replaced
	ended   chan struct{} // closed when run has ended
	deltas  []step        // oldest first
	failed  error         // of the last attempt
	at      time.Time     // when rows were last read

	// Touched by run only.
	held map[string]time.Time // a book that the guard holds back, by version: since when
	told map[compile.Bad]bool // bad rows that were logged
}

// A step leads from one version to the next.
type step struct {
	from, to rulebook.Version
	body     []byte
}

func newKeeper(rows Rows, cfg *Config, loc *time.Location, log *slog.Logger, now func() time.Time) *keeper {
	return &keeper{
		rows: rows, loc: loc, guard: cfg.Guard, every: cfg.Interval.D(), log: log, now: now,
		dirty: make(chan struct{}, 1), changed: make(chan struct{}), ended: make(chan struct{}), told: map[compile.Bad]bool{},
	}
}

// touch asks for a compilation soon.
func (k *keeper) touch() {
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// coalesce is for how long further changes are gathered before a compilation.
const coalesce = 100 * time.Millisecond

// run compiles at once, after each touch, each interval, and when the hours of a
// strategy, a maintenance or a disable begin or end.
func (k *keeper) run(ctx context.Context) error {
	defer close(k.ended)
	for {
		k.compile(ctx)
		timer := time.NewTimer(k.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-k.dirty:
			timer.Stop()
			gather := time.NewTimer(coalesce)
			select {
			case <-gather.C:
			case <-ctx.Done():
				gather.Stop()
				return nil
			}
			select {
			case <-k.dirty:
			default:
			}
		}
	}
}

// pause returns how long nothing changes by itself.
func (k *keeper) pause() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil {
		return min(time.Second, k.every)
	}
	wait := k.every
	if next := k.current.Next; !next.IsZero() {
		wait = min(wait, max(next.Sub(k.now()), 100*time.Millisecond))
	}
	return wait
}

// compile reads the rows and puts the book they make in force. A failure leaves the
// last one there.
func (k *keeper) compile(ctx context.Context) {
	rows, err := k.rows.RuleRows(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		k.mu.Lock()
		first := k.failed == nil
		k.failed = err
		k.mu.Unlock()
		if first {
			k.log.Error("rules can not be read, the last ones stay in force", "err", err)
		}
		return
	}
	now := k.now().In(k.loc)
	res := compile.Compile(rows, now)
	e := &edition{Result: res, version: res.Book.Version()}
	e.full = sync.OnceValue(res.Book.Encode)
	e.stock = sync.OnceValue(func() *stockRules { return newStockRules(res.Book) })

	k.complain(res.Bad)
	// Nobody else replaces the edition, so the change from it is made without the lock.
	old, _ := k.get()
	var change *step
	what := "rules compiled"
	switch {
	case old == nil:
	case old.version == e.version:
		// Explanations follow the newest rows: names of groups are in no book.
		e.full, e.stock = old.full, old.stock
		what = ""
	case k.holdBack(old, e, now):
		e = old
		what = ""
	default:
		change = &step{old.version, e.version, rulebook.Diff(old.Book, e.Book).Encode()}
		what = "rules changed"
	}
	if e != old {
		k.held = nil
	}
	k.mu.Lock()
	again := k.failed != nil
	k.failed, k.at, k.current = nil, now, e
	if change != nil {
		k.deltas = append(slices.Clip(k.deltas), *change)
		if n := len(k.deltas) - maxDeltas; n > 0 {
			k.deltas = k.deltas[n:]
		}
	}
	if what != "" {
		close(k.changed)
		k.changed = make(chan struct{})
	}
	k.mu.Unlock()
	if again {
		k.log.Info("rules can be read again")
	}
	if what != "" {
		k.log.Info(what, "version", e.version, "hosts", len(e.Book.Hosts), "strategies", len(e.Book.Strategies), "expressions", len(e.Book.Expressions))
	}
}

// holdBack says whether a book that lost most of its hosts waits for a second look:
// somebody may have emptied a table by mistake, or be half way through filling it.
func (k *keeper) holdBack(old, e *edition, now time.Time) bool {
	// Hosts that are silent because somebody wanted that are not lost.
	if k.guard == 0 || len(old.Book.Hosts) < k.guard || 2*e.Covered >= len(old.Book.Hosts) {
		return false
	}
	id := e.version.String()
	since, ok := k.held[id]
	if !ok {
		k.held = map[string]time.Time{id: now}
		k.log.Warn("rules of most hosts would go: waiting a minute for a second look", "hosts", len(old.Book.Hosts), "would_be", len(e.Book.Hosts))
		return true
	}
	return now.Sub(since) < time.Minute
}

// complain logs rows that were set aside, each once while it stays bad.
func (k *keeper) complain(bad []compile.Bad) {
	now := map[compile.Bad]bool{}
	for _, b := range bad {
		if now[b] = true; !k.told[b] {
			k.log.Warn("a row is set aside", "what", b.What, "id", b.ID, "reason", b.Reason)
		}
	}
	k.told = now
}

// get returns the edition in force.
func (k *keeper) get() (*edition, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil {
		return nil, errNotReady
	}
	return k.current, nil
}

// maxWait bounds how long a judge is kept waiting for a change.
const maxWait = 15 * time.Second

// book answers HbsNew.Book.
func (k *keeper) book(ctx context.Context, req *rulebook.Request) (*rulebook.Reply, error) {
	wait := min(time.Duration(max(req.Wait, 0))*time.Millisecond, maxWait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		k.mu.Lock()
		e, changed, deltas := k.current, k.changed, k.deltas
		k.mu.Unlock()
		if e != nil {
			version := e.version.String()
			if version != req.Version {
				if i := slices.IndexFunc(deltas, func(s step) bool { return s.from.String() == req.Version }); i >= 0 {
					return &rulebook.Reply{Kind: rulebook.Changes, Version: deltas[i].to.String(), Body: deltas[i].body}, nil
				}
				return &rulebook.Reply{Kind: rulebook.Full, Version: version, Body: e.full()}, nil
			}
		}
		select {
		case <-changed:
			continue
		case <-timer.C:
		case <-k.ended: // nobody is kept waiting by an hbs that stops
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if e == nil {
			return nil, errNotReady
		}
		return &rulebook.Reply{Kind: rulebook.NotModified, Version: req.Version}, nil
	}
}

// health says why judges get no rules, or old ones.
func (k *keeper) health() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.current == nil && k.failed != nil:
		return errors.Join(errors.New("hbs has no rules yet"), k.failed)
	case k.current == nil:
		return errors.New("hbs has no rules yet: the first compilation runs")
	}
	return nil
}

// age returns how old the rows are that the book was made of.
func (k *keeper) age() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.at.IsZero() {
		return 0
	}
	return k.now().Sub(k.at)
}
