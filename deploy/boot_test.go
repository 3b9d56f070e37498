package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"falcon/common/testkit"
)

// A machine is a systemd in namespaces of its own, with an installation.
type machine struct {
	t    *testing.T
	init string // its process 1, as seen from here
}

// boot installs config for daemons and boots a machine that starts them, or skips the
// test where that is not possible.
func boot(t *testing.T, config string, daemons []string, env ...string) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may boot a systemd of its own")
	}
	for program, pkg := range map[string]string{"/lib/systemd/systemd": "systemd", "unshare": "util-linux", "nsenter": "util-linux", "redis-server": "redis-server", "curl": "curl"} {
		needs(t, program, pkg)
	}
	bin, _ := programs(t)
	installed, work := t.TempDir(), t.TempDir()
	install(t, installed, bin, config, daemons)

	group := "/sys/fs/cgroup"
	if fileThere(group + "/systemd") {
		group += "/systemd"
	}
	group, err := os.MkdirTemp(group, "falcon-boot-")
	if err != nil {
		t.Skipf("no control group can be made: %v", err)
	}
	t.Cleanup(func() { removeGroup(t, group) })

	said, err := os.Create(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { said.Close() })
	cmd := exec.Command("testdata/boot.sh", append([]string{work, installed}, daemons...)...)
	cmd.Env = append(append(os.Environ(), "FALCON_BOOT_CGROUP="+group), env...)
	cmd.Stdout, cmd.Stderr = said, said // a file: nobody waits for whoever holds a pipe
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	m := &machine{t: t}
	console := func() string {
		b, _ := os.ReadFile(said.Name()) // what is there
		return string(b)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console:\n%s", console())
			if log, err := m.try("journalctl", "-q", "--no-pager", "-n", "60", "-u", "falcon-*"); err == nil {
				t.Logf("journal:\n%s", log)
			}
		}
		_ = cmd.Process.Kill() // --kill-child takes the machine with it
		<-ended
	})
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- err
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() == 3 {
				t.Skipf("this machine boots no systemd of ours: %s", strings.TrimSpace(console()))
			}
			t.Fatalf("the machine ended: %v\n%s", err, console())
		case <-deadline:
			t.Fatalf("not booted within a minute:\n%s", console())
		case <-tick.C:
		}
		if strings.Contains(console(), "booting") {
			break
		}
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil || len(strings.Fields(string(children))) != 1 {
		t.Fatalf("the machine's process 1 is not found: %q %v", children, err)
	}
	m.init = strings.Fields(string(children))[0]
	testkit.Eventually(t, 60*time.Second, func() error {
		_, err := m.try("systemctl", "is-active", "falcon.target")
		return err
	})
	return m
}

// removeGroup removes a control group and those below it, once their last process has
// ended.
func removeGroup(t *testing.T, group string) {
	testkit.Eventually(t, 10*time.Second, func() error {
		var dirs []string
		err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return err
		}
		slices.Reverse(dirs)
		for _, dir := range dirs {
			if err := syscall.Rmdir(dir); err != nil {
				return fmt.Errorf("remove %s: %w", dir, err)
			}
		}
		return nil
	})
}

