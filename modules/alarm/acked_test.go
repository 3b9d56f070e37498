package alarm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/modules/alarm/sender/sendertest"
)

// Problems have a signed link in all that people read, ends have none; whoever is reported
// to work on one is told no further step, whatever the judge says, and hears of the end.
func TestAcknowledged(t *testing.T) { eachStore(t, testAcknowledged) }

func testAcknowledged(t *testing.T, w *world) {
	mail := sendertest.SMTP(t, "none")
	w.channel("mail", "mail", map[string]any{"server": mail.Addr, "tls": "none", "from": "falcon@example.com"})
	w.channel("hook", "webhook", map[string]any{"url": w.sink.URL + "/hook"})
	w.channel("log", "log", nil)
	w.set = func(c *Config) {
		c.API.IM = w.sink.URL + "/im"
		c.Ack.Base, c.Ack.Secret, c.FleetKey = "http://transfer:6060/", "a secret", "the key"
	}
	action := w.action(portal.Action{UIC: "ops"})
	r := w.start()
	at := time.Now().Unix() - 2000
	w.push(event("s_1_a", action, 1, "PROBLEM", at, 0))
	told := func(n int) {
		t.Helper()
		w.eventually(func() error {
			if im, hook := len(w.sink.Posts("/im")), len(w.sink.Posts("/hook")); im != n || hook != n || len(mail.Mails()) != 2*n {
				return fmt.Errorf("%d chats, %d hooks, %d mails", im, hook, len(mail.Mails()))
			}
			return w.empty()
		})
	}
	told(1)
	linkIn := func(text, user string) {
		t.Helper()
		_, query, ok := strings.Cut(text, "http://transfer:6060/ack?")
		query, _, _ = strings.Cut(strings.TrimSpace(query), "\r\n")
		values, err := url.ParseQuery(query)
		l, valid := model.ParseAckLink(values, "a secret", time.Now())
		if !ok || err != nil || !valid || l.EventID != "s_1_a" || l.Endpoint != "host01" || l.Metric != "cpu.idle" || l.User != user || l.Expires < time.Now().Unix()+6*24*3600 {
			t.Errorf("link %+v (valid %v, %v) in %q", l, valid, err, text)
		}
	}
	var hook struct {
		Text   string
		AckURL string `json:"ack_url"`
	}
	if err := json.Unmarshal([]byte(w.sink.Posts("/hook")[0].Body), &hook); err != nil {
		t.Fatal(err)
	}
	linkIn(hook.AckURL, "")
	linkIn(hook.Text, "")
	linkIn(w.sink.Posts("/im")[0].Form["content"], "")
	for _, m := range mail.Mails() {
		name, _, _ := strings.Cut(m.To[0], "@")
		linkIn(m.Body, name)
		if strings.Contains(m.Subject, "http") {
			t.Errorf("the subject has a link: %q", m.Subject)
		}
	}
	if !strings.Contains(r.log.String(), "/ack?endpoint=host01") {
		t.Error("the log has no link")
	}

	report := func(method, key string, body any) (int, string) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addr+"/acked", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" { // as behind a proxy: it is not of this machine
			req.Header.Set(model.FleetKeyHeader, key)
			req.Header.Set("X-Forwarded-For", "10.0.0.9")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		out, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, strings.TrimSpace(string(out))
	}
	if code, said := report(http.MethodPost, "", map[string]any{"user": "anna"}); code != http.StatusBadRequest || !strings.Contains(said, "names the id of a case") {
		t.Errorf("nothing: %d %s", code, said)
	}
	if code, said := report(http.MethodPost, "the key", model.AckReport{ID: "s_1_none", User: "ann"}); code != 200 || said != `{"matched":0}` {
		t.Errorf("a case that is not there: %d %s", code, said)
	}
	if code, said := report(http.MethodPost, "the key", model.AckReport{ID: "s_1_a", User: "ann", At: at + 60}); code != 200 || said != `{"matched":1}` {
		t.Errorf("%d %s", code, said)
	}
	w.push(event("s_1_a", action, 2, "PROBLEM", at+600, 0), event("s_1_a", action, 1, "PROBLEM", at+660, 0))
	w.eventually(func() error {
		if n := w.notices("s_1_a"); !slices.Contains(n, "ann im acked 0 2") || !slices.Contains(n, "ann im acked 0 1") {
			return fmt.Errorf("%q", n)
		}
		return w.empty()
	})
	told(1)
	w.push(event("s_1_a", action, 1, "OK", at+700, 0))
	told(2)
	for _, m := range w.sink.Posts("/im")[1:] {
		if strings.Contains(m.Form["content"], "http") {
			t.Errorf("an end has a link: %s", m.Form["content"])
		}
	}
	w.push(event("s_1_a", action, 1, "PROBLEM", at+800, 0))
	told(3)
	if code, _ := report(http.MethodPost, "", model.AckReport{Endpoint: "host01", Metric: "cpu.idle", User: "ann"}); code != 200 {
		t.Errorf("by the series: %d", code)
	}
	if code, said := report(http.MethodDelete, "", model.AckReport{ID: "s_1_a", User: "ann"}); code != 200 || said != `{"matched":1}` {
		t.Errorf("taken back: %d %s", code, said)
	}
	w.push(event("s_1_a", action, 2, "PROBLEM", at+1400, 0))
	told(4)
}

// A secret that stands in sample files signs nothing.
func TestAckPlaceholder(t *testing.T) {
	w := newWorld(t)
	w.channel("hook", "webhook", map[string]any{"url": w.sink.URL + "/hook"})
	w.set = func(c *Config) { c.Ack.Base, c.Ack.Secret = "http://transfer:6060", conf.Secret(model.SampleSecret) }
	action := w.action(portal.Action{UIC: "ops"})
	r := w.start()
	w.push(event("s_1_a", action, 1, "PROBLEM", time.Now().Unix()-1000, 0))
	w.eventually(func() error {
		if n := len(w.sink.Posts("/hook")); n != 1 {
			return fmt.Errorf("%d posts", n)
		}
		return nil
	})
	if body := w.sink.Posts("/hook")[0].Body; strings.Contains(body, "ack_url") || !strings.Contains(r.log.String(), "choose your own") {
		t.Errorf("told %s\n%s", body, r.log)
	}
}
