package run

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestGroupFirstErrorStopsTheRest(t *testing.T) {
	boom := errors.New("boom")
	g := New(t.Context())
	g.Go("listener", func(context.Context) error { return boom })
	g.Go("loop", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	err := g.Wait()
	if !errors.Is(err, boom) || err.Error() != "listener: boom" {
		t.Fatalf("Wait() = %v, want listener: boom", err)
	}
}

func TestGroupStopsCleanly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		g := New(ctx)
		g.Go("loop", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if err := g.Wait(); err != nil {
			t.Fatalf("a group told to stop reports %v", err)
		}
	})
}

func TestGroupReportsAPanicByName(t *testing.T) {
	g := New(t.Context())
	g.Go("loop", func(context.Context) error { panic("no such shard") })
	err := g.Wait()
	if err == nil || !strings.HasPrefix(err.Error(), "loop: panic: no such shard") {
		t.Fatalf("Wait() = %v, want the panic of loop", err)
	}
}

func TestEveryKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		start := time.Now()
		var at []time.Duration
		_ = Every(ctx, time.Minute, func(context.Context) {
			if at = append(at, time.Since(start)); len(at) == 3 {
				stop()
			}
		})
		if at[0] != time.Minute || at[2] != 3*time.Minute {
			t.Errorf("calls after %v, want 1m, 2m, 3m", at)
		}
	})
}

// A steady clock goes on when the wall clock is put.
func TestSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		put := time.Duration(0)
		began := time.Now()
		now := Steady(func() time.Time { return time.Now().Add(put) })
		for _, put = range []time.Duration{0, time.Hour, -time.Hour} {
			time.Sleep(time.Minute)
			if got := now(); !got.Equal(time.Now()) {
				t.Errorf("with the clock put by %v it is %v after the start, want %v", put, got.Sub(began), time.Since(began))
			}
		}
	})
}

// A clock that goes forward follows when the wall clock is put forward, and goes on when that
// is put back.
func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		put := time.Duration(0)
		now := Forward(func() time.Time { return time.Now().Add(put) })
		for _, tc := range []struct{ put, want time.Duration }{{0, 0}, {-time.Hour, 0}, {time.Hour, time.Hour}, {0, 0}, {-time.Minute, 0}} {
			put = tc.put
			time.Sleep(time.Minute)
			if got := now(); !got.Equal(time.Now().Add(tc.want)) {
				t.Errorf("with the clock put by %v it is ahead by %v, want %v", put, time.Until(got), tc.want)
			}
		}
	})
}

// What was there before the clock was put forward ages as if it had not been, and what came
// after it by the clock as it is; put back it makes nothing older.
func TestAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		put := time.Duration(0)
		now := func() time.Time { return time.Now().Add(put) }
		a := NewAges(now)
		type thing struct {
			at   time.Time // as the clock said
			made time.Time
		}
		var all []thing
		last := time.Duration(0)
		for _, put = range []time.Duration{0, time.Hour, 50 * 365 * 24 * time.Hour, 0} {
			all = append(all, thing{now(), time.Now()})
			time.Sleep(time.Second)
			a.Look()
			time.Sleep(5 * time.Minute)
			for i, th := range all {
				got, age := a.Of(th.at), time.Since(th.made)
				if got > age || put >= last && got != age {
					t.Errorf("with the clock put by %v, before by %v, thing %d is %v old, want %v", put, last, i, got, age)
				}
			}
			last = put
		}
	})
}
