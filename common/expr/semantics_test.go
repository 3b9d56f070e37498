package expr

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// The examples that people read are true.
func TestExamplesOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/alarm-semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples string
	for _, block := range strings.Split(string(text), "```examples\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		examples += block
	}
	seen := map[kind]bool{}
	for line := range strings.Lines(examples) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		parts := strings.Split(line, "|")
		rule := strings.Fields(parts[0])
		if len(parts) != 3 || len(rule) != 3 {
			t.Fatalf("%q is no example", line)
		}
		f, op := mustFunc(t, rule[0]), Op(0)
		if op, err = ParseOp(rule[1]); err != nil {
			t.Fatal(err)
		}
		right, err := strconv.ParseFloat(rule[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		var points []Point
		for i, s := range strings.Fields(parts[1]) {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			points = append(points, Point{Ts: int64(1000 - 60*i), Value: v})
		}
		got := "undecided"
		if v, enough := Values(nil, points, f.Window(), true); enough {
			left, holds := f.Eval(op, right, v)
			got = map[bool]string{true: "yes ", false: "no "}[holds] + strconv.FormatFloat(left, 'g', -1, 64)
		}
		if want := strings.Join(strings.Fields(parts[2]), " "); got != want {
			t.Errorf("%s: %s, the page says %s", strings.TrimSpace(parts[0]), got, want)
		}
		seen[f.kind] = true
	}
	for _, k := range kinds {
		if !seen[k.kind] {
			t.Errorf("the page has no example of %s", k.name)
		}
	}
}
