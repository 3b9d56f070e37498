package daemon

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen opens addr, which the configuration has under key. The error names both,
// and the way out.
func Listen(key, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is taken by another process: stop that one, or write another address into %s (port 0 takes any free one)", key, addr, key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: this machine has no address %s: write 127.0.0.1, 0.0.0.0 or one of its own into %s", key, addr, key)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: %s may not be opened by this user: use a port above 1023 in %s", key, addr, key)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return ln, nil
}
