package alarm

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"falcon/common/failpoint"
	"falcon/common/portal"
	"falcon/common/run"
	"falcon/modules/alarm/sender"
)

const (
	tries = 3
	// lanes of an outlet: the messages of one event id are in one lane, in order. A
	// message that waits for its next try holds up its lane and no call.
	lanes = 128
	// maxBacklog is how many messages wait for a provider that takes none before others
	// are given up, so that other channels go on.
	maxBacklog = 5000
	// claimed is how many messages may be claimed and have no result yet, for each call
	// that an outlet makes at once. All of them are possible repeats when alarm is killed.
	claimed = 4
	// results is how many results are written at once.
	results = 256
)

// message is what one call of a sender says: to one person, or to several at once.
type message struct {
	item *item
	ch   *channel
	text sender.Message
	// notices are the rows; to are the addresses beside them, empty for a channel that
	// does not tell people.
	notices  []portal.Notice
	to       []string
	repeat   bool // an earlier try may have come through
	callback bool
	out      *outlet // that has claimed it
	unsent   bool    // it was claimed and not begun: whoever comes next sends it
	// checked is when its rows were seen to be claimed by this alarm.
	checked time.Time
}

// outlet is where the messages of the channels of one name wait and go.
type outlet struct {
	queue *mailbox[*message]
	lanes [lanes]chan *message
	// rowless are messages without rows: nobody claims them.
	rowless *mailbox[*message]
	beside  [besides]chan *message
	calls   chan struct{} // holds one value for each call under way
	room    chan struct{} // holds one value for each message that is claimed and has no result

	mu    sync.Mutex
	fails int    // calls that failed since the last success
	last  string // why the last of them did
}

// called notes how a call ended.
func (o *outlet) called(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.fails, o.last = 0, ""
		return
	}
	o.fails++
	o.last = err.Error()
}

// deadAfter is how many calls in a row fail before a provider is taken for dead.
const deadAfter = 20

// dead says why no more messages should wait for the provider, when more than backlog
// do and it takes none; else "".
func (o *outlet) dead(backlog int) string {
	n := o.queue.len()
	o.mu.Lock()
	defer o.mu.Unlock()
	if n <= backlog || o.fails < deadAfter {
		return ""
	}
	return fmt.Sprintf("not tried: %d messages wait already, and the last %d calls failed: %s", n, o.fails, o.last)
}

func newOutlet(calls int) *outlet {
	o := &outlet{queue: newMailbox[*message](), rowless: newMailbox[*message](), calls: make(chan struct{}, calls), room: make(chan struct{}, calls*claimed)}
	for i := range o.beside {
		o.beside[i] = make(chan *message)
	}
	for i := range o.lanes {
		o.lanes[i] = make(chan *message, cap(o.room)) // the claimer never waits for one lane
	}
	return o
}

// gather is how long one waits for more of what can be written in one statement.
const gather = 3 * time.Millisecond

// rooms takes room for the messages that wait, half of all at most, and at least for
// one; 0 when ctx has ended. Room that comes bit by bit is waited for a moment.
func (o *outlet) rooms(ctx context.Context) (n int) {
	select {
	case o.room <- struct{}{}:
		n = 1
	case <-ctx.Done():
		return 0
	}
	limit := time.NewTimer(gather)
	defer limit.Stop()
	for want := min(o.queue.len(), cap(o.room)/2); n < want; n++ {
		select {
		case o.room <- struct{}{}:
		case <-limit.C:
			return n
		case <-ctx.Done():
			return n
		}
	}
	return n
}

// partOf returns which of n an event id belongs to.
func partOf(id string, n int) int { return int(crc32.ChecksumIEEE([]byte(id)) % uint32(n)) }

