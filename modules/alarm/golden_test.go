package alarm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
	"falcon/modules/alarm/sender"
)

// golden is what a stock alarm made of events.
type golden struct {
	Dashboard string              `json:"dashboard"`
	Actions   []map[string]string `json:"actions"`
	People    struct {
		Teams []struct{ Team, User, Phone, Email, IM string } `json:"teams"`
	} `json:"people"`
	Groups []struct {
		Group string `json:"group"`
		Steps []struct {
			List   string `json:"list"`
			Entry  string `json:"entry"`
			SQL    string `json:"sql"`
			Pushed []struct {
				List string `json:"list"`
			} `json:"pushed_to_redis"`
			Posts []struct {
				Path  string            `json:"path"`
				Query map[string]string `json:"query"`
				Form  map[string]string `json:"form"`
			} `json:"posts"`
			Cases  []map[string]any `json:"case_rows"`
			Events []map[string]any `json:"event_rows"`
		} `json:"steps"`
	} `json:"groups"`
}

// goldenFile are the people and actions of the file.
type goldenFile struct {
	actions map[int]portal.Action
	teams   map[string][]sender.Person
}

func (f *goldenFile) Action(_ context.Context, id int) (portal.Action, error) {
	if a, ok := f.actions[id]; ok {
		return a, nil
	}
	return portal.Action{}, portal.ErrNotFound
}

func (f *goldenFile) Users(_ context.Context, teams []string) (all []sender.Person, _ error) {
	for _, team := range teams {
		for _, p := range f.teams[team] {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all, nil
}

func (f *goldenFile) User(context.Context, string) (sender.Person, error) {
	return sender.Person{}, portal.ErrNotFound
}

// The events of the file make the same calls and messages as stock's, but for those
// that stock merges, and the same rows.
func TestAsStock(t *testing.T) {
	raw, err := os.ReadFile("testdata/alarm-main.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	people := &goldenFile{actions: map[int]portal.Action{}, teams: map[string][]sender.Person{}}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, a := range g.Actions {
		people.actions[number(a["id"])] = portal.Action{ID: int64(number(a["id"])), UIC: a["uic"], URL: strings.Replace(a["url"], g.Dashboard, w.sink.URL, 1),
			Callback: number(a["callback"]), BeforeCallbackSMS: number(a["before_callback_sms"]), BeforeCallbackMail: number(a["before_callback_mail"]),
			AfterCallbackSMS: number(a["after_callback_sms"]), AfterCallbackMail: number(a["after_callback_mail"])}
	}
	for _, p := range g.People.Teams {
		people.teams[p.Team] = append(people.teams[p.Team], sender.Person{Name: p.User, Phone: p.Phone, Email: p.Email, IM: p.IM})
	}
	w.set = func(c *Config) {
		c.API.IM, c.API.SMS, c.API.Mail, c.API.Dashboard = w.sink.URL+"/wechat", w.sink.URL+"/sms", w.sink.URL+"/mail", w.sink.URL
	}
	w.before = func(a *Alarm) { a.people.from = people }
	r := w.start()
	seen, posts, cases, last := 0, 0, 0, ""
	for _, group := range g.Groups {
		for i, s := range group.Steps {
			name := fmt.Sprintf("%s, step %d", group.Group, i+1)
			if s.SQL != "" { // somebody says what became of the case before
				status := strings.Split(s.SQL, `"`)[1]
				if _, err := w.db.AddEventNote(t.Context(), portal.EventNote{CaseID: last, Status: status}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				continue
			}
			if _, err := w.pool.Do(t.Context(), "LPUSH", s.List, s.Entry); err != nil {
				t.Fatal(err)
			}
			before := r.told.Get()
			w.eventually(func() error {
				if r.told.Get() == before {
					return fmt.Errorf("%s is not told", name)
				}
				return w.empty()
			})
			all := w.sink.Posts("")
			fresh := all[seen:]
			seen = len(all)
			merged := s.Posts == nil
			for _, p := range s.Pushed {
				merged = merged || strings.HasPrefix(p.List, "/queue/")
			}
			if !merged {
				var got, want []string
				for _, p := range fresh {
					got = append(got, called(p.Path, p.Query, p.Form))
				}
				for _, p := range s.Posts {
					for k, v := range p.Form {
						p.Form[k] = strings.ReplaceAll(v, g.Dashboard, w.sink.URL)
					}
					want = append(want, called(p.Path, p.Query, p.Form))
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s\n got %s\nwant %s", name, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
				}
				posts += len(want)
			}
			for _, c := range s.Cases {
				cases++
				last = fmt.Sprint(c["id"])
				if diff := w.sameCase(c); diff != "" {
					t.Errorf("%s: case %v: %s", name, c["id"], diff)
				}
			}
		}
	}
	if posts < 60 || cases < 30 {
		t.Errorf("compared %d posts and %d cases only", posts, cases)
	}
	t.Logf("compared %d posts and %d cases", posts, cases)
}

// called writes a call so that what stock leaves to chance does not matter.
func called(path string, query, form map[string]string) string {
	sorted := func(s string) string {
		parts := strings.Split(s, ",")
		slices.Sort(parts)
		return strings.Join(parts, ",")
	}
	if v, ok := query["tags"]; ok {
		query["tags"] = sorted(v)
	}
	if v, ok := form["tos"]; ok {
		form["tos"] = sorted(v)
	}
	return fmt.Sprintf("%s %v %q", path, query, form)
}

// sameCase compares a row of the file with ours.
func (w *world) sameCase(want map[string]any) string {
	w.t.Helper()
	all, err := w.db.EventCases(w.t.Context(), portal.CaseFilter{ID: fmt.Sprint(want["id"])})
	if err != nil || len(all) != 1 {
		return fmt.Sprintf("%d rows, %v", len(all), err)
	}
	c := all[0]
	at := func(t time.Time) string { return t.UTC().Format(time.DateTime) }
	got := map[string]string{
		"endpoint": c.Endpoint, "metric": c.Metric, "func": *c.Func, "cond": c.Cond, "note": *c.Note, "max_step": fmt.Sprint(*c.MaxStep),
		"current_step": fmt.Sprint(*c.CurrentStep), "priority": fmt.Sprint(c.Priority), "status": c.Status, "timestamp": at(c.Timestamp), "update_at": at(*c.UpdateAt),
		"tpl_creator": *c.TplCreator, "expression_id": fmt.Sprint(*c.ExpressionID), "strategy_id": fmt.Sprint(*c.StrategyID), "template_id": fmt.Sprint(*c.TemplateID),
		"process_status": *c.ProcessStatus,
	}
	for k, v := range got {
		if x, ok := want[k]; ok && fmt.Sprint(x) != v {
			return fmt.Sprintf("%s is %q, stock has %q", k, v, x)
		}
	}
	return ""
}
