package hbs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/testkit"
	"falcon/modules/hbs/wave"
)

// upgrader is an hbs of several that share a Redis.
type upgrader struct {
	*HBS
	t   *testing.T
	rpc *rpc.Client
	url string
}

// sharing starts n hbs on one Redis.
func sharing(t *testing.T, n int, redis *testkit.RedisServer, set func(*Config)) []*upgrader {
	t.Helper()
	var all []*upgrader
	for range n {
		cfg := DefaultConfig()
		cfg.Self.Enabled = false // the agent of this machine is not asked
		cfg.Redis.Addr = conf.DSN(redis.Addr())
		cfg.Liveness.Enabled = false
		if set != nil {
			set(&cfg)
		}
		pool, err := redisx.New(cfg.RedisConfig())
		if err != nil {
			t.Fatal(err)
		}
		var lns [2]net.Listener
		for i := range lns {
			if lns[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
		}
		h, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Portal: fleet(1), Redis: pool, RPC: lns[0], HTTP: lns[1]})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		u := &upgrader{HBS: h, t: t, url: "http://" + lns[1].Addr().String(), rpc: rpc.NewClient(rpc.ClientOptions{Addr: lns[0].Addr().String(), Codec: rpc.JSON})}
		t.Cleanup(func() {
			u.rpc.Close()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			_ = pool.Close()
		})
		all = append(all, u)
	}
	return all
}

// beat sends a heartbeat and returns what is ordered.
func (u *upgrader) beat(r model.AgentReportRequest) *model.AgentUpgradeArgs {
	u.t.Helper()
	var reply model.AgentUpgradeRpcResponse
	if err := u.rpc.Call(u.t.Context(), "Agent.ReportStatus", &r, &reply); err != nil || reply.Code != 0 {
		u.t.Fatalf("%s: %+v, %v", r.Hostname, reply, err)
	}
	return reply.Args
}

func (u *upgrader) status() (st UpgradeStatus) {
	u.t.Helper()
	answer := struct{ Data *UpgradeStatus }{&st}
	resp, err := http.Get(u.url + "/agent/upgrade/status")
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		u.t.Fatal(err)
	}
	return st
}

// post sends an operator's request and returns the answer.
func (u *upgrader) post(method, path, body string) (int, string) {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), method, u.url+path, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// known waits until every hbs knows of an order.
func known(t *testing.T, all []*upgrader, version string) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, func() error {
		for _, u := range all {
			if s := u.upgrades.current.Load(); s == nil && version != "" || s != nil && s.Args.Version != version {
				return fmt.Errorf("an hbs knows %+v, want %q", s, version)
			}
		}
		return nil
	})
}

const testOrder = `{"wgeturl":"http://127.0.0.1/file/open-falcon","version":"6.0.1","binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e"%s}`

// What operators type at the fork's hbs, as they type it but for the port, and what they
// read, byte by byte.
func TestUpgradeByCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	u := sharing(t, 1, testkit.Redis(t), nil)[0]
	u.beat(model.AgentReportRequest{Hostname: "n3-021-225", IP: "10.3.21.225", AgentVersion: "6.0.1"})
	for _, tc := range []struct{ line, want string }{
		{`curl http://127.0.0.1:6031/agent/upgrade/nowargs`,
			`{"msg":"success","data":{"type":0,"wgeturl":"","version":"","binfile_md5":"","cfgfile_md5":""}}`},
		{`curl -X POST http://127.0.0.1:6031/agent/upgrade -d '{"wgeturl":"http://127.0.0.1/file/open-falcon","version":"6.0.1","binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e"}'`,
			`{"msg":"success","data":{"type":0,"wgeturl":"http://127.0.0.1/file/open-falcon","version":"6.0.1","binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e","cfgfile_md5":""}}`},
		{`curl http://127.0.0.1:6031/agent/upgrade/nowargs`,
			`{"msg":"success","data":{"type":0,"wgeturl":"http://127.0.0.1/file/open-falcon","version":"6.0.1","binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e","cfgfile_md5":""}}`},
		{`curl http://127.0.0.1:6031/agentversions`,
			`{"msg":"success","data":{"n3-021-225":"6.0.1"}}`},
		{`curl -X DELETE http://127.0.0.1:6031/agent/upgrade`,
			`{"msg":"success","data":"取消升级成功"}`},
		{`curl http://127.0.0.1:6031/agent/upgrade/nowargs`,
			`{"msg":"success","data":{"type":0,"wgeturl":"","version":"","binfile_md5":"","cfgfile_md5":""}}`},
		{`curl -X POST http://127.0.0.1:6031/agent/upgrade -d '{"type":2,"wgeturl":"http://h/f","version":"7.1","binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e","cfgfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9f","waves":[5,100]}'`,
			`{"msg":"success","data":{"type":2,"wgeturl":"http://h/f","version":"7.1","binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e","cfgfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9f","waves":[5,100]}}`},
	} {
		line := strings.Replace(tc.line, "http://127.0.0.1:6031", u.url, 1)
		line = strings.Replace(line, "curl", curl+" -s", 1)
		out, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
		if err != nil || string(out) != tc.want {
			t.Errorf("%s\n got %s, %v\nwant %s", tc.line, out, err, tc.want)
		}
	}
}

