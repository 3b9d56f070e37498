package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/run"
)

// While the database alarms is away for longer than db.patience, people are told without
// rows: what these are to say is kept in Redis, beside the events, and written when the
// database is back, before the next event of the part is worked. An event is told once all
// the same: its record says that it is about to be told before it is, and what came of it.

// Things that workers do with the database.
const (
	writeEvents   = "write events"
	queueMessages = "queue messages"
	readTold      = "read what was told"
)

// An ending is how something ended that a worker did with the database.
type ending int

const (
	done    ending = iota
	stopped        // alarm is told to stop
	away           // the database is away for too long
)

// probeEvery is how often a worker looks whether the database is back.
const probeEvery = time.Second

// besides is how many messages without rows an outlet has in hand at once, beside those
// with rows.
const besides = 16

// debts is what a worker knows of rows that are owed.
type debts struct {
	rowless bool         // people are told without rows
	unpaid  bool         // there may be records in Redis
	probe   time.Time    // when the database is looked at again
	since   time.Time    // when it was away first, of a worker that has not told without rows yet
	owing   atomic.Int64 // events in hand that are told without rows
}

// record is an event as it is kept in AlarmOwed.
type record struct {
	At      int64           `json:"at"` // when it was taken, Unix nanoseconds: rows are written in this order
	Event   json.RawMessage `json:"event"`
	Teams   []string        `json:"teams"` // as portal.AlarmEvent has them
	Notices []portal.Notice `json:"notices"`
}

// owed is the record of an event in hand.
type owed struct {
	part int
	key  string

	mu sync.Mutex
	record
}

// owedKey names an event in AlarmOwed.
func owedKey(e *model.Event) string {
	return fmt.Sprintf("%s:%s:%d:%d:%d", e.Id, e.Status, e.EventTime, e.CurrentStep, e.ActionId())
}

// sameMessage says whether two notices of an event are of one message.
func sameMessage(a, b *portal.Notice) bool {
	return a.Receiver == b.Receiver && a.Channel == b.Channel && a.Step == b.Step && a.Status == b.Status
}

// find returns what is known of a message; nil when it is new.
func (o *owed) find(n *portal.Notice) *portal.Notice {
	for i := range o.Notices {
		if sameMessage(&o.Notices[i], n) {
			return &o.Notices[i]
		}
	}
	return nil
}

// note puts what became of messages into the record.
func (o *owed) note(notices ...portal.Notice) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range notices {
		if known := o.find(&n); known != nil {
			*known = n
		} else {
			o.Notices = append(o.Notices, n)
		}
	}
}

// command writes the record.
func (o *owed) command() (redisx.Cmd, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	raw, err := json.Marshal(&o.record)
	return redisx.C("HSET", redisx.AlarmOwed(o.part), o.key, raw), err
}

// messageID names a message for its provider.
func messageID(n *portal.Notice) string {
	if n.ID != 0 {
		return fmt.Sprintf("alarm.notice.%d", n.ID)
	}
	h := fnv.New128a()
	fmt.Fprintf(h, "%s\x00%d\x00%s\x00%d\x00%d\x00%s\x00%s", n.CaseID, n.EventTS.Unix(), n.Status, n.Step, n.ActionID, n.Receiver, n.Channel)
	return fmt.Sprintf("alarm.event.%x", h.Sum(nil))
}

// answerFor is how long a database may take for an answer, and more when there is more patience:
// one that hangs says nothing at all.
const answerFor = 5 * time.Second

// patient does something with the database until it succeeds, or the database is away for
// too long. Once people are told without rows it is not asked, until the rows are written: it
// does not know what was told meanwhile, be it of an event of the same batch.
func (w *worker) patient(ctx context.Context, what string, do func(context.Context) error) ending {
	if w.rowless {
		return away
	}
	limit := time.Now().Add(w.a.cfg.DB.Patience.D())
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := w.inTime(ctx, do)
		if err == nil {
			w.a.trouble.Clear(what)
			return done
		}
		if ctx.Err() != nil {
			return stopped
		}
		w.a.dbErrors.Add(1)
		w.a.trouble.Set(w.a.log, "something is tried again until it works", what, err)
		if w.a.cfg.DB.Patience > 0 {
			left := time.Until(limit)
			if left <= 0 {
				w.withoutRows(what, err)
				return away
			}
			pause = min(pause, left)
		}
		if !run.Sleep(ctx, pause) {
			return stopped
		}
	}
}

