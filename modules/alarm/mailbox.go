package alarm

import (
	"context"
	"sync"
)

// mailbox is a queue without a bound: what is in it is bounded by the events that an
// alarm has in hand.
type mailbox[T any] struct {
	mu    sync.Mutex
	items []T
	ready chan struct{}
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{ready: make(chan struct{}, 1)} }

func (b *mailbox[T]) put(items ...T) {
	b.mu.Lock()
	b.items = append(b.items, items...)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take waits for items and returns up to n of them, in order; nil when ctx has ended.
// One goroutine takes.
func (b *mailbox[T]) take(ctx context.Context, n int) []T {
	for {
		if items := b.poll(n); items != nil {
			return items
		}
		select {
		case <-b.ready:
		case <-ctx.Done():
			return nil
		}
	}
}

// poll is take that does not wait.
func (b *mailbox[T]) poll(n int) []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == 0 {
		b.items = nil
		return nil
	}
	n = min(n, len(b.items))
	items := b.items[:n:n]
	b.items = b.items[n:]
	return items
}

func (b *mailbox[T]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items)
}
