package fleet

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/testkit"
	"falcon/modules/alarm/sender/sendertest"
	"falcon/modules/api"
)

// people are the far ends at which a test sees who was told what.
type people struct {
	mail *sendertest.MailServer
	hook *sendertest.Sink
}

func newPeople(t testing.TB) *people {
	return &people{sendertest.SMTP(t, "none"), sendertest.HTTP(t)}
}

// connect makes the channels and the mail address of root, and lets the alarms know.
func (p *people) connect(c *client, alarms ...string) {
	c.t.Helper()
	c.must("PUT", "/api/v1/user/update", values{"name": "root", "cnname": "root", "email": "root@example.com"}, nil)
	for name, ch := range map[string]values{
		"mail": {"server": p.mail.Addr, "tls": "none", "from": "falcon@example.com"}, "hook": {"url": p.hook.URL},
	} {
		typ := map[string]string{"mail": "mail", "hook": "webhook"}[name]
		c.must("POST", "/api/v1/alarm/channels", values{"name": name, "type": typ, "config": ch, "enabled": true}, nil)
	}
	for _, alarm := range alarms {
		resp, err := http.Post("http://"+alarm+"/channel/reload", "", nil)
		if err != nil {
			c.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			c.t.Fatalf("alarm %s reads its channels: %s", alarm, resp.Status)
		}
	}
}

// metric is what the tests' rules watch. The shipped rules watch other ones, and a busy
// machine may break those.
const metric = "room.temperature"

// told returns what the mails and the webhook said of an endpoint, in order: the status
// and how often each arrived. What was with its provider at a kill comes again and says
// that it may be a repeat; then it counts once.
func (p *people) told(endpoint string) (mails, hooks []string) {
	add := func(all []string, status, text string) []string {
		if n := len(all); strings.Contains(text, "(possible repeat)") && n > 0 && all[n-1] == status {
			return all
		}
		return append(all, status)
	}
	for _, m := range p.mail.Mails() {
		if strings.Contains(m.Subject, "["+endpoint+"]") && strings.Contains(m.Subject, metric) {
			mails = add(mails, strings.TrimPrefix(m.Subject[strings.Index(m.Subject, "]")+1:], "[")[:2], m.Subject)
		}
	}
	for _, post := range p.hook.Posts("") {
		var e model.Event
		if json.Unmarshal([]byte(post.Body), &e) == nil && e.Endpoint == endpoint && e.Metric() == metric {
			hooks = add(hooks, e.Status[:2], post.Body)
		}
	}
	return mails, hooks
}

// wants waits until both have told the endpoint's story: PR for a problem, OK for its
// end.
func (p *people) wants(t testing.TB, limit time.Duration, endpoint string, story ...string) {
	t.Helper()
	testkit.Eventually(t, limit, func() error {
		mails, hooks := p.told(endpoint)
		if !slices.Equal(mails, story) || !slices.Equal(hooks, story) {
			return fmt.Errorf("of %s mails told %v, the webhook %v; want %v", endpoint, mails, hooks, story)
		}
		return nil
	})
}

// must is call for what has to work.
func (c *client) must(method, path string, body, reply any) {
	c.t.Helper()
	if reply == nil {
		reply = new(any)
	}
	if err := c.call(method, path, body, reply); err != nil {
		c.t.Fatal(err)
	}
}

// rule makes a template with one strategy, whose action tells the team ops, and binds
// it to a group. It returns the strategy's id.
func (c *client) rule(template, group string, strategy values) (tpl, id int) {
	c.t.Helper()
	var made struct{ ID int }
	c.must("POST", "/api/v1/template", values{"name": template, "parent_id": 0}, nil)
	var all struct {
		Templates []struct {
			Template struct {
				ID   int    `json:"id"`
				Name string `json:"tpl_name"`
			} `json:"template"`
		} `json:"templates"`
	}
	c.must("GET", "/api/v1/template?q="+template, nil, &all)
	for _, one := range all.Templates {
		if one.Template.Name == template {
			tpl = one.Template.ID
		}
	}
	c.must("POST", "/api/v1/template/action", values{"uic": "ops", "url": "", "callback": 0, "tpl_id": tpl}, nil)
	full := values{"tpl_id": tpl, "tags": "", "max_step": 3, "priority": 1, "note": "", "run_begin": "", "run_end": ""}
	for k, v := range strategy {
		full[k] = v
	}
	c.must("POST", "/api/v1/strategy", full, &made)
	c.must("POST", "/api/v1/hostgroup/template", values{"tpl_id": tpl, "grp_id": c.group(group)}, nil)
	return tpl, made.ID
}

