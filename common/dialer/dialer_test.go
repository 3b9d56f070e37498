package dialer

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"falcon/common/testkit"
)

// A peer whose machine is gone is noticed when something is sent to it, and when nothing is;
// one that lives and is slow is not taken for gone.
func TestPeerIsGone(t *testing.T) {
	for name, sends := range map[string]bool{"while it is asked": true, "while nothing is said": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDialer(time.Second, 2*time.Second, time.Second)
			client, server := connect(t, d)
			slow, mute := connect(t, d)
			if err := testkit.Deafen(server.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
			for _, c := range []net.Conn{client, slow} {
				if _, err := c.Write([]byte("ask")); sends && err != nil {
					t.Fatal(err)
				}
			}
			if err := client.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("read from a peer that is gone: %v", err)
			}
			if _, err := mute.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := slow.Read(make([]byte, 1)); err != nil {
				t.Errorf("read from a peer that is slow: %v", err)
			}
		})
	}
}

// connect returns both ends of a connection.
func connect(t *testing.T, d *net.Dialer) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = d.DialContext(t.Context(), "tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// A socket of the file system has no acknowledgements.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := New(time.Second).DialContext(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
