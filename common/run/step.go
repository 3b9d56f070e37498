package run

import "time"

// Step returns how far the wall clock was put between two readings of it: forward when
// positive, 0 when it ran as the monotonic clock did. A reading without the monotonic one
// steps never.
func Step(from, to time.Time) time.Duration { return to.Round(0).Sub(from.Round(0)) - to.Sub(from) }
