package deploy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

// A front is an nginx with our configuration.
type front struct {
	t      *testing.T
	plain  string // host:port
	secure string
	client *http.Client
	tls    *tls.Config
}

// startNginx runs nginx before an api and a page, on free ports of the loopback and
// with a certificate of its own; nothing else in falcon.conf is changed.
func startNginx(t *testing.T, api, page string, changes ...[2]string) *front {
	t.Helper()
	nginx := needs(t, "nginx", "nginx-light")
	cert, key := testkit.SelfSigned(t)
	f := &front{t: t, plain: testkit.FreeAddr(t), secure: testkit.FreeAddr(t)}
	conf := read(t, "nginx/falcon.conf")
	for _, change := range append(changes, [][2]string{
		{"server 127.0.0.1:8080;", "server " + api + ";"},
		{"server 127.0.0.1:8082;", "server " + page + ";"},
		{"listen 80;", "listen " + f.plain + ";"},
		{"listen 443 ssl http2;", "listen " + f.secure + " ssl http2;"},
		{"    listen [::]:80;\n", ""},
		{"    listen [::]:443 ssl http2;\n", ""},
		{"/etc/falcon/tls/falcon.crt", cert},
		{"/etc/falcon/tls/falcon.key", key},
	}...) {
		if strings.Count(conf, change[0]) != 1 {
			t.Fatalf("falcon.conf has %q %d times, want it once", change[0], strings.Count(conf, change[0]))
		}
		conf = strings.Replace(conf, change[0], change[1], 1)
	}
	dir, err := os.MkdirTemp("", "falcon-nginx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // it reads the certificate of the test
	}
	write(t, filepath.Join(dir, "falcon.conf"), conf, 0o644)
	write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`
		%s daemon off; worker_processes 1; pid %[2]s/pid; error_log stderr warn;
		events { worker_connections 256; }
		http {
			access_log off;
			client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi;
			uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
			include %[2]s/falcon.conf;
		}`, user, dir), 0o644)
	args := []string{"-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf")}
	if out, err := exec.Command(nginx, append([]string{"-t"}, args...)...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("[warn]")) {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	p := testkit.Start(t, dir, nginx, args...)
	t.Cleanup(p.Stop) // its workers end with it only when it is asked
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read(t, cert)))
	f.tls = &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}}
	f.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
	t.Cleanup(f.client.CloseIdleConnections)
	testkit.Eventually(t, 10*time.Second, func() error {
		c, err := net.Dial("tcp", f.secure)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return f
}

// call asks through the front and returns the answer, its body read.
func (f *front) call(method, url, body string, header ...string) (*http.Response, string) {
	f.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, url, err)
	}
	return resp, string(b)
}

