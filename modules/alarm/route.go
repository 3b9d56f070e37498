package alarm

import (
	"context"
	"strings"
	"time"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/modules/alarm/sender"
)

// Reasons why an event is told nobody, or less than it could be.
const (
	byClosed   = "closed"     // its rule no longer watches the series
	byLate     = "late"       // the case has moved on
	byNoAction = "no_action"  // its rule tells nobody, or the action is gone
	byNoTeam   = "no_team"    // the action has no team
	byNobody   = "nobody"     // its teams have no members
	byChannel  = "no_channel" // no channel of the action is enabled
	byRestart  = "restart"    // judge told it before it was restarted, or another judge did
	byOver     = "over"       // nobody was told of a problem since its last end
	byAcked    = "acked"      // somebody works on it
	byProbe    = "probe"      // it is the dead man's
	byDisabled = "disabled"   // its host, its template or its strategy is disabled now
)

// plan is a message that is to have rows.
type plan struct {
	item    *item
	ch      *channel // nil for a callback
	notices []portal.Notice
	to      []string
	text    sender.Message
}

// route makes the messages of items, in order.
func (w *worker) route(ctx context.Context, items []*item) {
	// What was told before is looked up in rows, so those of one id may have to be
	// written first.
	begun := 0
	ids := map[string]bool{}
	for i, it := range items {
		if (it.mayBeAgain() || it.mayBeOver()) && ids[it.event.Id] {
			w.routeTogether(ctx, items[begun:i])
			begun = i
			clear(ids)
		}
		ids[it.event.Id] = true
	}
	w.routeTogether(ctx, items[begun:])
}

// mayBeAgain says whether an event may tell a step that was told: its judge has lost what
// it knew, or two judges have the series.
func (it *item) mayBeAgain() bool {
	e, prior := it.event, it.prior()
	return e.Status == model.StatusProblem && prior != nil && (prior.Status == model.StatusProblem || it.saved.Known && e.CurrentStep == 1)
}

// mayBeOver says whether an event may end a problem whose end was told: another judge
// had the series when it ended, or another action has the same case.
func (it *item) mayBeOver() bool {
	prior := it.prior()
	return it.event.Status == model.StatusOK && prior != nil && prior.Status == model.StatusOK
}

// prior is the case as the event found it; nil when the event made it, or its row could
// not be written.
func (it *item) prior() *portal.PriorCase {
	if it.saved == nil {
		return nil
	}
	return it.saved.Prior
}

// ackedBy returns who works on the problem that an event tells more of, "" for nobody.
func (it *item) ackedBy() string {
	prior := it.prior()
	if it.event.Status != model.StatusProblem || prior == nil {
		return ""
	}
	return prior.AckedBy
}

// maxNotices is how many messages are queued in one transaction, give or take those of
// one event.
const maxNotices = 5000

// routeTogether makes the messages of items whose ids do not depend on each other.
func (w *worker) routeTogether(ctx context.Context, items []*item) {
	told, how := w.lookUp(ctx, items)
	switch how {
	case stopped:
		w.drop(items)
		return
	case away:
		w.tellWithoutRows(ctx, items)
		return
	}
	var plans []plan
	var kept []*item
	n := 0
	for _, it := range items {
		more := w.plan(ctx, it, told[it], true)
		plans, kept = append(plans, more...), append(kept, it)
		for _, p := range more {
			n += len(p.notices)
		}
		if n >= maxNotices {
			w.queueMessages(ctx, plans, kept)
			plans, kept, n = nil, nil, 0
		}
	}
	w.queueMessages(ctx, plans, kept)
}

// queueMessages writes the rows of messages and gives those that are to be sent to the
// outlets.
func (w *worker) queueMessages(ctx context.Context, plans []plan, items []*item) {
	var notices []portal.Notice
	for _, p := range plans {
		notices = append(notices, p.notices...)
	}
	var rows []portal.Notice
	if len(notices) > 0 {
		switch w.patient(ctx, queueMessages, func(ctx context.Context) (err error) {
			rows, err = w.a.deps.DB.QueueNotices(ctx, notices)
			return err
		}) {
		case stopped:
			w.drop(items)
			return
		case away:
			w.tellWithoutRows(ctx, items)
			return
		}
	}
	failpoint.Reached("alarm.queued")
	for _, p := range plans {
		m := &message{item: p.item, ch: p.ch, text: p.text, callback: p.ch == nil}
		for i := range p.notices {
			if rows[i].Result == portal.NoticeQueued && w.a.active.add(rows[i].ID, p.item) {
				m.notices, m.to = append(m.notices, rows[i]), append(m.to, p.to[i])
			}
		}
		rows = rows[len(p.notices):]
		if len(m.notices) == 0 {
			continue // told before, or by its row, or about to be
		}
		p.item.waits.Add(1)
		if p.ch == nil {
			w.a.outlet(callbackOutlet, typeCallback).queue.put(m)
		} else {
			w.a.outlet(p.ch.name, p.ch.typ).queue.put(m)
		}
		if w.a.soft.Err() != nil {
			p.item.giveUp() // the outlet may have ended
		}
	}
	for _, it := range items {
		it.finish()
	}
}

