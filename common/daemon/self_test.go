package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/conf"
	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/stat"
)

func shown(points []*model.MetricValue) (all []string) {
	for _, p := range points {
		all = append(all, fmt.Sprintf("%s %s %s %v %s/%d at %d", p.Endpoint, p.Metric, p.Tags, p.Value, p.Type, p.Step, p.Timestamp))
	}
	return all
}

// Counters are GAUGE points with the tag module under the names of /counter/all; what has
// parts is a series for each, and a part that is new was zero before.
func TestCountersAsPoints(t *testing.T) {
	s := stat.New("alarm")
	s.Counter("told", "told_total", "Told.").Add(7)
	s.GaugeFunc("nan", "nan", "No number.", math.NaN)
	bad := s.Parts("channel", "send.err", "failed_total", "Failed.")
	bad.Know("inbox")
	self := DefaultSelf()
	self.Instance = "b 1"
	ill := errors.New("ill")
	r := NewReporter(ReporterOptions{Module: "alarm", Self: self, Stats: s, Health: func() error { return ill }, Log: slog.New(slog.DiscardHandler),
		Extra: func() []stat.Sample { return []stat.Sample{{Name: "probe", Value: 1}} }})
	want := []string{
		"web-1 told instance=b_1,module=alarm 7 GAUGE/60 at 1000",
		"web-1 send.err channel=inbox,instance=b_1,module=alarm 0 GAUGE/60 at 1000",
		"web-1 health instance=b_1,module=alarm 0 GAUGE/60 at 1000",
		"web-1 self.sent instance=b_1,module=alarm 0 GAUGE/60 at 1000",
		"web-1 self.dropped instance=b_1,module=alarm 0 GAUGE/60 at 1000",
		"web-1 probe instance=b_1,module=alarm 1 GAUGE/60 at 1000",
	}
	if got := shown(r.points("web-1", 1000)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	ill = nil
	bad.Add("a,b=c/d", 2)
	got := shown(r.points("web-1", 1060))
	for _, want := range []string{
		"web-1 send.err channel=a_b_c_d,instance=b_1,module=alarm 0 GAUGE/60 at 1000",
		"web-1 send.err channel=a_b_c_d,instance=b_1,module=alarm 2 GAUGE/60 at 1060",
		"web-1 health instance=b_1,module=alarm 1 GAUGE/60 at 1060",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("second push lacks %s:\n%s", want, strings.Join(got, "\n"))
		}
	}
	if got := shown(r.points("web-1", 1120)); len(got) != 7 {
		t.Errorf("a known part was zero again: %q", got)
	}
}

// A daemon whose agent is away, slow or of another mind drops the points, counts them by
// reason, and says so once.
func TestAgentThatTakesNothing(t *testing.T) {
	var answer atomic.Int64
	answer.Store(http.StatusOK)
	hang := make(chan struct{})
	var got [][]*model.MetricValue
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer.Load() == 0 {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		var points []*model.MetricValue
		if err := json.NewDecoder(r.Body).Decode(&points); err != nil {
			t.Error(err)
		}
		got = append(got, points)
		if answer.Load() == http.StatusFound {
			w.Header().Set("Location", "http://elsewhere.invalid/")
		}
		w.WriteHeader(int(answer.Load()))
	}))
	defer agent.Close()
	defer close(hang)
	var log bytes.Buffer
	s := stat.New("judge")
	self := DefaultSelf()
	self.PushAPI = agent.URL + "/v1/push"
	r := NewReporter(ReporterOptions{Module: "judge", Self: self, Stats: s, Log: slog.New(slog.NewTextHandler(&log, nil))})
	r.client = httpx.NewClient(httpx.Options{Tries: 1, Timeout: 100 * time.Millisecond})
	push := func(wantSent int64, wantDropped map[string]int64) {
		t.Helper()
		r.push(t.Context(), "web-1")
		if sent, dropped := r.sent.Get(), r.dropped.All(); sent != wantSent || fmt.Sprint(dropped) != fmt.Sprint(wantDropped) {
			t.Errorf("sent %d, dropped %v; want %d, %v", sent, dropped, wantSent, wantDropped)
		}
	}
	push(3, map[string]int64{})
	answer.Store(http.StatusBadRequest)
	push(3, map[string]int64{"refused": 3})
	answer.Store(http.StatusFound)
	push(3, map[string]int64{"refused": 6})
	answer.Store(0)
	push(3, map[string]int64{"refused": 6, "away": 3})
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "self.push_api") {
		t.Errorf("%d warnings: %s", n, log.String())
	}
	answer.Store(http.StatusOK)
	push(6, map[string]int64{"refused": 6, "away": 3})
	if !strings.Contains(log.String(), "points again") {
		t.Errorf("not told that it works again: %s", log.String())
	}
	if len(got) != 4 || got[3][2].Metric != "self.dropped" || got[3][2].Value != 9.0 {
		t.Errorf("the agent got %d pushes, the last %v", len(got), shown(got[len(got)-1]))
	}
}

