package fleet

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

// Another host joins by the line that falcon up prints: a second network and name on
// this machine, joined to the first by a cable. It fetches the agent, heartbeats under
// its own name, and its metrics are in a chart.
func TestAnotherHostJoins(t *testing.T) {
	t.Parallel()
	if os.Getenv(inNamespace) != "" {
		joins(t)
		return
	}
	for _, program := range []string{"unshare", "nsenter", "ip", "curl", "sha256sum"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing", program)
		}
	}
	if out, err := exec.Command("unshare", "-n", "-u", "true").CombinedOutput(); err != nil {
		t.Skipf("a network of its own needs root: %s", out)
	}
	bin := t.TempDir()
	for name, as := range map[string]string{"falcon": "falcon", "agent": "falcon-agent-linux-" + runtime.GOARCH} {
		program, err := os.ReadFile(testkit.Program(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, as), program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("unshare", "-n", "--", os.Args[0], "-test.run=^TestAnotherHostJoins$", "-test.v", "-test.timeout=3m")
	cmd.Env = append(os.Environ(), inNamespace+"=1", "FALCON_TEST_JOIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// joins is the test itself, in a network of its own.
func joins(t *testing.T) {
	must := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	// The other host lives as long as this process.
	other := testkit.Start(t, t.TempDir(), "/usr/bin/unshare", "-n", "-u", "--", "sleep", "300")
	pid := fmt.Sprint(other.PID())
	there := func(args ...string) []string {
		return append([]string{"-t", pid, "-n", "-u", "--"}, args...)
	}
	testkit.Eventually(t, 10*time.Second, func() error { // it has left our network
		ours, err1 := os.Readlink("/proc/self/ns/net")
		theirs, err2 := os.Readlink("/proc/" + pid + "/ns/net")
		if err1 != nil || err2 != nil || ours == theirs {
			return fmt.Errorf("%s and %s, %v %v", ours, theirs, err1, err2)
		}
		return nil
	})
	must("ip", "link", "set", "lo", "up")
	must("ip", "link", "add", "cable0", "type", "veth", "peer", "name", "eth0", "netns", pid)
	must("ip", "addr", "add", "10.99.0.1/24", "dev", "cable0")
	must("ip", "link", "set", "cable0", "up")
	must("nsenter", there("ip", "addr", "add", "10.99.0.2/24", "dev", "eth0")...)
	must("nsenter", there("ip", "link", "set", "lo", "up")...)
	must("nsenter", there("ip", "link", "set", "eth0", "up")...)
	must("nsenter", there("hostname", "second-host")...)

	bin := os.Getenv("FALCON_TEST_JOIN")
	dir := t.TempDir()
	cfg, err := json.Marshal(values{"api": values{"join": values{"programs": bin}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fleet.json"), cfg, 0o600); err != nil {
		t.Fatal(err)
	}
	fleet := testkit.Start(t, dir, filepath.Join(bin, "falcon"), "up", "--data", "data", "--listen", "0.0.0.0", "--config", "fleet.json")
	const line = "curl -fsS http://10.99.0.1:8080/api/v1/join | sudo sh"
	testkit.Eventually(t, 60*time.Second, func() error {
		if !strings.Contains(fleet.Output(), line) {
			return fmt.Errorf("falcon up does not print %q: %s", line, fleet.Output())
		}
		return nil
	})

	// As typed there, but for root's right, which this is anyway, and a folder.
	typed := strings.TrimSuffix(line, "sudo sh") + "FALCON_DIR=" + filepath.Join(dir, "agent") + " sh"
	agent := testkit.Start(t, dir, "/usr/bin/nsenter", there("sh", "-c", typed)...)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://127.0.0.1:8080", "root", strings.TrimSpace(string(password)))
	testkit.Eventually(t, 60*time.Second, func() error {
		var all struct {
			Hosts []struct {
				Hostname, IP string
				Alive        bool
			}
		}
		if err := root.call("GET", "/api/v1/hosts?q=second-host", nil, &all); err != nil {
			return err
		}
		if len(all.Hosts) != 1 || !all.Hosts[0].Alive || all.Hosts[0].IP != "10.99.0.2" {
			return fmt.Errorf("hosts %+v; the agent says %s", all.Hosts, agent.Output())
		}
		return nil
	})
	now := time.Now().Unix()
	testkit.Eventually(t, 60*time.Second, func() error {
		points, err := root.history("second-host", "load.1min", now-120, now+120)
		if err == nil && len(points) == 0 {
			err = fmt.Errorf("no point of load.1min; the agent says %s", agent.Output())
		}
		return err
	})
	// What is there stays, and whoever runs it a second time is told so. Of all agents of this
	// machine only the one in that network ends.
	if out, err := exec.Command("nsenter", there("sh", "-c", "pkill --ns "+pid+" --nslist net -x falcon-agent; "+strings.Replace(typed, " sh", " timeout 3 sh", 1))...).CombinedOutput(); !strings.Contains(string(out), "keeping "+filepath.Join(dir, "agent", "agent.json")) {
		t.Errorf("a second time: %v %s", err, out)
	}
	var told struct{ Command, Why string }
	if err := root.call("GET", "/api/v1/hosts/join", nil, &told); err != nil || told.Command != strings.Replace(line, "10.99.0.1", "127.0.0.1", 1) {
		t.Errorf("the page shows %+v, %v", told, err)
	}
}
