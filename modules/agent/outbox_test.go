package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
)

func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func balance(t *testing.T, o *outbox) {
	t.Helper()
	if in, out := o.taken.Get(), o.delivered.Get()+o.dropped.Get()+o.refused.Sum()+int64(o.waiting()); in != out {
		t.Errorf("%d points queued, %d accounted for", in, out)
	}
}

// Batches arrive once and in order, when the transfer comes late as well.
func TestOutboxKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1"))
		defer w.end()
		var fs []*answered
		for i := range int64(30) {
			fs = append(fs, w.push("m", 1000+i))
			if i%10 == 0 {
				after(time.Second)
			}
			if i == 20 {
				w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
			}
		}
		after(10 * time.Second)
		if got, want := join(w.transfers["t:1"].seen()), join(list("m", 1000, 30)); got != want {
			t.Errorf("arrived %s\nwant    %s", got, want)
		}
		for i, f := range fs {
			if done, err := f.get(); !done || err != nil {
				t.Errorf("batch %d: answered %v, %v", i, done, err)
			}
		}
		balance(t, w.a.out)
	})
}

// A transfer hangs while more waits for it than a connection carries, and new connections to
// it are good. What waited does not come before what was on its way.
func TestOutboxKeepsOrderWhenATransferHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1"))
		defer w.end()
		tr := w.transfers["t:1"]
		tr.set(func(tr *transfer) { tr.up = true })
		n := int64(0)
		push := func() {
			var items []*model.MetricValue // a whole batch
			for i := range batchSize {
				items = append(items, &model.MetricValue{Endpoint: "here", Metric: fmt.Sprint("m", i), Value: 1.0, Step: 60, Type: model.Gauge, Timestamp: 1000 + n})
			}
			points, _ := w.a.points(items)
			w.a.out.add(points, nil)
			n++
			after(10 * time.Millisecond)
		}
		push()
		tr.hang()
		for range 12 {
			push()
		}
		after(2 * ackTimeout)
		push()
		after(10 * time.Second)
		var got []string
		for _, p := range tr.seen() {
			if strings.HasPrefix(p, "m7@") {
				got = append(got, p)
			}
		}
		if want := list("m7", 1000, n); join(got) != join(want) {
			t.Errorf("arrived %s\nwant    %s", join(got), join(want))
		}
		balance(t, w.a.out)
		tr.kill()
	})
}

// What a transfer has not acknowledged when it dies goes to the other one, from the
// oldest on.
func TestOutboxGoesToTheOtherTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1", "t:2"))
		defer w.end()
		for _, tr := range w.transfers {
			tr.set(func(tr *transfer) { tr.up, tr.hold = true, true })
		}
		for i := range int64(5) {
			w.push("m", 1000+i)
		}
		after(time.Second)
		// The one in use dies; the other one acknowledges.
		for _, tr := range w.transfers {
			inUse := false
			tr.set(func(tr *transfer) { inUse = tr.pushes > 0; tr.hold = inUse; tr.up = !inUse })
			if inUse {
				tr.kill()
			}
		}
		for i := range int64(5) {
			w.push("m", 1005+i)
		}
		after(10 * time.Second)
		var got []string
		for _, tr := range w.transfers {
			got = append(got, tr.seen()...)
		}
		if join(got) != join(list("m", 1000, 10)) {
			t.Errorf("arrived %s\nwant    %s", join(got), join(list("m", 1000, 10)))
		}
		balance(t, w.a.out)
	})
}

// A queue that is full lets its oldest batches go, counts them, and says so to who
// waits.
func TestOutboxDropsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		cfg.Queue.Size = 10
		w := newWorld(t, cfg)
		defer w.end()
		var fs []*answered
		for i := range int64(15) {
			fs = append(fs, w.push("m", 1000+i))
			after(50 * time.Millisecond)
			balance(t, w.a.out)
		}
		for i, f := range fs {
			if done, err := f.get(); done != (i < 5) || done && !errors.Is(err, errDropped) {
				t.Errorf("batch %d: answered %v, %v", i, done, err)
			}
		}
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(10 * time.Second)
		if got, want := join(w.transfers["t:1"].seen()), join(list("m", 1005, 10)); got != want {
			t.Errorf("arrived %s\nwant    %s", got, want)
		}
		if w.a.out.dropped.Get() != 5 {
			t.Errorf("%d points counted as dropped, want 5", w.a.out.dropped.Get())
		}
		balance(t, w.a.out)
	})
}

