package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/testkit"
	"falcon/modules/api"
)

// inNamespace says that this process is the one in a network of its own.
const inNamespace = "FALCON_TEST_NAMESPACE"

// Stock's own files start our daemons as they are: `-c cfg.json` in the folder of each,
// on stock's ports, with the stores on theirs, in a network of their own. A point that
// the agent was given is in a chart, one by the gateway, too, an alarm reaches stock's
// gateway for mails, and a silent host gets the value of its row. Then the files of its fork do.
func TestStockFilesInTheirPlace(t *testing.T) {
	t.Parallel()
	if os.Getenv(inNamespace) != "" {
		stockFleet(t)
		return
	}
	for _, program := range []string{"unshare", "ip", "mariadbd", "mariadb-install-db", "redis-server"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing", program)
		}
	}
	if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
		t.Skipf("a network of its own needs root: %s", out)
	}
	// Built here: there is no network for it inside.
	for _, name := range stockDaemons {
		testkit.Program(t, name)
	}
	cmd := exec.Command("unshare", "-n", "--", os.Args[0], "-test.run=^TestStockFilesInTheirPlace$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("%s", out)
	}
}

var stockDaemons = []string{"api", "hbs", "graph", "judge", "transfer", "gateway", "alarm", "nodata", "agent", "poly_metric"}

// stockPages are where stock has the health of each.
var stockPages = map[string]string{
	"agent": "127.0.0.1:1988", "transfer": "127.0.0.1:6060", "gateway": "127.0.0.1:16060", "graph": "127.0.0.1:6071",
	"judge": "127.0.0.1:6081", "hbs": "127.0.0.1:6031", "alarm": "127.0.0.1:9912", "nodata": "127.0.0.1:6090", "api": "127.0.0.1:8080",
	"poly_metric": "127.0.0.1:6055",
}

func stockFleet(t *testing.T) {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	stockStores(t, dir)
	mails := make(chan string, 16)
	ln, err := net.Listen("tcp", "127.0.0.1:10086")
	if err != nil {
		t.Fatal(err)
	}
	sink := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mail" {
			mails <- r.FormValue("tos") + " " + r.FormValue("subject")
		}
		_, _ = io.WriteString(w, "ok")
	})}
	go func() { _ = sink.Serve(ln) }() // until it is closed
	defer sink.Close()

	running := startFiles(t, dir, "stockfiles")
	cfg := api.DefaultConfig()
	if _, err := conf.Load(filepath.Join(dir, "api", "cfg.json"), &cfg); err != nil {
		t.Fatal(err)
	}
	db, err := portal.Open(t.Context(), cfg.Portal(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := api.SetPassword(t.Context(), db, cfg.Hasher(), cfg.PasswordHash, "root", "a password"); err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://127.0.0.1:8080", "root", "a password")
	root.must("PUT", "/api/v1/user/update", values{"name": "root", "cnname": "root", "email": "root@example.com"}, nil)
	var me struct{ ID int }
	root.must("GET", "/api/v1/user/current", nil, &me)
	root.must("POST", "/api/v1/team", values{"team_name": "ops", "resume": "", "users": []int{me.ID}}, nil)
	root.must("POST", "/api/v1/hostgroup", values{"name": "rooms"}, nil)
	root.must("POST", "/api/v1/hostgroup/host", values{"hostgroup_id": root.group("rooms"), "hosts": []string{"room-a"}}, nil)
	root.rule("temperature", "rooms", values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})
	root.must("POST", "/api/v1/aggregator", values{"hostgroup_id": root.group("rooms"), "numerator": "$(" + metric + ")", "denominator": "$#", "endpoint": "rooms", "metric": "temperature.mean", "tags": "", "step": 60}, nil)
	// Stock's files name no Redis for api and hbs, which therefore look each minute.
	testkit.Eventually(t, 90*time.Second, func() error {
		if all := rulesOf("127.0.0.1:6081", "room-a"); len(all) != 1 {
			return fmt.Errorf("judge has the rules %+v", all)
		}
		return nil
	})

	// One point by the agent, one by the gateway, one by the line protocol.
	now := time.Now().Unix() / 60 * 60
	item := func(m string, v float64) values {
		return values{"endpoint": "room-a", "metric": m, "counterType": "GAUGE", "tags": "", "timestamp": now, "value": v, "step": 60}
	}
	push(t, "http://127.0.0.1:1988/v1/push", []values{item(metric, 40)})
	push(t, "http://127.0.0.1:16060/api/push", []values{item("by.gateway", 2)})
	c, err := net.Dial("tcp", "127.0.0.1:4444")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "update room-a by.line %d 3 GAUGE 60\nquit\n", now)
	c.Close()
	root.wants(20*time.Second, "room-a", metric, map[int64]float64{now: 40})
	root.wants(20*time.Second, "room-a", "by.gateway", map[int64]float64{now: 2})
	root.wants(20*time.Second, "room-a", "by.line", map[int64]float64{now: 3})
	select {
	case mail := <-mails:
		if !strings.HasPrefix(mail, "root@example.com [P1][PROBLEM][room-a]") {
			t.Errorf("the mail is %q", mail)
		}
	case <-time.After(20 * time.Second):
		t.Error("no mail within 20 s")
	}
	root.wantCase(5*time.Second, "room-a", "PROBLEM")
	// nodata asks the api with the token that both files have.
	silentHost(t, root, "127.0.0.1:6090", "http://127.0.0.1:1988/v1/push?wait=1")

	// The aggregator has looked at its rows within its 55 s, and each has a turn a minute.
	testkit.Eventually(t, 2*time.Minute, func() error {
		now := time.Now().Unix()
		again := item(metric, 40)
		again["timestamp"] = now
		push(t, "http://127.0.0.1:1988/v1/push", []values{again})
		got, err := root.history("rooms", "temperature.mean", now-300, now+60)
		for _, v := range got {
			if v == 40 {
				return nil
			}
		}
		return fmt.Errorf("the mean of the group is %v, %v", got, err)
	})

	// A stock client of each port gets an answer.
	for addr, method := range map[string]string{"127.0.0.1:8433": "Transfer.Ping", "127.0.0.1:18433": "Transfer.Ping"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, `{"method":%q,"params":[{}],"id":1}`+"\n", method)
		var answer struct {
			Result model.SimpleRpcResponse
			Error  any
		}
		if err := json.NewDecoder(c).Decode(&answer); err != nil || answer.Error != nil {
			t.Errorf("%s of %s: %+v, %v", method, addr, answer, err)
		}
		c.Close()
	}

	// The files of its fork start the same programs in the same folders, on a Redis Cluster.
	for _, p := range slices.Backward(running) {
		p.Stop()
	}
	redis := testkit.NewRedisCluster(t, 3, false, "127.0.0.1:7000", "127.0.0.1:7001", "127.0.0.1:7002")
	startFiles(t, dir, "forkfiles")
	root = login(t, "http://127.0.0.1:8080", "root", "a password")
	root.wants(20*time.Second, "room-a", "by.line", map[int64]float64{now: 3})
	push(t, "http://127.0.0.1:1988/v1/push", []values{{
		"endpoint": "room-a", "metric": metric, "counterType": "GAUGE", "tags": "", "timestamp": time.Now().Unix()/60*60 + 60, "value": 20, "step": 60,
	}})
	root.wantCase(20*time.Second, "room-a", "OK") // judge, Redis and alarm have done their part
	for _, key := range []string{redisx.Epoch, redisx.Heartbeats, redisx.AlarmInstances} {
		testkit.Eventually(t, 90*time.Second, func() error { // agents report each minute
			if redis.Master(key).Must("EXISTS", key) != "1" {
				return fmt.Errorf("the cluster has no %s: somebody uses another Redis", key)
			}
			return nil
		})
	}
}

