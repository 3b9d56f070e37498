package judge

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/modules/judge/core"
)

// acked is who works on a problem. The journal has it as JSON.
type acked struct {
	PK    string `json:"pk"`
	Event string `json:"event"` // its id, or empty for all problems of the series
	By    string `json:"by"`
	At    int64  `json:"at"` // Unix seconds
	Undo  bool   `json:"undo,omitempty"`
	// Told is how many events had been made: those after it are not meant.
	Told uint64 `json:"told"`
}

// acknowledge marks problems, or takes the mark back, and answers once the journal has it.
func (j *Judge) acknowledge(r *model.AckRequest) (*model.AckReply, error) {
	if r.Endpoint == "" || r.Metric == "" || len(r.Endpoint) > core.MaxName || len(r.Metric) > core.MaxName || tagsLength(r.Tags) > core.MaxName {
		return nil, errors.New("an acknowledgement names endpoint and metric of the series")
	}
	a := acked{
		PK: model.PK(r.Endpoint, r.Metric, model.SortedTags(r.Tags)), Event: r.EventId, By: r.User,
		At: cmp.Or(r.At, j.now().Unix()), Undo: r.Undo,
	}
	reply := &model.AckReply{}
	for _, texts := range []bool{false, true} {
		n, err := j.acknowledgeKind(a, texts)
		if err != nil {
			return nil, err
		}
		reply.Matched += n
	}
	return reply, nil
}

// acknowledgeKind acknowledges what the series of numbers has, or the one of texts.
func (j *Judge) acknowledgeKind(a acked, texts bool) (int, error) {
	for {
		e := j.table.getKind(a.PK, texts)
		if e == nil {
			return 0, nil
		}
		b := j.begin()
		n, wait := b.acknowledge(e, a)
		err := b.commit()
		switch {
		case wait != nil:
			// What is meant must stand in the journal before what is said of it.
			<-wait
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, nil
		}
		j.log.Info("problem acknowledged", "pk", a.PK, "event", a.Event, "user", a.By, "undo", a.Undo, "n", n)
		return n, nil
	}
}

// acknowledge marks the problems of e. It returns what has to be waited for first, if
// another batch is about to write of the series.
func (b *batch) acknowledge(e *entry, a acked) (n int, wait chan struct{}) {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	if e.last != nil {
		select {
		case <-e.last:
		default:
			return 0, e.last
		}
	}
	if n = e.Ack(a.Event, !a.Undo); n == 0 {
		return 0, nil
	}
	e.last = b.done
	a.Told = b.j.out.acknowledge(a)
	b.recorder.acked(&a)
	return n, nil
}

// ackCall is Judge.Ack.
func (j *Judge) ackCall(_ context.Context, _ *rpc.Conn, r *model.AckRequest) (*model.AckReply, error) {
	return j.acknowledge(r)
}

// ackHeader carries the fleet key to POST /ack.
const ackHeader = model.FleetKeyHeader

// ackPage is POST and DELETE /ack: the body is an AckRequest in JSON, DELETE takes the
// mark back. It is for who has the fleet key, and without one for callers of this machine
// that are no page in a browser.
func (j *Judge) ackPage(w http.ResponseWriter, r *http.Request) {
	key := j.cfg.FleetKey.Reveal()
	given := r.Header.Get(ackHeader)
	switch {
	case key != "" && subtle.ConstantTimeCompare([]byte(given), []byte(key)) != 1:
		http.Error(w, "not allowed: the header "+ackHeader+" must have the fleet key (fleet_key)", http.StatusForbidden)
		return
	case key == "" && !daemon.IsLocal(r):
		http.Error(w, "not allowed: /ack is for callers of the same machine while no fleet_key is set", http.StatusForbidden)
		return
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		http.Error(w, "send application/json", http.StatusUnsupportedMediaType)
		return
	}
	var req model.AckRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&req); err != nil {
		http.Error(w, "the body is no acknowledgement: "+err.Error(), http.StatusBadRequest)
		return
	}
	req.Undo = req.Undo || r.Method == http.MethodDelete
	reply, err := j.acknowledge(&req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	daemon.WriteJSON(w, reply)
}
