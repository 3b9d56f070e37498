package fleet

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/ring"
	"falcon/common/testkit"
)

// ofJudge returns n hosts whose temperatures a ring gives to node.
func ofJudge(t testing.TB, names []string, node, prefix string, n int) (hosts []string) {
	t.Helper()
	r, err := ring.New(ring.CRC32, 500, names)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; len(hosts) < n; i++ {
		if h := fmt.Sprint(prefix, i); r.Node(h+"/"+metric) == node {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// health is what a daemon's page says.
func (c *cluster) health(name string) string {
	resp, err := http.Get("http://" + c.addr[name+".http"] + "/health")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(b))
}

// open returns the hosts of the problems that are open at a judge.
func (c *cluster) open(judge string) (hosts []string) {
	c.t.Helper()
	resp, err := http.Get("http://" + c.addr[judge+".http"] + "/events?status=PROBLEM")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []struct{ Endpoint string }
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		c.t.Fatal(err)
	}
	for _, e := range all {
		hosts = append(hosts, e.Endpoint)
	}
	slices.Sort(hosts)
	return hosts
}

// tells waits until each host's story was told, and says what is wrong with it.
func (c *cluster) tells(who *people, stories map[string][]string) {
	c.t.Helper()
	for h, story := range stories {
		who.wants(c.t, 20*time.Second, h, story...)
	}
}

// watched makes a group of hosts with a rule, and waits until the judges have it.
func (c *cluster) watched(hosts []string, judges ...string) {
	c.t.Helper()
	c.root.must("POST", "/api/v1/hostgroup", values{"name": "rooms"}, nil)
	c.root.must("PUT", fmt.Sprintf("/api/v1/hostgroup/%d/hosts", c.root.group("rooms")), values{"mode": "add", "hosts": hosts}, nil)
	c.root.rule("temperature", "rooms", values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})
	testkit.Eventually(c.t, 15*time.Second, func() error {
		for _, judge := range judges {
			if all := rulesOf(c.addr[judge+".http"], hosts[0]); len(all) != 1 {
				return fmt.Errorf("%s has %+v", judge, all)
			}
		}
		return nil
	})
}

// again gives a program another configuration.
func (c *cluster) again(name string, change func(values)) {
	c.t.Helper()
	c.proc[name].Stop()
	change(c.conf[name])
	c.start(name)
}

