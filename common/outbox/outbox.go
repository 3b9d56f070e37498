// Package outbox brings events to the lists that alarm reads (contract alerting 4.1), for
// those who have a journal: a judge and a plus_judge. An event is in the journal before it
// is pushed and is marked there afterwards, so the journal is the outbox, and a kill at any
// moment loses none.
//
//	Tell ──> journal ──> Put ──> Run ──> Redis event:pN ──> Options.Pushed ──> journal
//
// Redis takes an event once, however often it is pushed (redisx.PushOnce). So what it may
// have lost is simply pushed again: at start and after each time that it was away the
// events of the last minute, since an append-only file may be two seconds behind; and when
// its memory is another one (the key falcon:epoch says so), each open problem and all that
// is younger than an hour.
package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/stat"
)

// Told is an event on its way out, and the last one of its rule and series. It is not
// changed once it is made.
type Told struct {
	Seq   uint64       `json:"seq"`  // 1 is the first of a journal
	At    int64        `json:"at"`   // when it was made, Unix seconds
	Type  string       `json:"type"` // of the series, as pushed; empty where there is no one series
	Event *model.Event `json:"event"`
	// Pushed says that Redis has it; in snapshots only, else a record of its own does.
	Pushed bool `json:"pushed,omitempty"`

	written bool // the journal had its say: it may go out; the lock of the Box guards it
}

// Key names what an event is the last one of: its id and its action.
func (t *Told) Key() string { return t.Event.Id + "|" + strconv.Itoa(t.Event.ActionId()) }

// Options are what an outbox needs.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// Redis is where events go; nil when nobody takes any: then none waits.
	Redis *redisx.Pool
	// QueuePattern names the list of a priority, such as event:p%v.
	QueuePattern string
	// Max is how many events wait before Room has none.
	Max int
	// Pushed notes in the journal that Redis has events. One that is not noted is pushed
	// once more by the next run, which Redis drops.
	Pushed func(seqs []uint64)
	// Met notes in the journal the memory of Redis that has the events so far.
	Met func(epoch string)
}

// A Box is the events that Redis does not have yet, in order, and the last one of each
// key, for the day on which Redis loses its memory.
type Box struct {
	opts Options
	wake chan struct{} // something was put

	mu    sync.Mutex
	seq   uint64
	last  map[string]*Told
	queue []*Told // from the moment they are told
	epoch string  // the memory of Redis that has the events so far
	away  error   // why Redis takes nothing; nil while it does

	recovered, repeated, pushed, lost int64 // events, since the start: see Count
}

// New returns an empty outbox. It starts nothing.
func New(opts Options) *Box {
	return &Box{opts: opts, wake: make(chan struct{}, 1), last: map[string]*Told{}}
}

// Count makes the counters of what becomes of events; told are those of the events that
// were made. While nothing moves
//
//	told + event.recovered + event.again = event.pushed + event.unwritable + event.spool + event.discarded
func (b *Box) Count(s *stat.Set) {
	of := func(n *int64) func() int64 {
		return func() int64 {
			b.mu.Lock()
			defer b.mu.Unlock()
			return *n
		}
	}
	s.CounterFunc("event.recovered", "recovered_events_total", "Events of the last run that Redis did not have.", of(&b.recovered))
	s.CounterFunc("event.again", "repeated_events_total", "Events that are pushed once more, since Redis may have lost them; it drops those that it has.", of(&b.repeated))
	s.CounterFunc("event.pushed", "pushed_events_total", "Events that Redis has taken.", of(&b.pushed))
	s.CounterFunc("event.unwritable", "unwritable_events_total", "Events that can not be written, and are lost.", of(&b.lost))
	s.GaugeFunc("event.spool", "waiting_events", "Events that Redis does not have yet.", func() float64 { return float64(b.Waiting()) })
}

// Closed says that nobody takes events.
func (b *Box) Closed() bool { return b.opts.Redis == nil }

// Tell gives an event its number; Put lets it out.
func (b *Box) Tell(ev *model.Event, typ string) *Told {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	t := &Told{Seq: b.seq, At: b.opts.Now().Unix(), Type: typ, Event: ev, Pushed: b.Closed()}
	b.last[t.Key()] = t
	if !b.Closed() {
		b.queue = append(b.queue, t)
	}
	return t
}

// Adopt notes an event that another one has pushed.
func (b *Box) Adopt(ev *model.Event, typ string) *Told {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	t := &Told{Seq: b.seq, At: ev.EventTime, Type: typ, Event: ev, Pushed: true, written: true}
	b.last[t.Key()] = t
	return t
}

