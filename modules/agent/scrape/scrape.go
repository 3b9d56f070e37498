// Package scrape asks exporters of Prometheus for their metrics and turns them into
// items.
//
//	exporter ── GET /metrics, text format ──> Parse ──> items, and scrape.up
package scrape

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/run"
	"falcon/common/stat"
)

// Target is an exporter.
type Target struct {
	// URL is the page of its metrics, http://127.0.0.1:9100/metrics.
	URL string `json:"url"`
	// Job is the tag job of scrape.*; empty gives them none.
	Job string `json:"job"`
	// Interval is how often it is asked, and the step of its points, in whole seconds; 0
	// means a minute.
	Interval conf.Duration `json:"interval"`
	// Timeout bounds one answer; 0 means 10 s, or the interval when that is shorter.
	Timeout conf.Duration `json:"timeout"`
	// Tags are added to every point that has not a tag of that name itself.
	Tags map[string]string `json:"tags"`
	// Allow and Deny are regular expressions of whole names of metrics, as the exporter
	// prints them, x_bucket and not x for a histogram. A name is taken when one of Allow
	// matches, or Allow is empty, and none of Deny does.
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
	// Endpoint is that of the points; empty means this host.
	Endpoint string `json:"endpoint"`
	// Limit bounds the points of one answer; the rest, by name, is dropped and counted. 0
	// means 20000.
	Limit int `json:"limit"`
	// TLS is for an https page; without it the certificates of the system are trusted.
	TLS daemon.ClientTLS `json:"tls"`

	allow, deny *regexp.Regexp // nil matches nothing
}

// Defaults of a Target.
const (
	defaultInterval = time.Minute
	defaultTimeout  = 10 * time.Second
	defaultLimit    = 20_000
)

// Check reports what can not work, and fills in what was left out.
func (t *Target) Check() error {
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf(`url: %q is no page, write one such as "http://127.0.0.1:9100/metrics"`, t.URL)
	}
	if t.Interval == 0 {
		t.Interval = conf.Duration(defaultInterval)
	}
	if d := t.Interval.D(); d < time.Second || d%time.Second != 0 {
		return fmt.Errorf("interval: %v is not a whole number of seconds, at least 1", d)
	}
	if t.Timeout == 0 {
		t.Timeout = min(conf.Duration(defaultTimeout), t.Interval)
	}
	if t.Timeout < 0 || t.Timeout > t.Interval {
		return fmt.Errorf("timeout: %v is not between 0 and the interval, %v", t.Timeout.D(), t.Interval.D())
	}
	if t.Limit == 0 {
		t.Limit = defaultLimit
	}
	if t.Limit < 0 || t.Limit > model.MaxItems {
		return fmt.Errorf("limit: %d is not between 1 and %d points", t.Limit, model.MaxItems)
	}
	for k, v := range t.Tags {
		if k == "" || v == "" || tidy(k) != k || tidy(v) != v || strings.Contains(k, "=") {
			return fmt.Errorf("tags: %q = %q has a blank, a comma or nothing where a tag needs something", k, v)
		}
	}
	if t.allow, err = anyOf(t.Allow); err != nil {
		return fmt.Errorf("allow: %w", err)
	}
	if t.deny, err = anyOf(t.Deny); err != nil {
		return fmt.Errorf("deny: %w", err)
	}
	return nil
}

// anyOf joins expressions to one that matches whole names; nil for none.
func anyOf(expressions []string) (*regexp.Regexp, error) {
	if len(expressions) == 0 {
		return nil, nil
	}
	var parts []string
	for _, e := range expressions {
		if _, err := regexp.Compile(e); err != nil {
			return nil, err
		}
		parts = append(parts, "(?:"+e+")") // the flags of one are not the next one's
	}
	return regexp.Compile("^(?:" + strings.Join(parts, "|") + ")$")
}

func (t *Target) wants(metric string) bool {
	return (t.allow == nil || t.allow.MatchString(metric)) && (t.deny == nil || !t.deny.MatchString(metric))
}

func (t *Target) step() int64 { return int64(t.Interval.D() / time.Second) }

// Options are the neighbours of a Scraper; all are required.
type Options struct {
	Endpoint string // of this host
	Log      *slog.Logger
	Now      func() time.Time
	// Take takes the items of an answer; refused is "" or says in words what was not taken.
	Take func(items []*model.MetricValue) (taken int, refused string)
}

// A Scraper asks targets.
type Scraper struct {
	Options
	targets []*target

	scrapes *stat.Counter
	failed  *stat.Counter
	renamed *stat.Counter
	dropped *stat.Reasons
}

type target struct {
	Target
	http *http.Client
	was  string // what was wrong the last time
}

