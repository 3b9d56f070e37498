package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"falcon/common/daemon"
	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/stat"
)

// count makes the counters of contract alerting 4.19. When nothing is on its way recv is
// recv.invalid + recv.filtered + recv.stale + recv.kept, and what becomes of events is
// outbox.Box.Count's.
func (j *Judge) count() {
	s := stat.New("judge")
	j.stats = s
	j.received = s.Counter("recv", "received_points_total", "Points that arrived.")
	j.invalid = s.Reasons("recv.invalid", "refused_points_total", "Points that were refused, by reason.")
	j.filtered = s.Counter("recv.filtered", "unwatched_points_total", "Points of series that no rule watches.")
	j.stale = s.Reasons("recv.stale", "dropped_points_total", "Points that are older than all that are kept, or were there already.")
	j.refusedBusy = s.Reasons("recv.busy", "busy_batches_total", "Batches that were not taken, and wait with who sent them: until disk, redis or hbs does.")
	j.kept = s.Counter("recv.kept", "kept_points_total", "Points that were judged, or wait for rules, or were kept behind newer ones.")
	j.late = s.Counter("recv.late", "late_points_total", "Points that were kept behind newer ones and not judged.")
	j.problems = s.Counter("event.problem", "problem_events_total", "PROBLEM events made.")
	j.oks = s.Counter("event.ok", "ok_events_total", "OK events made.")
	j.discarded = s.Counter("event.discarded", "discarded_events_total", "Events discarded while alarm.enabled is false.")
	j.diskErrs = s.Counter("journal.error", "journal_errors_total", "Batches that the journal did not take at once.")
	j.damaged = s.Counter("journal.damaged", "damaged_records_total", "Records of the last run that could not be read.")
	j.union.count(s)
	size := func(which int) func() float64 {
		return func() float64 {
			kept, unwatched := j.table.sizes()
			return float64([]int{kept, unwatched}[which])
		}
	}
	s.GaugeFunc("series", "series", "Series that are kept.", size(0))
	s.GaugesFunc("state", "filter.keys", "filtered_series", "Series of stock peers for which it is known whether a rule watches them, by that.", func() map[string]int64 {
		kept, unwatched := j.table.sizes()
		return map[string]int64{"watched": int64(kept), "unwatched": int64(unwatched)}
	})
	s.CounterFunc("filter.decided", "decisions_total", "Times that it was looked up whether a rule watches a series.", j.table.decided.Load)
	s.GaugeFunc("pending.series", "waiting_series", "Series whose points wait for rules.", func() float64 { return float64(j.table.waiting.Load()) })
	j.out.Count(s)
	s.GaugeFunc("judge.usec", "batch_microseconds", "How long the last batch took.", func() float64 { return float64(j.took.Load()) / 1000 })
	force := func(of func(*inForce) float64) func() float64 {
		return func() float64 {
			if f := j.inForce.Load(); f != nil {
				return of(f)
			}
			return 0
		}
	}
	s.GaugeFunc("strategy.count", "rules", "Rules in force.", force(func(f *inForce) float64 { return float64(f.index.Len()) }))
	s.GaugeFunc("strategy.bad", "bad_rules", "Rules that can not be judged with.", force(func(f *inForce) float64 { return float64(len(f.index.Bad)) }))
	s.GaugeFunc("filter.age", "rules_unchanged_seconds", "Since when the rules are in force.", force(func(f *inForce) float64 { return j.now().Sub(f.at).Seconds() }))
	s.GaugeFunc("strategy.age", "rules_age_seconds", "Since when no hbs confirmed the rules.", force(func(*inForce) float64 {
		if heard, _ := j.follow.Heard(); !heard.IsZero() {
			return j.now().Sub(heard).Seconds()
		}
		return 0
	}))
	daemon.DiskFree(s, j.cfg.Dir())
	j.self = daemon.NewReporter(daemon.ReporterOptions{Module: "judge", Self: j.cfg.Self, Stats: s, Health: j.health, Log: j.log, Now: j.now})
}

// health says why nothing is judged, if so.
func (j *Judge) health() error {
	if !j.ready.Load() {
		return errors.New("judge is recovering what the last run left in its journal")
	}
	if j.inForce.Load() == nil {
		_, err := j.follow.Heard()
		return fmt.Errorf("judge has no rules: points wait until an hbs answers (hbs.servers): %w", errors.Join(err, errors.New("there is no book on disk")))
	}
	if err := j.diskErr.Load(); err != nil {
		return fmt.Errorf("the journal takes nothing, make room in the folder %s: %w", j.cfg.Dir(), *err)
	}
	if err := errors.Join(j.out.Room(), j.ruleless()); err != nil {
		return fmt.Errorf("points wait with transfer: %w", err)
	}
	return nil
}

// notes says what judge does without.
func (j *Judge) notes() (all []string) {
	if heard, err := j.follow.Heard(); !heard.IsZero() && j.now().Sub(heard) > quietHBS {
		why := ""
		if err != nil {
			why = ": " + err.Error()
		}
		all = append(all, fmt.Sprintf("no hbs has confirmed the rules since %s; those of then are in force%s", heard.Format(time.DateTime), why))
	}
	return append(all, j.out.Notes()...)
}

