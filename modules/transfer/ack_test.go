package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// ackJudge is a judge that takes acknowledgements, with a key.
type ackJudge struct {
	mu   sync.Mutex
	got  []model.AckRequest
	err  error
	none bool // nothing of it is open here
	addr string
}

func newAckJudge(t *testing.T, key string) *ackJudge {
	t.Helper()
	j := &ackJudge{}
	s := rpc.NewServer(rpc.ServerOptions{Drain: time.Millisecond})
	rpc.Handle(s, "Judge.Ack", func(_ context.Context, _ *rpc.Conn, r *model.AckRequest) (*model.AckReply, error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.got = append(j.got, *r)
		if j.none {
			return &model.AckReply{}, j.err
		}
		return &model.AckReply{Matched: 1}, j.err
	})
	rpc.Protect(s, key, "Judge.Ack")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	j.addr = ln.Addr().String()
	return j
}

func (j *ackJudge) calls() []model.AckRequest {
	j.mu.Lock()
	defer j.mu.Unlock()
	got := j.got
	j.got = nil
	return got
}

func ackTransfer(t *testing.T, judges map[string]string) *Transfer {
	t.Helper()
	cfg := testConfig(t, "127.0.0.1:1")
	cfg.Judge.Enabled, cfg.Judge.Cluster = true, judges
	cfg.Ack.Secret = "secret"
	cfg.FleetKey = "the key"
	tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func link(endpoint, tags string) model.AckLink {
	return model.AckLink{Endpoint: endpoint, Metric: "cpu.idle", Tags: tags, EventID: "s_1_x", User: "anna", Expires: time.Now().Unix() + 60}
}

func open(tr *Transfer, method, target, accept string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Accept", accept)
	tr.handler().ServeHTTP(rec, r)
	return rec
}

// A look at the link does nothing, a POST acknowledges at the judge that has the series by
// the ring, DELETE takes it back; what is not signed does nothing.
func TestAckLink(t *testing.T) {
	a, b := newAckJudge(t, "the key"), newAckJudge(t, "the key")
	judges := map[string]*ackJudge{"j0": a, "j1": b}
	tr := ackTransfer(t, map[string]string{"j0": a.addr, "j1": b.addr})
	seen := map[string]int{}
	for i := range 20 {
		l := link(fmt.Sprint("h", i), "mount=/")
		owner := tr.judge.ring.Node(model.PK(l.Endpoint, l.Metric, l.Tags))
		if rec := open(tr, http.MethodGet, l.URL("", "secret"), "text/html"); rec.Code != 200 || !strings.Contains(rec.Body.String(), `<form method="post">`) || !strings.Contains(rec.Body.String(), l.Endpoint) {
			t.Fatalf("page %d %s", rec.Code, rec.Body)
		}
		if n := len(a.calls()) + len(b.calls()); n != 0 {
			t.Fatalf("a look at the link made %d calls", n)
		}
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			rec := open(tr, method, l.URL("", "secret"), "application/json")
			if rec.Code != 200 || strings.TrimSpace(rec.Body.String()) != `{"code":0,"matched":1}` {
				t.Fatalf("%s answers %d %s", method, rec.Code, rec.Body)
			}
			for name, j := range judges {
				got := j.calls()
				if name != owner {
					if len(got) != 0 {
						t.Errorf("%s is %s's, and %s was called", l.Endpoint, owner, name)
					}
					continue
				}
				if len(got) != 1 || got[0].EventId != "s_1_x" || got[0].Endpoint != l.Endpoint || got[0].Metric != "cpu.idle" ||
					got[0].Tags["mount"] != "/" || got[0].User != "anna" || got[0].Undo != (method == http.MethodDelete) {
					t.Errorf("%s: %+v", method, got)
				}
				seen[name]++
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("judges called: %v", seen)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		forged := link("h1", "")
		if rec := open(tr, method, forged.URL("", "other"), ""); rec.Code != http.StatusForbidden {
			t.Errorf("forged, %s: %d", method, rec.Code)
		}
		old := link("h1", "")
		old.Expires = time.Now().Unix() - 1
		if rec := open(tr, method, old.URL("", "secret"), ""); rec.Code != http.StatusForbidden {
			t.Errorf("expired, %s: %d", method, rec.Code)
		}
	}
	if n := len(a.calls()) + len(b.calls()); n != 0 {
		t.Errorf("%d calls for links that are not valid", n)
	}
}

// An alarm of several conditions is acknowledged by whoever judges these, which no ring
// of this transfer tells: all are asked.
func TestAckOfSeveralConditions(t *testing.T) {
	judge, one, two := newAckJudge(t, "the key"), newAckJudge(t, "the key"), newAckJudge(t, "the key")
	one.none = true
	tr := ackTransfer(t, map[string]string{"j0": judge.addr})
	l := link("h1", "")
	l.EventID = "m_1_x"
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "application/json"); rec.Code != http.StatusBadGateway || !strings.Contains(rec.Body.String(), "ack.plus_judges") {
		t.Errorf("without any: %d %s", rec.Code, rec.Body)
	}
	tr.cfg.Ack.PlusJudges = []string{one.addr, two.addr}
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "application/json"); rec.Code != 200 || strings.TrimSpace(rec.Body.String()) != `{"code":0,"matched":1}` {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if a, b, c := len(judge.calls()), len(one.calls()), len(two.calls()); a != 0 || b != 1 || c != 1 {
		t.Errorf("the judge was called %d times, the plus_judges %d and %d times", a, b, c)
	}
	// Who has it may be the one that is away: that is no "nothing to acknowledge".
	two.mu.Lock()
	two.err = errors.New("away")
	two.mu.Unlock()
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "application/json"); rec.Code != http.StatusBadGateway {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// The page says what happened, whatever is in the names.
func TestAckPage(t *testing.T) {
	j := newAckJudge(t, "the key")
	tr := ackTransfer(t, map[string]string{"j0": j.addr})
	l := link("<script>alert(1)</script>", "")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		rec := open(tr, method, l.URL("", "secret"), "text/html")
		if rec.Code != 200 || strings.Contains(rec.Body.String(), "<script>") || rec.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %s", method, rec.Code, rec.Body)
		}
	}
	j.mu.Lock()
	j.err = errors.New("no journal")
	j.mu.Unlock()
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "text/html"); rec.Code != http.StatusBadGateway || !strings.Contains(rec.Body.String(), "Try again") {
		t.Errorf("a judge that fails: %d %s", rec.Code, rec.Body)
	}
	wrong := newAckJudge(t, "another key")
	tr = ackTransfer(t, map[string]string{"j0": wrong.addr})
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "application/json"); rec.Code != http.StatusBadGateway || len(wrong.calls()) != 0 {
		t.Errorf("a judge with another key: %d %s", rec.Code, rec.Body)
	}
	tr.cfg.Ack.Secret = ""
	if rec := open(tr, http.MethodGet, l.URL("", ""), ""); rec.Code != http.StatusNotFound {
		t.Errorf("without a secret: %d", rec.Code)
	}
}

