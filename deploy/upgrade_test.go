package deploy

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aead.dev/minisign"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// agentUID is the user of the agents of a test that root runs; it needs no name.
const agentUID = 64123

// A fleet that upgrades: a real hbs on a real Redis, our nginx with the place of the
// downloads, and agents under what stands in for systemd.
type upgradeWorld struct {
	t       *testing.T
	dir     string // all that is made
	files   string // of the place
	url     string // of the place
	hbs     string // its HTTP
	rpc     string // its RPC
	redis   *testkit.RedisServer
	guard   string
	agent70 string // with failpoints
	sign    func(file string) string
	key     string
}

// build builds a program of this module as a version, with failpoints.
func (w *upgradeWorld) build(cmd, version, to string) {
	w.t.Helper()
	c := exec.Command("go", "build", "-tags", "failpoint", "-ldflags", "-s -w -X falcon/common/daemon.version="+version, "-o", to, "./cmd/"+cmd)
	c.Dir = testkit.Root()
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("go build ./cmd/%s: %v\n%s", cmd, err, out)
	}
	if err := os.Chmod(to, 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func newUpgradeWorld(t *testing.T) *upgradeWorld {
	t.Helper()
	needs(t, "nginx", "nginx-light")
	dir, err := os.MkdirTemp("", "falcon-upgrade-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &upgradeWorld{t: t, dir: dir, files: filepath.Join(dir, "files"), redis: testkit.Redis(t), guard: filepath.Join(dir, "falcon-agent-guard"), agent70: filepath.Join(dir, "agent-7.0")}
	if err := os.Mkdir(w.files, 0o755); err != nil {
		t.Fatal(err)
	}
	w.build("agent-guard", "7.0", w.guard)
	w.build("agent", "7.0", w.agent70)
	w.build("agent", "7.1", filepath.Join(w.files, "bin_7.1"))
	write(t, filepath.Join(w.files, "bin_7.2"), badBuild("7.2", "exit 1"), 0o644)
	write(t, filepath.Join(w.files, "bin_7.3"), badBuild("7.3", "exec sleep 1000"), 0o644)
	whole := read(t, filepath.Join(w.files, "bin_7.1"))
	write(t, filepath.Join(w.files, "bin_7.4"), whole[:len(whole)/2], 0o644)

	pub, priv, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pub.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	w.key = lines[len(lines)-1]
	w.sign = func(file string) string {
		r := minisign.NewReader(strings.NewReader(read(t, filepath.Join(w.files, file))))
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		return string(r.Sign(priv))
	}

	front := startNginx(t, "127.0.0.1:1", "127.0.0.1:1", [2]string{"/srv/falcon/agent/", w.files + "/"}, [2]string{"limit_rate 1m;", "limit_rate 16m;"})
	w.url = "http://" + front.plain + "/file/open-falcon"

	bin, _ := programs(t)
	w.hbs, w.rpc = testkit.FreeAddr(t), testkit.FreeAddr(t)
	cfg, err := json.Marshal(map[string]any{
		"listen": w.rpc, "http": map[string]any{"enabled": true, "listen": w.hbs}, "db_dir": filepath.Join(dir, "portal"),
		"redis": map[string]any{"enabled": true, "addr": w.redis.Addr()}, "liveness": map[string]any{"enabled": false}, "agent_update_queue_length": 20, "redis_agent_upgrade_set_expire": "5s",
		"upgrade": map[string]any{"waves": []int{100}, "soak": "10s", "timeout": "2m", "tries": 3, "backoff": "2s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "hbs.json"), string(cfg), 0o644)
	testkit.Start(t, dir, filepath.Join(bin, "falcon-hbs"), "-c", "hbs.json")
	testkit.Eventually(t, 30*time.Second, func() error {
		resp, err := http.Get("http://" + w.hbs + "/health")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("status %s", resp.Status)
		}
		return nil
	})
	return w
}

// badBuild is an agent that passes every check and is no good.
func badBuild(version, does string) string {
	return "#!/bin/sh\ncase $1 in\n-v) echo " + version + "; exit;;\n-t) exit 0;;\nesac\n" + does + "\n"
}

// order orders a version by curl's means, and returns the answer.
func (w *upgradeWorld) order(version string, more map[string]any) {
	w.t.Helper()
	args := map[string]any{"wgeturl": w.url, "version": version, "binfile_md5": w.md5("bin_" + version)}
	for k, v := range more {
		args[k] = v
	}
	body, err := json.Marshal(args)
	if err != nil {
		w.t.Fatal(err)
	}
	w.post("POST", "/agent/upgrade", string(body))
}

func (w *upgradeWorld) post(method, path, body string) {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://"+w.hbs+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
		w.t.Fatalf("%s %s: %s %s", method, path, resp.Status, b)
	}
}

func (w *upgradeWorld) md5(file string) string {
	sum := md5.Sum([]byte(read(w.t, filepath.Join(w.files, file))))
	return hex.EncodeToString(sum[:])
}

// upgradeState is what /agent/upgrade/status says.
type upgradeState struct {
	State, Reason string
	Taken         int
	Counts        struct{ Done, Failed, Ordered, Upgrading int }
	Hosts         []struct{ Hostname, State, Reason string }
}

func (w *upgradeWorld) get(path string, to any) error {
	resp, err := http.Get("http://" + w.hbs + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(&struct{ Data any }{to})
}

func (w *upgradeWorld) status() (st upgradeState, err error) {
	err = w.get("/agent/upgrade/status", &st)
	return st, err
}

// until waits for a state of the upgrade.
func (w *upgradeWorld) until(t *testing.T, what string, is func(upgradeState) bool) upgradeState {
	t.Helper()
	var last upgradeState
	testkit.Eventually(t, time.Minute, func() error {
		st, err := w.status()
		if last = st; err != nil || !is(st) {
			return fmt.Errorf("%s: %+v, %v", what, st, err)
		}
		return nil
	})
	return last
}

// version returns what hbs last heard of a host.
func (w *upgradeWorld) version(host string) string {
	all := map[string]string{}
	if err := w.get("/agentversions", &all); err != nil {
		return err.Error()
	}
	return all[host]
}

// A unit is an agent and what of systemd it sees: the guard before each start, a
// watchdog, its own user, and a start after each end.
type unit struct {
	w         *upgradeWorld
	t         *testing.T
	host, dir string
	starts    atomic.Int64
	kills     atomic.Int64 // at a place
	wg        sync.WaitGroup
	cancel    context.CancelFunc
	mu        sync.Mutex
	output    bytes.Buffer
}

func (u *unit) Write(b []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.output.Write(b)
}

func (u *unit) said() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.output.String()
}

// start installs agent 7.0 and runs it until the test ends. place and guardPlace are
// where the first life of the agent, and that of the guard, are killed.
func (w *upgradeWorld) start(t *testing.T, host string, config map[string]any, place, guardPlace string) *unit {
	t.Helper()
	w.post("DELETE", "/agent/upgrade", "")
	u := &unit{w: w, t: t, host: host, dir: filepath.Join(w.dir, host)}
	cfg := map[string]any{
		"hostname": host, "http": map[string]any{"enabled": false}, "transfer": map[string]any{"enabled": false}, "self_upgrade": true,
		"heartbeat": map[string]any{"enabled": true, "addr": w.rpc, "interval": "1s"},
		"upgrade":   map[string]any{"backoff": "1s", "healthy_within": "10s"},
	}
	for k, v := range config {
		cfg[k] = v
	}
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(u.dir, "agent.json"), string(b), 0o640)
	write(t, filepath.Join(u.dir, "falcon-agent"), read(t, w.agent70), 0o755)
	if os.Getuid() == 0 {
		for _, name := range []string{"", "agent.json", "falcon-agent"} {
			if err := os.Chown(filepath.Join(u.dir, name), agentUID, agentUID); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.cancel = cancel
	u.wg.Go(func() { u.supervise(ctx, place, guardPlace) })
	t.Cleanup(func() {
		u.stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", host, u.said())
		}
	})
	testkit.Eventually(t, 30*time.Second, func() error {
		if v := w.version(host); v != "7.0" {
			return fmt.Errorf("%s reports %q", host, v)
		}
		return nil
	})
	return u
}

func (u *unit) stop() {
	u.cancel()
	u.wg.Wait()
}

func (u *unit) supervise(ctx context.Context, place, guardPlace string) {
	for ctx.Err() == nil {
		guard := u.command(ctx, u.w.guard, "-dir", u.dir, "-within", "10s")
		guard.Env = append(guard.Env, "FALCON_FAILPOINT="+guardPlace)
		if err := guard.Run(); err != nil && ctx.Err() == nil {
			fmt.Fprintf(u, "guard: %v\n", err)
			guardPlace = "" // it was killed: the agent starts all the same
		}
		u.starts.Add(1)
		if err := u.life(ctx, place); err != nil && place != "" && ctx.Err() == nil && strings.Contains(err.Error(), "killed") {
			place = ""
			u.kills.Add(1)
		}
	}
}

func (u *unit) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, program, args...)
	c.Dir, c.Stdout, c.Stderr = u.dir, u, u
	c.Env = []string{"PATH=/usr/bin:/bin", "INVOCATION_ID=test"}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: agentUID, Gid: agentUID}
	}
	return c
}

