package alarm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// A message is tried three times; then its row says what the provider answered. Other
// channels do not wait for it.
func TestProviderFails(t *testing.T) {
	w := newWorld(t)
	w.channel("bell", "inbox", nil)
	w.channel("hook", "webhook", map[string]any{"url": "http://127.0.0.1:1/"})
	w.channel("broken", "mail", map[string]any{"server": "nowhere"})
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	w.sink.Refuse(2) // of the first message
	r := w.start()
	w.push(event("s_1", action, 1, "PROBLEM", at, 0))
	w.eventually(w.empty)
	w.sink.Refuse(3)
	w.push(event("s_2", action, 1, "PROBLEM", at, 0))
	w.eventually(w.empty)
	common := []string{"ann bell sent 1 1", "bare bell sent 1 1", "bob bell sent 1 1", "ann broken failed 1 1", "bob broken failed 1 1", "hook hook failed 3 1"}
	for id, im := range map[string][]string{"s_1": {"ann im sent 3 1", "bob im sent 3 1"}, "s_2": {"ann im failed 3 1", "bob im failed 3 1"}} {
		want, got := append(im, common...), w.notices(id)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %q\nwant %q", id, got, want)
		}
	}
	rows, err := w.db.CaseNotices(t.Context(), "s_2", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range rows {
		want := map[string]string{"im": "503 Service Unavailable not now", "hook": "connection refused", "broken": `server "nowhere" is no address`}[n.Channel]
		if !strings.Contains(n.Answer, want) {
			t.Errorf("the answer of %s is %q, want %q in it", n.Channel, n.Answer, want)
		}
	}
	if err := r.health(); err != nil {
		t.Errorf("a provider that fails makes alarm ill: %v", err)
	}
	if n := strings.Count(r.log.String(), "messages can not be sent"); n != 2 {
		t.Errorf("the log says %d times that messages can not be sent, want once for each channel", n)
	}
}

// Who is told, by the action and the priority.
func TestWhoIsTold(t *testing.T) {
	w := newWorld(t)
	if _, err := w.db.CreateTeam(t.Context(), portal.Team{Name: "empty"}, nil); err != nil {
		t.Fatal(err)
	}
	w.channel("bell", "inbox", nil)
	w.channel("hook", "webhook", map[string]any{"url": w.sink.URL + "/hook"})
	w.channel("sms", "sms", map[string]any{"url": w.sink.URL + "/sms"})
	r := w.start()
	at := time.Now().Unix() - 1000
	for i, tc := range []struct {
		name     string
		action   portal.Action
		priority int
		want     string
	}{
		{"every channel", portal.Action{UIC: "ops"}, 2, "ann bell, ann sms, bare bell, bob bell, bob sms, hook hook"},
		{"no sms of a low priority", portal.Action{UIC: "ops"}, 3, "ann bell, bare bell, bob bell, hook hook"},
		{"people of two teams once", portal.Action{UIC: "ops, empty,ops,,nobody"}, 3, "ann bell, bare bell, bob bell, hook hook"},
		{"some channels", portal.Action{UIC: "ops", Channels: " hook,sms , gone"}, 0, "ann sms, bob sms, hook hook"},
		{"a channel that is gone", portal.Action{UIC: "ops", Channels: "gone"}, 0, ""},
		{"no team", portal.Action{}, 0, ""},
		{"no team but a channel", portal.Action{Channels: "hook"}, 0, "hook hook"},
		{"a team of nobody", portal.Action{UIC: "empty"}, 0, "hook hook"},
	} {
		id := fmt.Sprint("s_", i)
		w.push(event(id, w.action(tc.action), 1, "PROBLEM", at, tc.priority))
		w.eventually(func() error {
			cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{ID: id})
			if err != nil || len(cases) == 0 {
				return fmt.Errorf("no case, %v", err)
			}
			return w.empty()
		})
		var got []string
		for _, n := range w.notices(id) {
			f := strings.Fields(n)
			got = append(got, f[0]+" "+f[1])
		}
		slices.Sort(got)
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.name, s, tc.want)
		}
	}
	w.push(event("s_gone", 9999, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if got, want := fmt.Sprint(counted(r.suppressed)), "map[no_action:1 no_channel:1 no_team:1 nobody:2]"; got != want {
			return fmt.Errorf("suppressed %s, want %s", got, want)
		}
		return nil
	})
}

