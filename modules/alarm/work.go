package alarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/run"
	"falcon/modules/alarm/sender"
)

const (
	// batch is how many events are worked at once.
	batch = portal.MaxEvents
	// window is how many events a worker has in hand, most of them waiting for their
	// messages to be sent.
	window = 10_000
	// windowBytes is how large they may be before no more are taken.
	windowBytes = 64 << 20
	// maxHeld is how many events may wait in hand for somebody to say whom they are for;
	// what comes beyond is left in flight until they are fewer, maxParked at most before no
	// more are taken.
	maxHeld   = 2000
	maxParked = 20_000
	// heldFor is how long they wait.
	heldFor = time.Hour
	// minInterval is the least time between two messages of a problem that judge has
	// forgotten, in seconds.
	minInterval = 300
)

// item is an event in hand.
type item struct {
	element redisx.Element
	part    *part
	event   *model.Event
	since   time.Time
	saved   *portal.Saved  // nil until its rows are written
	action  *portal.Action // nil: nobody is told
	people  []sender.Person
	waits   atomic.Int32 // messages not told yet, and one while they are being made
	worker  *worker
	given   atomic.Bool // it is given back
	owed    *owed       // its people are told without rows; nil for most
	again   bool        // somebody may have had it in hand before
}

// finish says that one of the things that an item waits for is over.
func (it *item) finish() {
	if it.waits.Add(-1) == 0 {
		it.worker.done.put(it)
	}
}

// giveUp says that one of those things will not be: alarm stops, and the event is for
// the next.
func (it *item) giveUp() {
	if it.given.CompareAndSwap(false, true) {
		it.worker.letUntold(it, untoldStop)
	}
}

// worker works some of the parts.
type worker struct {
	a     *Alarm
	parts *mailbox[*part] // new ones
	done  *mailbox[*item] // events that are told
	wake  chan struct{}

	inHand  atomic.Int64
	bytes   atomic.Int64 // of them
	suspect atomic.Bool  // there may be events in flight that nobody has: an answer of redis was lost, or a part is new

	handMu sync.Mutex
	hand   map[string]int // elements in hand, by list and payload

	// Of the goroutine that runs.
	mine  []*part
	queue *redisx.Queue    // over all of mine, by priority first; nil when there are none
	lists map[string]*part // of queue

	held      []*item // whom they are for is not known
	heldIDs   map[string]bool
	heldRetry time.Time
	heldPause time.Duration

	parked      map[string]bool // ids of events that are left in flight
	parkedN     int
	parkedBytes int

	debts
}

func (a *Alarm) newWorker() *worker {
	return &worker{a: a, parts: newMailbox[*part](), done: newMailbox[*item](), wake: make(chan struct{}, 1), heldIDs: map[string]bool{}, hand: map[string]int{}}
}

// run works until ctx ends; then it waits for the messages of what it has in hand, and
// gives back the rest when hard ends.
func (w *worker) run(ctx, hard context.Context) error {
	for ctx.Err() == nil {
		w.roster(hard)
		n := w.work(hard)
		if n > 0 {
			continue
		}
		select {
		case <-w.wake:
		case <-time.After(idle):
		case <-ctx.Done():
		}
	}
	w.dropHeld()
	for w.inHand.Load() > 0 && run.Sleep(hard, 5*time.Millisecond) {
	}
	<-w.a.shared // no more parts come
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	w.roster(after)
	for _, p := range w.mine {
		w.letGo(after, p)
	}
	return nil
}

// roster takes new parts and lets go of those that are another's.
func (w *worker) roster(ctx context.Context) {
	changed := false
	for _, p := range w.parts.poll(parts) {
		w.mine, changed = append(w.mine, p), true
		w.unpaid = true       // whoever had it may have told people without rows
		w.suspect.Store(true) // this alarm may have had it before, and lost an answer with it
	}
	w.mine = slices.DeleteFunc(w.mine, func(p *part) bool {
		leave := p.lost.Load()
		if p.leaving.Load() && !leave {
			changed = true // nothing more is taken from it
			w.giveUpHeld(p)
			if p.left.IsZero() {
				p.left = time.Now()
			}
			leave = p.inHand.Load() == 0
			if !leave && time.Since(p.left) > w.a.lease { // a provider may hang for hours
				p.handed.Store(true)
				leave = true
			}
			if leave {
				w.letGo(ctx, p)
			}
		}
		changed = changed || leave
		return leave
	})
	if !changed {
		return
	}
	_, _, priorities := w.a.cfg.queues()
	var lists []string
	w.lists = map[string]*part{}
	for _, priority := range priorities {
		for _, p := range w.mine {
			if !p.leaving.Load() {
				lists = append(lists, redisx.Part(p.n, priority))
				w.lists[redisx.Part(p.n, priority)] = p
			}
		}
	}
	w.queue = nil
	if len(lists) > 0 {
		w.queue = w.a.deps.Redis.NewQueue(w.a.instance, lists...)
	}
}

