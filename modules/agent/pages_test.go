package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/testkit"
	"falcon/modules/agent/collect"
)

// visitor is an agent of the host in testdata, and how its pages answer callers.
func visitor(t *testing.T, change func(*Config)) (*Agent, func(method, path, from, body string, header ...string) string) {
	t.Helper()
	cfg := testConfig("t:1")
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg, Deps{
		Log: slog.New(slog.DiscardHandler), Root: "collect/testdata/root",
		Now: func() time.Time { return time.Date(2026, 11, 22, 4, 11, 43, 0, time.UTC) },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := a.handler()
	return a, func(method, path, from, body string, header ...string) string {
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.RemoteAddr = from
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		return fmt.Sprint(rec.Code, " ", strings.TrimSpace(rec.Body.String()))
	}
}

const (
	local    = "127.0.0.1:40000"
	stranger = "10.9.8.6:40000"
	friend   = "10.9.8.7:40000"
)

// Each page shows the host in stock's shape, to anybody.
func TestPages(t *testing.T) {
	a, ask := visitor(t, nil)
	for path, want := range map[string]string{
		"/proc/cpu/num":         `1`,
		"/proc/cpu/mhz":         `"2399.998"`,
		"/proc/memory":          `{"total":8192000000,"free":4300800000,"used":3891200000}`,
		"/page/memory":          `[7812,3710,4101]`,
		"/proc/kernel/hostname": `"here"`,
		"/proc/kernel/version":  `"6.1.0-13-amd64"`,
		"/proc/system/uptime":   `{"days":1,"hours":0,"mins":0}`,
		"/page/system/uptime":   `"1 days 0 hours 0 minutes"`,
		"/proc/system/loadavg":  `{"Avg1min":0.5,"Avg5min":0.4,"Avg15min":0.3,"RunningProcesses":2,"TotalProcesses":300}`,
		"/page/system/loadavg":  `[[0.5,50],[0.4,40],[0.3,30]]`,
		"/page/diskio":          `[]`,
		"/system/date":          `"2026-11-22 04:11:43"`,
		"/ips":                  `[]`,
		"/plugins":              `{}`,
	} {
		if got, want := ask("GET", path, stranger, ""), `200 {"msg":"success","data":`+want+`}`; got != want {
			t.Errorf("GET %s\n got %s\nwant %s", path, got, want)
		}
	}
	number := regexp.MustCompile(`^200 {"msg":"success","data":[1-9][0-9]*}$`)
	for _, path := range []string{"/proc/kernel/maxproc", "/proc/kernel/maxfiles"} {
		if got := ask("GET", path, stranger, ""); !number.MatchString(got) {
			t.Errorf("GET %s: %s", path, got)
		}
	}
	for _, path := range []string{"/proc/cpu/usage", "/page/cpu/usage"} {
		if got := ask("GET", path, stranger, ""); got != `200 {"msg":"not prepared"}` {
			t.Errorf("GET %s in the first second: %s", path, got)
		}
	}
	a.host.root = collect.At(t.TempDir())
	for _, path := range []string{"/proc/cpu/num", "/proc/cpu/mhz", "/proc/memory", "/page/memory", "/proc/kernel/version", "/proc/system/uptime", "/page/system/loadavg", "/proc/kernel/maxproc"} {
		if got := ask("GET", path, stranger, ""); !strings.HasPrefix(got, `200 {"msg":"open `) {
			t.Errorf("GET %s of a host without the file: %s", path, got)
		}
	}
}

// The pages over the last second, from two looks at a host that has moved on.
func TestPagesOverASecond(t *testing.T) { synctest.Test(t, pagesOverASecond) }

func pagesOverASecond(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("collect/testdata/root")); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig("t:1")
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "proc", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const intr = "cpu0 0 0 0 0 0 0 0 0 0 0\nintr 1\nctxt 1\nbtime 1\n"
	write("stat", "cpu  100 0 0 100 0 0 0 0 0 0\n"+intr)
	write("diskstats", "254 0 vda 100 10 2000 50 200 20 4000 80 1 90 130\n")
	sampled(t, a)
	<-time.After(time.Second)
	write("stat", "cpu  125 0 5 170 0 0 0 0 0 0\n"+intr)
	write("diskstats", "254 0 vda 104 12 2080 58 206 23 4160 92 1 100 1130\n")
	sampled(t, a)
	get := func(path string) string {
		rec := httptest.NewRecorder()
		a.handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return strings.TrimSpace(rec.Body.String())
	}
	for path, want := range map[string]string{
		"/proc/cpu/usage": `{"msg":"success","data":{"idle":70,"busy":30,"user":25,"nice":0,"system":5,"iowait":0,"irq":0,"softirq":0,"steal":0,"guest":0}}`,
		"/page/cpu/usage": `{"msg":"success","data":[["70.0%","30.0%","25.0%","0.0%","5.0%","0.0%","0.0%","0.0%","0.0%","0.0%"]]}`,
	} {
		if got := get(path); got != want {
			t.Errorf("GET %s\n got %s\nwant %s", path, got, want)
		}
	}
	want := `{"msg":"success","data":[["vda","2","3","4","6","40.00","80.00","24.00","1.00","2.00","1.00","1.00%"]]}`
	if got := get("/page/diskio"); got != want {
		t.Errorf("GET /page/diskio\n got %s\nwant %s", got, want)
	}

	// Nobody has looked for ten seconds: the pages do, and show what those were like.
	<-time.After(10 * time.Second)
	write("stat", "cpu  125 0 5 1170 0 0 0 0 0 0\n"+intr)
	write("diskstats", "254 0 vda 204 12 2080 58 206 23 4160 92 1 1100 1130\n")
	for path, want := range map[string]string{
		"/page/cpu/usage": `{"msg":"success","data":[["100.0%","0.0%","0.0%","0.0%","0.0%","0.0%","0.0%","0.0%","0.0%","0.0%"]]}`,
		"/page/diskio":    `{"msg":"success","data":[["vda","0","0","10","0","0.00","0.00","0.00","0.00","0.00","10.00","10.00%"]]}`,
	} {
		if got := get(path); got != want {
			t.Errorf("GET %s\n got %s\nwant %s", path, got, want)
		}
	}
}

