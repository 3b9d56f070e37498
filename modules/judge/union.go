package judge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/ring"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/common/verdict"
)

// Union says which plus_judges join the conditions of one host to an alarm. Its keys are
// the fork's.
type Union struct {
	// Enabled false judges no rule that is one of several conditions.
	Enabled     bool        `json:"enabled"`
	ConnTimeout conf.Millis `json:"connTimeout"`
	CallTimeout conf.Millis `json:"callTimeout"`
	MaxConns    int         `json:"maxConns"` // to each plus_judge
	MaxIdle     int         `json:"maxIdle"`
	// Replicas is how many points each plus_judge has on the ring.
	Replicas int `json:"replicas"`
	// RingHash places combinations: crc32, or the fork's murmur3.
	RingHash string `json:"ringHash"`
	// Cluster leads from the name of a plus_judge to its address. Two addresses for one
	// name would be two minds about one problem, so there is no such thing.
	Cluster map[string]string `json:"cluster"`
}

func defaultUnion() Union {
	return Union{
		Enabled: true, ConnTimeout: conf.Millis(time.Second), CallTimeout: conf.Millis(5 * time.Second), MaxConns: 32, MaxIdle: 32,
		Replicas: ring.DefaultReplicas, RingHash: ring.CRC32, Cluster: map[string]string{"plus-00": "127.0.0.1:6082"},
	}
}

func (u *Union) validate() error {
	if !u.Enabled {
		return nil
	}
	if u.ConnTimeout <= 0 || u.CallTimeout <= 0 || u.MaxConns <= 0 || u.MaxIdle < 0 {
		return errors.New("union_judge_s: connTimeout, callTimeout and maxConns must be greater than zero, maxIdle must not be negative")
	}
	var names []string
	for name, addr := range u.Cluster {
		if _, _, err := net.SplitHostPort(strings.TrimSpace(addr)); err != nil || strings.Contains(addr, ",") {
			return fmt.Errorf("union_judge_s.cluster: %s has the address %q, write one host:port", name, addr)
		}
		names = append(names, name)
	}
	if _, err := ring.New(u.RingHash, u.Replicas, names); err != nil {
		return fmt.Errorf("union_judge_s: %w: name a plus_judge, or set enabled to false", err)
	}
	return nil
}

const (
	// lanes is how many events are on their way to one plus_judge at the same time. Those
	// of one combination on one host are in one lane, and so in order.
	lanes = 8
	// maxForwards bounds the series whose event waits for one lane.
	maxForwards = 20_000
	// tries is how often an event is sent before it waits for the next round.
	tries    = 3
	tryAgain = 10 * time.Millisecond
	// away is how long a plus_judge that does not answer is left alone.
	away = time.Second
	// staleForward is from when on the beginning of a condition is not sent any more: a
	// refresh has come since, or it is over.
	staleForward = 300
)

// union brings events of conditions to the plus_judges. Of each series only the newest
// event waits: what it says holds whatever came before.
type union struct {
	now   func() time.Time
	log   *slog.Logger
	ring  *ring.Ring
	nodes map[string]*plusNode

	taken, sent, replaced, retried *stat.Counter
	dropped, refused               *stat.Reasons
}

type plusNode struct {
	client *rpc.Client
	lanes  [lanes]*lane

	mu   sync.Mutex
	said time.Time // when the log last said that it is away
}

// lane is a queue of the newest event of each series.
type lane struct {
	wake chan struct{}

	mu      sync.Mutex
	waiting map[string]forward // by event id and action
	order   []turn             // of those that wait, and of some that others have replaced
	turns   uint64
	sending bool // an event that is in neither of them
}

// A turn is the place of an event among those of its lane.
type turn struct {
	key string
	n   uint64
}

type forward struct {
	event *model.Event
	at    int64 // when it was made, Unix seconds
	n     uint64
}

