package scrape

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	prom "github.com/prometheus/common/model"

	"falcon/common/model"
)

// Reasons for which a sample is not sent.
const (
	ReasonFiltered  = "filtered"  // allow or deny say so
	ReasonValue     = "value"     // it is NaN or infinite
	ReasonLimit     = "limit"     // the target has more than its limit
	ReasonDuplicate = "duplicate" // another sample of this scrape has the name, perhaps since a character was replaced
)

// A Result is what a scrape brought.
type Result struct {
	Items   []*model.MetricValue
	Dropped map[string]int // samples, by reason
	Renamed int            // samples with characters that a metric or tag can not hold
}

// Parse reads the text format of Prometheus and returns its samples as items of endpoint,
// by name, as of now (Unix seconds) where a sample has no time of its own. A body that is
// not of that format is an error and no items.
//
// A counter is a COUNTER, a gauge and what is untyped a GAUGE. A histogram is
// name_bucket, with the tag le, name_count and name_sum, and all are COUNTER; a summary
// is name, with the tag quantile, as GAUGE, and name_count and name_sum as COUNTER.
// Labels are tags; an empty one is none.
func (t *Target) Parse(body []byte, endpoint string, now int64) (Result, error) {
	parser := expfmt.NewTextParser(prom.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return Result{}, fmt.Errorf("it does not answer in the text format of Prometheus: %w", err)
	}
	r := &reader{t: t, endpoint: endpoint, now: now, seen: map[string]bool{}, Result: Result{Dropped: map[string]int{}}}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		for _, m := range families[name].GetMetric() {
			r.metric(name, families[name].GetType(), m)
		}
	}
	return r.Result, nil
}

type reader struct {
	t        *Target
	endpoint string
	now      int64
	seen     map[string]bool
	Result
}

// metric adds the samples of one metric of a family.
func (r *reader) metric(name string, kind dto.MetricType, m *dto.Metric) {
	switch kind {
	case dto.MetricType_COUNTER:
		r.sample(m, name, model.Counter, m.GetCounter().GetValue(), "", 0)
	case dto.MetricType_GAUGE:
		r.sample(m, name, model.Gauge, m.GetGauge().GetValue(), "", 0)
	case dto.MetricType_SUMMARY:
		s := m.GetSummary()
		for _, q := range s.GetQuantile() {
			r.sample(m, name, model.Gauge, q.GetValue(), prom.QuantileLabel, q.GetQuantile())
		}
		r.sums(m, name, s.SampleCount, s.SampleSum)
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		h := m.GetHistogram()
		for _, b := range h.GetBucket() {
			r.sample(m, name+"_bucket", model.Counter, float64(b.GetCumulativeCount()), prom.BucketLabel, b.GetUpperBound())
		}
		r.sums(m, name, h.SampleCount, h.SampleSum)
	default:
		r.sample(m, name, model.Gauge, m.GetUntyped().GetValue(), "", 0)
	}
}

func (r *reader) sums(m *dto.Metric, name string, count *uint64, sum *float64) {
	if count != nil {
		r.sample(m, name+"_count", model.Counter, float64(*count), "", 0)
	}
	if sum != nil {
		r.sample(m, name+"_sum", model.Counter, *sum, "", 0)
	}
}

// sample adds one sample; bound is the value of the label le or quantile, if there is
// one.
func (r *reader) sample(m *dto.Metric, name, typ string, v float64, label string, bound float64) {
	switch {
	case !r.t.wants(name):
		r.Dropped[ReasonFiltered]++
		return
	case math.IsNaN(v) || math.IsInf(v, 0):
		r.Dropped[ReasonValue]++
		return
	case len(r.Items) >= r.t.Limit:
		r.Dropped[ReasonLimit]++
		return
	}
	metric := strings.ReplaceAll(tidy(name), "/", "_") // a counter is metric/tags
	renamed := metric != name
	tags := make(map[string]string, len(m.GetLabel())+len(r.t.Tags)+1)
	for k, v := range r.t.Tags {
		tags[k] = v
	}
	for _, l := range m.GetLabel() {
		if l.GetValue() == "" {
			continue
		}
		k, v := strings.ReplaceAll(tidy(l.GetName()), "=", "_"), tidy(l.GetValue())
		renamed = renamed || k != l.GetName() || v != l.GetValue()
		tags[k] = v
	}
	if label != "" {
		tags[label] = number(bound)
	}
	it := &model.MetricValue{Endpoint: r.endpoint, Metric: metric, Value: v, Step: r.t.step(), Type: typ, Tags: model.SortedTags(tags), Timestamp: r.now}
	counter := model.CounterOf(it.Metric, it.Tags)
	if r.seen[counter] {
		r.Dropped[ReasonDuplicate]++
		return
	}
	r.seen[counter] = true
	if m.TimestampMs != nil {
		it.Timestamp = m.GetTimestampMs() / 1000
	}
	if renamed {
		r.Renamed++
	}
	r.Items = append(r.Items, it)
}

// number writes the value of le and quantile as exporters do.
func number(f float64) string {
	if math.IsInf(f, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// tidy replaces what neither a metric nor a tag can hold: blanks, which are deleted on
// the way, commas, which separate tags, and control characters.
func tidy(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == ',' || r == 0x7f || r == '\u0085' || r == '\u00a0' || r == '\u2028' || r == '\u2029' {
			return '_'
		}
		return r
	}, s)
}