// Mounts are shown with sizes that people read.
func TestDFPage(t *testing.T) {
	for v, want := range map[float64]string{0: "0.0B", 1023: "1023.0B", 1024: "1.0K", 8 << 30: "8.0G", 1.5 * (1 << 40): "1.5T", 1 << 62: "4.0E"} {
		if got := readable(v); got != want {
			t.Errorf("readable(%v) = %s, want %s", v, got, want)
		}
	}
	a, err := New(testConfig("t:1"), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	v, err := a.host.dfPage(context.Background()) // of this host
	rows, _ := v.([][]string)
	if err == nil {
		for _, row := range rows {
			if len(row) != 11 || !strings.HasSuffix(row[4], "%") || !strings.HasPrefix(row[5], "/") {
				t.Errorf("a row is %q", row)
			}
		}
	}
}

// What was captured from stock is answered with stock's status, type and shape.
func TestStockPages(t *testing.T) {
	a, _ := visitor(t, nil)
	a.trust("10.9.8.7,10.9.8.8")
	for _, name := range []string{"ips", "version", "plugins"} {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(read(t, "testdata/http-agent/"+name+".c2s.bin"))))
		if err != nil {
			t.Fatal(err)
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(read(t, "testdata/http-agent/"+name+".s2c.bin"))), req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRecorder()
		a.handler().ServeHTTP(got, req)
		if got.Code != want.StatusCode || got.Result().Header.Get("Content-Type") != want.Header.Get("Content-Type") {
			t.Errorf("%s: %d %s, want %d %s", name, got.Code, got.Result().Header.Get("Content-Type"), want.StatusCode, want.Header.Get("Content-Type"))
		}
		if name == "ips" && strings.TrimSpace(got.Body.String()) != strings.TrimSpace(string(body)) {
			t.Errorf("%s: %s, want %s", name, got.Body, body)
		}
	}
}

