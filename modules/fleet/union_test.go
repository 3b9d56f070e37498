package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/testkit"
)

// damp is the second condition of the combination; the first is metric.
const damp = "room.humidity"

// joined is a fleet in one process whose judge sends conditions to plus_judges that are
// programs of their own.
type joined struct {
	t     testing.TB
	dir   string
	redis *testkit.RedisServer
	plus  map[string]string           // name to the address of its RPC
	pages map[string]string           // and of its pages
	proc  map[string]*testkit.Process // running plus_judges
	fleet *testkit.Process
	at    map[string]string
	root  *client
	who   *people
	host  string
}

func newJoined(t testing.TB, plus ...string) *joined {
	j := &joined{
		t: t, dir: t.TempDir(), redis: testkit.Redis(t), plus: map[string]string{}, pages: map[string]string{}, proc: map[string]*testkit.Process{}, who: newPeople(t),
	}
	var err error
	if j.host, err = os.Hostname(); err != nil {
		t.Fatal(err)
	}
	for _, name := range plus {
		j.plus[name], j.pages[name] = testkit.FreeAddr(t), testkit.FreeAddr(t)
		j.startPlus(name)
	}
	j.up()
	password, err := os.ReadFile(filepath.Join(j.dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	j.root = login(t, "http://"+j.at["api.web_port"], "root", strings.TrimSpace(string(password)))
	j.who.connect(j.root, j.at["alarm.http.listen"])
	tpl, warm := j.root.rule("temperature", GroupOfAll, values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})
	var wet struct{ ID int }
	j.root.must("POST", "/api/v1/strategy", values{
		"tpl_id": tpl, "metric": damp, "tags": "", "func": "all(#1)", "op": ">", "right_value": "80", "max_step": 3, "priority": 0, "note": "and damp", "run_begin": "", "run_end": "",
	}, &wet)
	j.root.must("POST", "/api/v1/union", values{"strategy_ids": []int{warm, wet.ID}, "name": "sultry"}, nil)
	j.ruled()
	return j
}

func (j *joined) startPlus(name string) {
	j.t.Helper()
	file := filepath.Join(j.dir, name+".json")
	text := fmt.Sprintf(`{"data":%q,"rpc":{"enabled":true,"listen":%q},"http":{"enabled":true,"listen":%q},"alarm":{"redis":{"dsn":%q}}}`,
		name, j.plus[name], j.pages[name], j.redis.Addr())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		j.t.Fatal(err)
	}
	j.proc[name] = testkit.Start(j.t, j.dir, testkit.Program(j.t, "plus_judge"), "-c", file)
}

