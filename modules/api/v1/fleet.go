package v1

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/run"
	"falcon/common/stat"
)

// Fleet is whom the page Home asks.
type Fleet struct {
	Daemons []Watched
	// Timeout is how long one may take.
	Timeout time.Duration
	// Health is that of this api itself.
	Health func() error
}

// A Watched daemon is asked how it is.
type Watched struct {
	Name string // of the daemon, such as transfer
	Addr string // as people call it
	Peer Peer   // its admin pages
}

// fleetLook is how the fleet is at a moment.
type fleetLook struct {
	At      int64         `json:"at"`
	Road    fleetRoad     `json:"road"`
	Refused []refusedBy   `json:"refused"` // the most first; only what was refused since the start of its daemon
	Daemons []fleetDaemon `json:"daemons"`
	// Partial names daemons whose part of the road is missing.
	Partial []string `json:"partial"`
}

// fleetRoad are the sums over all daemons that answered. Rates are a second, and null while
// they are not known; ages are seconds, -1 when nobody says.
type fleetRoad struct {
	In      *float64 `json:"in"`      // points that transfers took
	Stored  *float64 `json:"stored"`  // points that graphs stored
	Refused *float64 `json:"refused"` // points that were refused, duplicates left out
	Spooled int64    `json:"spooled"` // points that wait on a disk, for whoever is away
	Stale   int64    `json:"stale"`   // points that were never judged, since the start of transfers
	Rules   int64    `json:"rules"`   // in force
	// RulesAge is how old the rules are where they are oldest: at a judge, since no hbs
	// confirmed them; RowsAge since an hbs read the database.
	RulesAge int64 `json:"rules_age"`
	RowsAge  int64 `json:"rows_age"`
	Events   int64 `json:"events"`  // that wait for alarm, in Redis and at judges
	LagSec   int64 `json:"lag_sec"` // how late the last event was
	Open     int64 `json:"open"`    // problems
}

// refusedBy is how many points somebody refused, and why.
type refusedBy struct {
	Daemon string   `json:"daemon"`
	Addr   string   `json:"addr"`
	Reason string   `json:"reason"`
	N      int64    `json:"n"`
	Rate   *float64 `json:"rate"`
}

// States of a daemon.
const (
	stateOK      = "ok"
	stateNote    = "note"    // it works and has something to say
	stateUnready = "unready" // it does not work
	stateAway    = "away"    // it does not answer
)

type fleetDaemon struct {
	Name  string   `json:"name"`
	Addr  string   `json:"addr"`
	State string   `json:"state"`
	Words []string `json:"words"` // what /health says beside ok, or why it does not answer
	// Counted is false for one whose counters are not known, such as some of stock's.
	Counted bool `json:"counted"`
}

// seen is what one look has found at one daemon.
type seen struct {
	fleetDaemon
	rows map[string]stat.Row
	at   time.Time
}

// rate returns what a counter grows by, a second, since an earlier look; nil when it is not
// known. A daemon that was started anew in between counts from zero.
func (s *seen) rate(before *seen, of func(*seen) int64) *float64 {
	if before == nil || !before.Counted || !s.Counted {
		return nil
	}
	d := s.at.Sub(before.at).Seconds()
	if d <= 0 {
		return nil
	}
	n := of(s)
	if was := of(before); was <= n {
		n -= was
	}
	if n == 0 && d < fleetShort.Seconds() {
		return nil
	}
	v := float64(n) / d
	return &v
}

// watchFleet returns nil when there is nobody to ask.
func watchFleet(f Fleet, own *stat.Set, now func() time.Time) *fleetWatch {
	if len(f.Daemons) == 0 {
		return nil
	}
	return &fleetWatch{daemons: f.Daemons, timeout: f.Timeout, now: now, own: func() seen {
		s := seen{fleetDaemon: fleetDaemon{Name: "api", State: stateOK, Words: []string{}}}
		if err := f.Health(); err != nil {
			s.State, s.Words = stateUnready, []string{err.Error()}
		}
		s.count(own.Rows())
		return s
	}}
}

// fleetWatch looks at the daemons when somebody wants to know, seldom more than each
// second, for all who ask at once.
type fleetWatch struct {
	daemons []Watched
	timeout time.Duration
	now     func() time.Time
	own     func() seen // this api itself

	mu    sync.Mutex
	last  []seen
	at    time.Time
	ready *fleetLook
}

const (
	// fleetFresh is how long a look is good for everybody.
	fleetFresh = 2 * time.Second
	// fleetOld is how old an earlier look may be to compute rates from; and
	// fleetPause lies between two looks when there is none.
	fleetOld   = time.Minute
	fleetPause = 1100 * time.Millisecond
	// fleetShort is a time in which nothing may come of a fleet that sends each ten
	// seconds: that there was nothing says nothing.
	fleetShort = 8 * time.Second
	// fleetAsked is how many daemons are asked at once.
	fleetAsked = 32
)

// look returns how the fleet is.
func (f *fleetWatch) look(ctx context.Context) (*fleetLook, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); f.ready != nil && now.Sub(f.at) < fleetFresh {
		return f.ready, nil
	}
	before := f.last
	if before == nil || f.now().Sub(f.at) > fleetOld {
		before = f.ask(ctx)
		if !run.Sleep(ctx, fleetPause) {
			return nil, ctx.Err()
		}
	}
	now := f.ask(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err // what was cut short is no look
	}
	f.last, f.at = now, f.now()
	f.ready = sumUp(before, now, f.at)
	return f.ready, nil
}

