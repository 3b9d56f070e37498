package nodata

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/stat"
)

// count makes the counters: stock's rows of contract query 5.6, in its order, and ours
// behind them.
func (n *Nodata) count() {
	s := stat.New("nodata")
	n.stats = s
	gauge := func(stock, name, help string, value interface{ Load() int64 }) {
		s.GaugeFunc(stock, name, help, func() float64 { return float64(value.Load()) })
	}
	n.floodRate.Store(new(float64))
	n.rowsRuns = s.Counter("ConfigCronCnt", "row_reads_total", "Readings of the rows that worked.")
	gauge("ConfigLastTs", "rows_read_timestamp_seconds", "When the rows were read last.", &n.rowsAt)
	gauge("ConfigLastCnt", "series", "Series that are watched.", &n.rowsN)
	n.collectRuns = s.Counter("CollectorCronCnt", "collections_total", "Rounds in which last points were asked for.")
	gauge("CollectorLastCnt", "last_answers", "Answers of the last round.", &n.collectN)
	gauge("CollectorLastTs", "collected_timestamp_seconds", "When last points were asked for last.", &n.collectAt)
	n.collected = s.Counter("CollectorCnt", "answers_total", "Last points that were answered.")
	n.judgeRuns = s.Counter("JudgeCronCnt", "judgings_total", "Rounds in which the series were judged.")
	gauge("JudgeLastTs", "judged_timestamp_seconds", "When the series were judged last.", &n.judgeAt)
	n.sendRuns = s.Counter("SenderCronCnt", "pushes_total", "Batches of mocks that were to be sent.")
	gauge("SenderLastTs", "pushed_timestamp_seconds", "When a batch was to be sent last.", &n.sendAt)
	n.sent = s.Counter("SenderCnt", "sent_mocks_total", "Mocks that transfer took.")
	s.GaugeFunc("FloodRate", "silent_percent", "Silent ones of the series that were judged last, in percent.", func() float64 { return *n.floodRate.Load() })
	s.GaugeFunc("Threshold", "block_threshold_percent", "Above which rate mocks are held back, if sender.block is on.", func() float64 { return n.cfg.Sender.Block.Threshold })
	s.GaugeFunc("nodata.blocking", "blocking", "1 while mocks are held back.", func() float64 { return is(n.blocking.Load()) })

	n.dropped = s.Reasons("SenderDropCnt", "dropped_mocks_total", "Mocks that were not sent, by reason.")
	n.askFailed = s.Reasons("CollectorFailCnt", "unanswered_series_total", "Series that were asked for without an answer, by reason.")
	n.retries = s.Counter("SenderRetryCnt", "push_retries_total", "Tries of batches that were made again.")
	gauge("ConfigUnusableCnt", "unusable_rows", "Rows that are not GAUGE, or lack metric or step.", &n.unusable)
	gauge("JudgeNodataCnt", "silent_series", "Series that are silent.", &n.silent)
	s.GaugeFunc("SenderQueueLen", "waiting_mocks", "Mocks that wait to be sent.", func() float64 { return float64(n.out.len()) })
	s.GaugeFunc("SenderLeads", "sends", "1 while this nodata sends, 0 while it stands by.", func() float64 { return is(n.sends.Load()) })
	n.self = daemon.NewReporter(daemon.ReporterOptions{Module: "nodata", Self: n.cfg.Self, Stats: s, Health: n.health, Log: n.log, Now: n.now})
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// health says why silent series get no mock, if so.
func (n *Nodata) health() error {
	if err := n.trouble.Err(); err != nil {
		return err
	}
	if !n.ready.Load() {
		return errors.New("nodata is starting")
	}
	return nil
}

type envelope struct {
	Msg  string `json:"msg"`
	Data any    `json:"data"`
}

func success(data any) envelope { return envelope{"success", data} }

// fail answers in stock's shape.
func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	daemon.WriteJSON(w, struct {
		Msg string `json:"msg"`
	}{err.Error()})
}

