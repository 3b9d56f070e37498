package compile

import (
	"os"
	"slices"
	"strings"
	"testing"

	"falcon/common/portal"
)

// manual returns the rows of a block of the manual, without its heading, as cells.
func manual(t *testing.T, block string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/alarm-semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```"+block+"\n")
	body, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatalf("the page has no block of %s", block)
	}
	for line := range strings.Lines(body) {
		var cells []string
		for c := range strings.SplitSeq(line, "|") {
			cells = append(cells, strings.TrimSpace(c))
		}
		rows = append(rows, cells)
	}
	return rows[1:]
}

// told is the manual's portal: base has cpu<5 and disk, web inherits from it and has
// cpu<3. Hosts and bindings are the case's.
func told() (*portal.RuleRows, map[string]int) {
	r := &portal.RuleRows{
		Hosts:      []portal.RuleHost{{ID: 1, Name: "h1"}, {ID: 2, Name: "h2"}},
		Groups:     []portal.RuleGroup{{ID: 1, Name: "all"}, {ID: 2, Name: "shop"}},
		GroupHosts: []portal.RulePair{{Group: 1, Other: 1}, {Group: 1, Other: 2}, {Group: 2, Other: 2}},
		Templates:  []portal.RuleTemplate{{ID: 1, Name: "base", Action: 1}, {ID: 2, Name: "web", Parent: 1, Action: 2}},
	}
	add(r, 1, 1, "cpu", "", "5")
	add(r, 2, 1, "disk", "", "10")
	add(r, 3, 2, "cpu", "", "3")
	bind(r, 1, 1)
	return r, map[string]int{"h1": 1, "h2": 2, "all": 1, "shop": 2, "base": 1, "web": 2, "cpu<5": 1, "disk": 2, "cpu<3": 3}
}

func judged(res *Result, host string) string {
	names := map[int]string{1: "cpu<5", 2: "disk", 3: "cpu<3"}
	var out []string
	for _, s := range res.Book.Of(host) {
		out = append(out, names[s.Id])
	}
	slices.Sort(out)
	if len(out) == 0 || slices.Contains(res.Book.Disabled, host) {
		return "-"
	}
	return strings.Join(out, " ")
}

// The examples of disabling that people read in the manual are true.
func TestDisablesOfTheManual(t *testing.T) {
	kinds := map[portal.DisableType]bool{}
	for _, row := range manual(t, "disables") {
		r, id := told()
		bind(r, 2, 2)
		var d portal.RuleDisable
		switch f := strings.Fields(row[0]); f[0] {
		case "nothing":
		case "1":
			d = portal.RuleDisable{Type: portal.DisableHost, Host: id[f[2]]}
		case "2":
			d = portal.RuleDisable{Type: portal.DisableTemplate, Template: id[f[2]]}
		case "3":
			d = portal.RuleDisable{Type: portal.DisableStrategy, Strategy: id[f[2]]}
		case "4":
			d = portal.RuleDisable{Type: portal.DisableStrategyOnHost, Strategy: id[f[2]], Host: id[f[4]]}
		case "5":
			d = portal.RuleDisable{Type: portal.DisableBinding, Template: id[f[2]], Group: id[f[4]]}
		default:
			t.Fatalf("%q is no example", row[0])
		}
		if d.Type != 0 {
			disable(r, d)
			kinds[d.Type] = true
		}
		res := Compile(r, noon)
		if h1, h2 := judged(res, "h1"), judged(res, "h2"); h1 != row[1] || h2 != row[2] {
			t.Errorf("%s: h1 %s, h2 %s; the page says %s and %s", row[0], h1, h2, row[1], row[2])
		}
	}
	if len(kinds) != 5 {
		t.Errorf("the page shows %d of five kinds", len(kinds))
	}
}

func TestEnvironmentsOfTheManual(t *testing.T) {
	for _, row := range manual(t, "environments") {
		r, _ := told()
		r.EnvTemplates = []portal.RuleEnvPair{{Group: 1, Template: 2, Env: "prod"}}
		if row[0] != "unknown" {
			r.Envs = []portal.RuleEnv{{Host: "h1", Env: row[0]}}
		}
		if got := judged(Compile(r, noon), "h1"); got != row[1] {
			t.Errorf("%s: %s, the page says %s", row[0], got, row[1])
		}
	}
}
