package load

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"falcon/common/ring"
)

// Ways to send.
const (
	Stream  = "stream"  // as our agents
	JSONRPC = "jsonrpc" // as stock's agents
	Gob     = "gob"
	Msgpack = "msgpack"
	HTTP    = "http" // POST to transfer, or to an agent
)

// Protocols are the values of Config.Protocol.
var Protocols = []string{Stream, JSONRPC, Gob, Msgpack, HTTP}

// retention is how long a graph keeps what it received, by default.
const retention = 72 * time.Hour

// Config says what is sent, where to and how fast.
type Config struct {
	// To is the transfer's RPC address, or the URL of a push page for HTTP. Default
	// 127.0.0.1:8433, and http://127.0.0.1:6060/api/push.
	To       string
	Protocol string // default Stream

	Endpoints int     // default 100
	Metrics   int     // of each endpoint; default 100
	Counters  float64 // how many of the series are COUNTER, 0 to 1; default 0.25, the others are GAUGE
	Step      int     // seconds; default 60
	Prefix    string  // of the names of endpoints; default "load"

	// Rounds is how often each series gets a point. Default 10.
	Rounds int
	// Speed is how many times faster than the wall time passes: a round lasts Step/Speed.
	// Default 1.
	Speed float64
	// Rate, in points a second, takes the place of Speed. Default 0: Speed counts.
	Rate float64
	// Flatout sends as fast as points are acknowledged, whatever Speed and Rate say.
	Flatout bool

	Connections int // default 4
	Batch       int // points a push; default 1000

	// Graphs are asked for what was sent: addresses by the names that the ring of the
	// transfers has (graph.cluster). Empty: nothing is verified.
	Graphs   map[string]string
	Replicas int           // of that ring; default 500
	RingHash string        // default crc32
	Settle   time.Duration // how long points may take to arrive; default 1 min

	// Watch are processes whose CPU and memory is told: PIDs, or names of programs.
	Watch []string
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Protocol: Stream, Endpoints: 100, Metrics: 100, Counters: 0.25, Step: 60, Prefix: "load", Rounds: 10, Speed: 1, Connections: 4, Batch: 1000,
		Replicas: ring.DefaultReplicas, RingHash: ring.CRC32, Settle: time.Minute,
	}
}

// Validate says everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains(Protocols, c.Protocol) {
		bad("protocol %q is unknown: %s", c.Protocol, strings.Join(Protocols, ", "))
	}
	switch {
	case c.To == "": // the default
	case c.Protocol == HTTP:
		if u, err := url.Parse(c.To); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			bad("to %q is no URL, such as http://127.0.0.1:6060/api/push", c.To)
		}
	default:
		if _, _, err := net.SplitHostPort(c.To); err != nil {
			bad("to %q is no address, such as 127.0.0.1:8433", c.To)
		}
	}
	for _, n := range []struct {
		name     string
		v, least int
		most     int
	}{
		{"endpoints", c.Endpoints, 1, 10_000_000}, {"metrics", c.Metrics, 1, 100_000}, {"step", c.Step, 1, 86400}, {"rounds", c.Rounds, 1, 1_000_000},
		{"connections", c.Connections, 1, 10_000}, {"batch", c.Batch, 1, 100_000}, {"replicas", c.Replicas, 1, 100_000},
	} {
		if n.v < n.least || n.v > n.most {
			bad("%s is %d: from %d to %d", n.name, n.v, n.least, n.most)
		}
	}
	if n := int64(c.Endpoints) * int64(c.Metrics); n > 50_000_000 {
		bad("%d series are more than 50 million", n)
	}
	if c.Counters < 0 || c.Counters > 1 {
		bad("counters is %g: a share from 0 to 1", c.Counters)
	}
	if c.Speed < 1 {
		bad("speed is %g: at least 1, since points may not be of the future", c.Speed)
	}
	if c.Rate < 0 {
		bad("rate is %g points a second: at least 0", c.Rate)
	}
	if len(errs) == 0 && c.Rate > 0 && c.Rate < float64(c.series())/float64(c.Step) {
		bad("rate is %g points a second: %d series have %.4g with a step of %d s; take fewer series or a longer step", c.Rate, c.series(), float64(c.series())/float64(c.Step), c.Step)
	}
	if c.Prefix == "" || strings.ContainsAny(c.Prefix, " \t\n/,=") {
		bad("prefix %q: a word without blanks, slashes, commas and =", c.Prefix)
	}
	if len(c.Graphs) > 0 && time.Duration(c.Rounds)*time.Duration(c.Step)*time.Second > retention {
		bad("%d rounds of %d s are more than %v, of which graphs keep what they received: verify fewer", c.Rounds, c.Step, retention)
	}
	for name, addr := range c.Graphs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad("graph %s: %q is no address, such as 127.0.0.1:6070", name, addr)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) series() int { return c.Endpoints * c.Metrics }

// interval is how long a round lasts; 0 with Flatout.
func (c *Config) interval() time.Duration {
	switch {
	case c.Flatout:
		return 0
	case c.Rate > 0:
		return time.Duration(float64(c.series()) / c.Rate * float64(time.Second))
	}
	return time.Duration(float64(c.Step) / c.Speed * float64(time.Second))
}

// to is To with its default.
func (c *Config) to() string {
	switch {
	case c.To != "":
		return c.To
	case c.Protocol == HTTP:
		return "http://127.0.0.1:6060/api/push"
	}
	return "127.0.0.1:8433"
}
