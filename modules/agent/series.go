package agent

import (
	"math"
	"sync"
	"sync/atomic"
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
	waiting atomic.Int64 // its points in the outbox
}

// point is a value on its way out.
type point struct {
	series *series
	ts     int64 // Unix seconds, as collected or pushed
	value  float64
	text   string
}

const (
	// forgetAfter is how long a series that has no points is remembered.
	forgetAfter = 24 * time.Hour
	// forgetEvery is longer than a sender holds a point: a forgotten series keeps its
	// handles for that long.
	forgetEvery = time.Hour
)

// seriesMap finds the series of an item.
type seriesMap struct {
	senders []*stream.Sender
	now     func() time.Time

	mu    sync.Mutex
	m     map[name]*series
	dying []*series // forgotten; a sender that was given up may still have points of them
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

// forget drops series without points. Their handles are given back by the next call.
func (sm *seriesMap) forget() {
	sm.mu.Lock()
	defer sm.mu.Unlock()
	for _, s := range sm.dying {
		for i, snd := range sm.senders {
			snd.Release(s.handles[i])
		}
	}
	clear(sm.dying)
	sm.dying = sm.dying[:0]
	before := sm.now().Add(-forgetAfter)
	for n, s := range sm.m {
		if s.seen.Before(before) && s.waiting.Load() == 0 {
			delete(sm.m, n)
			sm.dying = append(sm.dying, s)
		}
	}
}

func (sm *seriesMap) size() int {
	sm.mu.Lock()
	defer sm.mu.Unlock()
	return len(sm.m)
}