// Who may order.
func TestUpgradeIsForOperators(t *testing.T) {
	const token = "0123456789abcdef"
	good := fmt.Sprintf(testOrder, "")
	for _, tc := range []struct {
		name         string
		remote       bool
		method, path string
		peer, host   string
		header       [2]string
		code         int
	}{
		{"here", false, "POST", "/agent/upgrade", "127.0.0.1:5", "127.0.0.1:6031", [2]string{}, 200},
		{"here, by name", false, "POST", "/agent/upgrade", "[::1]:5", "localhost:6031", [2]string{}, 200},
		{"another host", false, "POST", "/agent/upgrade", "10.0.0.9:5", "10.0.0.1:6031", [2]string{}, 403},
		{"another host cancels", false, "DELETE", "/agent/upgrade", "10.0.0.9:5", "10.0.0.1:6031", [2]string{}, 403},
		{"another host stops", false, "POST", "/agent/upgrade/stop", "10.0.0.9:5", "10.0.0.1:6031", [2]string{}, 403},
		{"another host lets it go on", false, "POST", "/agent/upgrade/go", "10.0.0.9:5", "10.0.0.1:6031", [2]string{}, 403},
		{"another host that says it is here", false, "POST", "/agent/upgrade", "10.0.0.9:5", "127.0.0.1:6031", [2]string{}, 403},
		{"a page in a browser here", false, "POST", "/agent/upgrade", "127.0.0.1:5", "127.0.0.1:6031", [2]string{"Origin", "http://evil.example"}, 403},
		{"a page that cancels", false, "DELETE", "/agent/upgrade", "127.0.0.1:5", "127.0.0.1:6031", [2]string{"Origin", "null"}, 403},
		{"a name that leads here", false, "POST", "/agent/upgrade", "127.0.0.1:5", "evil.example:6031", [2]string{}, 403},
		{"by a proxy here", false, "POST", "/agent/upgrade", "127.0.0.1:5", "127.0.0.1:6031", [2]string{"X-Forwarded-For", "10.0.0.9"}, 403},
		{"a token that nobody asked for", false, "POST", "/agent/upgrade", "10.0.0.9:5", "10.0.0.1:6031", [2]string{"Apitoken", `{"name":"api","sig":"` + token + `"}`}, 403},
		{"the token", true, "POST", "/agent/upgrade", "10.0.0.9:5", "10.0.0.1:6031", [2]string{"Apitoken", `{"name":"api","sig":"` + token + `"}`}, 200},
		{"another token", true, "POST", "/agent/upgrade", "10.0.0.9:5", "10.0.0.1:6031", [2]string{"Apitoken", `{"name":"api","sig":"` + token + `x"}`}, 403},
		{"everybody reads", false, "GET", "/agent/upgrade/nowargs", "10.0.0.9:5", "hbs:6031", [2]string{"Origin", "http://x"}, 200},
		{"everybody reads versions", false, "GET", "/agentversions", "10.0.0.9:5", "hbs:6031", [2]string{}, 200},
		{"another method", false, "PUT", "/agent/upgrade", "127.0.0.1:5", "127.0.0.1:6031", [2]string{}, 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := sharing(t, 1, testkit.Redis(t), func(c *Config) { c.UpgradeRemote, c.AdminToken = tc.remote, token })[0]
			if tc.path != "/agent/upgrade" && tc.method == "POST" {
				u.post("POST", "/agent/upgrade", good)
			}
			r := httptest.NewRequest(tc.method, "http://x"+tc.path, strings.NewReader(good))
			r.RemoteAddr, r.Host = tc.peer, tc.host
			if tc.header[0] != "" {
				r.Header.Set(tc.header[0], tc.header[1])
			}
			w := httptest.NewRecorder()
			u.admin().ServeHTTP(w, r)
			if w.Code != tc.code {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tc.code)
			}
			if s := u.upgrades.current.Load(); tc.code == 403 && tc.path == "/agent/upgrade" && s != nil {
				t.Errorf("it was refused, and there is an order: %+v", s)
			}
		})
	}
}

