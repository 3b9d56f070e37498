package expr

// A History is the newest points of a series, newest first, no two of one time.
type History []Point

// An Outcome says what became of a point.
type Outcome uint8

// Outcomes of Insert.
const (
	Newest Outcome = iota // it is the newest: rules look at it
	Late                  // it was put among the older ones, and no rule looks
	Skip                  // it is older than all that are kept, or there is one of that time
)

// Insert keeps a point, and keep points at most.
func (h *History) Insert(p Point, keep int) Outcome { return h.insert(p, keep, false) }

// InsertAny is Insert that keeps a point, too, that is older than all others, as long as
// there is room.
func (h *History) InsertAny(p Point, keep int) Outcome { return h.insert(p, keep, true) }

func (h *History) insert(p Point, keep int, oldest bool) Outcome {
	s, i := *h, 0
	for i < len(s) && s[i].Ts > p.Ts {
		i++
	}
	switch {
	case i < len(s) && s[i].Ts == p.Ts:
		return Skip
	case i > 0 && (i == len(s) && !oldest || i >= keep):
		return Skip
	}
	if n := len(s); n < keep {
		if n == cap(s) {
			// Append would double, and most series stop growing at keep.
			s = append(make(History, 0, min(keep, max(4, 2*n))), s...)
		}
		s = s[:n+1]
	} else {
		s = s[:keep]
	}
	copy(s[i+1:], s[i:])
	s[i], *h = p, s
	if i > 0 {
		return Late
	}
	return Newest
}
