package core

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"falcon/common/expr"
	"falcon/common/model"
)

func textIndex(fn, op, right string) func(*model.Strategy) {
	return func(s *model.Strategy) {
		s.Metric, s.Func, s.Operator, s.ValueType, s.RightString = "app.state", fn, op, "string", right
	}
}

// feedTexts is feed for texts, one a minute, with blanks between.
func feedTexts(s *Series, fn, op, right, texts string) string {
	ix := watched(textIndex(fn, op, right))
	var out []string
	for i, text := range strings.Fields(texts) {
		s.Watch(ix, settings)
		ts := int64(60 * (i + 1))
		if s.Insert(expr.Point{Ts: ts, Value: s.Word(text)}, settings) != Judge {
			continue
		}
		for _, e := range s.Judge(nil, ts, settings, nil) {
			out = append(out, fmt.Sprintf("%s %s=%s/%s", told(e), e.Metric(), e.LeftString, e.RightString))
		}
	}
	return strings.Join(out, ", ")
}

// The state machine of numbers is that of texts.
func TestTextsAreJudged(t *testing.T) {
	for _, tc := range []struct{ fn, op, right, texts, want string }{
		{"all(#2)", "!=", "ok", "ok down down ok", "PROBLEM 1@180 app.state=down/ok, OK 1@240 app.state=ok/ok"},
		{"all(#1)", "=~", "^(a|b)$", "a a a a a a a c", "PROBLEM 1@60 app.state=a/^(a|b)$, PROBLEM 2@360 app.state=a/^(a|b)$, OK 1@480 app.state=c/^(a|b)$"},
		{"diff(#2)", "", "", "a a a b b b", "PROBLEM 1@240 app.state=b/, OK 1@360 app.state=b/"},
		{"change(#4)", ">=", "3", "a b a a b a b b", "PROBLEM 1@420 app.state=b/3, OK 1@480 app.state=b/3"},
		{"all(#3)", "==", "a", "a a", ""},
		// No text is told twice: the second message waits for eight that are new.
		{"all(#8)", "==", "a", strings.Repeat("a ", 17), "PROBLEM 1@480 app.state=a/a, PROBLEM 2@960 app.state=a/a"},
	} {
		s := NewTextSeries("h1", "app.state", "")
		if got := feedTexts(&s, tc.fn, tc.op, tc.right, tc.texts); got != tc.want {
			t.Errorf("%s %s %s of %s\n got %s\nwant %s", tc.fn, tc.op, tc.right, tc.texts, got, tc.want)
		}
	}
}

// However often the text changes, a series keeps as many as it keeps points, and one
// more; a text that stays is kept once.
func TestTextsAreKeptOnce(t *testing.T) {
	s := NewTextSeries("h1", "app.state", "")
	ix := watched(textIndex("all(#1)", "==", "x"))
	s.Watch(ix, settings)
	for i := range 1000 {
		s.Insert(expr.Point{Ts: int64(i + 1), Value: s.Word(fmt.Sprint("text ", i))}, settings)
		if got := s.Text(s.History()[0]); got != fmt.Sprint("text ", i) {
			t.Fatalf("the newest is %q", got)
		}
	}
	for i, p := range s.History() {
		if got, want := s.Text(p), fmt.Sprint("text ", 999-i); got != want {
			t.Errorf("%d ago it was %q, want %q", i, got, want)
		}
	}
	if n := len(*s.words); n > settings.Remain+1 {
		t.Errorf("%d texts are kept for %d points", n, settings.Remain)
	}
	s = NewTextSeries("h1", "app.state", "")
	for i := range 100 {
		s.Insert(expr.Point{Ts: int64(i + 1), Value: s.Word("same")}, settings)
	}
	if n := len(*s.words); n != 1 {
		t.Errorf("%d texts are kept of one", n)
	}
	// The texts of a batch are pieces of one string, which must not be kept for one.
	batch := strings.Repeat("x", 100)
	if p := (expr.Point{Ts: 101, Value: s.Word(batch[10:20])}); unsafe.StringData(s.Text(p)) == unsafe.StringData(batch[10:20]) {
		t.Error("a text is kept with the batch that it came in")
	}
}

// Rules over numbers do not see texts, nor the other way round.
func TestRulesSeeTheirKind(t *testing.T) {
	numbers, texts := watched(func(s *model.Strategy) { s.Metric = "app.state" }), watched(textIndex("all(#1)", "==", "x"))
	n, s := NewSeries("h1", "app.state", "", model.Gauge), NewTextSeries("h1", "app.state", "")
	if !n.Watch(numbers, settings) || n.Watch(texts, settings) || s.Watch(numbers, settings) || !s.Watch(texts, settings) {
		t.Error("a rule watches the other kind")
	}
	if s.SetType(model.Counter); !s.Gauge() {
		t.Error("of a counter's texts there are rates")
	}
}

// A condition about texts is sent as any other condition: whatever its max, and again each
// minute while it goes on.
func TestTextMember(t *testing.T) {
	ix := conditions("x", func(s *model.Strategy) {
		s.ValueType, s.Func, s.Operator, s.RightString = "string", "all(#1)", "!=", "up"
	})
	s := NewTextSeries("h1", "cpu.idle", "")
	for _, tc := range []struct {
		ts         int64
		text, want string
	}{
		{10, "up", "OK 1@10"}, {20, "down", "PROBLEM 1@20"}, {30, "down", ""}, {79, "down", ""}, {80, "off", "PROBLEM 1@80"}, {90, "up", "OK 1@90"},
	} {
		if got := feed(&s, ix, expr.Point{Ts: tc.ts, Value: s.Word(tc.text)}); got != tc.want {
			t.Errorf("%d: %q, want %q", tc.ts, got, tc.want)
		}
	}
}
