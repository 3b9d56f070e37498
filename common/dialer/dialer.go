// Package dialer connects so that a peer is noticed which is gone without a word: its machine
// has lost its power, or its address leads elsewhere. Then nothing says so. What is sent is
// not acknowledged, and a caller waits as long as it would for a slow answer, or the kernel
// sends again for a quarter of an hour. A connection of this package ends ten seconds after
// something was sent that no machine has acknowledged, and about 35 s after the last sign of
// life when nothing was sent. How long a peer that lives takes to answer makes no difference,
// unless it does not even read for ten seconds what more is sent than its machine has room for.
package dialer

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"time"
)

// gone is for how long what was sent may be unacknowledged by the machine at the other end.
const gone = 10 * time.Second

// New returns a dialer that waits for a connection so long, or without end when timeout
// is 0.
func New(timeout time.Duration) *net.Dialer { return newDialer(timeout, gone, 30*time.Second) }

// newDialer makes a dialer whose connections are tried when nothing has come for idle.
func newDialer(timeout, gone, idle time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: idle, Interval: gone / 2, Count: 3},
		Control: func(network, _ string, c syscall.RawConn) (err error) {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			closed := c.Control(func(fd uintptr) { err = giveUpAfter(int(fd), gone) })
			return errors.Join(closed, err)
		},
	}
}
