package hbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/stat"
)

// beatMemory is a Redis without a Redis.
type beatMemory struct {
	times map[string]int64
	err   error
}

func (b *beatMemory) SaveHeartbeats(_ context.Context, beats map[string]int64) error {
	if b.err == nil {
		maps.Copy(b.times, beats)
	}
	return b.err
}

func newBeats(m *memory, b *beatMemory) *heartbeats {
	s := stat.New("hbs")
	h := &heartbeats{
		hosts: m, beats: b, added: func() {}, log: slog.New(slog.DiscardHandler), now: time.Now,
		known: map[string]*beat{}, rows: map[string]portal.HostReport{}, times: map[string]int64{}, agents: map[string]portal.HostAgent{},
	}
	h.received, h.written, h.failed = s.Counter("a", "a", "a"), s.Counter("b", "b", "b"), s.Counter("c", "c", "c")
	return h
}

// A row is written when it changed, a time with each heartbeat, and nothing is lost
// while the stores are away.
func TestHeartbeatsAreWrittenOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, b := fleet(0), &beatMemory{times: map[string]int64{}}
		h := newBeats(m, b)
		ctx := context.Background()
		r := &model.AgentReportRequest{Hostname: "h1", IP: "10.0.0.1"}
		h.take(r)
		h.take(r)
		h.save(ctx)
		time.Sleep(time.Minute)
		h.take(r)
		h.save(ctx)
		if len(m.saved) != 1 || b.times["h1"] != time.Now().Unix() {
			t.Errorf("rows %+v, times %v at %d", m.saved, b.times, time.Now().Unix())
		}
		m.err, b.err = errors.New("away"), errors.New("away")
		r.IP = "10.0.0.2"
		h.take(r)
		h.save(ctx)
		h.save(ctx)
		if len(m.saved) != 1 || h.failed.Get() == 0 {
			t.Errorf("rows %+v, %d failures", m.saved, h.failed.Get())
		}
		time.Sleep(time.Minute)
		r.IP = "10.0.0.3" // newer than what waits
		h.take(r)
		m.err, b.err = nil, nil
		h.save(ctx)
		if len(m.saved) != 2 || m.saved[1].IP != "10.0.0.3" || b.times["h1"] != time.Now().Unix() {
			t.Errorf("rows %+v, times %v", m.saved, b.times)
		}
		// A host that is silent for a day is forgotten, and new when it comes back.
		time.Sleep(25 * time.Hour)
		h.take(&model.AgentReportRequest{Hostname: "h2"})
		h.save(ctx)
		if got := h.names(); !slices.Equal(got, []string{"h2"}) {
			t.Errorf("known %q", got)
		}
	})
}

// The end writes what is left, and new hosts ask for new rules.
func TestHeartbeatsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, b := fleet(0), &beatMemory{times: map[string]int64{}}
		h := newBeats(m, b)
		touched := 0
		h.added = func() { touched++ }
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- h.run(ctx) }()
		h.take(&model.AgentReportRequest{Hostname: "h1"})
		cancel()
		if err := <-done; err != nil || len(m.saved) != 1 || touched != 1 {
			t.Errorf("%v, rows %+v, touched %d times", err, m.saved, touched)
		}
	})
}

