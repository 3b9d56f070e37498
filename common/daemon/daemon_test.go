package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/stat"
)

type testConfig struct {
	Base
	Listen string      `json:"listen"`
	Token  conf.Secret `json:"token"`
}

func newShell(run func(context.Context, Env[testConfig], testConfig) error) (*shell[testConfig, *testConfig], *bytes.Buffer, *bytes.Buffer) {
	var out, errs bytes.Buffer
	return &shell[testConfig, *testConfig]{
		name: "demo", defaults: testConfig{Base: DefaultBase(), Listen: ":1"}, run: run, stdout: &out, stderr: &errs,
	}, &out, &errs
}

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "cfg.json")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFlags(t *testing.T) {
	good := write(t, `{"listen":":7","token":"swordfish"}`)
	bad := write(t, `{"lisen":":7"}`)
	for _, tc := range []struct {
		name     string
		args     []string
		code     int
		out, err string
	}{
		{"version", []string{"-v"}, 0, Version(), ""},
		{"check prints the file over the defaults", []string{"-t", "-c", good}, 0, `"listen": ":7"`, ""},
		{"check hides secrets", []string{"-t", "-c", good}, 0, `"token": "******"`, ""},
		{"check of a bad file", []string{"-t", "-c", bad}, 2, "", `unknown key "lisen", did you mean "listen"?`},
		{"a file that is not there", []string{"-c", "nowhere.json"}, 2, "", "nowhere.json"},
		{"an argument too many", []string{"start"}, 2, "", `unexpected argument "start"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, out, errs := newShell(func(context.Context, Env[testConfig], testConfig) error { return nil })
			if code := m.main(t.Context(), tc.args); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if !strings.Contains(out.String(), tc.out) || !strings.Contains(errs.String(), tc.err) {
				t.Errorf("printed %q and %q, want %q and %q in them", out, errs, tc.out, tc.err)
			}
		})
	}
}

func TestMainStopsOnRequestAndReportsFailure(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  func(context.Context, Env[testConfig], testConfig) error
		code int
		says string
	}{
		{"asked to stop", func(ctx context.Context, _ Env[testConfig], _ testConfig) error { <-ctx.Done(); return nil }, 0, "msg=stopped"},
		{"asked while it starts", func(ctx context.Context, _ Env[testConfig], _ testConfig) error {
			<-ctx.Done()
			return fmt.Errorf("open database portal: %w", ctx.Err())
		}, 0, "open database portal"},
		{"failed", func(context.Context, Env[testConfig], testConfig) error { return errors.New("disk full") }, 1, `err="disk full"`},
		{"panicked", func(context.Context, Env[testConfig], testConfig) error { panic("no shard") }, 1, "panic: no shard"},
		{"drains too long", func(context.Context, Env[testConfig], testConfig) error { select {} }, 1, "drain time is over"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, _, errs := newShell(tc.run)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			switch tc.name {
			case "asked to stop", "asked while it starts":
				stop()
			case "drains too long":
				m.defaults.Drain = conf.Duration(time.Millisecond)
				stop()
			}
			if code := m.main(ctx, []string{"-c", write(t, `{}`)}); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if !strings.Contains(errs.String(), tc.says) {
				t.Errorf("log %q, want %s in it", errs, tc.says)
			}
		})
	}
}

func TestLogTurnsOverAtMidnightAndBySize(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 3, 1, 23, 59, 0, 0, time.Local)
	r := newRotated(LogConfig{File: filepath.Join(dir, "a.log"), MaxSize: 1, MaxFiles: 2, Daily: true}, func() time.Time { return now })
	files := func() int {
		t.Helper()
		m, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		return len(m)
	}
	put := func(n int) {
		t.Helper()
		if _, err := r.Write(bytes.Repeat([]byte("x"), n)); err != nil {
			t.Fatal(err)
		}
	}
	put(10)
	now = now.Add(30 * time.Second)
	put(10)
	if n := files(); n != 1 {
		t.Fatalf("%d files before midnight, want 1", n)
	}
	now = now.Add(time.Minute)
	put(10)
	if n := files(); n != 2 {
		t.Fatalf("%d files after midnight, want 2", n)
	}
	for at := time.Now().UnixMilli(); time.Now().UnixMilli() == at; { // files are named by it
	}
	put(1 << 20)
	if n := files(); n != 3 {
		t.Fatalf("%d files after a full one, want 3", n)
	}
	if err := r.files.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestListenNamesTheKeyAndTheWayOut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	_, err = Listen("rpc.listen", addr)
	want := "rpc.listen: " + addr + " is taken by another process: stop that one, or write another address into rpc.listen (port 0 takes any free one)"
	if err == nil || err.Error() != want {
		t.Errorf("Listen = %v\nwant %s", err, want)
	}
}

func TestAdminPages(t *testing.T) {
	healthy := errors.New("the first rules are not in yet")
	mux := Admin{
		Stats:  stat.New("demo"),
		Health: func() error { return healthy },
		Config: func() any { return testConfig{Token: "swordfish"} },
		Reload: func() (string, error) { return "", errors.New(`unknown key "x"`) },
		Line:   true,
	}.Mux()
	get := func(path, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	const near, far = "127.0.0.1:5", "10.0.0.9:5"
	for _, tc := range []struct {
		path, from string
		code       int
		body       string
	}{
		{"/health", far, 503, "the first rules are not in yet\n"},
		{"/version", far, 200, Version() + "\n"},
		{"/config/reload", far, 403, "no privilege"},
		{"/config/reload", near, 400, `nothing changed: unknown key "x"`},
		{"/counter/all", far, 200, "["},
		{"/statistics/all", far, 200, `{"msg":"success","data":[`},
		{"/debug/pprof/", far, 403, "no privilege"},
		{"/metrics", far, 200, "go_goroutines"},
	} {
		w := get(tc.path, tc.from)
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.body) {
			t.Errorf("GET %s from %s: %d %q, want %d %q", tc.path, tc.from, w.Code, w.Body, tc.code, tc.body)
		}
	}
	var shown map[string]any
	if err := json.Unmarshal(get("/config", far).Body.Bytes(), &shown); err != nil || shown["token"] != "******" {
		t.Errorf("/config shows %v, %v", shown, err)
	}
	healthy = nil
	if w := get("/health", near); w.Code != http.StatusOK || w.Body.String() != "ok\n" {
		t.Errorf("/health of a healthy daemon: %d %q", w.Code, w.Body)
	}
}