// life runs the agent once; one that does not feed its watchdog for three seconds is
// killed.
func (u *unit) life(ctx context.Context, place string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sock := filepath.Join(u.dir, "notify")
	_ = os.Remove(sock)
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	if err != nil {
		u.t.Error(err)
		u.cancel()
		return err
	}
	defer ln.Close()
	if err := os.Chmod(sock, 0o777); err != nil {
		u.t.Error(err)
	}
	c := u.command(ctx, filepath.Join(u.dir, "falcon-agent"), "-c", filepath.Join(u.dir, "agent.json"))
	c.Env = append(c.Env, "NOTIFY_SOCKET="+sock, "WATCHDOG_USEC=1000000", "FALCON_FAILPOINT="+place)
	bites := time.AfterFunc(3*time.Second, cancel)
	defer bites.Stop()
	u.wg.Go(func() {
		b := make([]byte, 256)
		for {
			n, err := ln.Read(b)
			if err != nil {
				return
			}
			if strings.Contains(string(b[:n]), "WATCHDOG=1") || strings.Contains(string(b[:n]), "READY=1") {
				bites.Reset(3 * time.Second)
			}
		}
	})
	return c.Run()
}

// has fails the test unless the agent of a unit is a version, on disk as in its
// heartbeats.
func (u *unit) has(t *testing.T, version string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(u.dir, "falcon-agent"), "-v").Output()
	if err != nil || strings.TrimSpace(string(out)) != version {
		t.Errorf("%s has %q on disk, want %s; %v", u.host, out, version, err)
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		if v := u.w.version(u.host); v != version {
			return fmt.Errorf("%s reports %q, want %s", u.host, v, version)
		}
		return nil
	})
}

