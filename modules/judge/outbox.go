package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/redisx"
)

// outbox is the events that Redis does not have yet, and the last one of each rule on
// each series, for the day on which Redis loses its memory.
type outbox struct {
	now    func() time.Time
	closed bool          // nobody takes events: alarm.enabled is false
	wake   chan struct{} // something was put

	mu    sync.Mutex
	seq   uint64
	last  map[string]*told // by event id and action
	acks  map[string]acked // of problems that somebody works on, by the same
	queue []*told          // in order, from the moment they are told
	epoch string           // the memory of Redis that has the events so far
}

func newOutbox(now func() time.Time, closed bool) *outbox {
	return &outbox{now: now, closed: closed, wake: make(chan struct{}, 1), last: map[string]*told{}, acks: map[string]acked{}}
}

func (t *told) key() string { return t.Event.Id + "|" + strconv.Itoa(t.Event.ActionId()) }

// tell gives an event its number; put lets it out.
func (o *outbox) tell(ev *model.Event, typ string) *told {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq++
	t := &told{Seq: o.seq, At: o.now().Unix(), Type: typ, Event: ev, Pushed: o.closed}
	o.last[t.key()] = t
	delete(o.acks, t.key()) // its end, or the first of another problem
	if !o.closed {
		o.queue = append(o.queue, t)
	}
	return t
}

// adopt notes an event that another judge has pushed.
func (o *outbox) adopt(ev *model.Event, typ string) *told {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq++
	t := &told{Seq: o.seq, At: ev.EventTime, Type: typ, Event: ev, Pushed: true, written: true}
	o.last[t.key()] = t
	delete(o.acks, t.key())
	return t
}

// release forgets the last event of a rule that another judge goes on with; end is what
// the journal is to have in its place.
func (o *outbox) release(end *model.Event, typ string) *told {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq++
	t := &told{Seq: o.seq, Type: typ, Event: end, Pushed: true, written: true}
	delete(o.last, t.key())
	delete(o.acks, t.key())
	return t
}

// acknowledge notes who works on the open problems that a means, and returns how many
// events there have been.
func (o *outbox) acknowledge(a acked) (seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(a)
	return o.seq
}

func (o *outbox) note(a acked) {
	for key, t := range o.last {
		ev := t.Event
		if ev.Status != model.StatusProblem || a.Event != "" && ev.Id != a.Event || model.PK(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags)) != a.PK {
			continue
		}
		if a.Undo {
			delete(o.acks, key)
		} else {
			o.acks[key] = a
		}
	}
}

// newer says whether an event of those that a means was made after it.
func (o *outbox) newer(a *acked) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.last {
		ev := t.Event
		if t.Seq > a.Told && (a.Event == "" || ev.Id == a.Event) && model.PK(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags)) == a.PK {
			return true
		}
	}
	return false
}

