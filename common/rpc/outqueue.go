package rpc

import (
	"net"
	"sync"
	"time"
)

// An outqueue writes messages to a connection in the order in which they are
// added. Whoever adds while nobody writes becomes the writer until the queue is
// empty; others leave their bytes and go. So nothing is locked while the network
// is slow, no goroutine waits on an idle connection, and messages that meet in
// time share one system call.
type outqueue struct {
	conn    net.Conn
	timeout time.Duration // a write that takes longer ends the connection
	// written is told, by the writer, how many messages have left.
	written func(messages int)
	// failed is told once why writing has ended.
	failed func(error)

	mu       sync.Mutex
	pending  []byte
	spare    []byte
	messages int // in pending
	writing  bool
	err      error
}

// heldMax is how many bytes wait at most for a flush.
const heldMax = 32 << 10

// add appends one message by calling fill, which runs under the queue's lock, and
// returns an error, without calling fill, when the connection has already failed.
// A held message leaves with what comes next: whoever holds one calls flush before
// it waits for anything.
func (q *outqueue) add(held bool, fill func(dst []byte) []byte) error {
	q.mu.Lock()
	if q.err != nil {
		q.mu.Unlock()
		return q.err
	}
	q.fill(fill)
	q.messages++
	if held && len(q.pending) < heldMax {
		q.mu.Unlock()
		return nil
	}
	q.drain()
	return nil
}

// flush writes what is held.
func (q *outqueue) flush() {
	q.mu.Lock()
	q.drain()
}

// drain writes until the queue is empty, unless somebody is at it. It is called
// with the lock held and gives it up.
func (q *outqueue) drain() {
	if q.writing {
		q.mu.Unlock()
		return
	}
	q.writing = true
	for len(q.pending) > 0 && q.err == nil {
		b, n := q.pending, q.messages
		q.pending, q.spare, q.messages = q.spare[:0], nil, 0
		q.mu.Unlock()

		_ = q.conn.SetWriteDeadline(time.Now().Add(q.timeout)) // a closed connection says so in Write
		_, err := q.conn.Write(b)
		if q.written != nil {
			q.written(n)
		}

		q.mu.Lock()
		if cap(b) <= keepBuffer {
			q.spare = b
		}
		if err != nil && q.err == nil {
			q.err = err
			q.mu.Unlock()
			q.failed(err)
			q.mu.Lock()
		}
	}
	// An idle process is not to be woken by a deadline that nothing waits for.
	_ = q.conn.SetWriteDeadline(time.Time{})
	lost := q.messages
	if q.err != nil {
		q.pending, q.messages = nil, 0
	} else {
		lost = 0
	}
	q.writing = false
	q.mu.Unlock()
	if lost > 0 && q.written != nil {
		q.written(lost) // they will never leave, but nobody may wait for them
	}
}

// fill calls fn. When fn panics, which is a bug in somebody's encoder, the queue is
// over, since half a message may be in it, and the panic goes on.
func (q *outqueue) fill(fn func(dst []byte) []byte) {
	whole := false
	defer func() {
		if !whole {
			q.err = errEncoder
			q.pending, q.messages = nil, 0
			q.mu.Unlock()
		}
	}()
	q.pending = fn(q.pending)
	whole = true
}

// fail makes every later add return err.
func (q *outqueue) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.mu.Unlock()
}
