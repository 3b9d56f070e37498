package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

// A lone is a program that runs by itself, with nobody whom it talks to.
type lone struct {
	t    testing.TB
	name string
	dir  string // where it runs, and below it everything that it keeps
	at   string // of its pages
	peer string
	file string
	p    *testkit.Process
}

// folders are the folders that programs have for themselves alone; empty for one that has none.
var folders = map[string]string{
	"agent": "agent", "transfer": "transfer", "gateway": "gateway", "graph": "graph", "judge": "judge", "plus_judge": "plus_judge",
	"hbs": "", "alarm": "", "nodata": "", "poly_metric": "", "api": "", "dashboard": "",
}

// loneConfig is the configuration of a program that has its pages at an address, and whose
// peers are at another, where nobody is.
func loneConfig(t testing.TB, name, at, nobody string) values {
	redis, portal := values{"addr": nobody}, "portal"
	perhaps := values{"enabled": true, "addr": nobody}
	listen := func(addr string) values { return values{"enabled": true, "listen": addr} }
	cfg := map[string]values{
		"agent": {
			"hostname": "alone", "heartbeat": values{"enabled": false}, "spool": values{"dir": "agent"},
			"transfer": values{"enabled": true, "addrs": []string{nobody}, "interval": 3600},
		},
		"transfer": {
			"socket": values{"enabled": false}, "spool": values{"dir": "transfer"},
			"graph": values{"enabled": true, "cluster": values{"graph-00": nobody}}, "judge": values{"enabled": true, "cluster": values{"judge-00": nobody}},
		},
		"gateway":     {"socket": values{"enabled": false}, "spool": values{"dir": "gateway"}, "transfer": values{"enabled": true, "cluster": values{"t1": nobody}}},
		"graph":       {"data": "graph", "db": values{"dir": portal}},
		"judge":       {"data": "judge", "hbs": values{"servers": []string{nobody}}, "alarm": values{"redis": redis}},
		"plus_judge":  {"data": "plus_judge", "hbs": values{"servers": []string{nobody}}, "alarm": values{"redis": redis}},
		"hbs":         {"listen": testkit.FreeAddr(t), "db_dir": portal, "redis": perhaps, "liveness": values{"enabled": false}},
		"alarm":       {"redis": redis, "db": values{"dir": portal}},
		"nodata":      {"config": values{"dir": portal}, "plus_api": values{"addr": "http://" + nobody}, "sender": values{"enabled": true, "transferAddr": nobody}},
		"poly_metric": {"database": values{"dir": portal}, "redis": values{"enabled": false}, "api": values{"plus_api": "http://" + nobody, "push_api": "http://" + nobody}},
		"api":         {"db": values{"dir": portal}, "redis": perhaps, "graphs": values{"cluster": values{"graph-00": nobody}}},
		"dashboard":   {"api": "http://" + nobody},
	}[name]
	cfg["self"] = values{"enabled": false}
	switch name {
	case "api":
		cfg["web_port"] = at
	case "dashboard":
		cfg["listen"] = at
	default:
		cfg["http"] = listen(at)
	}
	if slices.Contains([]string{"transfer", "gateway", "graph", "judge", "plus_judge"}, name) {
		cfg["rpc"] = listen(testkit.FreeAddr(t))
	}
	return cfg
}

// newLone writes the configuration of a program, and starts nothing.
func newLone(t testing.TB, name, dir string) *lone {
	t.Helper()
	return (&lone{t: t, name: name, dir: dir, peer: testkit.FreeAddr(t)}).another()
}

// another is the same program on the same folder, with addresses of its own.
func (l *lone) another() *lone {
	l.t.Helper()
	next := *l
	next.at = testkit.FreeAddr(l.t)
	next.file = filepath.Join(l.dir, fmt.Sprintf("%s-%s.json", l.name, next.at))
	next.write(loneConfig(l.t, l.name, next.at, l.peer))
	return &next
}

