package plusjudge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/stat"
)

// count makes the counters of contract alerting 4.19. When nothing is on its way member.event
// is member.refused + recv.busy + member.kept, and what becomes of events is outbox.Box.Count's.
func (p *PlusJudge) count() {
	s := stat.New("plus_judge")
	p.stats = s
	p.received = s.Counter("member.event", "member_events_total", "Events of conditions that arrived.")
	p.refused = s.Reasons("member.refused", "refused_events_total", "Events that were refused, by reason.")
	p.kept = s.Counter("member.kept", "kept_events_total", "Events of conditions that were looked at.")
	p.busy = s.Reasons("recv.busy", "busy_events_total", "Events that were not taken, and wait with their judge: until disk or redis does.")
	p.problems = s.Counter("combo.problem", "problem_events_total", "PROBLEM events told.")
	p.oks = s.Counter("combo.ok", "ok_events_total", "OK events told.")
	p.closed = s.Counter("stale", "stale_total", "Problems closed because nobody refreshed them for an hour.")
	p.discarded = s.Counter("event.discarded", "discarded_events_total", "Events discarded while alarm.enabled is false.")
	p.diskErrs = s.Counter("journal.error", "journal_errors_total", "Changes that the journal did not take at once.")
	p.damaged = s.Counter("journal.damaged", "damaged_records_total", "Records of the last run that could not be read.")
	held := func(of func(*Core) int) func() float64 {
		return func() float64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return float64(of(p.core))
		}
	}
	s.GaugeFunc("combo.count", "combinations", "Combinations on hosts of which a condition held in the last hour.", held((*Core).Len))
	s.GaugeFunc("combo.open", "open_problems", "Combinations that are a problem.", held((*Core).Problems))
	p.out.Count(s)
	daemon.DiskFree(s, p.cfg.Dir())
	p.self = daemon.NewReporter(daemon.ReporterOptions{Module: "plus_judge", Self: p.cfg.Self, Stats: s, Health: p.health, Log: p.log, Now: p.now})
}

// health says why no event is taken, if so.
func (p *PlusJudge) health() error {
	if !p.ready.Load() {
		return errors.New("plus_judge is recovering what the last run left in its journal")
	}
	if err := p.diskErr.Load(); err != nil {
		return fmt.Errorf("the journal takes nothing, make room in the folder %s: %w", p.cfg.Dir(), *err)
	}
	if err := p.out.Room(); err != nil {
		return fmt.Errorf("events wait with their judges: %w", err)
	}
	return nil
}

func (p *PlusJudge) views(r model.CombinationsRequest) model.CombinationsReply {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.core.Views(r, p.now().Unix())
}

func (p *PlusJudge) admin() http.Handler {
	mux := daemon.Admin{
		Stats: p.stats, Wrapped: true, Health: p.health, Notes: p.out.Notes, Config: func() any { return p.cfg }, Reload: p.reload(),
	}.Mux()
	mux.HandleFunc("GET /combinations", func(w http.ResponseWriter, r *http.Request) {
		daemon.WriteJSON(w, p.views(model.CombinationsRequest{Endpoint: r.FormValue("endpoint"), Serial: r.FormValue("serial"), Event: r.FormValue("event")}))
	})
	mux.HandleFunc("GET /combinations/{endpoint...}", func(w http.ResponseWriter, r *http.Request) {
		daemon.WriteJSON(w, p.views(model.CombinationsRequest{Endpoint: r.PathValue("endpoint")}))
	})
	mux.HandleFunc("POST /ack", daemon.LocalOnly(func(w http.ResponseWriter, r *http.Request) {
		var req model.AckRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&req); err != nil || req.EventId == "" {
			http.Error(w, `write {"event_id": "m_…"}`, http.StatusBadRequest)
			return
		}
		n, err := p.ack(&req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		daemon.WriteJSON(w, model.AckReply{Matched: n})
	}))
	return mux
}

// reload reads the file again. All settings wait for a restart but the log level, which
// the shell applies by itself.
func (p *PlusJudge) reload() func() (string, error) {
	if p.deps.Reload == nil {
		return nil
	}
	return func() (string, error) {
		if _, err := p.deps.Reload(); err != nil {
			return "", err
		}
		return "the log level is applied; other settings wait for a restart", nil
	}
}
