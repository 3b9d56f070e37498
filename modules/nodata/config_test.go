package nodata

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/redisx"
)

// The file of stock loads as it is.
func TestStockFileLoads(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load("testdata/stock/cfg.json", &cfg)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	p := cfg.Portal()
	if !cfg.Debug || !cfg.HTTP.Enabled || cfg.HTTP.Listen != "0.0.0.0:6090" || cfg.PlusAPI.ConnectTimeout.D() != 500*time.Millisecond || cfg.PlusAPI.RequestTimeout.D() != 2*time.Second ||
		cfg.PlusAPI.Addr != "http://127.0.0.1:8080" || cfg.PlusAPI.Token == "" || p.Dir != "" || p.PortalDSN == "" || p.MaxIdle != 4 || fmt.Sprint(p.Only) != "[falcon_portal]" ||
		cfg.batch() != 200 || cfg.concurrent() != 10 || cfg.Sender.ConnectTimeout.D() != 500*time.Millisecond || cfg.sendBatch() != 500 || fmt.Sprint(cfg.transfers()) != "[http://127.0.0.1:6060]" ||
		cfg.Sender.Block.Enabled || cfg.Sender.Block.Threshold != 32 || cfg.threshold() != -1 || cfg.Redis.Enabled {
		t.Errorf("%+v", cfg)
	}
	raw, err := json.Marshal(cfg)
	if err != nil || strings.Contains(string(raw), "a token of this fleet") || strings.Contains(string(raw), "secret") {
		t.Errorf("/config shows a secret: %s, %v", raw, err)
	}
}

// The shipped file says the defaults, and an empty one works on one box.
func TestShippedFileIsTheDefaults(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load(filepath.Join("..", "..", "config", "nodata.json"), &cfg)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	if want := DefaultConfig(); !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	if p := cfg.Portal(); p.Dir != "./data/portal" || p.PortalDSN != "" {
		t.Errorf("%+v", p)
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct{ name, in, err string }{
		{"empty", `{}`, ""},
		{"api", `{"plus_api":{"addr":"127.0.0.1:8080"}}`, `plus_api.addr: "127.0.0.1:8080" is no address, write http://host:8080`},
		{"no time for api", `{"plus_api":{"requestTimeout":0}}`, "plus_api: connectTimeout and requestTimeout must be above 0"},
		{"no database", `{"config":{"dir":""}}`, "config.dsn: give a DSN (MySQL) or config.dir (SQLite)"},
		{"idle", `{"config":{"maxIdle":-1}}`, "config.maxIdle: -1 is negative, 0 means the default"},
		{"transfer", `{"sender":{"transferAddr":"a:1,b"}}`, `sender.transferAddr: "b" is no address, write host:6060, or several with commas`},
		{"several transfers, one with TLS", `{"sender":{"transferAddr":"a:1, https://b:2/"}}`, ""},
		{"no time for transfer", `{"sender":{"connectTimeout":0}}`, "sender: connectTimeout and requestTimeout must be above 0"},
		{"no queue", `{"sender":{"queue":0}}`, "sender: queue must be above 0, and batch not below; 0 is the default batch"},
		{"threshold", `{"sender":{"block":{"threshold":101}}}`, "sender.block.threshold: 101 is no percentage"},
		{"grace", `{"grace":-1}`, "grace: -1 is negative; it is a number of steps"},
		{"redis", `{"redis":{"enabled":true,"addr":"x"}}`, `redis.addr: "x" is no address, write host:port, password@host:port or unix:/path`},
		{"redis that nobody uses", `{"redis":{"addr":"x"}}`, ""},
		{"misspelt", `{"sender":{"transferaddr":"a:1"}}`, `unknown key "sender.transferaddr", did you mean "transferAddr"?`},
	} {
		cfg := DefaultConfig()
		_, err := conf.Parse([]byte(tc.in), &cfg)
		if got := fmt.Sprint(err); err == nil && tc.err != "" || err != nil && got != tc.err {
			t.Errorf("%s: Parse(%s)\n got %v\nwant %s", tc.name, tc.in, got, tc.err)
		}
	}
	cfg := DefaultConfig()
	if warnings, err := conf.Parse([]byte(`{"query":{"queryAddr":"127.0.0.1:9966"}}`), &cfg); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "plus_api.addr") {
		t.Errorf("a key of an older stock: %q, %v", warnings, err)
	}
}

// Numbers outside of stock's bounds are its defaults.
func TestStocksBounds(t *testing.T) {
	for _, tc := range [][4]int{{99, 0, 200, 10}, {100, 1, 100, 1}, {1000, 50, 1000, 50}, {1001, 51, 200, 10}} {
		c := Config{Collector: Collector{Batch: tc[0], Concurrent: tc[1]}}
		if c.batch() != tc[2] || c.concurrent() != tc[3] {
			t.Errorf("batch %d, concurrent %d: %d and %d, want %d and %d", tc[0], tc[1], c.batch(), c.concurrent(), tc[2], tc[3])
		}
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	with := DefaultConfig()
	with.Redis.Enabled = true
	bad := DefaultConfig()
	bad.Grace = -1
	for _, tc := range []struct {
		cfg  Config
		deps Deps
		err  string
	}{
		{DefaultConfig(), Deps{}, "nodata: Deps.Log is required"},
		{DefaultConfig(), Deps{Log: quietLog}, "nodata: Deps.Rows is required"},
		{with, Deps{Log: quietLog, Rows: &table{}}, "nodata: Deps.Redis is required while redis.enabled is on"},
		{bad, Deps{Log: quietLog, Rows: &table{}}, "nodata: grace: -1 is negative; it is a number of steps"},
		{with, Deps{Log: quietLog, Rows: &table{}, Redis: &redisx.Pool{}}, "<nil>"},
	} {
		if _, err := New(tc.cfg, tc.deps); fmt.Sprint(err) != tc.err {
			t.Errorf("New: %v, want %s", err, tc.err)
		}
	}
}
