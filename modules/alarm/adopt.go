package alarm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/run"
)

const (
	// adoptLook is how often transfers are asked which judge has which series.
	adoptLook = 5 * time.Second
	// adoptEvery is how often judges are told of problems that are silent, and adoptSilent
	// how long those have been.
	adoptEvery  = 5 * time.Minute
	adoptSilent = 10 * time.Minute
	// adoptAgain is the pause before everything is told again that could not be.
	adoptAgain = time.Minute
	// adoptEnded is of how long ago ends are told, at least; adoptLongest at most: judges
	// forget what is older than that.
	adoptEnded   = 24 * time.Hour
	adoptLongest = 7 * 24 * time.Hour
	// adoptBatch is how many cases are told of at once, adoptMost in all.
	adoptBatch = 200
	adoptMost  = 50_000
	// keepEnded is how long the event that ended a problem is remembered, in seconds.
	keepEnded = 7 * 24 * 3600
)

// Reasons for which a case is told no judge, beside those of model.Adopt….
const (
	adoptForgotten = "forgotten"  // Redis has lost its event, or adopt was off when it came
	adoptJoined    = "conditions" // of several conditions, which judges refresh
	adoptTooMany   = "too_many"   // beyond adoptMost
	adoptUnheard   = "unheard"    // no transfer has answered
)

// remember keeps the last event of each case and action where judges are told of it from.
// A failure costs no message: the judge that lacks it tells a problem from its first step,
// which is held back here. Where no transfers are named, nobody is told of any.
func (w *worker) remember(ctx context.Context, items []*item) {
	if len(w.a.cfg.Adopt.Transfers) == 0 {
		return
	}
	var cmds []redisx.Cmd
	for _, it := range items {
		if it.saved == nil || !it.saved.Moved {
			continue
		}
		key := redisx.AlarmCase(it.event.Id)
		cmds = append(cmds, redisx.C("HSET", key, fmt.Sprint("event:", it.event.ActionId()), it.element.Payload))
		if it.event.Status == model.StatusOK {
			cmds = append(cmds, redisx.C("EXPIRE", key, keepEnded))
		} else {
			cmds = append(cmds, redisx.C("PERSIST", key))
		}
	}
	if len(cmds) == 0 {
		return
	}
	if _, err := w.a.deps.Redis.Pipe(ctx, cmds...); err != nil && ctx.Err() == nil {
		w.a.failing.Set(w.a.log, "judges may not hear of the newest events", "remember events", err)
	} else {
		w.a.failing.Clear("remember events")
	}
}

// An adopter tells judges what other judges knew of series that are theirs now (contract
// alerting 1.12), in the one alarm that holds the lock.
type adopter struct {
	a    *Alarm
	look time.Duration

	mu   sync.Mutex
	last adoptReport // for /debug/adopt
	// moving are the nodes that waited in the last pass over everything.
	moving string

	clients map[string]*rpc.Client
	began   time.Time // of the last pass
	failed  time.Time // of the last pass over everything that was not complete
}

// adoptReport is what the last passes came to.
type adoptReport struct {
	At      string            `json:"at"`
	Whole   bool              `json:"whole"` // all open cases, not only silent ones
	Views   map[string]string `json:"views"` // by transfer
	Away    map[string]string `json:"away"`  // transfers and judges that did not answer
	Cases   int               `json:"cases"`
	Adopted int               `json:"adopted"`
	Release int               `json:"released"`
	Refused map[string]int    `json:"refused"`
}

// adopt is the life of an adopter.
func (a *Alarm) adopt(ctx context.Context) error {
	if len(a.cfg.Adopt.Transfers) == 0 {
		<-ctx.Done()
		return nil
	}
	secure, err := a.cfg.Adopt.TLS.Config("transfer")
	if err != nil {
		return err
	}
	ad := a.adopter
	ad.clients = map[string]*rpc.Client{}
	for _, addr := range a.cfg.Adopt.Transfers {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Key: a.cfg.FleetKey.Reveal(), Log: a.log, CallTimeout: 30 * time.Second, TLS: secure})
		defer c.Close()
		ad.clients[addr] = c
	}
	return a.deps.Redis.Lead(ctx, redisx.AlarmAdopter, a.lease, func(ctx context.Context) error {
		ad.began = a.now() // another alarm may have told everything just now
		for {
			ad.once(ctx)
			if !run.Sleep(ctx, ad.look) {
				return nil
			}
		}
	})
}

