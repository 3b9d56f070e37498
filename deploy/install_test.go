package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"falcon/common/testkit"
)

// built is where the programs are; TestMain removes it.
var built = struct {
	once sync.Once
	dir  string
	err  error
}{}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// programs returns a folder with every program, and the names of the daemons. They are
// built once for all tests, unless make test has done it (FALCON_TEST_BIN).
func programs(t *testing.T) (dir string, daemons []string) {
	t.Helper()
	cmds, err := filepath.Glob("../cmd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cmds {
		if name := filepath.Base(c); name != "falcon" && name != "agent-guard" {
			daemons = append(daemons, name)
		}
	}
	if dir := os.Getenv("FALCON_TEST_BIN"); dir != "" {
		return dir, daemons
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "falcon-programs-"); built.err != nil {
			return
		}
		for _, name := range append([]string{"falcon", "agent-guard"}, daemons...) {
			file := "falcon-" + name
			if name == "falcon" {
				file = name
			}
			cmd := exec.Command("go", "build", "-o", filepath.Join(built.dir, file), "./cmd/"+name)
			cmd.Dir = testkit.Root()
			if out, err := cmd.CombinedOutput(); err != nil {
				built.err = fmt.Errorf("go build ./cmd/%s: %w\n%s", name, err, out)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir, daemons
}

// install lays everything below dest and returns what it said.
func install(t *testing.T, dest, bin, config string, daemons []string) string {
	t.Helper()
	cmd := exec.Command("./install.sh", append([]string{bin, config}, daemons...)...)
	cmd.Env = append(os.Environ(), "DESTDIR="+dest)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("install.sh: %v\n%s", err, out)
	}
	return string(out)
}

// configOf returns where the configuration of a daemon is installed.
func configOf(dest, daemon string) string {
	if daemon == "agent" {
		return filepath.Join(dest, "opt/falcon/agent/agent.json")
	}
	return filepath.Join(dest, "etc/falcon", daemon+".json")
}

// checked returns what a program prints of a configuration that it accepts; a
// warning fails the test.
func checked(t *testing.T, program string, args ...string) map[string]any {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, &said)
		return nil
	}
	var v map[string]any
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		t.Errorf("%s %s printed no JSON: %v", program, strings.Join(args, " "), err)
	}
	return v
}

// What is installed with each set of configurations is whole: every unit has its
// program and a configuration that the program accepts, whose folders the unit may
// write; and transfer and api place series alike.
func TestInstall(t *testing.T) {
	bin, daemons := programs(t)
	for _, set := range []string{"config", "config/examples/one-box", "config/examples/three-nodes", "config/examples/two-regions"} {
		t.Run(filepath.Base(set), func(t *testing.T) {
			daemons := daemons
			remote := set == "config/examples/two-regions" // the region without stores
			if remote {
				daemons = []string{"agent", "gateway"}
			}
			dest := t.TempDir()
			install(t, dest, bin, set, daemons)
			configs := map[string]map[string]any{}
			for _, d := range daemons {
				unit := read(t, filepath.Join(dest, "usr/lib/systemd/system/falcon-"+d+".service"))
				file := configOf("", d)
				if got, want := setting(unit, "ExecStart"), program(unit)+" -c /"+strings.TrimPrefix(file, "/"); got != want {
					t.Errorf("falcon-%s.service starts %q, want %q", d, got, want)
				}
				cfg := checked(t, filepath.Join(dest, program(unit)), "-t", "-c", filepath.Join(dest, file))
				configs[d] = cfg
				for _, path := range folders(cfg) {
					if !writable(unit, path) {
						t.Errorf("%s of %s is in no folder that falcon-%s.service may write", path, file, d)
					}
				}
			}
			fleet := checked(t, filepath.Join(dest, "usr/bin/falcon"), "config", "--config", filepath.Join(dest, "etc/falcon/fleet.json"))
			unit := read(t, filepath.Join(dest, "usr/lib/systemd/system/falcon.service"))
			if data, _ := fleet["data"].(string); data != "/var/lib/falcon/fleet" {
				t.Errorf("the data of the fleet are in %q", data)
			}
			for _, path := range folders(fleet) {
				if !writable(unit, path) {
					t.Errorf("%s of fleet.json is in no folder that falcon.service may write", path)
				}
			}
			if remote {
				return
			}
			transfer, api := section(configs["transfer"], "graph"), section(configs["api"], "graphs")
			for _, key := range [][2]string{{"cluster", "cluster"}, {"ringHash", "ringHash"}, {"replicas", "numberOfReplicas"}} {
				if x, y := transfer[key[0]], api[key[1]]; x == nil || !reflect.DeepEqual(x, y) {
					t.Errorf("transfer's graph.%s is %v and api's graphs.%s is %v: they would place series differently", key[0], x, key[1], y)
				}
			}
			if set != "config" && section(configs["transfer"], "judge")["enabled"] != true {
				t.Error("no point goes to a judge")
			}
		})
	}
}

// section returns an object in v.
func section(v map[string]any, key string) map[string]any {
	m, _ := v[key].(map[string]any)
	return m
}