// lookUp returns what was told before of those items whose event may tell it again.
func (w *worker) lookUp(ctx context.Context, items []*item) (map[*item]*portal.Told, ending) {
	var again []*item
	var asked []portal.Telling
	for _, it := range items {
		if it.silent() == "" && (it.mayBeAgain() || it.mayBeOver()) {
			again = append(again, it)
			asked = append(asked, portal.Telling{CaseID: it.event.Id, Action: it.event.ActionId(), At: time.Unix(it.event.EventTime, 0)})
		}
	}
	if len(asked) == 0 {
		return nil, done
	}
	var all []*portal.Told
	if how := w.patient(ctx, readTold, func(ctx context.Context) (err error) {
		all, err = w.a.deps.DB.LastTold(ctx, asked)
		return err
	}); how != done {
		return nil, how
	}
	told := make(map[*item]*portal.Told, len(again))
	for i, it := range again {
		told[it] = all[i]
	}
	return told, done
}

// silent is the reason why nobody is told of an event, whatever was told before.
func (it *item) silent() string {
	switch {
	case it.event.Closed != "":
		return byClosed
	case it.action == nil || it.action == nobody:
		return byNoAction
	case it.saved != nil && !it.saved.Moved && !it.saved.Known:
		return byLate
	}
	return ""
}

// plan says what is to be sent of one item, of whose problem told was told before: nothing
// when that is nil and was looked up, else nobody knows.
func (w *worker) plan(ctx context.Context, it *item, told *portal.Told, looked bool) (plans []plan) {
	e, a := it.event, w.a
	if reason := it.silent(); reason != "" {
		a.suppressed.Add(reason, 1)
		return nil
	}
	result, event, answer := portal.NoticeQueued, e, ""
	if by := a.gate.hides(ctx, e); by != nil {
		a.suppressed.Add(byDisabled, 1)
		result, answer = portal.NoticeDisabled, why(by, a.loc)
	} else if by := it.ackedBy(); by != "" {
		// Its judge knows, unless it has lost that, or another judge has the series now.
		a.suppressed.Add(byAcked, 1)
		result, answer = portal.NoticeAcked, by+" works on it"
	} else if looked && it.mayBeOver() {
		if told == nil {
			a.suppressed.Add(byOver, 1)
			return nil
		}
	} else if told != nil && told.Step >= e.CurrentStep {
		if told.Step >= e.MaxStep() || e.EventTime-told.At.Unix() < minInterval {
			result = portal.NoticeDup
			a.suppressed.Add(byRestart, 1)
		} else { // what judge would have said had it not forgotten
			next := *e
			next.CurrentStep = told.Step + 1
			event = &next
		}
	}
	text := Compose(event, a.cfg.API.Dashboard, a.loc)
	now := a.now()
	message := a.linked(sender.Message{Short: text.Short, Body: text.Body, Event: event}, "", now)
	notice := func(receiver, channel, result string) portal.Notice {
		return portal.Notice{CaseID: e.Id, EventTS: time.Unix(e.EventTime, 0), SendTS: now, Endpoint: e.Endpoint, Metric: e.Counter(), Priority: e.Priority(),
			Status: e.Status, Step: event.CurrentStep, ActionID: e.ActionId(), Receiver: receiver, Channel: channel, Result: result, Answer: answer}
	}
	if it.action.Callback == 1 {
		plans = append(plans, plan{item: it, notices: []portal.Notice{notice("callback", typeCallback, result)}, to: []string{""}, text: message})
	}
	all := a.channels.chosen(it.action)
	switch {
	case len(names(it.action.UIC)) == 0 && len(names(it.action.Channels)) == 0:
		a.suppressed.Add(byNoTeam, 1)
		return plans
	case len(all) == 0:
		a.suppressed.Add(byChannel, 1)
		return plans
	case len(it.people) == 0:
		a.suppressed.Add(byNobody, 1)
	}
	for _, ch := range all {
		if ch.typ == sender.SMS && e.Priority() >= 3 {
			continue // as stock
		}
		if !sender.ToPeople(ch.typ) {
			receiver := ch.name
			if strings.EqualFold(receiver, typeCallback) {
				receiver = "channel" // the row of a callback is another's
			}
			plans = append(plans, plan{item: it, ch: ch, notices: []portal.Notice{notice(receiver, ch.name, result)}, to: []string{""}, text: message})
			continue
		}
		var one plan
		for _, person := range it.people {
			addr := person.Address(ch.typ)
			if addr == "" {
				continue
			}
			n := notice(person.Name, ch.name, result)
			if ch.typ == sender.Inbox && result == portal.NoticeQueued {
				n.Result, n.Attempts, n.Inbox = portal.NoticeSent, 1, true
			}
			if !sender.Together(ch.typ) {
				own := a.linked(sender.Message{Short: text.Short, Body: text.Body, Event: event}, person.Name, now)
				plans = append(plans, plan{item: it, ch: ch, notices: []portal.Notice{n}, to: []string{addr}, text: own})
				continue
			}
			one.notices, one.to = append(one.notices, n), append(one.to, addr)
		}
		if len(one.notices) > 0 {
			one.item, one.ch, one.text = it, ch, message
			plans = append(plans, one)
		}
	}
	return plans
}
