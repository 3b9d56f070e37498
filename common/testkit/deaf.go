package testkit

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// Deafen has the kernel throw away whatever arrives on a TCP connection, unacknowledged: to
// who is at the other end this machine is gone.
func Deafen(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}} // keep 0 bytes of a packet
	closed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(nothing)), Filter: &nothing[0]})
	})
	return errors.Join(closed, err)
}
