package alarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
)

// A strategy that comes down to a host through two templates is two events with one id:
// the teams of both are told, and there is one case.
func TestStoryTwoTeamsOneCase(t *testing.T) {
	w := newWorld(t)
	cat, err := w.db.CreateUser(t.Context(), portal.User{Name: "cat", Email: "cat@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.db.CreateTeam(t.Context(), portal.Team{Name: "dba"}, []int64{cat}); err != nil {
		t.Fatal(err)
	}
	w.channel("bell", "inbox", nil)
	w.start()
	at := time.Now().Unix() - 1000
	ops, dba := w.action(portal.Action{UIC: "ops"}), w.action(portal.Action{UIC: "dba"})
	w.push(event("s_1_x", ops, 1, "PROBLEM", at, 1), event("s_1_x", dba, 1, "PROBLEM", at, 1))
	told := func(n int) {
		t.Helper()
		w.eventually(func() error {
			var got []string
			for _, notice := range w.notices("s_1_x") {
				got = append(got, strings.Fields(notice)[0])
			}
			slices.Sort(got)
			want := slices.Repeat([]string{"ann", "bare", "bob", "cat"}, n)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				return fmt.Errorf("told %v, want %v", got, want)
			}
			return w.empty()
		})
	}
	told(1)
	w.push(event("s_1_x", ops, 1, "OK", at+60, 1), event("s_1_x", dba, 1, "OK", at+60, 1))
	told(2)
	cases, err := w.db.EventCases(t.Context(), portal.CaseFilter{ID: "s_1_x"})
	if err != nil || len(cases) != 1 || cases[0].Status != "OK" {
		t.Errorf("cases %+v, %v; want one, over", cases, err)
	}
}
