package transfer

import (
	"math"
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

// rejects keeps some of the items that were refused, for people who ask why.
type rejects struct {
	mu   sync.Mutex
	kept []reject
	next int
}

type reject struct {
	Time   string `json:"time"`
	Reason string `json:"reason"`
	Item   *item  `json:"item"`
}

const keptRejects = 100

// refuse counts an item and keeps it for /debug/rejected, unless many are refused
// at the same moment.
func (t *Transfer) refuse(reason string, it *item) {
	t.refused.Add(reason, 1)
	if !t.rejected.mu.TryLock() {
		return
	}
	defer t.rejected.mu.Unlock()
	r := reject{t.now().Format(time.RFC3339), reason, nil}
	if it != nil {
		r.Item = it.detached()
	}
	if len(t.rejected.kept) < keptRejects {
		t.rejected.kept = append(t.rejected.kept, r)
		return
	}
	t.rejected.kept[t.rejected.next%keptRejects] = r
	t.rejected.next++
}

func (r *rejects) list() []reject {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]reject{}, r.kept...)
}
