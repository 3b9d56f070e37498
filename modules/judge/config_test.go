package judge

import (
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"falcon/common/conf"
)

var nan = math.NaN()

// The file that is shipped says the defaults.
func TestConfigFile(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load(filepath.Join("..", "..", "config", "judge.json"), &cfg)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	cfg.Alarm.Redis.DSN = "" // stock's name of addr
	if !reflect.DeepEqual(cfg, DefaultConfig()) {
		t.Errorf("the file says\n%+v, the defaults are\n%+v", cfg, DefaultConfig())
	}
}

// Stock's file, and that of the fork, load as they are; what has no use warns.
func TestStockConfig(t *testing.T) {
	cfg := DefaultConfig()
	warnings, err := conf.Load(filepath.Join("testdata", "stock.json"), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "debugHost") {
		t.Errorf("warnings %q, want one on debugHost", warnings)
	}
	if cfg.Remain != 11 || cfg.Alarm.Redis.DSN != "127.0.0.1:6379" || cfg.HBS.Interval != 60 {
		t.Errorf("config %+v", cfg)
	}
	cfg = DefaultConfig()
	warnings, err = conf.Load(filepath.Join("testdata", "fork.json"), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(warnings, "\n"); len(warnings) != 3 || strings.Contains(all, "union") || !strings.Contains(all, "filter") {
		t.Errorf("warnings %q", warnings)
	}
	if !cfg.Union.Enabled || cfg.Union.Cluster["plus-00"] != "127.0.0.1:6082" {
		t.Errorf("union_judge_s %+v", cfg.Union)
	}
	if cfg.Dir() != "var" {
		t.Errorf("stateFile gives the folder %q, want var", cfg.Dir())
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`{"rpc":{"enabled":false}}`, "rpc.enabled"},
		{`{"remain":0}`, "remain"},
		{`{"remain":500}`, "use 1 to 120"},
		{`{"hbs":{"servers":[]}}`, "name at least one server"},
		{`{"alarm":{"minInterval":-1}}`, "minInterval"},
		{`{"alarm":{"queuePattern":"event"}}`, "write event:p%v"},
		{`{"alarm":{"queuePattern":"event:%s"}}`, "write event:p%v"},
		{`{"alarm":{"redis":{"redis_cluster_nodes":["a"]}}}`, `alarm.redis: redis_cluster_nodes: "a" is no address`},
		{`{"log_level":"loud"}`, `log_level: "loud" is unknown`},
		{`{"data":""}`, "name the folder"},
		{`{"journal":{"every":"10ms"}}`, "journal.every"},
		{`{"journal":{"size":1}}`, "journal.size"},
		{`{"union_judge_s":{"cluster":{}}}`, "name a plus_judge"},
		{`{"union_judge_s":{"cluster":{"a":"b"}}}`, "write one host:port"},
		{`{"union_judge_s":{"cluster":{"a":"b:1,c:1"}}}`, "write one host:port"},
		{`{"union_judge_s":{"ringHash":"md5"}}`, "ringHash"},
		{`{"union_judge_s":{"maxConns":0}}`, "maxConns"},
		{`{"alarm":{"minInterva":1}}`, `did you mean "minInterval"`},
	} {
		cfg := DefaultConfig()
		if _, err := conf.Parse([]byte(tc.in), &cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\n got %v\nwant %s", tc.in, err, tc.want)
		}
	}
}
