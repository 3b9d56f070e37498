package compile

import (
	"fmt"
	"strings"
	"testing"

	"falcon/common/portal"
)

func TestCombine(t *testing.T) {
	multi := func(id int, serial string, count int) portal.RuleMember {
		return portal.RuleMember{Strategy: id, Multi: 1, Serial: serial, Count: count}
	}
	fork := func(id, union int) portal.RuleMember { return portal.RuleMember{Strategy: id, Union: union} }
	both := func(id, union int, serial string, count int) portal.RuleMember {
		return portal.RuleMember{Strategy: id, Union: union, Multi: 1, Serial: serial, Count: count}
	}
	for _, tc := range []struct {
		name    string
		members []portal.RuleMember
		unions  []portal.RuleUnion
		change  func(*portal.RuleRows)
		want    string // of host h2, id:serial/count
		bad     string // ids
		reason  string
	}{
		{"none", nil, nil, nil, "100 101", "", ""},
		{"ours", []portal.RuleMember{multi(100, "x", 2), multi(101, "x", 2)}, nil, nil, "100:x/2 101:x/2", "", ""},
		{"the fork's", []portal.RuleMember{fork(100, 9), fork(101, 9)}, []portal.RuleUnion{{ID: 9, Strategies: "100, 101"}}, nil, "100:u_9/2 101:u_9/2", "", ""},
		{"the fork's without its row", []portal.RuleMember{fork(100, 9), fork(101, 9)}, nil, nil, "100:u_9/2 101:u_9/2", "", ""},
		{"the row names others", []portal.RuleMember{fork(100, 9), fork(101, 9)}, []portal.RuleUnion{{ID: 9, Strategies: "100,1010"}}, nil, "", "100 101", "does not name it"},
		{"both: ours counts", []portal.RuleMember{both(100, 9, "x", 2), both(101, 9, "x", 2)}, []portal.RuleUnion{{ID: 9, Strategies: "5"}}, nil, "100:x/2 101:x/2", "", ""},
		{"one is left", []portal.RuleMember{multi(100, "x", 2)}, nil, nil, "101", "100", "the only one that is left"},
		{"one of the fork's is left", []portal.RuleMember{fork(101, 9)}, []portal.RuleUnion{{ID: 9, Strategies: "77,101"}}, nil, "100", "101", "the only one that is left"},
		{"one of three is missing", []portal.RuleMember{multi(100, "x", 3), multi(101, "x", 3)}, nil, nil, "", "100 101", "2 can be judged and 3 would have to hold"},
		{"the fork counts those that are there", []portal.RuleMember{fork(100, 9), fork(101, 9)}, []portal.RuleUnion{{ID: 9, Strategies: "77,100,101"}}, nil, "100:u_9/2 101:u_9/2", "", ""},
		{"one can not be read", []portal.RuleMember{multi(100, "x", 2), multi(101, "x", 2)}, nil,
			func(r *portal.RuleRows) { r.Strategies[1].Func = "never" }, "", "100 101", "1 can be judged"},
		{"more than it says", []portal.RuleMember{multi(100, "x", 1), multi(101, "x", 1)}, nil, nil, "100:x/2 101:x/2", "", ""},
		{"without a serial", []portal.RuleMember{multi(100, "", 2)}, nil, nil, "101", "100", "multi_serial is empty"},
		{"two templates", []portal.RuleMember{multi(100, "x", 2), multi(102, "x", 2)}, nil, nil, "101", "100 102", "different templates"},
		{"out of its hours it does not hold, and counts", []portal.RuleMember{multi(100, "x", 2), multi(101, "x", 2)}, nil,
			func(r *portal.RuleRows) { r.Strategies[1].RunBegin, r.Strategies[1].RunEnd = "20:00", "23:00" }, "100:x/2", "", ""},
		{"replaced by a child it does not hold, and counts", []portal.RuleMember{multi(100, "x", 2), multi(101, "x", 2)}, nil,
			func(r *portal.RuleRows) { r.GroupTemplates = nil; bind(r, 2, 2) }, "101:x/2 102 103", "", ""},
	} {
		r := world()
		bind(r, 2, 1)
		r.Members, r.Unions = tc.members, tc.unions
		if tc.change != nil {
			tc.change(r)
		}
		res := Compile(r, noon)
		var got, bad []string
		for _, s := range res.Book.Of("h2") {
			text := fmt.Sprint(s.Id)
			if s.MultiSerial != "" {
				text += fmt.Sprintf(":%s/%d", s.MultiSerial, s.MultiCount)
			}
			got = append(got, text)
		}
		reasons := ""
		for _, b := range res.Bad {
			bad = append(bad, fmt.Sprint(b.ID))
			reasons += b.Reason + "\n"
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: in force %q, want %q", tc.name, got, tc.want)
		}
		if tc.name == "one can not be read" {
			bad = bad[1:] // 101 itself
		}
		wantBad := strings.Fields(tc.bad)
		if tc.name == "one can not be read" {
			wantBad = []string{"100"}
		}
		if fmt.Sprint(bad) != fmt.Sprint(wantBad) || !strings.Contains(reasons, tc.reason) {
			t.Errorf("%s: bad %q, want %q\n%s", tc.name, bad, tc.bad, reasons)
		}
	}
}

func TestUnions(t *testing.T) {
	r := world()
	r.Members = []portal.RuleMember{{Strategy: 100, Union: 9, Multi: 1, Serial: "x", Count: 2}, {Strategy: 101, Union: 9, Multi: 1, Serial: "x", Count: 2}, {Strategy: 102, Union: 10}}
	r.Strategies[0].RunBegin, r.Strategies[0].RunEnd = "20:00", "23:00"
	got := Compile(r, noon).Unions()
	if len(got) != 1 || len(got[9]) != 2 || got[9][0].Id != 100 || got[9][1].Tpl.Id != 1 || got[9][1].UnionStrategyId != 9 {
		t.Errorf("%+v", got)
	}
}