// claim takes messages from the outlet's queue, says in their rows that they are about
// to be sent, and hands them to their lanes.
func (a *Alarm) claim(ctx context.Context, o *outlet) {
	defer func() {
		for _, m := range o.queue.poll(math.MaxInt) {
			a.active.drop(m.notices...)
			m.item.giveUp()
		}
	}()
	for {
		n := o.rooms(ctx)
		if n == 0 {
			return
		}
		batch := o.queue.take(ctx, n)
		if batch == nil {
			return
		}
		if ctx.Err() != nil {
			for _, m := range batch {
				a.active.drop(m.notices...)
				m.item.giveUp()
			}
			return
		}
		for range n - len(batch) {
			<-o.room
		}
		batch = slices.DeleteFunc(batch, func(m *message) bool {
			handed := m.item.part.handed.Load()
			if handed {
				a.active.drop(m.notices...)
				m.item.giveUp()
				<-o.room
			}
			return handed
		})
		if len(batch) == 0 {
			continue
		}
		var notices []portal.Notice
		for _, m := range batch {
			notices = append(notices, m.notices...)
		}
		var mine []bool
		if !a.insist(a.hard, "claim messages", func() (err error) {
			mine, err = a.deps.DB.ClaimNotices(a.hard, notices)
			return err
		}) || !a.insist(a.hard, "claim messages", func() error { return a.reclaim(notices, mine) }) {
			return
		}
		failpoint.Reached("alarm.claimed")
		now := time.Now()
		ended, why := ctx.Err() != nil, o.dead(a.backlog)
		for _, m := range batch {
			var kept []portal.Notice
			var to []string
			for i, n := range m.notices {
				if mine[i] {
					n.Attempts = notices[i].Attempts
					m.repeat = m.repeat || n.Attempts > 0
					n.Attempts++
					kept, to = append(kept, n), append(to, m.to[i])
				} else {
					a.active.remove(n)
				}
			}
			mine, notices, m.checked = mine[len(m.notices):], notices[len(m.notices):], now
			if m.notices, m.to = kept, to; len(kept) == 0 {
				m.item.finish() // somebody else sends it
				<-o.room
				continue
			}
			m.out = o
			if ended || m.item.part.handed.Load() {
				a.giveBack(m)
				continue
			}
			if why != "" {
				a.sent(m.notices[0].Channel, false)
				a.result(m, portal.NoticeFailed, 0, why)
				continue
			}
			o.lanes[partOf(m.item.event.Id, lanes)] <- m
		}
	}
}

// reclaim claims those of notices that somebody else has claimed and has not sent: he was
// taken for dead, and the part is this alarm's. They are possible repeats.
func (a *Alarm) reclaim(notices []portal.Notice, mine []bool) error {
	var others []portal.Notice
	var which []int
	for i, n := range notices {
		if !mine[i] {
			n.Inbox = false
			others, which = append(others, n), append(which, i)
		}
	}
	if len(others) == 0 {
		return nil
	}
	rows, err := a.deps.DB.QueueNotices(a.hard, others) // which are there
	if err != nil {
		return err
	}
	queued := rows[:0:0]
	kept := which[:0:0]
	for i, row := range rows {
		if row.Result == portal.NoticeQueued && row.ID == others[i].ID {
			queued, kept = append(queued, row), append(kept, which[i])
		}
	}
	if len(queued) == 0 {
		return nil
	}
	again, err := a.deps.DB.ClaimNotices(a.hard, queued)
	if err != nil {
		return err
	}
	for i, k := range kept {
		if again[i] {
			mine[k], notices[k] = true, queued[i]
		}
	}
	return nil
}

// notMine is the result of a message that somebody else tells.
const notMine = "not mine"

// still looks whether the rows of a claimed message are this alarm's, when that was long
// ago: it may have been stopped, or cut off, and another has taken over. It takes those that
// are not out of the message, and reports whether some are left.
func (a *Alarm) still(m *message) bool {
	if m.item.owed != nil || time.Since(m.checked) < a.lease/4 {
		return true
	}
	mine, err := a.deps.DB.StillClaimed(a.hard, m.notices)
	if err != nil {
		return true // nobody else can have told it either, as far as anybody knows
	}
	m.checked = time.Now()
	var kept []portal.Notice
	var to []string
	for i, n := range m.notices {
		if mine[i] {
			kept, to = append(kept, n), append(to, m.to[i])
		} else {
			a.active.remove(n)
		}
	}
	m.notices, m.to = kept, to
	return len(kept) > 0
}

