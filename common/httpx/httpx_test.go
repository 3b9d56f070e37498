package httpx

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// A peer that answers from a list of codes, then 200 "good".
func peer(t *testing.T, codes ...int) (url string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := int(calls.Add(1))
		if n <= len(codes) {
			w.WriteHeader(codes[n-1])
			_, _ = io.WriteString(w, "no")
			return
		}
		_, _ = io.WriteString(w, "good")
	}))
	t.Cleanup(srv.Close)
	return srv.URL, calls
}

func TestGetTriesAgain(t *testing.T) {
	for _, tc := range []struct {
		name  string
		codes []int
		calls int64
		ok    bool
	}{
		{"a good answer is final", nil, 1, true},
		{"the third try may succeed", []int{500, 503}, 3, true},
		{"too many requests", []int{429}, 2, true},
		{"three failures are enough", []int{500, 500, 500}, 3, false},
		{"a bad request is final", []int{400}, 1, false},
		{"a redirect is no answer", []int{302}, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, calls := peer(t, tc.codes...)
			b, err := NewClient(Options{Pause: time.Millisecond}).Get(t.Context(), url)
			if (err == nil) != tc.ok || calls.Load() != tc.calls {
				t.Errorf("Get = %q, %v after %d calls; want success %v after %d", b, err, calls.Load(), tc.ok, tc.calls)
			}
			if _, isStatus := errors.AsType[*StatusError](err); err != nil && !isStatus {
				t.Errorf("error %v carries no status", err)
			}
		})
	}
}

func TestCachedKeepsTheLastGoodAnswer(t *testing.T) {
	var fail atomic.Bool
	var calls atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		if fail.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, "hosts")
	}))
	defer srv.Close()
	c := NewClient(Options{Pause: time.Millisecond, Tries: 2, TTL: time.Nanosecond})

	fail.Store(true)
	if b, err := c.Cached(t.Context(), srv.URL); b != nil || err == nil {
		t.Errorf("nothing known and the peer fails: %q, %v; want nil and the error", b, err)
	}
	fail.Store(false)
	if b, err := c.Cached(t.Context(), srv.URL); string(b) != "hosts" || err != nil {
		t.Errorf("a failure was remembered: %q, %v", b, err)
	}
	fail.Store(true)
	if b, err := c.Cached(t.Context(), srv.URL); string(b) != "hosts" || err == nil {
		t.Errorf("the peer fails: %q, %v; want the last good answer and the error", b, err)
	}

	long := NewClient(Options{TTL: time.Hour})
	fail.Store(false)
	calls.Store(0)
	for range 3 {
		if b, err := long.Cached(t.Context(), srv.URL); string(b) != "hosts" || err != nil {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls within the TTL, want 1", calls.Load())
	}
}

func TestServeDrainsAndSurvivesAPanic(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, mux, 10*time.Second, slog.New(slog.DiscardHandler)) }()

	base := "http://" + ln.Addr().String()
	c := NewClient(Options{Tries: 1})
	_, err = c.Get(t.Context(), base+"/panic")
	if se, ok := errors.AsType[*StatusError](err); !ok || se.Code != 500 {
		t.Errorf("a panic answers %v, want status 500", err)
	}
	got := make(chan string, 1)
	go func() {
		b, err := c.Get(t.Context(), base+"/slow")
		if err != nil {
			b = []byte(err.Error())
		}
		got <- string(b)
	}()
	<-entered
	stop()
	close(release)
	if s := <-got; s != "done" {
		t.Errorf("the request in flight got %q, want done", s)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}
