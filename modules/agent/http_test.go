package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/httpx"
)

// What the agent is made of is for this machine and whom hbs trusts.
func TestTheInsideIsForTheTrusted(t *testing.T) {
	a, ask := visitor(t, nil)
	a.trust("10.9.8.7")
	for _, path := range []string{"/config", "/config/reload", "/debug/pprof/", "/debug/pprof/cmdline"} {
		if got := ask("GET", path, stranger, ""); !strings.HasPrefix(got, "403 no privilege") {
			t.Errorf("%s tells a stranger %.80s", path, got)
		}
		if got := ask("GET", path, local, "", "Origin", "http://elsewhere"); !strings.HasPrefix(got, "403 no privilege") {
			t.Errorf("%s tells a page in a browser %.80s", path, got)
		}
		for _, from := range []string{local, friend, "[::1]:1"} {
			if got := ask("GET", path, from, ""); strings.HasPrefix(got, "403") {
				t.Errorf("%s tells %s %.80s", path, from, got)
			}
		}
	}
	for _, path := range []string{"/health", "/version", "/workdir", "/ips", "/plugins", "/counter/all", "/metrics"} {
		if got := ask("GET", path, stranger, ""); !strings.HasPrefix(got, "200") {
			t.Errorf("%s tells a stranger %.80s", path, got)
		}
	}
}

// pipes is a listener of in-memory connections.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// Who begins a push and does not end it is let go after a minute; who waits for his answer
// longer than that is not.
func TestSlowBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		w := newWorld(t, cfg)
		defer w.end()
		p := pipes{make(chan net.Conn), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpx.Serve(ctx, p, w.a.handler(), time.Second, slog.New(slog.DiscardHandler)) }()
		defer func() { cancel(); <-ended }()
		push := func(body string, length int, query string) (net.Conn, *bufio.Reader) {
			ours, theirs := net.Pipe()
			p.conns <- theirs
			if _, err := fmt.Fprintf(ours, "POST /v1/push%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", query, length, body); err != nil {
				t.Fatal(err)
			}
			return ours, bufio.NewReader(ours)
		}
		slow, answer := push("[", 100, "")
		defer slow.Close()
		began := time.Now()
		resp, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(resp.Body)
		if took := time.Since(began); resp.StatusCode != 400 || took != bodyTimeout || !strings.Contains(string(said), "read the body") {
			t.Errorf("after %v: %s %s", took, resp.Status, said)
		}

		item := `[{"endpoint":"here","metric":"m","value":1,"step":60,"counterType":"GAUGE","tags":"","timestamp":1}]`
		waits, answer := push(item, len(item), "?wait=1")
		defer waits.Close()
		after(3 * bodyTimeout) // no transfer is there
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		if resp, err = http.ReadResponse(answer, nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("who waited has %v, %v", resp, err)
		}
	})
}