// lane sends the messages of a lane one after another.
func (a *Alarm) lane(ctx context.Context, o *outlet, in <-chan *message) {
	for {
		select {
		case m := <-in:
			if m.item.part.handed.Load() {
				a.giveBack(m)
				continue
			}
			a.tell(ctx, o, m)
		case <-ctx.Done():
			for {
				select {
				case m := <-in:
					a.giveBack(m)
				default:
					return
				}
			}
		}
	}
}

// giveBack makes the rows of a message as they were before it was claimed.
func (a *Alarm) giveBack(m *message) {
	m.unsent = true
	for i := range m.notices {
		m.notices[i].Attempts--
	}
	a.ended(m)
}

// ended hands over a message whose result is known, or that is given back.
func (a *Alarm) ended(m *message) {
	if m.item.owed != nil {
		a.owedResults.put(m)
		return
	}
	a.results.put(m)
}

// tell sends a message and notes the result. When ctx ends no more calls are begun: a
// message without a result stays queued for the next alarm.
func (a *Alarm) tell(ctx context.Context, o *outlet, m *message) {
	var result, answer string
	var more int
	if m.callback {
		result, more, answer = a.call(ctx, o, m)
	} else {
		result, more, answer = a.try(ctx, o, a.current(m.ch), m)
	}
	if result == notMine {
		a.ended(m)
		return
	}
	if result == "" {
		if more == 0 {
			a.giveBack(m)
		}
		return
	}
	a.result(m, result, more, answer)
}

// result notes what became of a claimed message after some calls.
func (a *Alarm) result(m *message, result string, calls int, answer string) {
	now := a.now()
	for i := range m.notices {
		n := &m.notices[i]
		n.Result, n.Answer, n.SendTS = result, answer, now
		n.Attempts += calls - 1 // claiming has counted one
	}
	a.ended(m)
}

// current returns the channel as it is set up now; a message may have waited while
// somebody changed the gateway's address.
func (a *Alarm) current(ch *channel) *channel {
	for _, c := range a.channels.all() {
		if c.name == ch.name && c.typ == ch.typ {
			return c
		}
	}
	return ch
}

// try sends the message until that succeeds, a few times. n is how many calls were made.
// The result is empty when ctx has ended; a call that is under way is waited for.
func (a *Alarm) try(ctx context.Context, o *outlet, ch *channel, m *message) (result string, n int, answer string) {
	if ch.bad != nil {
		a.sent(ch.name, false)
		return portal.NoticeFailed, 1, ch.bad.Error()
	}
	if !a.still(m) {
		return notMine, 0, ""
	}
	text := m.text
	text.ID = messageID(&m.notices[0])
	for _, addr := range m.to {
		if addr != "" && !slices.Contains(text.To, addr) {
			text.To = append(text.To, addr)
		}
	}
	mark := func() {
		text.Short += " (possible repeat)"
		text.Body += "(possible repeat)\r\n"
	}
	if m.repeat {
		mark()
	}
	for {
		select {
		case o.calls <- struct{}{}:
		case <-ctx.Done():
			return "", n, ""
		}
		left := len(m.notices)
		if !a.still(m) {
			<-o.calls
			return notMine, n, ""
		}
		if len(m.notices) < left {
			text.To = nil
			for _, addr := range m.to {
				if addr != "" && !slices.Contains(text.To, addr) {
					text.To = append(text.To, addr)
				}
			}
		}
		n++
		said, err := ch.send.Send(a.hard, text)
		o.called(err)
		<-o.calls
		if err == nil {
			failpoint.Reached("alarm.sent")
			a.sent(ch.name, true)
			a.failing.Clear("channel " + ch.name)
			return portal.NoticeSent, n, said
		}
		if a.hard.Err() != nil {
			return "", n, ""
		}
		if sender.MayHaveCome(err) && !m.repeat {
			m.repeat = true
			mark()
		}
		answer = err.Error()
		if said != "" && !strings.Contains(answer, said) {
			answer = said + ": " + answer
		}
		if n == tries {
			break
		}
		a.retries.Add(ch.name, 1)
		a.again.Add(1)
		goesOn := run.Sleep(ctx, a.gap)
		a.again.Add(-1)
		if !goesOn {
			return "", n, ""
		}
	}
	a.sent(ch.name, false)
	a.failing.Set(a.log, "messages can not be sent", "channel "+ch.name, errors.New(answer))
	return portal.NoticeFailed, n, answer
}