// Only those who are trusted may change something, and commands are off.
func TestCommandsAreForTheTrusted(t *testing.T) {
	a, ask := visitor(t, nil)
	a.trust(" 10.9.8.7, ,10.9.8.8")
	for _, tc := range []struct {
		method, path, from, want string
		header                   []string
	}{
		{"POST", "/run", local, "200 /run disabled", nil},
		{"POST", "/run", stranger, "200 /run disabled", nil},
		{"GET", "/plugin/update", local, "200 plugin not enabled", nil},
		{"GET", "/plugin/update", friend, "200 plugin not enabled", nil},
		{"GET", "/plugin/update", "[::1]:1", "200 plugin not enabled", nil},
		{"GET", "/plugin/update", "[::ffff:10.9.8.8]:1", "200 plugin not enabled", nil},
		{"GET", "/plugin/update", stranger, "200 no privilege", nil},
		{"GET", "/plugin/reset", stranger, "200 no privilege", nil},
		{"GET", "/exit", stranger, "200 no privilege", nil},
		{"GET", "/exit", local, "409 this agent is part of a larger process and does not end alone", nil},
		{"GET", "/exit", local, "200 no privilege", []string{"Sec-Fetch-Site", "cross-site"}},
		{"GET", "/exit", local, "200 no privilege", []string{"Origin", "http://elsewhere"}},
	} {
		if got := ask(tc.method, tc.path, tc.from, "id", tc.header...); got != tc.want {
			t.Errorf("%s %s from %s %v: %s, want %s", tc.method, tc.path, tc.from, tc.header, got, tc.want)
		}
	}
	if got, want := ask("GET", "/ips", stranger, ""), `200 {"msg":"success","data":["10.9.8.7","10.9.8.8"]}`; got != want {
		t.Errorf("/ips: %s, want %s", got, want)
	}
}

func TestRun(t *testing.T) {
	_, ask := visitor(t, func(c *Config) { c.HTTP.Backdoor = true })
	for _, tc := range []struct{ from, body, want string }{
		{local, "echo yes; echo no >&2", "200 yes"},
		{stranger, "echo yes", "200 no privilege"},
		{local, " \n", "400 body is blank"},
		{local, "echo it is broken >&2; exit 3", "200 exec fail: exit status 3: it is broken"},
		{local, "exit 3", "200 exec fail: exit status 3"},
		{local, "head -c 20000000 /dev/zero", "200 exec fail: more than 16 MiB of output"},
	} {
		if got := ask("POST", "/run", tc.from, tc.body); got != tc.want {
			t.Errorf("%q from %s: %.200s, want %s", tc.body, tc.from, got, tc.want)
		}
	}
	// Its children end with the caller, too.
	ctx, cancel := context.WithCancel(t.Context())
	marker := filepath.Join(t.TempDir(), "begun")
	ended := make(chan error, 1)
	go func() {
		_, err := command(ctx, "", "sh", "-c", "sleep 1000 & touch "+marker+"; wait")
		ended <- err
	}()
	testkit.Eventually(t, 10*time.Second, func() error { _, err := os.Stat(marker); return err })
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("a command whose caller has gone: %v", err)
	}
}

// /plugin/update clones, then pulls; /plugin/reset takes back what was changed by hand.
func TestPluginFolder(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	origin, dir := t.TempDir(), filepath.Join(t.TempDir(), "below", "plugin")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-C", origin}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	commit := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(origin, "60_a.sh"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		git("add", ".")
		git("commit", "-q", "-m", "a")
	}
	git("init", "-q")
	commit("one")
	_, ask := visitor(t, func(c *Config) { c.Plugin.Enabled, c.Plugin.Dir, c.Plugin.Git = true, dir, origin })
	holds := func(want string) {
		t.Helper()
		if got := string(read(t, filepath.Join(dir, "60_a.sh"))); got != want {
			t.Errorf("the plugin is %q, want %q", got, want)
		}
	}
	does := func(path, want string) {
		t.Helper()
		if got := ask("GET", path, local, ""); got != want {
			t.Fatalf("GET %s: %s, want %s", path, got, want)
		}
	}
	does("/plugin/reset", "200 success") // there is nothing yet
	does("/plugin/update", "200 success")
	holds("one")
	commit("two")
	does("/plugin/update", "200 success")
	holds("two")
	if err := os.WriteFile(filepath.Join(dir, "60_a.sh"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	does("/plugin/reset", "200 success")
	holds("two")
	if err := os.RemoveAll(origin); err != nil {
		t.Fatal(err)
	}
	if got := ask("GET", "/plugin/update", local, ""); !strings.HasPrefix(got, "200 git pull in dir:"+dir+" fail. error: ") {
		t.Errorf("without its origin: %s", got)
	}
}

// An agent that is its process ends on /exit, after it has answered.
func TestExit(t *testing.T) {
	cfg := testConfig("t:1")
	cfg.Transfer.Enabled = false
	cfg.HTTP = HTTP{Enabled: true, Listen: testkit.FreeAddr(t)}
	ready := make(chan struct{})
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Ready: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(t.Context()) }()
	<-ready
	for range 2 { // twice is once
		resp, err := http.Get("http://" + cfg.HTTP.Listen + "/exit")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "exiting..." {
			t.Errorf("%q, %v", body, err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}
