package expr

import (
	"os"
	"strings"
	"testing"
)

func TestTextRules(t *testing.T) {
	for _, tc := range []struct {
		fn, op, right string
		texts         string // newest first, with blanks between
		left          string
		want          bool
	}{
		{"all(#2)", "==", "ok", "ok ok down", "ok", true},
		{"all(#3)", "==", "ok", "ok ok down", "ok", false},
		{"all(#1)", "!=", "ok", "down ok", "down", true},
		{"all(#1)", "!=", "ok", "ok down", "ok", false},
		{"all(#1)", "==", "", "ok", "ok", false},
		{"all(#1)", "contains", "own", "down", "down", true},
		{"all(#1)", "contains", "OWN", "down", "down", false},
		{"all(#1)", "!contains", "own", "down", "down", false},
		{"all(#1)", "!contains", "own", "up", "up", true},
		{"all(#1)", "=~", "^v[0-9]+$", "v12", "v12", true},
		{"all(#1)", "=~", "^v[0-9]+$", "v12x", "v12x", false},
		{"all(#1)", "!~", "^v[0-9]+$", "v12x", "v12x", true},
		{"all(#1)", "!~", "^v[0-9]+$", "v12", "v12", false},
		{"lookup(#2,3)", "==", "down", "ok down down", "ok", true},
		{"lookup(#2,3)", "==", "down", "ok ok down", "ok", false},
		{"diff(#2)", "", "", "b b a", "b", true},
		{"diff(#2)", "==", "whatever", "b b b a", "b", false},
		{"diff(#1)", "", "", "a b", "a", true},
		{"change(#4)", "", "2", "a b a a", "a", true},
		{"change(#4)", ">=", "3", "a b a a", "a", false},
		{"change(#2)", "", "1", "a a b", "a", false},
		// too few
		{"all(#3)", "==", "a", "a a", "", false},
		{"diff(#2)", "", "", "a b", "", false},
		{"change(#3)", "", "1", "a b", "", false},
	} {
		r, err := ParseText(tc.fn, tc.op, tc.right)
		if err != nil {
			t.Errorf("ParseText(%q, %q, %q): %v", tc.fn, tc.op, tc.right, err)
			continue
		}
		if left, got := r.Eval(strings.Fields(tc.texts)); got != tc.want || left != tc.left {
			t.Errorf("%s %s %q of [%s]\n got %q %v\nwant %q %v", tc.fn, tc.op, tc.right, tc.texts, left, got, tc.left, tc.want)
		}
		if n := r.Window(); tc.left != "" && n > len(strings.Fields(tc.texts)) {
			t.Errorf("%s has the window %d", tc.fn, n)
		}
	}
}

func TestTextRulesThatCanNotBe(t *testing.T) {
	for _, tc := range []struct{ fn, op, right, err string }{
		{"max(#3)", "==", "a", `function "max(#3)": "max" is no function over texts, use one of all, lookup, diff, change`},
		{"all", "==", "a", `function "all": write a name and its window, such as all(#3)`},
		{"all(3)", "==", "a", `function "all(3)": all is written all(#3): each of the last three`},
		{"all(#x)", "==", "a", `function "all(#x)": "x" is no count of points, write all(#3): each of the last three`},
		{"all(#+1)", "==", "a", `function "all(#+1)": "+1" is no count of points, write all(#3): each of the last three`},
		{"all(#0)", "==", "a", `function "all(#0)" looks at 0 points, 1 to 120 are possible`},
		{"diff(#120)", "", "", `function "diff(#120)" looks at 121 points, 1 to 120 are possible`},
		{"lookup(#2)", "==", "a", `function "lookup(#2)": lookup is written lookup(#2,3): two of the last three`},
		{"lookup(#4,3)", "==", "a", `function "lookup(#4,3)" never fires: 4 of 3 values can not hold`},
		{"change(#1)", "", "1", `function "change(#1)" never fires: within one value nothing changes, look at two at least`},
		{"all(#1)", ">", "a", `operator ">" is none over texts, use one of == != contains !contains =~ !~`},
		{"all(#1)", "", "a", `operator "" is none over texts, use one of == != contains !contains =~ !~`},
		{"all(#1)", "contains", "", `every text contains the empty one: write what contains looks for`},
		{"all(#1)", "!~", "", `every text matches the empty expression: write what !~ looks for`},
		{"all(#1)", "=~", "(", "\"(\" is no regular expression (RE2): error parsing regexp: missing closing ): `(`"},
		{"all(#1)", "=~", "a(?=b)", "\"a(?=b)\" is no regular expression (RE2): error parsing regexp: invalid or unsupported Perl syntax: `(?=`"},
		{"change(#3)", "", "3", `"3": change(#3) needs a number of changes, 1 to 2`},
		{"change(#3)", "", "0", `"0": change(#3) needs a number of changes, 1 to 2`},
		{"change(#3)", "", "often", `"often": change(#3) needs a number of changes, 1 to 2`},
		{"all(#1)", "==", strings.Repeat("x", 256), `the text to compare with has 256 bytes, 255 are possible`},
	} {
		_, err := ParseText(tc.fn, tc.op, tc.right)
		if err == nil || err.Error() != tc.err {
			t.Errorf("ParseText(%q, %q, %q)\n got %v\nwant %s", tc.fn, tc.op, tc.right, err, tc.err)
		}
	}
	if _, err := NewTextRule(TextFunc{}, "==", "a"); err == nil {
		t.Error("no function at all is a rule")
	}
	if _, yes := new(TextRule).Eval([]string{"a"}); yes {
		t.Error("the zero rule holds")
	}
}

