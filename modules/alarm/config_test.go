package alarm

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"falcon/common/conf"
	"falcon/common/portal"
)

// The file of stock loads as it is, and says what is no longer needed.
func TestStockFileLoads(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load("testdata/stock/cfg.json", &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 3 || !strings.Contains(warnings[0], "redis.user") {
		t.Errorf("warnings %q", warnings)
	}
	if !cfg.Common().Debug || cfg.people() != fromAPI || cfg.housekeeper() != (Housekeeper{7, 100}) || cfg.API.SMS == "" || cfg.Alarms.Max != 100 {
		t.Errorf("%+v", cfg)
	}
	if p := cfg.Portal(); p.Dir != "" || fmt.Sprint(p.Only) != "[alarms]" || p.AlarmsDSN == "" {
		t.Errorf("%+v", p)
	}
	lists, unnamed, priorities := cfg.queues()
	if fmt.Sprint(lists) != "[event:p9 event:p0 event:p1 event:p2 event:p3 event:p4 event:p5 event:p6 event:p7 event:p8]" ||
		fmt.Sprint(unnamed) != "[event:p7 event:p8 event:p9]" || fmt.Sprint(priorities) != "[9 0 1 2 3 4 5 6 7 8]" {
		t.Errorf("%q %q %v", lists, unnamed, priorities)
	}
}

// The shipped file says the defaults, and an empty one works on one box.
func TestShippedFileIsTheDefaults(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load(filepath.Join("..", "..", "config", "alarm.json"), &cfg)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	if want := DefaultConfig(); !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	if p := cfg.Portal(); p.Dir != "./data/portal" || fmt.Sprint(p.Only) != fmt.Sprint([]string{portal.Alarms, portal.Portal, portal.UIC}) {
		t.Errorf("%+v", p)
	}
	raw, err := json.Marshal(cfg)
	if err != nil || strings.Contains(string(raw), "Housekeeper\"") {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct{ name, in, err string }{
		{"log level", `{"log_level":"loud"}`, `log_level: "loud" is unknown, use "debug", "info" or "warn"`},
		{"a list twice", `{"redis":{"highQueues":["event:p1"],"lowQueues":["event:p1"]}}`, `redis.highQueues, redis.lowQueues: the list "event:p1" is there twice`},
		{"no gateway", `{"api":{"sms":"10.0.0.1"}}`, `api.sms: "10.0.0.1" is none that can be called`},
		{"half of the portal", `{"falcon_portal":{"addr":"u@tcp(h)/alarms"},"db":{"falcon_portal":"u@tcp(h)/p"}}`, "give the DSNs of all three, or of none"},
		{"people nowhere", `{"falcon_portal":{"addr":"u@tcp(h)/alarms"},"api":{"plus_api":""}}`, "api.plus_api: people come from there"},
		{"people twice", `{"people":"api","db":{"uic":"u@tcp(h)/uic"}}`, "db.falcon_portal, db.uic: people come from the api"},
		{"unknown people", `{"people":"ldap"}`, `people: "ldap" is unknown`},
		{"worker", `{"worker":{"im":-1}}`, "worker: use numbers up to 1000"},
		{"for ever", `{"Housekeeper":{"event_retention_days":-1}}`, "housekeeper, retention: numbers of days"},
		{"timezone", `{"timezone":"Mars"}`, `timezone: "Mars" is unknown here`},
		{"misspelt", `{"redis":{"hihgQueues":[]}}`, `unknown key "redis.hihgQueues", did you mean "highQueues"?`},
		{"redis", `{"redis":{"addr":"x"}}`, `redis.addr: "x" is no address`},
	} {
		cfg := DefaultConfig()
		if _, err := conf.Parse([]byte(tc.in), &cfg); err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: Parse(%s)\n got %v\nwant %s", tc.name, tc.in, err, tc.err)
		}
	}
}