func TestLook(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration) int64 { return now.Add(-d).Unix() }
	many := func(n int, d time.Duration) map[string]int64 {
		m := map[string]int64{}
		for i := range n {
			m[fmt.Sprintf("m%02d", i)] = ago(d)
		}
		return m
	}
	all := func(m map[string]int64) map[string]bool {
		w := map[string]bool{}
		for h := range m {
			w[h] = true
		}
		return w
	}
	fresh := many(20, time.Second)
	half := maps.Clone(fresh)
	for h := range many(12, 0) {
		half[h] = ago(6 * time.Minute)
	}
	few := maps.Clone(fresh)
	few["m00"] = ago(6 * time.Minute)
	for _, tc := range []struct {
		name     string
		was, now map[string]int64 // an earlier look, and this one
		watched  map[string]bool
		dead     []string
		silent   bool // nothing is said of hosts, hbs is suspected
		dropped  []string
	}{
		{"all well", nil, fresh, nil, nil, false, nil},
		{"one is silent", fresh, few, nil, []string{"m00"}, false, nil},
		{"one of one is silent", map[string]int64{"a": ago(time.Second)}, map[string]int64{"a": ago(6 * time.Minute)}, nil, []string{"a"}, false, nil},
		{"not long enough", nil, map[string]int64{"a": ago(5 * time.Minute)}, nil, nil, false, nil},
		{"too many at once", fresh, half, nil, nil, true, nil},
		{"hbs heard nobody", fresh, many(20, 3*time.Minute), nil, nil, true, nil},
		{"in maintenance or deleted", nil, map[string]int64{"a": ago(time.Hour), "b": ago(0)}, map[string]bool{"b": true}, nil, false, []string{"a"}},
		{"silent for a week", nil, map[string]int64{"a": ago(8 * 24 * time.Hour), "b": ago(0)}, nil, nil, false, []string{"a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := &liveness{after: 5 * time.Minute, self: "hbs-host", log: slog.New(slog.DiscardHandler), was: map[string]bool{}}
			if tc.was != nil {
				l.look(tc.was, all(tc.was), now)
			}
			watched := tc.watched
			if watched == nil {
				watched = all(tc.now)
			}
			points, drop := l.look(tc.now, watched, now)
			var dead []string
			suspect, said := any(nil), 0
			for _, p := range points {
				if p.Type != model.Gauge || p.Step != 60 || p.Timestamp != now.Unix() {
					t.Errorf("point %+v", p)
				}
				switch {
				case p.Metric == metricSuspect:
					suspect = p.Value
				case p.Value == 0:
					dead = append(dead, p.Endpoint)
					fallthrough
				default:
					said++
				}
			}
			if !slices.Equal(dead, tc.dead) || !slices.Equal(drop, tc.dropped) || (suspect == 1) != tc.silent || tc.silent != (said == 0) {
				t.Errorf("dead %q, dropped %q, suspect %v, said of %d", dead, drop, suspect, said)
			}
		})
	}
}

// The clock of the host is put by an hour: nobody who lives is called dead, nobody who is
// dead is called alive, and who dies afterwards is noticed in the usual time.
func TestClockSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			const stepAt = 20
			start := time.Unix(1_800_000_000, 0)
			now := start
			l := &liveness{after: 5 * time.Minute, self: "hbs-host", log: slog.New(slog.DiscardHandler), was: map[string]bool{}, now: func() time.Time { return now }}
			beats := map[string]int64{}
			for minute := range 180 {
				now = start.Add(time.Duration(minute) * time.Minute)
				if minute >= stepAt {
					now = now.Add(step)
				}
				if minute == stepAt {
					l.stepped(step) // what check finds out of the clock of a host, which a test can not put
				}
				until := map[string]int{"lives": 1000, "died": 10, "dies": stepAt + 30} // the last minute with a heartbeat
				want := map[string]any{}
				for host, last := range until {
					// Just after the step nobody has been heard of by the clock as it is now.
					if minute <= last && minute != stepAt {
						beats[host] = now.Add(-10 * time.Second).Unix()
					}
					if want[host] = 1; minute-last >= 5 {
						want[host] = 0
					}
				}
				points, drop := l.look(beats, map[string]bool{"lives": true, "died": true, "dies": true}, now)
				got := map[string]any{}
				for _, p := range points {
					if p.Metric == metricAlive {
						got[p.Endpoint] = p.Value
					}
				}
				if !maps.Equal(got, want) || len(drop) > 0 {
					t.Fatalf("minute %d: alive are %v, want %v; dropped %q", minute, got, want, drop)
				}
			}
		})
	}
}
