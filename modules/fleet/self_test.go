package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/portal"
	"falcon/common/testkit"
	"falcon/modules/api"
)

// mandatory are the counters of contract alerting 4.19, as series of this host.
var mandatory = map[string]string{
	"judge": "recv recv.invalid recv.filtered recv.stale series pending.series filter.keys{state=unwatched} filter.age strategy.count strategy.bad strategy.age event.problem event.ok event.spool judge.usec",
	"hbs":   "strategy.version.age rpc.sync.qps rpc.sync.usec host.count disabled.count db.error",
	"alarm": "pop{queue=event:p0} queue.len{queue=event:p0} queue.len{queue=event:p9} lag.sec send.ok{channel=inbox} send.err{channel=inbox} retry{channel=log} " +
		"failed.len finally_failed.len suppressed{reason=disabled} dead db.error unrecovered",
	"plus_judge": "combo.count member.event combo.problem combo.ok stale",
	// And of those that the contract leaves open.
	"agent": "PushRecvCnt SendCnt SendDropCnt SpoolPercent health", "transfer": "RecvCnt RecvInvalidCnt StaleCnt SpoolPercent health", "graph": "TakenCnt RefusedCnt UnstoredCnt ReadOnly disk.free.percent",
	"nodata": "nodata.blocking health", "api": "Requests health", "poly_metric": "drop row health",
}

// selfUp starts a fleet that looks at its counters each second and has a dead man's switch.
func selfUp(t *testing.T) (root *client, at map[string]string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	ears := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(ears.Close)
	dir := t.TempDir()
	path := onAnyPort(t, dir)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(
		`"alarm": {`, `"self": {"interval": "1s"}, "alarm": {"deadman": {"url": "`+ears.URL+`", "interval": "1s", "timeout": "1s"}, `,
	).Replace(string(text))
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	_, at = upWith(t, dir, path)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	return login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password))), at, calls
}

// alarmed returns the metrics of the open problems of a host that a rule of the fleet
// about itself has found.
func (c *client) alarmed(endpoint string) (metrics []string) {
	c.t.Helper()
	var cases []struct {
		Metric string `json:"metric"`
		Status string `json:"status"`
	}
	c.must("POST", "/api/v1/alarm/eventcases", values{"endpoints": []string{endpoint}, "startTime": 1, "endTime": time.Now().Unix() + 3600, "limit": 500}, &cases)
	for _, cs := range cases {
		name, _, _ := strings.Cut(cs.Metric, "/")
		if slices.ContainsFunc(api.SelfRules, func(s portal.Strategy) bool { return s.Metric == name }) {
			metrics = append(metrics, cs.Metric)
		}
	}
	slices.Sort(metrics)
	return metrics
}

