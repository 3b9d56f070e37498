package agent

import (
	"math"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/stream"
)

// name is how an item names its series.
type name struct {
	endpoint, metric, tags, typ string
	step                        int
	text                        bool
}

// series is a series that this agent has points of, and its handle at each sender.
type series struct {
	def     model.Series
	handles []stream.Handle // by sender
	seen    time.Time
}

// point is a value on its way out.
type point struct {
	series *series
	ts     int64 // Unix seconds, as collected or pushed
	value  float64
	text   string
}

// forgetAfter is how long a series that has no points is remembered. It must be
// longer than any point waits in the queue.
const forgetAfter = 24 * time.Hour

// seriesMap finds the series of an item.
type seriesMap struct {
	senders []*stream.Sender
	now     func() time.Time

	mu sync.Mutex
	m  map[name]*series
}

func (sm *seriesMap) get(n name) *series {
	sm.mu.Lock()
	defer sm.mu.Unlock()
	s := sm.m[n]
	if s == nil {
		s = &series{
			def: model.Series{
				Endpoint: n.endpoint, Metric: n.metric, Tags: n.tags, Type: n.typ, Step: n.step,
				Min: math.NaN(), Max: math.NaN(), Text: n.text,
			},
			handles: make([]stream.Handle, len(sm.senders)),
		}
		for i, snd := range sm.senders {
			s.handles[i] = snd.Define(&s.def)
		}
		sm.m[n] = s
	}
	s.seen = sm.now()
	return s
}

// forget drops series without points and gives their handles back.
func (sm *seriesMap) forget() {
	sm.mu.Lock()
	defer sm.mu.Unlock()
	before := sm.now().Add(-forgetAfter)
	for n, s := range sm.m {
		if s.seen.Before(before) {
			delete(sm.m, n)
			for i, snd := range sm.senders {
				snd.Release(s.handles[i])
			}
		}
	}
}

func (sm *seriesMap) size() int {
	sm.mu.Lock()
	defer sm.mu.Unlock()
	return len(sm.m)
}
