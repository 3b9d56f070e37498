// Package stat counts what a daemon does and shows it twice: in stock's shape on
// /counter/all and for Prometheus on /metrics.
package stat

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Set holds the counters of one daemon. Counters are made before the daemon
// runs; counting is safe for concurrent use.
type Set struct {
	prefix string
	reg    prometheus.Registerer
	all    prometheus.Gatherer
	now    func() time.Time

	mu   sync.Mutex // guards rows and what reading changes in them
	rows []*row
}

// row is one line of /counter/all.
type row struct {
	name  string
	value func() int64
	gauge bool // stock shows no Qps for it

	exact func() float64          // value before it was rounded; nil when it is whole
	label string                  // of the parts that points have; empty: points have the sum
	parts func() map[string]int64 // what value is the sum of; nil when it has no parts
	none  bool                    // stock has the row and we have nothing to count

	// Qps is the rate between two reads that are more than a second apart.
	last   int64
	lastAt time.Time
	qps    int64
}

// New returns the counters of the named daemon; its Prometheus metrics are called
// falcon_<daemon>_<name>.
func New(daemon string) *Set {
	reg := prometheus.NewRegistry()
	s := &Set{prefix: "falcon_" + daemon + "_", reg: reg, all: reg, now: time.Now}
	s.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

// Labeled returns a Set whose counters are shown on s's /metrics with labels, for
// things of which there are several, such as peers. They have no place on
// /counter/all; their stock name is to be empty.
func (s *Set) Labeled(labels map[string]string) *Set {
	return &Set{prefix: s.prefix, reg: prometheus.WrapRegistererWith(labels, s.reg), all: s.all, now: s.now}
}

// A Counter only grows. The zero Counter is ready and shown nowhere.
type Counter struct{ n atomic.Int64 }

// Add adds n, which must not be negative.
func (c *Counter) Add(n int) { c.n.Add(int64(n)) }

// Get returns what was counted so far.
func (c *Counter) Get() int64 { return c.n.Load() }

// Counter makes a counter. stock is its name on /counter/all, empty to leave it out
// there; name is the one for Prometheus, without the prefix.
func (s *Set) Counter(stock, name, help string) *Counter {
	c := &Counter{}
	s.CounterFunc(stock, name, help, c.Get)
	return c
}

// CounterFunc shows a count that someone else keeps.
func (s *Set) CounterFunc(stock, name, help string, value func() int64) {
	s.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: s.prefix + name, Help: help},
		func() float64 { return float64(value()) }))
	s.show(row{name: stock, value: value})
}

// GaugeFunc shows a value that also falls, such as the length of a queue.
func (s *Set) GaugeFunc(stock, name, help string, value func() float64) {
	s.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: s.prefix + name, Help: help}, value))
	s.show(row{name: stock, value: func() int64 { return rounded(value()) }, exact: value, gauge: true})
}

// rounded is v on /counter/all, which knows whole numbers only.
func rounded(v float64) int64 {
	if math.IsNaN(v) {
		return 0
	}
	return int64(math.Round(v))
}

// RateFunc shows how much a count grows, a second: between now and the last time it was
// shown that lies more than a second back.
func (s *Set) RateFunc(stock, name, help string, count func() int64) {
	var mu sync.Mutex
	var last int64
	var lastAt time.Time
	var rate float64
	s.GaugeFunc(stock, name, help, func() float64 {
		mu.Lock()
		defer mu.Unlock()
		now, n := s.now(), count()
		if d := now.Sub(lastAt); d > time.Second {
			if !lastAt.IsZero() {
				rate = float64(n-last) / d.Seconds()
			}
			last, lastAt = n, now
		}
		return rate
	})
}

// GaugesFunc shows values of things that a label tells apart, such as the lengths of
// several queues. /counter/all has their sum.
func (s *Set) GaugesFunc(label, stock, name, help string, values func() map[string]int64) {
	s.reg.MustRegister(&partsCollector{values, prometheus.GaugeValue, prometheus.NewDesc(s.prefix+name, help, []string{label}, nil)})
	s.show(row{name: stock, value: func() int64 { return total(values()) }, gauge: true, label: label, parts: values})
}

func total(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// StockOnly shows a counter of stock that can only be zero here, because the thing
// it counts does not exist; collectors expect the row.
func (s *Set) StockOnly(name string) {
	s.show(row{name: name, value: func() int64 { return 0 }, none: true})
}

func (s *Set) show(r row) {
	if r.name == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, &r)
}

// Reasons counts points by the reason for which they were refused or dropped.
type Reasons struct {
	mu sync.RWMutex
	by map[string]*Counter
}

// Reasons makes a counter with the label reason; stock is the name under which
// the sum is shown on /counter/all, and in points.
func (s *Set) Reasons(stock, name, help string) *Reasons {
	return s.parts("reason", "", stock, name, help)
}

// Parts is Reasons for what another label tells apart, such as the channel of a message.
// Points have each part by itself, with the label as a tag.
func (s *Set) Parts(label, stock, name, help string) *Reasons {
	return s.parts(label, label, stock, name, help)
}

func (s *Set) parts(label, ofPoints, stock, name, help string) *Reasons {
	r := &Reasons{by: map[string]*Counter{}}
	s.partsFunc(label, ofPoints, stock, name, help, r.All)
	return r
}

