package hbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/failpoint"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/rulebook"
	"falcon/common/run"
	"falcon/common/stat"
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
	at      time.Time // the moment that it was compiled for
	version rulebook.Version
	full    func() []byte      // encoded at the first need
	stock   func() *stockRules // about numbers
	texts   func() *stockRules // about texts
	some    func() someRules

	// Once it is sealed: what other hbs are given, and its name.
	name string
	body func() []byte
}

// A shelf is where the hbs that compiles lays the rules for the others; *redis is one.
type shelf interface {
	// Lead runs fn while no other hbs does, with the generation for Publish.
	Lead(ctx context.Context, fn func(ctx context.Context, generation int64) error) error
	Publish(ctx context.Context, generation int64, r redisx.Rules, body func() []byte) (bool, error)
	InForce(ctx context.Context) (redisx.Rules, error)
	Body(ctx context.Context, version string) ([]byte, error)
	// Changed tells all that there are rows to be read.
	Changed(ctx context.Context) error
	// Watch calls fn when others published, or may have.
	Watch(ctx context.Context, fn func()) error
}

// A keeper has the book that is in force and hands it out. Of several hbs that share a
// shelf one compiles when something may have changed, and the others take what it
// published; without a shelf, or while it is away, each compiles for itself.
type keeper struct {
	rows  Rows
	shelf shelf // nil without Redis
	loc   *time.Location
	guard int
	every time.Duration
	log   *slog.Logger
	now   func() time.Time

	reads *stat.Counter // of the database
	took  atomic.Int64  // nanoseconds that the last answer with rules was made in

	dirty chan struct{} // holds one wish to compile
	news  chan struct{} // holds one wish to look at the shelf

	mu      sync.Mutex
	current *edition
	changed chan struct{} // closed when current is replaced
	ended   chan struct{} // closed when run has ended
	deltas  []step        // oldest first
	failed  error         // of the last attempt
	at      time.Time     // when rows were last read, by whoever did
	leads   bool
	unheard bool // what is in force here could not be published

	making sync.Mutex           // held while an edition is made and put in force; guards what follows
	held   map[string]time.Time // a book that the guard holds back, by version: since when
	told   map[compile.Bad]bool // bad rows that were logged
	taken  string               // the version of the rules on the shelf that are in force
}

// A step leads from one version to the next.
type step struct {
	from, to rulebook.Version
	body     []byte
}

func newKeeper(rows Rows, cfg *Config, loc *time.Location, log *slog.Logger, now func() time.Time) *keeper {
	return &keeper{
		rows: rows, loc: loc, guard: cfg.Guard, every: cfg.Interval.D(), log: log, now: now, reads: new(stat.Counter),
		dirty: make(chan struct{}, 1), news: make(chan struct{}, 1), changed: make(chan struct{}), ended: make(chan struct{}), told: map[compile.Bad]bool{},
	}
}

// touch asks for a compilation soon, of whoever compiles.
func (k *keeper) touch() { wish(k.dirty) }

func wish(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// added asks for a compilation since the portal has new hosts, wherever it is done.
func (k *keeper) added() {
	k.touch()
	if k.shelf == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = k.shelf.Changed(ctx) // else they are seen within a minute
}

// coalesce is for how long further changes are gathered before a compilation.
const coalesce = 100 * time.Millisecond

// run keeps the book until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	defer close(k.ended)
	if k.shelf == nil {
		return k.alone(ctx)
	}
	// What is in force already is the measure of the guard, and serves at once.
	first, cancel := context.WithTimeout(ctx, 2*time.Second)
	_, _ = k.take(first) // it is looked for again in a moment
	cancel()
	g := run.New(ctx)
	g.Go("watch", func(ctx context.Context) error { return k.shelf.Watch(ctx, func() { wish(k.news) }) })
	g.Go("lead", func(ctx context.Context) error { return k.shelf.Lead(ctx, k.lead) })
	g.Go("follow", k.follow)
	return g.Wait()
}

// alone compiles at once, after each touch, each interval, and when the hours of a
// strategy, a maintenance or a disable begin or end.
func (k *keeper) alone(ctx context.Context) error {
	for {
		_ = k.compile(ctx, nil) // it is logged, and tried again
		if !k.wait(ctx, k.pause()) {
			return nil
		}
	}
}

