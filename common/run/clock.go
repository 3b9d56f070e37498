package run

import (
	"sync"
	"time"
)

// Step returns how far the wall clock was put between two readings of it: forward when
// positive, 0 when it ran as the monotonic clock did. A reading without the monotonic one
// steps never.
func Step(from, to time.Time) time.Duration { return to.Round(0).Sub(from.Round(0)) - to.Sub(from) }

// Steady returns a clock that shows what now does at this moment, and goes on from there as
// the monotonic clock does, whoever puts the wall clock: for ages of what this process made.
func Steady(now func() time.Time) func() time.Time {
	first, began := now(), time.Now()
	return func() time.Time { return first.Add(time.Since(began)) }
}

// Forward returns a clock that goes on as now does and is never put back: while it would be,
// it shows what Steady does. Points of others are then not of the future because this host's
// clock is wrong.
func Forward(now func() time.Time) func() time.Time {
	steady := Steady(now)
	return func() time.Time {
		wall, least := now(), steady()
		if wall.Round(0).Before(least.Round(0)) {
			return least
		}
		return wall
	}
}

// Ages tells how old things are by the times that this host's clock gave them, on this run
// and earlier ones. What was there when the clock was put forward is not older by that.
type Ages struct {
	now func() time.Time

	mu         sync.Mutex
	wall, mono time.Time // of the last look
	steps      []ageStep // the oldest first
}

// ageStep is that the clock was put forward when it showed a time.
type ageStep struct {
	at time.Time
	by time.Duration
}

const (
	// leastStep is how far a clock has to be put to matter; less may be a slow machine.
	leastStep = 10 * time.Second
	// mostSteps bounds those that are remembered.
	mostSteps = 64
)

// NewAges returns the ages by a clock.
func NewAges(now func() time.Time) *Ages {
	return &Ages{now: now, wall: now().Round(0), mono: time.Now()}
}

// Look notices that the clock was put. It is to be called more often than every leastStep.
func (a *Ages) Look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.look()
}

func (a *Ages) look() (now time.Time) {
	now, mono := a.now().Round(0), time.Now()
	if by := now.Sub(a.wall) - mono.Sub(a.mono); by >= leastStep {
		a.steps = append(a.steps, ageStep{now.Add(-by), by})
		a.steps = a.steps[max(0, len(a.steps)-mostSteps):]
	}
	a.wall, a.mono = now, mono
	return now
}

// Of returns the age of what has a time.
func (a *Ages) Of(at time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	age := a.look().Sub(at)
	for _, s := range a.steps {
		if !at.After(s.at) {
			age -= s.by
		}
	}
	return age
}
