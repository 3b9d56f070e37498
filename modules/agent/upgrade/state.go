package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"falcon/common/failpoint"
)

// stateFile is the name of what is known of an upgrade, beside the program.
const stateFile = "upgrade.json"

// Phases of an upgrade.
const (
	phaseNone  = ""
	phaseSwap  = "swap"  // all is checked; the renames are under way
	phaseTrial = "trial" // the new files are in place and have to prove themselves
)

// state is the content of upgrade.json.
type state struct {
	Phase string `json:"phase"`
	// From and To are versions of the program.
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	Key   string `json:"key,omitempty"` // of the order
	Files []file `json:"files,omitempty"`
	// At is the Unix time of the swap, Starts how often the agent was started since.
	At     int64 `json:"at,omitempty"`
	Starts int   `json:"starts,omitempty"`

	// Error says why the last upgrade came to nothing, FailedKey of which order it was,
	// Failures how often that order failed, FailedAt when, Unix time.
	Error     string `json:"error,omitempty"`
	FailedKey string `json:"failed_key,omitempty"`
	Failures  int    `json:"failures,omitempty"`
	FailedAt  int64  `json:"failed_at,omitempty"`
}

// A file is one that is replaced.
type file struct {
	Target string `json:"target"`
	New    string `json:"new"`
	Backup string `json:"backup"`
}

// load reads the state of the folder dir; none is the zero state. A file that can not be
// read is none: it says nothing that could be followed.
func load(dir string) (s state, err error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return state{}, fmt.Errorf("%s: %w", stateFile, err)
	}
	return s, nil
}

// save writes the state so that after a crash it is there whole, or the one before it.
func (s state) save(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateFile)
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fail notes that an order came to nothing.
func (s *state) fail(key, why string, now time.Time) {
	if s.FailedKey != key {
		s.FailedKey, s.Failures = key, 0
	}
	s.Failures++
	s.FailedAt, s.Error = now.Unix(), why
	s.Phase, s.From, s.To, s.Key, s.Files, s.At, s.Starts = phaseNone, "", "", "", nil, 0, 0
}

// keep makes a second name for a file, in the place of any other; where the file system
// knows no second names it is copied.
func keep(path, as string) error {
	tmp := as + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, tmp); err != nil {
		if err := copyFile(path, tmp); err != nil {
			return err
		}
	}
	return os.Rename(tmp, as)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, st.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// finishSwap puts what is checked into place; what is there already stays.
func (s *state) finishSwap(dir string, now time.Time) error {
	for _, f := range s.Files {
		if err := os.Rename(f.New, f.Target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		failpoint.Reached("upgrade.file-in-place")
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	failpoint.Reached("upgrade.in-place")
	s.Phase, s.At, s.Starts = phaseTrial, now.Unix(), 0
	return s.save(dir)
}

// rollBack puts the old files back and notes why. The backups stay, so that a kill on
// the way is made good by the next start.
func (s *state) rollBack(dir, why string, now time.Time) error {
	for _, f := range s.Files {
		tmp := f.Target + ".back"
		if err := keep(f.Backup, tmp); err != nil {
			return err
		}
		if err := os.Rename(tmp, f.Target); err != nil {
			return err
		}
		failpoint.Reached("upgrade.file-back")
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	failpoint.Reached("upgrade.back")
	s.fail(s.Key, fmt.Sprintf("%s: rolled back to %s: %s", s.To, s.From, why), now)
	return s.save(dir)
}
