package fleet

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"falcon/common/conf"
	"falcon/modules/agent"
	"falcon/modules/alarm"
	"falcon/modules/api"
	"falcon/modules/graph"
	"falcon/modules/hbs"
	"falcon/modules/judge"
	"falcon/modules/nodata"
	plusjudge "falcon/modules/plus_judge"
	polymetric "falcon/modules/poly_metric"
	"falcon/modules/transfer"
)

// Every file in config/ loads, without a warning, and says what the defaults are.
func TestShippedFiles(t *testing.T) {
	ignoreNothing := func(c *agent.Config) { c.Ignore = map[string]bool{} }
	a, tr, g, p, f := agent.DefaultConfig(), transfer.DefaultConfig(), graph.DefaultConfig(), api.DefaultConfig(), DefaultConfig()
	ignoreNothing(&a)
	a.NICTypeTag = true
	a.Spool.Dir = "./data/spool/agent"
	a.HostnameFile = "/etc/sysconfig/network"
	a.SelfUpgrade = true
	a.Level, tr.MinStep = map[string]int{"level_1": 10, "level_2": 30, "level_3": 60}, 10
	h, j := hbs.DefaultConfig(), judge.DefaultConfig()
	j.Alarm.Redis.DSN, j.Alarm.Redis.Addr = j.Alarm.Redis.Addr, "127.0.0.1:6379" // the file has stock's name of it
	l, n, gw := alarm.DefaultConfig(), nodata.DefaultConfig(), transfer.GatewayConfig()
	pm := polymetric.DefaultConfig()
	pj := plusjudge.DefaultConfig()
	pj.Alarm.Redis.DSN, pj.Alarm.Redis.Addr = pj.Alarm.Redis.Addr, "127.0.0.1:6379"
	want := map[string]any{"hbs.json": &h, "alarm.json": &l, "nodata.json": &n, "judge.json": &j, "agent.json": &a, "transfer.json": &tr, "gateway.json": &gw, "graph.json": &g, "api.json": &p, "fleet.json": &f, "poly_metric.json": &pm, "plus_judge.json": &pj}
	files, err := filepath.Glob("../../config/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		defaults, ok := want[name]
		if !ok {
			if name == "dashboard.json" { // its module has the test
				continue
			}
			t.Errorf("%s is loaded by no test", file)
			continue
		}
		delete(want, name)
		got := reflect.New(reflect.TypeOf(defaults).Elem())
		got.Elem().Set(reflect.ValueOf(defaults).Elem())
		warnings, err := conf.Load(file, got.Interface().(conf.Config))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %v", name, err, warnings)
			continue
		}
		// Keys that are said to be defaults are.
		x, y := printed(t, got.Interface()), printed(t, defaults)
		if x != y {
			t.Errorf("%s differs from the defaults:\n%s", name, firstDifference(x, y))
		}
	}
	for name := range want {
		t.Errorf("config/%s is missing", name)
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return "file     " + x[i] + "\ndefaults " + y[i]
		}
	}
	return "one of them is longer"
}

func TestValidateNamesTheSection(t *testing.T) {
	for _, tc := range []struct{ in, err string }{
		{`{"transfer":{"ts_policy":"fancy"}}`, `transfer.ts_policy: "fancy" is unknown, use default, stock or fork`},
		{`{"graph":{"retention":"1m"}}`, `graph.retention: 1m0s is shorter than one window, use at least 1h`},
		{`{"grph":{}}`, `unknown key "grph", did you mean "graph"?`},
		{`{"agent":{"transfr":{}}}`, `unknown key "agent.transfr", did you mean "transfer"?`},
		{`{"listen":"everywhere"}`, `listen: "everywhere" is no address, write 127.0.0.1 for this machine alone or 0.0.0.0 for all`},
		{`{"mysql":"root@tcp(h:3306)"}`, `mysql: write the address up to the slash before the database's name: user:password@tcp(host:3306)/`},
	} {
		cfg := DefaultConfig()
		_, err := conf.Parse([]byte(tc.in), &cfg)
		if err == nil || err.Error() != tc.err {
			t.Errorf("%s\n got %v\nwant %s", tc.in, err, tc.err)
		}
	}
}