// Release forgets the last event of a rule that another one goes on with; end is what the
// journal is to have in its place.
func (b *Box) Release(end *model.Event, typ string) *Told {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	t := &Told{Seq: b.seq, Type: typ, Event: end, Pushed: true, written: true}
	delete(b.last, t.Key())
	return t
}

// Put lets events out that the journal has, or will not take.
func (b *Box) Put(events []*Told) {
	if len(events) == 0 || b.Closed() {
		return
	}
	b.mu.Lock()
	for _, t := range events {
		t.written = true
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Last calls fn with the last event of each key, under the lock of the outbox, and returns
// how many events there have been.
func (b *Box) Last(fn func(*Told)) (seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.last {
		fn(t)
	}
	return b.seq
}

// Waiting returns how many events Redis does not have yet.
func (b *Box) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}

// Room says why nothing should be taken that may make events: Redis takes none, and as
// many wait as should. What a batch makes that was taken before comes on top.
func (b *Box) Room() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Closed() || len(b.queue) < b.opts.Max {
		return nil
	}
	return fmt.Errorf("%d events wait for redis (alarm.maxWaiting): %w", len(b.queue), cmp.Or(b.away, errBehind))
}

var errBehind = errors.New("it takes them, and is behind")

// Notes says in words, for /health, that events wait.
func (b *Box) Notes() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away == nil {
		return nil
	}
	return []string{fmt.Sprintf("redis takes no events: %d wait in the journal: %v", len(b.queue), b.away)}
}

func (b *Box) setAway(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = err
}

// Forget drops the last events that nobody asks for again: ends of problems, an hour old.
func (b *Box) Forget() {
	now := b.opts.Now().Unix()
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, t := range b.last {
		if t.Event.Status != model.StatusProblem && now-t.At > 3600 {
			delete(b.last, k)
		}
	}
}

// State returns copies of the events that a restart needs, in order, each marked when
// Redis has it, and the memory of Redis, empty when none was met.
func (b *Box) State() (events []*Told, epoch string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	waits := b.waits()
	for _, t := range b.queue {
		waiting := *t
		waiting.Pushed = false
		events = append(events, &waiting)
	}
	for _, t := range b.last {
		if !waits[t.Seq] {
			pushed := *t
			pushed.Pushed = true
			events = append(events, &pushed)
		}
	}
	slices.SortFunc(events, bySeq)
	return events, b.epoch
}

func (b *Box) waits() map[uint64]bool {
	waits := make(map[uint64]bool, len(b.queue))
	for _, t := range b.queue {
		waits[t.Seq] = true
	}
	return waits
}

func bySeq(a, b *Told) int { return cmp.Compare(a.Seq, b.Seq) }

// Recover takes an event of the last run, and says whether it is news: a snapshot and the
// journal after it may both have an event, and a newer one of its key may be known.
func (b *Box) Recover(t *Told) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq = max(b.seq, t.Seq)
	if l := b.last[t.Key()]; l == nil || l.Seq < t.Seq {
		b.last[t.Key()] = t
		news = true
	}
	if t.written = true; t.Pushed || b.Closed() {
		return news
	}
	i := len(b.queue)
	for i > 0 && b.queue[i-1].Seq > t.Seq { // records are nearly in order
		i--
	}
	if i == 0 || b.queue[i-1].Seq != t.Seq {
		b.queue = slices.Insert(b.queue, i, t)
		b.recovered++
	}
	return news
}

// RecoverPushed takes events off the queue that Redis had in the last run.
func (b *Box) RecoverPushed(seqs ...uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, seq := range seqs {
		// They were pushed in order: it is at or near the front.
		if len(b.queue) > 0 && b.queue[0].Seq == seq {
			b.queue = b.queue[1:]
			b.recovered--
		} else if i := slices.IndexFunc(b.queue, func(t *Told) bool { return t.Seq == seq }); i >= 0 {
			b.queue = slices.Delete(b.queue, i, i+1)
			b.recovered--
		}
	}
}

// RecoverMet takes the memory of Redis that had the events in the last run.
func (b *Box) RecoverMet(epoch string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epoch = epoch
}

// front returns the first n events at most that may go out.
func (b *Box) front(n int) []*Told {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.queue))
	if i := slices.IndexFunc(b.queue[:n], func(t *Told) bool { return !t.written }); i >= 0 {
		n = i
	}
	return slices.Clone(b.queue[:n])
}

