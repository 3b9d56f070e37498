// Package wave decides when an upgrade of agents goes on and when it stops: values in,
// values out, the time an argument.
//
//	1 % ── all settled, and well for a while ──> 10 % ── … ──> 100 %
//	  └──────────── too many failed ──> stopped ── somebody says go ──┘
//
// A step lets so many hosts be ordered; which ones is decided by who reports first. The
// last step has no end: whoever reports another version later is ordered, too.
package wave

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// States of a wave.
const (
	Running = "running"
	Stopped = "stopped"
)

// States of a host; a host without one waits for its turn.
const (
	Ordered   = "ordered"   // it was told
	Upgrading = "upgrading" // it says so
	Again     = "again"     // it failed, and may be told again
	Done      = "done"      // it reports what was ordered
	Failed    = "failed"
	Left      = "left" // it can not upgrade itself, or will not
)

// unlimited is the limit of a step of 100 percent.
const unlimited = 1 << 30

// A Wave is how far an upgrade is.
type Wave struct {
	ID     string
	State  string
	Reason string // why it is Stopped
	Ladder []int  // percentages of the fleet, ascending to 100
	Step   int    // index in Ladder
	Fleet  int    // hosts that can be upgraded and report, when they were last counted
	Limit  int    // hosts that may have been ordered by now
	// Ordered counts the hosts that were, Last is the Unix time of the last order; both
	// are counted by whoever orders.
	Ordered int
	Last    int64
	Began   int64 // Unix seconds, of the step
	Rev     string
}

// A Host is what became of a host.
type Host struct {
	State string
	At    int64 // Unix seconds of the last news
	Text  string
}

// A Policy says when a step is over and when a wave stops.
type Policy struct {
	// Timeout is how long a host may take from the order to the report of the version.
	Timeout time.Duration
	// Soak is how long the hosts of a step must be well before the next one begins.
	Soak time.Duration
	// Silent is how long a host may not be heard of within Soak; it is shorter than that,
	// or a step would be over before anybody's silence shows.
	Silent time.Duration
	// Idle is how long nobody came to be ordered before a step counts as full.
	Idle time.Duration
	// MaxFailed is the percentage of the hosts that have settled from which on so many
	// failures stop the wave: more than that, it stops.
	MaxFailed int
}

// CheckLadder says whether percentages make a ladder.
func CheckLadder(ladder []int) error {
	if len(ladder) == 0 || len(ladder) > 20 {
		return errors.New("waves: name 1 to 20 percentages, such as [1, 10, 100]")
	}
	last := 0
	for _, p := range ladder {
		if p <= last || p > 100 {
			return fmt.Errorf("waves: %v do not ascend from 1 to 100", ladder)
		}
		last = p
	}
	if last != 100 {
		return fmt.Errorf("waves: %v do not end with 100", ladder)
	}
	return nil
}

// Counts counts hosts by state.
type Counts struct {
	Waiting   int `json:"waiting"` // of the fleet, not ordered yet; hosts that have the version already among them
	Ordered   int `json:"ordered"`
	Upgrading int `json:"upgrading"`
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Left      int `json:"left"`
}

// Count counts the hosts of a wave.
func Count(fleet int, hosts map[string]Host) (c Counts) {
	for _, h := range hosts {
		switch h.State {
		case Ordered, Again:
			c.Ordered++
		case Upgrading:
			c.Upgrading++
		case Done:
			c.Done++
		case Failed:
			c.Failed++
		case Left:
			c.Left++
		}
	}
	c.Waiting = max(0, fleet-c.Ordered-c.Upgrading-c.Done-c.Failed)
	return c
}

// limit returns how many hosts of a fleet a percentage lets be ordered: at least one.
func limit(fleet, percent int) int {
	if percent >= 100 {
		return unlimited
	}
	return max(1, (fleet*percent+99)/100)
}

// Begin returns the first state of a wave.
func Begin(id string, ladder []int, fleet int, now time.Time) Wave {
	return Wave{ID: id, State: Running, Ladder: ladder, Fleet: fleet, Limit: limit(fleet, ladder[0]), Began: now.Unix(), Rev: "0"}
}

// Go lets a stopped wave go on where it was.
func Go(w Wave, now time.Time) Wave {
	w.State, w.Reason, w.Began = Running, "", now.Unix()
	return w
}

