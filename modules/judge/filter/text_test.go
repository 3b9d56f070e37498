package filter

import (
	"testing"

	"falcon/common/model"
	"falcon/common/rulebook"
)

func textBook(change func(*model.Strategy)) *Index {
	s := strategy(1, 7, 9, "app.state", nil)
	s.Func, s.Operator, s.ValueType, s.RightString = "all(#2)", "!=", "string", "ok"
	if change != nil {
		change(s)
	}
	b := rulebook.New()
	b.Add("h1", []*model.Strategy{s})
	return New(b)
}

// A rule watches series of its kind, and one that can not be read is set aside.
func TestRulesOfTexts(t *testing.T) {
	ix := textBook(nil)
	if ix.Watched("h1", "app.state", nil) || !ix.WatchedText("h1", "app.state", nil) || len(ix.Rules(nil, "h1", "app.state", nil)) != 0 {
		t.Error("a rule about texts watches numbers, or no texts")
	}
	if all := ix.TextRules(nil, "h1", "app.state", nil); len(all) != 1 || all[0].Window() != 2 || all[0].Text.Right() != "ok" {
		t.Errorf("rules %+v", all)
	}
	if len(ix.Candidates("h1", "app.state")) != 1 || len(ix.Strategies("h1", "app.state")) != 1 || ix.Len() != 1 {
		t.Error("pages do not know the rule")
	}
	if bad := textBook(func(s *model.Strategy) { s.Operator = "<" }).Bad; len(bad) != 1 || bad[0].ID != 1 {
		t.Errorf("set aside %+v", bad)
	}
}
