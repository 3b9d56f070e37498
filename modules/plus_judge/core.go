package plusjudge

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"

	"falcon/common/model"
	"falcon/common/verdict"
)

// Settings are the choices of an operator. Times are in seconds.
type Settings struct {
	// TTL is how long a condition holds without being refreshed; conditions whose points
	// are further apart hold for three of them.
	TTL int64
	// Forget is how long a combination is kept without any refresh.
	Forget int64
	// MinInterval is the least time between two messages of one problem.
	MinInterval int64
	// RecoverAll ends a problem only when no condition holds any more; otherwise it ends
	// as soon as one does not.
	RecoverAll bool
}

// Bounds of what strangers may make a core keep.
const (
	MaxMembers      = 64      // of a combination
	MaxSeries       = 1000    // of a member on a host
	MaxCombinations = 500_000 // on all hosts
)

// A Core holds the combinations. It is pure: the time is an argument, Unix seconds. It is
// not for use by several goroutines at once.
type Core struct {
	set Settings
	all map[string]*combination // by key
}

// NewCore returns a core without combinations.
func NewCore(set Settings) *Core { return &Core{set: set, all: map[string]*combination{}} }

// A combination is a rule of several conditions on one host, for the people of one action.
type combination struct {
	key      string
	serial   string
	endpoint string
	action   int
	count    int // members that have to hold
	members  map[int]*member
	state    verdict.State
	acked    Acked        // counts while the state says so
	last     *model.Event // told last; nil for none
	since    int64        // when the last event was told
	heard    int64        // when any member was last heard of
	// held is until when a restarted plus_judge waits for members before it believes that
	// they are silent.
	held int64
}

// Acked says who works on a problem, "" for unknown, and since when, Unix seconds.
type Acked struct {
	By string
	At int64
}

// A member is one condition: it holds while one of its series does.
type member struct {
	series map[string]*series // by event id
}

// A series is the last event of one condition on one series.
type series struct {
	event *model.Event
	at    int64 // when it was last heard of
	since int64 // since when it has its status
	// restored says that it was not heard of since a restart: it keeps a problem that
	// goes on, and does not begin one.
	restored bool
}

// key is by what a combination is kept: one strategy that reaches a host through the
// templates of two actions tells both.
func keyOf(serial, endpoint string, action int) string {
	return verdict.CombinationKey(serial, endpoint) + "|" + strconv.Itoa(action)
}

// Reasons why an event is refused, beside those of model.
const (
	reasonNoStrategy = "no_strategy" // an expression, or nothing
	reasonNoSerial   = "no_serial"   // its strategy is a rule of its own
	reasonCount      = "count"       // fewer than two members, or too many
	reasonStatus     = "status"
	reasonFull       = "full"
)

// refreshed is how often a condition that goes on is heard of, in seconds.
const refreshed = 60

// maxName bounds ids and names that are kept, in bytes.
const maxName = 1024

// Refuse says what is wrong with an event of a member, "" for nothing. future is how far
// its time may be ahead of now.
func Refuse(e *model.Event, now, future int64) string {
	switch {
	case e == nil:
		return model.ReasonNull
	case e.Strategy == nil || e.Strategy.Id <= 0:
		return reasonNoStrategy
	case e.Strategy.Serial() == "":
		return reasonNoSerial
	case e.Id == "" || e.Endpoint == "":
		return model.ReasonNoName
	case len(e.Id) > maxName || len(e.Endpoint) > maxName || len(e.Strategy.Serial()) > maxName || len(e.Strategy.Metric) > maxName:
		return model.ReasonTooLong
	case len(e.Strategy.Note) > 16*maxName || size(e.PushedTags)+size(e.Strategy.Tags) > 16*maxName:
		return model.ReasonTooLong
	case e.Strategy.MultiCount < 2 || e.Strategy.MultiCount > MaxMembers:
		return reasonCount
	case e.Status != model.StatusProblem && e.Status != model.StatusOK:
		return reasonStatus
	case e.EventTime <= 0:
		return model.ReasonTimestamp
	case e.EventTime > now+future:
		return model.ReasonFuture
	case math.IsNaN(e.LeftValue) || math.IsInf(e.LeftValue, 0) || math.IsNaN(e.Strategy.RightValue) || math.IsInf(e.Strategy.RightValue, 0):
		return model.ReasonValue
	}
	return ""
}