// inTime does something with the database, which has some time for it; where nobody is told
// without rows it has as long as its connection gives it.
func (w *worker) inTime(ctx context.Context, do func(context.Context) error) error {
	if patience := w.a.cfg.DB.Patience.D(); patience > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, max(patience, answerFor))
		defer cancel()
	}
	return do(ctx)
}

// withoutRows begins to tell people without rows.
func (w *worker) withoutRows(what string, err error) {
	if !w.rowless {
		w.a.log.Warn("the database is away: people are told, and rows are written when it is back", "what", what, "err", err)
	}
	w.rowless, w.unpaid, w.probe = true, true, time.Now().Add(probeEvery)
}

// tellWithoutRows makes the messages of items, and a record of each item in the place of
// its rows.
func (w *worker) tellWithoutRows(ctx context.Context, items []*item) {
	if len(items) == 0 {
		return
	}
	plans := map[*item][]plan{}
	var cmds []redisx.Cmd
	var taken []*item
	for i, it := range items {
		all := w.plan(ctx, it, nil, false)
		o := &owed{part: it.part.n, key: owedKey(it.event), record: record{At: w.a.now().UnixNano() + int64(i), Event: it.element.Payload}}
		if it.action != nil {
			o.Teams = append([]string{}, names(it.action.UIC)...)
		}
		for _, p := range all {
			for _, n := range p.notices {
				if n.Result == portal.NoticeQueued {
					n.Attempts = 1 // about to be sent
				}
				o.Notices = append(o.Notices, n)
			}
		}
		raw, err := json.Marshal(&o.record)
		if err != nil {
			w.kill(ctx, it, fmt.Sprintf("no record can be made of it: %v", err))
			continue
		}
		it.owed, plans[it] = o, all
		taken = append(taken, it)
		cmds = append(cmds, redisx.C("HSETNX", redisx.AlarmOwed(o.part), o.key, raw), redisx.C("HGET", redisx.AlarmOwed(o.part), o.key))
	}
	if len(taken) == 0 {
		return
	}
	answers, err := w.a.deps.Redis.Pipe(ctx, cmds...)
	redealt := int64(0)
	if err == nil {
		redealt, err = redisx.Int64(w.a.deps.Redis.Do(ctx, "EXISTS", redisx.AlarmRedealt))
	}
	if err != nil {
		for _, it := range taken {
			it.owed = nil
		}
		w.drop(taken) // they come again
		return
	}
	failpoint.Reached("alarm.owed")
	w.unpaid = true
	for i, it := range taken {
		fresh, err1 := redisx.Int64(answers[2*i], nil)
		raw, err2 := redisx.Bytes(answers[2*i+1], nil)
		var before record
		if fresh == 0 {
			// An alarm died while it told of this event, or it is delivered twice.
			if err := errors.Join(err1, err2, json.Unmarshal(raw, &before)); err != nil {
				w.a.log.Error("the record of an event can not be read: its people are told again", "event", it.event.Id, "err", err)
				before = record{}
			}
		} else {
			w.a.owedN.Add(1)
		}
		w.owing.Add(1)
		it.again = it.again || redealt > 0 || it.saved != nil && it.saved.Known
		w.tellRecorded(it, plans[it], before)
	}
}

