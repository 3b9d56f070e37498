package hbs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/stat"
	"falcon/modules/hbs/compile"
)

// count makes the counters of contract alerting 4.19.
func (h *HBS) count() {
	s := stat.New("hbs")
	h.stats = s
	h.beats.received = s.Counter("heartbeat.recv", "heartbeats_total", "Heartbeats of agents.")
	h.beats.written = s.Counter("heartbeat.written", "written_hosts_total", "Rows of table host written.")
	h.beats.failed = s.Counter("db.error", "failed_writes_total", "Writes of heartbeats that failed; they are tried again.")
	h.books = s.Counter("rpc.sync", "book_calls_total", "Calls of HbsNew.Book.")
	s.RateFunc("rpc.sync.qps", "book_calls_per_second", "Calls of HbsNew.Book a second.", h.books.Get)
	s.GaugeFunc("rpc.sync.usec", "book_call_microseconds", "How long it took to make the last answer of HbsNew.Book that has rules.", func() float64 { return float64(h.keeper.took.Load()) / 1000 })
	h.stockBooks = s.Counter("rpc.strategies", "stock_strategies_calls_total", "Calls of Hbs.GetStrategies.")
	h.someRules = s.Counter("rpc.some", "asked_strategies_calls_total", "Calls of HbsNew.GetFilteredStrategies and Hbs.GetOneEndStrategies.")
	h.keeper.reads = s.Counter("db.rules", "rules_read_total", "Times that the rows of rules were read from the database.")
	if h.fork != nil {
		h.fork.published = s.Counter("fork.published", "fork_published_total", "Tables that were published for hbs of the fork.")
		h.fork.taken = s.Counter("fork.taken", "fork_taken_total", "Tables that were taken from hbs of the fork.")
		h.fork.unreadable = s.Reasons("fork.unreadable", "fork_unreadable_total", "Tables of hbs of the fork that were not readable, by table; the database's were taken.")
	}
	s.GaugeFunc("leader", "leads", "1 while this hbs compiles the rules for all.", func() float64 {
		if h.keeper.leading() {
			return 1
		}
		return 0
	})
	s.GaugeFunc("strategy.version.age", "rules_age_seconds", "Age of the rows that the rules were compiled from.", func() float64 { return h.keeper.age().Seconds() })
	book := func(n func(*edition) int) func() float64 {
		return func() float64 {
			e, err := h.keeper.get()
			if err != nil {
				return 0
			}
			return float64(n(e))
		}
	}
	s.GaugeFunc("host.count", "hosts", "Hosts that have strategies.", book(func(e *edition) int { return len(e.Book.Hosts) }))
	s.GaugeFunc("host.duplicates", "hosts_claimed_twice", "Names under which two machines report.", func() float64 { return float64(len(h.beats.claimedTwice())) })
	s.GaugeFunc("disabled.count", "disabled_hosts", "Hosts that are disabled or in maintenance.", book(func(e *edition) int { return len(e.Book.Disabled) }))
	s.GaugeFunc("strategy.count", "strategies", "Strategies in force, once for each leaf template.", book(func(e *edition) int { return len(e.Book.Strategies) }))
	s.GaugeFunc("strategy.bad", "bad_rows", "Rows that are set aside; the log names them.", book(func(e *edition) int { return len(e.Bad) }))
}

// watchSelf makes what turns the counters into points, once they are all there.
func (h *HBS) watchSelf() {
	h.self = daemon.NewReporter(daemon.ReporterOptions{Module: "hbs", Self: h.cfg.Self, Stats: h.stats, Health: h.keeper.health, Log: h.log, Now: h.now})
}

// admin returns the daemon's pages with stock's of contract ingest 4.1 and alerting
// 3.6.
func (h *HBS) admin() http.Handler {
	mux := daemon.Admin{Stats: h.stats, Wrapped: true, Health: h.keeper.health, Config: func() any { return h.cfg }, Reload: h.reload()}.Mux()
	show := func(pattern string, data func(*edition) any) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, _ *http.Request) {
			e, err := h.keeper.get()
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			wrapped(w, data(e))
		})
	}
	show("/expressions", func(e *edition) any { return e.Book.Expressions })
	show("/hosts", func(e *edition) any { return e.Hosts() })
	show("/strategies", func(e *edition) any { return e.Strategies() })
	show("/templates", func(e *edition) any { return e.Templates() })
	show("/bad", func(e *edition) any { return e.Bad })
	mux.HandleFunc("GET /agents", func(w http.ResponseWriter, _ *http.Request) { wrapped(w, h.beats.names()) })
	mux.HandleFunc("GET /duplicates", func(w http.ResponseWriter, _ *http.Request) { wrapped(w, h.beats.claimedTwice()) })
	mux.HandleFunc("GET /plugins/{hostname}", func(w http.ResponseWriter, r *http.Request) {
		e, err := h.keeper.get()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		wrapped(w, e.Plugins(r.PathValue("hostname")))
	})
	h.upgradePages(mux)
	mux.HandleFunc("GET /host/strategies", h.hostStrategies)
	mux.HandleFunc("POST /strategy/reach", h.reach)
	mux.HandleFunc("GET /disable/preview", h.disablePreview)
	return mux
}