func size(tags map[string]string) (n int) {
	for k, v := range tags {
		n += len(k) + len(v)
	}
	return n
}

// Take looks at an event of a member that Refuse finds nothing wrong with, and returns
// what has to be told, nil for nothing. changed says that the series has another status
// than before: that is what a restart needs to know. reason is not empty when there is no
// place for it.
func (c *Core) Take(e *model.Event, now int64) (told *model.Event, changed bool, reason string) {
	e.EventChain = nil
	key := keyOf(e.Strategy.Serial(), e.Endpoint, e.ActionId())
	cm := c.all[key]
	if cm == nil {
		if e.Status == model.StatusOK {
			return nil, false, "" // nobody knew that it did not hold
		}
		if len(c.all) >= MaxCombinations {
			return nil, false, reasonFull
		}
		cm = c.make(e)
	}
	changed, reason = cm.put(e, now)
	if reason != "" {
		if len(cm.members) == 0 {
			delete(c.all, key)
		}
		return nil, false, reason
	}
	return c.look(cm, now, e.Closed, false), changed, ""
}

func (c *Core) make(e *model.Event) *combination {
	cm := &combination{
		serial: e.Strategy.Serial(), endpoint: e.Endpoint, action: e.ActionId(), members: map[int]*member{},
	}
	cm.key = keyOf(cm.serial, cm.endpoint, cm.action)
	c.all[cm.key] = cm
	return cm
}

// put keeps the event as the last one of its series.
func (cm *combination) put(e *model.Event, now int64) (changed bool, reason string) {
	m := cm.members[e.Strategy.Id]
	if m == nil {
		if e.Status == model.StatusOK {
			return false, ""
		}
		if len(cm.members) >= MaxMembers {
			return false, reasonFull
		}
		m = &member{series: map[string]*series{}}
		cm.members[e.Strategy.Id] = m
	}
	s := m.series[e.Id]
	switch {
	case s == nil && e.Status == model.StatusOK:
		return false, ""
	case s == nil:
		if len(m.series) >= MaxSeries && !m.makeRoom() {
			return false, reasonFull
		}
		s = &series{since: now}
		m.series[e.Id] = s
		changed = true
	case s.event.Status != e.Status:
		s.since, changed = now, true
	}
	s.event, s.at, s.restored = e, now, false
	cm.heard, cm.count = now, e.Strategy.MultiCount
	return changed, ""
}

// makeRoom forgets a series that does not hold.
func (m *member) makeRoom() bool {
	for id, s := range m.series {
		if s.event.Status == model.StatusOK {
			delete(m.series, id)
			return true
		}
	}
	return false
}

// holding says how a member stands.
type holding uint8

const (
	no       holding = iota
	probably         // it did before a restart, and was not heard of since
	yes
)

// ttl is for how long an event of a series counts.
func (c *Core) ttl(e *model.Event) int64 {
	return max(c.set.TTL, min(3*e.Every, c.set.Forget))
}

func (c *Core) holds(cm *combination, m *member, now int64) (h holding) {
	for _, s := range m.series {
		switch {
		case s.event.Status != model.StatusProblem:
		case s.restored && now < cm.held:
			h = max(h, probably)
		case !s.restored && now-s.at <= c.ttl(s.event):
			return yes
		}
	}
	return h
}

