package fleet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/testkit"
	"falcon/modules/agent"
	"falcon/modules/alarm"
	"falcon/modules/api"
	"falcon/modules/graph"
	"falcon/modules/hbs"
	"falcon/modules/judge"
	"falcon/modules/nodata"
	plusjudge "falcon/modules/plus_judge"
	polymetric "falcon/modules/poly_metric"
	"falcon/modules/transfer"
)

// surface is everything that peers, scripts and operators of stock or its fork can
// touch: a line each of kind|daemon or database|item|origin, from the contracts.
const surface = "testdata/surface.txt"

// What docs/from-open-falcon.md says of a thing.
const (
	saidSame    = "same"
	saidBetter  = "better"
	saidRetired = "retired"
	saidNotYet  = "not yet"
)

// The page for those who come from Open-Falcon names everything that they can touch,
// and what it says is so: what is the same or better is served, what is retired is taken
// with a warning, and what is not there yet is not there.
func TestFromOpenFalcon(t *testing.T) {
	said := fromOpenFalcon(t)
	_, at := up(t, t.TempDir())
	probe := map[string]func(daemon, item string) (string, error){
		"rpc":    func(daemon, item string) (string, error) { return probeRPC(at, daemon, item) },
		"http":   func(daemon, item string) (string, error) { return probeHTTP(at, daemon, item) },
		"config": probeConfig,
		"redis":  probeRedis,
		"table":  probeTable,
	}
	known := map[string]bool{}
	for _, line := range lines(t, surface) {
		f := strings.Split(line, "|")
		kind, daemon, item := f[0], f[1], f[2]
		key := kind + "|" + daemon + "|" + item
		known[key] = true
		is, err := probe[kind](daemon, item)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		says := said[key]
		switch {
		case says == "":
			t.Errorf("docs/from-open-falcon.md does not name %s; it is %s", key, is)
		case says != is && !(says == saidBetter && is == saidSame):
			t.Errorf("docs/from-open-falcon.md says of %s %q; it is %s", key, says, is)
		}
	}
	for key := range said {
		if !known[key] {
			t.Errorf("docs/from-open-falcon.md names %s, which is not in %s", key, surface)
		}
	}
}

func lines(t *testing.T, path string) (all []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

var quoted = regexp.MustCompile("`([^`]+)`")

// fromOpenFalcon reads the tables of the page: rows of daemon, kind, what is said, items
// in backticks, a note.
func fromOpenFalcon(t *testing.T) map[string]string {
	t.Helper()
	said := map[string]string{}
	for _, line := range lines(t, filepath.Join(testkit.Root(), "docs", "from-open-falcon.md")) {
		f := strings.Split(line, "|")
		if len(f) < 7 || !slices.Contains([]string{saidSame, saidBetter, saidRetired, saidNotYet}, strings.TrimSpace(f[3])) {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(f[4], -1) {
			key := strings.TrimSpace(f[2]) + "|" + strings.TrimSpace(f[1]) + "|" + m[1]
			if said[key] != "" {
				t.Errorf("docs/from-open-falcon.md names %s twice", key)
			}
			said[key] = strings.TrimSpace(f[3])
		}
	}
	return said
}

func probeRPC(at map[string]string, daemon, method string) (string, error) {
	addr := at[daemon+".rpc.listen"]
	if daemon == "hbs" {
		addr = at["hbs.listen"]
	}
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	fmt.Fprintf(c, `{"method":%q,"params":[null],"id":1}`+"\n", method)
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return "", err
	}
	if strings.Contains(answer, "can't find") {
		return saidNotYet, nil
	}
	return saidSame, nil
}

func probeHTTP(at map[string]string, daemon, item string) (string, error) {
	key := daemon + ".http.listen"
	if daemon == "api" {
		key = "api.web_port"
	}
	method, path, _ := strings.Cut(item, " ")
	req, err := http.NewRequest(method, "http://"+at[key]+path, nil)
	if err != nil {
		return "", err
	}
	// Nobody is logged in: what is there refuses, and nothing is changed.
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotFound && strings.HasPrefix(string(b), "404 page not found") {
		return saidNotYet, nil
	}
	return saidSame, nil
}

func probeConfig(daemon, key string) (string, error) {
	cfg, ok := map[string]func() conf.Config{
		"agent":    func() conf.Config { c := agent.DefaultConfig(); return &c },
		"transfer": func() conf.Config { c := transfer.DefaultConfig(); return &c },
		"graph":    func() conf.Config { c := graph.DefaultConfig(); return &c },
		"judge":    func() conf.Config { c := judge.DefaultConfig(); return &c },
		"hbs":      func() conf.Config { c := hbs.DefaultConfig(); return &c },
		"alarm":    func() conf.Config { c := alarm.DefaultConfig(); return &c },
		"nodata":   func() conf.Config { c := nodata.DefaultConfig(); return &c },
		"api":      func() conf.Config { c := api.DefaultConfig(); return &c },

		"plus_judge":  func() conf.Config { c := plusjudge.DefaultConfig(); return &c },
		"poly_metric": func() conf.Config { c := polymetric.DefaultConfig(); return &c },
	}[daemon]
	if !ok {
		return "", fmt.Errorf("no configuration of %s is known", daemon)
	}
	text := "null"
	for _, k := range slices.Backward(strings.Split(key, ".")) {
		name, _ := json.Marshal(k)
		text = fmt.Sprintf("{%s:%s}", name, text)
	}
	warnings, err := conf.Parse([]byte(text), cfg())
	switch {
	case err != nil && strings.Contains(err.Error(), "unknown key"):
		return saidNotYet, nil
	case len(warnings) > 0:
		return saidRetired, nil
	}
	return saidSame, nil // what null breaks elsewhere says nothing of the key
}

// probeRedis looks for the key where all keys are, and in the configuration that names
// lists.
func probeRedis(_, key string) (string, error) {
	for _, file := range []string{"common/redisx/keys.go", "config/alarm.json"} {
		b, err := os.ReadFile(filepath.Join(testkit.Root(), file))
		if err != nil {
			return "", err
		}
		if strings.Contains(strings.ReplaceAll(string(b), "%d", "0"), `"`+key) {
			return saidSame, nil
		}
	}
	return saidNotYet, nil
}

func probeTable(database, table string) (string, error) {
	for _, dialect := range []string{"mysql", "sqlite"} {
		found, err := filepath.Glob(filepath.Join(testkit.Root(), "common/portal/schema", database, dialect, "00??_"+table+".sql"))
		if err != nil {
			return "", err
		}
		if len(found) != 1 {
			return saidNotYet, nil
		}
	}
	return saidSame, nil
}
