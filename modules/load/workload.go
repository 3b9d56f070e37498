package load

import (
	"fmt"
	"hash/fnv"
	"math"

	"falcon/common/model"
)

// workload is what is sent: endpoints with the same counters, as agents have them.
type workload struct {
	cfg     Config
	metrics []string
	seed    uint64
	first   int64 // the time of the first round, a multiple of the step
}

func newWorkload(cfg Config, first int64) *workload {
	w := &workload{cfg: cfg, metrics: make([]string, cfg.Metrics), first: first}
	for i := range w.metrics {
		w.metrics[i] = fmt.Sprintf("load.group%02d.value%04d", i%20, i)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(cfg.Prefix)) // a hash takes everything
	w.seed = h.Sum64()
	return w
}

func (w *workload) endpoint(i int) string { return fmt.Sprintf("%s-%06d", w.cfg.Prefix, i) }

// counter says whether series i is a COUNTER: a share of each endpoint's, spread evenly.
func (w *workload) counter(i int) bool {
	m := float64(i % w.cfg.Metrics)
	return math.Floor((m+1)*w.cfg.Counters) > math.Floor(m*w.cfg.Counters)
}

// series returns series i, of the endpoint i/Metrics.
func (w *workload) series(i int) model.Series {
	s := model.Series{
		Endpoint: w.endpoint(i / w.cfg.Metrics), Metric: w.metrics[i%w.cfg.Metrics], Type: model.Gauge,
		Step: w.cfg.Step, Heartbeat: 2 * w.cfg.Step, Min: math.NaN(), Max: math.NaN(),
	}
	if w.counter(i) {
		s.Type = model.Counter
	}
	return s
}

// time returns the time of a round.
func (w *workload) time(round int) int64 { return w.first + int64(round)*int64(w.cfg.Step) }

// value returns what series i has at a time: counters grow, a third of the gauges stand
// still, the others move in hundredths.
func (w *workload) value(i int, ts int64) float64 {
	slot := ts / int64(w.cfg.Step)
	noise := mix(w.seed ^ uint64(i)*0x9E3779B97F4A7C15 ^ uint64(slot)<<1)
	switch {
	case w.counter(i):
		slope := int64(60 * (1 + i%977))
		return float64(slope*slot + int64(noise%60)) // the noise is less than the slope
	case i%3 == 0:
		return float64(i % 100)
	}
	return float64(noise%10_000) / 100
}

// mix spreads the bits of x (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xBF58476D1CE4E5B9
	x ^= x >> 27
	x *= 0x94D049BB133111EB
	return x ^ x>>31
}

// A ledger has a bit for each point that was acknowledged. Different series may be marked
// at the same time as long as none share a word, which whole endpoints of connections that
// are aligned to 64 series do not; so each connection has a ledger of its own.
type ledger struct {
	from, n int // its series
	acked   []uint64
}

func newLedger(from, n, rounds int) *ledger {
	return &ledger{from: from, n: n, acked: make([]uint64, (n*rounds+63)/64)}
}

func (l *ledger) mark(i, round int) {
	at := round*l.n + i - l.from
	l.acked[at/64] |= 1 << (at % 64)
}

func (l *ledger) has(i, round int) bool {
	at := round*l.n + i - l.from
	return l.acked[at/64]&(1<<(at%64)) != 0
}
