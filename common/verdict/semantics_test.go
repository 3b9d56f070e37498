package verdict

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"falcon/common/expr"
)

// The stories that people read in the manual are true.
func TestStoriesOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/alarm-semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```stories\n")
	stories, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no stories")
	}
	told := map[string]bool{}
	for story := range strings.SplitSeq(strings.TrimSpace(stories), "\n\n") {
		lines := strings.Split(story, "\n")
		if len(lines) != 5 {
			t.Fatalf("a story has a title, a rule and three rows:\n%s", story)
		}
		t.Run(lines[0], func(t *testing.T) {
			want := row(t, lines[4], "told")
			got := tell(t, lines[1], row(t, lines[2], "minute"), row(t, lines[3], "value"))
			if !slices.Equal(got, want) {
				t.Errorf("told %v, the page says %v", got, want)
			}
			tried := try(t, lines[1], row(t, lines[2], "minute"), row(t, lines[3], "value"))
			if !slices.Equal(tried, want) {
				t.Errorf("on stored points told %v, the page says %v", tried, want)
			}
			for _, s := range want {
				told[s] = true
			}
		})
	}
	for _, s := range []string{"-", "P1", "P2", "OK"} {
		if !told[s] {
			t.Errorf("no story tells %s", s)
		}
	}
}

func row(t *testing.T, line, name string) []string {
	t.Helper()
	cells := strings.Fields(line)
	if len(cells) < 2 || cells[0] != name {
		t.Fatalf("%q is no row of %ss", line, name)
	}
	return cells[1:]
}

// tell judges the points with a rule such as "all(#2) > 80 max 3" and says what is
// told after each. The clock is that of the points, the least interval 5 minutes.
func tell(t *testing.T, rule string, minutes, values []string) (told []string) {
	t.Helper()
	f := strings.Fields(rule)
	if len(f) < 5 || f[3] != "max" || len(minutes) != len(values) {
		t.Fatalf("%q with %d minutes and %d values is no story", rule, len(minutes), len(values))
	}
	fn, err := expr.ParseFunc(f[0])
	if err != nil {
		t.Fatal(err)
	}
	op, err := expr.ParseOp(f[1])
	if err != nil {
		t.Fatal(err)
	}
	var (
		right  = number(t, f[2])
		r      = Rule{MaxStep: int(number(t, f[4])), MinInterval: 300}
		gauge  = len(f) == 5
		points []expr.Point // newest first
		state  State
	)
	for i := range minutes {
		now := 1500000000 + 60*int64(number(t, minutes[i]))
		points = slices.Insert(points, 0, expr.Point{Ts: now, Value: number(t, values[i])})
		emit := Nothing
		if v, enough := expr.Values(nil, points, fn.Window(), gauge); enough {
			_, triggered := fn.Eval(op, right, v)
			seen := Seen{Triggered: triggered, Newest: now, Oldest: points[len(v)-1].Ts, Now: now}
			state, emit = Next(state, r, seen)
		}
		switch emit {
		case TellProblem:
			told = append(told, fmt.Sprintf("P%d", state.Step))
		case TellOK:
			told = append(told, "OK")
		default:
			told = append(told, "-")
		}
	}
	return told
}

// try is tell for points that are stored.
func try(t *testing.T, rule string, minutes, values []string) (told []string) {
	t.Helper()
	f := strings.Fields(rule)
	r := trialOf(t, f[0], f[1], number(t, f[2]), int(number(t, f[4])))
	points, at := []expr.Point{}, map[int64]int{}
	for i := range minutes {
		ts := 1500000000 + 60*int64(number(t, minutes[i]))
		points, at[ts], told = append(points, expr.Point{Ts: ts, Value: number(t, values[i])}), i, append(told, "-")
	}
	all, _ := r.Run(nil, points, len(f) == 5)
	for _, e := range all {
		told[at[e.EventTime]] = "OK"
		if e.Emit == TellProblem {
			told[at[e.EventTime]] = fmt.Sprintf("P%d", e.Step)
		}
	}
	return told
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
