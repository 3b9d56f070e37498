package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Trial says how a new agent proves itself.
type Trial struct {
	// Starts is how often it may be started before it has a heartbeat taken.
	Starts int
	// Within is how long it may take for that, from the swap on.
	Within time.Duration
}

// DefaultTrial is what the guard and the agent go by.
func DefaultTrial() Trial { return Trial{Starts: 3, Within: 5 * time.Minute} }

// guardFile says when the guard last ran: it stands beside the program.
const guardFile = "guarded"

// Guarded says whether the guard ran before the start of a process at now: an agent that
// nobody puts back does not upgrade itself.
func Guarded(dir string, now time.Time) bool {
	b, err := os.ReadFile(filepath.Join(dir, guardFile))
	if err != nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(b)))
	return err == nil && now.Sub(at).Abs() < 5*time.Minute
}

// Guard is run before each start of an agent whose program is in the folder dir: it
// finishes a swap that was interrupted, counts the starts since, and puts the old files
// back when there were too many or it took too long. It returns what it did in words;
// empty for nothing.
func Guard(dir string, t Trial, now time.Time) (string, error) {
	// The agent that starts next looks whether there is a guard. Where nothing can be
	// written nothing can be upgraded either.
	_ = os.WriteFile(filepath.Join(dir, guardFile), []byte(now.UTC().Format(time.RFC3339)+"\n"), 0o644)
	s, err := load(dir)
	if err != nil {
		return "", err
	}
	switch s.Phase {
	case phaseSwap:
		if err := s.finishSwap(dir, now); err != nil {
			return "", fmt.Errorf("finish the upgrade to %s: %w", s.To, err)
		}
	case phaseTrial:
	default:
		return "", nil
	}
	why := ""
	switch took := now.Sub(time.Unix(s.At, 0)); {
	case s.Starts >= t.Starts:
		why = fmt.Sprintf("no heartbeat was taken in %d starts", s.Starts)
	case took > t.Within:
		why = fmt.Sprintf("no heartbeat was taken within %v", t.Within)
	}
	if why == "" {
		s.Starts++
		return fmt.Sprintf("%s is on trial, start %d of %d", s.To, s.Starts, t.Starts), s.save(dir)
	}
	to := s.To
	if err := s.rollBack(dir, why, now); err != nil {
		return "", fmt.Errorf("roll back from %s: %w", to, err)
	}
	return s.Error, nil
}
