package wave

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var policy = Policy{Timeout: 10 * time.Minute, Soak: 5 * time.Minute, Silent: 150 * time.Second, Idle: 3 * time.Minute, MaxFailed: 10}

// A sim is a fleet of hosts that report each minute and do as they are told.
type sim struct {
	w     Wave
	hosts map[string]Host
	seen  map[string]int64
	names []string
	// fate says what becomes of a host that was ordered: done, failed, "" for nothing,
	// silent for done and then nothing.
	fate func(i int) string
}

func newSim(n int, ladder []int, fate func(int) string) *sim {
	s := &sim{hosts: map[string]Host{}, seen: map[string]int64{}, fate: fate}
	for i := range n {
		s.names = append(s.names, fmt.Sprintf("h%04d", i))
		s.seen[s.names[i]] = time.Now().Unix()
	}
	s.w = Begin("id", ladder, n, time.Now())
	return s
}

// minute passes: everybody reports, those whose turn it is are ordered, those ordered a
// minute ago are where they end, and the leader looks.
func (s *sim) minute() {
	time.Sleep(time.Minute)
	now := time.Now()
	for i, name := range s.names {
		h := s.hosts[name]
		if s.fate(i) != "silent" || h.State != Done {
			s.seen[name] = now.Unix()
		}
		switch {
		case h.State == "" && s.w.State == Running && s.w.Ordered < s.w.Limit:
			s.hosts[name] = Host{State: Ordered, At: now.Unix()}
			s.w.Ordered++
			s.w.Last = now.Unix()
		case h.State == Ordered && s.fate(i) == "failed":
			s.hosts[name] = Host{Failed, now.Unix(), "wrong MD5"}
		case h.State == Ordered && s.fate(i) != "":
			s.hosts[name] = Host{State: Done, At: now.Unix()}
		}
	}
	var lost map[string]Host
	s.w, lost = Next(s.w, s.hosts, s.seen, policy, now)
	maps.Copy(s.hosts, lost)
}

func (s *sim) until(t *testing.T, what string, is func() bool) (minutes int) {
	t.Helper()
	for ; !is(); minutes++ {
		if minutes == 120 {
			t.Fatalf("%s: not within two hours; %+v, %+v", what, s.w, Count(s.w.Fleet, s.hosts))
		}
		s.minute()
	}
	return minutes
}

// A good build climbs the ladder: no step begins before all of the last one are well for
// the time of the soak, and in the end everybody has it.
func TestGoodBuildClimbs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(250, []int{1, 10, 100}, func(int) string { return "done" })
		for step, want := range []int{3, 25} {
			began := time.Now()
			s.until(t, "the next step", func() bool { return s.w.Step > step })
			if c := Count(s.w.Fleet, s.hosts); c.Done != want || c.Ordered != 0 || time.Since(began) < policy.Soak {
				t.Errorf("step %d is left with %+v after %v, want %d done and a soak of %v", step, c, time.Since(began), want, policy.Soak)
			}
		}
		s.until(t, "all", func() bool { return Count(s.w.Fleet, s.hosts).Done == 250 })
		if s.w.State != Running {
			t.Errorf("state %s: a host that comes back later would not be upgraded", s.w.State)
		}
	})
}

// A build that fails on the first hosts never reaches the second step; go lets it on.
func TestBadBuildStops(t *testing.T) {
	for _, tc := range []struct{ fate, text string }{
		{"failed", "wrong MD5"},
		{"", "nothing came of the order within 10m0s"},
		{"silent", "it fell silent after the upgrade"},
	} {
		t.Run("fate "+tc.fate, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fate := tc.fate
				s := newSim(300, []int{1, 10, 100}, func(int) string { return fate })
				s.until(t, "stopped", func() bool { return s.w.State == Stopped })
				if s.w.Step != 0 || s.w.Ordered != 3 || !strings.Contains(s.w.Reason, tc.text) || !strings.Contains(s.w.Reason, "h0000") {
					t.Errorf("%+v, want it stopped in the first step by %q", s.w, tc.text)
				}
				fate = "done"
				for name := range s.hosts {
					s.hosts[name] = Host{State: Done, At: time.Now().Unix()}
				}
				s.w = Go(s.w, time.Now())
				s.until(t, "all", func() bool { return Count(s.w.Fleet, s.hosts).Done == 300 })
			})
		})
	}
}

// A few that fail do not hold up the rest, more than a tenth do.
func TestFailuresAreWeighed(t *testing.T) {
	for _, tc := range []struct {
		every int // one in so many fails
		stops bool
	}{{20, false}, {8, true}} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(400, []int{10, 100}, func(i int) string {
				if i%tc.every == tc.every-1 {
					return "failed"
				}
				return "done"
			})
			s.until(t, "an end", func() bool { c := Count(s.w.Fleet, s.hosts); return s.w.State == Stopped || c.Done+c.Failed == 400 })
			if got := s.w.State == Stopped; got != tc.stops {
				t.Errorf("one in %d fails: stopped %v, want %v (%s)", tc.every, got, tc.stops, s.w.Reason)
			}
		})
	}
}

// A fleet in which nobody else comes to be ordered goes on after a while: the rest has
// the version already.
func TestStepThatIsNeverFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(100, []int{10, 100}, func(int) string { return "done" })
		s.names = s.names[:4] // the others have it
		s.until(t, "the last step", func() bool {
			for name := range s.seen {
				s.seen[name] = time.Now().Unix()
			}
			return s.w.Step == 1
		})
	})
}

// Hosts that can not be upgraded are no part of the fleet.
func TestLeftAreNoFailures(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	hosts, seen := map[string]Host{}, map[string]int64{}
	for i := range 100 {
		name := fmt.Sprint("h", i)
		seen[name] = now.Unix()
		if i < 50 {
			hosts[name] = Host{State: Left, Text: "self_upgrade is false"}
		}
	}
	w, _ := Next(Begin("id", []int{10, 100}, 100, now), hosts, seen, policy, now.Add(time.Second))
	if w.State != Running || w.Fleet != 50 || w.Limit != 5 {
		t.Errorf("%+v, want a fleet of 50 and a limit of 5", w)
	}
}

func TestFieldsAndBack(t *testing.T) {
	w := Begin("id", []int{1, 10, 100}, 1234, time.Unix(1_800_000_000, 0))
	w.Step, w.Reason = 1, "why | not"
	m := w.Fields()
	m["rev"], m["ordered"], m["last"] = "7", "12", "99"
	w.Rev, w.Ordered, w.Last = "7", 12, 99
	if got, err := Parse(m); err != nil || !reflect.DeepEqual(got, w) {
		t.Errorf("Parse = %+v, %v; want %+v", got, err, w)
	}
	for key, bad := range map[string]string{"ladder": "1,x", "step": "3", "limit": "many"} {
		broken := maps.Clone(m)
		broken[key] = bad
		if _, err := Parse(broken); err == nil {
			t.Errorf("%s = %q is taken", key, bad)
		}
	}
}

func TestCheckLadder(t *testing.T) {
	for _, tc := range []struct {
		ladder []int
		ok     bool
	}{{[]int{100}, true}, {[]int{1, 10, 100}, true}, {nil, false}, {[]int{10}, false}, {[]int{10, 10, 100}, false}, {[]int{0, 100}, false}, {[]int{1, 101}, false}} {
		if err := CheckLadder(tc.ladder); (err == nil) != tc.ok {
			t.Errorf("CheckLadder(%v) = %v", tc.ladder, err)
		}
	}
}
