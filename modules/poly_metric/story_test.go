package polymetric

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/httpx"
	"falcon/common/portal"
)

// wait lets time pass in the bubble, and everything that happens in it.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Each row has a point a step, with the row's fields and the time of its turn. One row
// that can not be read costs itself alone, and is shown with the reason.
func TestEachRowHasItsTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rows = []portal.DatedAggregator{
			metricRow(1, "$(a)", "$#", "mean", 60), metricRow(2, "$(a)>15", "$#", "share", 30), metricRow(3, "$((a)", "$#", "wrong", 30), metricRow(4, "$(a)", "1", "sum", 3600),
		}
		m, logged, stop := w.start(t, nil)
		wait(10 * time.Minute)
		n := map[string]int{}
		for _, i := range look(w, &w.pushed) {
			n[fmt.Sprintf("%s=%v", i.Metric, i.Value)]++
			id, step := int64(1), int64(60)
			if i.Metric == "share" {
				id, step = 2, 30
			}
			if i.Endpoint != "cluster" || i.Tags != "a=b" || i.Type != "GAUGE" || i.Step != step || i.Timestamp%step != int64(phase(id, time.Duration(step)*time.Second)/time.Second) {
				t.Errorf("an item is %+v", i)
			}
		}
		if want := map[string]int{"mean=15": 10, "share=0.5": 20}; !maps.Equal(n, want) {
			t.Errorf("pushed %v, want %v", n, want)
		}
		wantText(t, "the log", logged.String(), "a row can not be worked", "row=3", `a counter can not have a bracket in it`)
		if got := strings.Count(logged.String(), "row=3"); got != 1 {
			t.Errorf("the log names the bad row %d times", got)
		}
		code, body := page(m, "/items")
		lines := strings.Split(strings.TrimSpace(body), "\n")
		if code != http.StatusOK || len(lines) != 4 {
			t.Fatalf("/items: %d\n%s", code, body)
		}
		wantText(t, "/items", lines[0], "id=1 group=2 numerator=$(a) denominator=$# endpoint=cluster metric=mean tags=a=b type=GAUGE step=60", "hosts=2/2", "value=15", "next=2000-01-01T", "last=2000-01-01T")
		wantText(t, "/items", lines[2], `bad="numerator: \"$((a)\": a counter can not have a bracket in it"`)
		if strings.Contains(lines[3], "last=") {
			t.Errorf("a row before its first turn: %s", lines[3])
		}
		_, body = page(m, "/bad")
		if want := `{"msg":"success","data":[{"id":3,"endpoint":"cluster","metric":"wrong","reason":"numerator: \"$((a)\": a counter can not have a bracket in it"}]}`; strings.TrimSpace(body) != want {
			t.Errorf("/bad: %s\nwant %s", body, want)
		}
		if code, body := page(m, "/health"); code != http.StatusOK || body != "ok" {
			t.Errorf("/health: %d %q", code, body)
		}
		stop()
	})
}

// An edit begins a row anew within the interval, also one within the second of the last;
// a row that is gone stops, and one that is new begins. Rows of other ids are others'.
func TestRowsComeChangeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rows = []portal.DatedAggregator{metricRow(5, "$(a)", "$#", "first", 10), metricRow(6, "$(a)", "$#", "gone", 10), metricRow(99, "$(a)", "$#", "other", 10)}
		m, _, stop := w.start(t, func(c *Config, _ *Deps) { c.Database.IDs = []int64{5, 50} })
		defer stop()
		wait(50 * time.Second)
		if got := w.took(); len(got) != 10 || slices.Contains(got, "other=15") {
			t.Errorf("in five steps of two rows: %v", got)
		}
		edited := metricRow(5, "$(a)", "1", "first", 10) // last_update as before
		w.locked(func() { w.rows = []portal.DatedAggregator{edited, metricRow(7, "$(a)>0", "$#", "new", 10)} })
		wait(5 * time.Second)
		w.took()
		wait(20 * time.Second)
		got := w.took()
		slices.Sort(got)
		if want := []string{"first=30", "first=30", "new=1", "new=1"}; !slices.Equal(got, want) {
			t.Errorf("after the changes: %v, want %v", got, want)
		}
		if all, _ := m.board.all(); len(all) != 2 {
			t.Errorf("%d rows are worked, want 2", len(all))
		}
		// A row that is edited into nonsense stops; edited again it goes on.
		w.locked(func() { w.rows[0].Denominator = "nonsense" })
		wait(55 * time.Second)
		w.took()
		wait(20 * time.Second)
		if got := w.took(); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "first") }) || len(got) != 2 {
			t.Errorf("of a row that can not be read: %v", got)
		}
		w.locked(func() { w.rows[0].Denominator = "$#" })
		wait(75 * time.Second)
		if got := w.took(); !slices.Contains(got, "first=15") {
			t.Errorf("after it is right again: %v", got)
		}
	})
}

