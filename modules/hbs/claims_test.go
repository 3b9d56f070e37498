package hbs

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
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

// Two machines with one name report to two hbs that share the table: both find out. A
// host that is started again, reports to the other one and then comes back is no such
// case.
func TestClaimsAtSeveralHBS(t *testing.T) {
	for _, tc := range []struct {
		name    string
		restart bool // the machine of the first hbs moves to the second, as another boot
		twice   bool
	}{{"two machines", false, true}, {"one machine that moves", true, false}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := fleet(0)
				var all []*heartbeats
				ctx, cancel := context.WithCancel(context.Background())
				var ended []chan error
				for range 2 {
					h := newBeats(m, &beatMemory{times: map[string]int64{}})
					done := make(chan error, 1)
					go func() { done <- h.run(ctx) }()
					all, ended = append(all, h), append(ended, done)
				}
				for minute := range 30 {
					if !tc.restart || minute < 14 {
						all[0].take(&model.AgentReportRequest{Hostname: "h", MachineID: "ma", BootID: "b1", IP: "10.0.0.1"})
					}
					if !tc.restart {
						all[1].take(&model.AgentReportRequest{Hostname: "h", MachineID: "mb", BootID: "b9", IP: "10.0.0.2"})
					} else if minute >= 14 {
						to := all[1]
						if minute >= 22 { // and back
							to = all[0]
						}
						to.take(&model.AgentReportRequest{Hostname: "h", MachineID: "ma", BootID: "b2", IP: "10.0.0.1"})
					}
					time.Sleep(time.Minute)
				}
				for i, h := range all {
					if got := h.claimedTwice()["h"]; (got != "") != tc.twice {
						t.Errorf("hbs %d says %q, want something: %v", i, got, tc.twice)
					}
				}
				cancel()
				for _, done := range ended {
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
