// Package testkit helps tests that run real programs: it builds them, starts and
// kills them, and waits for what they do.
package testkit

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Root returns the folder of the module.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Program returns the path of the program that cmd/name builds to. make test has
// built it (FALCON_TEST_BIN names the folder); otherwise it is built here.
func Program(t testing.TB, name string) string {
	t.Helper()
	file := "falcon-" + name
	if name == "falcon" {
		file = name
	}
	if dir := os.Getenv("FALCON_TEST_BIN"); dir != "" {
		return filepath.Join(dir, file)
	}
	path := filepath.Join(t.TempDir(), file)
	cmd := exec.Command("go", "build", "-o", path, "./cmd/"+name)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/%s: %v\n%s", name, err, out)
	}
	return path
}

// Failpoints builds programs with the tag failpoint and returns the folder they are in,
// named as those of Program. FALCON_FAILPOINT then says where one dies.
func Failpoints(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-tags", "failpoint", "-ldflags", "-s -w", "-o", dir + "/"}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, "falcon-"+name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A Process is a program that a test runs.
type Process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	output output
	done   chan struct{}
	err    error // of Wait, once done is closed
}

// Start runs a program in the folder dir. When the test ends the program is killed,
// and what it printed is shown if the test failed.
func Start(t testing.TB, dir, path string, args ...string) *Process {
	t.Helper()
	return StartDeadly(t, "", dir, path, args...)
}

// StartDeadly is Start of a program that Failpoints has built, and that dies at a
// failpoint, name or name:N for the N-th time; it lives with an empty one.
func StartDeadly(t testing.TB, failpoint, dir, path string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: filepath.Base(path), cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "FALCON_FAILPOINT="+failpoint)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = orphanless()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s printed:\n%s", p.name, p.Output())
		}
	})
	return p
}

// orphanless lets a program end with the test that runs it.
func orphanless() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// PID returns the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Memory returns how much memory the program has, in bytes: its resident set.
func (p *Process) Memory() int {
	p.t.Helper()
	var size, resident int
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID()))
	if err == nil {
		_, err = fmt.Sscan(string(b), &size, &resident)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return resident * os.Getpagesize()
}

// Kill ends the program the hard way, as kill -9 does, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Pause stops the program where it stands, as a machine that hangs does, until resume
// is called.
func (p *Process) Pause() (resume func()) { return pause(p.cmd.Process) }

func pause(p *os.Process) (resume func()) {
	_ = p.Signal(syscall.SIGSTOP)
	return func() { _ = p.Signal(syscall.SIGCONT) }
}

// Terminate asks the program to end, as Stop does, and does not wait.
func (p *Process) Terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// Stop asks the program to end and fails the test if it does not within ten
// seconds, or not well.
func (p *Process) Stop() {
	p.t.Helper()
	p.Terminate()
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Errorf("%s ended with %v after SIGTERM", p.name, p.err)
		}
	case <-time.After(10 * time.Second):
		p.t.Errorf("%s still runs ten seconds after SIGTERM", p.name)
		p.Kill()
	}
}

// Dead reports whether the program has ended.
func (p *Process) Dead() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Killed reports whether the program has ended as kill -9 ends one, and not by itself.
func (p *Process) Killed() bool {
	if !p.Dead() {
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Wait returns the program's error once it has ended by itself.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Output returns what the program has printed so far.
func (p *Process) Output() string { return p.output.String() }

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Seed returns the seed of a test that does things at random: that of FALCON_SEED, which a
// log of another run names, or a new one. It repeats what the test does, and not how the
// machine is scheduled.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FALCON_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal("FALCON_SEED: ", err)
		}
	}
	Outcome(t, "FALCON_SEED=%d", seed)
	return seed
}

// Outcome logs what a trial came to. make soak, which names a file in FALCON_OUTCOMES, prints
// all of them at its end.
func Outcome(t testing.TB, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Log(text)
	name := os.Getenv("FALCON_OUTCOMES")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	dir, _ := os.Getwd() // go test runs in the folder of the package
	where, _ := filepath.Rel(Root(), dir)
	// One write, since the tests of other packages append meanwhile.
	if _, err := fmt.Fprintf(f, "%s %s: %s\n", where, t.Name(), text); err != nil {
		t.Fatal(err)
	}
}

// FreeAddr returns an address on the loopback that nobody listens on, for programs
// that must know each other before they start. It is below the ports that the kernel
// gives to connections, so none of those takes it meanwhile; and until the test ends
// no other test is given it, also not one of another package that runs beside this one.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		// An abstract name: it goes with its process, whatever becomes of that.
		mine, err := net.Listen("unix", "@falcon-test-port-"+port)
		if err != nil {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		if ln, err := net.Listen("tcp", addr); err == nil {
			_ = ln.Close()
			t.Cleanup(func() { _ = mine.Close() })
			return addr
		}
		_ = mine.Close()
	}
	t.Fatal("no free port between 20000 and 32000")
	return ""
}

// Eventually calls try until it returns nil, a few times a second. It fails the test
// with the last error when that takes longer than limit. It is for real programs;
// in one process a test waits for what it wants to happen.
func Eventually(t testing.TB, limit time.Duration, try func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %v", limit, err)
		}
	}
}

// MySQL returns the DSN prefix of a private MariaDB, up to the slash before the
// database's name, or skips the test with the reason.
func MySQL(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv("FALCON_TEST_MYSQL")
	if dsn == "" {
		t.Skip("FALCON_TEST_MYSQL is not set: run scripts/services.sh up, or make test")
	}
	if !strings.HasSuffix(dsn, "/") {
		t.Fatalf("FALCON_TEST_MYSQL is %q, want a DSN up to the slash before the database", dsn)
	}
	return dsn
}
