package fleet

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

// In one box a message carries a link that works: a look at it does nothing, its button
// stops further steps, the case says who, and the end is told and ends it.
func TestAcknowledgedFromAMessage(t *testing.T) {
	needRedis(t)
	who := newPeople(t)
	dir := t.TempDir()
	p, at := up(t, dir)
	secretFile := filepath.Join(dir, "data", secretsFile)
	info, err := os.Stat(secretFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the secrets: %v, %v", info, err)
	}
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
	root.rule("temperature", GroupOfAll, values{"metric": metric, "func": "all(#1)", "op": ">", "right_value": "30", "note": "too warm"})
	testkit.Eventually(t, 15*time.Second, func() error {
		if all := rulesOf(at["judge.http.listen"], host); len(all) != 1 {
			return fmt.Errorf("judge has the rules %+v", all)
		}
		return nil
	})
	pushThrough(t, at, host, 40)
	who.wants(t, 15*time.Second, host, "PR")
	link := func() (found string) {
		for _, post := range who.hook.Posts("") {
			var e struct {
				Text   string
				AckURL string `json:"ack_url"`
				Status string
			}
			if json.Unmarshal([]byte(post.Body), &e) == nil && e.AckURL != "" && strings.Contains(e.Text, metric) && strings.HasSuffix(e.Text, e.AckURL) {
				found = e.AckURL
			}
		}
		return found
	}()
	if !strings.HasPrefix(link, "http://"+loopback(at["transfer.http.listen"])+"/ack?") {
		t.Fatalf("the webhook's link is %q", link)
	}
	open := func(method string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", method, resp.Status, b)
		}
		return string(b)
	}
	acked := func(want string) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			c, err := root.eventCase(host)
			if err == nil && fmt.Sprint(c["acked_by"], c["process_status"]) != want {
				err = fmt.Errorf("the case is %v, want %s", c, want)
			}
			return err
		})
	}
	if page := open(http.MethodGet); !strings.Contains(page, "<button>Acknowledge</button>") || !strings.Contains(page, host) {
		t.Fatalf("the page is %s", page)
	}
	acked("unresolved")
	if page := open(http.MethodPost); !strings.Contains(page, "Acknowledged: nothing more is told") {
		t.Fatalf("after the button: %s", page)
	}
	acked("somebodyin progress")
	var open1 []struct {
		Acked bool
	}
	resp, err := http.Get("http://" + at["judge.http.listen"] + "/events?status=PROBLEM")
	if err != nil {
		t.Fatal(err)
	}
	err = json.NewDecoder(resp.Body).Decode(&open1)
	resp.Body.Close()
	if err != nil || len(open1) == 0 || !open1[len(open1)-1].Acked {
		t.Errorf("the judge has %+v, %v", open1, err)
	}

	// The next start has the same secret: links that were sent stay good.
	before, err := os.ReadFile(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	p, at = up(t, dir)
	if after, err := os.ReadFile(secretFile); err != nil || string(after) != string(before) {
		t.Errorf("the secrets changed: %v", err)
	}
	root.base = "http://" + at["api.web_port"]
	nextStep(1)
	pushThrough(t, at, host, 45)
	acked("somebodyin progress")
	nextStep(1)
	pushThrough(t, at, host, 20)
	who.wants(t, 15*time.Second, host, "PR", "OK")
	acked("somebodyresolved")
	nextStep(1)
	pushThrough(t, at, host, 40)
	who.wants(t, 15*time.Second, host, "PR", "OK", "PR")
	acked("unresolved")
	p.Stop()
}
