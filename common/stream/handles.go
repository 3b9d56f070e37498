package stream

import (
	"sync"
	"sync/atomic"

	"falcon/common/model"
)

// An entry is a series of a Sender. epoch, ref and defined tell what the present
// connection knows of it.
type entry struct {
	series  *model.Series // nil: the handle is free
	epoch   uint32        // connection that ref belongs to
	ref     uint32
	defined bool
	used    int64 // Unix seconds of the last push with a point of it
}

// A table holds the series of a Sender and what its connection knows of them.
type table struct {
	mu      sync.Mutex
	entries []entry
	free    []Handle
	epoch   uint32   // number of the connection, from 1
	refs    []Handle // by ref, of this epoch; refs[0] is not used
	forget  []uint32 // refs to be forgotten on the wire with the next push
	muted   muteBits
}

// define gives s a handle.
func (t *table) define(s *model.Series) Handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		h := t.free[n-1]
		t.free = t.free[:n-1]
		t.entries[h] = entry{series: s}
		return h
	}
	h := Handle(len(t.entries))
	t.entries = append(t.entries, entry{series: s})
	t.muted.grow(len(t.entries))
	return h
}

func (t *table) series(h Handle) *model.Series {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int(h) >= len(t.entries) {
		return nil
	}
	return t.entries[h].series
}

func (t *table) release(h Handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int(h) >= len(t.entries) || t.entries[h].series == nil {
		return
	}
	t.undefine(h)
	t.entries[h] = entry{}
	t.muted.set(h, false)
	t.free = append(t.free, h)
}

// undefine has the wire forget h. The caller holds mu.
func (t *table) undefine(h Handle) {
	e := &t.entries[h]
	if e.epoch == t.epoch && e.defined {
		t.forget = append(t.forget, e.ref)
	}
	e.defined = false
}

// connect begins with an empty dictionary, as a new connection does, and wants
// everything again: what was muted was muted on the old one.
func (t *table) connect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch++
	t.refs = append(t.refs[:0], 0)
	t.forget = t.forget[:0]
	t.muted.clear()
}

// disconnect takes back all mutes. Whoever is there next may want what the last peer
// did not; were that left out until the next connection, a peer that wants nothing
// would never be connected to again.
func (t *table) disconnect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.muted.clear()
}

// forgetIdle has the wire forget series without a point since before.
func (t *table) forgetIdle(before int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := range t.entries {
		if e := &t.entries[h]; e.defined && e.epoch == t.epoch && e.used < before {
			t.undefine(Handle(h))
		}
	}
}

// fill encodes points into p, with the definitions they need, and returns how many
// were left out because their series is muted or their handle unknown. now is in
// Unix seconds.
func (t *table) fill(p *push, points []Point, now int64) (muted, unknown int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.cols.reset()
	p.define = p.define[:0]
	p.forget = append(p.forget[:0], t.forget...)
	t.forget = t.forget[:0]
	if len(points) > 0 {
		p.cols.base = points[0].Time
	}
	anyMuted := t.muted.count.Load() > 0
	last := int64(0)
	for texts := range 2 {
		more := false
		for i := range points {
			pt := &points[i]
			if int(pt.Handle) >= len(t.entries) || t.entries[pt.Handle].series == nil {
				if texts == 0 {
					unknown++
				}
				continue
			}
			e := &t.entries[pt.Handle]
			if e.series.Text != (texts == 1) {
				more = true
				continue
			}
			if anyMuted && t.muted.get(pt.Handle) {
				muted++
				continue
			}
			if !e.defined || e.epoch != t.epoch {
				t.enter(p, pt.Handle)
			}
			e.used = now
			p.cols.refs = appendZigzag(p.cols.refs, int64(e.ref)-last)
			last = int64(e.ref)
			p.cols.times = appendZigzag(p.cols.times, pt.Time-p.cols.base)
			if texts == 0 {
				p.cols.values = appendFloat(p.cols.values, pt.Value)
			} else {
				p.cols.texts = appendText(p.cols.texts, pt.Text)
			}
		}
		if !more {
			break
		}
	}
	return muted, unknown
}