// try runs a command in the machine.
func (m *machine) try(args ...string) (string, error) {
	if m.init == "" {
		return "", errors.New("the machine is not up")
	}
	all := append([]string{"20", "nsenter", "-t", m.init, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"}, args...)
	out, err := exec.Command("timeout", all...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// healthy waits until every daemon answers that it is, and those at more ports.
func (m *machine) healthy(more ...string) {
	m.t.Helper()
	for _, port := range append([]string{"1988", "6060", "6071", "6081", "6083", "6031", "9912", "6090", "8080", "8082", "6055"}, more...) {
		testkit.Eventually(m.t, 60*time.Second, func() error {
			_, err := m.try("curl", "-sS", "--fail-with-body", "-m", "5", "http://127.0.0.1:"+port+"/health")
			return err
		})
	}
}

// The units do what they say, under a systemd that starts them: every daemon runs as its
// own user within its bounds, writes the shared databases, comes back after kill -9 and
// stops when it is asked.
func TestUnderSystemd(t *testing.T) {
	daemons := []string{"agent", "transfer", "gateway", "graph", "judge", "plus_judge", "hbs", "alarm", "nodata", "api", "dashboard", "poly_metric"}
	m := boot(t, "config/examples/one-box", daemons)
	m.healthy("16060")

	m.run("sh", "-c", `echo "a password of tests" | runuser -u falcon-api -- falcon passwd --data /var/lib/falcon root`)
	login := m.run("curl", "-sS", "-m", "10", "-d", `{"name":"root","password":"a password of tests"}`, "-H", "Content-Type: application/json", "http://127.0.0.1:8082/api/v1/user/login")
	if !strings.Contains(login, `"sig"`) {
		t.Errorf("login through the dashboard: %s", login)
	}
	push := fmt.Sprintf(`[{"endpoint":"demo","metric":"hello","timestamp":%d,"step":60,"value":1,"counterType":"GAUGE","tags":""}]`, time.Now().Unix())
	if got := m.run("curl", "-sS", "-m", "10", "-d", push, "http://127.0.0.1:1988/v1/push?wait=1"); !strings.Contains(got, "success") {
		t.Errorf("a push through the agent: %s", got)
	}
	for _, file := range strings.Fields(m.run("find", "/var/lib/falcon/portal", "-type", "f", "!", "-group", "falcon", "-o", "-type", "f", "!", "-perm", "0660")) {
		t.Errorf("%s is not the group's to write", file)
	}

	pid := func(d string) string {
		t.Helper()
		return m.run("systemctl", "show", "-p", "MainPID", "--value", "falcon-"+d)
	}
	for _, d := range daemons {
		if got := m.run("ps", "-o", "user:32=", "-p", pid(d)); got != "falcon-"+d {
			t.Errorf("falcon-%s runs as %s", d, got)
		}
		// Even root, were he in its place, could not write there.
		for _, path := range []string{"/usr/x", "/etc/falcon/x", "/var/lib/x"} {
			if out, err := m.try("nsenter", "-t", pid(d), "-m", "--", "touch", path); err == nil || !strings.Contains(out, "Read-only file system") {
				t.Errorf("falcon-%s may write %s: %s", d, path, out)
			}
		}
	}
	// Turning a full log file over gives the new one its owner.
	if calls := strings.Fields(m.run("systemctl", "show", "-p", "SystemCallFilter", "--value", "falcon-graph")); !slices.Contains(calls, "chown") || slices.Contains(calls, "mount") {
		t.Errorf("the calls of falcon-graph: %v, want chown and not mount among them", calls)
	}
	m.run("nsenter", "-t", pid("agent"), "-m", "--", "setpriv", "--reuid=falcon-agent", "--regid=falcon-agent", "--clear-groups", "touch", "/opt/falcon/agent/falcon-agent.new")

	for _, d := range daemons {
		m.run("systemctl", "kill", "-s", "KILL", "falcon-"+d)
	}
	for _, d := range daemons {
		testkit.Eventually(t, 60*time.Second, func() error {
			state, err := m.try("systemctl", "show", "-p", "NRestarts", "-p", "ActiveState", "falcon-"+d)
			if err == nil && (!strings.Contains(state, "NRestarts=1") || !strings.Contains(state, "ActiveState=active")) {
				err = fmt.Errorf("falcon-%s after kill -9: %s", d, state)
			}
			return err
		})
	}
	m.healthy("16060")

	// An upgrade to the same release, of which the operator has changed a file.
	m.run("sh", "-ec", `cp -a /etc/falcon/graph.json /graph.mine; echo "// mine" >>/etc/falcon/graph.json; chmod 600 /var/lib/falcon/portal/uic.db`)
	said := m.run(append([]string{"/release/deploy/install.sh", "/release/bin", "config/examples/one-box"}, daemons...)...)
	if said != "kept    /etc/falcon/graph.json; ours is beside it as graph.json.new" {
		t.Errorf("the upgrade says %q", said)
	}
	m.run("cmp", "/etc/falcon/graph.json.new", "/graph.mine")
	for path, want := range map[string]string{
		"/opt/falcon/agent/falcon-agent": "falcon-agent falcon-agent 755", "/etc/falcon/graph.json": "root falcon-graph 640", "/var/lib/falcon/portal/uic.db": "root falcon 660",
	} {
		if got := m.run("stat", "-c", "%U %G %a", path); got != want {
			t.Errorf("%s after the upgrade: %s, want %s", path, got, want)
		}
	}
	before := map[string]string{}
	for _, d := range daemons {
		before[d] = pid(d)
	}
	m.run("systemctl", "restart", "falcon.target")
	for _, d := range daemons {
		testkit.Eventually(t, 40*time.Second, func() error {
			now, err := m.try("systemctl", "show", "-p", "MainPID", "--value", "falcon-"+d)
			if err == nil && (now == before[d] || now == "0") {
				err = fmt.Errorf("falcon-%s is process %s, as before the restart of the target", d, now)
			}
			return err
		})
	}
	m.healthy("16060")

	m.run("systemctl", "stop", "falcon.target")
	for _, d := range daemons {
		testkit.Eventually(t, 40*time.Second, func() error {
			state, err := m.try("systemctl", "show", "-p", "Result", "-p", "ActiveState", "falcon-"+d)
			if err == nil && (!strings.Contains(state, "Result=success") || !strings.Contains(state, "ActiveState=inactive")) {
				err = fmt.Errorf("falcon-%s after a stop: %s", d, state)
			}
			return err
		})
	}

	// The same host with one process; the password it makes is nobody else's to read.
	m.run("systemctl", "start", "falcon.service")
	testkit.Eventually(t, 60*time.Second, func() error {
		_, err := m.try("falcon", "check", "--config", "/etc/falcon/fleet.json")
		return err
	})
	if got := m.run("stat", "-c", "%U %a", "/var/lib/falcon/fleet/root-password"); got != "falcon 600" {
		t.Errorf("root-password: %s, want falcon 600", got)
	}
	if out, err := m.try("sh", "-c", `journalctl -q --no-pager | grep -c -f /var/lib/falcon/fleet/root-password`); err == nil {
		t.Errorf("the journal has the password of user root, in %s lines", out)
	}
	m.run("systemctl", "stop", "falcon.service")
	if got := m.run("systemctl", "show", "-p", "Result", "--value", "falcon.service"); got != "success" {
		t.Errorf("falcon.service after a stop: %s", got)
	}
}

// One of the three nodes, as the page for operators has it installed: MariaDB with the
// grants that stand there, a Redis with a password, and the other two nodes' names
// leading to the same daemons, so that every place of the ring is written to and asked.
func TestThreeNodesUnderSystemd(t *testing.T) {
	needs(t, "mariadbd", "mariadb-server")
	needs(t, "mariadb-install-db", "mariadb-server")
	needs(t, "ss", "iproute2")
	var sql []string
	for line := range strings.Lines(read(t, "../docs/operations.md")) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "CREATE USER") || strings.HasPrefix(line, "GRANT") {
			sql = append(sql, strings.ReplaceAll(strings.ReplaceAll(line, "; ", ";\n"), "…", "change-me"))
		}
	}
	m := boot(t, "config/examples/three-nodes", []string{"agent", "transfer", "graph", "judge", "plus_judge", "hbs", "alarm", "nodata", "api", "dashboard", "poly_metric"},
		"FALCON_BOOT_SQL="+strings.Join(sql, "\n"), "FALCON_BOOT_REDIS=--requirepass change-me")
	m.healthy()
	m.run("sh", "-ec", `umask 077; echo '{"mysql": "falcon:change-me@tcp(falcon-mysql:3306)/"}' >/root.json
		echo "a password of tests" | falcon passwd --config /root.json root`)
	login := m.run("curl", "-sS", "-m", "10", "-d", `{"name":"root","password":"a password of tests"}`, "-H", "Content-Type: application/json", "http://127.0.0.1:8082/api/v1/user/login")
	var session struct{ Sig string }
	if err := json.Unmarshal([]byte(login), &session); err != nil || session.Sig == "" {
		t.Fatalf("login through the dashboard: %s", login)
	}
	now := time.Now().Unix() / 60 * 60
	var items, hosts []string
	for i := range 30 {
		hosts = append(hosts, fmt.Sprintf(`"host-%d"`, i))
		items = append(items, fmt.Sprintf(`{"endpoint":"host-%d","metric":"hello","timestamp":%d,"step":60,"value":%d,"counterType":"GAUGE","tags":""}`, i, now, i+1))
	}
	if got := m.run("curl", "-sS", "-m", "10", "-d", "["+strings.Join(items, ",")+"]", "http://127.0.0.1:1988/v1/push?wait=1"); !strings.Contains(got, "success") {
		t.Errorf("a push through the agent: %s", got)
	}
	ask := fmt.Sprintf(`{"hostnames":[%s],"counters":["hello"],"consol_fun":"AVERAGE","step":60,"start_time":%d,"end_time":%d}`, strings.Join(hosts, ","), now-120, now+60)
	testkit.Eventually(t, 30*time.Second, func() error {
		answer, err := m.try("curl", "-sS", "-m", "10", "-d", ask, "-H", "Content-Type: application/json", "-H", fmt.Sprintf(`Apitoken: {"name":"root","sig":%q}`, session.Sig), "http://127.0.0.1:8080/api/v1/graph/history")
		if err != nil {
			return err
		}
		var got []struct {
			Endpoint string
			Values   []struct{ Value *float64 }
		}
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			return fmt.Errorf("%w: %s", err, answer)
		}
		n := 0
		for _, series := range got {
			for _, v := range series.Values {
				if v.Value != nil && fmt.Sprintf("host-%.0f", *v.Value-1) == series.Endpoint {
					n++
				}
			}
		}
		if n != 30 {
			return fmt.Errorf("%d of 30 points came back: %.400s", n, answer)
		}
		return nil
	})
	for _, node := range []string{"127.0.0.1:6070", "127.0.0.2:6070", "127.0.0.3:6070"} {
		if out := m.run("ss", "-Htn", "state", "established", "dst", node); out == "" {
			t.Errorf("nobody speaks with the graph at %s", node)
		}
	}
	for _, file := range strings.Fields(m.run("find", "/var/lib/falcon/portal", "-size", "+0")) {
		if strings.HasSuffix(file, ".db") {
			t.Errorf("%s was written, beside MySQL", file)
		}
	}

	// A host joins by the line of the Hosts page: the agent that was installed goes, and
	// what the script fetches is a service with a user of its own, and its guard.
	m.run("sh", "-ec", `systemctl disable --now falcon-agent
		rm -rf /opt/falcon/agent /usr/bin/falcon-agent-guard /usr/lib/systemd/system/falcon-agent.service
		userdel falcon-agent
		mkdir -p /usr/share/falcon/download
		for p in falcon-agent falcon-agent-guard; do cp /release/bin/$p /usr/share/falcon/download/$p-linux-`+runtime.GOARCH+`; done`)
	if said := m.run("sh", "-c", "curl -fsS http://127.0.0.1:8080/api/v1/join | FALCON_ENDPOINT=joined sh"); !strings.Contains(said, "this host reports to http://127.0.0.1:8080") {
		t.Errorf("the script says %s", said)
	}
	testkit.Eventually(t, 60*time.Second, func() error {
		agents, err := m.try("curl", "-sS", "-m", "10", "http://127.0.0.1:6031/agents")
		if err == nil && !strings.Contains(agents, `"joined"`) {
			err = fmt.Errorf("hbs knows %s", agents)
		}
		return err
	})
	pid := m.run("systemctl", "show", "-p", "MainPID", "--value", "falcon-agent")
	if who := m.run("ps", "-o", "user:32=", "-p", pid); who != "falcon-agent" {
		t.Errorf("the agent that joined runs as %s", who)
	}
	m.run("/usr/bin/falcon-agent-guard", "-v")
	m.run("systemctl", "is-enabled", "falcon-agent")
}
