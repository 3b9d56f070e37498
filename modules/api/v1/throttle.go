package v1

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Failed logins are paid for: a name and an address each have so many, and get a
// new one every so often. A success costs nothing, so a dashboard that logs
// everybody in from one address is not held up by the failures of a few.
const (
	nameBurst, nameEvery = 10, 6 * time.Second
	addrBurst, addrEvery = 30, 2 * time.Second
	// throttleKeys bounds the memory of each of the two, some 100 bytes a key.
	throttleKeys = 20_000
)

// A throttle says who has to wait before the next attempt.
type throttle struct {
	names, addrs bucket
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{
		names: bucket{now: now, burst: nameBurst, every: nameEvery, until: map[string]time.Time{}},
		addrs: bucket{now: now, burst: addrBurst, every: addrEvery, until: map[string]time.Time{}},
	}
}

// wait returns how long an attempt has to wait; 0 lets it in. The attempt is
// charged at once, so that many at the same time do not pass together; a success
// is paid back with refund.
func (t *throttle) wait(name, addr string) time.Duration {
	name, addr = strings.ToLower(name), network(addr)
	if w := t.addrs.take(addr); w > 0 {
		return w
	}
	if w := t.names.take(name); w > 0 {
		t.addrs.give(addr)
		return w
	}
	return 0
}

// refund gives back what a successful attempt has cost.
func (t *throttle) refund(name, addr string) {
	t.names.give(strings.ToLower(name))
	t.addrs.give(network(addr))
}

// network is what an address is counted as: IPv6 hosts own whole /64 networks.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

// A bucket counts by key. A key's debt is kept as the time at which it is paid off.
type bucket struct {
	now   func() time.Time
	burst int
	every time.Duration

	mu    sync.Mutex
	until map[string]time.Time
}

// take charges key, or says how long it must wait.
func (b *bucket) take(key string) time.Duration {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	until, known := b.until[key]
	if until.Before(now) {
		until = now
	}
	until = until.Add(b.every)
	if over := until.Sub(now) - time.Duration(b.burst)*b.every; over > 0 {
		return over
	}
	if !known {
		b.room(now)
	}
	b.until[key] = until
	return 0
}

func (b *bucket) give(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, known := b.until[key]
	if !known {
		return
	}
	if until = until.Add(-b.every); until.After(b.now()) {
		b.until[key] = until
	} else {
		delete(b.until, key)
	}
}

// room makes place for a key: those that owe nothing go first, else any.
func (b *bucket) room(now time.Time) {
	if len(b.until) < throttleKeys {
		return
	}
	for key, until := range b.until {
		if !until.After(now) {
			delete(b.until, key)
		}
	}
	for key := range b.until {
		if len(b.until) < throttleKeys*9/10 {
			return
		}
		delete(b.until, key)
	}
}