// A fleet that has just started pushes the counters of every daemon and feeds its dead
// man's switch by the whole road, and none of its rules about itself has anything to say.
// Then a host is ill in every way that they know, and each of them says so; one that is as
// well as may be stays silent.
func TestTheFleetWatchesItself(t *testing.T) {
	root, at, calls := selfUp(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	for module, names := range mandatory {
		for name := range strings.FieldsSeq(names) {
			metric, part, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
			tags := []string{"module=" + module}
			if part != "" {
				tags = append(tags, part)
			}
			slices.Sort(tags)
			counter := metric + "/" + strings.Join(tags, ",")
			testkit.Eventually(t, 20*time.Second, func() error {
				points, err := root.history(host, counter, started.Unix()-60, time.Now().Unix()+60)
				if err == nil && len(points) == 0 {
					err = fmt.Errorf("%s of %s has no point", counter, host)
				}
				return err
			})
		}
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		if n := calls.Load(); n < 5 {
			return fmt.Errorf("the dead man's switch was fed %d times", n)
		}
		return nil
	})
	for _, m := range root.alarmed(host) {
		if !strings.HasPrefix(m, "disk.free.percent/") { // that is this machine's
			t.Errorf("a healthy fleet alarms: %s", m)
		}
	}

	countersAreDocumented(t, at)

	// Home has an answer of every daemon, and points flow.
	var home struct {
		Road struct {
			In, Stored *float64
			RulesAge   int64 `json:"rules_age"`
			RowsAge    int64 `json:"rows_age"`
		}
		Daemons []struct {
			Name, State string
			Words       []string
			Counted     bool
		}
		Partial []string
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		root.must("GET", "/api/v1/fleet/health", nil, &home)
		if r := home.Road; r.In == nil || *r.In <= 0 || r.Stored == nil || *r.Stored <= 0 {
			return fmt.Errorf("no points flow: %+v", r)
		}
		return nil
	})
	var names []string
	for _, d := range home.Daemons {
		names = append(names, d.Name)
		if d.State != "ok" || !d.Counted {
			t.Errorf("%s is %s, %q", d.Name, d.State, d.Words)
		}
	}
	if want := "agent transfer graph judge plus_judge hbs alarm nodata poly_metric api"; strings.Join(names, " ") != want {
		t.Errorf("daemons %q, want %s", names, want)
	}
	if r := home.Road; r.RulesAge < 0 || r.RulesAge > 60 || r.RowsAge < 0 || r.RowsAge > 120 || len(home.Partial) > 0 {
		t.Errorf("the road is %+v", home)
	}

	now := time.Now().Unix()
	root.must("POST", "/api/v1/hostgroup/host", values{"hostgroup_id": root.group("all"), "hosts": []string{"ill", "well"}}, nil)
	var items []values
	want := []string{}
	for _, s := range api.SelfRules {
		if s.Metric == "deadman.probe" {
			continue
		}
		tags := s.Tags
		if tags == "" {
			tags = "module=graph"
		}
		limit, err := strconv.ParseFloat(s.RightValue, 64)
		if err != nil {
			t.Fatal(err)
		}
		ill := map[string]float64{">": limit + 1, "<": limit - 1, "==": limit}[s.Op]
		well := map[string]float64{">": limit, "<": limit, "==": limit + 1}[s.Op]
		for k := range int64(5) {
			bad, good := ill, well
			if strings.HasPrefix(s.Func, "diff") {
				bad, good = float64(7+k), 7
			}
			items = append(items, item("ill", s.Metric, "GAUGE", tags, now-240+60*k, bad), item("well", s.Metric, "GAUGE", tags, now-240+60*k, good))
		}
		want = append(want, s.Metric+"/"+tags)
	}
	slices.Sort(want)
	// The rules reach judge within seconds of the change: until then points wait for none.
	testkit.Eventually(t, 60*time.Second, func() error {
		push(t, "http://"+at["agent.http.listen"]+"/v1/push?wait=1", items)
		got := []string{}
		for _, m := range root.alarmed("ill") {
			name, tags, _ := strings.Cut(m, " ")
			got = append(got, strings.TrimSuffix(name+"/"+tags, "/"))
		}
		if !slices.Equal(slices.Compact(got), want) {
			return fmt.Errorf("alarms of the ill host:\n%q\nwant\n%q", got, want)
		}
		return nil
	})
	if m := root.alarmed("well"); len(m) > 0 {
		t.Errorf("a host that is well alarms: %q", m)
	}
}

// countersAreDocumented compares the table of docs/operations.md with the daemons and with
// the rules: each counter in it is there, and each rule is about one of them.
func countersAreDocumented(t *testing.T, at map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("## The fleet watches itself\n"))
	table, _, _ := bytes.Cut(text, []byte("\n### "))
	all := []string{"agent", "transfer", "graph", "judge", "plus_judge", "hbs", "alarm", "nodata", "poly_metric", "api", "dashboard"}
	counted := map[string]map[string]bool{"dashboard": {"Errors": true, "health": true}} // it is part of api here
	for _, name := range all[:len(all)-1] {
		addr := at[name+".http.listen"]
		if name == "api" {
			addr = at["api.web_port"]
		}
		var counters struct{ Data []struct{ Name string } }
		resp, err := http.Get("http://" + addr + "/statistics/all")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&counters)
		resp.Body.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		counted[name] = map[string]bool{}
		for _, c := range counters.Data {
			counted[name][c.Name] = true
		}
	}
	counted["alarm"]["deadman.probe"] = true // a sample of its own, and no counter
	documented := map[string]bool{}
	rows := 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		rows++
		names := strings.Split(strings.TrimPrefix(cells[0], "| "), ", ")
		if names[0] == "any" {
			names = all
		}
		for _, name := range names {
			counter := strings.Trim(cells[1], "`")
			if !counted[name][counter] {
				t.Errorf("docs/operations.md has %s of %s, which does not count it", counter, name)
			}
			documented[name+" "+counter] = true
			documented[" "+counter] = true
		}
	}
	if rows < 30 {
		t.Errorf("the table of docs/operations.md has %d rows", rows)
	}
	for _, s := range api.SelfRules {
		module := strings.TrimPrefix(s.Tags, "module=")
		if module == "gateway" {
			module = "transfer" // it is one
		}
		if !documented[module+" "+s.Metric] {
			t.Errorf("docs/operations.md does not say what %s of %q asks for", s.Metric, module)
		}
	}
}
