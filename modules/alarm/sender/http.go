package sender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// poster POSTs to one address. It is no httpx.Client: a message's tries are counted in
// its notice, and forms are not JSON.
type poster struct {
	url    string
	at     string // who that is, without what may be a secret
	header http.Header
	client *http.Client
}

const (
	connectTimeout = 5 * time.Second
	postTimeout    = 30 * time.Second
	// maxIdle is how many connections to a provider are kept, the most that tell at once.
	maxIdle = 64
)

func newPoster(address string, timeout time.Duration) (*poster, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("config: url %q is none that can be called, write http://host:port/path", address)
	}
	p := &poster{url: address, at: u.Scheme + "://" + u.Host, header: http.Header{}, client: newClient(connectTimeout, timeout)}
	p.client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.Method != via[0].Method || len(via) >= 10 {
			return http.ErrUseLastResponse // a GET tells nobody
		}
		return nil
	}
	return p, nil
}

// A Caller calls addresses of operators: the callbacks of actions.
type Caller struct{ client *http.Client }

// NewCaller returns a Caller whose calls are made once, within limit as a whole.
func NewCaller(connect, limit time.Duration) *Caller { return &Caller{newClient(connect, limit)} }

// Get calls an address and returns the first 4 KiB of the answer, whatever its status.
func (c *Caller) Get(ctx context.Context, address string) (body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return strings.ToValidUTF8(string(b), ""), err
}

func newClient(connect, limit time.Duration) *http.Client {
	return &http.Client{
		Timeout: limit,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: connect}).DialContext,
			TLSHandshakeTimeout: connect, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: 90 * time.Second,
		},
	}
}

// post sends body once. A success is an answer of 2xx.
func (p *poster) post(ctx context.Context, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header = p.header // it is only read
	resp, err := p.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			ue.URL = p.at // the rest may be a token
		}
		if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" {
			err = mayHaveCome{err}
		}
		return "", err
	}
	defer resp.Body.Close()
	// The rest is read as far as a connection is worth it.
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	answer := clipped(resp.Status + " " + string(text))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s answers %s", p.at, resp.Status)
	}
	return answer, err
}

// form is stock's provider (contract alerting 4.9).
type form struct {
	*poster
	mail bool
}

func newForm(typ, config string) (Sender, error) {
	var c struct {
		URL string `json:"url"`
	}
	if err := decode(config, &c); err != nil {
		return nil, err
	}
	p, err := newPoster(c.URL, postTimeout)
	if err != nil {
		return nil, err
	}
	p.header.Set("Content-Type", "application/x-www-form-urlencoded")
	return &form{p, typ == FormMail}, nil
}

// Send tells all addresses by one POST.
func (f *form) Send(ctx context.Context, m Message) (string, error) {
	if len(m.To) == 0 {
		return "", errNobody
	}
	v := url.Values{"tos": {strings.Join(m.To, ",")}, "content": {m.Line()}}
	if f.mail {
		v.Set("subject", m.Short)
		v.Set("content", m.Text())
	}
	return f.post(ctx, []byte(v.Encode()))
}

// webhook POSTs the event.
type webhook struct{ *poster }

func newWebhook(config string) (Sender, error) {
	var c struct {
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers"`
		Timeout timeout           `json:"timeout"`
	}
	if err := decode(config, &c); err != nil {
		return nil, err
	}
	if c.Timeout.D() == 0 {
		c.Timeout = timeout(5 * time.Second)
	}
	p, err := newPoster(c.URL, c.Timeout.D())
	if err != nil {
		return nil, err
	}
	p.header.Set("Content-Type", "application/json; charset=utf-8")
	for k, v := range c.Headers {
		if strings.ContainsAny(k+v, "\r\n") || k == "" || slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Connection"}, http.CanonicalHeaderKey(k)) {
			return nil, fmt.Errorf("config: the header %q can not be sent", k)
		}
		p.header.Set(k, v)
	}
	return &webhook{p}, nil
}

// Send posts the event's JSON with the key text, which holds the short text, and for a
// problem that can be acknowledged ack_url, the link that stands in the text, too.
func (w *webhook) Send(ctx context.Context, m Message) (string, error) {
	body := []byte("{}")
	if m.Event != nil {
		var err error
		if body, err = json.Marshal(m.Event); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(m.Line())
	if err == nil && m.Ack != "" {
		var link []byte
		link, err = json.Marshal(m.Ack)
		text = append(append(text, `,"ack_url":`...), link...)
	}
	if err != nil || !bytes.HasSuffix(body, []byte("}")) {
		return "", errors.Join(err, errors.New("the event is no JSON object"))
	}
	body = body[:len(body)-1]
	if len(body) > 1 {
		body = append(body, ',')
	}
	return w.post(ctx, append(append(append(body, `"text":`...), text...), '}'))
}
