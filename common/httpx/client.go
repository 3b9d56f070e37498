package httpx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/patrickmn/go-cache"

	"falcon/common/run"
)

// Options are the settings of a Client; the zero Options are usable.
type Options struct {
	// Tries is how often a call is made before it fails; 0 means 3.
	Tries int
	// Pause lies between two tries; 0 means a second.
	Pause time.Duration
	// ConnectTimeout bounds dialling; 0 means a second.
	ConnectTimeout time.Duration
	// Timeout bounds one try as a whole; 0 means 5 seconds.
	Timeout time.Duration
	// TTL is how long Cached answers from memory; 0 means a minute.
	TTL time.Duration
	// MaxBody bounds an answer, in bytes; 0 means 64 MiB.
	MaxBody int64
	// Header is sent with every call.
	Header http.Header
}

// A Client calls other daemons. It is safe for concurrent use.
type Client struct {
	opts  Options
	http  *http.Client
	fresh *cache.Cache // answers younger than TTL
	last  *cache.Cache // the last good answer of each call, however old
}

// NewClient returns a Client.
func NewClient(o Options) *Client {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Pause, time.Second)
	def(&o.ConnectTimeout, time.Second)
	def(&o.Timeout, 5*time.Second)
	def(&o.TTL, time.Minute)
	if o.Tries <= 0 {
		o.Tries = 3
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 64 << 20
	}
	return &Client{
		opts: o,
		http: &http.Client{
			Timeout: o.Timeout,
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: o.ConnectTimeout}).DialContext,
				MaxIdleConnsPerHost: 8,
				IdleConnTimeout:     90 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// No janitor: both caches hold one entry a distinct call, and expired
		// entries are overwritten by the next answer.
		fresh: cache.New(o.TTL, 0),
		last:  cache.New(cache.NoExpiration, 0),
	}
}

// A StatusError is an answer that is no success.
type StatusError struct {
	Method, URL string
	Code        int
	Body        []byte // the first 1 KiB
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: status %d: %q", e.Method, e.URL, e.Code, e.Body)
}

// Get fetches url. It tries again after a failure of the network or an answer of
// 5xx or 429; any other answer but 2xx is final. The error is that of the last try.
func (c *Client) Get(ctx context.Context, url string) ([]byte, error) {
	return c.Do(ctx, http.MethodGet, url, nil)
}

// Post sends body as JSON and returns the answer; it tries again as Get does, so
// the other side must bear a body that comes twice.
func (c *Client) Post(ctx context.Context, url string, body []byte) ([]byte, error) {
	return c.Do(ctx, http.MethodPost, url, body)
}

// Do is Get and Post for any method. header overrides the client's own.
func (c *Client) Do(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	var err error
	for try := range c.opts.Tries {
		if try > 0 && !run.Sleep(ctx, c.opts.Pause) {
			return nil, errors.Join(ctx.Err(), err)
		}
		var b []byte
		if b, err = c.once(ctx, method, url, body); err == nil {
			return b, nil
		}
		if se, ok := errors.AsType[*StatusError](err); ok && se.Code < 500 && se.Code != http.StatusTooManyRequests {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("after %d tries: %w", c.opts.Tries, err)
}

func (c *Client) once(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range c.opts.Header {
		req.Header[k] = v
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, &StatusError{method, url, resp.StatusCode, b[:min(len(b), 1024)]}
	}
	if int64(len(b)) > c.opts.MaxBody {
		return nil, fmt.Errorf("the answer of %s is larger than %d bytes", url, c.opts.MaxBody)
	}
	return b, nil
}

// Cached is Get that answers from memory for TTL. When the peer fails, the last
// good answer is returned together with the error, however old it is; a failure
// is never remembered. Without any good answer it returns nil and the error.
func (c *Client) Cached(ctx context.Context, url string) ([]byte, error) {
	if b, ok := c.fresh.Get(url); ok {
		return b.([]byte), nil
	}
	b, err := c.Get(ctx, url)
	if err == nil {
		c.fresh.SetDefault(url, b)
		c.last.SetDefault(url, b)
		return b, nil
	}
	if b, ok := c.last.Get(url); ok {
		return b.([]byte), err
	}
	return nil, err
}