// A judge dies with problems open, another stands in, and it comes back with the journal of
// before: problems that ended, began, or ended and began again while it was away are each
// told once, as if nothing had happened.
func TestFailover(t *testing.T) {
	t.Parallel()
	who := newPeople(t)
	c := newCluster(t, values{"addr": testkit.Redis(t).Addr()})
	who.connect(c.root, c.addr["alarm-0.http"], c.addr["alarm-1.http"])
	for _, n := range []string{"alarm-0", "alarm-1"} {
		c.again(n, func(v values) { v["adopt"] = values{"transfers": []string{c.addr["transfer-0.rpc"]}} })
	}
	c.again("transfer-0", func(v values) { v["judge"].(values)["failover"] = "10s" })
	c.healthy("alarm-0", "alarm-1", "transfer-0")
	names := []string{"judge-0", "judge-1"}
	mine := ofJudge(t, names, "judge-1", "room-", 6)
	others := ofJudge(t, names, "judge-0", "hall-", 2)
	ends, stays, begins, both, again, calm := mine[0], mine[1], mine[2], mine[3], mine[4], mine[5]
	c.watched(append(slices.Clone(mine), others...), names...)

	c.point(20, append(slices.Clone(mine), others...)...)
	c.point(40, ends, stays, again, others[0])
	stories := map[string][]string{
		ends: {"PR"}, stays: {"PR"}, again: {"PR"}, others[0]: {"PR"}, begins: nil, both: nil, calm: nil, others[1]: nil,
	}
	add := func(status string, hosts ...string) {
		for _, h := range hosts {
			stories[h] = append(stories[h], status)
		}
	}
	c.tells(who, stories)

	t.Log("it dies; points wait for it, and others are not disturbed")
	c.kill("judge-1")
	c.point(40, begins, others[1])
	add("PR", others[1])
	c.tells(who, stories)
	testkit.Eventually(t, 30*time.Second, func() error {
		if said := c.health("transfer-0"); !strings.HasPrefix(said, "ok\njudge judge-1 is away since ") || !strings.HasSuffix(said, "judged by judge-0") || strings.Contains(said, "about to be") {
			return fmt.Errorf("transfer says %q", said)
		}
		return nil
	})
	add("PR", begins) // the point that waited
	c.tells(who, stories)
	c.point(20, ends, again, calm)
	c.point(40, both, stays)
	add("OK", ends, again)
	add("PR", both)
	c.tells(who, stories)
	c.point(20, both)
	c.point(40, again, stays)
	add("OK", both)
	add("PR", again)
	c.tells(who, stories)

	t.Log("it is back with its journal")
	c.start("judge-1")
	testkit.Eventually(t, 60*time.Second, func() error {
		c.point(40, stays, begins, again)
		if said := c.health("transfer-0"); said != "ok" {
			return fmt.Errorf("transfer says %q", said)
		}
		return nil
	})
	testkit.Eventually(t, 15*time.Second, func() error {
		if at0, at1 := c.open("judge-0"), c.open("judge-1"); slices.ContainsFunc(at0, func(h string) bool { return slices.Contains(mine, h) }) || len(at1) != 3 {
			return fmt.Errorf("open at judge-0: %v, at judge-1: %v", at0, at1)
		}
		return nil
	})
	c.point(40, stays, begins, again)
	c.point(20, ends, both, calm)
	c.tells(who, stories) // nothing by that
	c.point(20, stays, begins, again)
	c.point(40, ends, both)
	add("OK", stays, begins, again)
	add("PR", ends, both) // a problem of its own, which the old one must not swallow
	c.tells(who, stories)
	c.point(20, append(slices.Clone(mine), others...)...)
	add("OK", ends, both, others[0], others[1])
	c.tells(who, stories)
	for h := range stories {
		if len(stories[h]) > 0 {
			c.root.wantCase(5*time.Second, h, "OK")
		}
	}
}

// A judge more: series with open problems move to it, and are neither told from the
// beginning nor lose their end.
func TestAnotherJudge(t *testing.T) {
	t.Parallel()
	who := newPeople(t)
	c := newCluster(t, values{"addr": testkit.Redis(t).Addr()})
	who.connect(c.root, c.addr["alarm-0.http"], c.addr["alarm-1.http"])
	names := []string{"judge-0", "judge-1"}
	for _, n := range []string{"alarm-0", "alarm-1"} {
		c.again(n, func(v values) { v["adopt"] = values{"transfers": []string{c.addr["transfer-0.rpc"]}} })
	}
	one := values{"judge-0": c.addr["judge-0.rpc"]}
	two := values{"judge-0": c.addr["judge-0.rpc"], "judge-1": c.addr["judge-1.rpc"]}
	c.again("transfer-0", func(v values) { v["judge"].(values)["cluster"] = one })
	c.healthy("alarm-0", "alarm-1", "transfer-0")
	moves := ofJudge(t, names, "judge-1", "room-", 2)
	stays := ofJudge(t, names, "judge-0", "hall-", 1)
	all := append(slices.Clone(moves), stays...)
	c.watched(all, names...)
	c.until(who, 40, all, "PR")
	before, err := ring.New(ring.CRC32, 500, names[:1])
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error { // an alarm has seen the ring as it was
		var said string
		for _, n := range []string{"alarm-0", "alarm-1"} {
			resp, err := http.Get("http://" + c.addr[n+".http"] + "/debug/adopt")
			if err != nil {
				return err
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			said += string(b)
		}
		if !strings.Contains(said, before.Fingerprint()) {
			return fmt.Errorf("alarms say %s", said)
		}
		return nil
	})
	c.again("transfer-0", func(v values) { v["judge"].(values)["cluster"] = two })
	c.healthy("transfer-0")
	testkit.Eventually(t, 20*time.Second, func() error {
		c.point(40, all...)
		if at0, at1 := c.open("judge-0"), c.open("judge-1"); len(at0) != 1 || len(at1) != 2 {
			return fmt.Errorf("open at judge-0: %v, at judge-1: %v", at0, at1)
		}
		return nil
	})
	for _, h := range all {
		who.wants(t, time.Second, h, "PR")
	}
	c.until(who, 20, all, "PR", "OK")
}