// Know makes parts that have counted nothing yet, so that they are shown as zero.
func (r *Reasons) Know(parts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parts {
		if r.by[p] == nil {
			r.by[p] = &Counter{}
		}
	}
}

// Add counts n for reason. Reasons are few and fixed; never make one of input.
func (r *Reasons) Add(reason string, n int) {
	if n == 0 {
		return
	}
	r.mu.RLock()
	c := r.by[reason]
	r.mu.RUnlock()
	if c == nil {
		r.mu.Lock()
		if c = r.by[reason]; c == nil {
			c = &Counter{}
			r.by[reason] = c
		}
		r.mu.Unlock()
	}
	c.Add(n)
}

// Get returns what was counted for reason.
func (r *Reasons) Get(reason string) int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c := r.by[reason]; c != nil {
		return c.Get()
	}
	return 0
}

// Sum returns what was counted for all reasons together.
func (r *Reasons) Sum() (n int64) {
	for _, v := range r.All() {
		n += v
	}
	return n
}

// All returns the counts by reason; the map is the caller's.
func (r *Reasons) All() map[string]int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := make(map[string]int64, len(r.by))
	for k, c := range r.by {
		m[k] = c.Get()
	}
	return m
}

// ReasonsFunc shows counts by reason that someone else keeps; stock is the name under
// which their sum is shown on /counter/all, and in points.
func (s *Set) ReasonsFunc(stock, name, help string, all func() map[string]int64) {
	s.partsFunc("reason", "", stock, name, help, all)
}

func (s *Set) partsFunc(label, ofPoints, stock, name, help string, all func() map[string]int64) {
	s.reg.MustRegister(&partsCollector{all, prometheus.CounterValue, prometheus.NewDesc(s.prefix+name, help, []string{label}, nil)})
	s.show(row{name: stock, label: ofPoints, parts: all, value: func() (sum int64) {
		for _, n := range all() {
			sum += n
		}
		return sum
	}})
}

type partsCollector struct {
	parts func() map[string]int64
	kind  prometheus.ValueType
	desc  *prometheus.Desc
}

func (c *partsCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c *partsCollector) Collect(ch chan<- prometheus.Metric) {
	for part, n := range c.parts() {
		ch <- prometheus.MustNewConstMetric(c.desc, c.kind, float64(n), part)
	}
}

// Row is one counter in stock's shape (contract query 0.4). Qps is nil for what
// stock shows without one. Other is stock's place for more: the parts of a sum.
type Row struct {
	Name  string
	Cnt   int64
	Qps   *int64 `json:",omitempty"`
	Time  string
	Other map[string]int64
}

// Sample is a counter as a point has it.
type Sample struct {
	Name string // as on /counter/all
	// Label and Part tell apart what has several values under one name; both are empty
	// for what has one.
	Label, Part string
	Value       float64
}

// Samples returns the counters of /counter/all, a sample for each part of those that
// Parts and GaugesFunc have made, without the rows that stock alone has something to
// count in.
func (s *Set) Samples() []Sample {
	s.mu.Lock()
	rows := slices.Clone(s.rows)
	s.mu.Unlock()
	out := make([]Sample, 0, len(rows))
	for _, r := range rows {
		switch {
		case r.none:
		case r.label != "":
			parts := r.parts()
			for _, part := range slices.Sorted(maps.Keys(parts)) {
				out = append(out, Sample{r.name, r.label, part, float64(parts[part])})
			}
		case r.exact != nil:
			out = append(out, Sample{Name: r.name, Value: r.exact()})
		default:
			out = append(out, Sample{Name: r.name, Value: float64(r.value())})
		}
	}
	return out
}

// Rows returns the counters in the order in which they were made. Qps is the rate
// since the last read that was more than a second ago.
func (s *Set) Rows() []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	out := make([]Row, 0, len(s.rows))
	for _, r := range s.rows {
		v := r.value()
		row := Row{Name: r.name, Cnt: v, Time: now.Format(time.DateTime), Other: map[string]int64{}}
		if r.parts != nil {
			row.Other = r.parts()
		}
		if !r.gauge {
			if d := now.Sub(r.lastAt); d > time.Second {
				if !r.lastAt.IsZero() {
					r.qps = int64(float64(v-r.last) / d.Seconds())
				}
				r.last, r.lastAt = v, now
			}
			row.Qps = new(r.qps)
		}
		out = append(out, row)
	}
	return out
}

// Value returns the counter with the given stock name, for tests and for the
// accounting on /debug pages. It reports false when there is none.
func (s *Set) Value(stock string) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.rows, func(r *row) bool { return r.name == stock })
	if i < 0 {
		return 0, false
	}
	return s.rows[i].value(), true
}

// ServeCounters writes Rows as JSON: bare as stock graph does, or wrapped in
// {"msg":"success","data":…} as stock transfer does.
func (s *Set) ServeCounters(wrapped bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var body any = s.Rows()
		if wrapped {
			body = struct {
				Msg  string `json:"msg"`
				Data any    `json:"data"`
			}{"success", body}
		}
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		_ = json.NewEncoder(w).Encode(body)
	})
}

// Metrics serves the Prometheus page.
func (s *Set) Metrics() http.Handler {
	return promhttp.HandlerFor(s.all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}