func (c *client) group(name string) (id int) {
	c.t.Helper()
	var groups []struct {
		ID   int    `json:"id"`
		Name string `json:"grp_name"`
	}
	c.must("GET", "/api/v1/hostgroup", nil, &groups)
	for _, g := range groups {
		if g.Name == name {
			id = g.ID
		}
	}
	return id
}

// eventCase returns the case of an endpoint; nil when there is none.
func (c *client) eventCase(endpoint string) (found map[string]any, err error) {
	var cases []map[string]any
	err = c.call("POST", "/api/v1/alarm/eventcases", values{"endpoints": []string{endpoint}, "metrics": metric}, &cases)
	if err == nil && len(cases) > 0 {
		found = cases[0]
	}
	return found, err
}

func (c *client) wantCase(limit time.Duration, endpoint, status string) {
	c.t.Helper()
	testkit.Eventually(c.t, limit, func() error {
		got, err := c.eventCase(endpoint)
		if err == nil && (got == nil || got["status"] != status) {
			err = fmt.Errorf("the case of %s is %v, want %s", endpoint, got, status)
		}
		return err
	})
}

// A rule that is made is in force at once; who breaks it is told to a person, by mail
// and by a webhook, once, also when everything is killed between the point and the
// message; and so is the end.
func TestFirstAlarm(t *testing.T) {
	needRedis(t)
	who := newPeople(t)
	dir := t.TempDir()
	p, at := up(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	who.connect(root, at["alarm.http.listen"])
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	root.rule("temperature", GroupOfAll, values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})
	send := func(at map[string]string, v float64) {
		t.Helper()
		push(t, "http://"+at["agent.http.listen"]+"/v1/push", []values{{
			"endpoint": host, "metric": metric, "counterType": "GAUGE", "tags": "", "timestamp": time.Now().Unix(), "value": v, "step": 1,
		}})
	}
	began := time.Now()
	testkit.Eventually(t, 15*time.Second, func() error {
		if all := rulesOf(at["judge.http.listen"], host); len(all) != 1 {
			return fmt.Errorf("judge has the rules %+v", all)
		}
		return nil
	})
	t.Logf("the rule is in force after %v", time.Since(began))

	send(at, 20)
	nextStep(1)
	send(at, 40)
	who.wants(t, 15*time.Second, host, "PR")
	root.wantCase(5*time.Second, host, "PROBLEM")
	nextStep(1)
	send(at, 20)
	who.wants(t, 15*time.Second, host, "PR", "OK")
	root.wantCase(5*time.Second, host, "OK")
	var inbox struct {
		Unread int
		Items  []struct{ Status string }
	}
	root.must("GET", "/api/v1/alarm/inbox", nil, &inbox)
	if inbox.Unread < 2 {
		t.Errorf("the bell shows %d unread messages, want 2 or more", inbox.Unread)
	}

	// Killed at any moment between the point and its messages, each is told once.
	story := []string{"PR", "OK"}
	for i, wait := range []time.Duration{0, 30 * time.Millisecond, 150 * time.Millisecond} {
		nextStep(1)
		v, next := 40.0, "PR"
		if i%2 == 1 {
			v, next = 20, "OK"
		}
		story = append(story, next)
		// The agent keeps what it was given in memory only: it must have handed it on.
		pushThrough(t, at, host, v)
		<-time.After(wait) // where the kill falls is the point of the test
		p.Kill()
		p, at = up(t, dir)
		who.wants(t, 20*time.Second, host, story...)
	}
	root.base = "http://" + at["api.web_port"]
	root.wantCase(5*time.Second, host, "PROBLEM")
	p.Stop()
}

