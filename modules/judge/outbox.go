package judge

import (
	"sync"

	"falcon/common/model"
	"falcon/common/outbox"
)

// told is an event as the journal has it.
type told struct {
	*outbox.Told
	// Acked says who works on the problem; in snapshots only, else an item of its own does.
	Acked *acked `json:"acked,omitempty"`
}

// box is the outbox, and who works on which of its problems.
type box struct {
	*outbox.Box

	mu   sync.Mutex
	acks map[uint64]acked // by the number of the problem's last event: the next one ends it
}

func newBox(opts outbox.Options) *box {
	return &box{Box: outbox.New(opts), acks: map[uint64]acked{}}
}

// adopt notes an event that another judge has pushed.
func (b *box) adopt(ev *model.Event, typ string) *told { return &told{Told: b.Adopt(ev, typ)} }

// release forgets the last event of a rule that another judge goes on with; end is what
// the journal is to have in its place.
func (b *box) release(end *model.Event, typ string) *told {
	return &told{Told: b.Release(end, typ)}
}

// means says whether a is about the problems that ev is one of.
func (a *acked) means(ev *model.Event) bool {
	return (a.Event == "" || ev.Id == a.Event) && model.PK(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags)) == a.PK
}

// acknowledge notes who works on the open problems that a means, and returns how many
// events there have been.
func (b *box) acknowledge(a acked) (seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Last(func(t *outbox.Told) {
		switch {
		case t.Event.Status != model.StatusProblem || !a.means(t.Event):
		case a.Undo:
			delete(b.acks, t.Seq)
		default:
			b.acks[t.Seq] = a
		}
	})
}

// newer says whether an event of those that a means was made after it.
func (b *box) newer(a *acked) (newer bool) {
	b.Last(func(t *outbox.Told) { newer = newer || t.Seq > a.Told && a.means(t.Event) })
	return newer
}

// forgetAcks drops what is said of events that are not the last of their problem any more.
func (b *box) forgetAcks() {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := make(map[uint64]acked, len(b.acks))
	b.Last(func(t *outbox.Told) {
		if a, ok := b.acks[t.Seq]; ok {
			last[t.Seq] = a
		}
	})
	b.acks = last
}

// state returns the events that a restart needs, in order, each marked when Redis has it,
// and the memory of Redis.
func (b *box) state() (events []*told, epoch string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, epoch := b.State()
	for _, t := range all {
		signed := &told{Told: t}
		if a, ok := b.acks[t.Seq]; ok {
			signed.Acked = &a
		}
		events = append(events, signed)
	}
	return events, epoch
}

// recover takes an event of the last run and says whether it is news.
func (b *box) recover(t *told) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if news = b.Recover(t.Told); news && t.Acked != nil && t.Event.Status == model.StatusProblem {
		b.acks[t.Seq] = *t.Acked
	}
	return news
}
