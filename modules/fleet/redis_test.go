package fleet

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed")
	}
}

// running starts a private Redis in dir and returns it with what ends it.
func running(t *testing.T, dir string) (*privateRedis, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := startRedis(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("end: %v", err)
		}
	}
}

func say(t *testing.T, r *privateRedis, words, want string) {
	t.Helper()
	if got, err := command(r.socket, words); err != nil || got != want {
		t.Errorf("%s: %q %v, want %q", words, got, err, want)
	}
}

func TestPrivateRedisKeepsItsMemory(t *testing.T) {
	needRedis(t)
	dir := t.TempDir()
	r, end := running(t, dir)
	say(t, r, "INCR n", ":1")
	end()
	if ping(r.socket) == nil {
		t.Fatal("it still answers after its end")
	}
	r, end = running(t, dir)
	defer end()
	say(t, r, "INCR n", ":2")
}

func TestPrivateRedisIsStartedAgain(t *testing.T) {
	needRedis(t)
	r, end := running(t, t.TempDir())
	defer end()
	say(t, r, "INCR n", ":1")
	if err := r.child.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		_, err := command(r.socket, "INCR m")
		return err
	})
	say(t, r, "INCR n", ":2")
}

// A redis-server that outlived its fleet is used on, and ends with the next one.
func TestPrivateRedisTakesOverALeftover(t *testing.T) {
	needRedis(t)
	dir := t.TempDir()
	first, err := startRedis(context.Background(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	say(t, first, "INCR n", ":1")
	second, end := running(t, dir)
	if !second.adopts {
		t.Error("a second redis-server was started beside the first")
	}
	say(t, second, "INCR n", ":2")
	end()
	<-first.child.ended
}

// The end finds a child that is dead already, or dies while another is started.
func TestPrivateRedisEndsWhateverTheChildDoes(t *testing.T) {
	needRedis(t)
	for range 5 {
		r, end := running(t, t.TempDir())
		child := r.child
		if err := child.Kill(); err != nil {
			t.Fatal(err)
		}
		<-child.ended
		end()
	}
}

func TestPrivateRedisInTheProcess(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	r, end := running(t, t.TempDir())
	defer end()
	if r.mini == nil || r.addr() == "" {
		t.Errorf("no Redis in the process: %+v", r)
	}
}

func TestLongSocketPath(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 10))
	s, err := socketPath(long)
	if err != nil || len(s) > maxSocket {
		t.Errorf("socket %q (%d bytes), %v", s, len(s), err)
	}
	if err := os.RemoveAll(filepath.Dir(s)); err != nil {
		t.Error(err)
	}
}
