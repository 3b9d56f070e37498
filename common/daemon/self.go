package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"falcon/common/conf"
	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/run"
	"falcon/common/stat"
)

// Self says how the counters of a daemon become points, so that the fleet watches
// itself (contract alerting 4.19).
type Self struct {
	// Enabled is on by default.
	Enabled bool `json:"enabled"`
	// Interval is how often the counters are looked at, and the step of the points: whole
	// seconds.
	Interval conf.Duration `json:"interval"`
	// PushAPI is the agent that takes them.
	PushAPI string `json:"push_api"`
	// Hostname is their endpoint; empty is the agent's rule: FALCON_ENDPOINT,
	// HostnameFile, the kernel's name. Who gives the agent a hostname gives it here, too.
	Hostname string `json:"hostname"`
	// HostnameFile is as in the agent; one that is absent is passed over.
	HostnameFile string `json:"hostname_file"`
	// Instance is a tag that tells two of a daemon on one host apart; empty for none.
	Instance string `json:"instance"`
}

// DefaultSelf returns what all daemons start from.
func DefaultSelf() Self {
	return Self{
		Enabled: true, Interval: conf.Duration(time.Minute), PushAPI: "http://127.0.0.1:1988/v1/push",
		HostnameFile: "/etc/sysconfig/network", // as our agent.json has it
	}
}

func (s *Self) validate() error {
	if !s.Enabled {
		return nil
	}
	var errs []error
	if i := s.Interval.D(); i < time.Second || i%time.Second != 0 {
		errs = append(errs, fmt.Errorf(`self.interval: %v is not a whole number of seconds, at least 1; write "60s"`, i))
	}
	if u, err := url.Parse(s.PushAPI); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf(`self.push_api: %q is none that can be called, write "http://127.0.0.1:1988/v1/push", or set self.enabled to false`, s.PushAPI))
	}
	return errors.Join(errs...)
}

// maxSamples bounds what one push has.
const maxSamples = 2000

// Why counters did not become points.
const (
	dropAway    = "away"    // no agent answers
	dropRefused = "refused" // it does not want them
	dropMany    = "many"    // more than maxSamples
)

