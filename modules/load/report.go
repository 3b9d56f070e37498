package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Report says what was sent, what it took and whether it is there.
type Report struct {
	Protocol  string         `json:"protocol"`
	To        string         `json:"to"`
	Series    int            `json:"series"`
	Rounds    int            `json:"rounds"`
	Step      int            `json:"step"`
	First     int64          `json:"first"` // time of the first and of the last round, Unix seconds
	Last      int64          `json:"last"`
	Acked     int64          `json:"acked"`   // points
	Refused   map[string]int `json:"refused"` // points by reason
	Retried   int64          `json:"retried"` // batches that nobody answered for, and were sent again
	Why       string         `json:"why,omitempty"`
	Seconds   float64        `json:"seconds"`
	PerSecond float64        `json:"per_second"` // points
	AckP50    float64        `json:"ack_p50"`    // seconds from a push to its acknowledgement
	AckP99    float64        `json:"ack_p99"`
	AckMax    float64        `json:"ack_max"`
	Watched   []Watched      `json:"watched,omitempty"`
	Verified  *Verified      `json:"verified,omitempty"`
}

// Watched is what a process took while points were sent.
type Watched struct {
	Program    string  `json:"program"`
	PID        int     `json:"pid"`
	CPU        float64 `json:"cpu"`         // seconds
	PerMillion float64 `json:"per_million"` // CPU seconds per million points
	RSS        float64 `json:"rss"`         // bytes at the end
	Peak       float64 `json:"peak"`        // bytes
}

// Verified is what the graphs have of what was acknowledged.
type Verified struct {
	Graphs   int      `json:"graphs"`
	Series   int      `json:"series"`
	Points   int64    `json:"points"` // that were asked for
	Missing  int64    `json:"missing"`
	Wrong    int64    `json:"wrong"`
	Examples []string `json:"examples,omitempty"` // of what is missing or wrong
	Seconds  float64  `json:"seconds"`
}

// Write prints the report for a person.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s "+format+"\n", append([]any{name}, args...)...)
	}
	line("sent", "%d points of %d series, %d rounds of %d s, by %s to %s", r.Acked, r.Series, r.Rounds, r.Step, r.Protocol, r.To)
	line("times", "%s to %s", time.Unix(r.First, 0).Format(time.DateTime), time.Unix(r.Last, 0).Format(time.DateTime))
	line("took", "%.1f s, %.0f points a second; acknowledged after %s (half of all pushes), %s (99 of 100), %s at most",
		r.Seconds, r.PerSecond, seconds(r.AckP50), seconds(r.AckP99), seconds(r.AckMax))
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		line("refused", "%d: %s", r.Refused[reason], reason)
	}
	if r.Retried > 0 {
		line("retried", "%d pushes, the last since: %s", r.Retried, r.Why)
	}
	for _, p := range r.Watched {
		line("watched", "%s (%d): CPU %.2f s, %.3f s a million points; memory %.0f MB, %.0f MB at most", p.Program, p.PID, p.CPU, p.PerMillion, p.RSS/1e6, p.Peak/1e6)
	}
	if v := r.Verified; v != nil {
		line("verified", "%d points of %d series, by %d graphs, in %.1f s: %d missing, %d wrong", v.Points, v.Series, v.Graphs, v.Seconds, v.Missing, v.Wrong)
		for _, e := range v.Examples {
			line("", "%s", e)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond).String()
}
