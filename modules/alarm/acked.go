package alarm

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/modules/alarm/sender"
)

// linked puts the link into a message by which user acknowledges its problem; an empty
// user is whoever reads it. Ends, and events of series that no link can name, have none.
func (a *Alarm) linked(m sender.Message, user string, now time.Time) sender.Message {
	e := m.Event
	if !a.cfg.Ack.on() || e.Status != model.StatusProblem {
		return m
	}
	l := model.AckLink{
		Endpoint: e.Endpoint, Metric: e.Metric(), Tags: model.SortedTags(e.PushedTags), EventID: e.Id, User: user,
		Expires: now.Unix() + a.cfg.Ack.Expire,
	}
	if l.Valid() {
		m.Ack = l.URL(a.cfg.Ack.Base, a.cfg.Ack.Secret.Reveal())
	}
	return m
}

// acked is POST and DELETE /acked: transfer, or whoever else has told a judge, says who
// works on a problem, or that nobody does any more. The case shows it, and no further step
// is told, whatever the judge knows. That no case is open is no error: matched is 0.
func (a *Alarm) acked(w http.ResponseWriter, r *http.Request) {
	var in model.AckReport
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("the body is no acknowledgement: %w", err))
		return
	}
	if in.ID == "" && (in.Endpoint == "" || in.Metric == "") {
		fail(w, http.StatusBadRequest, errors.New("an acknowledgement names the id of a case, or endpoint and metric of a series"))
		return
	}
	counter := in.Metric
	if tags := model.SortedTags(in.Tags); tags != "" {
		counter += "/" + tags
	}
	ids, err := a.deps.DB.AckCases(r.Context(), portal.CaseAck{
		ID: in.ID, Endpoint: in.Endpoint, Counter: counter, By: in.User,
		At: time.Unix(cmp.Or(in.At, a.now().Unix()), 0), Undo: r.Method == http.MethodDelete,
	})
	if err != nil {
		a.dbErrors.Add(1)
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	if len(ids) > 0 {
		a.log.Info("problem acknowledged", "cases", ids, "user", in.User, "undo", r.Method == http.MethodDelete)
	}
	daemon.WriteJSON(w, model.AckReported{Matched: len(ids)})
}