// wrapped answers in stock's envelope.
func wrapped(w http.ResponseWriter, data any) {
	daemon.WriteJSON(w, struct {
		Msg  string `json:"msg"`
		Data any    `json:"data"`
	}{"success", data})
}

// disablePreview answers what a disable would hide. Its parameters are the columns of
// alarm_disable: type, host_id, tpl_id, strategy_id and grp_id.
func (h *HBS) disablePreview(w http.ResponseWriter, r *http.Request) {
	var d portal.RuleDisable
	var kind int
	q := r.URL.Query()
	for name, to := range map[string]*int{"type": &kind, "host_id": &d.Host, "tpl_id": &d.Template, "strategy_id": &d.Strategy, "grp_id": &d.Group} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		var err error
		if *to, err = strconv.Atoi(text); err != nil {
			failed(w, http.StatusBadRequest, fmt.Sprintf("%s %q is no number", name, text))
			return
		}
	}
	if d.Type = portal.DisableType(kind); !d.Type.Known() {
		failed(w, http.StatusBadRequest, fmt.Sprintf("type %d is unknown, use 1 to 5", kind))
		return
	}
	e, err := h.keeper.get()
	if err != nil {
		failed(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	daemon.WriteJSON(w, e.Preview(d, h.now().In(h.keeper.loc)))
}

// hostStrategies answers the final rules of a host, with the reason for each.
func (h *HBS) hostStrategies(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, text string) { failed(w, status, text) }
	q := r.URL.Query()
	name, id := q.Get("hostname"), 0
	if text := q.Get("id"); text != "" {
		var err error
		if id, err = strconv.Atoi(text); err != nil {
			fail(http.StatusBadRequest, fmt.Sprintf("id %q is no number", text))
			return
		}
	}
	if (name == "") == (id == 0) {
		fail(http.StatusBadRequest, "name the host by id or by hostname")
		return
	}
	e, err := h.keeper.get()
	if err != nil {
		fail(http.StatusServiceUnavailable, err.Error())
		return
	}
	rules, ok := e.Host(func(h portal.RuleHost) bool { return h.ID == id || name != "" && h.Name == name })
	if !ok {
		fail(http.StatusNotFound, "hbs knows no such host: it has no row in table host")
		return
	}
	daemon.WriteJSON(w, rules)
}

// failed answers an error as api understands it.
func failed(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// maxReach bounds the question of reach, in bytes, and maxReachRange its range.
const maxReach, maxReachRange = 4 << 20, 32 * 24 * 3600

// reach answers whom a strategy would watch that is not saved.
func (h *HBS) reach(w http.ResponseWriter, r *http.Request) {
	var p model.ReachParam
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReach)).Decode(&p); err != nil {
		failed(w, http.StatusBadRequest, fmt.Sprintf("the question can not be read: %v", err))
		return
	}
	if p.From >= p.To || p.To-p.From > maxReachRange {
		failed(w, http.StatusBadRequest, fmt.Sprintf("from %d to %d is no range of 32 days at most", p.From, p.To))
		return
	}
	e, err := h.keeper.get()
	if err != nil {
		failed(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	reach, err := e.Reach(&p)
	if err != nil { // a template or group that was made a moment ago is in the database
		if rows, readErr := h.keeper.rows.RuleRows(r.Context()); readErr == nil {
			reach, err = compile.Compile(rows, h.keeper.now().In(h.keeper.loc)).Reach(&p)
		}
	}
	if err != nil {
		failed(w, http.StatusNotFound, err.Error())
		return
	}
	daemon.WriteJSON(w, reach)
}

// reload reads the file again. All settings of an hbs wait for a restart but the log
// level, which the shell applies by itself.
func (h *HBS) reload() func() (string, error) {
	if h.deps.Reload == nil {
		return nil
	}
	return func() (string, error) {
		if _, err := h.deps.Reload(); err != nil {
			return "", err
		}
		return "the log level is applied; other settings wait for a restart", nil
	}
}
