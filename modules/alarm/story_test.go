package alarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
	"falcon/modules/alarm/sender/sendertest"
)

// An event of a stock judge has its rows, and each person one message on each channel.
func TestStory(t *testing.T) {
	eachStore(t, testStory)
}

func testStory(t *testing.T, w *world) {
	smtp := map[string]*sendertest.MailServer{}
	for _, mode := range []string{"none", "starttls", "tls"} {
		smtp[mode] = sendertest.SMTP(t, mode)
		cfg := map[string]any{"server": smtp[mode].Addr, "tls": mode, "from": "falcon@example.com", "skip_verify": true}
		if mode != "none" {
			cfg["user"], cfg["password"] = "falcon", "secret"
		}
		w.channel("mail-"+mode, "mail", cfg)
	}
	w.channel("bell", "inbox", map[string]any{})
	w.channel("log", "log", map[string]any{})
	w.channel("hook", "webhook", map[string]any{"url": w.sink.URL + "/hook"})
	w.channel("sms", "sms", map[string]any{"url": w.sink.URL + "/sms"})
	w.set = func(c *Config) { c.API.IM, c.API.Mail = w.sink.URL+"/wechat", w.sink.URL+"/mail" }
	action := w.action(portal.Action{UIC: "ops"})
	r := w.start()
	at := time.Now().Unix() - 1000
	w.push(event("s_10_a", action, 1, "PROBLEM", at, 1), event("s_10_b", action, 1, "PROBLEM", at, 5), event("s_10_a", action, 1, "OK", at+60, 1),
		event("s_10_c", 0, 1, "PROBLEM", at, 0))

	short := func(p int, status string, at int64) string {
		return fmt.Sprintf("[P%d][%s][host01][][n all(#3) cpu.idle  1.5>1][O1 %s]", p, status, time.Unix(at, 0).UTC().Format(time.DateTime))
	}
	told := []string{short(1, "PROBLEM", at), short(1, "OK", at+60), short(5, "PROBLEM", at)}
	slices.Sort(told)
	w.eventually(func() error {
		for mode, s := range smtp {
			if got := s.Mails(); len(got) != 6 {
				return fmt.Errorf("%d mails through %s", len(got), mode)
			}
		}
		for path, n := range map[string]int{"/hook": 3, "/wechat": 3, "/mail": 3, "/sms": 2} {
			if got := w.sink.Posts(path); len(got) != n {
				return fmt.Errorf("%d posts to %s, want %d", len(got), path, n)
			}
		}
		if n := strings.Count(r.log.String(), "msg=alarm event="); n != 3 {
			return fmt.Errorf("%d log lines", n)
		}
		return w.empty()
	})
	for path, field := range map[string]string{"/wechat": "content", "/mail": "subject"} {
		var got []string
		for _, p := range w.sink.Posts(path) {
			got = append(got, p.Form[field])
			if tos := strings.Split(p.Form["tos"], ","); len(tos) != 2 {
				t.Errorf("%s: to %q", path, tos)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, told) {
			t.Errorf("%s\n got %q\nwant %q", path, got, told)
		}
	}
	for mode, s := range smtp {
		var to []string
		for _, m := range s.Mails() {
			to = append(to, m.To...)
			if !slices.Contains(told, m.Subject) || m.TLS != (mode != "none") {
				t.Errorf("mail %+v through %s", m, mode)
			}
		}
		slices.Sort(to)
		if fmt.Sprint(slices.Compact(to)) != "[ann@example.com bob@example.com]" {
			t.Errorf("mails to %q", to)
		}
	}
	for _, user := range []string{"ann", "bob", "bare"} {
		items, unread, err := w.db.Inbox(t.Context(), user, 10, 0)
		if err != nil || len(items) != 3 || unread != 3 || items[0].Result != portal.NoticeSent {
			t.Errorf("inbox of %s: %+v, %d unread, %v", user, items, unread, err)
		}
	}
	cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{Endpoints: []string{"host01"}})
	if err != nil || len(cases) != 3 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		want := map[string]string{"s_10_a": "OK 2 34", "s_10_b": "PROBLEM 1 15", "s_10_c": "PROBLEM 1 0"}[c.ID]
		events, err := w.db.CaseEvents(t.Context(), c.ID, time.Time{}, time.Time{}, -1, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		notices := w.notices(c.ID)
		if got := fmt.Sprint(c.Status, " ", len(events), " ", len(notices)); got != want {
			t.Errorf("case %s: %s, want %s", c.ID, got, want)
		}
		for _, n := range notices {
			if !strings.Contains(n, " sent 1 1") {
				t.Errorf("notice %s", n)
			}
		}
	}
	if err := r.health(); err != nil {
		t.Error(err)
	}
	r.stop()
	if strings.Contains(r.log.String(), "level=WARN") || strings.Contains(r.log.String(), "level=ERROR") {
		t.Errorf("log:\n%s", r.log)
	}
}
