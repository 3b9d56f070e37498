package judge

import (
	"fmt"
	"testing"

	"falcon/common/model"
	"falcon/common/stream"
	"falcon/common/stream/streamtest"
)

// A point of a watched series allocates nothing on its way from the wire through its rule
// into the journal.
func TestStreamAllocatesNothing(t *testing.T) {
	series := make([]model.Series, 5000)
	hosts := make([]string, len(series))
	for i := range series {
		hosts[i] = fmt.Sprint("h", i)
		series[i] = model.Series{Endpoint: hosts[i], Metric: "cpu.idle", Type: model.Gauge, Step: 60}
	}
	w := newWorld(t, book(hosts...))
	w.start()
	if n := streamtest.AllocsPerPoint(t, w.addr, stream.KindJudge, series); n > 0.05 {
		t.Errorf("%.3f allocations a point", n)
	}
}