// wait returns after a pause or a touch; false when ctx has ended.
func (k *keeper) wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-k.dirty:
	}
	if !run.Sleep(ctx, coalesce) {
		return false
	}
	select {
	case <-k.dirty:
	default:
	}
	return true
}

// pause returns how long nothing changes by itself.
func (k *keeper) pause() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil || k.failed != nil || k.unheard {
		return min(time.Second, k.every)
	}
	wait := k.every
	if next := k.current.Next; !next.IsZero() {
		wait = min(wait, max(next.Sub(k.now()), 100*time.Millisecond))
	}
	return wait
}

// errFenced says that another hbs compiles by now.
var errFenced = errors.New("another hbs compiles the rules")

// giveUp is for how long the hbs that compiles may fail to read rows before another
// tries.
const giveUp = 20 * time.Second

// lead compiles and publishes while this hbs holds the lock.
func (k *keeper) lead(ctx context.Context, generation int64) error {
	k.log.Info("this hbs compiles the rules for all", "generation", generation)
	k.setLeads(true)
	defer k.setLeads(false)
	publish := func(e *edition) error {
		ok, err := k.shelf.Publish(ctx, generation, redisx.Rules{Version: e.name, Book: e.version.String(), Checked: e.at.Unix()}, e.body)
		if err == nil && !ok {
			return errFenced
		}
		return err
	}
	good := k.now()
	for {
		err := k.compile(ctx, publish)
		switch {
		case err == nil:
			good = k.now()
		case errors.Is(err, errFenced):
			k.log.Warn("another hbs compiles the rules by now")
			return redisx.ErrLost
		case k.now().Sub(good) > giveUp:
			k.log.Warn("rules can not be read, another hbs may try", "err", err)
			return nil
		}
		if !k.wait(ctx, k.pause()) {
			return nil
		}
	}
}

func (k *keeper) setLeads(does bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leads = does
}

// leading says whether this hbs compiles for all.
func (k *keeper) leading() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.leads
}

const (
	// look is how often the shelf is looked at without being told of news.
	look = 3 * time.Second
	// patience is for how long nobody may have read the rows, beyond the interval, before
	// this hbs does for itself.
	patience = 30 * time.Second
)

// follow takes what the leader publishes. While nobody says anything, or the shelf is
// away, this hbs compiles for itself each interval.
func (k *keeper) follow(ctx context.Context) error {
	began, own := k.now(), time.Time{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.news:
		case <-timer.C:
		}
		timer.Reset(look)
		k.mu.Lock()
		leads, none := k.leads, k.current == nil
		k.mu.Unlock()
		if leads {
			continue
		}
		c, cancel := context.WithTimeout(ctx, 2*look)
		_, err := k.take(c)
		cancel()
		if err != nil && !errors.Is(err, redisx.Nil) {
			k.log.Debug("rules are not taken from redis", "err", err)
		}
		limit := k.every + patience
		switch {
		case none: // a little is waited for whoever wins the lock
			limit = look
		case err != nil && !errors.Is(err, redisx.Nil): // nobody could publish
			limit = k.every
		}
		k.mu.Lock()
		last := k.at
		k.mu.Unlock()
		if last.Before(began) && none {
			last = began
		}
		if now := k.now(); now.Sub(last) > limit && now.Sub(own) >= min(k.every, limit) {
			own = now
			k.log.Warn("nobody publishes rules, this hbs compiles for itself", "last", last)
			_ = k.compile(ctx, nil) // it is logged, and tried again
		}
	}
}

// take puts the rules on the shelf in force, if they are others, and says whether it
// did.
func (k *keeper) take(ctx context.Context) (bool, error) {
	k.making.Lock()
	defer k.making.Unlock()
	// Asked once nothing is made here: who begins to lead meanwhile has newer ones.
	r, err := k.shelf.InForce(ctx)
	if err != nil {
		return false, err
	}
	k.mu.Lock()
	mine := k.at
	k.mu.Unlock()
	if mine.Sub(time.Unix(r.Checked, 0)) > patience {
		return false, fmt.Errorf("rules %s: %w: they are older than those here", r.Version, redisx.Nil)
	}
	if r.Version != k.taken {
		body, err := k.shelf.Body(ctx, r.Version)
		if err != nil {
			return false, fmt.Errorf("rules %s: %w", r.Version, err)
		}
		rows, at, err := unpackRows(body, r.Version)
		if err != nil {
			return false, fmt.Errorf("rules %s: %w", r.Version, err)
		}
		e := k.edition(rows, at)
		if e.version.String() != r.Book {
			k.log.Warn("the same rows make another book here: another release compiled them", "there", r.Book, "here", e.version)
		}
		e.name, e.body = r.Version, func() []byte { return body }
		old, _ := k.get()
		k.inForce(old, e)
		k.taken = r.Version
	}
	k.mu.Lock()
	if checked := time.Unix(r.Checked, 0); checked.After(k.at) {
		k.at, k.failed = checked, nil
	}
	k.mu.Unlock()
	return true, nil
}