// up starts the fleet, whose judge knows the plus_judges that j.plus names.
func (j *joined) up() {
	j.t.Helper()
	path := onAnyPort(j.t, j.dir)
	raw, err := os.ReadFile(path)
	if err != nil {
		j.t.Fatal(err)
	}
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		j.t.Fatal(err)
	}
	cfg["redis"] = j.redis.Addr()
	cfg["judge"].(map[string]any)["union_judge_s"] = values{"cluster": j.plus}
	if raw, err = json.Marshal(cfg); err != nil {
		j.t.Fatal(err)
	}
	path = filepath.Join(j.dir, "joined.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		j.t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(j.dir, "data", endpointsFile))
	j.fleet = testkit.Start(j.t, j.dir, testkit.Program(j.t, "falcon"), "up", "--data", "data", "--config", path)
	testkit.Eventually(j.t, 30*time.Second, func() (err error) {
		if j.at, err = Endpoints(filepath.Join(j.dir, "data")); err != nil {
			return err
		}
		for _, key := range []string{"judge.http.listen", "alarm.http.listen", "agent.http.listen", "transfer.http.listen", "plus_judge.http.listen", "api.web_port"} {
			resp, err := http.Get("http://" + j.at[key] + "/health")
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
	if j.root != nil {
		j.root.base = "http://" + j.at["api.web_port"]
	}
}

// ruled waits until judge has both conditions.
func (j *joined) ruled() {
	j.t.Helper()
	testkit.Eventually(j.t, 20*time.Second, func() error {
		for _, m := range []string{metric, damp} {
			var reply struct{ Data []model.Strategy }
			resp, err := http.Get("http://" + j.at["judge.http.listen"] + "/strategy/" + j.host + "/" + m)
			if err != nil {
				return err
			}
			err = json.NewDecoder(resp.Body).Decode(&reply)
			resp.Body.Close()
			if err != nil {
				return err
			}
			if len(reply.Data) != 1 || reply.Data[0].MultiCount != 2 {
				return fmt.Errorf("judge has of %s %+v", m, reply.Data)
			}
		}
		return nil
	})
}

// point pushes a value of this host.
func (j *joined) point(metric string, v float64) {
	j.t.Helper()
	push(j.t, "http://"+j.at["agent.http.listen"]+"/v1/push?wait=1", []values{{
		"endpoint": j.host, "metric": metric, "counterType": "GAUGE", "tags": "", "timestamp": time.Now().Unix(), "value": v, "step": 1,
	}})
	nextStep(1)
}

// holds waits until a plus_judge says that so many conditions of the host hold, and
// returns its name.
func (j *joined) holds(n int) (name string) {
	j.t.Helper()
	testkit.Eventually(j.t, 15*time.Second, func() error {
		var said []string
		for node := range j.plus {
			var reply struct {
				Combinations []struct {
					Holds  int    `json:"holds"`
					Status string `json:"status"`
				} `json:"combinations"`
			}
			resp, err := http.Get("http://" + j.pages[node] + "/combinations/" + j.host)
			if err != nil {
				return err
			}
			err = json.NewDecoder(resp.Body).Decode(&reply)
			resp.Body.Close()
			if err != nil {
				return err
			}
			for _, c := range reply.Combinations {
				if c.Holds == n {
					name = node
					return nil
				}
			}
			said = append(said, fmt.Sprint(node, reply.Combinations))
		}
		return fmt.Errorf("want %d conditions to hold: %v", n, said)
	})
	return name
}

// posts returns all events of the host that people were told of, of either condition.
func (j *joined) posts() (all []model.Event) {
	for _, p := range j.who.hook.Posts("") {
		var e model.Event
		if json.Unmarshal([]byte(p.Body), &e) == nil && e.Endpoint == j.host && (e.Metric() == metric || e.Metric() == damp) {
			all = append(all, e)
		}
	}
	return all
}

// Two conditions of one host make one message and one end, also when the plus_judge is
// killed between them; neither is told on its own.
func TestSeveralConditions(t *testing.T) {
	needRedis(t)
	j := newJoined(t, "plus-00")
	j.point(metric, 20)
	j.point(damp, 50)
	j.point(metric, 40)
	j.holds(1)
	j.point(damp, 90)
	j.who.wants(t, 15*time.Second, j.host, "PR")
	j.root.wantCase(5*time.Second, j.host, "PROBLEM")
	found, err := j.root.eventCase(j.host)
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := found["id"].(string); !strings.HasPrefix(id, "m_") || !strings.Contains(fmt.Sprint(found["note"]), "with "+damp) || fmt.Sprint(found["priority"]) != "0" {
		t.Errorf("the case is %v", found)
	}
	if mails := j.who.mail.Mails(); !strings.Contains(mails[len(mails)-1].Subject, "[2 conditions]") || !strings.Contains(mails[len(mails)-1].Subject, damp) {
		t.Errorf("the mail is about %q", mails[len(mails)-1].Subject)
	}

	j.proc["plus-00"].Kill()
	j.point(damp, 50) // nobody takes it
	j.startPlus("plus-00")
	j.who.wants(t, 20*time.Second, j.host, "PR", "OK")

	// Its next problem is another one.
	j.point(metric, 20)
	j.point(damp, 95)
	j.point(metric, 41)
	j.who.wants(t, 20*time.Second, j.host, "PR", "OK", "PR")

	// kill -9 while it is open: it goes on, and is told once.
	j.proc["plus-00"].Kill()
	j.startPlus("plus-00")
	j.point(metric, 42)
	j.point(metric, 20)
	j.who.wants(t, 20*time.Second, j.host, "PR", "OK", "PR", "OK")
	for _, e := range j.posts() {
		if !strings.HasPrefix(e.Id, "m_") || len(e.EventChain) != 1 {
			t.Errorf("told of %s %s with a chain of %d", e.Id, e.Metric(), len(e.EventChain))
		}
	}
	if n := len(j.posts()); n != 4 {
		t.Errorf("%d posts, want 4", n)
	}
	j.fleet.Stop()
}

// Of two plus_judges one is lost for good: the other has everything from the refresh, and
// people are told nothing twice.
func TestOneOfTwoPlusJudgesIsLost(t *testing.T) {
	needRedis(t)
	j := newJoined(t, "plus-00", "plus-01")
	j.point(metric, 40)
	j.point(damp, 90)
	j.who.wants(t, 15*time.Second, j.host, "PR")
	owner := j.holds(2)

	j.proc[owner].Kill()
	delete(j.plus, owner)
	j.fleet.Kill() // the ring is configuration
	j.up()
	j.ruled()
	testkit.Eventually(t, 20*time.Second, func() error {
		j.point(metric, 41)
		j.point(damp, 91)
		for node := range j.plus {
			resp, err := http.Get("http://" + j.pages[node] + "/combinations/" + j.host)
			if err != nil {
				return err
			}
			var reply struct {
				Combinations []struct {
					Status string `json:"status"`
				} `json:"combinations"`
			}
			err = json.NewDecoder(resp.Body).Decode(&reply)
			resp.Body.Close()
			if err != nil {
				return err
			}
			if len(reply.Combinations) != 1 || reply.Combinations[0].Status != "PROBLEM" {
				return errors.New("the survivor knows of no problem yet")
			}
		}
		return nil
	})
	j.point(damp, 50)
	j.who.wants(t, 20*time.Second, j.host, "PR", "OK")
	j.fleet.Stop()
}
