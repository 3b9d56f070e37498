package url

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/testkit"
	"falcon/modules/agent/collect"
)

// Which page is asked, and within which time, by key or by place (contract ingest 3.8).
func TestParse(t *testing.T) {
	for _, c := range []struct{ tags, url, ask, within string }{
		{"url=http://h/health,timeout=3", "http://h/health", "http://h/health", "3s"},
		{"timeout=3,url=http://h/health", "http://h/health", "http://h/health", "3s"},
		{"a=http://h,b=5", "http://h", "http://h", "5s"},
		{"timeout=5,a=http://h", "http://h", "http://h", "5s"},
		{"b=5,url=http://h", "http://h", "http://h", "5s"},
		{"url=h:8080/x,timeout=2", "h:8080/x", "http://h:8080/x", "2s"},
		{"url=https://h/?a=b,timeout=2", "https://h/?a=b", "https://h/?a=b", "2s"},
		{"url=http://h,timeout=600", "http://h", "http://h", "1m0s"},
		{"url=http://h,timeout=9000000000000000000", "http://h", "http://h", "1m0s"},
	} {
		p, why := parse(c.tags)
		if why != "" || p.url != c.url || p.ask != c.ask || p.within.String() != c.within {
			t.Errorf("%s: %+v, %s", c.tags, p, why)
		}
	}
	for _, tags := range []string{"", "url=http://h", "url=http://h,timeout", "url=http://h,timeout=", "url=http://h,timeout=0", "url=http://h,timeout=-1", "url=http://h,timeout=1.5",
		"url=,timeout=3", "url=ftp://h,timeout=3", "url=http://,timeout=3", "url=http://h,timeout=3,a=b", "url=http://h/a,b,timeout=3", "5=5,5=5,"} {
		if p, why := parse(tags); why == "" {
			t.Errorf("%q is taken as %+v", tags, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("url=http://h/health,timeout=3")
	f.Fuzz(func(t *testing.T, tags string) {
		if p, why := parse(tags); why == "" && (p.within < time.Second || p.within > maxTimeout) {
			t.Errorf("%q has %v", tags, p.within)
		}
	})
}

// Only 200 to a HEAD within the time is health; a redirect is not followed.
func TestHealth(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			if r.Method != http.MethodHead {
				w.WriteHeader(http.StatusTeapot)
			}
		case "/get":
			if r.Method != http.MethodGet {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
		case "/moved":
			http.Redirect(w, r, "/head", http.StatusFound)
		case "/created":
			w.WriteHeader(http.StatusCreated)
		case "/hangs":
			<-hang
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	defer close(hang)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer secure.Close()
	for _, get := range []bool{false, true} {
		c := New(Options{Endpoint: "h1", Get: get})
		want := map[string]float64{s.URL + "/head": 1, strings.TrimPrefix(s.URL, "http://") + "/head": 1, s.URL + "/get": 0, s.URL + "/moved": 0, s.URL + "/created": 0,
			s.URL + "/none": 0, s.URL + "/hangs": 0, "http://" + testkit.FreeAddr(t): 0, secure.URL: 0}
		if get {
			want[s.URL+"/get"] = 1
		}
		var tags []string
		within := func(u string) string {
			if strings.HasSuffix(u, "/hangs") {
				return "1"
			}
			return "30"
		}
		for u := range want {
			tags = append(tags, "url="+u+",timeout="+within(u))
		}
		if refused := c.Want(tags); refused != nil {
			t.Fatal(refused)
		}
		items, err := c.Collect(t.Context())
		if err != nil || len(items) != len(want) {
			t.Fatalf("%v, %v", items, err)
		}
		for _, it := range items {
			_, u, _ := strings.Cut(it.Tags, "url=")
			if v, ok := want[u]; !ok || it != (collect.Item{Metric: "url.check.health", Type: "GAUGE", Tags: "src=h1,timeout=" + within(u) + ",url=" + u, Value: v}) {
				t.Errorf("with get %v: %v, want %v", get, it, v)
			}
		}
	}
}

// Pages that hang are asked side by side, and no more than 64 of them.
func TestSideBySide(t *testing.T) {
	const n = 100
	var now, most atomic.Int64
	all := make(chan struct{})
	full := sync.OnceFunc(func() { close(all) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); v > m && !most.CompareAndSwap(m, v); m = most.Load() {
		}
		if v == parallel {
			full() // as many as there may be
		}
		<-all
	})}
	go func() { _ = s.Serve(ln) }()
	defer s.Close()
	c := New(Options{})
	var tags []string
	for i := range n {
		tags = append(tags, fmt.Sprintf("url=http://%s/%d,timeout=30", ln.Addr(), i))
	}
	c.Want(tags)
	if d := c.Deadline(); d != 61*time.Second {
		t.Errorf("deadline %v", d)
	}
	items, err := c.Collect(t.Context())
	if err != nil || len(items) != n || most.Load() != parallel {
		t.Errorf("%d items, %v, %d pages at once", len(items), err, most.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if items, err := c.Collect(ctx); err == nil || len(items) != 0 {
		t.Errorf("of an agent that stops: %v, %v", items, err)
	}
}