// letGo gives a part with all that is in flight to whoever comes next.
func (w *worker) letGo(ctx context.Context, p *part) {
	// Should one of these fail, the lock expires and the next takes over.
	if err := errors.Join(p.queue.Resign(ctx), p.lock.Release(ctx)); err != nil {
		w.a.log.Debug("a part is left to expire", "part", p.n, "err", err)
	}
	p.gone.Store(true)
}

// work takes some events and brings them as far as it can. It returns how many it
// found.
func (w *worker) work(ctx context.Context) int {
	w.retryHeld(ctx)
	if w.parkedN > 0 && len(w.held) < maxHeld/2 {
		w.suspect.Store(true)
	}
	if w.suspect.Load() {
		w.recover(ctx)
	}
	if !w.pay(ctx) {
		return 0
	}
	room := min(batch, window-int(w.inHand.Load()))
	if w.queue == nil {
		w.a.trouble.Clear("take events")
	}
	if w.queue == nil || w.suspect.Load() || room <= 0 || w.bytes.Load() > windowBytes || w.parkedN >= maxParked || w.parkedBytes > windowBytes {
		return 0
	}
	elements, err := w.queue.Pop(ctx, room)
	if err != nil {
		w.suspect.Store(true)
		w.a.trouble.Set(w.a.log, "something is tried again until it works", "take events", err)
		if len(elements) == 0 {
			return 0
		}
	} else {
		w.a.trouble.Clear("take events")
		if len(elements) == 0 {
			for _, p := range w.mine {
				p.unsure.Store(false)
			}
		}
	}
	var items []*item
	var bad []redisx.Moved
	now := w.a.now()
	for _, e := range elements {
		event, err := Decode(e.Payload)
		if err != nil { // nobody deals such a one
			bad = append(bad, w.a.bury(e, err.Error()))
			continue
		}
		it := &item{element: e, part: w.lists[e.List], event: event, since: now, worker: w}
		it.waits.Store(1)
		it.again = it.part.unsure.Load()
		it.part.inHand.Add(1)
		w.inHand.Add(1)
		w.a.taken.Add(1)
		w.handMu.Lock()
		w.hand[it.name()]++
		w.handMu.Unlock()
		w.bytes.Add(int64(len(e.Payload)))
		w.a.lag.take(now, event.EventTime)
		items = append(items, it)
	}
	if len(bad) > 0 && w.queue.Move(ctx, bad...) != nil {
		w.suspect.Store(true)
	}
	if len(items) > 0 {
		failpoint.Reached("alarm.popped")
	}
	w.handle(ctx, w.back(ctx, items))
	return len(elements)
}

// recover gives back what is in flight and not in hand: an answer with events may have
// been lost. What is in hand goes on: its messages may wait for a provider for long.
func (w *worker) recover(ctx context.Context) {
	w.suspect.Store(false)
	w.parked, w.parkedN, w.parkedBytes = nil, 0, 0 // they come again
	for _, p := range w.mine {
		if p.lost.Load() {
			continue
		}
		elements, err := p.queue.InFlight(ctx)
		if err == nil {
			lost := w.orphans(elements)
			if len(lost) > 0 {
				p.unsure.Store(true)
			}
			err = errors.Join(p.queue.Announce(ctx), p.queue.GiveBack(ctx, lost...))
		}
		if err != nil {
			w.suspect.Store(true)
			return
		}
	}
}

// orphans returns those of elements that are not in hand.
func (w *worker) orphans(elements []redisx.Element) (orphans []redisx.Element) {
	w.handMu.Lock()
	defer w.handMu.Unlock()
	seen := map[string]int{}
	for _, e := range elements {
		name := nameOf(e)
		if seen[name]++; seen[name] > w.hand[name] {
			orphans = append(orphans, e)
		}
	}
	return orphans
}

func nameOf(e redisx.Element) string { return e.List + "\x00" + string(e.Payload) }

func (it *item) name() string { return nameOf(it.element) }