// admin returns the pages of contract query 5.6.
func (n *Nodata) admin() http.Handler {
	mux := daemon.Admin{Stats: n.stats, Wrapped: true, Health: n.health, Notes: n.partly.Each, Line: true, Config: func() any { return success(n.cfg) }}.Mux()
	mux.HandleFunc("GET /config/reload", daemon.LocalOnly(n.reload))
	mux.Handle("GET /proc/counters", n.stats.ServeCounters(true))
	mux.HandleFunc("GET /proc/status/{key...}", n.showStatus)
	mux.HandleFunc("GET /proc/collect/{key...}", n.showAnswers)
	mux.HandleFunc("GET /proc/config", n.showRows)
	mux.HandleFunc("GET /proc/config/{key...}", n.showSeries)
	mux.HandleFunc("GET /proc/group/{group...}", n.showGroup)
	mux.HandleFunc("GET /debug/collector/collect", once(func(ctx context.Context) (cnt int, err error) {
		err = alone(ctx, n.collecting, func() { cnt = n.collect(ctx) })
		return cnt, err
	}))
	mux.HandleFunc("GET /debug/config/sync", once(func(ctx context.Context) (cnt int, err error) {
		if e := alone(ctx, n.loading, func() { cnt, err = n.load(ctx) }); e != nil {
			return 0, e
		}
		return cnt, err
	}))
	// Stock has no page for this one.
	mux.HandleFunc("GET /debug/judge/judge", once(func(context.Context) (int, error) { return len(n.judge(n.now()).Mocks), nil }))
	mux.HandleFunc("GET /debug/sender/send", once(func(ctx context.Context) (cnt int, err error) {
		for sent := n.sendOnce(ctx); sent > 0; sent = n.sendOnce(ctx) {
			cnt += sent
		}
		return cnt, ctx.Err()
	}))
	return mux
}

func (n *Nodata) reload(w http.ResponseWriter, _ *http.Request) {
	if n.deps.Reload == nil {
		fail(w, http.StatusConflict, errors.New("there is no configuration file to read again"))
		return
	}
	cfg, err := n.deps.Reload()
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("nothing changed: %w", err))
		return
	}
	n.log.Info("the log level is applied; other settings wait for a restart")
	daemon.WriteJSON(w, success(cfg))
}

// once serves what a person starts by hand: how many it was about, and how many seconds
// it took.
func once(fn func(context.Context) (int, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		cnt, err := fn(r.Context())
		if err != nil {
			fail(w, http.StatusServiceUnavailable, err)
			return
		}
		daemon.WriteJSON(w, success(map[string]int{"cnt": cnt, "time": int(time.Since(began).Seconds())}))
	}
}

// showStatus answers what the last judging found of a series; an empty status says that
// nothing is known of it.
func (n *Nodata) showStatus(w http.ResponseWriter, r *http.Request) {
	out := struct {
		Key    string
		Status string
		Cnt    int
		Ts     int64
	}{Key: r.PathValue("key")}
	n.mu.Lock()
	if rec := n.book.records[out.Key]; rec != nil {
		out.Status, out.Cnt, out.Ts = rec.status, rec.count, rec.stamp
	}
	n.mu.Unlock()
	daemon.WriteJSON(w, success(out))
}

// showAnswers answers the last answers of a series, the newest first.
func (n *Nodata) showAnswers(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	n.mu.Lock()
	if rec := n.book.records[r.PathValue("key")]; rec != nil {
		for _, a := range rec.answers {
			fmt.Fprintf(&b, "ts:%d, value:%f, fetched:%d\n", a.Time, a.Value, a.Fetched)
		}
	}
	n.mu.Unlock()
	if b.Len() == 0 {
		b.WriteString("nothing was fetched\n")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(b.String())) // a reader that left is no failure
}

// shown is a series in stock's shape.
type shown struct {
	ID       int64             `json:"id"`
	Name     string            `json:"name"`
	ObjType  string            `json:"objType"`
	Endpoint string            `json:"endpoint"`
	Metric   string            `json:"metric"`
	Tags     map[string]string `json:"tags"`
	Type     string            `json:"type"`
	Step     int64             `json:"step"`
	Mock     float64           `json:"mock"`
}

func show(s Series) shown {
	return shown{s.Row, s.Name, s.ObjType, s.Endpoint, s.Metric, model.ParseTags(s.Tags), s.Type, s.Step, s.Mock}
}

// showRows answers the series of the rows as they are in the database now, by key.
func (n *Nodata) showRows(w http.ResponseWriter, r *http.Request) {
	series, _, err := n.read(r.Context())
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	out := make(map[string]shown, len(series))
	for key, s := range series {
		out[key] = show(s)
	}
	daemon.WriteJSON(w, success(out))
}

// showSeries answers a series that is watched, or null.
func (n *Nodata) showSeries(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	s, ok := n.book.series[r.PathValue("key")]
	n.mu.Unlock()
	if !ok {
		daemon.WriteJSON(w, success(nil))
		return
	}
	daemon.WriteJSON(w, success(show(s)))
}

// showGroup answers the ids of a group's hosts that are not in maintenance, by name.
func (n *Nodata) showGroup(w http.ResponseWriter, r *http.Request) {
	group := r.PathValue("group")
	hosts, err := n.deps.Rows.WorkingHosts(r.Context(), []string{group}, n.now())
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	out := map[string]int{}
	for _, h := range hosts[group] {
		out[h.Name] = h.ID
	}
	daemon.WriteJSON(w, success(out))
}