// Channels are changed while alarm runs.
func TestChannelsAreReread(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	w.eventually(r.health)
	w.channel("chat", "im", map[string]any{"url": w.sink.URL + "/one"})
	reload := func() {
		t.Helper()
		if status, body := w.post(r, "/channel/reload", ""); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	reload()
	w.push(event("s_1", action, 1, "PROBLEM", at, 0))
	w.eventually(w.empty)
	all, err := w.db.AlarmChannels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all[0].Config = `{"url":"` + w.sink.URL + `/two"}`
	if err := w.db.UpdateAlarmChannel(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	reload()
	w.push(event("s_2", action, 1, "PROBLEM", at, 0))
	w.eventually(w.empty)
	all[0].Enabled = false
	if err := w.db.UpdateAlarmChannel(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	reload()
	w.push(event("s_3", action, 1, "PROBLEM", at, 0))
	w.eventually(func() error {
		if n := r.suppressed.Get(byChannel); n != 1 {
			return fmt.Errorf("%d suppressed", n)
		}
		return nil
	})
	if one, two := len(w.sink.Posts("/one")), len(w.sink.Posts("/two")); one != 1 || two != 1 {
		t.Errorf("%d and %d posts", one, two)
	}
}

// post calls a page of an alarm.
func (w *world) post(r *running, path, body string) (int, string) {
	w.t.Helper()
	return w.request(http.MethodPost, r, path, body)
}

func (w *world) request(method string, r *running, path, body string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+r.addr+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	w.channel("chat", "im", map[string]any{"url": w.sink.URL + "/im"})
	w.channel("bell", "inbox", nil)
	r := w.start()
	w.eventually(func() error {
		if status, body := w.request(http.MethodGet, r, "/health", ""); status != 200 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	// /channel/test
	for _, tc := range []struct {
		in     string
		status int
		want   string
	}{
		{`{"name":"chat","receiver":"ann"}`, 200, `{"ok":true,"answer":"200 OK ok","error":""}`},
		{`{"name":"new","type":"webhook","config":{"url":"` + w.sink.URL + `/new"}}`, 200, `{"ok":true,"answer":"200 OK ok","error":""}`},
		{`{"name":"bell","receiver":"bare"}`, 200, `{"ok":true,"answer":"it is in the inbox of bare","error":""}`},
		{`{"name":"chat","receiver":"bare"}`, 200, `{"ok":false,"answer":"","error":"receiver: user \"bare\" has no address for a channel of type im: fill in the profile"}`},
		{`{"name":"chat","receiver":"zoe"}`, 200, `{"ok":false,"answer":"","error":"receiver: there is no user \"zoe\""}`},
		{`{"name":"chat"}`, 200, `{"ok":false,"answer":"","error":"receiver: name a user who is to get the test"}`},
		{`{"type":"mail","config":{"server":"x"},"receiver":"ann"}`, 200, `{"ok":false,"answer":"","error":"config: server \"x\" is no address, write mail.example.com:587"}`},
		{`{"name":"none"}`, 404, `{"error":"there is no channel \"none\"; give a type and a config to test one that is not saved"}`},
		{`[`, 400, `{"error":"the request is no JSON object: unexpected EOF"}`},
	} {
		if status, body := w.post(r, "/channel/test", tc.in); status != tc.status || strings.TrimSpace(body) != tc.want {
			t.Errorf("POST /channel/test %s\n got %d %s\nwant %d %s", tc.in, status, body, tc.status, tc.want)
		}
	}
	if got := w.contents("/im"); len(got) != 1 || !strings.HasPrefix(got[0], "[test] a message through the channel chat") || len(w.sink.Posts("/new")) != 1 {
		t.Errorf("told %q", got)
	}

	if items, unread, err := w.db.Inbox(t.Context(), "bare", 10, 0); err != nil || unread != 1 || items[0].Endpoint != "test" || items[0].CaseID != "" {
		t.Errorf("the inbox of who tried it holds %+v, %d unread, %v", items, unread, err)
	}

	// /unrecovered, /dead, /requeue
	at := time.Now().Unix() - 1000
	action := w.action(portal.Action{UIC: "ops"})
	w.push(event("s_1", action, 1, "PROBLEM", at-60, 1), event("s_1", action, 2, "PROBLEM", at, 1), event("s_2", action, 1, "OK", at, 1))
	if _, err := w.pool.Do(t.Context(), "LPUSH", "event:p0", `{"id":"s_3"}`); err != nil {
		t.Fatal(err)
	}
	w.eventually(func() error {
		if n := r.dead.Get(); n != 1 {
			return fmt.Errorf("%d dead", n)
		}
		return w.empty()
	})
	want := fmt.Sprintf(`{"unrecovered":[{"id":"s_1","endpoint":"host01","metric":"cpu.idle","priority":1,"step":2,"max_step":3,"cond":"1.5 > 1","note":"n","first":%d,"last":%d,"acked_by":"","acked_at":0}]}`, at-60, at)
	if status, body := w.request(http.MethodGet, r, "/unrecovered?team=ops&endpoint=host01&metric=cpu&p=1&limit=5", ""); status != 200 || strings.TrimSpace(body) != want {
		t.Errorf("/unrecovered: %d %s, want %s", status, body, want)
	}
	if status, body := w.request(http.MethodGet, r, "/unrecovered?limit=x", ""); status != 400 {
		t.Errorf("%d %s", status, body)
	}
	var shown struct{ Dead []dead }
	if status, body := w.request(http.MethodGet, r, "/dead?limit=5", ""); status != 200 || json.Unmarshal([]byte(body), &shown) != nil ||
		len(shown.Dead) != 1 || shown.Dead[0].List != "event:p0" || shown.Dead[0].Event != `{"id":"s_3"}` || !strings.Contains(shown.Dead[0].Reason, "without a strategy") {
		t.Errorf("/dead: %d %s", status, body)
	}
	if status, body := w.post(r, "/requeue", `{"limit":5}`); status != 200 || !strings.Contains(body, "1 events are read again") {
		t.Errorf("/requeue: %d %s", status, body)
	}
	w.eventually(func() error {
		if n := r.dead.Get(); n != 2 {
			return fmt.Errorf("%d dead", n)
		}
		return nil
	})
	status, body := w.request(http.MethodGet, r, "/counter/all", "")
	for _, name := range []string{"pop", "queue.len", "lag.sec", "send.ok", "send.err", "retry", "suppressed", "dead", "db.error", "unrecovered"} {
		if status != 200 || !strings.Contains(body, `"Name":"`+name+`"`) {
			t.Errorf("/counter/all lacks %s: %d %s", name, status, body)
		}
	}
	if status, body := w.request(http.MethodGet, r, "/config", ""); status != 200 || !strings.Contains(body, `"highQueues"`) {
		t.Errorf("/config: %d %s", status, body)
	}
}

// Pages that do something are for this machine, and for who has the api's token.
func TestTrusted(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.PlusAPIToken = "secret" }
	r := w.start()
	for _, tc := range []struct {
		from, token string
		want        int
	}{
		{"127.0.0.1:9", "", 200},
		{"10.0.0.9:9", "", 403},
		{"10.0.0.9:9", `{"name":"api","sig":"guess"}`, 403},
		{"10.0.0.9:9", `{"name":"api","sig":"secret"}`, 200},
	} {
		req := httptest.NewRequest(http.MethodGet, "/dead", nil)
		req.RemoteAddr = tc.from
		req.Header.Set("Apitoken", tc.token)
		rec := httptest.NewRecorder()
		r.admin().ServeHTTP(rec, req)
		if rec.Code != tc.want {
			t.Errorf("from %s with %s: %d, want %d", tc.from, tc.token, rec.Code, tc.want)
		}
	}
}

// What is old goes; what people may still look at stays.
func TestHousekeeping(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.channel("bell", "inbox", nil)
		w.set = func(c *Config) { c.Housekeeper.Batch = 3 }
		action := w.action(portal.Action{UIC: "ops"})
		day := int64(24 * 3600)
		now := time.Now().Unix()
		r := w.start()
		for i, age := range []int64{100, 99, 98, 97, 96, 30, 8, 6} {
			w.push(event(fmt.Sprint("s_", i), action, 1, "OK", now-age*day, 0))
		}
		w.push(event("s_open", action, 1, "PROBLEM", now-100*day, 0))
		w.eventually(w.empty)
		if err := r.sweepRows(t.Context()); err != nil {
			t.Fatal(err)
		}
		cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{Endpoints: []string{"host01"}})
		var got []string
		for _, c := range cases {
			events, err := w.db.CaseEvents(t.Context(), c.ID, time.Time{}, time.Time{}, -1, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %d %d", c.ID, len(events), len(w.notices(c.ID))))
		}
		slices.Sort(got)
		if want := "[s_5 0 3 s_6 0 3 s_7 1 3 s_open 0 0]"; err != nil || fmt.Sprint(got) != want {
			t.Errorf("left %v, %v; want %s", got, err, want)
		}
		if _, unread, err := w.db.Inbox(t.Context(), "ann", 1, 0); err != nil || unread != 3 {
			t.Errorf("%d unread, %v", unread, err)
		}
	})
}

// A provider that takes nothing does not hold up the others, and its backlog is bounded.
func TestDeadProvider(t *testing.T) {
	w := newWorld(t)
	w.channel("hook", "webhook", map[string]any{"url": "http://127.0.0.1:1/"})
	w.set = func(c *Config) { c.API.IM, c.Worker.Webhook = w.sink.URL+"/im", 1 }
	w.before = func(a *Alarm) { a.backlog = 50 }
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	const n = 400
	var all []*model.Event
	for i := range n {
		all = append(all, event(fmt.Sprint("s_", i), action, 1, "PROBLEM", at, 0))
	}
	w.push(all...)
	r := w.start()
	w.eventually(func() error {
		if n := len(w.sink.Posts("/im")); n != len(all) {
			return fmt.Errorf("%d posts", n)
		}
		return w.empty()
	})
	tried, given := 0, 0
	for i := range n {
		rows, err := w.db.CaseNotices(t.Context(), fmt.Sprint("s_", i), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			switch {
			case row.Channel != "hook":
			case row.Attempts == tries && strings.Contains(row.Answer, "connection refused"):
				tried++
			case row.Attempts == 0 && row.Result == portal.NoticeFailed && strings.HasPrefix(row.Answer, "not tried: "):
				given++
			default:
				t.Errorf("%+v", row)
			}
		}
	}
	if tried < 50 || tried+given != n {
		t.Errorf("%d tried, %d given up", tried, given)
	}
	if bad := r.bad.Get("hook"); bad != n {
		t.Errorf("%d counted", bad)
	}
}
