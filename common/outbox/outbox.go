// Package outbox brings events to the lists that alarm reads (contract alerting 4.1), for
// those who have a journal: a judge and a plus_judge. An event is in the journal before it
// is pushed and is marked there afterwards, so the journal is the outbox, and a kill at any
// moment loses none.
//
//	Tell ──> journal ──> Put ──> Run ──> Redis event:pN ──> Options.Pushed ──> journal
//
// Redis takes an event once, however often it is pushed (redisx.PushOnce). So what it may
// have lost is simply pushed again. After a restart its append-only file may be two seconds
// behind, so all events that it took in the last seconds before it was away go again, in
// order, and at the start of a run those of the last minute of the run before. When its
// memory is another one (the key falcon:epoch says so), it gets the last event of each rule
// and series that is an open problem or younger than an hour.
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
	// Recent says of one that was pushed that Redis took it lately and may lose it.
	Recent bool `json:"recent,omitempty"`

	written bool      // the journal had its say: it may go out; the lock of the Box guards it
	taken   time.Time // when Redis took it in this run; guarded by the same
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
	// recent are the events that Redis has and may lose, as it took them.
	recent []*Told
	epoch  string // the memory of Redis that has the events so far
	away   error  // why Redis takes nothing; nil while it does

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
	b.leave(t)
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
	for _, t := range b.queue {
		waiting := *t
		waiting.Pushed = false
		events = append(events, &waiting)
	}
	recent := make(map[uint64]bool, len(b.recent))
	for _, t := range b.recent {
		recent[t.Seq] = true
	}
	for _, t := range b.others(func(*Told) bool { return true }) {
		pushed := *t
		pushed.Pushed, pushed.Recent = true, recent[t.Seq]
		events = append(events, &pushed)
	}
	slices.SortFunc(events, bySeq)
	return events, b.epoch
}

// others returns the events that do not wait, in order: the recent ones, and those of the last
// of each key for which last says so.
func (b *Box) others(last func(*Told) bool) (all []*Told) {
	seen := make(map[uint64]bool, len(b.queue))
	for _, t := range b.queue {
		seen[t.Seq] = true
	}
	add := func(t *Told) {
		if !seen[t.Seq] {
			seen[t.Seq] = true
			all = append(all, t)
		}
	}
	for _, t := range b.recent {
		add(t)
	}
	for _, t := range b.last {
		if last(t) {
			add(t)
		}
	}
	slices.SortFunc(all, bySeq)
	return all
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
	if t.written = true; b.Closed() {
		return news
	}
	switch {
	case t.Pushed && t.Recent:
		b.recall(t)
		return news
	case t.Pushed: // long ago, or by another one
		b.leave(t)
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
		i := slices.IndexFunc(b.queue, func(t *Told) bool { return t.Seq == seq })
		if i < 0 {
			continue
		}
		b.recall(b.queue[i])
		copy(b.queue[1:i+1], b.queue[:i])
		b.queue = b.queue[1:]
		b.recovered--
	}
}

// leave forgets recent events of a rule and series that another one has gone on with at t.
func (b *Box) leave(t *Told) {
	b.recent = slices.DeleteFunc(b.recent, func(r *Told) bool { return r.Seq < t.Seq && r.Key() == t.Key() })
}

// recall keeps an event that Redis had in the last run, and of those before it the ones of a
// minute: what was last is what Redis may lack, however long nobody ran.
func (b *Box) recall(t *Told) {
	b.recent = append(b.recent, t)
	old := 0
	for old < len(b.recent) && b.recent[old].At < t.At-60 {
		old++
	}
	b.recent = b.recent[old:]
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

// drop removes the first n events, of which Redis has taken some; the others are lost.
func (b *Box) drop(n int, taken []*Told) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.queue[:n])
	b.queue = b.queue[n:]
	b.pushed += int64(len(taken))
	b.lost += int64(n - len(taken))
	for _, t := range taken {
		t.taken = now
	}
	b.recent = append(b.recent, taken...)
}

// keeps says that Redis still has the memory that it had, so what it took long enough ago is
// in its file.
func (b *Box) keeps() {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	old := 0
	for old < len(b.recent) && now.Sub(b.recent[old].taken) > behind {
		old++
	}
	clear(b.recent[:old])
	b.recent = b.recent[old:]
}

// again puts events before the others that Redis may have lost; fresh says that its memory
// is another one.
func (b *Box) again(fresh bool) {
	now := b.opts.Now().Unix()
	b.mu.Lock()
	defer b.mu.Unlock()
	// Whoever takes events out knows for a day which it had.
	b.recent = slices.DeleteFunc(b.recent, func(t *Told) bool { return now-t.At > int64(seenTTL/time.Second)/2 })
	first := b.others(func(t *Told) bool {
		return now-t.At <= 60 || fresh && (t.Event.Status == model.StatusProblem || now-t.At <= 3600)
	})
	b.recent = nil
	b.queue = append(first, b.queue...)
	b.repeated += int64(len(first))
}

const (
	seenTTL = 24 * time.Hour
	// behind is more than Redis' file is behind what it has answered for, two seconds with
	// appendfsync everysec while a disk is slow.
	behind = 5 * time.Second
	// pushBatch is how many events are marked as pushed in one record.
	pushBatch = 100
)

// Run brings events to Redis in order, until ctx ends. While Redis is away they wait.
func (b *Box) Run(ctx context.Context) error {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	var met redisx.Memory // the one that was met
	for away := true; ; { // at start, too, the memory of Redis is looked at
		if away {
			m, err := b.meet(ctx, met)
			if err == nil {
				met, away = m, false
			}
			b.setAway(err)
		}
		for !away && len(b.front(1)) > 0 {
			if err := b.push(ctx, met.Epoch); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				away = true
				b.setAway(err)
				b.opts.Log.Warn("redis takes no events, they wait in the journal", "waiting", b.Waiting(), "err", err)
			}
		}
		if !away {
			b.settle(met.Epoch)
		}
		select {
		case <-b.wake:
		case <-retry.C:
			b.Forget()
			if m, err := b.opts.Redis.Memory(ctx); err != nil || m.Epoch != met.Epoch || m.Life != met.Life {
				away = true // to learn, when it is back, what it has forgotten
			} else {
				b.keeps()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// meet looks whether Redis has the memory that it had, and queues what it may have lost.
// met is the memory that it had when it was met last in this run.
func (b *Box) meet(ctx context.Context, met redisx.Memory) (redisx.Memory, error) {
	m, err := b.opts.Redis.Memory(ctx)
	if err == nil {
		err = b.roomFor(ctx, b.front(1))
	}
	if err != nil {
		return redisx.Memory{}, err
	}
	b.mu.Lock()
	before := b.epoch
	b.mu.Unlock()
	fresh := m.New || before != "" && before != m.Epoch || met.Epoch != "" && met.Epoch != m.Epoch
	b.again(fresh)
	if before != m.Epoch {
		b.opts.Log.Info("redis takes events", "new_memory", fresh, "waiting", b.Waiting())
	}
	return m, nil
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
	var taken []*Told
	events := b.front(pushBatch)
	if err := b.roomFor(ctx, events); err != nil {
		return err
	}
	for _, t := range events {
		raw, unwritable := json.Marshal(t.Event)
		if unwritable != nil {
			b.opts.Log.Error("an event can not be written and is dropped", "id", t.Event.Id, "err", unwritable)
		} else if err = b.pushOne(ctx, t.Event, raw, epoch); err != nil {
			break
		} else {
			taken = append(taken, t)
		}
		done = append(done, t.Seq)
	}
	if len(done) > 0 {
		b.drop(len(done), taken)
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
