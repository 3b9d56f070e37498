package nodata

import "sync"

// heldRounds is how many minutes of mocks one who stands by keeps: the lock of one who
// died is free long before.
const heldRounds = 2

// An outbox has the mocks that wait to be sent, the oldest first. While closed it keeps
// those of the last rounds only.
type outbox struct {
	max  int           // of items
	wake chan struct{} // has an element when there may be something to take

	mu    sync.Mutex
	open  bool
	items []Mock
	held  [][]Mock // rounds, while closed
}

func newOutbox(size int) *outbox { return &outbox{max: size, wake: make(chan struct{}, 1)} }

// add takes the mocks of a round, and returns how many of the oldest had to go.
func (o *outbox) add(round []Mock) (dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		o.held = append(o.held, round)
		o.held = o.held[max(0, len(o.held)-heldRounds):]
		return 0
	}
	return o.push(round)
}

func (o *outbox) push(mocks []Mock) (dropped int) {
	o.items = append(o.items, mocks...)
	if dropped = max(0, len(o.items)-o.max); dropped > 0 {
		o.items = append([]Mock(nil), o.items[dropped:]...)
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return dropped
}

// begin opens the box: what was held is to be sent. It returns how many had to go.
func (o *outbox) begin() (dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = true
	for _, round := range o.held {
		dropped += o.push(round)
	}
	o.held = nil
	return dropped
}

// end closes the box and returns how many were in it.
func (o *outbox) end() (left int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	left = len(o.items)
	o.open, o.items = false, nil
	return left
}

// take returns up to n mocks, which leave the box.
func (o *outbox) take(n int) []Mock {
	o.mu.Lock()
	defer o.mu.Unlock()
	n = min(n, len(o.items))
	batch := o.items[:n:n]
	o.items = o.items[n:]
	return batch
}

// giveBack puts mocks that were taken to the front again; false when the box has been
// closed meanwhile.
func (o *outbox) giveBack(batch []Mock) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		o.items = append(append([]Mock(nil), batch...), o.items...)
	}
	return o.open
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.items)
}