// A strategy is disabled for ten minutes while its problem is open: nobody hears of an end,
// and the case stays. When the disable is over, by itself, judging goes on where it was.
func TestDisabledForAWhile(t *testing.T) {
	needRedis(t)
	who := newPeople(t)
	dir := t.TempDir()
	p, at := up(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	who.connect(root, at["alarm.http.listen"])
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	tpl, warm := root.rule("temperature", GroupOfAll, values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})
	const witness = "room.humidity" // a rule that is not disabled: what it tells comes after what is not told
	root.must("POST", "/api/v1/strategy", values{"tpl_id": tpl, "metric": witness, "tags": "", "func": "all(#1)", "op": ">", "right_value": "80", "max_step": 3, "priority": 1,
		"note": "too damp", "run_begin": "", "run_end": ""}, nil)
	inForce := func(want ...string) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			var got []string
			for _, m := range []string{metric, witness} {
				var answer struct {
					Data []model.Strategy `json:"data"`
				}
				resp, err := http.Get("http://" + at["judge.http.listen"] + "/strategy/" + host + "/" + m)
				if err != nil {
					return err
				}
				err = json.NewDecoder(resp.Body).Decode(&answer)
				resp.Body.Close()
				if err == nil && len(answer.Data) == 1 {
					got = append(got, m)
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("judge has the rules of %v, want %v", got, want)
			}
			return nil
		})
	}
	send := func(temperature, humidity float64) {
		t.Helper()
		nextStep(1)
		var items []values
		for m, v := range map[string]float64{metric: temperature, witness: humidity} {
			items = append(items, values{"endpoint": host, "metric": m, "counterType": "GAUGE", "tags": "", "timestamp": time.Now().Unix(), "value": v, "step": 1})
		}
		push(t, "http://"+at["agent.http.listen"]+"/v1/push?wait=1", items)
	}
	witnessed := func(n int) {
		t.Helper()
		testkit.Eventually(t, 15*time.Second, func() error {
			got := 0
			for _, post := range who.hook.Posts("") {
				var e model.Event
				if json.Unmarshal([]byte(post.Body), &e) == nil && e.Endpoint == host && e.Metric() == witness {
					got++
				}
			}
			if got != n {
				return fmt.Errorf("the other rule told %d times, want %d", got, n)
			}
			return nil
		})
	}
	inForce(metric, witness)
	send(20, 50)
	send(40, 50)
	who.wants(t, 15*time.Second, host, "PR")
	root.wantCase(5*time.Second, host, "PROBLEM")

	var preview struct {
		Pairs int `json:"pair_count"`
	}
	root.must("POST", "/api/v1/alarm/disable/preview", values{"type": 3, "strategy_id": warm}, &preview)
	if preview.Pairs != 1 {
		t.Errorf("a preview of %d rules, want 1", preview.Pairs)
	}
	var made struct {
		ID    int64 `json:"id"`
		Begin int64 `json:"begin_ts"`
		End   int64 `json:"end_ts"`
	}
	root.must("POST", "/api/v1/alarm/disable", values{"type": 3, "strategy_id": warm, "duration": "10m", "reason": "the window is open"}, &made)
	if made.End-made.Begin != 600 {
		t.Errorf("disabled %+v", made)
	}
	inForce(witness)
	send(20, 50)
	send(20, 90)
	witnessed(1)
	who.wants(t, time.Second, host, "PR")
	root.wantCase(time.Second, host, "PROBLEM")

	// Its end comes in three seconds; hbs is told that something changed, and nothing when
	// it is over.
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "data", "portal", "falcon_portal.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE alarm_disable SET end_ts = ? WHERE id = ?", time.Now().Unix()+3, made.ID); err != nil {
		t.Fatal(err)
	}
	root.must("POST", "/api/v1/hostgroup", values{"name": "for the change"}, nil)
	inForce(metric, witness)
	testkit.Eventually(t, 20*time.Second, func() error {
		send(20, 90) // transfer may still have it that nobody watches the series
		if mails, hooks := who.told(host); len(mails) < 2 || len(hooks) < 2 {
			return fmt.Errorf("mails told %v, the webhook %v", mails, hooks)
		}
		return nil
	})
	who.wants(t, time.Second, host, "PR", "OK")
	root.wantCase(5*time.Second, host, "OK")
	p.Stop()
}

// pushThrough pushes a point and returns once transfer has it for good.
func pushThrough(t testing.TB, at map[string]string, host string, v float64) {
	t.Helper()
	push(t, "http://"+at["agent.http.listen"]+"/v1/push?wait=1", []values{{
		"endpoint": host, "metric": metric, "counterType": "GAUGE", "tags": "", "timestamp": time.Now().Unix(), "value": v, "step": 1,
	}})
}

// nextStep waits for the next multiple of step seconds: a series has one value for each.
func nextStep(step int64) {
	<-time.After(time.Until(time.Unix((time.Now().Unix()/step+1)*step, 0)))
}

