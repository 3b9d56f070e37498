package transfer

import (
	"fmt"
	"math"
	"testing"

	"falcon/common/model"
	"falcon/common/stream"
	"falcon/common/stream/streamtest"
)

// A point of a known series allocates nothing on its way from one stream to the next.
func TestStreamAllocatesNothing(t *testing.T) {
	series := make([]model.Series, 5000)
	for i := range series {
		series[i] = model.Series{Endpoint: fmt.Sprint("h", i/100), Metric: fmt.Sprint("m", i%100), Type: model.Gauge, Step: 60, Heartbeat: 120, Min: math.NaN(), Max: math.NaN()}
	}
	if n := streamtest.AllocsPerPoint(t, transferTo(t, serveStreams(t)), stream.KindPoints, series); n > 0.05 {
		t.Errorf("%.3f allocations a point", n)
	}
}
