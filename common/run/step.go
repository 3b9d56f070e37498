package run

import "time"

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