// tellRecorded gives the messages of an item to the outlets, but for those that were told
// before.
func (w *worker) tellRecorded(it *item, plans []plan, before record) {
	o := it.owed
	if len(before.Notices) > 0 {
		o.At = before.At
		o.note(before.Notices...)
	}
	for _, p := range plans {
		m := &message{item: it, ch: p.ch, text: p.text, callback: p.ch == nil}
		for i, n := range p.notices {
			known := o.find(&n) // nobody else has the record yet
			if known.Result != portal.NoticeQueued {
				continue
			}
			if len(before.Notices) > 0 && known.Attempts > 0 {
				m.repeat = true // it was about to be sent
				known.Attempts++
			} else {
				m.repeat = m.repeat || it.again // its rows may say that it is told, and nobody can look
				known.Attempts = 1
			}
			m.notices, m.to = append(m.notices, *known), append(m.to, p.to[i])
		}
		if len(m.notices) == 0 {
			continue
		}
		it.waits.Add(1)
		if p.ch == nil {
			w.a.outlet(callbackOutlet, typeCallback).rowless.put(m)
		} else {
			w.a.outlet(p.ch.name, p.ch.typ).rowless.put(m)
		}
	}
	it.finish()
}

// hand gives the messages without rows to the lanes of an outlet: those of one event id to
// one lane, in order.
func (a *Alarm) hand(ctx context.Context, o *outlet) {
	for {
		batch := o.rowless.take(ctx, besides)
		if batch == nil {
			break
		}
		for _, m := range batch {
			select {
			case o.beside[partOf(m.item.event.Id, besides)] <- m:
			case <-ctx.Done():
				a.giveBack(m)
			}
		}
	}
	for _, m := range o.rowless.poll(math.MaxInt) {
		a.giveBack(m)
	}
}

// finishOwed writes what became of messages without rows into their records.
func (a *Alarm) finishOwed() {
	for {
		batch := a.owedResults.take(a.flush, results)
		if batch == nil {
			return
		}
		var cmds []redisx.Cmd
		for _, m := range batch {
			m.item.owed.note(m.notices...)
			c, err := m.item.owed.command()
			if err != nil {
				a.log.Error("a record can not be written", "event", m.item.event.Id, "err", err)
				continue
			}
			cmds = append(cmds, c)
		}
		if !a.insist(a.hard, "keep what became of messages", func() error {
			_, err := a.deps.Redis.Pipe(a.hard, cmds...)
			return err
		}) {
			return
		}
		for _, m := range batch {
			if m.unsent {
				m.item.giveUp()
			} else {
				m.item.finish()
			}
		}
	}
}

// besideOwed is what beside does for an event without rows.
func (a *Alarm) besideOwed(ctx context.Context, one *message, notices []portal.Notice, to []string) bool {
	o := one.item.owed
	o.mu.Lock()
	for i, n := range notices {
		n.Attempts, n.Result = 1, portal.NoticeQueued
		if known := o.find(&n); known != nil {
			if known.Result != portal.NoticeQueued {
				continue // it was told before
			}
			one.repeat = true
			n.Attempts += known.Attempts
		}
		one.notices, one.to = append(one.notices, n), append(one.to, to[i])
	}
	o.mu.Unlock()
	if len(one.notices) == 0 {
		return true
	}
	result, n, answer := a.try(ctx, a.outlet(one.ch.name, one.ch.typ), a.current(one.ch), one)
	if result == "" {
		return false
	}
	for i := range one.notices {
		r := &one.notices[i]
		r.Result, r.Answer, r.SendTS = result, answer, a.now()
		r.Attempts += n - 1
	}
	o.note(one.notices...)
	return true
}