// folders returns every path in v that a daemon would write, and everything that is
// relative to wherever it was started.
func folders(v any) (all []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(mapKeys(v)) {
			if key == "plugin" { // switched off
				continue
			}
			all = append(all, folders(v[key])...)
		}
	case []any:
		for _, x := range v {
			all = append(all, folders(x)...)
		}
	case string:
		if strings.HasPrefix(v, "./") || strings.HasPrefix(v, "/var/") {
			all = append(all, v)
		}
	}
	return all
}

func mapKeys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// writable says whether a unit may write path.
func writable(unit, path string) bool {
	for key, base := range map[string]string{"ReadWritePaths": "", "StateDirectory": "/var/lib/", "LogsDirectory": "/var/log/"} {
		for dir := range strings.FieldsSeq(setting(unit, key)) {
			if rel, err := filepath.Rel(base+dir, path); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
				return true
			}
		}
	}
	return false
}

// The second installation keeps what an operator wrote, and shows what is new.
func TestInstallAgain(t *testing.T) {
	bin, daemons := programs(t)
	dest := t.TempDir()
	install(t, dest, bin, "config", daemons)
	if said := install(t, dest, bin, "config", daemons); said != "" {
		t.Errorf("with nothing new it says %q", said)
	}
	mine := `{"minStep": 10}`
	write(t, configOf(dest, "transfer"), mine, 0o640)
	newer := "#!/bin/sh\necho 99.1.0\n"
	agent := filepath.Join(dest, "opt/falcon/agent/falcon-agent")
	write(t, agent, newer, 0o755)
	if err := os.Remove(filepath.Join(dest, "usr/bin/falcon-graph")); err != nil {
		t.Fatal(err)
	}
	said := install(t, dest, bin, "config", daemons)
	if got := read(t, configOf(dest, "transfer")); got != mine {
		t.Errorf("the operator's transfer.json became %s", got)
	}
	if got := read(t, configOf(dest, "transfer")+".new"); !strings.Contains(got, "/var/lib/falcon/transfer/spool") {
		t.Errorf("transfer.json.new is %s", got)
	}
	if got := read(t, agent); got != newer {
		t.Error("a newer agent was replaced by an older one")
	}
	if !fileThere(filepath.Join(dest, "usr/bin/falcon-graph")) {
		t.Error("falcon-graph is not installed again")
	}
	for _, want := range []string{`kept .*/transfer\.json; ours is beside it as transfer\.json\.new`, `kept .*/falcon-agent: it is 99\.1\.0, newer than`} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("it says %q, want %s in it", said, want)
		}
	}
	write(t, agent, "#!/bin/sh\necho 0.0.1\n", 0o755)
	install(t, dest, bin, "config", daemons)
	if st, err := os.Stat(agent); err != nil || st.Size() < 1<<20 {
		t.Error("an older agent was not replaced")
	}
}

// The three nodes share their stores: no file of theirs falls back to SQLite or to a
// Redis of its own, and each daemon has a file.
func TestThreeNodes(t *testing.T) {
	for _, tc := range []struct {
		daemon string
		names  []string
	}{
		{"agent", []string{"node-1:8433", "node-2:8433", "node-3:8433", "node-1:6030,node-2:6030,node-3:6030"}},
		{"transfer", []string{"node-1:6070", "node-2:6070", "node-3:6070", "node-1:6080", "node-2:6080", "node-3:6080"}},
		{"graph", []string{"falcon-mysql:3306)/graph"}},
		{"judge", []string{"falcon-redis:6379", "node-1:6030", "node-2:6030", "node-3:6030", "node-1:6082", "node-2:6082", "node-3:6082"}},
		{"plus_judge", []string{"falcon-redis:6379", "node-1:6030", "node-2:6030", "node-3:6030"}},
		{"hbs", []string{"falcon-mysql:3306)/falcon_portal", "falcon-redis:6379", "node-1:8433", "node-2:8433", "node-3:8433"}},
		{"alarm", []string{"falcon-mysql:3306)/alarms", "falcon-mysql:3306)/falcon_portal", "falcon-mysql:3306)/uic", "falcon-redis:6379"}},
		{"nodata", []string{"falcon-mysql:3306)/falcon_portal", "falcon-redis:6379"}},
		{"api", []string{"falcon-mysql:3306)/alarms", "falcon-mysql:3306)/falcon_portal", "falcon-mysql:3306)/uic", "falcon-mysql:3306)/graph", "falcon-mysql:3306)/dashboard", "falcon-redis:6379", "node-1:6070", "node-2:6070", "node-3:6070"}},
		{"dashboard", nil},
		{"poly_metric", []string{"falcon-mysql:3306)/falcon_portal", "falcon-redis:6379"}},
	} {
		text := read(t, "../config/examples/three-nodes/"+tc.daemon+".json")
		for _, name := range tc.names {
			if !strings.Contains(text, name) {
				t.Errorf("%s.json does not name %s", tc.daemon, name)
			}
		}
	}
}