// cluster is a fleet of separate programs on MariaDB and Redis: two hbs, two judges, two
// alarms, and one each of transfer, graph and api.
type cluster struct {
	t      testing.TB
	dir    string
	schema string
	server string
	db     *sql.DB
	addr   map[string]string // by name and port: "hbs-0.rpc"
	proc   map[string]*testkit.Process
	conf   map[string]values
	root   *client
}

// newCluster starts one whose programs are told where Redis is.
func newCluster(t testing.TB, redis values) *cluster {
	c := &cluster{
		t: t, dir: t.TempDir(), schema: fmt.Sprintf("falcon%d_", time.Now().UnixNano()), server: testkit.MySQL(t),
		addr: map[string]string{}, proc: map[string]*testkit.Process{}, conf: map[string]values{},
	}
	var err error
	if c.db, err = sql.Open("mysql", c.server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range []string{"uic", "falcon_portal", "graph", "alarms", "dashboard"} {
			_, _ = c.db.Exec("DROP DATABASE IF EXISTS " + c.schema + name) // what was not made is not there
		}
		c.db.Close()
	})
	for _, name := range []string{"transfer-0", "graph-0", "hbs-0", "hbs-1", "judge-0", "judge-1", "alarm-0", "alarm-1", "api-0"} {
		c.addr[name+".rpc"], c.addr[name+".http"] = testkit.FreeAddr(t), testkit.FreeAddr(t)
	}
	listen := func(addr string) values { return values{"enabled": true, "listen": addr} }
	dsn := func(name string) string { return c.server + c.schema + name + "?loc=Local&parseTime=true" }
	optional := maps.Clone(redis)
	optional["enabled"] = true
	judges := values{"judge-0": c.addr["judge-0.rpc"], "judge-1": c.addr["judge-1.rpc"]}
	graphs := values{"graph-0": c.addr["graph-0.rpc"]}
	c.conf["transfer-0"] = values{
		"rpc": listen(c.addr["transfer-0.rpc"]), "http": listen(c.addr["transfer-0.http"]), "socket": values{"enabled": false}, "minStep": 1, "spool": values{"dir": "spool"},
		"graph": values{"enabled": true, "cluster": graphs}, "judge": values{"enabled": true, "cluster": judges},
	}
	c.conf["graph-0"] = values{"rpc": listen(c.addr["graph-0.rpc"]), "http": listen(c.addr["graph-0.http"]), "data": "graph", "db": values{"dsn": dsn("graph")}}
	for _, n := range []string{"0", "1"} {
		c.conf["hbs-"+n] = values{
			"listen": c.addr["hbs-"+n+".rpc"], "http": listen(c.addr["hbs-"+n+".http"]), "database": dsn("falcon_portal"), "redis": optional,
			"auto_group": "all", "liveness": values{"enabled": false},
		}
		c.conf["judge-"+n] = values{
			"rpc": listen(c.addr["judge-"+n+".rpc"]), "http": listen(c.addr["judge-"+n+".http"]), "data": "judge-" + n,
			"hbs":   values{"servers": []string{c.addr["hbs-0.rpc"], c.addr["hbs-1.rpc"]}},
			"alarm": values{"enabled": true, "minInterval": 300, "redis": redis},
		}
		c.conf["alarm-"+n] = values{
			"http": listen(c.addr["alarm-"+n+".http"]), "redis": redis, "falcon_portal": values{"addr": dsn("alarms")},
			"db": values{"falcon_portal": dsn("falcon_portal"), "uic": dsn("uic")},
		}
	}
	c.conf["api-0"] = values{
		"web_port": c.addr["api-0.http"], "redis": optional, "graphs": values{"cluster": graphs},
		"hbs": values{"addr": "http://" + c.addr["hbs-0.http"]}, "alarm": values{"addr": "http://" + c.addr["alarm-0.http"]},
		"db": values{"falcon_portal": dsn("falcon_portal"), "graph": dsn("graph"), "uic": dsn("uic"), "alarms": dsn("alarms"), "dashboard": dsn("dashboard")},
	}
	for _, name := range []string{"api-0", "graph-0", "hbs-0", "hbs-1", "judge-0", "judge-1", "transfer-0", "alarm-0", "alarm-1"} {
		c.start(name)
	}
	c.healthy("api-0", "graph-0", "hbs-0", "hbs-1", "judge-0", "judge-1", "transfer-0", "alarm-0", "alarm-1")

	cfg := api.DefaultConfig()
	b, err := json.Marshal(c.conf["api-0"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conf.Parse(b, &cfg); err != nil {
		t.Fatal(err)
	}
	db, err := portal.Open(t.Context(), cfg.Portal(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := api.SetPassword(t.Context(), db, cfg.Hasher(), cfg.PasswordHash, "root", "a password"); err != nil {
		t.Fatal(err)
	}
	c.root = login(t, "http://"+c.addr["api-0.http"], "root", "a password")
	var me struct{ ID int }
	c.root.must("GET", "/api/v1/user/current", nil, &me)
	c.root.must("POST", "/api/v1/team", values{"team_name": "ops", "resume": "", "users": []int{me.ID}}, nil)
	return c
}

// start runs a program of the cluster, again after it was killed.
func (c *cluster) start(name string) {
	c.t.Helper()
	b, err := json.Marshal(c.conf[name])
	if err != nil {
		c.t.Fatal(err)
	}
	file := filepath.Join(c.dir, name+".json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		c.t.Fatal(err)
	}
	program, _, _ := strings.Cut(name, "-")
	c.proc[name] = testkit.Start(c.t, c.dir, testkit.Program(c.t, program), "-c", file)
}

func (c *cluster) kill(names ...string) {
	for _, name := range names {
		c.proc[name].Kill()
	}
}

// healthy waits until the programs say so.
func (c *cluster) healthy(names ...string) {
	c.t.Helper()
	for _, name := range names {
		testkit.Eventually(c.t, 30*time.Second, func() error {
			resp, err := http.Get("http://" + c.addr[name+".http"] + "/health")
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", name, err, c.proc[name].Output())
			}
			defer resp.Body.Close()
			if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", name, b)
			}
			return nil
		})
	}
}

// point pushes a value of the hosts' temperatures; times go up by a second at least.
func (c *cluster) point(v float64, hosts ...string) {
	c.t.Helper()
	var items []values
	for _, h := range hosts {
		items = append(items, values{
			"endpoint": h, "metric": metric, "counterType": "GAUGE", "tags": "", "timestamp": time.Now().Unix(), "value": v, "step": 1,
		})
	}
	push(c.t, "http://"+c.addr["transfer-0.http"]+"/api/push", items)
	nextStep(1)
}

// until pushes a value again and again until who was told the story of each host.
func (c *cluster) until(who *people, v float64, hosts []string, story ...string) {
	c.t.Helper()
	testkit.Eventually(c.t, 30*time.Second, func() error {
		c.point(v, hosts...)
		for _, h := range hosts {
			mails, hooks := who.told(h)
			if !slices.Equal(mails, story) || !slices.Equal(hooks, story) {
				return fmt.Errorf("of %s mails told %v, the webhook %v; want %v", h, mails, hooks, story)
			}
		}
		return nil
	})
}

// rulesOf returns the strategies for the temperature that a judge has of a host.
func rulesOf(judge, host string) (all []model.Strategy) {
	resp, err := http.Get("http://" + judge + "/strategy/" + host + "/" + metric)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var answer struct{ Data []model.Strategy }
	_ = json.NewDecoder(resp.Body).Decode(&answer) // nothing is no rule
	return answer.Data
}

// rooms makes a group of hosts whose temperatures both judges look at.
func (c *cluster) rooms() []string {
	c.t.Helper()
	hosts := []string{"room-a", "room-b", "room-c", "room-d"}
	c.root.must("POST", "/api/v1/hostgroup", values{"name": "rooms"}, nil)
	c.root.must("PUT", fmt.Sprintf("/api/v1/hostgroup/%d/hosts", c.root.group("rooms")), values{"mode": "add", "hosts": hosts}, nil)
	return hosts
}

// Two of each daemon, on MariaDB and Redis: the same alarms, once; a change of a rule is
// in force within seconds; whoever dies, and Redis without its memory, costs no alarm
// and repeats none.
func TestTwoOfEach(t *testing.T) {
	t.Parallel()
	who := newPeople(t)
	redis := testkit.Redis(t)
	c := newCluster(t, values{"addr": redis.Addr()})
	who.connect(c.root, c.addr["alarm-0.http"], c.addr["alarm-1.http"])
	hosts := c.rooms()
	tpl, id := c.root.rule("temperature", "rooms", values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})

	inForce := func(what string, right float64) {
		t.Helper()
		began := time.Now()
		testkit.Eventually(t, 15*time.Second, func() error {
			for _, judge := range []string{"judge-0", "judge-1"} {
				if all := rulesOf(c.addr[judge+".http"], hosts[0]); len(all) != 1 || all[0].RightValue != right {
					return fmt.Errorf("%s has %+v, want the limit %v", judge, all, right)
				}
			}
			return nil
		})
		t.Logf("%s is in force at both judges after %v", what, time.Since(began))
	}
	inForce("a new rule", 30)
	story := []string{"PR"}
	tell := func(v float64, names ...string) {
		t.Helper()
		c.until(who, v, names, story...)
	}
	tell(40, hosts...)
	story = append(story, "OK")
	tell(20, hosts...)

	c.root.must("PUT", "/api/v1/strategy", values{
		"id": id, "metric": metric, "tags": "", "max_step": 3, "priority": 1, "func": "all(#1)", "op": ">", "right_value": "50", "note": "too warm",
		"run_begin": "", "run_end": "", "tpl_id": tpl,
	}, nil)
	inForce("a changed rule", 50)
	tell(40, hosts[0]) // it is no problem any more

	t.Log("one of each is killed, and Redis loses its memory while problems are open")
	c.kill("hbs-0", "alarm-0")
	story = append(story, "PR")
	tell(60, hosts...)
	redis.Kill()
	c.point(40, hosts[0]) // an end that Redis can not take
	redis.Start()
	c.start("alarm-0")
	story = append(story, "OK")
	tell(40, hosts...)
	for _, h := range hosts {
		c.root.wantCase(10*time.Second, h, "OK")
	}

	t.Log("no hbs is left: judges go on, also one that is killed")
	c.kill("hbs-1", "judge-0", "judge-1")
	c.start("judge-0")
	c.start("judge-1")
	story = append(story, "PR")
	tell(60, hosts...)

	t.Log("a judge without its book waits for hbs, and its points with it")
	c.kill("judge-0", "judge-1")
	for _, j := range []string{"judge-0", "judge-1"} {
		if err := os.Remove(filepath.Join(c.dir, j, "rules.book")); err != nil {
			t.Fatal(err)
		}
		c.start(j)
	}
	c.point(40, hosts...)
	testkit.Eventually(t, 10*time.Second, func() error {
		resp, err := http.Get("http://" + c.addr["judge-0.http"] + "/health")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			return fmt.Errorf("a judge without rules says %s", resp.Status)
		}
		return nil
	})
	for _, h := range hosts {
		who.wants(t, time.Second, h, story...)
	}
	c.start("hbs-0")
	story = append(story, "OK")
	for _, h := range hosts {
		who.wants(t, 30*time.Second, h, story...)
	}
}