// pay writes the rows that are owed, once the database is back and nobody is being told
// without rows. It returns whether events may be taken: not while rows are to be written
// before theirs.
func (w *worker) pay(ctx context.Context) bool {
	if !w.unpaid {
		return true
	}
	now := time.Now()
	if now.Before(w.probe) {
		return w.rowless
	}
	err := w.a.deps.DB.PingAlarms(ctx)
	if err == nil {
		if w.owing.Load() > 0 {
			return false // soon
		}
		err = w.payAll(ctx)
	}
	if err == nil {
		if w.rowless {
			w.a.log.Info("the database is back, and the rows are written")
		}
		w.rowless, w.unpaid, w.since = false, false, time.Time{}
		for _, what := range []string{writeEvents, queueMessages, readTold} {
			w.a.trouble.Clear(what)
		}
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	w.probe = now.Add(probeEvery)
	w.a.dbErrors.Add(1)
	w.a.trouble.Set(w.a.log, "something is tried again until it works", writeEvents, err)
	if w.since.IsZero() {
		w.since = now
	}
	if p := w.a.cfg.DB.Patience.D(); !w.rowless && p > 0 && now.Sub(w.since) > p {
		w.withoutRows(writeEvents, err)
	}
	return w.rowless
}

// payAll writes the rows of all records of the worker's parts.
func (w *worker) payAll(ctx context.Context) error {
	for _, p := range w.mine {
		if p.lost.Load() {
			continue
		}
		key := redisx.AlarmOwed(p.n)
		all, err := redisx.StringMap(w.a.deps.Redis.Do(ctx, "HGETALL", key))
		if err != nil {
			return err
		}
		type due struct {
			field string
			record
		}
		var list []due
		for field, raw := range all {
			d := due{field: field}
			if err := json.Unmarshal([]byte(raw), &d.record); err != nil {
				w.a.log.Error("the record of an event can not be read: it gets no rows", "part", p.n, "event", field, "err", err)
				if _, err := w.a.deps.Redis.Do(ctx, "HDEL", key, field); err != nil {
					return err
				}
				continue
			}
			list = append(list, d)
		}
		slices.SortFunc(list, func(a, b due) int { return int(min(max(a.At-b.At, -1), 1)) })
		for chunk := range slices.Chunk(list, batch) {
			var fields []any
			var events []portal.AlarmEvent
			var notices []portal.Notice
			for _, d := range chunk {
				fields = append(fields, d.field)
				e, err := Decode(d.Event)
				if err != nil {
					w.a.log.Error("an event can not be read: it gets no rows", "part", p.n, "event", d.field, "err", err)
					continue
				}
				events = append(events, portal.AlarmEvent{Event: e, Teams: d.Teams})
				notices = append(notices, d.Notices...)
			}
			if err := w.inTime(ctx, func(ctx context.Context) error { return w.a.write(ctx, events, notices) }); err != nil {
				return err
			}
			failpoint.Reached("alarm.paid")
			if _, err := w.a.deps.Redis.Do(ctx, "HDEL", append([]any{key}, fields...)...); err != nil {
				return err
			}
			w.a.owedN.Store(max(w.a.owedN.Load()-int64(len(chunk)), 0))
		}
	}
	return nil
}

// write writes the rows of events that were told without them. An event that the database
// does not take has none, and says so in the log.
func (a *Alarm) write(ctx context.Context, events []portal.AlarmEvent, notices []portal.Notice) error {
	_, err := a.deps.DB.SaveEvents(ctx, events)
	if portal.Refused(err) {
		for _, e := range events {
			if _, err := a.deps.DB.SaveEvents(ctx, []portal.AlarmEvent{e}); portal.Refused(err) {
				a.log.Error("the database does not take an event whose people were told", "event", e.Event.Id, "err", err)
				notices = slices.DeleteFunc(notices, func(n portal.Notice) bool { return n.CaseID == e.Event.Id })
			} else if err != nil {
				return err
			}
		}
	} else if err != nil {
		return err
	}
	if len(notices) == 0 {
		return nil
	}
	rows, err := a.deps.DB.QueueNotices(ctx, notices)
	if err != nil {
		return err
	}
	// Those that had rows already, of before the database was away, say now what came of them.
	var known []portal.Notice
	for i, row := range rows {
		if n := notices[i]; row.Result == portal.NoticeQueued && n.Result != portal.NoticeQueued {
			n.ID = row.ID
			known = append(known, n)
		}
	}
	if len(known) == 0 {
		return nil
	}
	return a.deps.DB.SetNotices(ctx, known)
}
