package polymetric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/run"
)

// Sink takes results.
type Sink interface {
	// Push hands items on. An error says that none of them was taken.
	Push(ctx context.Context, items []*model.MetricValue) error
}

// pushAPI is an agent or a transfer.
type pushAPI struct {
	url    string
	client *httpx.Client
}

func newPushAPI(c API) *pushAPI {
	return &pushAPI{c.PushAPI, httpx.NewClient(httpx.Options{Tries: 1, ConnectTimeout: c.ConnectTimeout.D(), Timeout: 5 * time.Second})}
}

func (p *pushAPI) Push(ctx context.Context, items []*model.MetricValue) error {
	body, err := json.Marshal(items)
	if err != nil {
		return err
	}
	_, err = p.client.Post(ctx, p.url, body)
	return err
}

const (
	pushBatch = 200                    // items a request, as in stock
	gather    = 200 * time.Millisecond // how long the first of a batch waits for others
	firstWait = 200 * time.Millisecond
	longWait  = 10 * time.Second
)

// Why results are not handed on.
const (
	dropFull    = "queue_full" // newer ones took their room
	dropOld     = "too_old"    // nobody took them for push.max_age
	dropRefused = "refused"    // push_api takes everything but these
	dropStopped = "stopped"    // poly_metric ended before
)

// A result waits to be handed on.
type result struct {
	item *model.MetricValue
	at   time.Time // when it was made
}

// pause waits for d, or for a moment at most once ctx has ended; false when hard has.
func pause(ctx, hard context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return run.Sleep(hard, min(d, time.Second))
	}
	return run.Sleep(ctx, d) || hard.Err() == nil
}

// push queues a result.
func (m *PolyMetric) push(item *model.MetricValue) {
	m.dropped.Add(dropFull, m.queue.PushNewest(result{item, m.now()}))
}

// handOn empties the queue until ctx ends, and after that for as long as hard lasts.
func (m *PolyMetric) handOn(ctx, hard context.Context) {
	for ended := false; !ended; {
		select {
		case <-m.queue.Ready():
			pause(ctx, hard, gather) // rows have their turns one by one
		case <-ctx.Done():
			ended = true
		}
		for batch := m.queue.Take(nil, pushBatch); len(batch) > 0; batch = m.queue.Take(nil, pushBatch) {
			m.handOver(ctx, hard, batch)
		}
	}
}

// itemRefused says that push_api takes requests, and not this one.
func itemRefused(err error) bool {
	se, ok := errors.AsType[*httpx.StatusError](err)
	return ok && slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, se.Code)
}

// handOver hands a batch on. While nobody takes it, it is tried again, ever less often,
// until its results are too old or hard ends. When ctx ends there is less time.
func (m *PolyMetric) handOver(ctx, hard context.Context, batch []result) {
	for wait := firstWait; len(batch) > 0; wait = min(2*wait, longWait) {
		items := make([]*model.MetricValue, len(batch))
		for i, r := range batch {
			items[i] = r.item
		}
		err := m.sink.Push(hard, items)
		switch {
		case err == nil:
			m.trouble.Clear("hand results on")
			m.pushed.Add(len(batch))
			return
		case itemRefused(err) && len(batch) > 1:
			// One of them is the cause; the others are not to suffer for it.
			m.handOver(ctx, hard, batch[:len(batch)/2])
			batch, wait = batch[len(batch)/2:], firstWait/2
			continue
		case itemRefused(err):
			m.dropped.Add(dropRefused, 1)
			it := batch[0].item
			m.failing.Set(m.log, "a result is refused, and dropped", "results", fmt.Errorf("%s/%s of %s: %w", it.Metric, it.Tags, it.Endpoint, err))
			return
		}
		m.trouble.Set(m.log, "results wait", "hand results on", err)
		if !pause(ctx, hard, wait) {
			m.dropped.Add(dropStopped, len(batch))
			return
		}
		old := 0
		for old < len(batch) && m.now().Sub(batch[old].at) > m.cfg.Push.MaxAge.D() {
			old++
		}
		m.dropped.Add(dropOld, old)
		batch = batch[old:]
	}
	if !m.works.Load() {
		m.trouble.Clear("hand results on") // another instance makes the next ones
	}
}