// The same on a Redis Cluster, whose masters die one after the other, so that events are
// lost on their way and others take over; and a slot moves.
func TestTwoOfEachOnRedisCluster(t *testing.T) {
	t.Parallel()
	who := newPeople(t)
	redis := testkit.NewRedisCluster(t, 3, true)
	c := newCluster(t, values{"redis_cluster_nodes": redis.Seeds()[:2]})
	who.connect(c.root, c.addr["alarm-0.http"], c.addr["alarm-1.http"])
	hosts := c.rooms()
	began := time.Now()
	c.root.rule("temperature", "rooms", values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})
	testkit.Eventually(t, 15*time.Second, func() error {
		for _, judge := range []string{"judge-0", "judge-1"} {
			if all := rulesOf(c.addr[judge+".http"], hosts[0]); len(all) != 1 {
				return fmt.Errorf("%s has %+v", judge, all)
			}
		}
		return nil
	})
	t.Logf("a new rule is in force at both judges after %v", time.Since(began))
	story := []string{"PR"}
	c.until(who, 40, hosts, story...)

	for _, next := range []struct {
		value  float64
		status string
	}{{20, "OK"}, {40, "PR"}, {20, "OK"}} {
		victim := redis.Master(redisx.Event(1)) // whoever has the list of these events now
		t.Logf("%s dies, which has the list of the events", victim.Addr)
		victim.Kill()
		story = append(story, next.status)
		c.point(next.value, hosts...) // events that nobody takes
		c.until(who, next.value, hosts, story...)
		victim.Start() // empty; it follows who has taken over
		testkit.Eventually(t, 20*time.Second, func() error {
			info, err := victim.Do("INFO", "replication")
			if err == nil && !strings.Contains(info, "master_link_status:up") {
				err = errors.New(info)
			}
			return err
		})
	}
	for _, h := range hosts {
		c.root.wantCase(10*time.Second, h, "OK")
	}
	c.kill("alarm-0", "judge-0", "hbs-0")
	c.start("judge-0")
	c.until(who, 40, hosts, append(story, "PR")...)
}

