package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/stream"
)

// good is an item that passes every check.
func good() item {
	return item{Endpoint: "h", Metric: "m", Value: 1.5, Step: 60, Type: model.Gauge, Tags: "a=1", Timestamp: 1_500_000_000}
}

// Every row of contract ingest 1.3, by Transfer.Update.
func TestChecksOfItems(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*item)
		want   string // reason, "" for accepted
	}{
		{"good", func(*item) {}, ""},
		{"reserved", func(i *item) { i.Metric = "kernel.hostname" }, model.ReasonReserved},
		{"no metric", func(i *item) { i.Metric = "" }, model.ReasonNoName},
		{"no endpoint", func(i *item) { i.Endpoint = "" }, model.ReasonNoName},
		{"type in lower case", func(i *item) { i.Type = "gauge" }, model.ReasonType},
		{"no type", func(i *item) { i.Type = "" }, model.ReasonType},
		{"COUNTER", func(i *item) { i.Type = model.Counter }, ""},
		{"DERIVE", func(i *item) { i.Type = model.Derive }, ""},
		{"empty value", func(i *item) { i.Value = "" }, model.ReasonNoValue},
		{"step 0", func(i *item) { i.Step = 0 }, model.ReasonStep},
		{"step -1", func(i *item) { i.Step = -1 }, model.ReasonStep},
		{"step of ages", func(i *item) { i.Step = math.MaxInt64 }, model.ReasonStep},
		{"510 bytes", func(i *item) { i.Metric = strings.Repeat("m", 507) }, ""},
		{"511 bytes", func(i *item) { i.Metric = strings.Repeat("m", 508) }, model.ReasonTooLong},
		{"raw tags count", func(i *item) { i.Tags = strings.Repeat(" ", 600) }, model.ReasonTooLong},
		{"timestamp 0", func(i *item) { i.Timestamp = 0 }, ""},
		{"timestamp -5", func(i *item) { i.Timestamp = -5 }, ""},
		{"tags without =", func(i *item) { i.Tags = "a,b,=" }, ""},
		{"text that is a number", func(i *item) { i.Value = "3.25" }, ""},
		{"text", func(i *item) { i.Value = "abc" }, model.ReasonValue},
		{"bytes that are a number", func(i *item) { i.Value = []byte("3") }, ""},
		{"int of gob", func(i *item) { i.Value = int(3) }, ""},
		{"uint64 of msgpack", func(i *item) { i.Value = uint64(3) }, ""},
		{"bool", func(i *item) { i.Value = true }, model.ReasonValue},
		{"null", func(i *item) { i.Value = nil }, model.ReasonValue},
		{"object", func(i *item) { i.Value = map[string]any{"a": 1} }, model.ReasonValue},
		{"NaN", func(i *item) { i.Value = math.NaN() }, model.ReasonValue},
		{"the word NaN", func(i *item) { i.Value = "NaN" }, model.ReasonValue},
		{"infinite", func(i *item) { i.Value = math.Inf(-1) }, model.ReasonValue},
		{"out of range", func(i *item) { i.Value = "1e999" }, model.ReasonValue},
		{"the type is checked before the value", func(i *item) { i.Type, i.Value = "x", "" }, model.ReasonType},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr, err := New(nowhere(t), Deps{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			it := good()
			tc.change(&it)
			resp, err := tr.wait(t.Context(), update{&it, nil})
			if err != nil {
				t.Fatal(err)
			}
			want := 2
			if tc.want == "" {
				want = 1
			}
			if resp.Total != 2 || resp.Invalid != want || resp.Message != "ok" {
				t.Errorf("answer %+v, want %d invalid", resp, want)
			}
			if tr.refused.Get(model.ReasonNull) != 1 || tc.want != "" && tr.refused.Get(tc.want) != 1 {
				t.Errorf("refused %v, want one for %q", tr.refused.All(), tc.want)
			}
			if tr.recv.Get() != int64(2-want) {
				t.Errorf("RecvCnt is %d", tr.recv.Get())
			}
			// Whatever it was, the page of the refused can be read.
			rec := httptest.NewRecorder()
			tr.handler().ServeHTTP(rec, httptest.NewRequest("GET", "/debug/rejected", nil))
			var list []struct{ Reason string }
			if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil || len(list) != want {
				t.Errorf("/debug/rejected: %v\n%s", err, rec.Body)
			}
		})
	}
}

