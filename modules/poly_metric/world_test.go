package polymetric

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/portal"
)

// world has the neighbours of a poly_metric in memory.
type world struct {
	mu     sync.Mutex
	rows   []portal.DatedAggregator
	groups map[int64][]Host
	values map[string]float64 // by host/counter: the last point, as old as now
	away   map[string]error   // by rows, hosts, points, sink
	hangs  bool               // the database answers nobody
	slow   time.Duration      // of a request for last points
	most   int                // series that a request may have; 0: any
	asked  []int              // series of each request
	asking int                // requests under way
	peak   int                // the most of them at once
	looked int                // questions for hosts
	pushed []*model.MetricValue
	calls  []int  // items of each push that was taken
	refuse string // a metric that the sink does not take
}

func newWorld() *world {
	return &world{groups: map[int64][]Host{2: {{Name: "h1"}, {Name: "h2"}}}, values: map[string]float64{"h1/a": 10, "h2/a": 20}, away: map[string]error{}}
}

func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) Rows(ctx context.Context, first, last int64) ([]portal.DatedAggregator, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.away["rows"]; err != nil {
		return nil, err
	}
	if w.hangs {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return nil, ctx.Err()
	}
	return slices.DeleteFunc(slices.Clone(w.rows), func(r portal.DatedAggregator) bool { return r.ID < first || last >= 0 && r.ID > last }), nil
}

func (w *world) Hosts(_ context.Context, group int64) ([]Host, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked++
	if err := w.away["hosts"]; err != nil {
		return nil, err
	}
	hosts, ok := w.groups[group]
	if !ok {
		return nil, portal.ErrNotFound
	}
	return slices.Clone(hosts), nil
}

func (w *world) Last(ctx context.Context, series []*model.GraphLastParam) (all []*model.GraphLastResp, _ error) {
	w.mu.Lock()
	w.asked = append(w.asked, len(series))
	w.asking++
	w.peak = max(w.peak, w.asking)
	defer w.locked(func() { w.asking-- })
	slow, away, most := w.slow, w.away["points"], w.most
	w.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if away != nil {
		return nil, away
	}
	if most > 0 && len(series) > most {
		return nil, context.DeadlineExceeded
	}
	w.locked(func() { all = w.answers(series) })
	return all, nil
}

func (w *world) answers(series []*model.GraphLastParam) (all []*model.GraphLastResp) {
	for _, s := range series {
		v, ok := w.values[s.Endpoint+"/"+s.Counter]
		p := &model.RRDData{}
		if ok {
			p.Timestamp, p.Value = time.Now().Unix(), model.JSONFloat(v)
		}
		all = append(all, &model.GraphLastResp{Endpoint: s.Endpoint, Counter: s.Counter, Value: p})
	}
	return all
}

func (w *world) Push(_ context.Context, items []*model.MetricValue) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.away["sink"]; err != nil {
		return err
	}
	if slices.ContainsFunc(items, func(i *model.MetricValue) bool { return i.Metric == w.refuse }) {
		return &httpx.StatusError{Method: "POST", URL: "sink", Code: http.StatusBadRequest}
	}
	w.calls = append(w.calls, len(items))
	w.pushed = append(w.pushed, items...)
	return nil
}

// look returns what stands in a field of w.
func look[T any](w *world, field *T) (v T) {
	w.locked(func() { v = *field })
	return v
}

// took returns what was pushed since the last call, as metric=value.
func (w *world) took() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.pushed {
		all = append(all, fmt.Sprintf("%s=%v", i.Metric, i.Value))
	}
	w.pushed, w.calls = nil, nil
	return all
}

// start runs a poly_metric on w until the returned function is called.
func (w *world) start(t *testing.T, change func(*Config, *Deps)) (m *PolyMetric, logged *bytes.Buffer, stop func()) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.HTTP.Enabled = false
	logged = &bytes.Buffer{} // slog writes it under a lock; it is read once all is quiet
	deps := Deps{Log: slog.New(slog.NewTextHandler(logged, nil)), Rows: w, Groups: w, Points: w, Sink: w}
	if change != nil {
		change(&cfg, &deps)
	}
	m, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return m, logged, func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// page returns what a page of m answers.
func page(m *PolyMetric, path string) (int, string) {
	rec := httptest.NewRecorder()
	req := httptest.NewRequest("GET", path, nil)
	m.admin().ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

// metricRow is a row whose metric tells it from others.
func metricRow(id int64, numerator, denominator, metric string, step int) portal.DatedAggregator {
	r := row(id, numerator, denominator, step)
	r.Metric = metric
	return r
}

var errAway = errors.New("connection refused")

func wantText(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %s:\n%s", what, p, text)
		}
	}
}
