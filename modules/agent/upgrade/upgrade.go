package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"aead.dev/minisign"
	"golang.org/x/sys/unix"

	"falcon/common/failpoint"
	"falcon/common/model"
)

// Options say what an Upgrader replaces and how.
type Options struct {
	// Program is the path of the running program, Config that of its configuration; empty
	// for one that runs on its defaults.
	Program, Config string
	// Version is that of the running program.
	Version string
	// Unguarded says that somebody starts the agent again, and nobody would put the old one
	// back.
	Unguarded bool
	// Key checks signatures; nil for none. RequireSignature refuses files without one.
	Key              *minisign.PublicKey
	RequireSignature bool
	// Rate bounds a download in bytes a second, 0 for none; MaxSize its bytes, Timeout its
	// time.
	Rate, MaxSize int64
	Timeout       time.Duration
	// Backoff is how long an order that failed is not taken again, then twice as long.
	Backoff time.Duration
	Trial   Trial
	Log     *slog.Logger
	// News is called when there is something to report; it must not block.
	News func()
	Now  func() time.Time
}

// maxBackoff bounds the rest between two tries of one order.
const maxBackoff = time.Hour

// An Upgrader does what hbs orders, one order at a time.
type Upgrader struct {
	o      Options
	dir    string
	loads  *downloads
	orders chan model.AgentUpgradeArgs // holds one
	md5    string                      // of Config as it was at the start

	mu    sync.Mutex
	state state
	busy  bool
	over  bool // the new files are in place, and this process is not theirs
}

// Own returns the path of the running program. Of one that was replaced meanwhile the
// kernel says another name: it is asked early.
func Own() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(strings.TrimSuffix(exe, " (deleted)"))
}

// New returns an Upgrader that knows what an earlier life has left in the folder of the
// program. It changes nothing.
func New(o Options) *Upgrader {
	u := &Upgrader{o: o, dir: filepath.Dir(o.Program), loads: newDownloads(o.Rate, o.MaxSize), orders: make(chan model.AgentUpgradeArgs, 1)}
	if o.Config != "" {
		u.md5 = MD5(o.Config)
	}
	s, err := load(u.dir)
	if err != nil {
		o.Log.Warn("what an earlier upgrade has left can not be read, it is forgotten", "err", err)
	}
	u.state = s
	return u
}

// ConfigMD5 is the MD5 of the configuration that is in force.
func (u *Upgrader) ConfigMD5() string { return u.md5 }

// Unable says why nothing can be replaced here; empty when it can.
func (u *Upgrader) Unable() string {
	if err := unix.Access(u.dir, unix.W_OK); err != nil {
		return fmt.Sprintf("its folder %s is not writable by its user", u.dir)
	}
	if u.o.Unguarded {
		return "falcon-agent-guard is not run before its start, so that nothing would put the old agent back"
	}
	if u.o.RequireSignature && u.o.Key == nil {
		return "upgrade.require_signature is on and upgrade.public_key is missing"
	}
	return ""
}

// Report returns whether an upgrade is under way, and why the last one came to nothing.
func (u *Upgrader) Report() (busy bool, failure string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.busy || u.state.Phase != phaseNone, u.state.Error
}

// key names an order: the same one again has the same key.
func key(a *model.AgentUpgradeArgs) string {
	return strings.Join([]string{fmt.Sprint(a.Type), a.Version, a.WgetURL, strings.ToLower(a.BinFileMd5), strings.ToLower(a.CfgFileMd5), a.BinFileSHA256, a.CfgFileSHA256}, "|")
}

// Take takes an order, unless one is under way, or this one failed a moment ago.
func (u *Upgrader) Take(args *model.AgentUpgradeArgs) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy || u.state.Phase != phaseNone {
		return
	}
	if s := &u.state; s.FailedKey == key(args) {
		rest := min(u.o.Backoff<<min(s.Failures-1, 20), maxBackoff)
		if since := u.o.Now().Sub(time.Unix(s.FailedAt, 0)); since >= 0 && since < rest {
			u.o.Log.Debug("an upgrade that failed is not tried again yet", "version", args.Version, "rest", rest-since)
			return
		}
	}
	select {
	case u.orders <- *args:
		u.busy, u.state.Error = true, ""
	default:
	}
}

