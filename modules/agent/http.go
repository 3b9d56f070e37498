package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"falcon/common/daemon"
	"falcon/common/model"
)

const (
	// maxBody bounds the body of a push.
	maxBody = 64 << 20
	// bodyTimeout bounds how long it may take to arrive.
	bodyTimeout = time.Minute
)

// handler returns the pages of contract ingest 3.10.
func (a *Agent) handler() http.Handler {
	mux := daemon.Admin{
		Stats: a.stats, Config: func() any { return a.cfg }, Reload: a.reload(), Notes: a.notes, Trusted: a.trusted,
	}.Mux()
	mux.HandleFunc("POST /v1/push", a.push)
	mux.HandleFunc("GET /ips", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.trustedIPs(), nil) })
	a.host.pages(mux)
	a.commands(mux)
	return mux
}

// notes says what is to be known of this host and keeps no point back.
func (a *Agent) notes() []string {
	all := a.out.notes()
	if n := a.renaming.note(a.endpoint); n != "" {
		all = append(all, n)
	}
	return all
}

// unsafeFor is how long a push waits for a transfer since the disk does not take it.
const unsafeFor = 5 * time.Second

// push takes a JSON array of items. "success" means queued, and that they are with the
// spool if there is one; while its disk takes nothing, and with ?wait=1, it means that a
// transfer has acknowledged them, and 503 that none has while the caller waited. With ?verbose=1 the answer is pushAnswer.
func (a *Agent) push(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r, maxBody)
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large:
		http.Error(w, "body is larger than 64 MiB", http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "read the body: "+err.Error(), http.StatusBadRequest)
		return
	case len(body) == 0:
		http.Error(w, "body is blank", http.StatusBadRequest)
		return
	}
	if n := model.CountItems(body); n > model.MaxItems {
		http.Error(w, fmt.Sprintf("too many items: %d, and none was taken: send at most %d at once", n, model.MaxItems), http.StatusRequestEntityTooLarge)
		return
	}
	var items []*model.MetricValue
	if err := json.Unmarshal(body, &items); err != nil {
		http.Error(w, "connot decode body", http.StatusBadRequest) // sic: stock's text, which clients compare
		return
	}
	points, refused := a.points(items)
	a.pushPoints.Add(len(points))
	query := r.URL.Query()
	taken := func() {
		if query.Get("verbose") == "" {
			_, _ = io.WriteString(w, "success")
			return
		}
		answer(w, pushAnswer{Total: len(items), Queued: len(points), Refused: len(refused), Items: refused[:min(len(refused), shownItems)]}, nil)
	}
	kept := make(chan error, 1)
	var limit <-chan time.Time
	if query.Get("wait") != "" {
		a.out.add(points, func(err error) { kept <- err })
	} else if a.out.insure(points, func(err error) { kept <- err }) {
		taken()
		return
	} else {
		limit = time.After(unsafeFor)
	}
	select {
	case <-limit:
		http.Error(w, "the disk takes no points and no transfer has yet: they wait in memory, push them again to be sure", http.StatusServiceUnavailable)
	case err := <-kept:
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		taken()
	case <-r.Context().Done(): // the caller has gone; the points stay queued
	}
}

// readBody reads a body of so many bytes at most within bodyTimeout: who stops in the
// middle of one holds nothing up for ever.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout)) // a recorder in a test has none to set
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err == nil {
		// Its sender may wait for longer. After an error the server still reads on for a
		// while: the deadline stays.
		_ = c.SetReadDeadline(time.Time{})
	}
	return body, err
}

// A pushAnswer says what became of a push; it is in stock's envelope.
type pushAnswer struct {
	Total   int           `json:"total"`
	Queued  int           `json:"queued"`
	Refused int           `json:"refused"`
	Items   []refusedItem `json:"items"` // the first shownItems that were refused
}

const shownItems = 100

// A refusedItem is an item that was not taken, and why.
type refusedItem struct {
	Index    int    `json:"index"` // in the pushed array, from 0
	Endpoint string `json:"endpoint"`
	Metric   string `json:"metric"`
	Reason   string `json:"reason"` // the label of the counter
	Why      string `json:"why"`
}

// points turns pushed items into points, and says which can not be taken: for these a
// transfer would have no other answer. What a graph or judge refuses is not known here.
func (a *Agent) points(items []*model.MetricValue) (points []point, refused []refusedItem) {
	points = make([]point, 0, len(items))
	for i, it := range items {
		p, reason := a.point(it)
		if reason == "" {
			points = append(points, p)
			continue
		}
		a.refused.Add(reason, 1)
		no := refusedItem{Index: i, Reason: reason, Why: model.Why(reason)}
		if it != nil {
			no.Endpoint, no.Metric = it.Endpoint, it.Metric
		}
		refused = append(refused, no)
	}
	return points, refused
}

// point turns a pushed item into a point, or returns the reason why not.
func (a *Agent) point(it *model.MetricValue) (p point, reason string) {
	if it == nil {
		return p, model.ReasonNull
	}
	if reason := model.CheckName(it.Endpoint, it.Metric, it.Tags, it.Type, it.Step); reason != "" {
		return p, reason
	}
	v, text, kind := model.ParseValue(it.Value)
	switch {
	case kind == model.ValueEmpty:
		return p, model.ReasonNoValue
	case kind == model.ValueBad:
		return p, model.ReasonValue
	case len(text) > model.MaxText:
		return p, model.ReasonTooLong
	}
	n := name{it.Endpoint, it.Metric, a.tagged(it.Tags), it.Type, int(it.Step), kind == model.ValueText}
	return point{a.series.get(n), it.Timestamp, v, text}, ""
}

// tagged returns tags in their normal form with the default tags among them; a tag
// that is there already stays.
func (a *Agent) tagged(tags string) string {
	if len(a.cfg.DefaultTags) == 0 {
		return model.NormalTags(tags)
	}
	m := model.ParseTags(tags)
	for k, v := range a.cfg.DefaultTags {
		k = strings.ReplaceAll(k, " ", "")
		if _, there := m[k]; !there {
			m[k] = strings.ReplaceAll(v, " ", "")
		}
	}
	return model.SortedTags(m)
}

// reload reads the file again; what is not the log level waits for a restart.
func (a *Agent) reload() func() (string, error) {
	if a.deps.Reload == nil {
		return nil
	}
	return func() (string, error) {
		if _, err := a.deps.Reload(); err != nil {
			return "", err
		}
		return "the log level is applied; other settings wait for a restart", nil
	}
}
