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
