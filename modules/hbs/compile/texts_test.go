package compile

import (
	"strings"
	"testing"

	"falcon/common/portal"
)

func addText(r *portal.RuleRows, id, tpl int, metric, fn, op, right string) {
	s := add(r, id, tpl, metric, "", portal.RightOfTexts)
	s.Func, s.Op, s.ValueType, s.RightString = fn, op, portal.ValueString, right
}

// A strategy about texts is compiled as any other, and replaces those about texts alone:
// a hbs of stock, which does not see it, leaves the others in force as well.
func TestTexts(t *testing.T) {
	r := world()
	addText(r, 110, 1, "cpu.idle", "all(#1)", "!=", "ok")
	addText(r, 111, 2, "cpu.idle", "change(#4)", ">=", "2")
	addText(r, 112, 2, "app.state", "diff(#2)", "!=", "")
	addText(r, 113, 2, "df.bytes.free.percent", "all(#1)", "==", "x") // leaves the ancestor's, of numbers, in force
	r.Strategies[len(r.Strategies)-1].Tags = "mount=/"
	bind(r, 1, 2)
	res := Compile(r, noon)
	if got := of(res, "h1"); got != "101@2 102@2 103@2 111@2 112@2 113@2" || len(res.Bad) != 0 {
		t.Errorf("h1 has %s; set aside %v", got, res.Bad)
	}
	for _, s := range res.Book.Of("h1") {
		if s.Id == 111 && (s.ValueType != "string" || s.RightString != "2" || s.RightValue != 0) {
			t.Errorf("%+v", s)
		}
	}
}

func TestTextsThatAreSetAside(t *testing.T) {
	for _, tc := range []struct{ fn, op, right, reason string }{
		{"max(#1)", "==", "x", "func: "},
		{"all(#1)", "<", "x", "op: "},
		{"all(#1)", "=~", "(", "right_string: "},
	} {
		r := world()
		addText(r, 110, 1, "app.state", tc.fn, tc.op, tc.right)
		res := Compile(r, noon)
		if len(res.Bad) != 1 || !strings.HasPrefix(res.Bad[0].Reason, tc.reason) {
			t.Errorf("%s %s %s: set aside %v, want for %s", tc.fn, tc.op, tc.right, res.Bad, tc.reason)
		}
	}
}