// What one push has is bounded.
func TestManyParts(t *testing.T) {
	s := stat.New("alarm")
	parts := s.Parts("channel", "send.err", "failed_total", "Failed.")
	for i := range maxSamples {
		parts.Know(fmt.Sprint(i))
	}
	var taken int
	r := NewReporter(ReporterOptions{Module: "alarm", Self: DefaultSelf(), Stats: s, Log: slog.New(slog.DiscardHandler), Take: func(p []*model.MetricValue) { taken = len(p) }})
	r.push(t.Context(), "web-1")
	if dropped := r.dropped.Get(dropMany); taken != maxSamples || dropped != 3 {
		t.Errorf("%d taken, %d dropped; want %d and 3", taken, dropped, maxSamples)
	}
}

func TestSelfConfig(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*Self)
		err  string
	}{
		{"the default", func(*Self) {}, ""},
		{"half a second", func(s *Self) { s.Interval = conf.Duration(500 * time.Millisecond) }, `self.interval: 500ms is not a whole number of seconds, at least 1; write "60s"`},
		{"no agent", func(s *Self) { s.PushAPI = "" }, `self.push_api: "" is none that can be called, write "http://127.0.0.1:1988/v1/push", or set self.enabled to false`},
		{"off", func(s *Self) { *s = Self{} }, ""},
	} {
		b := DefaultBase()
		tc.set(&b.Self)
		got := ""
		if err := b.Validate(); err != nil {
			got = err.Error()
		}
		if got != tc.err {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.err)
		}
	}
}

func TestDiskFree(t *testing.T) {
	s := stat.New("graph")
	DiskFree(s, t.TempDir()+"/not/there/yet")
	if got := s.Samples()[0]; got.Name != "disk.free.percent" || got.Value <= 0 || got.Value > 100 {
		t.Errorf("free: %+v", got)
	}
}

// Each push falls into an interval of its own, whenever the daemon was started.
func TestPushesKeepTheirIntervals(t *testing.T) {
	for _, tc := range []struct {
		now             string
		interval, phase time.Duration
		want            string
	}{
		{"10:00:00", time.Minute, 6 * time.Second, "10:01:06"},
		{"10:00:59", time.Minute, 54 * time.Second, "10:01:54"},
		{"10:01:06", time.Minute, 6 * time.Second, "10:02:06"},
		{"10:02:05", time.Minute, 6 * time.Second, "10:03:06"}, // early by a second
		{"10:00:01", time.Second, 500 * time.Millisecond, "10:00:02"},
	} {
		now, err := time.Parse(time.TimeOnly, tc.now)
		if err != nil {
			t.Fatal(err)
		}
		now = now.AddDate(2026, 0, 0)
		if got := now.Add(untilNext(now, tc.interval, tc.phase)).Format(time.TimeOnly); got != tc.want {
			t.Errorf("after a push at %s the next is at %s, want %s", tc.now, got, tc.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		slots := map[int64]int{}
		r := NewReporter(ReporterOptions{Module: "x", Self: DefaultSelf(), Stats: stat.New("x"), Log: slog.New(slog.DiscardHandler), Take: func(p []*model.MetricValue) {
			slots[p[0].Timestamp/60]++
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		for slot, n := range slots {
			if n != 1 {
				t.Errorf("%d pushes in minute %d", n, slot)
			}
		}
		if n := len(slots); n < 59 || n > 61 {
			t.Errorf("%d minutes of an hour have points", n)
		}
	})
}

// One that is switched off ends with the daemon and no sooner.
func TestNobodyIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReporter(ReporterOptions{Module: "x", Stats: stat.New("x"), Log: slog.New(slog.DiscardHandler), Take: func([]*model.MetricValue) { t.Error("points of a daemon that is not to be watched") }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		if err := r.Run(ctx); err != nil || time.Since(began) != time.Hour {
			t.Errorf("it ended after %v, %v", time.Since(began), err)
		}
	})
}