// handle writes rows, finds out whom events are for, and gives their messages to the
// outlets.
func (w *worker) handle(ctx context.Context, items []*item) {
	if len(items) == 0 {
		return
	}
	unknown := map[*item]error{}
	for _, it := range items {
		if err := w.address(ctx, it); err != nil {
			unknown[it] = err
		}
	}
	known := func(items []*item) (ready []*item) {
		for _, it := range items {
			// An event waits behind those of its id.
			if err := unknown[it]; w.parked[it.event.Id] || len(w.held) >= maxHeld && (err != nil || w.heldIDs[it.event.Id]) {
				w.park(it)
				continue
			} else if err != nil || w.heldIDs[it.event.Id] {
				w.hold(it, err)
				continue
			}
			ready = append(ready, it)
		}
		return ready
	}
	saved, unsaved := w.save(ctx, items)
	failpoint.Reached("alarm.saved")
	w.remember(ctx, saved)
	w.route(ctx, known(saved))
	w.tellWithoutRows(ctx, known(unsaved))
}

// mayTell says whether somebody may have to be told.
func (it *item) mayTell() bool { return it.event.ActionId() > 0 && it.event.Closed == "" }

// nobody is the action of events for nobody.
var nobody = &portal.Action{}

// address finds out whom an event is for. An error says that nobody knows now.
func (w *worker) address(ctx context.Context, it *item) error {
	if !it.mayTell() || it.action != nil {
		return nil
	}
	action, err := w.a.people.Action(ctx, it.event.ActionId())
	if errors.Is(err, portal.ErrNotFound) {
		it.action = nobody
		return nil
	}
	if err != nil {
		return fmt.Errorf("action %d: %w", it.event.ActionId(), err)
	}
	var people []sender.Person
	if teams := names(action.UIC); len(teams) > 0 {
		if people, err = w.a.people.Users(ctx, teams); err != nil {
			return fmt.Errorf("teams %q: %w", action.UIC, err)
		}
	}
	it.action, it.people = &action, people
	return nil
}

// save writes the rows of items and returns those that could be written, and those that
// can not be since the database is away for too long. An event that a living database does
// not take is dead.
func (w *worker) save(ctx context.Context, items []*item) (kept, unsaved []*item) {
	saved := func(ctx context.Context, items []*item) error {
		events := make([]portal.AlarmEvent, len(items))
		for i, it := range items {
			events[i] = portal.AlarmEvent{Event: it.event}
			if it.action != nil {
				events[i].Teams = append([]string{}, names(it.action.UIC)...)
			}
		}
		all, err := w.a.deps.DB.SaveEvents(ctx, events)
		for i := range all {
			if items[i].saved == nil {
				items[i].saved = &all[i]
			}
		}
		return err
	}
	refused := false
	switch w.patient(ctx, writeEvents, func(ctx context.Context) error {
		err := saved(ctx, items)
		if refused = portal.Refused(err); refused {
			return nil
		}
		return err
	}) {
	case stopped:
		w.drop(items)
		return nil, nil
	case away:
		return nil, items
	}
	if !refused {
		return items, nil
	}
	var good []*item
	for i, it := range items {
		var bad error
		switch w.patient(ctx, writeEvents, func(ctx context.Context) error {
			err := saved(ctx, []*item{it})
			if portal.Refused(err) {
				bad, err = err, nil
			}
			return err
		}) {
		case stopped:
			w.drop(items[i:])
			return good, nil
		case away:
			return good, items[i:]
		}
		if bad != nil {
			w.kill(ctx, it, fmt.Sprintf("the database does not take it: %v", bad))
			continue
		}
		good = append(good, it)
	}
	return good, nil
}

// kill puts an event into the list of dead ones.
func (w *worker) kill(ctx context.Context, it *item, reason string) {
	if it.part.queue.Move(ctx, w.a.bury(it.element, reason)) != nil {
		w.suspect.Store(true) // it comes again
	}
	w.letUntold(it, untoldDead)
}

// drop lets go of items that stay in flight: they are given back with their parts.
func (w *worker) drop(items []*item) {
	for _, it := range items {
		w.letUntold(it, untoldStop)
	}
	if len(items) > 0 {
		w.suspect.Store(true)
	}
}

// Why an event leaves a hand untold.
const (
	untoldDead   = "dead"   // nobody ever can
	untoldStop   = "stop"   // alarm stops, or what it needs does not answer
	untoldPart   = "part"   // its part is another alarm's
	untoldParked = "parked" // nobody knows whom it is for, as of many others
)