// enter puts the definition of h into p. The caller holds mu.
func (t *table) enter(p *push, h Handle) {
	e := &t.entries[h]
	if e.epoch != t.epoch {
		e.epoch = t.epoch
		e.ref = uint32(len(t.refs))
		t.refs = append(t.refs, h)
	}
	e.defined = true
	p.define = append(p.define, definition{ref: e.ref, series: e.series})
}

// handle returns what ref means on the present connection. The caller holds mu.
func (t *table) handle(ref uint32) (Handle, bool) {
	if ref == 0 || int(ref) >= len(t.refs) {
		return 0, false
	}
	h := t.refs[ref]
	e := &t.entries[h]
	return h, e.series != nil && e.epoch == t.epoch && e.ref == ref
}

// lost says that the receiver does not know refs: they are defined again with their
// next point.
func (t *table) lost(refs []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ref := range refs {
		if h, ok := t.handle(ref); ok {
			t.entries[h].defined = false
		}
	}
}

// choose returns the points whose series has one of refs.
func (t *table) choose(points []Point, refs []uint32) []Point {
	t.mu.Lock()
	defer t.mu.Unlock()
	wanted := make(map[Handle]struct{}, len(refs))
	for _, ref := range refs {
		if h, ok := t.handle(ref); ok {
			wanted[h] = struct{}{}
		}
	}
	var chosen []Point
	for _, p := range points {
		if _, ok := wanted[p.Handle]; ok {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// mute marks refs as not wanted.
func (t *table) mute(refs []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ref := range refs {
		if h, ok := t.handle(ref); ok {
			t.muted.set(h, true)
		}
	}
}

// unmute wants series again, each with its definition.
func (t *table) unmute(u *Unmute) {
	metrics := make(map[string]struct{}, len(u.Metrics))
	for _, m := range u.Metrics {
		metrics[m] = struct{}{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.muted.count.Load() == 0 {
		return
	}
	for h := range t.entries {
		if !t.muted.get(Handle(h)) {
			continue
		}
		e := &t.entries[h]
		if _, wanted := metrics[e.series.Metric]; wanted || u.All {
			t.muted.set(Handle(h), false)
			e.defined = false
		}
	}
}

// A muteBits holds one bit for each handle. It is written under the table's lock and
// read without, by owners that ask before they queue a point.
type muteBits struct {
	chunks atomic.Pointer[[]*muteChunk]
	count  atomic.Int64
}

const muteChunkBits = 1 << 15

type muteChunk [muteChunkBits / 32]atomic.Uint32

func (m *muteBits) grow(handles int) {
	var have []*muteChunk
	if p := m.chunks.Load(); p != nil {
		have = *p
	}
	if len(have)*muteChunkBits >= handles {
		return
	}
	// The old slice stays as it is for those who are reading it.
	grown := append(append(make([]*muteChunk, 0, len(have)+1), have...), new(muteChunk))
	m.chunks.Store(&grown)
}

func (m *muteBits) get(h Handle) bool {
	p := m.chunks.Load()
	if p == nil || int(h/muteChunkBits) >= len(*p) {
		return false
	}
	return (*p)[h/muteChunkBits][h%muteChunkBits/32].Load()&(1<<(h%32)) != 0
}

func (m *muteBits) set(h Handle, on bool) {
	if m.get(h) == on {
		return
	}
	word := &(*m.chunks.Load())[h/muteChunkBits][h%muteChunkBits/32]
	if on {
		word.Or(1 << (h % 32))
		m.count.Add(1)
	} else {
		word.And(^uint32(1 << (h % 32)))
		m.count.Add(-1)
	}
}

func (m *muteBits) clear() {
	p := m.chunks.Load()
	if p == nil || m.count.Load() == 0 {
		return
	}
	for _, c := range *p {
		for i := range c {
			c[i].Store(0)
		}
	}
	m.count.Store(0)
}
