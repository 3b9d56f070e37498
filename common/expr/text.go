package expr

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// MaxRightText is the longest text that a rule compares with, in bytes.
const MaxRightText = 255

// A TextRule is a condition over texts: function, operator and right side, read once.
// It is only read afterwards, by any number of goroutines.
type TextRule struct {
	kind  textKind
	a, b  int
	op    textOp
	right string
	re    *regexp.Regexp // of =~ and !~
	least int            // of change: how many changes
}

type textKind uint8

const (
	textAll textKind = iota + 1
	textLookup
	textDiff
	textChange
)

// textKinds lists the functions over texts by name, with how many arguments each takes
// and how it is written.
var textKinds = []struct {
	name string
	kind textKind
	args int
	form string
}{
	{"all", textAll, 1, "all(#3): each of the last three"},
	{"lookup", textLookup, 2, "lookup(#2,3): two of the last three"},
	{"diff", textDiff, 1, "diff(#3): the newest is another one than some of the three before"},
	{"change", textChange, 1, "change(#10): how often it changed within the last ten"},
}

// A TextFunc is a function over texts.
type TextFunc struct {
	kind textKind
	a, b int
}

// TextNames lists the functions over texts, for messages and forms.
func TextNames() string {
	names := make([]string, len(textKinds))
	for i, k := range textKinds {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

// ParseTextFunc reads name(#n) or name(#a,b). An error names what is wrong and how it is
// written.
func ParseTextFunc(s string) (TextFunc, error) {
	name, rest, ok := strings.Cut(s, "(")
	inner, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed {
		return TextFunc{}, fmt.Errorf("function %q: write a name and its window, such as all(#3)", s)
	}
	for _, k := range textKinds {
		if k.name != name {
			continue
		}
		text, ok := strings.CutPrefix(inner, "#")
		args := strings.Split(text, ",")
		if !ok || len(args) != k.args {
			return TextFunc{}, fmt.Errorf("function %q: %s is written %s", s, name, k.form)
		}
		f := TextFunc{kind: k.kind}
		for i, to := range []*int{&f.a, &f.b}[:k.args] {
			n, err := strconv.ParseUint(args[i], 10, 16)
			if err != nil || args[i][0] == '+' {
				return TextFunc{}, fmt.Errorf("function %q: %q is no count of points, write %s", s, args[i], k.form)
			}
			*to = int(n)
		}
		switch w := f.Window(); {
		case f.a < 1 || w > MaxWindow:
			return TextFunc{}, fmt.Errorf("function %q looks at %d points, 1 to %d are possible", s, w, MaxWindow)
		case f.kind == textLookup && f.a > f.b:
			return TextFunc{}, fmt.Errorf("function %q never fires: %d of %d values can not hold", s, f.a, f.b)
		case f.kind == textChange && f.a < 2:
			return TextFunc{}, fmt.Errorf("function %q never fires: within one value nothing changes, look at two at least", s)
		}
		return f, nil
	}
	return TextFunc{}, fmt.Errorf("function %q: %q is no function over texts, use one of %s", s, name, TextNames())
}

// String returns the function as it is written.
func (f TextFunc) String() string {
	if f.kind == 0 {
		return ""
	}
	k := textKinds[f.kind-1]
	if k.args == 2 {
		return fmt.Sprintf("%s(#%d,%d)", k.name, f.a, f.b)
	}
	return fmt.Sprintf("%s(#%d)", k.name, f.a)
}

// Window returns how many texts the function needs; with fewer nothing is decided.
func (f TextFunc) Window() int {
	switch f.kind {
	case textDiff:
		return f.a + 1
	case textLookup:
		return f.b
	}
	return f.a
}

// Compares says whether the function needs an operator: diff and change look at the
// texts alone.
func (f TextFunc) Compares() bool { return f.kind == textAll || f.kind == textLookup }

// Counts says whether the right side is a number, how many changes there must be.
func (f TextFunc) Counts() bool { return f.kind == textChange }

type textOp uint8

const (
	textEqual textOp = iota + 1
	textUnequal
	textContains
	textLacks
	textMatches
	textUnlike
)

var textOps = []string{"==", "!=", "contains", "!contains", "=~", "!~"}

// TextOps lists the operators over texts, for messages and forms.
func TextOps() string { return strings.Join(textOps, " ") }

func parseTextOp(s string) (textOp, error) {
	for i, name := range textOps {
		if s == name {
			return textOp(i + 1), nil
		}
	}
	return 0, fmt.Errorf("operator %q is none over texts, use one of %s", s, TextOps())
}

// CheckTextOp says what is wrong with the operator of a function over texts. Of diff and
// change, which ignore it, it may be anything.
func (f TextFunc) CheckTextOp(op string) error {
	if !f.Compares() {
		return nil
	}
	_, err := parseTextOp(op)
	return err
}

// ParseText reads a condition over texts. right is what texts are compared with; a
// regular expression (RE2) of =~ and !~, how many changes there must be of change, and
// nothing of diff. An error says what is wrong and what is allowed.
func ParseText(fn, op, right string) (*TextRule, error) {
	f, err := ParseTextFunc(fn)
	if err != nil {
		return nil, err
	}
	if err := f.CheckTextOp(op); err != nil {
		return nil, err
	}
	return NewTextRule(f, op, right)
}

// NewTextRule is ParseText of a function that is read already: an error is about the
// right side when CheckTextOp finds nothing.
func NewTextRule(f TextFunc, op, right string) (*TextRule, error) {
	r := &TextRule{kind: f.kind, a: f.a, b: f.b, right: right}
	if len(right) > MaxRightText {
		return nil, fmt.Errorf("the text to compare with has %d bytes, %d are possible", len(right), MaxRightText)
	}
	switch {
	case f.kind == textChange:
		n, err := strconv.ParseUint(strings.TrimSpace(right), 10, 16)
		if err != nil || n < 1 || int(n) > f.a-1 {
			return nil, fmt.Errorf("%q: %v needs a number of changes, 1 to %d", right, f, f.a-1)
		}
		r.least = int(n)
		return r, nil
	case f.kind == textDiff:
		return r, nil
	case f.kind == 0:
		return nil, errors.New("there is no function")
	}
	var err error
	if r.op, err = parseTextOp(op); err != nil {
		return nil, err
	}
	switch r.op {
	case textContains, textLacks:
		if right == "" {
			return nil, fmt.Errorf("every text contains the empty one: write what %s looks for", op)
		}
	case textMatches, textUnlike:
		if right == "" {
			return nil, fmt.Errorf("every text matches the empty expression: write what %s looks for", op)
		}
		if r.re, err = regexp.Compile(right); err != nil {
			return nil, fmt.Errorf("%q is no regular expression (RE2): %w", right, err)
		}
	}
	return r, nil
}

// Window returns how many texts the rule needs.
func (r *TextRule) Window() int { return TextFunc{r.kind, r.a, r.b}.Window() }

// Right returns what texts are compared with, as it is written.
func (r *TextRule) Right() string { return r.right }

// Eval decides about the Window newest texts, newest first. left is the text that the
// event shows, the newest.
func (r *TextRule) Eval(v []string) (left string, triggered bool) {
	w := r.Window()
	if r.kind == 0 || len(v) < w {
		return "", false
	}
	v = v[:w]
	left = v[0]
	n := 0
	switch r.kind {
	case textDiff:
		for _, s := range v[1:] {
			if s != left {
				return left, true
			}
		}
		return left, false
	case textChange:
		for i := range v[1:] {
			if v[i] != v[i+1] {
				n++
			}
		}
		return left, n >= r.least
	}
	for _, s := range v {
		if r.holds(s) {
			n++
		} else if r.kind == textAll {
			return left, false
		}
	}
	return left, r.kind == textAll || n >= r.a
}

func (r *TextRule) holds(s string) bool {
	switch r.op {
	case textEqual:
		return s == r.right
	case textUnequal:
		return s != r.right
	case textContains:
		return strings.Contains(s, r.right)
	case textLacks:
		return !strings.Contains(s, r.right)
	case textMatches:
		return r.re.MatchString(s)
	case textUnlike:
		return !r.re.MatchString(s)
	}
	return false
}
