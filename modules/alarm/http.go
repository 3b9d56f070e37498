package alarm

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/stat"
	"falcon/modules/alarm/sender"
)

// count makes the counters of contract alerting 4.19. While nothing moves taken is told +
// untold + in.hand.
func (a *Alarm) count() {
	s := stat.New("alarm")
	a.stats = s
	a.pops = s.Parts("queue", "pop", "popped_events_total", "Events taken from the lists of judge, by list.")
	a.taken = s.Counter("taken", "taken_events_total", "Events taken in hand.")
	a.untold = s.Reasons("untold", "untold_events_total", "Events that this alarm let go of before they were told, by reason: all but the dead come again, here or elsewhere.")
	a.told = s.Counter("told", "told_events_total", "Events whose messages are all told.")
	a.dead = s.Counter("dead", "dead_events_total", "Events that can not be told.")
	a.suppressed = s.Parts("reason", "suppressed", "suppressed_events_total", "Events that nobody is told, by reason.")
	a.ok = s.Parts("channel", "send.ok", "sent_messages_total", "Messages sent, by channel.")
	a.bad = s.Parts("channel", "send.err", "failed_messages_total", "Messages that could not be sent, by channel.")
	a.retries = s.Parts("channel", "retry", "retried_messages_total", "Tries of messages that were made again, by channel.")
	a.dbErrors = s.Counter("db.error", "database_errors_total", "Statements that failed; they are tried again.")
	a.adopted = s.Counter("adopted", "adopted_events_total", "Events of cases that judges have taken over from other judges.")
	a.unadopted = s.Reasons("adopt.refused", "unadopted_events_total", "Events of cases that no judge has taken over, by reason.")
	s.GaugesFunc("queue", "queue.len", "waiting_events", "Events that wait in Redis, by list; those that are dealt count for the list that they came from.", a.lens.all)
	s.GaugeFunc("dead.len", "dead_events", "Events in the list of dead ones.", func() float64 { return float64(a.lens.dead.Load()) })
	s.GaugeFunc("in.hand", "events_in_hand", "Events in hand.", func() float64 { return float64(a.inHand()) })
	s.GaugeFunc("held", "held_events", "Events of which nobody knows whom they are for.", func() float64 { return float64(a.heldN.Load()) })
	s.GaugeFunc("owed", "owed_events", "Events that were told while the database was away, and have no rows yet.", func() float64 { return float64(a.owedN.Load()) })
	s.GaugeFunc("message.len", "waiting_messages", "Messages that wait to be sent.", func() float64 { return float64(a.outlets.waiting()) })
	s.GaugeFunc("lag.sec", "lag_seconds", "Age of the event that was taken last, when it was taken; 0 once none has come for two minutes.", func() float64 { return a.lag.now(a.now()) })
	s.GaugeFunc("failed.len", "failed_messages", "Messages that failed and are about to be tried again.", func() float64 { return float64(a.again.Load()) })
	s.CounterFunc("finally_failed.len", "finally_failed_messages_total", "Messages that were given up since the start; their rows say why.", a.bad.Sum)
	s.GaugeFunc("parts", "parts", "Parts of the event ids that this alarm works.", func() float64 { return float64(a.holds.Load()) })
	lists, _, _ := a.cfg.queues()
	a.pops.Know(lists...)
	a.untold.Know(untoldDead, untoldStop, untoldPart, untoldParked)
	a.suppressed.Know(byClosed, byLate, byNoAction, byNoTeam, byNobody, byChannel, byRestart, byOver, byAcked, byProbe, byDisabled)
	a.ok.Know(typeCallback)
	a.bad.Know(typeCallback)
	a.retries.Know(typeCallback)
	s.GaugeFunc("unrecovered", "unrecovered_cases", "Cases that are a problem now.", func() float64 { return float64(a.open.Load()) })
}

// sent counts a message.
func (a *Alarm) sent(channel string, ok bool) {
	if ok {
		a.ok.Add(channel, 1)
	} else {
		a.bad.Add(channel, 1)
	}
}

// lag is how old an event was when it was taken.
type lag struct{ seconds, at atomic.Int64 }

// take notes an event that was taken.
func (l *lag) take(now time.Time, eventTime int64) {
	l.seconds.Store(max(now.Unix()-eventTime, 0))
	l.at.Store(now.Unix())
}

