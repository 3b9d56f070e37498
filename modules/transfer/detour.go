package transfer

import (
	"context"
	"slices"

	"falcon/common/stream"
)

// A detour is where the points of a series go while their judge is away.
type detour struct {
	epoch uint64   // of the failover: who stands in may have changed since
	to    []target // every address of the node that stands in
	all   []target // whatever was to at some time, to be given back
}

// diversion is an outlet's part in a failover. The outlet's mu guards it.
type diversion struct {
	on     bool // the node is away: the spool is handed on
	direct bool // nothing waits any more: what is offered goes on at once
	// carries says that this outlet hands on; the node's others have the same points.
	carries bool
	detours map[stream.Handle]*detour
	// Handles at other outlets that nobody uses any more: points of retired ones may be on
	// their way for a while, those of dying ones are not.
	retired, dying []target
	parts          map[*outlet][]stream.Point
	muted          map[*outlet]int
}

// divert begins to hand points on: first the spool's, with all that is under way, and
// meanwhile what is offered joins its tail; then directly.
func (o *outlet) divert(carries bool) {
	o.mu.Lock()
	answer := o.spoolLive()
	o.away = diversion{
		on: true, carries: carries, detours: map[stream.Handle]*detour{}, retired: o.away.retired, dying: o.away.dying,
		parts: map[*outlet][]stream.Point{}, muted: map[*outlet]int{},
	}
	o.spooling = true
	o.mu.Unlock()
	answer()
	o.poke()
}

// revert gives the outlet's own peer its points again. What was not handed on yet is in
// the spool, and nobody has judged it.
func (o *outlet) revert() {
	o.mu.Lock()
	for _, d := range o.away.detours {
		o.away.retired = append(o.away.retired, d.all...)
	}
	o.away = diversion{retired: o.away.retired, dying: o.away.dying}
	o.spooling = !o.spool.Empty()
	o.mu.Unlock()
	o.poke()
}

// diverted reports whether the outlet hands on, and whether its spool is through.
func (o *outlet) diverted() (on, direct bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.away.on, o.away.direct
}

// release gives a handle back, with those that its detour has.
func (o *outlet) release(h stream.Handle) {
	if o.failover != nil {
		o.mu.Lock()
		if d := o.away.detours[h]; d != nil {
			o.away.retired = append(o.away.retired, d.all...)
			delete(o.away.detours, h)
		}
		o.mu.Unlock()
	}
	o.snd.Release(h)
}

// reap gives back handles of detours that were given up before its last call.
func (o *outlet) reap() {
	o.mu.Lock()
	dying := o.away.dying
	o.away.dying, o.away.retired = o.away.retired, nil
	o.mu.Unlock()
	for _, to := range dying {
		to.out.snd.Release(to.handle)
	}
}

// handOn offers points to whoever stands in, in their order, and calls done once, with nil
// when every one of them answers for its points. o.mu is held, which keeps the order; the
// caller calls what it returns after unlocking. Whoever stands in may hand on itself, but
// never back: a node that is away gets nobody's points.
func (o *outlet) handOn(points []stream.Point, done func(error)) (finish func()) {
	p := &pending{done: done}
	p.open.Store(1)
	if o.away.carries {
		epoch := o.failover.present()
		for _, pt := range points {
			d := o.detourOf(pt.Handle, epoch)
			if d == nil {
				continue
			}
			for _, to := range d.to {
				if to.out.snd.Muted(to.handle) {
					o.away.muted[to.out]++
					continue
				}
				at := pt
				at.Handle = to.handle
				o.away.parts[to.out] = append(o.away.parts[to.out], at)
			}
		}
		for out, n := range o.away.muted {
			p.open.Add(1)
			out.offer(nil, n, p.end)
		}
		clear(o.away.muted)
		for out, part := range o.away.parts {
			for some := range slices.Chunk(part, maxChunk) {
				p.open.Add(1)
				out.offer(some, 0, p.end)
			}
			clear(part) // they may hold texts
			o.away.parts[out] = part[:0]
		}
	}
	return func() { p.end(nil) }
}

// detourOf returns where the points of a series go, nil for one that was released.
func (o *outlet) detourOf(h stream.Handle, epoch uint64) *detour {
	d := o.away.detours[h]
	if d != nil && d.epoch == epoch {
		return d
	}
	s := o.snd.Series(h)
	if s == nil {
		return nil
	}
	if d == nil {
		d = &detour{}
		o.away.detours[h] = d
	}
	present := ""
	if len(d.to) > 0 {
		present = d.to[0].out.node
	}
	node, epoch := o.failover.standIn(o.node, present, s.PK())
	d.epoch, d.to = epoch, nil
	for _, out := range o.failover.c.byNode[node] {
		i := slices.IndexFunc(d.all, func(to target) bool { return to.out == out })
		if i < 0 {
			i = len(d.all)
			d.all = append(d.all, target{out: out, handle: out.snd.Define(s)})
		}
		d.to = append(d.to, d.all[i])
	}
	return d
}

// handOver hands the spool on, from its oldest record, until nothing is left of it and what
// is offered goes on at once. It reports false when whoever stands in takes nothing, or the
// spool can not be read.
func (o *outlet) handOver(ctx context.Context) bool {
	if d := o.reading; d != nil {
		if d.wait(ctx, 0); ctx.Err() != nil {
			return true
		}
		if d.failed.Load() {
			o.spool.Rewind()
		}
	}
	d := &draining{ended: make(chan struct{}, 1)}
	o.reading, o.handing = d, true
	defer func() { o.handing = false }()
	for ctx.Err() == nil && !d.failed.Load() {
		o.mu.Lock()
		o.fresh = false
		on := o.away.on
		o.mu.Unlock()
		if !on {
			return true
		}
		if l := o.readSome(ctx, d); l != nil {
			o.send(ctx, d, l)
			continue
		}
		o.mu.Lock()
		stuck := !o.fresh && o.spool.Unread() // the rest can not be read at the moment
		through := !o.fresh && !stuck && o.away.on && !d.failed.Load()
		if through {
			o.away.direct, o.spooling, o.turned = true, false, nil
		}
		o.mu.Unlock()
		if through {
			o.log.Info("what was spooled is with the judges that stand in", "peer", o.addr, "kind", o.kind)
			return true
		}
		if stuck {
			return false
		}
	}
	return !d.failed.Load()
}

// passOn hands records of the spool on and takes them out of it.
func (o *outlet) passOn(ctx context.Context, d *draining, l *load) {
	answered := make(chan error, 1)
	o.mu.Lock()
	if !o.away.on { // its own peer is back
		o.mu.Unlock()
		o.spool.Rewind()
		o.failed(d, nil)
		return
	}
	finish := o.handOn(l.points, func(err error) { answered <- err })
	o.mu.Unlock()
	finish()
	var err error
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = ctx.Err() // who has it may be asked again: that harms nobody
	}
	if err == nil {
		o.mu.Lock()
		var n int64
		n, err = o.spool.Commit(l.last)
		o.passed.Add(int(n))
		o.mu.Unlock()
	}
	if err != nil {
		o.log.Warn("spooled points are not taken by the judges that stand in, and are tried again", "peer", o.addr, "err", err)
		o.failed(d, nil)
	}
}