// compile reads the rows and puts the book they make in force, once publish, when there
// is one, has told the others. A failure leaves the last one there.
func (k *keeper) compile(ctx context.Context, publish func(*edition) error) error {
	k.making.Lock()
	defer k.making.Unlock()
	at := k.now()
	k.reads.Add(1)
	rows, err := k.rows.RuleRows(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		k.mu.Lock()
		first := k.failed == nil
		k.failed = err
		k.mu.Unlock()
		if first {
			k.log.Error("rules can not be read, the last ones stay in force", "err", err)
		}
		return err
	}
	e := k.edition(rows, k.now().In(k.loc))
	k.complain(e.Bad)
	old, _ := k.get()
	if old != nil && old.version != e.version && k.holdBack(old, e, e.at) {
		held := *old
		held.at = e.at
		e = &held
	} else {
		k.held = nil
	}
	unheard := false
	k.taken = ""                                                                  // unless it is on the shelf
	if publish != nil && (e.name != "" || old == nil || old.Result != e.Result) { // what the guard keeps may have no name
		if e.name == "" {
			e.seal(rows, old)
		}
		failpoint.Reached("hbs.compiled")
		err := publish(e)
		failpoint.Reached("hbs.published")
		switch {
		case errors.Is(err, errFenced):
			return err
		case err != nil:
			// Nobody else can be told either: what is known here is in force here, and is
			// published as soon as it can be.
			unheard = true
			k.log.Warn("rules are not published", "err", err)
		default:
			k.taken = e.name
		}
	}
	k.inForce(old, e)
	k.mu.Lock()
	again := k.failed != nil
	k.failed, k.at, k.unheard = nil, at, unheard
	k.mu.Unlock()
	if again {
		k.log.Info("rules can be read again")
	}
	return nil
}

// edition makes the book of rows as it is at a moment.
func (k *keeper) edition(rows *portal.RuleRows, at time.Time) *edition {
	res := compile.Compile(rows, at)
	e := &edition{Result: res, at: at, version: res.Book.Version()}
	e.full = sync.OnceValue(res.Book.Encode)
	e.stock = sync.OnceValue(func() *stockRules { return newStockRules(bookOf(res.Book, false)) })
	e.texts = sync.OnceValue(func() *stockRules { return newStockRules(bookOf(res.Book, true)) })
	e.some = sync.OnceValue(func() someRules { return newSomeRules(res.Book) })
	return e
}

// inForce puts e in the place of old. Nobody else does so meanwhile: the change from old
// is made without the lock of readers.
func (k *keeper) inForce(old, e *edition) {
	var change *step
	what := "rules compiled"
	switch {
	case old == nil:
	case old.version == e.version:
		// Explanations follow the newest rows: names of groups are in no book.
		e.full, e.stock = old.full, old.stock
		e.some = old.some
		what = ""
	default:
		change = &step{old.version, e.version, rulebook.Diff(old.Book, e.Book).Encode()}
		what = "rules changed"
	}
	k.mu.Lock()
	k.current = e
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
		began := time.Now()
		k.mu.Lock()
		e, changed, deltas := k.current, k.changed, k.deltas
		k.mu.Unlock()
		if e != nil {
			version := e.version.String()
			if version != req.Version {
				// The last change from there: rules that went back to what they were have
				// an older one, which would lead a judge in a circle.
				for _, s := range slices.Backward(deltas) {
					if s.from.String() == req.Version {
						k.took.Store(int64(time.Since(began)))
						return &rulebook.Reply{Kind: rulebook.Changes, Version: s.to.String(), Body: s.body}, nil
					}
				}
				body := e.full()
				k.took.Store(int64(time.Since(began)))
				return &rulebook.Reply{Kind: rulebook.Full, Version: version, Body: body}, nil
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