// What follows from the rest is filled in, and what is written stays.
func TestWired(t *testing.T) {
	cfg := DefaultConfig()
	if _, err := conf.Parse([]byte(`{
		"data": "/srv/falcon", "listen": "0.0.0.0", "mysql": "u:p@tcp(db:3306)/", "redis": "secret@redis:6379",
		"transfer": {"rpc": {"enabled": true, "listen": "10.0.0.1:8433"}, "spool": {"dir": "/fast/spool"}}
	}`), &cfg); err != nil {
		t.Fatal(err)
	}
	w := cfg.Wired()
	for _, tc := range []struct{ name, got, want string }{
		{"a port alone listens on listen", w.API.Listen, "0.0.0.0:8080"},
		{"an address stays", w.Transfer.RPC.Listen, "10.0.0.1:8433"},
		{"the agent's transfer", strings.Join(w.Agent.Transfer.Addrs, ","), "10.0.0.1:8433"},
		{"the transfer's graph, reached over the loopback", w.Transfer.Graph.Cluster["graph-00"], "127.0.0.1:6070"},
		{"a folder that is written", w.Transfer.Spool.Dir, "/fast/spool"},
		{"a folder that is not", w.Graph.Data, "/srv/falcon/graph"},
		{"transfer's judge", w.Transfer.Judge.Cluster["judge-00"], "127.0.0.1:6080"},
		{"that of texts, when it is another", w.Transfer.StringJudge.Cluster["judge-00"], "127.0.0.1:6080"},
		{"judge's hbs", strings.Join(w.Judge.HBS.Servers, ","), "127.0.0.1:6030"},
		{"judge's folder", w.Judge.Data, "/srv/falcon/judge"},
		{"judge's Redis", w.Judge.Alarm.Redis.Addr.Reveal(), "secret@redis:6379"},
		{"alarm's Redis", w.Alarm.Redis.Addr.Reveal(), "secret@redis:6379"},
		{"api's Redis", w.API.Redis.Addr.Reveal(), "secret@redis:6379"},
		{"where the links in mails lead", w.Alarm.API.Dashboard, "http://127.0.0.1:8080"},
		{"whom api asks for the rules of a host", w.API.HBS.Addr, "http://127.0.0.1:6031"},
		{"whom api asks to try a channel", w.API.Alarm.Addr, "http://127.0.0.1:9912"},
		{"nodata's transfer", w.Nodata.Sender.TransferAddr, "127.0.0.1:6060"},
		{"nodata's rows", w.Nodata.Rows.DSN.Reveal(), "u:p@tcp(db:3306)/falcon_portal?loc=Local&parseTime=true"},
		{"who joins conditions", w.Judge.Union.Cluster["plus-00"], "127.0.0.1:6082"},
		{"who acknowledges alarms of several conditions", strings.Join(w.Transfer.Ack.PlusJudges, ","), "127.0.0.1:6082"},
		{"who shows an acknowledgement", strings.Join(w.Transfer.Ack.Alarms, ","), "http://127.0.0.1:9912"},
		{"through whom judges hear of each other", strings.Join(w.Alarm.Adopt.Transfers, ","), "10.0.0.1:8433"},
		{"no links without a secret", w.Alarm.Ack.Base, ""},
		{"plus_judge's journal", w.PlusJudge.Data, filepath.Join(w.Data, "plus_judge")},
		{"whom plus_judge asks", w.PlusJudge.HBS.Servers[0], "127.0.0.1:6030"},
		{"whom poly_metric asks", w.PolyMetric.API.PlusAPI, "http://127.0.0.1:8080"},
		{"where its results go", w.PolyMetric.API.PushAPI, "http://127.0.0.1:6060/api/push"},
		{"its database", w.PolyMetric.Database.Addr.Reveal(), "u:p@tcp(db:3306)/falcon_portal?loc=Local&parseTime=true"},
		{"the database alarms", w.API.DB.Alarms.Reveal(), "u:p@tcp(db:3306)/alarms?loc=Local&parseTime=true"},
		{"alarm's", w.Alarm.Alarms.Addr.Reveal(), "u:p@tcp(db:3306)/alarms?loc=Local&parseTime=true"},
		{"the database uic", w.API.DB.UIC.Reveal(), "u:p@tcp(db:3306)/uic?loc=Local&parseTime=true"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func printed(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	// An empty list or object says the same as none.
	return strings.NewReplacer("[]", "null", "{}", "null").Replace(string(b))
}
