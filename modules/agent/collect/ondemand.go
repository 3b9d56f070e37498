package collect

import "sync/atomic"

// An OnDemand collector looks only at what rules ask for (contract ingest 3.8): at
// nothing before the first call of Want.
type OnDemand interface {
	Collector
	// Want replaces what is looked at by what the tags of rules name, and returns those
	// that name nothing. It may be called while Collect runs.
	Want(tags []string) []Unwanted
}

// Unwanted is a rule's tags that name nothing to look at, and why, in one of few and
// fixed sentences.
type Unwanted struct{ Tags, Why string }

// Wants holds what an OnDemand collector looks at.
type Wants[T any] struct{ p atomic.Pointer[[]T] }

// Get returns what is wanted; the slice is shared and stays as it is.
func (w *Wants[T]) Get() []T {
	if p := w.p.Load(); p != nil {
		return *p
	}
	return nil
}

// Set reads each of tags by parse, which answers why not for those that name nothing,
// and replaces what is wanted. Of those with the same key one is kept.
func (w *Wants[T]) Set(tags []string, parse func(tags string) (T, string), key func(T) string) (refused []Unwanted) {
	wants, seen := make([]T, 0, len(tags)), map[string]bool{}
	for _, t := range tags {
		v, why := parse(t)
		switch {
		case why != "":
			refused = append(refused, Unwanted{t, why})
		case !seen[key(v)]:
			seen[key(v)] = true
			wants = append(wants, v)
		}
	}
	w.p.Store(&wants)
	return refused
}