// drop removes the first n events; Redis has them all but for those that are lost.
func (b *Box) drop(n, lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.queue[:n])
	b.queue = b.queue[n:]
	b.pushed += int64(n - lost)
	b.lost += int64(lost)
}

// again puts events before the others that Redis may have lost; fresh says that its memory
// is another one.
func (b *Box) again(fresh bool) {
	now := b.opts.Now().Unix()
	b.mu.Lock()
	defer b.mu.Unlock()
	waits := b.waits()
	var first []*Told
	for _, t := range b.last {
		lost := now-t.At <= 60 || fresh && (t.Event.Status == model.StatusProblem || now-t.At <= 3600)
		if lost && !waits[t.Seq] {
			first = append(first, t)
		}
	}
	slices.SortFunc(first, bySeq)
	b.queue = append(first, b.queue...)
	b.repeated += int64(len(first))
}

const (
	seenTTL = 24 * time.Hour
	// pushBatch is how many events are marked as pushed in one record.
	pushBatch = 100
)

// Run brings events to Redis in order, until ctx ends. While Redis is away they wait.
func (b *Box) Run(ctx context.Context) error {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	met := ""             // the memory that was met
	for away := true; ; { // at start, too, the memory of Redis is looked at
		if away {
			epoch, err := b.meet(ctx, met)
			if err == nil {
				met, away = epoch, false
			}
			b.setAway(err)
		}
		for !away && len(b.front(1)) > 0 {
			if err := b.push(ctx, met); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				away = true
				b.setAway(err)
				b.opts.Log.Warn("redis takes no events, they wait in the journal", "waiting", b.Waiting(), "err", err)
			}
		}
		if !away {
			b.settle(met)
		}
		select {
		case <-b.wake:
		case <-retry.C:
			b.Forget()
			if epoch, _, err := b.opts.Redis.Epoch(ctx); err != nil || epoch != met {
				away = true // to learn, when it is back, what it has forgotten
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// meet looks whether Redis has the memory that it had, and queues what it may have lost.
// met is the memory that it had when it was met last in this run.
func (b *Box) meet(ctx context.Context, met string) (epoch string, err error) {
	epoch, made, err := b.opts.Redis.Epoch(ctx)
	if err == nil {
		err = b.roomFor(ctx, b.front(1))
	}
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	before := b.epoch
	b.mu.Unlock()
	fresh := made || before != "" && before != epoch || met != "" && met != epoch
	b.again(fresh)
	if before != epoch {
		b.opts.Log.Info("redis takes events", "new_memory", fresh, "waiting", b.Waiting())
	}
	return epoch, nil
}

// settle remembers the memory of Redis once it has the events: who is killed before begins
// again.
func (b *Box) settle(epoch string) {
	b.mu.Lock()
	before := b.epoch
	b.epoch = epoch
	b.mu.Unlock()
	if before != epoch {
		b.opts.Met(epoch)
	}
}

// push brings the first events into the memory epoch of Redis and marks them.
func (b *Box) push(ctx context.Context, epoch string) (err error) {
	var done []uint64
	lost := 0
	events := b.front(pushBatch)
	if err := b.roomFor(ctx, events); err != nil {
		return err
	}
	for _, t := range events {
		raw, unwritable := json.Marshal(t.Event)
		if unwritable != nil {
			b.opts.Log.Error("an event can not be written and is dropped", "id", t.Event.Id, "err", unwritable)
			lost++
		} else if err = b.pushOne(ctx, t.Event, raw, epoch); err != nil {
			break
		}
		done = append(done, t.Seq)
	}
	if len(done) > 0 {
		b.drop(len(done), lost)
		b.opts.Pushed(done)
		failpoint.Reached("outbox.marked")
	}
	return err
}

// roomFor says that Redis should not be given events, the first of which waits longest.
func (b *Box) roomFor(ctx context.Context, events []*Told) error {
	if len(events) == 0 {
		return nil
	}
	return b.opts.Redis.Room(ctx, b.list(events[0].Event))
}

// list is where events of the priority of ev go.
func (b *Box) list(ev *model.Event) string { return fmt.Sprintf(b.opts.QueuePattern, ev.Priority()) }

func (b *Box) pushOne(ctx context.Context, ev *model.Event, raw []byte, epoch string) error {
	list := b.list(ev)
	seen := redisx.EventSeen(list, ev.Id, ev.Status, ev.EventTime, ev.CurrentStep, ev.ActionId())
	failpoint.Reached("outbox.pushing")
	_, err := b.opts.Redis.PushOnce(ctx, list, seen, epoch, seenTTL, raw)
	failpoint.Reached("outbox.pushed")
	return err
}
