package hbs

import (
	"strings"
	"testing"
	"time"

	"falcon/common/model"
)

func TestClaims(t *testing.T) {
	a := model.AgentReportRequest{MachineID: "ma", BootID: "ba", IP: "10.0.0.1"}
	b := model.AgentReportRequest{MachineID: "mb", BootID: "bb", IP: "10.0.0.2"}
	clone := model.AgentReportRequest{MachineID: "ma", BootID: "bc", IP: "10.0.0.3"}
	moved := model.AgentReportRequest{MachineID: "ma", BootID: "ba", IP: "10.0.0.9"}
	stock1, stock2 := model.AgentReportRequest{IP: "10.0.0.1"}, model.AgentReportRequest{IP: "10.0.0.2"}
	for _, tc := range []struct {
		name    string
		reports []model.AgentReportRequest // a minute apart
		want    string                     // in what the last one is answered; empty: nobody else
	}{
		{"one machine", []model.AgentReportRequest{a, a, a}, ""},
		{"started again", []model.AgentReportRequest{a, a, clone, clone}, ""},
		{"replaced", []model.AgentReportRequest{a, b, b, b}, ""},
		{"another address, and back", []model.AgentReportRequest{a, moved, a}, ""},
		{"two machines", []model.AgentReportRequest{a, b, a}, "machine mb, boot bb, at 10.0.0.2"},
		{"seen from the other", []model.AgentReportRequest{a, b, a, b}, "machine ma"},
		{"a clone", []model.AgentReportRequest{a, clone, a}, "boot bc"},
		{"two agents of stock", []model.AgentReportRequest{stock1, stock2, stock1}, "a machine at 10.0.0.2"},
		{"five machines", []model.AgentReportRequest{{IP: "1"}, {IP: "2"}, {IP: "3"}, {IP: "4"}, {IP: "5"}, {IP: "2"}}, "at 5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var c claims
			now, got := time.Unix(1_800_000_000, 0), ""
			for _, r := range tc.reports {
				now = now.Add(time.Minute)
				got = c.heard(&r, now)
			}
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("the other is %q, want %q", got, tc.want)
			}
			last := tc.reports[len(tc.reports)-1]
			for range 12 { // the other one has gone
				now = now.Add(time.Minute)
				got = c.heard(&last, now)
			}
			if got != "" {
				t.Errorf("after twelve minutes alone the other is %q", got)
			}
		})
	}
}