func (l *lone) write(cfg any) {
	l.t.Helper()
	raw, isText := cfg.([]byte)
	if !isText {
		var err error
		if raw, err = json.Marshal(cfg); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := os.WriteFile(l.file, raw, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lone) start() {
	l.t.Helper()
	l.p = testkit.Start(l.t, l.dir, testkit.Program(l.t, l.name), "-c", l.file)
}

// serves waits until it answers at its pages, whatever it says there.
func (l *lone) serves() {
	l.t.Helper()
	testkit.Eventually(l.t, 20*time.Second, func() error {
		_, _, err := l.get("/version")
		return err
	})
}

func (l *lone) get(path string) (code int, text string, err error) {
	resp, err := http.Get("http://" + l.at + path)
	if err != nil {
		return 0, "", fmt.Errorf("%w\n%s", err, l.p.Output())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// refuses fails the test unless the program ends by itself, not well, and says all of words.
func (l *lone) refuses(words ...string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	if err := l.p.Wait(ctx); err == nil || ctx.Err() != nil {
		l.t.Errorf("%s runs: %v", l.name, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(l.p.Output(), w) {
			l.t.Errorf("%s does not say %q:\n%s", l.name, w, l.p.Output())
		}
	}
}

// eachProgram runs a test for each program that a fleet has.
func eachProgram(t *testing.T, test func(t *testing.T, l *lone)) {
	programs, err := filepath.Glob(filepath.Join(testkit.Root(), "cmd", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range programs {
		name := filepath.Base(path)
		if _, known := folders[name]; !known {
			if name != "falcon" && name != "agent-guard" { // tools, and no daemons
				t.Errorf("nothing is known of the program %s", name)
			}
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newLone(t, name, t.TempDir()))
		})
	}
}

// eachFolder runs a test for each program that has a folder for itself alone.
func eachFolder(t *testing.T, test func(t *testing.T, l *lone, folder string)) {
	for name, folder := range folders {
		if folder == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newLone(t, name, t.TempDir()), folder)
		})
	}
}

// A configuration that can not work changes nothing when it is read again, names what is
// wrong with it, and the daemon goes on; a right one is taken after it.
func TestWrongReloads(t *testing.T) {
	eachProgram(t, func(t *testing.T, l *lone) {
		good, err := os.ReadFile(l.file)
		if err != nil {
			t.Fatal(err)
		}
		l.start()
		l.serves()
		config := func() string {
			t.Helper()
			_, text, err := l.get("/config")
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		before := config()
		with := func(change values) []byte {
			var cfg values
			if err := json.Unmarshal(good, &cfg); err != nil {
				t.Fatal(err)
			}
			maps.Copy(cfg, change)
			raw, err := json.Marshal(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		for _, tc := range []struct {
			file  []byte
			names string // what the answer has to name
		}{
			{[]byte(`{"debug": tru`), filepath.Base(l.file)},
			{[]byte(`{"debug": "yes"}`), "debug"},
			{with(values{"drain": "-1s"}), "drain"},
			{with(values{"drain": []int{1}}), "drain"},
		} {
			l.write(tc.file)
			code, text, err := l.get("/config/reload")
			if err != nil || code != http.StatusBadRequest || !strings.Contains(text, "nothing changed: ") || !strings.Contains(text, tc.names) {
				t.Errorf("%s: %d %q, %v; want what names %s", tc.file, code, text, err, tc.names)
			}
			if after := config(); after != before {
				t.Errorf("%s has changed the configuration\nfrom %s\nto   %s", tc.file, before, after)
			}
		}
		l.write(with(values{"debug": true}))
		testkit.Eventually(t, 20*time.Second, func() error { // alarm may still bring its database to its schema
			if code, text, err := l.get("/config/reload"); err != nil || code != http.StatusOK {
				return fmt.Errorf("a right one: %d %q, %v", code, text, err)
			}
			return nil
		})
		l.p.Stop()
	})
}

// Two programs on one folder would destroy what is there: the second says so and ends, and
// the first does not notice. After a kill the next one begins at once.
func TestTwoOnOneFolder(t *testing.T) {
	eachFolder(t, func(t *testing.T, l *lone, folder string) {
		l.start()
		l.serves()
		second := l.another()
		second.start()
		second.refuses("another process", folder)
		if _, _, err := l.get("/version"); err != nil {
			t.Error(err)
		}
		l.p.Kill()
		second.start()
		second.serves()
		second.p.Stop()
	})
	t.Run("falcon", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		p, _ := up(t, dir)
		second := &lone{t: t, name: "falcon up", p: testkit.Start(t, dir, testkit.Program(t, "falcon"), "up", "--data", "data", "--config", onAnyPort(t, t.TempDir()))}
		second.refuses("another", "data")
		p.Kill()
		p, _ = up(t, dir)
		p.Stop()
	})
}

// A folder in which nothing can be written is named when a program starts.
func TestFoldersThatTakeNothing(t *testing.T) {
	eachFolder(t, func(t *testing.T, l *lone, folder string) {
		disk := testkit.SmallDisk(t, filepath.Join(l.dir, folder), "1m")
		disk.ReadOnly()
		l.start()
		l.refuses("read-only file system", folder)
		disk.Writable()
		l.start()
		l.serves()
		l.p.Kill()
	})
}