// views asks every transfer which judge has which series. Those that do not answer are
// named with the reason.
func (ad *adopter) views(ctx context.Context) (views map[string]*model.JudgesReply, away map[string]string) {
	views, away = map[string]*model.JudgesReply{}, map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for addr, c := range ad.clients {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			var reply model.JudgesReply
			err := c.Call(ctx, "Transfer.Judges", &model.NullRpcRequest{}, &reply)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				views[addr] = &reply
			case rpc.IsMethodMissing(err):
				away[addr] = "it is stock's: its judges are told nothing"
			default:
				away[addr] = err.Error()
			}
		})
	}
	wg.Wait()
	return views, away
}

// seen is what the views say together: it changes when a series may have another judge.
func seenIn(views map[string]*model.JudgesReply) string {
	var all []string
	for _, v := range views {
		all = append(all, v.View)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "\n")
}

// due says what is to be told now: everything when a series may have another judge than
// when everything was told last, else what is silent, now and then.
func (ad *adopter) due(now time.Time, seen, told string) (pass, whole bool) {
	if seen != told && (ad.failed.IsZero() || now.Sub(ad.failed) >= adoptAgain || now.Before(ad.failed)) {
		return true, true
	}
	since := now.Sub(ad.began)
	return since >= adoptEvery || since < 0, false
}

// once looks at the transfers, and tells judges what is due.
func (ad *adopter) once(ctx context.Context) {
	a := ad.a
	views, away := ad.views(ctx)
	if len(views) == 0 {
		if ctx.Err() == nil {
			a.failing.Set(a.log, "judges are told nothing of each other", "adopt", fmt.Errorf("no transfer answers: %v", away))
		}
		return
	}
	a.failing.Clear("adopt")
	told, err := redisx.String(a.deps.Redis.Do(ctx, "GET", redisx.AlarmAdopted))
	if err != nil && !errors.Is(err, redisx.Nil) {
		return // Redis is away, which others say
	}
	// Who moves is waited for: another move must not wait for the pause of one that failed.
	seen, moving := seenIn(views), movingIn(views)
	if moving != "" && moving != ad.lastMoving() {
		ad.failed = time.Time{}
	}
	pass, whole := ad.due(a.now(), seen, told)
	if !pass {
		return
	}
	ad.began = a.now()
	report := adoptReport{At: ad.began.Format(time.DateTime), Whole: whole, Views: map[string]string{}, Away: away, Refused: map[string]int{}}
	for addr, v := range views {
		report.Views[addr] = v.View
	}
	complete := ad.pass(ctx, whole, views, &report)
	if ctx.Err() != nil {
		return
	}
	for reason, n := range report.Refused {
		a.unadopted.Add(reason, n)
	}
	a.adopted.Add(report.Adopted)
	ad.mu.Lock()
	ad.last = report
	ad.moving = moving
	ad.mu.Unlock()
	if whole || report.Adopted > 0 {
		a.log.Info("judges were told what others knew", "whole", whole, "cases", report.Cases, "adopted", report.Adopted, "released", report.Release, "refused", report.Refused, "away", report.Away)
	}
	if !whole {
		return
	}
	ad.failed = time.Time{}
	if !complete {
		ad.failed = a.now()
		return
	}
	ad.release(ctx, views)
	if _, err := a.deps.Redis.Do(ctx, "SET", redisx.AlarmAdopted, seen); err != nil {
		ad.failed = a.now() // told again: that harms nobody
	}
}

// movingIn names the nodes that wait to be told, or whose next judges do.
func movingIn(views map[string]*model.JudgesReply) string {
	all := map[string]bool{}
	for _, v := range views {
		for _, n := range moving(v) {
			all[n] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(all)), " ")
}

func moving(v *model.JudgesReply) (nodes []string) {
	for _, n := range v.Nodes {
		if n.State == model.NodeLeaving || n.State == model.NodeReturning {
			nodes = append(nodes, n.Kind+"/"+n.Node)
		}
	}
	return nodes
}

func (ad *adopter) lastMoving() string {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	return ad.moving
}

// release tells each transfer that waits that its judges know everything.
func (ad *adopter) release(ctx context.Context, views map[string]*model.JudgesReply) {
	for addr, v := range views {
		if nodes := moving(v); len(nodes) > 0 {
			// One that does not hear it waits half a minute.
			_ = ad.clients[addr].Call(ctx, "Transfer.Adopt", &model.ForwardRequest{Items: []model.AdoptItem{}, Told: nodes}, &model.ForwardReply{})
		}
	}
}

