package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"falcon/common/daemon"
)

const (
	// commandTimeout bounds a command of /run, and git.
	commandTimeout = time.Minute
	// maxCommand and maxCommandOutput bound what goes in and comes out.
	maxCommand       = 64 << 10
	maxCommandOutput = 16 << 20
	// exitAfter is how long /exit waits, so that its answer arrives.
	exitAfter = time.Second
)

// trusted reports whether r may change something here: it comes from this machine or
// from an address that hbs has named. A web page does not count as this machine, even
// when it is open in a browser here: browsers say who sends them.
func (a *Agent) trusted(r *http.Request) bool {
	if r.Header.Get("Origin") != "" || !slices.Contains([]string{"", "none"}, r.Header.Get("Sec-Fetch-Site")) {
		return false
	}
	if daemon.IsLocal(r) {
		return true
	}
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(peer)
	if err != nil || ip == nil {
		return false
	}
	return slices.ContainsFunc(a.trustedIPs(), func(s string) bool { return ip.Equal(net.ParseIP(s)) })
}

// trustedIPs is the list that hbs has sent last.
func (a *Agent) trustedIPs() []string {
	if p := a.trustable.Load(); p != nil {
		return *p
	}
	return []string{}
}

// trust takes hbs's list, addresses separated by commas.
func (a *Agent) trust(list string) {
	ips := []string{}
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			ips = append(ips, s)
		}
	}
	a.trustable.Store(&ips)
}

// commands announces what a trusted caller may have done.
func (a *Agent) commands(mux *http.ServeMux) {
	guarded := func(do func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !a.trusted(r) {
				_, _ = io.WriteString(w, "no privilege")
				return
			}
			do(w, r)
		}
	}
	mux.HandleFunc("POST /run", a.runCommand)
	mux.HandleFunc("GET /exit", guarded(a.leave))
	mux.HandleFunc("GET /plugin/update", guarded(func(w http.ResponseWriter, r *http.Request) { a.git(w, r, a.pull) }))
	mux.HandleFunc("GET /plugin/reset", guarded(func(w http.ResponseWriter, r *http.Request) { a.git(w, r, a.reset) }))
	mux.HandleFunc("GET /plugins", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, a.plugins.States(), nil)
	})
}

// runCommand is POST /run: the body goes to sh and its output comes back.
func (a *Agent) runCommand(w http.ResponseWriter, r *http.Request) {
	if !a.cfg.HTTP.Backdoor {
		_, _ = io.WriteString(w, "/run disabled")
		return
	}
	if !a.trusted(r) {
		_, _ = io.WriteString(w, "no privilege")
		return
	}
	body, err := readBody(w, r, maxCommand)
	switch {
	case err != nil:
		http.Error(w, "read the body: "+err.Error(), http.StatusBadRequest)
		return
	case len(bytes.TrimSpace(body)) == 0:
		http.Error(w, "body is blank", http.StatusBadRequest)
		return
	}
	a.log.Warn("a command is run by request", "peer", r.RemoteAddr, "command", string(body))
	out, err := command(r.Context(), "", "sh", "-c", string(body))
	if err != nil {
		_, _ = io.WriteString(w, "exec fail: "+err.Error())
		return
	}
	_, _ = w.Write(out)
}

// command runs a program in dir, with all its children within the time that a command
// has, and returns what it wrote to its standard output.
func command(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	out, errs := &capped{room: maxCommandOutput}, &capped{room: 4 << 10}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch text := strings.TrimSpace(errs.kept.String()); {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("stopped after %v: %w", commandTimeout, ctx.Err())
	case out.room < 0:
		return nil, fmt.Errorf("more than %d MiB of output", maxCommandOutput>>20)
	case err != nil && text != "":
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return out.kept.Bytes(), err
}

// capped keeps the first room bytes that are written to it and swallows the rest.
type capped struct {
	kept bytes.Buffer // not embedded: its ReadFrom knows no bounds
	room int          // negative once there was more
}

func (c *capped) Write(b []byte) (int, error) {
	n := len(b)
	if n > c.room {
		b = b[:max(c.room, 0)]
		c.room = -1
	} else {
		c.room -= n
	}
	c.kept.Write(b)
	return n, nil
}

// leave is GET /exit. Whoever supervises this process starts it anew, or does not.
func (a *Agent) leave(w http.ResponseWriter, r *http.Request) {
	if !a.alone {
		http.Error(w, "this agent is part of a larger process and does not end alone", http.StatusConflict)
		return
	}
	a.log.Warn("ending by request", "peer", r.RemoteAddr)
	a.leaving.Do(func() { close(a.left) })
	_, _ = io.WriteString(w, "exiting...")
}

// git has do work on the folder of the plugins.
func (a *Agent) git(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, dir string) error) {
	if !a.cfg.Plugin.Enabled {
		_, _ = io.WriteString(w, "plugin not enabled")
		return
	}
	a.gitting.Lock()
	defer a.gitting.Unlock()
	dir, err := filepath.Abs(a.cfg.Plugin.Dir)
	if err == nil {
		err = do(r.Context(), dir)
	}
	if err != nil {
		a.log.Warn("folder of the plugins not changed", "err", err)
		_, _ = io.WriteString(w, err.Error())
		return
	}
	a.plugins.Rescan()
	_, _ = io.WriteString(w, "success")
}

// ownGit keeps git from taking the repository of a folder above for one that has none.
func ownGit(args ...string) []string {
	return append([]string{"--git-dir=.git", "--work-tree=."}, args...)
}

func (a *Agent) pull(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		if _, err := command(ctx, dir, "git", ownGit("pull")...); err != nil {
			return fmt.Errorf("git pull in dir:%s fail. error: %w", dir, err)
		}
		return nil
	}
	if a.cfg.Plugin.Git == "" {
		return errors.New("plugin.git names no repository to clone")
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if _, err := command(ctx, parent, "git", "clone", "--", a.cfg.Plugin.Git, filepath.Base(dir)); err != nil {
		return fmt.Errorf("git clone in dir:%s fail. error: %w", parent, err)
	}
	return nil
}

func (a *Agent) reset(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return nil // as in stock: there is nothing to reset
	}
	if _, err := command(ctx, dir, "git", ownGit("reset", "--hard")...); err != nil {
		return fmt.Errorf("git reset --hard in dir:%s fail. error: %w", dir, err)
	}
	return nil
}
