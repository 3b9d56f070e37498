package v1

import (
	"fmt"
	"strings"
	"testing"

	"falcon/common/portal"
)

// textBody is a strategy about texts that can be saved; pairs change it.
func textBody(pairs ...any) map[string]any {
	m := strategyBody("metric", "app.state", "func", "all(#2)", "op", "!=", "value_type", "string", "right_string", "ok")
	delete(m, "right_value")
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

func TestStrategiesAboutTexts(t *testing.T) {
	w := newWorld(t, options{})
	tpl := w.made("ann", "POST", "/template", map[string]any{"name": "t"})
	for _, tc := range []struct {
		change []any
		saved  string // func op right_value right_string, or empty
		field  string
		err    string
	}{
		{nil, `all(#2) != str "ok"`, "", ""},
		{[]any{"right_value", "5"}, `all(#2) != str "ok"`, "", ""},
		{[]any{"op", "!contains"}, `all(#2) !contains str "ok"`, "", ""},
		{[]any{"op", "=~", "right_string", " ^v[0-9]+$"}, `all(#2) =~ str " ^v[0-9]+$"`, "", ""},
		{[]any{"op", "==", "right_string", ""}, `all(#2) == str ""`, "", ""},
		{[]any{"func", "diff(#3)", "op", ""}, `diff(#3) != str ""`, "", ""},
		{[]any{"func", "change(#5)", "op", "", "right_string", "2"}, `change(#5) >= str "2"`, "", ""},
		{[]any{"func", "max(#3)"}, "", "func", `function "max(#3)": "max" is no function over texts, use one of all, lookup, diff, change`},
		{[]any{"func", ""}, "", "func", "func is required, such as all(#3)"},
		{[]any{"op", "<"}, "", "op", `operator "<" is none over texts, use one of == != contains !contains =~ !~`},
		{[]any{"op", ""}, "", "op", `operator "" is none over texts, use one of == != contains !contains =~ !~`},
		{[]any{"op", "=~", "right_string", "("}, "", "right_string", "\"(\" is no regular expression (RE2): error parsing regexp: missing closing ): `(`"},
		{[]any{"op", "contains", "right_string", ""}, "", "right_string", "every text contains the empty one: write what contains looks for"},
		{[]any{"func", "change(#5)", "right_string", "5"}, "", "right_string", `"5": change(#5) needs a number of changes, 1 to 4`},
		{[]any{"right_string", strings.Repeat("x", 256)}, "", "right_string", "the text to compare with has 256 bytes, 255 are possible"},
		{[]any{"value_type", "text"}, "", "value_type", `value_type "text" is unknown, write string for a rule about texts, or leave it out`},
		{[]any{"max_step", 101}, "", "max_step", "max_step 101 is not between 0 and 100"},
	} {
		body := textBody(append([]any{"tpl_id", tpl}, tc.change...)...)
		if tc.field == "value_type" {
			body["right_value"] = "5"
		}
		a := w.call("ann", "POST", "/strategy", body)
		got := decode[struct {
			Error, Field string
			portal.Strategy
		}](t, a)
		if got.Error != tc.err || got.Field != tc.field || (tc.err == "") != (got.ID > 0) {
			t.Errorf("POST /strategy with %v\n got %d %s\nwant %q of %q", tc.change, a.status, a.body, tc.err, tc.field)
			continue
		}
		checked := decode[struct {
			OK     bool `json:"ok"`
			Errors []struct{ Field string }
		}](t, w.call("ann", "POST", "/strategy/check", body))
		if checked.OK != (tc.err == "") || tc.err != "" && checked.Errors[0].Field != tc.field {
			t.Errorf("POST /strategy/check with %v: %+v", tc.change, checked)
		}
		if got.ID == 0 {
			continue
		}
		saved := must(w.db.Strategy(t.Context(), got.ID))
		if s := fmt.Sprintf("%s %s %s %q", saved.Func, saved.Op, saved.RightValue, saved.RightString); s != tc.saved || saved.ValueType != "string" {
			t.Errorf("saved %s %q, want %s", s, saved.ValueType, tc.saved)
		}
		if *saved != got.Strategy {
			t.Errorf("the answer is %+v, saved was %+v", got.Strategy, *saved)
		}
	}
}

// A client of stock's that changes the note of a rule about texts leaves the rest; one
// that speaks of texts may make it a rule about numbers, and back.
func TestStockClientsLeaveTextsAlone(t *testing.T) {
	w := newWorld(t, options{})
	tpl := w.made("ann", "POST", "/template", map[string]any{"name": "t"})
	id := w.made("ann", "POST", "/strategy", textBody("tpl_id", tpl))
	update := func(body map[string]any) portal.Strategy {
		t.Helper()
		body["id"] = id
		w.want("ann", "PUT", "/strategy", body, 200, fmt.Sprintf(`{"message":"strategy:%d has been updated"}`, id))
		return *must(w.db.Strategy(t.Context(), id))
	}
	if got := update(strategyBody("metric", "app.state", "func", "all(#3)", "op", "!=", "right_value", "str", "note", "new")); got.ValueType != "string" || got.RightString != "ok" || got.RightValue != "str" || got.Note != "new" {
		t.Errorf("after stock's client it is %+v", got)
	}
	if got := update(strategyBody("value_type", "number", "right_string", "left over")); got.ValueType != "" || got.RightString != "" || got.RightValue != "5" {
		t.Errorf("as a rule about numbers it is %+v", got)
	}
	// What stock's clients save and see has no word more than before.
	if a := w.call("ann", "GET", fmt.Sprintf("/strategy/%d", id), nil); strings.Contains(a.body, "value_type") || strings.Contains(a.body, "right_string") {
		t.Errorf("a rule about numbers is %s", a.body)
	}
	if got := update(textBody()); got.ValueType != "string" || got.RightString != "ok" {
		t.Errorf("as a rule about texts it is %+v", got)
	}
	for _, body := range []map[string]any{{"id": id}, textBody("tpl_id", tpl)} {
		a := w.call("ann", "POST", "/strategy/backtest", body)
		if !strings.Contains(a.body, "can not be tried") || a.status != 400 {
			t.Errorf("a trial answers %d %s", a.status, a.body)
		}
	}
}
