package plusjudge

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"falcon/common/model"
)

// The stories of several conditions that people read in the manual are true.
func TestStoriesOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/alarm-semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```combined\n")
	stories, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no stories")
	}
	told := map[string]bool{}
	for story := range strings.SplitSeq(strings.TrimSpace(stories), "\n\n") {
		lines := strings.Split(story, "\n")
		t.Run(lines[0], func(t *testing.T) {
			minutes, want := strings.Fields(lines[1])[1:], strings.Fields(lines[len(lines)-1])[1:]
			rows := lines[2 : len(lines)-1]
			ids := map[string]int{}
			for _, row := range rows {
				name, _, _ := strings.Cut(strings.Fields(row)[0], "@")
				if ids[name] == 0 {
					ids[name] = len(ids) + 1
				}
			}
			c := NewCore(settings)
			var got []string
			for i, minute := range minutes {
				n, err := strconv.ParseInt(minute, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				now := 1000 + 60*n
				said := c.Tick(now)
				for _, row := range rows {
					f := strings.Fields(row)
					if len(f) < i+2 {
						continue // silent
					}
					name, host, ok := strings.Cut(f[0], "@")
					if !ok {
						host = "h1"
					}
					status := map[string]string{"+": model.StatusProblem, "-": model.StatusOK}[f[i+1]]
					e, _, reason := c.Take(event(ids[name], host, status, now, func(e *model.Event) { e.Strategy.MultiCount = len(ids) }), now)
					if reason != "" || status == "" {
						t.Fatalf("%q at %s: %s", row, minute, reason)
					}
					if e != nil {
						said = append(said, e)
					}
				}
				one := "-"
				for _, e := range said {
					if one = "OK"; e.Status == model.StatusProblem {
						one = fmt.Sprintf("P%d", e.CurrentStep)
					}
				}
				if len(said) > 1 {
					t.Errorf("%d messages at minute %s", len(said), minute)
				}
				got = append(got, one)
				told[one] = true
			}
			if !slices.Equal(got, want) {
				t.Errorf("told %v, the page says %v", got, want)
			}
		})
	}
	for _, s := range []string{"-", "P1", "P2", "OK"} {
		if !told[s] {
			t.Errorf("no story tells %s", s)
		}
	}
}
