package polymetric

import (
	"math"
	"time"

	"falcon/common/model"
)

// A Host is a member of a group. It is in maintenance from MaintainBegin to
// MaintainEnd, both Unix seconds and included; hosts whose end is 0 are not.
type Host struct {
	Name          string
	MaintainBegin int64
	MaintainEnd   int64
}

// present returns the names of the hosts that count at now: those that are not in
// maintenance, each once, also when a group has a host twice.
func present(hosts []Host, now time.Time) []string {
	names, seen := make([]string, 0, len(hosts)), make(map[string]bool, len(hosts))
	for _, h := range hosts {
		if at := now.Unix(); h.Name == "" || h.MaintainBegin <= at && at <= h.MaintainEnd || seen[h.Name] {
			continue
		}
		seen[h.Name] = true
		names = append(names, h.Name)
	}
	return names
}

// An outcome is what a turn of a row came to.
type outcome struct {
	hosts int // of the group, without those in maintenance
	valid int // with every counter
	// lacking are the first of the series that have no point, or none that is new enough.
	lacking  []string
	nLacking int
	item     *model.MetricValue // nil: there is no result, for err
	err      error              // one of expr's, or why a question had no answer
}

// maxLacking bounds outcome.lacking, which people read.
const maxLacking = 5

// evaluate computes the turn of a rule over hosts from their last points, which were
// asked for until now. A host counts when every
// counter has a point that is at most two steps old and not of the future (contract
// query 4.1).
func (r *rule) evaluate(hosts []string, points map[model.GraphLastParam]model.RRDData, turn, now time.Time) outcome {
	out := outcome{hosts: len(hosts)}
	newest := now.Unix()
	oldest := newest - 2*int64(r.row.Step)
	var valid [][]float64
	for _, h := range hosts {
		values := make([]float64, 0, len(r.counters))
		for _, c := range r.counters {
			p, ok := points[model.GraphLastParam{Endpoint: h, Counter: c}]
			if v := float64(p.Value); ok && oldest <= p.Timestamp && p.Timestamp <= newest && !math.IsNaN(v) {
				values = append(values, v)
				continue
			}
			if out.nLacking++; len(out.lacking) < maxLacking {
				out.lacking = append(out.lacking, h+"/"+c)
			}
		}
		if len(values) == len(r.counters) {
			valid = append(valid, values)
		}
	}
	out.valid = len(valid)
	v, err := r.ratio.Eval(valid)
	if err != nil {
		out.err = err
		return out
	}
	out.item = r.item(v, turn)
	return out
}
