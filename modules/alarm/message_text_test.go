package alarm

import (
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// Texts stand where numbers do, on one line and not too long for a short message.
func TestMessagesAboutTexts(t *testing.T) {
	long := strings.Repeat("é", 150)
	for _, tc := range []struct{ fn, op, left, right, short, body string }{
		{"all(#1)", "!=", "down", "ok", "down != ok", "down != ok"},
		{"all(#1)", "contains", "a\r\nb", "\x1b[2J", "a  b contains  [2J", "a  b contains  [2J"},
		{"diff(#3)", "!=", "v2", "", "v2", "v2"},
		{"change(#5)", ">=", "v2", "3", "v2 >= 3", "v2 >= 3"},
		{"all(#1)", "==", long, "x", strings.Repeat("é", 99) + "… == x", long + " == x"},
	} {
		e := &model.Event{
			Id: "s_1_x", Status: model.StatusProblem, Endpoint: "h1", CurrentStep: 1, LeftString: tc.left, RightString: tc.right,
			Strategy: &model.Strategy{Id: 1, Metric: "app.state", Func: tc.fn, Operator: tc.op, ValueType: "string", RightString: tc.right},
		}
		m := Compose(e, "", time.UTC)
		if want := "[P0][PROBLEM][h1][][ " + tc.fn + " app.state  " + tc.short + "][O1 1970-01-01 00:00:00]"; m.Short != want {
			t.Errorf("short\n got %q\nwant %q", m.Short, want)
		}
		if want := "\r\n" + tc.fn + ": " + tc.body + "\r\n"; !strings.Contains(m.Body, want) {
			t.Errorf("the mail is %q, want %q in it", m.Body, want)
		}
		if got := leftOf(e); got != tc.left {
			t.Errorf("a callback gets %q", got)
		}
		if got, want := portal.Cond(e), tc.left+" "+tc.op+" "+tc.right; got != want {
			t.Errorf("its row has %q, want %q", got, want)
		}
	}
}
