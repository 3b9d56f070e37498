package nodata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"falcon/common/httpx"
	"falcon/common/model"
)

// LastPoints knows the newest points of series.
type LastPoints interface {
	// LastPoints returns an answer for each series of which somebody knows something, in
	// any order; timestamp 0 says that the series has no point. It may return answers and
	// an error: those of other series failed.
	LastPoints(ctx context.Context, series []*model.GraphLastParam) ([]*model.GraphLastResp, error)
}

// apiPoints asks the api, of ours or of stock.
type apiPoints struct {
	url    string
	client *httpx.Client
}

func newAPIPoints(cfg PlusAPI) *apiPoints {
	sig, _ := json.Marshal(struct {
		Name string `json:"name"`
		Sig  string `json:"sig"`
	}{"nodata", cfg.Token.Reveal()}) // strings can be marshalled
	return &apiPoints{strings.TrimRight(cfg.Addr, "/") + "/api/v1/graph/lastpoint", httpx.NewClient(httpx.Options{
		Tries:          1, // the next round is 20 s away
		ConnectTimeout: cfg.ConnectTimeout.D(), Timeout: cfg.RequestTimeout.D(), MaxBody: 16 << 20, Header: http.Header{"Apitoken": {string(sig)}},
	})}
}

func (p *apiPoints) LastPoints(ctx context.Context, series []*model.GraphLastParam) ([]*model.GraphLastResp, error) {
	body, err := json.Marshal(series)
	if err != nil {
		return nil, err
	}
	b, err := p.client.Post(ctx, p.url, body)
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Code == http.StatusUnauthorized {
		return nil, fmt.Errorf("%w: write a token for nodata into plus_api.token, and into service_tokens of the api (or its default_token)", err)
	}
	if err != nil {
		return nil, err
	}
	var answers []*model.GraphLastResp
	if err := json.Unmarshal(b, &answers); err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", p.url, err)
	}
	return answers, nil
}
