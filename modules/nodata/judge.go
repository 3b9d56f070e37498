package nodata

import (
	"maps"
	"slices"
)

// Statuses of a series.
const (
	statusOK     = "OK"
	statusNodata = "NODATA"
)

// A Mock is a point in the place of one that did not come. Its JSON is stock's item.
type Mock struct {
	Metric    string  `json:"metric"`
	Endpoint  string  `json:"endpoint"`
	Timestamp int64   `json:"timestamp"` // Unix seconds
	Step      int64   `json:"step"`
	Value     float64 `json:"value"`
	Type      string  `json:"counterType"`
	Tags      string  `json:"tags"`
}

// A Round is what one minute's judging found.
type Round struct {
	Judged int    // series of which something is known
	Silent int    // of them
	Mocks  []Mock // to be sent; none when Blocked
	// Dropped counts the mocks that were not made because of Blocked.
	Dropped int
	// Rate is Silent of Judged in percent.
	Rate    float64
	Blocked bool
}

// A book has the series that are watched and what is known of them.
type book struct {
	series  map[string]Series
	keys    []string // of series, in order
	records map[string]*record
}

// load takes the series to watch; what is known of others is forgotten.
func (b *book) load(series map[string]Series) {
	records := make(map[string]*record, len(series))
	for key := range series {
		if r := b.records[key]; r != nil {
			records[key] = r
		} else {
			records[key] = &record{}
		}
	}
	b.series, b.keys, b.records = series, slices.Sorted(maps.Keys(series)), records
}

// fetched takes an answer of the series key, and says whether that is watched. Answers
// without a point are ignored for grace steps of a series that had some.
func (b *book) fetched(key string, a Answer, grace int) bool {
	r := b.records[key]
	if r == nil {
		return false
	}
	r.fetched(a, int64(grace)*b.series[key].Step)
	return true
}

// current says how many series have a point of now, which nobody made here.
func (b *book) current(now int64) (n int) {
	for _, key := range b.keys {
		s, r := b.series[key], b.records[key]
		if len(r.answers) == 0 {
			continue
		}
		if a := r.answers[0]; !s.made(a.Value) && a.Time >= now-timeout(s.Step) && a.Time <= now+timeout(s.Step) {
			n++
		}
	}
	return n
}

// shift puts the times at which something was heard or said by so many seconds, as the
// clock was.
func (b *book) shift(by int64) {
	for _, r := range b.records {
		for i := range r.answers {
			r.answers[i].Fetched += by
		}
		if r.silentSince != 0 {
			r.silentSince += by
		}
		if r.stamp != 0 {
			r.stamp += by
		}
	}
}

// judge looks at every series at now, Unix seconds, and says what is to be sent. When
// more than threshold percent of those judged are silent, nothing is; a negative
// threshold never blocks.
func (b *book) judge(now int64, threshold float64) (r Round) {
	for _, key := range b.keys {
		s, rec := b.series[key], b.records[key]
		switch rec.judge(&s, now) {
		case unknown:
			continue
		case reports:
			r.Judged++
			rec.status, rec.count = statusOK, 0
			continue
		}
		r.Judged++
		r.Silent++
		if rec.stamp != 0 && rec.stamp <= now && now-rec.stamp < s.Step { // a later stamp is of a clock that was set back
			continue
		}
		rec.status, rec.count, rec.stamp = statusNodata, rec.count+1, now
		r.Mocks = append(r.Mocks, Mock{
			Metric: s.Metric, Endpoint: s.Endpoint, Step: s.Step, Value: s.Mock, Type: s.Type, Tags: s.Tags,
			// Two steps back: a real point that is on its way is newer, and wins.
			Timestamp: now - now%s.Step - 2*s.Step,
		})
	}
	if r.Judged > 0 {
		r.Rate = 100 * float64(r.Silent) / float64(r.Judged)
	}
	if threshold >= 0 && r.Rate > threshold {
		r.Blocked, r.Dropped, r.Mocks = true, len(r.Mocks), nil
	}
	return r
}
