package dialer

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpAfter bounds for how long sent bytes may be unacknowledged (tcp(7), TCP_USER_TIMEOUT).
func giveUpAfter(fd int, most time.Duration) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(most.Milliseconds())))
}
