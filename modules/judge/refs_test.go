package judge

import (
	"math/rand/v2"
	"testing"
)

// Numbers stand for what they were set to, however often that changes, and places that are
// not needed any more are used again.
func TestRefs(t *testing.T) {
	const numbers = 200
	rnd := rand.New(rand.NewPCG(1, 1))
	r := newRefs()
	r.grow(numbers)
	want := make([]*entry, numbers)
	kinds := append([]*entry{new(entry), new(entry), new(entry)}, notSeries...)
	for range 20_000 {
		n, e := rnd.IntN(numbers), kinds[rnd.IntN(len(kinds))]
		r.set(uint32(n), e)
		want[n] = e
		if rnd.IntN(500) == 0 {
			r.change(unwatched, outdated)
			for i := range want {
				if want[i] == unwatched {
					want[i] = outdated
				}
			}
		}
	}
	kept := 0
	for n := range want {
		if got := r.at(uint32(n)); got != want[n] {
			t.Fatalf("number %d stands for %p, want %p", n, got, want[n])
		}
		if want[n] != nil && want[n] != unwatched && want[n] != muted && want[n] != outdated {
			kept++
		}
	}
	if len(r.known) > len(notSeries)+numbers || len(r.known)-len(r.free) != len(notSeries)+kept {
		t.Errorf("%d places, %d of them free, for %d series", len(r.known), len(r.free), kept)
	}
	if r.grow(1); r.len() != numbers {
		t.Errorf("%d numbers", r.len())
	}
}
