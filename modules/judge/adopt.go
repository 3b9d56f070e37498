package judge

import (
	"context"
	"log/slog"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/modules/judge/core"
)

// adopt is Judge.Adopt: it takes over what another judge told of series that this one has
// now, so that the next point of a series ends its problem, or goes on with the next step,
// instead of telling it from the beginning; or it lets go of what another judge has now.
// Nothing is told by it. The answer is given once the journal has it.
func (j *Judge) adopt(ctx context.Context, _ *rpc.Conn, items *[]*model.AdoptItem) (*model.AdoptReply, error) {
	if err := j.busy(); err != nil {
		return nil, err
	}
	reply := &model.AdoptReply{Adopted: []string{}, Refused: map[string]int{}}
	released := 0
	b, committed := j.begin(), false
	defer b.abandon(&committed)
	for _, it := range *items {
		refused := model.AdoptInvalid
		if adoptable(it) {
			refused = b.adopt(it)
		}
		switch {
		case refused != "":
			reply.Refused[refused]++
		case it.Release:
			released++
			fallthrough
		default:
			reply.Adopted = append(reply.Adopted, it.Event.Id)
		}
		b.cut()
	}
	committed = true
	if err := b.commit(); err != nil {
		return nil, err
	}
	level := slog.LevelDebug // alarm asks again and again whether it is known
	if len(reply.Adopted) > 0 {
		level = slog.LevelInfo
	}
	j.log.Log(ctx, level, "another judge's problems", "taken_over", len(reply.Adopted)-released, "released", released, "refused", reply.Refused)
	return reply, nil
}

// adoptable says whether an item is an event of a plain rule.
func adoptable(it *model.AdoptItem) bool {
	if it == nil {
		return false
	}
	ev := &it.Event
	return (ev.Strategy == nil) != (ev.Expression == nil) && (ev.Status == model.StatusProblem || ev.Status == model.StatusOK) && ev.CurrentStep > 0 && ev.EventTime > 0 &&
		ev.Endpoint != "" && ev.Metric() != "" && len(ev.Endpoint) <= core.MaxName && len(ev.Metric()) <= core.MaxName && tagsLength(ev.PushedTags) <= core.MaxName
}

// adopt does what an item says, and returns why it does not, "" when it does.
func (b *batch) adopt(it *model.AdoptItem) (refused string) {
	j, ev := b.j, &it.Event
	for {
		var e *entry
		if it.Release || ev.Status == model.StatusOK {
			if e = j.table.getKind(model.PK(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags)), ev.Texts()); e == nil {
				return model.AdoptNothing
			}
		} else {
			// Of which type it is the next point says.
			e = j.table.findKind(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags), model.Gauge, ev.PushedTags, ev.Texts(), nil)
		}
		e.shard.mu.Lock()
		if e.gone {
			e.shard.mu.Unlock()
			continue
		}
		defer e.shard.mu.Unlock()
		if it.Release {
			return b.release(e, ev)
		}
		if refused := e.Adopt(ev, it.Acked); refused != "" {
			return refused
		}
		if ev.Status == model.StatusProblem {
			e.seen = b.wall
		}
		e.last = b.done
		t := j.out.adopt(ev, e.typ)
		if it.Acked {
			t.Acked = &acked{PK: e.PK(), Event: ev.Id, By: it.AckedBy, At: b.wall}
			j.out.acknowledge(*t.Acked)
		}
		b.write(t)
		return ""
	}
}

// release forgets what was told of a rule on e. The journal has it as an end that Redis
// has already and that is too old to be told again, whatever Redis forgets.
func (b *batch) release(e *entry, ev *model.Event) (refused string) {
	if !e.Release(ev) {
		return model.AdoptNothing
	}
	end := *ev
	end.Status, end.CurrentStep, end.Closed = model.StatusOK, 1, closedMoved
	e.last = b.done
	b.write(b.j.out.release(&end, e.typ))
	return ""
}

// closedMoved is why a problem ends at a judge that does not have its series any more. It
// stands in the journal alone.
const closedMoved = "moved"

func (b *batch) write(t *told) {
	if err := b.recorder.told(t); err != nil {
		b.j.log.Error("an event of another judge can not be written", "id", t.Event.Id, "err", err)
	}
}
