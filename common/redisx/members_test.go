package redisx

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMembers(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, after func(time.Duration)) {
		beat := func(name string) string {
			t.Helper()
			live, err := p.NewMembers(AlarmInstances, AlarmInstance, name, time.Minute).Beat(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(live)
		}
		beat("b")
		if got := beat("a"); got != "[a b]" {
			t.Errorf("two: %s", got)
		}
		after(50 * time.Second)
		beat("a")
		after(50 * time.Second)
		if got := beat("c"); got != "[a c]" {
			t.Errorf("after b was silent: %s", got)
		}
		if err := p.NewMembers(AlarmInstances, AlarmInstance, "a", time.Minute).Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := beat("c"); got != "[c]" {
			t.Errorf("after a left: %s", got)
		}
	})
}

// A member that was killed on this machine leaves its share at once; one of which nothing
// can be known from here is waited for.
func TestADeadMember(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		for _, tc := range append(holders(t), holder{"of a release that says the time only", "", false}) {
			if _, err := p.Pipe(t.Context(), C("SET", AlarmInstance("b"), strings.TrimSuffix("1700000000:"+tc.mine, ":")), C("SADD", AlarmInstances, "b")); err != nil {
				t.Fatal(err)
			}
			want := "[a b]"
			if tc.dead {
				want = "[a]"
			}
			for range 2 {
				live, err := p.NewMembers(AlarmInstances, AlarmInstance, "a", time.Minute).Beat(t.Context())
				if got := fmt.Sprint(live); err != nil || got != want {
					t.Errorf("%s: %s live, %v, want %s", tc.name, got, err, want)
				}
			}
		}
	})
}

// Redis was restarted empty and has forgotten who takes: what somebody took before he said so
// again is found when he is gone.
func TestTakenBeforeAnnounced(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		a, b := p.NewQueue("a", "x"), p.NewQueue("b", "x")
		push(t, p, "x", "1", "2")
		if got, err := a.Pop(t.Context(), 1); err != nil || !slices.Equal(payloads(got), []string{"1"}) {
			t.Fatalf("%q %v", payloads(got), err)
		}
		if err := errors.Join(b.Announce(t.Context()), b.TakeOver(t.Context(), nil)); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Pop(t.Context(), 9); err != nil || !slices.Equal(payloads(got), []string{"1", "2"}) {
			t.Errorf("%q %v", payloads(got), err)
		}
	})
}

// Who has the lock of a list takes what the one before had in flight, in its order and
// before what came later.
func TestTakeOver(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		a, b := p.NewQueue("a", "x", "y"), p.NewQueue("b", "x", "y")
		for _, q := range []*Queue{a, b} {
			if err := q.Announce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		push(t, p, "x", "1", "2", "3")
		push(t, p, "y", "4")
		if got, err := a.Pop(t.Context(), 2); err != nil || !slices.Equal(payloads(got), []string{"1", "2"}) {
			t.Fatalf("%q %v", payloads(got), err)
		}
		if err := b.TakeOver(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		got, err := b.Pop(t.Context(), 9)
		if err != nil || !slices.Equal(payloads(got), []string{"1", "2", "3", "4"}) {
			t.Fatalf("%q %v", payloads(got), err)
		}
		// Moved in order; the list that has a bound keeps the newest.
		var moved []Moved
		for _, e := range got {
			moved = append(moved, Moved{Element: e, To: "z", With: append([]byte("m"), e.Payload...), Max: 3})
		}
		if err := b.Move(t.Context(), moved...); err != nil {
			t.Fatal(err)
		}
		if got := list(t, p, "z"); !slices.Equal(got, []string{"m4", "m3", "m2"}) {
			t.Errorf("moved %q", got)
		}
		if got := append(list(t, p, Inflight("x", "b")), list(t, p, Inflight("y", "b"))...); len(got) > 0 {
			t.Errorf("still in flight %q", got)
		}
		if lens, err := b.Len(t.Context()); err != nil || fmt.Sprint(lens) != "[0 0]" {
			t.Errorf("%v %v", lens, err)
		}
	})
}
