package polymetric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/run"
)

// Points knows the last points of series.
type Points interface {
	// Last returns the last points of some series, Config.API.Batch of them at most, in
	// any order. A series without one is left out or has timestamp 0.
	Last(ctx context.Context, series []*model.GraphLastParam) ([]*model.GraphLastResp, error)
}

// api is the daemon api, ours or stock's.
type api struct {
	base   string
	client *httpx.Client
	slow   *httpx.Client // for what a stock api takes its time over
}

// hostsTimeout bounds the question for the hosts of a group, where a stock api takes 20 s
// over a thousand of them: it is asked once a minute, and nothing else hangs on it.
const hostsTimeout = 30 * time.Second

// apiName is the pseudo user of the default token, and the name of a token of our own
// in api's service_tokens.
const apiName = "aggregator"

func newAPI(c API) *api {
	sig, _ := json.Marshal(struct { // strings can be marshalled
		Name string `json:"name"`
		Sig  string `json:"sig"`
	}{apiName, c.PlusAPIToken.Reveal()})
	client := func(tries int, timeout time.Duration) *httpx.Client {
		return httpx.NewClient(httpx.Options{Tries: tries, Pause: askPause, ConnectTimeout: c.ConnectTimeout.D(), Timeout: timeout, Header: http.Header{"Apitoken": {string(sig)}}})
	}
	return &api{strings.TrimRight(c.PlusAPI, "/"), client(1, c.RequestTimeout.D()), client(2, max(c.RequestTimeout.D(), hostsTimeout))}
}

func (a *api) Last(ctx context.Context, series []*model.GraphLastParam) ([]*model.GraphLastResp, error) {
	body, err := json.Marshal(series)
	if err != nil {
		return nil, err
	}
	b, err := a.client.Post(ctx, a.base+"/api/v1/graph/lastpoint", body)
	if err != nil {
		return nil, withAdvice(err)
	}
	var answers []*model.GraphLastResp
	if err := json.Unmarshal(b, &answers); err != nil {
		return nil, fmt.Errorf("the answer of /api/v1/graph/lastpoint: %w", err)
	}
	return answers, nil
}

// withAdvice says what to do about an api that does not know us.
func withAdvice(err error) error {
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && (se.Code == http.StatusUnauthorized || se.Code == http.StatusForbidden) {
		return fmt.Errorf("%w: let api.plus_api_token be the default_token of api, or the token of %q in its service_tokens", err, apiName)
	}
	return err
}

// refused says that an answer will be the same however often the question comes.
func refused(err error) bool {
	se, ok := errors.AsType[*httpx.StatusError](err)
	return ok && se.Code/100 == 4 && se.Code != http.StatusTooManyRequests && se.Code != http.StatusRequestTimeout
}

const (
	askTries = 3
	askPause = time.Second
)

// ask asks for the last points of a batch. What had no answer is asked again in halves:
// a stock api that is too slow for a batch may be fast enough for a part of it.
func (m *PolyMetric) ask(ctx context.Context, batch []*model.GraphLastParam, tries int) ([]*model.GraphLastResp, error) {
	answers, err := m.askOnce(ctx, batch)
	if err == nil || refused(err) || tries == 1 || ctx.Err() != nil {
		return answers, err
	}
	m.retried.Add(1)
	if !run.Sleep(ctx, askPause) {
		return nil, err
	}
	if len(batch) == 1 {
		return m.ask(ctx, batch, tries-1)
	}
	half := len(batch) / 2
	first, err := m.ask(ctx, batch[:half], tries-1)
	if err != nil {
		return nil, err
	}
	second, err := m.ask(ctx, batch[half:], tries-1)
	return append(first, second...), err
}

// askOnce waits until few enough others ask.
func (m *PolyMetric) askOnce(ctx context.Context, batch []*model.GraphLastParam) ([]*model.GraphLastResp, error) {
	select {
	case m.asking <- struct{}{}:
		defer func() { <-m.asking }()
		return m.points.Last(ctx, batch)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
