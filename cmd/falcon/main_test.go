package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
	"falcon/modules/api"
)

func falcon(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), &cli{strings.NewReader(stdin), &out, &errs}, args)
	return code, out.String(), errs.String()
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"graph":{"retentoin":"1h"},"lisen":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	for _, tc := range []struct {
		name     string
		args     []string
		code     int
		out, err string
	}{
		{"nothing", nil, 0, "falcon up", ""},
		{"an unknown command", []string{"start"}, 2, "", `there is no command "start"`},
		{"version", []string{"version"}, 0, "falcon 0.1.0", ""},
		{"an unknown flag", []string{"up", "--port", "1"}, 2, "", "-port"},
		{"an argument too many", []string{"up", "now"}, 2, "", `unexpected argument "now"`},
		{"a bad file", []string{"config", "--config", bad}, 2, "", `unknown key "graph.retentoin", did you mean "retention"?`},
		{"every problem of it", []string{"config", "--config", bad}, 2, "", `unknown key "lisen", did you mean "listen"?`},
		{"a bad address", []string{"config", "--listen", "everywhere"}, 2, "", `listen: "everywhere" is no address`},
		{"the configuration whole", []string{"config", "--data", data}, 0, `"rpc": {`, ""},
		{"folders follow the data folder", []string{"config", "--data", data}, 0, filepath.Join(data, "spool", "transfer"), ""},
		{"check without a fleet", []string{"check", "--data", data}, 1, "down: nobody listens there", "do not answer"},
		{"load with a rate that is none", []string{"load", "--rate", "fast"}, 2, "", `rate "fast": points a second, or max`},
		{"load that can not be", []string{"load", "--protocol", "udp", "--step", "0"}, 2, "", `protocol "udp" is unknown`},
		{"load to verify at graphs without names", []string{"load", "--verify", "127.0.0.1:1,127.0.0.1:2"}, 2, "", `each has its name on the ring: name=address`},
		{"load that watches nobody", []string{"load", "--watch", "no-such-program"}, 1, "", `no process has the PID or the program "no-such-program"`},
		{"passwd without a name", []string{"passwd"}, 2, "", "name one user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "check without a fleet" {
				// Addresses at which nobody listens.
				if err := os.MkdirAll(data, 0o755); err != nil {
					t.Fatal(err)
				}
				js := `{"agent.http.listen":"127.0.0.1:1","transfer.http.listen":"127.0.0.1:1","graph.http.listen":"127.0.0.1:1","api.web_port":"127.0.0.1:1"}`
				if err := os.WriteFile(filepath.Join(data, "endpoints.json"), []byte(js), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, out, errs := falcon(t, "", tc.args...)
			if code != tc.code || !strings.Contains(out, tc.out) || !strings.Contains(errs, tc.err) {
				t.Errorf("falcon %v: code %d\n%s%s\nwant code %d, %q and %q", tc.args, code, out, errs, tc.code, tc.out, tc.err)
			}
		})
	}
}

func TestPasswd(t *testing.T) {
	data := t.TempDir()
	for _, tc := range []struct {
		name, stdin string
		args        []string
		code        int
		says        string
	}{
		{"from standard input; root is made when missing", "correct horse\n", []string{"root"}, 0, "the password of root is changed"},
		{"made up", "", []string{"root"}, 0, "the new password of root is "},
		{"nobody of that name", "x\n", []string{"nobody"}, 1, `user "nobody"`},
	} {
		code, out, errs := falcon(t, tc.stdin, append([]string{"passwd", "--data", data}, tc.args...)...)
		if code != tc.code || !strings.Contains(out+errs, tc.says) {
			t.Errorf("%s: code %d, %s%s; want %d, %q", tc.name, code, out, errs, tc.code, tc.says)
		}
	}
}

// The rules about the daemons are made by a command where no falcon up has made them.
func TestRules(t *testing.T) {
	data := t.TempDir()
	if code, _, errs := falcon(t, "", "rules", "--data", data, "falcon"); code != 2 || !strings.Contains(errs, "falcon rules falcon ops") {
		t.Errorf("without a team: %d %s", code, errs)
	}
	if code, _, errs := falcon(t, "", "rules", "--data", data, "falcon", "ops"); code != 1 || !strings.Contains(errs, `team "ops"`) {
		t.Errorf("a team that is not there: %d %s", code, errs)
	}
	db, err := portal.Open(t.Context(), portal.Config{Dir: filepath.Join(data, "portal")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.CreateTeam(t.Context(), portal.Team{Name: "ops"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rules for the hosts of group falcon, and tells team ops", "there is a template falcon.self already"} {
		if code, out, errs := falcon(t, "", "rules", "--data", data, "falcon", "ops"); code != 0 || !strings.Contains(out, want) {
			t.Errorf("got %d %s %s, want %q", code, out, errs, want)
		}
	}
	tpl, err := db.TemplateByName(t.Context(), api.SelfTemplate)
	if err != nil {
		t.Fatal(err)
	}
	all, err := db.Strategies(t.Context(), tpl.ID)
	if err != nil || len(all) != len(api.SelfRules) {
		t.Errorf("%d rules, %v; want %d", len(all), err, len(api.SelfRules))
	}
	// What was deleted is made again by whoever asks for it, and by no start.
	start := func() {
		t.Helper()
		if made, err := api.EnsureSelfRules(t.Context(), db, "falcon", "ops", false, time.Now()); err != nil || made {
			t.Errorf("a start made the template: %v, %v", made, err)
		}
	}
	start()
	if err := db.DeleteTemplate(t.Context(), tpl.ID); err != nil {
		t.Fatal(err)
	}
	start()
	if code, out, errs := falcon(t, "", "rules", "--data", data, "falcon", "ops"); code != 0 || !strings.Contains(out, "tells team ops") {
		t.Errorf("asked for it again: %d %s %s", code, out, errs)
	}
}
