package polymetric

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/portal"
)

func parse(t *testing.T, text string) (Config, []string, error) {
	t.Helper()
	cfg := DefaultConfig()
	warnings, err := conf.Parse([]byte(text), &cfg)
	return cfg, warnings, err
}

// Stock's file of the aggregator means here what it means there.
func TestStockFile(t *testing.T) {
	b, err := os.ReadFile("../fleet/testdata/stockfiles/poly_metric.json")
	if err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := parse(t, string(b))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	if cfg.Database.Interval.D() != 55*time.Second || cfg.API.ConnectTimeout.D() != 500*time.Millisecond || cfg.API.RequestTimeout.D() != 2*time.Second {
		t.Errorf("the units of %+v %+v are not stock's", cfg.Database, cfg.API)
	}
	if first, last := cfg.ids(); first != 1 || last != -1 || cfg.HTTP.Listen != "0.0.0.0:6055" || cfg.API.PushAPI != "http://127.0.0.1:1988/v1/push" {
		t.Errorf("read as %+v", cfg)
	}
	want := portal.Config{PortalDSN: "root:@tcp(127.0.0.1:3306)/falcon_portal?loc=Local&parseTime=true", MaxIdle: 10, Only: []string{portal.Portal}}
	if got := cfg.Portal(); got.PortalDSN != want.PortalDSN || got.MaxIdle != want.MaxIdle || got.Dir != "" || !slices.Equal(got.Only, want.Only) {
		t.Errorf("the database is %+v, want %+v", got, want)
	}
	if cfg.GroupsFromPortal() || cfg.Redis.Enabled {
		t.Error("stock asks the api for hosts, and has no Redis")
	}
}

// The fork's poly_metric has other work, which is said; its database is taken.
func TestForkFile(t *testing.T) {
	b, err := os.ReadFile("../fleet/testdata/forkfiles/poly_metric.json")
	if err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := parse(t, string(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"log_level", "gaussian_num", "prome", "rpc", "nump_rpc", "kafka", "api.group", "falcon_outlier"} {
		if !slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, `"`+key+`" `) }) {
			t.Errorf("no warning of %s in %q", key, warnings)
		}
	}
	if got := cfg.Portal(); !strings.Contains(got.PortalDSN, "/falcon_portal?charset") || got.Dir != "" || got.MaxConns != 100 {
		t.Errorf("the database is %+v", got)
	}
}

func TestEmptyFile(t *testing.T) {
	cfg, warnings, err := parse(t, "{}")
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	if got := cfg.Portal(); got.PortalDSN != "" || got.Dir != "./data/portal" || !cfg.GroupsFromPortal() {
		t.Errorf("the database of {} is %+v, the groups from there: %v", got, cfg.GroupsFromPortal())
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct{ in, err string }{
		{`{"database":{"ids":[1]}}`, "database.ids: 1 numbers are no range, write the first and the last id, [1, -1] for all"},
		{`{"database":{"ids":[1,2,3]}}`, "database.ids: 3 numbers are no range, write the first and the last id, [1, -1] for all"},
		{`{"database":{"ids":[-2,5]}}`, "database.ids: [-2 5] has a negative id, only -1 is one and leaves that end open"},
		{`{"database":{"ids":[9,5]}}`, "database.ids: the first of [9 5] is after the last, so there is no row between them"},
		{`{"database":{"ids":[-1,5]}}`, ""},
		{`{"database":{"ids":[5,5]}}`, ""},
		{`{"database":{"interval":0}}`, "database.interval: 0s is shorter than a second"},
		{`{"database":{"dir":""}}`, "database.addr: give a DSN (MySQL) or database.dir (SQLite)"},
		{`{"database":{"idle":-1}}`, "database.idle: a number of connections can not be negative, 0 means the default"},
		{`{"api":{"request_timeout":0}}`, `api.connect_timeout, api.request_timeout: must be greater than zero, write 500 or "500ms"`},
		{`{"api":{"plus_api":"127.0.0.1:8080"}}`, `api.plus_api: "127.0.0.1:8080" is none that can be called, write http://host:8080`},
		{`{"api":{"push_api":""}}`, `api.push_api: "" is none that can be called, write http://host:1988/v1/push`},
		{`{"api":{"batch":0}}`, "api.batch: 0 last points a request, use 1 to 20000"},
		{`{"api":{"concurrency":0}}`, "api.concurrency: 0 requests at once, use 1 to 1000"},
		{`{"groups":"hbs"}`, `groups: "hbs" is unknown, use "api" or "portal", or leave it out`},
		{`{"push":{"queue":10}}`, "push.queue: 10 results, use 200 to 10000000"},
		{`{"push":{"max_age":"10ms"}}`, "push.max_age: 10ms is too short for a second try, use 1s or more"},
		{`{"redis":{"enabled":true,"lease":"1s"}}`, "redis.lease: 1s leaves no time to renew it, use 3s or more"},
		{`{"redis":{"enabled":true,"addr":"x"}}`, `redis.addr: "x" is no address, write host:port, password@host:port or unix:/path`},
		{`{"redis":{"enabled":false,"addr":"x","lease":"1s"}}`, ""},
		{`{"databse":{}}`, `unknown key "databse", did you mean "database"?`},
	} {
		got := ""
		if _, _, err := parse(t, tc.in); err != nil {
			got = err.Error()
		}
		if got != tc.err {
			t.Errorf("%s\n got %s\nwant %s", tc.in, got, tc.err)
		}
	}
}
