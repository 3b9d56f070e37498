package v1

import (
	"sync"
	"time"
)

// maxCallers bounds the memory of a callerCache, some 500 bytes a caller.
const maxCallers = 10_000

// A callerCache remembers for a moment whom a signature has proved to be, so that a
// page that asks twenty things at once reads its session once. Every change made
// through this api empties it; changes made elsewhere count when life is over.
type callerCache struct {
	life time.Duration
	now  func() time.Time

	mu  sync.Mutex
	gen int // counts forgets
	m   map[callerKey]cachedCaller
}

type callerKey struct{ name, sig string }

type cachedCaller struct {
	Caller
	until time.Time
}

// get returns a caller who was proved a moment ago, and the generation to put a
// fresh one under.
func (c *callerCache) get(name, sig string) (caller Caller, gen int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.m[callerKey{name, sig}]
	return e.Caller, c.gen, ok && c.now().Before(e.until)
}

// put remembers a caller who was proved by reads that began at gen. When something
// has changed since, he is not remembered: the reads may be older than the change.
func (c *callerCache) put(name, sig string, caller Caller, gen int) {
	if c.life <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if gen != c.gen {
		return
	}
	if c.m == nil || len(c.m) >= maxCallers {
		c.m = map[callerKey]cachedCaller{}
	}
	c.m[callerKey{name, sig}] = cachedCaller{caller, c.now().Add(c.life)}
}

// forget empties the cache.
func (c *callerCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	c.m = nil
}
