package nodata

import "math"

// keptAnswers is how many answers of a series are kept; one is judged, the others are
// for people.
const keptAnswers = 3

// An Answer is the newest point of a series, as somebody said it. Times are Unix
// seconds.
type Answer struct {
	Time    int64 // of the point; 0 says that there is none
	Value   float64
	Fetched int64
}

// A record is what is known of a series.
type record struct {
	answers []Answer // the newest first
	// hadData says that some answer had a point.
	hadData bool
	// silentSince is when the answers that have no point began; 0: the last one has.
	silentSince int64

	status string // "", OK or NODATA
	count  int    // of rounds with a mock in a row
	stamp  int64  // of the last round with a mock; 0: none
}

// fetched takes an answer. One without a point of a series that had data is no news
// within grace seconds of the first such: a graph that was restarted says the same.
func (r *record) fetched(a Answer, grace int64) {
	if a.Time > 0 {
		r.hadData, r.silentSince = true, 0
	} else {
		if r.silentSince == 0 || r.silentSince > a.Fetched { // or the clock was set back
			r.silentSince = a.Fetched
		}
		if r.hadData && a.Fetched-r.silentSince < grace {
			return
		}
	}
	r.answers = append([]Answer{a}, r.answers[:min(len(r.answers), keptAnswers-1)]...)
}

// verdict is what an answer says of a series.
type verdict int

const (
	unknown verdict = iota // nobody has said anything lately
	reports
	silent
)

// judge says whether the series is silent at now.
func (r *record) judge(s *Series, now int64) verdict {
	if len(r.answers) == 0 {
		return unknown
	}
	newest, limit := r.answers[0], timeout(s.Step)
	if newest.Fetched < now-limit {
		return unknown // collecting has failed, which says nothing of the series
	}
	if s.made(newest.Value) {
		return silent
	}
	if r.silentSince != 0 {
		// The answers since then are none. Whether the point was old is what its own
		// answer said, not the time that has passed without news.
		now = newest.Fetched
	}
	if newest.Time < now-limit {
		return silent
	}
	return reports
}

// made says whether a value is one that we made ourselves.
func (s *Series) made(value float64) bool { return math.Abs(value-s.Mock) <= 1e-6 }

// timeout is how old the newest point of a series may be, in seconds.
func timeout(step int64) int64 {
	if step < 60 {
		return 180
	}
	return 3 * step
}