// now is that of the last event. What is two minutes back says nothing any more: people
// wait for nothing while nothing comes.
func (l *lag) now(now time.Time) float64 {
	if now.Unix()-l.at.Load() > 120 {
		return 0
	}
	return float64(l.seconds.Load())
}

func (a *Alarm) inHand() (n int64) {
	for _, w := range a.workers {
		n += w.inHand.Load()
	}
	return n
}

// lengths are of the lists in Redis, as they were looked at last.
type lengths struct {
	dead   atomic.Int64
	events atomic.Pointer[map[string]int64]
}

// all returns the lengths of the lists of events; none before the first look.
func (l *lengths) all() map[string]int64 {
	if m := l.events.Load(); m != nil {
		return *m
	}
	return nil
}

// measure looks at what is shown and not counted.
func (a *Alarm) measure(ctx context.Context) {
	lists, _, priorities := a.cfg.queues()
	from := slices.Clone(lists) // which list of judge each of lists counts for
	for n := range parts {
		lists = append(lists, partLists(n, priorities)...)
		for _, p := range priorities {
			from = append(from, redisx.Event(p))
		}
	}
	// A failure shows elsewhere; the figures stay as they were.
	if lens, err := a.deps.Redis.NewQueue(a.instance, append(lists, redisx.Dead)...).Len(ctx); err == nil {
		by := map[string]int64{}
		for i, n := range lens[:len(lists)] {
			by[from[i]] += int64(n)
		}
		a.lens.events.Store(&by)
		a.lens.dead.Store(int64(lens[len(lists)]))
	}
	if n, err := a.deps.DB.OpenCases(ctx); err == nil {
		a.open.Store(int64(n))
	}
}

// health says why events are not told, if so.
func (a *Alarm) health() error {
	if err := a.trouble.Err(); err != nil {
		return err
	}
	if !a.ready.Load() {
		return errors.New("alarm is starting")
	}
	return nil
}

// notes says in words what alarm does without, and which messages are not sent.
func (a *Alarm) notes() (all []string) {
	if n := a.lens.dead.Load(); n > 0 {
		all = append(all, fmt.Sprintf("%d events can not be told: GET /dead shows why, POST /requeue tries again", n))
	}
	for _, what := range a.failing.Each() {
		if !strings.HasPrefix(what, deadEvent+": ") { // those are counted above, as long as they are there
			all = append(all, what)
		}
	}
	return all
}

func (a *Alarm) admin() http.Handler {
	d := daemon.Admin{Stats: a.stats, Wrapped: true, Health: a.health, Notes: a.notes, Config: func() any { return a.cfg }}
	if a.deps.Reload != nil {
		d.Reload = func() (string, error) {
			if _, err := a.deps.Reload(); err != nil {
				return "", err
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return "the log level is applied and the channels are read; other settings wait for a restart", a.rereadChannels(ctx)
		}
	}
	mux := d.Mux()
	mux.HandleFunc("POST /channel/test", a.trusted(a.testChannel))
	mux.HandleFunc("POST /channel/reload", a.trusted(func(w http.ResponseWriter, r *http.Request) {
		if err := a.rereadChannels(r.Context()); err != nil {
			fail(w, http.StatusServiceUnavailable, err)
			return
		}
		daemon.WriteJSON(w, map[string]string{"message": fmt.Sprintf("%d channels are enabled", len(a.channels.all()))})
	}))
	mux.HandleFunc("GET /unrecovered", a.unrecovered)
	mux.HandleFunc("POST /acked", a.trusted(a.acked))
	mux.HandleFunc("DELETE /acked", a.trusted(a.acked))
	mux.HandleFunc("GET /debug/adopt", a.trusted(a.adopter.page))
	mux.HandleFunc("GET /dead", a.trusted(a.showDead))
	mux.HandleFunc("POST /requeue", a.trusted(a.requeue))
	return mux
}

// trusted serves h to callers on this machine and to those that have the token of the
// api, or the fleet key.
func (a *Alarm) trusted(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var token struct {
			Sig string `json:"sig"`
		}
		_ = json.Unmarshal([]byte(r.Header.Get("Apitoken")), &token) // none is empty
		known := func(given string, want conf.Secret) bool { return want != "" && same(given, want.Reveal()) }
		if daemon.IsLocal(r) || known(token.Sig, a.cfg.API.PlusAPIToken) || known(r.Header.Get(model.FleetKeyHeader), a.cfg.FleetKey) {
			h(w, r)
			return
		}
		fail(w, http.StatusForbidden, errors.New("this page is for callers on this machine, or with api.plus_api_token in the header Apitoken, or with fleet_key in the header "+model.FleetKeyHeader))
	}
}

