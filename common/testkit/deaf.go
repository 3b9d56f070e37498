package testkit

import (
	"errors"
	"net"
	"syscall"
)

// Deafen has the kernel throw away whatever arrives on a TCP connection, unacknowledged: to
// who is at the other end this machine is gone.
func Deafen(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	nothing := []syscall.SockFilter{*syscall.LsfStmt(syscall.BPF_RET|syscall.BPF_K, 0)}
	closed := raw.Control(func(fd uintptr) { err = syscall.AttachLsf(int(fd), nothing) })
	return errors.Join(closed, err)
}