// Run does what is ordered until ctx ends. It returns true when the new files are in
// place and the agent has to be started again, and an error when the agent is on trial
// and had no heartbeat taken in time: the guard then puts the old one back.
func (u *Upgrader) Run(ctx context.Context) (again bool, err error) {
	again, err = u.resume()
	if again || err != nil {
		return again, err
	}
	var late <-chan time.Time
	u.mu.Lock()
	if u.state.Phase == phaseTrial {
		t := time.NewTimer(max(0, time.Unix(u.state.At, 0).Add(u.o.Trial.Within).Sub(u.o.Now())+time.Second))
		defer t.Stop()
		late = t.C
	}
	u.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-late:
			late = nil
			u.mu.Lock()
			trial := u.state.Phase == phaseTrial
			u.mu.Unlock()
			if trial {
				return false, fmt.Errorf("no heartbeat was taken within %v of the upgrade", u.o.Trial.Within)
			}
		case args := <-u.orders:
			done, err := u.perform(ctx, &args)
			if done {
				return true, nil
			}
			if ctx.Err() != nil {
				return false, nil // it is ordered again; what was downloaded stays
			}
			if err != nil {
				u.o.Log.Error("the upgrade came to nothing", "version", args.Version, "err", err)
			} else {
				u.o.Log.Info("there is nothing to upgrade", "version", args.Version)
			}
			u.o.News()
		}
	}
}

// resume looks at what an earlier life has left: a swap that was interrupted is
// finished, and what is in place by other means ends a trial.
func (u *Upgrader) resume() (again bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch s := &u.state; s.Phase {
	case phaseSwap: // there is no guard, or it failed
		if err := s.finishSwap(u.dir, u.o.Now()); err != nil {
			s.fail(s.Key, s.To+": "+err.Error(), u.o.Now())
			return false, s.save(u.dir)
		}
		return true, nil
	case phaseTrial:
		if s.To != u.o.Version && s.From != s.To {
			why := fmt.Sprintf("%s: %s was started in its place", s.To, u.o.Version)
			s.fail(s.Key, why, u.o.Now())
			return false, s.save(u.dir)
		}
	}
	return false, nil
}

// Healthy says that a heartbeat was taken: what was on trial has proved itself.
func (u *Upgrader) Healthy() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state.Phase != phaseTrial || u.over {
		return
	}
	u.o.Log.Info("the upgrade is done", "from", u.state.From, "version", u.state.To)
	u.state = state{}
	if err := u.state.save(u.dir); err != nil {
		u.o.Log.Error("that the upgrade is done is not noted: the guard may put the old one back", "err", err)
	}
}