// put lets events out.
func (o *outbox) put(events []*told) {
	if len(events) == 0 || o.closed {
		return
	}
	o.mu.Lock()
	for _, t := range events {
		t.written = true
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// front returns the first n events at most that may go out.
func (o *outbox) front(n int) []*told {
	o.mu.Lock()
	defer o.mu.Unlock()
	n = min(n, len(o.queue))
	if i := slices.IndexFunc(o.queue[:n], func(t *told) bool { return !t.written }); i >= 0 {
		n = i
	}
	return slices.Clone(o.queue[:n])
}

// ready says whether an event may go out.
func (o *outbox) ready() bool { return len(o.front(1)) > 0 }

// drop removes the first n events.
func (o *outbox) drop(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.queue[:n])
	o.queue = o.queue[n:]
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

// again puts events before the others that Redis may have lost: those of the last
// minute, since its own log may be two seconds behind, and with fresh, when its memory
// is another one, each open problem and what is younger than an hour. What Redis has
// it drops.
func (o *outbox) again(fresh bool) {
	now := o.now().Unix()
	o.mu.Lock()
	defer o.mu.Unlock()
	waits := map[uint64]bool{}
	for _, t := range o.queue {
		waits[t.Seq] = true
	}
	var first []*told
	for _, t := range o.last {
		lost := now-t.At <= 60 || fresh && (t.Event.Status == model.StatusProblem || now-t.At <= 3600)
		if lost && !waits[t.Seq] {
			first = append(first, t)
		}
	}
	slices.SortFunc(first, func(a, b *told) int { return int(a.Seq) - int(b.Seq) })
	o.queue = append(first, o.queue...)
}

// forget drops the last events that nobody asks for again: ends of problems, an hour
// old.
func (o *outbox) forget() {
	now := o.now().Unix()
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, t := range o.last {
		if t.Event.Status != model.StatusProblem && now-t.At > 3600 {
			delete(o.last, k)
			delete(o.acks, k)
		}
	}
}

// state returns the events that a restart needs, in order, each marked when Redis has
// it, and the memory of Redis.
func (o *outbox) state() (events []*told, epoch string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waits := map[uint64]bool{}
	for _, t := range o.queue {
		waits[t.Seq] = true
		waiting := *t
		waiting.Pushed = false
		o.sign(&waiting)
		events = append(events, &waiting)
	}
	for _, t := range o.last {
		if !waits[t.Seq] {
			pushed := *t
			pushed.Pushed = true
			o.sign(&pushed)
			events = append(events, &pushed)
		}
	}
	slices.SortFunc(events, func(a, b *told) int { return int(a.Seq) - int(b.Seq) })
	return events, o.epoch
}

// sign notes in an event of a snapshot who works on its problem.
func (o *outbox) sign(t *told) {
	if l := o.last[t.key()]; l != nil && l.Seq == t.Seq {
		if a, ok := o.acks[t.key()]; ok {
			t.Acked = &a
		}
	}
}

// recover takes an event of the last run and says whether it is the last of its rule
// on its series.
func (o *outbox) recover(t *told) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq = max(o.seq, t.Seq)
	newest := true
	if l := o.last[t.key()]; l != nil && l.Seq > t.Seq {
		newest = false
	} else {
		o.last[t.key()] = t
		delete(o.acks, t.key())
		if t.Acked != nil && t.Event.Status == model.StatusProblem {
			o.acks[t.key()] = *t.Acked
		}
	}
	if t.written = true; t.Pushed || o.closed {
		return newest
	}
	i := len(o.queue)
	for i > 0 && o.queue[i-1].Seq > t.Seq { // records are nearly in order
		i--
	}
	if i == 0 || o.queue[i-1].Seq != t.Seq {
		o.queue = slices.Insert(o.queue, i, t)
	}
	return newest
}

// pushed takes an event off the queue that Redis had in the last run.
func (o *outbox) pushed(seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	// They were pushed in order: it is at or near the front.
	if len(o.queue) > 0 && o.queue[0].Seq == seq {
		o.queue = o.queue[1:]
	} else if i := slices.IndexFunc(o.queue, func(t *told) bool { return t.Seq == seq }); i >= 0 {
		o.queue = slices.Delete(o.queue, i, i+1)
	}
}

const (
	seenTTL = 24 * time.Hour
	// pushBatch is how many events are marked as pushed in one record.
	pushBatch = 100
)

// push brings events to Redis in order. While Redis is away they wait.
func (j *Judge) push(ctx context.Context) error {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	met := ""             // the memory that was met
	for away := true; ; { // at start, too, the memory of Redis is looked at
		if away {
			if epoch, err := j.meetRedis(ctx, met); err == nil {
				met, away = epoch, false
			}
		}
		for !away && j.out.ready() {
			if err := j.pushSome(ctx, met); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				away = true
				j.log.Warn("redis takes no events, they wait in the journal", "waiting", j.out.waiting(), "err", err)
			}
		}
		if !away {
			j.settle(met)
		}
		select {
		case <-j.out.wake:
		case <-retry.C:
			j.out.forget()
			if epoch, _, err := j.redis.Epoch(ctx); err != nil || epoch != met {
				away = true // to learn, when it is back, what it has forgotten
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// meetRedis looks whether Redis has the memory that it had, and queues what it lost.
// met is the memory that it had when it was met last in this run.
func (j *Judge) meetRedis(ctx context.Context, met string) (epoch string, err error) {
	epoch, made, err := j.redis.Epoch(ctx)
	if err != nil {
		return "", err
	}
	j.out.mu.Lock()
	before := j.out.epoch
	j.out.mu.Unlock()
	fresh := made || before != "" && before != epoch || met != "" && met != epoch
	j.out.again(fresh)
	if before != epoch {
		j.log.Info("redis takes events", "new_memory", fresh, "waiting", j.out.waiting())
	}
	return epoch, nil
}

// settle remembers the memory of Redis once it has the events: a judge that is killed
// before begins again.
func (j *Judge) settle(epoch string) {
	j.out.mu.Lock()
	before := j.out.epoch
	j.out.epoch = epoch
	j.out.mu.Unlock()
	if before != epoch {
		b := j.begin()
		b.recorder.epoch(epoch)
		_ = b.commit() // remembered for this run at least
	}
}

// pushSome pushes the first events into the memory epoch of Redis and marks them.
func (j *Judge) pushSome(ctx context.Context, epoch string) error {
	some := j.out.front(pushBatch)
	n := 0
	var err error
	for _, t := range some {
		if err = j.pushOne(ctx, t, epoch); err != nil {
			break
		}
		n++
	}
	if n > 0 {
		j.out.drop(n)
		b := j.begin()
		for _, t := range some[:n] {
			b.recorder.pushed(t.Seq)
		}
		_ = b.commit() // unmarked, it is pushed once more at the next start, which Redis drops
	}
	return err
}

func (j *Judge) pushOne(ctx context.Context, t *told, epoch string) error {
	raw, err := json.Marshal(t.Event)
	if err != nil {
		j.log.Error("an event can not be written and is dropped", "id", t.Event.Id, "err", err)
		return nil
	}
	list := fmt.Sprintf(j.cfg.Alarm.QueuePattern, t.Event.Priority())
	seen := redisx.EventSeen(list, t.Event.Id, t.Event.Status, t.Event.EventTime, t.Event.CurrentStep, t.Event.ActionId())
	_, err = j.redis.PushOnce(ctx, list, seen, epoch, seenTTL, raw)
	return err
}
