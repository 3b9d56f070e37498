package stat

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRowsHaveStocksShape(t *testing.T) {
	now := time.Date(2026, 11, 22, 4, 11, 43, 0, time.Local)
	s := New("transfer")
	s.now = func() time.Time { return now }
	recv := s.Counter("RecvCnt", "received_points_total", "Points taken.")
	s.GaugeFunc("GraphSendCacheCnt", "graph_queue_points", "Points waiting.", func() float64 { return 7 })
	s.StockOnly("LastRequestCnt")
	s.Rows()
	recv.Add(400)
	now = now.Add(10 * time.Second)
	b, err := json.Marshal(s.Rows())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"Name":"RecvCnt","Cnt":400,"Qps":40,"Time":"2026-11-22 04:11:53","Other":{}},` +
		`{"Name":"GraphSendCacheCnt","Cnt":7,"Time":"2026-11-22 04:11:53","Other":{}},` +
		`{"Name":"LastRequestCnt","Cnt":0,"Qps":0,"Time":"2026-11-22 04:11:53","Other":{}}]`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

// Two collectors that read within a second see the same rate.
func TestQpsIsKeptForASecond(t *testing.T) {
	now := time.Unix(1000, 0)
	s := New("graph")
	s.now = func() time.Time { return now }
	c := s.Counter("GraphQueryCnt", "queries_total", "Queries.")
	s.Rows()
	c.Add(20)
	now = now.Add(2 * time.Second)
	first := *s.Rows()[0].Qps
	c.Add(1000)
	now = now.Add(500 * time.Millisecond)
	if second := *s.Rows()[0].Qps; first != 10 || second != 10 {
		t.Errorf("Qps %d, then %d; want 10 both times", first, second)
	}
}

func TestReasonsAreALabel(t *testing.T) {
	s := New("transfer")
	r := s.Reasons("RecvInvalidCnt", "refused_points_total", "Points refused, by reason.")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				r.Add("bad_value", 1)
				r.Add("late", 2)
			}
		})
	}
	wg.Wait()
	for _, node := range []string{"graph-00", "graph-01"} {
		s.Labeled(map[string]string{"node": node}).Counter("", "delivered_points_total", "Points delivered.").Add(3)
	}
	rec := httptest.NewRecorder()
	s.Metrics().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`falcon_transfer_refused_points_total{reason="bad_value"} 800`,
		`falcon_transfer_refused_points_total{reason="late"} 1600`,
		`falcon_transfer_delivered_points_total{node="graph-01"} 3`,
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if v, ok := s.Value("RecvInvalidCnt"); v != 2400 || !ok {
		t.Errorf("sum %d, %v; want 2400", v, ok)
	}
}

// A point is a number under a name and at most one label; what only stock counts is none.
func TestSamples(t *testing.T) {
	now := time.Unix(1000, 0)
	s := New("alarm")
	s.now = func() time.Time { return now }
	s.Counter("told", "told_total", "Told.").Add(3)
	s.GaugeFunc("percent", "percent", "Share.", func() float64 { return 12.5 })
	s.StockOnly("LastRequestCnt")
	s.Reasons("refused", "refused_total", "Refused.").Add("late", 2)
	pops := s.Parts("queue", "pop", "popped_total", "Popped.")
	pops.Know("event:p0", "event:p1")
	pops.Add("event:p1", 4)
	s.GaugesFunc("queue", "queue.len", "waiting", "Waiting.", func() map[string]int64 { return map[string]int64{"b": 2, "a": 1} })
	calls := int64(0)
	s.RateFunc("qps", "qps", "Calls a second.", func() int64 { return calls })
	s.Samples()
	calls, now = 20, now.Add(10*time.Second)
	want := []Sample{
		{"told", "", "", 3}, {"percent", "", "", 12.5}, {"refused", "", "", 2},
		{"pop", "queue", "event:p0", 0}, {"pop", "queue", "event:p1", 4},
		{"queue.len", "queue", "a", 1}, {"queue.len", "queue", "b", 2}, {"qps", "", "", 2},
	}
	if got := s.Samples(); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	rec := httptest.NewRecorder()
	s.ServeCounters(false).ServeHTTP(rec, nil)
	for _, want := range []string{
		`{"Name":"refused","Cnt":2,"Qps":0,"Time":"` + now.Format(time.DateTime) + `","Other":{"late":2}}`,
		`{"Name":"queue.len","Cnt":3,"Time":"` + now.Format(time.DateTime) + `","Other":{"a":1,"b":2}}`,
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("/counter/all lacks %s in %s", want, rec.Body)
		}
	}
	rec = httptest.NewRecorder()
	s.Metrics().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`falcon_alarm_popped_total{queue="event:p0"} 0`, `falcon_alarm_waiting{queue="b"} 2`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}