// pass tells judges of cases, and says whether each of them has heard.
func (ad *adopter) pass(ctx context.Context, whole bool, views map[string]*model.JudgesReply, report *adoptReport) (complete bool) {
	cases, err := ad.cases(ctx, whole, views, report)
	if err != nil {
		if ctx.Err() == nil {
			ad.a.dbErrors.Add(1)
			ad.a.failing.Set(ad.a.log, "judges are told nothing of each other", "read cases", err)
		}
		return false
	}
	ad.a.failing.Clear("read cases")
	// Transfers of one view send to the same judges; of those that differ each tells its own.
	by := map[string][]string{}
	for _, addr := range slices.Sorted(maps.Keys(views)) {
		by[views[addr].View] = append(by[views[addr].View], addr)
	}
	release := whole && len(by) == 1 && len(report.Away) == 0
	for _, v := range views {
		for _, n := range v.Nodes {
			release = release && n.State == model.NodeHome
		}
	}
	complete = true
	for chunk := range slices.Chunk(cases, adoptBatch) {
		items, err := ad.items(ctx, chunk, whole, report)
		if err != nil {
			return false
		}
		for some := range slices.Chunk(items, model.MaxForward) {
			for _, addrs := range by {
				if !ad.forward(ctx, addrs, &model.ForwardRequest{Items: some, Release: release, Told: []string{}}, report) {
					complete = false
				}
			}
		}
	}
	return complete
}

// cases returns those that judges are told of: open ones, and for a judge that comes back
// those that ended meanwhile.
func (ad *adopter) cases(ctx context.Context, whole bool, views map[string]*model.JudgesReply, report *adoptReport) ([]portal.EventCase, error) {
	now := ad.a.now()
	open := portal.CaseFilter{Statuses: []string{model.StatusProblem}, Limit: adoptMost + 1}
	if !whole {
		open.Until = now.Add(-adoptSilent)
	}
	cases, err := ad.a.deps.DB.EventCases(ctx, open)
	if err != nil {
		return nil, err
	}
	if whole {
		since := now.Add(-adoptEnded)
		for _, v := range views {
			for _, n := range v.Nodes {
				if at := time.Unix(n.Since, 0).Add(-adoptSilent); n.Since > 0 && at.Before(since) {
					since = at
				}
			}
		}
		if oldest := now.Add(-adoptLongest); since.Before(oldest) {
			since = oldest
		}
		ended, err := ad.a.deps.DB.EventCases(ctx, portal.CaseFilter{Statuses: []string{model.StatusOK}, Since: since, Limit: adoptMost + 1})
		if err != nil {
			return nil, err
		}
		cases = append(cases, ended...)
	}
	if more := len(cases) - adoptMost; more > 0 {
		report.Refused[adoptTooMany] += more
		cases = cases[:adoptMost]
	}
	report.Cases = len(cases)
	return cases, nil
}

// items returns the last events of cases.
func (ad *adopter) items(ctx context.Context, cases []portal.EventCase, ends bool, report *adoptReport) ([]model.AdoptItem, error) {
	var asked []portal.EventCase
	var cmds []redisx.Cmd
	for _, c := range cases {
		if strings.HasPrefix(c.ID, "m_") {
			report.Refused[adoptJoined]++
			continue
		}
		asked, cmds = append(asked, c), append(cmds, redisx.C("HVALS", redisx.AlarmCase(c.ID)))
	}
	replies, err := ad.a.deps.Redis.Pipe(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	var items []model.AdoptItem
	for i, c := range asked {
		events, err := redisx.Strings(replies[i], nil)
		if err != nil || len(events) == 0 {
			report.Refused[adoptForgotten]++
			continue
		}
		for _, raw := range events {
			ev, err := Decode([]byte(raw))
			if err != nil {
				report.Refused[model.AdoptInvalid]++
				continue
			}
			if ev.Status == model.StatusProblem || ends {
				acked := c.AckedBy != "" && ev.Status == model.StatusProblem
				items = append(items, model.AdoptItem{Event: *ev, Acked: acked, AckedBy: c.AckedBy})
			}
		}
	}
	return items, nil
}

// forward gives items to the first transfer of a view that takes them, and says whether
// all judges have heard.
func (ad *adopter) forward(ctx context.Context, addrs []string, r *model.ForwardRequest, report *adoptReport) bool {
	for _, addr := range addrs {
		var reply model.ForwardReply
		if err := ad.clients[addr].Call(ctx, "Transfer.Adopt", r, &reply); err != nil {
			report.Away[addr] = err.Error()
			continue
		}
		report.Adopted += reply.Adopted
		report.Release += reply.Released
		for reason, n := range reply.Refused {
			report.Refused[reason] += n
		}
		maps.Copy(report.Away, reply.Failed)
		return reply.Refused[model.AdoptAway] == 0
	}
	report.Refused[adoptUnheard] += len(r.Items)
	return false
}

// page is GET /debug/adopt: what the last pass came to.
func (ad *adopter) page(w http.ResponseWriter, _ *http.Request) {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	daemon.WriteJSON(w, ad.last)
}
