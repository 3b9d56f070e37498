package fleet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/testkit"
)

// A rule about texts that is saved is in force; a text that is pushed to the agent breaks
// it, and people read both texts; its end is told, and graph never hears of it. A number
// that is written as a text stays a number.
func TestTexts(t *testing.T) {
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
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	const state = "app.state"
	root.rule("state", GroupOfAll, values{"metric": state, "func": "all(#2)", "op": "!=", "value_type": "string", "right_string": "ok", "note": "not ok"})
	testkit.Eventually(t, 15*time.Second, func() error {
		resp, err := http.Get("http://" + at["judge.http.listen"] + "/strategy/" + host + "/" + state)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var in struct{ Data []model.Strategy }
		if err := json.NewDecoder(resp.Body).Decode(&in); err != nil {
			return err
		}
		if len(in.Data) != 1 || in.Data[0].ValueType != portal.ValueString || in.Data[0].RightString != "ok" {
			return fmt.Errorf("judge has the rules %+v", in.Data)
		}
		return nil
	})
	send := func(via string, metric string, v any) {
		t.Helper()
		push(t, "http://"+via, []values{{
			"endpoint": host, "metric": metric, "counterType": "GAUGE", "tags": "", "timestamp": time.Now().Unix(), "value": v, "step": 1,
		}})
	}
	agent, transfer := at["agent.http.listen"]+"/v1/push", at["transfer.http.listen"]+"/api/push"
	told := func(want ...string) {
		t.Helper()
		testkit.Eventually(t, 15*time.Second, func() error {
			var events, subjects []string
			for _, post := range who.hook.Posts("") {
				var e model.Event
				if json.Unmarshal([]byte(post.Body), &e) == nil && e.Metric() == state {
					events = append(events, fmt.Sprintf("%s %s != %s", e.Status, e.LeftString, e.RightString))
				}
			}
			for _, m := range who.mail.Mails() {
				if i := strings.Index(m.Subject, state+"  "); i >= 0 {
					text, _, _ := strings.Cut(m.Subject[i+len(state)+2:], "]")
					status := strings.SplitN(m.Subject, "][", 3)[1]
					subjects = append(subjects, status+" "+text)
				}
			}
			if !slices.Equal(events, want) || !slices.Equal(subjects, want) {
				return fmt.Errorf("the webhook has %q, mails %q, want %q", events, subjects, want)
			}
			return nil
		})
	}
	wantCase := func(status, cond string) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			var all []map[string]any
			if err := root.call("POST", "/api/v1/alarm/eventcases", values{"endpoints": []string{host}, "startTime": 1, "endTime": time.Now().Unix() + 3600}, &all); err != nil {
				return err
			}
			for _, c := range all {
				if c["metric"] == state && c["status"] == status && c["cond"] == cond {
					return nil
				}
			}
			return fmt.Errorf("the cases are %v", all)
		})
	}
	send(agent, state, "ok")
	nextStep(1)
	send(agent, state, "down")
	nextStep(1)
	send(agent, state, "gone")
	told("PROBLEM gone != ok")
	wantCase("PROBLEM", "gone != ok")
	nextStep(1)
	send(transfer, state, "ok")
	told("PROBLEM gone != ok", "OK ok != ok")
	wantCase("OK", "ok != ok")

	// A number in quotes goes where numbers go, a text never.
	const number = "app.number"
	now := time.Now().Unix() / 60 * 60
	push(t, "http://"+agent, []values{item(host, number, "GAUGE", "", now-60, "12.5")})
	root.wants(10*time.Second, host, number, map[int64]float64{now - 60: 12.5})
	var counters []any
	root.must("GET", fmt.Sprintf("/api/v1/graph/endpoint_counter?eid=%s&metricQuery=%s", "1", state), nil, &counters)
	for _, c := range counters {
		if b, _ := json.Marshal(c); strings.Contains(string(b), state) {
			t.Errorf("graph knows %s", b)
		}
	}
	p.Stop()
}
