package v1

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"falcon/common/portal"
)

// A combination is made, changed and dissolved; each leaves a line, and what can not be
// one is refused with the reason.
func TestUnions(t *testing.T) {
	w := newWorld(t, options{})
	tpl := w.made("ann", "POST", "/template", map[string]any{"name": "t"})
	other := w.made("ann", "POST", "/template", map[string]any{"name": "u"})
	var ids []int64
	for i := range 4 {
		in := tpl
		if i == 3 {
			in = other
		}
		ids = append(ids, w.made("ann", "POST", "/strategy", strategyBody("tpl_id", in)))
	}
	list := func() []portal.Union {
		return decode[[]portal.Union](t, w.call("bob", "GET", fmt.Sprintf("/union?tid=%d", tpl), nil))
	}
	if got := w.call("bob", "GET", fmt.Sprintf("/union?tid=%d", tpl), nil); got.body != "[]" {
		t.Errorf("none: %s", got.body)
	}
	u := w.made("ann", "POST", "/union", map[string]any{"strategy_ids": []int64{ids[1], ids[0]}, "name": "busy"})
	if got := list(); len(got) != 1 || got[0].ID != u || got[0].Name != "busy" || got[0].CreateUser != "ann" || got[0].Count != 2 || got[0].Serial != portal.UnionSerial(ids[:2]) {
		t.Errorf("%+v", got)
	}
	for _, tc := range []struct {
		method string
		body   map[string]any
		want   string
	}{
		{"POST", map[string]any{"strategy_ids": ids[:1]}, "a combination has 2 to 20 strategies, these are 1"},
		{"POST", map[string]any{}, "a combination has 2 to 20 strategies, these are 0"},
		{"POST", map[string]any{"strategy_ids": ids[1:3]}, "is a condition of another combination already"},
		{"POST", map[string]any{"strategy_ids": ids[2:4]}, "are of different templates"},
		{"POST", map[string]any{"strategy_ids": []int64{ids[2], 999}}, "there is no strategy with id 999"},
		{"PUT", map[string]any{"id": u, "strategy_ids": []int64{ids[0], ids[3]}}, "are of different templates"},
		{"PUT", map[string]any{"id": 999, "strategy_ids": ids[:2]}, "record not found"},
		{"PUT", map[string]any{"id": 0, "strategy_ids": ids[:2]}, "record not found"},
	} {
		if a := w.call("ann", tc.method, "/union", tc.body); a.status != http.StatusBadRequest || !strings.Contains(a.body, tc.want) {
			t.Errorf("%s %v: %d %s, want %q", tc.method, tc.body, a.status, a.body, tc.want)
		}
	}
	w.made("ann", "PUT", "/union", map[string]any{"id": u, "strategy_ids": ids[:3], "name": "busier"})
	if got := list(); len(got) != 1 || len(got[0].Strategies) != 3 || got[0].Name != "busier" {
		t.Errorf("%+v", got)
	}
	if got := decode[portal.Union](t, w.call("bob", "GET", fmt.Sprintf("/union/%d", u), nil)); got.ID != u || got.Count != 3 {
		t.Errorf("%+v", got)
	}
	child := w.made("bob", "POST", "/template", map[string]any{"name": "child", "parent_id": tpl})
	for query, want := range map[string]int{"": 0, "&inherited=true": 1} {
		if got := decode[[]portal.Union](t, w.call("bob", "GET", fmt.Sprintf("/union?tid=%d%s", child, query), nil)); len(got) != want {
			t.Errorf("of a child%s: %+v", query, got)
		}
	}
	// A strategy that is deleted leaves two of three, one form as the other.
	w.want("ann", "DELETE", fmt.Sprintf("/strategy/%d", ids[2]), nil, 200, fmt.Sprintf(`{"message":"strategy:%d has been deleted"}`, ids[2]))
	if got := list(); len(got) != 1 || got[0].Count != 2 || got[0].Serial != portal.UnionSerial(ids[:2]) {
		t.Errorf("%+v", got)
	}
	w.want("ann", "DELETE", fmt.Sprintf("/union/%d", u), nil, 200, fmt.Sprintf(`{"message":"union:%d has been dissolved: its strategies alarm on their own"}`, u))
	if got := list(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if a := w.call("ann", "DELETE", fmt.Sprintf("/union/%d", u), nil); a.status == 200 {
		t.Errorf("dissolved twice: %s", a.body)
	}
	// A stranger is kept out of another one's template, also as the second of two.
	mine := w.made("bob", "POST", "/template", map[string]any{"name": "mine"})
	own := w.made("bob", "POST", "/strategy", strategyBody("tpl_id", mine))
	if got := w.may("bob", "POST", "/union", map[string]any{"strategy_ids": []int64{own, ids[0]}}); got != "no" {
		t.Errorf("with a strategy of ann's: %s", got)
	}
}

func TestUnionsChangeRules(t *testing.T) {
	n := 0
	for _, r := range (&server{}).routes() {
		if strings.HasPrefix(r.Path, prefix+"/union") && r.Writes() {
			if n++; !r.changesRules() {
				t.Errorf("hbs does not hear of %s", r.key())
			}
		}
	}
	if n != 3 {
		t.Errorf("%d routes", n)
	}
}
