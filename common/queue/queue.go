// Package queue is a bounded queue in memory that is emptied in batches; its
// subpackage spool is the same on disk.
package queue

import "sync"

// A Queue is a first-in-first-out queue of at most a fixed number of items. It is
// safe for concurrent use. Call New to get one.
type Queue[T any] struct {
	mu    sync.Mutex
	ring  []T // the items are ring[head], ring[head+1], … around the end
	head  int
	n     int
	stats Stats
	ready chan struct{}
}

// Stats counts items. At each moment In = Out + Dropped + Held.
type Stats struct {
	In      int64 // taken by Push or PushNewest
	Out     int64 // given out by Take
	Refused int64 // not taken, because the queue was full
	Dropped int64 // taken, then pushed out by newer ones
	Held    int64 // in the queue now
}

// New returns an empty queue for capacity items.
func New[T any](capacity int) *Queue[T] {
	return &Queue[T]{ring: make([]T, max(capacity, 1)), ready: make(chan struct{}, 1)}
}

// Push adds items and returns how many it took, from the front of items. It never
// blocks: when the queue is full the rest are refused.
func (q *Queue[T]) Push(items ...T) int {
	q.mu.Lock()
	n := min(len(items), len(q.ring)-q.n)
	q.add(items[:n])
	q.stats.Refused += int64(len(items) - n)
	q.mu.Unlock()
	q.wake(n)
	return n
}

// PushNewest adds all items, and lets the oldest go when there is no room. It
// returns how many were let go; of more items than the queue can hold only the
// last are kept.
func (q *Queue[T]) PushNewest(items ...T) (dropped int) {
	q.mu.Lock()
	over := max(len(items)-len(q.ring), 0)
	dropped = over
	if more := q.n + len(items) - over - len(q.ring); more > 0 {
		q.drop(more)
		dropped += more
	}
	q.add(items[over:])
	q.stats.In += int64(over)
	q.stats.Dropped += int64(dropped)
	q.mu.Unlock()
	q.wake(len(items))
	return dropped
}

func (q *Queue[T]) add(items []T) {
	tail := (q.head + q.n) % len(q.ring)
	k := copy(q.ring[tail:], items)
	copy(q.ring, items[k:])
	q.n += len(items)
	q.stats.In += int64(len(items))
}

func (q *Queue[T]) drop(n int) {
	for i := range n {
		var zero T // what the item points at may be collected
		q.ring[(q.head+i)%len(q.ring)] = zero
	}
	q.head = (q.head + n) % len(q.ring)
	q.n -= n
}

// Take moves up to limit items, oldest first, to the end of dst and returns dst.
func (q *Queue[T]) Take(dst []T, limit int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(limit, q.n)
	first := q.ring[q.head:min(q.head+n, len(q.ring))]
	dst = append(dst, first...)
	dst = append(dst, q.ring[:n-len(first)]...)
	q.drop(n)
	q.stats.Out += int64(n)
	return dst
}

// Ready receives after items were added. One value may stand for many pushes, so
// a reader takes until the queue is empty.
func (q *Queue[T]) Ready() <-chan struct{} { return q.ready }

func (q *Queue[T]) wake(n int) {
	if n == 0 {
		return
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Len returns how many items are waiting.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// Stats returns what was counted so far.
func (q *Queue[T]) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Held = int64(q.n)
	return s
}