// look decides whether anything is to be told of a combination. closed is the reason why
// the rule of a member is gone, "" when it is not. When nothing was heard it can only be
// over: silence tells no problem.
func (c *Core) look(cm *combination, now int64, closed string, silence bool) *model.Event {
	if silence && cm.state.Status != verdict.Problem {
		return nil
	}
	holds, perhaps := 0, 0
	for _, m := range cm.members {
		switch c.holds(cm, m, now) {
		case yes:
			holds++
		case probably:
			perhaps++
		}
	}
	triggered := holds >= cm.count
	over := holds+perhaps < cm.count
	if c.set.RecoverAll {
		over = holds+perhaps == 0
	}
	if !triggered && !over || triggered && silence {
		return nil
	}
	primary := cm.primary()
	if primary == nil {
		return nil
	}
	// Who hears of points late, or whose clock is ahead, counts by their times, as judge does.
	newest := cm.newest()
	next, emit := verdict.Next(cm.state, verdict.Rule{MaxStep: primary.Strategy.MaxStep, MinInterval: c.set.MinInterval},
		verdict.Seen{Triggered: triggered, Newest: newest, Oldest: math.MaxInt64, Now: min(now, newest+refreshed)})
	if emit == verdict.Nothing {
		return nil
	}
	// Events of one id must not go back in time, nor may two of them look like one: what
	// begins again begins later than it ended.
	least := cm.state.EventTime
	if emit == verdict.TellProblem && least > 0 {
		least++
	}
	next.EventTime = max(next.EventTime, least)
	cm.state = next
	return cm.tell(primary, now, closed)
}

// newest is the time of the newest event of any member.
func (cm *combination) newest() (at int64) {
	for _, m := range cm.members {
		for _, s := range m.series {
			at = max(at, s.event.EventTime)
		}
	}
	return at
}

// latest returns the event that speaks for a member: of the series that hold, if any, the
// newest; nil when it has none.
func (m *member) latest() *model.Event {
	var best *model.Event
	for _, s := range m.series {
		if best == nil || better(s.event, best) {
			best = s.event
		}
	}
	return best
}

