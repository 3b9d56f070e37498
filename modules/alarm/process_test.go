package alarm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/testkit"
)

// startProgram starts an alarm of its own process, which tells people by the gateway im.
func (w *world) startProgram(program, im string) *testkit.Process {
	w.t.Helper()
	cfg := map[string]any{
		"http": map[string]any{"enabled": false}, "redis": map[string]any{"addr": w.redis.Addr()}, "api": map[string]any{"im": im},
		"falcon_portal": map[string]any{"addr": w.at.AlarmsDSN},
		"db":            map[string]any{"dir": w.at.Dir, "falcon_portal": w.at.PortalDSN, "uic": w.at.UICDSN},
	}
	file := filepath.Join(w.t.TempDir(), "alarm.json")
	if err := os.WriteFile(file, mustJSON(w.t, cfg), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return testkit.Start(w.t, w.t.TempDir(), program, "-c", file)
}

// Three real alarms, one of which is killed in the middle of a burst: every event has
// its rows once, everybody is told at least once, and what may have been told twice says
// so and is rare.
func TestKill9(t *testing.T) {
	program := testkit.Program(t, "alarm")
	eachStore(t, func(t *testing.T, w *world) {
		events := 3000
		if os.Getenv("FALCON_SOAK") != "" {
			events = 10_000
		}
		action := w.action(portal.Action{UIC: "ops"})
		var all []*testkit.Process
		for range 3 {
			all = append(all, w.startProgram(program, w.sink.URL+"/im"))
		}
		at := time.Now().Unix() - 10_000
		var burst []*model.Event
		for i := range events {
			series := i % (events / 2)
			e := event(fmt.Sprint("s_", series), action, 1+i/(events/2), "PROBLEM", at+int64(i/(events/2))*300, series%3)
			e.Endpoint = fmt.Sprint("host", i)
			burst = append(burst, e)
		}
		w.push(burst[:events/2]...)
		testkit.Eventually(t, 30*time.Second, func() error {
			if n := len(w.sink.Posts("/im")); n < events/10 {
				return fmt.Errorf("%d are told", n)
			}
			return nil
		})
		// Each has something in its hands when one dies: the sink keeps more than two can have.
		before := w.sink.Hold()
		w.push(burst[events/2 : events/2+events/10]...)
		testkit.Eventually(t, 30*time.Second, func() error {
			if n := len(w.sink.Posts("")) - before; n <= 2*DefaultConfig().Worker.IM {
				return fmt.Errorf("%d are being told", n)
			}
			return nil
		})
		all[0].Kill()
		w.sink.Release()
		w.push(burst[events/2+events/10:]...)
		testkit.Eventually(t, 60*time.Second, w.empty)
		told, repeats := map[string]int{}, 0
		for _, text := range w.contents("/im") {
			if strings.Contains(text, "(possible repeat)") {
				repeats++
			}
			told[strings.Split(text, "][")[2]]++
		}
		twice := 0
		for i := range events {
			switch n := told[fmt.Sprint("host", i)]; {
			case n == 0:
				t.Errorf("event %d is not told", i)
			case n > 1:
				twice++
			}
		}
		if twice == 0 || twice > repeats || twice > max(events/100, claimed*DefaultConfig().Worker.IM) {
			t.Errorf("%d of %d were told twice, %d say so", twice, events, repeats)
		}
		testkit.Outcome(t, "%d of %d were told twice, %d say that they may have been", twice, events, repeats)
		cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{Statuses: []string{"PROBLEM"}, Limit: events})
		if err != nil || len(cases) != events/2 {
			t.Fatalf("%d cases, %v", len(cases), err)
		}
		for _, c := range cases[:50] {
			rows, err := w.db.CaseEvents(t.Context(), c.ID, time.Time{}, time.Time{}, -1, 0, 0)
			if err != nil || len(rows) != 2 || len(w.notices(c.ID)) != 4 {
				t.Errorf("case %s: %d events, %q, %v", c.ID, len(rows), w.notices(c.ID), err)
			}
		}
		for _, p := range all[1:] {
			p.Stop()
		}
	})
}
