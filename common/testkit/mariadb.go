package testkit

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A MariaDBServer is a mariadbd of one test: unlike that of MySQL, which all tests share,
// it may be killed.
type MariaDBServer struct {
	DSN string // up to the slash before the database's name
	dir string
	at  string
	cmd *exec.Cmd
	t   testing.TB
}

// MariaDB starts an empty mariadbd that ends with the test, or skips the test when there
// is none on this machine. What is committed outlives Kill, not the machine.
func MariaDB(t testing.TB) *MariaDBServer {
	t.Helper()
	for _, program := range []string{"mariadbd", "mariadb-install-db"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed: run scripts/services.sh up, or make test")
		}
	}
	dir, err := os.MkdirTemp("", "falcon-mariadb-") // not t.TempDir, whose path may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &MariaDBServer{dir: dir, at: FreeAddr(t), t: t}
	s.DSN = "root@tcp(" + s.at + ")/"
	t.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	install := exec.Command("mariadb-install-db", "--no-defaults", "--user="+whoami(t), "--datadir="+filepath.Join(dir, "data"), "--skip-test-db", "--skip-name-resolve",
		"--auth-root-authentication-method=normal", "--innodb-log-file-size=8M")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	s.Start()
	return s
}

// Addr is where it listens.
func (s *MariaDBServer) Addr() string { return s.at }

func whoami(t testing.TB) string {
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// Start starts the server at the same address, with what was committed; it is called
// after Kill.
func (s *MariaDBServer) Start() {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.at)
	if err != nil {
		s.t.Fatal(err)
	}
	// With 2 a commit is with the kernel when it is answered: it outlives the process.
	s.cmd = exec.Command("mariadbd", "--no-defaults", "--user="+whoami(s.t), "--datadir="+filepath.Join(s.dir, "data"), "--bind-address=127.0.0.1", "--port="+port,
		"--socket="+filepath.Join(s.dir, "sock"), "--skip-name-resolve", "--skip-log-bin", "--character-set-server=utf8mb4", "--max-connections=300",
		"--innodb-buffer-pool-size=48M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync",
		"--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M", "--performance-schema=OFF")
	log := filepath.Join(s.dir, "log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = out, out, orphanless()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	Eventually(s.t, 30*time.Second, func() error {
		c, err := net.DialTimeout("tcp", s.at, time.Second)
		if err != nil {
			return s.said(log, err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 4)); err != nil { // the beginning of its greeting
			return s.said(log, err)
		}
		return nil
	})
}

// said is err with the end of the log.
func (s *MariaDBServer) said(log string, err error) error {
	b, _ := os.ReadFile(log) // it may have said nothing yet
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return errors.Join(err, errors.New(strings.Join(lines[max(0, len(lines)-5):], "\n")))
}

// Pause stops the server without ending it: its connections stay open.
func (s *MariaDBServer) Pause() (resume func()) { return pause(s.cmd.Process) }

// Kill ends the server the hard way.
func (s *MariaDBServer) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	s.cmd = nil
}
