package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"falcon/common/daemon"
	"falcon/common/model"
)

// maxBody bounds the body of a push.
const maxBody = 64 << 20

// handler returns the pages of contract ingest 3.10.
func (a *Agent) handler() http.Handler {
	mux := daemon.Admin{
		Stats: a.stats, Config: func() any { return a.cfg }, Reload: a.reload(),
	}.Mux()
	mux.HandleFunc("POST /v1/push", a.push)
	mux.HandleFunc("GET /ips", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.trustedIPs(), nil) })
	a.host.pages(mux)
	a.commands(mux)
	return mux
}

// push takes a JSON array of items. "success" means queued; with ?wait=1 it means
// that a transfer has acknowledged them, and 503 that none has while the caller
// waited.
func (a *Agent) push(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
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
	points := a.points(items)
	a.pushPoints.Add(len(points))
	if r.URL.Query().Get("wait") == "" {
		a.out.add(points, nil)
		_, _ = io.WriteString(w, "success")
		return
	}
	kept := make(chan error, 1)
	a.out.add(points, func(err error) { kept <- err })
	select {
	case err := <-kept:
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "success")
	case <-r.Context().Done(): // the caller has gone; the points stay queued
	}
}

// points turns pushed items into points. What can not travel is refused here; all
// other checks are transfer's.
func (a *Agent) points(items []*model.MetricValue) []point {
	points := make([]point, 0, len(items))
	for _, it := range items {
		if it == nil {
			a.refused.Add(model.ReasonNull, 1)
			continue
		}
		v, text, kind := model.ParseValue(it.Value)
		switch kind {
		case model.ValueEmpty:
			a.refused.Add(model.ReasonNoValue, 1)
			continue
		case model.ValueBad:
			a.refused.Add(model.ReasonValue, 1)
			continue
		}
		n := name{it.Endpoint, it.Metric, a.tagged(it.Tags), it.Type, int(it.Step), kind == model.ValueText}
		points = append(points, point{a.series.get(n), it.Timestamp, v, text})
	}
	return points
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
