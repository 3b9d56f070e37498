package alarm

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"falcon/common/redisx"
	"falcon/common/run"
)

// part is a part of the event ids while this alarm holds its lock.
type part struct {
	n       int
	queue   *redisx.Queue
	lock    *redisx.Lock
	renewed time.Time    // the manager's
	leaving atomic.Bool  // another alarm is to have it: nothing more is taken
	lost    atomic.Bool  // another alarm may have it already
	inHand  atomic.Int64 // events taken and not done
	gone    atomic.Bool  // the worker has let go of it
	unsure  atomic.Bool  // what is taken now may have been in somebody's hand before
	handed  atomic.Bool  // with events in hand: whoever has it now tells them
	left    time.Time    // when the worker saw that it is leaving; the worker's
}

// share is the part of the work of an alarm: each tick it takes the locks of the parts
// that are its own among the living alarms, and gives up the others.
func (a *Alarm) share(ctx, hard context.Context) error {
	members := a.deps.Redis.NewMembers(redisx.AlarmInstances, redisx.AlarmInstance, a.instance, a.lease)
	held := map[int]*part{}
	for {
		a.shareOnce(ctx, members, held)
		if !run.Sleep(ctx, a.lease/10) {
			break
		}
	}
	close(a.shared)
	// The locks stay until the workers have let go.
	for len(held) > 0 && hard.Err() == nil {
		for n, p := range held {
			p.leaving.Store(true)
			if p.gone.Load() {
				delete(held, n)
			} else if _, err := p.lock.Renew(hard); err != nil {
				a.log.Debug("lock not renewed", "part", n, "err", err)
			}
		}
		run.Sleep(hard, 20*time.Millisecond)
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = members.Leave(after) // its key expires by itself
	return nil
}

func (a *Alarm) shareOnce(ctx context.Context, members *redisx.Members, held map[int]*part) {
	live, err := members.Beat(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.trouble.Set(a.log, "something is tried again until it works", "say in redis that this alarm lives", err)
		}
	} else {
		a.trouble.Clear("say in redis that this alarm lives")
	}
	for n, p := range held {
		switch ok, err := p.lock.Renew(ctx); {
		case ok:
			p.renewed = time.Now()
		case err == nil || time.Since(p.renewed) > a.lease*2/3:
			p.lost.Store(true)
		}
		if p.lost.Load() || p.gone.Load() {
			delete(held, n)
		}
	}
	me := slices.Index(live, a.instance)
	if err != nil || me < 0 {
		return
	}
	for n := range parts {
		p := held[n]
		if n%len(live) != me {
			if p != nil {
				p.leaving.Store(true)
			}
			continue
		}
		if p != nil {
			continue
		}
		if p := a.take(ctx, n); p != nil {
			held[n] = p
			a.workers[n%len(a.workers)].parts.put(p)
		}
	}
	a.holds.Store(int64(len(held)))
}

// take takes a part, if its lock can be had, with what others had in flight.
func (a *Alarm) take(ctx context.Context, n int) *part {
	if ctx.Err() != nil {
		return nil
	}
	// An order to stop leaves no lock behind that nobody knows of.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	lock, err := a.deps.Redis.TryLock(ctx, redisx.PartLock(n), a.lease)
	if err != nil || lock == nil {
		return nil
	}
	_, _, priorities := a.cfg.queues()
	p := &part{n: n, lock: lock, renewed: time.Now(), queue: a.deps.Redis.NewQueue(a.instance, partLists(n, priorities)...)}
	err = p.queue.Announce(ctx)
	if err == nil {
		err = p.queue.TakeOver(ctx, func(who string, count int) {
			p.unsure.Store(true)
			a.log.Info("events of another alarm are taken over", "part", n, "instance", who, "n", count)
		})
	}
	if err != nil {
		_ = lock.Release(ctx) // it ends by itself as well
		return nil
	}
	return p
}

func partLists(n int, priorities []int) []string {
	var lists []string
	for _, p := range priorities {
		lists = append(lists, redisx.Part(n, p))
	}
	return lists
}
