package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// units returns the names of the services in systemd/, with what stands in each.
func units(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("systemd/*.service")
	if err != nil || len(files) == 0 {
		t.Fatalf("no units in systemd/: %v", err)
	}
	all := map[string]string{}
	for _, file := range files {
		all[filepath.Base(file)] = read(t, file)
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// needs skips the test when a program is missing.
func needs(t *testing.T, program, where string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} { // not in everybody's PATH
			if p := filepath.Join(dir, program); fileThere(p) {
				return p
			}
		}
		t.Skipf("%s is missing: install the package %s, or run make test as root on Debian", program, where)
	}
	return path
}

func fileThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// root makes a folder that looks like a system with the units, their programs and
// the targets that they name.
func root(t *testing.T) (dir, unitDir string) {
	t.Helper()
	dir = t.TempDir()
	unitDir = filepath.Join(dir, "usr/lib/systemd/system")
	for name, text := range units(t) {
		write(t, filepath.Join(unitDir, name), text, 0o644)
		write(t, filepath.Join(dir, program(text)), "", 0o755)
		if before := setting(text, "ExecStartPre"); before != "" {
			write(t, filepath.Join(dir, strings.TrimPrefix(strings.Fields(before)[0], "-")), "", 0o755)
		}
	}
	write(t, filepath.Join(unitDir, "falcon.target"), read(t, "systemd/falcon.target"), 0o644)
	for _, target := range []string{"sysinit", "basic", "shutdown", "network-online", "multi-user"} {
		write(t, filepath.Join(unitDir, target+".target"), "[Unit]\nDescription="+target+"\n", 0o644)
	}
	return dir, unitDir
}

// program returns the program that a unit starts.
func program(unit string) string {
	return strings.Fields(setting(unit, "ExecStart"))[0]
}

// setting returns the first value of key in a unit.
func setting(unit, key string) string {
	m := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(unit)
	if m == nil {
		return ""
	}
	return m[1]
}

// systemd itself finds nothing to complain of; it exits well when it ignores a
// misspelt key, so its output counts.
func TestUnitsVerify(t *testing.T) {
	analyze := needs(t, "systemd-analyze", "systemd")
	dir, unitDir := root(t)
	for _, file := range append(names(units(t)), "falcon.target") {
		out, err := exec.Command(analyze, "verify", "--man=no", "--root="+dir, filepath.Join(unitDir, file)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", file, err, out)
		}
	}
}

// The exposure that systemd works out for each unit is below 4.0 (10 is a process
// that may do everything).
func TestUnitsAreHardened(t *testing.T) {
	analyze := needs(t, "systemd-analyze", "systemd")
	dir, unitDir := root(t)
	for _, file := range names(units(t)) {
		out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold=40", "--root="+dir, filepath.Join(unitDir, file)).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze security %s: %v\n%s", file, err, out)
			continue
		}
		if m := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindSubmatch(out); m == nil {
			t.Errorf("systemd-analyze security %s says no level:\n%s", file, out)
		} else {
			t.Logf("%s: %s", file, m[1])
		}
	}
}

