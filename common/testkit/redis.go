package testkit

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A RedisServer is a redis-server of one test.
type RedisServer struct {
	Socket string // path of its only listener
	args   []string
	cmd    *exec.Cmd
	t      testing.TB
}

// Redis starts an empty redis-server that ends with the test, or skips the test when
// there is none on this machine. Nothing is kept on disk, unless args say so: with
// "--appendonly", "yes" it remembers over Kill and Start.
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed: run scripts/services.sh up, or make test")
	}
	// Not t.TempDir, whose path may be too long for a socket.
	dir, err := os.MkdirTemp("", "falcon-redis-")
	if err != nil {
		t.Fatal(err)
	}
	s := &RedisServer{Socket: filepath.Join(dir, "sock"), args: args, t: t}
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

// Start starts the server at the same address, empty unless it keeps what it has on
// disk; it is called after Kill.
func (s *RedisServer) Start() {
	s.t.Helper()
	args := []string{"--port", "0", "--unixsocket", s.Socket, "--dir", filepath.Dir(s.Socket), "--save", ""}
	if s.args == nil {
		args = append(args, "--appendonly", "no")
	}
	s.cmd = exec.Command("redis-server", append(args, s.args...)...)
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
		answer, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && !strings.HasPrefix(answer, "+PONG") { // it may read its file yet
			err = errors.New(answer)
		}
		return err
	})
}

// Pause stops the server without ending it: its connections stay open.
func (s *RedisServer) Pause() (resume func()) { return pause(s.cmd.Process) }

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

// KillBehind ends the server after d, and with it what it was told meanwhile: its append-only
// file is behind, as with appendfsync everysec on a slow disk, for two seconds at most.
func (s *RedisServer) KillBehind(d time.Duration) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(s.Socket), "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("redis has no append-only file: %v", err)
	}
	sizes := map[string]int64{}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil { // else it was rewritten just now
			sizes[f] = info.Size()
		}
	}
	<-time.After(d)
	s.Kill()
	for f, size := range sizes {
		if info, err := os.Stat(f); err != nil || info.Size() <= size {
			continue
		}
		if err := os.Truncate(f, size); err != nil {
			s.t.Fatal(err)
		}
	}
}
