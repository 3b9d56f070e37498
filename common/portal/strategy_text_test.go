package portal

import (
	"strings"
	"testing"
)

// A strategy about texts comes back as it was written, to its editor and to hbs, and its
// row is one that a hbs of stock can not take for a rule about numbers.
func TestStrategiesAboutTexts(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		tpl := must[int64](t)(db.CreateTemplate(ctx, Template{Name: "texts", CreateUser: "root"}))
		s := Strategy{
			Metric: "app.state", Func: "all(#2)", Op: "!contains", RightValue: RightOfTexts, MaxStep: 3, Template: tpl,
			ValueType: ValueString, RightString: "  it's ok ",
		}
		s.ID = must[int64](t)(db.CreateStrategy(ctx, s))
		if got := must[*Strategy](t)(db.Strategy(ctx, s.ID)); *got != s {
			t.Errorf("saved %+v, want %+v", *got, s)
		}
		if n := count(t, db.Portal, "strategy WHERE op = '!contain' AND right_value = 'str' AND value_type = 'string'"); n != 1 {
			t.Errorf("%d rows are as they should be", n)
		}
		if err := db.UpdateStrategy(ctx, Strategy{ID: s.ID, Metric: "m", Func: "all(#1)", Op: "<", RightValue: "5", MaxStep: 1}); err != nil {
			t.Fatal(err)
		}
		if got := must[*Strategy](t)(db.Strategy(ctx, s.ID)); got.ValueType != "" || got.RightString != "" || got.RightValue != "5" {
			t.Errorf("as a rule about numbers it is %+v", *got)
		}
		if err := db.UpdateStrategy(ctx, s); err != nil {
			t.Fatal(err)
		}
		if all := must[[]Strategy](t)(db.Strategies(ctx, tpl)); len(all) != 1 || all[0] != s {
			t.Errorf("listed %+v", all)
		}
		rows := must[*RuleRows](t)(db.RuleRows(ctx))
		if len(rows.Strategies) != 1 || rows.Strategies[0].Op != "!contains" || rows.Strategies[0].ValueType != ValueString || rows.Strategies[0].RightString != s.RightString {
			t.Errorf("hbs reads %+v", rows.Strategies)
		}
		long := s
		long.RightString = strings.Repeat("x", 256)
		if err := db.UpdateStrategy(ctx, long); err == nil || !strings.Contains(err.Error(), "right_string") {
			t.Errorf("256 characters: %v", err)
		}
	})
}
