package stream

import (
	"fmt"
	"testing"

	"falcon/common/model"
)

// However many series are refused, each point keeps its reason and no more than 64
// refusals travel.
func TestSummaryKeepsReasons(t *testing.T) {
	var all []model.Refusal
	want := map[string]int{}
	for i := range 5000 {
		r := model.Refusal{Ref: uint32(i + 1), Reason: []string{"duplicate", "late", "bad_value"}[i%3], N: i%4 + 1}
		all = append(all, r)
		want[r.Reason] += r.N
	}
	list, more := summary(all)
	got := map[string]int{}
	for _, r := range list {
		got[r.Reason] += r.N
	}
	if len(list) > maxRefusals || more != 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d refusals, %d more, %v; want at most %d, none more, %v", len(list), more, got, maxRefusals, want)
	}
	var many []model.Refusal
	total := 0
	for i := range 200 {
		many = append(many, model.Refusal{Ref: uint32(i + 1), Reason: fmt.Sprintf("reason %d", i), N: 1})
		total++
	}
	list, more = summary(many)
	if len(list) != maxRefusals || len(list)+more != total {
		t.Errorf("200 reasons: %d listed and %d more of %d", len(list), more, total)
	}
}
