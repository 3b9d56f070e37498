package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/ring"
	"falcon/common/rpc"
	"falcon/common/run"
)

const (
	// probeEvery is how often a judge is asked whether it is there.
	probeEvery = time.Second
	// stableFor is how long one that was away must answer, without a miss, before its
	// series go back to it; failover's time, where that is shorter.
	stableFor = 30 * time.Second
	// moveWait is how long series wait, before they move, for an alarm to tell their next
	// judge what the last one knew.
	moveWait = 30 * time.Second
	// alarmFor is how long an alarm that has asked is believed to be there.
	alarmFor = time.Minute
	// minFailover is the shortest time after which others take over: judges restart.
	minFailover = 10 * time.Second
)

// standing is how a ring node stands with this transfer:
//
//	home ──no answer for so long──> leaving ──told, or waited──> away
//	  ^                                │ it answers                │ answers for stableFor
//	  └────────────────────────────────┘                           v
//	  ^────────────────────────told, or waited───────────────  returning ──no answer──> away
//
// Its series are judged by others while it is away or returning. leaving and returning
// give an alarm the time to tell whoever is next.
type standing struct {
	state   string
	failing time.Time // since when nobody answers; zero while somebody does
	well    time.Time // since when somebody answers again
	since   time.Time // not home: when it was last heard of
	moveBy  time.Time // leaving and returning: it is waited no longer
	told    bool      // an alarm has told whoever is next
	handed  bool      // its outlets hand on, or are not done with it
}

// step looks at the node once: ok says that one of its addresses has answered. after is
// the configured time, alarm says that one is there, others that a node is left that
// could stand in. It reports whether the state changed.
func (s *standing) step(ok bool, now time.Time, after time.Duration, alarm, others bool) bool {
	before := s.state
	switch {
	case ok:
		s.failing = time.Time{}
		if s.well.IsZero() {
			s.well = now
		}
	default:
		s.well = time.Time{}
		if s.failing.IsZero() {
			s.failing = now
		}
	}
	move := func(to string) {
		s.state, s.told, s.moveBy = to, false, now
		if alarm {
			s.moveBy = now.Add(moveWait)
		}
	}
	switch s.state {
	case model.NodeHome:
		if !ok && others && now.Sub(s.failing) >= after {
			s.since = s.failing
			move(model.NodeLeaving)
		}
	case model.NodeLeaving:
		switch {
		case ok || !others:
			s.state = model.NodeHome
		case s.told || !now.Before(s.moveBy):
			s.state = model.NodeAway
		}
	case model.NodeAway:
		if ok && now.Sub(s.well) >= min(after, stableFor) {
			move(model.NodeReturning)
		}
	case model.NodeReturning:
		switch {
		case !ok:
			s.state = model.NodeAway
		case s.told || !now.Before(s.moveBy):
			s.state = model.NodeHome
		}
	}
	return s.state != before
}

// failover decides who stands in for judges that are away (design section 8). Each
// transfer decides alone. nil does nothing.
type failover struct {
	c     *cluster
	after time.Duration
	now   func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	stand   map[string]*standing
	rings   map[string]*ring.Ring // by the names that are left out
	epoch   uint64                // counts changes of who is left out
	alarmAt time.Time             // when an alarm asked last
}

func newFailover(c *cluster, after time.Duration, now func() time.Time, log *slog.Logger) *failover {
	f := &failover{c: c, after: after, now: now, log: log, stand: map[string]*standing{}, rings: map[string]*ring.Ring{}}
	for _, n := range c.ring.Names() {
		f.stand[n] = &standing{state: model.NodeHome}
	}
	return f
}

// run asks every judge of the ring whether it is there, until ctx ends.
func (f *failover) run(ctx context.Context, probe func(ctx context.Context, node string) bool) error {
	return run.Every(ctx, probeEvery, func(ctx context.Context) {
		answers := map[string]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for node := range f.stand {
			wg.Go(func() {
				ok := probe(ctx, node)
				mu.Lock()
				defer mu.Unlock()
				answers[node] = ok
			})
		}
		wg.Wait()
		if ctx.Err() == nil {
			f.look(answers)
		}
	})
}