// While the database is away the rows in hand are worked, and health says why changes
// are not seen. Before the first read there is nothing to work.
func TestTheDatabaseIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.away["rows"] = errAway
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 10)}
		m, _, stop := w.start(t, nil)
		defer stop()
		wait(time.Minute)
		if code, body := page(m, "/health"); code != http.StatusServiceUnavailable || body != "read the rows of cluster: connection refused\n" {
			t.Errorf("/health: %d %q", code, body)
		}
		w.locked(func() { delete(w.away, "rows") })
		wait(16 * time.Second) // it looks again every five seconds; then a turn is ten away at most
		if got := w.took(); len(got) == 0 {
			t.Error("no result though the database is back")
		}
		w.locked(func() { w.away["rows"] = errAway })
		wait(time.Minute)
		w.took()
		wait(20 * time.Second)
		if got := w.took(); len(got) != 2 {
			t.Errorf("with the database away again: %v, want two results in two steps", got)
		}
		if code, _ := page(m, "/health"); code != http.StatusServiceUnavailable {
			t.Errorf("/health: %d while rows can not be read", code)
		}
	})
}

// Hosts in maintenance do not count, from its first second to its last, although the
// members of the group are asked for once a minute only.
func TestMaintenanceEndsBetweenQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		now := time.Now().Unix()
		w.groups[2] = []Host{{Name: "h1"}, {Name: "h2", MaintainBegin: now - 5, MaintainEnd: now + 29}}
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 10)}
		_, _, stop := w.start(t, nil)
		defer stop()
		wait(time.Minute)
		if got, want := w.took(), []string{"m=10", "m=10", "m=10", "m=15", "m=15", "m=15"}; !slices.Equal(got, want) {
			t.Errorf("pushed %v, want %v", got, want)
		}
		if n := look(w, &w.looked); n != 1 {
			t.Errorf("the members were asked for %d times in a minute", n)
		}
		wait(time.Minute)
		if n := look(w, &w.looked); n != 2 {
			t.Errorf("the members were asked for %d times in two minutes", n)
		}
	})
}

// Every turn without a result is counted with its reason, and the row says it.
func TestTurnsWithoutAResult(t *testing.T) {
	for _, tc := range []struct {
		reason, says string
		health       string
		row          portal.DatedAggregator
		do           func(*world)
	}{
		{"no_host", "no host has all counters", "ok", row(1, "$(nothing)", "$#", 10), nil},
		{"no_host", "no host has all counters", "ok", row(1, "$(a)", "$#", 10), func(w *world) { w.groups[2] = nil }},
		{"zero", "the denominator is 0", "ok", row(1, "$(a)", "$(a)>50", 10), nil},
		{"no_group", "there is no group with id 2", "ok", row(1, "$(a)", "$#", 10), func(w *world) { delete(w.groups, 2) }},
		{"hosts", "ask for the hosts of group 2: connection refused", "ask for the hosts of groups: connection refused\n", row(1, "$(a)", "$#", 10), func(w *world) { w.away["hosts"] = errAway }},
		{"points", "ask for last points: connection refused", "ask for last points: connection refused\n", row(1, "$(a)", "$#", 10), func(w *world) { w.away["points"] = errAway }},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.rows = []portal.DatedAggregator{tc.row}
				if tc.do != nil {
					tc.do(w)
				}
				m, _, stop := w.start(t, nil)
				defer stop()
				wait(time.Minute)
				if got := w.took(); got != nil {
					t.Errorf("pushed %v", got)
				}
				n := m.gaps.Get(tc.reason)
				if n < 5 || n > 6 || m.gaps.Sum() != n {
					t.Errorf("in six steps the turns without a result are %v", m.gaps.All())
				}
				_, items := page(m, "/items")
				wantText(t, "/items", items, `none="`+tc.says+`"`)
				if _, body := page(m, "/health"); body != tc.health {
					t.Errorf("/health: %q, want %q", body, tc.health)
				}
			})
		})
	}
}

