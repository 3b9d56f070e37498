package transfer

import (
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"falcon/common/model"
)

const tableShards = 64

// A series is what transfer has found out about the points that name it so: it is
// checked, hashed and placed once; of that nothing changes.
type series struct {
	def     model.Series // what graph and judge are told: tags sorted, the step at least minStep
	pk      string
	step    int64    // seconds, what graph and judge get: at least minStep
	targets []target // every address its points go to

	raw  rawName
	hash uint64
	next *series      // with the same hash; guarded by the table
	seen atomic.Int64 // Unix seconds

	holders atomic.Int64 // streams that have a ref for it

	after     atomic.Pointer[series] // what came behind it in a batch the last time
	forgotten atomic.Bool            // no longer in the table
}

// rawName is how a pushed item names its series.
type rawName struct {
	endpoint, metric, tags, typ string
	step                        int64
	text                        bool // its values are strings
}

// clone returns n with strings of its own, side by side, so that to compare them
// with others touches little memory.
func (n *rawName) clone() rawName {
	all := n.endpoint + n.metric + n.tags + n.typ
	cut := func(s string) (part string) {
		part, all = all[:len(s)], all[len(s):]
		return part
	}
	out := *n
	out.endpoint, out.metric, out.tags, out.typ = cut(n.endpoint), cut(n.metric), cut(n.tags), cut(n.typ)
	return out
}

func (n *rawName) sum() uint64 {
	// Each part is hashed on its own, since together they are no unique text.
	const k = 0x9e3779b97f4a7c15
	h := xxhash.Sum64String(n.endpoint)
	h = h*k ^ xxhash.Sum64String(n.metric)
	h = h*k ^ xxhash.Sum64String(n.tags)
	h = h*k ^ uint64(n.step)
	if n.typ != "" {
		h ^= uint64(n.typ[0]) << 56
	}
	if n.text {
		h = ^h
	}
	return h
}

// table finds the series of a pushed item. Names that nobody pushed for a while are
// forgotten.
type table struct {
	make    func(n rawName) *series // places a new series
	release func(*series)           // gives back what make took
	dying   []*series               // forgotten; points of them may still be on their way
	shards  [tableShards]struct {
		mu sync.RWMutex
		m  map[uint64]*series
		_  [64]byte // a shard a cache line
	}
}

func newTable(place func(n rawName) *series, release func(*series)) *table {
	t := &table{make: place, release: release}
	for i := range t.shards {
		t.shards[i].m = map[uint64]*series{}
	}
	return t
}

// get returns the series of n, or the reason for which it is refused. The strings
// of n may be reused after get returns.
func (t *table) get(n rawName, now int64) (*series, string) {
	h := n.sum()
	if s := t.find(n, h, now, false); s != nil {
		return s, ""
	}
	if reason := model.CheckName(n.endpoint, n.metric, n.tags, n.typ, n.step); reason != "" {
		return nil, reason
	}
	return t.add(n, h, now), ""
}

// following is get for an item that came behind one of prev, which may be nil. Who
// pushes names its series in the same order each time, so this mostly is the series
// that came behind prev the last time, and then nothing is hashed or looked up.
func (t *table) following(prev *series, n rawName, now int64) (*series, string) {
	if prev == nil {
		return t.get(n, now)
	}
	// A series that is forgotten at this moment keeps what it has until the next
	// call of forget, which is long enough for this point.
	if s := prev.after.Load(); s != nil && s.raw == n && !s.forgotten.Load() {
		if s.seen.Load() != now {
			s.seen.Store(now)
		}
		return s, ""
	}
	s, reason := t.get(n, now)
	if reason == "" {
		prev.after.Store(s)
	}
	return s, reason
}

// hold is get for a stream, which keeps the series until it calls drop.
func (t *table) hold(n rawName, now int64) (*series, string) {
	for {
		s, reason := t.get(n, now)
		if reason != "" {
			return nil, reason
		}
		// Between get and here nobody forgets it: it was seen just now.
		if s := t.find(n, s.hash, now, true); s != nil {
			return s, ""
		}
	}
}

// find looks n up, notes that it was seen, and holds it when asked to. It does both
// under the lock that forget takes, so that a series in use is never forgotten.
func (t *table) find(n rawName, h uint64, now int64, hold bool) *series {
	sh := &t.shards[h%tableShards]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for s := sh.m[h]; s != nil; s = s.next {
		if s.raw == n {
			if s.seen.Load() != now {
				s.seen.Store(now)
			}
			if hold {
				s.holders.Add(1)
			}
			return s
		}
	}
	return nil
}

// drop undoes hold; now is when the stream used it last.
func (s *series) drop(now int64) {
	s.seen.Store(now)
	s.holders.Add(-1)
}

func (t *table) add(n rawName, h uint64, now int64) *series {
	n = n.clone()
	made := t.make(n)
	made.raw, made.hash = n, h
	made.seen.Store(now)
	sh := &t.shards[h%tableShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for s := sh.m[h]; s != nil; s = s.next {
		if s.raw == n {
			t.release(made)
			return s // somebody else was faster
		}
	}
	made.next = sh.m[h]
	sh.m[h] = made
	return made
}

// forget drops what was not pushed since the Unix time before, and returns how many
// series that were. What make took for them is released by the next call, since
// points of a series may be on their way for a while after it was seen; so a clock
// that jumps harms nobody. It is called by one goroutine at a time.
func (t *table) forget(before int64) (n int) {
	for _, s := range t.dying {
		t.release(s)
	}
	clear(t.dying)
	t.dying = t.dying[:0]
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for h, head := range sh.m {
			link := &head
			for s := *link; s != nil; s = *link {
				if s.seen.Load() < before && s.holders.Load() == 0 {
					*link = s.next
					s.forgotten.Store(true)
					t.dying = append(t.dying, s)
				} else {
					link = &s.next
				}
			}
			if head == nil {
				delete(sh.m, h)
			} else {
				sh.m[h] = head
			}
		}
		sh.mu.Unlock()
	}
	return len(t.dying)
}

// size returns how many series are known; names with one hash count once.
func (t *table) size() (n int) {
	for i := range t.shards {
		t.shards[i].mu.RLock()
		n += len(t.shards[i].m)
		t.shards[i].mu.RUnlock()
	}
	return n
}
