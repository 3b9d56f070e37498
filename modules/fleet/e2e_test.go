package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/rpc/jsonrpc"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/ring"
	"falcon/common/rpc"
	"falcon/common/testkit"
)

// client speaks to an api as a script of a user does.
type client struct {
	t     testing.TB
	base  string
	token string
}

func login(t testing.TB, base, name, password string) *client {
	t.Helper()
	c := &client{t: t, base: base}
	var got struct{ Sig string }
	if err := c.call("POST", "/api/v1/user/login", map[string]string{"name": name, "password": password}, &got); err != nil {
		t.Fatal(err)
	}
	token, _ := json.Marshal(map[string]string{"name": name, "sig": got.Sig})
	c.token = string(token)
	return c
}

func (c *client) call(method, path string, body, reply any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, c.base+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Apitoken", c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return json.Unmarshal(answer, reply)
}

// history returns the points of one series that have a value.
func (c *client) history(endpoint, counter string, start, end int64) (map[int64]float64, error) {
	var got []model.GraphQueryResponse
	err := c.call("POST", "/api/v1/graph/history", map[string]any{
		"hostnames": []string{endpoint}, "counters": []string{counter}, "consol_fun": "AVERAGE", "start_time": start, "end_time": end,
	}, &got)
	if err != nil {
		return nil, err
	}
	points := map[int64]float64{}
	for _, s := range got {
		for _, p := range s.Values {
			if v := float64(p.Value); !math.IsNaN(v) {
				points[p.Timestamp] = v
			}
		}
	}
	return points, nil
}

// wants waits until a series has exactly these points.
func (c *client) wants(limit time.Duration, endpoint, counter string, want map[int64]float64) {
	c.t.Helper()
	times := slices.Sorted(maps.Keys(want))
	testkit.Eventually(c.t, limit, func() error {
		got, err := c.history(endpoint, counter, times[0]-3600, times[len(times)-1]+3600)
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("%s of %s is %v, want %v", counter, endpoint, got, want)
		}
		return err
	})
}

func push(t testing.TB, url string, items any) string {
	t.Helper()
	b, err := json.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s: %s", url, resp.Status, answer)
	}
	return string(answer)
}

type values = map[string]any

func item(endpoint, metric, typ, tags string, ts int64, v any) values {
	return values{"endpoint": endpoint, "metric": metric, "counterType": typ, "tags": tags, "timestamp": ts, "value": v, "step": 60}
}