// A browser in front of nginx in front of falcon up: the page, a login, a call, and
// nothing that belongs to this machine alone.
func TestNginxBeforeFalconUp(t *testing.T) {
	needs(t, "nginx", "nginx-light")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "fleet.json"), `{
		"agent": {"http": {"enabled": true, "listen": ":0"}},
		"transfer": {"rpc": {"enabled": true, "listen": ":0"}, "http": {"enabled": true, "listen": ":0"}},
		"graph": {"rpc": {"enabled": true, "listen": ":0"}, "http": {"enabled": true, "listen": ":0"}},
		"judge": {"rpc": {"enabled": true, "listen": ":0"}, "http": {"enabled": true, "listen": ":0"}},
		"plus_judge": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"hbs": {"listen": ":0", "http": {"enabled": true, "listen": ":0"}},
		"alarm": {"http": {"enabled": true, "listen": ":0"}},
		"nodata": {"http": {"enabled": true, "listen": ":0"}},
		"api": {"web_port": ":0", "trusted_proxies": ["127.0.0.1"]},
		"poly_metric": {"http": {"enabled": true, "listen": ":0"}}
	}`, 0o644)
	bin, _ := programs(t)
	testkit.Start(t, dir, filepath.Join(bin, "falcon"), "up", "--config", "fleet.json")
	var api string
	testkit.Eventually(t, 60*time.Second, func() error {
		b, err := os.ReadFile(filepath.Join(dir, "data/endpoints.json"))
		if err != nil {
			return err
		}
		at := map[string]string{}
		if err := json.Unmarshal(b, &at); err != nil {
			return err
		}
		api = at["api.web_port"]
		resp, err := http.Get("http://" + api + "/health")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	f := startNginx(t, api, api)
	base := "https://" + f.secure

	resp, body := f.call("GET", base+"/", "")
	if resp.StatusCode != 200 || !strings.Contains(body, "<title>") || resp.ProtoMajor != 2 {
		t.Fatalf("the page: %s %s\n%s", resp.Proto, resp.Status, body)
	}
	for name, want := range map[string]string{
		"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Server": "nginx",
	} {
		if got := resp.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s of the page is %q, want %q once", name, got, want)
		}
	}
	if got := resp.Header.Values("Content-Security-Policy"); len(got) != 1 || !strings.Contains(got[0], "default-src 'none'") {
		t.Errorf("the policy of the page is %q", got)
	}
	if i := strings.Index(body, `src="/assets/`); i < 0 {
		t.Errorf("the page has no script:\n%s", body)
	} else {
		src, _, _ := strings.Cut(body[i+len(`src="`):], `"`)
		if resp, _ := f.call("GET", base+src, ""); resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("GET %s: %s, Cache-Control %q", src, resp.Status, resp.Header.Get("Cache-Control"))
		}
	}
	if resp, _ := f.call("GET", "http://"+f.plain+"/explore?a=b", ""); resp.StatusCode != 308 || resp.Header.Get("Location") != "https://127.0.0.1/explore?a=b" {
		t.Errorf("without TLS: %s to %q", resp.Status, resp.Header.Get("Location"))
	}

	password := strings.TrimSpace(read(t, filepath.Join(dir, "data/root-password")))
	credentials, err := json.Marshal(map[string]string{"name": "root", "password": password})
	if err != nil {
		t.Fatal(err)
	}
	resp, body = f.call("POST", base+"/api/v1/user/login", string(credentials), "Content-Type", "application/json", "Origin", base, "X-Requested-With", "falcon")
	cookies := resp.Cookies()
	if resp.StatusCode != 200 || len(cookies) != 1 || !cookies[0].Secure || !cookies[0].HttpOnly {
		t.Fatalf("login: %s %s\ncookies %v, want one that goes over TLS alone", resp.Status, body, cookies)
	}
	cookie := cookies[0].Name + "=" + cookies[0].Value
	if resp, body := f.call("GET", base+"/api/v1/user/current", "", "Cookie", cookie, "Origin", base); resp.StatusCode != 200 || !strings.Contains(body, `"root"`) {
		t.Errorf("GET /api/v1/user/current: %s %s", resp.Status, body)
	}
	if resp, body := f.call("GET", base+"/health", ""); resp.StatusCode != 200 {
		t.Errorf("GET /health: %s %s", resp.Status, body)
	}
	for _, path := range []string{"/config", "/config/reload", "/debug/pprof/", "/debug/pprof/cmdline", "/metrics", "/counter/all", "/statistics/all", "/workdir", "//config", "/api/../config", "/%63onfig", "/config/"} {
		if resp, body := f.call("GET", base+path, ""); resp.StatusCode != 404 {
			t.Errorf("GET %s is open to everybody: %s %.200s", path, resp.Status, body)
		}
	}
}

// A stream of events arrives as it is sent, a WebSocket becomes one, and the api
// sees who asks and not what the browser claims.
func TestNginxCutsNoStream(t *testing.T) {
	next := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/headers":
			for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "Upgrade", "Connection"} {
				fmt.Fprintf(w, "%s=%s\n", name, r.Header.Get(name))
			}
			fmt.Fprintf(w, "Host=%s\n", r.Host)
		case "/api/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				w.(http.Flusher).Flush()
				select {
				case <-next: // only now the client has seen it
				case <-r.Context().Done():
					return
				}
			}
		case "/api/socket":
			if !strings.EqualFold(r.Header.Get("Connection"), "upgrade") || r.Header.Get("Upgrade") != "websocket" {
				http.Error(w, "no upgrade", http.StatusBadRequest)
				return
			}
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_ = rw.Flush()
			for line, err := rw.ReadString('\n'); err == nil; line, err = rw.ReadString('\n') {
				_, _ = rw.WriteString("echo " + line)
				_ = rw.Flush()
			}
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(backend.Close)
	addr := backend.Listener.Addr().String()
	f := startNginx(t, addr, addr)

	_, body := f.call("GET", "https://"+f.secure+"/api/headers", "", "X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "http")
	if want := "X-Forwarded-For=127.0.0.1\nX-Forwarded-Proto=https\nUpgrade=\nConnection=\nHost=" + f.secure + "\n"; body != want {
		t.Errorf("api gets\n%s\nwant\n%s", body, want)
	}

	resp, err := f.client.Get("https://" + f.secure + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := events.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
			t.Fatalf("event %d is %q, %v; want %q", i, line, err, want)
		}
		if _, err := events.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}

	conn, err := tls.Dial("tcp", f.secure, f.tls)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /api/socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", f.secure)
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the upgrade: %v %v", answer, err)
	}
	for _, word := range []string{"one\n", "two\n"} {
		fmt.Fprint(conn, word)
		if line, err := r.ReadString('\n'); line != "echo "+word || err != nil {
			t.Errorf("%q comes back as %q, %v", word, line, err)
		}
	}
}
