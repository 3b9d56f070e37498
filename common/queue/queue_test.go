package queue

import (
	"slices"
	"sync"
	"testing"
)

func TestQueueKeepsOrderAroundItsEnd(t *testing.T) {
	q := New[int](4)
	next, want := 0, 0
	for round := range 50 {
		for range round % 5 {
			if q.Push(next) == 1 {
				next++
			}
		}
		for _, got := range q.Take(nil, round%3+1) {
			if got != want {
				t.Fatalf("round %d: took %d, want %d", round, got, want)
			}
			want++
		}
	}
}

func TestQueueAccounts(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(q *Queue[int]) []int
		left []int
		want Stats
	}{
		{"a full queue refuses the newest", func(q *Queue[int]) []int {
			q.Push(1, 2, 3, 4, 5)
			return nil
		}, []int{1, 2, 3}, Stats{In: 3, Refused: 2, Held: 3}},
		{"PushNewest lets the oldest go", func(q *Queue[int]) []int {
			q.Push(1, 2, 3)
			q.PushNewest(4, 5)
			return nil
		}, []int{3, 4, 5}, Stats{In: 5, Dropped: 2, Held: 3}},
		{"more than fits keeps the last", func(q *Queue[int]) []int {
			q.Push(1)
			q.PushNewest(2, 3, 4, 5, 6)
			return nil
		}, []int{4, 5, 6}, Stats{In: 6, Dropped: 3, Held: 3}},
		{"Take gives the oldest", func(q *Queue[int]) []int {
			q.Push(1, 2, 3)
			return q.Take(nil, 2)
		}, []int{3}, Stats{In: 3, Out: 2, Held: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := New[int](3)
			tc.do(q)
			got := q.Stats()
			if got != tc.want || got.In != got.Out+got.Dropped+got.Held {
				t.Errorf("Stats = %+v, want %+v", got, tc.want)
			}
			if left := q.Take(nil, 10); !slices.Equal(left, tc.left) {
				t.Errorf("left %v, want %v", left, tc.left)
			}
		})
	}
}

func TestQueueConcurrently(t *testing.T) {
	const writers, each = 4, 5000
	q := New[int](writers * each)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range each {
				q.Push(i)
			}
		})
	}
	got := 0
	for got < writers*each {
		<-q.Ready()
		for b := q.Take(nil, 64); len(b) > 0; b = q.Take(nil, 64) {
			got += len(b)
		}
	}
	wg.Wait()
	if s := q.Stats(); s.In != s.Out || s.Held != 0 {
		t.Errorf("Stats = %+v, want everything out", s)
	}
}