// Real agents upgrade themselves from our nginx, as their own user: what is good comes
// to stay, what is bad goes by itself, and what is refused changes nothing.
func TestAgentsUpgradeThemselves(t *testing.T) {
	w := newUpgradeWorld(t)
	t.Run("a good build, three agents", func(t *testing.T) {
		var units []*unit
		for i := range 3 {
			units = append(units, w.start(t, fmt.Sprint("good", i), nil, "", ""))
		}
		w.order("7.1", nil)
		w.until(t, "all done", func(st upgradeState) bool { return st.Counts.Done == 3 && st.Taken == 0 })
		for _, u := range units {
			u.has(t, "7.1")
			if got := read(t, filepath.Join(u.dir, "falcon-agent.bak")); got != read(t, w.agent70) {
				t.Errorf("%s: the backup is not what was there", u.host)
			}
			if n := u.starts.Load(); n != 2 {
				t.Errorf("%s was started %d times, want 2", u.host, n)
			}
		}
	})
	t.Run("program and configuration, signed", func(t *testing.T) {
		u := w.start(t, "signed", map[string]any{"upgrade": map[string]any{"public_key": w.key, "require_signature": true, "backoff": "1s"}}, "", "")
		cfg := strings.Replace(read(t, filepath.Join(u.dir, "agent.json")), `"self_upgrade"`, `"debug":true,"self_upgrade"`, 1)
		write(t, filepath.Join(w.files, "cfg_7.1"), cfg, 0o644)
		w.order("7.1", map[string]any{"type": 2, "cfgfile_md5": w.md5("cfg_7.1"), "binfile_sig": w.sign("bin_7.1"), "cfgfile_sig": w.sign("cfg_7.1")})
		w.until(t, "done", func(st upgradeState) bool { return st.Counts.Done == 1 })
		u.has(t, "7.1")
		if got := read(t, filepath.Join(u.dir, "agent.json")); got != cfg {
			t.Errorf("its configuration is %s", got)
		}
		// The configuration alone, to what it is: nothing to do, and no loop.
		w.order("7.1", map[string]any{"type": 1, "cfgfile_md5": w.md5("cfg_7.1")})
		starts := u.starts.Load()
		w.until(t, "done", func(st upgradeState) bool { return st.Counts.Done+st.Counts.Failed+st.Counts.Ordered == 0 })
		if u.starts.Load() != starts {
			t.Error("it was started again")
		}
	})
	for _, tc := range []struct {
		name, version, reason string
		more                  map[string]any
		config                map[string]any
		guardPlace            string
	}{
		{name: "a build that ends at once", version: "7.2", reason: "7.2: rolled back to 7.0: no heartbeat was taken in 3 starts"},
		{name: "a build that hangs", version: "7.3", reason: "7.3: rolled back to 7.0: no heartbeat was taken"},
		{name: "a build that ends, and a guard killed on its way back", version: "7.2", reason: "7.2: ", guardPlace: "upgrade.file-back"},
		{name: "a build that ends, and a guard killed behind its way back", version: "7.2", reason: "7.2: ", guardPlace: "upgrade.back"},
		{name: "wrong MD5", version: "7.1", reason: "has the MD5", more: map[string]any{"binfile_md5": "35ac8534c0b31237e844ef8ee2bb9b9e"}},
		{name: "wrong signature", version: "7.1", reason: "does not fit the file", more: map[string]any{"binfile_sig": w.sign("bin_7.2")},
			config: map[string]any{"upgrade": map[string]any{"public_key": w.key, "backoff": "1s"}}},
		{name: "truncated", version: "7.4", reason: "has the MD5", more: map[string]any{"binfile_md5": w.md5("bin_7.1")}},
		{name: "no such file", version: "9.9", reason: "status 404", more: map[string]any{"binfile_md5": w.md5("bin_7.1")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := strings.NewReplacer(" ", "-", ",", "").Replace(tc.name)
			u := w.start(t, host, tc.config, "", tc.guardPlace)
			if tc.version == "9.9" {
				w.post("POST", "/agent/upgrade", fmt.Sprintf(`{"wgeturl":%q,"version":"9.9","binfile_md5":%q}`, w.url, w.md5("bin_7.1")))
			} else {
				w.order(tc.version, tc.more)
			}
			st := w.until(t, "stopped", func(st upgradeState) bool { return st.State == "stopped" })
			if st.Counts.Failed != 1 || !strings.Contains(st.Reason, tc.reason) {
				t.Errorf("%+v, want %q", st, tc.reason)
			}
			u.has(t, "7.0")
			if got := read(t, filepath.Join(u.dir, "falcon-agent")); got != read(t, w.agent70) {
				t.Error("its program is another")
			}
		})
	}
	t.Run("killed at each step", func(t *testing.T) {
		// Those of the guard are walked above.
		places := slices.DeleteFunc(failpoint.Of("upgrade"), func(name string) bool { return strings.HasSuffix(name, "back") })
		var units []*unit
		for i, place := range places {
			units = append(units, w.start(t, fmt.Sprint("killed", i), nil, place, ""))
		}
		w.order("7.1", nil)
		w.until(t, "all done", func(st upgradeState) bool { return st.Counts.Done == len(units) })
		for i, u := range units {
			u.has(t, "7.1")
			if u.kills.Load() != 1 {
				t.Errorf("%s was never killed at %q", u.host, places[i])
			}
			if _, err := os.Stat(filepath.Join(u.dir, "falcon-agent.new")); err == nil {
				t.Errorf("%s has left falcon-agent.new", u.host)
			}
		}
	})
	t.Run("two hundred agents, twenty at a time", func(t *testing.T) { w.twoHundred(t) })
}

