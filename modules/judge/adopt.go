package judge

import (
	"context"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/modules/judge/core"
)

// adopt is Judge.Adopt: it takes over open problems that this judge has not heard of, so
// that the next point of a series ends its problem, or goes on with the next step, instead
// of telling it from the beginning. Nothing is told by it. The answer is given once the
// journal has them.
func (j *Judge) adopt(_ context.Context, _ *rpc.Conn, items *[]*model.AdoptItem) (*model.AdoptReply, error) {
	if err := j.busy(); err != nil {
		return nil, err
	}
	reply := &model.AdoptReply{Adopted: []string{}}
	b, committed := j.begin(), false
	defer b.abandon(&committed)
	for _, it := range *items {
		if adoptable(it) && b.adopt(it) {
			reply.Adopted = append(reply.Adopted, it.Event.Id)
		}
		b.cut()
	}
	committed = true
	if err := b.commit(); err != nil {
		return nil, err
	}
	j.log.Info("open problems were taken over", "n", len(reply.Adopted), "offered", len(*items))
	return reply, nil
}

// adoptable says whether an item is an open problem of a plain rule.
func adoptable(it *model.AdoptItem) bool {
	if it == nil {
		return false
	}
	ev := &it.Event
	return (ev.Strategy == nil) != (ev.Expression == nil) && ev.Status == model.StatusProblem && ev.CurrentStep > 0 && ev.EventTime > 0 &&
		ev.Endpoint != "" && ev.Metric() != "" && len(ev.Endpoint) <= core.MaxName && len(ev.Metric()) <= core.MaxName && tagsLength(ev.PushedTags) <= core.MaxName
}

func (b *batch) adopt(it *model.AdoptItem) bool {
	j, ev := b.j, &it.Event
	for {
		// Of which type it is the next point says.
		e := j.table.findKind(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags), model.Gauge, ev.PushedTags, ev.Texts(), nil)
		e.shard.mu.Lock()
		if e.gone {
			e.shard.mu.Unlock()
			continue
		}
		defer e.shard.mu.Unlock()
		if !e.Adopt(ev, it.Acked) {
			return false
		}
		e.seen, e.last = b.wall, b.done
		t := j.out.adopt(ev, e.typ)
		if it.Acked {
			t.Acked = &acked{PK: e.PK(), Event: ev.Id, At: b.wall}
			j.out.acknowledge(*t.Acked)
		}
		if err := b.recorder.told(t); err != nil {
			j.log.Error("a problem that was taken over can not be written", "id", ev.Id, "err", err)
		}
		return true
	}
}
