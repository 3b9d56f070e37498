package hbs

import (
	"fmt"
	"slices"
	"testing"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/rpc"
)

// Strategies about texts are handed out by a method of their own, in every codec; those
// who ask for the others never see one. Our judges have them in their book.
func TestGetStringStrategies(t *testing.T) {
	m := fleet(2)
	m.rows.Strategies = append(m.rows.Strategies, portal.RuleStrategy{
		ID: 2, Metric: "app.state", Func: "all(#1)", Op: "!=", RightValue: portal.RightOfTexts, MaxStep: 3, Template: 1,
		ValueType: portal.ValueString, RightString: "ok",
	})
	h, addr := serving(t, m, nil)
	for _, codec := range []rpc.Codec{rpc.JSON, rpc.Gob, rpc.Msgpack} {
		for method, want := range map[string]string{"Hbs.GetStrategies": `[h0: 1 "" h1: 1 ""]`, "Hbs.GetStringStrategies": `[h0: 2 "ok" h1: 2 "ok"]`} {
			c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
			var reply model.StrategiesResponse
			err := c.Call(t.Context(), method, &model.NullRpcRequest{}, &reply)
			c.Close()
			var got []string
			for _, hs := range reply.HostStrategies {
				for _, s := range hs.Strategies {
					got = append(got, fmt.Sprintf("%s: %d %q", hs.Hostname, s.Id, s.RightString))
				}
			}
			slices.Sort(got)
			if err != nil || fmt.Sprint(got) != want {
				t.Errorf("%v %s: %v, %v, want %s", codec, method, got, err, want)
			}
		}
	}
	e, err := h.keeper.get()
	if err != nil {
		t.Fatal(err)
	}
	if all := e.Book.Of("h1"); len(all) != 2 {
		t.Errorf("the book has %d strategies of a host", len(all))
	}
	if all := e.some().host("h1"); len(all) != 1 || all[0].Id != 1 {
		t.Errorf("who asks for a host gets %+v", all)
	}
}

// Without strategies about texts there are none, and no list that is null.
func TestNoStringStrategies(t *testing.T) {
	h, _ := serving(t, fleet(1), nil)
	e, err := h.keeper.get()
	if err != nil {
		t.Fatal(err)
	}
	if got := string((&strategiesReply{rules: e.texts()}).AppendJSON(nil)); got != `{"hostStrategies":[]}` {
		t.Errorf("the answer is %s", got)
	}
	if e.stock().book != e.Book {
		t.Error("a book without texts is copied")
	}
}
