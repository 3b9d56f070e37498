package judge

import "slices"

// refs say what the numbers of a stream stand for. Most are of series that nobody watches,
// so a number costs four bytes, and only one that is kept has a pointer.
type refs struct {
	by    []uint32 // by number: where it is in known
	known []*entry // first what is no series
	free  []uint32 // places in known
}

// notSeries is the beginning of refs.known.
var notSeries = []*entry{nil, unwatched, muted, outdated}

func newRefs() refs { return refs{by: make([]uint32, 1), known: slices.Clone(notSeries)} }

func (r *refs) len() int { return len(r.by) }

// grow makes room for n numbers.
func (r *refs) grow(n int) {
	if more := n - len(r.by); more > 0 {
		r.by = append(slices.Grow(r.by, more), make([]uint32, more)...)
	}
}

// at returns what number n stands for.
func (r *refs) at(n uint32) *entry { return r.known[r.by[n]] }

// set says what number n stands for.
func (r *refs) set(n uint32, e *entry) {
	if old := r.by[n]; int(old) >= len(notSeries) {
		r.known[old] = nil
		r.free = append(r.free, old)
	}
	if i := slices.Index(notSeries, e); i >= 0 {
		r.by[n] = uint32(i)
		return
	}
	if last := len(r.free) - 1; last >= 0 {
		r.by[n], r.free = r.free[last], r.free[:last]
		r.known[r.by[n]] = e
		return
	}
	r.by[n] = uint32(len(r.known))
	r.known = append(r.known, e)
}

// change has all numbers that stand for from, which is no series, stand for to.
func (r *refs) change(from, to *entry) {
	f, t := uint32(slices.Index(notSeries, from)), uint32(slices.Index(notSeries, to))
	for n, i := range r.by {
		if i == f {
			r.by[n] = t
		}
	}
}
