package hbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stat"
)

// Metrics that hbs pushes of agents (contract alerting 5.5).
const (
	metricAlive   = "agent.heartbeat.alive" // 1 or 0, endpoint is the host
	metricSuspect = "hbs.suspect"           // 1 while the checker mistrusts itself, endpoint is this host
)

const (
	checkEvery = time.Minute
	// quiet is for how long no host at all may have been heard of and one is still
	// judged by it: beyond it hbs itself is deaf.
	quiet = 2 * time.Minute
	// purgeAfter is for how long a silent host is spoken of.
	purgeAfter = 7 * 24 * time.Hour
	// maxFlips is the part of all hosts that may fall silent at one look, in percent;
	// more is taken for a failure of hbs or the network.
	maxFlips = 30
	// fewHosts is the number of hosts up to which the part means nothing.
	fewHosts = 10
)

// BeatStore is where the times of heartbeats of all hbs stand.
type BeatStore interface {
	Heartbeats(ctx context.Context) (map[string]int64, error)
	DropHeartbeats(ctx context.Context, hosts []string) error
	// Lease says whether this hbs is the one that checks for the coming ttl.
	Lease(ctx context.Context, ttl time.Duration) (bool, error)
}

// liveness looks once a minute who has fallen silent, and pushes what it sees as
// points, so that ordinary rules tell people.
type liveness struct {
	store     BeatStore
	keeper    *keeper
	after     time.Duration
	transfers []*rpc.Client
	self      string // endpoint of hbs's own points
	log       *slog.Logger
	now       func() time.Time

	pushed, failed *stat.Counter

	was     map[string]bool  // alive at the last look
	dead    map[string]int64 // those that were not, and when they were heard of last
	suspect bool
	clock   time.Time     // of the last look, also of one that another hbs made
	put     time.Duration // what the clock was put by lately
	putAt   time.Time
}

func (h *HBS) newLiveness(store BeatStore) (*liveness, error) {
	secure, err := h.cfg.Liveness.TLS.Config("liveness")
	if err != nil {
		return nil, err
	}
	l := &liveness{
		store: store, keeper: h.keeper, after: h.cfg.Liveness.After.D(), self: hostname(), log: h.log, now: h.now, was: map[string]bool{},
		pushed: h.stats.Counter("liveness.pushed", "liveness_points_total", "Points about agents that transfer took."),
		failed: h.stats.Counter("liveness.error", "liveness_errors_total", "Looks at agents that failed."),
	}
	for _, addr := range h.cfg.Liveness.Transfers {
		l.transfers = append(l.transfers, rpc.NewClient(rpc.ClientOptions{Addr: addr, Log: h.log, MaxConns: 1, TLS: secure}))
	}
	return l, nil
}

func (l *liveness) run(ctx context.Context) error {
	defer func() {
		for _, t := range l.transfers {
			t.Close()
		}
	}()
	return run.Every(ctx, checkEvery, func(ctx context.Context) {
		if err := l.check(ctx); err != nil && ctx.Err() == nil {
			l.failed.Add(1)
			l.log.Error("agents can not be looked after", "err", err)
		}
	})
}

// check looks at every host once.
func (l *liveness) check(ctx context.Context) error {
	if by := run.Step(l.clock, l.now()); !l.clock.IsZero() {
		l.stepped(by)
	}
	l.clock = l.now()
	if mine, err := l.store.Lease(ctx, checkEvery+checkEvery/2); err != nil || !mine {
		return err
	}
	e, err := l.keeper.get()
	if err != nil {
		return err
	}
	beats, err := l.store.Heartbeats(ctx)
	if err != nil {
		return err
	}
	watched := map[string]bool{}
	for _, h := range e.Hosts() {
		watched[h.Name] = true
	}
	points, drop := l.look(beats, watched, l.now())
	if len(drop) > 0 {
		if err := l.store.DropHeartbeats(ctx, drop); err != nil {
			return err
		}
	}
	return l.push(ctx, points)
}

// stepLimit is how far the clock may be put before heartbeats have other times by it.
const stepLimit = 10 * time.Second

// stepped notes that the clock was put.
func (l *liveness) stepped(by time.Duration) {
	if by.Abs() < stepLimit {
		return
	}
	l.log.Warn("the clock of this host was put: heartbeats of before count as they were", "by", by)
	l.put, l.putAt = by, l.now()
}

// silence is for how long a host that was heard of at a time, Unix seconds, has been silent.
// Until those that live have been heard of after the clock was put, and those that do not are
// in the past, the time may be that of the clock of before.
func (l *liveness) silence(at int64, now time.Time) time.Duration {
	silent := now.Sub(time.Unix(at, 0))
	before := silent - l.put
	switch {
	case l.put == 0 || now.Sub(l.putAt) > l.after+max(0, -l.put):
	case l.put > 0 && before >= -stepLimit, l.put < 0 && silent < -stepLimit:
		return before
	}
	return silent
}

// look decides what to say of whom. drop are entries that nobody needs any more: of
// hosts that are in maintenance, deleted, or silent for a week.
func (l *liveness) look(beats map[string]int64, watched map[string]bool, now time.Time) (points []*model.MetricValue, drop []string) {
	alive := map[string]bool{}
	least := purgeAfter // that any host is silent
	for _, host := range slices.Sorted(maps.Keys(beats)) {
		at := beats[host]
		silent := l.silence(at, now)
		least = min(least, silent)
		if !watched[host] || silent > purgeAfter {
			drop = append(drop, host)
			continue
		}
		last, dead := l.dead[host]
		alive[host] = silent <= l.after && !(dead && last == at) // whatever the clock says: nothing was heard
	}
	if len(alive) == 0 {
		return nil, drop
	}
	flips := 0
	for host, was := range l.was {
		if is, ok := alive[host]; ok && was && !is {
			flips++
		}
	}
	suspect := flips > fewHosts && flips*100 > maxFlips*len(alive) || least > quiet && len(alive) > fewHosts
	if suspect != l.suspect {
		l.suspect = suspect
		if suspect {
			l.log.Error("too many agents fell silent at once: hbs, Redis or the network is suspected, agents are not called dead", "silent", flips, "of", len(alive))
		} else {
			l.log.Info("agents are looked after again")
		}
	}
	say := func(endpoint, metric string, value int) {
		points = append(points, &model.MetricValue{Endpoint: endpoint, Metric: metric, Value: value, Step: int64(checkEvery / time.Second), Type: model.Gauge, Timestamp: now.Unix()})
	}
	if suspect {
		say(l.self, metricSuspect, 1)
		return points, drop
	}
	for _, host := range slices.Sorted(maps.Keys(alive)) {
		if alive[host] {
			say(host, metricAlive, 1)
		} else {
			say(host, metricAlive, 0)
		}
	}
	say(l.self, metricSuspect, 0)
	l.was, l.dead = alive, map[string]int64{}
	for host, is := range alive {
		if !is {
			l.dead[host] = beats[host]
		}
	}
	return points, drop
}

// batch is how many points go with one call.
const batch = 1000

// push hands points to the first transfer that takes them.
func (l *liveness) push(ctx context.Context, points []*model.MetricValue) error {
	for chunk := range slices.Chunk(points, batch) {
		var errs []error
		for _, t := range l.transfers {
			var reply model.TransferResponse
			err := t.Call(ctx, "Transfer.Update", &chunk, &reply)
			if err == nil {
				l.pushed.Add(reply.Total - reply.Invalid)
				errs = nil
				break
			}
			errs = append(errs, fmt.Errorf("transfer %s: %w", t.Addr(), err))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}
