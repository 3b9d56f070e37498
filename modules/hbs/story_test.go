package hbs

import (
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/portal"
	"falcon/common/rulebook"
)

// A strategy that is made, changed, outside its hours, back, and deleted in the database
// by somebody who tells nobody is so at a judge within ninety seconds.
func TestStoryChangesOfAStrategy(t *testing.T) {
	const limit = 90 * time.Second
	synctest.Test(t, func(t *testing.T) {
		m := fleet(2) // the bubble's clock begins at midnight
		k := keep(t, m, nil)
		_, book := ask(t, k, nil, 15*time.Second)
		for _, step := range []struct {
			what   string
			change func(*portal.RuleRows)
			want   func(*rulebook.Book) bool
		}{
			{"a second one is made", func(r *portal.RuleRows) {
				r.Strategies = append(r.Strategies, portal.RuleStrategy{ID: 2, Metric: "load.1min", Func: "all(#1)", Op: ">", RightValue: "9", MaxStep: 1, Template: 1})
			}, func(b *rulebook.Book) bool { return len(b.Of("h1")) == 2 }},
			{"its threshold is changed", func(r *portal.RuleRows) { r.Strategies[1].RightValue = "12" },
				func(b *rulebook.Book) bool { return b.Of("h1")[1].RightValue == 12 }},
			{"it gets hours that begin tonight", func(r *portal.RuleRows) { r.Strategies[1].RunBegin, r.Strategies[1].RunEnd = "20:00", "23:00" },
				func(b *rulebook.Book) bool { return len(b.Of("h1")) == 1 && len(b.Paused) == 1 }},
			{"its hours are gone", func(r *portal.RuleRows) { r.Strategies[1].RunBegin, r.Strategies[1].RunEnd = "", "" },
				func(b *rulebook.Book) bool { return len(b.Of("h1")) == 2 && len(b.Paused) == 0 }},
			{"its host goes into maintenance", func(r *portal.RuleRows) {
				r.Hosts[1].MaintainBegin, r.Hosts[1].MaintainEnd = time.Now().Unix()-1, time.Now().Add(10*time.Minute).Unix()
			}, func(b *rulebook.Book) bool { return len(b.Of("h1")) == 0 && len(b.Of("h0")) == 2 }},
			{"the maintenance ends by itself", nil,
				func(b *rulebook.Book) bool { return len(b.Of("h1")) == 2 }},
			{"its template is taken off the group", func(r *portal.RuleRows) { r.GroupTemplates = nil },
				func(b *rulebook.Book) bool { return len(b.Of("h1")) == 0 }},
			{"it is bound again", func(r *portal.RuleRows) { r.GroupTemplates = []portal.RulePair{{Group: 1, Other: 1}} },
				func(b *rulebook.Book) bool { return len(b.Of("h1")) == 2 }},
			{"it is deleted", func(r *portal.RuleRows) { r.Strategies = r.Strategies[:1] },
				func(b *rulebook.Book) bool { return len(b.Of("h1")) == 1 && b.Of("h1")[0].Id == 1 }},
		} {
			time.Sleep(7 * time.Second) // not at once after hbs has looked
			if step.change == nil {
				time.Sleep(10 * time.Minute)
			} else {
				m.change(func(m *memory) {
					r := m.rows // what was read before keeps its slices
					r.Hosts, r.Strategies = append([]portal.RuleHost(nil), r.Hosts...), append([]portal.RuleStrategy(nil), r.Strategies...)
					step.change(&r)
					m.rows = r
				})
			}
			began := time.Now()
			for !step.want(book) && time.Since(began) < 2*limit {
				_, book = ask(t, k, book, 15*time.Second)
			}
			if took := time.Since(began); took > limit {
				t.Errorf("%s: in force after %v, want %v at most", step.what, took, limit)
			}
		}
	})
}