// ReporterOptions are what a Reporter needs.
type ReporterOptions struct {
	// Module is the tag module of the points.
	Module string
	Self   Self
	Stats  *stat.Set
	// Health is that of Admin; nil means always well.
	Health func() error
	// Extra returns samples that belong to one push and to no counter; may be nil.
	Extra func() []stat.Sample
	// Take takes points in the place of Self.PushAPI: an agent has a queue of its own.
	Take func([]*model.MetricValue)
	Log  *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// A Reporter hands the counters of a daemon to the agent of its host: GAUGE points under
// the names of /counter/all with the tag module, and one for each part of what has
// parts, with its label. A count is as large as it is since the start of the daemon; what
// it grows by is diff's or a chart's to say. What can not be handed over is dropped and
// counted: the next minute says the same again.
type Reporter struct {
	o       ReporterOptions
	client  *httpx.Client // nil with Take
	sent    *stat.Counter
	dropped *stat.Reasons
	seen    map[string]bool // parts that had a point already; nil before the first push
	silent  bool            // no agent took the last ones, and the log has said so
}

// NewReporter returns a Reporter, and adds its own counters to those of the daemon:
// make it after all others.
func NewReporter(o ReporterOptions) *Reporter {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Reporter{o: o}
	if o.Take == nil {
		r.client = httpx.NewClient(httpx.Options{Tries: 1, Timeout: 5 * time.Second, MaxBody: 64 << 10})
	}
	o.Stats.GaugeFunc("health", "healthy", "1 while /health says ok, else 0.", func() float64 {
		if o.Health != nil && o.Health() != nil {
			return 0
		}
		return 1
	})
	r.sent = o.Stats.Counter("self.sent", "self_points_total", "Points about this daemon that the agent has taken.")
	r.dropped = o.Stats.Reasons("self.dropped", "self_dropped_points_total", "Points about this daemon that no agent has taken, by reason.")
	return r
}

// Run reports until ctx ends. It holds nothing up and never fails: a daemon that nobody
// watches still has its work.
func (r *Reporter) Run(ctx context.Context) error {
	s := &r.o.Self
	if !s.Enabled {
		<-ctx.Done()
		return nil
	}
	name, _, err := Hostname(s.Hostname, s.HostnameFile, os.Getenv, os.Hostname)
	if err != nil {
		r.o.Log.Warn("own counters become no points: write self.hostname", "err", err)
		<-ctx.Done()
		return nil
	}
	// A graph keeps one point of an interval: each push has its own, and is far from its ends,
	// so that being early or late makes no difference.
	phase := s.Interval.D()/10 + rand.N(s.Interval.D()*8/10)
	for {
		r.push(ctx, name)
		if !run.Sleep(ctx, untilNext(r.o.Now(), s.Interval.D(), phase)) {
			return nil
		}
	}
}

// untilNext returns how long it is until phase has passed of the next interval.
func untilNext(now time.Time, interval, phase time.Duration) time.Duration {
	step := int64(interval / time.Second)
	next := time.Unix((now.Unix()/step+1)*step, 0).Add(phase)
	return next.Sub(now)
}

func (r *Reporter) push(ctx context.Context, endpoint string) {
	points := r.points(endpoint, r.o.Now().Unix())
	if n := len(points) - maxSamples; n > 0 {
		r.dropped.Add(dropMany, n)
		points = points[:maxSamples]
	}
	if r.o.Take != nil {
		r.o.Take(points)
		r.sent.Add(len(points))
		return
	}
	body, err := json.Marshal(points)
	if err == nil {
		_, err = r.client.Post(ctx, r.o.Self.PushAPI, body)
	}
	if err == nil {
		r.sent.Add(len(points))
		if r.silent {
			r.o.Log.Info("own counters are points again", "push_api", r.o.Self.PushAPI)
		}
		r.silent = false
		return
	}
	if ctx.Err() != nil {
		return
	}
	reason := dropAway
	if _, answered := errors.AsType[*httpx.StatusError](err); answered {
		reason = dropRefused
	}
	r.dropped.Add(reason, len(points))
	if !r.silent {
		r.silent = true
		r.o.Log.Warn("own counters become no points: no agent takes them; name one in self.push_api, or set self.enabled to false", "push_api", r.o.Self.PushAPI, "err", err)
	}
}

// points returns what the counters say now, in Unix seconds.
func (r *Reporter) points(endpoint string, now int64) []*model.MetricValue {
	samples := r.o.Stats.Samples()
	if r.o.Extra != nil {
		samples = append(samples, r.o.Extra()...)
	}
	step := int64(r.o.Self.Interval.D() / time.Second)
	first := r.seen == nil
	if first {
		r.seen = map[string]bool{}
	}
	out := make([]*model.MetricValue, 0, len(samples))
	for _, s := range samples {
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			continue
		}
		tags := map[string]string{"module": r.o.Module}
		if r.o.Self.Instance != "" {
			tags["instance"] = tagValue(r.o.Self.Instance)
		}
		if s.Label != "" {
			tags[s.Label] = tagValue(s.Part)
		}
		p := &model.MetricValue{
			Endpoint: endpoint, Metric: s.Name, Tags: model.SortedTags(tags), Value: s.Value, Step: step, Type: model.Gauge, Timestamp: now,
		}
		// A part that is there only since it happened was zero before: with that point the
		// first time is growth, too.
		if key := s.Name + " " + p.Tags; s.Label != "" && !r.seen[key] {
			r.seen[key] = true
			if !first {
				zero := *p
				zero.Value, zero.Timestamp = 0.0, now-step
				out = append(out, &zero)
			}
		}
		out = append(out, p)
	}
	return out
}

// tagValue returns s in the form that the value of a tag has.
func tagValue(s string) string {
	return strings.Map(func(c rune) rune {
		if c == ',' || c == '=' || c == '/' || c <= ' ' {
			return '_'
		}
		return c
	}, s)
}

// DiskFree shows which part of the disk with the folder dir may still be written, in
// percent, as disk.free.percent. While dir is not there it is its parent's disk.
func DiskFree(s *stat.Set, dir string) {
	s.GaugeFunc("disk.free.percent", "disk_free_percent", "What is free of the disk with the data, in percent.", func() float64 {
		at, err := filepath.Abs(dir)
		if err != nil {
			return math.NaN() // no point
		}
		for {
			var fs unix.Statfs_t
			if err := unix.Statfs(at, &fs); err == nil {
				// As df counts: of what is used and what this user may still use.
				if used := fs.Blocks - fs.Bfree; used+fs.Bavail > 0 {
					return 100 * float64(fs.Bavail) / float64(used+fs.Bavail)
				}
				return math.NaN()
			}
			up := filepath.Dir(at)
			if up == at {
				return math.NaN()
			}
			at = up
		}
	})
}
