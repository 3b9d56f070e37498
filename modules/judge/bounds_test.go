package judge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/stream"
	"falcon/common/testkit"
)

// As many events wait for Redis as may: no point is taken by any way in, who sends it
// keeps it, and a kill changes nothing. Once Redis is back the judge goes on by itself, and
// each event comes once.
func TestPointsWaitForRedis(t *testing.T) {
	w := newWorld(t, book("h1"))
	w.change = func(c *Config) { c.Alarm.MaxWaiting = 2 }
	w.start()
	w.meets()
	now := time.Now().Unix()
	w.mustSend(point(now-300, 1))
	s := w.stream()
	h1 := s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})

	w.r.SetError("LOADING away")
	w.mustSend(point(now-240, 1), point(now-180, 50)) // begins and ends
	busy := func() {
		t.Helper()
		if n := w.out.Waiting(); n != 2 {
			t.Fatalf("%d events wait", n)
		}
		_, text := w.Judge.sendTexts(t.Context(), nil, &[]*model.StringItem{textPoint(now, "down")})
		for way, err := range map[string]error{
			"Judge.Send":       w.send(point(now-120, 1), point(now-60, 1)),
			"StringJudge.Send": text,
			"stream":           s.push(stream.Point{Handle: h1, Time: now - 120, Value: 1}).Err,
		} {
			if err == nil || !strings.Contains(err.Error(), "2 events wait for redis (alarm.maxWaiting)") {
				t.Errorf("%s: %v", way, err)
			}
		}
		if err := w.health(); err == nil || !strings.Contains(err.Error(), "alarm.maxWaiting") {
			t.Errorf("health: %v", err)
		}
		if n := w.refusedBusy.All()["redis"]; n != 3 {
			t.Errorf("%d batches were kept back", n)
		}
	}
	busy()
	w.killAndStart()
	s = w.stream()
	h1 = s.Define(&model.Series{Endpoint: "h1", Metric: "cpu.idle", Type: "GAUGE", Step: 60})
	busy()

	w.r.SetError("")
	w.waitTold("PROBLEM 1", "OK 1")
	testkit.Eventually(t, 20*time.Second, w.health)
	if r := s.push(stream.Point{Handle: h1, Time: now - 120, Value: 1}, stream.Point{Handle: h1, Time: now - 60, Value: 1}); r.Err != nil {
		t.Error(r.Err)
	}
	w.waitTold("PROBLEM 1", "OK 1", "PROBLEM 1")
	testkit.Eventually(t, 20*time.Second, w.health)
}

// A judge that no hbs has told any rules keeps the points of as many series as it may, and
// takes no more until one does.
func TestSeriesThatWaitForRulesAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	w.change = func(c *Config) { c.HBS.MaxWaiting = 3 }
	w.start()
	now := time.Now().Unix()
	of := func(i int) *model.JudgeItem {
		p := point(now-60, 1)
		p.Endpoint = fmt.Sprint("h", i)
		return p
	}
	w.mustSend(point(now-120, 1), of(1), of(2), of(3))
	for range 2 {
		if err := w.send(of(4)); err == nil || !strings.Contains(err.Error(), "3 series wait until an hbs") {
			t.Errorf("a fourth series: %v", err)
		}
		if err := w.health(); err == nil || !strings.Contains(err.Error(), "hbs.servers") {
			t.Errorf("health: %v", err)
		}
		if n := w.refusedBusy.All()["hbs"]; n != 1 {
			t.Errorf("%d batches were kept back", n)
		}
		w.killAndStart() // those that wait are counted again
	}
	w.changed(book("h1", "h4"))
	w.waitTold("PROBLEM 1")
	w.mustSend(of(4))
	if n := w.table.waiting.Load(); n != 0 {
		t.Errorf("%d series wait with rules in force", n)
	}
	w.close()
	if kept, _ := w.table.sizes(); kept != 2 || w.table.waiting.Load() != 0 {
		t.Errorf("%d series are kept, %d wait", kept, w.table.waiting.Load())
	}
}

// What waits is forgotten like anything else, and then does not wait.
func TestForgottenSeriesDoNotWait(t *testing.T) {
	w := newWorld(t, nil)
	w.start()
	w.mustSend(point(time.Now().Unix(), 1))
	e := w.entry("h1")
	e.shard.mu.Lock()
	e.forget()
	e.shard.mu.Unlock()
	if n := w.table.waiting.Load(); n != 0 {
		t.Errorf("%d series wait", n)
	}
}