func newUnion(cfg Union, now func() time.Time, log *slog.Logger) (*union, error) {
	u := &union{now: now, log: log, nodes: map[string]*plusNode{}}
	var names []string
	for name, addr := range cfg.Cluster {
		n := &plusNode{client: rpc.NewClient(rpc.ClientOptions{
			Addr: strings.TrimSpace(addr), Log: log, StockCodec: rpc.Gob, DialTimeout: time.Duration(cfg.ConnTimeout),
			CallTimeout: time.Duration(cfg.CallTimeout), MaxConns: cfg.MaxConns, MaxIdle: cfg.MaxIdle,
		})}
		for i := range n.lanes {
			n.lanes[i] = &lane{wake: make(chan struct{}, 1), waiting: map[string]forward{}}
		}
		u.nodes[name] = n
		names = append(names, name)
	}
	var err error
	u.ring, err = ring.New(cfg.RingHash, cfg.Replicas, names)
	return u, err
}

// count makes the counters of the way to plus_judges. While nothing moves union.taken is
// union.sent + union.replaced + union.drop + union.waiting; what is refused was sent.
func (u *union) count(s *stat.Set) {
	if u == nil {
		return
	}
	u.taken = s.Counter("union.taken", "taken_forwards_total", "Events of conditions that were made for a plus_judge.")
	u.replaced = s.Counter("union.replaced", "replaced_forwards_total", "Events of conditions that were not sent, since a newer one of their series says what counts.")
	u.sent = s.Counter("union.sent", "forwarded_events_total", "Events of conditions that a plus_judge has taken.")
	u.retried = s.Counter("union.retry", "forward_retries_total", "Times that an event of a condition was not taken.")
	u.refused = s.Reasons("union.refused", "refused_forwards_total", "Events of conditions that a plus_judge refused, by its name.")
	u.dropped = s.Reasons("union.drop", "dropped_forwards_total", "Events of conditions that were given up, by reason; the next refresh says the same.")
	s.GaugeFunc("union.waiting", "waiting_forwards", "Events of conditions that wait for a plus_judge or are on their way.", func() float64 { return float64(u.waiting()) })
}

func (u *union) waiting() (n int) {
	for _, node := range u.nodes {
		for _, l := range node.lanes {
			l.mu.Lock()
			if n += len(l.waiting); l.sending {
				n++
			}
			l.mu.Unlock()
		}
	}
	return n
}

// take takes an event of a condition on its way, and says whether it is one. It does not
// wait.
func (u *union) take(e *model.Event) bool {
	serial := e.Strategy.Serial()
	if serial == "" {
		return false
	}
	if u == nil {
		return true // it is not judged, and that of another run ends here
	}
	key := verdict.CombinationKey(serial, e.Endpoint)
	n := u.nodes[u.ring.Node(key)]
	u.taken.Add(1)
	switch replaced, room := n.lanes[xxhash.Sum64String(key)%lanes].put(forward{event: e, at: u.now().Unix()}); {
	case !room:
		u.dropped.Add("full", 1)
	case replaced:
		u.replaced.Add(1)
	}
	return true
}

// sayConditions says how the conditions stand that the last run looked at: it may have
// been killed before a plus_judge had heard of a begin or an end, and the next point is up
// to a step away. What was silent then is left to its next point, and so is everything
// when that run ended long ago: what is said counts as heard of now.
func (j *Judge) sayConditions() {
	wall := j.now().Unix()
	if j.union == nil || j.inForce.Load() == nil || wall-j.journal.Written.Unix() > staleForward {
		return
	}
	// Points of a stream that is delayed or replayed are old without being silent: what
	// counts is how far behind the newest of all they are.
	var newest int64
	j.sweeping(func(_ *batch, e *entry) {
		if at := e.Newest(); at <= wall {
			newest = max(newest, at)
		}
	})
	// First those that do not hold: a plus_judge may know of another time, and would join one
	// that begins with one that is over.
	var holding []*model.Event
	j.sweeping(func(b *batch, e *entry) {
		if !e.waits && newest-e.Newest() <= staleForward && e.Watch(j.inForce.Load().index, j.set) {
			for _, ev := range e.Conditions(nil, min(wall, e.Newest()), b.room[:0]) {
				if ev.Status == model.StatusProblem {
					holding = append(holding, ev)
				} else {
					j.union.take(ev)
				}
			}
		}
	})
	for _, ev := range holding {
		j.union.take(ev)
	}
}

func (f *forward) key() string { return f.event.Id + "|" + strconv.Itoa(f.event.ActionId()) }

