package dashboard

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"falcon/common/conf"
)

// script is long enough that zipping pays.
var script = strings.Repeat("console.log('falcon');\n", 100)

func page(t *testing.T) *assets {
	t.Helper()
	a, err := newAssets(fstest.MapFS{
		"index.html":        {Data: []byte("<!doctype html><title>Falcon</title>")},
		"favicon.svg":       {Data: []byte("<svg/>")},
		"assets/app-Ab1.js": {Data: []byte(script)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// What is a page gets the document, what is a file gets the file, and nothing else
// pretends to be there.
func TestPaths(t *testing.T) {
	h := page(t)
	for _, tc := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/index.html", 200, "text/html; charset=utf-8"},
		{"GET", "/login", 200, "text/html; charset=utf-8"},
		{"GET", "/explore", 200, "text/html; charset=utf-8"},
		{"GET", "/alarms", 200, "text/html; charset=utf-8"},
		{"GET", "/templates/12", 200, "text/html; charset=utf-8"},
		{"GET", "/expressions", 200, "text/html; charset=utf-8"},
		{"GET", "/hostgroups", 200, "text/html; charset=utf-8"},
		{"GET", "/hosts/7", 200, "text/html; charset=utf-8"},
		{"GET", "/hosts/web-1", 404, "text/html; charset=utf-8"},
		{"GET", "/teams", 200, "text/html; charset=utf-8"},
		{"GET", "/channels", 200, "text/html; charset=utf-8"},
		{"GET", "/portal/template/view/12", 200, "text/html; charset=utf-8"},
		{"GET", "/portal/links/abc123", 200, "text/html; charset=utf-8"},
		{"GET", "/screen/12", 200, "text/html; charset=utf-8"},
		{"GET", "/screen/12/graph.v2", 200, "text/html; charset=utf-8"},
		{"GET", "/chart/big?id=7", 200, "text/html; charset=utf-8"},
		{"GET", "/charts", 200, "text/html; charset=utf-8"},
		{"GET", "/nowhere", 404, "text/html; charset=utf-8"},
		{"GET", "/screenshot", 404, "text/html; charset=utf-8"},
		{"GET", "/favicon.svg", 200, "image/svg+xml"},
		{"GET", "/assets/app-Ab1.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/assets/app-Old.js", 404, "text/plain; charset=utf-8"},
		{"GET", "/assets/", 404, "text/plain; charset=utf-8"},
		{"GET", "/robots.txt", 404, "text/plain; charset=utf-8"},
		{"GET", "/assets/../index.html", 200, "text/html; charset=utf-8"}, // cleaned or not, no file leaks
		{"POST", "/", 405, "text/plain; charset=utf-8"},
		{"DELETE", "/explore", 405, "text/plain; charset=utf-8"},
	} {
		w := get(h, tc.method, tc.path)
		if tc.path == "/assets/../index.html" {
			if w.Code != 200 && w.Code != 404 {
				t.Errorf("GET %s = %d", tc.path, w.Code)
			}
			continue
		}
		if w.Code != tc.status || w.Header().Get("Content-Type") != tc.kind {
			t.Errorf("%s %s = %d %q, want %d %q", tc.method, tc.path, w.Code, w.Header().Get("Content-Type"), tc.status, tc.kind)
		}
		if tc.method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("HEAD %s has a body of %d bytes", tc.path, w.Body.Len())
		}
	}
}

func TestSecurityHeadersAreOnEveryAnswer(t *testing.T) {
	h := page(t)
	for _, path := range []string{"/", "/nowhere", "/assets/app-Ab1.js", "/assets/none.js"} {
		header := get(h, "GET", path).Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if header.Get(name) != want {
				t.Errorf("GET %s: %s is %q, want %q", path, name, header.Get(name), want)
			}
		}
		csp := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'self'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("GET %s: the policy %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("GET %s: the policy %q allows what it should not", path, csp)
		}
	}
}

func TestCaching(t *testing.T) {
	h := page(t)
	for path, want := range map[string]string{
		"/": "no-cache", "/explore": "no-cache", "/favicon.svg": "no-cache", "/assets/app-Ab1.js": "public, max-age=31536000, immutable",
	} {
		if got := get(h, "GET", path).Header().Get("Cache-Control"); got != want {
			t.Errorf("GET %s: Cache-Control %q, want %q", path, got, want)
		}
	}
	tag := get(h, "GET", "/explore").Header().Get("Etag")
	if w := get(h, "GET", "/", "If-None-Match", `"x", W/`+tag); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("a known document is answered with %d and %d bytes, want 304", w.Code, w.Body.Len())
	}
	if w := get(h, "GET", "/", "If-None-Match", `"x"`); w.Code != 200 {
		t.Errorf("an unknown tag is answered with %d", w.Code)
	}
	// A page that is not there stays so.
	if w := get(h, "GET", "/nowhere", "If-None-Match", tag); w.Code != 404 {
		t.Errorf("a page that is not there, known: %d", w.Code)
	}
}

func TestGzip(t *testing.T) {
	h := page(t)
	const path = "/assets/app-Ab1.js"
	for header, zipped := range map[string]bool{
		"": false, "gzip": true, "br, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "identity": false, "gzip; q=0.0": false, "GZIP": true,
	} {
		w := get(h, "GET", path, "Accept-Encoding", header)
		body := w.Body.String()
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("Accept-Encoding %q: zipped %v, want %v", header, got, zipped)
			continue
		}
		if zipped {
			r, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			body = string(b)
		}
		if body != script || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: %d bytes, Vary %q", header, len(body), w.Header().Get("Vary"))
		}
	}
	// The two forms are two entities.
	if a, b := get(h, "GET", path).Header().Get("Etag"), get(h, "GET", path, "Accept-Encoding", "gzip").Header().Get("Etag"); a == b {
		t.Errorf("both forms have the tag %s", a)
	}
	if w := get(h, "GET", "/favicon.svg", "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Errorf("six bytes are zipped")
	}
}