// ask asks every daemon, in the order in which data flows.
func (f *fleetWatch) ask(ctx context.Context) []seen {
	all := make([]seen, len(f.daemons), len(f.daemons)+1)
	var wg sync.WaitGroup
	turns := make(chan struct{}, fleetAsked)
	for i, d := range f.daemons {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			ctx, cancel := context.WithTimeout(ctx, f.timeout)
			defer cancel()
			all[i] = askOne(ctx, d)
			all[i].at = f.now()
		})
	}
	wg.Wait()
	own := f.own()
	own.at = f.now()
	return append(all, own)
}

// maxWords bounds what is shown of a /health, in bytes.
const maxWords = 4 << 10

func askOne(ctx context.Context, d Watched) seen {
	s := seen{fleetDaemon: fleetDaemon{Name: d.Name, Addr: d.Addr, State: stateOK, Words: []string{}}}
	b, err := d.Peer.Get(ctx, "/health")
	if status, ok := errors.AsType[*httpx.StatusError](err); ok {
		s.State, b, err = stateUnready, status.Body, nil
	}
	if err != nil {
		if whole, ok := errors.AsType[*url.Error](err); ok {
			err = whole.Err // the address stands beside it
		}
		s.State, s.Words = stateAway, []string{err.Error()}
		return s
	}
	said := strings.ToValidUTF8(string(b[:min(len(b), maxWords)]), "\ufffd")
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" && line != "ok" {
			s.Words = append(s.Words, line)
		}
	}
	if s.State == stateOK && len(s.Words) > 0 {
		s.State = stateNote
	}
	// A daemon of stock may have no such page: then its part is missing, and it is well.
	var counters struct{ Data []stat.Row }
	if b, err = d.Peer.Get(ctx, "/statistics/all"); err == nil && json.Unmarshal(b, &counters) == nil {
		s.count(counters.Data)
	}
	return s
}

func (s *seen) count(rows []stat.Row) {
	s.Counted, s.rows = true, make(map[string]stat.Row, len(rows))
	for _, r := range rows {
		s.rows[r.Name] = r
	}
}

// refusals are the counters that say what was refused, by daemon.
var refusals = map[string][]string{
	"agent": {"RecvInvalidCnt", "SendFailCnt"}, "transfer": {"RecvInvalidCnt"}, "gateway": {"RecvInvalidCnt"}, "graph": {"RefusedCnt"}, "judge": {"recv.invalid"},
}

// sumUp makes of two looks what is shown.
func sumUp(before, now []seen, at time.Time) *fleetLook {
	l := &fleetLook{At: at.Unix(), Refused: []refusedBy{}, Daemons: []fleetDaemon{}, Partial: []string{}}
	l.Road.RulesAge, l.Road.RowsAge = -1, -1
	was := func(s *seen) *seen {
		i := slices.IndexFunc(before, func(b seen) bool { return b.Name == s.Name && b.Addr == s.Addr })
		if i < 0 {
			return nil
		}
		return &before[i]
	}
	add := func(to **float64, v *float64) {
		if v == nil {
			return
		}
		if *to == nil {
			*to = new(float64)
		}
		**to += *v
	}
	for i := range now {
		s := &now[i]
		l.Daemons = append(l.Daemons, s.fleetDaemon)
		if !s.Counted {
			l.Partial = append(l.Partial, s.Name+" "+s.Addr)
			continue
		}
		of := func(name string) func(*seen) int64 { return func(s *seen) int64 { return s.rows[name].Cnt } }
		n := func(name string) int64 { return s.rows[name].Cnt }
		r := &l.Road
		switch s.Name {
		case "transfer":
			add(&r.In, s.rate(was(s), of("RecvCnt")))
			r.Stale += n("StaleCnt")
			r.Spooled += n("SpoolCnt")
		case "gateway":
			r.Spooled += n("SpoolCnt")
		case "graph":
			add(&r.Stored, s.rate(was(s), of("TakenCnt")))
		case "judge":
			r.Rules, r.RulesAge = max(r.Rules, n("strategy.count")), max(r.RulesAge, n("strategy.age"))
			r.Events += n("event.spool")
		case "plus_judge":
			r.Events += n("event.spool")
		case "hbs":
			r.RowsAge = max(r.RowsAge, n("strategy.version.age"))
		case "alarm":
			r.LagSec, r.Open = max(r.LagSec, n("lag.sec")), max(r.Open, n("unrecovered"))
		}
		for _, name := range refusals[s.Name] {
			// That a point was there already is no refusal to worry about; it stands in the list.
			add(&l.Road.Refused, s.rate(was(s), func(s *seen) int64 { return s.rows[name].Cnt - s.rows[name].Other[model.ReasonDuplicate] }))
			for reason, n := range s.rows[name].Other {
				if n > 0 {
					l.Refused = append(l.Refused, refusedBy{s.Name, s.Addr, reason, n, s.rate(was(s), func(s *seen) int64 { return s.rows[name].Other[reason] })})
				}
			}
		}
	}
	// Every alarm sees the same lists.
	waiting := int64(0)
	for i := range now {
		if now[i].Name == "alarm" {
			waiting = max(waiting, now[i].rows["queue.len"].Cnt)
		}
	}
	l.Road.Events += waiting
	slices.SortFunc(l.Refused, func(a, b refusedBy) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Daemon+a.Addr+a.Reason, b.Daemon+b.Addr+b.Reason))
	})
	return l
}

// fleet says how the road from the agents to people is, and how each daemon is. The header
// of partial answers names those that did not answer.
func (s *server) fleet(c *Call) (any, error) {
	if s.watch == nil {
		return nil, &Error{Status: http.StatusServiceUnavailable, Text: "this api knows no other daemons: name them in fleet.daemons"}
	}
	look, err := s.watch.look(c.Ctx())
	if err != nil {
		return nil, err
	}
	if len(look.Partial) > 0 {
		s.partial(c, look.Partial)
	}
	return look, nil
}