// startFiles starts each daemon with its file of a folder of testdata, as cfg.json in a
// folder of its own, and waits until it is healthy where stock has its pages.
func startFiles(t *testing.T, dir, files string) (running []*testkit.Process) {
	t.Helper()
	for _, name := range stockDaemons {
		own := filepath.Join(dir, name)
		if err := os.MkdirAll(own, 0o755); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(testkit.Root(), "modules/fleet/testdata", files, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(own, "cfg.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		p := testkit.Start(t, own, testkit.Program(t, name), "-c", "cfg.json")
		running = append(running, p)
		testkit.Eventually(t, 30*time.Second, func() error {
			resp, err := http.Get("http://" + stockPages[name] + "/health")
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", name, err, p.Output())
			}
			defer resp.Body.Close()
			if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s %s", name, resp.Status, body)
			}
			return nil
		})
	}
	return running
}

// stockStores starts MariaDB and Redis on the ports that stock's files name.
func stockStores(t *testing.T, dir string) {
	t.Helper()
	data := filepath.Join(dir, "mariadb")
	if out, err := exec.Command("mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+data, "--skip-test-db", "--skip-name-resolve",
		"--auth-root-authentication-method=normal", "--innodb-log-file-size=8M").CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	testkit.Start(t, dir, "mariadbd", "--no-defaults", "--user=root", "--datadir="+data, "--bind-address=127.0.0.1", "--port=3306",
		"--socket="+filepath.Join(dir, "sock"), "--skip-name-resolve", "--skip-log-bin", "--innodb-buffer-pool-size=48M", "--innodb-log-file-size=8M",
		"--innodb-flush-log-at-trx-commit=0", "--performance-schema=OFF")
	testkit.Start(t, dir, "redis-server", "--port", "6379", "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	for _, addr := range []string{"127.0.0.1:3306", "127.0.0.1:6379"} {
		testkit.Eventually(t, 30*time.Second, func() error {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
}