// letUntold lets go of an item that is not told.
func (w *worker) letUntold(it *item, reason string) {
	w.a.untold.Add(reason, 1)
	w.release(it)
}

func (w *worker) release(it *item) {
	it.part.inHand.Add(-1)
	w.inHand.Add(-1)
	if it.owed != nil {
		w.owing.Add(-1)
	}
	w.bytes.Add(-int64(len(it.element.Payload)))
	w.handMu.Lock()
	defer w.handMu.Unlock()
	if name := it.name(); w.hand[name] > 1 {
		w.hand[name]--
	} else {
		delete(w.hand, name)
	}
}

// hold keeps an item until somebody says whom it is for.
func (w *worker) hold(it *item, err error) {
	if len(w.held) == 0 {
		w.heldPause = time.Second
		w.heldRetry = time.Now().Add(w.heldPause)
	}
	w.held = append(w.held, it)
	w.heldIDs[it.event.Id] = true
	w.a.heldN.Add(1)
	if err != nil {
		w.a.trouble.Set(w.a.log, "something is tried again until it works", "ask whom events are for", err)
	}
}

// park leaves an event in flight until fewer are held.
func (w *worker) park(it *item) {
	if w.parked == nil {
		w.parked = map[string]bool{}
	}
	w.parked[it.event.Id] = true
	w.parkedN++
	w.parkedBytes += len(it.element.Payload)
	w.letUntold(it, untoldParked)
}

// retryHeld asks again whom the held events are for.
func (w *worker) retryHeld(ctx context.Context) {
	if len(w.held) == 0 || time.Now().Before(w.heldRetry) {
		return
	}
	held := w.held
	w.heldPause = min(2*w.heldPause, 30*time.Second)
	w.heldRetry = time.Now().Add(w.heldPause)
	var ready []*item
	var still []*item
	waiting := map[string]bool{}
	var last error
	for _, it := range held {
		err := w.address(ctx, it)
		switch {
		case err == nil && !waiting[it.event.Id]:
			ready = append(ready, it)
		case w.a.now().Sub(it.since) > heldFor:
			w.a.heldN.Add(-1)
			w.kill(ctx, it, fmt.Sprintf("for an hour nobody knew whom it is for: %v", err))
		default:
			waiting[it.event.Id] = true
			still = append(still, it)
			if err != nil {
				last = err
			}
		}
	}
	w.held, w.heldIDs = still, waiting
	w.a.heldN.Add(-int64(len(ready)))
	if last == nil {
		w.a.trouble.Clear("ask whom events are for")
	}
	for chunk := range slices.Chunk(ready, batch) {
		// With the teams that are known now.
		saved, unsaved := w.save(ctx, chunk)
		w.route(ctx, saved)
		w.tellWithoutRows(ctx, unsaved)
	}
}

// dropHeld lets go of all held items.
func (w *worker) dropHeld() { w.dropSome(untoldStop, func(*item) bool { return true }) }

// giveUpHeld lets go of the held items of a part.
func (w *worker) giveUpHeld(p *part) {
	w.dropSome(untoldPart, func(it *item) bool { return it.part == p })
}

func (w *worker) dropSome(reason string, which func(*item) bool) {
	if len(w.held) == 0 {
		return
	}
	w.heldIDs = map[string]bool{}
	w.held = slices.DeleteFunc(w.held, func(it *item) bool {
		if which(it) {
			w.letUntold(it, reason)
			w.a.heldN.Add(-1)
			return true
		}
		w.heldIDs[it.event.Id] = true
		return false
	})
	if len(w.held) == 0 {
		w.a.trouble.Clear("ask whom events are for")
	}
}

// finishDone takes events that are told out of flight.
func (w *worker) finishDone() {
	for {
		items := w.done.take(w.a.flush, batch)
		if items == nil {
			return
		}
		by := map[*part][]redisx.Element{}
		for _, it := range items {
			by[it.part] = append(by[it.part], it.element)
		}
		for p, elements := range by {
			w.forget(w.a.hard, p, elements)
		}
		w.a.told.Add(len(items))
		for _, it := range items {
			w.release(it)
		}
	}
}

// forget takes elements out of flight. When that can not be done, what is in flight is
// looked at again once nothing is in hand.
func (w *worker) forget(ctx context.Context, p *part, elements []redisx.Element) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := p.queue.Done(ctx, elements...)
		if err == nil {
			failpoint.Reached("alarm.forgotten")
			return
		}
		if p.lost.Load() || !run.Sleep(ctx, pause) {
			w.suspect.Store(true)
			return
		}
	}
}