// Stop stops a wave for a reason.
func Stop(w Wave, reason string) Wave {
	w.State, w.Reason = Stopped, reason
	return w
}

// Next returns the wave as it should be now, and the hosts that failed in silence. seen
// are the Unix times at which hosts were last heard of.
func Next(w Wave, hosts map[string]Host, seen map[string]int64, p Policy, now time.Time) (Wave, map[string]Host) {
	lost := map[string]Host{}
	ago := func(at int64) time.Duration { return now.Sub(time.Unix(at, 0)) }
	failed, settled, open, lastNews := 0, 0, 0, w.Last
	var names []string
	left := 0
	for name, h := range hosts {
		if h.State == Left {
			left++
			continue
		}
		switch {
		case (h.State == Ordered || h.State == Upgrading) && ago(h.At) > p.Timeout:
			h = Host{Failed, now.Unix(), "nothing came of the order within " + p.Timeout.String()}
			if at, ok := seen[name]; !ok || ago(at) > p.Silent {
				h.Text = "it was not heard of after the order"
			}
			lost[name] = h
		case h.State == Done && h.At >= w.Began && ago(h.At) < p.Soak+p.Timeout && ago(max(seen[name], h.At)) > p.Silent:
			h = Host{Failed, now.Unix(), "it fell silent after the upgrade"}
			lost[name] = h
		}
		switch h.State {
		case Failed:
			failed++
			settled++
			names = append(names, name)
		case Done:
			settled++
		default:
			open++
		}
		lastNews = max(lastNews, h.At)
	}
	alive := 0
	for _, at := range seen {
		if ago(at) < 5*time.Minute {
			alive++
		}
	}
	w.Fleet = max(alive-left, settled+open)
	if w.State != Running {
		return w, lost
	}
	if failed*100 > p.MaxFailed*settled {
		slices.Sort(names)
		first := names[0]
		text := hosts[first].Text
		if h, ok := lost[first]; ok {
			text = h.Text
		}
		return Stop(w, fmt.Sprintf("%d of %d hosts failed, %s among them: %s", failed, settled, first, text)), lost
	}
	w.Limit = limit(w.Fleet, w.Ladder[w.Step])
	last := w.Step == len(w.Ladder)-1
	full := w.Ordered >= w.Limit || settled > 0 && ago(max(w.Last, w.Began)) > p.Idle
	if last || open > 0 || !full || settled == 0 || ago(max(lastNews, w.Began)) < p.Soak {
		return w, lost
	}
	w.Step++
	w.Began, w.Limit = now.Unix(), limit(w.Fleet, w.Ladder[w.Step])
	return w, lost
}

// Fields returns a wave as a hash; what others count is left out.
func (w Wave) Fields() map[string]string {
	ladder := make([]string, len(w.Ladder))
	for i, p := range w.Ladder {
		ladder[i] = strconv.Itoa(p)
	}
	return map[string]string{
		"id": w.ID, "state": w.State, "reason": w.Reason, "ladder": strings.Join(ladder, ","), "step": strconv.Itoa(w.Step),
		"fleet": strconv.Itoa(w.Fleet), "limit": strconv.Itoa(w.Limit), "began": strconv.FormatInt(w.Began, 10),
	}
}

// Parse reads a hash that Fields wrote.
func Parse(m map[string]string) (w Wave, err error) {
	num := func(key string) (n int64) {
		if m[key] == "" {
			return 0
		}
		n, e := strconv.ParseInt(m[key], 10, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("wave: %s is %q, no number", key, m[key])
		}
		return n
	}
	w = Wave{
		ID: m["id"], State: m["state"], Reason: m["reason"], Rev: m["rev"], Step: int(num("step")), Fleet: int(num("fleet")), Limit: int(num("limit")),
		Ordered: int(num("ordered")), Last: num("last"), Began: num("began"),
	}
	for _, text := range strings.Split(m["ladder"], ",") {
		p, e := strconv.Atoi(text)
		if e != nil {
			return w, fmt.Errorf("wave: ladder is %q", m["ladder"])
		}
		w.Ladder = append(w.Ladder, p)
	}
	if e := CheckLadder(w.Ladder); e != nil {
		return w, e
	}
	if w.Step < 0 || w.Step >= len(w.Ladder) {
		return w, fmt.Errorf("wave: there is no step %d in %v", w.Step, w.Ladder)
	}
	return w, err
}
