package fleet

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/testkit"
)

// backtest is what api answers of a rule that is tried on history.
type backtest struct {
	Matches  int `json:"matches"`
	LookedAt int `json:"looked_at"`
	Hosts    int `json:"hosts"`
	Fired    int `json:"fired"`
	Firing   int `json:"firing"`
	Events   []struct {
		Endpoint, Counter, Status string
		Time                      int64
		Value                     float64
		Step                      int
	} `json:"events"`
	Notes []struct{ Code, Text string } `json:"notes"`
}

// stories are the events of each series, as "PROBLEM 1 95@240", the time since t0.
func (b *backtest) stories(t0 int64) map[string]string {
	out := map[string]string{}
	for _, e := range b.Events {
		key := e.Endpoint + "/" + e.Counter
		out[key] = strings.TrimSpace(fmt.Sprintf("%s, %s %d %v@%d", out[key], e.Status, e.Step, e.Value, e.Time-t0))
	}
	return out
}

// A rule is tried on points before it is saved; saved, it tells of points like these
// what the trial said, and a trial over these says what was told.
func TestWhatATrialSaysIsWhatIsTold(t *testing.T) {
	needRedis(t)
	who := newPeople(t)
	dir := t.TempDir()
	p, at := up(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	who.connect(root, at["alarm.http.listen"])
	hosts := []string{"trial-a", "trial-b", "trial-c"}
	root.must("POST", "/api/v1/hostgroup", values{"name": "trials"}, nil)
	group := root.group("trials")
	root.must("PUT", fmt.Sprintf("/api/v1/hostgroup/%d/hosts", group), values{"mode": "add", "hosts": hosts}, nil)
	// The rule that is saved first is of another metric: the template is bound.
	tpl, _ := root.rule("trials", "trials", values{"metric": "trial.other", "func": "all(#1)", "op": ">", "right_value": "1"})

	// Half an hour of each host, told apart by a tag: one swings, one counts and is
	// restarted, one is quiet and has gaps.
	now := time.Now().Unix()
	t0 := now - now%60 - 55*60
	points := func(run string, t0 int64) (items []values) {
		count := 0.0
		for i := range int64(24) {
			swing := 20.0
			if i%6 == 3 || i%6 == 4 {
				swing = 90 + float64(i)
			}
			if count += 60 * float64(i%7); i == 15 {
				count = 0
			}
			tags := "run=" + run
			items = append(items, item("trial-a", metric, "GAUGE", tags, t0+60*i, swing), item("trial-b", metric, "COUNTER", tags, t0+60*i, count))
			if i%4 != 0 {
				items = append(items, item("trial-c", metric, "GAUGE", tags, t0+60*i, 10), item("trial-d", metric, "GAUGE", tags, t0+60*i, 99))
			}
		}
		return items
	}
	url := "http://" + at["agent.http.listen"] + "/v1/push?wait=1"
	push(t, url, points("1", t0))
	rule := values{"tpl_id": tpl, "metric": metric, "tags": "^run=3", "func": "all(#2)", "op": ">", "right_value": "4", "max_step": 2, "priority": 1, "note": "", "run_begin": "", "run_end": ""}
	try := func(change values) (b backtest) {
		body := maps.Clone(rule)
		maps.Copy(body, change)
		root.must("POST", "/api/v1/strategy/backtest", body, &b)
		return b
	}
	first := values{"start": t0, "end": t0 + 25*60}
	var b backtest
	testkit.Eventually(t, 15*time.Second, func() error { // hbs compiles, graph indexes
		if b = try(first); b.Matches != 3 || b.Hosts != 3 || b.LookedAt != 3 {
			return fmt.Errorf("the trial finds %+v, want three series of the template's hosts", b)
		}
		return nil
	})
	// One series swings above 4 all the time, the counter is above it at two rates.
	before := b.stories(t0)
	want := map[string]string{"trial-b/" + metric + "/run=1": before["trial-b/"+metric+"/run=1"]}
	if len(before) != 3 || !strings.Contains(want["trial-b/"+metric+"/run=1"], "PROBLEM 1 6@360, OK 1 0@420, PROBLEM 1 6@780, OK 1 0@840") {
		t.Fatalf("the trial says %q", before)
	}

	// Saved, and new series of the same shape.
	var made struct{ ID int }
	root.must("POST", "/api/v1/strategy", rule, &made)
	for _, h := range hosts {
		testkit.Eventually(t, 15*time.Second, func() error {
			if all := rulesOf(at["judge.http.listen"], h); len(all) != 1 {
				return fmt.Errorf("judge has the rules %+v of %s", all, h)
			}
			return nil
		})
	}
	t1 := t0 + 28*60
	push(t, url, points("2", t1))
	said := map[string]string{}
	for key, story := range before {
		said[strings.Replace(key, "run=1", "run=2", 1)] = story
	}
	var after backtest
	testkit.Eventually(t, 15*time.Second, func() error {
		root.must("POST", "/api/v1/strategy/backtest", values{"id": made.ID, "start": t1, "end": t1 + 25*60}, &after)
		if got := after.stories(t1); !maps.Equal(got, said) {
			return fmt.Errorf("a trial of the saved rule says %q\nwant %q", got, said)
		}
		return nil
	})
	// The judge measures the five minutes between two messages of one problem with two
	// steps to spare when points come late, as all of these do; what ends before is told
	// alike.
	alike := func(stories map[string]string) (out []string) {
		for key, story := range stories {
			for _, e := range strings.Split(strings.TrimPrefix(story, ", "), ", ") {
				if !strings.HasPrefix(e, "PROBLEM 2") {
					out = append(out, key+" "+e)
				}
			}
		}
		slices.Sort(out)
		return out
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		told := map[string]string{}
		for _, post := range who.hook.Posts("") {
			var e model.Event
			if json.Unmarshal([]byte(post.Body), &e) == nil && e.Metric() == metric {
				key := e.Endpoint + "/" + metric + "/" + model.SortedTags(e.PushedTags)
				told[key] += fmt.Sprintf(", %s %d %v@%d", e.Status, e.CurrentStep, e.LeftValue, e.EventTime-t1)
			}
		}
		if got, want := alike(told), alike(said); !slices.Equal(got, want) {
			return fmt.Errorf("told\n%s\nthe trial said\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})

	// On hosts by name, and by group, with what a trial must not reach left out.
	if b = try(values{"tpl_id": 0, "hosts": []string{"trial-a", "nobody"}, "start": t0, "end": t0 + 25*60}); b.Hosts != 1 || len(b.Notes) == 0 || b.Notes[0].Code != "unknown_hosts" {
		t.Errorf("on one host: %+v", b)
	}
	if b = try(values{"tpl_id": 0, "groups": []int{group}, "start": t0, "end": t0 + 25*60}); b.Hosts != 3 {
		t.Errorf("on a group: %d hosts", b.Hosts)
	}
	p.Stop()
}
