package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"falcon/common/auth"
	"falcon/common/conf"
	"falcon/common/portal"
	"falcon/modules/api/graphs/graphtest"
)

// stockConfig is what a stock installation has in its cfg.json, and what its fork
// adds.
const stockConfig = `{
	"log_level": "debug",
	"db": {
		"falcon_portal": "root:pw@tcp(127.0.0.1:3306)/falcon_portal?charset=utf8&parseTime=True&loc=Local",
		"graph": "root:pw@tcp(127.0.0.1:3306)/graph?charset=utf8&parseTime=True&loc=Local",
		"uic": "root:pw@tcp(127.0.0.1:3306)/uic?charset=utf8&parseTime=True&loc=Local",
		"dashboard": "root:pw@tcp(127.0.0.1:3306)/dashboard?charset=utf8&parseTime=True&loc=Local",
		"alarms": "root:pw@tcp(127.0.0.1:3306)/alarms?charset=utf8&parseTime=True&loc=Local",
		"db_bug": true
	},
	"graphs": {
		"cluster": {"graph-00": "127.0.0.1:6070", "Graph-01": "127.0.0.1:6071,127.0.0.1:6072"},
		"max_conns": 100, "max_idle": 100, "conn_timeout": 1000, "call_timeout": 5000, "numberOfReplicas": 500
	},
	"metric_list_file": "./api/data/metric",
	"web_port": "0.0.0.0:8080",
	"access_control": true,
	"signup_disable": false,
	"salt": "pepper",
	"skip_auth": false,
	"default_token": "default-token-used-in-server-side",
	"gen_doc": false,
	"gen_doc_path": "doc/module.html",
	"read_timeout": 10, "write_timeout": 20,
	"redis": {"addr": "127.0.0.1:6379", "maxIdle": 5}, "admin_salt": "x", "sys_property_url": "", "sys_api_key": "", "grafana_cn": "", "grafana_us": ""
}`

func TestAStockConfigurationLoads(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	warnings, err := conf.Parse([]byte(stockConfig), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 8 {
		t.Errorf("%d warnings, want one for each of 8 retired keys: %q", len(warnings), warnings)
	}
	p := cfg.Portal()
	if cfg.Graphs.ConnTimeout.D() != time.Second || cfg.Graphs.CallTimeout.D() != 5*time.Second || cfg.ReadTimeout.D() != 10*time.Second ||
		len(cfg.Graphs.Cluster) != 2 || cfg.Listen != "0.0.0.0:8080" || cfg.SignupDisable || cfg.Salt.Reveal() != "pepper" ||
		!strings.HasPrefix(p.UICDSN, "root:pw@tcp(127.0.0.1:3306)/uic?") ||
		!strings.HasPrefix(p.AlarmsDSN, "root:pw@tcp(127.0.0.1:3306)/alarms?") || !strings.HasPrefix(p.DashboardDSN, "root:pw@tcp(127.0.0.1:3306)/dashboard?") || p.Dir != "" ||
		!cfg.Redis.Enabled || cfg.Redis.Addr.Reveal() != "127.0.0.1:6379" || cfg.MetricListFile != "./api/data/metric" || !cfg.Common().Debug || !cfg.StrictPermission {
		t.Errorf("read as %+v", cfg)
	}
	printed, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"pw@", "pepper", "default-token-used"} {
		if strings.Contains(string(printed), secret) {
			t.Errorf("/config shows %q", secret)
		}
	}

	// Everybody knows that token: it is not accepted, and that is said.
	a, log := newAPI(t, cfg, Deps{})
	settings, warnings := a.settings()
	if settings.DefaultToken != "" || len(warnings) != 2 || !strings.Contains(log.String(), "everybody knows") || !strings.Contains(log.String(), "Graph-01") {
		t.Errorf("token %q, warnings %q", settings.DefaultToken, warnings)
	}
	cfg.AllowStockDefaultToken = true
	a, _ = newAPI(t, cfg, Deps{})
	if settings, _ := a.settings(); settings.DefaultToken != stockToken {
		t.Errorf("allowed, and still the token is %q", settings.DefaultToken)
	}
}

