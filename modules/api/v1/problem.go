package v1

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"falcon/common/model"
	"falcon/common/portal"
)

// Judges are the daemons that hold open problems. Of those who do not answer the
// addresses are returned, and what the others say.
type Judges interface {
	// Problems returns the open problems as of a moment ago, Problem those of one id as of
	// now.
	Problems(ctx context.Context) (all []model.Problem, failed []string)
	Problem(ctx context.Context, id string) (all []model.Problem, failed []string)
	// Combinations returns how the conditions of combined rules stand.
	Combinations(ctx context.Context, r model.CombinationsRequest) (all model.CombinationsReply, failed []string)
	// Ack acknowledges a problem, or takes that back, and says how many rules it was of.
	Ack(ctx context.Context, r model.AckRequest) (matched int, err error)
}

// withJudges is a handler that needs judges.
func withJudges(h func(*server, *Call) (any, error)) func(*server, *Call) (any, error) {
	return func(s *server, c *Call) (any, error) {
		if s.Judges == nil {
			return nil, &Error{Status: http.StatusBadGateway, Text: "no judge is configured that could say how open alarms stand: set judge.addrs and plus_judge.addrs"}
		}
		return h(s, c)
	}
}

// problemRow is what an open case does not say: that its series has stopped, or its host
// has no rules, and who works on it. Times are Unix seconds, 0 for unknown.
type problemRow struct {
	ID        string `json:"event_id"`
	LastPoint int64  `json:"last_point"`
	Stopped   bool   `json:"stopped"`
	ClosesAt  int64  `json:"closes_at"`
	Gone      bool   `json:"host_gone"`
	Acked     bool   `json:"acked"`
	AckedBy   string `json:"acked_by"`
	AckedAt   int64  `json:"acked_at"`
}

// problems lists those open problems of which there is more to say than their case does,
// or with event_id the one of this id. One that several rules tell stands there once.
func (s *server) problems(c *Call) (any, error) {
	id := c.Query("event_id")
	var all []model.Problem
	var failed []string
	if id == "" {
		all, failed = s.Judges.Problems(c.Ctx())
	} else {
		all, failed = s.Judges.Problem(c.Ctx(), id)
	}
	s.partial(c, failed)
	rows := []problemRow{}
	at := map[string]int{}
	for _, p := range all {
		if id == "" && !p.Stopped && !p.Gone && !p.Acked {
			continue
		}
		i, ok := at[p.ID]
		if !ok {
			at[p.ID] = len(rows)
			rows = append(rows, problemRow{p.ID, p.LastPoint, p.Stopped, p.ClosesAt, p.Gone, p.Acked, p.AckedBy, p.AckedAt})
			continue
		}
		// A standby may have it as well: who heard last knows best of the series.
		r := &rows[i]
		if p.LastPoint > r.LastPoint {
			r.LastPoint, r.Stopped, r.ClosesAt, r.Gone = p.LastPoint, p.Stopped, p.ClosesAt, p.Gone
		}
		if p.AckedAt > r.AckedAt || p.Acked && !r.Acked {
			r.Acked, r.AckedBy, r.AckedAt = true, p.AckedBy, p.AckedAt
		}
	}
	return rows, nil
}

// combinations lists how the conditions of combined rules stand on hosts: of a host, of a
// rule by its serial, or of one alarm.
func (s *server) combinations(c *Call) (any, error) {
	r := model.CombinationsRequest{Endpoint: c.Query("endpoint"), Serial: c.Query("serial"), Event: c.Query("event_id")}
	if r.Endpoint == "" && r.Serial == "" && r.Event == "" {
		return nil, bad("endpoint, serial or event_id: one of them is required")
	}
	limit, err := c.positive("limit", 100)
	if err != nil {
		return nil, err
	}
	r.Limit = min(limit, 1000)
	all, failed := s.Judges.Combinations(c.Ctx(), r)
	s.partial(c, failed)
	if len(all.Combinations) > r.Limit { // of several plus_judges
		all.Combinations = all.Combinations[:r.Limit]
	}
	return all, nil
}

// acknowledge says that the caller works on a problem: nothing more is told of it until
// it is over (contract alerting 4.11). Its case shows it, and its judge is told.
func (s *server) acknowledge(c *Call) (any, error) {
	var in struct {
		ID string `json:"event_id" form:"event_id" xml:"event_id"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	return s.ack(c, in.ID, false)
}

// unacknowledge has a problem told again.
func (s *server) unacknowledge(c *Call) (any, error) { return s.ack(c, c.Param("event_id"), true) }

func (s *server) ack(c *Call, id string, undo bool) (any, error) {
	id = strings.TrimSpace(id)
	if err := required("event_id", id); err != nil {
		return nil, err
	}
	c.Audit(id, map[string]bool{"acknowledged": !undo})
	who := c.Caller.User.Name
	// The case first: what it says holds for alarm, also while the judge is away.
	var cases []string
	if s.Portal.Alarms != nil {
		var err error
		if cases, err = s.Portal.AckCases(c.Ctx(), portal.CaseAck{ID: id, By: who, At: s.Now(), Undo: undo}); err != nil {
			return nil, err
		}
	}
	matched, err := s.Judges.Ack(c.Ctx(), model.AckRequest{EventId: id, User: who, At: s.Now().Unix(), Undo: undo})
	switch {
	case err != nil && len(cases) == 0:
		s.Log.Warn("an acknowledgement did not reach its judge", "event", id, "err", err)
		return nil, &Error{Status: http.StatusBadGateway, Text: fmt.Sprintf("the judge of this alarm can not be told: %v", err)}
	case err != nil:
		s.Log.Warn("an acknowledgement stands in the case, and did not reach the judge", "event", id, "err", err)
		s.partial(c, []string{err.Error()})
	case matched == 0 && len(cases) == 0:
		return nil, &Error{Status: http.StatusNotFound, Text: "there is nothing to acknowledge: the problem is over, or its rule is gone"}
	}
	return map[string]any{"event_id": id, "matched": max(matched, len(cases))}, nil
}
