package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The order of contract ingest 3.3, and what each source says no to.
func TestEndpoint(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "network")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	network := file("NETWORKING=yes\n# the name\nHOSTNAME=\"from-file\"\n")
	for _, tc := range []struct {
		name, config, env, file, rule, kernel, ip string
		local                                     string // by which hbs is reached; "" for no way
		want, err                                 string
	}{
		{name: "configuration first", config: "here", env: "from-env", file: network, kernel: "k", want: "here"},
		{name: "then the environment", env: "from-env", file: network, kernel: "k", want: "from-env"},
		{name: "then the file", file: network, rule: ruleIPN, kernel: "k", want: "from-file"},
		{name: "last the kernel", kernel: "k", want: "k"},
		{name: "no file", file: filepath.Join(t.TempDir(), "gone"), kernel: "k", want: "k"},
		{name: "a file without the name", file: file("NETWORKING=yes\nGATEWAY=10.0.0.1\n"), kernel: "k", want: "k"},
		{name: "an empty name in the file", file: file("HOSTNAME=\n"), kernel: "k", want: "k"},
		{name: "anaconda's file", file: file("# Created by anaconda\n"), kernel: "k", want: "k"},
		{name: "a bare name", file: file("bare.example.org\n"), kernel: "k", want: "bare.example.org"},
		{name: "a bare name among others", file: file("one\ntwo\n"), kernel: "k", want: "k"},
		{name: "a word is no name beside assignments", file: file("NETWORKING=yes\nfoo\n"), kernel: "k", want: "k"},
		{name: "a sentence is no name", file: file("no name here\n"), kernel: "k", want: "k"},
		{name: "exported", file: file("export HOSTNAME='x'\n"), kernel: "k", want: "x"},
		{name: "a file that can not be read", file: t.TempDir(), kernel: "k", err: "hostname_file: read"},
		{name: "the kernel does not tell", err: "the kernel does not tell it"},
		{name: "a name of the rule's form stays", rule: ruleIPN, kernel: "n9-1-2", local: "10.3.21.225", want: "n9-1-2"},
		{name: "another is made of the address", rule: ruleIPN, kernel: "web-1", local: "10.3.21.225", want: "n3-021-225"},
		{name: "of four parts", rule: ruleIPN, kernel: "n-1-2-3", local: "10.3.1.2", want: "n3-001-002"},
		{name: "without n", rule: ruleIPN, kernel: "m3-1-2", local: "10.13.1.2", want: "n13-001-002"},
		{name: "of the address that is configured", rule: ruleIPN, kernel: "k", ip: "10.1.2.3", local: "10.3.21.225", want: "n1-002-003"},
		{name: "no name of the loopback", rule: ruleIPN, kernel: "k", local: "127.0.0.1", err: `127.0.0.1 leads to hbs:6030`},
		{name: "none of IPv6", rule: ruleIPN, kernel: "k", local: "fd00::1", err: `set "ip" or "hostname"`},
		{name: "none of a configured one", rule: ruleIPN, kernel: "k", ip: "fd00::1", err: "ip: fd00::1 is not of IPv4"},
		{name: "no way", rule: ruleIPN, kernel: "k", err: "no address of IPv4 leads to hbs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Hostname, cfg.HostnameFile, cfg.HostnameRule, cfg.IP = tc.config, tc.file, tc.rule, tc.ip
			cfg.Heartbeat.Addr, cfg.Transfer.Addrs = "hbs:6030", nil
			got, err := naming{&cfg, func(string) string { return tc.env }, func() (string, error) {
				if tc.kernel == "" {
					return "", errors.New("no")
				}
				return tc.kernel, nil
			}, func(string) (netip.Addr, error) {
				if tc.local == "" {
					return netip.Addr{}, errors.New("network is unreachable")
				}
				return netip.MustParseAddr(tc.local), nil
			}}.endpoint()
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %q, %v\nwant %q, %q", got, err, tc.want, tc.err)
			}
		})
	}
	cfg := DefaultConfig()
	cfg.HostnameRule = "ip"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `hostname_rule: "ip" is unknown, use "ip-n"`) {
		t.Errorf("error %v", err)
	}
}

// The address from which hbs is reached, of either version of IP.
func TestLocalIP(t *testing.T) {
	for peer, want := range map[string]string{"127.0.0.1:6030": "127.0.0.1", "[::1]:6030": "::1"} {
		if ip, err := localIP(peer); err != nil || ip.String() != want {
			t.Errorf("%s is reached from %v, %v; want %s", peer, ip, err, want)
		}
	}
	if ip, err := localIP("no-port"); err == nil {
		t.Errorf("no address is reached from %v", ip)
	}
}

// A host that is renamed while the agent runs keeps its endpoint; the new name is logged
// once, told as long as it differs, and ends by a 0.
func TestRenamed(t *testing.T) {
	kernel := "old"
	var logged strings.Builder
	cfg := testConfig("t:1")
	cfg.Hostname = ""
	t.Setenv("FALCON_ENDPOINT", "here")
	a, err := New(cfg, Deps{Log: slog.New(slog.NewTextHandler(&logged, nil)), Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	a.renaming = newRenaming(func() (string, error) { return kernel, nil })
	tell := func() string {
		items, err := self{a}.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		a.handler().ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
		said := fmt.Sprint(w.Code)
		if strings.Contains(w.Body.String(), `is "new" and was "old" at start; this agent reports as "here"`) {
			said += " told"
		}
		for _, it := range items {
			if it.Metric == "agent.hostname.changed" {
				said += fmt.Sprint(" ", it.Value)
			}
		}
		return said
	}
	if got := tell(); got != "200" {
		t.Errorf("at first: %s", got)
	}
	kernel = "new"
	for range 3 {
		if got := tell(); got != "200 told 1" {
			t.Errorf("renamed: %s", got)
		}
	}
	kernel = "old"
	if got := tell(); got != "200 0" {
		t.Errorf("named as before: %s", got)
	}
	if n := strings.Count(logged.String(), "has changed"); n != 2 || !strings.Contains(logged.String(), "was=old is=new endpoint=here") {
		t.Errorf("logged %d times: %s", n, &logged)
	}
}