// quietHBS is how long no hbs answers before judge says so: each call lasts 15 s.
const quietHBS = time.Minute

// admin returns the daemon's pages with stock's of contract alerting 1.14.
func (j *Judge) admin() http.Handler {
	mux := daemon.Admin{
		Stats: j.stats, Wrapped: true, Health: j.health, Notes: j.notes, Config: func() any { return j.cfg }, Reload: j.reload(),
	}.Mux()
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		n, _ := j.table.sizes()
		text(w, fmt.Sprintf("total: %d\n", n))
	})
	mux.HandleFunc("GET /strategy/{endpoint}/{metric}", func(w http.ResponseWriter, r *http.Request) {
		var all []*model.Strategy
		if f := j.inForce.Load(); f != nil {
			all = f.index.Strategies(r.PathValue("endpoint"), r.PathValue("metric"))
		}
		stockJSON(w, all)
	})
	mux.HandleFunc("GET /expression/{metric}/{tag}", func(w http.ResponseWriter, r *http.Request) {
		var all []*model.Expression
		k, v, _ := strings.Cut(r.PathValue("tag"), "=")
		if f := j.inForce.Load(); f != nil {
			all = f.index.Expressions(r.PathValue("metric"), k, v)
		}
		stockJSON(w, all)
	})
	// A PK holds slashes, and the mux cleans paths that have two of them: pk= is for
	// those.
	mux.HandleFunc("GET /history/{pk...}", func(w http.ResponseWriter, r *http.Request) {
		pk := r.PathValue("pk")
		if q := r.FormValue("pk"); q != "" {
			pk = q
		}
		text(w, j.history(pk))
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { daemon.WriteJSON(w, j.events(r.FormValue("status"))) })
	mux.HandleFunc("POST /ack", j.ackPage)
	mux.HandleFunc("DELETE /ack", j.ackPage)
	mux.HandleFunc("GET /filter/stat", func(w http.ResponseWriter, _ *http.Request) { daemon.WriteJSON(w, j.filterStat()) })
	mux.HandleFunc("GET /filter/{key...}", j.filterPage)
	return mux
}

// filterStat says which rules are in force and how much they watch.
func (j *Judge) filterStat() map[string]any {
	kept, unwatched := j.table.sizes()
	out := map[string]any{"series": kept, "unwatched": unwatched, "decided": j.table.decided.Load(), "version": "", "rules": 0, "bad": []any{}}
	if f := j.inForce.Load(); f != nil {
		out["version"], out["rules"], out["in_force_since"] = f.index.Version.String(), f.index.Len(), f.at.Unix()
		if len(f.index.Bad) > 0 {
			out["bad"] = f.index.Bad
		}
	}
	if keys, unknown := j.follow.Asked(); keys > 0 {
		out["asked"] = map[string]int{"keys": keys, "unknown": unknown}
	}
	if heard, err := j.follow.Heard(); err != nil {
		out["hbs_error"] = err.Error()
	} else if !heard.IsZero() {
		out["confirmed"] = heard.Unix()
	}
	return out
}

// history returns the values of a series, newest first, as the rules see them: numbers
// as they are, texts in quotes.
func (j *Judge) history(pk string) string {
	all := j.table.both(pk)
	if len(all) == 0 {
		return "not found\n"
	}
	var b strings.Builder
	for _, e := range all {
		if e.IsText() {
			e.shard.mu.Lock()
			for _, p := range e.History() {
				fmt.Fprintf(&b, "%d %s %q\n", p.Ts, time.Unix(p.Ts, 0).Format(time.DateTime), e.Text(p))
			}
			e.shard.mu.Unlock()
		} else {
			writeNumbers(&b, e)
		}
	}
	return b.String()
}

func writeNumbers(b *strings.Builder, e *entry) {
	e.shard.mu.Lock()
	points := append([]expr.Point(nil), e.History()...)
	gauge := e.Gauge()
	e.shard.mu.Unlock()
	n := len(points)
	if !gauge {
		n = max(0, n-1)
	}
	values, _ := expr.Values(nil, points, n, gauge)
	for i, v := range values {
		fmt.Fprintf(b, "%d %s %v\n", points[i].Ts, time.Unix(points[i].Ts, 0).Format(time.DateTime), v)
	}
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(s)) // a reader that left is no failure
}

// stockJSON answers byte for byte as stock's judge does.
func stockJSON(w http.ResponseWriter, data any) {
	b, err := json.Marshal(struct {
		Msg  string `json:"msg"`
		Data any    `json:"data"`
	}{"success", data})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(b)
}

// reload reads the file again. All settings of a judge wait for a restart but the log
// level, which the shell applies by itself.
func (j *Judge) reload() func() (string, error) {
	if j.deps.Reload == nil {
		return nil
	}
	return func() (string, error) {
		if _, err := j.deps.Reload(); err != nil {
			return "", err
		}
		return "the log level is applied; other settings wait for a restart", nil
	}
}