func FuzzAckPage(f *testing.F) {
	cfg := testConfig(f, "127.0.0.1:1")
	cfg.Judge.Enabled, cfg.Ack.Secret = true, "a secret that nobody knows"
	tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	h := tr.handler()
	f.Add("endpoint=h&metric=m&exp=99999999999&sig=00")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodPost, "/ack", nil)
		r.URL = &url.URL{Path: "/ack", RawQuery: query}
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, r); rec.Code != http.StatusForbidden {
			t.Errorf("%q: %d", query, rec.Code)
		}
	})
}

// What a judge was told an alarm is told, too; its cases count, also when the judge does
// not answer. The page says when nobody shows it.
func TestAckIsReported(t *testing.T) {
	j := newAckJudge(t, "the key")
	var mu sync.Mutex
	var got []string
	matched, status := 1, http.StatusOK
	alarm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get(model.FleetKeyHeader)+" "+string(b))
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"matched":%d}`, matched)
	}))
	defer alarm.Close()
	tr := ackTransfer(t, map[string]string{"j0": j.addr})
	tr.cfg.Ack.Alarms = []string{"http://127.0.0.1:1", alarm.URL + "/"}
	l := link("h1", "mount=/")
	at := time.Now()
	tr.now = func() time.Time { return at }
	for _, method := range []string{http.MethodPost, http.MethodDelete} {
		if rec := open(tr, method, l.URL("", "secret"), "text/html"); rec.Code != 200 || strings.Contains(rec.Body.String(), "does not answer") {
			t.Errorf("%s: %d %s", method, rec.Code, rec.Body)
		}
		want := fmt.Sprintf(`%s /acked the key {"id":"s_1_x","endpoint":"h1","metric":"cpu.idle","tags":{"mount":"/"},"user":"anna","at":%d}`, method, at.Unix())
		if len(got) != 1 || got[0] != want {
			t.Errorf("the alarm was told %q, want %s", got, want)
		}
		got = nil
	}
	open(tr, http.MethodGet, l.URL("", "secret"), "text/html")
	if len(got) != 0 {
		t.Errorf("a look was reported: %q", got)
	}
	j.mu.Lock()
	j.none = true
	j.mu.Unlock()
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "application/json"); strings.TrimSpace(rec.Body.String()) != `{"code":0,"matched":1}` {
		t.Errorf("a judge that has lost it: %d %s", rec.Code, rec.Body)
	}
	j.mu.Lock()
	j.none, j.err = false, errors.New("no journal")
	j.mu.Unlock()
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "text/html"); rec.Code != 200 || !strings.Contains(rec.Body.String(), "Acknowledged") {
		t.Errorf("a judge that fails: %d %s", rec.Code, rec.Body)
	}
	mu.Lock()
	matched = 0
	mu.Unlock()
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "text/html"); rec.Code != http.StatusBadGateway {
		t.Errorf("nobody knows of it: %d %s", rec.Code, rec.Body)
	}
	j.mu.Lock()
	j.err = nil
	j.mu.Unlock()
	mu.Lock()
	status = http.StatusServiceUnavailable
	mu.Unlock()
	if rec := open(tr, http.MethodPost, l.URL("", "secret"), "text/html"); rec.Code != 200 || !strings.Contains(rec.Body.String(), "alarm, which shows it to others, does not answer") {
		t.Errorf("an alarm that fails: %d %s", rec.Code, rec.Body)
	}
	tr.cfg.Ack.Secret = model.SampleSecret
	if rec := open(tr, http.MethodGet, l.URL("", model.SampleSecret), ""); rec.Code != http.StatusNotFound {
		t.Errorf("with the secret of sample files: %d", rec.Code)
	}
}
