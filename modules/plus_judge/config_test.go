package plusjudge

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"falcon/common/conf"
)

// The file that is shipped says the defaults.
func TestConfigFile(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load(filepath.Join("..", "..", "config", "plus_judge.json"), &cfg)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	cfg.Alarm.Redis.DSN = "" // stock's name of addr
	if !reflect.DeepEqual(cfg, DefaultConfig()) {
		t.Errorf("the file says\n%+v, the defaults are\n%+v", cfg, DefaultConfig())
	}
}

// The file of a fork's judge with is_union loads as it is; what has no use warns.
func TestForkConfig(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load(filepath.Join("testdata", "fork.json"), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if all := strings.Join(warnings, "\n"); !strings.Contains(all, "union_judge_s") || !strings.Contains(all, "is_union") {
		t.Errorf("warnings %q", warnings)
	}
	if cfg.RPC.Listen != "0.0.0.0:6080" || cfg.Dir() != "var" {
		t.Errorf("%+v", cfg)
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`{"rpc":{"enabled":false}}`, "rpc.enabled"},
		{`{"log_level":"loud"}`, "log_level"},
		{`{"hbs":{"timeout":0}}`, "hbs.timeout"},
		{`{"recover_mode":"some"}`, `"any"`},
		{`{"ttl":60}`, "use 120 to 3600"},
		{`{"alarm":{"minInterval":-1}}`, "minInterval"},
		{`{"alarm":{"queuePattern":"event"}}`, "queuePattern"},
		{`{"alarm":{"redis":{"dsn":"here"}}}`, "alarm.redis"},
		{`{"data":""}`, "data"},
	} {
		cfg := DefaultConfig()
		_, err := conf.Parse([]byte(tc.in), &cfg)
		if err == nil {
			err = cfg.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.in, err, tc.want)
		}
	}
}