// finishSent writes results and lets go of the events whose messages are all told.
func (a *Alarm) finishSent() {
	for {
		batch := a.results.take(a.flush, results)
		if batch == nil {
			return
		}
		if len(batch) < results && run.Sleep(a.flush, gather) {
			batch = append(batch, a.results.poll(results-len(batch))...)
		}
		var notices []portal.Notice
		for _, m := range batch {
			notices = append(notices, m.notices...)
		}
		if !a.insist(a.hard, "write what became of messages", func() error { return a.deps.DB.SetNotices(a.hard, notices) }) {
			return
		}
		failpoint.Reached("alarm.noted")
		for _, m := range batch {
			if m.unsent {
				a.active.drop(m.notices...)
			} else {
				a.active.remove(m.notices...)
			}
			<-m.out.room
			if m.unsent {
				m.item.giveUp()
			} else {
				m.item.finish()
			}
		}
	}
}

// active are the rows whose messages this alarm has in hand: an event that comes twice
// must not be told again while the first is on its way.
type active struct {
	mu  sync.Mutex
	ids map[int64][]*item // those that came again and wait for the same message
}

// add reports whether a row was not active; if it was, it waits for its message.
func (a *active) add(id int64, it *item) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if waiting, ok := a.ids[id]; ok {
		it.waits.Add(1)
		a.ids[id] = append(waiting, it)
		return false
	}
	if a.ids == nil {
		a.ids = map[int64][]*item{}
	}
	a.ids[id] = nil
	return true
}

// remove says that the messages of rows are told, or somebody else's.
func (a *active) remove(rows ...portal.Notice) {
	for _, it := range a.take(rows) {
		it.finish()
	}
}

// drop says that the messages of rows are for whoever comes next.
func (a *active) drop(rows ...portal.Notice) {
	for _, it := range a.take(rows) {
		it.giveUp()
		it.worker.suspect.Store(true) // it may be this alarm
	}
}

func (a *active) take(rows []portal.Notice) (waiting []*item) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range rows {
		waiting = append(waiting, a.ids[n.ID]...)
		delete(a.ids, n.ID)
	}
	return waiting
}

// outlets are the outlets by the names of their channels. They are started when they
// are first needed and stay.
type outlets struct {
	mu sync.Mutex
	m  map[string]*outlet
}

// outlet returns the outlet of a channel.
func (a *Alarm) outlet(name, typ string) *outlet {
	a.outlets.mu.Lock()
	defer a.outlets.mu.Unlock()
	o := a.outlets.m[name]
	if o == nil {
		o = newOutlet(a.cfg.Worker.of(typ))
		a.outlets.m[name] = o
		a.start(o)
	}
	return o
}

// waiting returns how many messages wait to be claimed.
func (o *outlets) waiting() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.m {
		n += x.queue.len()
	}
	return n
}

// typeCallback is the type of the callbacks of actions, which are told like messages.
const typeCallback = "callback"

// callbackOutlet is the name of their outlet, which no channel has.
const callbackOutlet = "\x00callback"

// of returns how many calls a channel of a type makes at once.
func (w Worker) of(typ string) int {
	d := DefaultConfig().Worker
	pick := func(n, def int) int {
		if n == 0 {
			return def
		}
		return n
	}
	switch typ {
	case sender.IM:
		return pick(w.IM, d.IM)
	case sender.SMS:
		return pick(w.SMS, d.SMS)
	case sender.Mail, sender.FormMail:
		return pick(w.Mail, d.Mail)
	case typeCallback:
		return pick(w.Callback, d.Callback)
	}
	return pick(w.Webhook, d.Webhook)
}

// insist does something that a database does until it succeeds; false when ctx has
// ended before.
func (a *Alarm) insist(ctx context.Context, what string, do func() error) bool {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := do()
		if err == nil {
			a.trouble.Clear(what)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		a.dbErrors.Add(1)
		a.trouble.Set(a.log, "something is tried again until it works", what, err)
		if !run.Sleep(ctx, pause) {
			return false
		}
	}
}