// look takes which nodes have answered, and moves series where that says so.
func (f *failover) look(answers map[string]bool) {
	now := f.now()
	type turn struct {
		node, from, to string
		since          time.Time
	}
	var turns []turn
	f.mu.Lock()
	alarm := !f.alarmAt.IsZero() && now.Sub(f.alarmAt) < alarmFor
	for _, node := range f.c.ring.Names() {
		s := f.stand[node]
		others := false
		for name, o := range f.stand {
			others = others || name != node && o.state == model.NodeHome && answers[name]
		}
		from := s.state
		if s.step(answers[node], now, f.after, alarm, others) {
			f.epoch++
			s.handed = s.handed || s.state == model.NodeAway
			turns = append(turns, turn{node, from, s.state, s.since})
		}
	}
	f.mu.Unlock()
	for _, t := range turns {
		l := f.log.With("kind", f.c.kind, "node", t.node)
		switch t.to {
		case model.NodeLeaving:
			l.Warn("judge is away: others are to judge its series", "since", t.since.Format(time.DateTime))
		case model.NodeAway:
			if t.from == model.NodeReturning {
				l.Warn("judge is away again: others go on with its series")
				continue
			}
			l.Warn("judge is away: others judge its series", "since", t.since.Format(time.DateTime))
			f.c.divert(t.node)
		case model.NodeReturning:
			l.Info("judge is back: it is told what happened meanwhile")
		case model.NodeHome:
			l.Info("judge is back: it judges its series")
			if t.from == model.NodeReturning {
				f.c.revert(t.node)
				f.mu.Lock()
				f.stand[t.node].handed = false
				f.epoch++
				f.mu.Unlock()
			}
		}
	}
}

// excluded returns the nodes that get none of others' points, those of the states given.
// f.mu is held.
func (f *failover) excluded(states ...string) (names []string) {
	for _, n := range f.c.ring.Names() {
		if slices.Contains(states, f.stand[n].state) {
			names = append(names, n)
		}
	}
	return names
}

// without returns the ring without some of its nodes: their keys spread over the others,
// and every other key stays where it is. f.mu is held.
func (f *failover) without(names []string) *ring.Ring {
	if len(names) == 0 || len(names) == len(f.stand) {
		return f.c.ring
	}
	key := strings.Join(names, "\n")
	if f.rings[key] == nil {
		left := slices.DeleteFunc(slices.Clone(f.c.ring.Names()), func(n string) bool { return slices.Contains(names, n) })
		r, err := ring.New(f.c.peers.RingHash, f.c.peers.Replicas, left)
		if err != nil {
			return f.c.ring // it was made of more names before
		}
		f.rings[key] = r
	}
	return f.rings[key]
}

// standIn returns the node that judges a series in the place of own, and the epoch in which
// that holds. present is who has done so, "" for nobody: when that one is away itself it
// stays, since it hands on what waits for it before what comes, and so keeps the order.
//
// Nobody is sent to who hands on at that moment, so points go round in no circle.
func (f *failover) standIn(own, present, pk string) (node string, epoch uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, n := range f.c.ring.Names() {
		if s := f.stand[n]; n == own || s.state != model.NodeHome || s.handed {
			if n == present {
				return present, f.epoch
			}
			out = append(out, n)
		}
	}
	if len(out) == len(f.stand) {
		out = []string{own} // nobody is there at this moment: it waits for whom the ring says
	}
	return f.without(out).Node(pk), f.epoch
}

// judges returns the nodes that may judge a series at this moment: the one that does, and
// the one that is about to.
func (f *failover) judges(r *ring.Ring, pk string) []string {
	own := r.Node(pk)
	if f == nil {
		return []string{own}
	}
	f.mu.Lock()
	state := f.stand[own].state
	f.mu.Unlock()
	if state == model.NodeHome {
		return []string{own}
	}
	next, _ := f.standIn(own, "", pk)
	if state == model.NodeAway {
		return []string{next}
	}
	return []string{next, own}
}

// present returns the epoch of who stands in for whom.
func (f *failover) present() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch
}