func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // a reader that left is no failure
}

// testChannel sends a message that says it is a test.
func (a *Alarm) testChannel(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name     string          `json:"name"`
		Type     string          `json:"type"`
		Config   json.RawMessage `json:"config"`
		Receiver string          `json:"receiver"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("the request is no JSON object: %w", err))
		return
	}
	row := portal.AlarmChannel{Name: in.Name, Type: in.Type, Config: text(in.Config), Enabled: true}
	if in.Type == "" {
		rows, err := a.deps.DB.AlarmChannels(r.Context())
		if err != nil {
			fail(w, http.StatusServiceUnavailable, err)
			return
		}
		found := false
		for _, c := range a.channels.withStock(rows) {
			if c.Name == in.Name {
				row, found = c, true
			}
		}
		if !found {
			fail(w, http.StatusNotFound, fmt.Errorf("there is no channel %q; give a type and a config to test one that is not saved", in.Name))
			return
		}
	}
	answer, err := a.test(r.Context(), row, in.Receiver)
	out := struct {
		OK     bool   `json:"ok"`
		Answer string `json:"answer"`
		Error  string `json:"error"`
	}{err == nil, answer, ""}
	if err != nil {
		out.Error = err.Error()
	}
	daemon.WriteJSON(w, out)
}

// text returns the JSON of a configuration, which may be wrapped into a string.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(bytes.TrimSpace(raw))
}

func (a *Alarm) test(ctx context.Context, row portal.AlarmChannel, receiver string) (string, error) {
	ch := newChannel(row, a.log)
	if ch.bad != nil {
		return "", ch.bad
	}
	short := fmt.Sprintf("[test] a message through the channel %s of type %s", row.Name, row.Type)
	m := sender.Message{Short: short, Body: short + "\r\n\r\nNothing is wrong: somebody looks whether messages arrive.\r\n"}
	if sender.ToPeople(row.Type) {
		if receiver == "" {
			return "", errors.New("receiver: name a user who is to get the test")
		}
		person, err := a.people.User(ctx, receiver)
		if errors.Is(err, portal.ErrNotFound) {
			return "", fmt.Errorf("receiver: there is no user %q", receiver)
		}
		if err != nil {
			return "", fmt.Errorf("ask who %q is: %w", receiver, err)
		}
		addr := person.Address(row.Type)
		if addr == "" {
			return "", fmt.Errorf("receiver: user %q has no address for a channel of type %s: fill in the profile", receiver, row.Type)
		}
		m.To = []string{addr}
	}
	if row.Type == sender.Inbox {
		return a.testInbox(ctx, row.Name, receiver)
	}
	return ch.send.Send(ctx, m)
}

// testInbox puts a message that belongs to no case into somebody's inbox.
func (a *Alarm) testInbox(ctx context.Context, channel, receiver string) (string, error) {
	now := a.now()
	_, err := a.deps.DB.QueueNotices(ctx, []portal.Notice{{
		EventTS: now, SendTS: now, Endpoint: "test", Metric: "a message through the channel " + channel, Priority: 8, Status: model.StatusOK, Step: 1,
		Receiver: receiver, Channel: channel, Result: portal.NoticeSent, Attempts: 1, Inbox: true,
	}})
	if err != nil {
		return "", fmt.Errorf("put it into the inbox of %q: %w", receiver, err)
	}
	return fmt.Sprintf("it is in the inbox of %s", receiver), nil
}

// unrecovered answers the cases that are a problem now.
func (a *Alarm) unrecovered(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := portal.CaseFilter{Statuses: []string{"PROBLEM"}, Team: q.Get("team"), Limit: 1000}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 10_000 {
			fail(w, http.StatusBadRequest, fmt.Errorf("limit: %q is none from 1 to 10000", v))
			return
		}
		f.Limit = n
	}
	if v := q.Get("p"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("p: %q is no priority", v))
			return
		}
		f.Priority = &n
	}
	if v := q.Get("endpoint"); v != "" {
		f.Endpoints = []string{v}
	}
	if v := q.Get("metric"); v != "" {
		f.Metrics = []portal.Pattern{{Expr: v}}
	}
	cases, err := a.deps.DB.EventCases(r.Context(), f)
	if err != nil {
		status := http.StatusServiceUnavailable
		if _, ok := errors.AsType[*portal.InvalidError](err); ok {
			status = http.StatusBadRequest
		}
		fail(w, status, err)
		return
	}
	type problem struct {
		ID       string `json:"id"`
		Endpoint string `json:"endpoint"`
		Metric   string `json:"metric"`
		Priority int    `json:"priority"`
		Step     int64  `json:"step"`
		MaxStep  int64  `json:"max_step"`
		Cond     string `json:"cond"`
		Note     string `json:"note"`
		First    int64  `json:"first"`
		Last     int64  `json:"last"`
		AckedBy  string `json:"acked_by"` // empty: nobody works on it
		AckedAt  int64  `json:"acked_at"`
	}
	out := []problem{}
	for _, c := range cases {
		p := problem{ID: c.ID, Endpoint: c.Endpoint, Metric: c.Metric, Priority: c.Priority, Cond: c.Cond, First: c.Timestamp.Unix()}
		if c.CurrentStep != nil {
			p.Step = *c.CurrentStep
		}
		if c.MaxStep != nil {
			p.MaxStep = *c.MaxStep
		}
		if c.Note != nil {
			p.Note = *c.Note
		}
		if c.AckedAt != nil {
			p.AckedBy, p.AckedAt = c.AckedBy, c.AckedAt.Unix()
		}
		if c.UpdateAt != nil {
			p.Last = c.UpdateAt.Unix()
		}
		out = append(out, p)
	}
	daemon.WriteJSON(w, map[string]any{"unrecovered": out})
}

// showDead answers the newest events that can not be told.
func (a *Alarm) showDead(w http.ResponseWriter, r *http.Request) {
	limit := 100
	if v := r.URL.Query().Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxDead {
			fail(w, http.StatusBadRequest, fmt.Errorf("limit: %q is none from 1 to %d", v, maxDead))
			return
		}
		limit = n
	}
	raw, err := redisx.Strings(a.deps.Redis.Do(r.Context(), "LRANGE", redisx.Dead, 0, limit-1))
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	out := []dead{}
	for _, s := range raw {
		var d dead
		if json.Unmarshal([]byte(s), &d) == nil {
			out = append(out, d)
		}
	}
	daemon.WriteJSON(w, map[string]any{"dead": out})
}

// requeue gives dead events, the oldest first, back to the lists that they came from:
// {"limit": 10}, all of them without it. Each is read again like a new one.
func (a *Alarm) requeue(w http.ResponseWriter, r *http.Request) {
	in := struct {
		Limit int `json:"limit"`
	}{maxDead}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&in); err != nil && r.ContentLength != 0 || in.Limit < 1 {
		fail(w, http.StatusBadRequest, errors.New(`write {"limit": 10}, or nothing for all`))
		return
	}
	// Those that die again meanwhile are for another time.
	there, err := redisx.Int64(a.deps.Redis.Do(r.Context(), "LLEN", redisx.Dead))
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	n := 0
	for ; n < min(in.Limit, int(there)); n++ {
		raw, err := redisx.String(a.deps.Redis.Do(r.Context(), "LINDEX", redisx.Dead, -1))
		if errors.Is(err, redisx.Nil) {
			break
		}
		var d dead
		if err == nil {
			err = json.Unmarshal([]byte(raw), &d)
		}
		if err == nil {
			_, err = a.deps.Redis.Do(r.Context(), "LPUSH", d.List, d.Event)
		}
		if err == nil { // a crash before this leaves both
			_, err = a.deps.Redis.Do(r.Context(), "LREM", redisx.Dead, -1, raw)
		}
		if err != nil {
			fail(w, http.StatusServiceUnavailable, fmt.Errorf("after %d events: %w", n, err))
			return
		}
	}
	daemon.WriteJSON(w, map[string]string{"message": fmt.Sprintf("%d events are read again", n)})
}

// same compares secrets in a time that does not tell where they differ.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
