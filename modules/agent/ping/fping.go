package ping

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// batch is how many addresses one fping has, and parallel how many of them run at
	// once.
	batch    = 1000
	parallel = 4
	// period lies between two packets to one host, gap between any two of one fping: the
	// least that is allowed to who is not root.
	period = time.Second
	gap    = time.Millisecond
	// maxOutput bounds what is kept of what fping prints: a line for each address.
	maxOutput = batch * 2048
)

// Answer is what came of the packets to one address.
type Answer struct {
	Sent, Received int
	Msec           float64 // mean of those that were answered; 0 for none
}

// ask pings the addresses of asks, each once, a few fpings at a time. What one of them
// could not do does not keep the others' answers back.
func (p *Pinger) ask(ctx context.Context, asks []ask) (map[string]Answer, error) {
	var addresses []string
	for _, a := range asks {
		addresses = append(addresses, a.Address)
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	var mu sync.Mutex
	answers, errs := map[string]Answer{}, []error{}
	places := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for part := range slices.Chunk(addresses, batch) {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if ctx.Err() != nil {
				return
			}
			got, err := p.cfg.fping(ctx, part)
			mu.Lock()
			defer mu.Unlock()
			for k, v := range got {
				answers[k] = v
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return answers, errors.Join(errs...)
}

// fping runs the program on addresses, which it reads from its standard input, and reads
// what it prints with -C -q: a line for each, "10.0.0.1 : 0.05 - 0.07".
func (c *Config) fping(ctx context.Context, addresses []string) (map[string]Answer, error) {
	cmd := exec.CommandContext(ctx, c.Fping,
		"-C", strconv.Itoa(c.Count), "-q", "-i", millis(gap), "-p", millis(period), "-t", millis(c.Timeout.D()))
	cmd.Stdin = strings.NewReader(strings.Join(addresses, "\n") + "\n")
	out := &first{room: maxOutput}
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	answers := Read(out.String(), c.Count)
	// 1: some did not answer; 2: some have no address.
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && (exit.ExitCode() == 1 || exit.ExitCode() == 2) {
		return answers, nil
	}
	switch text := strings.TrimSpace(out.String()); {
	case err == nil:
		return answers, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w; install the package fping, or name the program in ping.fping", err)
	case ctx.Err() != nil:
		return answers, ctx.Err()
	case errors.Is(err, syscall.EPERM):
		return nil, fmt.Errorf("%s: %w; its file has a capability that is out of reach; give the unit CapabilityBoundingSet=CAP_NET_RAW", c.Fping, err)
	case len(answers) == 0 && text != "":
		return nil, fmt.Errorf("%s: %w: %s", c.Fping, err, text[:min(len(text), 300)])
	default:
		return answers, fmt.Errorf("%s: %w", c.Fping, err)
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// first keeps the first room bytes.
type first struct {
	b    bytes.Buffer // not embedded: its ReadFrom knows no bounds
	room int
}

func (f *first) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	f.b.Write(b[:n])
	return len(b), nil
}

func (f *first) String() string { return f.b.String() }

// Read reads the lines of fping -C count -q by address; other lines are remarks.
func Read(text string, count int) map[string]Answer {
	answers := map[string]Answer{}
	for line := range strings.Lines(text) {
		address, times, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " : ")
		fields := strings.Fields(times)
		if !ok || len(fields) != count {
			continue
		}
		a, sum := Answer{Sent: count}, 0.0
		for _, f := range fields {
			if f == "-" {
				continue
			}
			ms, err := strconv.ParseFloat(f, 64)
			if err != nil || math.IsNaN(ms) || math.IsInf(ms, 0) || ms < 0 {
				ok = false
				break
			}
			a.Received++
			sum += ms
		}
		if !ok {
			continue
		}
		if a.Received > 0 {
			a.Msec = sum / float64(a.Received)
		}
		answers[strings.TrimSpace(address)] = a
	}
	return answers
}
