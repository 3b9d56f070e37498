package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/testkit"
)

const unionHosts = 4

// unionMetrics are the two conditions of the combination: both above 0.
var unionMetrics = [2]string{"kill.union.a", "kill.union.b"}

func unionHost(h int) string { return fmt.Sprintf("kill-union-%02d", h) }

// A killUnions feeds the two conditions of a combination on some hosts. When a plus_judge
// that was started again hears of a condition that held before depends on the clock, so a
// host takes its next step once people were told of this one: what they are told, and in
// which order, is certain then, and only its time is not.
type killUnions struct {
	send  func(items []*model.MetricValue) error
	sink  *killSink
	again atomic.Int64 // sendings that were not answered for

	mu    sync.Mutex
	rng   *rand.Rand
	calm  bool // no host begins anything
	hosts [unionHosts]unionState
	sent  [][unionHosts][2]float64 // what was acknowledged, by round
}

// A unionStep is what a host waits in.
type unionStep int

const (
	unionIdle   unionStep = iota // no condition holds
	unionOne                     // one does, which is told to nobody
	unionBoth                    // both do: a problem is told
	unionEnding                  // one does not any more: its end is told
)

type unionState struct {
	step         unionStep
	rounds       int // before the next step
	values       [2]float64
	begun, ended int // problems
}

func newKillUnions(send func(items []*model.MetricValue) error, sink *killSink, seed uint64) *killUnions {
	return &killUnions{send: send, sink: sink, rng: rand.New(rand.NewPCG(seed, 2))}
}

// feedUnions pushes round after round until the end.
func (k *killChain) feedUnions() {
	u := k.unions
	for round := int64(0); ; round++ {
		k.gate.RLock()
		values := u.next()
		var items []*model.MetricValue
		for h := range unionHosts {
			for i, metric := range unionMetrics {
				items = append(items, &model.MetricValue{
					Endpoint: unionHost(h), Metric: metric, Timestamp: k.first + round*killStep, Step: killStep, Type: model.Gauge, Value: values[h][i],
				})
			}
		}
		acked := k.insist(&u.again, func() error { return u.send(items) })
		if acked {
			u.mu.Lock()
			u.sent = append(u.sent, values)
			u.mu.Unlock()
		}
		k.gate.RUnlock()
		if !acked || !k.pace(round) {
			return
		}
	}
}

// next lets each host take a step, if it may, and returns the values of all.
func (u *killUnions) next() (values [unionHosts][2]float64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for h := range u.hosts {
		s := &u.hosts[h]
		if s.rounds--; s.rounds < 0 && u.may(unionHost(h), s) {
			u.step(s)
			s.rounds = u.rng.IntN(40)
		}
		values[h] = s.values
	}
	return values
}

// may says whether a host may leave its step.
func (u *killUnions) may(host string, s *unionState) bool {
	problems, ends := u.sink.statuses(host)
	switch s.step {
	case unionIdle:
		return !u.calm
	case unionBoth:
		return problems >= s.begun
	case unionEnding:
		return ends >= s.ended
	}
	return true
}

func (u *killUnions) step(s *unionState) {
	one := u.rng.IntN(2)
	switch s.step {
	case unionIdle:
		s.step, s.values[one] = unionOne, 1
	case unionOne:
		if u.rng.IntN(4) == 0 {
			s.step, s.values = unionIdle, [2]float64{}
			return
		}
		s.step, s.values = unionBoth, [2]float64{1, 1}
		s.begun++
	case unionBoth:
		s.step, s.values[one] = unionEnding, 0
		s.ended++
	case unionEnding:
		s.step, s.values = unionIdle, [2]float64{}
	}
}

// rest waits until no condition holds and all is told; none begins before goOn.
func (u *killUnions) rest(t testing.TB) {
	t.Helper()
	u.mu.Lock()
	u.calm = true
	u.mu.Unlock()
	testkit.Eventually(t, 90*time.Second, func() error {
		u.mu.Lock()
		defer u.mu.Unlock()
		for h, s := range u.hosts {
			if s.step != unionIdle {
				return fmt.Errorf("%s is in its step %d, after %d problems and %d ends; people are told %q", unionHost(h), s.step, s.begun, s.ended, u.sink.orderOf(unionHost(h)))
			}
		}
		return nil
	})
}

func (u *killUnions) goOn() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calm = false
}

// check says which host people were not told of as they should be.
func (u *killUnions) check() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for h, s := range u.hosts {
		var want []string
		for i := range s.begun {
			want = append(want, model.StatusProblem)
			if i < s.ended {
				want = append(want, model.StatusOK)
			}
		}
		if got := u.sink.orderOf(unionHost(h)); !slices.Equal(got, want) {
			return fmt.Errorf("of %s people are told %q, want %q", unionHost(h), got, want)
		}
	}
	return nil
}

// events returns what people are told of combinations, which check looks at.
func (u *killUnions) events() map[string]bool {
	u.sink.mu.Lock()
	defer u.sink.mu.Unlock()
	all := map[string]bool{}
	for e := range u.sink.told {
		if strings.HasPrefix(e, "kill-union-") {
			all[e] = true
		}
	}
	return all
}

func (u *killUnions) told() int { return len(u.events()) }

// acked is how many rounds were acknowledged.
func (u *killUnions) acked() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return int64(len(u.sent))
}

func (u *killUnions) series() (all []killSeries) {
	u.mu.Lock()
	sent := u.sent
	u.mu.Unlock()
	for h := range unionHosts {
		for i, metric := range unionMetrics {
			all = append(all, killSeries{unionHost(h), metric, int64(len(sent)), func(round int64) float64 { return sent[round][h][i] }})
		}
	}
	return all
}

// statuses is how often people were told that a host has a problem, and that one is over.
func (s *killSink) statuses(host string) (problems, ends int) {
	for _, status := range s.orderOf(host) {
		if status == model.StatusProblem {
			problems++
		} else {
			ends++
		}
	}
	return problems, ends
}

func (s *killSink) orderOf(host string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order[host])
}
