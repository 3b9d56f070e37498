package hbs

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/rpc"
)

// The fork's methods for rules of several conditions answer with data, in each codec; a
// stock judge is given the conditions as rules like any other.
func TestUnionMethods(t *testing.T) {
	m := captured()
	m.rows.Templates = []portal.RuleTemplate{{ID: 1, Name: "base", Action: 11}}
	m.rows.GroupTemplates = []portal.RulePair{{Group: 1, Other: 1}}
	for i, metric := range []string{"cpu.idle", "load.1min", "mem.free", "df.free"} {
		m.rows.Strategies = append(m.rows.Strategies, portal.RuleStrategy{ID: 100 + i, Template: 1, Metric: metric, Func: "all(#1)", Op: ">", RightValue: "5", MaxStep: 1})
	}
	m.rows.Members = []portal.RuleMember{{Strategy: 100, Union: 9}, {Strategy: 101, Union: 9}, {Strategy: 102, Union: 10}}
	m.rows.Unions = []portal.RuleUnion{{ID: 9, Strategies: "100,101"}, {ID: 10, Strategies: "102"}}
	_, addr := serving(t, m, nil)
	for _, codec := range []rpc.Codec{rpc.JSON, rpc.Gob, rpc.Msgpack} {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
		defer c.Close()
		var all unionStrategies
		if err := c.Call(t.Context(), "Hbs.GetUnionStrategies", model.NullRpcRequest{}, &all); err != nil {
			t.Fatal(err)
		}
		if got := all.UnionStrategiesMap; len(got) != 1 || len(got[9]) != 2 || got[9][1].Metric != "load.1min" || got[9][1].UnionStrategyId != 9 || got[9][1].MultiCount != 2 {
			t.Errorf("%v: %+v", codec, got)
		}
		for id, want := range map[int]int{9: 2, 10: 0, 77: 0} {
			var one oneStrategies
			if err := c.Call(context.Background(), "Hbs.GetOneUnionStrategies", singleID{id}, &one); err != nil || len(one.Strategies) != want {
				t.Errorf("%v: combination %d has %d strategies, %v", codec, id, len(one.Strategies), err)
			}
		}
		var stock model.StrategiesResponse
		if err := c.Call(t.Context(), "Hbs.GetStrategies", model.NullRpcRequest{}, &stock); err != nil {
			t.Fatal(err)
		}
		var ids []int
		for _, s := range stock.HostStrategies[0].Strategies {
			ids = append(ids, s.Id)
		}
		if !slices.Equal(ids, []int{100, 101, 103}) {
			t.Errorf("%v: a stock judge is given %v", codec, ids)
		}
	}
	text, err := json.Marshal(unionStrategies{map[int][]*model.Strategy{9: {{Id: 1}}}})
	if err != nil || !strings.HasPrefix(string(text), `{"union_strategies_map":{"9":[{"id":1,`) {
		t.Errorf("%s %v", text, err)
	}
}
