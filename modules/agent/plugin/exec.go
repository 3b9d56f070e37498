package plugin

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"falcon/common/run"
)

// Reasons for which a run counts as failed and its output is discarded.
const (
	ReasonStart   = "not_started"
	ReasonTimeout = "timeout"
	ReasonStopped = "stopped" // the plugin was removed or changed, or the agent stops
	ReasonOutput  = "output_too_large"
	ReasonExit    = "exit_status"
	ReasonJSON    = "not_json"
)

// A failure is why the output of a run is not taken.
type failure struct {
	reason string
	err    error
}

func (f *failure) Error() string { return f.err.Error() }

// marker is the variable by which the processes of a run are known, also those that
// have left its process group.
const marker = "FALCON_PLUGIN_RUN"

// maxStderr is how much of the standard error is kept.
const maxStderr = 1 << 20

// execute runs a program in a process group of its own within limit and returns what it
// wrote. It is over when the program has ended and nobody holds its output any more;
// when time is up, ctx ends or the output is larger than maxOutput, all its processes
// are killed. They are gone, or in the hands of init, when execute returns.
func execute(ctx context.Context, limit time.Duration, maxOutput int, program string, args []string) (stdout, stderr []byte, err error) {
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, nil, &failure{ReasonStart, err}
	}
	defer outR.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		outW.Close()
		return nil, nil, &failure{ReasonStart, err}
	}
	defer errR.Close()
	mark := marker + "=" + rand.Text()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), mark)
	cmd.Stdout, cmd.Stderr = outW, errW
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	outW.Close()
	errW.Close()
	if err != nil {
		return nil, nil, &failure{ReasonStart, err}
	}
	out, errs := &kept{room: maxOutput, full: make(chan struct{})}, &kept{room: maxStderr}
	var reading sync.WaitGroup
	reading.Go(func() { out.from(outR) })
	reading.Go(func() { errs.from(errR) })
	over := make(chan struct{})
	go func() {
		// The program stays a zombie until it is reaped below: so its number, which is
		// the group's, can not become another's.
		ended(cmd.Process.Pid)
		reading.Wait()
		close(over)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var why *failure
	select {
	case <-over:
	case <-timer.C:
		why = &failure{ReasonTimeout, fmt.Errorf("killed: not done after %v", limit)}
	case <-ctx.Done():
		why = &failure{ReasonStopped, errors.New("killed: the plugin was stopped")}
	case <-out.full:
		why = &failure{ReasonOutput, fmt.Errorf("killed: more than %d bytes of output", maxOutput)}
	}
	if why != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		sweep(mark)
		// Nobody is left to write, but for a process that has hidden itself.
		_ = outR.SetReadDeadline(time.Now().Add(grace))
		_ = errR.SetReadDeadline(time.Now().Add(grace))
		<-over
	}
	err = cmd.Wait()
	switch {
	case why != nil:
		return nil, errs.Bytes(), why
	case out.room < 0:
		return nil, errs.Bytes(), &failure{ReasonOutput, fmt.Errorf("more than %d bytes of output", maxOutput)}
	case err != nil:
		return nil, errs.Bytes(), &failure{ReasonExit, err}
	}
	return out.Bytes(), errs.Bytes(), nil
}

// grace is how long the end of what killed processes wrote is waited for.
const grace = 200 * time.Millisecond

// ended waits until a child has ended, and does not reap it.
func ended(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// kept keeps the first room bytes that it is given and swallows the rest.
type kept struct {
	bytes.Buffer
	room int           // negative once there was more
	full chan struct{} // closed then; may be nil
}

func (k *kept) from(f *os.File) {
	var block [32 << 10]byte
	for {
		n, err := f.Read(block[:])
		switch was := k.room; {
		case was >= n:
			k.room -= n
			k.Buffer.Write(block[:n])
		case was >= 0:
			k.Buffer.Write(block[:was])
			k.room = -1
			if k.full != nil {
				close(k.full)
			}
		}
		if err != nil {
			return // its end, or the deadline after a kill
		}
	}
}

// sweep kills the processes of a run wherever they are: one that has started a session
// of its own is no more in the group. It looks until it finds none, for a process may
// fork faster than one look sees.
func sweep(mark string) {
	for range 50 {
		if !sweepOnce(mark) {
			return
		}
		run.Sleep(context.Background(), 10*time.Millisecond)
	}
}

func sweepOnce(mark string) (found bool) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !marked(pid, mark) {
			continue
		}
		p, err := os.FindProcess(pid) // from here on it is this process and none of the same number
		if err != nil {
			continue
		}
		if marked(pid, mark) && p.Kill() == nil {
			found = true
		}
		_ = p.Release()
	}
	return found
}

// marked reports whether a process has this mark; it is false for one that has ended,
// and for those of other users.
func marked(pid int, mark string) bool {
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == mark {
			return true
		}
	}
	return false
}