func TestConfigurations(t *testing.T) {
	for _, tc := range []struct{ name, in, err string }{
		{"empty", `{}`, "<nil>"},
		{"one DSN only", `{"db":{"uic":"root@tcp(h:1)/uic"}}`, "db.falcon_portal, db.graph: missing, while another database is in MySQL: give all of db.falcon_portal, db.graph and db.uic, or none"},
		{"alarms only", `{"db":{"alarms":"root@tcp(h:1)/alarms"}}`, "db.falcon_portal, db.graph, db.uic: missing, while another database is in MySQL: give all of db.falcon_portal, db.graph and db.uic, or none"},
		{"redis", `{"redis":{"addr":"nowhere"}}`, `redis.addr: "nowhere" is no address, write host:port, password@host:port or unix:/path`},
		{"no redis", `{"redis":{"enabled":false,"addr":"nowhere"}}`, "<nil>"},
		{"hbs", `{"hbs":{"addr":"127.0.0.1:6031"}}`, `hbs.addr: "127.0.0.1:6031" is no address, write http://host:port`},
		{"no alarm", `{"alarm":{"addr":""}}`, "<nil>"},
		{"no databases", `{"db":{"dir":""}}`, "db: neither DSNs nor dir: write where the databases are"},
		{"log level", `{"log_level":"loud"}`, `log_level: "loud" is unknown, use "debug", "info" or "warn"`},
		{"port", `{"web_port":"8080"}`, `web_port: "8080" is no address, write ":8080" or "host:8080"`},
		{"no graphs", `{"graphs":{"cluster":{}}}`, `graphs.cluster: names no node, write {"graph-00": "host:6070"} as in transfer`},
		{"graph address", `{"graphs":{"cluster":{"g":"h:1,h"}}}`, `graphs.cluster.g: "h" is no address, write host:6070`},
		{"hash", `{"graphs":{"ringHash":"md5"}}`, `graphs.ringHash: "md5" is unknown, use "crc32" (stock) or "murmur3" (fork)`},
		{"password hash", `{"password_hash":"sha1"}`, `password_hash: "sha1" is unknown, use "argon2id", "md5" or leave it out`},
		{"service token", `{"service_tokens":{"alarm":{"token":"short","scope":"all"}}}`, "service_tokens.alarm.token: fewer than 16 characters can be guessed\nservice_tokens.alarm.scope: \"all\" is unknown, use \"read\" or \"write\""},
		{"proxy", `{"trusted_proxies":["everybody"]}`, `trusted_proxies: "everybody" is neither an address nor a network such as 10.0.0.0/8`},
		{"no time", `{"session_life":"0s"}`, `session_life: nothing can be done in no time, write "30s"`},
		{"misspelt", `{"graphs":{"clusters":{}}}`, `unknown key "graphs.clusters", did you mean "cluster"?`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Self.Enabled = false // the agent of this machine is not asked
			if _, err := conf.Parse([]byte(tc.in), &cfg); fmt.Sprint(err) != tc.err {
				t.Errorf("Parse(%s)\n got %v\nwant %s", tc.in, err, tc.err)
			}
		})
	}
}

