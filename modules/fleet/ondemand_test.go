package fleet

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

// What is asked of a host in the portal comes from the host: the port that a rule watches,
// as 1 and, once nobody listens, as 0 with a problem; and what a plugin prints that is
// bound to its group.
func TestAskedOfTheHost(t *testing.T) {
	dir := t.TempDir()
	config := onAnyPort(t, dir)
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	plugins := filepath.Join(dir, "plugin")
	text := strings.Replace(string(b), `"agent": {`, `"agent": {"transfer": {"interval": 1}, "heartbeat": {"interval": 1}, "plugin": {"enabled": true, "dir": "`+plugins+`", "logs": "`+filepath.Join(dir, "logs")+`"}, `, 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(plugins, "test"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(plugins, "test/1_answer.sh"), []byte("#!/bin/sh\necho '[{\"metric\":\"answer\",\"value\":42,\"step\":1,\"counterType\":\"GAUGE\"}]'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())

	p, at := upWith(t, dir, config)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	root.must("POST", "/api/v1/plugin", values{"hostgroup_id": root.group(GroupOfAll), "dir_path": "test"}, nil)
	root.rule("ports", GroupOfAll, values{"metric": "net.port.listen", "tags": "port=" + port, "func": "all(#2)", "op": "==", "right_value": "0", "note": "closed"})
	wants := func(counter string, value float64) {
		t.Helper()
		testkit.Eventually(t, 30*time.Second, func() error {
			got, err := root.history(host, counter, time.Now().Unix()-10, time.Now().Unix()+1)
			if err != nil {
				return err
			}
			for _, v := range got {
				if v == value {
					return nil
				}
			}
			return fmt.Errorf("%s of %s is %v, want %v", counter, host, got, value)
		})
	}
	wants("net.port.listen/port="+port, 1)
	wants("answer", 42)
	ln.Close()
	wants("net.port.listen/port="+port, 0)
	testkit.Eventually(t, 30*time.Second, func() error {
		var cases []map[string]any
		err := root.call("POST", "/api/v1/alarm/eventcases", values{"endpoints": []string{host}, "metrics": "net.port.listen"}, &cases)
		if err == nil && (len(cases) != 1 || cases[0]["status"] != "PROBLEM") {
			err = fmt.Errorf("cases %v, want one problem", cases)
		}
		return err
	})
	p.Stop()
}
