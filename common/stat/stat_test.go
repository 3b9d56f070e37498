package stat

import (
	"encoding/json"
	"net/http/httptest"
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