// put has an event wait behind the others, and what waits for its series no longer: whoever
// hears of a begin has heard of the ends before it, or conditions would hold together that
// never did. It says whether something waited, and whether there was room.
func (l *lane) put(f forward) (replaced, room bool) {
	key := f.key()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, replaced = l.waiting[key]; !replaced {
		if len(l.waiting) >= maxForwards {
			return false, false
		}
	}
	l.turns++
	f.n = l.turns
	l.waiting[key] = f
	l.order = append(l.order, turn{key, f.n})
	if len(l.order) > 2*len(l.waiting)+100 {
		l.order = slices.DeleteFunc(l.order, func(t turn) bool { return l.waiting[t.key].n != t.n })
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return replaced, true
}

// back puts an event before the others that was not taken, and says whether it does: not
// when a newer one waits.
func (l *lane) back(f forward) bool {
	key := f.key()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sending = false
	if _, ok := l.waiting[key]; ok {
		return false
	}
	l.waiting[key] = f
	l.order = slices.Insert(l.order, 0, turn{key, f.n})
	return true
}

// done says that the event that was taken last is with the plus_judge, or given up.
func (l *lane) done() {
	l.mu.Lock()
	l.sending = false
	l.mu.Unlock()
}

// pop takes the first event, for back or done; the event is nil when none waits.
func (l *lane) pop() (f forward) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.order) > 0 {
		t := l.order[0]
		l.order = l.order[1:]
		if f, waits := l.waiting[t.key]; waits && f.n == t.n {
			delete(l.waiting, t.key)
			l.sending = true
			return f
		}
	}
	return forward{}
}

// run sends until ctx ends, and then, for a moment, what still waits.
func (u *union) run(ctx context.Context) error {
	g := run.New(ctx)
	for name, n := range u.nodes {
		for i, l := range n.lanes {
			g.Go(fmt.Sprintf("%s/%d", name, i), func(ctx context.Context) error { return u.serve(ctx, name, n, l) })
		}
	}
	err := g.Wait()
	for _, n := range u.nodes {
		n.client.Close()
	}
	return err
}

// lastWords is for how long a judge that ends sends what waits.
const lastWords = 2 * time.Second

func (u *union) serve(ctx context.Context, name string, n *plusNode, l *lane) error {
	for ctx.Err() == nil {
		u.empty(ctx, name, n, l)
		if ctx.Err() != nil {
			break
		}
		l.mu.Lock()
		waits := len(l.waiting) > 0
		l.mu.Unlock()
		if waits { // it is away
			retry := time.NewTimer(away)
			select {
			case <-retry.C:
			case <-ctx.Done():
			}
			retry.Stop()
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	u.empty(last, name, n, l)
	return nil
}

// empty sends what waits until nothing does or the plus_judge does not answer.
func (u *union) empty(ctx context.Context, name string, n *plusNode, l *lane) {
	for ctx.Err() == nil {
		f := l.pop()
		if f.event == nil {
			return
		}
		if f.event.Status == model.StatusProblem && u.now().Unix()-f.at > staleForward {
			u.dropped.Add(model.ReasonStale, 1)
			l.done()
			continue
		}
		if err := u.send(ctx, name, n, f.event); err != nil {
			if !l.back(f) {
				u.replaced.Add(1)
			}
			if ctx.Err() == nil {
				n.sayAway(u.log, name, err)
			}
			return
		}
		l.done()
	}
}

// send hands an event over.
func (u *union) send(ctx context.Context, name string, n *plusNode, e *model.Event) (err error) {
	for try := range tries {
		if try > 0 {
			pause := time.NewTimer(tryAgain)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return ctx.Err()
			}
		}
		var reply model.SimpleRpcResponse
		if err = n.client.Call(ctx, "Judge.UnionJudge", e, &reply); err == nil {
			u.sent.Add(1)
			if reply.Code != 0 {
				u.refused.Add(name, 1) // sent again it would be as wrong
			}
			return nil
		}
		u.retried.Add(1)
	}
	return err
}

// sayAway writes into the log that the plus_judge takes nothing, once a minute at most.
func (n *plusNode) sayAway(log *slog.Logger, name string, err error) {
	n.mu.Lock()
	say := time.Since(n.said) > time.Minute
	if say {
		n.said = time.Now()
	}
	n.mu.Unlock()
	if say {
		log.Warn("a plus_judge takes no events, the newest of each series waits", "node", name, "err", err)
	}
}
