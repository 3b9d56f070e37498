package fleet

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"falcon/common/conf"
	"falcon/common/run"
)

// A privateRedis is the Redis of a fleet that was given none: a redis-server of its
// own in the data folder when the machine has one, else a small one inside this
// process, which keeps nothing over a restart.
type privateRedis struct {
	dir    string // of its files
	socket string // of the child; empty for the one in the process
	log    *slog.Logger
	exe    string

	mini   *miniredis.Miniredis
	child  *redisChild // nil when a leftover was taken over
	adopts bool
}

// privateAddr stands in a wired configuration for the address of the private Redis,
// which is known once it runs.
const privateAddr conf.DSN = "unix:(private)"

// A redisChild is a redis-server that this process started.
type redisChild struct {
	*os.Process
	ended chan struct{} // closed when it has ended
	err   error         // how, once ended is closed
}

const (
	redisStart = 10 * time.Second       // what a child may take until it answers
	redisPoll  = 20 * time.Millisecond  // how often it is asked meanwhile
	redisPause = 500 * time.Millisecond // before a child that died is started again
	redisStop  = 5 * time.Second        // what its end may take
	// maxSocket is how long the path of a socket may be.
	maxSocket = 100
)

// startRedis returns once Redis answers.
func startRedis(ctx context.Context, dir string, log *slog.Logger) (*privateRedis, error) {
	r := &privateRedis{dir: dir, log: log}
	exe, err := exec.LookPath("redis-server")
	if err != nil {
		r.mini = miniredis.NewMiniRedis()
		r.mini.ClockTTL(true)
		if err := r.mini.StartAddr("127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("redis in the process: %w", err)
		}
		log.Warn("no redis-server is installed: a small one runs in this process and forgets over a restart; alarms are not lost by it", "redis", r.mini.Addr())
		return r, nil
	}
	r.exe = exe
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r.dir = abs
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if r.socket, err = socketPath(r.dir); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if ping(r.socket) == nil {
		// Ours ends with us, unless somebody killed us and it in a bad order.
		r.adopts = true
		log.Info("redis-server of the last run still serves: it is taken over", "socket", r.socket)
		return r, nil
	}
	return r, r.start(ctx)
}

// socketPath returns where the socket is: in dir, or, when its path would be too
// long for a socket, in a folder of its own among the temporary files.
func socketPath(dir string) (string, error) {
	if s := filepath.Join(dir, "redis.sock"); len(s) <= maxSocket {
		return s, nil
	}
	sum := sha256.Sum256([]byte(dir))
	short := filepath.Join(os.TempDir(), fmt.Sprintf("falcon-redis-%x", sum[:8]))
	if err := os.MkdirAll(short, 0o700); err != nil {
		return "", err
	}
	return filepath.Join(short, "redis.sock"), nil
}

// addr returns where the fleet's daemons reach it, as redisx takes it.
func (r *privateRedis) addr() string {
	if r.mini != nil {
		return r.mini.Addr()
	}
	return "unix:" + r.socket
}

// start starts a child and waits until it answers.
func (r *privateRedis) start(ctx context.Context) error {
	if err := os.Remove(r.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("redis: %w", err)
	}
	logfile := filepath.Join(r.dir, "redis.log")
	cmd := exec.Command(r.exe, "--port", "0", "--unixsocket", r.socket, "--unixsocketperm", "700", "--dir", r.dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no", "--logfile", logfile)
	// It ends when we do, however we do.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	child, started := &redisChild{ended: make(chan struct{})}, make(chan error, 1)
	go func() {
		// The signal is sent at the end of the thread that started the child, so
		// that thread stays here until the child is gone.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			child.err = cmd.Wait()
			close(child.ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", r.exe, err)
	}
	child.Process = cmd.Process
	r.child, r.adopts = child, false
	deadline := time.NewTimer(redisStart)
	defer deadline.Stop()
	poll := time.NewTicker(redisPoll)
	defer poll.Stop()
	for {
		select {
		case <-poll.C:
			if ping(r.socket) == nil {
				return nil
			}
		case <-child.ended:
			return fmt.Errorf("redis-server ended at once (%v), see %s", child.err, logfile)
		case <-deadline.C:
			_ = child.Kill() // it may just have ended
			<-child.ended
			return fmt.Errorf("redis-server does not answer within %v, see %s", redisStart, logfile)
		case <-ctx.Done():
			_ = child.Kill()
			<-child.ended
			return ctx.Err()
		}
	}
}

// Run keeps Redis there until ctx ends: a child that dies is started again.
func (r *privateRedis) Run(ctx context.Context) error {
	if r.mini != nil {
		<-ctx.Done()
		return r.stop()
	}
	for {
		err := r.watch(ctx)
		if ctx.Err() != nil {
			return r.stop()
		}
		r.log.Error("redis-server died, it is started again", "err", err)
		if !run.Sleep(ctx, redisPause) {
			return nil
		}
		if err := r.start(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// watch returns when ctx ends or Redis is gone. A leftover is no child of ours and
// does not tell its end, so it is asked.
func (r *privateRedis) watch(ctx context.Context) error {
	if r.adopts {
		for run.Sleep(ctx, redisPause) {
			if err := ping(r.socket); err != nil {
				return err
			}
		}
		return nil
	}
	select {
	case <-r.child.ended:
		return cmp.Or(r.child.err, errors.New("it ended unasked"))
	case <-ctx.Done():
		return nil
	}
}

// stop ends Redis after it has written what it knows.
func (r *privateRedis) stop() error {
	if r.mini != nil {
		r.mini.Close()
		return nil
	}
	if r.adopts {
		_, err := command(r.socket, "SHUTDOWN")
		if err != nil && ping(r.socket) == nil {
			return fmt.Errorf("end redis-server: %w", err)
		}
		return nil
	}
	if err := r.child.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end redis-server: %w", err)
	}
	timer := time.NewTimer(redisStop)
	defer timer.Stop()
	select {
	case <-r.child.ended:
	case <-timer.C:
		r.log.Warn("redis-server does not end, it is killed")
		_ = r.child.Kill()
		<-r.child.ended
	}
	return nil
}

// ping says whether a Redis answers at socket.
func ping(socket string) error {
	line, err := command(socket, "PING")
	if err == nil && line != "+PONG" {
		err = fmt.Errorf("it answers %q", line)
	}
	return err
}

// command sends one word and returns the first line of the answer.
func command(socket, word string) (string, error) {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte(word + "\r\n")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