// What is embedded is a page: its document names files that are there, it has no
// script in it, and the whole of the first load is small.
func TestEmbeddedPage(t *testing.T) {
	h, err := Handler()
	if err != nil {
		t.Fatal(err)
	}
	w := get(h, "GET", "/", "Accept-Encoding", "gzip")
	total := w.Body.Len()
	index := get(h, "GET", "/").Body.String()
	if regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(index) || strings.Contains(index, "<style") || strings.Contains(index, "style=") {
		t.Errorf("the document has scripts or styles in it, which its own policy forbids:\n%s", index)
	}
	files := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(index, -1)
	if len(files) < 3 {
		t.Fatalf("the document names %d files, want script, style and icon:\n%s", len(files), index)
	}
	for _, f := range files {
		w := get(h, "GET", f[1], "Accept-Encoding", "gzip")
		if w.Code != 200 {
			t.Errorf("the document names %s, which is not there", f[1])
		}
		total += w.Body.Len()
	}
	if limit := 120 << 10; total > limit {
		t.Errorf("the first load is %d bytes, want %d at most", total, limit)
	}
	t.Logf("first load: %d bytes zipped", total)
}

func TestAPageWithoutItsDocument(t *testing.T) {
	if _, err := newAssets(fstest.MapFS{"favicon.svg": {Data: []byte("<svg/>")}}); err == nil || !strings.Contains(err.Error(), "make ui") {
		t.Errorf("got %v, want a hint to make ui", err)
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	if _, err := New(DefaultConfig(), Deps{}); err == nil || err.Error() != "dashboard: Deps.Log is required" {
		t.Errorf("got %v", err)
	}
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.API = ""
	if _, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.HasPrefix(err.Error(), `dashboard: api: ""`) {
		t.Errorf("got %v", err)
	}
}

// serve runs a dashboard in front of api and returns its address.
func serve(t *testing.T, api string, timeout time.Duration) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.API, cfg.Timeout = api, conf.Duration(timeout)
	d, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Listener: ln})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return "http://" + ln.Addr().String()
}

func do(t *testing.T, method, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// The api sees the request as the browser made it, host included, and who made it.
func TestProxy(t *testing.T) {
	var seen *http.Request
	var body []byte
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-Falcon-Total", "42")
		http.SetCookie(w, &http.Cookie{Name: "falcon_session", Value: "s", HttpOnly: true})
		w.WriteHeader(http.StatusExpectationFailed)
		_, _ = io.WriteString(w, `{"error":"x"}`)
	}))
	defer api.Close()
	url := serve(t, api.URL, time.Minute)

	resp, got := do(t, "POST", url+"/api/v1/user/login?a=b%2Fc", "name=root", http.Header{
		"Cookie": {"falcon_session=z"}, "X-Falcon-Csrf": {"t"}, "X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"https"},
	})
	if resp.StatusCode != http.StatusExpectationFailed || got != `{"error":"x"}` || resp.Header.Get("X-Falcon-Total") != "42" || len(resp.Cookies()) != 1 {
		t.Errorf("answer %d %s %v", resp.StatusCode, got, resp.Header)
	}
	if resp.Header.Get("Content-Security-Policy") != "" {
		t.Errorf("the page's headers are on an answer of api")
	}
	if seen.Host != strings.TrimPrefix(url, "http://") || seen.URL.String() != "/api/v1/user/login?a=b%2Fc" || !bytes.Equal(body, []byte("name=root")) {
		t.Errorf("api saw %s %s %q", seen.Host, seen.URL, body)
	}
	for name, want := range map[string]string{
		"Cookie": "falcon_session=z", "X-Falcon-Csrf": "t", "X-Forwarded-For": "203.0.113.9, 127.0.0.1", "X-Forwarded-Proto": "https",
	} {
		if seen.Header.Get(name) != want {
			t.Errorf("api saw %s: %q, want %q", name, seen.Header.Get(name), want)
		}
	}
	if resp, got := do(t, "GET", url+"/explore?e=a", "", nil); resp.StatusCode != 200 || !strings.Contains(got, "<title>Falcon</title>") {
		t.Errorf("the page beside the proxy: %d %.80s", resp.StatusCode, got)
	}
	if resp, got := do(t, "GET", url+"/health", "", nil); resp.StatusCode != 200 || got != "ok" {
		t.Errorf("/health = %d %q", resp.StatusCode, got)
	}
}

func TestProxyWithoutAnAPI(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	url := serve(t, gone.URL, time.Minute)
	if resp, got := do(t, "GET", url+"/api/v1/user/current", "", nil); resp.StatusCode != 502 || got != `{"error":"the api does not answer: see the log of dashboard"}`+"\n" {
		t.Errorf("got %d %q", resp.StatusCode, got)
	}
	if resp, _ := do(t, "GET", url+"/", "", nil); resp.StatusCode != 200 {
		t.Errorf("the page itself: %d", resp.StatusCode)
	}
}

func TestProxyGivesUpOnASlowAPI(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer slow.Close()
	url := serve(t, slow.URL, 50*time.Millisecond)
	if resp, got := do(t, "GET", url+"/api/v1/user/current", "", nil); resp.StatusCode != 504 || !strings.Contains(got, "the api took longer than 50ms") {
		t.Errorf("got %d %q", resp.StatusCode, got)
	}
}
