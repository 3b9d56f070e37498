package testkit

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A RedisServer is a redis-server of one test.
type RedisServer struct {
	Socket string // path of its only listener
	cmd    *exec.Cmd
	t      testing.TB
}

// Redis starts an empty redis-server that ends with the test, or skips the test when
// there is none on this machine. Nothing is kept on disk.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed: run scripts/services.sh up, or make test")
	}
	// Not t.TempDir, whose path may be too long for a socket.
	dir, err := os.MkdirTemp("", "falcon-redis-")
	if err != nil {
		t.Fatal(err)
	}
	s := &RedisServer{Socket: filepath.Join(dir, "sock"), t: t}
	t.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.Start()
	return s
}

// Addr returns the address as redisx takes it.
func (s *RedisServer) Addr() string { return "unix:" + s.Socket }

// Start starts the server, empty, at the same address; it is called after Kill.
func (s *RedisServer) Start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", s.Socket, "--dir", filepath.Dir(s.Socket), "--save", "", "--appendonly", "no")
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	Eventually(s.t, 10*time.Second, func() error {
		c, err := net.Dial("unix", s.Socket)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("PING\r\n")); err != nil {
			return err
		}
		_, err = bufio.NewReader(c).ReadString('\n')
		return err
	})
}

// Kill ends the server; its memory is lost.
func (s *RedisServer) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	s.cmd = nil
	_ = os.Remove(s.Socket) // it may not have made it
}