// The same checks hold for streams, once a series and once a value.
func TestChecksOfStreams(t *testing.T) {
	tr, err := New(nowhere(t), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	in := &inbound{t: tr, sp: tr.newSpread()}
	for i, tc := range []struct {
		name string
		s    model.Series
		want string
	}{
		{"good", model.Series{Endpoint: "h", Metric: "m", Type: model.Gauge, Step: 60}, ""},
		{"reserved", model.Series{Endpoint: "h", Metric: "kernel.hostname", Type: model.Gauge, Step: 60}, model.ReasonReserved},
		{"no name", model.Series{Metric: "m", Type: model.Gauge, Step: 60}, model.ReasonNoName},
		{"type", model.Series{Endpoint: "h", Metric: "m", Type: "X", Step: 60}, model.ReasonType},
		{"step", model.Series{Endpoint: "h", Metric: "m", Type: model.Gauge}, model.ReasonStep},
		{"too long", model.Series{Endpoint: "h", Metric: strings.Repeat("m", 511), Type: model.Gauge, Step: 60}, model.ReasonTooLong},
		{"text nobody wants", model.Series{Endpoint: "h", Metric: "m", Type: model.Gauge, Step: 60, Text: true}, model.ReasonValue},
	} {
		if got := in.Define(uint32(i+1), &tc.s); got != tc.want {
			t.Errorf("%s: refused for %q, want %q", tc.name, got, tc.want)
		}
	}
	var ack *stream.Ack
	in.Push(&stream.Points{Refs: []uint32{1, 1, 1, 1}, Times: []int64{1, 2, 3, 4}, Values: []float64{1, math.NaN(), math.Inf(1), 2}},
		func(a *stream.Ack, err error) { ack = a })
	if ack == nil || ack.Taken != 2 || len(ack.Refused) != 1 || ack.Refused[0] != (model.Refusal{Ref: 1, Reason: model.ReasonValue, N: 2}) {
		t.Errorf("ack %+v, want 2 taken and 2 refused", ack)
	}
	in.Close()
}

func TestTimestampPolicies(t *testing.T) {
	const now, step = 1_000_000, 60
	for _, tc := range []struct {
		policy   string
		ts, want int64
	}{
		{"default", 5, 5},
		{"default", 0, now},
		{"default", -1, now},
		{"default", now + 300, now + 300},
		{"default", now + 301, now},
		{"stock", 2 * now, 2 * now},
		{"stock", 2*now + 1, now},
		{"stock", 0, now},
		{"fork", now - 180, now - 180},
		{"fork", now - 181, now},
		{"fork", now + 180, now + 180},
		{"fork", now + 181, now},
		{"fork", math.MinInt64, now},
		{"default", math.MaxInt64, now},
	} {
		cfg := nowhere(t)
		cfg.TsPolicy = tc.policy
		tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.fixTime(tc.ts, now, now, step); got != tc.want {
			t.Errorf("%s: %d becomes %d, want %d", tc.policy, tc.ts, got, tc.want)
		}
	}
}

// What graph gets is aligned to the larger of step and minStep; a COUNTER travels as
// such on streams, its smallest value 0.
func TestStepsAndTypesOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t, "g:1")
		w := newWorld(t, cfg)
		defer w.end()
		g := w.peers["g:1"]
		g.start()
		it := func(metric, typ string, step, ts int64) *item {
			return &item{Endpoint: "h", Metric: metric, Value: 7.0, Step: step, Type: typ, Tags: "b=2, a=1,junk", Timestamp: ts}
		}
		w.offer(it("short", model.Gauge, 10, t0+29), it("long", model.Counter, 300, t0+299), it("derive", model.Derive, 60, t0+60))
		settle()
		g.wants("short", []int64{t0})
		g.wants("long", []int64{(t0 + 299) / 300 * 300})
		got := map[string]model.Series{}
		for _, s := range g.streams[0].series {
			got[s.Metric] = *s
		}
		for metric, want := range map[string]string{
			"short": "GAUGE 30 60 NaN a=1,b=2", "long": "COUNTER 300 600 0 a=1,b=2", "derive": "DERIVE 60 120 0 a=1,b=2",
		} {
			s := got[metric]
			if text := fmt.Sprint(s.Type, " ", s.Step, " ", s.Heartbeat, " ", s.Min, " ", s.Tags); text != want {
				t.Errorf("%s is told to graph as %s, want %s", metric, text, want)
			}
		}
	})
}