// pointAt pushes a value of hosts' temperatures through some transfers: each has its own
// points of a series, as of agents that go from one to the other.
func (c *cluster) pointAt(v float64, transfers []string, hosts ...string) {
	c.t.Helper()
	for _, name := range transfers {
		var items []values
		for _, h := range hosts {
			items = append(items, values{
				"endpoint": h, "metric": metric, "counterType": "GAUGE", "tags": "", "timestamp": time.Now().Unix(), "value": v, "step": 1,
			})
		}
		push(c.t, "http://"+c.addr[name+".http"]+"/api/push", items)
		nextStep(1)
	}
}

// A judge lives and is cut off from one of two transfers: it and the one that stands in
// for it both have points of its series, and people hear of everything once.
func TestJudgeCutOffFromOneTransfer(t *testing.T) {
	t.Parallel()
	who := newPeople(t)
	c := newCluster(t, values{"addr": testkit.Redis(t).Addr()})
	who.connect(c.root, c.addr["alarm-0.http"], c.addr["alarm-1.http"])
	c.addr["transfer-1.rpc"], c.addr["transfer-1.http"] = testkit.FreeAddr(t), testkit.FreeAddr(t)
	way := testkit.NewLine(t, "tcp", c.addr["judge-1.rpc"])
	c.again("transfer-0", func(v values) {
		v["judge"].(values)["failover"] = "10s"
		other := values{}
		for k, x := range v {
			other[k] = x
		}
		other["rpc"], other["http"] = values{"enabled": true, "listen": c.addr["transfer-1.rpc"]}, values{"enabled": true, "listen": c.addr["transfer-1.http"]}
		other["spool"] = values{"dir": "spool-1"}
		c.conf["transfer-1"] = other
		v["judge"] = values{"enabled": true, "failover": "10s", "cluster": values{"judge-0": c.addr["judge-0.rpc"], "judge-1": way.Addr}}
	})
	c.start("transfer-1")
	both := []string{"transfer-0", "transfer-1"}
	for _, n := range []string{"alarm-0", "alarm-1"} {
		c.again(n, func(v values) {
			v["adopt"] = values{"transfers": []string{c.addr["transfer-0.rpc"], c.addr["transfer-1.rpc"]}}
		})
	}
	c.healthy("transfer-0", "transfer-1", "alarm-0", "alarm-1")
	hosts := ofJudge(t, []string{"judge-0", "judge-1"}, "judge-1", "room-", 2)
	a, b := hosts[0], hosts[1]
	c.watched(hosts, "judge-0", "judge-1")
	stories := map[string][]string{a: nil, b: nil}
	tell := func(v float64, status string, hosts ...string) {
		t.Helper()
		c.pointAt(v, both, hosts...)
		c.pointAt(v, both, hosts...)
		for _, h := range hosts {
			stories[h] = append(stories[h], status)
		}
		c.tells(who, stories)
	}
	tell(40, "PR", a)
	way.Cut(true)
	testkit.Eventually(t, 40*time.Second, func() error {
		c.pointAt(40, both, a)
		if said := c.health("transfer-0"); !strings.HasSuffix(said, "judged by judge-0") || strings.Contains(said, "about to be") {
			return fmt.Errorf("transfer-0 says %q", said)
		}
		return nil
	})
	if said := c.health("transfer-1"); said != "ok" {
		t.Errorf("transfer-1 says %q", said)
	}
	tell(40, "PR", b)
	tell(20, "OK", a)
	tell(20, "OK", b)
	tell(40, "PR", a, b)
	way.Cut(false)
	testkit.Eventually(t, 60*time.Second, func() error {
		c.pointAt(40, both, a, b)
		if said := c.health("transfer-0"); said != "ok" {
			return fmt.Errorf("transfer-0 says %q", said)
		}
		return nil
	})
	testkit.Eventually(t, 15*time.Second, func() error {
		if at0, at1 := c.open("judge-0"), c.open("judge-1"); len(at0) != 0 || len(at1) != 2 {
			return fmt.Errorf("open at judge-0: %v, at judge-1: %v", at0, at1)
		}
		return nil
	})
	c.tells(who, stories)
	tell(20, "OK", a, b)
}
