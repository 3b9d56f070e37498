package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"falcon/common/httpx"
)

// A process is a daemon that is measured.
type process struct {
	cmd *exec.Cmd
	log *os.File
}

func (b *bench) start(name string, args ...string) (*process, error) {
	return b.startAt(filepath.Join(b.bin, name), args...)
}

// startAt is start for a program that is somewhere else.
func (b *bench) startAt(path string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(b.dir, filepath.Base(path)+".log"))
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(path, args...), log: log}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = b.dir, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, p.cmd.Start()
}

// daemon starts a daemon with a configuration and waits until it is healthy.
func (b *bench) daemon(ctx context.Context, name string, cfg map[string]any, health string) (*process, error) {
	file := filepath.Join(b.dir, name+".json")
	js, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, js, 0o600); err != nil {
		return nil, err
	}
	p, err := b.start(name, "-c", file)
	if err != nil {
		return nil, err
	}
	if err := healthy(ctx, health, 2*time.Minute); err != nil {
		out, _ := os.ReadFile(p.log.Name())
		return nil, errors.Join(fmt.Errorf("%s: %w\n%s", name, err, out), p.kill())
	}
	return p, nil
}

// healthy waits until the pages at addr say so.
func healthy(ctx context.Context, addr string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := httpx.NewClient(httpx.Options{Tries: 1 << 20, Pause: 10 * time.Millisecond})
	for ctx.Err() == nil {
		if _, err := c.Get(ctx, "http://"+addr+"/health"); err == nil {
			return nil
		}
	}
	return fmt.Errorf("not healthy within %v", limit)
}

func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed, and says so
	return errors.Join(err, p.log.Close())
}

// cpu returns the seconds of CPU the process has taken so far.
func (p *process) cpu() (float64, error) { return cpuOf(p.cmd.Process.Pid) }

// cpuOf is cpu of a process that somebody else started.
func cpuOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold spaces; user and system time are the 12th
	// and 13th field behind it, in hundredths of a second.
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, errors.New("/proc/PID/stat is too short")
	}
	user, err1 := strconv.ParseFloat(f[11], 64)
	sys, err2 := strconv.ParseFloat(f[12], 64)
	return (user + sys) / 100, errors.Join(err1, err2)
}

// rss returns the resident memory in MB, peak the most it ever was.
func (p *process) rss() float64  { return p.memory("VmRSS:") }
func (p *process) peak() float64 { return p.memory("VmHWM:") }

func (p *process) memory(what string) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, what); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// measured returns what the process takes while do runs.
func (p *process) measured(do func() error) (float64, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return after - before, err
}

func freeAddr() (string, error) {
	// Below the ports that the kernel gives to connections.
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		if ln, err := net.Listen("tcp", addr); err == nil {
			return addr, ln.Close()
		}
	}
	return "", errors.New("no free port between 20000 and 32000")
}

func freeAddrs(n int) ([]string, error) {
	out := make([]string, n)
	var err error
	for i := range out {
		if out[i], err = freeAddr(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func listen(addr string) map[string]any { return map[string]any{"enabled": true, "listen": addr} }