// What is no order is refused with the name of what is wrong.
func TestBadOrders(t *testing.T) {
	const md5 = `"binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e"`
	for _, tc := range []struct{ in, err string }{
		{``, "can not be read"},
		{`[]`, "can not be read"},
		{`{"version":"1",` + md5 + `}`, "wgeturl is required"},
		{`{"wgeturl":"/tmp","version":"1",` + md5 + `}`, "no address"},
		{`{"wgeturl":"file:///etc","version":"1",` + md5 + `}`, "no address"},
		{`{"wgeturl":"http://h",` + md5 + `}`, "version is required"},
		{`{"wgeturl":"http://h","version":"12345678901234567",` + md5 + `}`, "longer than 16 bytes"},
		{`{"wgeturl":"http://h","version":"../../etc",` + md5 + `}`, "no file name"},
		{`{"wgeturl":"http://h","version":"1"}`, "binfile_md5 is required"},
		{`{"type":1,"wgeturl":"http://h","version":"1",` + md5 + `}`, "cfgfile_md5 is required"},
		{`{"type":2,"wgeturl":"http://h","version":"1",` + md5 + `}`, "cfgfile_md5 is required"},
		{`{"wgeturl":"http://h","version":"1","binfile_md5":"35ac"}`, "32 hex digits"},
		{`{"wgeturl":"http://h","version":"1",` + md5 + `,"binfile_sha256":"zz"}`, "64 hex digits"},
		{`{"wgeturl":"http://h","version":"1",` + md5 + `,"binfile_sig":"trust me"}`, "no minisign signature"},
		{`{"wgeturl":"http://h","version":"1",` + md5 + `,"waves":[10]}`, "end with 100"},
	} {
		if _, err := parseOrder([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s\n got %v\nwant %s", tc.in, err, tc.err)
		}
	}
	// As the fork does: nobody is told of it.
	if args, err := parseOrder([]byte(`{"type":7,"wgeturl":"http://h","version":"1"}`)); err != nil || args.Type != 7 {
		t.Errorf("an unknown type: %+v, %v", args, err)
	}
}

func FuzzParseOrder(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(testOrder, "")))
	f.Add([]byte(fmt.Sprintf(testOrder, `,"waves":[1,100],"type":2,"cfgfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e"`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		args, err := parseOrder(b)
		if err != nil {
			return
		}
		if args.Version == "" || strings.ContainsAny(args.Version, "/\\ \x00\n") || len(args.Version) > maxVersion || args.WgetURL == "" {
			t.Errorf("taken: %+v", args)
		}
		again, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseOrder(again); err != nil {
			t.Errorf("%s is taken, and %s is not: %v", b, again, err)
		}
	})
}

