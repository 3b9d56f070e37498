package polymetric

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/portal"
)

// A rule is a row of cluster that can be worked.
type rule struct {
	row      portal.DatedAggregator
	ratio    *expr.Ratio
	counters []string
	step     time.Duration
	phase    time.Duration // of its turns within a step
}

// maxStep bounds the step of a row, a week: a turn that comes less often is a slip of
// the pen, and what is asked for is the last point of two steps.
const maxStep = 7 * 24 * 3600

// read reads a row. Rows are also written by SQL, so that anything may stand there.
func read(row portal.DatedAggregator) (*rule, error) {
	ratio, err := expr.ParseRatio(row.Numerator, row.Denominator)
	switch {
	case err != nil:
		return nil, err
	case row.Step < 1 || row.Step > maxStep:
		return nil, fmt.Errorf("step: %d is no number of seconds from 1 to %d", row.Step, maxStep)
	case row.Endpoint == "":
		return nil, errors.New("endpoint: it is empty, name the endpoint of the result")
	case row.Metric == "":
		return nil, errors.New("metric: it is empty, name the metric of the result")
	case !slices.Contains([]string{model.Gauge, model.Counter, model.Derive}, row.DsType):
		return nil, fmt.Errorf("ds_type: %q is unknown, use GAUGE, COUNTER or DERIVE", row.DsType)
	}
	r := &rule{row: row, ratio: ratio, counters: ratio.Counters(), step: time.Duration(row.Step) * time.Second}
	r.phase = phase(row.ID, r.step)
	return r, nil
}

// phase returns when in a step the turn of a row is, to the millisecond. Neighbours are
// far from each other, also when many rows have ids in sequence.
func phase(id int64, step time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strconv.FormatInt(id, 10))) // a hash takes everything
	return time.Duration(h.Sum64()%uint64(step/time.Millisecond)) * time.Millisecond
}

// turn returns the first turn after now. Steps begin where those of points do, at
// multiples of the step since 1970.
func (r *rule) turn(now time.Time) time.Time {
	at := now.UnixNano()
	next := time.Unix(0, at-at%int64(r.step)+int64(r.phase))
	if !next.After(now) {
		next = next.Add(r.step)
	}
	return next
}

// series returns what is asked of the hosts: every counter of one, then of the next.
func (r *rule) series(hosts []string) []*model.GraphLastParam {
	all := make([]*model.GraphLastParam, 0, len(hosts)*len(r.counters))
	for _, h := range hosts {
		for _, c := range r.counters {
			all = append(all, &model.GraphLastParam{Endpoint: h, Counter: c})
		}
	}
	return all
}

// item returns the result of a turn. It has the time at which the turn was to be: a turn
// that another instance has done as well makes the same point.
func (r *rule) item(value float64, turn time.Time) *model.MetricValue {
	return &model.MetricValue{
		Endpoint: r.row.Endpoint, Metric: r.row.Metric, Tags: r.row.Tags, Type: r.row.DsType,
		Step: int64(r.row.Step), Timestamp: turn.Unix(), Value: value,
	}
}