// perform does one order. done says that the new files are in place.
func (u *Upgrader) perform(ctx context.Context, args *model.AgentUpgradeArgs) (done bool, err error) {
	u.o.Log.Info("an upgrade is ordered", "from", u.o.Version, "version", args.Version, "type", args.Type)
	s, err := u.prepare(ctx, args)
	if err == nil && s == nil {
		u.mu.Lock()
		u.busy = false
		u.mu.Unlock()
		return false, nil
	}
	if err == nil {
		// From here on the way leads forward.
		if err = s.save(u.dir); err == nil {
			failpoint.Reached("upgrade.swap-noted")
			err = s.finishSwap(u.dir, u.o.Now())
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy = false
	if err == nil {
		failpoint.Reached("upgrade.trial-noted")
		u.state, u.over = *s, true
		u.o.Log.Info("the new files are in place", "from", s.From, "version", s.To)
		return true, nil
	}
	if ctx.Err() != nil {
		return false, err
	}
	now := u.o.Now()
	if s != nil { // the renames failed, half way perhaps: back
		berr := s.rollBack(u.dir, err.Error(), now)
		// When not even that is possible the next start finds the swap as it is, and
		// finishes it.
		u.state = *s
		return false, errors.Join(err, berr)
	}
	u.state.fail(key(args), args.Version+": "+err.Error(), now)
	if serr := u.state.save(u.dir); serr != nil {
		u.o.Log.Warn("that the upgrade failed is not noted", "err", serr)
	}
	return false, err
}

// prepare downloads, checks and tries what is ordered, and keeps the old files. It
// changes nothing that runs. A nil state means that all is as ordered already.
func (u *Upgrader) prepare(ctx context.Context, a *model.AgentUpgradeArgs) (*state, error) {
	if !a.HasBinary() && !a.HasConfig() {
		return nil, fmt.Errorf("nobody knows upgrades of type %d", a.Type)
	}
	if why := u.Unable(); why != "" {
		return nil, errors.New(why)
	}
	if a.HasConfig() && u.o.Config == "" {
		return nil, errors.New("this agent runs without a configuration file, there is none to replace")
	}
	binary := a.HasBinary() && u.o.Version != a.Version
	config := a.HasConfig() && !strings.EqualFold(u.md5, a.CfgFileMd5)
	if !binary && !config {
		return nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, u.o.Timeout, fmt.Errorf("it took longer than upgrade.timeout, %v", u.o.Timeout))
	defer cancel()
	s := &state{Phase: phaseSwap, From: u.o.Version, To: u.o.Version, Key: key(a)}
	if binary {
		s.To = a.Version
	}
	program, conf := u.o.Program, u.o.Config
	base := strings.TrimRight(a.WgetURL, "/")
	for _, f := range []struct {
		wanted           bool
		target, url      string
		md5, sha256, sig string
		mode             fs.FileMode
		use              *string
	}{
		{binary, u.o.Program, base + "/bin_" + a.Version, a.BinFileMd5, a.BinFileSHA256, a.BinFileSig, 0o755, &program},
		{config, u.o.Config, base + "/cfg_" + a.Version, a.CfgFileMd5, a.CfgFileSHA256, a.CfgFileSig, 0o640, &conf},
	} {
		if !f.wanted {
			continue
		}
		fresh := f.target + ".new"
		if err := u.obtain(ctx, f.url, fresh, f.md5, f.sha256, f.sig); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return nil, err
		}
		mode := f.mode
		if st, err := os.Stat(f.target); err == nil && f.use == &conf {
			mode = st.Mode().Perm() // passwords may stand in it
		}
		if err := os.Chmod(fresh, mode); err != nil {
			return nil, err
		}
		s.Files = append(s.Files, file{Target: f.target, New: fresh, Backup: f.target + ".bak"})
		*f.use = fresh
	}
	if err := u.tryNew(ctx, a.Version, binary, program, conf); err != nil {
		for _, f := range s.Files {
			_ = os.Remove(f.New) // what is no good is no beginning for the next download
		}
		return nil, err
	}
	failpoint.Reached("upgrade.tried")
	for _, f := range s.Files {
		if err := keep(f.Target, f.Backup); err != nil {
			return nil, fmt.Errorf("keep %s: %w", f.Target, err)
		}
	}
	if err := syncDir(u.dir); err != nil {
		return nil, err
	}
	failpoint.Reached("upgrade.kept")
	return s, nil
}

// tryNew runs the new program, and the one that will run on the new configuration.
func (u *Upgrader) tryNew(ctx context.Context, version string, binary bool, program, conf string) error {
	if binary {
		said, err := try(ctx, u.dir, program, "-v")
		if err != nil {
			return fmt.Errorf("the new program does not run: %w", err)
		}
		if said != version {
			return fmt.Errorf("the new program says that it is %q, not %q", said, version)
		}
	}
	args := []string{"-t"}
	if conf != "" {
		args = append(args, "-c", conf)
	}
	if _, err := try(ctx, u.dir, program, args...); err != nil {
		return fmt.Errorf("it does not take the configuration: %w", err)
	}
	return nil
}

// obtain downloads url to path and checks it. What was begun by an earlier life is gone
// on from; when that comes to something else it is downloaded again from the start.
func (u *Upgrader) obtain(ctx context.Context, url, path, md5sum, sha256sum, sig string) error {
	begun := false
	if st, err := os.Stat(path); err == nil {
		begun = st.Size() > 0
	}
	if begun && u.check(ctx, url, path, md5sum, sha256sum, sig) == nil {
		return nil // whole already
	}
	for {
		if err := u.loads.fetch(ctx, url, path); err != nil {
			return err
		}
		failpoint.Reached("upgrade.downloaded")
		err := u.check(ctx, url, path, md5sum, sha256sum, sig)
		if err == nil {
			failpoint.Reached("upgrade.checked")
			return nil
		}
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return rerr
		}
		if !begun {
			return err
		}
		begun = false
	}
}

func (u *Upgrader) check(ctx context.Context, url, path, md5sum, sha256sum, sig string) error {
	m, s, err := sums(path)
	switch {
	case err != nil:
		return err
	case !strings.EqualFold(m, md5sum):
		return fmt.Errorf("%s has the MD5 %s, ordered is %s", url, m, md5sum)
	case sha256sum != "" && !strings.EqualFold(s, sha256sum):
		return fmt.Errorf("%s has the SHA-256 %s, ordered is %s", url, s, sha256sum)
	case sig == "" && !u.o.RequireSignature:
		return nil
	case u.o.Key == nil:
		return fmt.Errorf("%s is signed, and upgrade.public_key is missing here", url)
	}
	if sig == "" {
		if sig, err = u.loads.text(ctx, url+".minisig"); err != nil {
			return fmt.Errorf("upgrade.require_signature is on, and the order has none: %w", err)
		}
	}
	if err := verify(path, sig, *u.o.Key); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// Supervised says whether somebody starts this process again when it ends.
func Supervised() bool {
	return cmp.Or(os.Getenv("INVOCATION_ID"), os.Getenv("NOTIFY_SOCKET"), os.Getenv("FALCON_SUPERVISED")) != ""
}

// Again takes the place of this process with the program as it is now; it is for a
// process that nobody starts again. It returns only with an error.
func (u *Upgrader) Again() error {
	if said, err := Guard(u.dir, u.o.Trial, u.o.Now()); err != nil {
		u.o.Log.Warn("guard", "err", err)
	} else if said != "" {
		u.o.Log.Info("guard: " + said)
	}
	return syscall.Exec(u.o.Program, append([]string{u.o.Program}, os.Args[1:]...), os.Environ())
}
