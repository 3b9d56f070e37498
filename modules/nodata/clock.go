package nodata

import "time"

// A beat is when a loop runs: at the moments that are offset after a multiple of every,
// by the clock and not since the start, so that all instances run together.
type beat struct{ every, offset time.Duration }

var (
	rowsBeat    = beat{2 * time.Minute, 50 * time.Second}
	collectBeat = beat{20 * time.Second, 0}
	judgeBeat   = beat{time.Minute, 0}
)

// early is by how much a timer may fire before its moment on a clock that is adjusted
// meanwhile.
const early = time.Second

// last returns the moment that has come at now.
func (b beat) last(now time.Time) time.Time {
	every, offset := int64(b.every/time.Second), int64(b.offset/time.Second)
	t := now.Add(early).Unix() - offset
	return time.Unix(t-t%every+offset, 0)
}

// next returns the moment that comes after now.
func (b beat) next(now time.Time) time.Time { return b.last(now).Add(b.every) }
