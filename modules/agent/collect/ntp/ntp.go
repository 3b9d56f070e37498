// Package ntp collects sys.ntp.offset: how far the clock of this host is ahead, in
// milliseconds.
package ntp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/beevik/ntp"
	"golang.org/x/sys/unix"

	"falcon/modules/agent/collect"
)

// Collector asks NTP servers, or the kernel.
type Collector struct {
	servers []string
	query   func(server string, timeout time.Duration) (ahead time.Duration, err error)
	kernel  func() (ahead time.Duration, synchronised bool, err error)
}

// timeout is how long one server may take.
const timeout = 2 * time.Second

// New returns a collector that asks the servers (host or host:port) in their order, the
// first that answers; without any, the kernel, which knows what its NTP daemon still has
// to correct.
func New(servers []string) *Collector {
	return &Collector{servers: servers, query: query, kernel: kernel}
}

// Deadline lets every server be asked.
func (c *Collector) Deadline() time.Duration {
	return time.Duration(len(c.servers)+1) * timeout
}

// Collect returns sys.ntp.offset, positive when the clock is ahead; nothing when the
// kernel says that nobody keeps its clock.
func (c *Collector) Collect(ctx context.Context) ([]collect.Item, error) {
	if len(c.servers) == 0 {
		ahead, synchronised, err := c.kernel()
		if err != nil || !synchronised {
			return nil, err
		}
		return offset(ahead), nil
	}
	var errs []error
	for _, s := range c.servers {
		if ctx.Err() != nil {
			break
		}
		ahead, err := c.query(s, timeout)
		if err == nil {
			return offset(ahead), nil
		}
		errs = append(errs, fmt.Errorf("ask NTP server %s: %w", s, err))
	}
	return nil, errors.Join(errs...)
}

func offset(ahead time.Duration) []collect.Item {
	return []collect.Item{collect.G("sys.ntp.offset", float64(ahead)/float64(time.Millisecond))}
}

// query asks a server. Its offset is what has to be added to our clock.
func query(server string, timeout time.Duration) (time.Duration, error) {
	resp, err := ntp.QueryWithOptions(server, ntp.QueryOptions{Timeout: timeout})
	if err != nil {
		return 0, err
	}
	if err := resp.Validate(); err != nil {
		return 0, err
	}
	return -resp.ClockOffset, nil
}

// kernel reads the state of the kernel's clock; it changes nothing.
func kernel() (ahead time.Duration, synchronised bool, err error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return 0, false, nil // a container or a sandbox forbids to look
	}
	if err != nil {
		return 0, false, fmt.Errorf("adjtimex: %w", err)
	}
	unit := time.Microsecond
	if t.Status&unix.STA_NANO != 0 {
		unit = time.Nanosecond
	}
	return -time.Duration(t.Offset) * unit, state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, nil
}