// New returns a Scraper of targets that Check has found right.
func New(targets []Target, o Options, s *stat.Set) (*Scraper, error) {
	sc := &Scraper{
		Options: o,
		scrapes: s.Counter("ScrapeCnt", "scrapes_total", "Exporters asked."),
		failed:  s.Counter("ScrapeErrorCnt", "scrape_errors_total", "Exporters that did not answer as they should."),
		renamed: s.Counter("", "scrape_renamed_points_total", "Points of exporters in whose name characters were replaced."),
		dropped: s.Reasons("ScrapeDropCnt", "scrape_dropped_points_total", "Samples of exporters that are not sent, by reason."),
	}
	for i, t := range targets {
		if err := t.Check(); err != nil {
			return nil, fmt.Errorf("scrape[%d].%w", i, err)
		}
		secure, err := t.TLS.Config(fmt.Sprintf("scrape[%d]", i))
		if err != nil {
			return nil, err
		}
		sc.targets = append(sc.targets, &target{Target: t, http: &http.Client{
			Transport: &http.Transport{TLSClientConfig: secure, MaxIdleConnsPerHost: 1, IdleConnTimeout: 2 * t.Interval.D()},
		}})
	}
	return sc, nil
}

// Run asks each target in its interval until ctx ends, the first time within one.
func (s *Scraper) Run(ctx context.Context) error {
	g := run.New(ctx)
	for _, t := range s.targets {
		g.Go("scrape", func(ctx context.Context) error {
			defer t.http.CloseIdleConnections()
			for {
				if !run.Sleep(ctx, s.pause(t)) {
					return nil
				}
				s.once(ctx, t)
			}
		})
	}
	return g.Wait()
}

// pause returns how long a target is left alone: until its moment within the interval,
// which depends on this host and the target, so that neither many agents nor many
// exporters are a herd.
func (s *Scraper) pause(t *target) time.Duration {
	every, now := t.Interval.D(), s.Now()
	phase := time.Duration(crc32.ChecksumIEEE([]byte(s.Endpoint+t.URL))) * time.Millisecond % every
	next := now.Truncate(every).Add(phase)
	if !next.After(now) {
		next = next.Add(every)
	}
	return next.Sub(now)
}

// once asks a target and sends on what it answers, and how it did.
func (s *Scraper) once(ctx context.Context, t *target) {
	began := s.Now()
	s.scrapes.Add(1)
	endpoint := t.Endpoint
	if endpoint == "" {
		endpoint = s.Endpoint
	}
	var r Result
	body, err := t.get(ctx)
	if err == nil {
		err = run.Recovered(func() (err error) {
			r, err = t.Parse(body, endpoint, began.Unix())
			return err
		})
	}
	if ctx.Err() != nil {
		return // the agent stops; the exporter has no fault
	}
	trouble, up := "", 1.0
	if err != nil {
		s.failed.Add(1)
		r = Result{}
		trouble, up = err.Error(), 0
	}
	for reason, n := range r.Dropped {
		s.dropped.Add(reason, n)
	}
	s.renamed.Add(r.Renamed)
	own := func(metric string, v float64) *model.MetricValue {
		tags := map[string]string{"url": tidy(t.URL)}
		if t.Job != "" {
			tags["job"] = tidy(t.Job)
		}
		return &model.MetricValue{Endpoint: endpoint, Metric: metric, Value: v, Step: t.step(), Type: model.Gauge, Tags: model.SortedTags(tags), Timestamp: began.Unix()}
	}
	items := append(r.Items, own("scrape.up", up), own("scrape.msec", float64(s.Now().Sub(began).Milliseconds())), own("scrape.points", float64(len(r.Items))))
	if _, refused := s.Take(items); refused != "" && trouble == "" {
		trouble = refused
	}
	if n := r.Dropped[ReasonLimit]; n > 0 {
		trouble = fmt.Sprintf("%d points over its limit of %d are dropped", n, t.Limit)
	}
	if trouble != t.was {
		if trouble != "" {
			s.Log.Warn("exporter", "peer", t.URL, "err", trouble)
		} else {
			s.Log.Info("exporter answers again", "peer", t.URL)
		}
		t.was = trouble
	}
}

// maxBody bounds an answer, unpacked.
const maxBody = 32 << 20

// get returns the body of the target's page.
func (t *target) get(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout.D())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1")
	req.Header.Set("User-Agent", "falcon-agent")
	resp, err := t.http.Do(req)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("no answer within %v", t.Timeout.D())
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read its answer: %w", err)
	case len(body) > maxBody:
		return nil, fmt.Errorf("its answer is larger than %d MiB", maxBody>>20)
	}
	return body, nil
}
