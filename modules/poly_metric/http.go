package polymetric

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"falcon/common/daemon"
	"falcon/common/stat"
)

// count makes the counters.
func (m *PolyMetric) count() {
	s := stat.New("poly_metric")
	m.stats = s
	m.results = s.Counter("result", "results_total", "Results made.")
	m.pushed = s.Counter("push", "pushed_results_total", "Results that push_api has taken.")
	m.gaps = s.Reasons("gap", "gaps_total", "Turns of rows without a result, by reason.")
	m.lacking = s.Counter("lacking", "lacking_points_total", "Last points that were missing or too old, in turns that had a result.")
	m.retried = s.Counter("retry", "retried_requests_total", "Requests for last points that were made again.")
	m.dropped = s.Reasons("drop", "dropped_results_total", "Results that were not handed on, by reason.")
	rows := func(count func(*worked) bool) func() float64 {
		return func() float64 {
			n := 0
			all, _ := m.board.all()
			for _, w := range all {
				if count(w) {
					n++
				}
			}
			return float64(n)
		}
	}
	s.GaugeFunc("row", "rows", "Rows that this instance works.", rows(func(w *worked) bool { return w.bad == nil }))
	s.GaugeFunc("row.bad", "bad_rows", "Rows that can not be worked; /bad says why.", rows(func(w *worked) bool { return w.bad != nil }))
	s.GaugeFunc("queue.len", "waiting_results", "Results that wait for push_api.", func() float64 { return float64(m.queue.Len()) })
	s.GaugeFunc("works", "works", "1 while this instance works the rows, 0 while another one does.", func() float64 {
		if m.works.Load() {
			return 1
		}
		return 0
	})
	m.self = daemon.NewReporter(daemon.ReporterOptions{Module: "poly_metric", Self: m.cfg.Self, Stats: s, Health: m.health, Log: m.log, Now: m.now})
}

// health says why rows have no results, if so. An instance that waits for the lock is
// healthy: it is what it is there for.
func (m *PolyMetric) health() error {
	if err := m.trouble.Err(); err != nil {
		return err
	}
	if _, read := m.board.all(); m.works.Load() && !read {
		return errors.New("poly_metric has not read the rows of cluster yet")
	}
	return nil
}

func (m *PolyMetric) admin() http.Handler {
	d := daemon.Admin{Stats: m.stats, Wrapped: true, Health: m.health, Config: func() any { return m.cfg }}
	if m.deps.Reload != nil {
		d.Reload = func() (string, error) {
			if _, err := m.deps.Reload(); err != nil {
				return "", err
			}
			return "the log level is applied; other settings wait for a restart", nil
		}
	}
	mux := d.Mux()
	mux.HandleFunc("GET /items", m.items)
	mux.HandleFunc("GET /bad", m.bad)
	return mux
}

// items answers a line for each row: what it is, and what its last turn came to.
func (m *PolyMetric) items(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	all, _ := m.board.all()
	var b strings.Builder
	for _, row := range all {
		b.WriteString(row.line())
		b.WriteByte('\n')
	}
	_, _ = w.Write([]byte(b.String())) // a reader that left is no failure
}

func (w *worked) line() string {
	r := w.row
	var b strings.Builder
	add := func(key, value string) {
		if value == "" || strings.ContainsAny(value, " \t\r\n\"") {
			value = strconv.Quote(value)
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(key + "=" + value)
	}
	add("id", strconv.FormatInt(r.ID, 10))
	add("group", strconv.FormatInt(r.Group, 10))
	add("numerator", r.Numerator)
	add("denominator", r.Denominator)
	add("endpoint", r.Endpoint)
	add("metric", r.Metric)
	add("tags", r.Tags)
	add("type", r.DsType)
	add("step", strconv.Itoa(r.Step))
	add("changed", r.LastUpdate)
	if w.bad != nil {
		add("bad", w.bad.Error())
		return b.String()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	add("next", w.next.Format(time.RFC3339))
	if w.at.IsZero() {
		return b.String()
	}
	add("last", w.at.Format(time.RFC3339))
	add("hosts", fmt.Sprintf("%d/%d", w.last.valid, w.last.hosts))
	if w.last.item != nil {
		add("value", strconv.FormatFloat(w.last.item.Value.(float64), 'g', -1, 64))
	} else if w.last.err != nil {
		add("none", w.last.err.Error())
	}
	if n := w.last.nLacking; n > 0 {
		text := strings.Join(w.last.lacking, ", ")
		if n > len(w.last.lacking) {
			text += fmt.Sprintf(" and %d more", n-len(w.last.lacking))
		}
		add("lacking", text)
	}
	return b.String()
}

// bad answers the rows that can not be worked, each with the reason.
func (m *PolyMetric) bad(w http.ResponseWriter, _ *http.Request) {
	type row struct {
		ID       int64  `json:"id"`
		Endpoint string `json:"endpoint"`
		Metric   string `json:"metric"`
		Reason   string `json:"reason"`
	}
	rows := []row{}
	all, _ := m.board.all()
	for _, w := range all {
		if w.bad != nil {
			rows = append(rows, row{w.row.ID, w.row.Endpoint, w.row.Metric, w.bad.Error()})
		}
	}
	daemon.WriteJSON(w, struct {
		Msg  string `json:"msg"`
		Data []row  `json:"data"`
	}{"success", rows})
}