// Dropping batches that a transfer holds unacknowledged confuses nobody.
func TestOutboxDropsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		cfg.Queue.Size = 3
		w := newWorld(t, cfg)
		defer w.end()
		tr := w.transfers["t:1"]
		tr.set(func(tr *transfer) { tr.up, tr.hold = true, true })
		for i := range int64(8) {
			w.push("m", 1000+i)
			synctest.Wait()
			balance(t, w.a.out)
		}
		tr.set(func(tr *transfer) { tr.hold = false })
		tr.kill() // 1000 to 1004 are dropped, 1005 to 1007 are sent again
		after(10 * time.Second)
		if got, want := join(tr.seen()), join(list("m", 1005, 3)); got != want {
			t.Errorf("arrived %s\nwant    %s", got, want)
		}
		balance(t, w.a.out)
	})
}

// A transfer that is there and refuses (its spool is full) is left in peace between
// attempts.
func TestRefusingTransferIsLeftInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1", "t:2"))
		defer w.end()
		for _, tr := range w.transfers {
			tr.set(func(tr *transfer) { tr.up, tr.refuse = true, errors.New("busy: the spool is full") })
		}
		for i := range int64(20) {
			w.push("m", 1000+i)
		}
		after(time.Minute)
		pushes := 0
		for _, tr := range w.transfers {
			tr.set(func(tr *transfer) { pushes += tr.pushes; tr.refuse = nil })
		}
		if pushes > 300 {
			t.Errorf("%d pushes in a minute to transfers that refuse them", pushes)
		}
		after(10 * time.Second)
		var got []string
		for _, tr := range w.transfers {
			got = append(got, tr.seen()...)
		}
		if join(got) != join(list("m", 1000, 20)) {
			t.Errorf("arrived %s", join(got))
		}
		balance(t, w.a.out)
	})
}

// ?wait=1 is answered when a transfer has the points, and with 503 when they are
// dropped; without it success means queued.
func TestPushAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		cfg.Queue.Size = 2
		w := newWorld(t, cfg)
		defer w.end()
		post := func(url string, ts int) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			body := fmt.Sprintf(`[{"endpoint":"h","metric":"m","value":"%d","step":60,"counterType":"GAUGE","timestamp":%d},null,
			{"endpoint":"h","metric":"b","value":true,"step":60,"counterType":"GAUGE"},{"endpoint":"h","metric":"e","value":"","step":60,"counterType":"GAUGE"}]`, ts, ts)
			w.a.handler().ServeHTTP(rec, httptest.NewRequest("POST", url, strings.NewReader(body)))
			return rec
		}
		if rec := post("/v1/push", 1000); rec.Code != 200 || rec.Body.String() != "success" {
			t.Fatalf("push: %d %s", rec.Code, rec.Body)
		}
		waiting := make(chan *httptest.ResponseRecorder, 1)
		go func() { waiting <- post("/v1/push?wait=1", 1001) }()
		after(time.Minute)
		select {
		case rec := <-waiting:
			t.Fatalf("?wait=1 answers %d %s though no transfer is there", rec.Code, rec.Body)
		default:
		}
		post("/v1/push", 1002)
		post("/v1/push", 1003) // the queue of two lets 1000 and 1001 go
		if rec := <-waiting; rec.Code != http.StatusServiceUnavailable {
			t.Errorf("?wait=1 answers %d %s for points that were dropped, want 503", rec.Code, rec.Body)
		}
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(10 * time.Second)
		if rec := post("/v1/push?wait=1", 1004); rec.Code != 200 || rec.Body.String() != "success" {
			t.Errorf("?wait=1 answers %d %s", rec.Code, rec.Body)
		}
		if got := join(w.transfers["t:1"].seen()); got != join(list("m", 1002, 3)) {
			t.Errorf("arrived %s", got)
		}
		if r := w.a.refused; r.Get(model.ReasonNull) != 5 || r.Get(model.ReasonValue) != 5 || r.Get(model.ReasonNoValue) != 5 {
			t.Errorf("refused %v", r.All())
		}
	})
}