// newAPI makes an api over an empty portal in SQLite.
func newAPI(t *testing.T, cfg Config, deps Deps) (*API, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	if deps.Log == nil {
		deps.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	if deps.Portal == nil {
		deps.Portal = openPortal(t)
	}
	a, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return a, log
}

func openPortal(t *testing.T) *portal.DB {
	t.Helper()
	db, err := portal.Open(t.Context(), portal.Config{Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func hasher() *auth.Hasher {
	return auth.NewHasher(auth.Options{Cost: auth.Cost{LogKiB: 3, Passes: 1, Lanes: 1}})
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	bad := DefaultConfig()
	bad.LogLevel = ""
	for _, tc := range []struct {
		cfg  Config
		deps Deps
		err  string
	}{
		{DefaultConfig(), Deps{}, "api: Deps.Log is required"},
		{DefaultConfig(), Deps{Log: log}, "api: Deps.Portal is required"},
		{bad, Deps{Log: log, Portal: &portal.DB{}}, `api: log_level: "" is unknown, use "debug", "info" or "warn"`},
	} {
		if _, err := New(tc.cfg, tc.deps); fmt.Sprint(err) != tc.err {
			t.Errorf("New: got %v, want %s", err, tc.err)
		}
	}
}

// A whole life: root is made, logs in over HTTP, reads points from a graph node;
// then the api is asked to stop and stops.
func TestRun(t *testing.T) {
	node := graphtest.New()
	node.ServeOurs(t)
	node.Put(graphtest.Gauge("h", "cpu.idle", 60, 1_795_319_760, 97.5))
	db := openPortal(t)
	password, created, err := EnsureRoot(t.Context(), db, hasher(), "")
	if err != nil || !created || len(password) != 20 {
		t.Fatalf("EnsureRoot = %q, %v, %v", password, created, err)
	}
	if again, created, err := EnsureRoot(t.Context(), db, hasher(), ""); again != "" || created || err != nil {
		t.Errorf("EnsureRoot again = %q, %v, %v", again, created, err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Graphs.Cluster = map[string]string{"graph-00": node.Addr}
	a, _ := newAPI(t, cfg, Deps{Log: slog.New(slog.DiscardHandler), Portal: db, Hasher: hasher(), Listener: ln})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()

	url := "http://" + ln.Addr().String()
	do := func(method, path, token, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Apitoken", token)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	status, token := do("POST", "/api/v1/user/login", "", fmt.Sprintf(`{"name":"root","password":%q}`, password))
	if status != 200 || !strings.Contains(token, `"admin":true`) {
		t.Fatalf("login: %d %s", status, token)
	}
	_, body := do("POST", "/api/v1/graph/history", token, `{"hostnames":["h"],"counters":["cpu.idle"],"consol_fun":"AVERAGE","start_time":1795319760,"end_time":1795319760}`)
	if want := `[{"endpoint":"h","counter":"cpu.idle","dstype":"GAUGE","step":60,"Values":[{"timestamp":1795319760,"value":97.5}]}]`; body != want {
		t.Errorf("history: %s", body)
	}
	for path, want := range map[string]string{"/health": "ok", "/version": "", "/counter/all": `{"msg":"success"`, "/metrics": "falcon_api_logins_total 1", "/config": `"web_port"`, "/debug/pprof/cmdline": ""} {
		if status, body := do("GET", path, "", ""); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s, want %q in it", path, status, body, want)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if status, body := do("GET", "/health", "", ""); status != 503 || !strings.Contains(body, "database uic: ") {
		t.Errorf("/health without a database: %d %s", status, body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunNamesAPortThatIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.Listen = ln.Addr().String()
	a, _ := newAPI(t, cfg, Deps{})
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "web_port: "+cfg.Listen+" is taken by another process") {
		t.Errorf("Run: %v", err)
	}
}

func TestSetPassword(t *testing.T) {
	ctx, db, h := t.Context(), openPortal(t), hasher()
	if err := SetPassword(ctx, db, h, "", "ann", "x"); fmt.Sprint(err) != `user "ann": record not found` {
		t.Errorf("of nobody: %v", err)
	}
	// A root that is missing is made; one that is there is not made anew.
	for _, pw := range []string{"first", "second"} {
		if err := SetPassword(ctx, db, h, "", "root", pw); err != nil {
			t.Fatal(err)
		}
		u, err := db.UserByName(ctx, "root")
		if err != nil || u.Role != portal.RoleRoot || u.ID != 1 {
			t.Fatalf("root is %+v, %v", u, err)
		}
		if ok, err := h.Verify(ctx, u.Passwd, pw); !ok || err != nil || auth.IsStock(u.Passwd) {
			t.Errorf("the hash %q does not fit %q: %v", u.Passwd, pw, err)
		}
		sig, err := db.CreateSession(ctx, u.ID, time.Unix(1, 0), time.Unix(100, 0))
		if err != nil {
			t.Fatal(err)
		}
		if err := SetPassword(ctx, db, h, auth.MD5, "root", pw+"!"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.SessionBySig(ctx, u.ID, sig, time.Unix(2, 0)); err == nil {
			t.Error("a session outlived its password")
		}
		if u, _ := db.UserByName(ctx, "root"); !auth.IsStock(u.Passwd) {
			t.Errorf("asked for md5, got %q", u.Passwd)
		}
		if err := SetPassword(ctx, db, h, auth.Argon2id, "root", pw); err != nil {
			t.Fatal(err)
		}
	}
	if err := SetPassword(ctx, db, h, "", "root", ""); err == nil {
		t.Error("an empty password was taken")
	}
}

// Texts behind links of alarms go when they are old, all of them however many.
func TestOldLinksGo(t *testing.T) {
	ctx, db := t.Context(), openPortal(t)
	cfg := DefaultConfig()
	cfg.Self.Enabled = false // the agent of this machine is not asked
	cfg.AlertLinkLife = conf.Duration(time.Hour)
	for range 501 {
		if _, err := db.CreateAlertLink(ctx, "x"); err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now()
	a, _ := newAPI(t, cfg, Deps{Portal: db, Now: func() time.Time { return later }})
	if n, err := a.deleteLinks(ctx); n != 0 || err != nil {
		t.Errorf("at once: %d, %v", n, err)
	}
	later = later.Add(2 * time.Hour)
	if n, err := a.deleteLinks(ctx); n != 501 || err != nil {
		t.Errorf("two hours later: %d, %v, want 501", n, err)
	}
}