// owner returns the node that judges a series, or is about to.
func (f *failover) owner(r *ring.Ring, pk string) string {
	if f == nil {
		return r.Node(pk)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.without(f.excluded(model.NodeLeaving, model.NodeAway)).Node(pk)
}

// nodes lists how each node stands, nil when nobody looks.
func (f *failover) nodes() (all []model.JudgeNode) {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.c.ring.Names() {
		s := f.stand[name]
		n := model.JudgeNode{Node: name, State: s.state}
		if s.state != model.NodeHome {
			n.Since = s.since.Unix()
		}
		all = append(all, n)
	}
	return all
}

// heard notes that an alarm has asked: it is one that tells judges.
func (f *failover) heard(now time.Time) {
	if f != nil {
		f.mu.Lock()
		f.alarmAt = now
		f.mu.Unlock()
	}
}

// tell notes that whoever is next for the series of a node knows everything.
func (f *failover) tell(node string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.stand[node]; s != nil {
		s.told = true
	}
}

// notes says in words which judges are away.
func (f *failover) notes() (all []string) {
	nodes := f.nodes()
	for _, n := range nodes {
		var others []string
		for _, o := range nodes {
			if o.State == model.NodeHome {
				others = append(others, o.Node)
			}
		}
		at := time.Unix(n.Since, 0).Format(time.DateTime)
		switch n.State {
		case model.NodeLeaving:
			all = append(all, fmt.Sprintf("judge %s is away since %s; its series are about to be judged by %s", n.Node, at, strings.Join(others, ", ")))
		case model.NodeAway:
			all = append(all, fmt.Sprintf("judge %s is away since %s; its series are judged by %s", n.Node, at, strings.Join(others, ", ")))
		case model.NodeReturning:
			all = append(all, fmt.Sprintf("judge %s was away since %s and is back; its series are judged by %s for a moment", n.Node, at, strings.Join(others, ", ")))
		}
	}
	return all
}

// probe asks the addresses of nodes whether they are there, with a call that stock's
// judges know, too.
type probe struct{ clients map[string][]*rpc.Client }

func (t *Transfer) newProbe(c *cluster) (*probe, error) {
	secure, err := c.peers.TLS.Config(c.kind)
	if err != nil {
		return nil, err
	}
	p := &probe{map[string][]*rpc.Client{}}
	for node, addrs := range c.peers.Cluster {
		for addr := range strings.SplitSeq(addrs, ",") {
			p.clients[node] = append(p.clients[node], rpc.NewClient(rpc.ClientOptions{
				Addr: strings.TrimSpace(addr), StockCodec: rpc.Gob, Log: t.log, MaxConns: 1, MaxIdle: 1,
				DialTimeout: c.peers.ConnTimeout.D(), CallTimeout: c.peers.CallTimeout.D(), TLS: secure, Dial: t.deps.Dial,
			}))
		}
	}
	return p, nil
}

// ask says whether some address of a node answers: an error that the judge itself sends
// is an answer.
func (p *probe) ask(ctx context.Context, node string) bool {
	for _, c := range p.clients[node] {
		err := c.Call(ctx, "Judge.Ping", &model.NullRpcRequest{}, &model.SimpleRpcResponse{})
		if _, answered := errors.AsType[rpc.ServerError](err); err == nil || answered {
			return true
		}
	}
	return false
}

func (p *probe) close() {
	for _, clients := range p.clients {
		for _, c := range clients {
			c.Close()
		}
	}
}

// watchJudges runs the failover of a cluster until ctx ends.
func (t *Transfer) watchJudges(ctx context.Context, c *cluster) error {
	p, err := t.newProbe(c)
	if err != nil {
		return err
	}
	defer p.close()
	return c.failover.run(ctx, p.ask)
}

// divert hands the points of a node, also those that wait, to others.
func (c *cluster) divert(node string) {
	// Of several addresses the one that was last to go has spooled what no other judged.
	all := c.byNode[node]
	var last *outlet
	for _, o := range all {
		if last == nil || o.spool.Stats().Held < last.spool.Stats().Held {
			last = o
		}
	}
	for _, o := range all {
		o.divert(o == last)
	}
}

// revert gives a node its points again.
func (c *cluster) revert(node string) {
	for _, o := range c.byNode[node] {
		o.revert()
	}
}