// Last points are asked for in batches; one that is too large for the api is asked again
// in halves. When a part has no answer at all, there is no result: what is missing would
// look like a fall.
func TestManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.groups[2] = nil
		for i := range 1200 {
			name := fmt.Sprintf("host-%d", i)
			w.groups[2] = append(w.groups[2], Host{Name: name})
			w.values[name+"/a"] = 1
		}
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "1", "sum", 60)}
		m, _, stop := w.start(t, nil)
		defer stop()
		wait(time.Minute)
		if got := w.took(); !slices.Equal(got, []string{"sum=1200"}) {
			t.Errorf("pushed %v", got)
		}
		asked := slices.Sorted(slices.Values(look(w, &w.asked)))
		if !slices.Equal(asked, []int{200, 500, 500}) {
			t.Errorf("asked for %v series", asked)
		}
		w.locked(func() { w.most, w.slow, w.asked = 130, time.Second, nil })
		wait(time.Minute)
		if got := w.took(); !slices.Equal(got, []string{"sum=1200"}) {
			t.Errorf("from an api that is slow: %v, asked for %v, %v", got, look(w, &w.asked), m.gaps.All())
		}
		w.locked(func() { w.most = 100 })
		wait(time.Minute)
		if got := w.took(); got != nil || m.gaps.Get("points") != 1 {
			t.Errorf("from an api that is too slow: %v, gaps %v", got, m.gaps.All())
		}
	})
}

// An api that refuses is not asked again, and health says what to do.
func TestAnAPIThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.away["points"] = withAdvice(&httpx.StatusError{Method: "POST", URL: "u", Code: http.StatusUnauthorized, Body: []byte("no")})
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 60)}
		m, _, stop := w.start(t, nil)
		defer stop()
		wait(2 * time.Minute)
		if n := len(look(w, &w.asked)); n != 2 {
			t.Errorf("asked %d times in two turns", n)
		}
		_, body := page(m, "/health")
		wantText(t, "/health", body, "status 401", "api.plus_api_token", `"aggregator" in its service_tokens`)
	})
}

// What is not known before the next turn comes too late.
func TestATurnEndsBeforeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.slow = 15 * time.Second
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 10)}
		m, _, stop := w.start(t, nil)
		defer stop()
		wait(time.Minute)
		if n := m.gaps.Get("points"); n < 2 || len(w.took()) > 0 {
			t.Errorf("gaps %v", m.gaps.All())
		}
		w.locked(func() { w.slow = 9 * time.Second })
		wait(time.Minute)
		if got := w.took(); len(got) < 3 {
			t.Errorf("pushed %v", got)
		}
	})
}

// Requests of all rows together are bounded.
func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.slow = time.Second
		for id := range int64(50) {
			w.rows = append(w.rows, metricRow(id+1, "$(a)", "$#", "m", 10))
		}
		_, _, stop := w.start(t, func(c *Config, _ *Deps) { c.API.Concurrency = 2 })
		defer stop()
		wait(30 * time.Second)
		if peak := look(w, &w.peak); peak != 2 {
			t.Errorf("%d requests at once, want 2", peak)
		}
	})
}

// A row that panics costs itself one turn.
func TestAPanicIsARows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 10)}
		m, logged, stop := w.start(t, func(_ *Config, d *Deps) { d.Groups = panics{} })
		wait(time.Minute)
		if n := m.gaps.Get("panic"); n < 5 {
			t.Errorf("gaps %v", m.gaps.All())
		}
		stop()
		wantText(t, "the log", logged.String(), "a row panicked", "no groups today")
	})
}

type panics struct{}

func (panics) Hosts(context.Context, int64) ([]Host, error) { panic("no groups today") }

// A database that hangs is asked again after a minute; until it has answered for the
// first time health says so.
func TestTheDatabaseHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hangs = true
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 10)}
		m, _, stop := w.start(t, nil)
		defer stop()
		wait(30 * time.Second)
		if code, body := page(m, "/health"); code != http.StatusServiceUnavailable || body != "poly_metric has not read the rows of cluster yet\n" {
			t.Errorf("/health: %d %q", code, body)
		}
		wait(31 * time.Second)
		if _, body := page(m, "/health"); !strings.HasPrefix(body, "read the rows of cluster: context deadline exceeded") {
			t.Errorf("/health after a minute: %q", body)
		}
		w.locked(func() { w.hangs = false })
		wait(20 * time.Second)
		if got := w.took(); len(got) == 0 {
			t.Error("no result though the database answers")
		}
	})
}

// What did not work for a row is no trouble any more when the row is gone.
func TestTroubleGoesWithItsRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.away["hosts"] = errAway
		w.rows = []portal.DatedAggregator{metricRow(1, "$(a)", "$#", "m", 10)}
		m, _, stop := w.start(t, nil)
		defer stop()
		wait(30 * time.Second)
		if code, _ := page(m, "/health"); code != http.StatusServiceUnavailable {
			t.Errorf("/health: %d while hosts can not be asked for", code)
		}
		w.locked(func() { w.rows = nil })
		wait(time.Minute)
		if _, body := page(m, "/health"); body != "ok" {
			t.Errorf("/health without rows: %q", body)
		}
	})
}