// Every daemon has a unit with a user of its own that sysusers.conf makes, the
// shared group where it opens the portal, and no folder that it does not need.
func TestUnitsSay(t *testing.T) {
	users := read(t, "systemd/sysusers.conf")
	all := units(t)
	daemons, err := filepath.Glob("../cmd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range daemons {
		name := filepath.Base(d)
		if name == "agent-guard" { // it is run by the agent's unit
			continue
		}
		if name == "falcon" {
			name = "" // falcon.service
		} else {
			name = "-" + name
		}
		if all["falcon"+name+".service"] == "" {
			t.Errorf("cmd/%s has no unit deploy/systemd/falcon%s.service", filepath.Base(d), name)
		}
	}
	for file, unit := range all {
		name := strings.TrimSuffix(file, ".service")
		user := setting(unit, "User")
		if user != name {
			t.Errorf("%s: User=%s, want %s", file, user, name)
		}
		if !regexp.MustCompile(`(?m)^u ` + user + ` `).MatchString(users) {
			t.Errorf("sysusers.conf makes no user %s", user)
		}
		want := map[string]string{"Restart": "always", "ProtectSystem": "strict", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "StartLimitIntervalSec": "0"}
		if name == "falcon-agent" {
			want["CapabilityBoundingSet"] = "CAP_NET_RAW" // plugins start ping, the role ping fping
			want["AmbientCapabilities"] = ""
		}
		if name != "falcon" {
			want["Type"], want["PartOf"], want["WantedBy"] = "notify", "falcon.target", "falcon.target"
			if setting(unit, "WatchdogSec") == "" {
				t.Errorf("%s has no watchdog", file)
			}
			if !strings.Contains(setting(all["falcon.service"], "Conflicts"), file) && name != "falcon-gateway" {
				t.Errorf("falcon.service does not conflict with %s, which wants the same ports", file)
			}
		}
		for key, value := range want {
			if got := setting(unit, key); got != value {
				t.Errorf("%s: %s=%s, want %q", file, key, got, value)
			}
		}
		shares := slices.Contains([]string{"falcon-graph", "falcon-hbs", "falcon-alarm", "falcon-nodata", "falcon-api", "falcon-poly_metric"}, name)
		if got := setting(unit, "SupplementaryGroups") == "falcon"; got != shares {
			t.Errorf("%s: in the group falcon: %v, want %v", file, got, shares)
		}
		writes := ""
		switch {
		case shares:
			writes = "/var/lib/falcon/portal"
		case name == "falcon-agent":
			writes = "/opt/falcon/agent"
		}
		if got := setting(unit, "ReadWritePaths"); got != writes {
			t.Errorf("%s: ReadWritePaths=%s, want %q", file, got, writes)
		}
	}
}

// The users and the folders come out as the units expect them.
func TestUsersAndFolders(t *testing.T) {
	sysusers, tmpfiles := needs(t, "systemd-sysusers", "systemd"), needs(t, "systemd-tmpfiles", "systemd")
	if os.Getuid() != 0 {
		t.Skip("only root may give files to other users")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etc/falcon/api.json"), "{}", 0o644)
	write(t, filepath.Join(dir, "opt/falcon/agent/agent.json"), "{}", 0o644)
	write(t, filepath.Join(dir, "opt/falcon/agent/falcon-agent"), "", 0o755)
	for _, args := range [][]string{
		{sysusers, "--root=" + dir, abs(t, "systemd/sysusers.conf")},
		{tmpfiles, "--root=" + dir, "--create", abs(t, "systemd/tmpfiles.conf")},
		{tmpfiles, "--root=" + dir, "--create", abs(t, "systemd/tmpfiles.conf")}, // twice is once
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	ids := func(file string) map[string]string {
		m := map[string]string{}
		for line := range strings.Lines(read(t, filepath.Join(dir, "etc", file))) {
			f := strings.Split(line, ":")
			m[f[2]] = f[0]
		}
		return m
	}
	passwd, group := ids("passwd"), ids("group")
	for path, want := range map[string]string{
		"var/lib/falcon/portal":                "root:falcon drwxrws---",
		"var/lib/falcon/portal/uic.db":         "root:falcon -rw-rw----",
		"etc/falcon/api.json":                  "root:falcon-api -rw-r-----",
		"opt/falcon/agent":                     "falcon-agent:falcon-agent drwxr-xr-x",
		"opt/falcon/agent/falcon-agent":        "falcon-agent:falcon-agent -rwxr-xr-x",
		"opt/falcon/agent/agent.json":          "falcon-agent:falcon-agent -rw-r-----",
		"var/lib/falcon/portal/uic.db.migrate": "root:falcon -rw-rw----",
	} {
		st, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Error(err)
			continue
		}
		sys := st.Sys().(*syscall.Stat_t)
		owner := func(m map[string]string, id uint32) string {
			if id == 0 {
				return "root"
			}
			return m[fmt.Sprint(id)]
		}
		mode := st.Mode().String()
		if st.Mode()&os.ModeSetgid != 0 { // Go writes it as dg…
			mode = "d" + strings.Replace(mode[2:], "rwxrwx", "rwxrws", 1)
		}
		if got := owner(passwd, sys.Uid) + ":" + owner(group, sys.Gid) + " " + mode; got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func names(m map[string]string) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