// With ?verbose=1 a push is told what was refused and why, and all that is good beside it
// is taken.
func TestVerbosePush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1"))
		defer w.end()
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		item := func(rest string) string { return `{"endpoint":"h","metric":"m","timestamp":1000` + rest + `}` }
		bad := []struct{ item, reason string }{
			{`null`, "null"},
			{`{"metric":"m","step":60,"counterType":"GAUGE","value":1}`, "no_name"},
			{item(`,"step":60,"counterType":"GUAGE","value":1`), "bad_type"},
			{item(`,"step":0,"counterType":"GAUGE","value":1`), "bad_step"},
			{item(`,"step":60,"counterType":"GAUGE","value":""`), "no_value"},
			{item(`,"step":60,"counterType":"GAUGE","value":[1]`), "bad_value"},
			{item(`,"step":60,"counterType":"GAUGE","value":1,"tags":"a=` + strings.Repeat("x", 600) + `"`), "too_long"},
			{item(`,"step":60,"counterType":"GAUGE","value":"` + strings.Repeat("x", 1025) + `"`), "too_long"},
		}
		var body []string
		for _, b := range bad {
			body = append(body, b.item, item(`,"step":60,"counterType":"GAUGE","value":1`))
		}
		rec := httptest.NewRecorder()
		w.a.handler().ServeHTTP(rec, httptest.NewRequest("POST", "/v1/push?verbose=1&wait=1", strings.NewReader("["+strings.Join(body, ",")+"]")))
		var got struct {
			Msg  string
			Data pushAnswer
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, rec.Body)
		}
		d := got.Data
		if rec.Code != 200 || got.Msg != "success" || d.Total != 2*len(bad) || d.Queued != len(bad) || d.Refused != len(bad) || len(d.Items) != len(bad) {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		for i, b := range bad {
			if it := d.Items[i]; it.Index != 2*i || it.Reason != b.reason || it.Why == "" {
				t.Errorf("%s\n got %+v\nwant %s", b.item, it, b.reason)
			}
		}
		if n := len(w.transfers["t:1"].seen()); n != len(bad) {
			t.Errorf("%d good ones arrived, want %d", n, len(bad))
		}
	})
}

// At its end an agent waits for what it has queued, but not for ever.
func TestStopDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1"))
		defer w.end()
		w.push("m", 1000)
		after(time.Second)
		go func() {
			after(3 * time.Second)
			w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		}()
		start := time.Now()
		w.stop()
		if got := join(w.transfers["t:1"].seen()); got != "m@1000" {
			t.Errorf("arrived %q", got)
		}
		if took := time.Since(start); took > 9*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1"))
		defer w.end()
		w.transfers["t:1"].set(func(tr *transfer) { tr.up, tr.hold = true, true })
		w.push("m", 1000)
		after(time.Second)
		start := time.Now()
		w.stop()
		if took := time.Since(start); took > w.a.cfg.Drain.D()+2*time.Second {
			t.Errorf("stopping took %v with a transfer that hangs", took)
		}
	})
}

// An agent that sends nowhere does not hoard.
func TestTransferDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Transfer.Enabled = false
		w := newWorld(t, cfg)
		defer w.end()
		if done, err := w.push("m", 1).get(); !done || !errors.Is(err, errOff) {
			t.Errorf("answered %v, %v", done, err)
		}
		if w.a.out.waiting() != 0 {
			t.Error("points are queued for nobody")
		}
		balance(t, w.a.out)
	})
}

// A series is remembered while its points wait, however long that is.
func TestSeriesOfWaitingPointsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig("t:1"))
		defer w.end()
		w.push("m", 1000)
		ahead := 72 * time.Hour
		w.a.series.now = func() time.Time { return time.Now().Add(ahead) }
		w.a.series.forget()
		w.a.series.forget()
		w.push("n", 1001) // takes a handle that is free
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(10 * time.Second)
		if got := join(w.transfers["t:1"].seen()); got != "m@1000 n@1001" {
			t.Errorf("arrived %s", got)
		}
		ahead += 30 * time.Hour
		w.a.series.forget()
		if n := w.a.series.size(); n != 0 {
			t.Errorf("%d series are remembered a day after their last point", n)
		}
	})
}
