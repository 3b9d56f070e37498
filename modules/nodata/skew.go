package nodata

import (
	"fmt"
	"time"

	"falcon/common/run"
)

// stepLimit is how far the clock of this host may be put before it matters who is right.
const stepLimit = 10 * time.Second

// theClock is what partly has of a clock that was put.
const theClock = "the clock of this host"

// moment returns the time by which series are judged: that of this host's clock, but for
// what it was put by and points did not follow. A clock that goes wrong by an hour would
// call every series silent, or none. The caller holds mu.
func (n *Nodata) moment() time.Time {
	now := n.now()
	if !n.clock.IsZero() {
		n.stepped(run.Step(n.clock, now))
	}
	n.clock = now
	return now.Add(-n.skew)
}

// stepped notes that the clock was put.
func (n *Nodata) stepped(by time.Duration) {
	if by.Abs() < stepLimit {
		return
	}
	if n.skew += by; n.skew.Abs() < stepLimit { // it was put back
		n.accept(n.skew)
		return
	}
	n.partly.Set(n.log, "series are judged by the clock as it was, until points follow", theClock, fmt.Errorf("it was put by %v, and no points follow it: look after its time", n.skew))
}

// believe gives up the clock as it was once as many series have points of now by the clock
// as it is. The caller holds mu.
func (n *Nodata) believe() {
	now := n.moment()
	if n.skew == 0 {
		return
	}
	follow := n.book.current(now.Add(n.skew).Unix())
	if follow > 0 && follow >= n.book.current(now.Unix()) {
		n.accept(n.skew)
	}
}

// accept puts what is known with the clock.
func (n *Nodata) accept(by time.Duration) {
	n.book.shift(int64(by / time.Second))
	n.skew = 0
	n.partly.Clear(theClock)
	n.log.Info("the clock of this host was put, and points follow", "by", by)
}