// Thousands of heartbeats come to four hbs at once; never do more hosts upgrade than
// there are places, and an order outlives the hbs that took it.
func TestUpgradesAreLimitedOverAllHBS(t *testing.T) {
	redis := testkit.Redis(t)
	all := sharing(t, 4, redis, func(c *Config) { c.UpgradeQueue = 50; c.Upgrade.Waves = []int{100} })
	if code, body := all[0].post("POST", "/agent/upgrade", fmt.Sprintf(testOrder, "")); code != 200 {
		t.Fatal(body)
	}
	known(t, all, "6.0.1")
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for n, u := range all {
		for part := range 4 {
			wg.Go(func() {
				for i := range 50 {
					host := fmt.Sprintf("h%d-%d-%d", n, part, i)
					if u.beat(model.AgentReportRequest{Hostname: host, AgentVersion: "6.0.0"}) != nil {
						mu.Lock()
						got[host]++
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Wait()
	pool := all[0].deps.Redis
	members, err := redisx.Strings(pool.Do(t.Context(), "SMEMBERS", redisx.UpgradeSet))
	if err != nil || len(got) != 50 || len(members) != 50 {
		t.Fatalf("%d hosts were told, %d are in the set, want 50; %v", len(got), len(members), err)
	}
	// Each that is done makes room for one more.
	for _, host := range members[:10] {
		all[3].beat(model.AgentReportRequest{Hostname: host, AgentVersion: "6.0.1"})
	}
	more := 0
	for i := range 20 {
		if all[2].beat(model.AgentReportRequest{Hostname: fmt.Sprint("late", i), AgentVersion: "6.0.0"}) != nil {
			more++
		}
	}
	if more != 10 {
		t.Errorf("%d more were told after ten were done, want 10", more)
	}
	// A new hbs knows what the first was told.
	late := sharing(t, 1, redis, nil)
	known(t, late, "6.0.1")
	if st := late[0].status(); st.Counts.Done != 10 || st.Taken != 50 || st.State != wave.Running {
		t.Errorf("%+v", st)
	}
}

// The weaknesses of the fork's hbs (contract ingest 3.11), one by one.
func TestUpgradeDefectsOfTheFork(t *testing.T) {
	start := func(t *testing.T, set func(*Config), more string) *upgrader {
		u := sharing(t, 1, testkit.Redis(t), func(c *Config) {
			c.Upgrade.Waves = []int{100}
			if set != nil {
				set(c)
			}
		})
		if code, body := u[0].post("POST", "/agent/upgrade", fmt.Sprintf(testOrder, more)); code != 200 {
			t.Fatal(body)
		}
		known(t, u, "6.0.1")
		return u[0]
	}
	const cfgMD5 = `,"cfgfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9f"`
	t.Run("a configuration converges", func(t *testing.T) {
		u := start(t, nil, `,"type":1`+cfgMD5)
		r := model.AgentReportRequest{Hostname: "h", AgentVersion: "6.0.1", SelfUpgrade: model.SelfUpgradeOn, ConfigMd5: "00000000000000000000000000000000"}
		if u.beat(r) == nil {
			t.Fatal("nothing is ordered")
		}
		r.ConfigMd5 = "35AC8534c0b31237e844ef8ee2bb9b9f"
		for range 3 {
			if args := u.beat(r); args != nil {
				t.Errorf("ordered again: %+v", args)
			}
		}
		if c := u.status().Counts; c.Done != 1 {
			t.Errorf("%+v", c)
		}
		// The fork's agents do not say which configuration they have.
		if u.beat(model.AgentReportRequest{Hostname: "fork", AgentVersion: "6.0.0"}) != nil {
			t.Error("an agent that can never converge is ordered")
		}
	})
	t.Run("a file of another version does not loop for ever", func(t *testing.T) {
		u := start(t, func(c *Config) { c.Upgrade.Tries, c.UpgradeExpire = 2, conf.Seconds(time.Second) }, "")
		orders, fork := 0, model.AgentReportRequest{Hostname: "h", AgentVersion: "6.0.0"}
		testkit.Eventually(t, 20*time.Second, func() error {
			if u.beat(fork) != nil {
				orders++
			}
			if st := u.status(); st.Counts.Failed != 1 {
				return fmt.Errorf("%+v after %d orders", st, orders)
			}
			return nil
		})
		if orders != 2 || u.beat(fork) != nil {
			t.Errorf("%d orders, want 2", orders)
		}
		if st := u.status(); !strings.Contains(st.Hosts[0].Reason, "after 2 orders") {
			t.Errorf("%+v", st.Hosts)
		}
	})
	t.Run("a failure rests, and is told", func(t *testing.T) {
		u := start(t, nil, "")
		r := model.AgentReportRequest{Hostname: "h", AgentVersion: "6.0.0", SelfUpgrade: model.SelfUpgradeOn}
		if u.beat(r) == nil {
			t.Fatal("nothing is ordered")
		}
		r.UpgradeError = "6.0.1: the MD5 is another"
		for range 5 {
			if u.beat(r) != nil {
				t.Error("ordered again at once")
			}
		}
		if st := u.status(); st.Taken != 0 || st.Counts.Failed != 1 || st.Hosts[0].Reason != r.UpgradeError {
			t.Errorf("%+v", st)
		}
		testkit.Eventually(t, 10*time.Second, func() error {
			if st := u.status(); st.State != wave.Stopped || !strings.Contains(st.Reason, "the MD5 is another") {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
		if u.beat(model.AgentReportRequest{Hostname: "next", AgentVersion: "6.0.0"}) != nil {
			t.Error("ordered though it is stopped")
		}
		if code, body := u.post("POST", "/agent/upgrade/go", ""); code != 200 {
			t.Error(body)
		}
		r.UpgradeError = ""
		if u.beat(r) == nil {
			t.Error("not ordered again when somebody said go")
		}
		if code, body := u.post("POST", "/agent/upgrade/stop", ""); code != 200 || u.status().State != wave.Stopped {
			t.Error(body)
		}
	})
	t.Run("an agent that is up to date costs no write", func(t *testing.T) {
		u := start(t, nil, "")
		done := model.AgentReportRequest{Hostname: "h", AgentVersion: "6.0.1"}
		u.beat(done)
		if !u.upgrades.quick(&done) {
			t.Error("each of its heartbeats goes to redis")
		}
	})
	t.Run("who can not is left out, with the reason", func(t *testing.T) {
		u := start(t, func(c *Config) { c.RefuseUnsafe = true }, "")
		u.beat(model.AgentReportRequest{Hostname: "off", AgentVersion: "6.0.0", SelfUpgrade: "self_upgrade is false"})
		u.beat(model.AgentReportRequest{Hostname: "fork", AgentVersion: "6.0.0"})
		if u.beat(model.AgentReportRequest{Hostname: "ours", AgentVersion: "6.0.0", SelfUpgrade: model.SelfUpgradeOn}) == nil {
			t.Error("ours is not ordered")
		}
		reasons := map[string]string{}
		for _, h := range u.status().Hosts {
			reasons[h.Hostname] = h.State + ": " + h.Reason
		}
		if reasons["off"] != "left: self_upgrade is false" || reasons["fork"] != "left: it is no agent of ours, and refuse_unsafe is on" {
			t.Errorf("%v", reasons)
		}
	})
	t.Run("the fork's agents are ordered", func(t *testing.T) {
		if start(t, nil, "").beat(model.AgentReportRequest{Hostname: "fork", AgentVersion: "6.0.0"}) == nil {
			t.Error("no order")
		}
	})
}

// A heartbeat of stock gets stock's answer, to the byte, and the fork's finds its args
// in the fork's place.
func TestUpgradeOnTheWire(t *testing.T) {
	u := sharing(t, 1, testkit.Redis(t), func(c *Config) { c.Upgrade.Waves = []int{100} })
	ask := func(line string) string {
		c, err := net.Dial("tcp", u[0].rpc.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, line); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes.TrimSpace(b[:n]))
	}
	const line = `{"method":"Agent.ReportStatus","params":[{"Hostname":"h","IP":"10.0.0.1","AgentVersion":"6.0.0","PluginVersion":"","InUpgrading":false}],"id":1}`
	if got, want := ask(line), `{"id":1,"result":{"code":0},"error":null}`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	u[0].post("POST", "/agent/upgrade", fmt.Sprintf(testOrder, ""))
	known(t, u, "6.0.1")
	if got, want := ask(line), `{"id":1,"result":{"code":0,"Args":{"type":0,"wgeturl":"http://127.0.0.1/file/open-falcon","version":"6.0.1","binfile_md5":"35ac8534c0b31237e844ef8ee2bb9b9e","cfgfile_md5":""}},"error":null}`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if hosts := u[0].status().Hosts; len(hosts) != 1 || hosts[0].Hostname != "h" || hosts[0].State != wave.Ordered {
		t.Errorf("under way: %+v, want h", hosts)
	}
}
