package alarm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/run"
	"falcon/common/stat"
)

// Probe is the metric that alarm sends itself around the whole fleet while it has a dead
// man's switch: 1 and 0 in turn, so that each point makes an event by the rule about it.
// Its events are for nobody.
const Probe = "deadman.probe"

// probeAlive is the row that says when a probe was back.
const probeAlive = "probe"

// isProbe says whether an event is that of a probe.
func isProbe(e *model.Event) bool {
	return e.Metric() == Probe && e.PushedTags["module"] == "alarm"
}

// A deadMan calls a URL as long as the whole road is good: somebody outside of the fleet
// who misses the calls shouts. The probe goes from here through the agent, transfer,
// judge with the rules of hbs, and Redis, and is back when its row is written; so what is
// not called for may be any of them.
type deadMan struct {
	a       *Alarm
	client  *httpx.Client
	started time.Time
	value   float64 // of the next probe; touched by the reporter alone

	sent *stat.Counter
	held *stat.Reasons
}

// Why the URL was not told that all is well.
const (
	heldProbe  = "no_probe"  // none was back in time
	heldHealth = "unhealthy" // /health of this alarm says why
	heldDB     = "database"
	heldAway   = "away"    // who is called does not answer
	heldAnswer = "refused" // the answer was not 2xx
)

// newDeadMan returns nil when no URL is to be called.
func (a *Alarm) newDeadMan() *deadMan {
	if !a.cfg.DeadMan.on() {
		return nil
	}
	d := &deadMan{
		a: a, value: 1, started: a.now(),
		client: httpx.NewClient(httpx.Options{Tries: 1, Timeout: a.cfg.DeadMan.Timeout.D(), ConnectTimeout: a.cfg.DeadMan.Timeout.D(), MaxBody: 64 << 10}),
		sent:   a.stats.Counter("deadman.sent", "deadman_calls_total", "Calls of deadman.url that were answered."),
		held:   a.stats.Reasons("deadman.held", "deadman_held_total", "Turns in which deadman.url was not told that all is well, by reason."),
	}
	d.held.Know(heldProbe, heldHealth, heldDB, heldAway, heldAnswer)
	return d
}

// probe is the sample that is sent with the next counters.
func (d *deadMan) probe() []stat.Sample {
	v := d.value
	d.value = 1 - v
	return []stat.Sample{{Name: Probe, Value: v}}
}

// run calls until ctx ends.
func (d *deadMan) run(ctx context.Context) error {
	return run.Every(ctx, d.a.cfg.DeadMan.Interval.D(), d.turn)
}

const feed = "feed the dead man's switch"

// turn calls the URL, or says why not.
func (d *deadMan) turn(ctx context.Context) {
	reason, err := d.road(ctx)
	if err == nil {
		reason, err = d.call(ctx)
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		d.sent.Add(1)
		d.a.failing.Clear(feed)
	default:
		d.held.Add(reason, 1)
		// The first probe needs its time: nothing is wrong yet.
		if reason != heldProbe || d.a.now().Sub(d.started) > d.a.cfg.late() {
			d.a.failing.Set(d.a.log, "the dead man's switch is not fed: whoever waits for it will shout", feed, err)
		}
	}
}

// road says what of the road is not good.
func (d *deadMan) road(ctx context.Context) (reason string, err error) {
	if err := d.a.health(); err != nil {
		return heldHealth, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.a.cfg.DeadMan.Timeout.D())
	defer cancel()
	back, err := d.a.deps.DB.Alive(ctx, probeAlive)
	late := d.a.cfg.late()
	switch {
	case err != nil:
		return heldDB, fmt.Errorf("read when a probe was back: %w", err)
	case back.IsZero():
		return heldProbe, fmt.Errorf("no probe was ever back: is an agent at self.push_api, and a rule about %s for this host (falcon rules makes it)?", Probe)
	case d.a.now().Sub(back) > late:
		return heldProbe, fmt.Errorf("no probe was back since %s: agent, transfer, judge, hbs or redis keeps it", back.In(d.a.loc).Format(time.DateTime))
	}
	return "", nil
}

// call tells the URL that all is well. Its errors do not have the URL, which is a secret.
func (d *deadMan) call(ctx context.Context) (reason string, err error) {
	_, err = d.client.Do(ctx, d.a.cfg.DeadMan.method(), d.a.cfg.DeadMan.URL.Reveal(), nil)
	if err == nil {
		return "", nil
	}
	if status, ok := errors.AsType[*httpx.StatusError](err); ok {
		return heldAnswer, fmt.Errorf("deadman.url answers %d %s", status.Code, http.StatusText(status.Code))
	}
	if whole, ok := errors.AsType[*url.Error](err); ok {
		err = whole.Err
	}
	return heldAway, fmt.Errorf("call deadman.url: %w", err)
}

// back writes down that probes are back, and returns the other events. One that can not
// be written down is dropped: the next comes in a minute.
func (w *worker) back(ctx context.Context, items []*item) []*item {
	others := items[:0]
	for _, it := range items {
		if !isProbe(it.event) {
			others = append(others, it)
			continue
		}
		if err := w.a.deps.DB.SetAlive(ctx, probeAlive, time.Unix(it.event.EventTime, 0)); err != nil && ctx.Err() == nil {
			w.a.dbErrors.Add(1)
			w.a.failing.Set(w.a.log, "a probe of the dead man's switch is lost", "write down a probe", err)
		} else {
			w.a.failing.Clear("write down a probe")
		}
		w.a.suppressed.Add(byProbe, 1)
		it.finish()
	}
	return others
}

// watchSelf makes what turns the counters into points, once they are all there.
func (a *Alarm) watchSelf() {
	a.deadMan = a.newDeadMan()
	o := daemon.ReporterOptions{Module: "alarm", Self: a.cfg.Self, Stats: a.stats, Health: a.health, Log: a.log, Now: a.now}
	if a.deadMan != nil {
		o.Extra = a.deadMan.probe
	}
	a.self = daemon.NewReporter(o)
}
