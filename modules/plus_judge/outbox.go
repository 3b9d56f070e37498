package plusjudge

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

// told is an event on its way to Redis. It is not changed once it is made.
type told struct {
	seq   uint64
	at    int64 // when it was made, Unix seconds
	event *model.Event
}

func (t *told) key() string { return t.event.Id + "|" + strconv.Itoa(t.event.ActionId()) }

// outbox is the events that Redis does not have yet, in order, and the last one of each
// combination, for the day on which Redis loses its memory.
type outbox struct {
	now  func() time.Time
	wake chan struct{}

	mu    sync.Mutex
	last  map[string]*told
	queue []*told
	epoch string // the memory of Redis that has the events so far
}

func newOutbox(now func() time.Time) *outbox {
	return &outbox{now: now, wake: make(chan struct{}, 1), last: map[string]*told{}}
}

// put lets events out, and remembers them; waits says that Redis does not have them.
func (o *outbox) put(waits bool, events ...*told) {
	o.mu.Lock()
	for _, t := range events {
		if l := o.last[t.key()]; l == nil || l.seq < t.seq {
			o.last[t.key()] = t
		}
		if waits {
			o.queue = append(o.queue, t)
		}
	}
	o.mu.Unlock()
	if len(events) > 0 {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

// drop removes what Redis had in the last run.
func (o *outbox) drop(seqs ...uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = slices.DeleteFunc(o.queue, func(t *told) bool { return slices.Contains(seqs, t.seq) })
}

func (o *outbox) front(n int) []*told {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.queue[:min(n, len(o.queue))])
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

// again puts events before the others that Redis may have lost: those of the last
// minute, since its own log may be two seconds behind, and with fresh, when its memory
// is another one, each open problem and what is younger than an hour. What Redis has it
// drops.
func (o *outbox) again(fresh bool) {
	now := o.now().Unix()
	o.mu.Lock()
	defer o.mu.Unlock()
	var first []*told
	for _, t := range o.last {
		lost := now-t.at <= 60 || fresh && (t.event.Status == model.StatusProblem || now-t.at <= 3600)
		if lost && !slices.Contains(o.queue, t) {
			first = append(first, t)
		}
	}
	o.queue = append(first, o.queue...)
	slices.SortFunc(o.queue, func(a, b *told) int { return int(int64(a.seq) - int64(b.seq)) })
}

// forget drops ends of problems that nobody asks for again.
func (o *outbox) forget() {
	now := o.now().Unix()
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, t := range o.last {
		if t.event.Status != model.StatusProblem && now-t.at > 3600 {
			delete(o.last, k)
		}
	}
}

// state returns what a restart needs, in order: each event, whether Redis has it, and
// the memory of Redis.
func (o *outbox) state() (events []*told, pushed map[uint64]bool, epoch string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	pushed = map[uint64]bool{}
	for _, t := range o.last {
		pushed[t.seq] = true
		events = append(events, t)
	}
	for _, t := range o.queue {
		if !pushed[t.seq] {
			events = append(events, t)
		}
		pushed[t.seq] = false
	}
	slices.SortFunc(events, func(a, b *told) int { return int(int64(a.seq) - int64(b.seq)) })
	return events, pushed, o.epoch
}

const (
	seenTTL = 24 * time.Hour
	// pushBatch is how many events are marked as pushed in one record.
	pushBatch = 100
)

// push brings events to Redis in order. While Redis is away they wait.
func (p *PlusJudge) push(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	met := "" // the memory that was met in this run; empty while Redis is away
	for {
		if met == "" {
			met = p.meetRedis(ctx)
		}
		for met != "" && p.out.waiting() > 0 {
			if err := p.pushSome(ctx, met); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				p.log.Warn("redis takes no events, they wait in the journal", "waiting", p.out.waiting(), "err", err)
				met = ""
			}
		}
		if met != "" {
			p.settle(met)
		}
		select {
		case <-p.out.wake:
		case <-ticker.C:
			p.out.forget()
			if epoch, _, err := p.redis.Epoch(ctx); err != nil || epoch != met {
				met = "" // to learn, when it is back, what it has forgotten
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// meetRedis looks whether Redis has the memory that it had, and queues what it may have
// lost. It returns that memory, empty while Redis is away.
func (p *PlusJudge) meetRedis(ctx context.Context) string {
	epoch, made, err := p.redis.Epoch(ctx)
	if err != nil {
		return ""
	}
	p.out.mu.Lock()
	before := p.out.epoch
	p.out.mu.Unlock()
	fresh := made || before != "" && before != epoch
	p.out.again(fresh)
	if before != epoch {
		p.log.Info("redis takes events", "new_memory", fresh, "waiting", p.out.waiting())
	}
	return epoch
}

// settle remembers the memory of Redis once it has the events: a plus_judge that is
// killed before begins again.
func (p *PlusJudge) settle(epoch string) {
	p.out.mu.Lock()
	before := p.out.epoch
	p.out.epoch = epoch
	p.out.mu.Unlock()
	if before != epoch {
		_ = p.write(&record{Epoch: epoch}) // remembered for this run at least
	}
}

// pushSome pushes the first events into the memory epoch of Redis and marks them.
func (p *PlusJudge) pushSome(ctx context.Context, epoch string) (err error) {
	var done []uint64
	for _, t := range p.out.front(pushBatch) {
		raw, err1 := json.Marshal(t.event)
		if err1 != nil {
			p.log.Error("an event can not be written and is dropped", "id", t.event.Id, "err", err1)
		} else {
			list := fmt.Sprintf(p.cfg.Alarm.QueuePattern, t.event.Priority())
			seen := redisx.EventSeen(list, t.event.Id, t.event.Status, t.event.EventTime, t.event.CurrentStep, t.event.ActionId())
			if _, err = p.redis.PushOnce(ctx, list, seen, epoch, seenTTL, raw); err != nil {
				break
			}
		}
		done = append(done, t.seq)
	}
	if len(done) > 0 {
		p.out.drop(done...)
		_ = p.write(&record{Pushed: done}) // unmarked, they are pushed once more at the next start, which Redis drops
	}
	return err
}
