package judge

import (
	"errors"
	"fmt"
	"net/http"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/stat"
)

// count makes the counters of contract alerting 4.19.
func (j *Judge) count() {
	s := stat.New("judge")
	j.stats = s
	j.received = s.Counter("recv", "received_points_total", "Points that arrived.")
	j.invalid = s.Counter("recv.invalid", "invalid_points_total", "Points that were refused.")
	j.problems = s.Counter("event.problem", "problem_events_total", "PROBLEM events made.")
	j.oks = s.Counter("event.ok", "ok_events_total", "OK events made.")
	j.gone = s.Counter("event.discarded", "discarded_events_total", "Events discarded while alarm.enabled is false.")
	j.damage = s.Counter("journal.error", "journal_errors_total", "Batches that the journal did not take.")
	s.GaugeFunc("series", "series", "Series known.", func() float64 { j.mu.Lock(); defer j.mu.Unlock(); return float64(len(j.series)) })
	s.GaugeFunc("event.spool", "waiting_events", "Events that Redis does not have yet.", func() float64 { j.mu.Lock(); defer j.mu.Unlock(); return float64(len(j.outbox)) })
	s.GaugeFunc("strategy.bad", "bad_rules", "Rules that can not be judged with.", func() float64 {
		if ix := j.index.Load(); ix != nil {
			return float64(len(ix.Bad))
		}
		return 0
	})
}

// health says why nothing is judged, if so.
func (j *Judge) health() error {
	if !j.ready.Load() {
		return errors.New("judge is recovering what the last run left in its journal")
	}
	if j.index.Load() == nil {
		_, err := j.follow.Heard()
		return fmt.Errorf("judge has no rules: points wait until an hbs answers (hbs.servers): %w", errors.Join(err, errors.New("there is no book on disk")))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.diskFull != nil {
		return fmt.Errorf("the journal takes nothing, make room in the folder data: %w", j.diskFull)
	}
	return nil
}

func (j *Judge) admin() http.Handler {
	a := daemon.Admin{Stats: j.stats, Health: j.health, Config: func() any { return j.cfg }}
	if j.deps.Reload != nil {
		a.Reload = func() (string, error) {
			_, err := j.deps.Reload()
			return "the log level is applied; other settings wait for a restart", err
		}
	}
	mux := a.Mux()
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		j.mu.Lock()
		n := len(j.series)
		j.mu.Unlock()
		_, _ = fmt.Fprintf(w, "total: %d\n", n) // a reader that left is no failure
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		status := r.FormValue("status")
		events := []*model.Event{}
		j.mu.Lock()
		for _, t := range j.last {
			if status == "" || t.Event.Status == status {
				events = append(events, t.Event)
			}
		}
		j.mu.Unlock()
		daemon.WriteJSON(w, events)
	})
	return mux
}