// twoHundred upgrades three real agents and 197 that only report and download, which is
// what the places and the download server see of an agent. Never do more download at
// once than there are places.
func (w *upgradeWorld) twoHundred(t *testing.T) {
	for i := range 3 {
		w.start(t, fmt.Sprint("real", i), nil, "", "")
	}
	var now, most atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	w.order("7.1", nil)
	want := w.md5("bin_7.1")
	var wg sync.WaitGroup
	for i := range 197 {
		wg.Go(func() {
			c := rpc.NewClient(rpc.ClientOptions{Addr: w.rpc, Codec: rpc.JSON, MaxConns: 1})
			defer c.Close()
			r := model.AgentReportRequest{Hostname: fmt.Sprint("light", i), IP: "10.0.0.1", AgentVersion: "7.0"}
			for ctx.Err() == nil {
				var reply model.AgentUpgradeRpcResponse
				if err := c.Call(ctx, "Agent.ReportStatus", &r, &reply); err != nil {
					if ctx.Err() == nil {
						t.Errorf("%s: %v", r.Hostname, err)
					}
					return
				}
				if reply.Args == nil {
					select {
					case <-time.After(500 * time.Millisecond):
					case <-ctx.Done():
					}
					continue
				}
				most.Store(max(most.Load(), now.Add(1)))
				got, err := fetchMD5(ctx, reply.Args.WgetURL+"/bin_"+reply.Args.Version)
				now.Add(-1)
				if err != nil || got != want {
					t.Errorf("%s: %s, %v", r.Hostname, got, err)
					return
				}
				r.AgentVersion = "7.1"
			}
		})
	}
	worst := 0
	w.until(t, "all done", func(st upgradeState) bool {
		worst = max(worst, st.Taken)
		return st.Counts.Done == 200
	})
	cancel()
	wg.Wait()
	if worst > 20 || most.Load() > 20 {
		t.Errorf("%d had places and %d downloaded at once, want 20 at most", worst, most.Load())
	}
	t.Logf("at most %d places taken, %d light downloads at once", worst, most.Load())
}

func fetchMD5(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return "", fmt.Errorf("status %s", resp.Status)
	}
	h := md5.New()
	_, err = io.Copy(h, resp.Body)
	return hex.EncodeToString(h.Sum(nil)), err
}