// What is wrong is refused or set aside in words, wherever it comes in; all beside it
// works.
func TestWrongRulesAndEvents(t *testing.T) {
	t.Parallel()
	who := newPeople(t)
	redis := testkit.Redis(t)
	c := newCluster(t, values{"addr": redis.Addr()})
	who.connect(c.root, c.addr["alarm-0.http"], c.addr["alarm-1.http"])
	const host = "room-a"
	c.root.must("POST", "/api/v1/hostgroup", values{"name": "rooms"}, nil)
	c.root.must("PUT", fmt.Sprintf("/api/v1/hostgroup/%d/hosts", c.root.group("rooms")), values{"mode": "add", "hosts": []string{host}}, nil)
	tpl, _ := c.root.rule("temperature", "rooms", values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})

	// By the api: the field is named.
	for field, change := range map[string]values{
		"func": {"func": "avgg(#3)"}, "op": {"op": "=>"}, "right_value": {"right_value": "many"}, "tags": {"tags": "mount"}, "priority": {"priority": 12}, "run_begin": {"run_begin": "25:00"},
	} {
		body := values{"tpl_id": tpl, "metric": "m", "tags": "", "max_step": 3, "priority": 1, "func": "all(#1)", "op": ">", "right_value": "1", "note": "", "run_begin": "", "run_end": ""}
		for k, v := range change {
			body[k] = v
		}
		if err := c.root.call("POST", "/api/v1/strategy", body, new(any)); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("a strategy with %v: %v, want an error that names %s", change, err, field)
		}
	}

	// By SQL, past the api: hbs sets the rows aside and says so.
	run := func(query string) {
		t.Helper()
		if _, err := c.db.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	tables := c.schema + "falcon_portal."
	run("INSERT INTO " + tables + fmt.Sprintf("strategy (id, metric, func, op, right_value, tpl_id) VALUES (900, 'room.temperature', 'nonsense', '>', '1', %d)", tpl))
	run("INSERT INTO " + tables + fmt.Sprintf("strategy (id, metric, func, op, right_value, tpl_id) VALUES (901, 'room.temperature', 'all(#1)', '>', 'warm', %d)", tpl))
	run("INSERT INTO " + tables + "tpl (id, tpl_name, parent_id, action_id, create_user) VALUES (900, 'one', 901, 1, 'root'), (901, 'two', 900, 1, 'root')")
	run(fmt.Sprintf("INSERT INTO "+tables+"grp_tpl (grp_id, tpl_id, bind_user) VALUES (%d, 900, 'root')", c.root.group("rooms")))
	for _, words := range []string{"INCR rules:dirty", "PUBLISH rules:dirty 1"} {
		if _, err := command(redis.Socket, words); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, 15*time.Second, func() error {
		resp, err := http.Get("http://" + c.addr["hbs-0.http"] + "/bad")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		for _, want := range []string{"901", "one of its own"} {
			if !strings.Contains(string(b), want) {
				return fmt.Errorf("hbs lists as bad %s, want %s in it", b, want)
			}
		}
		return nil
	})

	// In Redis: what is no event, and one that is too large.
	giant := `{"id":"s_1_x","note":"` + strings.Repeat("x", 300_000) + `"}`
	conn, err := net.Dial("unix", redis.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, element := range []string{"no json", `{"id":"s_1_x"}`, `null`, giant} {
		fmt.Fprintf(conn, "*3\r\n$5\r\nLPUSH\r\n$8\r\nevent:p1\r\n$%d\r\n%s\r\n", len(element), element)
	}
	testkit.Eventually(t, 15*time.Second, func() error {
		got, err := command(redis.Socket, "LLEN alarm:dead")
		if err == nil && got != ":4" {
			err = fmt.Errorf("%s elements are set aside, want 4", got)
		}
		return err
	})

	c.until(who, 40, []string{host}, "PR")
	c.until(who, 20, []string{host}, "PR", "OK")
	c.healthy("hbs-0", "hbs-1", "judge-0", "judge-1", "alarm-0", "alarm-1", "api-0")
}