func TestTextRulesAllocateNothing(t *testing.T) {
	r, err := ParseText("lookup(#2,3)", "=~", "^a.c$")
	if err != nil {
		t.Fatal(err)
	}
	v := []string{"abc", "x", "adc"}
	if n := testing.AllocsPerRun(100, func() { r.Eval(v) }); n != 0 {
		t.Errorf("Eval makes %v allocations", n)
	}
}

// Whatever is written, a rule that is read is written the same again, and decides
// without looking further than its window.
func FuzzParseText(f *testing.F) {
	for _, s := range [][3]string{{"all(#3)", "==", "a"}, {"lookup(#2,3)", "=~", "a|b"}, {"diff(#2)", "", ""}, {"change(#9)", ">=", "4"}, {"all(#1)", "!contains", "x"}} {
		f.Add(s[0], s[1], s[2], "a b a")
	}
	f.Fuzz(func(t *testing.T, fn, op, right, texts string) {
		r, err := ParseText(fn, op, right)
		if err != nil {
			return
		}
		parsed, err := ParseTextFunc(fn)
		if err != nil {
			t.Fatalf("ParseText takes %q, ParseTextFunc says %v", fn, err)
		}
		if again, err := ParseTextFunc(parsed.String()); err != nil || again != parsed {
			t.Fatalf("%q is written %q, which is read as %v, %v", fn, parsed, again, err)
		}
		v := strings.Split(texts, " ")
		left, yes := r.Eval(v)
		if w := r.Window(); len(v) < w {
			if yes {
				t.Fatalf("%v holds of %d texts", parsed, len(v))
			}
		} else if left2, yes2 := r.Eval(v[:w]); left != v[0] || left2 != left || yes2 != yes {
			t.Fatalf("%v of %q is %q %v, of its window %q %v", parsed, v, left, yes, left2, yes2)
		}
	})
}

// The examples of texts that people read are true, and there is one of each function and
// operator.
func TestTextsOfTheManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/alarm-semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```texts\n")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no examples of texts")
	}
	seen := map[string]bool{}
	for line := range strings.Lines(block) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		parts := strings.Split(line, " | ")
		rule := append(strings.Fields(parts[0]), "", "")[:3]
		if len(parts) != 3 {
			t.Fatalf("%q is no example", line)
		}
		r, err := ParseText(rule[0], rule[1], rule[2])
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		texts := strings.Fields(parts[1])
		got := "undecided"
		if len(texts) >= r.Window() {
			left, holds := r.Eval(texts)
			got = map[bool]string{true: "yes ", false: "no "}[holds] + left
		}
		if want := strings.Join(strings.Fields(parts[2]), " "); got != want {
			t.Errorf("%s: %s, the page says %s", strings.TrimSpace(parts[0]), got, want)
		}
		name, _, _ := strings.Cut(rule[0], "(")
		seen[name], seen[rule[1]] = true, true
	}
	for _, k := range textKinds {
		if !seen[k.name] {
			t.Errorf("the page has no example of %s", k.name)
		}
	}
	for _, op := range textOps {
		if !seen[op] {
			t.Errorf("the page has no example of %s", op)
		}
	}
}
