package alarm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/portal"
)

// The URL is called while probes come back, and only then; what keeps it silent is counted
// by reason and said on /health. Probes are for nobody.
func TestDeadMan(t *testing.T) {
	var answer, calls atomic.Int64
	answer.Store(200)
	slow := make(chan struct{})
	ears := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Path != "/secret-path" || r.Method != "POST" {
			t.Errorf("called: %s %s", r.Method, r.URL)
		}
		switch code := int(answer.Load()); code {
		case 0:
			select {
			case <-slow:
			case <-r.Context().Done():
			}
		case 302:
			http.Redirect(w, r, "/elsewhere", code)
		default:
			w.WriteHeader(code)
		}
	}))
	defer ears.Close()
	defer close(slow)
	var mu sync.Mutex
	var probes []any
	agent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var points []*model.MetricValue
		if err := json.NewDecoder(r.Body).Decode(&points); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, p := range points {
			if p.Metric == Probe {
				probes = append(probes, p.Value)
			}
		}
	}))
	defer agent.Close()

	w := newWorld(t)
	w.channel("hook", "webhook", map[string]any{"url": w.sink.URL + "/hook"})
	var ahead atomic.Int64 // of the alarm's clock, in seconds
	w.set = func(c *Config) {
		c.Self.Enabled, c.Self.PushAPI = true, agent.URL
		c.DeadMan = DeadMan{URL: conf.Secret(ears.URL + "/secret-path"), Method: "POST", Interval: conf.Duration(time.Hour), Timeout: conf.Duration(200 * time.Millisecond)}
	}
	w.before = func(a *Alarm) {
		a.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * time.Second) }
	}
	r := w.start()
	w.eventually(func() error {
		if r.health() != nil {
			return fmt.Errorf("it starts: %v", r.health())
		}
		return nil
	})
	turn := func(what, want string, wantCalls int64, note string) {
		t.Helper()
		r.deadMan.turn(t.Context())
		notes := strings.Join(r.notes(), "\n")
		if got := fmt.Sprint(r.deadMan.sent.Get(), counted(r.deadMan.held)); got != want || calls.Load() != wantCalls {
			t.Errorf("%s: %s and %d calls, want %s and %d", what, got, calls.Load(), want, wantCalls)
		}
		if !strings.Contains(notes, note) || note == "" && notes != "" {
			t.Errorf("%s: /health says %q, want %q", what, notes, note)
		}
	}
	turn("nothing is wrong at the start", "0 map[no_probe:1]", 0, "")
	ahead.Store(200)
	turn("no probe ever", "0 map[no_probe:2]", 0, "no probe was ever back")

	back := func(at int64) {
		t.Helper()
		before := r.suppressed.Get(byProbe)
		e := event("s_10_probe", w.action(portal.Action{UIC: "ops"}), 1, "PROBLEM", at, 6)
		e.Strategy.Metric, e.PushedTags = Probe, map[string]string{"module": "alarm"}
		w.push(e)
		w.eventually(func() error {
			if r.suppressed.Get(byProbe) == before {
				return fmt.Errorf("the probe is not back")
			}
			return w.empty()
		})
	}
	back(r.now().Unix())
	turn("a probe is back", "1 map[no_probe:2]", 1, "")
	back(r.now().Unix() - 1000)
	turn("an old one changes nothing", "2 map[no_probe:2]", 2, "")
	for _, tc := range []struct {
		name       string
		code       int64
		want, note string
	}{
		{"not found", 404, "2 map[no_probe:2 refused:1]", "deadman.url answers 404 Not Found"},
		{"a redirect is no answer", 302, "2 map[no_probe:2 refused:2]", "deadman.url answers 302"},
		{"it is asked once", 500, "2 map[no_probe:2 refused:3]", "deadman.url answers 500"},
		{"slow", 0, "2 map[away:1 no_probe:2 refused:3]", "call deadman.url:"},
	} {
		answer.Store(tc.code)
		turn(tc.name, tc.want, calls.Load()+1, tc.note)
	}
	answer.Store(200)
	turn("well again", "3 map[away:1 no_probe:2 refused:3]", 7, "")
	ahead.Add(181)
	turn("none was back for three minutes", "3 map[away:1 no_probe:3 refused:3]", 7, "no probe was back since")
	back(r.now().Unix())
	turn("and it is", "4 map[away:1 no_probe:3 refused:3]", 8, "")
	r.trouble.Set(r.Alarm.log, "", "write events", fmt.Errorf("the disk is full"))
	turn("this alarm is ill", "4 map[away:1 no_probe:3 refused:3 unhealthy:1]", 8, "the disk is full")
	r.trouble.Clear("write events")
	ears.Close()
	turn("nobody is there", "4 map[away:2 no_probe:3 refused:3 unhealthy:1]", 8, "call deadman.url:")
	if s := r.log.String() + strings.Join(r.notes(), ""); strings.Contains(s, "secret-path") {
		t.Errorf("the URL is told: %s", s)
	}
	if cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{Limit: 10}); err != nil || len(cases) != 0 || len(w.contents("/hook")) != 0 {
		t.Errorf("somebody heard of a probe: %v, %v, %v", cases, err, w.contents("/hook"))
	}
	mu.Lock()
	defer mu.Unlock()
	if len(probes) != 1 || probes[0] != 1.0 {
		t.Errorf("probes: %v, want one of value 1", probes)
	}
	if next := r.deadMan.probe()[0].Value; next != 0 {
		t.Errorf("the next probe is %v, want 0: only a change makes an event", next)
	}
}

func TestAliveOnEachStore(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		for _, tc := range []struct{ at, want int64 }{{1000, 1000}, {1060, 1060}, {1000, 1060}, {1060, 1060}} {
			if err := w.db.SetAlive(t.Context(), "x", time.Unix(tc.at, 0)); err != nil {
				t.Fatal(err)
			}
			if got, err := w.db.Alive(t.Context(), "x"); err != nil || got.Unix() != tc.want {
				t.Errorf("after %d: %v, %v; want %d", tc.at, got, err, tc.want)
			}
		}
		if got, err := w.db.Alive(t.Context(), "y"); err != nil || !got.IsZero() {
			t.Errorf("never there: %v, %v", got, err)
		}
	})
}