func better(a, b *model.Event) bool {
	return cmp.Or(
		cmp.Compare(b2i(a.Status == model.StatusProblem), b2i(b.Status == model.StatusProblem)),
		cmp.Compare(a.EventTime, b.EventTime),
		cmp.Compare(b.Id, a.Id),
	) > 0
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// primary returns the latest event of the member with the smallest id; while there is a
// problem, of the one that it was told with.
func (cm *combination) primary() *model.Event {
	if cm.state.Status == verdict.Problem && cm.last != nil {
		if m := cm.members[cm.last.Strategy.Id]; m != nil {
			if e := m.latest(); e != nil {
				return e
			}
		}
		return cm.last
	}
	for _, id := range slices.Sorted(maps.Keys(cm.members)) {
		if e := cm.members[id].latest(); e != nil {
			return e
		}
	}
	return cm.last
}

// tell writes the event of the state that cm has come to.
func (cm *combination) tell(primary *model.Event, now int64, closed string) *model.Event {
	s := *primary.Strategy
	s.MultiSerial, s.MultiCount = cm.serial, cm.count
	id := verdict.CombinationID(s.Id, cm.serial, cm.endpoint)
	var chain []*model.Event
	for _, n := range slices.Sorted(maps.Keys(cm.members)) {
		e := cm.members[n].latest()
		if e == nil || e == primary {
			continue
		}
		other := *e
		other.Every, other.EventChain = 0, nil
		chain = append(chain, &other)
		if verdict.Severer(e.Strategy.Priority, s.Priority) {
			s.Priority = e.Strategy.Priority
		}
	}
	if cm.state.Status == verdict.OK && cm.last != nil {
		// The end of what was told, to those who were told it, whatever the members say by
		// now.
		id, s = cm.last.Id, *cm.last.Strategy
	}
	ev := verdict.Event(id, cm.endpoint, primary.PushedTags, cm.state, primary.LeftValue)
	ev.Strategy, ev.EventChain = &s, chain
	if cm.state.Status == verdict.OK {
		ev.Closed = closed
	}
	cm.last, cm.since = ev, now
	return ev
}

// Shift moves what is known of members, and when something was told, by some seconds, as the
// clock was.
func (c *Core) Shift(by int64) {
	for _, cm := range c.all {
		cm.heard += by
		cm.held += by
		if cm.last != nil {
			cm.since += by
		}
		for _, m := range cm.members {
			for _, s := range m.series {
				s.at += by
				s.since += by
			}
		}
	}
}

// Tick looks at every combination: conditions that are silent hold no longer, and
// combinations that nobody refreshes are forgotten.
func (c *Core) Tick(now int64) (told []*model.Event) {
	for key, cm := range c.all {
		if now-cm.heard > c.set.Forget && now >= cm.held {
			if cm.state.Status == verdict.Problem {
				cm.state = verdict.State{Status: verdict.OK, Step: 1, EventTime: max(now, cm.state.EventTime)}
				if p := cm.primary(); p != nil {
					told = append(told, cm.tell(p, now, model.ClosedStale))
				}
			}
			delete(c.all, key)
			continue
		}
		if e := c.look(cm, now, "", true); e != nil {
			told = append(told, e)
		}
		cm.sweep(now, c.set.Forget)
	}
	slices.SortFunc(told, func(a, b *model.Event) int {
		return cmp.Or(cmp.Compare(a.EventTime, b.EventTime), cmp.Compare(a.Id, b.Id), cmp.Compare(a.ActionId(), b.ActionId()))
	})
	return told
}

// sweep forgets series that were silent for long.
func (cm *combination) sweep(now, forget int64) {
	for id, m := range cm.members {
		for name, s := range m.series {
			if now-s.at > forget && now >= cm.held {
				delete(m.series, name)
			}
		}
		if len(m.series) == 0 {
			delete(cm.members, id)
		}
	}
}

// Ack stops further messages of the combinations with this event id until they are over,
// or with nil has them told again; it says how many of them are a problem.
func (c *Core) Ack(id string, by *Acked) (n int) {
	for _, cm := range c.all {
		if cm.last != nil && cm.last.Id == id && cm.state.Status == verdict.Problem {
			cm.ack(by)
			n++
		}
	}
	return n
}

func (cm *combination) ack(by *Acked) {
	if cm.state.Acked = by != nil; by != nil {
		cm.acked = *by
	}
}

// Len returns how many combinations are kept, and Problems how many of them are one.
func (c *Core) Len() int { return len(c.all) }

// Problems returns how many combinations are a problem.
func (c *Core) Problems() (n int) {
	for _, cm := range c.all {
		if cm.state.Status == verdict.Problem {
			n++
		}
	}
	return n
}

// Restore takes what the last run knew of a series: the last event that changed it, heard
// of at the moment at. It counts for one TTL from now: a restart ends nothing that goes on.
func (c *Core) Restore(e *model.Event, at, now int64) {
	cm := c.all[keyOf(e.Strategy.Serial(), e.Endpoint, e.ActionId())]
	if cm == nil {
		cm = c.make(e)
	}
	heard := cm.heard
	if _, reason := cm.put(e, at); reason != "" {
		return
	}
	cm.heard, cm.held = max(heard, at), now+c.set.TTL
	if m := cm.members[e.Strategy.Id]; m != nil && m.series[e.Id] != nil {
		m.series[e.Id].restored = true
	}
}

// RestoreTold takes the last event that was told of a combination by the last run, at the
// moment at, and who works on it, nil for nobody.
func (c *Core) RestoreTold(e *model.Event, by *Acked, at, now int64) {
	cm := c.all[keyOf(e.Strategy.Serial(), e.Endpoint, e.ActionId())]
	if cm == nil {
		cm = c.make(e)
	}
	cm.count = max(cm.count, e.Strategy.MultiCount)
	cm.last, cm.since, cm.heard, cm.held = e, at, max(cm.heard, at), now+c.set.TTL
	cm.state = verdict.State{Step: e.CurrentStep, EventTime: e.EventTime}
	cm.ack(by)
	if e.Status == model.StatusProblem {
		cm.state.Status = verdict.Problem
	}
}

// Each calls fn with every series and when it was heard of.
func (c *Core) Each(fn func(e *model.Event, at int64)) {
	for _, cm := range c.all {
		for _, m := range cm.members {
			for _, s := range m.series {
				fn(s.event, s.at)
			}
		}
	}
}

// Acked says who works on the combination of a told event, nil for nobody.
func (c *Core) Acked(e *model.Event) *Acked {
	cm := c.all[keyOf(e.Strategy.Serial(), e.Endpoint, e.ActionId())]
	if cm == nil || !cm.state.Acked {
		return nil
	}
	return &cm.acked
}
