package graph

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

// Each captured HTTP request gets stock's status, type and body; /counter/all has
// stock's counters first, in their order.
func TestStockHTTP(t *testing.T) {
	w := start(t, nil)
	h := w.g.admin()
	for _, name := range []string{"health", "api_v2_health", "index_updateall", "counter_all"} {
		read := func(ext string) *bufio.Reader {
			b, err := os.ReadFile("testdata/http-graph/" + name + ext)
			if err != nil {
				t.Fatal(err)
			}
			return bufio.NewReader(bytes.NewReader(b))
		}
		req, err := http.ReadRequest(read(".c2s.bin"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := http.ReadResponse(read(".s2c.bin"), req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRecorder()
		h.ServeHTTP(got, req)
		if got.Code != want.StatusCode || !strings.EqualFold(got.Result().Header.Get("Content-Type"), want.Header.Get("Content-Type")) {
			t.Errorf("%s: %d %s, want %d %s", name, got.Code, got.Result().Header.Get("Content-Type"), want.StatusCode, want.Header.Get("Content-Type"))
		}
		if name == "counter_all" {
			names := func(b []byte) (out []string) {
				var rows []struct{ Name string }
				if err := json.Unmarshal(b, &rows); err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					out = append(out, r.Name)
				}
				return out
			}
			g, w := names(got.Body.Bytes()), names(body)
			if len(g) < len(w) || !slices.Equal(g[:len(w)], w) {
				t.Errorf("counters %v\nwant first %v", g, w)
			}
			continue
		}
		if strings.TrimSuffix(got.Body.String(), "\n") != string(body) {
			t.Errorf("%s: %q, want %q", name, got.Body, body)
		}
	}
}

// The routes of contract query 1.11.
func TestRoutes(t *testing.T) {
	reloaded := errors.New("graph.json: unknown key")
	w := start(t, func(_ *Config, d *Deps) { d.Reload = func() (Config, error) { return Config{}, reloaded } })
	w.send(graphItem("h", "m", captureTime, 1))
	h := w.g.admin()
	for _, tc := range []struct {
		method, path, body string
		code               int
		want               string // a part
	}{
		{"GET", "/health", "", 200, "ok"},
		{"GET", "/api/v2/health", "", 200, `{"msg":"ok"}`},
		{"GET", "/api/v2/version", "", 200, `{"value":"`},
		{"GET", "/api/v2/workdir", "", 200, `{"value":"/`},
		{"GET", "/api/v2/config", "", 200, `"durability":"interval"`},
		{"POST", "/api/v2/config/reload", "", 400, `{"error":"graph.json: unknown key"}`},
		{"GET", "/api/v2/stats/graph-queue-size", "", 200, `{"0":1}`},
		{"GET", "/counter/all", "", 200, `[{"Name":"GraphRpcRecvCnt","Cnt":1`},
		{"GET", "/statistics/all", "", 200, `{"msg":"success","data":[`},
		{"GET", "/index/updateAll", "", 200, `{"msg":"ok"}`},
		{"GET", "/index/updateAll/concurrent", "", 200, `{"msg":"ok","value":0}`},
		{"POST", "/api/v2/index", `[{"endpoint":"h","metric":"m","step":60,"dstype":"GAUGE","tags":""}]`, 200, `{"msg":"ok"}`},
		{"POST", "/api/v2/index", `{`, 400, `{"error":"the body is no list of series`},
		{"GET", "/api/v2/counter/migrate", "", 200, `"FetchNotExist":0`},
		{"GET", "/counter/migrate", "", 200, `"counter":"FETCH_S_SUCCESS[0] FETCH_S_ERR[0]`},
		{"GET", "/metrics", "", 200, "falcon_graph_taken_points_total 1"},
		{"GET", "/debug/engine", "", 200, "{"},
		{"GET", "/nothing", "", 404, ""},
	} {
		req := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
		req.RemoteAddr = "127.0.0.1:5"
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != tc.code || !contains(rec.Body.String(), tc.want) {
			t.Errorf("%s %s: %d %.200s, want %d %s", tc.method, tc.path, rec.Code, rec.Body, tc.code, tc.want)
		}
	}
	req := httptest.NewRequest("POST", "/api/v2/config/reload", nil)
	req.RemoteAddr = "10.0.0.1:5"
	rec := httptest.NewRecorder()
	if h.ServeHTTP(rec, req); rec.Code != http.StatusForbidden {
		t.Errorf("a reload from elsewhere: %d", rec.Code)
	}
}

// Before the engine has recovered the pages say so, and nothing panics.
func TestPagesWhileRecovering(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Index.Enabled = false
	g, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := g.admin()
	for path, code := range map[string]int{"/health": 503, "/api/v2/health": 503, "/debug/engine": 503, "/api/v2/stats/graph-queue-size": 503, "/counter/all": 200, "/metrics": 200, "/config": 200} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != code || code == 503 && !contains(rec.Body.String(), "recovering") {
			t.Errorf("GET %s: %d %s, want %d", path, rec.Code, rec.Body, code)
		}
	}
	if _, err := New(DefaultConfig(), Deps{Log: slog.New(slog.DiscardHandler)}); err == nil || !contains(err.Error(), "Deps.Index is required") {
		t.Errorf("New without an index: %v", err)
	}
}
