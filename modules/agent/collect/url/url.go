// Package url collects url.check.health: whether pages that rules watch answer.
package url

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"falcon/modules/agent/collect"
)

const (
	// parallel is how many pages are asked at once.
	parallel = 64
	// maxTimeout is how long a page has at most, whatever the rule says.
	maxTimeout = time.Minute
)

// Options are the settings of a Collector.
type Options struct {
	// Endpoint is the tag src: who asks.
	Endpoint string
	// Get asks a page again by GET when it does not know HEAD (405 or 501).
	Get bool
}

// Collector asks pages.
type Collector struct {
	opts  Options
	wants collect.Wants[page]
	http  *http.Client
}

// page is what a rule asks about.
type page struct {
	url, timeout string // as the rule writes them
	ask          string // with a scheme
	within       time.Duration
}

// New returns a collector.
func New(o Options) *Collector {
	return &Collector{opts: o, http: &http.Client{
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			DisableKeepAlives: true, // each look is one of its own
		},
		// The page's own answer counts, not the one of where it points to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Want takes tags of two pairs: url=…,timeout=3, in any order, or, with other keys, the
// page first and then the seconds that it has.
func (c *Collector) Want(tags []string) []collect.Unwanted {
	return c.wants.Set(tags, parse, func(p page) string { return p.url + "," + p.timeout })
}

func parse(tags string) (p page, why string) {
	pairs := strings.Split(tags, ",")
	if len(pairs) != 2 {
		return p, "it is not two pairs, such as url=http://127.0.0.1:8080/health,timeout=3"
	}
	var keys, values [2]string
	for i, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return p, "it is not two pairs, such as url=http://127.0.0.1:8080/health,timeout=3"
		}
		keys[i], values[i] = strings.TrimSpace(k), strings.TrimSpace(v)
	}
	at := 0
	if keys[0] == "timeout" || keys[1] == "url" {
		at = 1
	}
	p.url, p.timeout, p.ask = values[at], values[1-at], values[at]
	if !strings.Contains(p.ask, "://") {
		p.ask = "http://" + p.ask // as curl does
	}
	n, err := strconv.Atoi(p.timeout)
	if err != nil || n < 1 {
		return p, "the timeout is not a number of seconds, at least 1"
	}
	p.within = min(time.Duration(min(n, int(maxTimeout/time.Second)))*time.Second, maxTimeout)
	if u, err := url.Parse(p.ask); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return p, "the url is no address of a page, such as http://127.0.0.1:8080/health"
	}
	return p, ""
}

// Deadline is time for all pages.
func (c *Collector) Deadline() time.Duration {
	pages, most := c.wants.Get(), time.Duration(0)
	for _, p := range pages {
		most = max(most, p.within)
	}
	return time.Duration((len(pages)+parallel-1)/parallel)*most + time.Second
}

// Collect returns url.check.health for each page: 1 when it answers with 200 within its
// time, else 0.
func (c *Collector) Collect(ctx context.Context) ([]collect.Item, error) {
	pages := c.wants.Get()
	items, asked := make([]collect.Item, len(pages)), make([]bool, len(pages))
	places := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, p := range pages {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			v := 0.0
			if c.healthy(ctx, p) {
				v = 1
			}
			asked[i] = v == 1 || ctx.Err() == nil // else the agent stops, and the page has no fault
			items[i] = collect.G("url.check.health", v, "src", c.opts.Endpoint, "timeout", p.timeout, "url", p.url)
		})
	}
	wg.Wait()
	kept := items[:0]
	for i, it := range items {
		if asked[i] {
			kept = append(kept, it)
		}
	}
	if n := len(pages) - len(kept); n > 0 {
		return kept, fmt.Errorf("%d pages were not asked: %w", n, ctx.Err())
	}
	return kept, nil
}

func (c *Collector) healthy(ctx context.Context, p page) bool {
	ctx, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	status := c.status(ctx, http.MethodHead, p)
	if c.opts.Get && (status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented) {
		status = c.status(ctx, http.MethodGet, p)
	}
	return status == http.StatusOK
}

// status returns what a page answers, 0 for nothing.
func (c *Collector) status(ctx context.Context, method string, p page) int {
	req, err := http.NewRequestWithContext(ctx, method, p.ask, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("User-Agent", "falcon-agent")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10) // the answer counts, not the page
	return resp.StatusCode
}