// onAnyPort writes a fleet configuration whose every listener is on a free port.
func onAnyPort(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "fleet.json")
	err := os.WriteFile(path, []byte(`{
		"agent": {"http": {"enabled": true, "listen": ":0"}},
		"transfer": {"http": {"enabled": true, "listen": ":0"}, "socket": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}, "minStep": 1},
		"graph": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"judge": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"plus_judge": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"hbs": {"listen": ":0", "http": {"enabled": true, "listen": ":0"}},
		"alarm": {"http": {"enabled": true, "listen": ":0"}},
		"nodata": {"http": {"enabled": true, "listen": ":0"}},
		"api": {"web_port": ":0"},
		"poly_metric": {"http": {"enabled": true, "listen": ":0"}, "database": {"interval": 1}}
	}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// up starts the whole fleet in one process and returns its addresses once it serves.
func up(t testing.TB, dir string) (p *testkit.Process, at map[string]string) {
	t.Helper()
	return upWith(t, dir, onAnyPort(t, dir))
}

// upWith is up with a configuration.
func upWith(t testing.TB, dir, config string) (p *testkit.Process, at map[string]string) {
	t.Helper()
	_ = os.Remove(filepath.Join(dir, "data", endpointsFile)) // of an earlier run
	p = testkit.Start(t, dir, testkit.Program(t, "falcon"), "up", "--data", "data", "--config", config)
	testkit.Eventually(t, 20*time.Second, func() (err error) {
		if at, err = Endpoints(filepath.Join(dir, "data")); err != nil {
			return err
		}
		for key, addr := range at {
			if strings.HasSuffix(key, "rpc.listen") || strings.HasSuffix(key, "socket.listen") || key == "hbs.listen" {
				continue
			}
			resp, err := http.Get("http://" + addr + "/health")
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", key, resp.Status)
			}
		}
		return nil
	})
	return p, at
}

// One process: this host's gauges are there within ten seconds, rates after the
// second sample; pushed points come back as they should; after kill -9 everything
// that was acknowledged still does.
func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	started := time.Now()
	p, at := up(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.Output(), strings.TrimSpace(string(password))) || !strings.Contains(p.Output(), "http://"+at["api.web_port"]+"/") {
		t.Errorf("the greeting names neither password nor page:\n%s", p.Output())
	}
	root := login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	within := func(limit time.Duration, counter string) {
		t.Helper()
		testkit.Eventually(t, limit-time.Since(started), func() error {
			got, err := root.history(host, counter, started.Unix()-60, time.Now().Unix()+60)
			if err == nil && len(got) == 0 {
				err = fmt.Errorf("%s of %s has no point", counter, host)
			}
			return err
		})
	}
	within(10*time.Second, "load.1min")
	within(10*time.Second, "mem.memused.percent")
	within(10*time.Second, "cpu.idle")
	within(35*time.Second, "cpu.switches") // a rate: two samples, ten seconds apart

	// Pushed points, on the minute and off it; the counter is restarted once.
	url := "http://" + at["agent.http.listen"] + "/v1/push?wait=1"
	now := time.Now().Unix()
	t0 := now - now%60 - 600
	push(t, url, []values{
		item("demo", "hello", "GAUGE", "b=2, a=1", t0, 1), item("demo", "hello", "GAUGE", "b=2,a=1", t0+60, 2.5), item("demo", "hello", "GAUGE", "a=1,b=2", t0+135, -3),
		item("demo", "bytes", "COUNTER", "", t0, 600), item("demo", "bytes", "COUNTER", "", t0+60, 1200), item("demo", "bytes", "COUNTER", "", t0+120, 1260),
		item("demo", "bytes", "COUNTER", "", t0+180, 60), item("demo", "bytes", "COUNTER", "", t0+240, 120),
	})
	gauge := map[int64]float64{t0: 1, t0 + 60: 2.5, t0 + 120: -3}
	rates := map[int64]float64{t0 + 60: 10, t0 + 120: 1, t0 + 240: 1}
	root.wants(2*time.Second, "demo", "hello/a=1,b=2", gauge)
	root.wants(2*time.Second, "demo", "bytes", rates)

	p.Kill()
	p, at = up(t, dir)
	root = login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	root.wants(5*time.Second, "demo", "hello/a=1,b=2", gauge)
	root.wants(5*time.Second, "demo", "bytes", rates)
	p.Stop()
}

// Programs of their own, two graphs, MariaDB: points come back as from one process,
// and each series is on the node where stock would put it, and only there.
func TestSeparateProgramsOnMariaDB(t *testing.T) {
	prefix := testkit.MySQL(t)
	suffix := fmt.Sprintf("_e2e_%08x", rand.Uint32())
	dsn := func(db string) string { return prefix + db + suffix + "?loc=Local&parseTime=true" }
	dir := t.TempDir()
	addr := map[string]string{}
	for _, name := range []string{"agent", "transfer", "transfer.rpc", "graph-00", "graph-00.http", "graph-01", "graph-01.http", "api"} {
		addr[name] = testkit.FreeAddr(t)
	}
	cluster := values{"graph-00": addr["graph-00"], "graph-01": addr["graph-01"]}
	start := func(program, name string, cfg values) *testkit.Process {
		t.Helper()
		b, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name+".json")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return testkit.Start(t, dir, testkit.Program(t, program), "-c", file)
	}
	listen := func(a string) values { return values{"enabled": true, "listen": a} }
	for _, node := range []string{"graph-00", "graph-01"} {
		start("graph", node, values{
			"http": listen(addr[node+".http"]), "rpc": listen(addr[node]), "data": filepath.Join(dir, node), "db": values{"dsn": dsn("graph")},
		})
	}
	start("transfer", "transfer", values{
		"http": listen(addr["transfer"]), "rpc": listen(addr["transfer.rpc"]), "socket": values{"enabled": false}, "minStep": 10,
		"graph": values{"enabled": true, "cluster": cluster}, "spool": values{"dir": filepath.Join(dir, "spool")},
	})
	start("agent", "agent", values{
		"hostname": "this-host", "http": listen(addr["agent"]), "transfer": values{"enabled": true, "addrs": []string{addr["transfer.rpc"]}, "interval": 10},
		"ignore": values{},
	})
	start("api", "api", values{
		"web_port": addr["api"], "db": values{"falcon_portal": dsn("falcon_portal"), "graph": dsn("graph"), "uic": dsn("uic")},
		"graphs": values{"cluster": cluster}, "signup_disable": false,
	})
	anon := &client{t: t, base: "http://" + addr["api"]}
	testkit.Eventually(t, 30*time.Second, func() error {
		var got values
		return anon.call("POST", "/api/v1/user/create", values{"name": "root", "cnname": "root", "password": "swordfish-1", "email": "root@example.com"}, &got)
	})
	root := login(t, anon.base, "root", "swordfish-1")

	testkit.Eventually(t, 30*time.Second, func() error {
		now := time.Now().Unix()
		got, err := root.history("this-host", "load.1min", now-60, now+60)
		if err == nil && len(got) == 0 {
			err = errors.New("this host's load is not there")
		}
		return err
	})

	now := time.Now().Unix()
	ts := now - now%60 - 120
	var items []values
	pks := map[string]string{} // counter by endpoint
	for i := range 1000 {
		host := fmt.Sprintf("host-%05d", i)
		items = append(items, item(host, "cpu.idle", "GAUGE", "", ts, i))
		pks[host] = "cpu.idle"
	}
	push(t, "http://"+addr["agent"]+"/v1/push?wait=1", items)
	root.wants(5*time.Second, "host-00042", "cpu.idle", map[int64]float64{ts: 42})

	places, err := ring.New(ring.CRC32, 500, []string{"graph-00", "graph-01"})
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]int{}
	for _, node := range []string{"graph-00", "graph-01"} {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr[node], StockCodec: rpc.Gob})
		defer c.Close()
		for host, metric := range pks {
			var info model.GraphInfoResp
			if err := c.Call(t.Context(), "Graph.Info", &model.GraphInfoParam{Endpoint: host, Counter: metric}, &info); err != nil {
				t.Fatal(err)
			}
			if has, want := info.Step != 0, places.Node(model.PK(host, metric, "")) == node; has != want {
				t.Errorf("%s on %s: %v, want %v", host, node, has, want)
			} else if has {
				held[node]++
			}
		}
	}
	if held["graph-00"]+held["graph-01"] != 1000 || held["graph-00"] < 300 || held["graph-01"] < 300 {
		t.Errorf("1000 series are spread %v", held)
	}
}

// Broken items beside good ones, at each receiver: good ones arrive, bad ones are
// counted with their reason, nothing dies, and the books balance.
func TestBadInputAtEachReceiver(t *testing.T) {
	dir := t.TempDir()
	p, at := up(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	now := time.Now().Unix()
	ts := now - now%60 - 120

	// What is wrong with an item, and the reason it is counted under.
	broken := func(via string) map[string]any {
		b := func(change values) values {
			it := item(via, "broken", "GAUGE", "", ts, 1)
			maps.Copy(it, change)
			return it
		}
		return map[string]any{
			"null":      nil,
			"reserved":  b(values{"metric": "kernel.hostname"}),
			"no_name":   b(values{"endpoint": ""}),
			"bad_type":  b(values{"counterType": "gauge"}),
			"no_value":  b(values{"value": ""}),
			"bad_value": b(values{"value": true}),
			"bad_step":  b(values{"step": 0}),
			"too_long":  b(values{"tags": "k=" + strings.Repeat("x", 510)}),
		}
	}
	batch := func(via string) []any {
		items := []any{item(via, "good", "GAUGE", "", ts, 1)}
		for _, reason := range slices.Sorted(maps.Keys(broken(via))) {
			items = append(items, broken(via)[reason])
		}
		return append(items, item(via, "good", "GAUGE", "", ts+60, 2))
	}
	for via, send := range map[string]func(items []any) error{
		"agent-http": func(items []any) error {
			push(t, "http://"+at["agent.http.listen"]+"/v1/push?wait=1", items)
			return nil
		},
		"transfer-http": func(items []any) error {
			answer := push(t, "http://"+at["transfer.http.listen"]+"/api/push", items)
			if want := fmt.Sprintf(`"Total":%d,"Invalid":%d,`, len(items), len(items)-2); !strings.Contains(answer, want) {
				return fmt.Errorf("answer %s, want %s in it", answer, want)
			}
			return nil
		},
		"transfer-jsonrpc": func(items []any) error {
			c, err := jsonrpc.Dial("tcp", at["transfer.rpc.listen"])
			if err != nil {
				return err
			}
			defer c.Close()
			var resp model.TransferResponse
			if err := c.Call("Transfer.Update", items, &resp); err != nil || resp.Invalid != len(items)-2 {
				return fmt.Errorf("answer %+v, %v", resp, err)
			}
			return nil
		},
		"transfer-msgpack": func(items []any) error {
			c := rpc.NewClient(rpc.ClientOptions{Addr: at["transfer.rpc.listen"], Codec: rpc.Msgpack})
			defer c.Close()
			var resp model.TransferResponse
			if err := c.Call(t.Context(), "Transfer.Update", &items, &resp); err != nil || resp.Invalid != len(items)-2 {
				return fmt.Errorf("answer %+v, %v", resp, err)
			}
			return nil
		},
	} {
		before := reasons(t, at)
		if err := send(batch(via)); err != nil {
			t.Errorf("%s: %v", via, err)
			continue
		}
		root.wants(3*time.Second, via, "good", map[int64]float64{ts: 1, ts + 60: 2})
		after := reasons(t, at)
		for reason := range broken(via) {
			if n := after[reason] - before[reason]; n != 1 {
				t.Errorf("%s: %d items counted as %s, want 1", via, n, reason)
			}
		}
	}
	t.Run("graph-gob", func(t *testing.T) { badGraphItems(t, at, root, ts) })

	// Noise on every port; nothing dies.
	for key, addr := range at {
		for _, noise := range []string{"", "\x00\xff\x00\xff", "GET / HTTP/1.1\r\n\r\n", `{"method":"Transfer.Update","params":[[{]]}`, "\x94\x00\x01\xa1X\x90", strings.Repeat("\xff", 5000)} {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			_, _ = io.WriteString(c, noise)
			_ = c.Close()
		}
	}
	var books []struct {
		Received, Missing int64
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		resp, err := http.Get("http://" + at["transfer.http.listen"] + "/debug/accounting")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&books); err != nil {
			return err
		}
		if len(books) != 2 {
			return fmt.Errorf("the books are %+v, want those of a graph and a judge", books)
		}
		for _, b := range books {
			if b.Missing != 0 || b.Received == 0 {
				return fmt.Errorf("the books are %+v", books)
			}
		}
		return nil
	})
	p.Stop()
}

// reasons returns how many points agent and transfer have refused, by reason.
func reasons(t *testing.T, at map[string]string) map[string]int {
	t.Helper()
	got := map[string]int{}
	for _, key := range []string{"agent.http.listen", "transfer.http.listen"} {
		resp, err := http.Get("http://" + at[key] + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var reason string
			var n int
			_, rest, ok := strings.Cut(line, `_refused_points_total{reason="`)
			if !ok || strings.Contains(line, "peer_refused") || strings.Contains(line, "send_refused") {
				continue
			}
			reason, rest, _ = strings.Cut(rest, `"`)
			if _, err := fmt.Sscanf(rest, "} %d", &n); err == nil {
				got[reason] += n
			}
		}
	}
	return got
}

// badGraphItems does the same at graph, as a stock transfer speaks to it.
func badGraphItems(t *testing.T, at map[string]string, root *client, ts int64) {
	c := rpc.NewClient(rpc.ClientOptions{Addr: at["graph.rpc.listen"], Codec: rpc.Gob})
	defer c.Close()
	good := func(ts int64, v float64) *model.GraphItem {
		return &model.GraphItem{Endpoint: "graph-gob", Metric: "good", DsType: "GAUGE", Step: 60, Heartbeat: 120, Min: "U", Max: "U", Timestamp: ts, Value: v}
	}
	with := func(change func(*model.GraphItem)) *model.GraphItem {
		it := good(ts, 1)
		change(it)
		return it
	}
	items := []*model.GraphItem{
		good(ts, 1),
		with(func(it *model.GraphItem) { it.Metric = "line\nfeed" }),
		with(func(it *model.GraphItem) { it.Endpoint = "" }),
		with(func(it *model.GraphItem) { it.DsType = "ABSOLUTE" }),
		with(func(it *model.GraphItem) { it.Step = -1 }),
		with(func(it *model.GraphItem) { it.Timestamp = time.Now().Unix() + 86400 }),
		with(func(it *model.GraphItem) { it.Timestamp = -5 }),
		with(func(it *model.GraphItem) { it.Value = math.NaN() }),
		with(func(it *model.GraphItem) { it.Min = "low" }),
		good(ts+60, 2),
		good(ts+60, 3), // the first value of a time stays
	}
	var resp model.SimpleRpcResponse
	if err := c.Call(t.Context(), "Graph.Send", &items, &resp); err != nil || resp.Code != 0 {
		t.Fatalf("Graph.Send = %+v, %v", resp, err)
	}
	root.wants(3*time.Second, "graph-gob", "good", map[int64]float64{ts: 1, ts + 60: 2})
}