// A table under streams, pushes and forgetting at once: a held series is never
// forgotten, and what was made is released once.
func TestTableForgetsWhatIsNotUsed(t *testing.T) {
	made, released := 0, map[*series]int{}
	var mu sync.Mutex
	tab := newTable(func(rawName) *series {
		mu.Lock()
		defer mu.Unlock()
		made++
		return &series{}
	}, func(s *series) {
		mu.Lock()
		defer mu.Unlock()
		if s.holders.Load() != 0 {
			t.Error("a held series was released")
		}
		released[s]++
	})
	name := func(i int) rawName {
		return rawName{endpoint: "h", metric: fmt.Sprint("m", i), typ: model.Gauge, step: 60}
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				s, reason := tab.hold(name((i*7+g)%100), int64(i))
				if reason != "" {
					t.Errorf("hold: %s", reason)
					return
				}
				if again, _ := tab.get(s.raw, int64(i)); again != s {
					t.Error("a held series was made anew")
					return
				}
				s.drop(int64(i))
				tab.get(name(i), int64(i))
			}
		})
	}
	wg.Go(func() {
		for i := range 300 {
			tab.forget(int64(i * 10))
		}
	})
	wg.Wait()
	tab.forget(math.MaxInt64)
	tab.forget(math.MaxInt64)
	if tab.size() != 0 || len(released) != made {
		t.Errorf("%d of %d series were released, %d are left", len(released), made, tab.size())
	}
	for s, n := range released {
		if n != 1 {
			t.Errorf("%s was released %d times", s.raw.metric, n)
		}
	}
}

// The handles of a forgotten series stay until the next round: its points may be on
// their way.
func TestForgottenSeriesAreReleasedLater(t *testing.T) {
	released := 0
	tab := newTable(func(rawName) *series { return &series{} }, func(*series) { released++ })
	tab.get(rawName{endpoint: "h", metric: "m", typ: model.Gauge, step: 60}, 100)
	if n := tab.forget(101); n != 1 || released != 0 {
		t.Errorf("%d forgotten and %d released at once, want 1 and 0", n, released)
	}
	if n := tab.forget(101); n != 0 || released != 1 {
		t.Errorf("%d forgotten and %d released by the next round, want 0 and 1", n, released)
	}
}

// Names with the same hash are different series, and each is forgotten for itself.
func TestHashCollisions(t *testing.T) {
	tab := newTable(func(rawName) *series { return &series{} }, func(*series) {})
	names := []rawName{{endpoint: "a", metric: "m"}, {endpoint: "b", metric: "m"}, {endpoint: "c", metric: "m"}}
	found := map[*series]bool{}
	for i, n := range names {
		found[tab.add(n, 7, int64(i))] = true
		if tab.find(n, 7, int64(i), false) == nil {
			t.Fatalf("%v is not found", n)
		}
	}
	if len(found) != 3 {
		t.Fatalf("%d series for 3 names", len(found))
	}
	if n := tab.forget(1); n != 1 || tab.find(names[0], 7, 5, false) != nil || tab.find(names[1], 7, 5, false) == nil {
		t.Errorf("%d forgotten of a chain, want only the first", n)
	}
	tab.find(names[2], 7, 9, false)
	if n := tab.forget(6); n != 1 || tab.find(names[2], 7, 9, false) == nil || tab.find(names[1], 7, 9, false) != nil {
		t.Errorf("%d forgotten of a chain, want only the second", n)
	}
	if n := tab.forget(100); n != 1 || tab.size() != 0 {
		t.Errorf("%d forgotten, %d left", n, tab.size())
	}
}

// A flood of one reason hides no other, and costs no memory.
func TestRejectedKeepsEachReason(t *testing.T) {
	var r rejects
	now := time.Unix(1_500_000_000, 0)
	r.add(now, model.ReasonStep, &item{Metric: "rare"})
	for i := range 10_000 {
		r.add(now, model.ReasonType, &item{Metric: fmt.Sprint(i)})
	}
	r.add(now, model.ReasonNull, nil)
	list := r.list()
	if len(list) != rejectsPerReason+2 || list[0].Reason != model.ReasonStep || list[0].Item.Metric != "rare" {
		b, _ := json.Marshal(list)
		t.Errorf("kept %s", bytes.TrimSpace(b))
	}
}

// Batches in the same order, in another, with gaps and with names that are alike:
// the guess of what follows never gives another series.
func TestFollowingNeverGuessesWrong(t *testing.T) {
	tr, err := New(testConfig(t, "127.0.0.1:1"), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var names []rawName
	for i := range 200 {
		names = append(names, rawName{fmt.Sprintf("h%d", i/20), fmt.Sprintf("m%d", i%20), "", []string{"GAUGE", "COUNTER"}[i%2], 60, false})
	}
	for round := range 300 {
		if round%10 == 9 {
			rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		}
		if round%25 == 24 {
			tr.series.forget(int64(round)) // everything is forgotten, and made anew
		}
		var last *series
		for _, n := range names {
			if rnd.IntN(10) == 0 {
				continue
			}
			s, reason := tr.series.following(last, n, int64(round))
			if reason != "" || s.raw != n || s.forgotten.Load() {
				t.Fatalf("round %d: %+v gives %+v, %q", round, n, s.raw, reason)
			}
			if known := tr.series.find(n, n.sum(), int64(round), false); known != s {
				t.Fatalf("round %d: %+v is another series than the table has", round, n)
			}
			last = s
		}
	}
}
