package graph

import (
	"fmt"
	"math"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/stream"
	"falcon/common/stream/streamtest"
)

// A point of a known series allocates nothing on its way from the wire to the log.
func TestStreamAllocatesNothing(t *testing.T) {
	w := start(t, func(_ *Config, d *Deps) { d.Now = time.Now })
	series := make([]model.Series, 5000)
	for i := range series {
		series[i] = model.Series{Endpoint: fmt.Sprint("h", i/100), Metric: fmt.Sprint("m", i%100), Type: []string{model.Gauge, model.Counter}[i%2], Step: 60, Heartbeat: 120, Min: math.NaN(), Max: math.NaN()}
	}
	if n := streamtest.AllocsPerPoint(t, w.addr, stream.KindGraph, series); n > 0.05 {
		t.Errorf("%.3f allocations a point", n)
	}
}
