package transfer

import (
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"falcon/common/model"
)

// A watch keeps the newest points of one series, for /trace and /filter.
type watch struct {
	pk        string
	op        string // "" takes every value
	threshold float64
	keep      int

	mu   sync.Mutex
	seen []watched // newest last
}

// watched is a point as stock prints it.
type watched struct{ Value model.MetaData }

func (w *watch) same(o *watch) bool {
	return w.pk == o.pk && w.op == o.op && w.threshold == o.threshold
}

// see notes a point of s if it is the one that is looked for. ts is as received.
func (w *watch) see(s *series, ts int64, v float64) {
	if s.pk != w.pk || !w.takes(v) {
		return
	}
	m := model.MetaData{
		Endpoint: s.def.Endpoint, Metric: s.def.Metric, Timestamp: ts, Step: s.raw.step,
		Value: v, CounterType: s.def.Type, Tags: model.ParseTags(s.def.Tags),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen = append(w.seen, watched{m}); len(w.seen) > w.keep {
		w.seen = w.seen[1:]
	}
}

func (w *watch) takes(v float64) bool {
	const tolerance = 1e-6
	switch d := v - w.threshold; w.op {
	case "eq":
		return math.Abs(d) < tolerance
	case "ne":
		return math.Abs(d) >= tolerance
	case "gt":
		return d > tolerance
	case "lt":
		return d < -tolerance
	}
	return true
}

// newest returns what was seen, newest first.
func (w *watch) newest() []watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]watched, 0, len(w.seen))
	for i := len(w.seen) - 1; i >= 0; i-- {
		out = append(out, w.seen[i])
	}
	return out
}

// rejects keeps some of the items that were refused, for people who ask why: the
// newest of each reason, so that a flood of one reason hides no other.
type rejects struct {
	mu     sync.Mutex
	second int64 // Unix time that taken counts in
	taken  int
	kept   map[string]*lastRejects
}

type lastRejects struct {
	ring [rejectsPerReason]reject
	n    int // ever kept
}

type reject struct {
	Time   string `json:"time"`
	Reason string `json:"reason"`
	Item   *item  `json:"item"`
}

const (
	rejectsPerReason = 20
	rejectsPerSecond = 100
)

// refuse counts an item and keeps it for /debug/rejected, but of a flood only some.
func (t *Transfer) refuse(reason string, it *item) {
	t.refused.Add(reason, 1)
	t.rejected.add(t.now(), reason, it)
}

func (r *rejects) add(now time.Time, reason string, it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := now.Unix(); s != r.second {
		r.second, r.taken = s, 0
	}
	last := r.kept[reason]
	if r.taken++; r.taken > rejectsPerSecond && last != nil {
		return
	}
	if last == nil {
		if r.kept == nil {
			r.kept = map[string]*lastRejects{}
		}
		last = &lastRejects{}
		r.kept[reason] = last
	}
	j := reject{Time: now.UTC().Format(time.RFC3339), Reason: reason}
	if it != nil {
		j.Item = it.detached()
	}
	last.ring[last.n%rejectsPerReason] = j
	last.n++
}

// list returns what is kept, by reason, the newest first.
func (r *rejects) list() []reject {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []reject{}
	for _, reason := range slices.Sorted(maps.Keys(r.kept)) {
		last := r.kept[reason]
		for i := 1; i <= min(last.n, rejectsPerReason); i++ {
			out = append(out, last.ring[(last.n-i)%rejectsPerReason])
		}
	}
	return out
}
